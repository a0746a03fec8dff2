"""Earlier messages of a conversation as a few lines, to find one's way back into it.

Never shows a whole prompt: code, tool results and what we said to the model in between are left out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from glm_lsp import tools
from glm_lsp.actions import ACTIONS
from glm_lsp.cli.words import clean, count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glm_lsp.cli.words import Row
    from glm_lsp.terms import Message, ToolCall

ANSWER_LINES = 12
"""Lines of one answer at most: its last ones, which say what came of it."""

WIDTH = 100


def asked(messages: Sequence[Message]) -> list[str]:
    """What the person said, in their own words, the oldest first."""
    return [words for message in messages if message.role == "user" and (words := _own_words(message.text))]


def rows(messages: Sequence[Message], turns: int) -> list[Row]:
    """The last turns: what was asked, folded thinking, calls by their titles, the end of each answer."""
    starts = [i for i, message in enumerate(messages) if message.role == "user" and _own_words(message.text)]
    first = starts[-turns] if 0 < turns <= len(starts) else 0
    return [row for message in messages[first:] for row in _rows(message)]


def _rows(message: Message) -> Iterator[Row]:
    if message.role == "user" and (words := _own_words(message.text)):
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
        yield from ((f"  {one_line(_title(call), WIDTH)}", "dim") for call in message.tool_calls)


def _title(call: ToolCall) -> str:
    tool = tools.find(call.name)
    try:
        return tool.title(json.loads(call.arguments)) if tool is not None else call.name
    except Exception:  # noqa: BLE001 - what a model wrote as arguments may be anything, and this is only a title
        return call.name


_GUIDANCE = tuple(action.guidance for action in ACTIONS if action.guidance)
_EXCERPT = re.compile(r"(?:^|\n\n)[^\n]+, lines \d+ to \d+ \([^\n]*\):\n\d+\|")
_NOTE = re.compile(
    r"(?:^|\n\n)(?:The person points at \S|The person took over |The editor reports:\n- |The project's instructions in "
    r"|These files are (?:not as you last saw them|gone)|This is about these files too; )"
)
"""How a note of ours begins, which comes after the person's words."""

_OURS = (
    "Your reply was cut off at ",
    "Your edits leave these problems:",
    "Your changes are applied, and `",
    "What was said before, summarised to save room:",
)


def _own_words(text: str) -> str:
    """The person's words in a user message, without what was put around them; empty where the message is ours."""
    for guidance in _GUIDANCE:
        text = text.removeprefix(guidance)
    for ours in (_EXCERPT, _NOTE):
        if found := ours.search(text):
            text = text[: found.start()]
    text = text.strip()
    return "" if text.startswith(_OURS) else text
