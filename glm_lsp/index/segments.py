"""One segment of the inverted lists: its arrays, its file, and several made into one.

Never changes a segment: what is added or dropped gives another one.

The file: a header (magic, version, numbers of postings, documents and terms, CRC-32 of all that), then the arrays, the
widest numbers first. A list names documents by their place in the segment, which fits into 16 bits.
"""

from __future__ import annotations

import itertools
import mmap
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glm_lsp.errors import StateError
from glm_lsp.index import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    Docs: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
    Scores: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
    Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
    Starts: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
    Places: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]
    Frequencies: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
    Counts: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

FULL = 1 << 16
"""Documents that fit into one segment."""

PART = 1 << 21  # postings that are sorted at once while segments are merged, to need little memory


@dataclass(frozen=True, slots=True)
class Segment:
    """Inverted lists of some documents.

    Attributes:
        terms: the distinct terms, ascending; u32.
        starts: where each term's list begins, and at last the end of all; u64, one more than `terms`.
        docs: the lists: places in `ids`, ascending within a list; u16.
        counts: how often the term occurs there; u8, beside `docs`.
        ids: the documents' numbers, ascending; u32.
        lengths: words of each document; u32.
        words: words of all documents.
        dead: by place, which documents were dropped; None for none.
    """

    terms: Docs
    starts: Starts
    docs: Places
    counts: Counts
    ids: Docs
    lengths: Docs
    words: int
    dead: Bools | None = None

    @classmethod
    def of(cls, doc: int, terms: bytes, counts: bytes, length: int) -> Segment:
        """The segment of a single document, from what `words.counts` gave."""
        number = len(counts)
        return cls(
            np.frombuffer(terms, "<u4").astype(np.uint32, copy=False),
            np.arange(number + 1, dtype=np.uint64),
            np.zeros(number, np.uint16),
            np.frombuffer(counts, np.uint8),
            np.array([doc], np.uint32),
            np.array([min(length, 0xFFFFFFFF)], np.uint32),
            length,
        )

    @classmethod
    def of_all(cls, docs: Sequence[int], packed: Sequence[tuple[bytes, bytes, int]]) -> Segment:
        """The segment of several documents, of what `words.counts` gave for each: as many of `of`, merged, but at once."""
        order = sorted(range(len(docs)), key=docs.__getitem__)
        given = [packed[at] for at in order]
        both = np.frombuffer(b"".join([terms for terms, _, _ in given]), "<u4").astype(np.uint64) << np.uint64(16)
        both |= np.repeat(np.arange(len(given), dtype=np.uint64), [len(counts) for _, counts, _ in given])
        counts = np.frombuffer(b"".join([counts for _, counts, _ in given]), np.uint8)
        places = np.argsort(both, kind="stable")
        both = both[places]
        terms = (both >> np.uint64(16)).astype(np.uint32)
        starts = np.flatnonzero(np.concatenate((np.ones(min(1, len(terms)), np.bool_), terms[1:] != terms[:-1])))
        return cls(
            terms[starts],
            np.append(starts, len(terms)).astype(np.uint64),
            (both & np.uint64(0xFFFF)).astype(np.uint16),
            counts[places],
            np.array([docs[at] for at in order], np.uint32),
            np.array([min(length, 0xFFFFFFFF) for _, _, length in given], np.uint32),
            sum(length for _, _, length in given),
        )

    def places(self, term: int) -> tuple[Places, Counts]:
        """The list of a term and the counts beside it; both empty where no document has it.

        Raises:
            StateError: the file holds nonsense.
        """
        at = int(np.searchsorted(self.terms, np.uint32(term)))
        if at == len(self.terms) or int(self.terms[at]) != term:
            return self.docs[:0], self.counts[:0]
        begin, end = int(self.starts[at]), int(self.starts[at + 1])
        found = self.docs[begin:end]
        # A list that the disk spoiled would else point beyond the documents.
        if not begin < end <= len(self.docs) or int(found.max()) >= len(self.ids):
            raise _nonsense()
        return found, self.counts[begin:end]

    def ranges(self, terms: Docs) -> tuple[Frequencies, Frequencies]:
        """Where the list of each term begins, and how long it is.

        Raises:
            StateError: the file holds nonsense.
        """
        if not len(self.terms):
            return np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64)
        at = np.searchsorted(self.terms, terms)
        at[at == len(self.terms)] = 0
        begins, ends = self.starts[at].astype(np.int64), self.starts[at + 1].astype(np.int64)
        sizes = np.where(self.terms[at] == terms, ends - begins, 0)
        if int(sizes.min(initial=0)) < 0 or int(ends.max(initial=0)) > len(self.docs):
            raise _nonsense()
        return begins, sizes

    def lists(self, terms: Docs) -> tuple[Frequencies, Places, Counts]:
        """How long the list of each term is, and these lists with the counts beside them, one behind the other.

        Raises:
            StateError: the file holds nonsense.
        """
        begins, sizes = self.ranges(terms)
        bounds = [(begin, begin + size) for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True) if size]
        places = np.concatenate([self.docs[begin:end] for begin, end in bounds] or [self.docs[:0]])
        if int(places.max(initial=0)) >= len(self.ids):  # what the disk spoiled would point beyond the documents
            raise _nonsense()
        return sizes, places, np.concatenate([self.counts[begin:end] for begin, end in bounds] or [self.counts[:0]])

    def frequencies(self, terms: Docs, those: Bools | None) -> Frequencies:
        """How many documents have each of the terms; of those by place, where that is told."""
        if those is None:
            return self.ranges(terms)[1]
        sizes, places, _ = self.lists(terms)
        return counted(those[places], sizes)

    def with_all(self, terms: Iterable[int]) -> Docs:
        """The living documents that have all of the terms, ascending; at least one term is given."""
        lists = sorted((self.places(term)[0] for term in terms), key=len)
        found: Places = lists[0]
        for other in lists[1:]:
            if not len(found):
                break
            found = np.intersect1d(found, other, assume_unique=True)
        return self.ids[found if self.dead is None else found[~self.dead[found]]]

    def holds(self, doc: int) -> bool:
        """Whether the document is in here, alive."""
        at = int(np.searchsorted(self.ids, np.uint32(doc))) if 0 <= doc < 1 << 32 else len(self.ids)
        return at < len(self.ids) and int(self.ids[at]) == doc and (self.dead is None or not self.dead[at])

    def living(self) -> Docs:
        """The documents that were not dropped, ascending."""
        return self.ids if self.dead is None else self.ids[~self.dead]

    def without(self, gone: np.ndarray[Any, np.dtype[np.int64]]) -> Segment:
        """The same, less those documents; itself where it has none of them."""
        dead: Bools = np.isin(self.ids, gone)
        if self.dead is not None:
            dead |= self.dead
        elif not dead.any():
            return self
        return replace(self, dead=dead)

    def among(self, alive: Bools | None) -> Bools | None:
        """By place, which documents count: not dropped, and alive by a table that goes by their numbers.

        Numbers beyond the table's end are not alive; where there is no table, all are. None: every document counts.
        """
        if alive is None:
            return None if self.dead is None else ~self.dead
        if len(self.ids) and int(self.ids[-1]) < len(alive):
            found: Bools = alive[self.ids]
        else:
            inside = self.ids < len(alive)
            found = np.zeros(len(self.ids), np.bool_)
            found[inside] = alive[self.ids[inside]]
        if self.dead is not None:
            found &= ~self.dead
        return None if found.all() else found

    def norm(self, average: float, k1: float, b: float) -> Scores:
        """By place, the part of BM25 that goes by the document's length."""
        scaled = self.lengths.astype(np.float32)
        scaled *= np.float32(k1 * b / average)
        scaled += np.float32(k1 * (1 - b))
        return scaled


