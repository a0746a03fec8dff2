"""A conversation as text: Markdown to read, or JSON with all that is known of it.

Never lets what a model or a file says steer the terminal it is read on.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glm_lsp.store.rows import Loaded

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def markdown(loaded: Loaded) -> str:
    """The whole record as text to read; what would steer a terminal is spelled out."""
    entry = loaded.entry
    parts = [f"# {_visible(entry.name or entry.first or entry.id)}".replace("\n", " ")]
    parts.append(f"Conversation {entry.id}, {entry.created:%Y-%m-%d %H:%M} to {entry.updated:%Y-%m-%d %H:%M}.")
    compacted = {one.covers: one for one in loaded.compactions}
    for number, one in enumerate(loaded.said):
        if (shorter := compacted.get(number)) is not None:
            parts.append(f"*Compacted for the model: {shorter.before:,} to {shorter.after:,} tokens.*")
            parts += [_folded("Summary", shorter.summary)] if shorter.summary else []
        message = one.message
        if message.role == "system":
            parts.append(_folded("System", message.text))
        elif message.role == "tool":
            parts.append(_folded("Result", message.text))
        elif message.role == "user":
            parts += ["## Asked", _visible(message.text)]
        else:
            parts.append("## Answered")
            if message.thinking:
                parts.append(_folded("Thinking", message.thinking))
            if message.text:
                parts.append(_visible(message.text))
            for call in message.tool_calls:
                parts += [f"Called **{_visible(call.name)}**:", _fenced(call.arguments, "json")]
    return "\n\n".join(parts) + "\n"


def as_json(loaded: Loaded) -> str:
    """The whole record as JSON, with every token id."""
    entry = asdict(loaded.entry)
    whole = {
        **entry,
        "created": loaded.entry.created.isoformat(),
        "updated": loaded.entry.updated.isoformat(),
        "tools": [asdict(tool) for tool in loaded.tools],
        "messages": [{**asdict(one.message), "turn": one.turn, "at": one.at} for one in loaded.said],
        "requests": [asdict(request) for request in loaded.requests],
        "compactions": [asdict(compaction) for compaction in loaded.compactions],
    }
    return json.dumps(whole, indent=1)  # ASCII: control characters and half surrogates are spelled out


def _visible(text: str) -> str:
    """Text in which what would steer a terminal, or turn the reading direction, is spelled out."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def _fenced(text: str, language: str = "text") -> str:
    shown = _visible(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}{language}\n{shown}\n{fence}"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{_fenced(text)}\n\n</details>"
