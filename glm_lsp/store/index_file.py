"""The sqlite file of a workspace's index: found, made, set aside where it is damaged, and one writer at a time.

Never lets a broken, full, read-only or newer file stop anybody: the index then lives in memory, and a note says so.

Whatever is in it can be made again from the workspace's files, so a commit need not outlive a power cut.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from glm_lsp.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

OURS = 0x474C4D49
"""The application id in the file's header."""

VERSION = 1
"""Of the schema; a file of an older one is made anew."""

BUSY_SECONDS = 5.0


class IndexDamaged(StateError):
    """The file is not what was written to it; it has to be made anew."""


@dataclass(slots=True)
class IndexFile:
    """The open file.

    Attributes:
        folder: where it is, with the word lists beside it; None in memory.
        fingerprint: what the rows were made by; a file of another one is made anew.
        notes: what a person should be told, such as that a damaged file was set aside.
        writer: whether this process is the one that may write.
        token: names this very file; what is kept beside it bears the name.
        grams: whether this sqlite finds parts of words by an index of its own.
    """

    folder: Path | None
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    writer: bool = True
    token: str = ""
    grams: bool = True
    _lock: Any = None
    _reading: sqlite3.Connection | None = None
    _writing: sqlite3.Connection | None = None
    _read_lock: Any = field(default_factory=threading.RLock)
    _write_lock: Any = field(default_factory=threading.RLock)

    @classmethod
    def open(cls, folder: Path | None, fingerprint: str) -> IndexFile:
        """Opens or makes the index in `folder`; where that cannot be, it is one in memory, and `notes` says why."""
        file = cls(folder, fingerprint)
        if folder is not None:
            try:
                file._open_on_disk(folder)
            except (OSError, sqlite3.Error, StateError) as error:
                file.fall_back(_words(error))
            return file
        file._open_in_memory()
        return file

    @property
    def words_folder(self) -> Path | None:
        """Where the word lists of this very file are kept; None in memory."""
        return None if self.folder is None else self.folder / f"words-{self.token}"

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        if self.folder is None:
            return 0
        total = 0
        for path in (*self.folder.glob("index.sqlite*"), *self.folder.glob("words-*/*")):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on what was committed; raises IndexDamaged or StateError."""
        with self._read_lock:
            if self._reading is None:
                raise StateError("The index is closed.")
            return _worded(work, self._reading)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` and commits all of it, or nothing; raises IndexDamaged or StateError."""
        with self._write_lock:
            if self._writing is None or not self.writer:
                raise StateError(
                    "The index is closed." if self._writing is None else "Another process writes the index."
                )
            db = self._writing

            def whole(_: sqlite3.Connection) -> T:
                db.execute("BEGIN IMMEDIATE")
                try:
                    result = work(db)
                    db.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
                return result

            if self.folder is None:  # one connection for both
                with self._read_lock:
                    return _worded(whole, db)
            return _worded(whole, db)

    def hurry(self, *, much: bool) -> None:
        """Makes ready for very many rows, or, when they are written, for few again; needs more memory meanwhile."""
        with self._write_lock:
            if self._writing is None or not self.writer or self.folder is None:
                return
            with contextlib.suppress(sqlite3.Error):  # a reader may be in the way of it, and it is no loss
                self._writing.execute(f"PRAGMA cache_size = {-1000 * (_MUCH if much else _FEW)}")
                if not much:
                    self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                    self._writing.execute("PRAGMA shrink_memory")

    def changes(self) -> int:
        """A number that is another one when another process has committed."""
        return int(self.read(lambda db: db.execute("PRAGMA data_version").fetchone()[0]))

    def words_written(self) -> int:
        """When the word lists were last written, in nanoseconds; 0 where they never were."""
        folder = self.words_folder
        try:
            return 0 if folder is None else folder.stat().st_mtime_ns
        except OSError:
            return 0

    def take_over(self) -> bool:
        """Becomes the writer where the one before is gone; says whether this process is it now."""
        if self.writer or self.folder is None or self._reading is None:
            return self.writer
        try:
            self._lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            return False
        self.close()
        try:
            self._open_on_disk(self.folder)
        except (OSError, sqlite3.Error, StateError) as error:
            self.fall_back(_words(error))
        return True

    def renew(self) -> None:
        """Sets a damaged file aside and begins a fresh one; raises nothing."""
        folder = self.folder
        if folder is None or not self.writer:
            self.fall_back("it is damaged")
            return
        self.close()
        try:
            self._aside(folder)
            self._open_on_disk(folder)
        except (OSError, sqlite3.Error, StateError) as error:
            self.fall_back(_words(error))

    def fall_back(self, why: str) -> None:
        """Goes on in memory, empty, and notes why."""
        place = self.folder
        self.close()
        self.folder = None
        self.notes.append(f"The index of this workspace is kept in memory only: {why} ({place}).")
        self._open_in_memory()

    def close(self) -> None:
        """Lets go of the file and of the right to write it."""
        with self._write_lock, self._read_lock:
            self._disconnect()
            if self._lock is not None:
                with contextlib.suppress(OSError):
                    self._lock.release()

    def _disconnect(self) -> None:
        for connection in (self._reading, self._writing):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._reading = self._writing = None

    def _open_in_memory(self) -> None:
        self.writer, self.token = True, secrets.token_hex(8)
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._make(db)
        self._reading = self._writing = db

    def _open_on_disk(self, folder: Path) -> None:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for own in (folder.parent, folder):
            own.mkdir(mode=0o700, exist_ok=True)
        self._lock = filelock.FileLock(folder / "writer.lock", mode=0o600, thread_local=False)
        try:
            self._lock.acquire(timeout=0)
            self.writer = True
        except filelock.Timeout:
            self.writer = False
        try:
            self._connect(folder)
        except sqlite3.DatabaseError as error:
            if not (self.writer and is_damage(error)):
                raise
            self._aside(folder)
            self._connect(folder)
        if self.writer:
            for old in folder.glob("words-*"):
                if old.name != f"words-{self.token}":
                    shutil.rmtree(old, ignore_errors=True)

    def _connect(self, folder: Path) -> None:
        path = folder / "index.sqlite"
        if self.writer:
            if not path.exists():
                _remove(path)  # a log without its file would be taken for the new file's
                path.touch(mode=0o600)
            self._writing = _connection(path, megabytes=_FEW)
            for pragma in _WRITER:
                self._writing.execute(f"PRAGMA {pragma}").fetchone()
            if self._state(self._writing) != (OURS, VERSION, self.fingerprint):
                self._begin(path)
        else:
            self._await(path)
        self._reading = _connection(path, megabytes=8)
        self._reading.execute("PRAGMA query_only = ON")
        self.token, self.grams = (self._meta(self._reading, name) for name in ("token", "grams"))
        self._reading.execute("SELECT count(*) FROM (SELECT 1 FROM files LIMIT 1)").fetchone()

    def _begin(self, path: Path) -> None:
        """Fills an empty file, or begins anew where the rows were made by another release."""
        db = self._writing
        assert db is not None  # noqa: S101 - for the type checker
        application, version, _ = self._state(db)
        if application != OURS and (version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            raise sqlite3.DatabaseError("file is not a database of ours")
        if version > VERSION:
            self.close()
            raise StateError("what is there was written by a newer glm-lsp, and was left as it is")
        if version:
            db.close()
            _remove(path)
            path.touch(mode=0o600)
            self._writing = db = _connection(path, megabytes=_FEW)
            for pragma in _WRITER:
                db.execute(f"PRAGMA {pragma}").fetchone()
        self._make(db)

    def _await(self, path: Path) -> None:
        """Waits a moment for a file that its writer is making."""
        until = time.monotonic() + 2
        state = (0, 0, "")
        while True:
            with (
                contextlib.suppress(sqlite3.OperationalError),
                contextlib.closing(_connection(path, megabytes=1)) as db,
            ):
                state = self._state(db)
            if state == (OURS, VERSION, self.fingerprint):
                return
            if state[1] > VERSION:
                raise StateError("what is there was written by a newer glm-lsp, and was left as it is")
            if time.monotonic() > until:
                raise StateError("another release of glm-lsp is writing there")
            time.sleep(0.02)

    def _make(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";;"):
            db.execute(statement)
        try:  # sqlite may have been built without it, or be older than 3.34
            db.execute("CREATE VIRTUAL TABLE grams USING fts5(name, content='', tokenize='trigram', detail=none)")
            self.grams = True
        except sqlite3.OperationalError:
            self.grams = False
        self.token = secrets.token_hex(8)
        values = (("fingerprint", self.fingerprint), ("token", self.token), ("grams", self.grams))
        db.executemany("INSERT INTO meta VALUES (?, ?)", values)
        db.execute(f"PRAGMA application_id = {OURS}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")

    def _state(self, db: sqlite3.Connection) -> tuple[int, int, str]:
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        return application, version, self._meta(db, "fingerprint") if (application, version) == (OURS, VERSION) else ""

    def _meta(self, db: sqlite3.Connection, key: str) -> Any:
        return db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    def _aside(self, folder: Path) -> None:
        """Keeps one damaged file to look at; it could be large, so not all that there ever were."""
        self._disconnect()
        path, aside = folder / "index.sqlite", folder / "damaged.sqlite"
        path.replace(aside)
        _remove(path)
        self.notes.append(f"The index of this workspace was damaged; it was set aside as {aside} and is built again.")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is broken or another program's, rather than busy or out of room."""
    code = getattr(error, "sqlite_errorcode", None)
    missing = code == sqlite3.SQLITE_ERROR and "no such" in str(error)  # a table of ours that is not there
    return missing or code is None or code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _worded(work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    try:
        return work(db)
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise (IndexDamaged if is_damage(error) else StateError)(_words(error)) from error


def _connection(path: Path, *, megabytes: int) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA cache_size = {-1000 * megabytes}")
    return db


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _words(error: Exception) -> str:
    if isinstance(error, StateError):
        return error.message
    words = getattr(error, "strerror", None) or str(error)
    return words[:1].lower() + words[1:]


_WRITER = ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 8000")
_FEW, _MUCH = 16, 64  # megabytes of pages that the writer keeps in memory

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;;
CREATE TABLE contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, oid BLOB NOT NULL, language TEXT NOT NULL, size INTEGER NOT NULL,
    kind INTEGER NOT NULL, state INTEGER NOT NULL, note TEXT NOT NULL DEFAULT '', UNIQUE (oid, language));;
CREATE TABLE files (
    path BLOB PRIMARY KEY, content INTEGER NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL) WITHOUT ROWID;;
CREATE INDEX files_of ON files (content);;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL, initials TEXT NOT NULL);;
CREATE INDEX names_by_name ON names (name COLLATE NOCASE);;
CREATE INDEX names_by_initials ON names (initials);;
CREATE TABLE definitions (
    content INTEGER NOT NULL, seq INTEGER NOT NULL, name INTEGER NOT NULL, qualified TEXT, kind TEXT NOT NULL,
    first_line INTEGER NOT NULL, last_line INTEGER NOT NULL, line INTEGER NOT NULL, col INTEGER NOT NULL,
    signature TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (content, seq)) WITHOUT ROWID;;
CREATE INDEX definitions_of ON definitions (name);;
CREATE TABLE facts (content INTEGER PRIMARY KEY, uses BLOB NOT NULL, imports TEXT NOT NULL)
"""