def counted(those: Bools, sizes: Frequencies) -> Frequencies:
    """How many hold in each of several runs that lie one behind the other."""
    upto = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(those, dtype=np.int64)))
    found: Frequencies = before[upto[1:]] - before[upto[:-1]]
    return found


def packed_together(segments: Sequence[Segment]) -> list[Segment]:
    """All of them in as few as can hold them."""
    found: list[Segment] = []
    group: list[Segment] = []
    room = FULL
    for segment in segments:
        if group and len(segment.ids) > room:
            found.append(merged(group))
            group, room = [], FULL
        group.append(segment)
        room -= len(segment.ids)
    return [*found, merged(group)] if group else found


def merged(segments: Sequence[Segment]) -> Segment:
    """One segment with the living documents of several, which fit into one.

    Needs some 50 bytes for each of `PART` postings, however many there are, beside the result.
    """
    given = [segment.living() for segment in segments]
    ids = np.concatenate(given)
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    lengths = np.concatenate([s.lengths if s.dead is None else s.lengths[~s.dead] for s in segments])[order]
    # For each segment: the place in the result of each of its documents, -1 for a dropped one.
    new: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    begin = 0
    for segment, living in zip(segments, given, strict=True):
        moved = np.full(len(segment.ids), -1, np.int64)
        moved[slice(None) if segment.dead is None else ~segment.dead] = place[begin : begin + len(living)]
        new.append(moved)
        begin += len(living)
    terms, starts, docs, counts = [], [], [], []
    for low, high in _ranges(segments):
        part = _part(segments, new, low, high)
        terms.append(part[0])
        starts.append(part[1])
        docs.append(part[2])
        counts.append(part[3])
    sizes = np.concatenate(starts) if starts else np.empty(0, np.uint64)
    return Segment(
        np.concatenate(terms) if terms else np.empty(0, np.uint32),
        np.concatenate((np.zeros(1, np.uint64), np.cumsum(sizes, dtype=np.uint64))),
        np.concatenate(docs) if docs else np.empty(0, np.uint16),
        np.concatenate(counts) if counts else np.empty(0, np.uint8),
        ids[order],
        lengths,
        int(lengths.sum(dtype=np.int64)),
    )


