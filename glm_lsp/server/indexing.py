"""The indexes of a client's workspaces, kept current by what the editor tells and, where it does not, by the disk.

Never makes a message wait: buffers are parsed and files read elsewhere, and whoever asks gets what is known.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glm_lsp.index.index import Index
from glm_lsp.index.overlay import Overlay
from glm_lsp.index.walk import is_too_wide
from glm_lsp.index.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from glm_lsp.server.editor import Editor
    from glm_lsp.settings import IndexSettings

SHOWN_SECONDS = 1.0
"""How long reading a workspace may take before a progress bar tells of it."""

LOOK_SECONDS = 0.3
"""How often the bar is brought up to date."""


@dataclass(slots=True)
class Kept:
    """One index, and what keeps it current.

    Attributes:
        index: what queries ask.
        overlay: the open buffers in it.
        watcher: tells of the disk; None where the editor does.
        settings: those it was opened with.
    """

    index: Index
    overlay: Overlay
    watcher: Watcher | None
    settings: IndexSettings

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        further = (self.watcher.note,) if self.watcher is not None and self.watcher.note else ()
        return (*self.index.notes, *further)

    def close(self) -> None:
        """Ends everything that runs for it."""
        if self.watcher is not None:
            self.watcher.close()
        self.overlay.close()
        self.index.close()


@dataclass(slots=True)
class Indexing:
    """The indexes of one session, by the root of their workspace."""

    editor: Editor
    _kept: dict[Path, Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def of(self, root: Path, settings: IndexSettings) -> Index | None:
        """The index of a workspace, opened and started where it was not; None where it is turned off. Any thread."""
        with self._lock:
            known = self._kept.get(root)
            if known is not None and known.settings == settings and not self._closed:
                return known.index
            if known is not None:
                del self._kept[root]
                known.close()
            if self._closed or not settings.enabled or is_too_wide(root):
                return None
            index = Index.open(root, settings)
            watcher = None if self.editor.watches else Watcher(root, index.refresh)
            self._kept[root] = Kept(index, Overlay(index, settings.max_file_bytes), watcher, settings)
            index.start()
            if watcher is not None:
                watcher.start()
            return index

    def kept(self, root: Path) -> Kept | None:
        """The index of a workspace and what keeps it, where it is open."""
        return self._kept.get(root)

    @property
    def all(self) -> list[Kept]:
        """Those that are open."""
        return list(self._kept.values())

    # --- what the editor tells ---------------------------------------------------------------------------------------

    def typed(self, root: Path, path: str, text: Callable[[], str]) -> None:
        """Says that a document was opened or changed; `text` is asked for it later, in another thread."""
        kept = self._kept.get(root)
        if kept is not None:
            kept.overlay.changed(path, text)

    def closed(self, root: Path, path: str) -> None:
        """Says that a document is open no more."""
        kept = self._kept.get(root)
        if kept is not None:
            kept.overlay.closed(path)

    def open(self, root: Path, paths: Iterable[str]) -> None:
        """Says which documents are open; what is kept of others, as while nobody heard of them, is let go."""
        kept = self._kept.get(root)
        if kept is not None:
            kept.overlay.keep(set(paths))

    def changed(self, root: Path, paths: Iterable[str]) -> bool:
        """Says that files changed on the disk; False where no index of the workspace is open."""
        kept = self._kept.get(root)
        if kept is not None:
            kept.index.refresh(set(paths))
        return kept is not None

    # --- how far they are --------------------------------------------------------------------------------------------

    async def show(self, root: Path) -> None:
        """Shows a bar while a workspace is read, where that takes a while."""
        kept = self._kept.get(root)
        if kept is None or await asyncio.to_thread(kept.index.wait, 1, SHOWN_SECONDS):
            return
        title = f"GLM: reading {root.name}"
        async with self.editor.server.show_progress(title, percentage=0) as bar:
            while self._kept.get(root) is kept and not await asyncio.to_thread(kept.index.wait, 1, LOOK_SECONDS):
                status = await asyncio.to_thread(lambda: kept.index.status)
                done = (status.tier0 + status.tier1) / (2 * status.files) if status.files else 0
                bar.report(f"{status.tier1:,} of {status.files:,} files", min(99, int(100 * done)))
            bar.closing = "Done"

    def close(self) -> None:
        """Ends all of them; no other is opened afterwards."""
        with self._lock:
            self._closed = True
            kept, self._kept = list(self._kept.values()), {}
        for one in kept:
            one.close()
