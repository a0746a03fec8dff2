"""What waits to be written to one client: in order, bounded, and never in the way of the event loop.

Never loses a word: deltas that wait are merged, and a client that reads nothing for too long is given up as a whole.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

log = logging.getLogger(__name__)

COALESCE_MS: Final = 40
COALESCE_BYTES: Final = 2048
MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
MOST_WAITING: Final = 100_000


class Late(Protocol):
    """A message that is made when it is written, so that its number follows that of the one written before."""

    def encode(self) -> bytes:
        """The body; called once, in the writer's thread, in the order of writing; the item must not change meanwhile."""


class Delta(Late, Protocol):
    """A piece of a stream, which may be written together with its neighbours."""

    @property
    def size(self) -> int:
        """About how many bytes it holds."""

    def merged(self, other: Self) -> Self | None:
        """One delta that says what this and then `other` say; None where the two do not go together."""


class Outbox:
    """The queue of one client and the thread that empties it.

    A message without a key keeps its place among all others.
    A message or delta with a key keeps its place among those of the same key and those without.
    Every method may be called from any thread and returns at once, except `close`.

    Args:
        write: writes one or more bodies, blocking as long as the client makes it; raises OSError when it is gone.
        dead: called once, from whichever thread finds out, when the client is gone or too far behind.
        coalesce_ms: how long a delta waits for others to join it.
        limit_bytes: how much may wait before the client is given up.
        limit: how many messages may wait.
    """

    def __init__(
        self,
        write: Callable[[list[bytes]], None],
        dead: Callable[[str], None],
        *,
        coalesce_ms: float = COALESCE_MS,
        limit_bytes: int = MOST_WAITING_BYTES,
        limit: int = MOST_WAITING,
    ) -> None:
        self._write = write
        self._dead = dead
        self.coalesce_ms = coalesce_ms
        self._limit_bytes = limit_bytes
        self._limit = limit
        self._ready: deque[_Waiting] = deque()
        self._held: dict[Hashable, _Waiting] = {}  # deltas that wait for company, by key, the oldest first
        self._last: dict[Hashable, _Waiting] = {}  # of `_ready`, deltas that a later one of their key may still join
        self._bytes = 0
        self._closing = False
        self._gone = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="glm-lsp writer", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be written."""
        return self._bytes

    def send(self, message: bytes | Late, key: Hashable | None = None) -> None:
        """Queues a message; what was streamed before it under the same key, or under any without one, goes first."""
        with self._changed:
            if self._refused():
                return
            if key is None:
                for name in list(self._held):
                    self._release(name)
                self._last.clear()
            else:
                if key in self._held:
                    self._release(key)
                self._last.pop(key, None)
            size = len(message) if isinstance(message, bytes) else 256
            self._ready.append(_Waiting(None, message, None, 0.0, size))
            self._bytes += size
            self._changed.notify()

    def stream(self, key: Hashable, delta: Delta) -> None:
        """Queues a delta, which waits a moment for others of its key."""
        with self._changed:
            if self._refused():
                return
            size = delta.size
            before = self._held.get(key) or self._last.get(key)
            together = before.delta.merged(delta) if before and before.delta else None
            if before and together is not None:
                before.message = before.delta = together
                self._bytes += together.size - before.size
                before.size = together.size
                if before.size >= COALESCE_BYTES and key in self._held:
                    self._release(key)
                    self._changed.notify()
                return
            if key in self._held:
                self._release(key)
            self._bytes += size
            self._held[key] = _Waiting(key, delta, delta, time.monotonic() + self.coalesce_ms / 1000, size)
            if size >= COALESCE_BYTES or not self.coalesce_ms:
                self._release(key)
            self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Writes what waits, for at most that long, and takes nothing more; says whether all of it was written."""
        with self._changed:
            for key in list(self._held):
                self._release(key)
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            written = not self._gone and not self._thread.is_alive()
            self._gone = True
            self._changed.notify()
            return written

    def _refused(self) -> bool:
        if self._gone or self._closing:
            return True
        if self._bytes <= self._limit_bytes and len(self._ready) + len(self._held) < self._limit:
            return False
        self._give_up(f"the client has not read for long: {self._bytes} bytes wait")
        return True

    def _give_up(self, why: str) -> None:
        with self._changed:
            if self._gone:
                return
            self._gone = True
            self._ready.clear()
            self._held.clear()
            self._last.clear()
            self._bytes = 0
            self._changed.notify()
        self._dead(why)

    def _release(self, key: Hashable) -> None:
        """Moves the held delta of a key to the queue."""
        held = self._held.pop(key)
        self._ready.append(held)
        self._last[key] = held

    def _run(self) -> None:
        while True:
            batch = self._next()
            if not batch:
                return
            bodies = [body for body in map(_encoded, batch) if body is not None]
            try:
                self._write(bodies)
            except (OSError, RuntimeError) as error:  # RuntimeError: the loop that a web socket needs has ended
                self._give_up(f"the client is gone: {error}")
                return

    def _next(self) -> list[_Waiting]:
        """Waits for what may be written now; empty when there will be nothing more."""
        with self._changed:
            while True:
                now = time.monotonic()
                for key in [key for key, held in self._held.items() if held.due <= now]:
                    self._release(key)
                if self._ready or self._gone or self._closing:
                    break
                soonest = next(iter(self._held.values()), None)
                self._changed.wait(soonest.due - now if soonest else None)
            batch: list[_Waiting] = []
            taken = 0
            while self._ready and not self._gone and taken < _BATCH_BYTES:
                first = self._ready.popleft()
                if first.key is not None and self._last.get(first.key) is first:
                    del self._last[first.key]
                taken += first.size
                batch.append(first)
            self._bytes -= taken
            return batch


_BATCH_BYTES = 65536


@dataclass(slots=True, eq=False)
class _Waiting:
    key: Hashable | None
    message: bytes | Late
    delta: Delta | None
    due: float
    size: int


def _encoded(waiting: _Waiting) -> bytes | None:
    if isinstance(waiting.message, bytes):
        return waiting.message
    try:
        return waiting.message.encode()
    except Exception:  # whatever one message is about, the others are still to be written
        log.exception("a message could not be encoded")
        return None
