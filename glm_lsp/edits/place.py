"""Where the old text of an edit is, and the one replacement that follows from it.

Never places by likeness: no similarity score, no edit distance, no case folding, no first-and-last-line anchors.
Old text stands in exactly one place after a harmless normalisation, or the edit is refused with the live lines.

The rungs, from strict to lax; each is tried only where the one before found nothing, and several places on a rung end
the search, since a laxer rung could only find more of them:

1. `exact`: the characters as they are; it may be a part of a line.
   Whole lines outrank parts of lines, so that `import os` is not also found in `import os.path`.
2. `line-endings`: whole lines without terminators and trailing blanks.
3. `punctuation`: whole lines with typographic quotes, dashes, spaces and dots as ASCII, composed (NFC).
4. `line-numbers`: whole lines after removing echoed line numbers (`12|`, `12:`, ...) that all lines of it carry.
5. `indentation`: whole lines under one uniform change of indentation, which the new text undergoes as well.

A `start_line` decides between several places only where the nearest is within 10 lines of it, and the next nearest at
least three times as far.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from glm_lsp.edits.indent import reindent, relation
from glm_lsp.edits.nearest import ambiguous, not_found, unclear
from glm_lsp.edits.splice import refuse_placeholders, replace_lines, splice, split_lines, write_whole
from glm_lsp.errors import AnchorNotFound, BadArguments, NothingChanged
from glm_lsp.terms import Edit, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.edits.text import Text

__all__ = ["AlreadyApplied", "Located", "Placed", "Rung", "locate", "place", "splice", "write_whole"]

Rung = Literal["exact", "line-endings", "punctuation", "line-numbers", "indentation"]


@dataclass(frozen=True, slots=True)
class Placed:
    """An edit with its place.

    Attributes:
        edit: the replacement, with the file's own terminators.
        line: the first line of the old text, from 1; the edit's span may begin later, where the first change is.
        rung: which normalisation found it.
    """

    edit: Edit
    line: int
    rung: Rung


@dataclass(frozen=True, slots=True)
class AlreadyApplied:
    """There is nothing to do: the new text stands at `line` already. A success, since edits may be sent twice."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Located:
    """The place of an old text.

    Attributes:
        line: its first line, from 1.
        count: how many lines it touches.
        rung: which normalisation found it.
        old: its lines, without echoed line numbers.
        span: its characters where they were matched as they are; None for whole lines.
        numbers: the index of the form in which its lines carried line numbers; None where they carried none.
    """

    line: int
    count: int
    rung: Rung
    old: tuple[str, ...]
    span: Span | None = None
    numbers: int | None = None


def place(text: Text, path: str, old: str, new: str, *, start_line: int | None = None) -> Placed | AlreadyApplied:
    """Places the replacement of `old` by `new`, which are taken as lines where `old` reaches the end of a line.

    So a missing or additional final newline in either joins no lines and adds no blank ones, and an empty `new`
    removes whole lines.
    Unchanged lines keep their bytes.

    Raises:
        AnchorNotFound, AnchorAmbiguous: with the live lines.
        NothingChanged: old and new are the same.
        PlaceholderText: the new text stands for code that it leaves out.
        BadArguments: an empty `old` for a file with content, or line numbers in `new`.
    """
    if not old:
        if text.content:
            raise BadArguments(
                f"old_string is empty, and {path} is not.",
                hint="Give the lines to replace; to insert, give a neighbouring line and repeat it in new_string.",
            )
        edit = write_whole(text, path, new)
        return Placed(edit, 1, "exact")
    if old == new:
        raise NothingChanged("old_string and new_string are the same.", hint="Say in new_string what shall differ.")
    try:
        found = locate(text, path, old, start_line=start_line)
    except AnchorNotFound:
        if there := _new_is_there(text, split_lines(old), split_lines(new), start_line):
            return AlreadyApplied(path, there)
        raise
    first, last = found.line - 1, found.line - 1 + found.count
    wanted = _without_numbers(new, found)
    refuse_placeholders(wanted, [*found.old, *text.lines()[first:last]])
    if there := _new_surrounds_old(text, found, wanted, old, new):
        return AlreadyApplied(path, there)
    ending = None
    if split_lines(old) == split_lines(new) and last == text.line_count:
        ending = new.endswith(("\n", "\r"))
    try:
        if found.span is None:
            out = wanted
            if found.rung in {"indentation", "line-numbers"}:
                out = _reindented(text, path, found, wanted)
            edit = replace_lines(text, path, first, old=found.old, new=wanted, out=out, ending=ending)
        else:
            window = text.lines()[first:last]
            out = _in_window(text, path, found, new)
            edit = replace_lines(text, path, first, old=window, new=out, out=out, ending=ending)
    except NothingChanged:
        if list(found.old) == wanted:
            raise
        return AlreadyApplied(path, found.line)
    return Placed(edit, found.line, found.rung)


