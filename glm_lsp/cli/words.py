"""How the terminal says numbers, sizes, endings and questions, and how it makes foreign text harmless.

Never prints, never colours: strings in, strings out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.cells import chop_cells

if TYPE_CHECKING:
    from glm_lsp.terms import Compacted, ContextChosen, Ended, Finding, PermissionAsked, QuestionAsked, Usage

Row = tuple[str, str]
"""One line and its style, such as `dim`."""

NAMED = 3
"""Files that are named of those that were chosen for a question."""

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


def exact(text: str, width: int) -> list[str]:
    """The text in rows of at most `width` columns, with nothing left out and nothing that cannot be seen.

    For what a person has to judge letter by letter: long lines are cut here, so that every row can be marked.
    """
    rows: list[str] = []
    for line in text.split("\n"):
        seen = "".join(c if c.isprintable() else _spelled(c) for c in line)
        rows += chop_cells(seen, max(width, 10)) or [""]
    return rows


def permission(asked: PermissionAsked, width: int) -> list[Row]:
    """What a person has to know before they permit a call; every row of what will run is marked with a bar."""
    what = "run a command" if asked.tool == "run_command" else f"use {one_line(asked.tool, 80)}"
    rows = [(f"The model asks to {what}:", "bold")]
    rows += [(f"  │ {row}", "") for row in exact(asked.detail, width - 5)]
    if asked.confined:
        return [*rows, ("  confined: no network, no home folder, writes only in the workspace", "dim")]
    if asked.tool == "run_command":
        return [*rows, ("  not confined: no bubblewrap here; it can reach the network and your files", "yellow")]
    return [*rows, ("  not confined: its server can do whatever you let that server do", "yellow")]


def question(asked: QuestionAsked) -> list[Row]:
    """The model's question and the answers to choose from, numbered."""
    first, *more = clean(asked.question).strip().expandtabs(4).split("\n")
    rows = [(f"? {first}", "bold"), *((f"  {line}", "bold") for line in more)]
    return rows + [(f"  {number}  {one_line(option)}", "") for number, option in enumerate(asked.options, 1)]


def found(finding: Finding) -> str:
    """`! cart.py:3 warning: Rounds too early. → Round the sum.`."""
    advice = f" → {finding.suggestion}" if finding.suggestion else ""
    return one_line(f"! {finding.path}:{finding.first_line} {finding.severity}: {finding.message}{advice}")


def compacted(what: Compacted) -> str:
    """`Compacted: 182,310 → 41,200 tokens · 14 file bodies, summary of older turns · cost 3,120 tokens`."""
    done = [count(what.files, "file body").replace("bodys", "bodies")] if what.files else []
    done += ["summary of older turns"] if what.summary else []
    parts = [f"Compacted: {what.before:,} → {what.after:,} tokens", ", ".join(done)]
    if what.usage.read or what.usage.written:
        parts.append(f"cost {cost(what.usage)}")
    return " · ".join(filter(None, parts))


def chosen(what: ContextChosen) -> str:
    """`read first: cart.py, tax.py +6 · 7.8k tokens`; a few names only, for it is one quiet line."""
    if not what.files:
        return one_line(what.note)
    names = ", ".join(one.path for one in what.files[:NAMED])
    more = f" +{len(what.files) - NAMED}" if len(what.files) > NAMED else ""
    tokens = f"{what.tokens / 1000:.1f}k" if what.tokens >= 1000 else f"{what.tokens}"
    looked = f" · looked for: {', '.join(what.words[:6])}" if what.words else ""
    return one_line(f"read first: {names}{more} · {tokens} tokens{looked}" + (f" · {what.note}" if what.note else ""))


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
    return _spelled(found[0])


def _spelled(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"
