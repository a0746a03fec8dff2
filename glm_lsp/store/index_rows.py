"""What the index keeps: contents, the files that hold them, what they define and what they use.

Never decides what is current: it is told, and never reads a file of the workspace.

A content is a text in a language; its rows stay when no file holds it any more, since a branch may be switched back.
Paths are bytes here, since the names of files need not be text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from glm_lsp.store.index_file import IndexDamaged

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from glm_lsp.store.index_file import IndexFile

TO_PARSE, PARSED, NOT_PARSED, FAILED = range(4)
"""How far a content is: words only so far, all, words only for good, and a failure that is noted."""

DefinitionRow = tuple[str, str, str, int, int, int, int, str, str]
"""Name, qualified name, kind, first and last line, line and column of the name, signature, doc."""

V = TypeVar("V")

Hit = tuple[bytes, DefinitionRow]

_CHUNK = 500  # values in one statement


class FileRow(NamedTuple):
    """A file as it was last seen; size and change time (ns) are 0 where git's id said all."""

    path: bytes
    content: int
    size: int
    changed: int


class ContentRow(NamedTuple):
    """What is known of a content; `oid` is its 20 bytes of SHA-1 as git counts it."""

    oid: bytes
    language: str
    size: int
    kind: int
    state: int
    note: str


class FileColumns(NamedTuple):
    """Path, content, size and change time of files, and their contents' size, kind, state, oid (hexadecimal) and note."""

    paths: list[bytes]
    contents: list[int]
    sizes: list[int]
    changed: list[int]
    lengths: list[int]
    kinds: list[int]
    states: list[int]
    oids: list[str]
    notes: list[str]


class FactsRow(NamedTuple):
    """What a parser said of a content, `uses` packed as its caller likes."""

    content: int
    definitions: Sequence[DefinitionRow]
    uses: bytes
    imports: Sequence[str]
    state: int
    note: str


