"""What of a conversation a person said and sees: their own words, and the calls by their titles.

Never changes a message: it only reads what is kept.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from glm_lsp import tools
from glm_lsp.actions import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.terms import Message, ToolCall


def asked(messages: Sequence[Message]) -> list[str]:
    """What the person said, in their own words, the oldest first."""
    return [words for message in messages if (words := own_words(message))]


def own_words(message: Message) -> str:
    """The person's words in a user message, without what was put around them; empty where the message is ours."""
    if message.role != "user":
        return ""
    text = message.text
    for guidance in _GUIDANCE:
        text = text.removeprefix(guidance)
    for ours in (_EXCERPT, _NOTE):
        if found := ours.search(text):
            text = text[: found.start()]
    text = text.strip()
    return "" if text.startswith(_OURS) else text


def title_of(call: ToolCall) -> str:
    """What a person reads of a call: its tool's title; its name where its arguments are none."""
    tool = tools.find(call.name)
    try:
        return tool.title(json.loads(call.arguments)) if tool is not None else call.name
    except Exception:  # noqa: BLE001 - what a model wrote as arguments may be anything, and this is only a title
        return call.name


_GUIDANCE = tuple(action.guidance for action in ACTIONS if action.guidance)
_EXCERPT = re.compile(r"(?:^|\n\n)[^\n]+, lines \d+ to \d+ \([^\n]*\):\n\d+\|")
_NOTE = re.compile(
    r"(?:^|\n\n)(?:The person points at \S|The person took over |The editor reports:\n- |The project's instructions in "
    r"|These files are (?:not as you last saw them|gone)|This is about these files too; "
    r"|The code below was found for this in the workspace; |The uncommitted changes:\n)"
)
"""How a note of ours begins, which comes after the person's words."""

_OURS = (
    "Your reply was cut off at ",
    "Your edits leave these problems:",
    "Your changes are applied, and `",
    "What was said before, summarised to save room:",
)
