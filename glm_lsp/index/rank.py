"""Which files a question is about: many weak signs, added up.

Never reads a file that is not among the best already, and never asks the engine.

Each sign gives a file a number from 0 to 1, the best file of that sign having 1; the score is their weighted sum. The
weights were found on sphinx, astropy and playwright; `python -m benchmarks retrieval` measures them on any repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glm_lsp.index import signs
from glm_lsp.index.corpus import Corpus

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from glm_lsp.index.segments import Scores

__all__ = ["SAID", "TELLING", "WEIGHTS", "Corpus", "Ranked", "combined", "rank"]

WEIGHTS: dict[str, float] = {
    "content": 1.0,
    "passage": 0.4,
    "path": 0.6,
    "symbols": 0.15,
    "defines": 0.2,
    "commits": 0.6,
    "recency": 0.3,
    "together": 0.9,
    "used": 0.5,
    "uses": 0.6,
    "folder": 0.45,
    "alike": 1.0,
    "shared": 0.5,
    # These cannot be learnt from commit messages: somebody said it in so many words, or has the file before their eyes.
    "named": 2.0,
    "asked": 1.5,
    "open": 1.0,
}
"""What each sign counts; `signs` says what they are."""

SAID = {
    "content": "its words",
    "passage": "a passage",
    "path": "its path",
    "symbols": "names it defines",
    "commits": "past commits with such words",
    "recency": "changed lately",
    "named": "named in the question",
    "together": "changed together with open files",
    "used": "open files use it",
    "uses": "it uses open files",
    "folder": "beside open files",
    "alike": "words like those of open files",
    "shared": "its words, in open files too",
    "open": "open in the editor",
}
"""How a sign is called where a person reads it; `defines` and `asked` say what is defined."""

TELLING = 0.05  # part of the score from which on a sign is given as a reason


@dataclass(frozen=True, slots=True)
class Ranked:
    """A file, and how well it fits.

    Attributes:
        path: relative to the workspace.
        score: above 0; only to be compared within one answer.
        reasons: the signs that count, the weightiest first, with their part of the score.
    """

    path: str
    score: float
    reasons: tuple[tuple[str, float], ...]


def rank(
    corpus: Corpus, question: str, *, open_paths: Collection[str] = (), names: Sequence[str] = (), limit: int = 50
) -> list[Ranked]:
    """Finds the files that a question is about.

    An empty question without open files and names gives the files that were changed most of late.

    Args:
        corpus: the files.
        question: what a person wrote.
        open_paths: files that are open in the editor; their text of now counts, not the saved one.
        names: identifiers whose definitions are wanted for certain: symbols of diagnostics, what a selection calls.
        limit: files to give at most.

    Returns:
        The best first; files of equal score by path, so that the order is the same each time.
    """
    found = signs.read(corpus, question, open_paths=open_paths, names=names)
    total = combined(found.values, len(found.paths))
    some = np.flatnonzero(total > 0)
    order = some[np.lexsort((some, -total[some]))][:limit]
    greatest = {sign: max(float(column.max()), 1e-9) for sign, column in found.values.items()}
    return [
        Ranked(found.paths[at], score, _reasons(found, greatest, at, score))
        for at, score in zip(order.tolist(), total[order].tolist(), strict=True)
    ]


def combined(values: Mapping[str, Scores], number: int, weights: Mapping[str, float] = WEIGHTS) -> Scores:
    """The weighted sum of the signs, each divided by its greatest value."""
    total = np.zeros(number, np.float32)
    for sign, column in values.items():
        greatest = float(column.max(initial=0.0))
        if greatest > 0 and (weight := weights.get(sign, 0.0)):
            total += np.float32(weight / greatest) * column
    return total


def _reasons(found: signs.Signs, greatest: Mapping[str, float], at: int, total: float) -> tuple[tuple[str, float], ...]:
    reasons: list[tuple[str, float]] = []
    for sign, column in found.values.items():
        part = WEIGHTS[sign] * float(column[at]) / greatest[sign]
        if part >= TELLING * total:
            if sign in {"defines", "asked"}:
                defined = ", ".join(found.defines.get(found.paths[at], ()))
                reasons.append((f"defines {defined}", round(part, 3)))
            else:
                reasons.append((SAID[sign], round(part, 3)))
    merged: dict[str, float] = {}
    for reason, part in reasons:
        merged[reason] = round(merged.get(reason, 0.0) + part, 3)
    return tuple(sorted(merged.items(), key=lambda item: (-item[1], item[0])))
