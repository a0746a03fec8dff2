"""The signs that a file has to do with a question, each as a column of numbers over all files.

Never weighs one sign against another: that is for whoever ranks.

What depends on a question is computed anew; what depends on the files alone is kept for each corpus, and brought up to
date by what changed, so that a keystroke costs a look at the list of files and no more.

content: BM25 over the words of the whole file. passage: the same over its best sixty lines. path, symbols: over the
words of its path, of the names it defines. defines: names of the question that it defines. commits: messages of past
commits that changed it. recency: how lately and often it was changed. named: its path or file name stands in the
question. asked: it defines a name that the caller asks for. With open files: together, how often it was changed in one
commit with them; used, what they use of it; uses, what it uses of them; folder, how near it lies; alike, BM25 over the
words that tell them from other files; shared, over the words of the question that they have too; open, it is open.
"""

from __future__ import annotations

import math
import re
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
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from glm_lsp.index.history import History
    from glm_lsp.index.segments import Bools, Docs, Scores
    from glm_lsp.index.words import Numbers
    from glm_lsp.languages.facts import Definition

CLOSE = 30  # files, the best by the cheap signs, whose passages and definitions are looked at
WORDS = 60_000  # after which no further file is read, to be done in time; some 400 KB
TERMS = 40  # of a question: those that count most; a pasted log has hundreds
NAMES = 32  # of a question, that are looked up as definitions
USED = 200  # names of an open file that are looked up, those that it uses most
TELLING = 80  # words of the open files that tell them from others
FAR = 2  # folders between two files, above which they have nothing to do with each other
WIDELY = 20  # files that define a name, from which on it says nothing
LATEST = 512  # files whose words are kept, some 25 KB each
OUTLINES = 256  # files whose definitions are kept, some 20 KB each


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
class Signs:
    """All signs of one question.

    Attributes:
        paths: the files.
        values: for each sign that says anything, a number for each file, 0 for nothing.
        defines: for a file the names of the question, or those asked for, that it defines.
    """

    paths: Sequence[str]
    values: Mapping[str, Scores]
    defines: Mapping[str, Sequence[str]]


def read(corpus: Corpus, question: str, *, open_paths: Collection[str] = (), names: Sequence[str] = ()) -> Signs:
    """Computes every sign; files that are not close to the question have no passage and no symbols."""
    files = _files_of(corpus)
    opened = [path for path in dict.fromkeys(open_paths) if path in files.place]
    weights = words.query(question)
    for name in names:
        term = words.whole(name)
        if term != words.ANYWHERE:
            weights[term] = max(weights.get(term, 0.0), 1.0)
    worth = _worth(corpus, files, weights)
    weights = {term: weights[term] for term in worth}

    values: dict[str, Scores] = {}
    values["content"] = _content(corpus, files, weights)
    values["path"] = _column(files, *files.by_path.bm25(weights, files.alive))
    values["commits"] = _sparse(files, corpus.history.fitting(weights))
    values["recency"] = files.recency(corpus.history)
    values["named"] = _named(files, question)
    defines: defaultdict[str, list[str]] = defaultdict(list)
    values["defines"] = _defines(corpus, files, words.identifiers(question)[:NAMES], defines)
    values["asked"] = _defines(corpus, files, list(dict.fromkeys(names))[:NAMES], defines)
    if opened:
        values |= _around(corpus, files, opened, weights)
    close = _closest(values, files)
    values["passage"], values["symbols"] = _closer(corpus, files, close, worth, opened)
    return Signs(files.paths, {sign: column for sign, column in values.items() if column.any()}, defines)


# --- what depends on the files alone ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Files:
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
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: dict[str, int] = field(default_factory=dict)
    lately: tuple[History | None, Sequence[str], Scores] = (None, (), np.zeros(0, np.float32))

    def current(self, corpus: Corpus) -> _Files:
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
        self.by_path.add(following, [_packed(_path_words(path)) for path in fresh])
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

    def recency(self, history: History) -> Scores:
        """How lately and often each file was changed."""
        known, paths, column = self.lately
        if known is not history or paths is not self.paths:
            column = _sparse(self, history.recency)
            self.lately = history, self.paths, column
        return column


_kept: weakref.WeakKeyDictionary[Any, _Files] = weakref.WeakKeyDictionary()
_keeping = threading.Lock()


def _files_of(corpus: Corpus) -> _Files:
    with _keeping:
        files = _kept.get(corpus)
        if files is None:
            files = _kept[corpus] = _Files()
    if files.version == corpus.version:
        return files
    with files.lock:  # shared by all that follow from the first one
        files = _kept[corpus].current(corpus)
        _kept[corpus] = files
    return files


def lines_of(corpus: Corpus, path: str, text: str) -> passages.Lines:
    """The words of a text by lines; those of the file are taken where it was looked at lately and is still the same."""
    files = _files_of(corpus)
    known = files.blocks.get((path, hash(text)))
    if known is None and (at := files.place.get(path)) is not None:
        known = files.blocks.get(int(files.docs[at]))
    return known.lines if known is not None and known.lines.digest == hash(text) else passages.Lines.of(text)


