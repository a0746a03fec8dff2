"""The bridge as a process: one per host and user, its token, where it listens, started detached and stopped.

Never carries a request itself (that is `engine.bridge`), and never ends a process it cannot prove to be its own.

Token and port outlive the process, so that what `glm-lsp engine env` printed into an agent's settings stays true.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
from filelock import FileLock, Timeout

from glm_lsp.engine.local import places
from glm_lsp.errors import LaunchFailed, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Pass(msgspec.Struct, frozen=True):
    """What agents are given: the token, and the port that is tried first (0 before there was one)."""

    token: str
    port: int = 0


class Bridge(msgspec.Struct, frozen=True):
    """The state file: which process is the bridge, where it listens and what it leads to.

    `created` is the process's start in seconds since the epoch; with the pid it names one process for ever.
    """

    pid: int
    created: float
    port: int
    upstream: str

    @property
    def url(self) -> str:
        """Its address, without `/v1`."""
        return f"http://127.0.0.1:{self.port}"


def get_pass(*, anew: bool = False) -> Pass:
    """The person's token and port, made when there is none; `anew` replaces the token.

    Raises:
        StateError: they cannot be kept.
    """
    path = _pass_file()
    with FileLock(path.with_suffix(".lock"), timeout=10):
        found = None
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            found = msgspec.json.decode(path.read_bytes(), type=Pass)
        if found is None or anew:
            found = Pass(f"glm-{secrets.token_urlsafe(32)}", found.port if found else 0)
            _write(path, msgspec.json.encode(found))
        return found


def running() -> Bridge | None:
    """The bridge that runs on this host for this person, if any."""
    try:
        found = msgspec.json.decode(_state_file().read_bytes(), type=Bridge)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if _process(found) is not None else None


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Holds the place of this host's bridge; the state file goes with it.

    Raises:
        StateError: there is one already.
    """
    lock = FileLock(places.run_dir() / "bridge.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        there = running()
        raise StateError(
            f"A bridge runs already{f' at {there.url}' if there else ''}.",
            hint="`glm-lsp engine bridge --stop` ends it.",
        ) from None
    try:
        yield
    finally:
        _state_file().unlink(missing_ok=True)
        lock.release()


def record(port: int, upstream: str) -> Bridge:
    """Says that this process is the bridge and listens; the port is tried first from now on."""
    found = Bridge(os.getpid(), psutil.Process().create_time(), port, upstream)
    known = get_pass()
    if known.port != port:
        _write(_pass_file(), msgspec.json.encode(Pass(known.token, port)))
    _write(_state_file(), msgspec.json.encode(found))
    return found


def start(arguments: Sequence[str] = (), *, patience: float = 30.0) -> Bridge:
    """Starts the bridge in the background unless it runs, and waits until it listens.

    Args:
        arguments: further arguments of `glm-lsp engine bridge`.
        patience: seconds until it must listen.

    Raises:
        LaunchFailed: it ended, or would not listen.
    """
    with FileLock(places.run_dir() / "bridge-start.lock", timeout=2 * patience):  # two editors, two terminals
        return running() or _start(arguments, patience)


def _start(arguments: Sequence[str], patience: float) -> Bridge:
    log = log_path()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "glm_lsp", "engine", "bridge", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=places.run_dir(),  # `python -m` puts it on the module path: a folder where nothing shadows ours
            start_new_session=True,
        )
    _ours.append(process)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if (found := running()) is not None:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    else:
        process.kill()
        process.wait()
    said = log.read_text(encoding="utf-8", errors="replace").strip().removeprefix("glm-lsp: ")
    raise LaunchFailed(f"The bridge did not start.{f' {said}' if said else ''}", hint=f"Its log: {log}")


_ours: list[subprocess.Popen[bytes]] = []
"""Bridges that this very process started, which go on when it ends: held, or Python would complain of them."""


def stop(*, grace: float = 5.0) -> bool:
    """Ends the bridge, whoever started it; False when there was none."""
    found = running()
    process = _process(found) if found is not None else None
    if process is None:
        return False
    with contextlib.suppress(psutil.Error):
        process.terminate()
        _, left = psutil.wait_procs([process], timeout=grace)
        for one in left:
            one.kill()
    return True


def log_path() -> Path:
    """Where a bridge in the background says what goes wrong with it; never what passes over it."""
    return places.private(places.state_dir()) / "bridge.log"


def _process(found: Bridge) -> psutil.Process | None:
    try:
        process = psutil.Process(found.pid)
        same = abs(process.create_time() - found.created) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _state_file() -> Path:
    return places.run_dir() / "bridge.json"


def _pass_file() -> Path:
    return places.private(places.state_dir()) / "bridge-pass.json"


def _write(path: Path, content: bytes) -> None:
    """Replaces a file as a whole; only its owner can read it (mkstemp's mode)."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.", hint="Make room there.") from error
