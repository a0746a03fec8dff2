"""Which documents have a term, and how often: inverted lists on the disk, with the newest ones in memory.

Never holds a text or a word: documents are numbers, and so are terms.

A folder has segments, which are never changed once written, and a list of those that count. Segments are mapped into
memory, so that a list costs room only while it is read. New documents stay in memory until `flush`; small segments are
merged into larger ones. Reading goes on while another thread writes; writers wait for each other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from glm_lsp.errors import StateError
from glm_lsp.index import listed, words
from glm_lsp.index.listed import LIST
from glm_lsp.index.segments import FULL, Segment, counted, merged, packed_together, read, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from glm_lsp.index.segments import Bools, Docs, Frequencies, Scores

VERSION = 1

LOOSE = 64  # documents that are looked through one by one, before they become a segment
TIER = 4  # segments of about one size before they are merged into one
K1, B = 1.2, 0.75  # of BM25, as everybody has them


@dataclass(frozen=True, slots=True)
class _State:
    """What a reader sees: swapped as a whole.

    Attributes:
        disk: segments with their file names, oldest first.
        memory: segments that were not written yet.
        loose: the newest documents, one segment each.
    """

    disk: tuple[tuple[str, Segment], ...] = ()
    memory: tuple[Segment, ...] = ()
    loose: tuple[Segment, ...] = ()

    def all(self) -> tuple[Segment, ...]:
        return (*(segment for _, segment in self.disk), *self.memory, *self.loose)


class Postings:
    """Inverted lists of a workspace's documents. Create it by `open`."""

    def __init__(self, folder: Path | None, state: _State, following: int) -> None:
        self._folder = folder
        self._state = state
        self._following = following  # number of the next segment's file
        self._writing = threading.RLock()
        self._last: _Seen | None = None

    @classmethod
    def open(cls, folder: Path | None) -> Postings:
        """Maps the segments of a folder, or begins with none.

        Args:
            folder: where they are, or will be at the first `flush`; None keeps everything in memory.

        Raises:
            StateError: they are damaged, of another program or of another version; they can only be made anew.
        """
        if folder is None:
            return cls(None, _State(), 0)
        for attempt in range(3):
            names, following = _listed(folder)
            try:
                return cls(folder, _State(tuple((name, read(folder / name)) for name in names)), following)
            except FileNotFoundError as error:  # a writer may just have merged it away, and listed another one
                if attempt == 2:
                    raise listed.damaged(folder, f"{error.filename} is missing") from error
        raise AssertionError  # unreachable: the last attempt returned or raised

    def close(self) -> None:
        """Lets go of the files; what was not flushed is lost."""
        self._state, self._last = _State(), None

    # --- writing -------------------------------------------------------------------------------------------------

    def add(self, docs: Sequence[int], packed: Sequence[words.Packed]) -> None:
        """Takes in new documents.

        Args:
            docs: numbers below 2**32 that are not held yet.
            packed: what `words.counts` gave for each.
        """
        with self._writing:
            state = self._state
            if len(docs) > LOOSE:
                fresh = [
                    Segment.of_all(docs[at : at + FULL], packed[at : at + FULL]) for at in range(0, len(docs), FULL)
                ]
                self._state = _State(state.disk, _tidy([*state.memory, *fresh]), state.loose)
                return
            loose = (*state.loose, *(Segment.of(doc, *given) for doc, given in zip(docs, packed, strict=True)))
            if len(loose) <= LOOSE:
                self._state = _State(state.disk, state.memory, loose)
            else:
                self._state = _State(state.disk, _tidy([*state.memory, *packed_together(loose)]), ())

    def drop(self, docs: Collection[int]) -> None:
        """Forgets documents, at once for whoever asks, and in the files with the next `flush`."""
        if not docs:
            return
        gone = np.fromiter(docs, dtype=np.int64, count=len(docs))
        with self._writing:
            state = self._state
            self._state = _State(
                tuple((name, segment.without(gone)) for name, segment in state.disk),
                tuple(segment.without(gone) for segment in state.memory),
                tuple(segment for segment in state.loose if int(segment.ids[0]) not in docs),
            )

    def flush(self) -> None:
        """Writes what is only in memory, so that it outlives a power cut; merges segments when there are many.

        Raises:
            StateError: the disk is full or may not be written; everything stays in memory, and goes on to answer.
        """
        if self._folder is None:
            return
        with self._writing:
            try:
                self._flush(self._folder)
            except OSError as error:
                raise StateError(
                    f"The word lists could not be written to {self._folder}: {error.strerror or error}.",
                    hint="Make room there; until then they are kept in memory.",
                ) from error

    def _flush(self, folder: Path) -> None:
        state = self._state
        plan: list[tuple[str, Segment]] = []  # an empty name: to be written
        plan += [("" if segment.dead is not None else name, segment) for name, segment in state.disk]
        plan += [("", segment) for segment in (*state.memory, *packed_together(state.loose))]
        groups = _groups([segment for _, segment in plan])
        if all(name for name, _ in plan) and all(len(group) == 1 for group in groups):
            return
        folder.mkdir(parents=True, exist_ok=True)
        disk: list[tuple[str, Segment]] = []
        for group in groups:
            name, segment = plan[group[0]]
            if len(group) > 1 or not name:
                segment = merged([plan[at][1] for at in group])
                if not len(segment.ids):
                    continue
                name = f"{self._following:08d}.words"
                self._following += 1
                write(folder / name, segment)
                segment = read(folder / name)
            disk.append((name, segment))
        _list(folder, [name for name, _ in disk], self._following)
        self._state, self._last = _State(tuple(disk)), None  # else files that are merged away would stay mapped
        kept = {name for name, _ in disk}
        for file in folder.glob("*.words*"):
            if file.name not in kept:
                with contextlib.suppress(OSError):  # it is not listed, and so of no harm
                    file.unlink()

    # --- asking --------------------------------------------------------------------------------------------------

    def holds(self, doc: int) -> bool:
        """Whether the document was added, and not dropped since."""
        return any(segment.holds(doc) for segment in self._state.all())

    def fresh(self, docs: Iterable[int]) -> list[int]:
        """Those of the documents that are not held."""
        asked = np.fromiter(docs, np.uint32)
        held = np.zeros(len(asked), np.bool_)
        for segment in self._state.all() if len(asked) else ():
            at = np.minimum(np.searchsorted(segment.ids, asked), len(segment.ids) - 1)
            held |= (segment.ids[at] == asked) & (True if segment.dead is None else ~segment.dead[at])
        return [int(doc) for doc in asked[~held]]

    def __len__(self) -> int:
        return sum(len(segment.ids) for segment in self._state.all())

    def documents(self) -> Docs:
        """All documents, ascending."""
        found = [segment.living() for segment in self._state.all()]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint32)

    def frequency(self, term: int) -> int:
        """How many documents have the term."""
        return sum(len(segment.places(term)[0]) for segment in self._state.all())

    def frequencies(self, terms: Docs, alive: Bools | None = None) -> tuple[Frequencies, int]:
        """How many documents have each of the terms, and how many there are; `alive` as for `bm25`."""
        seen = self._seen(alive)
        found = np.zeros(len(terms), np.int64)
        for segment, those in zip(seen.segments, seen.living, strict=True):
            found += segment.frequencies(terms, those)
        return found, seen.number

    def rarity(self, terms: Iterable[int], alive: Bools | None = None) -> dict[int, float]:
        """What each term tells, the more the fewer documents have it; `alive` as for `bm25`, which counts the same."""
        asked = np.fromiter(terms, np.uint32)
        found, number = self.frequencies(asked, alive)
        return {
            term: _rarity(number, frequency) for term, frequency in zip(asked.tolist(), found.tolist(), strict=True)
        }

    def files_with(self, terms: Iterable[int]) -> Docs:
        """The documents that have all the terms, ascending; `words.ANYWHERE` among them changes nothing."""
        wanted = {term for term in terms if term != words.ANYWHERE}
        if not wanted:
            return self.documents()
        found = [segment.with_all(wanted) for segment in self._state.all()]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint32)

    def bm25(self, weights: Mapping[int, float], alive: Bools | None = None) -> tuple[Docs, Scores]:
        """Scores documents by the terms they have.

        Takes well below a millisecond for a dozen terms and ten thousand documents.

        Args:
            weights: terms with what each counts; those that no document has cost nothing.
            alive: by document number, whether it is to be found, and counts in how rare a term is and how long
                documents are; numbers beyond its end are not. None: all are. A table that was given once is not to
                be changed: what follows from it is kept.

        Returns:
            The documents that have any of the terms, in no particular order, and their scores, all above 0.
        """
        seen = self._seen(alive)
        if not seen.number:
            return np.empty(0, np.uint32), np.empty(0, np.float32)
        terms = np.fromiter(weights, np.uint32, len(weights))
        found = [segment.lists(terms) for segment in seen.segments]
        having = np.zeros(len(terms), np.int64)
        for (sizes, places, _), those in zip(found, seen.living, strict=True):
            having += sizes if those is None else counted(those[places], sizes)
        values = np.array(
            [
                weight * _rarity(seen.number, number) * (K1 + 1)
                for weight, number in zip(weights.values(), having.tolist(), strict=True)
            ],
            np.float32,
        )
        docs, scores = [], []
        for at, (sizes, places, times) in enumerate(found):
            ids, those = seen.segments[at].ids, seen.living[at]
            total = np.zeros(len(ids), np.float32)
            frequency = times.astype(np.float32)
            frequency = np.repeat(values, sizes) * frequency / (frequency + seen.norm(at)[places])
            # One after the other, in the order of the terms.
            np.add.at(total, places.astype(np.intp), frequency)
            keep = total > 0
            if those is not None:
                keep &= those
            docs.append(ids[keep])
            scores.append(total[keep])
        return np.concatenate(docs), np.concatenate(scores)

    def _seen(self, alive: Bools | None) -> _Seen:
        """What depends on the documents alone, kept as long as these are the same."""
        state, known = self._state, self._last
        if known is None or known.state is not state or known.alive is not alive:
            known = self._last = _Seen(state, alive)
        return known


