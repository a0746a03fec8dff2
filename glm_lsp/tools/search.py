"""The tool `search`: a regular expression over the workspace's files, as the draft has them.

Never runs longer than its time limit, and never shows a secret or an ignored file.
"""

from __future__ import annotations

import time
from typing import Any

import pathspec
import regex

from glm_lsp.errors import BadArguments, GlmError
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, parameter, schema

MATCHES_AT_ONCE = 100
LINE_WIDTH = 240
SECONDS = 10.0


def _title(arguments: dict[str, Any]) -> str:
    return f'Searched "{arguments.get("pattern", "")}"'


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    try:
        pattern = regex.compile(arguments["pattern"], regex.MULTILINE)
    except regex.error as error:
        raise BadArguments(f"{arguments['pattern']!r} is not a regular expression: {error}.") from error
    glob = arguments.get("files")
    spec = pathspec.GitIgnoreSpec.from_lines([glob]) if glob else None
    deadline = time.monotonic() + SECONDS
    found: list[str] = []
    places = files = 0
    cut_short = False
    for path in context.listing.paths:
        if spec is not None and not spec.match_file(path):
            continue
        try:
            text = context.draft.peek(path)
        except GlmError:
            continue  # not text, or not ours to read: nothing to be found there
        remaining = deadline - time.monotonic()
        try:
            if remaining <= 0:
                raise TimeoutError
            lines = sorted({text.line_of(m.start()) for m in pattern.finditer(text.content, timeout=remaining)})
        except TimeoutError:
            cut_short = True
            break
        if lines:
            files += 1
            places += len(lines)
            found += [f"{path}:{n}|{text.line(n)[:LINE_WIDTH]}" for n in lines[: MATCHES_AT_ONCE + 1 - len(found)]]
    note = "\n[stopped after ten seconds: narrow the search]" if cut_short else ""
    if not found:
        return Outcome("nothing", f"Nothing matches {arguments['pattern']!r}.{note}")
    if places > MATCHES_AT_ONCE:
        note = f"\n[{places - MATCHES_AT_ONCE} more lines match: narrow the search]{note}"
    where = f" in {files} files" if files > 1 else ""
    return Outcome(f"{places} place{'s' * (places != 1)}{where}", "\n".join(found[:MATCHES_AT_ONCE]) + note)


TOOL = Tool(
    spec=ToolSpec(
        "search",
        "Searches the workspace's files with a regular expression (Python syntax, case-sensitive). Each matching line "
        "comes as `path:number|text`.",
        schema(
            ("pattern",),
            pattern=parameter("string", "The regular expression."),
            files=parameter("string", "Only files matching this pattern, as in .gitignore. Default: all."),
        ),
    ),
    title=_title,
    run=_run,
)
