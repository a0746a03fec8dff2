"""From the lines that are wanted to one replacement that keeps every other byte.

Never chooses a place, and never uses a regular expression's replacement template: text is only ever spliced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from glm_lsp.edits.hunks import changed
from glm_lsp.errors import NothingChanged, PlaceholderText
from glm_lsp.terms import Edit, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.edits.text import Text


def splice(text: Text, edit: Edit) -> str:
    """The content with the edit made; the rest stands as it was."""
    return text.content[: edit.span.start] + edit.new + text.content[edit.span.end :]


def write_whole(text: Text | None, path: str, content: str) -> Edit:
    r"""A whole new content as one replacement.

    For a new file (`text` is None) the content is taken as it is.
    For an existing one, equal lines keep their bytes, other lines take their neighbours' terminators, and whether the
    file ends with a terminator stays as it was, unless that is all that differs.
    Raises NothingChanged, and PlaceholderText where the content stands for code that it leaves out.
    """
    if text is None:
        refuse_placeholders(split_lines(content), [])
        return Edit(path, Span(0, 0), content)
    if text.bom:
        content = content.removeprefix("\ufeff")
    wanted = split_lines(content)
    refuse_placeholders(wanted, text.lines())
    if not text.content:
        if not content:
            raise NothingChanged(f"{path} is empty, and so is the new content.", hint="Give the content to write.")
        return Edit(path, Span(0, 0), content)
    ending = None
    if wanted == text.lines() and content.endswith(("\n", "\r")) != text.ends_with_newline:
        ending = not text.ends_with_newline
    return replace_lines(text, path, 0, old=text.lines(), new=wanted, out=wanted, ending=ending)


def split_lines(content: str) -> list[str]:
    r"""The lines of a text without terminators; one final terminator begins no further line."""
    lines = re.split("\r\n|\n|\r", content) if "\r" in content else content.split("\n")
    return lines if lines[-1] else lines[:-1]


def replace_lines(
    text: Text,
    path: str,
    first: int,
    *,
    old: Sequence[str],
    new: Sequence[str],
    out: Sequence[str],
    ending: bool | None = None,
) -> Edit:
    """Replaces lines by lines, with as small a span as whole lines allow.

    Args:
        text: the text that the span is of.
        path: its file.
        first: index of the first replaced line, from 0.
        old: how the writer knows the replaced lines, one for each line of the file.
        new: the wanted lines in the same words: where they equal `old`, the file's own line stays.
        out: what is written for each line of `new`.
        ending: whether the file shall end with a terminator; None keeps what it has.

    Raises:
        NothingChanged: the file would be the same.
    """
    lines, ends = text.lines(), text.terminators()
    parts: list[tuple[str, str]] = []  # the wanted lines with their terminators, `""` where that is still open
    done = 0
    for i1, i2, j1, j2 in changed(old, new):
        parts += zip(lines[first + done : first + i1], ends[first + done : first + i1], strict=True)
        for offset, j in enumerate(range(j1, j2)):
            own = first + min(i1 + offset, i2 - 1) if i2 > i1 else -1
            line = _with_own_characters(lines[own], old[own - first], new[j], out[j]) if i2 - i1 == j2 - j1 else out[j]
            parts.append((line, ends[own] if own >= 0 else ""))
        done = i2
    last = first + len(old)
    parts += zip(lines[first + done : last], ends[first + done : last], strict=True)
    return _edit(text, path, (first, last), parts, ending)


def refuse_placeholders(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Raises PlaceholderText where a wanted line stands for code left out and is not among the known lines.

    A bare `# ...` counts only where lines would be lost, since it is common in good comments.
    """
    suspects = [line for line in wanted if "." in line or "…" in line or _WORDS.search(line)]
    if not suspects:
        return
    there = {line.strip() for line in known}
    shorter = sum(map(bool, map(str.strip, wanted))) < sum(map(bool, there))
    for line in suspects:
        bare = line.strip()
        if bare in there or len(bare) > 200:
            continue
        if _ELISION.fullmatch(bare) or (shorter and _DOTS_ONLY.fullmatch(bare)):
            raise PlaceholderText(
                f"The new text stands for code that it leaves out: {bare!r}. It would be written as it is, "
                "and the code it stands for would be lost.",
                hint="Write all lines in full, or replace fewer lines with a shorter old_string.",
            )


