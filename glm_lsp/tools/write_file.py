"""The tool `write_file`: a new file, or the whole content of one that was read.

Never writes to the disk: the content goes into the turn's draft.
"""

from __future__ import annotations

from typing import Any

from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, edited, parameter, schema


def _title(arguments: dict[str, Any]) -> str:
    return f"Wrote {arguments.get('file_path', '')}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    path = arguments["file_path"]
    known = context.draft.known_text(path)
    context.draft.write(path, arguments["content"])
    return edited(context.draft, path, known.content if known is not None else "")


TOOL = Tool(
    spec=ToolSpec(
        "write_file",
        "Writes a new file, or replaces the whole content of a file that you have read. For a change within a file "
        "use edit_file.",
        schema(
            ("file_path", "content"),
            file_path=parameter("string", "Path relative to the workspace's root; missing folders are made."),
            content=parameter("string", "The complete content."),
        ),
    ),
    title=_title,
    run=_run,
    edits=True,
)
