"""Finds definitions by their names, and puts the likeliest first.

Never reads a file: what is typed in open buffers is given, the rest is in the rows.
"""

from __future__ import annotations

import difflib
import os
import sys
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from glm_lsp.store.index_rows import initials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glm_lsp.index.current import Buffer
    from glm_lsp.languages.facts import Definition
    from glm_lsp.store.index_rows import DefinitionRow, Hit, IndexRows

How = Literal["exact", "prefix", "substring", "fuzzy"]

CANDIDATES = 2000
"""Names that are compared letter by letter in a fuzzy search."""

_ENCODING, _ERRORS = (
    sys.getfilesystemencoding(),
    sys.getfilesystemencodeerrors(),
)  # as `os.fsdecode`, which takes longer
_ORDER = itemgetter(slice(4))  # by fit, then by what is shorter, by file and by line

_WORTH = 0.55  # of a fuzzy match; below it, a name has little to do with what was asked


class Found(NamedTuple):
    """A definition, the file it is in, and how well its name fits, from 0 to 1."""

    path: str
    definition: Definition
    score: float


def find(rows: IndexRows, buffers: Mapping[str, Buffer], name: str, how: How, limit: int) -> list[Found]:
    """The definitions that `name` may mean, the best first; of an open buffer, what is typed there counts."""
    if not name or limit <= 0:
        return []
    typed = {path: buffer.facts for path, buffer in buffers.items() if buffer.facts is not None}
    more = limit + 50 * len(typed)  # the rows of open files are passed over
    fits: dict[str, float] = {}
    ranked: list[tuple[float, int, str, int, Sequence[Any]]] = []  # in the order in which they are told
    for raw, row in _hits(rows, name, how, more):
        path = str(raw, _ENCODING, _ERRORS)
        if path in typed:
            continue
        fit = fits.get(row[0])
        if fit is None:  # one name may have many definitions
            fit = fits[row[0]] = 1.0 if how == "exact" else score(name, row[0], how)
        ranked.append((-fit, len(row[0]), path, row[3], row))
    for path, facts in typed.items():
        for definition in facts.definitions:
            fit = score(name, definition.name, how)
            if fit > 0:
                ranked.append((-fit, len(definition.name), path, definition.first_line, definition))
    ranked.sort(key=_ORDER)
    from glm_lsp.languages.facts import Definition  # noqa: PLC0415 - the grammars' library costs time at the start

    return [Found(path, Definition._make(row), -fit) for fit, _, path, _, row in ranked[:limit]]


def files(rows: IndexRows, buffers: Mapping[str, Buffer], name: str, limit: int) -> list[str]:
    """The files that define exactly this name, by path; of an open buffer, what is typed there counts.

    Where there are more than `limit`, so many of them, and which is left open.
    """
    typed = {path: buffer.facts for path, buffer in buffers.items() if buffer.facts is not None}
    saved = map(os.fsdecode, rows.defining(name, limit + len(typed)))
    found = [path for path in saved if path not in typed]
    found += [path for path, facts in typed.items() if any(one.name == name for one in facts.definitions)]
    return sorted(found)[:limit]


def score(asked: str, name: str, how: How) -> float:
    """How well a name fits, from 0, which is not at all, to 1."""
    if name == asked:
        return 1.0
    low, wanted = name.lower(), asked.lower()
    share = len(wanted) / max(len(low), 1)
    if how == "exact":
        return 0.0
    if low.startswith(wanted):
        return 0.9 + 0.05 * share + (0.02 if name.startswith(asked) else 0.0)
    if how == "prefix":
        return 0.0
    at = low.find(wanted)
    if at >= 0:
        starts_a_word = not low[at - 1].isalnum() or name[at].isupper()
        return 0.7 + 0.05 * share + (0.1 if starts_a_word else 0.0)
    return _loose(wanted, low, name) if how == "fuzzy" else 0.0


def definitions_of(rows: Iterable[DefinitionRow]) -> tuple[Definition, ...]:
    """The definitions that rows hold."""
    from glm_lsp.languages.facts import Definition  # noqa: PLC0415 - the grammars' library costs time at the start

    # What `_make` does, but for its look at the length: a question has thousands of them.
    return tuple(map(partial(tuple.__new__, Definition), rows))


def _hits(rows: IndexRows, name: str, how: How, limit: int) -> list[Hit]:
    if how == "exact":
        return rows.exact(name, limit)
    if how == "prefix":
        return rows.prefix(name, limit)
    if how == "substring":
        return rows.substring(name, limit)
    near = [(score(name, text, how), number) for number, text in rows.candidates(name, CANDIDATES)]
    best = sorted(((fit, number) for fit, number in near if fit >= _WORTH), key=lambda one: (-one[0], one[1]))
    return rows.named([number for _, number in best[:limit]], limit)


def _loose(wanted: str, low: str, name: str) -> float:
    """The fit of a name that does not have what was asked as a whole: initials, letters in order, slips of the pen."""
    first = initials(name)
    if first == wanted:
        return 0.8
    if len(wanted) > 1 and first.startswith(wanted):
        return 0.72
    fit = 0.0
    letters = iter(low)
    if len(wanted) > 2 and low[0] == wanted[0] and all(letter in letters for letter in wanted):
        fit = 0.55 + 0.15 * len(wanted) / len(low)
    if abs(len(wanted) - len(low)) <= 3 + len(wanted) // 4:
        matcher = difflib.SequenceMatcher(None, low, wanted, autojunk=False)
        if matcher.real_quick_ratio() > 0.75 and matcher.quick_ratio() > 0.75 and (ratio := matcher.ratio()) > 0.75:
            fit = max(fit, 0.85 * ratio)
    return fit
