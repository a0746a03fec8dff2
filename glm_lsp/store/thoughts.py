"""What was thought with replies that were written for an editor's own agent, and the tokens of what it has read.

Never keeps what was said: a reply is known by a digest, and its thinking and tokens go when they are old or too many.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.store.packed import packed, raw, unpacked
from glm_lsp.terms import TokenLog

if TYPE_CHECKING:
    import sqlite3

    from glm_lsp.store.file import File

MOST_BYTES = 64 * 1024 * 1024
"""Of thinking and of tokens, each; beyond that the oldest go."""

OLDEST_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Thoughts:
    """They are in the file of the workspace's conversations, and outlive the process."""

    file: File
    most_bytes: int = MOST_BYTES
    oldest_days: float = OLDEST_DAYS

    def __len__(self) -> int:
        """How many replies' thinking is kept."""
        return int(self.file.read(lambda db: db.execute("SELECT count(*) FROM thoughts").fetchone()[0]))

    def get(self, key: bytes) -> str | None:
        """The thinking of the reply that is known by this key; None where none is kept."""

        def work(db: sqlite3.Connection) -> str | None:
            row = db.execute("SELECT thinking FROM thoughts WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

        return self.file.read(work)

    def put(self, key: bytes, thinking: str) -> None:
        """Keeps a reply's thinking; on the disk when it returns."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO thoughts VALUES (?, CAST(? AS TEXT), ?)", (key, raw(thinking), time.time())
            )
            self._forget(db, "thoughts", "thinking")

        self.file.write(work)

    def log(self, digests: list[bytes]) -> tuple[bytes, TokenLog] | None:
        """The tokens of the last of these beginnings of a conversation that is known; both it and what it stands on."""

        def work(db: sqlite3.Connection) -> tuple[bytes, TokenLog] | None:
            for digest in reversed(digests):
                rows = db.execute(_UP, (digest,)).fetchall()
                if rows and rows[-1][1] == 0:  # else what it stands on was forgotten
                    ids: list[int] = []
                    for _, start, more, _, _ in reversed(rows):
                        ids[start:] = unpacked(more)
                    return digest, TokenLog(tuple(ids), rows[0][3], rows[0][4])
            return None

        return self.file.read(work)

    def keep_log(self, digest: bytes, log: TokenLog, *, on: tuple[bytes, TokenLog] | None) -> None:
        """Keeps the tokens of a beginning of a conversation; only those that are new, where it stands on another."""
        if max(log.ids, default=0) >= 2**32:
            return  # no tokenizer has so many
        parent, start = b"", 0
        if on is not None and on[1].fingerprint == log.fingerprint and log.ids[: len(on[1].ids)] == on[1].ids:
            parent, start = on[0], len(on[1].ids)

        def work(db: sqlite3.Connection) -> None:
            now = time.time()
            db.execute(
                "INSERT OR REPLACE INTO read_tokens VALUES (?, ?, ?, ?, ?, ?, ?)",
                (digest, parent, start, packed(log.ids[start:]), log.covers, log.fingerprint, now),
            )
            db.execute(_TOUCH, (parent, now))
            self._forget(db, "read_tokens", "ids")

        self.file.write(work)

    def _forget(self, db: sqlite3.Connection, table: str, column: str) -> None:
        """Lets go of what is old, and of the oldest beyond the limit."""
        db.execute(f"DELETE FROM {table} WHERE at < ?", (time.time() - self.oldest_days * 86_400,))  # noqa: S608
        query = f"SELECT total(length({column}) + 64) FROM {table}"  # noqa: S608 - names of ours
        too_many = db.execute(query).fetchone()[0] - self.most_bytes
        if too_many <= 0:
            return
        oldest = f"SELECT rowid, length({column}) + 64 FROM {table} ORDER BY at, rowid"  # noqa: S608 - names of ours
        gone = []
        for row, size in db.execute(oldest):
            gone.append((row,))
            too_many -= size
            if too_many <= -self.most_bytes // 16:  # some more, so that the next ones need no look at all of them
                break
        db.executemany(f"DELETE FROM {table} WHERE rowid = ?", gone)  # noqa: S608 - a name of ours


_UP = """
WITH RECURSIVE up (digest, parent, start, ids, covers, fingerprint, depth) AS (
    SELECT digest, parent, start, ids, covers, fingerprint, 0 FROM read_tokens WHERE digest = ?
    UNION ALL
    SELECT r.digest, r.parent, r.start, r.ids, r.covers, r.fingerprint, depth + 1
    FROM read_tokens r JOIN up ON r.digest = up.parent AND up.start > 0)
SELECT digest, start, ids, covers, fingerprint FROM up ORDER BY depth
"""

_TOUCH = """
WITH RECURSIVE up (digest, parent) AS (
    SELECT digest, parent FROM read_tokens WHERE digest = ?1
    UNION ALL SELECT r.digest, r.parent FROM read_tokens r JOIN up ON r.digest = up.parent)
UPDATE read_tokens SET at = ?2 WHERE digest IN (SELECT digest FROM up)
"""
