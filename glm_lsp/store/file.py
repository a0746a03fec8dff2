"""The sqlite file itself: found, made, migrated, set aside, and one transaction at a time.

Never knows what is kept in it beyond its schema, and never deletes a file.

A commit is on the disk before a call returns (WAL with `synchronous=FULL`): it outlives a kill and a power cut, at the
price of one fsync.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from glm_lsp.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

OURS = 0x474C4D35
"""The application id in the file's header; another program's database has another one."""

BUSY_SECONDS = 5.0
"""How long to wait for another process that writes; a commit takes milliseconds."""


@dataclass(slots=True)
class File:
    """The open file.

    Attributes:
        path: where it is.
        busy: seconds to wait for other writers.
        notes: what a person should be told, such as that a damaged file was set aside.
        generation: counts how often the file was found gone; the new one started empty.
    """

    path: Path
    busy: float = BUSY_SECONDS
    notes: list[str] = field(default_factory=list)
    generation: int = 0
    _connection: sqlite3.Connection | None = None
    _identity: tuple[int, ...] = ()
    _lock: Any = field(default_factory=threading.RLock)

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        self._drop()

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on one moment of the file; raises StateError where it cannot be read."""
        return self._run(work, "BEGIN")

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` alone and commits it, or nothing of it; raises StateError where it cannot be written.

        Its own errors pass, as does sqlite3.IntegrityError. It may run twice: once more where the file was damaged.
        """
        return self._run(work, "BEGIN IMMEDIATE")

    def _run(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        with self._lock:
            for attempt in (1, 2):
                try:
                    if attempt == 2:
                        self._set_aside()
                    db = self._ready()
                    db.execute(begin)
                    try:
                        # Another process may be a newer release, and have migrated the file that we have open.
                        self._refuse_newer(db.execute("PRAGMA user_version").fetchone()[0])
                        result = work(db)
                        db.execute("COMMIT")
                    except BaseException:
                        with contextlib.suppress(sqlite3.Error):
                            db.execute("ROLLBACK")
                        raise
                    return result  # noqa: TRY300 - `else` would part it from the transaction it ends
                except sqlite3.IntegrityError:
                    raise
                except sqlite3.Error as error:
                    if attempt == 2 or not _damaged(error):
                        raise self._in_words(error) from error
                except OSError as error:
                    raise self._in_words(error) from error
        raise AssertionError

    def _ready(self) -> sqlite3.Connection:
        """The connection, made anew where the file is not the one that was opened."""
        seen = self._look()
        if self._connection is not None and self._identity == seen:
            return self._connection
        gone = bool(self._identity) and seen[:2] != self._identity[:2]
        self._drop()  # only now: while it is open, nobody else's file can have the same inode
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        with self._alone():
            try:
                db = self._connect()
            except sqlite3.Error as error:
                if not _damaged(error):
                    raise
                self._aside("damaged")
                gone = bool(self._identity)
                db = self._connect()
        self.generation += gone
        return db

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            self._aside("orphaned")  # a log without its file would be taken for the new file's
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self.path, timeout=self.busy, isolation_level=None, check_same_thread=False)
        try:
            db.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        self._connection, self._identity = db, self._look()
        return db

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lets one process at a time look at a file that may be new or broken."""
        try:
            with filelock.FileLock(self.path.with_suffix(".lock"), mode=0o600, timeout=self.busy):
                yield
        except filelock.Timeout as error:
            raise sqlite3.OperationalError("database is locked") from error

    def _prepare(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        ours = db.execute("PRAGMA application_id").fetchone()[0] == OURS
        if not ours and (version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            raise _AnotherProgram("file is not a database of ours")
        self._refuse_newer(version)
        self.path.chmod(0o600)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            db.execute(f"PRAGMA {pragma}").fetchone()
        if version < len(MIGRATIONS):
            db.execute("BEGIN IMMEDIATE")
            for migrate in MIGRATIONS[version:]:
                migrate(db)
            db.execute(f"PRAGMA application_id = {OURS}")
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            db.execute("COMMIT")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # makes the log, which `_look` then finds

    def _refuse_newer(self, version: int) -> None:
        if version > len(MIGRATIONS):
            raise StateError(
                f"The conversations in {self.path} were written by a newer glm-lsp (their version is {version}, this "
                f"one reads up to {len(MIGRATIONS)}); nothing was changed.",
                hint="Update glm-lsp, or set GLM_LSP_STATE_DIR to another folder.",
            )

    def _look(self) -> tuple[int, ...]:
        """Which files are there: the inodes of the database and its log; opening them would drop sqlite's locks."""
        seen: list[int] = []
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                info = Path(f"{self.path}{suffix}").stat()
                seen += [info.st_dev, info.st_ino]
        return tuple(seen)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _set_aside(self) -> None:
        with self._alone():
            same = self._look()[:2] == self._identity[:2]  # not one that another process has made since
            self._drop()
            if same:
                self._aside("damaged")

    def _aside(self, kind: str) -> None:
        there = [suffix for suffix in ("", "-wal", "-shm") if os.path.lexists(f"{self.path}{suffix}")]
        if not there:
            return
        number = 1
        while any(self.path.parent.glob(f"{self.path.name}.{kind}-{number}*")):
            number += 1
        aside = self.path.with_name(f"{self.path.name}.{kind}-{number}")
        for suffix in there:
            Path(f"{self.path}{suffix}").replace(f"{aside}{suffix}")
        self.notes.append(f"The conversations could not be read; they were set aside as {aside}, and new ones begin.")

    def _in_words(self, error: sqlite3.Error | OSError) -> StateError:
        words = getattr(error, "strerror", None) or str(error)
        doing = f"The conversations in {self.path} cannot be kept ({words})."
        if "locked" in words:
            return StateError(f"Another glm-lsp is writing to {self.path}.", hint="Wait for it to end, or end it.")
        if "full" in words or "No space" in words or "quota" in words:
            return StateError(doing, hint="Make room on the disk and run it again.")
        return StateError(doing, hint="Check the folder's permissions, or set GLM_LSP_STATE_DIR to another one.")


class _AnotherProgram(sqlite3.DatabaseError):
    """A sound database that is not one of ours."""


def _damaged(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    missing = code == sqlite3.SQLITE_ERROR and "no such" in str(error)  # a table of ours that is not there
    return isinstance(error, _AnotherProgram) or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or missing


def _first_schema(db: sqlite3.Connection) -> None:
    for statement in _FIRST_SCHEMA.split(";;"):
        db.execute(statement)


_FIRST_SCHEMA = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', created REAL NOT NULL, updated REAL NOT NULL,
    parent TEXT NOT NULL DEFAULT '', tools TEXT NOT NULL DEFAULT '[]', head TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '', fingerprint TEXT NOT NULL DEFAULT '', length INTEGER NOT NULL DEFAULT 0,
    turns INTEGER NOT NULL DEFAULT 0, last_turn TEXT NOT NULL DEFAULT '', first TEXT NOT NULL DEFAULT '');;
CREATE UNIQUE INDEX names ON conversations (name) WHERE name <> '';;
CREATE TABLE messages (
    conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE, seq INTEGER NOT NULL, role TEXT NOT NULL,
    text TEXT NOT NULL, thinking TEXT NOT NULL, tool_calls TEXT NOT NULL, call_id TEXT NOT NULL, turn TEXT NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (conversation, seq)) WITHOUT ROWID;;
CREATE TRIGGER said_is_said BEFORE UPDATE ON messages BEGIN SELECT raise(ABORT, 'messages are never rewritten'); END;;
CREATE TABLE requests (
    conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE, seq INTEGER NOT NULL, turn TEXT NOT NULL,
    covers INTEGER NOT NULL, epoch INTEGER NOT NULL, start INTEGER NOT NULL, ids BLOB NOT NULL,
    fingerprint TEXT NOT NULL, read INTEGER NOT NULL, written INTEGER NOT NULL, cached INTEGER, thought INTEGER,
    model TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (conversation, seq)) WITHOUT ROWID;;
CREATE TABLE claims (
    conversation TEXT PRIMARY KEY REFERENCES conversations ON DELETE CASCADE, token TEXT NOT NULL,
    pid INTEGER NOT NULL, started REAL NOT NULL, host TEXT NOT NULL, expires REAL NOT NULL)
"""


def _compactions_and_what_was_seen(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE compactions (conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,"
        " covers INTEGER NOT NULL, opening TEXT NOT NULL, files INTEGER NOT NULL, summary TEXT NOT NULL,"
        " before INTEGER NOT NULL, after INTEGER NOT NULL, at REAL NOT NULL)"
    )
    db.execute("CREATE INDEX compactions_of ON compactions (conversation)")
    db.execute(
        "CREATE TABLE seen (conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,"
        " path TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (conversation, path)) WITHOUT ROWID"
    )


def _what_agents_were_told(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE thoughts (key BLOB NOT NULL UNIQUE, thinking TEXT NOT NULL, at REAL NOT NULL)")
    db.execute(
        "CREATE TABLE read_tokens (digest BLOB NOT NULL UNIQUE, parent BLOB NOT NULL, start INTEGER NOT NULL,"
        " ids BLOB NOT NULL, covers INTEGER NOT NULL, fingerprint TEXT NOT NULL, at REAL NOT NULL)"
    )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first_schema,
    _compactions_and_what_was_seen,
    _what_agents_were_told,
)
"""Each leads from the version that is its index to the next one; only ever added to."""
