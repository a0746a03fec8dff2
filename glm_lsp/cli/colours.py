"""The lines of a diff with syntax colours, in the sixteen colours that every terminal theme defines.

Never parses code to judge it: a lexer's guess is enough for a colour, and a wrong guess is only a colour.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Whitespace
from pygments.util import ClassNotFound
from rich.text import Text

from glm_lsp.cli.words import clean, one_line
from glm_lsp.edits.hunks import unified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pygments.lexer import Lexer
    from pygments.token import _TokenType

    from glm_lsp.terms import FileChange

WINDOW = 80
"""Lines of an open string or comment that are read again with each line that continues it."""

LONG_LINE = 2_000
"""Characters in a line beyond which it stays uncoloured: it is data or minified code."""

SIGNS = {"+": "green", "-": "red", " ": ""}

# Neither white nor black nor a bright shade: these read well on a light and on a dark background.
STYLES: dict[_TokenType, str] = {
    Comment: "dim",
    Keyword: "magenta",
    Operator.Word: "magenta",
    Name.Builtin: "cyan",
    Name.Class: "blue",
    Name.Decorator: "cyan",
    Name.Function: "blue",
    Name.Tag: "blue",
    Number: "cyan",
    String: "yellow",
}


class Colourist:
    """Colours the lines of one hunk of a file, in the order in which they come."""

    def __init__(self, path: str, *, color: bool) -> None:
        self._lexer = _lexer(PurePosixPath(path).name) if color else None
        self._open: dict[str, list[str]] = {"-": [], "+": []}

    def line(self, sign: str, text: str, *, indent: str = "") -> Text:
        """One diff line: `indent`, the sign in its colour, the code in its colours.

        Args:
            sign: `+`, `-` or a space.
            text: the line, without its terminator.
            indent: put in front of the sign.
        """
        result = Text(indent)
        result.append(sign, SIGNS[sign])
        result.append_text(self._code(sign, clean(text)))
        if sign == "-":
            result.stylize("dim", len(indent) + 1)
        return result

    def _code(self, sign: str, text: str) -> Text:
        plain = Text(text)
        if self._lexer is None or len(text) > LONG_LINE:
            return plain
        opened = self._open["-" if sign == "-" else "+"]
        skip = sum(len(line) + 1 for line in opened)
        at = 0
        last = Whitespace
        for last, value in self._lexer.get_tokens("".join(f"{line}\n" for line in (*opened, text))):
            start, at = at, at + len(value)
            if at > skip and (style := _style(last)):
                plain.stylize(style, max(start - skip, 0), at - skip)
        # A string or comment that holds the line's end goes on in the next line: that one is read together with it.
        kinds = last.split()
        goes_on = String in kinds or (Comment in kinds and Comment.Single not in kinds)
        now = [*opened, text][-WINDOW:] if goes_on else []
        for side in ("-", "+") if sign == " " else (sign,):
            self._open[side] = now
        return plain


def diff_lines(change: FileChange, *, color: bool) -> Iterator[Text]:
    """A whole change as the lines of a unified diff, harmless to print, which also makes it no patch to apply."""
    head, at, body = unified(change).removesuffix("\n").partition("\n@@")
    if "\nGIT binary patch" in head:
        yield Text(f"{one_line(change.path)}: binary content", "bold")
        return
    for line in head.split("\n"):
        yield Text(clean(line), "bold")
    if not at:
        return
    lines = f"@@{body}".split("\n")
    # In a file with Windows line ends throughout they are no news; a mix is, and stays visible.
    windows = all(line.endswith("\r") for line in lines if not line.startswith(("@@", "\\")))
    colours = Colourist(change.path, color=color)
    for line in lines:
        sign, text = line[:1], line[1:].removesuffix("\r" if windows else "")
        if sign in SIGNS:
            yield colours.line(sign, text)
            continue
        if sign == "@":
            colours = Colourist(change.path, color=color)
        yield Text(clean(line), "cyan" if sign == "@" else "dim")


@lru_cache(maxsize=64)
def _lexer(name: str) -> Lexer | None:
    try:
        # Without these two options the lexer would drop and add newlines, and the places would be off.
        return get_lexer_for_filename(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _style(kind: _TokenType) -> str:
    return next((STYLES[step] for step in reversed(kind.split()) if step in STYLES), "")
