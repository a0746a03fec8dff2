"""Keeps the index current: verifies what there is, reads words, has definitions parsed, and writes it all down.

Never runs in two threads at once: whoever builds holds the rows, and all others only ask.

Asking and answering go through one inbox, which holds the ends of jobs and, as None, the wish to be heard.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from glm_lsp.index import extract, git
from glm_lsp.index.keep import language
from glm_lsp.index.pending import OPEN, Pending, Ranks
from glm_lsp.index.verify import Changes, compare, stored
from glm_lsp.index.walk import look, walk
from glm_lsp.index.workers import Done, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from glm_lsp.errors import StateError
    from glm_lsp.index.current import Content
    from glm_lsp.index.keep import Keeper
    from glm_lsp.index.verify import Stored
    from glm_lsp.index.walk import Listing

BATCH = 500
"""Files in one transaction."""

FEW = 64
"""So many files are read for their words here at once."""

HERE = 400
"""So many files are read here, which is done before a process has started; for more, processes are started."""

SMALL = 1_000_000
"""Bytes of a file that is read for its words in this process."""

WRITE_SECONDS = 0.3
"""How long what was read may wait for company before it is committed."""

MANY = 2000
"""Files still to come from which on they are written for speed: in larger batches, less often."""

MANY_SECONDS = 1.5
"""As `WRITE_SECONDS`, for many files."""

FLUSH_SECONDS = 3.0
"""How long the word lists of saved files may stay in memory; after a crash, such files are read again."""

LOOSE = 5_000
"""Contents that no file holds and that are kept all the same; or twice as many as there are files."""


State = Literal["verifying", "tier 0", "tier 1", "ready", "stopped"]

Progress: TypeAlias = "Callable[[str, int, int], None]"
"""Is told "files", "words" or "symbols", and how many of how many are done."""


class Stop(Protocol):
    """Says whether to end; a `threading.Event` does."""

    def is_set(self) -> bool:
        """Whether it is time to end."""
        ...


@dataclass(slots=True)
class Builder:
    """The one that writes.

    Attributes:
        root: the workspace's real path.
        keeper: writes down what comes.
        wanted: says which of some paths belong into the index.
        most: bytes of a file that is parsed at most.
        count: worker processes at most.
        listing: what the last walk found; None before the first.
        stage: what is being done.
        notes: what a person should be told.
        seconds: how long the last stretch of work took.
        looked: when the last look at everything began, in seconds since 1970; 0 before the first has ended.
        fault: what a query ran into, for the builder to run into too.
    """

    root: Path
    keeper: Keeper
    wanted: Callable[[Iterable[str]], set[str]]
    most: int
    count: int
    listing: Listing | None = None
    stage: State = "verifying"
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    looked: float = 0.0
    fault: StateError | None = None
    _ranks: Ranks = field(default_factory=Ranks)
    _heard: threading.Condition = field(default_factory=threading.Condition)
    _all_asked: bool = True
    _asked: set[str] = field(default_factory=set)
    _opened: frozenset[str] | None = None
    _resting: bool = False
    _inbox: queue.SimpleQueue[Done | None] = field(default_factory=queue.SimpleQueue)
    _workers: Workers | None = None
    _to_read: Pending[str] = field(init=False)
    _to_parse: Pending[int] = field(init=False)
    _parsing: dict[tuple[str, bytes], int] = field(default_factory=dict)
    _reading: set[str] = field(default_factory=set)
    _under_way: int = 0
    _read: list[tuple[str, extract.Words]] = field(default_factory=list)
    _parsed: list[tuple[tuple[str, bytes], extract.Parsed]] = field(default_factory=list)
    _so_far: int = 0
    _written: float = 0.0
    _grounded: bool = False
    _hurrying: bool = False

    def __post_init__(self) -> None:
        self._to_read, self._to_parse = Pending(self._ranks), Pending(self._ranks)

    # --- asking, from any thread -----------------------------------------------------------------------------------

    def ask(self, paths: Collection[str] | None = None) -> None:
        """Asks for another look at these files, or at everything."""
        with self._heard:
            self._all_asked |= paths is None
            self._asked.update(paths or ())
        self._inbox.put(None)

    def opened(self, paths: Collection[str]) -> None:
        """Says which files are open, and so come first."""
        with self._heard:
            self._opened = frozenset(paths)
        self._inbox.put(None)

    def wake(self) -> None:
        """Has the builder look up, such as at its sign to end."""
        self._inbox.put(None)

    def settled(self, tier: int) -> bool:
        """Whether nothing is left to do up to this tier."""
        with self._heard:
            return self._resting and self._done(tier)

    def wait(self, tier: int, timeout: float | None) -> bool:
        """Waits until that is so; False where it took longer."""
        with self._heard:
            return self._heard.wait_for(lambda: self.settled(tier), timeout)

    @property
    def pending(self) -> int:
        """Files that are still to be read or parsed."""
        return len(self._to_read) + len(self._reading) + len(self._to_parse) + len(self._parsing)

    def unread(self) -> set[str]:
        """Files whose words are not listed yet, or not again."""
        with self._heard:
            return {*self._asked, *self._to_read.paths(), *self._reading, *(path for path, _ in list(self._read))}

    @property
    def pids(self) -> tuple[int, ...]:
        """The worker processes that are there now."""
        return self._workers.pids if self._workers is not None else ()

    # --- working, in one thread ------------------------------------------------------------------------------------

    def load(self) -> Stored:
        """Has queries see the rows as they are; gives them."""
        before = stored(self.keeper.rows)
        self.keeper.current.replace(dict(before.contents), dict(before.details))
        return before

    def work(self, stop: Stop, *, until_settled: bool, progress: Progress | None = None) -> None:
        """Works until everything is done, or until it is told to stop; raises StateError where it cannot write."""
        began = time.monotonic()
        try:
            while not stop.is_set():
                self._rest(resting=False)
                if (fault := self.fault) is not None:
                    self.fault = None
                    raise fault
                if self._heed(progress):
                    began = time.monotonic()
                self._read_few()
                self._hand_out()
                self._write_down(progress)
                idle = not self._under_way and self._done(1)
                if idle:
                    self._settle(began)
                    if until_settled:
                        return
                elif not self._under_way:
                    continue
                self._rest(resting=True)
                self._hear(FLUSH_SECONDS if idle else 0.2)
            self.stage = "stopped"
        finally:
            self._rest(resting=True)

    def follow(self) -> None:
        """Says that another process does the work, so that nobody waits for this one."""
        self.stage = "ready"
        with self._heard:
            self._all_asked, self._asked = False, set()
        self._rest(resting=True)

    def close(self) -> None:
        """Ends the workers, and keeps what is known so far."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None
        self.keeper.flush()

    def forget(self) -> None:
        """Begins anew, with the rows as they are now: the file was replaced."""
        self._to_read.clear()
        self._to_parse.clear()
        self._read, self._parsed, self.keeper.unflushed = [], [], 0
        self._reading.clear()
        self._parsing.clear()
        self.keeper.current.replace({}, {})
        self.keeper.failures.clear()
        with self._heard:
            self._all_asked = True

    def _rest(self, *, resting: bool) -> None:
        with self._heard:
            self._resting = resting
            if resting:
                self._heard.notify_all()

    def _done(self, tier: int) -> bool:
        words = not (self._all_asked or self._asked or self._to_read or self._reading or self._read)
        return words and (tier == 0 or not (self._to_parse or self._parsing or self._parsed))

    def _heed(self, progress: Progress | None) -> bool:
        """Carries out what was asked for; says whether there was anything."""
        with self._heard:
            everything, paths, opened = self._all_asked, self._asked, self._opened
            self._all_asked, self._asked, self._opened = False, set(), None
        if opened is not None:
            self._ranks.opened(opened)
            self._to_read.reorder()
            self._to_parse.reorder()
        if everything or (paths and self.listing is None):
            self._verify_all(progress)
        elif paths:
            self._verify(paths)
        return everything or bool(paths)

    def _verify_all(self, progress: Progress | None) -> None:
        self.stage = "verifying"
        now = time.time()
        with ThreadPoolExecutor(1, "index-walk") as beside:
            walking = beside.submit(walk, self.root)  # git answers while the rows are read
            before = self.load()
            if progress is not None:
                progress("files", 0, len(before.contents))
            self.listing = walking.result()
        wanted = self.wanted(self.listing.paths)
        if len(wanted) > 2 * len(before.contents):
            self._ranks.changed(self._lately())
        keeper = self.keeper
        changes = compare(self.listing, wanted, before, keeper.rows, language=language, worded=keeper.worded)
        self.listing = replace(self.listing, seen={})  # soon it will be untrue, and it is large
        for path in keeper.failures.keys() - wanted:  # it could not be read, so no row tells that it is gone
            del keeper.failures[path]
        self._grounded = False
        self._take(changes)
        self._to_parse.clear()
        busy = set(self._parsing.values())
        waiting = keeper.current.to_parse(self.most)
        self._to_parse.add({number: path for number, path in waiting.items() if number not in busy})
        if progress is not None:
            progress("files", len(wanted), len(wanted))
        keeper.collect(max(LOOSE, 2 * len(wanted)))
        self.looked = now

    def _verify(self, paths: Collection[str]) -> None:
        assert self.listing is not None  # noqa: S101 - for the type checker
        self.listing = look(self.listing, paths)
        known = self.keeper.current.contents
        touched = {path for path in paths if path in known} | {path for path in list(known) if _within(path, paths)}
        there = self.listing.path_set
        fresh = self.wanted([path for path in there if path in paths or _within(path, paths)])
        for path in paths:
            self.keeper.failures.pop(path, None)
        self._take(Changes(to_read=sorted(fresh), gone=sorted(touched - fresh)))

    def _take(self, changes: Changes) -> None:
        """Keeps what the comparison told, and puts the rest on the list."""
        self.keeper.changes(changes)
        self._to_read.drop(changes.gone)
        self._to_read.add({path: path for path in changes.to_read})
        self._wait_for_parser(changes.placed)

    def _wait_for_parser(self, placed: Iterable[tuple[str, int, Content]]) -> None:
        if not self._grounded:
            busy = set(self._parsing.values())
            waiting = {number: path for path, number, detail in placed if detail.waits(self.most)}
            self._to_parse.add({number: path for number, path in waiting.items() if number not in busy})

    def _lately(self) -> list[str]:
        """Files that changed of late: those that differ from the last commit, then those of the last commits."""
        assert self.listing is not None  # noqa: S101 - for the type checker
        if not self.listing.git:
            return []
        differing = [path for path in self.listing.paths if path not in self.listing.blobs]
        return [*differing[:1000], *git.recent(self.root)]

    # --- reading and parsing ---------------------------------------------------------------------------------------

    def _read_few(self) -> None:
        """Reads a few files here; large ones are left to a process."""
        if not self._to_read or self._reading or not (self._grounded or len(self._to_read) <= HERE):
            return
        taken = self._to_read.take(FEW)
        self._reading.update(taken)
        for path in taken:
            try:
                size = (self.root / path).lstat().st_size
            except OSError:
                size = 0
            if size > SMALL and not self._grounded:
                self._submit(extract.Job(0, os.fsencode(self.root), (os.fsencode(path),)))
            else:
                self._read.append((path, extract.read_words(os.fsencode(self.root), os.fsencode(path))))

    def _hand_out(self) -> None:
        """Keeps two jobs for each worker under way: open files' definitions, then words, then other definitions."""
        while self._under_way < 2 * self.count and not self._grounded:
            if self._to_parse and (not self._to_read or self._to_parse.first() == OPEN):
                self._submit(self._parse_job())
            elif self._to_read:
                self._submit(self._words_job())
            else:
                return

    def _words_job(self) -> extract.Job:
        number = max(1, min(100, len(self._to_read) // (3 * self.count)))
        paths = self._to_read.take(number)
        self.stage = "tier 0"
        return extract.Job(0, os.fsencode(self.root), tuple(map(os.fsencode, paths)))

    def _parse_job(self) -> extract.Job:
        self.stage = "tier 1"
        number = max(1, min(40, len(self._to_parse) // (3 * self.count)))
        taken: dict[str, bytes] = {}
        for content, path in self._to_parse.take(number).items():
            detail = self.keeper.current.details.get(content)
            if detail is None or self.keeper.current.contents.get(path) != content:
                others = self.keeper.current.holders(content)
                self._to_parse.add({content: others[0]} if others and detail is not None else {})
                continue
            taken[path] = detail.oid
            self._parsing[path, detail.oid] = content
        return extract.Job(1, os.fsencode(self.root), tuple(map(os.fsencode, taken)), tuple(taken.values()))

    def _submit(self, job: extract.Job) -> None:
        if not job.paths:
            return
        if self._workers is None:
            self._workers = Workers(self.count, self._inbox.put)
        if job.tier == 0:
            self._reading.update(map(os.fsdecode, job.paths))
        self._under_way += 1
        self._workers.submit(job)

    # --- hearing and writing down ----------------------------------------------------------------------------------

    def _hear(self, seconds: float) -> None:
        """Takes what the workers say, and waits so long for the first word."""
        with contextlib.suppress(queue.Empty):
            done = self._inbox.get(timeout=seconds)
            self._rest(resting=False)
            while True:
                if done is not None:
                    self._note(done)
                done = self._inbox.get_nowait()

    def _note(self, done: Done) -> None:
        paths = [os.fsdecode(path) for path in done.job.paths]
        self._under_way -= done.last
        if done.reply is None:
            self._ground(done, paths)
        elif done.job.tier:
            keys = zip(paths, done.job.expected, strict=True)
            self._parsed += zip(keys, done.reply.parsed, strict=True)
        else:
            self._read += zip(paths, done.reply.words, strict=True)

    def _ground(self, done: Done, paths: list[str]) -> None:
        """Goes on without workers: words are read here, and nothing is parsed."""
        if not self._grounded:
            self.notes.append("No worker process could be started: files are searched by their words only.")
        self._grounded = True
        for key in zip(paths, done.job.expected, strict=False):
            self._parsing.pop(key, None)
        self._to_parse.clear()
        if done.job.tier == 0:
            self._reading.difference_update(paths)
            self._to_read.add({path: path for path in paths})

    def _write_down(self, progress: Progress | None) -> None:
        """Commits what has come, in batches."""
        number = len(self._read) + len(self._parsed)
        many = len(self._to_read) + len(self._to_parse) > MANY
        seconds, batch = (MANY_SECONDS, 2 * BATCH) if many else (WRITE_SECONDS, BATCH)
        if not number or (self._under_way and number < batch and time.monotonic() - self._written < seconds):
            return
        if many and not self._hurrying:
            self._hurrying = True
            self.keeper.rows.file.hurry(much=True)
        current = self.keeper.current
        if self._read:
            read, self._read = self._read, []
            assert self.listing is not None  # noqa: S101 - for the type checker
            self._wait_for_parser(self.keeper.words(read, self.listing.blobs))
            self._reading.difference_update(path for path, _ in read)
            if progress is not None:
                done = len(current.contents)
                progress("words", done, done + len(self._to_read) + len(self._reading))
        if self._parsed:
            # What was under way when the rows were begun anew is answered all the same, and asked for again.
            parsed, self._parsed = {key: one for key, one in self._parsed if key in self._parsing}, []
            self.keeper.facts([(self._parsing[key], one) for key, one in parsed.items() if not one.changed])
            for (path, oid), one in parsed.items():
                content = self._parsing.pop((path, oid))
                if one.changed:  # it is not what it was, and perhaps not even there
                    self._to_read.add({path: path} if path in current.contents else {})
                    others = [other for other in current.holders(content) if other != path]
                    self._to_parse.add({content: others[0]} if others else {})
            self._so_far += len(parsed)
            if progress is not None:
                progress("symbols", self._so_far, self._so_far + len(self._to_parse) + len(self._parsing))
        self._written = time.monotonic()

    def _settle(self, began: float) -> None:
        """Ends a stretch of work."""
        if self.stage != "ready":
            self.stage = "ready"
            self.seconds = time.monotonic() - began
            self._so_far = 0
            if self._hurrying:
                self._hurrying = False
                self.keeper.rows.file.hurry(much=False)
        if time.monotonic() - self._written >= FLUSH_SECONDS:
            self.keeper.flush()


def _within(path: str, folders: Collection[str]) -> bool:
    """Whether one of the folders that the file lies in is among these."""
    at = path.rfind("/")
    while at > 0:
        if path[:at] in folders:
            return True
        at = path.rfind("/", 0, at)
    return False
