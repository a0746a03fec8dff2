"""The names that a text uses, told by its words rather than node by node.

Never parses: it is given where the words are none, such as in strings and comments.

A node for every name of a text costs as much as half of parsing it; its words, counted by line, a tenth of that. They
are the same names, but for text that the grammar makes nothing of, in which every word counts.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import tree_sitter

    from glm_lsp.languages.table import Language


def lines_by_word(
    language: Language,
    data: bytes,
    captured: Mapping[str, Sequence[tree_sitter.Node]],
    own: Iterable[tuple[int, int]],
) -> dict[bytes, list[int]]:
    """The words of a text with their lines, from 1, ascending, a line as often as the word stands on it.

    Args:
        language: one with `names_by_word`.
        data: the text.
        captured: what its query found; words in what is `opaque` do not count, unless they are in what is `clear`.
        own: first byte and the byte behind of more that does not count: the names of definitions.
    """
    left = bytearray(data)
    spans = [(*node.byte_range, True) for node in captured.get("opaque", ())]
    if clear := captured.get("clear"):  # as in `f"{name}"`; the outer first, and the inner ones over it
        spans += [(*node.byte_range, False) for node in clear]
        spans.sort(key=lambda span: (span[0], -span[1]))
    for start, end, is_opaque in spans:
        left[start:end] = data[start:end].translate(_ENDS_ALONE) if is_opaque else data[start:end]
    separated = _separated(language.signs)
    for start, end in own:
        name = data[start:end]
        if name == name.translate(separated):  # else it is more than a word, such as a destructor's `~Cart`
            left[start:end] = b" " * len(name)
    if b"\r" in data:
        left = left.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: dict[bytes, list[int]] = defaultdict(list)
    for line, written in enumerate(bytes(left).translate(separated).split(b"\n"), 1):
        for word in written.split():
            found[word].append(line)
    for word in language.load_by_word()[2]:
        found.pop(word, None)
    for word in [word for word in found if word[0] <= _NINE and word[0] >= _ZERO]:
        del found[word]
    if not data.isascii():
        for word in [word for word in found if not word.isascii()]:
            lines = found.pop(word)  # a sign, such as an arrow, is no part of a name
            for name in _NAME.findall(word.decode("utf-8", "replace")):
                found[name.encode()] = sorted([*found.get(name.encode(), ()), *lines])
    return found


@functools.cache
def _separated(signs: str) -> bytes:
    """What makes a space of every byte that is neither a word's nor the end of a line."""
    kept = {*b"_\n", *signs.encode(), *range(0x80, 0x100)}
    return bytes(c if c in kept or chr(c).isalnum() else ord(" ") for c in range(256))


_NAME = re.compile(r"[^\W\d]\w*")
_ZERO, _NINE = b"09"
_ENDS_ALONE = bytes(c if c in b"\r\n" else ord(" ") for c in range(256))
