"""What one client has open: its folders with their conversations, the engine, its turns and what they propose.

Never speaks the protocol by itself: the editor's side is in `editor`, the messages are in `app`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from glm_lsp import settings
from glm_lsp.conversations import Conversations
from glm_lsp.engine import open_engine
from glm_lsp.errors import EngineError, GlmError, UsageError
from glm_lsp.index.walk import find_root, walk
from glm_lsp.server import convert
from glm_lsp.server.engine_bar import EngineBar
from glm_lsp.server.folder import Folder
from glm_lsp.server.indexing import Indexing
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from glm_lsp.engine.engine import Engine
    from glm_lsp.server.editor import Editor
    from glm_lsp.server.under_way import Running
    from glm_lsp.settings import Settings
    from glm_lsp.tools import Tool
    from glm_lsp.tools.mcp import McpServers

log = logging.getLogger(__name__)

LISTED_SECONDS = 5.0
"""How old a list of files may be when a turn begins."""

RETRY_SECONDS = 15.0
"""How long an engine that was not there is taken to be away."""


@dataclass(slots=True)
class Session:
    """All of one client.

    Attributes:
        editor: the client.
        overrides: options from the command line, which win over everything.
        told: options from `initialize`, which those that the client is asked for win over.
        turns: those that run, by id.
        engine_down: why the engine could not be reached; empty while it can, or nobody tried.
        trust: what was said of folders.
        indexing: what is known of their code.
    """

    editor: Editor
    overrides: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    turns: dict[str, Running] = field(default_factory=dict)
    engine_down: str = ""
    trust: dict[Path, bool] = field(default_factory=dict)
    indexing: Indexing = field(init=False)
    _folders: dict[Path, Folder] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _engines: dict[str, Engine] = field(default_factory=dict)
    _servers: dict[Path, McpServers] = field(default_factory=dict)
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _down_until: float = 0.0

    def __post_init__(self) -> None:
        self.indexing = Indexing(self.editor)

    # --- folders -------------------------------------------------------------------------------------------------

    @property
    def roots(self) -> list[Path]:
        """The folders that the client has open, in its order."""
        workspace = self.editor.server.workspace
        uris = [folder.uri for folder in workspace.folders.values()] or [workspace.root_uri or ""]
        return [path for uri in uris if (path := convert.uri_to_path(uri)) is not None and path.is_dir()]

    @property
    def folders(self) -> list[Folder]:
        """Those that have been opened."""
        return list(self._folders.values())

    async def trusts(self, path: Path, *, trusted: bool) -> None:
        """Takes note of whether a folder is trusted."""
        self.trust[find_root(path)] = trusted  # without a wait: the next message already goes by it
        self.forget()

    def known(self, path: Path) -> Folder | None:
        """The open workspace that a file lies in, where it has been opened; the innermost one."""
        holding = [folder for folder in self._folders.values() if folder.relative(path) is not None]
        return max(holding, key=lambda folder: len(folder.root.parts), default=None)

    async def folder(self, uri: str | None = None) -> Folder:
        """The workspace of a folder's or a document's address; of the first folder without one.

        Raises:
            UsageError: there is none.
            SettingsError, StateError: it cannot be opened.
        """
        path = self.editor.path(uri) if uri else None
        if path is not None and (known := self.known(path)) is not None:
            return await self._listed(known)
        roots = self.roots
        start = next((root for root in roots if path is not None and path.is_relative_to(root)), None)
        if start is None:
            start = (path if path.is_dir() else path.parent) if path is not None else next(iter(roots), None)
        if start is None or not start.is_dir():
            raise UsageError("No folder is open.", hint="Open a folder in the editor first.")
        async with self._opening:
            root = await asyncio.to_thread(find_root, start)
            if root not in self._folders:
                told = await self.editor.configuration(convert.path_to_uri(start))
                self._folders[root] = await asyncio.to_thread(self._open, root, told)
                self._folders[root].trusted = self.trust.get(root, True)  # it may have been said meanwhile
                self._tell_open(self._folders[root])
            return await self._listed(self._folders[root])

    async def _listed(self, folder: Folder) -> Folder:
        """The folder with a list of its files that is not old: not every editor tells of new ones."""
        index = folder.workspace.index
        if index is not None and index.looked:
            if (listing := index.listing) is not folder.workspace.listing:
                folder.workspace = replace(folder.workspace, listing=listing)
            return folder
        if time.monotonic() - folder.walked > LISTED_SECONDS:
            listing = await asyncio.to_thread(walk, folder.root)
            folder.workspace, folder.walked = replace(folder.workspace, listing=listing), time.monotonic()
        return folder

    async def further(self, folder: Folder) -> tuple[Tool, ...]:
        """The tools of the person's MCP servers, which are started when they are first wanted."""
        using = folder.workspace.settings.mcp
        if not using.servers or not folder.trusted:
            return ()
        if folder.root in self._servers and self._servers[folder.root].lost and self._alone(folder):
            await asyncio.to_thread(self._servers.pop(folder.root).close)
        if folder.root not in self._servers:
            from glm_lsp.tools.mcp import McpServers  # noqa: PLC0415 - heavy, and most people have none

            servers = self._servers[folder.root] = McpServers(using, folder.root)
            await asyncio.to_thread(servers.start)
            for note in servers.notes:
                self.editor.show(note)
        return self._servers[folder.root].tools

    def _alone(self, folder: Folder) -> bool:
        """Whether no other turn in the folder uses the servers that would be closed."""
        return sum(running.folder.root == folder.root for running in self.turns.values()) <= 1

    def _open(self, root: Path, told: dict[str, Any]) -> Folder:
        loaded = settings.load(root, overrides={**self.told, **flat(told), **self.overrides})
        # A client that says nothing of trust leaves it to the person's choice of what to ask; prompt files of the
        # workspace's own, which a stranger may have written, wait until it says so.
        workspace = Workspace.open(root, loaded, trusted=self.trust.get(root, False))
        workspace = replace(workspace, index=self.indexing.of(root, loaded.index))
        shelf = Conversations.at(root)
        for note in (*shelf.notes, *workspace.own.notes):
            self.editor.show(note)
        return Folder(workspace, shelf, self.trust.get(root, True))

    def _tell_open(self, folder: Folder) -> None:
        """Tells the index of a folder which of its files are open, and so which are not any more."""
        uris = list(self.editor.server.workspace.text_documents)
        found = (self._in_folder(uri, folder) for uri in uris)
        self.indexing.open(folder.root, [place[1] for place in found if place is not None])
        for uri in uris:
            self.typed(uri, folder)

    def typed(self, uri: str, folder: Folder | None = None) -> None:
        """Takes note that a document was opened or changed."""
        found = self._in_folder(uri, folder)
        document = self.editor.opened(uri)
        if found is not None and document is not None:
            self.indexing.typed(*found, lambda: document.source)

    def untyped(self, uri: str) -> None:
        """Takes note that a document is open no more."""
        found = self._in_folder(uri)
        if found is not None:
            self.indexing.closed(*found)

    def _in_folder(self, uri: str, folder: Folder | None = None) -> tuple[Path, str] | None:
        """The root of the workspace that a document lies in, and its path there; None for one in none, or a cell."""
        path = self.editor.path(uri)
        if path is None or "#" in path.name or (folder := folder or self.known(path)) is None:
            return None
        name = folder.relative(path)
        return (folder.root, name) if name is not None else None

    def changed(self, paths: Iterable[Path]) -> None:
        """Takes note that files changed on the disk."""
        by_folder: dict[Path, set[str]] = {}
        for path in paths:
            folder = self.known(path)
            name = folder.relative(path) if folder is not None else None
            if folder is not None and name is not None:
                by_folder.setdefault(folder.root, set()).add(name)
        for root, names in by_folder.items():
            if not self.indexing.changed(root, names):
                self.forget(root)

    def forget(self, root: Path | None = None) -> None:
        """Has folders opened anew when they are next wanted, as after a change of settings or of their files."""
        for known in [root] if root is not None else list(self._folders):
            self._folders.pop(known, None)

    # --- the engine ----------------------------------------------------------------------------------------------

    async def engine(self, using: Settings) -> Engine:
        """The engine of these settings, connected; one that was away a moment ago is not waited for again.

        Raises:
            EngineError, SettingsError: as the engine says.
        """
        key = repr(using.engine)
        loop = asyncio.get_running_loop()
        async with self._connecting:
            engine = self._engines.get(key)
            try:
                if engine is None:
                    waiting = EngineBar(self.editor)
                    engine = await asyncio.to_thread(open_engine, using.engine, on_wait=waiting.tell)
                    self._engines[key] = engine
                await engine.connect()
            except GlmError as error:
                self._engines.pop(key, None)
                self.engine_down = f"{error.message} {error.hint}".strip()
                self._down_until = loop.time() + RETRY_SECONDS
                raise
            self.engine_down = ""
            return engine

    async def look_for_engine(self, using: Settings) -> None:
        """Finds out whether the engine is there, at most once in a while, so that menus can say so."""
        if self.engine_down and asyncio.get_running_loop().time() < self._down_until:
            return
        with contextlib.suppress(EngineError, GlmError):
            if not using.engine.url and not using.engine.replicas:
                # One that starts is waited for by whoever asks something, and not for a menu; nor started for one.
                is_up, self.engine_down = await asyncio.to_thread(_own)
                if self.engine_down or (using.engine.start == "auto" and not is_up):
                    return
            await self.engine(using)

    @property
    def known_engine(self) -> Engine | None:
        """The engine that was connected last, if any was."""
        return next(reversed(self._engines.values()), None)

    async def close(self) -> None:
        """Ends all turns and lets go of the engine."""
        for running in list(self.turns.values()):
            running.cancel()
        tasks = [running.task for running in self.turns.values() if running.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
        for servers in self._servers.values():
            await asyncio.to_thread(servers.close)
        await asyncio.to_thread(self.indexing.close)
        for engine in self._engines.values():
            with contextlib.suppress(Exception):
                await engine.close()


def _own() -> tuple[bool, str]:
    """Whether this host's own engine takes requests, and if it is still to come, how far it is."""
    from glm_lsp.engine.local import process  # noqa: PLC0415 - in a thread, as it takes a while

    return process.is_up(), process.why_not()


def flat(told: dict[str, Any]) -> dict[str, Any]:
    """An editor's settings as dotted names: `{"engine": {"url": …}}` is `engine.url`; what is unset is left out."""
    found: dict[str, Any] = {}
    known = {name: {option.name for option in options} for name, _, options in settings.sections()}
    for section, values in told.items():
        if section in known and isinstance(values, dict):
            found |= {
                f"{section}.{name}": value
                for name, value in values.items()
                if name in known[section] and value is not None
            }
    return found
