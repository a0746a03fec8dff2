"""What all processes of this host know of its engine: what to start, by which rules, and what runs now.

Never starts, asks or ends anything; only the supervisor writes the record.

A process is named by its pid and the time it began, so that a pid which another program has got since is not taken
for ours. The supervisor touches the record's file every second: that is its lease, and a stopped supervisor loses it.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import psutil

from glm_lsp.engine.local import places
from glm_lsp.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

State = Literal["stopped", "starting", "running", "restarting", "asleep", "draining", "crashed"]

LEASE = 20.0
"""Seconds without a touch after which a supervisor that is there counts as stuck."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One `vllm serve` to start.

    Attributes:
        python: the interpreter that has vLLM.
        model: a folder or the name of a model, as `vllm serve` takes it.
        served_name: the name that requests use.
        label: the name that people read, such as `GLM-4.7`.
        flags: further words of `vllm serve`; where there is no `--uds` among them, the address is chosen here.
        environment: variables set over our own environment.
        note: what a person should know about this model, in one line; empty for the real one.
        gpus: how many GPUs this host had when it was planned; 0 where none is used.
    """

    python: Path
    model: str
    served_name: str
    label: str
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""
    gpus: int = 0

    def value(self, flag: str) -> str:
        """What stands behind a flag; empty where it is not there."""
        words = [part for word in self.flags for part in (word.split("=", 1) if word.startswith("--") else [word])]
        return next((b for a, b in itertools.pairwise(words) if a == flag), "")

    @property
    def can_sleep(self) -> bool:
        """Whether vLLM was asked to be able to give its GPUs' memory back."""
        return "--enable-sleep-mode" in self.flags


@dataclass(frozen=True, slots=True)
class Policy:
    """How an engine is kept; all times are in seconds.

    Attributes:
        restarts: how often in a row it is started again before it is given up.
        pause: before the first restart; doubled for each further one.
        longest_pause: the most of it.
        well_after: of good work after which restarts are counted from 0 again.
        patience: without a new line in the log, or an answer, while it starts.
        hang: without an answer or any progress, once it runs.
        probe_every: between two requests for one token, while it rests.
        drain: that running requests are given when it is stopped.
        grace: between asking a process to end and ending it.
        idle_stop: without a request after which it is stopped; 0 for never.
        idle_sleep: without a request after which it is put to sleep; 0 for never.
        log_bytes: size at which the log is put aside.
        tick: between two looks.
    """

    restarts: int = 5
    pause: float = 2.0
    longest_pause: float = 120.0
    well_after: float = 600.0
    patience: float = 900.0
    hang: float = 120.0
    probe_every: float = 60.0
    drain: float = 60.0
    grace: float = 15.0
    idle_stop: float = 0.0
    idle_sleep: float = 0.0
    log_bytes: int = 50_000_000
    tick: float = 1.0


class Orders(msgspec.Struct, frozen=True):
    """What a supervisor is started with."""

    launches: tuple[Launch, ...]
    policy: Policy


class Running(msgspec.Struct, frozen=True):
    """One engine: which process it is, where it answers, and how it is.

    Attributes:
        pid: of `vllm serve`; 0 between two starts.
        created: when that process began, in seconds since the epoch.
        detail: the stage while it starts, else why it is as it is; `2 of 5: out of GPU memory` while it restarts.
        hint: one thing to do, where it was given up.
        percent: of that stage, where it counts.
        overall: of the whole start, 0 to 100.
        restarts: how often in a row it was started again.
    """

    pid: int
    created: float
    url: str
    served_name: str
    label: str
    note: str
    log: str
    command: tuple[str, ...]
    state: State = "starting"
    detail: str = ""
    hint: str = ""
    percent: int | None = None
    overall: int = 0
    restarts: int = 0
    can_sleep: bool = False

    @property
    def socket(self) -> Path:
        """The file at which it listens."""
        return Path(self.url.removeprefix("unix:"))

    def is_alive(self) -> bool:
        """Whether its process is there."""
        return is_alive(self.pid, self.created)


class Record(msgspec.Struct, frozen=True):
    """The state file: who supervises, and the engines. `created` as in Running."""

    pid: int
    created: float
    engines: tuple[Running, ...]

    def is_alive(self) -> bool:
        """Whether the supervisor's process is there."""
        return is_alive(self.pid, self.created)


def is_alive(pid: int, created: float) -> bool:
    """Whether the process of that pid is the one that began then."""
    if pid <= 0:
        return False
    try:
        process = psutil.Process(pid)
        # psutil reckons from the boot time, to the clock tick.
        return abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def read(home: Path) -> Record | None:
    """The record; None where there is none, or half of one, or another version's: what it named is not provable."""
    return _decoded(home / RECORD, Record)


def write(home: Path, record: Record) -> None:
    """Replaces the record as a whole."""
    _replace(home / RECORD, record)


def remove(home: Path) -> None:
    """Strikes everything from the record."""
    (home / RECORD).unlink(missing_ok=True)


def touch(home: Path) -> None:
    """Renews the supervisor's lease."""
    with contextlib.suppress(OSError):
        (home / RECORD).touch()


def lease_age(home: Path) -> float:
    """Seconds since the lease was renewed."""
    try:
        return abs(time.time() - (home / RECORD).stat().st_mtime)
    except OSError:
        return 0.0


def give_orders(home: Path, launches: Sequence[Launch], policy: Policy) -> None:
    """Leaves what the supervisor shall do where it finds it."""
    _replace(home / ORDERS, Orders(tuple(launches), policy))


def orders(home: Path) -> Orders | None:
    """What the supervisor was, or is to be, started with."""
    return _decoded(home / ORDERS, Orders)


RECORD = "engine.json"
ORDERS = "engine-orders.json"


def home_of(run: Path | None) -> Path:
    """The folder of lock, record and socket."""
    return places.run_dir() if run is None else places.private(run)


def log_of(run: Path | None, number: int = 0) -> Path:
    """Where the log of an engine is."""
    return (places.state_dir() if run is None else run) / (f"engine-{number}.log" if number else "engine.log")


def _decoded(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind, dec_hook=lambda kind, value: kind(value))
    except (OSError, msgspec.DecodeError):
        return None


def _replace(path: Path, value: Any) -> None:
    """Writes a file as a whole; only its owner can read it (mkstemp's mode)."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(msgspec.json.encode(value, enc_hook=str))
        Path(file.name).replace(path)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.", hint="Make room there.") from error
