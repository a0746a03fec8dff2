"""The index of a workspace: what is in its files, known at once after a start and kept current in the background.

Never changes a file of the workspace, never keeps what was not saved, and never fails for want of a place to be kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from glm_lsp.errors import StateError
from glm_lsp.index import listed, names, uses
from glm_lsp.index.build import Builder
from glm_lsp.index.current import Buffer, Current
from glm_lsp.index.extract import Unreadable, decoded, read
from glm_lsp.index.fingerprint import fingerprint
from glm_lsp.index.keep import Keeper
from glm_lsp.index.kinds import Kind, by_name
from glm_lsp.index.walk import Listing, walk
from glm_lsp.store.index_file import IndexDamaged, IndexFile
from glm_lsp.store.index_rows import PARSED, IndexRows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from glm_lsp.index.build import Progress, State, Stop
    from glm_lsp.index.history import History, Past
    from glm_lsp.index.names import Found, How
    from glm_lsp.index.postings import Postings
    from glm_lsp.languages.facts import Definition, Facts
    from glm_lsp.settings import IndexSettings
    from glm_lsp.store.index_rows import DefinitionRow

T = TypeVar("T")

FOLLOW_SECONDS = 0.5
"""How often a process that may not write looks whether the one that may has written."""

MOST_WORKERS = 16
"""Processes that parse, where nobody says how many; each takes some 60 MB, and gives way to everything else."""

MOST_UNREAD = 500
"""Files not yet read for their words, past which the words of the others say too little."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far the index is.

    Attributes:
        state: what is being done.
        files: files in the workspace, as far as they belong into the index.
        tier0: of these, the ones whose words are known, or that have none.
        tier1: of these, the ones whose definitions are known.
        symbols: definitions.
        pending: files still to be read or parsed.
        failed: files that could not be read or parsed, and why.
        seconds: how long the last stretch of work took.
        bytes: what it takes on the disk.
        in_memory: whether it is lost with this process.
        writer: whether this process keeps it current; else another one does.
    """

    state: State
    files: int
    tier0: int
    tier1: int
    symbols: int
    pending: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
    bytes: int
    in_memory: bool
    writer: bool


class Index:
    """The index of one workspace; create it by `open`. Its queries may be asked from any thread."""

    def __init__(self, root: Path, settings: IndexSettings, file: IndexFile) -> None:
        self.root = root
        self.settings = settings
        self._file = file
        self._rows = IndexRows(file)
        self._current = Current()
        self._postings: Postings | None = None
        self._told = 0  # contents that the word lists on the disk were found to have
        self._past: Past | None = None
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loaded = False
        self._counted: tuple[float, int, int] = (0.0, -1, 0)
        self._most = settings.max_file_bytes
        keeper = Keeper(root, self._rows, self._words, self._current, self._listed)
        count = settings.workers or min(os.cpu_count() or 1, MOST_WORKERS)
        self._builder = Builder(root, keeper, self._wanted, self._most, count)

    @classmethod
    def open(cls, root: Path, settings: IndexSettings, *, state: Path | None = None) -> Index:
        """Opens the index of the workspace at `root`, which answers from what is kept of it.

        Where nothing can be kept it is one in memory; where what was kept is damaged it begins anew. `notes` says so.

        Args:
            root: the workspace.
            settings: the section `index`.
            state: the folder for our own files; else GLM_LSP_STATE_DIR, else the person's state folder.
        """
        root = root.resolve()
        place = state or os.environ.get("GLM_LSP_STATE_DIR")
        if not place:
            import platformdirs  # noqa: PLC0415 - not needed where a folder is given

            place = platformdirs.user_state_dir("glm-lsp")
        folder = Path(place) / "index" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        return cls(root, settings, IndexFile.open(folder, fingerprint()))

    # --- building --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Keeps the index current in a thread of its own, until `close`; returns at once."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, args=(self._stop,), name="index", daemon=True)
                self._thread.start()

    def build(self, *, stop: Stop | None = None, progress: Progress | None = None) -> None:
        """Makes the index current and returns then; where another process does that, it is taken as it is."""
        if self._thread is None:
            self._builder.ask()
            self._run(stop or self._stop, until_settled=True, progress=progress)
            return
        self.refresh()
        while not self.wait(1, 0.1) and not (stop is not None and stop.is_set()):
            if progress is not None:
                done = len(self._current.contents)
                progress("symbols", done, done + self._builder.pending)

    def refresh(self, paths: Collection[str] | None = None) -> None:
        """Looks again at these files or folders, or at everything; the work is done in the background."""
        if paths is None and self._past is not None:
            self._past.renew()
        self._builder.ask(paths)

    def wait(self, tier: int = 1, timeout: float | None = None) -> bool:
        """Waits until nothing is outstanding up to this tier; False where that takes longer."""
        return self._builder.wait(tier, timeout)

    def overlay(self, path: str, text: str | None, facts: Facts | None = None) -> None:
        """Says what an open buffer holds, with its facts where they are known; None says that it was closed.

        It stays in memory. Until facts are given, the last ones hold, and before any were, those of the saved file.
        """
        before = self._current.buffers
        if text is None:
            self._current.buffer(path, None)
        else:
            known = before[path].facts if path in before and facts is None else facts
            self._current.buffer(path, Buffer(text, known))
        if (path in before) != (text is not None):
            self._builder.opened(self._current.buffers)

    def close(self) -> None:
        """Ends the work and lets go of the files; no query finds anything any more."""
        self._stop.set()
        self._builder.wake()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(StateError):
            self._builder.close()
        self._file.close()
        if self._postings is not None:
            self._postings.close()

    # --- what there is ---------------------------------------------------------------------------------------------

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be told, such as that the index is in memory only."""
        return (*self._file.notes, *self._builder.notes)

    @property
    def listing(self) -> Listing:
        """The files of the workspace, as of the last look; before the first, those that are kept."""
        if self._builder.listing is not None:
            return self._builder.listing
        self._load()
        if self._current.contents:
            return Listing(self.root, self._current.paths(), git=(self.root / ".git").exists())
        return walk(self.root)

    @property
    def status(self) -> Status:
        """How far the index is."""
        self._load()
        details = [self._current.details.get(content) for content in list(self._current.contents.values())]
        known = [detail for detail in details if detail is not None]
        tier0, pending = len(known), self._builder.pending
        return Status(
            state=self._builder.stage,
            files=tier0 + len(self._builder.unread() - self._current.contents.keys()),
            tier0=tier0,
            tier1=sum(not detail.waits(self._most) for detail in known),
            symbols=self._symbols(),
            pending=pending,
            failed=self._failed(),
            seconds=self._builder.seconds,
            bytes=self._file.bytes,
            in_memory=self._file.folder is None,
            writer=self._file.writer,
        )

    @property
    def looked(self) -> float:
        """When the last look at all files began, in seconds since 1970; 0 before the first has ended."""
        return self._builder.looked

    @property
    def version(self) -> int:
        """Another number whenever an answer may be another one."""
        return self._current.version

    @property
    def paths(self) -> Sequence[str]:
        """The files that are worth showing to a model: no binary, generated, minified or lock files.

        The very same sequence again, as long as no file holds anything else, whatever is typed.
        """
        self._load()
        return self._current.sources()

    @property
    def postings(self) -> Postings:
        """The word lists, by content."""
        return self._words()

    @property
    def history(self) -> History:
        """What the repository's past says, as far as it was read; looked at again after `refresh` of everything."""
        from glm_lsp.index.history import Past  # noqa: PLC0415 - only ranking needs it

        with self._lock:
            past = self._past = self._past or Past(self.root)
        return past.now()

    # --- one file --------------------------------------------------------------------------------------------------

    def content_of(self, path: str) -> int:
        """The number of a file's saved content; 0 where there is none."""
        self._load()
        return self._current.contents.get(path, 0)

    def kind_of(self, path: str) -> Kind:
        """What sort of file it is."""
        self._load()
        detail = self._current.detail(path)
        return by_name(path) if detail is None else detail.kind

    def text(self, path: str) -> str | None:
        """The text as it is now, typed or saved; None where it cannot be read, or is none."""
        if (buffer := self._current.buffers.get(path)) is not None:
            return buffer.text
        if self.kind_of(path) in {Kind.BINARY, Kind.HUGE}:
            return None
        try:
            data, _ = read(os.fsencode(self.root), os.fsencode(path))
        except Unreadable:
            return None
        return None if data is None else decoded(data)

    def outline(self, path: str) -> tuple[Definition, ...]:
        """What a file defines, in order; empty where it was not parsed."""
        facts = self._typed(path)
        if facts is not None:
            return facts.definitions
        content = self.content_of(path)
        rows: list[DefinitionRow] = self._asked(lambda: self._rows.definitions(content), [])
        return names.definitions_of(rows)

    definitions_of = outline

    def imports(self, path: str) -> tuple[str, ...]:
        """What a file imports, as written."""
        facts = self._typed(path)
        if facts is not None:
            return facts.imports
        content = self.content_of(path)
        found = self._asked(lambda: self._rows.facts(content), None)
        return found[1] if found is not None else ()

    def uses_of(self, path: str) -> Mapping[str, Sequence[int]]:
        """The identifiers that a file uses, with their lines; empty where it was not parsed."""
        facts = self._typed(path)
        if facts is not None:
            return facts.uses
        content = self.content_of(path)
        found = self._asked(lambda: self._rows.facts(content), None)
        return uses.unpacked(found[0]) if found is not None else {}

    # --- queries ---------------------------------------------------------------------------------------------------

    def symbols(self, name: str, *, how: How = "exact", limit: int = 100) -> list[Found]:
        """The definitions that `name` may mean, the best first."""
        return self._asked(lambda: names.find(self._rows, self._current.buffers, name, how, limit), [])

    def defined(self, name: str) -> Sequence[str]:
        """The files that define exactly this name, once each; a hundred at most, for what is everywhere says nothing."""
        return self._asked(lambda: names.files(self._rows, self._current.buffers, name, 100), [])

    def references(self, name: str, *, limit: int = 1000) -> list[tuple[str, int]]:
        """Files and lines that use a name, by path; files that were not parsed yet are looked through now."""
        self._load()
        found: list[tuple[str, int]] = []
        for path in sorted({*self._holding([name]), *self._current.buffers, *self._builder.unread()}):
            found += [(path, line) for line in self._lines(path, name)]
            if len(found) >= limit:
                break
        return found[:limit]

    def files_with(self, words: Sequence[str]) -> list[str] | None:
        """The files that may hold all these whole identifiers; None where too little is known to leave any out."""
        unread = self._builder.unread()
        if not self._file.writer or self._builder.listing is None or len(unread) > MOST_UNREAD:
            return None
        current, whole = self._current, [re.compile(rf"\b{re.escape(word)}\b") for word in words]
        typed = {path for path, buffer in current.buffers.items() if all(word.search(buffer.text) for word in whole)}
        huge = {path for path in list(current.contents) if (d := current.detail(path)) and d.kind is Kind.HUGE}
        return sorted((self._holding(words) - current.buffers.keys()) | typed | unread | huge)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _holding(self, words: Sequence[str]) -> set[str]:
        """The files whose saved words include these."""
        from glm_lsp.index.words import whole  # noqa: PLC0415 - not needed for symbols

        documents = self._words().files_with([whole(word) for word in words]).tolist()
        return {path for content in documents for path in self._current.holders(content)}

    def _lines(self, path: str, name: str) -> Iterable[int]:
        facts = self._typed(path)
        if facts is not None:
            return facts.uses.get(name, ())
        detail = self._current.detail(path)
        if path not in self._current.buffers and detail is not None and detail.state == PARSED:
            content = self.content_of(path)
            packed = self._asked(lambda: self._rows.facts(content), None)
            return uses.lines_of(packed[0], name) if packed is not None else ()
        text = self.text(path) or ""
        whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        return [number for number, line in enumerate(text.split("\n"), 1) if whole.search(line)] if name in text else ()

    def _typed(self, path: str) -> Facts | None:
        buffer = self._current.buffers.get(path)
        return None if buffer is None else buffer.facts

    def _wanted(self, paths: Iterable[str]) -> set[str]:
        if not self.settings.exclude:
            return set(paths)
        import pathspec  # noqa: PLC0415 - only for those who leave something out

        rules = pathspec.GitIgnoreSpec.from_lines(self.settings.exclude)
        return {path for path in paths if not rules.match_file(path)}

    def _failed(self) -> tuple[tuple[str, str], ...]:
        found = dict(self._builder.keeper.failures)
        current = self._current
        for path, content in list(current.contents.items()):
            detail = current.details.get(content)
            if detail is None:
                continue
            if detail.note:
                found[path] = detail.note
            elif detail.kind is Kind.HUGE:
                found[path] = f"it has {detail.size:,} bytes, so not even its words were read"
            elif detail.kind.is_parsed and detail.size > self._most and detail.state != PARSED:
                found[path] = f"it has {detail.size:,} bytes, so only its words were read"
        return tuple(sorted(found.items()))

    def _symbols(self) -> int:
        """The number of definitions; while they come in, counted once a second at most, for that takes a while."""
        at, version, _ = self._counted
        if version != self.version and (self._builder.stage == "ready" or time.monotonic() - at > 1):
            self._counted = (time.monotonic(), self.version, self._asked(self._rows.count, 0))
        return self._counted[2]

    def _words(self) -> Postings:
        with self._lock:
            if self._postings is None:
                from glm_lsp.index.postings import Postings  # noqa: PLC0415 - numpy takes a tenth of a second

                folder = self._file.words_folder
                try:
                    self._postings = Postings.open(folder)
                except StateError:
                    if self._file.writer and folder is not None:  # they are made anew from the files
                        shutil.rmtree(folder, ignore_errors=True)
                        self._postings = Postings.open(folder)
                    else:
                        self._postings = Postings.open(None)
                if self._file.writer and len(self._postings) < self._told:
                    self._builder.ask()  # some were lost since they were told to be there
                self._told = 0
            return self._postings

    def _listed(self) -> set[int]:
        """The contents whose words are on the disk, told without opening the lists; none where they are open."""
        with self._lock:
            folder = self._file.words_folder
            if self._postings is not None or folder is None:
                return set()
            try:
                found = listed.documents(folder)
            except (StateError, OSError):
                return set()  # opening them will tell
            self._told = len(found)
            return found

    def _load(self) -> None:
        """Reads which files there are, where the builder has not yet."""
        with self._lock:
            if not self._loaded and self._builder.listing is None:
                self._asked(self._builder.load, None)
            self._loaded = True

    def _asked(self, ask: Callable[[], T], otherwise: T) -> T:
        """The answer; where the rows cannot be read, the builder is told and nothing is found."""
        try:
            return ask()
        except IndexDamaged as error:
            self._builder.fault = error
            self._builder.wake()
        except StateError:
            pass  # closed, or busy for long
        return otherwise

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self, stop: Stop, *, until_settled: bool = False, progress: Progress | None = None) -> None:
        while not stop.is_set():
            try:
                if not self._file.writer and not self._follow(stop, until_settled=until_settled):
                    return
                self._builder.work(stop, until_settled=until_settled, progress=progress)
                return  # noqa: TRY300 - `else` would part it from what it ends
            except (StateError, OSError) as error:
                if self._stop.is_set():
                    return
                self._mend(error)
            except Exception as error:
                self._builder.stage = "stopped"
                self._builder.notes.append(f"The index is not kept current any more ({type(error).__name__}: {error}).")
                raise

    def _follow(self, stop: Stop, *, until_settled: bool) -> bool:
        """Reads what another process writes, until that one ends; says whether it is for this one to write now."""
        seen: tuple[int, int] | None = None
        while not stop.is_set():
            if self._file.take_over():
                self._begin_anew()
                return True
            now = (self._file.changes(), self._file.words_written())
            if now != seen:
                self._forget_words()
                self._builder.load()
                self._loaded, seen = True, now
            self._builder.follow()
            if until_settled:
                return False
            self._stop.wait(FOLLOW_SECONDS)
        return False

    def _mend(self, error: StateError | OSError) -> None:
        """Goes on with a fresh file, or in memory where that cannot be written."""
        if isinstance(error, IndexDamaged):
            self._file.renew()
        else:
            self._file.fall_back(str(error))
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._forget_words()
        self._builder.forget()

    def _forget_words(self) -> None:
        with self._lock:
            if self._postings is not None:
                self._postings.close()
            self._postings = None
