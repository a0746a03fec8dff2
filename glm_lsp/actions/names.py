"""Which names a change left and which it defined: what the checks of renaming, moving, inlining and extracting ask.

Never follows types: where a name may mean two things in a file, it says nothing of that file, since a false alarm costs
more than a missed one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from glm_lsp.actions.place import IDENTIFIER
from glm_lsp.edits.text import decode
from glm_lsp.errors import FileRefused
from glm_lsp.languages import find_symbol, parse
from glm_lsp.terms import Objection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glm_lsp.languages import Parsed, Symbol
    from glm_lsp.terms import Ask, FileChange, Span

MOST = 10
"""Places that are told at once."""

MOST_CHARACTERS, LONGEST_LINE = 1_000_000, 10_000
"""Files beyond these are not looked into: nobody wrote them by hand."""

_FUNCTIONS = {"function", "method"}
_TYPED = frozenset({"C", "C++", "C#", "Java", "PHP"})
_IMPORT = re.compile(r"\b(?:import|from|require|use|include)\b")
_NOT_TYPE = re.compile(
    r"return|await|yield|new|not|in|and|or|is|else|case|throw|typeof|delete|from|raise|if|elif|while|assert|of|print|"
    r"import|export|default|async|static|class|function|fn|func|do|goto|using|namespace|echo|instanceof"
)


@dataclass(frozen=True)
class Changed:
    """One changed file before and after, in a language that we have a grammar for; not slotted, for what is cached."""

    path: str
    before: Parsed | None
    after: Parsed | None

    @cached_property
    def old_symbols(self) -> tuple[Symbol, ...]:
        """The definitions before."""
        return self.before.symbols() if self.before is not None else ()

    @cached_property
    def new_symbols(self) -> tuple[Symbol, ...]:
        """The definitions after."""
        return self.after.symbols() if self.after is not None else ()

    @cached_property
    def made(self) -> tuple[Symbol, ...]:
        """The definitions that were not there before, told by their qualified names."""
        known = {symbol.qualified for symbol in self.old_symbols}
        return tuple(symbol for symbol in self.new_symbols if symbol.qualified not in known)

    def still(self, symbol: Symbol) -> Symbol | None:
        """The definition of that qualified name after, where there are as many of it as before; else None."""
        before = sum(other.qualified == symbol.qualified for other in self.old_symbols)
        after = [other for other in self.new_symbols if other.qualified == symbol.qualified]
        return after[0] if len(after) >= before else None


@dataclass(frozen=True, slots=True)
class Target:
    """The one definition that an Ask is about, in the file that held it."""

    file: Changed
    symbol: Symbol


def versions(changes: Sequence[FileChange]) -> tuple[Changed, ...]:
    """The changed files, parsed; those that are not text, not of a known language or too long are left out."""
    found = []
    for change in changes:
        before, after = _parsed(change.path, change.before), _parsed(change.path, change.after)
        if before is not None or after is not None:
            found.append(Changed(change.path, before, after))
    return tuple(found)


def pointed(ask: Ask) -> str:
    """The name that the person points at; empty where they point at anything else."""
    if not ask.selections:
        return ""
    found = re.fullmatch(IDENTIFIER, ask.selections[0].text.strip())
    return found[0] if found else ""


def around(files: Sequence[Changed], ask: Ask) -> tuple[Changed | None, Symbol | None]:
    """The changed file that the person points into, and the definition around their lines before the change."""
    if not ask.selections:
        return None, None
    selection = ask.selections[0]
    file = next((file for file in files if file.path == selection.path and file.before is not None), None)
    if file is None:
        return None, None
    holding = [
        s for s in file.old_symbols if s.first_line <= selection.first_line and selection.last_line <= s.last_line
    ]
    return file, max(holding, key=lambda symbol: symbol.span.start, default=None)


def target(files: Sequence[Changed], ask: Ask, name: str) -> Target | None:
    """The definition of that name which the person means; None where there is none, or it is not clear which.

    One whose name stands on the lines they point at, else the only one in all changed files.
    """
    here, _ = around(files, ask)
    if here is not None and here.before is not None:
        first, last = ask.selections[0].first_line, ask.selections[0].last_line
        on_line = [
            s for s in here.old_symbols if s.name == name and first <= here.before.line_of(s.name_span.start) <= last
        ]
        if len(on_line) == 1:
            return Target(here, on_line[0])
    found = [Target(file, s) for file in files for s in file.old_symbols if s.name == name]
    return found[0] if len(found) == 1 else None


def left(files: Sequence[Changed], ask: Ask, name: str, meant: Target | None) -> Iterator[tuple[Changed, int]]:
    """Yields files and lines where `name` is still used for what the person means, as far as that is certain.

    Args:
        files: the changed files.
        ask: where the person points; what they mean is a local name where `meant` is None.
        name: the old name.
        meant: its definition.
    """
    if meant is None:
        file, scope = around(files, ask)
        if file is not None and scope is not None:
            yield from ((file, line) for line in _left_locally(file, scope, name))
        return
    owner = meant.symbol.qualified.rpartition(".")[0]
    if owner:
        yield from ((meant.file, line) for line in _left_in_owner(meant.file, owner, name))
        return
    stem = PurePosixPath(meant.file.path).stem
    stem = PurePosixPath(meant.file.path).parent.name if stem in {"__init__", "index", "mod"} else stem
    for file in files:
        if file.before is None or file.after is None:
            continue
        if file is not meant.file and not _imports(file.before, name, stem):
            continue
        names = [s.name_span.start for s in file.old_symbols if s.name == name]
        own = [meant.symbol.name_span.start] if file is meant.file else []
        if names != own or any(True for _ in _bindings(file.before, name, None, skip=own)):
            continue  # the name may mean something else in this file
        yield from ((file, line) for line in _lines(file.after, name, None))


def uses(parsed: Parsed, name: str, within: Span | None, outside: Sequence[Span] = ()) -> bool:
    """Whether `name` stands anywhere within the span but in none of those `outside`.

    Strings count: they may hold code.
    """
    start, end = (within.start, within.end) if within is not None else (0, len(parsed.text))
    return any(
        not any(span.start <= found.start() < span.end for span in outside)
        for found in re.finditer(rf"(?<![\w$]){re.escape(name)}(?![\w$])", parsed.text[:end])
        if found.start() >= start
    )


def objections(kind: str, places: Iterator[tuple[Changed, int]], message: str) -> tuple[Objection, ...]:
    """One objection a place, at most `MOST`, each with its line's text behind the message."""
    made = []
    for (file, line), _ in zip(places, range(MOST), strict=False):
        text = file.after.line(line).strip()[:120] if file.after is not None else ""
        made.append(Objection(file.path, line, kind, f"{message}: {text}"))
    return tuple(made)


