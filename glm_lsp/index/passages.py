"""Which passages of some files answer a question best: runs of sixty lines, forty apart.

Never looks at more than the files it is given, and keeps the words of the latest ones only.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glm_lsp.index import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from glm_lsp.index.segments import Docs, Scores
    from glm_lsp.index.words import Numbers

BLOCK = 20  # lines: a passage is three blocks, and the next one begins two blocks later
WIDTH, STRIDE = 3, 2
LARGEST = 120_000  # characters of a file that are looked at, some three thousand lines
K1, B = 1.2, 0.75  # of BM25


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of lines.

    Attributes:
        first_line: from 1.
        last_line: included; may lie past the end of the text.
        score: how well it fits, above 0.
    """

    first_line: int
    last_line: int
    score: float


@dataclass(frozen=True, slots=True)
class Lines:
    """The words of a text by lines, which is what is known of it once it was taken apart.

    Attributes:
        terms: the term of every word and of its parts, in the order of the text.
        ends: for each line, where its terms end.
        words: for each line, the number of words in it and before it.
        digest: tells the text from any other one of this process.
    """

    terms: Docs
    ends: Numbers
    words: Numbers
    digest: int

    @classmethod
    def of(cls, text: str) -> Lines:
        """Takes a text apart."""
        packed, ends, number = words.by_line(text.encode(errors="replace"))
        return cls(np.frombuffer(packed, "<u4"), ends, number, hash(text))

    def continued(self, text: str) -> Lines:
        """Takes apart what is new of a text whose first `LARGEST` characters these are the words of."""
        rest = Lines.of(text[text.rfind("\n", 0, LARGEST) + 1 :])  # the last line may go on
        terms, number = (int(self.ends[-2]), int(self.words[-2])) if len(self.ends) > 1 else (0, 0)
        return Lines(
            np.concatenate((self.terms[:terms], rest.terms)),
            np.concatenate((self.ends[:-1], rest.ends + terms)),
            np.concatenate((self.words[:-1], rest.words + number)),
            hash(text),
        )


@dataclass(frozen=True, slots=True)
class Blocks:
    """The words of a file by blocks of lines.

    Attributes:
        lines: the same by lines, of the beginning of the file where it is a large one.
        ends: for each block, where its terms end.
        lengths: for each block, its number of words.
    """

    lines: Lines
    ends: Numbers
    lengths: Numbers

    @classmethod
    def of(cls, text: str) -> Blocks:
        """Takes a text apart."""
        lines = Lines.of(text[:LARGEST])
        last = np.minimum(np.arange(0, len(lines.ends), BLOCK) + BLOCK, len(lines.ends)) - 1
        return cls(lines, lines.ends[last], np.diff(lines.words[last], prepend=0))


def occurrences(terms: Docs, wanted: Docs) -> tuple[Numbers, Numbers]:
    """The places of wanted terms among others, and for each of them which of the wanted, in ascending order, it is."""
    # Most terms are none of the wanted: a table of their last bits tells that quicker than a search.
    table = np.zeros(1 << 16, np.bool_)
    table[wanted & 0xFFFF] = True
    places = table[terms & np.uint32(0xFFFF)].nonzero()[0]
    found = terms[places]
    at = wanted.searchsorted(found)
    at[at == len(wanted)] = 0
    same = wanted[at] == found
    return places[same], at[same]


def counted(rows: Numbers, columns: Numbers, shape: tuple[int, int]) -> Scores:
    """How often each row and column meet, as a table."""
    times = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return times.reshape(shape).astype(np.float32)


def begins(sizes: Sequence[int]) -> list[int]:
    """Where each of several runs begins that lie one behind the other, and at last where they end."""
    return [0, *itertools.accumulate(sizes)]


def best(files: Sequence[Blocks], worth: Mapping[int, float], *, most: int = 1) -> list[list[Passage]]:
    """The best passages of each file, the best first, at most so many; none for a file without any of the words.

    Args:
        files: their words.
        worth: what each term counts: its weight in the question times how rare it is.
        most: passages of one file.
    """
    if not files or not worth:
        return [[] for _ in files]
    wanted = np.array(sorted(worth), np.uint32)
    values = np.array([worth[term] for term in wanted.tolist()], np.float32)
    blocks = [len(file.ends) for file in files]
    first = begins(blocks)
    hits, at = occurrences(np.concatenate([file.lines.terms for file in files]), wanted)
    ends = [
        file.ends + before for file, before in zip(files, begins([len(f.lines.terms) for f in files]), strict=False)
    ]
    where = np.concatenate(ends).searchsorted(hits, side="right")
    times = counted(where, at, (first[-1] + 1, len(wanted)))  # the last row is of zeros
    lengths = np.concatenate([file.lengths for file in files]).astype(np.float32)
    average = max(1.0, float(lengths.mean()) * WIDTH)
    starts = [np.arange(0, max(1, number - WIDTH + STRIDE), STRIDE) for number in blocks]
    rows = np.concatenate(
        [_rows(own, number, begin, first[-1]) for own, number, begin in zip(starts, blocks, first, strict=False)]
    )
    length = np.append(lengths.astype(np.float64), 0.0)[rows].sum(axis=1)
    frequency = times[rows].sum(axis=1)
    norm = K1 * (1 - B + B * length / average)
    scores: Scores = (values * frequency * (K1 + 1) / (frequency + norm[:, None])).sum(axis=1)
    parts = np.split(scores, begins([len(own) for own in starts])[1:-1])
    return [_passages(own, part, most) for own, part in zip(starts, parts, strict=True)]


def _rows(starts: Numbers, number: int, begin: int, none: int) -> Numbers:
    """The blocks of each passage of a file that has `number` of them from `begin` on; `none` for one past its end."""
    rows = starts[:, None] + np.arange(WIDTH)
    return np.where(rows < number, rows + begin, none)


def _passages(starts: Numbers, scores: Scores, most: int) -> list[Passage]:
    return [
        Passage(int(starts[at]) * BLOCK + 1, (int(starts[at]) + WIDTH) * BLOCK, float(scores[at]))
        for at in (-scores).argsort(kind="stable")[:most]
        if scores[at] > 0
    ]
