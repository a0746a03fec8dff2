"""How the terminal says numbers, durations, sizes and endings, and how it makes foreign text harmless.

Never prints, never colours: strings in, strings out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glm_lsp.terms import Ended, Usage

REASON_LIMIT = 240
"""Characters of a reason in a line of its own: enough for two rows of a terminal."""


def clean(text: str) -> str:
    """Makes text from a model or a file safe to print: what would steer the terminal becomes visible.

    Control characters (but newline and tab) become the symbols that Unicode has for them; C1 controls, characters
    that turn the direction of reading, invisible tags, odd line ends and lone surrogates become `<U+202E>`.
    """
    return _UNSAFE.sub(_visible, text)


def one_line(text: str, limit: int = REASON_LIMIT) -> str:
    """The text on one line, harmless, cut to `limit` characters with an ellipsis."""
    flat = " ".join(clean(text[: limit * 4]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def count(number: int, noun: str) -> str:
    """`1 file`, `1,204 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `9 s`, `1 min 35 s`, `2 h 5 min`."""
    if seconds < 0.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(files: int, added: int, removed: int) -> str:
    """`3 files · +24 −11`."""
    return f"{count(files, 'file')} · {lines(added, removed)}"


def lines(added: int, removed: int) -> str:
    """`+24 −11`, with a real minus sign, which is as wide as the plus."""
    return f"+{added:,} −{removed:,}"


def thought(seconds: float, tokens: int | None) -> str:
    """`Thought for 9 s · 612 tokens`."""
    return f"Thought for {duration(seconds)}" + (f" · {count(tokens, 'token')}" if tokens is not None else "")


def cost(usage: Usage) -> str:
    """`3,204 tokens · 31,880 read, 98 % reused`; the reused share only where the engine tells it."""
    words = count(usage.written, "token")
    if usage.read:
        words += f" · {usage.read:,} read"
        if usage.cached is not None:
            words += f", {100 * usage.cached // usage.read} % reused"
    return words


def ending(ended: Ended) -> list[str]:
    """The closing lines of a turn: one where it went well, else what happened and one thing to do about it."""
    spent = f"{duration(ended.seconds)} · {cost(ended.usage)}"
    if ended.reason == "done":
        return [f"Done in {spent}"]
    if ended.reason == "nothing":
        return [f"Nothing to change · {spent}"]
    if ended.reason == "cancelled":
        return [f"Stopped: cancelled after {spent}"]
    what = one_line(ended.error) or ended.code or "no reason was given"
    what = what.removeprefix("Stopped ").strip()
    return [f"{'Stopped' if ended.reason == 'limit' else 'Error'}: {what}", *filter(None, [one_line(ended.hint)])]


_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f"  # C0 and DEL, without tab and newline
    "\x80-\x9f"  # C1: a terminal may take them for an escape sequence's beginning
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of reading
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff"  # lone surrogates cannot be encoded
    "\U000e0000-\U000e007f]"  # tags: invisible text
)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"
