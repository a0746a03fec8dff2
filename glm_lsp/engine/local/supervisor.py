"""The supervisor: one small process a host and user that owns the engines, and writes down how they are.

Never carries a request: clients go to vLLM's own socket, so an engine whose supervisor was killed serves on. Whoever
looks for the engine next starts another supervisor, and that one adopts what runs: a large model takes minutes to load,
and would lose all it has read.

`python -m glm_lsp.engine.local.supervisor FOLDER`. Told by signals: TERM to stop once what runs is done (a second one,
or INT, at once), USR1 to sleep, USR2 to wake.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from glm_lsp.engine.local import child, record
from glm_lsp.engine.local.keeping import Keeper
from glm_lsp.engine.local.record import Record, Running

if TYPE_CHECKING:
    from types import FrameType

    from glm_lsp.engine.local.record import Orders

FAILED = 3
"""The exit code where every engine was given up."""

TAKEN = 75
"""The exit code where another supervisor is at work: EX_TEMPFAIL of sysexits.h."""

_BEAT = 1.0


def main() -> None:
    """Reads the command line and supervises."""
    home = Path(sys.argv[1])
    sys.exit(supervise(home, logs=Path(sys.argv[2])))


def supervise(home: Path, *, logs: Path) -> int:
    """Keeps the engines that the orders name until they have ended; returns the exit code.

    Args:
        home: folder of lock, orders, record and sockets.
        logs: folder of the logs.
    """
    lock = os.open(home / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return TAKEN
    orders = record.orders(home)
    if orders is None:
        return FAILED
    try:
        return _Supervisor(home, logs, orders).run()
    finally:
        os.close(lock)


class _Supervisor:
    """One life of the supervisor."""

    def __init__(self, home: Path, logs: Path, orders: Orders) -> None:
        self._home = home
        self._changed = threading.Event()
        self._writing = threading.Lock()
        self._seen: dict[int, Running] = {}
        self._told = ""
        this = psutil.Process()
        self._self = (this.pid, this.create_time())
        left = self._left_behind(orders)
        self._keepers = [
            Keeper(
                launch,
                orders.policy,
                home,
                number,
                logs / record.log_of(home, number).name,
                lambda seen, number=number: self._hear(number, seen),  # type: ignore[misc]
                left.get(number),
            )
            for number, launch in enumerate(orders.launches)
        ]
        self._seen = {number: keeper.seen for number, keeper in enumerate(self._keepers)}

    def run(self) -> int:
        for number, action in (
            (signal.SIGTERM, self._on_stop),
            (signal.SIGINT, self._on_stop),
            (signal.SIGUSR1, self._on_sleep),
            (signal.SIGUSR2, self._on_sleep),
        ):
            signal.signal(number, action)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._write()
        threads = [threading.Thread(target=keeper.run, daemon=True) for keeper in self._keepers]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if self._changed.wait(_BEAT):
                self._changed.clear()
                self._write()
                self._notify()
            else:
                record.touch(self._home)
        self._write()
        states = [seen.state for seen in self._seen.values()]
        if all(seen.state == "stopped" and not seen.detail for seen in self._seen.values()):
            record.remove(self._home)
        return FAILED if states and all(state == "crashed" for state in states) else 0

    def _hear(self, number: int, seen: Running) -> None:
        self._seen[number] = seen
        self._changed.set()

    def _write(self) -> None:
        with self._writing:
            record.write(self._home, Record(*self._self, tuple(self._seen[n] for n in sorted(self._seen))))

    def _left_behind(self, orders: Orders) -> dict[int, Running]:
        """The engines of an earlier supervisor that are to go on; what is left of others is ended."""
        left: dict[int, Running] = {}
        for number, running in enumerate(found.engines if (found := record.read(self._home)) else ()):
            wanted = orders.launches[number] if number < len(orders.launches) else None
            same = wanted is not None and running.command == child.command_of(wanted, running.socket)
            if same and running.is_alive():
                left[number] = running
            else:
                child.end(running, orders.policy.grace)
        return left

    def _on_stop(self, number: int, _: FrameType | None) -> None:
        for keeper in self._keepers:
            keeper.stop(now=number == signal.SIGINT or keeper.is_stopping)

    def _on_sleep(self, number: int, _: FrameType | None) -> None:
        for keeper in self._keepers:
            (keeper.sleep if number == signal.SIGUSR1 else keeper.wake)()

    def _notify(self) -> None:
        """Tells systemd how it goes, where that started us: sd_notify(3)."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address:
            return
        seen = list(self._seen.values())
        words = " · ".join(f"{one.label} {one.state} {one.detail}".strip() for one in seen)
        ready = "READY=1\n" if any(one.state == "running" for one in seen) else ""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(f"{ready}STATUS={words}\n".encode(), address.replace("@", "\0", 1))


if __name__ == "__main__":
    main()
