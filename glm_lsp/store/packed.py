"""How text and token ids stand in a column.

Never opens a file.
"""

from __future__ import annotations

import array
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def raw(text: str) -> bytes:
    """Text as bytes: half a surrogate pair, as models write it at times, is kept too."""
    return text.encode("utf-8", "surrogatepass")


def packed(ids: Sequence[int]) -> bytes:
    """Token ids, four bytes each, the same on every host."""
    found = array.array("I", ids)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def unpacked(data: bytes) -> tuple[int, ...]:
    """Takes `packed` back."""
    found = array.array("I", data)
    if sys.byteorder == "big":
        found.byteswap()
    return tuple(found)
