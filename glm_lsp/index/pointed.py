"""What a person points at, and what an editor knows to be wrong, as definitions and places to be read for certain.

Never chooses anything: it says what there is, and what each is worth.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glm_lsp.index import pieces, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.index.index import Index
    from glm_lsp.languages.facts import Definition
    from glm_lsp.terms import Problem, Selection

CALLEES, CALLERS, PLACES = 40, 4, 12
"""Names that a selection uses, names it defines, and places that use one of them, which are considered."""

SEVERAL = 5
"""Definitions of one name, above which it says nothing."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What somebody who knows more than the question says should be looked for.

    Attributes:
        words: to be searched like those of the question.
        paths: files, or ends of their paths.
        lines: path and first line of definitions, the best first.
    """

    words: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    lines: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Wanted:
    """Names whose definitions are wanted, and places, each with its weight and the reason."""

    names: dict[str, None] = field(default_factory=dict)
    places: dict[str, dict[int, tuple[float, str]]] = field(default_factory=lambda: defaultdict(dict))

    def add_problems(self, index: Index, problems: Sequence[Problem]) -> None:
        """Adds the symbols that problems speak of, and the lines they are on."""
        for problem in problems:
            said = [name for quoted in _QUOTED.findall(problem.message) for name in _NAME.findall(quoted)]
            lines = pieces.lines_of(index.text(problem.path) or "")
            if problem.line <= len(lines):
                line = lines[problem.line - 1]
                there = set(_NAME.findall(line))
                said += [name for name in words.identifiers(problem.message) if name in there]
                said += [found[0] for found in _NAME.finditer(line) if found.start() < problem.column <= found.end()]
                self._place(problem.path, problem.line, 1.0, "a problem is reported here")
            for name in dict.fromkeys(said):
                self._defined(index, name, 1.0)

    def add_selections(self, index: Index, selections: Sequence[Selection]) -> None:
        """Adds what selections use, and who uses what they define."""
        for one in selections:
            within = range(one.first_line, one.last_line + 1)
            uses = index.uses_of(one.path)
            used = [name for name, lines in uses.items() if any(line in within for line in lines)]
            if not uses:
                lines = pieces.lines_of(index.text(one.path) or "")[one.first_line - 1 : one.last_line]
                used = words.identifiers("\n".join(lines))
            self._place(one.path, one.first_line, 0.9, "what is selected")
            for name in used[:CALLEES]:
                self._defined(index, name, 0.8, but=(one.path, within))
            for definition in _selected(index.outline(one.path), one)[:CALLERS]:
                verb = "calls" if definition.kind in {"function", "method", "constructor"} else "uses"
                places = [
                    (path, line)
                    for path, line in index.references(definition.name, limit=400)
                    if path != one.path or not definition.first_line <= line <= definition.last_line
                ]
                for path, line in _spread(places)[:PLACES]:
                    self._place(path, line, 0.7, f"{verb} {definition.name}")

    def add_hints(self, hints: Hints) -> None:
        """Adds the definitions that are hinted at; a later one counts less."""
        for at, (path, line) in enumerate(hints.lines):
            self._place(path, line, max(0.3, 0.8 - 0.05 * at), "the model asked for it")

    def _defined(self, index: Index, name: str, weight: float, but: tuple[str, range] = ("", range(0))) -> None:
        found = index.symbols(name, limit=SEVERAL + 1)
        if 0 < len(found) <= SEVERAL:
            self.names[name] = None
            for one in found:
                if one.path != but[0] or one.definition.line not in but[1]:
                    self._place(one.path, one.definition.line, weight, f"defines {one.definition.qualified}")

    def _place(self, path: str, line: int, weight: float, reason: str) -> None:
        if weight > self.places[path].get(line, (0.0, ""))[0]:
            self.places[path][line] = (weight, reason)


def _selected(outline: Sequence[Definition], selection: Selection) -> list[Definition]:
    """The definitions that a selection names, else the innermost one around it."""
    named = [one for one in outline if selection.first_line <= one.line <= selection.last_line]
    if named:
        return named
    around = [one for one in outline if one.first_line <= selection.first_line <= one.last_line]
    return sorted(around, key=lambda one: one.last_line - one.first_line)[:1]


def _spread(places: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The first place of every file, then the second ones, and so on."""
    seen: defaultdict[str, int] = defaultdict(int)
    order = []
    for path, line in places:
        order.append((seen[path], path, line))
        seen[path] += 1
    return [(path, line) for _, path, line in sorted(order)]


_QUOTED = re.compile(r"[`'\"\u2018\u201c]([^\W\d][\w.:]*)(?:\(\))?[`'\"\u2019\u201d]")
_NAME = re.compile(r"[^\W\d]\w*")
