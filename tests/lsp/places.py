"""Positions in a text, strictly: what the product has must agree with this, and shares no line with it.

Never corrects a position: one that is not in the text is an error.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

_ENDS = re.compile(r"\r\n|\n|\r")
_CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


def lines(text: str) -> list[tuple[int, int]]:
    """Where each line begins and where it ends, its terminator not included; there is one more than terminators."""
    found, start = [], 0
    for end in _ENDS.finditer(text):
        found.append((start, end.start()))
        start = end.end()
    return [*found, (start, len(text))]


def units(text: str, encoding: str) -> int:
    """How many code units a piece of text has."""
    codec, width = _CODECS[encoding]
    return len(text.encode(codec, "surrogatepass")) // width


def offset(text: str, position: dict[str, int], encoding: str) -> int:
    """How many characters stand before a position.

    Raises:
        ValueError: it is not in the text, or inside a character.
    """
    known = lines(text)
    if position["line"] >= len(known):
        raise ValueError(f"line {position['line']} of a text of {len(known)} lines")
    start, end = known[position["line"]]
    left = position["character"]
    for index in range(start, end):
        if left <= 0:
            break
        left -= units(text[index], encoding)
        start = index + 1
    if left > 0:
        raise ValueError(f"{position} is behind the end of its line {text[known[position['line']][0] : end]!r}")
    if left < 0:
        raise ValueError(f"{position} is inside a character in {encoding}")
    return start


def position(text: str, at: int, encoding: str) -> dict[str, int]:
    """The position before the character at `at`, which is not inside a terminator."""
    number, (start, _) = max(((n, line) for n, line in enumerate(lines(text)) if line[0] <= at), key=lambda p: p[0])
    return {"line": number, "character": units(text[start:at], encoding)}


def extent(text: str, there: dict[str, Any], encoding: str) -> tuple[int, int]:
    """Where a range begins and ends.

    Raises:
        ValueError: it is not in the text, or ends before it begins.
    """
    start, end = offset(text, there["start"], encoding), offset(text, there["end"], encoding)
    if start > end:
        raise ValueError(f"the range {there} ends before it begins")
    return start, end


def edited(text: str, edits: list[dict[str, Any]], encoding: str) -> tuple[str, list[dict[str, Any]]]:
    """The text with all edits made, and the edits from the last to the first, so that each one's place is still right.

    Raises:
        ValueError: a range is not in the text, or two overlap.
    """
    placed = [(*extent(text, edit["range"], encoding), n, edit) for n, edit in enumerate(edits)]
    placed.sort(key=lambda one: one[:3])
    for (_, end, _, one), (start, _, _, other) in itertools.pairwise(placed):
        if start < end:
            raise ValueError(f"the edits {one['range']} and {other['range']} overlap")
    for start, end, _, edit in reversed(placed):
        text = text[:start] + edit["newText"] + text[end:]
    return text, [edit for *_, edit in reversed(placed)]
