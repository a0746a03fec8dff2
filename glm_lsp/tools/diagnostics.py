"""The tool `diagnostics`: what is known to be wrong with a file, or with all that the turn has changed.

Never runs a checker: it tells syntax errors, what the edits broke, and what an editor has said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glm_lsp.edits.check import check
from glm_lsp.errors import FileRefused, Missing
from glm_lsp.languages import parse
from glm_lsp.terms import Problem, ToolSpec
from glm_lsp.tools.tool import LINE_WIDTH, Outcome, Tool, ToolContext, parameter, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.terms import Severity

PROBLEMS_AT_ONCE = 100

PATHS_NAMED = 10

_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "information": 2, "hint": 3}


def _title(arguments: dict[str, Any]) -> str:
    return f"Looked for problems in {arguments.get('file_path', 'the changed files')}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    changed = [change.path for change in context.draft.changes() if change.after is not None]
    if "file_path" in arguments:
        paths = [_name(context, arguments["file_path"])]
        context.draft.peek(paths[0])  # says so where it is not ours to read
    else:
        paths = changed
        if not paths:
            return Outcome("nothing changed", "No file was changed in this turn. Name a file to ask about that one.")
    problems: list[Problem] = []
    told: list[str] = []
    unparsed: list[str] = []
    for path in paths:
        if context.stop.is_set():
            break
        problems += _seen(context, path, unparsed)
        said = context.problems(path)
        problems += said
        if said and path in changed:
            told.append(path)
    # Errors come first, so that they are what is left where not all fits.
    problems.sort(key=lambda p: (_RANK[p.severity], p.path, p.line, p.column, p.source, p.code, p.message))
    lines = list(dict.fromkeys(map(_line, problems)))
    notes = []
    if len(lines) > PROBLEMS_AT_ONCE:
        notes.append(f"[{len(lines) - PROBLEMS_AT_ONCE} more]")
    if told:
        notes.append(f"[What the editor said is of these files as they were before your edits: {_some(told)}]")
    if unparsed:
        notes.append(f"[Nobody here can check the syntax of: {_some(unparsed)}]")
    where = paths[0] if len(paths) == 1 else f"{len(paths)} files"
    if not lines:
        return Outcome("nothing", "\n".join([f"Nothing is known to be wrong with {where}.", *notes]))
    words = f"{len(lines)} problem{'s' * (len(lines) != 1)}"
    return Outcome(words, "\n".join([*lines[:PROBLEMS_AT_ONCE], *notes]))


def _name(context: ToolContext, path: str) -> str:
    """The workspace's own name for a path; raises FileRefused in its kinds."""
    jail = context.draft.jail
    try:
        return jail.readable(path)
    except Missing:
        if not context.draft.was_read(path):
            raise
        return jail.writable(path)  # made in the draft, and not on disk yet


def _seen(context: ToolContext, path: str, unparsed: list[str]) -> list[Problem]:
    """What we see ourselves: all syntax errors, and what else the turn's edits broke; names what cannot be parsed."""
    draft = context.draft
    try:
        tree = parse(path, draft.peek(path).content)
    except FileRefused:
        return []
    if tree is None:
        unparsed.append(path)
        return []
    objections = [
        *(objection for objection in check(path, None, tree, ()) if objection.kind == "syntax"),
        *(objection for objection in draft.objections() if objection.path == path and objection.kind != "syntax"),
    ]
    seen = [_problem(path, o.line, "error" if o.kind == "syntax" else "warning", o.kind, o.message) for o in objections]
    told = {objection.line for objection in objections if objection.kind == "syntax"}
    further = [fault for fault in tree.faults() if fault.line not in told]
    return seen + [_problem(path, fault.line, "error", "syntax", fault.message) for fault in further]


def _problem(path: str, line: int, severity: Severity, code: str, message: str) -> Problem:
    return Problem(path, line, 0, severity, "", code, message)


def _line(problem: Problem) -> str:
    place = f"{problem.path}:{problem.line}" if problem.line else problem.path
    by = " ".join(filter(None, (problem.source, problem.code)))
    column = f":{problem.column}" if problem.column else ""
    message = " ".join(problem.message.split())
    shown = message if len(message) <= LINE_WIDTH else f"{message[: LINE_WIDTH - 1]}…"
    return f"{place}{column} {problem.severity}{f' ({by[:80]})' if by else ''}: {shown}"


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - PATHS_NAMED
    return ", ".join(paths[:PATHS_NAMED]) + (f" and {more} more" if more > 0 else "")


TOOL = Tool(
    spec=ToolSpec(
        "diagnostics",
        "Says what is known to be wrong with a file, or with all files changed in this turn: syntax errors with your "
        "edits in place, and what the person's editor reports. Each comes as `path:line severity (who says so): what`.",
        schema(
            (),
            file_path=parameter("string", "Path relative to the workspace's root. Default: the files changed so far."),
        ),
    ),
    title=_title,
    run=_run,
)
