"""The files that are ranked, and what is kept of them from one question to the next.

Never looks at a question: what is kept depends on the files alone, and is brought up to date by what changed, so that a
keystroke costs next to nothing.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from glm_lsp.index import passages, words
from glm_lsp.index.postings import Postings
from glm_lsp.index.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glm_lsp.index.history import History
    from glm_lsp.index.segments import Bools, Scores
    from glm_lsp.languages.facts import Definition

LATEST = 512  # files whose words are kept, some 25 KB each
OUTLINES = 256  # files whose definitions are kept, some 20 KB each
TIES = 64  # open files of which it is kept what ties them to others, some 20 KB each


class Corpus(Protocol):
    """The files that are ranked, as an index has them; weak references to it must be possible."""

    @property
    def version(self) -> int:
        """Another number whenever anything of the rest gives other answers."""

    @property
    def paths(self) -> Sequence[str]:
        """The files that may be found; the very same sequence only while each of them has the same content."""

    @property
    def postings(self) -> Postings:
        """Their words, by content."""

    @property
    def history(self) -> History:
        """The latest commits."""

    def content_of(self, path: str) -> int:
        """The number of a file's content; 0 where there is none."""

    def text(self, path: str) -> str | None:
        """A file's text as it is now; None where it cannot be read."""

    def defined(self, name: str) -> Sequence[str]:
        """The files that define exactly this name."""

    def definitions_of(self, path: str) -> Sequence[Definition]:
        """What a file defines; empty where that is not known."""

    def uses_of(self, path: str) -> Mapping[str, Sequence[int]]:
        """The names that a file uses, with their lines; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What ties a file to others.

    Attributes:
        version: when it was so.
        used: files that define what it uses, with what that counts.
        defined: the terms of the names that it, and hardly another one, defines.
    """

    version: int
    used: Sequence[tuple[str, float]]
    defined: Sequence[int]


@dataclass(slots=True)
class Files:
    """The files of a corpus at one version."""

    version: int = -1
    given: Sequence[str] | None = None  # what the corpus gave as its paths
    paths: Sequence[str] = ()
    place: dict[str, int] = field(default_factory=dict)
    docs: np.ndarray[Any, np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(0, np.int64))
    alive: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  # by the path's own number
    contents: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  # by content
    own: np.ndarray[Any, np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(0, np.int64))
    by_path: Postings = field(default_factory=lambda: Postings.open(None))
    by_name: dict[str, list[int]] = field(default_factory=dict)  # file name, lower case: places
    folders: dict[str, list[int]] = field(default_factory=dict)
    below: dict[str, list[str]] = field(default_factory=dict)  # folders right in a folder
    blocks: Shelf[passages.Blocks] = field(default_factory=lambda: Shelf(LATEST))
    names: Shelf[tuple[dict[int, int], int]] = field(default_factory=lambda: Shelf(4 * LATEST))
    outlines: Shelf[tuple[int, Sequence[Definition]]] = field(default_factory=lambda: Shelf(OUTLINES))
    ties: Shelf[Ties] = field(default_factory=lambda: Shelf(TIES))
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: dict[str, int] = field(default_factory=dict)
    lately: tuple[History | None, Sequence[str], Scores] = (None, (), np.zeros(0, np.float32))

    def current(self, corpus: Corpus) -> Files:
        """These at the corpus's present version; the rest of what is kept is shared."""
        version = corpus.version
        if version == self.version:
            return self
        given = corpus.paths
        if given is self.given:
            return replace(self, version=version)
        paths = tuple(given)
        docs = np.fromiter((corpus.content_of(path) for path in paths), np.int64, len(paths))
        contents = np.zeros(int(docs.max(initial=0)) + 1, np.bool_)
        contents[docs] = True
        contents[0] = False
        if paths == self.paths:
            return replace(self, version=version, given=given, docs=docs, contents=contents)
        fresh = [path for path in paths if path not in self.numbers]
        following = range(len(self.numbers), len(self.numbers) + len(fresh))
        self.by_path.add(following, [packed(_path_words(path)) for path in fresh])
        self.numbers.update(zip(fresh, following, strict=True))
        own = np.fromiter((self.numbers[path] for path in paths), np.int64, len(paths))
        alive = np.zeros(len(self.numbers), np.bool_)
        alive[own] = True
        by_name: defaultdict[str, list[int]] = defaultdict(list)
        folders: defaultdict[str, list[int]] = defaultdict(list)
        for at, path in enumerate(paths):
            folder, _, name = path.rpartition("/")
            by_name[name.lower()].append(at)
            folders[folder].append(at)
        place = {path: at for at, path in enumerate(paths)}
        return replace(
            self,
            version=version,
            given=given,
            paths=paths,
            place=place,
            docs=docs,
            alive=alive,
            contents=contents,
            own=own,
            by_name=by_name,
            folders=folders,
            below=_below(folders),
        )

    def by(self, scores: Mapping[str, float]) -> Scores:
        """By place, what is given by path."""
        column = np.zeros(len(self.paths), np.float32)
        for path, score in scores.items():
            if (at := self.place.get(path)) is not None:
                column[at] = score
        return column

    def recency(self, history: History) -> Scores:
        """How lately and often each file was changed."""
        known, paths, column = self.lately
        if known is not history or paths is not self.paths:
            column = self.by(history.recency)
            self.lately = history, self.paths, column
        return column


