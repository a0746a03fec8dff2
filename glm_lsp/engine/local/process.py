"""This host's own engine as its users see it: started detached, waited for, looked at, put to sleep, stopped.

Never plans what to serve (that is a Launch, made by `choosing` or `tryout`), and never watches it: that is for the
supervisor, which this module starts and tells what to do.

One engine a host and user, or several of one plan: a lock guards starting and stopping, and a record says what runs.
The engine outlives whoever started it, so every editor and every run on the host can use it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from glm_lsp.engine.local import child, install, places, record
from glm_lsp.engine.local.loading import Progress, diagnose, last_lines
from glm_lsp.engine.local.record import Launch, Policy, Record, Running, State
from glm_lsp.errors import LaunchFailed, StateError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Launch", "Policy", "Progress", "Running", "State", "Status"]


USABLE, UNDER_WAY = {"running", "asleep"}, {"starting", "restarting", "draining"}


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to say about an engine.

    `detail` is a stage while it starts, `2 of 5: out of GPU memory` while it restarts, the cause after it was given up.
    """

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
    hint: str = ""
    percent: int = 0
    restarts: int = 0
    supervisor: int = 0


def addresses(*, run: Path | None = None) -> tuple[str, ...]:
    """The urls of this host's own engines that can be used; empty when there are none.

    Where their supervisor is gone, another one is started, which adopts them.

    Raises:
        Unreachable: they are still starting; the message says how far they are.
    """
    found = statuses(run=run, memory=False)
    usable = tuple(one.url for one in found if one.state in USABLE)
    waiting = next((one for one in found if one.state in UNDER_WAY), None)
    if usable or waiting is None:
        if usable and not any(one.supervisor for one in found):
            with contextlib.suppress(StateError, LaunchFailed):
                ensure_supervised(run=run)
        return usable
    raise Unreachable(
        f"This host's engine {in_words(waiting)}.",
        hint="`glm-lsp engine status` says how far it is.",
        retryable=True,
    )


def address(*, run: Path | None = None) -> str | None:
    """The url of the first of them, or None; raises as `addresses` does."""
    return next(iter(addresses(run=run)), None)


def is_up(*, run: Path | None = None) -> bool:
    """Whether one of them takes requests."""
    return any(one.state in USABLE for one in statuses(run=run, memory=False))


def why_not(*, run: Path | None = None) -> str:
    """Why none takes requests though it is to come, as a sentence; empty where one does, or none is to be expected."""
    found = statuses(run=run, memory=False)
    waiting = next((one for one in found if one.state in UNDER_WAY), None)
    if waiting is None or any(one.state in USABLE for one in found):
        return ""
    return f"This host's engine {in_words(waiting)}."


def in_words(found: Status) -> str:
    """What an engine does, to follow its name: `is still starting: loading weights 43 %`."""
    match found.state:
        case "starting":
            return f"is still starting: {found.detail}" if found.detail else "is still starting"
        case "restarting":
            return f"is restarting ({found.detail})"
        case "draining":
            return "is being stopped"
        case "running":
            return "runs"
        case "asleep":
            return "is asleep"
        case "crashed":
            return f"is down: {found.detail.rstrip('.')}"
        case "stopped":
            return f"was stopped: {found.detail}" if found.detail else "is stopped"


def start(launch: Launch, *, run: Path | None = None, policy: Policy = Policy()) -> Iterator[Progress]:  # noqa: B008 - frozen
    """Starts the engine unless it runs already, and yields how far it is until it answers.

    The last Progress has `overall` 100: `/health` is good, the model is listed and has written one token.

    Raises:
        LaunchFailed: it ended, hung or would not answer; the message has a diagnosis and the log's last lines.
    """
    launch_all([launch], run=run, policy=policy)
    yield from wait(run=run)


def launch_detached(launch: Launch, *, run: Path | None = None, policy: Policy = Policy()) -> Running:  # noqa: B008 - frozen
    """Starts one engine and returns at once; where an engine runs or starts already, returns that one.

    Raises:
        LaunchFailed: the process could not be started at all.
    """
    return launch_all([launch], run=run, policy=policy)[0]


