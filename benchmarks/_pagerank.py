"""The peer: personalised PageRank over references between files, in the manner of aider's map of a repository.

Never is aider's own score: it has no chat, and so no files of one, on which aider leans.

Files point to the files that define what they use. A name counts ten times as much where the question has it, ten
times where it is long and of several words, a tenth where it begins with an underscore or many files define it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks._commits import Past

DAMPING = 0.85
ROUNDS = 40
DEFINERS = 20  # files that define a name, from which on it is left out, for speed


class PageRank:
    """The graph of a repository at one commit."""

    def __init__(self, past: Past) -> None:
        self._paths = past.paths
        place = {path: at for at, path in enumerate(past.paths)}
        edges: defaultdict[str, list[tuple[int, int, float]]] = defaultdict(list)
        definers = {name: [place[path] for path in paths] for name, paths in past.definers.items() if paths}
        for path, at in place.items():
            for name, lines in past.uses_of(path).items():
                found = definers.get(name, ())
                if 0 < len(found) <= DEFINERS:
                    edges[name] += [(at, other, len(lines) ** 0.5) for other in found]
        self._edges = edges
        self._definers = definers

    def rank(self, text: str) -> list[str]:
        """The files, the most central for the question first."""
        said = set(re.findall(r"\w+", text))
        start, end, weight = [], [], []
        for name, edges in self._edges.items():
            value = self._weight(name, said)
            for one, other, times in edges:
                start.append(one)
                end.append(other)
                weight.append(value * times)
        number = len(self._paths)
        begin, to, flow = np.array(start, np.int64), np.array(end, np.int64), np.array(weight)
        out = np.bincount(begin, flow, number)
        flow = flow / out[begin]
        wished = np.array([float(bool(said & set(re.split(r"[/.]", path)))) for path in self._paths])
        wished = wished / wished.sum() if wished.any() else np.full(number, 1 / number)
        rank = np.full(number, 1 / number)
        for _ in range(ROUNDS):
            lost = rank[out == 0].sum()
            rank = DAMPING * (np.bincount(to, rank[begin] * flow, number) + lost * wished) + (1 - DAMPING) * wished
        return [self._paths[at] for at in np.argsort(-rank, kind="stable").tolist()]

    def _weight(self, name: str, said: set[str]) -> float:
        value = 10.0 if name in said else 1.0
        if len(name) >= 8 and ("_" in name or (name != name.lower() and name != name.upper())):
            value *= 10
        if name.startswith("_"):
            value *= 0.1
        return value * 0.1 if len(self._definers.get(name, ())) > 5 else value