@dataclass(frozen=True, slots=True)
class IndexRows:
    """The rows of an index; each call is one transaction, and raises IndexDamaged or StateError."""

    file: IndexFile

    # --- what is there ---------------------------------------------------------------------------------------------

    def files(self) -> FileColumns:
        """Every file, with what is known of its content."""
        row = self.file.read(lambda db: db.execute(_FILES).fetchone())
        if row[0] is None:
            return FileColumns([], [], [], [], [], [], [], [], [])
        try:
            contents, sizes, changed, lengths, kinds, states = (json.loads(f"[{column}]") for column in row[1:7])
            notes = [bytes.fromhex(note).decode() if note else "" for note in row[8].split(",")]
            columns = FileColumns(
                row[0].split(b"\0"), contents, sizes, changed, lengths, kinds, states, row[7].lower().split(","), notes
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise IndexDamaged("what it says of files cannot be read") from error
        if {len(column) for column in columns} != {len(columns.paths)}:
            raise IndexDamaged("what it says of files is not whole")
        return columns

    def known(self, keys: Collection[tuple[bytes, str]]) -> dict[tuple[bytes, str], tuple[int, ContentRow]]:
        """The contents of these ids and languages, as far as there are rows of them."""

        def look(db: sqlite3.Connection) -> dict[tuple[bytes, str], tuple[int, ContentRow]]:
            found = {}
            for some in _chunks(list({oid for oid, _ in keys})):
                query = f"SELECT id, oid, language, size, kind, state, note FROM contents WHERE oid IN ({_marks(some)})"  # noqa: S608 - question marks
                for number, *values in db.execute(query, some):
                    found[values[0], values[1]] = (number, ContentRow(*values))
            return found

        return self.file.read(look)

    def last_content(self) -> int:
        """The highest id that was ever given to a content."""
        row = self.file.read(
            lambda db: db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'contents'").fetchone()
        )
        return int(row[0]) if row else 0

    def count(self) -> int:
        """How many definitions there are in files."""
        query = "SELECT count(*) FROM files f CROSS JOIN definitions d ON d.content = f.content"
        return int(self.file.read(lambda db: db.execute(query).fetchone()[0]))

    # --- writing ---------------------------------------------------------------------------------------------------

    def add(self, contents: Sequence[ContentRow]) -> dict[tuple[bytes, str], tuple[int, ContentRow]]:
        """Adds those that are new; gives the id and the row of each, by its oid and language."""

        def work(db: sqlite3.Connection) -> None:
            insert = "INSERT OR IGNORE INTO contents (oid, language, size, kind, state, note) VALUES (?, ?, ?, ?, ?, ?)"
            db.executemany(insert, contents)

        self.file.write(work)
        return self.known({(row.oid, row.language) for row in contents})

    def place(self, files: Iterable[FileRow], gone: Iterable[bytes] = ()) -> None:
        """Says what files hold now, and which are gone."""

        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in gone))
            db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", files)

        self.file.write(work)

    def put(self, facts: Sequence[FactsRow]) -> None:
        """Keeps what a parser said, in the place of what was there."""

        def work(db: sqlite3.Connection) -> None:
            names = self._names(db, {row[0] for one in facts for row in one.definitions})
            db.executemany("DELETE FROM definitions WHERE content = ?", ((one.content,) for one in facts))
            db.executemany(
                "INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (one.content, seq, names[row[0]], None if row[1] == row[0] else row[1], *row[2:])
                    for one in facts
                    for seq, row in enumerate(one.definitions)
                ),
            )
            db.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)",
                ((one.content, one.uses, "\n".join(one.imports)) for one in facts if one.state == PARSED),
            )
            db.executemany(
                "UPDATE contents SET state = ?, note = ? WHERE id = ?",
                ((one.state, one.note, one.content) for one in facts),
            )

        self.file.write(work)

    def collect(self, most: int) -> list[int]:
        """Drops the oldest contents that no file holds, where there are more than `most`; gives their ids."""

        def work(db: sqlite3.Connection) -> list[int]:
            loose = [
                row[0]
                for row in db.execute("SELECT id FROM contents WHERE id NOT IN (SELECT content FROM files) ORDER BY id")
            ]
            if len(loose) <= most:
                return []
            gone = loose[: len(loose) - most // 2]
            for table, column in (("definitions", "content"), ("facts", "content"), ("contents", "id")):
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", ((one,) for one in gone))  # noqa: S608 - our own names
            db.execute("DELETE FROM names WHERE id NOT IN (SELECT name FROM definitions)")
            if self.file.grams:
                db.execute("INSERT INTO grams (grams) VALUES ('delete-all')")
                db.execute("INSERT INTO grams (rowid, name) SELECT id, name FROM names")
            return gone

        return self.file.write(work)

    def _names(self, db: sqlite3.Connection, names: Collection[str]) -> dict[str, int]:
        # In order: the rows of one name lie together in the index that is searched.
        ordered = sorted(names)
        found: dict[str, int] = {}
        for some in _chunks(ordered):
            query = f"SELECT name, id FROM names WHERE name COLLATE NOCASE IN ({_marks(some)})"  # noqa: S608 - question marks
            found.update(db.execute(query, some))
        following = int(db.execute("SELECT coalesce(max(id), 0) FROM names").fetchone()[0]) + 1
        fresh = list(enumerate((name for name in ordered if name not in found), following))
        found.update((name, number) for number, name in fresh)
        db.executemany("INSERT INTO names VALUES (?, ?, ?)", ((number, name, initials(name)) for number, name in fresh))
        if self.file.grams:
            db.executemany("INSERT INTO grams (rowid, name) VALUES (?, ?)", fresh)
        return found

    # --- one content -----------------------------------------------------------------------------------------------

    def definitions(self, content: int) -> list[DefinitionRow]:
        """What a content defines, in the order of its text."""
        query = f"SELECT {_COLUMNS} FROM definitions d CROSS JOIN names n ON n.id = d.name WHERE d.content = ? ORDER BY d.seq"  # noqa: S608 - our own names
        return self.file.read(lambda db: db.execute(query, (content,)).fetchall())

    def facts(self, content: int) -> tuple[bytes, tuple[str, ...]] | None:
        """What a content uses, packed, and what it imports; None where it was not parsed."""
        query = "SELECT uses, imports FROM facts WHERE content = ?"
        row = self.file.read(lambda db: db.execute(query, (content,)).fetchone())
        return None if row is None else (row[0], tuple(row[1].split("\n")) if row[1] else ())

    # --- symbols ---------------------------------------------------------------------------------------------------

    def exact(self, name: str, limit: int) -> list[Hit]:
        """Definitions of exactly this name."""
        return self._hits("n.name = ? COLLATE NOCASE AND n.name = ?", (name, name), limit)

    def defining(self, name: str, limit: int) -> list[bytes]:
        """Files that define exactly this name, once each, however often they do; which, where there are more, is open."""
        query = (
            "SELECT DISTINCT f.path FROM names n CROSS JOIN definitions d ON d.name = n.id"
            " CROSS JOIN files f ON f.content = d.content WHERE n.name = ? COLLATE NOCASE AND n.name = ? LIMIT ?"
        )
        rows = self.file.read(lambda db: db.execute(query, (name, name, limit)).fetchall())
        return [row[0] for row in rows]

    def prefix(self, prefix: str, limit: int) -> list[Hit]:
        """Definitions whose name begins so, in any case, by name."""
        where = "n.name >= ? COLLATE NOCASE AND n.name < ? COLLATE NOCASE ORDER BY n.name COLLATE NOCASE"
        return self._hits(where, (prefix, prefix + _BEHIND_ALL), limit)

    def substring(self, part: str, limit: int) -> list[Hit]:
        """Definitions whose name has this part, in any case."""
        if len(part) < 3 or not self.file.grams:
            return self._hits("n.name LIKE ? ESCAPE '\\'", (f"%{_like(part)}%",), limit)
        # The list says that all its threes are there, somewhere; LIKE says that they follow each other.
        where = "n.id IN (SELECT rowid FROM grams WHERE grams MATCH ?) AND n.name LIKE ? ESCAPE '\\'"
        grams = " AND ".join(_quoted(part[at : at + 3]) for at in range(len(part) - 2))
        return self._hits(where, (grams, f"%{_like(part)}%"), limit)

    def candidates(self, text: str, limit: int) -> list[tuple[int, str]]:
        """Names, with their numbers, that may be meant by `text`: shared threes, initials, letters in this order."""

        def work(db: sqlite3.Connection) -> list[tuple[int, str]]:
            low = text.lower()
            found: dict[int, str] = {}

            def take(query: str, values: Sequence[str | int]) -> None:
                for number, name in db.execute(query, values):
                    if len(found) < limit:
                        found[number] = name

            some = max(1, limit // 4)
            take(
                "SELECT id, name FROM names WHERE initials >= ? AND initials < ? LIMIT ?",
                (low, low + _BEHIND_ALL, some),
            )
            within = "name >= ? COLLATE NOCASE AND name < ? COLLATE NOCASE"
            letters = "".join(f"{_like(letter)}%" for letter in low)
            query = f"SELECT id, name FROM names WHERE {within} AND name LIKE ? ESCAPE '\\' LIMIT ?"  # noqa: S608 - our own words
            take(query, (low[:1], low[:1] + _BEHIND_ALL, letters, some))
            if not self.file.grams:
                take("SELECT id, name FROM names WHERE name LIKE ? ESCAPE '\\' LIMIT ?", (f"%{letters}", some))
                return list(found.items())
            shared: dict[int, int] = {}
            for gram in {low[at : at + 3] for at in range(len(low) - 2)}:
                query = "SELECT rowid FROM grams WHERE grams MATCH ? LIMIT 5000"
                for (number,) in db.execute(query, (_quoted(gram),)):
                    shared[number] = shared.get(number, 0) + 1
            best = sorted(shared, key=lambda number: (-shared[number], number))[:limit]
            for part in _chunks(best):
                take(f"SELECT id, name FROM names WHERE id IN ({_marks(part)})", part)  # noqa: S608 - question marks
            return list(found.items())

        return self.file.read(work) if text else []

    def named(self, names: Sequence[int], limit: int) -> list[Hit]:
        """Definitions of the names with these numbers."""
        found: list[Hit] = []
        for part in _chunks(list(names)):
            if len(found) < limit:
                found += self._hits(f"n.id IN ({_marks(part)})", part, limit - len(found))
        return found

    def _hits(self, where: str, values: Sequence[str | int], limit: int) -> list[Hit]:
        query = (
            f"SELECT f.path, {_COLUMNS} FROM names n CROSS JOIN definitions d ON d.name = n.id"  # noqa: S608 - `where` is ours
            f" CROSS JOIN files f ON f.content = d.content WHERE {where} LIMIT ?"
        )
        rows = self.file.read(lambda db: db.execute(query, (*values, limit)).fetchall())
        return [(row[0], row[1:]) for row in rows]


def initials(name: str) -> str:
    """The first letters of a name's parts, in lower case: "rf" of `read_file` and of `ReadFile`."""
    # Names without capitals behind something smaller need no expression, which takes five times as long.
    if name.isascii() and name.isidentifier() and (name.islower() or (name.isupper() and not _BEHIND_DIGIT(name))):
        return "".join([part[0] for part in name.split("_") if part]).lower()
    return "".join(_FIRST_LETTERS.findall(name)).lower()


def _chunks(values: list[V]) -> Iterator[list[V]]:
    for at in range(0, len(values), _CHUNK):
        yield values[at : at + _CHUNK]


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


_BEHIND_DIGIT = re.compile("[0-9][A-Z]").search
_FIRST_LETTERS = re.compile(r"(?<![^\W_])[^\W_]|(?<=[^\W_A-Z])[A-Z]")
_BEHIND_ALL = "\U0010ffff"
_COLUMNS = "n.name, coalesce(d.qualified, n.name), d.kind, d.first_line, d.last_line, d.line, d.col, d.signature, d.doc"
# One row of whole columns: while sqlite makes it, other threads run, and nothing is made of each row on the way.
_FILES = (
    "SELECT CAST(group_concat(f.path, x'00') AS BLOB), group_concat(f.content), group_concat(f.size),"
    " group_concat(f.changed), group_concat(c.size), group_concat(c.kind), group_concat(c.state),"
    " group_concat(hex(c.oid)), group_concat(hex(c.note)) FROM files f CROSS JOIN contents c ON c.id = f.content"
)
