"""A proposal onto a text that has moved on: three texts, hunk by hunk.

Never searches for a place: where a hunk belongs follows from what was edited in between, or it stays out.

Both the proposal and the live text are compared with the base they come from, line by line.
A hunk of the proposal fits where at least one line that nobody touched lies between it and every edit of the live
text, above and below.

Texts do not always tell what was edited: a copy of a function above the function, a blank line among blank lines.
So both are compared twice, from the top and from the bottom.
A line counts as untouched only where it is the same line both times, where it reads like no line of an edit beside it,
and where it stands in an unbroken run of such lines with one among them that is there exactly once on both sides.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, Literal

from glm_lsp.edits.hunks import changed
from glm_lsp.edits.text import Text
from glm_lsp.terms import Span

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from glm_lsp.edits.hunks import Block

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
    Texts whose line endings differ have nothing in common: `spelled_as` comes first.

    Args:
        base: the text that the proposal was made from.
        proposed: the text that it wants.
        live: the text as it is now.
        chosen: the hunks to put into the text; None for all of them.
        taken: hunks that were put into the live text before, and so count as a part of what it was made from; they
            are `done`, whatever became of them since.
    """
    before, after, now = _lines(base), _lines(proposed), _lines(live)
    before, blocks = _with_taken(before, after, changed(before, after), taken)
    ours = _regions(before, after, [block for number, block in enumerate(blocks) if number not in taken])
    theirs = _regions(before, now, changed(before, now))
    starts = [0, *accumulate(map(len, now))]
    ends = [region.high for region in theirs]
    places: list[Place] = []
    parts: list[str] = []
    copied = 0
    for number, (i1, i2, j1, j2) in enumerate(blocks):
        if number in taken:
            above = bisect_left(ends, i1)
            places.append(Place("done", i1 + _shift(theirs, above) + 1))
            continue
        region = ours[bisect_left(ours, i2, key=lambda region: region.high)]
        first = bisect_left(ends, region.low)
        touched = theirs[first : bisect_right(theirs, region.high, key=lambda region: region.low)]
        if not touched:
            at, end = i1 + _shift(theirs, first), i2 + _shift(theirs, first)
            places.append(Place("fits", at + 1, Span(starts[at], starts[end]), "".join(after[j1:j2])))
            if chosen is None or number in chosen:
                parts += [*now[copied:at], *after[j1:j2]]
                copied = end
        elif _same(region, touched[0], after, now):
            places.append(Place("done", touched[0].first + j1 - region.first + 1))
        else:
            places.append(Place("stale", touched[0].first + 1))
    parts += now[copied:]
    # Neighbours here are neighbours in one of the three texts, so that no two line endings become one.
    return Merged("".join(parts), tuple(places))


def spelled_as(live: str, base: str, proposed: str) -> tuple[str, str]:
    """The base and the proposal with the line endings of the live text, where each has one kind throughout.

    A file may have been saved with other endings since; a proposal that changes endings itself stays as it is.
    """
    here, there = _ending(live), _ending(base)
    if not here or not there or here == there or _ending(proposed) not in {there, ""}:
        return base, proposed
    return base.replace(there, here), proposed.replace(there, here)


@dataclass(frozen=True, slots=True)
class _Region:
    """Items `low:high` of the one side, somewhere in which an edit made them `first:behind` of the other."""

    low: int
    high: int
    first: int
    behind: int


def _shift(regions: Sequence[_Region], above: int) -> int:
    """How much further down lines stand below the first `above` regions."""
    return regions[above - 1].behind - regions[above - 1].high if above else 0


def _same(ours: _Region, theirs: _Region, after: Sequence[str], now: Sequence[str]) -> bool:
    return (ours.low, ours.high) == (theirs.low, theirs.high) and (
        after[ours.first : ours.behind] == now[theirs.first : theirs.behind]
    )


def _ending(text: str) -> str | None:
    """What ends the lines; empty where no line is ended, None where they end in several ways."""
    kinds = set(Text(text).terminators()) - {""}
    return next(iter(kinds), "") if len(kinds) < 2 else None


def _lines(text: str) -> list[str]:
    split = Text(text)
    return [line + end for line, end in zip(split.lines(), split.terminators(), strict=True)]


def _with_taken(
    before: Sequence[str], after: Sequence[str], wanted: Iterable[Block], taken: Container[int]
) -> tuple[list[str], list[Block]]:
    """The base with the taken hunks in it, and the hunks as they stand in that."""
    lines: list[str] = []
    moved: list[Block] = []
    copied = 0
    for number, (i1, i2, j1, j2) in enumerate(wanted):
        lines += before[copied:i1]
        at = len(lines)
        lines += after[j1:j2] if number in taken else before[i1:i2]
        moved.append((at, len(lines), j1, j2))
        copied = i2
    lines += before[copied:]
    return lines, moved


def _regions(before: Sequence[str], after: Sequence[str], blocks: Sequence[Block]) -> list[_Region]:
    """What lies between the lines that are surely the same; every block is in one of them."""
    n, m = len(before), len(after)
    upwards = [(n - i2, n - i1, m - j2, m - j1) for i1, i2, j1, j2 in reversed(changed(before[::-1], after[::-1]))]
    once, again = _partners(before, after, blocks), _partners(before, after, upwards)
    kept = [(i, j) for i, (j, other) in enumerate(zip(once, again, strict=True)) if j == other >= 0]
    sure = kept if not blocks else _anchored(before, after, kept)
    return [
        _Region(i1 + 1, i2, j1 + 1, j2)
        for (i1, j1), (i2, j2) in pairwise([(-1, -1), *sure, (n, m)])
        if i2 - i1 > 1 or j2 - j1 > 1
    ]


def _anchored(before: Sequence[str], after: Sequence[str], kept: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs in unbroken runs of lines that hold one which is there exactly once on both sides."""
    here, there = Counter(before), Counter(after)
    sure: list[tuple[int, int]] = []
    for _, group in groupby(enumerate(kept), key=lambda item: (item[1][0] - item[0], item[1][1] - item[0])):
        run = [pair for _, pair in group]
        if any(here[before[i]] == there[after[j]] == 1 for i, j in run):
            sure += run
    return sure


def _partners(before: Sequence[str], after: Sequence[str], blocks: Sequence[Block]) -> list[int]:
    """For each line the one it has become; -1 for those that changed, or that may have as well as the block beside them.

    A line beside a block may be one of those that came or went if it reads like one of them.
    """
    n = len(before)
    partners: list[int] = []
    ends = [(0, 0, 0, 0), *blocks, (n, n, len(after), len(after))]
    for (_, _, _, j), (i1, i2, j1, _) in pairwise(ends):
        partners += range(j, j1)
        partners += [-1] * (i2 - i1)
    for (_, floor, _, _), (i1, i2, j1, j2), (ceiling, _, _, _) in zip(ends, ends[1:-1], ends[2:], strict=False):
        within = {*before[i1:i2], *after[j1:j2]}
        low, high = i1, i2
        while low > floor and before[low - 1] in within:
            low -= 1
            partners[low] = -1
        while high < ceiling and before[high] in within:
            partners[high] = -1
            high += 1
    return partners
