"""What the model should read for a question: the files it is about, and of these the pieces that say most.

Never asks the engine, and never gives more than its budget.

The files come from `rank`; the pieces of the best are scored by their own words, by the names they define, and by their
file. Signatures of the best files are taken first, since they cost little, then bodies by what they say for a token.
The same question on the same files gives the same pieces in the same order.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from glm_lsp.index import corpus, pieces, signs, words
from glm_lsp.index.overview import is_test
from glm_lsp.index.pieces import Sheet
from glm_lsp.index.pointed import SEVERAL, Hints, Wanted
from glm_lsp.index.rank import Ranked, rank
from glm_lsp.index.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from glm_lsp.index.index import Index
    from glm_lsp.index.pieces import Fit, Part
    from glm_lsp.languages.facts import Definition
    from glm_lsp.terms import Problem, Selection

FILES = 24
"""Files that are cut into pieces; those with what is wanted for certain come on top."""

OUTLINED = 8
"""Files whose signatures are considered."""

OUTLINE_LINES = 40
"""Signatures of one file at most."""

OUTLINE_SHARE = 4
"""Signatures may take this part of the budget: a quarter."""

GOOD = 0.3
"""Part of the best file's score from which on a file's signatures are worth their room."""

LEAST = 0.1
"""Part of the best piece's value below which a piece is not worth reading, however much room is left."""

SHEETS = 256
"""Files whose pieces are kept for the next question, some 40 KB each."""

FRAME = 24
"""Tokens that are reckoned for the line above a piece."""

TESTS = 0.6
"""What a test counts beside other files, where the question does not speak of tests."""

NEAR = 3
"""Lines between two pieces that are shown too, rather than beginning another piece."""

SMALL = 40
"""Lines of a file that is shown whole once anything of it is."""

MOSTLY = 0.6
"""Part of a file from which on it is shown whole, where there is room."""

NO_HINTS = Hints()

