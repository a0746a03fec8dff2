"""The tool `search`: a regular expression over the workspace's files, as the draft has them.

Never runs longer than its time limit, and never shows a secret or an ignored file.

Where ripgrep is installed it says which files are worth a look; what is shown comes from our own pass over those, so
that results do not depend on what is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import regex

from glm_lsp.errors import BadArguments
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import (
    LINE_WIDTH,
    Outcome,
    Tool,
    ToolContext,
    bounded,
    parameter,
    paths_of,
    schema,
    stopped,
    texts,
    worth_a_look,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MATCHES_AT_ONCE = 100
SECONDS = 10.0

_RIPGREP = (
    "rg",
    "--no-config",
    "--no-ignore",
    "--hidden",
    "--text",
    "--multiline",
    "--case-sensitive",
    "--files-with-matches",
    "--null",
)

_BYTES_OF_PATHS = 100_000
"""Of arguments for one run of ripgrep: systems take a quarter of a megabyte and more."""

_SHARED = regex.compile(
    r"""(?: [^\\\[\](){}*+?|^$.&~] | [.^$|] | \\[wWdDsSbBtn.\\/()\[\]{}*+?|^$-]
    | \[ \^? (?: [^\\\[\]&~-] | \\[wdstn.\\/\[\]-] | \w-\w )+ -? \]
    | \( (?: \?: )? | \) | [*+?] \?? (?![*+?]) | \{ \d+ (?: ,\d* )? \} \?? (?![*+?]) | [&~] )+""",
    regex.VERBOSE,
)
"""Expressions that mean the same to us and to ripgrep; with any other, every file gets our own pass."""

_OTHER_ENCODING = r"coding[:=][ \t]*[A-Za-tv-z]"
"""Files that may declare an encoding other than UTF-8, which ripgrep does not know of, get our own pass."""


def _title(arguments: dict[str, Any]) -> str:
    return f'Searched "{arguments.get("pattern", "")}"'


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    try:
        pattern = regex.compile(arguments["pattern"], regex.MULTILINE)
    except regex.error as error:
        raise BadArguments(f"{arguments['pattern']!r} is not a regular expression: {error}.") from error
    deadline = time.monotonic() + SECONDS
    glob = arguments.get("files")
    found: list[str] = []
    places = files = 0
    cut_short = False
    for path, text in texts(context, glob, only=_promising(context, glob, arguments["pattern"])):
        remaining = deadline - time.monotonic()
        try:
            if remaining <= 0 or context.stop.is_set():
                raise TimeoutError
            lines = sorted({text.line_of(m.start()) for m in pattern.finditer(text.content, timeout=remaining)})
        except TimeoutError:
            cut_short = True
            break
        if lines:
            files += 1
            places += len(lines)
            found += [f"{path}:{n}|{_line(text.lines(), n)}" for n in lines[: MATCHES_AT_ONCE + 1 - len(found)]]
    note = stopped(SECONDS, "narrow the search") if cut_short else ""
    if not found:
        return Outcome("nothing", f"Nothing matches {arguments['pattern']!r}.{note}")
    where = f" in {files} files" if files > 1 else ""
    shown = bounded(found, MATCHES_AT_ONCE, "more lines match: narrow the search", total=places)
    return Outcome(f"{places} place{'s' * (places != 1)}{where}", "\n".join(shown) + note)


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1][:LINE_WIDTH] if number <= len(lines) else ""  # a match at the very end of the text


def whole_words(pattern: str) -> list[str]:
    r"""Words that stand, whole, in whatever a regular expression finds; none where that is not plain to see.

    `def total\(` finds nothing without the word `total`, but `def` may be the end of another one.
    """
    found: list[str] = []
    word, open_left = "", False  # open_left: what is before may belong to the same word
    atoms = list(_ATOM.finditer(pattern))
    if sum(len(atom[0]) for atom in atoms) != len(pattern):
        return []
    kinds = [_UNKNOWN, *(_kind(atom) for atom in atoms), _UNKNOWN]
    letters = ["", *(atom["letter"] or "" for atom in atoms), ""]
    for kind, letter in zip(kinds, letters, strict=True):
        if kind is _LETTER:
            word += letter
            continue
        if word and not open_left and kind is _EDGE:
            found.append(word)
        word, open_left = "", kind is _UNKNOWN
    return found


_LETTER, _EDGE, _UNKNOWN = "a letter", "no part of a word", "anything"

_ATOM = regex.compile(
    r"""(?: (?P<letter>\w) | (?P<edge> [^\\\[\](){}*+?|^$.\w] | \\[^\w\s] | \\[bsWtn] | [\^$] ) | (?P<any> \. | \\[wdDSB] ) )
    (?P<times> [*+?][?+]? | \{\d+(?:,\d*)?\}\?? )?""",
    regex.VERBOSE,
)
"""What an expression without groups, alternatives and sets consists of."""


def _kind(atom: regex.Match[str]) -> str:
    if atom["letter"] is not None:
        return _UNKNOWN if atom["times"] else _LETTER
    times = atom["times"] or ""
    return _EDGE if atom["edge"] is not None and not times.startswith(("*", "?", "{0")) else _UNKNOWN


def _promising(context: ToolContext, glob: str | None, pattern: str) -> frozenset[str] | None:
    """The files in which there may be something, by the index and by ripgrep; None where all are to be read."""
    known = worth_a_look(context, glob, whole_words(pattern))
    if known is not None and len(known) <= FEW:
        return known
    told = _told_by_ripgrep(context, glob, pattern)
    return known if told is None else told if known is None else known & told


FEW = 200
"""Files that are read sooner than ripgrep is asked about them."""


def _told_by_ripgrep(context: ToolContext, glob: str | None, pattern: str) -> frozenset[str] | None:
    """The files in which ripgrep finds something, and those that it cannot judge; None where all are to be read."""
    if shutil.which("rg") is None or _SHARED.fullmatch(pattern) is None:
        return None
    found = set(context.draft.stale()) | {change.path for change in context.draft.changes()}
    listed = [path for path in paths_of(context, glob) if path in context.listing.path_set]
    found |= {path for path in listed if context.draft.overlay(path) is not None}  # shown may be other than on disk
    deadline = time.monotonic() + SECONDS / 2
    for some in _portions(listed):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or context.stop.is_set():
            return None
        try:
            found |= _ripgrep(context.listing.root, pattern, some, remaining)
        except (OSError, subprocess.SubprocessError):
            return None  # a file that has gone, an expression it refuses: our own pass knows what to do
    return frozenset(found)


def _ripgrep(root: Path, pattern: str, paths: Sequence[str], seconds: float) -> set[str]:
    answer = subprocess.run(
        [*_RIPGREP, "-e", pattern, "-e", _OTHER_ENCODING, "--", *(f"./{path}" for path in paths)],
        cwd=root,
        capture_output=True,
        check=False,
        timeout=seconds,
    )
    if answer.returncode not in {0, 1}:
        raise subprocess.SubprocessError(answer.stderr.decode(errors="replace"))
    return {os.fsdecode(name).removeprefix("./") for name in answer.stdout.split(b"\0") if name}


def _portions(paths: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for path in paths:
        size += len(os.fsencode(path)) + 3
        if size > _BYTES_OF_PATHS and some:
            yield some
            some, size = [], len(os.fsencode(path)) + 3
        some.append(path)
    if some:
        yield some


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
    at_once=True,
)
