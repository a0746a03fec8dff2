"""A file cut into the pieces that can be shown of it, and how well each fits a question.

Never decides what is shown, and never looks at more than the files it is given.

Definitions are pieces as they stand; what lies between them, and files without any, are cut into runs of lines. No two
pieces of a file share a line.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from glm_lsp.index import passages, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from glm_lsp.index.passages import Lines
    from glm_lsp.index.segments import Docs, Scores
    from glm_lsp.index.words import Numbers
    from glm_lsp.languages.facts import Definition

CHUNK = 60
"""Lines of a piece of a file without definitions."""

BETWEEN = 30
"""Lines of a piece between definitions."""

WHOLE = 60
"""Lines of a class, or whatever else has definitions inside, that is one piece all the same."""

LONGEST = 120
"""Lines of a definition that is one piece; a longer one is cut."""

SHORT = 2
"""Lines of a definition that is part of what surrounds it, such as a constant."""

LARGEST = 8_000
"""Lines of a file that are looked at."""

K1, B = 1.2, 0.3  # of BM25, for pieces


class Part(NamedTuple):
    """Some lines of a file; a question looks at a thousand of them.

    Attributes:
        path: the file.
        first_line: from 1.
        last_line: included.
        names: what it defines, by the last part of the names; empty for the later parts of a long definition.
        title: the qualified name of the definition that it is, or is in; empty outside of all.
        defined: whether it is a definition, or the beginning of one.
    """

    path: str
    first_line: int
    last_line: int
    names: tuple[str, ...] = ()
    title: str = ""
    defined: bool = False


def lines_of(text: str) -> list[str]:
    """The lines of a text as they are numbered everywhere, without what ends them."""
    lines = text.split("\n", LARGEST)[:LARGEST]
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    if lines and not lines[-1]:
        lines.pop()
    return lines


def beginning(text: str, lines: Sequence[str]) -> str:
    """So much of a text as is looked at; the lines are what `lines_of` gave."""
    return text if len(lines) < LARGEST else "\n".join(text.split("\n", LARGEST)[:LARGEST])


def cut(path: str, lines: Sequence[str], definitions: Sequence[Definition]) -> list[Part]:
    """The pieces of a file, in order."""
    inside = [one for one in definitions if 1 <= one.first_line <= one.last_line <= len(lines)]
    inside.sort(key=lambda one: (one.first_line, -one.last_line))
    parts = _cut(path, 1, len(lines), inside, "", BETWEEN if inside else CHUNK)
    return [trimmed for part in parts if (trimmed := _trimmed(part, lines)) is not None]


def _cut(path: str, first: int, last: int, inside: Sequence[Definition], title: str, length: int) -> Iterator[Part]:
    at = first
    passed: list[Definition] = []
    firsts = [one.first_line for one in inside]
    for number, one in enumerate(inside):
        if one.first_line < at or (passed and one.first_line <= passed[-1].last_line):
            continue  # inside of one that was dealt with
        size = one.last_line - one.first_line + 1
        if size <= SHORT:
            passed.append(one)
            continue
        yield from _runs(path, at, one.first_line - 1, passed, title, length)
        passed = []
        behind = bisect_right(firsts, one.last_line)
        inner = [other for other in inside[number + 1 : behind] if other.last_line <= one.last_line]
        tall = [other for other in inner if other.last_line - other.first_line >= SHORT]
        if tall and size > WHOLE:
            head = Part(path, one.first_line, tall[0].first_line - 1, (one.name,), one.qualified, defined=True)
            if head.first_line <= head.last_line:
                short = [other for other in inner if other.last_line < tall[0].first_line]
                yield from _divided(head, BETWEEN, short)
            rest = [other for other in inner if other.first_line >= tall[0].first_line]
            yield from _cut(path, tall[0].first_line, one.last_line, rest, one.qualified, length)
        else:
            whole = Part(path, one.first_line, one.last_line, (one.name,), one.qualified, defined=True)
            yield from _divided(whole, LONGEST, inner)
        at = one.last_line + 1
    yield from _runs(path, at, last, passed, title, length)


def _divided(part: Part, length: int, inner: Sequence[Definition]) -> Iterator[Part]:
    """The part, in several where it is long; each has the names that are defined in it."""
    size = part.last_line - part.first_line + 1
    if size <= length and not inner:
        yield part
        return
    step = math.ceil(size / math.ceil(size / length))
    for first in range(part.first_line, part.last_line + 1, step):
        last = min(first + step - 1, part.last_line)
        names = [*(part.names if first == part.first_line else ()), *(o.name for o in inner if first <= o.line <= last)]
        yield Part(part.path, first, last, tuple(dict.fromkeys(names)), part.title, defined=part.defined)


def _runs(path: str, first: int, last: int, inner: Sequence[Definition], title: str, length: int) -> Iterator[Part]:
    if first <= last:
        yield from _divided(Part(path, first, last, (), title), length, inner)


def _trimmed(part: Part, lines: Sequence[str]) -> Part | None:
    """The part without blank lines at its ends; None where nothing is left but brackets."""
    first, last = part.first_line, part.last_line
    while first <= last and not lines[first - 1].strip():
        first += 1
    while first <= last and not lines[last - 1].strip():
        last -= 1
    if not any(map(_SAYS, lines[first - 1 : last])):
        return None
    if (first, last) == (part.first_line, part.last_line):
        return part
    return Part(part.path, first, last, part.names, part.title, part.defined)


_SAYS = re.compile(r"[^\W_]").search  # a letter or a digit


# --- how well they fit --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sheet:
    """The pieces of a file with their words.

    Attributes:
        parts: in order.
        lines: the words of the file.
        owners: for each line the place of its part; the number of parts for a line between two.
        titles: the terms of all titles.
        entitled: for each of these the place of its part.
        lengths: for each part, its number of words, with those of its title.
    """

    parts: Sequence[Part]
    lines: Lines
    owners: Numbers
    titles: Docs
    entitled: Numbers
    lengths: Numbers

    @classmethod
    def of(cls, parts: Sequence[Part], lines: Lines) -> Sheet:
        """Finds the words of the parts among those of the lines."""
        number = len(parts)
        first = np.fromiter((part.first_line - 1 for part in parts), np.int32, number)
        last = np.fromiter((part.last_line for part in parts), np.int32, number)
        owners = np.full(len(lines.ends), number, np.int32)
        for at, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            owners[begin:end] = at
        titles = "\n".join([part.title.replace("\n", " ") for part in parts])
        packed, ends, length = words.by_line(titles.encode(errors="replace"))
        before = np.concatenate((_NONE, lines.words))
        return cls(
            parts,
            lines,
            owners,
            np.frombuffer(packed, "<u4"),
            np.repeat(np.arange(number, dtype=np.int32), np.diff(ends[:number], prepend=0)),
            before[last] - before[first] + np.diff(length[:number], prepend=0),
        )


_NONE = np.zeros(1, np.int32)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well some parts fit.

    Attributes:
        scores: one for each part, 0 for those without any of the words.
        terms: the terms that count.
        shares: what each term adds to the score of each part.
    """

    scores: Scores
    terms: tuple[int, ...]
    shares: np.ndarray[Any, np.dtype[np.float32]]

    def best(self, at: int, most: int) -> list[int]:
        """The terms that add most to a part's score."""
        if not self.terms:
            return []
        order = np.argsort(-self.shares[at], kind="stable")[:most]
        return [self.terms[place] for place in order.tolist() if self.shares[at, place] > 0]


