"""Which names a content uses on which lines, in few bytes.

Never looks at a text: what is packed was found by `languages`, and whoever unpacks it may have no grammars at all.

The names come first, each once, and then one number for each use in the order of the text, 0 for the end of a line:
numbers of a byte each where there are fewer than 255 names, as in most texts.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.languages.words import Names

_HEAD = struct.Struct("=IIc")  # names, bytes of their text, kind of the numbers
_WINDOW, _MEMORY = 12, 5
"""Of zlib: making its usual tables ready takes longer than a usual content."""


def packed(names: Names) -> bytes:
    """The names and their uses, in few bytes."""
    text = b"\n".join(names.words)
    kind, numbers = ("B", names.uses) if isinstance(names.uses, bytes) else (names.uses.typecode, names.uses.tobytes())
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -_WINDOW, _MEMORY)
    head = _HEAD.pack(len(names.words), len(text), kind.encode())
    return squeeze.compress(head + text + numbers) + squeeze.flush()


def unpacked(data: bytes) -> dict[str, tuple[int, ...]]:
    """The lines of each name, from 1, ascending, each once."""
    names, uses = _parts(data)
    found: list[list[int]] = [[] for _ in names]
    line = 1
    for at in uses:
        if at:
            found[at - 1].append(line)
        else:
            line += 1
    return {name: tuple(dict.fromkeys(lines)) for name, lines in zip(names, found, strict=True)}


def lines_of(data: bytes, name: str) -> Sequence[int]:
    """The lines of one name alone, in a third of the time."""
    names, uses = _parts(data)
    try:
        wanted = names.index(name) + 1
    except ValueError:
        return ()
    found: dict[int, None] = {}
    line, begin = 1, 0
    for _ in range(uses.count(wanted)):
        at = uses.index(wanted, begin)
        line += uses[begin:at].count(0)
        found[line] = None
        begin = at + 1
    return tuple(found)


def _parts(data: bytes) -> tuple[list[str], bytes | array[int]]:
    plain = zlib.decompress(data, -_WINDOW)
    number, length, kind = _HEAD.unpack_from(plain)
    begin = _HEAD.size + length
    names = plain[_HEAD.size : begin].decode().split("\n") if number else []
    return names, plain[begin:] if kind == b"B" else array(kind.decode(), plain[begin:])
