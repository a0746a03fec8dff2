"""What was said and thought, append-only, and the shelf on which it is kept.

Never rewrites a message and never drops one: what the engine has read once stays as it was, so its cache holds.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import os
import platform
import secrets
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import platformdirs
import psutil

from glm_lsp.errors import Conflict, GlmError, UsageError
from glm_lsp.store import (
    Compaction,
    Entry,
    Holder,
    Loaded,
    Request,
    Said,
    Store,
    as_json,
    held,
    markdown,
    tools_json,
    went_on,
)
from glm_lsp.terms import Message, TokenLog, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEASE_SECONDS = 60.0
"""How long a claim lasts without being renewed; it is renewed three times as often."""

Form = Literal["markdown", "json"]


@dataclass(slots=True)
class Conversation:
    """The record of the turns of one piece of work; one without a store lives in memory only.

    Attributes:
        tools: the tools on offer, frozen when the conversation starts.
        id: what it is opened by; "" in memory.
        name: what the person calls it; may be empty.
        turn: names the turn that what is appended belongs to; each claim begins one.
        words: how the person's first ask begins, for the list; else the first user message says it.
        seen: the digest of each file as the model knows it, by path.
    """

    tools: tuple[ToolSpec, ...] = ()
    _messages: list[Message] = field(default_factory=list)
    id: str = ""
    name: str = ""
    turn: str = field(default_factory=lambda: secrets.token_hex(4))
    words: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    _store: Store | None = None
    _generation: int = 0
    _said: list[tuple[str, float]] = field(default_factory=list)
    _requests: list[Request] = field(default_factory=list)
    _logs: dict[str, TokenLog] = field(default_factory=dict)
    _epoch: dict[str, int] = field(default_factory=dict)
    _compactions: list[Compaction] = field(default_factory=list)
    _kept: dict[str, str] = field(default_factory=dict)
    _holder: Holder | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything so far, oldest first."""
        return tuple(self._messages)

    @property
    def shown(self) -> tuple[Message, ...]:
        """What the model reads: everything, or what a compaction put in the place of the first messages and the rest."""
        if not self._compactions:
            return self.messages
        last = self._compactions[-1]
        return (*last.opening, *self._messages[last.covers :])

    @property
    def openings(self) -> tuple[int, ...]:
        """Which message each turn begins with."""
        turns = [turn for turn, _ in self._said]
        return tuple(n for n, turn in enumerate(turns) if n == 0 or turn != turns[n - 1])

    @property
    def logs(self) -> tuple[TokenLog, ...]:
        """The exact tokens of the first messages `shown`, as each engine that told any knows them, the latest first."""
        latest = dict.fromkeys(request.fingerprint for request in reversed(self._requests) if request.fingerprint)
        logs = (self._logs[fingerprint] for fingerprint in latest)
        return tuple(replace(log, covers=log.covers - self._hidden) for log in logs if log.covers > self._folded_to)

    @property
    def log(self) -> TokenLog | None:
        """The latest of them."""
        return next(iter(self.logs), None)

    @property
    def measured(self) -> tuple[int, int] | None:
        """Tokens that the engine counted, and how many of the messages `shown` they are of; None where it never did."""
        for request in reversed(self._requests):
            if request.covers <= self._folded_to:
                return None
            if request.usage.read:
                return request.usage.read + request.usage.written, request.covers - self._hidden
        return None

    @property
    def compactions(self) -> tuple[Compaction, ...]:
        """What was put in the place of earlier messages, oldest first."""
        return tuple(self._compactions)

    @property
    def _folded_to(self) -> int:
        """How many messages the latest compaction stands for."""
        return self._compactions[-1].covers if self._compactions else 0

    @property
    def _hidden(self) -> int:
        """How many messages fewer the model reads than there are."""
        return self._folded_to - len(self._compactions[-1].opening) if self._compactions else 0

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        """Tool calls at the end without a result, as a killed turn leaves them."""
        answered = set[str]()
        for message in reversed(self._messages):
            if message.role == "tool":
                answered.add(message.call_id)
            else:
                return tuple(call for call in message.tool_calls if call.id not in answered)
        return ()

    def append(self, *messages: Message) -> None:
        """Adds to the end; they are on the disk when it returns.

        Raises:
            Conflict: the conversation went on elsewhere, someone else has the turn, or it was deleted.
            StateError: it cannot be written; then nothing was added.
        """
        now = time.time()
        if self._store is not None and messages:
            fresh = [Said(message, self.turn, now) for message in messages]
            try:
                self._write(fresh, len(self._messages))
            except Conflict:
                if not self._lost():
                    raise
                self._write(fresh, len(self._messages))
        self._kept.update(self.seen)
        self._messages.extend(messages)
        self._said.extend((self.turn, now) for _ in messages)

    def compact(self, compaction: Compaction) -> None:
        """Lets the model read something shorter from now on; the record stays whole. Raises as `append` does."""
        if self._store is not None:
            try:
                self._keep(compaction)
            except Conflict:
                if not self._lost():
                    raise
                self._keep(compaction)
        self._compactions.append(compaction)

    def record(self, log: TokenLog | None, usage: Usage, *, model: str = "") -> None:
        """Keeps what a request cost and, where the engine told them, its exact tokens.

        Only ids that are new are stored; where the earlier ones are not their beginning, all are, as a new epoch.

        Raises Conflict and StateError as `append` does.
        """
        request = self._request(log, usage, model)
        if self._store is not None:
            try:
                self._store.record(self.id, [request])
            except Conflict:
                if not self._lost():
                    raise
                self._store.record(self.id, [request])
        self._requests.append(request)
        if log is not None and request.fingerprint:
            kept = replace(log, covers=request.covers)
            self._logs[log.fingerprint], self._epoch[log.fingerprint] = kept, request.epoch

    def _write(self, said: list[Said], after: int) -> None:
        assert self._store is not None  # noqa: S101 - for the type checker: only called with one
        everything = [*self._messages, *(one.message for one in said)]
        self._store.append(
            self.id,
            after,
            said,
            tools=self.tools,
            head=_head(self.tools, everything),
            first=self.words.strip()[:200] or _first_words(everything),
            holder=self._holder,
            dead=is_dead,
            seen={path: digest for path, digest in self.seen.items() if self._kept.get(path) != digest},
        )

    def _keep(self, compaction: Compaction) -> None:
        assert self._store is not None  # noqa: S101 - for the type checker: only called with one
        self._store.compact(self.id, len(self._messages), compaction, holder=self._holder, dead=is_dead)

    def _lost(self) -> bool:
        """Whether the whole file went away under us; then what we know of it is written again."""
        store = self._store
        if store is None or store.file.generation == self._generation:
            return False
        self._generation = store.file.generation
        if store.load(self.id) is not None:
            return False
        name = self.name if self.name and store.named(self.name) is None else ""
        store.create(self.id, name, first=self.words[:200])
        self._kept.clear()
        if self._messages:
            known = zip(self._messages, self._said, strict=True)
            self._write([Said(message, turn, at) for message, (turn, at) in known], 0)
        for compaction in self._compactions:
            self._keep(compaction)
        store.record(self.id, self._requests)
        if self._holder is not None:
            store.take(self.id, self._holder, is_dead)
        return True

    def _request(self, log: TokenLog | None, usage: Usage, model: str) -> Request:
        now, covers = time.time(), len(self._messages)
        log = replace(log, covers=log.covers + self._hidden) if log is not None else None
        if log is None or not _packable(log.ids):
            return Request(self.turn, covers, 0, 0, (), "", usage, model, now)
        earlier = self._logs.get(log.fingerprint)
        epoch, start = self._epoch.get(log.fingerprint, 0), 0
        if earlier is not None:
            start = len(earlier.ids)
            if log.ids[:start] != earlier.ids or log.covers < earlier.covers:
                epoch, start = epoch + 1, 0
        return Request(self.turn, log.covers, epoch, start, log.ids[start:], log.fingerprint, usage, model, now)

    def _take_in(self, loaded: Loaded, store: Store) -> None:
        self.tools, self.name, self._store = loaded.tools, loaded.entry.name, store
        self._generation, self.words = store.file.generation, loaded.entry.first
        self._messages.extend(one.message for one in loaded.said)
        self._said.extend((one.turn, one.at) for one in loaded.said)
        ids: dict[str, list[int]] = {}
        for request in loaded.requests:
            if request.fingerprint:
                grown = ids.setdefault(request.fingerprint, [])
                grown[request.start :] = request.new_ids
                self._epoch[request.fingerprint] = request.epoch
        covers = {request.fingerprint: request.covers for request in loaded.requests}
        self._logs = {name: TokenLog(tuple(grown), covers[name], name) for name, grown in ids.items()}
        self._requests, self._compactions = list(loaded.requests), list(loaded.compactions)
        self.seen, self._kept = dict(loaded.seen), dict(loaded.seen)


