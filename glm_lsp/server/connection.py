"""One client: the thread that reads from it, the loop that serves it, the thread that writes to it, and their end.

Never lets one of the three wait for another: a client that is slow, silent or gone is noticed, and let go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from lsprotocol import types

from glm_lsp.server import frames
from glm_lsp.server.outbox import Outbox
from glm_lsp.server.running import Incoming

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.server.protocol import Host

log = logging.getLogger(__name__)

SECONDS_TO_FLUSH: Final = 0.5
"""How long a client may take to read what was left for it when the connection ends."""

WATCH_SECONDS: Final = 3.0
"""How often it is looked whether the editor is still alive."""

MOST_UNREAD: Final = 1000
"""Messages that wait for the loop before reading pauses: from there on the client's pipe holds them back."""

MOST_UNREAD_BYTES: Final = 512 * 1024 * 1024

_SLICE_SECONDS = 0.005  # how long messages are taken without a break for everything else on the loop


class End(Protocol):
    """Our end of a pipe or socket; both methods block."""

    def read(self, most: int) -> bytes:
        """At least one byte; empty at the end."""

    def write(self, data: bytes) -> None:
        """All of it, or OSError."""

    def close(self) -> None:
        """Wakes whoever reads or writes, as far as the system can."""


class Connection:
    """Serves one client with one server object until either side ends it.

    Args:
        server: nobody else's; a server object holds the documents of one client.
        write: writes bodies, blocking; raises OSError when the client is gone.
        watch: how often to look for the death of the editor, in seconds; None never looks.
    """

    def __init__(self, server: Host, write: Callable[[list[bytes]], None], *, watch: float | None) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._unread: deque[Incoming] = deque()
        self._waiting: dict[object, Incoming] = {}  # requests not begun, by id: they can still be cancelled
        self._bytes = 0
        self._at_end = False
        self._draining = False
        self._room = threading.Condition()
        self._over: asyncio.Future[int] = self._loop.create_future()
        self._record = server.record
        self._watch = watch
        self.outbox = Outbox(
            lambda bodies: write([self._recorded("out", body) for body in bodies]),
            lambda why: self._soon(self._stop_because, why),
            **server.outbox_options,
        )
        server.protocol.connect(self.outbox, self.stop)

    def stop(self, code: int) -> None:
        """Ends the connection with this exit code; on the loop."""
        if not self._over.done():
            self._over.set_result(code)
        with self._room:
            self._room.notify_all()

    async def run(self) -> int:
        """Serves until the end, says goodbye within a second, and gives the exit code."""
        watching = asyncio.ensure_future(self._watch_the_editor())
        try:
            return await self._over
        finally:
            watching.cancel()
            self.stop(1)
            await self._server.protocol.end()
            await self._loop.run_in_executor(None, self.outbox.close, SECONDS_TO_FLUSH)

    def take(self, body: bytes | frames.Broken | None) -> frames.Broken | None:
        """Takes one body from whoever reads, from any thread; None says that there will be no more.

        Returns what is wrong with it, so that a reader of frames can look for the next one inside.
        """
        if body is None:
            with self._room:
                self._at_end = True
                self._wake()
            return None
        if isinstance(body, bytes):
            self._recorded("in", body)
            incoming = Incoming(frames.decode(body), len(body))
        else:
            incoming = Incoming(body, 0)
        message = incoming.message
        with self._room:
            if isinstance(message, dict):
                self._note(message, incoming)
            self._unread.append(incoming)
            self._bytes += incoming.size
            self._wake()
        return message if isinstance(message, frames.Broken) else None

    @property
    def full(self) -> bool:
        """Whether reading should pause."""
        return (len(self._unread) > MOST_UNREAD or self._bytes > MOST_UNREAD_BYTES) and not self._over.done()

    def wait_for_room(self) -> None:
        """Blocks a reader's thread while it is full."""
        with self._room:
            while self.full:
                self._room.wait(1.0)

    def _note(self, message: dict[str, Any], incoming: Incoming) -> None:
        """Remembers a request until it begins, and marks one that is cancelled before."""
        number = message.get("id")
        if message.get("method") == types.CANCEL_REQUEST:
            params = message.get("params")
            number = params.get("id") if isinstance(params, dict) else None
            if isinstance(number, (str, int)) and number in self._waiting:
                self._waiting[number].cancelled = True
        elif isinstance(number, (str, int)) and "method" in message:
            self._waiting[number] = incoming

    def _wake(self) -> None:
        if not self._draining:
            self._draining = True
            self._soon(self._drain)

    def _drain(self) -> None:
        """Hands messages to the protocol, in order, for a slice of time or until one began a coroutine.

        That coroutine then runs up to its first wait before the next message is looked at: it sees the documents as
        they were when its request was sent.
        """
        until = time.monotonic() + _SLICE_SECONDS
        while not self._over.done():
            with self._room:
                if not self._unread:
                    self._draining = False
                    if self._at_end:
                        self.stop(self._server.protocol.exit_code)
                    return
                incoming = self._unread.popleft()
                self._bytes -= incoming.size
                number = incoming.message.get("id") if isinstance(incoming.message, dict) else None
                if isinstance(number, (str, int)) and self._waiting.get(number) is incoming:
                    del self._waiting[number]
                self._room.notify_all()
            try:
                began = self._server.protocol.receive(incoming)
            except Exception as error:  # noqa: BLE001 - a defect costs its own message, not all later ones
                self._server.protocol.failed(incoming, error)
                began = False
            if began or time.monotonic() > until:
                self._loop.call_soon(self._drain)
                return

    def _recorded(self, direction: str, body: bytes) -> bytes:
        if self._record is not None:
            try:
                self._record(direction, time.monotonic(), body)
            except Exception:  # a full disk ends the record, not the session
                log.exception("the record of this session ends here")
                self._record = None
        return body

    def _stop_because(self, why: str) -> None:
        if not self._over.done():
            log.warning("the connection ends: %s", why)
        self.stop(1)

    def _soon(self, call: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *args)

    async def _watch_the_editor(self) -> None:
        """Ends the connection when the editor has died without closing it.

        The editor's own number counts where it names a process that we can see; where it does not (none was given, or
        the editor lives in another container), the process that started us does.
        """
        if self._watch is None:
            return
        parent = os.getppid()
        seen = False
        while True:
            await asyncio.sleep(self._watch)
            editor = self._server.process_id
            if editor is not None and _alive(editor):
                seen = True
            elif seen:
                self._stop_because("the editor has died")
                return
            elif os.getppid() != parent:
                self._stop_because("the process that started us has died")
                return


