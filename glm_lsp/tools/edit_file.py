"""The tool `edit_file`: one replacement in one file, placed exactly or refused.

Never writes to the disk: the edit goes into the turn's draft.
"""

from __future__ import annotations

from typing import Any

from glm_lsp.edits.place import AlreadyApplied, place
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, edited, parameter, schema


def _title(arguments: dict[str, Any]) -> str:
    return f"Edited {arguments.get('file_path', '')}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    path = arguments["file_path"]
    draft = context.draft
    before = draft.text(path)
    placed = place(
        before, path, arguments["old_string"], arguments["new_string"], start_line=arguments.get("start_line")
    )
    if isinstance(placed, AlreadyApplied):
        return Outcome("already so", f"{path} already reads like this at line {placed.line}: nothing to do.")
    draft.put(path, placed.edit)
    return edited(draft, path, before.content)


TOOL = Tool(
    spec=ToolSpec(
        "edit_file",
        "Replaces one piece of a file that you have read. Give whole lines, as few as make the place unique, exactly as "
        "they are in the file (without the line numbers). One change a call; make several calls for several places.",
        schema(
            ("file_path", "old_string", "new_string"),
            file_path=parameter("string", "Path relative to the workspace's root."),
            start_line=parameter("integer", "The line where old_string begins; tells equal places apart. Optional."),
            old_string=parameter("string", "The lines to replace."),
            new_string=parameter("string", "The lines to put in their place."),
        ),
    ),
    title=_title,
    run=_run,
    edits=True,
)