def fit(sheets: Sequence[Sheet], values: Mapping[int, float]) -> Fit:
    """Scores all parts by what their words are worth: BM25 over these parts alone."""
    number = sum(len(sheet.parts) for sheet in sheets)
    terms = tuple(sorted(values))
    if not terms or not number:
        return Fit(np.zeros(number, np.float32), (), np.zeros((number, 0), np.float32))
    wanted = np.array(terms, np.uint32)
    times = _times(sheets, wanted)
    lengths = np.concatenate([sheet.lengths for sheet in sheets]).astype(np.float32)
    norm = K1 * (1 - B + B * lengths / max(1.0, float(lengths.mean())))
    each = np.array([values[term] for term in terms], np.float32)
    shares = (each * times * (K1 + 1) / (times + norm[:, None])).astype(np.float32)
    return Fit(shares.sum(axis=1), terms, shares)


def _times(sheets: Sequence[Sheet], wanted: Docs) -> Scores:
    """How often each part of all sheets has each of the terms, which are in ascending order."""
    first = passages.begins([len(sheet.parts) + 1 for sheet in sheets])  # with a row for what is in no part
    before = passages.begins([len(sheet.lines.terms) for sheet in sheets])
    hits, at = passages.occurrences(np.concatenate([sheet.lines.terms for sheet in sheets]), wanted)
    ends = np.concatenate([sheet.lines.ends + begin for sheet, begin in zip(sheets, before, strict=False)])
    owners = np.concatenate([sheet.owners + begin for sheet, begin in zip(sheets, first, strict=False)])
    rows = owners[ends.searchsorted(hits, side="right")]
    entitled = np.concatenate([sheet.entitled + begin for sheet, begin in zip(sheets, first, strict=False)])
    titled, term = passages.occurrences(np.concatenate([sheet.titles for sheet in sheets]), wanted)
    shape = first[-1], len(wanted)
    times = passages.counted(np.concatenate((rows, entitled[titled])), np.concatenate((at, term)), shape)
    return np.delete(times, np.array(first[1:]) - 1, axis=0)