def outline_of(corpus: Corpus, path: str) -> Sequence[Definition]:
    """What a file defines, asked for once as long as nothing changes."""
    files = _files_of(corpus)
    known = files.outlines.get(path)
    if known is None or known[0] != files.version:
        known = files.outlines.put(path, (files.version, corpus.definitions_of(path)))
    return known[1]


def worth(corpus: Corpus, weights: Mapping[int, float]) -> dict[int, float]:
    """What each term of a question counts: its weight times how rare it is; those that no file has are left out."""
    files = _files_of(corpus)
    found, _ = corpus.postings.frequencies(np.fromiter(weights, np.uint32), files.contents)
    held = (given for given, number in zip(weights.items(), found.tolist(), strict=True) if number)
    return _worth(corpus, files, dict(held))


def _packed(data: bytes) -> words.Packed:
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


def _column(files: _Files, numbers: np.ndarray[Any, Any], scores: Scores) -> Scores:
    """By place, what is given by the paths' own numbers."""
    dense = np.zeros(len(files.alive), np.float32)
    dense[numbers] = scores
    column: Scores = dense[files.own]
    return column


def _sparse(files: _Files, scores: Mapping[str, float]) -> Scores:
    column = np.zeros(len(files.paths), np.float32)
    for path, score in scores.items():
        if (at := files.place.get(path)) is not None:
            column[at] = score
    return column


# --- the question against all files -------------------------------------------------------------------------------


def _worth(corpus: Corpus, files: _Files, weights: Mapping[int, float]) -> dict[int, float]:
    """What each term counts: its weight times how rare it is in the files of now; the weightiest terms only."""
    worth = corpus.postings.rarity(weights, files.contents)
    worth = {term: weight * worth[term] for term, weight in weights.items()}
    return {term: worth[term] for term in sorted(worth, key=lambda term: (-worth[term], term))[:TERMS]}


def _content(corpus: Corpus, files: _Files, weights: Mapping[int, float]) -> Scores:
    docs, scores = corpus.postings.bm25(weights, files.contents)
    dense = np.zeros(len(files.contents), np.float32)
    dense[docs] = scores
    column: Scores = dense[files.docs]
    return column


def _named(files: _Files, question: str) -> Scores:
    column = np.zeros(len(files.paths), np.float32)
    for said in dict.fromkeys(_PATH.findall(question.replace("\\", "/"))):
        whole = said.strip("./-").lower()
        if "." not in whole:
            continue
        places = files.by_name.get(whole.rpartition("/")[2], ())
        if len(places) <= WIDELY or "/" in whole:
            fitting = [at for at in places if f"/{files.paths[at].lower()}".endswith(f"/{whole}")]
            # A path as in a traceback may begin above the workspace.
            fitting = fitting or [at for at in places if f"/{whole}".endswith(f"/{files.paths[at].lower()}")]
            column[fitting] += 1.0 / math.sqrt(max(1, len(fitting)))
    return column


_PATH = re.compile(r"[\w.@/+-]+")


def _defines(corpus: Corpus, files: _Files, names: Sequence[str], defines: dict[str, list[str]]) -> Scores:
    column = np.zeros(len(files.paths), np.float32)
    for name in names:
        found = [path for path in corpus.defined(name) if path in files.place]
        if 0 < len(found) <= WIDELY:
            for path in found:
                column[files.place[path]] += 1.0 / len(found)
                if name not in defines.setdefault(path, []):
                    defines[path].append(name)
    return column


# --- what lies around the open files ------------------------------------------------------------------------------


def _around(corpus: Corpus, files: _Files, opened: Sequence[str], weights: Mapping[int, float]) -> dict[str, Scores]:
    used: defaultdict[str, float] = defaultdict(float)
    users: dict[int, float] = {}
    near = np.zeros(len(files.paths), np.float32)
    for path in opened:
        uses = corpus.uses_of(path)
        for name in sorted(uses, key=lambda name: (-len(uses[name]), name))[:USED]:
            found = corpus.defined(name)
            if len(found) <= WIDELY and path not in found:
                for other in found:
                    used[other] += (1 + math.log(len(uses[name]))) / len(found)
        for definition in corpus.definitions_of(path):
            term = words.whole(definition.name)
            if term != words.ANYWHERE and len(corpus.defined(definition.name)) <= WIDELY // 4:
                users[term] = 1.0
        near = np.maximum(near, _near(files, path))
    terms, times = np.unique(np.concatenate([_terms(corpus, files, path) for path in opened]), return_counts=True)
    has = set(terms.tolist())
    values = {
        "together": _sparse(files, corpus.history.together(opened)),
        "used": _sparse(files, used),
        "uses": _content(corpus, files, _worth_only(corpus, files, users)),
        "folder": near,
        "alike": _content(corpus, files, _telling(corpus, files, terms, times)),
        "shared": _content(corpus, files, {term: weight for term, weight in weights.items() if term in has}),
        "open": _sparse(files, dict.fromkeys(opened, 1.0)),
    }
    places = [files.place[path] for path in opened]
    for sign in values.keys() - {"open"}:
        values[sign][places] = 0.0
    return values