class _Seen:
    """The documents that count in an answer, and what is known of them whatever was asked."""

    def __init__(self, state: _State, alive: Bools | None) -> None:
        self.state = state
        self.alive = alive
        self.segments = state.all()
        self.living = [segment.among(alive) for segment in self.segments]
        both = list(zip(self.segments, self.living, strict=True))
        self.number = sum(len(one.ids) if those is None else int(np.count_nonzero(those)) for one, those in both)
        self._norms: list[Scores | None] = [None for _ in self.segments]

    def norm(self, at: int) -> Scores:
        """By place in a segment, the part of BM25 that goes by the document's length."""
        if (known := self._norms[at]) is None:
            known = self._norms[at] = self.segments[at].norm(max(1.0, self._words / self.number), K1, B)
        return known

    @functools.cached_property
    def _words(self) -> int:
        """The words of all documents that count."""
        return sum(
            one.words if those is None else int(one.lengths[those].sum(dtype=np.int64))
            for one, those in zip(self.segments, self.living, strict=True)
        )


def _rarity(number: int, frequency: int) -> float:
    return math.log1p((number - frequency + 0.5) / (frequency + 0.5))


def _tidy(segments: list[Segment]) -> tuple[Segment, ...]:
    return tuple(
        segments[group[0]] if len(group) == 1 else merged([segments[at] for at in group]) for group in _groups(segments)
    )


