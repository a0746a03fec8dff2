"""Bytes from and to a client: frames of `Content-Length` and JSON, read to the letter and beyond.

Never trusts a length, a header or a text: what cannot be read is reported, and reading goes on at the next frame.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES: Final = 256 * 1024 * 1024
"""The largest message that is read: four times the largest file that an editor would still open."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that is no message: the code and the words with which to answer it, with a null id."""

    code: int
    message: str


class FrameReader:
    """Cuts a stream of bytes into the bodies of messages.

    Args:
        read: blocks until there is something and returns at most that many bytes; empty at the end.
        limit: the largest body, in bytes; a larger one is skipped and reported.
    """

    def __init__(self, read: Callable[[int], bytes], limit: int = MOST_BYTES) -> None:
        self._read = read
        self._limit = limit
        self._held = bytearray()
        self._lost = False  # inside a run of garbage that was reported already

    def next(self) -> bytes | Broken | None:
        """The next body, or what stood in its place; None at the end of the stream."""
        while True:
            length = self._header()
            if length is None or isinstance(length, Broken):
                return length
            if length > self._limit:
                if length > 16 * self._limit or not self._skip(length):
                    return None  # nobody sends that much: the stream is not ours to follow any more
                return Broken(INVALID_REQUEST, f"A message may have {self._limit} bytes; this one has {length}.")
            body = self._exactly(length)
            if body is not None:
                self._lost = False
            return body

    def resume_inside(self, body: bytes) -> None:
        """Reads on at the frame that begins inside `body`, which is no JSON, if one does.

        A length that is too large swallows the start of the next message, perhaps only half of its header.
        JSON has no raw line break inside a string, so a header with one cannot be part of a text.
        """
        inside = _HEADER.search(body)
        self._held[:0] = body[inside.start() if inside else -_LONGEST_NAME :]
        self._lost = True

    def _header(self) -> int | Broken | None:
        """The length that the next header gives; garbage before it is dropped, and reported once."""
        while True:
            end = _END_OF_HEADER.search(self._held)
            if end is None and len(self._held) <= _LONGEST_HEADER:
                if not self._more():
                    return None
                continue
            if end is not None:
                length = _length(bytes(self._held[: end.start()]))
                if length is not None:
                    del self._held[: end.end()]
                    return length
            self._drop_garbage(end.end() if end else None)
            if not self._lost:
                self._lost = True
                return Broken(PARSE_ERROR, "This is not a message: a Content-Length header was expected.")

    def _drop_garbage(self, end: int | None) -> None:
        """Drops what is no header, which ends at `end` if it does: up to the one length that it holds, or whole."""
        if end is None:
            found = _HEADER.search(self._held, 1)
            # The name of a header may have arrived in part.
            del self._held[: found.start() if found else len(self._held) - _LONGEST_NAME]
        else:
            lengths = list(_HEADER.finditer(self._held, 0, end))
            del self._held[: lengths[0].start() if len(lengths) == 1 and lengths[0].start() else end]

    def _exactly(self, length: int) -> bytes | None:
        while len(self._held) < length:
            if not self._more(length - len(self._held)):
                return None
        body = bytes(self._held[:length])
        del self._held[:length]
        return body

    def _skip(self, length: int) -> bool:
        while length > len(self._held):
            length -= len(self._held)
            self._held.clear()
            if not self._more():
                return False
        del self._held[:length]
        return True

    def _more(self, wanted: int = 0) -> bool:
        chunk = self._read(max(65536, min(wanted, 1 << 22)))
        self._held += chunk
        return bool(chunk)


def frame(body: bytes) -> bytes:
    """The body with its header, ready to be written."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def decode(body: bytes) -> Any:
    """The message as plain data, or `Broken`.

    Lone surrogates inside the params become U+FFFD, which is as long as they are in every position encoding.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # rare, and perhaps only a lone surrogate or a large number, which are legal
    try:
        message = json.loads(body.decode(), parse_constant=_refuse)
        if isinstance(message, dict):
            return {name: value if name == "id" else sound(value) for name, value in message.items()}
    except RecursionError:
        return Broken(PARSE_ERROR, "The message is nested too deeply.")
    except ValueError:  # JSONDecodeError and UnicodeDecodeError among them; their words may quote the content
        return Broken(PARSE_ERROR, "The message is not JSON in UTF-8.")
    return message


def encode(message: dict[str, Any]) -> bytes:
    """The message as JSON in UTF-8, not escaped.

    Lone surrogates become U+FFFD, since many readers refuse their escapes; an id goes back as it came.

    Raises:
        TypeError: it holds something that JSON cannot say.
    """
    try:
        return msgspec.json.encode(message)
    except (UnicodeEncodeError, OverflowError):
        plain = msgspec.to_builtins(message)
        mended = {name: value if name == "id" else sound(value) for name, value in plain.items()}
        return json.dumps(mended, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def sound(value: Any) -> Any:
    """Plain data with lone surrogates replaced, and halves that belong together joined."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {sound(name): sound(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [sound(inner) for inner in value]
    return value


_HEADER = re.compile(rb"content-length[ \t]*:[ \t]*\d+[ \t]*\r?\n", re.IGNORECASE)
_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_LONGEST_HEADER = 8192
_LONGEST_NAME = 64


def _length(header: bytes) -> int | None:
    """The one length that a header gives; None where it gives none, two, or is no header."""
    lengths = set()
    for line in header.splitlines():
        name, colon, value = line.partition(b":")
        if not colon or not name.strip() or b" " in name.strip():
            return None
        if name.strip().lower() == b"content-length":
            if not value.strip().isdigit() or len(value.strip()) > 18:
                return None
            lengths.add(int(value))
    return lengths.pop() if len(lengths) == 1 else None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
