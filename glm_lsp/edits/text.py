r"""A file's characters, and the way back to exactly its bytes.

Never guesses an encoding, never normalises anything, and never splits lines at anything but `\n`, `\r\n` and `\r`
(`str.splitlines` also splits at form feeds, U+0085, U+2028 and more, which editors and compilers count as characters).
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import PurePosixPath

from glm_lsp.errors import NotText


@dataclass(frozen=True)
class Text:
    r"""The decoded content of a file; lines count from 1.

    A final terminator ends the last line and begins no other: `"a\n"` has one line, `""` has none.
    Not slotted, because the line tables are computed once, when they are first wanted.

    Attributes:
        content: the exact characters, with the original terminators and without the byte order mark.
        encoding: Python's name of the codec that writes it.
        bom: the byte order mark's bytes; empty where there is none.
        cookie: whether a coding comment (PEP 263) in the content decides how others read the file.
    """

    content: str
    encoding: str = "utf-8"
    bom: bytes = b""
    cookie: bool = False

    def encode(self, content: str | None = None) -> bytes:
        """The bytes of the file: byte order mark, then `content` (this text's own where None) in its encoding.

        Raises NotText where the encoding lacks a character, where the result would read differently than it was
        written, and where a NUL character would make the file binary.
        """
        content = self.content if content is None else content
        if "\0" in content:
            raise NotText(
                "The new text contains a NUL character, which would make the file binary.",
                hint="Write NUL as an escape sequence of the language.",
            )
        try:
            data = content.encode(self.encoding)
        except UnicodeEncodeError as error:
            line = Text(content).line_of(error.start)
            raise NotText(
                f"{_name(content[error.start])} on line {line} cannot be written in {self.encoding}, "
                "which is this file's encoding.",
                hint="Use characters of that encoding, or an escape sequence of the language.",
            ) from None
        if self.encoding not in _EXACT and data.decode(self.encoding, "replace") != content:
            raise NotText(
                f"The new text does not survive being written in {self.encoding}, which is this file's encoding.",
                hint="Use characters of that encoding, or an escape sequence of the language.",
            )
        if self.cookie and not self.bom:
            self._refuse_other_declaration(data)
        return self.bom + data

    def shown_as(self, live: str) -> Text:
        r"""The same file with what an editor shows of it: `live` in this encoding, with this byte order mark.

        Some editors tell every line ending as `\n`: where all lines here end in one other way, those of `live` do too,
        unless it has other endings itself.
        A byte order mark that the editor tells as a character becomes the file's own.
        """
        bom = self.bom
        if live.startswith("\ufeff") and self.encoding in _EXACT:
            live, bom = live[1:], bom or codecs.BOM_UTF8
        kinds = set(self.terminators()) - {""}
        if len(kinds) == 1 and "\r" not in live:
            live = live.replace("\n", self.newline)
        return replace(self, content=live, bom=bom)

    def _refuse_other_declaration(self, data: bytes) -> None:
        declared = _declared(data) or "utf-8"
        if declared == self.encoding:
            return
        try:
            same = data.decode(declared) == data.decode(self.encoding)
        except (LookupError, ValueError):
            same = False
        if not same:
            raise NotText(
                f"The coding comment would say {declared}, while the file is written in {self.encoding}.",
                hint="Leave the coding comment as it is.",
            )

    @cached_property
    def _table(self) -> tuple[list[str], list[str]]:
        """Lines without terminators, and their terminators, `""` for a last line without one."""
        if "\r" not in self.content:
            lines = self.content.split("\n")
            ends = ["\n"] * (len(lines) - 1) + [""]
        else:
            parts = _TERMINATOR.split(self.content)
            lines, ends = parts[::2], [*parts[1::2], ""]
        if not lines[-1]:
            lines.pop()
            ends.pop()
        return lines, ends

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """The offset of every line's first character."""
        lines, ends = self._table
        if not lines:
            return ()
        return (0, *accumulate(len(line) + len(end) for line, end in zip(lines[:-1], ends[:-1], strict=True)))

    @property
    def line_count(self) -> int:
        """How many lines there are."""
        return len(self._table[0])

    def line_of(self, offset: int) -> int:
        """The line that holds the character at `offset`; one more than there are lines for the end of the text.

        The end of a text whose last line has no terminator still belongs to that line.
        """
        lines, ends = self._table
        if not lines or (offset >= len(self.content) and ends[-1]):
            return len(lines) + 1
        return bisect_right(self.line_starts, offset)

    def offset_of(self, number: int) -> int:
        """Where line `number` begins; the end of the text for the number after the last."""
        return self.line_starts[number - 1] if number <= self.line_count else len(self.content)

    def line(self, number: int) -> str:
        """Line `number` without its terminator."""
        return self._table[0][number - 1]

    def lines(self) -> list[str]:
        """All lines without their terminators; not to be changed."""
        return self._table[0]

    def terminator(self, number: int) -> str:
        r"""What ends line `number`: `"\n"`, `"\r\n"`, `"\r"`, or `""` for a last line that has none."""
        return self._table[1][number - 1]

    def terminators(self) -> list[str]:
        """What ends each line; not to be changed."""
        return self._table[1]

    @cached_property
    def newline(self) -> str:
        r"""The terminator that most lines have; `"\n"` where there is none or a tie."""
        both = self.content.count("\r\n")
        counts = {"\n": self.content.count("\n") - both, "\r\n": both, "\r": self.content.count("\r") - both}
        return max(counts, key=counts.__getitem__)

    @property
    def ends_with_newline(self) -> bool:
        """Whether the last line has a terminator; true for an empty text, which lacks none."""
        return not self.content or self.content.endswith(("\n", "\r"))


def decode(data: bytes, path: str) -> Text:
    """Reads a file's bytes strictly, so that writing them again gives the same bytes.

    A byte order mark decides, then a coding comment in the first two lines of a Python file (PEP 263), then UTF-8.
    Raises NotText for binary content, for any other encoding, and for one that would not give the same bytes back.
    """
    bom, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    body = data[len(bom) :]
    cookie = _is_python(path)
    if not bom:
        if b"\0" in body:
            raise NotText(f"{path} is binary: it has a NUL byte at offset {body.index(0)}.", hint="Leave it as it is.")
        encoding = (_declared(body) if cookie else "") or "utf-8"
    try:
        content = body.decode(encoding)
    except LookupError:
        raise NotText(
            f"{path} declares the encoding {encoding!r}, which is not known here.",
            hint="Correct the coding comment in its first two lines.",
        ) from None
    except UnicodeDecodeError as error:
        raise NotText(_not_readable(body, path, encoding, error.start), hint=_HOW_TO_DECLARE) from None
    except ValueError as error:
        raise NotText(f"{path} cannot be read as {encoding}: {error}.", hint=_HOW_TO_DECLARE) from None
    if "\0" in content:
        raise NotText(f"{path} is binary: it contains NUL characters.", hint="Leave it as it is.")
    if not bom and encoding != "utf-8" and ("coding" not in content[:2000] or _encoded(content, encoding) != body):
        raise NotText(
            f"{path} is written in {encoding} in a way that would change when it is written again.",
            hint="Convert the file to UTF-8.",
        )
    return Text(content, encoding, bom, cookie)


def blank(path: str) -> Text:
    """The text of a file that does not exist yet: empty, UTF-8, no byte order mark."""
    return Text("", cookie=_is_python(path))


_TERMINATOR = re.compile("(\r\n|\n|\r)")
_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_EXACT = {"utf-8", *(name for _, name in _MARKS)}  # one way only to write every character
_COOKIE = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # the expression of PEP 263
_COMMENT_OR_BLANK = re.compile(rb"[ \t\f]*(?:#|$)")
_HOW_TO_DECLARE = (
    "Convert the file to UTF-8; a Python file may instead declare its encoding in its first line, "
    "as in `# -*- coding: latin-1 -*-`."
)


def _is_python(path: str) -> bool:
    return PurePosixPath(path).suffix in {".py", ".pyi", ".pyw"}


def _declared(body: bytes) -> str:
    """The codec that a coding comment names; empty where there is no such comment."""
    for line in re.split(rb"\r\n|\n|\r", body[:2000])[:2]:
        if found := _COOKIE.match(line):
            return _codec(found[1].decode("ascii", "replace"))
        if not _COMMENT_OR_BLANK.match(line):
            break
    return ""


def _codec(name: str) -> str:
    """One name for all spellings of a codec; an unknown one comes back as it is."""
    short = name.lower().replace("_", "-")
    for known in ("utf-8", "latin-1", "iso-8859-1", "iso-latin-1"):
        if short.startswith(f"{known}-") and short != "utf-8-sig":  # Emacs adds the line ending: utf-8-unix
            short = known
    try:
        return codecs.lookup(short).name
    except LookupError:
        return name


def _encoded(content: str, encoding: str) -> bytes | None:
    try:
        return content.encode(encoding)
    except (LookupError, ValueError):
        return None


def _not_readable(body: bytes, path: str, encoding: str, at: int) -> str:
    line = len(re.findall(rb"\r\n|\n|\r", body[:at])) + 1
    where = f"byte 0x{body[at]:02X} at offset {at}, line {line}"
    if encoding == "utf-8":
        return f"{path} is not UTF-8 ({where}), and nothing says what else it is."
    return f"{path} says that it is {encoding}, and is not ({where})."


def _name(character: str) -> str:
    code = f"U+{ord(character):04X}"
    return f"{character!r} ({code})" if character.isprintable() else code
