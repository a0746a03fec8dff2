"""Runs one program to its end, within limits of time and output, and leaves nothing of it running.

Never reads its output without bound, and never waits for what it left in the background.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CHUNK = 65_536
TICK = 0.05
"""Seconds between two looks at whether it should stop."""
GRACE = 1.0
"""Seconds in which the output of a program that has ended is read, where something still holds the other end."""

_PRIVATE = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|_SOCK$|DBUS|XDG_RUNTIME_DIR")
"""Names of variables that open doors: passwords, and the addresses of agents that hold them."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    Attributes:
        code: its exit status; negative for a signal.
        output: standard output and error as they came, shortened in the middle.
        left_out: bytes that are not in `output`.
        stopped: why we ended it; empty where it ended by itself.
    """

    code: int
    output: str
    left_out: int
    stopped: Literal["", "time", "output", "cancelled"] = ""


def environment(present: Mapping[str, str]) -> dict[str, str]:
    """The variables that a program of the model's gets: without passwords, and without colours in its output."""
    kept = {name: value for name, value in present.items() if not _PRIVATE.search(name.upper())}
    return kept | {"TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}


def run(
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    *,
    seconds: float,
    first: int,
    last: int,
    stop: threading.Event,
) -> Finished:
    """Runs a program in `folder`; its whole process group is killed when it ends, at a limit, and when `stop` is set.

    Args:
        arguments: the program and its arguments; no shell reads them.
        folder: where it runs.
        variables: its whole environment.
        seconds: how long it may take.
        first: bytes kept from the beginning of the output.
        last: bytes kept from its end; 0 ends the program once there is more than `first`.
        stop: set by another thread to end it now.

    Raises:
        OSError: the program cannot be started.
    """
    deadline = time.monotonic() + seconds
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    )
    kept = _Ends(first, last)
    why: Literal["", "time", "output", "cancelled"] = ""
    assert process.stdout is not None  # noqa: S101 - for the type checker: stdout is a pipe
    with process.stdout as pipe, selectors.DefaultSelector() as selector:
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_READ)
        ended = 0.0
        try:
            while True:
                if selector.select(TICK):
                    chunk = pipe.read(CHUNK)
                    if chunk == b"":
                        selector.unregister(pipe)
                        why = why or _wait(process, deadline, stop)
                        break
                    kept.add(chunk or b"")
                elif ended:
                    break
                if not ended and process.poll() is not None:
                    ended = time.monotonic()
                    _kill(process)  # what it left behind
                if ended and time.monotonic() > ended + GRACE:
                    break
                why = "cancelled" if stop.is_set() else "time" if time.monotonic() > deadline else ""
                if not last and kept.seen > first:
                    why = "output"
                if why and not ended:
                    break
        finally:
            _kill(process)
            process.wait()
    return Finished(process.returncode, *kept.text(), why if process.returncode < 0 else "")


def _wait(
    process: subprocess.Popen[bytes], deadline: float, stop: threading.Event
) -> Literal["", "time", "output", "cancelled"]:
    """Waits for a program that has closed its output."""
    while process.poll() is None:
        if stop.is_set():
            return "cancelled"
        if time.monotonic() > deadline:
            return "time"
        time.sleep(TICK)
    return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    # The group may outlive its leader, whose number is not given anew as long as the group is there.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class _Ends:
    """The first and last bytes of a stream."""

    def __init__(self, first: int, last: int) -> None:
        self.seen = 0
        self._first, self._last = first, last
        self._head, self._tail = bytearray(), bytearray()

    def add(self, chunk: bytes) -> None:
        self.seen += len(chunk)
        room = self._first - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > self._last + CHUNK:
            del self._tail[: len(self._tail) - self._last]

    def text(self) -> tuple[str, int]:
        tail = self._tail[max(0, len(self._tail) - self._last) :]
        left_out = self.seen - len(self._head) - len(tail)
        if not left_out:
            return (self._head + tail).decode(errors="replace"), 0
        note = f"\n[… {left_out:,} bytes left out …]\n" if tail else ""
        return self._head.decode(errors="replace") + note + tail.decode(errors="replace"), left_out
