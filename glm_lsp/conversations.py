"""What was said and thought, append-only.

Never rewrites a message and never drops one: what the engine has read once stays as it was, so its cache holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glm_lsp.terms import Message, ToolSpec


@dataclass(slots=True)
class Conversation:
    """The record of the turns of one piece of work.

    Attributes:
        tools: the tools on offer, frozen when the conversation starts.
    """

    tools: tuple[ToolSpec, ...] = ()
    _messages: list[Message] = field(default_factory=list)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything so far, oldest first."""
        return tuple(self._messages)

    def append(self, *messages: Message) -> None:
        """Adds to the end."""
        self._messages.extend(messages)