# --- where a name stands -----------------------------------------------------------------------------------------


def _left_locally(file: Changed, scope: Symbol, name: str) -> Iterator[int]:
    """Lines of a function that still use a name it alone knew; nothing where a function inside may have its own."""
    now = find_symbol(file.new_symbols, scope.qualified)
    if file.before is None or file.after is None or len(now) != 1 or scope.kind not in _FUNCTIONS:
        return
    text = file.before.text[scope.span.start : scope.span.end]
    heads = re.findall(r"\b(?:def|lambda|function|fn|func)\b|=>|->", text)
    binding = list(_bindings(file.before, name, scope.span, skip=()))
    if not binding or len(heads) > 2 or text.count("lambda") or text.count("=>") > 1:
        return
    declared = [line for line in binding if re.search(r"\b(?:let|const|var)\b", file.before.line(line))]
    if len(declared) > 1:
        return  # each block may have its own
    yield from _lines(file.after, name, now[0].span)


def _left_in_owner(file: Changed, owner: str, name: str) -> Iterator[int]:
    """Lines of a class that still ask themselves for a member of the old name."""
    now = find_symbol(file.new_symbols, owner)
    if file.after is None or len(now) != 1 or any(s.qualified == f"{owner}.{name}" for s in file.new_symbols):
        return
    span = now[0].span
    if re.search(
        rf"\b(?:self|this|cls)\.{re.escape(name)}\s*(?::[^=\n]*)?=(?!=)", file.after.text[span.start : span.end]
    ):
        return  # a field of that name
    inner = [s.span for s in file.new_symbols if span.start < s.span.start < span.end and s.kind == "class"]
    pattern = re.compile(rf"(?<![\w.$])(?:self|this|cls)\s*\.\s*({re.escape(name)})(?![\w$])")
    for found in pattern.finditer(file.after.text, span.start, span.end):
        if not file.after.in_literal(found.start(1)) and not any(s.start <= found.start() < s.end for s in inner):
            yield file.after.line_of(found.start(1))