@dataclass(frozen=True, slots=True)
class Conversations:
    """The shelf: the conversations of one workspace."""

    store: Store

    @classmethod
    def at(cls, root: Path, *, environment: Mapping[str, str] = os.environ) -> Conversations:
        """Opens those of the workspace at `root`; GLM_LSP_STATE_DIR says where, else the person's state folder.

        Raises StateError where they cannot be kept, or a newer release wrote them.
        """
        state = environment.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp")
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        return cls(Store.open(Path(state) / "conversations" / f"{name}.sqlite"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person should be told, such as that a damaged file was set aside."""
        return tuple(self.store.file.notes)

    def create(self, name: str = "") -> Conversation:
        """Begins a conversation; raises UsageError where the name is taken."""
        fresh = secrets.token_hex(5)
        self.store.create(fresh, name)
        return self.open(fresh)

    def named(self, word: str) -> Conversation:
        """Loads a conversation as `open` does, or begins one of that name where there is none."""
        found = self.find(word)
        if found is not None:
            return found
        try:
            return self.create(word)
        except UsageError:
            return self.open(word)  # someone else has begun it in between

    def open(self, word: str) -> Conversation:
        """Loads a conversation by its id, its name, or the beginning of its id.

        Raises UsageError where none or several fit.
        """
        found = self.find(word)
        if found is None:
            raise UsageError(f"There is no conversation {word!r}.", hint="`glm-lsp sessions list` shows them all.")
        return found

    def find(self, word: str) -> Conversation | None:
        """As `open`, and None where there is none."""
        loaded = self.store.load(word)
        if loaded is None and (named := self.store.named(word) if word else None):
            loaded = self.store.load(named)
        if loaded is None:
            fits = [entry.id for entry in self.store.entries() if word and entry.id.startswith(word)]
            if len(fits) > 1:
                raise UsageError(f"Several conversations begin with {word!r}: {', '.join(fits[:5])}.")
            loaded = self.store.load(fits[0]) if fits else None
        if loaded is None:
            return None
        conversation = Conversation(id=loaded.entry.id)
        conversation._take_in(loaded, self.store)  # noqa: SLF001 - the shelf and its conversations are one thing
        return conversation

    def list(self) -> tuple[Entry, ...]:
        """All of them, the latest first, but for those without a name in which nothing was said."""
        return tuple(entry for entry in self.store.entries() if entry.messages or entry.name)

    def fork(self, conversation: str, at: int | None = None) -> Conversation:
        """Begins a copy of its first `at` messages, with their tokens; of all where no number is given."""
        source = self.open(conversation)
        length = len(source.messages)
        if at is not None and not 0 <= at <= length:
            raise UsageError(f"The conversation has {length} messages: it cannot be forked at {at}.")
        fresh = secrets.token_hex(5)
        self.store.copy(source.id, fresh, length if at is None else at)
        return self.open(fresh)

    def rename(self, conversation: str, name: str) -> None:
        """Gives it a name, or takes it away with ""; raises UsageError where that is another one's."""
        if not self.store.rename(conversation, name):
            raise UsageError(f"There is no conversation {conversation!r}.")

    def delete(self, conversation: str) -> None:
        """Deletes it for good; raises Conflict while a turn is under way in it."""
        if not self.store.delete(conversation, is_dead):
            raise UsageError(f"There is no conversation {conversation!r}.")

    def purge(self, older_than_days: float) -> int:
        """Deletes those that nobody went on with for so many days, and says how many; none with a turn under way."""
        latest, gone = time.time() - older_than_days * 86_400, 0
        for entry in self.store.entries():
            if entry.updated.timestamp() <= latest:
                with contextlib.suppress(Conflict):
                    gone += self.store.delete(entry.id, is_dead)
        return gone

    def export(self, conversation: str, form: Form = "markdown") -> str:
        """The whole record as text: to read, or as JSON with every token id."""
        loaded = self.store.load(self.open(conversation).id)
        if loaded is None:
            raise UsageError(f"There is no conversation {conversation!r}.")
        return as_json(loaded) if form == "json" else markdown(loaded)

    @contextlib.contextmanager
    def claim(self, conversation: Conversation, *, wait: float = 0.0, catch_up: bool = False) -> Iterator[None]:
        """Keeps every other turn, of this process too, out of a conversation.

        The claim of a holder that is dead, or that has not renewed it, is taken over.

        Args:
            conversation: one of this shelf; one in memory needs no claim.
            wait: seconds to wait for another turn to end; it blocks the thread.
            catch_up: whether messages that came from elsewhere are loaded, instead of a Conflict.

        Raises Conflict where another one has the turn, or the conversation went on elsewhere.
        """
        store = conversation._store  # noqa: SLF001 - as in `find`
        if store is None:
            yield
            return
        until = time.monotonic() + wait
        holder = _ourselves()
        try:
            while (other := _take(conversation, store, holder)) is not None:
                if time.monotonic() >= until:
                    raise held(other)
                time.sleep(0.05)
                holder = replace(holder, expires=time.time() + LEASE_SECONDS)
        except BaseException:
            _OURS.discard(holder.token)
            raise
        ended = threading.Event()
        beat = threading.Thread(target=_renew, args=(store, conversation.id, holder.token, ended), daemon=True)
        try:
            self._meet(conversation, catch_up=catch_up)
            conversation._holder, conversation.turn = holder, secrets.token_hex(4)  # noqa: SLF001 - as in `find`
            beat.start()
            yield
        finally:
            conversation._holder = None  # noqa: SLF001 - as in `find`
            ended.set()
            _OURS.discard(holder.token)  # from here on it counts as dead, also where the file cannot be written now
            with contextlib.suppress(GlmError):
                store.release(conversation.id, holder.token)

    def _meet(self, conversation: Conversation, *, catch_up: bool) -> None:
        known = len(conversation.messages)
        newer = self.store.load(conversation.id, since=known)
        if newer is not None and newer.said:
            if not catch_up:
                raise went_on(len(newer.said))
            conversation._take_in(newer, self.store)  # noqa: SLF001 - as in `find`


def is_dead(holder: Holder) -> bool:
    """Whether a claim may be taken over.

    On this host the process tells, whatever the clock says, and a claim that nobody renews ends too; of another host
    only the clock is known, so a time further ahead than a claim lasts means that the clock went back.
    """
    ahead = holder.expires - time.time()
    if ahead <= 0:
        return True
    if holder.host != _host():
        return ahead > LEASE_SECONDS
    if holder.pid == os.getpid() and holder.token not in _OURS:
        return True
    try:
        process = psutil.Process(holder.pid)
        return abs(_since_boot(process) - holder.started) >= 1 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _ourselves() -> Holder:
    token, expires = secrets.token_hex(8), time.time() + LEASE_SECONDS
    _OURS.add(token)
    return Holder(token, os.getpid(), _since_boot(psutil.Process()), _host(), expires)


_OURS: set[str] = set()
"""The claims of this process that are wanted or held; one that could not be let go of is in the file alone."""


def _take(conversation: Conversation, store: Store, holder: Holder) -> Holder | None:
    try:
        return store.take(conversation.id, holder, is_dead)
    except Conflict:
        if not conversation._lost():  # noqa: SLF001 - as in `find`
            raise
        return store.take(conversation.id, holder, is_dead)


def _since_boot(process: psutil.Process) -> float:
    """When a process began, on a scale that setting the clock does not move."""
    return process.create_time() - psutil.boot_time()


def _host() -> str:
    """This host and, where there are such, its namespace of pids: containers do not see each other's processes."""
    try:
        return f"{platform.node() or 'localhost'} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node() or "localhost"


def _renew(store: Store, conversation: str, token: str, ended: threading.Event) -> None:
    while not ended.wait(LEASE_SECONDS / 3):
        with contextlib.suppress(Exception):  # whoever appends next is told what is wrong
            store.renew(conversation, token, time.time() + LEASE_SECONDS)


def _packable(ids: tuple[int, ...]) -> bool:
    try:
        array.array("I", ids)
    except (OverflowError, TypeError):
        return False
    return True


def _head(tools: tuple[ToolSpec, ...], messages: list[Message]) -> str:
    system = [message.text for message in messages[:1] if message.role == "system"]
    return hashlib.sha256(json.dumps([tools_json(tools), system]).encode()).hexdigest()[:16]


def _first_words(messages: list[Message]) -> str:
    text = next((message.text for message in messages if message.role == "user"), "")
    return " ".join(text[:400].split())[:200]
