"""What is kept of a conversation, and the statements that read and write it.

Never rewrites a message, and never decides whose turn it is: it is told who may be alive.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from glm_lsp.errors import Conflict, UsageError
from glm_lsp.store.file import BUSY_SECONDS, File
from glm_lsp.store.packed import packed, raw, unpacked
from glm_lsp.terms import Message, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation in a list; times are local, `first` is how its first ask begins, `parent` what it is a fork of."""

    id: str
    name: str
    created: datetime
    updated: datetime
    turns: int
    messages: int
    first: str
    parent: str
    model: str
    fingerprint: str
    head: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message with its turn and time (seconds since 1970)."""

    message: Message
    turn: str
    at: float


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the engine: `new_ids` come behind the first `start` ids of the log of its epoch."""

    turn: str
    covers: int
    epoch: int
    start: int
    new_ids: tuple[int, ...]
    fingerprint: str
    usage: Usage
    model: str
    at: float


@dataclass(frozen=True, slots=True)
class Compaction:
    """What the model reads instead of the first `covers` messages, and what that saved.

    `files` counts the file bodies left out, `summary` is what the model wrote of older turns, and `before` and
    `after` are tokens of the prompt.
    """

    covers: int
    opening: tuple[Message, ...]
    files: int
    summary: str
    before: int
    after: int
    at: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """All of a conversation as of one moment; `seen` holds the digest of each file as the model knows it."""

    entry: Entry
    tools: tuple[ToolSpec, ...]
    said: tuple[Said, ...]
    requests: tuple[Request, ...]
    compactions: tuple[Compaction, ...] = ()
    seen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a turn in a conversation: `started` counts seconds from the boot, `expires` from 1970."""

    token: str
    pid: int
    started: float
    host: str
    expires: float


@dataclass(frozen=True, slots=True)
class Store:
    """What is in the file, read and written; each call is one transaction."""

    file: File

    @classmethod
    def open(cls, path: Path, *, busy: float = BUSY_SECONDS) -> Store:
        """Opens or makes the file; raises StateError where that cannot be, or where a newer release wrote it."""
        store = cls(File(path, busy))
        store.file.read(lambda db: db.execute("SELECT count(*) FROM conversations").fetchone())
        return store

    # --- reading -------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """All conversations, the latest first."""
        query = f"SELECT {_ENTRY} FROM conversations ORDER BY updated DESC, rowid DESC"  # noqa: S608 - a constant
        return self.file.read(lambda db: [_entry(row) for row in db.execute(query)])

    def load(self, conversation: str, *, since: int = 0) -> Loaded | None:
        """One conversation, with its messages from number `since` on; None where there is none."""

        def work(db: sqlite3.Connection) -> Loaded | None:
            query = f"SELECT {_ENTRY}, tools FROM conversations WHERE id = ?"  # noqa: S608 - a constant
            row = db.execute(query, (conversation,)).fetchone()
            if row is None:
                return None
            said = db.execute(
                "SELECT role, text, thinking, tool_calls, call_id, turn, at FROM messages"
                " WHERE conversation = ? AND seq >= ? ORDER BY seq",
                (conversation, since),
            )
            requests = db.execute(
                "SELECT turn, covers, epoch, start, ids, fingerprint, read, written, cached, thought, model, at"
                " FROM requests WHERE conversation = ? ORDER BY seq",
                (conversation,),
            )
            compactions = db.execute(
                "SELECT covers, opening, files, summary, before, after, at FROM compactions WHERE conversation = ?"
                " ORDER BY rowid",  # not by their times: a clock may go back
                (conversation,),
            )
            seen = db.execute("SELECT path, digest FROM seen WHERE conversation = ?", (conversation,))
            return Loaded(
                _entry(row),
                tools_from(row[-1]),
                tuple(Said(Message(r[0], r[1], r[2], _calls_from(r[3]), r[4]), r[5], r[6]) for r in said),
                tuple(_request(row) for row in requests),
                tuple(Compaction(r[0], messages_from(r[1]), *r[2:]) for r in compactions),
                dict(seen.fetchall()),
            )

        return self.file.read(work)

    def named(self, name: str) -> str | None:
        """The id of the conversation with this name."""
        query = "SELECT id FROM conversations WHERE name = CAST(? AS TEXT)"
        row = self.file.read(lambda db: db.execute(query, (raw(name),)).fetchone())
        return None if row is None else row[0]

    # --- writing -------------------------------------------------------------------------------------------------

    def create(self, conversation: str, name: str, *, first: str = "", parent: str = "") -> None:
        """Makes an empty conversation; raises UsageError where the name is taken."""

        def work(db: sqlite3.Connection) -> None:
            now = time.time()
            db.execute(
                "INSERT INTO conversations (id, name, created, updated, parent, first)"
                " VALUES (?, CAST(? AS TEXT), ?, ?, ?, CAST(? AS TEXT))",
                (conversation, raw(name), now, now, parent, raw(first)),
            )

        with _taken(name):
            self.file.write(work)

    def append(
        self,
        conversation: str,
        after: int,
        said: Sequence[Said],
        *,
        tools: Sequence[ToolSpec],
        head: str,
        first: str,
        holder: Holder | None,
        dead: Callable[[Holder], bool],
        seen: Mapping[str, str],
    ) -> None:
        """Adds messages behind the first `after` ones, and what the model has seen by them.

        Raises:
            Conflict: there are more by now, someone else has the turn, or the conversation is gone.
            StateError: the file cannot be written; then nothing was.
        """

        def work(db: sqlite3.Connection) -> None:
            turns, last = 0, _at_the_end(db, conversation, after, holder, dead)
            for seq, (one, turn) in enumerate(((s, s.turn) for s in said), after):
                _insert_message(db, conversation, seq, one)
                turns, last = turns + (turn != last), turn
            db.execute(
                "UPDATE conversations SET length = ?, turns = turns + ?, last_turn = ?, updated = ?, tools = ?,"
                " head = ?, first = CASE first WHEN '' THEN CAST(? AS TEXT) ELSE first END WHERE id = ?",
                (after + len(said), turns, last, time.time(), tools_json(tools), head, raw(first), conversation),
            )
            db.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, CAST(? AS TEXT), ?)",
                [(conversation, raw(path), digest) for path, digest in seen.items()],
            )

        self.file.write(work)

    def compact(
        self,
        conversation: str,
        length: int,
        compaction: Compaction,
        *,
        holder: Holder | None,
        dead: Callable[[Holder], bool],
    ) -> None:
        """Keeps what the model shall read from now on in a conversation of `length` messages; raises as `append`."""
        one = compaction

        def work(db: sqlite3.Connection) -> None:
            _at_the_end(db, conversation, length, holder, dead)
            db.execute(
                "INSERT INTO compactions VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?)",
                (
                    *(conversation, one.covers, messages_json(one.opening), one.files, raw(one.summary)),
                    *(one.before, one.after, one.at),
                ),
            )

        self.file.write(work)

    def record(self, conversation: str, requests: Iterable[Request]) -> None:
        """Adds what requests cost, with their new token ids; raises Conflict where the conversation is gone."""

        def work(db: sqlite3.Connection) -> None:
            for one in requests:
                try:
                    db.execute(
                        "INSERT INTO requests (conversation, seq, turn, covers, epoch, start, ids, fingerprint, read,"
                        " written, cached, thought, model, at) VALUES (?1, (SELECT coalesce(max(seq) + 1, 0)"
                        " FROM requests WHERE conversation = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                        (
                            *(conversation, one.turn, one.covers, one.epoch, one.start, packed(one.new_ids)),
                            *(one.fingerprint, one.usage.read, one.usage.written, one.usage.cached),
                            *(one.usage.thought, one.model, one.at),
                        ),
                    )
                except sqlite3.IntegrityError as error:
                    raise Conflict("The conversation was deleted meanwhile.", hint="Start another one.") from error
                db.execute(
                    "UPDATE conversations SET fingerprint = CASE ?1 WHEN '' THEN fingerprint ELSE ?1 END,"
                    " model = CASE ?2 WHEN '' THEN model ELSE ?2 END WHERE id = ?3",
                    (one.fingerprint, one.model, conversation),
                )

        self.file.write(work)

    def copy(self, conversation: str, fork: str, at: int) -> None:
        """Makes `fork` from the first `at` messages, with the token ids that belong to them."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO conversations (id, created, updated, parent, tools, head, model, fingerprint, first)"
                " SELECT ?1, ?2, ?2, id, tools, head, model, fingerprint, first FROM conversations WHERE id = ?3",
                (fork, time.time(), conversation),
            )
            db.execute(
                "INSERT INTO messages SELECT ?1, seq, role, text, thinking, tool_calls, call_id, turn, at"
                " FROM messages WHERE conversation = ?2 AND seq < ?3",
                (fork, conversation, at),
            )
            db.execute(
                "INSERT INTO requests SELECT ?1, seq, turn, covers, epoch, start, ids, fingerprint, read, written,"
                " cached, thought, model, at FROM requests WHERE conversation = ?2 AND covers <= ?3",
                (fork, conversation, at),
            )
            db.execute(
                "INSERT INTO compactions SELECT ?1, covers, opening, files, summary, before, after, at"
                " FROM compactions WHERE conversation = ?2 AND covers <= ?3 ORDER BY rowid",
                (fork, conversation, at),
            )
            db.execute(
                "INSERT INTO seen SELECT ?1, path, digest FROM seen WHERE conversation = ?2", (fork, conversation)
            )
            db.execute(
                "UPDATE conversations SET length = ?2,"
                " turns = (SELECT count(DISTINCT turn) FROM messages WHERE conversation = ?1),"
                " last_turn = coalesce((SELECT turn FROM messages WHERE conversation = ?1 AND seq = ?2 - 1), '')"
                " WHERE id = ?1",
                (fork, at),
            )

        self.file.write(work)

    def rename(self, conversation: str, name: str) -> bool:
        """Gives a name, or takes it away with ""; False where there is no such conversation."""
        query = "UPDATE conversations SET name = CAST(? AS TEXT) WHERE id = ?"
        with _taken(name):
            return self.file.write(lambda db: db.execute(query, (raw(name), conversation)).rowcount == 1)

    def delete(self, conversation: str, dead: Callable[[Holder], bool]) -> bool:
        """Deletes for good; False where there is none, Conflict where someone has the turn."""

        def work(db: sqlite3.Connection) -> bool:
            other = _holder(db, conversation)
            if other is not None and not dead(other):
                raise held(other)
            return db.execute("DELETE FROM conversations WHERE id = ?", (conversation,)).rowcount == 1

        return self.file.write(work)

    # --- whose turn it is ----------------------------------------------------------------------------------------

    def take(self, conversation: str, holder: Holder, dead: Callable[[Holder], bool]) -> Holder | None:
        """Gives the turn to `holder`, unless one who is not dead has it; returns that one, or None."""

        def work(db: sqlite3.Connection) -> Holder | None:
            other = _holder(db, conversation)
            if other is not None and not dead(other):
                return other
            try:
                db.execute(
                    "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)",
                    (conversation, holder.token, holder.pid, holder.started, holder.host, holder.expires),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict("The conversation was deleted meanwhile.", hint="Start another one.") from error
            return None

        return self.file.write(work)

    def renew(self, conversation: str, token: str, expires: float) -> None:
        """Puts off the end of a claim, if it is still that one."""
        query = "UPDATE claims SET expires = ? WHERE conversation = ? AND token = ?"
        self.file.write(lambda db: db.execute(query, (expires, conversation, token)))

    def release(self, conversation: str, token: str) -> None:
        """Ends a claim, if it is still that one."""
        query = "DELETE FROM claims WHERE conversation = ? AND token = ?"
        self.file.write(lambda db: db.execute(query, (conversation, token)))


def held(holder: Holder) -> Conflict:
    """Says who has the turn."""
    return Conflict(
        f"Another turn is under way in this conversation (process {holder.pid} on {holder.host.split()[0]}).",
        hint="Wait for it to end, or fork the conversation.",
    )


def went_on(messages: int) -> Conflict:
    """Says that a conversation has grown since it was loaded."""
    return Conflict(
        f"The conversation went on elsewhere ({messages} messages more).", hint="Resume it anew, or fork it."
    )


def tools_json(tools: Iterable[ToolSpec]) -> str:
    """Tools as JSON, in their order and with that of their parameters."""
    return json.dumps([{"name": t.name, "description": t.description, "parameters": t.parameters} for t in tools])


def tools_from(text: str) -> tuple[ToolSpec, ...]:
    """Takes `tools_json` back."""
    return tuple(ToolSpec(**one) for one in json.loads(text))


def messages_json(messages: Iterable[Message]) -> str:
    """Messages as JSON, in ASCII: half a surrogate pair is spelled out."""
    return json.dumps([asdict(message) for message in messages])


def messages_from(text: str) -> tuple[Message, ...]:
    """Takes `messages_json` back."""
    return tuple(
        Message(**{**one, "tool_calls": tuple(ToolCall(**call) for call in one["tool_calls"])})
        for one in json.loads(text)
    )


def _at_the_end(
    db: sqlite3.Connection, conversation: str, after: int, holder: Holder | None, dead: Callable[[Holder], bool]
) -> str:
    """Makes sure that the conversation has `after` messages and that nobody else has the turn; the last turn's name."""
    row = db.execute("SELECT length, last_turn FROM conversations WHERE id = ?", (conversation,)).fetchone()
    if row is None:
        raise Conflict("The conversation was deleted meanwhile.", hint="Start another one.")
    if row[0] != after:
        raise went_on(row[0] - after)
    other = _holder(db, conversation)
    if other is not None and (holder is None or other.token != holder.token) and not dead(other):
        raise held(other)
    return str(row[1])


@contextlib.contextmanager
def _taken(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise UsageError(f"Another conversation is called {name!r}.", hint="Choose another name.") from error


_ENTRY = "id, name, created, updated, turns, length, first, parent, model, fingerprint, head"


def _entry(row: tuple[Any, ...]) -> Entry:
    created, updated = (datetime.fromtimestamp(row[n]).astimezone() for n in (2, 3))
    return Entry(row[0], row[1], created, updated, *row[4:11])


def _request(row: tuple[Any, ...]) -> Request:
    turn, covers, epoch, start, ids, fingerprint, read, written, cached, thought, model, at = row
    usage = Usage(read, written, cached, thought)
    return Request(turn, covers, epoch, start, unpacked(ids), fingerprint, usage, model, at)


def _holder(db: sqlite3.Connection, conversation: str) -> Holder | None:
    query = "SELECT token, pid, started, host, expires FROM claims WHERE conversation = ?"
    row = db.execute(query, (conversation,)).fetchone()
    return None if row is None else Holder(*row)


def _insert_message(db: sqlite3.Connection, conversation: str, seq: int, said: Said) -> None:
    one = said.message
    calls = json.dumps([[c.id, c.name, c.arguments] for c in one.tool_calls]) if one.tool_calls else ""
    db.execute(
        "INSERT INTO messages VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, CAST(? AS TEXT), ?, ?)",
        (
            *(conversation, seq, one.role, raw(one.text), raw(one.thinking)),
            calls,
            raw(one.call_id),
            said.turn,
            said.at,
        ),
    )


def _calls_from(text: str) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(*one) for one in json.loads(text)) if text else ()
