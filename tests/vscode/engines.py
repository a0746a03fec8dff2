"""An engine that can be taken away and brought back while a test looks on: the dialect tests' server, in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wire_server import WireServer, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator


def free_port() -> int:
    """A port of this host on which nobody listens, and that will be asked for by its number."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def engine_at(port: int, *texts: str) -> Iterator[WireServer]:
    """Serves `glm-4.7`, which says these texts, one a request."""
    server = WireServer(*(spoken({"content": text}) for text in texts or ("1 2 3",)))
    loop, ready, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server.running(port=port):
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10), f"nothing can listen on port {port}"
        yield server
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()