def launch_all(
    launches: Sequence[Launch],
    *,
    run: Path | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> tuple[Running, ...]:
    """Starts the engines of one plan; as `launch_detached`."""
    home = record.home_of(run)
    with _lock(home):
        found = record.read(home)
        if found is not None and found.is_alive():
            if any(one.state not in {"stopped", "crashed"} for one in found.engines):
                return found.engines
            _end_supervisor(found, 10, signal.SIGTERM)  # its engines have ended, and it is about to
        if found is None or not any(one.is_alive() for one in found.engines):
            for launch in launches:
                _check(launch)
            record.give_orders(home, launches, policy)
        return _supervised(home, run).engines


def run_here(launches: Sequence[Launch], *, run: Path | None = None, policy: Policy = Policy()) -> int:  # noqa: B008 - frozen
    """Supervises in this very process until the engines have ended, as a service does; returns the exit code.

    Raises:
        StateError: another supervisor is at work.
    """
    from glm_lsp.engine.local import supervisor  # noqa: PLC0415 - only where it is run

    home = record.home_of(run)
    with _lock(home):
        found = record.read(home)
        if found is None or not (found.is_alive() or any(one.is_alive() for one in found.engines)):
            for launch in launches:
                _check(launch)
            record.give_orders(home, launches, policy)
    code = supervisor.supervise(home, logs=_logs(run))
    if code == supervisor.TAKEN:
        raise StateError("This host's engine runs already.", hint="`glm-lsp engine stop` ends it.")
    return code


def ensure_supervised(*, run: Path | None = None) -> None:
    """Starts a supervisor for engines that have lost theirs."""
    home = record.home_of(run)
    with _lock(home):
        found = record.read(home)
        if found is not None and not found.is_alive() and any(one.is_alive() for one in found.engines):
            _supervised(home, run)


def wait(running: Running | None = None, *, run: Path | None = None) -> Iterator[Progress]:
    """Yields how far the starting engines are, until they answer; raises as `start` does.

    Args:
        running: the one that is waited for; None for all of them.
        run: as for `start`.
    """
    home = record.home_of(run)
    while True:
        found = record.read(home)
        if found is None:
            raise LaunchFailed("The engine was stopped while it started.", hint="Start it again.")
        engines = [one for one in found.engines if running is None or one.url == running.url]
        for one in engines:
            if one.state == "crashed":
                raise _failed(one)
            if one.state in {"stopped", "draining"}:
                raise LaunchFailed("The engine was stopped while it started.", hint="Start it again.")
        if all(one.state in {"running", "asleep"} for one in engines):
            yield Progress("ready", None, 100)
            return
        if not found.is_alive():
            ensure_supervised(run=run)
        last = min(engines, key=lambda one: one.overall)
        yield Progress(
            last.detail.removesuffix(f" {last.percent} %") or "starting", last.percent, min(last.overall, 99)
        )
        time.sleep(0.1)


def status(*, run: Path | None = None) -> Status:
    """Looks at this host's first engine without waiting for it."""
    return next(iter(statuses(run=run)), Status("stopped"))


def statuses(*, run: Path | None = None, memory: bool = True) -> tuple[Status, ...]:
    """Looks at all of them; empty where none was started since the last stop. Without memory it is quicker."""
    home = record.home_of(run)
    found = record.read(home)
    if found is None:
        return ()
    supervised = found.is_alive()
    stuck = supervised and record.lease_age(home) > record.LEASE
    return tuple(_status_of(one, found, supervised=supervised, stuck=stuck, memory=memory) for one in found.engines)


def stop(*, run: Path | None = None, now: bool = False) -> bool:
    """Stops the engines with everything they started; False when there were none.

    What runs is given the policy's time to come to its end, and new requests stay away meanwhile; with `now` it is not.
    A recorded process that is gone, or whose pid is somebody else's by now, is only struck from the record.
    """
    home = record.home_of(run)
    with _lock(home):
        found = record.read(home)
        if found is None:
            return False
        given = record.orders(home)
        policy = given.policy if given is not None else Policy()
        there = any(one.is_alive() for one in found.engines) or found.is_alive()
        if found.is_alive():
            patience = (0 if now else policy.drain) + policy.grace + 15
            _end_supervisor(found, patience, signal.SIGINT if now else signal.SIGTERM)
        found = record.read(home) or found  # it may have started others meanwhile
        for one in found.engines:
            child.end(one, policy.grace)
        record.remove(home)
        return there


def tell_to_sleep(*, run: Path | None = None, patience: float = 300.0) -> None:
    """Puts the engines to sleep, once nothing runs.

    Raises:
        Unreachable: none runs.
        LaunchFailed: they cannot, or did not.
    """
    _signal_supervisor("asleep", signal.SIGUSR1, run, patience)


def wake(*, run: Path | None = None, patience: float = 300.0) -> None:
    """Wakes them; raises as `tell_to_sleep` does."""
    _signal_supervisor("running", signal.SIGUSR2, run, patience)


def tell_to_wake(*, run: Path | None = None) -> None:
    """Asks for them to be woken and does not wait for it."""
    ensure_supervised(run=run)
    found = record.read(record.home_of(run))
    if found is not None and found.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGUSR2)


def log_path(number: int = 0, *, run: Path | None = None) -> Path:
    """Where the log of a present or the last engine is."""
    return record.log_of(run, number)


# --- the supervisor ----------------------------------------------------------------------------------------------