_WORDS = re.compile(r"\b(?:rest|remainder|existing|remaining|unchanged|omitted|same)\b", re.IGNORECASE)
_OPEN = r"(?:\#+|//+!?|/\*+|<!--|\{/\*|--+(?:\[\[)?|;+|%+|\(\*|\*|\"\"\"|'''|REM\b)\s*"
_CLOSE = r"\s*(?:\*/\}?|-->|\*\)|\]\]|\"\"\"|''')?"
_DOTS = r"(?:\.{2,}|…)"
_THING = (
    r"(?:the\s+|your\s+|this\s+|all\s+|other\s+)*(?:\w+\s+)?"
    r"(?:code|file|function|method|class|implementation|module|script|content|body|logic|lines|imports|"
    r"functions|methods|classes|tests|component|document|program|definitions?|fields|properties|cases)"
)
_TAIL = r"(?:\s+(?:goes\s+|remains?\s+|stays?\s+|is\s+|are\s+)?(?:here|unchanged|the\s+same|as\s+(?:before|is|above)|below))*"
_PLAIN = (  # enough to be sure without dots
    rf"(?:(?:the\s+)?(?:rest|remainder)(?:\s+of\s+{_THING})?|(?:keep\s+|your\s+|all\s+|the\s+)*existing\s+{_THING}"
    rf"|unchanged(?:\s+{_THING})?|(?:code\s+)?omitted(?:\s+for\s+brevity)?){_TAIL}"
)
_PHRASE = (
    rf"(?:{_PLAIN}|(?:keep\s+|your\s+|all\s+|the\s+)*(?:remaining|previous|original|same|other)\s+{_THING}{_TAIL}"
    r"|(?:the\s+)?same\s+as\s+(?:before|above))"
)
_ELISION = re.compile(
    rf"{_OPEN}[(\[]?{_PLAIN}[)\]]?[.:]?{_CLOSE}"  # `// existing code`
    rf"|{_OPEN}[(\[]?{_PHRASE}[)\]]?\s*{_DOTS}{_CLOSE}"  # `# rest of the code ...`
    rf"|(?:{_OPEN})?{_DOTS}\s*[(\[]?(?:{_PHRASE})[)\]]?\s*{_DOTS}?{_CLOSE}"  # `...existing code...`
    rf"|[(\[<]{_DOTS}?\s*{_PHRASE}\s*{_DOTS}?[)\]>]"  # `[rest of the code ...]`
    rf"|{_OPEN}{_DOTS}\s*\(?(?:rest|remaining|existing|unchanged|other|previous|more)\b.{{0,60}}?{_CLOSE}",
    re.IGNORECASE,
)
_DOTS_ONLY = re.compile(rf"{_OPEN}{_DOTS}{_CLOSE}")


def _with_own_characters(line: str, old: str, new: str, out: str) -> str:
    """The new line with the file's own characters where old and new agree (its curly quotes, say)."""
    line, old = line.rstrip(" \t"), old.rstrip(" \t")
    if line == old or new != out or len(line) != len(old) or len(line) > 1000:
        return out
    pieces: list[str] = []
    done = 0
    for i1, i2, j1, j2 in changed(old, new):
        pieces += [line[done:i1], new[j1:j2]]
        done = i2
    return "".join([*pieces, line[done:]])


def _edit(text: Text, path: str, window: tuple[int, int], parts: list[tuple[str, str]], ending: bool | None) -> Edit:
    """One replacement of the window's lines by the parts, cut down to what differs."""
    first, last = window
    lines, ends = text.lines(), text.terminators()
    at_end = last == len(lines)
    ended = not at_end or (text.ends_with_newline if ending is None else ending)
    if not ended and not parts and first:  # the line above becomes the last one, and loses its terminator
        first -= 1
        parts = [(lines[first], "")]
    filled: list[tuple[str, str]] = []
    near = ends[first - 1] if first else next((end for _, end in parts if end), text.newline)
    for line, end in parts:
        near = end or near
        filled.append((line, near))
    if filled and not ended:
        filled[-1] = (filled[-1][0], "")
    own = list(zip(lines[first:last], ends[first:last], strict=True))
    if own == filled:
        raise NothingChanged(
            f"{path} would be the same afterwards: the new text is what line {first + 1} and after hold already.",
            hint="Leave it, or say in new_string what shall be different.",
        )
    head = 0
    while head < min(len(own), len(filled)) and own[head] == filled[head]:
        head += 1
    tail = 0
    while tail < min(len(own), len(filled)) - head and own[-1 - tail] == filled[-1 - tail]:
        tail += 1
    span = Span(text.offset_of(first + head + 1), text.offset_of(last - tail + 1))
    return Edit(path, span, "".join(line + end for line, end in filled[head : len(filled) - tail]))
