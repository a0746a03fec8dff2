"""The signs that a file has to do with a question, each as a column of numbers over all files.

Never weighs one sign against another: that is for whoever ranks.

What depends on a question is computed anew; what depends on the files alone is kept by `corpus`.

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
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glm_lsp.index import passages, words
from glm_lsp.index.corpus import Corpus, Ties, files_of, outline_of, packed

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from glm_lsp.index.corpus import Files
    from glm_lsp.index.segments import Docs, Scores
    from glm_lsp.index.words import Numbers

CLOSE = 30  # files, the best by the cheap signs, whose passages and definitions are looked at
WORDS = 60_000  # after which no further file is read, to be done in time; some 400 KB
TERMS = 40  # of a question: those that count most; a pasted log has hundreds
NAMES = 32  # of a question, that are looked up as definitions
USED = 200  # names of an open file that are looked up, those that it uses most
TELLING = 80  # words of the open files that tell them from others
FAR = 2  # folders between two files, above which they have nothing to do with each other
WIDELY = 20  # files that define a name, from which on it says nothing


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
    files = files_of(corpus)
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
    values["commits"] = files.by(corpus.history.fitting(weights))
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


def worth(corpus: Corpus, weights: Mapping[int, float]) -> dict[int, float]:
    """What each term of a question counts: its weight times how rare it is; those that no file has are left out."""
    files = files_of(corpus)
    found, _ = corpus.postings.frequencies(np.fromiter(weights, np.uint32), files.contents)
    held = (given for given, number in zip(weights.items(), found.tolist(), strict=True) if number)
    return _worth(corpus, files, dict(held))


def _column(files: Files, numbers: np.ndarray[Any, Any], scores: Scores) -> Scores:
    """By place, what is given by the paths' own numbers."""
    dense = np.zeros(len(files.alive), np.float32)
    dense[numbers] = scores
    column: Scores = dense[files.own]
    return column


# --- the question against all files -------------------------------------------------------------------------------


def _worth(corpus: Corpus, files: Files, weights: Mapping[int, float]) -> dict[int, float]:
    """What each term counts: its weight times how rare it is in the files of now; the weightiest terms only."""
    worth = corpus.postings.rarity(weights, files.contents)
    worth = {term: weight * worth[term] for term, weight in weights.items()}
    return {term: worth[term] for term in sorted(worth, key=lambda term: (-worth[term], term))[:TERMS]}


def _content(corpus: Corpus, files: Files, weights: Mapping[int, float]) -> Scores:
    docs, scores = corpus.postings.bm25(weights, files.contents)
    dense = np.zeros(len(files.contents), np.float32)
    dense[docs] = scores
    column: Scores = dense[files.docs]
    return column


def _named(files: Files, question: str) -> Scores:
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


def _defines(corpus: Corpus, files: Files, names: Sequence[str], defines: dict[str, list[str]]) -> Scores:
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


def _around(corpus: Corpus, files: Files, opened: Sequence[str], weights: Mapping[int, float]) -> dict[str, Scores]:
    used: defaultdict[str, float] = defaultdict(float)
    users: dict[int, float] = {}
    near = np.zeros(len(files.paths), np.float32)
    for path in opened:
        ties = _ties(corpus, files, path)
        for other, weight in ties.used:
            used[other] += weight
        users |= dict.fromkeys(ties.defined, 1.0)
        near = np.maximum(near, _near(files, path))
    terms, times = np.unique(np.concatenate([_terms(corpus, files, path) for path in opened]), return_counts=True)
    has = set(terms.tolist())
    values = {
        "together": files.by(corpus.history.together(opened)),
        "used": files.by(used),
        "uses": _content(corpus, files, _worth_only(corpus, files, users)),
        "folder": near,
        "alike": _content(corpus, files, _telling(corpus, files, terms, times)),
        "shared": _content(corpus, files, {term: weight for term, weight in weights.items() if term in has}),
        "open": files.by(dict.fromkeys(opened, 1.0)),
    }
    places = [files.place[path] for path in opened]
    for sign in values.keys() - {"open"}:
        values[sign][places] = 0.0
    return values


