"""The tool `replace_symbol`: a whole function, method or class, found by its name.

Never writes to the disk: the edit goes into the turn's draft.
"""

from __future__ import annotations

from typing import Any

from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, edited, parameter, schema


def _title(arguments: dict[str, Any]) -> str:
    return f"Replaced {arguments.get('symbol', '')} in {arguments.get('file_path', '')}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    path = arguments["file_path"]
    before = context.draft.text(path)
    context.draft.replace_symbol(path, arguments["symbol"], arguments["new_source"])
    return edited(context.draft, path, before.content)


TOOL = Tool(
    spec=ToolSpec(
        "replace_symbol",
        "Replaces a whole function, method or class of a file that you have read. Its decorators or attributes are part "
        "of it: repeat them in new_source. Use it where most of the definition changes.",
        schema(
            ("file_path", "symbol", "new_source"),
            file_path=parameter("string", "Path relative to the workspace's root."),
            symbol=parameter("string", "Its name, with the class where it has one: `Cart.total`."),
            new_source=parameter("string", "The complete new definition."),
        ),
    ),
    title=_title,
    run=_run,
    edits=True,
)
