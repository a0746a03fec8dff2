"""The names that a text uses, told by its words rather than node by node.

Never parses: it is given where the words are none, such as in strings and comments.

A node for every name of a text costs as much as half of parsing it; its words, taken in their order, a tenth of that.
They are the same names, but for text that the grammar makes nothing of, in which every word counts.
"""

from __future__ import annotations

import functools
import re
from array import array
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import tree_sitter

    from glm_lsp.languages.table import Language

LONGEST = 200
"""Bytes of the longest name that counts as one; longer ones are data in disguise."""


class Names(NamedTuple):
    """The names that a text uses.

    Attributes:
        words: each once, in order.
        uses: for each use, in the order of the text, the name's place in `words` from 1; 0 ends a line. Bytes, or an
            array of wider numbers where there are too many names for that.
    """

    words: Sequence[bytes]
    uses: bytes | array[int]

    @classmethod
    def of(cls, lines: Mapping[bytes, Sequence[int]]) -> Names:
        """What `lines` gives, the other way round."""
        words = sorted(word for word, at in lines.items() if at and 0 < len(word) <= LONGEST)
        most = len(words) + 1
        uses: list[int] = []
        last = 1
        for place in sorted([line * most + at for at, word in enumerate(words, 1) for line in lines[word]]):
            line, at = divmod(place, most)
            if line > last:
                uses += repeat(0, line - last)
                last = line
            uses.append(at)
        return cls(words, _as_small(uses, len(words)))

    def lines(self) -> dict[bytes, list[int]]:
        """The lines of each name, from 1, ascending, a line as often as the name stands on it."""
        found: list[list[int]] = [[] for _ in self.words]
        line = 1
        for at in self.uses:
            if at:
                found[at - 1].append(line)
            else:
                line += 1
        return dict(zip(self.words, found, strict=True))


def names_by_word(
    language: Language,
    data: bytes,
    captured: Mapping[str, Sequence[tree_sitter.Node]],
    own: Iterable[tuple[int, int]],
) -> Names:
    """The names that a text uses.

    Args:
        language: one with a query for this.
        data: the text.
        captured: what its query found; words in what is `opaque` do not count, unless they are in what is `clear`.
        own: first byte and the byte behind of more that does not count: the names of definitions.
    """
    left = bytearray(data)
    if clear := captured.get("clear"):  # as in `f"{name}"`; the outer first, and the inner ones over it
        spans = [(node.start_byte, -node.end_byte, True) for node in captured.get("opaque", ())]
        spans += [(node.start_byte, -node.end_byte, False) for node in clear]
        spans.sort()
        for start, negative, is_opaque in spans:
            part = data[start:-negative]
            left[start:-negative] = part.translate(_ENDS_ALONE) if is_opaque else part
    else:
        for node in captured.get("opaque", ()):
            start, end = node.byte_range
            left[start:end] = data[start:end].translate(_ENDS_ALONE)
    separated = _separated(language.signs)
    for start, end in own:
        name = data[start:end]
        if name == name.translate(separated):  # else it is more than a word, such as a destructor's `~Cart`
            left[start:end] = b" " * len(name)
    if b"\r" in left:
        left = left.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = bytes(left).translate(separated).replace(b"\n", b" \n ").translate(_END_AS_WORD)
    found = text.split()
    if not text.isascii():
        found = [name for word in found for name in ([word] if word.isascii() else _names_in(word))]
    words = sorted(
        [
            word
            for word in set(found).difference(language.load_by_word()[2], _END)
            if not _ZERO <= word[0] <= _NINE and len(word) <= LONGEST
        ]
    )
    place = {word: at for at, word in enumerate(words, 1)}
    place[_END_WORD] = 0
    if len(words) < _NONE:
        return Names(words, bytes(map(place.get, found, repeat(_NONE))).translate(None, _NONES))
    return Names(words, _as_small([at for word in found if (at := place.get(word)) is not None], len(words)))


def _as_small(uses: Iterable[int], most: int) -> bytes | array[int]:
    return bytes(uses) if most < _NONE else array("H" if most < 1 << 16 else "I", uses)


def _names_in(word: bytes) -> list[bytes]:
    # A sign, such as an arrow, is no part of a name.
    return [name.encode() for name in _NAME.findall(word.decode("utf-8", "replace"))]


@functools.cache
def _separated(signs: str) -> bytes:
    """What makes a space of every byte that is neither a word's nor the end of a line."""
    kept = {*b"_\n", *signs.encode(), *range(0x80, 0x100)}
    return bytes(c if c in kept or chr(c).isalnum() else ord(" ") for c in range(256))


_NAME = re.compile(r"[^\W\d]\w*")
_ZERO, _NINE = b"09"
_NONE = 255
_NONES = bytes([_NONE])
_ENDS_ALONE = bytes(c if c in b"\r\n" else ord(" ") for c in range(256))
_END_WORD = b"\0"
_END = (_END_WORD,)
_END_AS_WORD = bytes(0 if c == ord("\n") else c for c in range(256))