def _supervised(home: Path, run: Path | None) -> Record:
    """Starts a supervisor and returns once it has written what it does."""
    before = record.read(home)
    logs = _logs(run)
    log = logs / "supervisor.log"
    child.rotate(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "glm_lsp.engine.local.supervisor", str(home), str(logs)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,  # a folder where nothing can shadow our modules
            start_new_session=True,
        )
    _ours[:] = [one for one in _ours if one.poll() is None] + [process]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = record.read(home)
        if found is not None and found != before and found.pid == process.pid and _has_begun(found):
            return found
        if process.poll() is not None and (found is None or not found.is_alive()):
            if found is not None and found.pid == process.pid:  # it has been and gone, and says why
                return found
            break
        time.sleep(0.02)
    said = "\n".join(last_lines(log, 3))
    raise LaunchFailed(f"The engine's supervisor did not start.\n{said}".strip(), hint=f"Its log: {log}")


def _has_begun(found: Record) -> bool:
    """Whether each engine has a process, or a reason why not."""
    return all(one.pid or one.state != "starting" for one in found.engines)


_ours: list[subprocess.Popen[bytes]] = []
"""Supervisors that this very process started, which go on when it ends: their parent has to collect them."""


def _end_supervisor(found: Record, patience: float, how: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(found.pid)
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            _wait_for(process, patience)
        except psutil.TimeoutExpired:
            process.kill()
            _wait_for(process, 5)


def _wait_for(process: psutil.Process, patience: float) -> None:
    ours = next((one for one in _ours if one.pid == process.pid), None)
    if ours is None:
        process.wait(patience)
        return
    try:
        ours.wait(patience)
    except subprocess.TimeoutExpired:
        raise psutil.TimeoutExpired(patience, process.pid) from None


def _signal_supervisor(wanted: State, how: signal.Signals, run: Path | None, patience: float) -> None:
    home = record.home_of(run)
    found = record.read(home)
    if found is None or not any(one.state in {"running", "asleep"} for one in found.engines):
        raise Unreachable("No engine of this host runs.", hint="Start one with `glm-lsp engine start`.")
    if not any(one.can_sleep for one in found.engines):
        raise LaunchFailed(
            f"{found.engines[0].label} was started without the ability to sleep.",
            hint="Start it with --sleep-mode; vLLM sleeps on GPUs only.",
        )
    ensure_supervised(run=run)
    os.kill((record.read(home) or found).pid, how)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        now = record.read(home)
        if now is not None and all(one.state == wanted for one in now.engines if one.can_sleep):
            return
        time.sleep(0.1)
    raise LaunchFailed(f"It is not {wanted} after {patience:.0f} s.", hint="Look at `glm-lsp engine logs`.")


# --- what there is to say ----------------------------------------------------------------------------------------


def _status_of(one: Running, found: Record, *, supervised: bool, stuck: bool, memory: bool) -> Status:
    alive = one.is_alive()
    told = Status(
        one.state,
        one.url,
        one.served_name,
        one.label,
        one.note,
        one.pid,
        log=one.log,
        detail=one.detail,
        hint=one.hint,
        percent=one.overall,
        restarts=one.restarts,
        supervisor=found.pid if supervised else 0,
    )
    if not supervised and not alive:
        if one.state in {"crashed", "stopped"}:
            return replace(told, pid=0)
        if found.created < psutil.boot_time():  # the machine was restarted since: nothing crashed
            return Status("stopped")
        cause = diagnose(Path(one.log), None)
        return replace(told, state="crashed", detail=cause.cause, hint=cause.hint)
    if not alive:
        return told
    detail = "its supervisor is stuck; `glm-lsp engine stop` ends both" if stuck else told.detail
    taken = child.memory(one) if memory else 0
    return replace(told, uptime_s=round(time.time() - one.created, 1), memory_bytes=taken, detail=detail)


def _failed(one: Running) -> LaunchFailed:
    shown = "\n".join(f"  {line}" for line in last_lines(Path(one.log), 5))
    again = "restart" if one.restarts else "start"
    hint = f"{one.hint} The whole log: {one.log}".strip()
    return LaunchFailed(f"{one.label} did not {again}: {one.detail}\n{shown}", hint=hint)


def _check(launch: Launch) -> None:
    """Refuses before anything is written down what cannot be started at all."""
    if install.probe(launch.python) is None:
        raise LaunchFailed(f"{launch.python} has no vLLM.", hint="Run `glm-lsp engine install`.")


def _logs(run: Path | None) -> Path:
    return places.private(places.state_dir() if run is None else run)


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    try:
        with FileLock(home / "engine.lock", timeout=180):
            yield
    except Timeout:
        raise StateError(
            "Another program has been starting or stopping the engine for three minutes.",
            hint=f"If none is, remove {home / 'engine.lock'}.",
        ) from None
