"""An editor that only counts: it starts `glm-lsp --stdio` on an engine, asks for turns, and notes when what arrived.

Never looks into a message on the thread that reads, so that the time of its arrival is not its own time to decode.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH = 20.0
"""Seconds without a message after which something has gone wrong."""


class TooLate(Exception):
    """The server did not say what was waited for in time."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, and the monotonic time at which its last byte was read."""

    at: float
    message: dict[str, Any]

    @property
    def event(self) -> dict[str, Any]:
        """What it tells of a turn; empty for anything else."""
        if self.message.get("method") != "glm/turn/event":
            return {}
        found: dict[str, Any] = self.message["params"]["event"]
        return found

    @property
    def turn(self) -> str:
        """The turn that it tells of."""
        return str(self.message["params"]["turnId"])


class Editor:
    """One server process in a workspace, opted in to all events.

    Args:
        folder: the workspace, which is made.
        engine: the address of the engine.
        until: the monotonic time at which nothing is waited for any longer.
        coalesce_ms: how long deltas are asked to wait for each other.
    """

    def __init__(self, folder: Path, engine: str, *, until: float, coalesce_ms: int = 40) -> None:
        self.folder = folder
        self.until = until
        folder.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "GLM_LSP_ENGINE_URL": engine,
            "GLM_LSP_STATE_DIR": str(folder.parent / f"{folder.name}.state"),
            "XDG_CONFIG_HOME": str(folder.parent / "config"),
        }
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("glm-lsp")), "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        self._inbox: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
        self._number = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        glm = {"protocol": 1, "events": True, "coalesceMs": coalesce_ms}
        capabilities = {"window": {"workDoneProgress": True}, "experimental": {"glm": glm}}
        params = {"processId": os.getpid(), "rootUri": folder.as_uri(), "capabilities": capabilities}
        self.ask("initialize", params)
        self.tell("initialized", {})
        self.ask("glm/status", {})  # the engine is connected from here on

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join(ENOUGH)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def tell(self, method: str, params: Any) -> None:
        """Sends a notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def begin(self, method: str, params: Any) -> int:
        """Sends a request and waits for nothing; its number."""
        self._number += 1
        self._write({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def ask(self, method: str, params: Any) -> Arrived:
        """Sends a request and waits for its answer; events that arrive meanwhile are dropped."""
        return self.answered(self.begin(method, params))

    def answered(self, number: int) -> Arrived:
        """Waits for the answer to a request; events that arrive meanwhile are dropped."""
        return self.wait(lambda one: one.message.get("id") == number and "method" not in one.message)

    def turn(self) -> int:
        """Begins a turn; its request's number."""
        return self.begin("glm/turn", {"instruction": "Hello", "action": "chat"})

    def wait(self, wanted: Callable[[Arrived], bool]) -> Arrived:
        """The next message that is wanted."""
        while not wanted(one := self.next()):
            pass
        return one

    def answers(self, numbers: set[int]) -> tuple[float, int]:
        """Waits until all these turns have ended; when the last one did, and how many characters all of them told."""
        left = set(numbers)
        at = 0.0
        said = 0
        while left:
            one = self.next()
            if one.event.get("type") in {"text", "thinking"}:
                said += len(one.event["text"])
            if "method" not in one.message and one.message["id"] in left:
                left.discard(one.message["id"])
                at = one.at
                stopped = one.message.get("result", {}).get("stopReason")
                if stopped != "done":
                    raise RuntimeError(f"a turn ended with {one.message}")
        return at, said

    def next(self) -> Arrived:
        """The next message; what the server asks is answered. Raises TooLate."""
        try:
            held = self._inbox.get(timeout=max(0.0, min(ENOUGH, self.until - time.monotonic())))
        except queue.Empty:
            waited = "its time is over" if time.monotonic() >= self.until else f"nothing came for {ENOUGH:g} s"
            raise TooLate(waited) from None
        if held is None:
            raise RuntimeError(f"the server ended with {self.process.wait()}")
        message = msgspec.json.decode(held[1])
        if "method" in message and "id" in message:
            self._write({"jsonrpc": "2.0", "id": message["id"], "result": None})
        return Arrived(held[0], message)

    def open(self, name: str, text: str) -> str:
        """Opens a document; its address."""
        uri = (self.folder / name).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return uri

    def resident_bytes(self) -> int:
        """Memory of the server process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """CPU time of the server process until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _write(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        assert self.process.stdin is not None
        rest = memoryview(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        while rest:
            rest = rest[os.write(self.process.stdin.fileno(), rest) :]

    def _read(self) -> None:
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        held = b""
        while chunk := os.read(source, 1 << 20):
            at = time.monotonic()
            held += chunk
            while True:
                header, found, rest = held.partition(b"\r\n\r\n")
                length = int(header.partition(b": ")[2]) if found else 0
                if not found or len(rest) < length:
                    break
                self._inbox.put((at, rest[:length]))
                held = rest[length:]
        self._inbox.put(None)
