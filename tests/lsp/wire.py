"""A client of bytes: it writes what it is told, well-formed or not, and reads frames, from a process over pipes.

Never interprets: no library of the protocol is between it and the server.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVER = Path(__file__).with_name("server.py")
ENOUGH = 20.0
"""Seconds after which something has gone wrong."""


def framed(message: Any) -> bytes:
    """A frame of plain data, or of bytes as they are."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def request(number: Any, method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method} | ({} if params is None else {"params": params})


def notification(method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params})


def frames_of(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Bodies from a stream of nothing but strict frames; anything else is an error."""
    held = b""
    while True:
        while b"\r\n\r\n" not in held:
            chunk = read(65536)
            if not chunk:
                assert not held, held
                return
            held += chunk
        header, _, held = held.partition(b"\r\n\r\n")
        name, _, length = header.partition(b": ")
        assert name == b"Content-Length", header
        while len(held) < int(length):
            chunk = read(65536)
            assert chunk, "the stream ended inside a message"
            held += chunk
        yield held[: int(length)]
        held = held[int(length) :]


class Client:
    """A server process, and both ends of its pipes."""

    def __init__(self, *arguments: str, paused: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        self.inbox: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.bodies: list[bytes] = []
        self.aside: list[dict[str, Any]] = []
        self.stderr = b""
        self._numbers = iter(range(1000, 10**9))
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._errors = threading.Thread(target=self._collect, daemon=True)
        self._errors.start()
        if not paused:
            self.read_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self._reading.is_alive():
            self._reading.join(ENOUGH)
        self._errors.join(ENOUGH)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def read_on(self) -> None:
        """Starts to read what the server says."""
        self._reading.start()

    def write(self, *messages: Any) -> None:
        self.write_raw(b"".join(framed(message) for message in messages))

    def write_raw(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._in, rest) :]

    def next(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        message = self.inbox.get(timeout=ENOUGH)
        assert message is not None, f"the server ended: {self.stderr.decode()}"
        return message

    def answer(self, number: Any) -> dict[str, Any]:
        """The response to a request; what else arrives before it is put aside."""
        for held in self.aside:
            if held.get("id") == number and "method" not in held:
                self.aside.remove(held)
                return held
        while True:
            message = self.next()
            if "method" not in message and message["id"] == number and type(message["id"]) is type(number):
                return message
            self.aside.append(message)

    def told(self, method: str) -> dict[str, Any]:
        """The next notification or request of that name."""
        for held in self.aside:
            if held.get("method") == method:
                self.aside.remove(held)
                return held
        while True:
            message = self.next()
            if message.get("method") == method:
                return message
            self.aside.append(message)

    def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        number = next(self._numbers)
        self.write(request(number, method, params))
        return self.answer(number)

    def initialize(self, capabilities: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        params = {"processId": None, "rootUri": None, "capabilities": capabilities or {}, **more}
        result: dict[str, Any] = self.ask("initialize", params)["result"]
        self.write(notification("initialized", {}))
        return result

    def rest(self) -> list[dict[str, Any]]:
        """All that arrives until the server ends."""
        found = list(self.aside)
        self.aside.clear()
        while (message := self.inbox.get(timeout=ENOUGH)) is not None:
            found.append(message)
        return found

    def hang_up(self) -> None:
        """Closes the server's stdin."""
        assert self.process.stdin
        self.process.stdin.close()

    def leave(self) -> int:
        """Ends as an editor does, and gives the exit code."""
        self.ask("shutdown")
        self.write(notification("exit"))
        return self.process.wait(ENOUGH)

    def _read(self) -> None:
        try:
            for body in frames_of(lambda most: os.read(self._out, most)):
                self.bodies.append(body)
                self.inbox.put(json.loads(body))
        finally:
            self.inbox.put(None)

    def _collect(self) -> None:
        assert self.process.stderr
        while chunk := self.process.stderr.read(65536):
            self.stderr += chunk