def _terms(corpus: Corpus, files: _Files, path: str) -> Docs:
    """The terms of an open file, in order; what was taken apart is kept for its passages."""
    key = _key(corpus, files, files.place[path], (path,))
    blocks = files.blocks.get(key) or files.blocks.put(key, passages.Blocks.of(corpus.text(path) or ""))
    return blocks.lines.terms


def _telling(corpus: Corpus, files: _Files, terms: Docs, times: Numbers) -> dict[int, float]:
    """The terms that tell a text with these terms from other files, and that another file has."""
    found, number = corpus.postings.frequencies(terms, files.contents)
    rare = (1 + np.log(times)) * np.log1p((number - found + 0.5) / (found + 0.5))
    rare[found < 2] = 0.0
    best = np.argsort(-rare, kind="stable")[:TELLING]
    return dict.fromkeys(terms[best[rare[best] > 0]].tolist(), 1.0)


def _worth_only(corpus: Corpus, files: _Files, terms: Iterable[int]) -> dict[int, float]:
    return dict.fromkeys(_worth(corpus, files, dict.fromkeys(terms, 1.0)), 1.0)


def _near(files: _Files, path: str) -> Scores:
    """1 for the same folder, half of it for each folder further, two at most."""
    column = np.zeros(len(files.paths), np.float32)
    reached: set[str] = set()
    there = [path.rpartition("/")[0]]
    for away in range(FAR + 1):
        reached.update(there)
        for folder in there:
            column[files.folders.get(folder, [])] = 0.5**away
        further = (one for folder in there for one in (*_above(folder), *files.below.get(folder, ())))
        there = [one for one in dict.fromkeys(further) if one not in reached]
    return column


def _above(folder: str) -> tuple[str, ...]:
    """The folder that a folder is in; none for the workspace."""
    return (folder.rpartition("/")[0],) if folder else ()


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


# --- a closer look at the best ------------------------------------------------------------------------------------

_CHEAP = {
    "content": 1.0, "path": 0.5, "commits": 0.5, "named": 2.0, "defines": 0.5, "asked": 2.0,
    "together": 0.7, "used": 0.5, "uses": 0.5, "open": 1.0,
}  # fmt: skip


def _closest(values: Mapping[str, Scores], files: _Files) -> list[int]:
    total = np.zeros(len(files.paths), np.float32)
    for sign, weight in _CHEAP.items():
        if sign in values and (greatest := float(values[sign].max(initial=0.0))) > 0:
            total += np.float32(weight / greatest) * values[sign]
    best = np.argsort(-total, kind="stable")[:CLOSE]
    return [at for at in best.tolist() if total[at] > 0]


def _closer(
    corpus: Corpus, files: _Files, close: Sequence[int], worth: Mapping[int, float], opened: Collection[str]
) -> tuple[Scores, Scores]:
    passage = np.zeros(len(files.paths), np.float32)
    symbols = np.zeros(len(files.paths), np.float32)
    if not close or not worth:
        return passage, symbols
    keys = [_key(corpus, files, at, opened) for at in close]
    blocks: list[passages.Blocks] = []
    room = WORDS
    for key, at in zip(keys, close, strict=True):
        if room <= 0:
            break
        known = files.blocks.get(key)
        blocks.append(known or files.blocks.put(key, passages.Blocks.of(corpus.text(files.paths[at]) or "")))
        room -= int(blocks[-1].lengths.sum())
    for at, found in zip(close, passages.best(blocks, worth), strict=False):
        passage[at] = found[0].score if found else 0.0
    rows = [_names(corpus, files, key, at) for key, at in zip(keys, close, strict=True)]
    average = max(1.0, sum(length for _, length in rows) / len(rows))
    for at, (times, length) in zip(close, rows, strict=True):
        norm = 1.2 * (0.25 + 0.75 * length / average)
        symbols[at] = sum(value * 2.2 * n / (n + norm) for term, value in worth.items() if (n := times.get(term, 0)))
    return passage, symbols


def _key(corpus: Corpus, files: _Files, at: int, opened: Collection[str]) -> Hashable:
    path = files.paths[at]
    if path in opened:
        return path, hash(corpus.text(path))
    return int(files.docs[at]) or (path, files.version)


def _names(corpus: Corpus, files: _Files, key: Hashable, at: int) -> tuple[dict[int, int], int]:
    """The terms of the names that a file defines, and how many names these are."""
    if (known := files.names.get(key)) is not None:
        return known
    definitions = outline_of(corpus, files.paths[at])
    terms, times, length = _packed(" ".join(one.name for one in definitions).encode(errors="replace"))
    found = dict(zip(np.frombuffer(terms, "<u4").tolist(), times, strict=True)), length
    # None may mean that it was not parsed yet.
    return files.names.put(key, found) if definitions else found
