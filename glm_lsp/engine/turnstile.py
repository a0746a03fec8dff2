"""Who goes first at one engine: all of a person's processes on this host pass one turnstile, made of locks on files.

Never talks to the engine, and never stops work but where this host's own engine is being stopped: where its folder
cannot be used, everybody passes at once.

An engine serves some number of requests at a time, and those beyond wait in a line that knows nothing of who asks. So
requests line up here instead. A request that is served holds the lock of one slot's file, which its process loses by
ending, however it ends. Slots that are kept for people are never taken by requests without one, so that whoever sits at
an editor finds one free. Those who wait have a file each, whose name is their place in the order and which they touch
from time to time: one that is not touched any more, as its process was killed or stopped, is passed over.

Nobody starves: the order is that of arrival, and a request of priority 10 counts as one that came a minute later.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from glm_lsp.engine.local import places
from glm_lsp.errors import StateError, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

AGENT, HEADLESS = 5, 10
"""Priorities of other agents' requests, and of those that nobody waits for; a person's have 0. Lower goes first."""

SECONDS_A_STEP = 6.0
"""How much later a request counts as having come, for each step of its priority."""

_QUIET = 0.25  # seconds of waiting of which nothing is said
_FIRST, _FIRST_WITHOUT, _LAST = 0.02, 0.05, 0.2  # seconds between two looks, for the first in line and at most
_FRONT = 4  # as many of the line look for a free slot each time; those behind them only at their place
_THOROUGH = 1.0  # seconds after which everyone looks
_BEAT, _ALIVE, _GONE = 0.5, 3.0, 60.0  # seconds: between touches, until one is passed over, until its file is removed
_PATIENCE = 1.0  # seconds for the lock of the order, which is held for less than a millisecond


def ticket(url: str, *, priority: int = 0, limit: int = 0, run: Path | None = None) -> Ticket:
    """Takes a ticket for one request; it costs nothing where nobody said how many requests the engine serves.

    Args:
        url: the engine's address; its spellings `localhost` and `127.0.0.1`, with `/v1` or without, are one.
        priority: lower goes first; above 0 nobody waits at a screen.
        limit: requests at a time, of all processes; 0 for one less than `--max-num-seqs` of this host's own engine.
        run: the private folder of running processes; None for the person's own.
    """
    try:
        home = places.run_dir() if run is None else run
        limit = limit or max(_seats(url, home) - 1, 0)
        return Ticket(_Line.at(home, url, limit) if limit else None, priority, closed=lambda: _is_closed(url, home))
    except (StateError, OSError) as error:
        return Ticket(None, priority, problem=_problem(error))


def in_line(place: int) -> str:
    """`busy · 2nd in line`."""
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"busy · {place}{ending} in line"


class Ticket:
    """One request's right to be served, once it is its turn; give it back in any case.

    Attributes:
        problem: why it lets everybody pass, as a sentence; empty where it works.
    """

    def __init__(
        self, line: _Line | None, priority: int, *, problem: str = "", closed: Callable[[], bool] = lambda: False
    ) -> None:
        self.problem = problem
        self._closed = closed
        self._line = line
        due = time.time_ns() + int(priority * SECONDS_A_STEP * 1e9)
        self._name = f"{due:020d}{_WITHOUT if priority > 0 else _PERSON}{os.getpid()}-{next(_numbers)}"
        self._slot: int | None = None  # the open file whose lock is held
        self._came = time.monotonic()
        self._waits = False
        self._touched = self._looked = 0.0
        self._told = 0
        self._called = asyncio.Event()

    async def moved(self) -> int:
        """Waits for the next change of the place in line and returns it, counted from 1; 0 once it is our turn.

        A wait too short to speak of is not told. Cancelling leaves the ticket as it is, to be given back.

        Raises:
            Unreachable: the engine is this host's own and is being stopped: it only ends what it has begun.
        """
        if self._closed():
            raise _stopping()
        while self._line is not None and self._slot is None:
            try:
                place = await self._look(self._line)
            except OSError as error:  # the disk is full or read-only, or has no locks
                self.problem = _problem(error)
                self.give_back()
                self._line = None
                break
            if place and place != self._told and time.monotonic() - self._came >= _QUIET:
                self._told = place
                return place
            if place:
                await self._rest(place)
                if self._closed():
                    raise _stopping()
        return 0

    def give_back(self) -> None:
        """Leaves the line, or lets the next one have the slot; safe to call twice."""
        if self._line is None:
            return
        if self._waits:
            self._leave(self._line)
        if self._slot is not None:
            _let_go(self._slot)
            self._slot = None
        _call(self._line.folder)

    async def _look(self, line: _Line) -> int:
        """Looks where we are, and whether there is a slot for us; returns as `moved` does."""
        now = time.monotonic()
        if self._waits:
            if now - self._touched >= _BEAT:
                self._touch(line, now)
            if now - self._looked < _THOROUGH:
                with os.scandir(line.waiting) as files:
                    before = sum(file.name < self._name for file in files)
                if before >= _FRONT or _has_neighbour_before(line.folder, self._name):
                    return before + 1
        self._looked = now
        async with line.order():
            taken, before = line.take(self._name)
            if taken is None:
                if not self._waits:
                    self._waits = True
                    self._touch(line, now)
                    _here.setdefault(line.folder, {})[self._name] = (asyncio.get_running_loop(), self._called)
                return before + 1
            self._slot = taken
        if self._waits:
            self._leave(line)
            _call(line.folder)  # there may be a slot for the next one too
        return 0

    def _leave(self, line: _Line) -> None:
        self._waits = False
        _here.get(line.folder, {}).pop(self._name, None)
        with contextlib.suppress(OSError):
            Path(self._file(line)).unlink()

    async def _rest(self, place: int) -> None:
        """Waits a moment, the longer the farther behind; less where one of this process's requests has ended."""
        try:
            first = _FIRST if _is_person(self._name) else _FIRST_WITHOUT
            async with asyncio.timeout(min(first * place, _LAST)):
                await self._called.wait()
        except TimeoutError:
            return
        self._called.clear()
        self._looked = 0.0

    def _touch(self, line: _Line, now: float) -> None:
        self._touched = now
        os.close(os.open(self._file(line), os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(self._file(line))

    def _file(self, line: _Line) -> str:
        return f"{line.waiting}/{self._name}"


_PERSON, _WITHOUT = "p", "w"  # in a ticket's name, behind the twenty digits of its time
_numbers = itertools.count()

_here: dict[Path, dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
"""Those of this process who wait, by line and name, so that they need not look to learn that a slot is free."""


@dataclass(frozen=True, slots=True)
class _Line:
    """The files of one engine's turnstile.

    Attributes:
        folder: where they are.
        slots: how many requests are served at a time.
        kept: how many of these, the first ones, are for people alone.
    """

    folder: Path
    slots: int
    kept: int

    @classmethod
    def at(cls, run: Path, url: str, slots: int) -> _Line:
        folder = run / "turnstile" / hashlib.sha256(_plain(url).encode()).hexdigest()[:16]
        line = cls(folder, slots, max(1, slots // 16) if slots > 1 else 0)
        Path(line.waiting).mkdir(mode=0o700, parents=True, exist_ok=True)
        return line

    @property
    def waiting(self) -> str:
        """The folder with one file for each who waits."""
        return f"{self.folder}/waiting"

    @contextlib.asynccontextmanager
    async def order(self) -> AsyncIterator[None]:
        """Holds the lock under which slots are given out, so that two do not look at once."""
        lock = os.open(f"{self.folder}/order", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            until = time.monotonic() + _PATIENCE
            # Who holds it for longer was stopped in the middle of it: then an uneven line is better than none.
            while not _locked(lock) and time.monotonic() < until:  # noqa: ASYNC110 - no event tells of other processes
                await asyncio.sleep(0.002)
            yield
        finally:
            _let_go(lock)

    def take(self, name: str) -> tuple[int | None, int]:
        """Takes a slot for the ticket of this name, where those before it leave one; also says how many of them wait.

        Those before it who have a slot to go to, and only have not looked yet, are not counted.
        """
        before = sorted(self._alive_before(name))
        if not before:
            tried = map(self._try, self._wished(name))
            return next((slot for slot in tried if slot is not None), None), 0
        held: list[int] = []
        kept: list[int] = []
        rest: list[int] = []
        mine: int | None = None
        stuck = 0
        try:
            for number in range(self.slots):
                if (slot := self._try(number)) is not None:
                    held.append(slot)
                    (kept if number < self.kept else rest).append(slot)
            for one in before:
                free = kept if kept and _is_person(one) else rest
                if free:
                    free.pop()
                else:
                    stuck += 1
            free = kept if kept and _is_person(name) else rest
            mine = free.pop() if free else None
        finally:
            for slot in held:
                if slot != mine:
                    _let_go(slot)
        return mine, stuck

    def _wished(self, name: str) -> Iterable[int]:
        """The slots that a ticket may have, in the order in which they are tried."""
        rest = range(self.kept, self.slots)
        turned = os.getpid() % len(rest)  # so that not all processes begin at the same one
        kept = range(self.kept) if _is_person(name) else ()
        return (*kept, *rest[turned:], *rest[:turned])

    def _try(self, number: int) -> int | None:
        """Locks a slot's file and returns it, open; None where it is somebody's."""
        slot = os.open(f"{self.folder}/slot-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _locked(slot):
                return slot
        except OSError:
            os.close(slot)
            raise
        os.close(slot)
        return None

    def _alive_before(self, name: str) -> Iterator[str]:
        """The tickets of those who wait, are there and come first; files of those long gone are removed."""
        now = time.time()
        with os.scandir(self.waiting) as files:
            for file in files:
                if file.name >= name:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    age = abs(now - file.stat().st_mtime)  # a clock that was set back makes nobody young for ever
                    if age < _ALIVE:
                        yield file.name
                    elif age > _GONE:
                        Path(file).unlink()


def _is_person(name: str) -> bool:
    return name[20:21] == _PERSON


def _locked(file: int) -> bool:
    """Locks an open file, unless somebody else has: flock(2), by which two open files of one process differ too."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(file: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)  # by name, since a process just being started may have the file open too
    os.close(file)


def _call(folder: Path) -> None:
    """Has the first of those who wait here look again: of people and of the others, as slots are kept for the former."""
    here = _here.get(folder, {})
    for kind in (True, False):
        first = min((name for name in here if _is_person(name) == kind), default=None)
        if first is not None:
            loop, called = here[first]
            with contextlib.suppress(RuntimeError):  # its loop has ended, and with it the wait
                loop.call_soon_threadsafe(called.set)


def _has_neighbour_before(folder: Path, name: str) -> bool:
    """Whether another one of this process and kind comes first, and will call when it has its slot."""
    return any(other < name and _is_person(other) == _is_person(name) for other in _here.get(folder, {}))


class _Engine(msgspec.Struct):
    """What the record of this host's own engines says of one, as far as it matters here."""

    url: str
    command: tuple[str, ...]
    state: str = ""


class _Own(msgspec.Struct):
    engines: tuple[_Engine, ...]


def _own(url: str, run: Path) -> _Engine | None:
    """What is known of this host's own engine at an address; None for another engine."""
    try:
        known = msgspec.json.decode((run / "engine.json").read_bytes(), type=_Own).engines
    except (OSError, msgspec.DecodeError):
        return None
    return next((one for one in known if _plain(one.url) == _plain(url)), None)


def _seats(url: str, run: Path) -> int:
    """How many requests this host's own engine serves at a time; 0 for another engine, and where nobody said."""
    own = _own(url, run)
    words = [part for word in own.command for part in word.split("=", 1)] if own is not None else []
    for name, value in itertools.pairwise(words):
        if name.replace("_", "-") == "--max-num-seqs" and value.isdecimal():
            return int(value)
    return 0


def _is_closed(url: str, run: Path) -> bool:
    own = _own(url, run)
    return own is not None and own.state == "draining"


def _stopping() -> Unreachable:
    return Unreachable(
        "This host's engine is being stopped: it ends what it has begun and takes nothing new.",
        hint="Start it again with `glm-lsp engine start`.",
        retryable=True,
    )


def _plain(url: str) -> str:
    """One spelling for each address."""
    if url.startswith("unix:"):
        return "unix:/" + url.removeprefix("unix:").lstrip("/")
    return url.rstrip("/").removesuffix("/v1").replace("://localhost", "://127.0.0.1", 1)


def _problem(error: Exception) -> str:
    why = error.message if isinstance(error, StateError) else str(error)
    return f"Requests do not line up, so an editor may wait behind background work: {why}"
