"""One uniform change of indentation, from the lines as they were quoted to the lines as they are.

Never accepts lines whose indentation differs in several ways, and never re-indents where two readings are possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Shift:
    r"""How quoted indentation becomes the file's.

    Attributes:
        remove: blanks that every quoted line has in front and the file has not.
        add: blanks that the file has in front of every line.
        spaces: with it, so many quoted spaces are a tab of the file; negative: a quoted tab is so many spaces.
        first_only: only the first line differs, since it was quoted without all of its indentation.
    """

    remove: str = ""
    add: str = ""
    spaces: int = 0
    first_only: bool = False


def relation(own: Sequence[str], quoted: Sequence[str]) -> Shift | None:
    """The one shift that takes every quoted line to the file's line; None where there is none.

    The lines are the same but for indentation and trailing blanks; blank lines do not count.
    """
    pairs = [(indent(a), indent(b)) for a, b in zip(own, quoted, strict=True) if a.strip()]
    if not pairs:
        return None
    if all(a == b for a, b in pairs):
        return Shift()
    (a0, b0), rest = pairs[0], pairs[1:]
    if a0.endswith(b0):
        add = a0[: len(a0) - len(b0)]
        if all(a == add + b for a, b in pairs):
            return Shift(add=add)
        if all(a == b for a, b in rest):
            return Shift(add=add, first_only=True)
    if b0.endswith(a0):
        remove = b0[: len(b0) - len(a0)]
        if all(b == remove + a for a, b in pairs):
            return Shift(remove=remove)
    for spaces in (2, 3, 4, 8):
        if all(b == " " * (spaces * len(a)) and not a.strip("\t") for a, b in pairs):
            return Shift(spaces=spaces)
        if all(a == " " * (spaces * len(b)) and not b.strip("\t") for a, b in pairs):
            return Shift(spaces=-spaces)
    return None


def reindent(own: Sequence[str], quoted: Sequence[str], new: Sequence[str]) -> list[str] | str:
    """The new lines under the shift between the quoted lines and the file's own; blank lines become empty.

    Returns a sentence for the model where that cannot be done in exactly one way.
    """
    shift = relation(own, quoted)
    if shift is None:
        return "The indentation differs from line to line."
    if shift == Shift():
        return list(new)
    filled = [line for line in new if line.strip()]
    first = next((line for line in quoted if line.strip()), "")
    single = sum(1 for line in quoted if line.strip()) == 1
    if filled and (shift.first_only or (single and shift.add and not indent(first))):
        return _first_line_only(shift.add, first, new, filled, sure=shift.first_only)
    out: list[str] = []
    for line in new:
        shifted = _shifted(line, shift) if line.strip() else ""
        if shifted is None:
            return (
                f"It is there with other indentation, and new_string cannot follow: {line.strip()[:60]!r} "
                "is indented in another way than old_string."
            )
        out.append(shifted)
    return out


def indent(line: str) -> str:
    """The spaces and tabs in front of a line."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def _shifted(line: str, shift: Shift) -> str | None:
    blanks = indent(line)
    if shift.spaces > 0:
        tabs, left = divmod(len(blanks), shift.spaces)
        return None if left or blanks.strip(" ") else "\t" * tabs + line[len(blanks) :]
    if shift.spaces < 0:
        return None if blanks.strip("\t") else " " * (-shift.spaces * len(blanks)) + line[len(blanks) :]
    return shift.add + line.removeprefix(shift.remove) if line.startswith(shift.remove) else None


def _first_line_only(add: str, first: str, new: Sequence[str], filled: Sequence[str], *, sure: bool) -> list[str] | str:
    """The new lines where the first quoted line lacks indentation (and the first new one with it).

    A single quoted line without indentation says nothing about the others (`sure` is false): they are taken as they
    are where all of them have the file's indentation already, and refused otherwise.
    """
    if indent(filled[0]) != indent(first):
        return "It is there with other indentation than in old_string, and new_string begins with yet another."
    if not sure and not all(line.startswith(add) for line in filled[1:]):
        return "It is there with indentation, which old_string lacks, so the indentation of new_string is unclear."
    at = next(index for index, line in enumerate(new) if line.strip())
    return [*new[:at], add + new[at], *new[at + 1 :]]
