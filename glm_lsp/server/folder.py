"""One open workspace of a client, with its conversations.

Never opens itself: the session does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.conversations import Conversation, Conversations
    from glm_lsp.workspace import Workspace

CURRENT = "editor"
"""The name of the conversation that editors continue unless they name another one."""


@dataclass(slots=True)
class Folder:
    """One open workspace.

    Attributes:
        workspace: the front desk.
        shelf: its conversations.
        trusted: whether tools and a project's instructions are let in.
        current: the conversation that a plain question continues.
        walked: when its files were listed, on the monotonic clock.
    """

    workspace: Workspace
    shelf: Conversations
    trusted: bool = True
    current: str = ""
    walked: float = field(default_factory=time.monotonic)

    @property
    def root(self) -> Path:
        """Its real path."""
        return self.workspace.root

    def relative(self, path: Path) -> str | None:
        """The path as the workspace names it; None for one outside."""
        for candidate in (path, path.resolve()):
            if candidate.is_relative_to(self.root):
                return candidate.relative_to(self.root).as_posix()
        return None

    def conversation(self, word: str) -> Conversation:
        """The conversation of that id or name, or the current one, which begins where there is none."""
        if word:
            return self.shelf.open(word)
        found = self.shelf.find(self.current) if self.current else None
        if found is None:
            found = self.shelf.named(CURRENT)
        self.current = found.id
        return found