_kept: weakref.WeakKeyDictionary[Any, Files] = weakref.WeakKeyDictionary()
_keeping = threading.Lock()


def files_of(corpus: Corpus) -> Files:
    """The files of a corpus as they are now, with what is kept of them."""
    with _keeping:
        files = _kept.get(corpus)
        if files is None:
            files = _kept[corpus] = Files()
    if files.version == corpus.version:
        return files
    with files.lock:  # shared by all that follow from the first one
        files = _kept[corpus].current(corpus)
        _kept[corpus] = files
    return files


def lines_of(corpus: Corpus, path: str, text: str) -> passages.Lines:
    """The words of a text by lines; those of the file are taken where it was looked at lately and is still the same."""
    files = files_of(corpus)
    known = files.blocks.get((path, hash(text)))
    if known is None and (at := files.place.get(path)) is not None:
        known = files.blocks.get(int(files.docs[at]))
    if known is not None and known.lines.digest == hash(text):
        return known.lines
    if known is not None and len(text) > passages.LARGEST and known.lines.digest == hash(text[: passages.LARGEST]):
        return known.lines.continued(text)
    return passages.Lines.of(text)


def outline_of(corpus: Corpus, path: str) -> Sequence[Definition]:
    """What a file defines, asked for once as long as nothing changes."""
    files = files_of(corpus)
    known = files.outlines.get(path)
    if known is None or known[0] != files.version:
        known = files.outlines.put(path, (files.version, corpus.definitions_of(path)))
    return known[1]


def packed(data: bytes) -> words.Packed:
    """What `words.counts` gives, sooner for a few words."""
    terms, length = words.in_order(data)
    times = sorted(Counter(struct.unpack(f"<{len(terms) >> 2}I", terms)).items())
    return (
        struct.pack(f"<{len(times)}I", *(term for term, _ in times)),
        bytes(min(number, 255) for _, number in times),
        length,
    )


def _path_words(path: str) -> bytes:
    pure = PurePosixPath(path)
    return f"{pure.with_suffix('')} {pure.stem}".encode(errors="replace")  # the name itself counts twice


def _below(folders: Iterable[str]) -> dict[str, list[str]]:
    """For each folder those right in it, also where they have no files of their own."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    seen = {""}
    for folder in folders:
        while folder not in seen:
            seen.add(folder)
            above = folder.rpartition("/")[0]
            found[above].append(folder)
            folder = above  # noqa: PLW2901 - upwards, as far as is new
    return found
