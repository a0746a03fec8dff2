"""A conversation as a Markdown document that is shown and kept current while the model answers.

Never writes more than twice a second: editors read the whole document again each time.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lsprotocol import types

from glm_lsp.server.desk import TRANSCRIPTS, folder
from glm_lsp.terms import Ended, Started, TextAdded, ThinkingAdded, ThinkingEnded, ToolCalled

if TYPE_CHECKING:
    from glm_lsp.server.desk import Desk
    from glm_lsp.terms import Event

SECONDS = 0.5


@dataclass(slots=True)
class Transcript:
    """The document of one turn: what was asked, thought, called and answered; `name` is the file's."""

    desk: Desk
    name: str
    _parts: list[str] = field(default_factory=list)
    _thinking: bool = False
    _written: float = 0.0

    async def open(self) -> str:
        """Shows it; its address."""
        return await self.desk.document(TRANSCRIPTS, self.name, "md", "".join(self._parts))

    def heard(self, event: Event) -> None:
        """Takes in what happened."""
        what = event.what
        if isinstance(what, Started):
            self._parts.append(f"## {what.instruction.strip() or what.action}\n\n")
        elif isinstance(what, ThinkingAdded):
            if not self._thinking:
                self._parts.append("<details><summary>Thinking</summary>\n\n")
                self._thinking = True
            self._parts.append(what.text)
        elif isinstance(what, ThinkingEnded):
            self._end_thinking(f" ({what.seconds:.1f} s)")
        elif isinstance(what, ToolCalled):
            self._end_thinking("")
            self._parts.append(f"- {what.title}\n")
        elif isinstance(what, TextAdded):
            self._end_thinking("")
            self._parts.append(what.text)
        elif isinstance(what, Ended):
            self._end_thinking("")
            self._parts.append("\n\n" + (f"**{what.error}** {what.hint}\n\n" if what.error else ""))
        if isinstance(what, Started | Ended) or time.monotonic() - self._written > SECONDS:
            self._write()

    def _end_thinking(self, note: str) -> None:
        if self._thinking:
            self._parts.append(f"\n\n</details>{note}\n\n")
            self._thinking = False

    def _write(self) -> None:
        self._written = time.monotonic()
        path = folder() / f"{self.name}.md"
        with contextlib.suppress(OSError):  # a full disk is no reason to end the turn
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text("".join(self._parts), encoding="utf-8", errors="replace")
            path.chmod(0o600)
        editor = self.desk.session.editor
        if editor.has_virtual_documents:
            editor.server.protocol.send_request(
                types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH,
                types.TextDocumentContentRefreshParams(f"{TRANSCRIPTS}:/{path.name}"),
            )
