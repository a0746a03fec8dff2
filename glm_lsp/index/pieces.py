"""A file cut into the pieces that can be shown of it, and how well each fits a question.

Never decides what is shown, and never looks at more than the files it is given.

Definitions are pieces as they stand; what lies between them, and files without any, are cut into runs of lines. No two
pieces of a file share a line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glm_lsp.index import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from glm_lsp.index.postings import Postings
    from glm_lsp.index.segments import Scores
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


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines of a file.

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


def cut(path: str, lines: Sequence[str], definitions: Sequence[Definition]) -> list[Part]:
    """The pieces of a file, in order."""
    inside = [one for one in definitions if 1 <= one.first_line <= one.last_line <= len(lines)]
    inside.sort(key=lambda one: (one.first_line, -one.last_line))
    parts = _cut(path, 1, len(lines), inside, "", BETWEEN if inside else CHUNK)
    return [trimmed for part in parts if (trimmed := _trimmed(part, lines)) is not None]


def _cut(path: str, first: int, last: int, inside: Sequence[Definition], title: str, length: int) -> Iterator[Part]:
    at = first
    passed: list[Definition] = []
    for number, one in enumerate(inside):
        if one.first_line < at or (passed and one.first_line <= passed[-1].last_line):
            continue  # inside of one that was dealt with
        size = one.last_line - one.first_line + 1
        if size <= SHORT:
            passed.append(one)
            continue
        yield from _runs(path, at, one.first_line - 1, passed, title, length)
        passed = []
        inner = [other for other in inside[number + 1 :] if other.last_line <= one.last_line]
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
    if not any(character.isalnum() for line in lines[first - 1 : last] for character in line):
        return None
    return Part(part.path, first, last, part.names, part.title, part.defined)


# --- how well they fit --------------------------------------------------------------------------------------------


def worth(postings: Postings, weights: Mapping[int, float], most: int = 40) -> dict[int, float]:
    """What each term of a question counts: its weight times how rare it is; those that no file has are left out."""
    number = max(1, len(postings))
    found = {
        term: weight * math.log1p((number - frequency + 0.5) / (frequency + 0.5))
        for term, weight in weights.items()
        if (frequency := postings.frequency(term))
    }
    return {term: found[term] for term in sorted(found, key=lambda term: (-found[term], term))[:most]}


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


def fit(texts: Sequence[str], values: Mapping[int, float]) -> Fit:
    """Scores texts by what their words are worth: BM25 over these texts alone."""
    terms = tuple(sorted(values))
    if not terms or not texts:
        return Fit(np.zeros(len(texts), np.float32), (), np.zeros((len(texts), 0), np.float32))
    found = [words.in_order(text.encode(errors="replace")) for text in texts]
    wanted = np.array(terms, np.uint32)
    every = np.frombuffer(b"".join(packed for packed, _ in found), "<u4")
    owner = np.repeat(np.arange(len(texts)), [len(packed) >> 2 for packed, _ in found])
    place = np.searchsorted(wanted, every)
    place[place == len(wanted)] = 0
    hits = np.flatnonzero(wanted[place] == every)
    times = np.zeros((len(texts), len(terms)), np.float32)
    np.add.at(times, (owner[hits], place[hits]), 1.0)
    lengths = np.array([length for _, length in found], np.float32)
    norm = K1 * (1 - B + B * lengths / max(1.0, float(lengths.mean())))
    each = np.array([values[term] for term in terms], np.float32)
    shares = (each * times * (K1 + 1) / (times + norm[:, None])).astype(np.float32)
    return Fit(shares.sum(axis=1), terms, shares)