def _lines(parsed: Parsed, name: str, within: Span | None) -> Iterator[int]:
    """Lines where the bare name is used in code: not as a member of something, a keyword argument or a key."""
    told = 0
    for at in _bare(parsed, name, within):
        line = parsed.line_of(at)
        behind = parsed.text[at + len(name) : at + len(name) + 40]
        if line != told and not re.match(r"\s*(?:=(?![=>])|\??:(?!:))", behind):
            told = line
            yield line


def _bare(parsed: Parsed, name: str, within: Span | None) -> Iterator[int]:
    start, end = (within.start, within.end) if within is not None else (0, len(parsed.text))
    pattern = re.compile(rf"(?<![\w$@.]){re.escape(name)}(?![\w$])")
    for found in pattern.finditer(parsed.text, start, end):
        if parsed.text[max(0, found.start() - 2) : found.start()] in {"->", "::"} or parsed.in_literal(found.start()):
            continue
        yield found.start()


def _imports(parsed: Parsed, name: str, stem: str) -> bool:
    """Whether the text imports that name from a module of that name, over several lines in brackets too."""
    lines = parsed.text.splitlines()
    module, whole = re.compile(rf"(?<!\w){re.escape(stem)}(?!\w)"), re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    for number, line in enumerate(lines):
        if stem not in line or not _IMPORT.search(line) or not module.search(line):
            continue
        behind = (
            line + "".join(lines[number + 1 : number + 40]).partition(")")[0] if line.rstrip().endswith("(") else line
        )
        if whole.search(behind):
            return True
    return False


def _bindings(parsed: Parsed, name: str, within: Span | None, *, skip: Sequence[int]) -> Iterator[int]:
    """Lines that may give the bare name a meaning of their own: assignments, parameters, loops, other imports."""
    for at in _bare(parsed, name, within):
        if at in skip:
            continue
        number = parsed.line_of(at)
        line, column = parsed.line(number), at - parsed.line_start(at)
        if _binds(line[:column], line[column + len(name) :], parsed.language.name):
            yield number


def _binds(before: str, behind: str, language: str) -> bool:
    """Whether a name between these parts of its line looks like one that is bound there."""
    called = before.count("(") > before.count(")")
    head = re.search(r"\b(?:def|function|fn|func|fun|sub)\b[^=]*\([^)]*$", before) is not None
    assigned = re.match(r"\s*(?::[^=\n]*)?=(?![=>])|\s*:=|\s*(?:,\s*\w+\s*)+=(?!=)", behind) is not None
    if assigned and (head or not called):
        return True
    if head or not (before + behind).strip(" \t,"):
        return True  # alone on its line it may be a parameter
    if re.match(r"\s*\??:(?!:)", behind) and (not before.strip() or (called and "{" not in before)):
        return True
    if re.match(r"\s*=>|[^()]*\)\s*(?::[^=;{]*)?=>", behind) and re.search(r"(?:^|[(=,]\s*|\basync\s+)[^()]*$", before):
        return True
    if re.match(r"[^()]*\)\s*(?::[^{;=]*)?\{", behind) and not re.search(
        r"\b(?:if|while|switch|for|return)\s*\(.*$", before
    ):
        return called
    if re.search(
        r"\b(?:let|const|var|val|mut|lambda|global|nonlocal)\b[^=:()]*$|\bas\s+$|\bfor\b(?:(?!\bin\b|\bof\b|=).)*$"
        r"|\b(?:catch|except)\b[^:{]*$|\blambda\b[^:]*$",
        before,
    ):
        return True
    if language == "Go" and re.match(r"\s+[\w*\[\]]", behind):
        return True
    if language in _TYPED and (kind := re.search(r"(\w+)(?:<[^<>]*>|\[\])?[ \t*&]+$", before)):
        return _NOT_TYPE.fullmatch(kind[1]) is None
    return False


def _parsed(path: str, data: bytes | None) -> Parsed | None:
    if data is None:
        return None
    try:
        text = decode(data, path).content
    except FileRefused:
        return None
    if len(text) > MOST_CHARACTERS or max(map(len, text.split("\n"))) > LONGEST_LINE:
        return None
    return parse(path, text)
