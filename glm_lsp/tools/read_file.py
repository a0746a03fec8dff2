"""The tool `read_file`: numbered lines of one file.

Never reads outside the workspace, nor a secret or an ignored file.
"""

from __future__ import annotations

from typing import Any

from glm_lsp.errors import BadArguments
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import RESULT_LIMIT, Outcome, Tool, ToolContext, numbered, parameter, schema

LINES_AT_ONCE = 1_000


def _title(arguments: dict[str, Any]) -> str:
    first, last = arguments.get("start_line"), arguments.get("end_line")
    place = f" {first or 1}–{last or ''}" if first or last else ""
    return f"Read {arguments.get('file_path', '')}{place}".rstrip("–")


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    path = arguments["file_path"]
    text = context.draft.read(path)
    lines = text.lines()
    first = arguments.get("start_line", 1)
    last = min(arguments.get("end_line", len(lines)), len(lines))
    if first < 1 or (lines and first > len(lines)) or last < first - 1:
        raise BadArguments(
            f"{path} has {len(lines)} lines; lines {first} to {arguments.get('end_line')} are not there."
        )
    last = min(last, first + LINES_AT_ONCE - 1)
    shown = numbered(lines[first - 1 : last], first)
    if len(shown) > RESULT_LIMIT:
        shown = shown[:RESULT_LIMIT]
        shown = shown[: shown.rfind("\n")] if "\n" in shown else shown
        last = first + shown.count("\n")
        shown += "\n[the rest of these lines is left out: the result is as long as one may be]"
    if not lines:
        return Outcome("empty", f"{path} is empty.")
    more = f"\n[{len(lines) - last} more lines: read on with start_line {last + 1}]" if last < len(lines) else ""
    return Outcome(f"{last - first + 1} lines", f"{path}, lines {first} to {last} of {len(lines)}:\n{shown}{more}")


TOOL = Tool(
    spec=ToolSpec(
        "read_file",
        "Reads a text file of the workspace. Each line comes as `number|text`; the number and the bar are not part of "
        f"the file. At most {LINES_AT_ONCE} lines at once.",
        schema(
            ("file_path",),
            file_path=parameter("string", "Path relative to the workspace's root."),
            start_line=parameter("integer", "First line to read, from 1. Default: 1."),
            end_line=parameter("integer", "Last line to read, inclusive. Default: the last one."),
        ),
    ),
    title=_title,
    run=_run,
)