def locate(text: Text, path: str, old: str, *, start_line: int | None = None) -> Located:
    """Finds the one place of a non-empty old text.

    Raises AnchorNotFound and AnchorAmbiguous with the live lines.
    """
    lines = split_lines(old)
    for needle, rung in _spellings(text, old):
        if at := _exact(text, needle):
            number = _one(text, path, [text.line_of(start) for start in at], len(lines), start_line)
            start = at[number]
            line, last = text.line_of(start), text.line_of(start + len(needle) - 1)
            return Located(line, last - line + 1, rung, tuple(lines), Span(start, start + len(needle)))
    if not any(line.strip() for line in lines):
        raise not_found(text, path, lines, start_line, "It has only blanks.")
    bare, form = lines, None
    tries: list[tuple[Rung, bool]] = [("line-endings", False), ("punctuation", True)]
    if (numbered := unnumbered(lines)) and any(line.strip() for line in numbered[1]):
        first, bare, form = numbered
        start_line = start_line or first
        tries.append(("line-numbers", True))
    own: list[str] = []
    for rung, folded in tries:
        wanted = bare if rung == "line-numbers" else lines
        if rung != "line-numbers":
            own = _keys(text.lines(), folded=folded)
        if places := _runs(own, _keys(wanted, folded=folded)):
            number = _one(text, path, [at + 1 for at in places], len(wanted), start_line)
            kept = form if rung == "line-numbers" else None
            return Located(places[number] + 1, len(wanted), rung, tuple(wanted), numbers=kept)
    return _under_other_indentation(text, path, own, bare, start_line, form)


def closest(places: Sequence[int], start_line: int | None) -> int | None:
    """The index of the place that a hint clearly means; None where it means none or several."""
    if start_line is None:
        return None
    order = sorted(range(len(places)), key=lambda index: abs(places[index] - start_line))
    nearest, next_nearest = (abs(places[index] - start_line) for index in order[:2])
    return order[0] if nearest <= 10 and next_nearest >= max(3 * nearest, 1) else None


def unnumbered(lines: Sequence[str]) -> tuple[int, list[str], int] | None:
    """Lines without the line numbers that every one of them carries, counting up by one.

    With the first number in front, and the index of the form that they are in behind.
    """
    for index, form in enumerate(_NUMBERED):
        found = [match for line in lines if (match := form.match(line))]
        if found and len(found) == len(lines):
            numbers = [int(match[1]) for match in found]
            if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
                return numbers[0], [match.string[match.end() :] for match in found], index
    return None


_NUMBERED = tuple(
    re.compile(form)
    for form in (r"[ ]*(\d{1,7})\|", r"[ ]*(\d{1,7})(?:\t|$)", r"[ ]*(\d{1,7})→", r"[ ]*(\d{1,7}):(?:[ ]|$)")
)
_LINE_END = re.compile(r"[ \t]*(?:[\r\n]|\Z)")
_MOST = 10_000  # places that are looked at
_ASCII = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    **dict.fromkeys("\u00a0\u202f\u205f\u3000", " "),
    **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),
    "\u2026": "...",
}
_TYPOGRAPHIC = re.compile(f"[{''.join(_ASCII)}]")


def _folded(content: str) -> str:
    if content.isascii():
        return content
    return unicodedata.normalize("NFC", _TYPOGRAPHIC.sub(lambda found: _ASCII[found[0]], content))


def _keys(lines: Sequence[str], *, folded: bool) -> list[str]:
    if folded:
        lines = _folded("\n".join(lines)).split("\n")
    return [line.rstrip(" \t\f\v") for line in lines]


