"""The tool `finish`: the report that ends a run at which nobody is watching.

Never ends a turn whose edits leave problems: those go back first.
"""

from __future__ import annotations

from typing import Any

from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, parameter, schema


def _finish(_context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    left = str(arguments.get("left_undone") or "").strip()
    return Outcome("something is left undone" if left else "done", "The turn is over.")


TOOL = Tool(
    spec=ToolSpec(
        "finish",
        "Ends the work with a report. Call it alone, when all is done, or when you cannot go on: nobody is there to ask.",
        schema(
            ("summary",),
            summary=parameter("string", "One to three plain sentences: what was changed and why."),
            left_undone=parameter("string", "What was asked for and is not done, and why; leave out if all is done."),
        ),
    ),
    title=lambda _arguments: "Finish",
    run=_finish,
    ends=True,
)
