"""The processes that read and parse files, replaced where one dies, and ended where they have nothing to do.

Never lets one bad file stop the others: what was under way with it is done again, one file at a time.

A worker is a fresh Python, not a fork of the server with its threads, and knows nothing of the workspace's own modules:
it does not run in the workspace's folder.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from glm_lsp.index.extract import Job, Parsed, Reply, Words

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 10.0
"""What one file may take; a file that is parsed at all takes some tenths of a second."""

MEGABYTES = 2000
"""Address space of a worker; most of it is never touched."""

_START_SECONDS = 30.0
_IDLE_SECONDS = 10.0
_LAST_IDLE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Done:
    """A job's end.

    Attributes:
        job: what was asked; the jobs of single files where it had to be taken apart.
        reply: the answer; None where no worker could be started.
        last: whether nothing more comes of what was submitted.
    """

    job: Job
    reply: Reply | None
    last: bool = True


@dataclass(slots=True)
class Workers:
    """Up to `count` processes, each started when there is work for it.

    Attributes:
        count: processes at most.
        tell: is called with each end of a job, in a thread of ours.
        megabytes: address space of each.
    """

    count: int
    tell: Callable[[Done], None]
    megabytes: int = MEGABYTES
    _jobs: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _idle: int = 0
    _closed: bool = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that are there now."""
        with self._lock:
            return tuple(process.pid for process in self._processes)

    def submit(self, job: Job) -> None:
        """Hands a job to the next worker that is free, starting one where there may be more."""
        with self._lock:
            if self._closed:
                return
            self._jobs.put(job)
            if self._jobs.qsize() > self._idle and len(self._threads) < self.count:
                last = not self._threads
                thread = threading.Thread(target=self._drive, args=(last,), name="index-worker", daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """Ends all of them, whatever they do."""
        with self._lock:
            self._closed = True
            processes, threads = list(self._processes), list(self._threads)
            for _ in threads:
                self._jobs.put(None)
        for process in processes:
            process.kill()
        for thread in threads:
            thread.join(5)

    def _drive(self, last: bool) -> None:
        """One worker's life, with as many processes as it takes."""
        process: subprocess.Popen[bytes] | None = None
        try:
            while (job := self._next(last=last)) is not None:
                process = self._carry_out(process, job)
        finally:
            self._end(process)

    def _next(self, *, last: bool) -> Job | None:
        """The next job; None where there was none for a while, or everything ends."""
        with self._lock:
            self._idle += 1
        job: Job | None = None
        with contextlib.suppress(queue.Empty):
            job = self._jobs.get(timeout=_LAST_IDLE_SECONDS if last else _IDLE_SECONDS)
        with self._lock:
            self._idle -= 1
            if job is None and not self._closed and not self._jobs.empty():
                return self._jobs.get()  # it came in the very moment
            if job is None:
                self._threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        return job

    def _carry_out(
        self, process: subprocess.Popen[bytes] | None, job: Job, *, last: bool = True
    ) -> subprocess.Popen[bytes] | None:
        """Gives a job to the worker; the process that is there afterwards comes back."""
        if process is None:
            process = self._start()
        if process is None:
            if not self._closed:
                self.tell(Done(job, None, last))
            return None
        reply = _ask(process, job)
        if reply is not None:
            self.tell(Done(job, reply, last))
            return process
        why = _end_of(process)
        self._end(process)
        if self._closed:
            return None
        if len(job.paths) == 1:
            failed = Reply(parsed=(Parsed(why=why),)) if job.tier else Reply(words=(Words(why=why, hopeless=True),))
            self.tell(Done(job, failed, last))
            return None
        after: subprocess.Popen[bytes] | None = None
        for number, path in enumerate(job.paths):
            single = msgspec.structs.replace(
                job,
                paths=(path,),
                expected=job.expected[number : number + 1],
                texts=job.texts[number : number + 1],
            )
            after = self._carry_out(after, single, last=last and number == len(job.paths) - 1)
        return after

    def _start(self) -> subprocess.Popen[bytes] | None:
        # `-P` and the folder: a module of the workspace must not be taken for one of Python's.
        command = [sys.executable, "-P", "-m", "glm_lsp.index.extract", str(self.megabytes)]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", bufsize=0
            )
        except OSError:
            return None
        with self._lock:
            self._processes.add(process)
            closed = self._closed
        if closed or _frame(process, _START_SECONDS) is None:
            self._end(process)
            return None
        return process

    def _end(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        with self._lock:
            self._processes.discard(process)


def _ask(process: subprocess.Popen[bytes], job: Job) -> Reply | None:
    """The worker's answer; None where it died, or is far past the time that its own limits leave it."""
    data = msgspec.msgpack.encode(job)
    assert process.stdin is not None  # noqa: S101 - for the type checker
    try:
        process.stdin.write(struct.pack("=I", len(data)) + data)
    except OSError:
        return None
    frame = _frame(process, job.seconds * len(job.paths) + 5)
    try:
        return None if frame is None else _DECODER.decode(frame)
    except msgspec.MsgspecError:
        return None


def _frame(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    until = time.monotonic() + seconds
    head = _bytes(process, 4, until)
    return None if head is None else _bytes(process, struct.unpack("=I", head)[0], until)


def _bytes(process: subprocess.Popen[bytes], number: int, until: float) -> bytes | None:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    handle = process.stdout.fileno()
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        while number:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(handle, min(number, 1 << 20))
            if not part:
                return None
            parts.append(part)
            number -= len(part)
    return b"".join(parts)


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """Why it is gone, for a person to read."""
    try:
        code = process.wait(0.5)
    except subprocess.TimeoutExpired:
        return "it kept its worker busy for too long"
    if code == -signal.SIGALRM:
        return "it kept its worker busy for too long"
    name = signal.Signals(-code).name if code < 0 and -code in set(signal.Signals) else f"code {code}"
    return f"it ended its worker ({name})"


_DECODER = msgspec.msgpack.Decoder(Reply)
