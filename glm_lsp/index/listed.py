"""The files of the word lists: which of them count, what their heads say, and which documents they hold.

Never needs numpy, which takes a tenth of a second to load: a start without changes asks no more than this.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from glm_lsp.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

LIST = "segments.json"
"""The file that names the segments that count."""

MAGIC = b"GLMWORDS"
VERSION = 1
"""Of a segment's file."""

ROOM = 64
"""Bytes of a segment's head, so that the arrays behind it are aligned."""

_HEADER = struct.Struct("<8sIQIIQ")  # magic, version, postings, documents, terms, words
_CHECKSUM = struct.Struct("<I")


class Head(NamedTuple):
    """How much a segment holds."""

    postings: int
    documents: int
    terms: int
    words: int

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return ROOM + 8 * (self.terms + 1) + 4 * self.terms + 8 * self.documents + 3 * self.postings

    def packed(self) -> bytes:
        """As it stands in the file."""
        header = _HEADER.pack(MAGIC, VERSION, *self)
        return (header + _CHECKSUM.pack(crc32(header))).ljust(ROOM, b"\0")


def head(path: Path, data: bytes, size: int) -> Head:
    """The head of a segment's file of so many bytes, from its first ones; raises StateError where it is of no use."""
    if len(data) < ROOM:
        raise unreadable(path, "it is too short")
    header = data[: _HEADER.size]
    magic, version, *numbers = _HEADER.unpack(header)
    if magic != MAGIC or data[_HEADER.size : _HEADER.size + 4] != _CHECKSUM.pack(crc32(header)):
        raise unreadable(path, "its header is damaged")
    if version != VERSION:
        raise unreadable(path, "it was written by another version")
    found = Head(*numbers)
    if size != found.size:
        raise unreadable(path, "its size is wrong")
    return found


def segments(folder: Path) -> tuple[list[str], int, list[int]]:
    """The names of the segments, the number of the next one, and the versions that wrote them; raises StateError."""
    path = folder / LIST
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return [], 0, []
    except OSError as error:
        raise damaged(folder, f"{path} cannot be read ({error.strerror or error})") from error
    try:
        checksum, _, body = text.partition(b"\n")
        if int(checksum, 16) != crc32(body):
            raise damaged(folder, "the list of segments has a wrong checksum")
        found = json.loads(body)
        return found["segments"], found["next"], found["versions"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(folder, "the list of segments cannot be read") from error


def documents(folder: Path) -> set[int]:
    """The documents of all segments; raises StateError or OSError where the files are not as they should be.

    It looks at the heads, as `Postings.open` does, and not at the lists. Which version made the words is not asked:
    another one bears another fingerprint, and so has another folder.
    """
    found: set[int] = set()
    for name in segments(folder)[0]:
        path = folder / name
        with path.open("rb") as file:
            told = head(path, file.read(ROOM), path.stat().st_size)
            first = file.read(8)
            file.seek(ROOM + 8 * told.terms)
            ends = (int.from_bytes(first, "little"), int.from_bytes(file.read(8), "little"))
            if ends != (0, told.postings):
                raise unreadable(path, "its lists are damaged")
            file.seek(ROOM + 8 * (told.terms + 1) + 4 * told.terms)
            numbers = array("I", file.read(4 * told.documents))
        if sys.byteorder == "big":
            numbers.byteswap()
        found.update(numbers)
    return found


def damaged(folder: Path, why: str) -> StateError:
    """Says that a folder's lists cannot be used."""
    return StateError(f"The word lists in {folder} are of no use: {why}.", hint="They are made anew from the files.")


def unreadable(path: Path, why: str) -> StateError:
    """Says that a segment cannot be used."""
    return StateError(f"The word list {path} is of no use: {why}.", hint="It is made anew from the files.")