def _runs(keys: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the wanted keys stand one after the other, as indexes of the first; lines hold no newline."""
    hay, needle = "\n".join(["", *keys, ""]), "\n".join(["", *wanted, ""])
    found: list[int] = []
    line = seen = 0
    at = hay.find(needle)
    while at >= 0 and len(found) <= _MOST:
        line += hay.count("\n", seen, at)
        seen = at
        found.append(line)
        at = hay.find(needle, at + 1)
    return found


def _spellings(text: Text, old: str) -> list[tuple[str, Rung]]:
    """The old text as it is and, where all lines of the file end in the same way, with those endings."""
    kinds = set(text.terminators()) - {""}
    own = re.sub("\r\n|\n|\r", lambda _: text.newline, old) if len(kinds) == 1 else old
    return [(old, "exact")] if own == old else [(old, "exact"), (own, "line-endings")]


def _exact(text: Text, needle: str) -> list[int]:
    """The offsets of the needle that count: whole lines before parts of lines.

    A run of whole lines whose first lacks its indentation counts as whole, unless the needle brings indentation.
    """
    content = text.content
    whole: list[int] = []
    dedented: list[int] = []
    part: list[int] = []
    line, begin, blanks = 0, 0, 0
    at = content.find(needle)
    while at >= 0 and len(whole) + len(dedented) + len(part) <= _MOST:
        end = at + len(needle)
        if not (content[at - 1 : at + 1] == "\r\n" or content[end - 1 : end + 1] == "\r\n"):
            if (now := text.line_of(at)) != line:
                line, begin = now, text.offset_of(now)
                blanks = _indented(text.line(now))
            if content[end - 1] not in "\r\n" and not _LINE_END.match(content, end):
                part.append(at)
            elif at == begin:
                whole.append(at)
            else:
                (dedented if at - begin <= blanks else part).append(at)
        at = content.find(needle, at + 1)
    if whole and needle[0] in " \t":
        return whole
    return sorted(whole + dedented) or part


def _indented(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _one(text: Text, path: str, places: list[int], count: int, start_line: int | None) -> int:
    """The index of the one place, by the hint where there are several."""
    if len(places) == 1:
        return 0
    more = len(places) > _MOST
    chosen = None if more else closest(places, start_line)
    if chosen is None:
        raise ambiguous(text, path, places, count, more=more)
    return chosen


def _under_other_indentation(
    text: Text, path: str, lines: list[str], wanted: Sequence[str], hint: int | None, form: int | None
) -> Located:
    bare = [key.strip() for key in _keys(wanted, folded=True)]
    same = _runs([line.strip() for line in lines], bare)
    places = [at for at in same if relation(lines[at : at + len(wanted)], wanted) is not None]
    if not places:
        why = "The same words are there, with indentation that differs from line to line." if same else ""
        raise not_found(text, path, wanted, hint, why)
    number = _one(text, path, [at + 1 for at in places], len(wanted), hint)
    return Located(places[number] + 1, len(wanted), "indentation", tuple(wanted), numbers=form)


def _without_numbers(new: str, found: Located) -> list[str]:
    """The new lines without line numbers where the old ones carried them; refused where only some have one."""
    lines = split_lines(new)
    if found.numbers is not None:
        form = _NUMBERED[found.numbers]
        hits = [form.match(line) for line in lines]
        if not any(hits):
            return lines
        if all(hit or not line.strip() for hit, line in zip(hits, lines, strict=True)):
            return [line[hit.end() :] if hit else line for hit, line in zip(hits, lines, strict=True)]
    else:
        echoed = unnumbered(lines)
        if not (echoed and echoed[0] == found.line and echoed[2] == 0 and unnumbered(found.old) is None):
            return lines
    raise BadArguments(
        "new_string has line numbers in front of its lines, which would be written into the file.",
        hint="Write the lines without line numbers.",
    )


def _reindented(text: Text, path: str, found: Located, wanted: list[str]) -> list[str]:
    """The new lines under the shift of indentation between the old lines and the file's."""
    own = _keys(text.lines()[found.line - 1 : found.line - 1 + found.count], folded=True)
    out = reindent(own, found.old, wanted)
    if isinstance(out, str):
        raise unclear(text, path, found.line, found.count, out)
    return out


def _in_window(text: Text, path: str, found: Located, new: str) -> list[str]:
    """The lines that an exactly matched text leaves in the place of the lines it touches."""
    assert found.span is not None  # noqa: S101 - for the type checker: the caller has looked
    start, end = found.span.start, found.span.end
    last = found.line + found.count - 1
    before = text.content[text.offset_of(found.line) : start]
    after = text.content[end : text.offset_of(last) + len(text.line(last))]
    if after.strip(" \t") or (after and before.strip(" \t")):
        return split_lines(f"{before}{new}{after}\n")
    body = re.sub("(?:\r\n|\n|\r)\\Z", "", new) if new.endswith(("\n", "\r")) else new
    if before.strip(" \t"):
        return split_lines(f"{before}{body}\n")
    if not new:
        return []
    lines = split_lines(f"{body}\n")
    return _reindented(text, path, found, lines) if before and body else lines


def _new_is_there(text: Text, old: list[str], new: list[str], start_line: int | None) -> int:
    """The line where the new text stands, exactly once, while the old is gone; 0 where that is not certain enough.

    New text that is only a run of the old lines says nothing, since it is there before the edit as well.
    """
    there = {line.strip() for line in old}
    added = [line for line in new if line.strip() not in there]
    if sum(map(str.isalnum, "".join(added))) < 10:
        return 0
    places = _runs(_keys(text.lines(), folded=False), _keys(new, folded=False))
    if len(places) != 1 or (start_line is not None and abs(places[0] + 1 - start_line) > 10):
        return 0
    return places[0] + 1


def _new_surrounds_old(text: Text, found: Located, wanted: list[str], old: str, new: str) -> int:
    """The line where the new text stands around the old that it contains; 0 where it does not."""
    if found.span is not None and not re.search("[\r\n]", old + new) and (at := new.find(old)) >= 0:
        start = found.span.start - at
        if start >= 0 and text.content.startswith(new, start):
            return found.line
    if not wanted or len(wanted) < len(found.old):
        return 0
    bare_old, bare_new = [line.strip() for line in found.old], [line.strip() for line in wanted]
    count = len(bare_old)
    for offset in range(len(wanted) - count + 1):
        first = found.line - 1 - offset
        if first < 0 or bare_new[offset : offset + count] != bare_old:
            continue
        here = text.lines()[first : first + len(wanted)]
        added = "".join(bare_new[:offset] + bare_new[offset + count :])
        if sum(map(str.isalnum, added)) >= 3 and _keys(here, folded=False) == _keys(wanted, folded=False):
            return first + 1
        if len(wanted) == count and here == wanted and wanted != list(found.old):  # they differ in blanks only
            return first + 1
    return 0
