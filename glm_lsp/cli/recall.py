"""Earlier messages of a conversation as a few lines, to find one's way back into it.

Never shows a whole prompt: code, tool results and what we said to the model in between are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.cli.words import clean, count, one_line
from glm_lsp.turn.recall import own_words, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glm_lsp.cli.words import Row
    from glm_lsp.terms import Message

ANSWER_LINES = 12
"""Lines of one answer at most: its last ones, which say what came of it."""

WIDTH = 100


def rows(messages: Sequence[Message], turns: int) -> list[Row]:
    """The last turns: what was asked, folded thinking, calls by their titles, the end of each answer."""
    starts = [i for i, message in enumerate(messages) if own_words(message)]
    first = starts[-turns] if 0 < turns <= len(starts) else 0
    return [row for message in messages[first:] for row in _rows(message)]


def _rows(message: Message) -> Iterator[Row]:
    if words := own_words(message):
        first, _, more = words.partition("\n")
        yield f"› {one_line(first, WIDTH)}{' …' if more else ''}", "bold"
    elif message.role == "assistant":
        if message.thinking.strip():
            first = message.thinking.strip().split("\n", 1)[0]
            yield f"▸ Thought · {count(len(message.thinking), 'character')} · {one_line(first, WIDTH - 40)}", "dim"
        answer = clean(message.text).strip().splitlines()
        if len(answer) > ANSWER_LINES:
            yield "  …", "dim"
        yield from ((line, "") for line in answer[-ANSWER_LINES:])
        yield from ((f"  {one_line(title_of(call), WIDTH)}", "dim") for call in message.tool_calls)
