"""A bar in the editor while this host's engine is waited for: how far it has loaded, with the stage's name.

Never holds up what waits: it is told, and shows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glm_lsp.engine.local.process import Status
    from glm_lsp.server.editor import Editor
    from glm_lsp.server.progress import Progress

TITLE = "GLM: the engine"


class EngineBar:
    """One bar at a time; a class because it is opened with the first news and closed with the last."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._bar: Progress | None = None
        self._over: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    def tell(self, found: Status | None) -> None:
        """Shows how the engine is; None when it is there, or waited for no more."""
        if found is None:
            if self._over is not None:
                self._over.set()
            self._bar = self._over = None
            return
        words = found.detail or found.state
        words = f"restarting ({words})" if found.state == "restarting" else words
        if self._over is None:
            self._over = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._show(words, found.percent, self._over))
        elif self._bar is not None:
            self._bar.report(words, found.percent)

    async def _show(self, words: str, percent: int, over: asyncio.Event) -> None:
        async with self._editor.server.show_progress(TITLE, message=words, percentage=percent) as bar:
            self._bar = bar
            await over.wait()
