"""What to say when the old text has no place or several: live lines, so that the next try can be right.

Never chooses a place: likeness is looked at here, for words in a message, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING

from glm_lsp.errors import AnchorAmbiguous, AnchorNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.edits.text import Text


def not_found(text: Text, path: str, old: Sequence[str], start_line: int | None, why: str = "") -> AnchorNotFound:
    """The refusal for old text that is nowhere: what was looked for, and the places most like it.

    The work is bounded, however large the file and the old text are.
    """
    count = len(old)
    looked = f"{count} lines beginning with {_short(_first(old))!r}" if count > 1 else f"{_short(_first(old))!r}"
    message = f"old_string is not in {path}: looked for {looked}, ignoring line endings and trailing spaces."
    if why:
        message += f" {why}"
    places = _alike(text, old, start_line)
    if places:
        heading = "The nearest lines are" if len(places) == 1 else "The nearest places are"
        message += f"\n{heading}:\n" + "\n...\n".join(_numbered(text, place - 1, count + 2) for place in places)
    elif start_line is not None:
        message += f"\nNothing is like it. Line {start_line} and around it:\n{_numbered(text, start_line - 4, 8)}"
    else:
        message += "\nNothing in the file is like it." if text.content else "\nThe file is empty."
    hint = "Copy old_string from these lines, without the number and the bar in front, or read the file again."
    return AnchorNotFound(message, hint=hint if places else "Read the file again and copy old_string from it.")


def ambiguous(text: Text, path: str, places: Sequence[int], count: int, *, more: bool = False) -> AnchorAmbiguous:
    """The refusal for old text in several places: all their lines, and the lines around the first few.

    Args:
        text: the file's text.
        path: its path.
        places: the line numbers, in order, one for each place.
        count: how many lines the old text has.
        more: whether there are still more places.
    """
    numbers = ", ".join(map(str, places[:_LISTED]))
    rest = len(places) - _LISTED
    if rest > 0:
        numbers += f" and {'at least ' if more else ''}{rest} more"
    shown = list(dict.fromkeys(places))[:3]
    return AnchorAmbiguous(
        f"old_string is in {'at least ' if more else ''}{len(places)} places in {path}: lines {numbers}.\n"
        + "\n...\n".join(_numbered(text, place - 2, min(count, 4) + 4) for place in shown),
        hint="Add lines before or after it to old_string until it is the only one, or give its start_line.",
    )


def unclear(text: Text, path: str, line: int, count: int, why: str) -> AnchorNotFound:
    """The refusal for old text that stands at one place with an indentation that leaves the new one unclear."""
    return AnchorNotFound(
        f"old_string is not in {path} as it is written. {why} The lines are:\n{_numbered(text, line - 1, count + 2)}",
        hint="Write old_string and new_string with the indentation of these lines.",
    )


_LISTED = 20  # line numbers in a message
_SHOWN = 14  # lines shown for a place
_WIDTH = 300  # characters shown of a line
_VOTERS = 200  # lines of the old text that are looked up
_COMPARED = 1500  # lines of the file that are compared by likeness


def _alike(text: Text, old: Sequence[str], start_line: int | None) -> list[int]:
    """Up to three line numbers where the old text may have been meant, best first."""
    where: dict[str, list[int]] = {}
    for number, line in enumerate(text.lines(), 1):
        key = line.strip()
        if key:
            where.setdefault(key, []).append(number)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(old[:_VOTERS]):
        for number in where.get(line.strip(), [])[:50]:
            votes[max(1, number - offset)] += 1
    if votes:
        most = max(votes.values())
        best = sorted(place for place, count in votes.items() if count == most)
        return sorted(best, key=lambda place: (abs(place - (start_line or 1)), place))[:3]
    longest = max(range(min(len(old), _VOTERS)), key=lambda i: len(old[i].strip()), default=0)
    wanted = old[longest].strip() if old else ""
    if not wanted or len(wanted) > _WIDTH:
        return []
    lines = [line for line in where if len(wanted) // 2 <= len(line) <= 2 * len(wanted)]
    lines.sort(key=lambda line: abs(where[line][0] - (start_line or 1)))
    close = get_close_matches(wanted, lines[:_COMPARED], n=3, cutoff=0.6)
    return [max(1, where[line][0] - longest) for line in close]


def _numbered(text: Text, first: int, count: int) -> str:
    """Lines from number `first`, each as `N|line`; a long line is cut, which the cut says."""
    total = text.line_count
    first = max(1, min(first, total))
    last = min(total, first + min(count, _SHOWN) - 1)
    rows = []
    for number in range(first, last + 1):
        line = text.line(number)
        cut = f"[... {len(line) - _WIDTH} more characters in this line]" if len(line) > _WIDTH else ""
        rows.append(f"{number}|{line[:_WIDTH]}{cut}")
    return "\n".join(rows)


def _first(old: Sequence[str]) -> str:
    return next((line for line in old if line.strip()), "")


def _short(line: str) -> str:
    bare = line.strip()
    return bare if len(bare) <= 80 else f"{bare[:77]}..."
