"""What is wrong with an edited file that was not wrong before.

Never demands that a file be sound, only that an edit makes it no worse; and never says anything about a file in a
language that we have no grammar for, or whose grammar finds errors in sound text.

What is looked at:

- `syntax`: there are more syntax errors than before.
- `lost-symbol`: a definition is gone that no edit meant to remove. An edit means to remove a definition when its old
  text holds the line that names it and its new text does not hold that line. So dropping the closing quotes of a
  docstring, which makes the functions behind it part of the string and still parses, is found out
  (microsoft/copilot-intellij-feedback#1873).
- `indentation`: tabs in a file indented with spaces, or the other way round, outside strings and comments.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.terms import Objection, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from glm_lsp.languages import Parsed, Symbol

MOST = 10
"""Objections of one kind against one file; more would not help anyone to mend it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the changes that lead from the text before to the text after.

    Attributes:
        span: what it replaced, in the text that the step before left.
        new: what it put there.
        may_go: the qualified name of the definition that it replaced by name; "" where it rewrote text without showing
            the old one; None where the old text was spelled out, so that what it names may go.
    """

    span: Span
    new: str
    may_go: str | None = None


def check(path: str, before: Parsed | None, after: Parsed | None, steps: Sequence[Step]) -> tuple[Objection, ...]:
    """Says what the steps broke.

    Args:
        path: the file, for the objections.
        before: what it was; None for a new file, or one that could not be parsed.
        after: what it is now; None where it cannot be parsed, in which case nothing is said. Nor is anything said
            where the language's row says that its grammar is no judge.
        steps: how it came from one to the other, in order.
    """
    if after is None or not after.language.judged:
        return ()
    return (*_syntax(path, before, after), *_lost(path, before, after, steps), *_indentation(path, before, after))


def _syntax(path: str, before: Parsed | None, after: Parsed) -> list[Objection]:
    old = before.faults() if before is not None else ()
    new = after.faults()
    if len(new) <= len(old):
        return [] if new else _python_blocks(path, before, after)
    known = Counter((fault.message, _line(before, fault.line)) for fault in old)
    objections: list[Objection] = []
    for fault in new:
        line = _line(after, fault.line)
        if known[fault.message, line]:
            known[fault.message, line] -= 1
        else:
            objections.append(Objection(path, fault.line, "syntax", f"{fault.message}: {line.strip()[:120]}"))
    return objections[:MOST]


def _python_blocks(path: str, before: Parsed | None, after: Parsed) -> list[Objection]:
    """Asks Python itself about blocks without a body and stray indentation, which its grammar lets pass.

    Only the outermost statements that changed are asked about, and only such errors count, since the file may be
    written for another version of Python than ours.
    """
    if after.language.name != "Python":
        return []
    old = before.text if before is not None else ""
    start, end = _differing(old, after.text)
    error = _indentation_error(after, start, end)
    if error is None or (before is not None and _indentation_error(before, start, end + len(old) - len(after.text))):
        return []
    line = error.lineno or 1
    return [Objection(path, line, "syntax", f"{error.msg}: {_line(after, line).strip()[:120]}")]


def _indentation_error(tree: Parsed, start: int, end: int) -> IndentationError | None:
    span = tree.outermost(Span(start, max(start, end)))
    padding = "\n" * (tree.line_of(span.start) - 1)  # so that line numbers are those of the file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are not our business, and not the terminal's either
            ast.parse(padding + tree.text[span.start : span.end])
    except IndentationError as error:
        return error
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return None


def _differing(old: str, new: str) -> tuple[int, int]:
    """The characters of `new` between what it begins and what it ends with in common with `old`."""
    shorter = min(len(old), len(new))
    head = _longest(shorter, lambda count: old.startswith(new[:count]))
    tail = _longest(shorter - head, lambda count: count == 0 or old.endswith(new[-count:]))
    return head, len(new) - tail


def _longest(most: int, holds: Callable[[int], bool]) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _lost(path: str, before: Parsed | None, after: Parsed, steps: Sequence[Step]) -> list[Objection]:
    if before is None:
        return []
    placed, named = _follow(before, steps)
    here = after.name_starts()
    lost = [(symbol, at) for symbol, at in placed if at not in here]
    if named:
        # Where they stand now is not known, so it is enough that as many definitions of that name are left.
        survivors = {at for _, at in placed}
        there = Counter(s.name for s in after.symbols() if s.name_span.start not in survivors)
        for symbol in named:
            if there[symbol.name] > 0:
                there[symbol.name] -= 1
            else:
                lost.append((symbol, -1))
    return [
        Objection(
            path,
            after.line_of(at) if at >= 0 else 0,
            "lost-symbol",
            f"{symbol.kind} {symbol.qualified} is no longer defined, and no edit removed it by its own line. "
            "Put it back; if it has to go, replace the lines that define it.",
        )
        for symbol, at in sorted(lost, key=lambda pair: pair[0].span.start)[:MOST]
    ]


def _follow(before: Parsed, steps: Sequence[Step]) -> tuple[list[tuple[Symbol, int]], list[Symbol]]:
    """The definitions that have to be there after the steps: those with a known place, and those by name alone."""
    placed = sorted(((s, s.name_span.start) for s in before.symbols()), key=lambda pair: pair[1])
    named: list[Symbol] = []
    for step in steps:
        start, end = step.span.start, step.span.end
        shift = len(step.new) - (end - start)
        first = bisect_right(placed, start, key=lambda pair: pair[1] + pair[0].name_span.end - pair[0].name_span.start)
        behind = first
        while behind < len(placed) and placed[behind][1] - _head(before, placed[behind][0]) < end:
            behind += 1
        new_lines = {line.strip() for line in _LINE_END.split(step.new)} if behind > first else set()
        for symbol, _ in placed[first:behind]:
            if step.may_go is None:
                if before.line(before.line_of(symbol.name_span.start)).strip() in new_lines:
                    named.append(symbol)
            elif symbol.qualified != step.may_go:
                named.append(symbol)
        placed[first:] = [(symbol, at + shift) for symbol, at in placed[behind:]]
    return placed, named


def _head(before: Parsed, symbol: Symbol) -> int:
    """How far a name stands behind the start of its line, or of its definition where that begins on the same line."""
    return symbol.name_span.start - max(before.line_start(symbol.name_span.start), symbol.span.start)


def _indentation(path: str, before: Parsed | None, after: Parsed) -> list[Objection]:
    old = _kinds(before.text) if before is not None else set()
    if len(old) > 1 or len(_kinds(after.text)) < 2:
        return []
    odd = {"tabs", "spaces"} - old if old else {"tabs"}
    pattern = _TABS if odd == {"tabs"} else _SPACES
    usual = "spaces" if odd == {"tabs"} else "tabs"
    lines = (m.start() for m in pattern.finditer(after.text) if not after.in_literal(m.start()))
    return [
        Objection(
            path,
            after.line_of(at),
            "indentation",
            f"This line is indented with {next(iter(odd))}, while the rest of the file uses {usual}.",
        )
        for at in _first(lines, MOST)
    ]


def _kinds(text: str) -> set[str]:
    text = text.replace("\r", "\n") if "\r" in text else text
    # One space alone is how the middle lines of a block comment begin.
    return {kind for kind, mark in (("tabs", "\t"), ("spaces", "  ")) if text.startswith(mark) or f"\n{mark}" in text}


def _first(found: Iterable[int], most: int) -> list[int]:
    return [at for at, _ in zip(found, range(most), strict=False)]


def _line(tree: Parsed | None, number: int) -> str:
    return tree.line(number) if tree is not None else ""


_LINE_END = re.compile(r"\r\n|\r|\n")
_TABS = re.compile(r"(?:(?<=[\r\n])|\A)\t[ \t]*(?=[^\s])")
_SPACES = re.compile(r"(?:(?<=[\r\n])|\A)  [ \t]*(?=[^\s])")
