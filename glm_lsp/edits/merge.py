"""A proposal onto a text that has moved on: three texts, hunk by hunk.

Never searches for a place: where a hunk belongs follows from what was edited in between, or it stays out.

Both the proposal and the live text are compared with the base they come from, line by line.
A hunk of the proposal fits where at least one line that nobody touched lies between it and every edit of the live
text, above and below.
A run of lines that was added or removed among lines of the same wording can have been added or removed in several
places (a copy of a function above the function, a blank line among blank lines).
All of them count as touched, so nothing depends on which of them a comparison happens to choose.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from glm_lsp.edits.hunks import changed
from glm_lsp.edits.text import Text
from glm_lsp.terms import Span

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

Fate = Literal["fits", "done", "stale"]
"""What becomes of a hunk: it has a place, it is there already, or the live text changed what it was made for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hunk stands in the live text.

    Attributes:
        fate: whether it can be put there.
        line: its first line in the live text, from 1; for a stale one where the live text was changed instead.
            One more than there are lines for the end of the text.
        span: the characters of the live text that it replaces; None unless it fits.
        new: what it puts there, terminators included; empty unless it fits.
    """

    fate: Fate
    line: int
    span: Span | None = None
    new: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """A proposal on a live text.

    Attributes:
        text: the live text with the chosen hunks that fit; every other line of it is as it was.
        places: one for each hunk of the proposal, in its order, chosen or not.
    """

    text: str
    places: tuple[Place, ...]

    @property
    def clean(self) -> bool:
        """Whether no hunk is stale."""
        return all(place.fate != "stale" for place in self.places)


def rebase(
    base: str,
    proposed: str,
    live: str,
    *,
    chosen: Container[int] | None = None,
    taken: Container[int] = (),
) -> Merged:
    r"""Brings the hunks that lead from `base` to `proposed` onto `live`, which was made from `base` too.

    Hunks are counted from 0 in the order of `glm_lsp.edits.hunks.hunks`, and lines end as there.
    Texts whose line endings differ have nothing in common: the caller spells them alike first.

    Args:
        base: the text that the proposal was made from.
        proposed: the text that it wants.
        live: the text as it is now.
        chosen: the hunks to put into the text; None for all of them.
        taken: hunks that were put into the live text before, and so count as a part of what it was made from; they
            are `done`, whatever became of them since.
    """
    before, after, now = _lines(base), _lines(proposed), _lines(live)
    wanted = [(i1, i2, tuple(after[j1:j2])) for i1, i2, j1, j2 in changed(before, after)]
    before, moved = _with_taken(before, wanted, taken)
    edits = [(i1, i2, tuple(now[j1:j2])) for i1, i2, j1, j2 in changed(before, now)]
    theirs = _runs(before, edits)
    ours = _runs(before, [run for number, run in enumerate(moved) if number not in taken])
    # How many lines the live text is longer above each of its edits, and behind the last one.
    shifts = [0, *accumulate(len(run.new) - (run.stop - run.start) for run in theirs)]
    ends = [run.high for run in theirs]
    remaining = iter(ours)
    starts = [0, *accumulate(map(len, now))]
    places: list[Place] = []
    parts: list[str] = []
    copied = 0
    for number, (start, _, _) in enumerate(moved):
        if number in taken:
            shift = shifts[bisect_left([run.start for run in theirs], start)]
            places.append(Place("done", max(1, start + shift + 1)))
            continue
        run = next(remaining)
        first = bisect_left(ends, run.low)
        behind = first
        while behind < len(theirs) and theirs[behind].low <= run.high:
            behind += 1
        shift = shifts[first]
        if first == behind:
            at, end = run.start + shift, run.stop + shift
            places.append(Place("fits", at + 1, Span(starts[at], starts[end]), "".join(run.new)))
            if chosen is None or number in chosen:
                parts += [*now[copied:at], *run.new]
                copied = end
            continue
        same = next((n for n in range(first, behind) if theirs[n].canonical == run.canonical), None)
        found = first if same is None else same
        places.append(Place("stale" if same is None else "done", theirs[found].start + shifts[found] + 1))
    parts += now[copied:]
    text = "".join(parts)
    if _lines(text) != parts:  # a lone return met a newline: two line endings have become one
        places = [Place("stale", place.line) if place.fate == "fits" else place for place in places]
        text = live
    return Merged(text, tuple(places))


@dataclass(frozen=True, slots=True)
class _Run:
    """Lines `start:stop` of the base that became `new`; `low:high` is all that this may have been, `up` how far up."""

    start: int
    stop: int
    new: tuple[str, ...]
    low: int
    high: int

    @property
    def canonical(self) -> tuple[int, int, tuple[str, ...]]:
        """The same change, made as far up as it can have been."""
        up = self.start - self.low
        turn = -up % len(self.new) if self.new else 0
        return self.low, self.stop - up, self.new[turn:] + self.new[:turn]


def _lines(text: str) -> list[str]:
    split = Text(text)
    return [line + end for line, end in zip(split.lines(), split.terminators(), strict=True)]


def _with_taken(
    before: Sequence[str], wanted: Sequence[tuple[int, int, tuple[str, ...]]], taken: Container[int]
) -> tuple[list[str], list[tuple[int, int, tuple[str, ...]]]]:
    """The base with the taken hunks in it, and where every hunk stands in that."""
    lines: list[str] = []
    moved: list[tuple[int, int, tuple[str, ...]]] = []
    copied = 0
    for number, (start, stop, new) in enumerate(wanted):
        lines += before[copied:start]
        at = len(lines)
        lines += new if number in taken else before[start:stop]
        moved.append((at, len(lines), new))
        copied = stop
    lines += before[copied:]
    return lines, moved


def _runs(before: Sequence[str], blocks: Sequence[tuple[int, int, tuple[str, ...]]]) -> list[_Run]:
    """The blocks, each with all the places where it may have been."""
    runs: list[_Run] = []
    for number, (start, stop, new) in enumerate(blocks):
        low, high = start, stop
        if start == stop or not new:
            # Added lines, or the removed ones: moved by one line they make the same text where the line that they
            # leave equals the one that they meet.
            run = new or before[start:stop]
            floor = blocks[number - 1][1] if number else 0
            ceiling = blocks[number + 1][0] if number + 1 < len(blocks) else len(before)
            while low > floor and before[low - 1] == run[(low - start - 1) % len(run)]:
                low -= 1
            while high < ceiling and before[high] == run[(high - stop) % len(run)]:
                high += 1
        runs.append(_Run(start, stop, new, low, high))
    return runs
