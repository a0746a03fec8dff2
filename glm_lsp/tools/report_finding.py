"""The tool `report_finding`: what a review found, at lines of a file, told while the review goes on.

Never takes lines that the file does not have: a finding that points nowhere helps nobody.
"""

from __future__ import annotations

from typing import Any, get_args

from glm_lsp.errors import BadArguments
from glm_lsp.terms import Finding, Severity, ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, parameter, schema

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def _title(arguments: dict[str, Any]) -> str:
    return f"Found something in {arguments.get('file_path', '')} {arguments.get('first_line', '')}".rstrip()


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    given = arguments["file_path"]
    lines = context.draft.peek(given).line_count
    path = context.draft.canonical(given)  # as the workspace calls it, however the model spelt it
    first = arguments["first_line"]
    last = arguments.get("last_line", first)
    if not 1 <= first <= last <= max(lines, 1):
        raise BadArguments(
            f"{path} has {lines} lines; lines {first} to {last} are not there.", hint="Read the file and count again."
        )
    severity = arguments["severity"]
    if severity not in _SEVERITIES:
        raise BadArguments(f"{severity!r} is no severity.", hint=f"There are: {', '.join(_SEVERITIES)}.")
    message = arguments["message"].strip()
    if not message:
        raise BadArguments("message is empty.", hint="Say what is wrong, and what comes of it.")
    suggestion = str(arguments.get("suggestion") or "").strip()
    finding = Finding(path, first, last, severity, message, suggestion)
    return Outcome(f"{severity}: {message.splitlines()[0]}", "Reported. Go on.", findings=(finding,))


TOOL = Tool(
    spec=ToolSpec(
        "report_finding",
        "Reports one finding of a review to the person, at once. The lines are those of the file as it is now.",
        schema(
            ("file_path", "first_line", "severity", "message"),
            file_path=parameter("string", "Path relative to the workspace's root."),
            first_line=parameter("integer", "First line of what is wrong, from 1."),
            last_line=parameter("integer", "Last line of it, inclusive. Default: the first one."),
            severity=parameter(
                "string",
                "error: it breaks or is unsafe; warning: it will, under conditions you can name; information: it should "
                "be better; hint: a small thing.",
                enum=list(_SEVERITIES),
            ),
            message=parameter("string", "What is wrong and what comes of it, in one to three plain sentences."),
            suggestion=parameter("string", "What to do about it, so that someone else could; leave out if unknown."),
        ),
    ),
    title=_title,
    run=_run,
    at_once=True,
)