def read_from(end: End, connection: Connection, limit: int) -> None:
    """Starts the thread that reads frames from a client."""

    def run() -> None:
        reader = frames.FrameReader(end.read, limit)
        try:
            while (body := reader.next()) is not None:
                if connection.take(body) is not None and isinstance(body, bytes):
                    reader.resume_inside(body)
                connection.wait_for_room()
        except OSError as error:
            log.info("reading ended: %s", error)
        finally:
            connection.take(None)

    threading.Thread(target=run, name="glm-lsp reader", daemon=True).start()


class Workers(ThreadPoolExecutor):
    """A pool whose threads keep nobody from leaving: the process ends whether they have finished or not."""

    def __init__(self, most: int) -> None:
        super().__init__(1)  # which starts no thread before its own `submit`, and that is never called
        self._most = most
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs a call in a daemon thread."""
        future: Future[Any] = Future()
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            threading.Thread(target=self._work, name=f"glm-lsp worker {self._started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for nobody."""

    def _work(self) -> None:
        while True:
            future, call = self._jobs.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
                    future.set_exception(error)
            del future, call
            self._idle.release()


def _alive(process: int) -> bool:
    import psutil  # noqa: PLC0415 - not before the first look, long after `initialize`

    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, ValueError, OverflowError):
        return True
