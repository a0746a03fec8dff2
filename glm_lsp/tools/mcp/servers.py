"""All MCP servers of the settings, connected at once on an event loop in a thread of their own.

Never makes the caller wait beyond a server's time limit, and never leaves a program of theirs running.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Self

from glm_lsp.tools.mcp.answers import first_line
from glm_lsp.tools.mcp.schema import server_name
from glm_lsp.tools.mcp.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from glm_lsp.settings import McpSettings
    from glm_lsp.tools.tool import Tool

CLOSING_SECONDS = 6.0
"""How long all servers together may take to end; longer than the steps of ending one."""


class McpServers:
    """All servers of the settings; `start` them, offer their `tools`, and `close` them.

    Attributes:
        tools: their tools, by server and name; the same as long as the servers offer the same.
        notes: what the person should be told: servers that could not be started, tools that cannot be offered.
    """

    def __init__(self, settings: McpSettings, root: Path, *, environment: Mapping[str, str] = os.environ) -> None:
        """Takes the servers that are enabled; `root` is the workspace's. Nothing is started yet."""
        self.tools: tuple[Tool, ...] = ()
        self.notes: tuple[str, ...] = ()
        enabled = {name: one for name, one in sorted(settings.servers.items()) if one.enabled}
        self._servers = [Server(name, one, root, environment) for name, one in enabled.items()]
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._running = threading.Event()
        self._settled = threading.Event()
        self._defect = ""

    def __enter__(self) -> Self:
        """Starts them."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes them."""
        self.close()

    @property
    def lost(self) -> bool:
        """Whether a server that was connected is not any more; none comes back by itself."""
        return any(server.lost for server in self._servers)

    def start(self) -> None:
        """Connects all servers at once and waits for them, each no longer than its limit; failures become `notes`."""
        if not self._servers or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._host, name="mcp", daemon=True)
        atexit.register(self.close)
        try:
            self._thread.start()
            self._settled.wait(max(server.settings.connect_seconds for server in self._servers) + CLOSING_SECONDS)
        except BaseException:
            self.close()
            raise
        tools: list[Tool] = []
        notes: list[str] = [self._defect] if self._defect else []
        prefixes: dict[str, str] = {}
        for server in self._servers:
            prefix = server_name(server.name)
            other = prefixes.setdefault(prefix, server.name)
            if other != server.name:
                notes.append(f"MCP server {server.name} is left out: its name is too much like {other}. Rename one.")
                continue
            made, said = server.offer(prefix)
            tools += made
            notes += said
        self.tools, self.notes = tuple(tools), tuple(notes)

    def close(self) -> None:
        """Ends the sessions and the programs; calls that are under way are refused. Does nothing the second time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        if thread.is_alive() and self._running.wait(CLOSING_SECONDS):
            with contextlib.suppress(RuntimeError):  # it may be over by now
                assert self._loop is not None  # noqa: S101 - for the type checker: it runs
                assert self._closing is not None  # noqa: S101 - as above
                self._loop.call_soon_threadsafe(self._closing.set)
        if thread.ident is not None:
            thread.join(CLOSING_SECONDS + 1)
        for server in self._servers:
            server.kill()

    def _host(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - the person's work goes on without these tools
            self._defect = f"MCP servers cannot be used: {type(error).__name__}: {first_line(error)}"
        finally:
            self._running.set()
            self._settled.set()

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._running.set()
        for name in ("mcp", "client", "httpx2", "httpcore2"):  # the library's loggers, which would write on stderr
            logging.getLogger(name).addHandler(logging.NullHandler())
        serving = [asyncio.create_task(server.serve(self._closing)) for server in self._servers]
        settled = asyncio.ensure_future(asyncio.gather(*(server.settled.wait() for server in self._servers)))
        closing = asyncio.ensure_future(self._closing.wait())
        either: list[asyncio.Future[Any]] = [settled, closing]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        in_time = settled.done()
        self._settled.set()
        await closing
        settled.cancel()
        for task in () if in_time else serving:
            task.cancel()
        _, late = await asyncio.wait(serving, timeout=CLOSING_SECONDS - 1)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1)
