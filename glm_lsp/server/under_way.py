"""One turn under way, or just ended.

Never runs anything: it is what the turns, the desk and the commands know of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from glm_lsp.server.folder import Folder
    from glm_lsp.terms import Ask, Ended
    from glm_lsp.turn import Turn


@dataclass(slots=True)
class Running:
    """One turn under way, or just ended.

    Attributes:
        id: the turn's.
        conversation: its conversation's id; empty for one that is not kept.
        folder: where it works.
        ask: what was asked.
        title: what a progress bar calls it.
        task: its task, once it runs.
        turn: the turn, once the engine is there.
        text: what the model said.
        ended: how it ended.
        proposal: the id of what it proposed.
    """

    id: str
    conversation: str
    folder: Folder
    ask: Ask
    title: str
    task: asyncio.Task[None] | None = None
    turn: Turn | None = None
    text: list[str] = field(default_factory=list)
    ended: Ended | None = None
    proposal: str = ""
    applied: bool = False

    def cancel(self) -> None:
        """Ends it; its last event still comes."""
        if self.task is not None and not self.task.done():
            self.task.cancel()