def _ranges(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Ranges of terms that have about `PART` postings each: terms are spread evenly, being checksums."""
    parts = max(1, -(-sum(len(segment.docs) for segment in segments) // PART))
    edges = [round(at * (1 << 32) / parts) for at in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _part(
    segments: Sequence[Segment], new: Sequence[np.ndarray[Any, np.dtype[np.int64]]], low: int, high: int
) -> tuple[Docs, Starts, Places, Counts]:
    """The terms in a range with the number of postings of each, and these postings."""
    keys, counts = [], []
    for segment, moved in zip(segments, new, strict=True):
        first, last = np.searchsorted(segment.terms, np.array([low, high - 1], np.uint32), side="left")
        if last < len(segment.terms) and segment.terms[last] == high - 1:
            last += 1
        starts = segment.starts[first : last + 1]
        begin, end = (int(starts[0]), int(starts[-1])) if len(starts) else (0, 0)
        sizes = np.diff(starts).astype(np.int64)
        docs = moved[segment.docs[begin:end]]
        key = np.repeat(segment.terms[first:last].astype(np.uint64) << np.uint64(16), sizes)
        living = docs >= 0
        keys.append(
            (key | docs.astype(np.uint64))[living] if segment.dead is not None else key | docs.astype(np.uint64)
        )
        counts.append(segment.counts[begin:end][living] if segment.dead is not None else segment.counts[begin:end])
    both = np.concatenate(keys)
    order = np.argsort(both, kind="stable")
    both = both[order]
    terms, sizes = np.unique((both >> np.uint64(16)).astype(np.uint32), return_counts=True)
    return terms, sizes.astype(np.uint64), (both & np.uint64(0xFFFF)).astype(np.uint16), np.concatenate(counts)[order]


def write(path: Path, segment: Segment) -> None:
    """Puts a segment without dropped documents into a file, durably.

    Raises:
        OSError: it cannot be written.
    """
    head = listed.Head(len(segment.docs), len(segment.ids), len(segment.terms), segment.words)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(head.packed())
        file.writelines(
            np.ascontiguousarray(array, kind).data
            for array, kind in (
                (segment.starts, "<u8"),
                (segment.terms, "<u4"),
                (segment.ids, "<u4"),
                (segment.lengths, "<u4"),
                (segment.docs, "<u2"),
                (segment.counts, "u1"),
            )
        )
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> Segment:
    """Maps a segment's file.

    Raises:
        FileNotFoundError: there is none.
        StateError: it is damaged, or not one of ours.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise listed.unreadable(path, str(error)) from error
    postings, documents, terms, total = listed.head(path, mapped[: listed.ROOM], len(mapped))
    at = listed.ROOM
    arrays: list[Any] = []
    for kind, number in (
        ("<u8", terms + 1),
        ("<u4", terms),
        ("<u4", documents),
        ("<u4", documents),
        ("<u2", postings),
        ("u1", postings),
    ):
        arrays.append(np.frombuffer(mapped, kind, number, at))
        at += number * np.dtype(kind).itemsize
    starts, names, ids, lengths, docs, counts = arrays
    if int(starts[0]) or int(starts[-1]) != postings:
        raise listed.unreadable(path, "its lists are damaged")
    return Segment(names, starts, docs, counts, ids, lengths, total)


def _nonsense() -> StateError:
    return StateError("The word lists are damaged.", hint="They are made anew from the files.")
