"""Shows on the terminal that this host's engine is waited for, before there is anything else to show.

Never draws once a turn has begun: then the turn's own notes tell of it.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glm_lsp.cli.engine_start import Drawing
    from glm_lsp.engine.local.process import Status


class Waiting:
    """Told how the engine is, until `close`; draws only where it is waited for."""

    def __init__(self) -> None:
        self._drawing: Drawing | None = None
        self._stack = contextlib.ExitStack()
        self._closed = False

    def __call__(self, found: Status | None) -> None:
        """Shows a state, or takes the drawing away."""
        if found is None or self._closed:
            self._stack.close()
            self._drawing = None
            return
        from glm_lsp.cli.engine_start import Drawing
        from glm_lsp.engine.local.process import Progress

        if self._drawing is None:
            self._drawing = self._stack.enter_context(Drawing())
            self._drawing.say("Waiting for this host's engine")
        stage, percent = stage_of(found)
        self._drawing.show(Progress(stage, percent, found.percent))

    def close(self) -> None:
        """Shows nothing more."""
        self._closed = True
        self(None)


def stage_of(found: Status) -> tuple[str, int | None]:
    """The stage without the figure behind it, and that figure."""
    words = found.detail or found.state
    if found.state == "restarting":
        words = f"restarting ({words})"
    counted = re.fullmatch(r"(.*) (\d+) %", words)
    return (counted[1], int(counted[2])) if counted else (words, None)