Kind = Literal["definition", "signatures", "chunk", "file"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines of a file that were chosen.

    Attributes:
        path: the file.
        first_line: from 1.
        last_line: included.
        text: the lines, without what ends the last one.
        tokens: what it costs with its line numbers and the line above it.
        score: what it is worth, the best piece of all having about 1.
        reason: why it was chosen, in a few words.
        kind: whether these are whole definitions, signatures alone, other lines, or all of the file.
        numbers: of signatures, the number of each line.
    """

    path: str
    first_line: int
    last_line: int
    text: str
    tokens: int
    score: float
    reason: str
    kind: Kind
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A definition that might be worth reading; `first_line` from 1."""

    path: str
    first_line: int
    signature: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, by path and line, and from what.

    Attributes:
        pieces: none of them shares a line with another of its file, signatures apart.
        considered: the files, the best first.
        tokens: of all pieces.
        budget: what they were allowed to take.
        seconds: how long it took.
        candidates: the best definitions, as many as were wished for, the best first.
    """

    pieces: tuple[Piece, ...]
    considered: tuple[Ranked, ...]
    tokens: int
    budget: int
    seconds: float
    candidates: tuple[Candidate, ...] = ()


def choose(
    index: Index,
    question: str,
    *,
    budget: int,
    count: Callable[[str], int],
    open_paths: Collection[str] = (),
    selections: Sequence[Selection] = (),
    problems: Sequence[Problem] = (),
    leave_out: Collection[str] = (),
    scale: Callable[[str], float] = lambda _: 1.0,
    hints: Hints = NO_HINTS,
    candidates: int = 0,
) -> Choice:
    """Chooses what to read for a question.

    A question without any word that the files have, and without anything else to go by, gets nothing.

    Args:
        index: the files.
        question: what a person wrote.
        budget: tokens that all pieces together may take.
        count: says how many tokens a text has.
        open_paths: files that are open in the editor.
        selections: what the person points at; what it calls and who calls it are always considered.
        problems: what an editor knows to be wrong; the symbols they speak of are always considered.
        leave_out: files that are not to be chosen from, such as those that are shown anyway.
        scale: says by how much the tokens of a file, by its path, are more or fewer than `count` says.
        hints: what should be looked for besides.
        candidates: how many definitions to name that might be worth reading.
    """
    began = time.perf_counter()
    wanted = Wanted()
    wanted.add_problems(index, problems)
    wanted.add_selections(index, selections)
    wanted.add_hints(hints)
    question = " ".join([question, *hints.words, *hints.paths])
    pointed = dict.fromkeys([*open_paths, *(one.path for one in selections), *(one.path for one in problems)])
    names = list(wanted.names)
    ranked = rank(index, question, open_paths=tuple(pointed), names=names)
    weights = words.query(question)
    for name in names:
        if (term := words.whole(name)) != words.ANYWHERE:
            weights[term] = max(weights.get(term, 0.0), 0.5)
    values = signs.worth(index, weights)
    chosen: list[Piece] = []
    best: tuple[Candidate, ...] = ()
    if budget > 0 and (values or pointed):
        desk = _Desk(index, question, count, scale, wanted, values)
        desk.spread([one for one in ranked if one.path not in leave_out], leave_out)
        chosen = desk.choose(budget)
        best = desk.candidates(candidates)
    tokens = sum(piece.tokens for piece in chosen)
    return Choice(tuple(chosen), tuple(ranked), tokens, budget, time.perf_counter() - began, best)


# --- what there is to choose from ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """A file on the desk: how good it is, from 0 to 1, and why."""

    path: str
    score: float
    reason: str
    lines: Sequence[str]
    outline: Sequence[Definition]


@dataclass(slots=True)
class _Desk:
    """All files that are looked at, with their pieces and what each is worth."""

    index: Index
    question: str
    count: Callable[[str], int]
    scale: Callable[[str], float]
    wanted: Wanted
    values: Mapping[int, float]
    files: dict[str, _File] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    worth: list[float] = field(default_factory=list)
    exact: dict[str, float] = field(default_factory=dict)
    fits: Fit = field(default_factory=lambda: pieces.fit((), {}))
    said: dict[int, str] = field(default_factory=dict)
    costs: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def spread(self, ranked: Sequence[Ranked], leave_out: Collection[str]) -> None:
        """Reads the best files and cuts them into pieces."""
        best = ranked[0].score if ranked else 1.0
        tests = 1.0 if "test" in self.question.lower() else TESTS
        scores = {
            one.path: (one.score / best * (tests if is_test(one.path) else 1.0), _why(one)) for one in ranked[:FILES]
        }
        for path in sorted(self.wanted.places.keys() - scores.keys() - set(leave_out)):
            scores[path] = (0.3, "")
        sheets: list[Sheet] = []
        for path, (score, why) in scores.items():
            if (text := self.index.text(path)) is None:
                continue
            outline = corpus.outline_of(self.index, path)
            lines = pieces.lines_of(text)
            self.files[path] = _File(path, score, why, lines, outline)
            sheets.append(_sheet(self.index, path, pieces.beginning(text, lines), lines, outline))
            self.parts += sheets[-1].parts
        self.fits = pieces.fit(sheets, self.values)
        self._value()

    def _value(self) -> None:
        self.exact = {name: weight for name in words.identifiers(self.question) if (weight := self._exact(name))}
        self.said = _said(self.question)
        best = max(1e-9, float(self.fits.scores.max(initial=0.0)))
        exact, files, places = self.exact, self.files, self.wanted.places
        for part, score in zip(self.parts, self.fits.scores.tolist(), strict=True):
            path, _, _, names, *_ = part
            file = files[path]
            value = score / best * (0.25 + 0.75 * file.score)
            if names and exact and (named := exact.keys() & names):
                value += max(exact[name] for name in named) * (0.5 + 0.5 * file.score)
            if path in places and (hits := self._hits(part)):
                value += max(weight for weight, _ in hits)
            self.worth.append(value)

    def _hits(self, part: Part) -> list[tuple[float, str]]:
        """What is wanted for certain in a part."""
        places = self.wanted.places.get(part.path)
        return [hit for line, hit in places.items() if _has(part, line)] if places else []

    def _reason(self, at: int) -> str:
        part = self.parts[at]
        if hits := self._hits(part):
            return max(hits)[1]
        if named := [name for name in part.names if name in self.exact]:
            return f"defines {', '.join(named[:3])}"
        matched = list(dict.fromkeys(self.said[term] for term in self.fits.best(at, 6) if term in self.said))[:3]
        return f"words: {', '.join(matched)}" if matched else self.files[part.path].reason

    def _exact(self, name: str) -> float:
        """What it is worth to define a name of the question; a plain word that several define is no name."""
        number = len(self.index.symbols(name, limit=SEVERAL + 1))
        if name.isalpha() and name.islower():
            return 0.3 if number <= SEVERAL // 2 else 0.0
        return 0.8 if number <= SEVERAL else 0.3

    # --- choosing ------------------------------------------------------------------------------------------------

    def choose(self, budget: int) -> list[Piece]:
        """The pieces that are worth most within the budget, by path and line."""
        best = max(self.worth, default=0.0)
        room = budget
        outlines: dict[str, list[Definition]] = {}
        for file in sorted(self.files.values(), key=lambda one: (-one.score, one.path))[:OUTLINED]:
            if file.score < GOOD:
                break
            left = budget // OUTLINE_SHARE - (budget - room)
            for most in (OUTLINE_LINES, OUTLINE_LINES // 2, OUTLINE_LINES // 4):
                lines = self._signatures(file, most)
                cost = self._cost(file.path, _signed(lines))
                if lines and cost <= left:
                    outlines[file.path] = lines
                    room -= cost
                    break
        taken: dict[str, list[int]] = defaultdict(list)
        for at in self._in_order(LEAST * best):
            part = self.parts[at]
            if room <= FRAME:
                break
            cost = self._lines_cost(part.path, part.first_line, part.last_line)
            if cost <= room:
                taken[part.path].append(at)
                room -= cost
        while True:
            made = self._pieces(taken, outlines, budget)
            total = sum(piece.tokens for piece in made)
            if total <= budget or not taken:
                return made if total <= budget else []
            # What lies between the pieces, or the longer reasons, took more than was reckoned.
            worst = min((at for ats in taken.values() for at in ats), key=lambda at: (self.worth[at], -at))
            path = self.parts[worst].path
            taken[path].remove(worst)
            if not taken[path]:
                del taken[path]

    def candidates(self, most: int) -> tuple[Candidate, ...]:
        """The definitions that fit best, whether they were chosen or not."""
        found: list[Candidate] = []
        for at in sorted(range(len(self.parts)), key=lambda at: (-self.worth[at], at)) if most else ():
            part = self.parts[at]
            one = next((one for one in self.files[part.path].outline if one.first_line == part.first_line), None)
            if part.defined and one is not None:
                found.append(Candidate(part.path, one.first_line, one.signature or one.qualified))
            if len(found) == most:
                break
        return tuple(found)

    def _in_order(self, least: float) -> list[int]:
        """The parts that are worth so much, the most for a token first; a little one is not preferred for being so."""

        def order(at: int) -> tuple[float, str, int]:
            part = self.parts[at]
            lines = self.files[part.path].lines[part.first_line - 1 : part.last_line]
            size = sum(map(len, lines)) + 5 * len(lines)
            return -(self.worth[at] ** 2 / (size / 3 + 120)), part.path, part.first_line

        return sorted([at for at, worth in enumerate(self.worth) if worth >= least], key=order)

    def _pieces(
        self, taken: Mapping[str, Sequence[int]], outlines: Mapping[str, Sequence[Definition]], budget: int
    ) -> list[Piece]:
        made: list[Piece] = []
        for path, ats in taken.items():
            made += self._merged(path, sorted(ats, key=lambda at: self.parts[at].first_line))
        for path, definitions in outlines.items():
            shown = [piece for piece in made if piece.path == path]
            rest = [one for one in definitions if not any(p.first_line <= one.line <= p.last_line for p in shown)]
            if rest:
                made.append(self._outline(self.files[path], rest))
        made = self._completed(made, budget)
        order = {"signatures": 0}
        return sorted(made, key=lambda piece: (piece.path, piece.first_line, order.get(piece.kind, 1)))

    def _merged(self, path: str, ats: Sequence[int]) -> Iterator[Piece]:
        """The pieces of one file, those that touch or nearly do as one."""
        group: list[int] = []
        for at in ats:
            if group and self.parts[at].first_line - self.parts[group[-1]].last_line > NEAR + 1:
                yield self._piece(path, group)
                group = []
            group.append(at)
        if group:
            yield self._piece(path, group)

    def _piece(self, path: str, ats: Sequence[int]) -> Piece:
        best = sorted(ats, key=lambda at: (-self.worth[at], at))
        reasons: dict[str, str] = {}  # by their first word: of what the parts have in common, the best says it
        for at in best:
            reasons.setdefault((reason := self._reason(at)).partition(" ")[0], reason)
        reason = "; ".join([one for one in reasons.values() if one][:2])
        kind: Kind = "definition" if any(self.parts[at].defined for at in ats) else "chunk"
        first, last = self.parts[ats[0]].first_line, self.parts[ats[-1]].last_line
        return self._made(path, first, last, self.worth[best[0]], reason, kind)

    def _made(self, path: str, first: int, last: int, score: float, reason: str, kind: Kind) -> Piece:
        text = "\n".join(self.files[path].lines[first - 1 : last])
        tokens = self._lines_cost(path, first, last)
        return Piece(path, first, last, text, tokens, round(score, 3), reason, kind)

    def _completed(self, made: Sequence[Piece], budget: int) -> list[Piece]:
        """Shows files whole of which most is shown, or which are small, as far as there is room."""
        room = budget - sum(piece.tokens for piece in made)
        by_path: dict[str, list[Piece]] = defaultdict(list)
        for piece in made:
            by_path[piece.path].append(piece)
        found: list[Piece] = []
        for path, group in sorted(by_path.items(), key=lambda item: (-max(p.score for p in item[1]), item[0])):
            bodies = [piece for piece in group if piece.kind != "signatures"]
            lines = self.files[path].lines
            shown = sum(piece.last_line - piece.first_line + 1 for piece in bodies)
            if bodies and (len(lines) <= SMALL or shown >= MOSTLY * len(lines)) and len(lines) < pieces.LARGEST:
                best = max(bodies, key=lambda piece: piece.score)
                whole = self._made(path, 1, len(lines), best.score, best.reason, "file")
                more = whole.tokens - sum(piece.tokens for piece in group)
                if more <= room:
                    found.append(whole)
                    room -= more
                    continue
            found += group
        return found

    def _signatures(self, file: _File, most: int) -> list[Definition]:
        """The signatures that say most of a file, in the order of the text, once each line."""
        by_line = {one.line: one for one in reversed(file.outline)}
        order = sorted(by_line.values(), key=lambda one: (one.qualified.count("."), one.line))
        return sorted(order[:most], key=lambda one: one.line)

    def _outline(self, file: _File, definitions: Sequence[Definition]) -> Piece:
        text = "\n".join(_signature(one) for one in definitions)
        numbers = tuple(one.line for one in definitions)
        tokens = self._cost(file.path, _signed(definitions))
        reason = f"signatures; {file.reason}".removesuffix("; ")
        score = round(0.5 * file.score, 3)
        return Piece(file.path, numbers[0], numbers[-1], text, tokens, score, reason, "signatures", numbers)

    def _lines_cost(self, path: str, first: int, last: int) -> int:
        if (known := self.costs.get((path, first, last))) is not None:
            return known
        lines = self.files[path].lines[first - 1 : last]
        numbered = "\n".join([f"{number}|{line}" for number, line in enumerate(lines, first)])
        cost = self.costs[path, first, last] = self._cost(path, numbered)
        return cost

    def _cost(self, path: str, text: str) -> int:
        return math.ceil(self.count(text) * self.scale(path)) + FRAME


_sheets: weakref.WeakKeyDictionary[Any, Shelf[tuple[int, Sequence[Definition], Sheet]]] = weakref.WeakKeyDictionary()
_keeping = threading.Lock()


def _sheet(index: Index, path: str, text: str, lines: Sequence[str], outline: Sequence[Definition]) -> Sheet:
    """The pieces of a file; those of the last time where neither its text nor its definitions are others."""
    with _keeping:
        shelf = _sheets.setdefault(index, Shelf(SHEETS))
    known = shelf.get(path)
    if known is None or known[0] != hash(text) or (known[1] is not outline and known[1] != outline):
        sheet = Sheet.of(pieces.cut(path, lines, outline), corpus.lines_of(index, path, text))
        known = shelf.put(path, (hash(text), outline, sheet))
    return known[2]


def _signed(definitions: Sequence[Definition]) -> str:
    return "\n".join(f"{one.line}|{_signature(one)}" for one in definitions)


def _signature(one: Definition) -> str:
    return "  " * one.qualified.count(".") + (one.signature or one.name)


def _has(part: Part, line: int) -> bool:
    return part.first_line <= line <= part.last_line


def _why(one: Ranked) -> str:
    return one.reasons[0][0] if one.reasons else ""


def _said(question: str) -> dict[int, str]:
    """For each term of a question the word that it comes from."""
    found: dict[int, str] = {}
    for word in words.identifiers(question):
        for term in words.query(word):
            found.setdefault(term, word)
    return found


def numbered(piece: Piece) -> str:
    """The piece as the model reads it: each line behind its number."""
    numbers = piece.numbers or range(piece.first_line, piece.last_line + 1)
    return "\n".join(f"{number}|{line}" for number, line in zip(numbers, piece.text.split("\n"), strict=True))


def without(choice: Choice, refused: Collection[str]) -> Choice:
    """The choice without pieces of some files."""
    kept = tuple(piece for piece in choice.pieces if piece.path not in refused)
    return replace(choice, pieces=kept, tokens=sum(piece.tokens for piece in kept))