def _ties(corpus: Corpus, files: Files, path: str) -> Ties:
    """What ties an open file to others, looked up once as long as nothing changes."""
    if (known := files.ties.get(path)) is not None and known.version == files.version:
        return known
    used: list[tuple[str, float]] = []
    uses = corpus.uses_of(path)
    for name in sorted(uses, key=lambda name: (-len(uses[name]), name))[:USED]:
        found = corpus.defined(name)
        if len(found) <= WIDELY and path not in found:
            used += [(other, (1 + math.log(len(uses[name]))) / len(found)) for other in found]
    defined: list[int] = []
    for definition in outline_of(corpus, path):
        term = words.whole(definition.name)
        if term != words.ANYWHERE and len(corpus.defined(definition.name)) <= WIDELY // 4:
            defined.append(term)
    return files.ties.put(path, Ties(files.version, used, defined))


def _terms(corpus: Corpus, files: Files, path: str) -> Docs:
    """The terms of an open file, in order; what was taken apart is kept for its passages."""
    key = _key(corpus, files, files.place[path], (path,))
    blocks = files.blocks.get(key) or files.blocks.put(key, passages.Blocks.of(corpus.text(path) or ""))
    return blocks.lines.terms


def _telling(corpus: Corpus, files: Files, terms: Docs, times: Numbers) -> dict[int, float]:
    """The terms that tell a text with these terms from other files, and that another file has."""
    found, number = corpus.postings.frequencies(terms, files.contents)
    rare = (1 + np.log(times)) * np.log1p((number - found + 0.5) / (found + 0.5))
    rare[found < 2] = 0.0
    best = np.argsort(-rare, kind="stable")[:TELLING]
    return dict.fromkeys(terms[best[rare[best] > 0]].tolist(), 1.0)


def _worth_only(corpus: Corpus, files: Files, terms: Iterable[int]) -> dict[int, float]:
    return dict.fromkeys(_worth(corpus, files, dict.fromkeys(terms, 1.0)), 1.0)


def _near(files: Files, path: str) -> Scores:
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


# --- a closer look at the best ------------------------------------------------------------------------------------

_CHEAP = {
    "content": 1.0, "path": 0.5, "commits": 0.5, "named": 2.0, "defines": 0.5, "asked": 2.0,
    "together": 0.7, "used": 0.5, "uses": 0.5, "open": 1.0,
}  # fmt: skip


def _closest(values: Mapping[str, Scores], files: Files) -> list[int]:
    total = np.zeros(len(files.paths), np.float32)
    for sign, weight in _CHEAP.items():
        if sign in values and (greatest := float(values[sign].max(initial=0.0))) > 0:
            total += np.float32(weight / greatest) * values[sign]
    best = np.argsort(-total, kind="stable")[:CLOSE]
    return [at for at in best.tolist() if total[at] > 0]


def _closer(
    corpus: Corpus, files: Files, close: Sequence[int], worth: Mapping[int, float], opened: Collection[str]
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


def _key(corpus: Corpus, files: Files, at: int, opened: Collection[str]) -> Hashable:
    path = files.paths[at]
    if path in opened:
        return path, hash(corpus.text(path))
    return int(files.docs[at]) or (path, files.version)


def _names(corpus: Corpus, files: Files, key: Hashable, at: int) -> tuple[dict[int, int], int]:
    """The terms of the names that a file defines, and how many names these are."""
    if (known := files.names.get(key)) is not None:
        return known
    definitions = outline_of(corpus, files.paths[at])
    terms, times, length = packed(" ".join(one.name for one in definitions).encode(errors="replace"))
    found = dict(zip(np.frombuffer(terms, "<u4").tolist(), times, strict=True)), length
    # None may mean that it was not parsed yet.
    return files.names.put(key, found) if definitions else found