def _groups(segments: Sequence[Segment]) -> list[list[int]]:
    """Which segments to make one of: small ones when there are `TIER` of about their size.

    Each document is thus rewritten a few times only, however often one flushes; no group grows past a full segment.
    """
    tiers: dict[int, list[int]] = {}
    groups: list[list[int]] = []
    for at in sorted(range(len(segments)), key=lambda at: len(segments[at].ids)):
        size = max(1, len(segments[at].ids))
        tier = tiers.setdefault(size.bit_length() // 2, [])
        tier.append(at)
    for members in tiers.values():
        if len(members) < TIER:
            groups += [[at] for at in members]
            continue
        group: list[int] = []
        room = FULL
        for at in members:
            size = len(segments[at].ids)
            if group and size > room:
                groups.append(group)
                group, room = [], FULL
            group.append(at)
            room -= size
        groups.append(group)
    return sorted(sorted(group) for group in groups)


def _listed(folder: Path) -> tuple[list[str], int]:
    """The names of the segments, and the number of the next one."""
    names, following, versions = listed.segments(folder)
    if names and versions != [VERSION, words.VERSION]:
        raise listed.damaged(folder, "they were written by another version")
    return names, following


def _list(folder: Path, names: list[str], following: int) -> None:
    body = json.dumps({"versions": [VERSION, words.VERSION], "segments": names, "next": following}).encode()
    temporary = folder / (LIST + ".new")
    with temporary.open("wb") as file:
        file.write(b"%08x\n" % crc32(body) + body)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / LIST)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
