"""Which passages of some files answer a question best: runs of sixty lines, forty apart.

Never looks at more than the files it is given, and keeps the words of the latest ones only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glm_lsp.index import words

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from glm_lsp.index.segments import Docs, Scores

BLOCK = 20  # lines: a passage is three blocks, and the next one begins two blocks later
WIDTH, STRIDE = 3, 2
MOST = 512  # files whose words are kept, about 20 KB each
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
class Blocks:
    """The words of a file by blocks of lines.

    Attributes:
        terms: the term of every word and of its parts, in the order of the text.
        ends: for each block, where its terms end.
        lengths: for each block, its number of words.
    """

    terms: Docs
    ends: np.ndarray[Any, np.dtype[np.int64]]
    lengths: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(cls, text: str) -> Blocks:
        """Takes a text apart."""
        lines = text[:LARGEST].encode(errors="replace").split(b"\n")
        parts = [words.in_order(b"\n".join(lines[at : at + BLOCK])) for at in range(0, len(lines), BLOCK)]
        return cls(
            np.frombuffer(b"".join(terms for terms, _ in parts), "<u4"),
            np.cumsum([len(terms) >> 2 for terms, _ in parts]),
            np.array([length for _, length in parts]),
        )


class Shelf:
    """The words of the files that were looked at lately."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._blocks: OrderedDict[Hashable, Blocks] = OrderedDict()
        self._lock = threading.Lock()

    def blocks(self, key: Hashable, text: Callable[[], str | None]) -> Blocks:
        """The words of a file; `text` is asked for where they are not kept under `key`."""
        with self._lock:
            if (found := self._blocks.get(key)) is not None:
                self._blocks.move_to_end(key)
                return found
        found = Blocks.of(text() or "")
        with self._lock:
            self._blocks[key] = found
            while len(self._blocks) > self._most:
                self._blocks.popitem(last=False)
        return found


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
    begins = np.concatenate(([0], np.cumsum(blocks)))
    times = np.zeros((int(begins[-1]), len(wanted)), np.float32)
    for file, begin in zip(files, begins.tolist(), strict=False):
        at = np.searchsorted(wanted, file.terms)
        at[at == len(wanted)] = 0
        hits = np.flatnonzero(wanted[at] == file.terms)
        np.add.at(times, (begin + np.searchsorted(file.ends, hits, side="right"), at[hits]), 1.0)
    lengths = np.concatenate([file.lengths for file in files]).astype(np.float32)
    average = max(1.0, float(lengths.mean()) * WIDTH)
    found: list[list[Passage]] = []
    for number, begin in zip(blocks, begins.tolist(), strict=False):
        starts = np.arange(0, max(1, number - WIDTH + STRIDE), STRIDE)
        rows = np.minimum(starts[:, None] + np.arange(WIDTH), number)  # the row after the last one is of zeros
        own = np.concatenate((times[begin : begin + number], np.zeros((1, len(wanted)), np.float32)))
        length = np.concatenate((lengths[begin : begin + number], [0.0]))[rows].sum(axis=1)
        frequency = own[rows].sum(axis=1)
        norm = K1 * (1 - B + B * length / average)
        scores: Scores = (values * frequency * (K1 + 1) / (frequency + norm[:, None])).sum(axis=1)
        order = np.argsort(-scores, kind="stable")[:most]
        found.append(
            [
                Passage(int(starts[at]) * BLOCK + 1, (int(starts[at]) + WIDTH) * BLOCK, float(scores[at]))
                for at in order
                if scores[at] > 0
            ]
        )
    return found
