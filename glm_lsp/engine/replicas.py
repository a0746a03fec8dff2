"""One engine made of several: replicas of one model, to one of which each workspace keeps.

Never spreads a conversation over them: each has a cache of its own, and only the one that has read a conversation goes
on with it quickly.

Where a conversation belongs is computed and not stored: of all addresses, the one whose digest together with the
workspace's name is the highest (rendezvous hashing). So it is the same after a restart, and a replica that is added or
taken away moves its own share of the workspaces and no other. While a conversation's replica is down, the next in that
order stands in. It then keeps the conversation, for as long as this process runs, even when the first is back: the
price of moving has been paid, and would be paid again. What begins anew, a new conversation or one that was made
shorter, goes to the replica of its workspace.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import random
from collections import OrderedDict
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.engine import profiles
from glm_lsp.engine.cards import Listing
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.connection import Connection
from glm_lsp.engine.health import Replica, is_a_long_wait, none_left, speaks_against, why
from glm_lsp.errors import (
    DiedMidStream,
    EngineError,
    Overloaded,
    SettingsError,
    Stalled,
    Unreachable,
    WrongModel,
)
from glm_lsp.terms import Delta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from pathlib import Path

    from glm_lsp.engine.profiles import Profile
    from glm_lsp.settings import EngineSettings
    from glm_lsp.terms import Prompt

_MOST_HOMES = 512  # conversations that are remembered at one time


class Replicas:
    """Several engines behind HTTP that serve the same model, as one.

    A replica that fails is left alone for a moment, which doubles each time until a reply of its comes to a good end.
    After that moment it is asked what it serves before a request is risked. A request that fails before its first
    word is sent to the next replica at once. After the first word nothing is sent again here: the error's `elsewhere`
    says whether another replica would take it.

    Args:
        settings: `replicas` has the addresses; everything else holds for each of them.
        cache: folder that remembers what a server was seen to be able to do; None to remember nothing.
        anew: whether to find that out again, whatever is remembered.
        environment: where the key comes from.
        pause: seconds for which a replica is left alone after its first failure.
        grace: seconds for which `connect` waits for the others once one has answered.
        look_every: seconds of silence before the first word after which it is seen whether the server lives.

    Raises:
        SettingsError: an address or the dialect is not one, or an address stands there twice.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        cache: Path | None = None,
        anew: bool = False,
        environment: Mapping[str, str] = os.environ,
        pause: float = 2.0,
        grace: float = 2.0,
        look_every: float = 15.0,
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._anew = anew
        self._environment = environment
        self._pause = pause
        self._grace = grace
        self._look_every = look_every
        self._replicas = [Replica(url, self._client(url)) for url in settings.replicas]
        names = [replica.name for replica in self._replicas]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise SettingsError(f"engine.replicas has {twice} twice.", hint="Name each engine once.")
        self._model = settings.model
        self._profile = profiles.profile_for(settings.model)
        self._connected = False
        self._connecting = asyncio.Lock()
        self._opening: set[asyncio.Task[None]] = set()
        self._homes: OrderedDict[str, _Home] = OrderedDict()
        self._retired: list[HttpEngine] = []
        self._notes: list[str] = []
        self._noted: set[str] = set()

    @property
    def model(self) -> str:
        """The name they serve the model under."""
        return self._model

    @property
    def profile(self) -> Profile:
        """What is known of the model, with the shortest context that any of them has; only valid after `connect`."""
        return self._profile

    def take_notes(self) -> tuple[str, ...]:
        """What a person should know of these engines and has not been told: each thing once, as a sentence."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def order(self, workspace: str) -> tuple[str, ...]:
        """The addresses in the order in which a workspace uses them; no other address changes the place of two."""
        return tuple(replica.url for replica in self._ranked(workspace))

    async def connect(self) -> None:
        """Finds the servers and compares their models; safe to call twice.

        One that answers is enough. Those that take longer than a moment are joined when they answer.

        Raises:
            EngineError: none can be used; the message has a cause for each.
        """
        async with self._connecting:
            if self._connected:
                return
            waiting = {asyncio.create_task(self._open(replica)) for replica in self._replicas}
            self._opening |= waiting
            for task in waiting:
                task.add_done_callback(self._opening.discard)
            try:
                while waiting and not any(replica.ready for replica in self._replicas):
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                for task in waiting:
                    task.cancel()
                raise
            if waiting:
                await asyncio.wait(waiting, timeout=self._grace)
            for replica in self._replicas:
                if replica.ready:
                    self._compare(replica)
            if not self._connected:
                raise none_left({one: one.cause for one in self._replicas if one.cause is not None})

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Sends one request to the conversation's replica, or to the next while that one is down.

        An empty Delta before the first word says that there is a note to be taken.

        Raises:
            EngineError: as its tree says; `elsewhere` where another replica would take the request at once.
        """
        await self.connect()
        key = _beginning(prompt)
        home = self._homes.get(key)
        order = self._ranked(prompt.workspace or _head(prompt), home)
        causes: dict[Replica, EngineError] = {}
        for replica in [*filter(Replica.is_up, order), *(one for one in order if not one.is_up())]:
            try:
                await self._ready(replica)
            except EngineError as error:
                causes[replica] = error
                continue
            if self._note_move(prompt, home, order[0], replica):
                yield Delta()
            spoke = False
            try:
                async with aclosing(self._heard(replica, prompt)) as deltas:
                    async for delta in deltas:
                        if delta.queued is None and (not spoke or delta.usage):
                            self._stays(key, replica, delta)
                            spoke = True
                        yield delta
            except EngineError as error:
                others = any(one.is_up() for one in self._replicas if one is not replica)
                if not speaks_against(error) and not (is_a_long_wait(error) and others):
                    raise
                replica.failed(error, self._pause)
                causes[replica] = error
                if spoke:
                    error.elsewhere = others
                    raise
                if sum(isinstance(one, DiedMidStream) for one in causes.values()) > 1:
                    raise  # what broke two engines might be the request, and shall not break a third
                continue
            replica.succeeded()
            return
        raise none_left(causes)

    async def count(self, text: str) -> int | None:
        """The tokens of a text, by the first that can say."""
        for replica in self._replicas:
            if replica.ready and replica.is_up() and (found := await replica.client.count(text)) is not None:
                return found
        return None

    async def close(self) -> None:
        """Lets go of connections; the engines run on."""
        for task in list(self._opening):
            task.cancel()
        if self._opening:
            await asyncio.wait(self._opening)
        for client in (*self._retired, *(replica.client for replica in self._replicas)):
            await client.close()
        self._retired.clear()

    # --- where a conversation belongs ----------------------------------------------------------------------------

    def _ranked(self, workspace: str, home: _Home | None = None) -> list[Replica]:
        def rank(replica: Replica) -> bytes:
            return hashlib.sha256(f"{workspace}\0{replica.url}".encode("utf-8", "surrogatepass")).digest()

        ranked = sorted(self._replicas, key=rank, reverse=True)
        if home is not None:
            ranked.sort(key=lambda replica: replica is not home.replica)
        return ranked

    def _stays(self, key: str, replica: Replica, delta: Delta) -> None:
        """Notes that a conversation is at home at a replica, and how much that one has read of it."""
        before = self._homes.pop(key, None)
        read = before.read if before is not None else 0
        self._homes[key] = _Home(replica, delta.usage.read + delta.usage.written if delta.usage else read)
        while len(self._homes) > _MOST_HOMES:
            self._homes.popitem(last=False)

    def _note_move(self, prompt: Prompt, home: _Home | None, first: Replica, replica: Replica) -> bool:
        """Says that a conversation goes on elsewhere, or that another replica stands in for new ones, once an outage."""
        if replica is first or first.cause is None:
            return False
        cause = f"{first.name} {why(first.cause)}"
        if any(message.role == "assistant" for message in prompt.messages):
            tokens = (home.read if home else 0) or (len(prompt.log.ids) if prompt.log else 0) or _reckoned(prompt)
            self._notes.append(
                f"{cause}; this conversation goes on at {replica.name}, which reads it anew (about {tokens:,} tokens): "
                "the first answer takes longer."
            )
        elif replica.name not in first.told:
            first.told.add(replica.name)
            self._notes.append(f"{cause}; {replica.name} stands in for it.")
        else:
            return False
        return True

    # --- one replica ---------------------------------------------------------------------------------------------

    def _client(self, url: str) -> HttpEngine:
        """A client that tries nothing twice, as there are others to try."""
        alone = dataclasses.replace(self._settings, url=url, replicas=[], retries=0)
        return HttpEngine(alone, cache=self._cache, anew=self._anew, environment=self._environment)

    async def _open(self, replica: Replica) -> None:
        """Connects with a replica and compares it with the others, once there is something to compare it with."""
        async with replica.opening:
            if replica.ready or replica.failures:  # it may be another server by now: ask everything again
                if replica.streams:
                    self._retired.append(replica.client)
                else:
                    await replica.client.close()
                replica.client, replica.ready = self._client(replica.url), False
            try:
                await replica.client.connect()
            except EngineError as error:
                replica.failed(error, self._pause)
                return
            replica.ready = True
            if self._connected:
                self._compare(replica)

    async def _ready(self, replica: Replica) -> None:
        """Returns when a request may be risked.

        Raises:
            EngineError: why it may not.
        """
        if replica.ready and not replica.failures:
            return
        if replica.opening.locked() and any(one.is_up() for one in self._replicas if one is not replica):
            raise replica.cause or Unreachable(f"{replica.name} has not answered yet.", retryable=True)
        await self._open(replica)
        if not replica.ready:
            raise replica.cause or Unreachable(f"{replica.name} cannot be used.")

    def _compare(self, replica: Replica) -> None:
        """Takes the first as the measure, and leaves out who serves another model or lacks an ability."""
        model, profile = replica.client.model, replica.client.profile
        if not self._connected:
            self._model, self._profile, self._connected = model, profile, True
            return
        ours = self._profile
        missing = [what for what in ("tools", "thinking") if getattr(ours, what) and not getattr(profile, what)]
        if model.casefold() != self._model.casefold() or profile.id != ours.id:
            self._leave_out(replica, f"it serves {model}, and the others serve {self._model}")
        elif missing:
            self._leave_out(replica, f"its {self._model} is without {' and '.join(missing)}, which the others have")
        elif profile.context_length < ours.context_length:
            self._profile = profiles.refined(ours, context_length=profile.context_length)
            self._note_once(
                f"{replica.name} reads {profile.context_length:,} tokens at most and others {ours.context_length:,}: "
                f"conversations are kept within {profile.context_length:,}, so that it can stand in."
            )
        elif profile.context_length > ours.context_length:
            self._note_once(
                f"{replica.name} reads {profile.context_length:,} tokens at most: conversations are kept within the "
                f"{ours.context_length:,} that all can read."
            )

    def _leave_out(self, replica: Replica, reason: str) -> None:
        error = WrongModel(
            f"{replica.name} is left out: {reason}.", hint="Correct engine.replicas, or what runs there."
        )
        self._note_once(error.message)
        replica.ready = False
        replica.failed(error, self._pause)

    def _note_once(self, words: str) -> None:
        if words not in self._noted:
            self._noted.add(words)
            self._notes.append(words)

    async def _heard(self, replica: Replica, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """One replica's reply; a busy one is asked again after the moment that it asks for, as the cache is there."""
        attempt = 0
        client = replica.client
        while True:
            replica.streams += 1
            try:
                async with aclosing(client.stream(prompt)) as deltas:
                    while (first := await self._first(replica, client, deltas)).queued is not None:
                        yield first
                    self._believe(replica, client)
                    yield first
                    async for delta in deltas:
                        yield delta
                    return
            except Overloaded as error:
                attempt += 1
                if attempt > self._settings.retries or is_a_long_wait(error):
                    raise
                asked = error.retry_after or 0.0
            finally:
                replica.streams -= 1
            await asyncio.sleep(max(asked, 0.5 * 2**attempt * random.uniform(0.5, 1.0)))  # noqa: S311 - spreads clients

    async def _first(self, replica: Replica, client: HttpEngine, deltas: AsyncGenerator[Delta, None]) -> Delta:
        """The first Delta, which may take minutes while the prompt is read, unless the server is not there any more.

        Raises:
            Stalled: it has not answered two simple questions either.
        """
        waiting = asyncio.ensure_future(anext(deltas))
        silent = 0
        try:
            while not (await asyncio.wait({waiting}, timeout=self._look_every))[0]:
                silent = 0 if await self._lives(replica) else silent + 1
                if silent > 1:
                    what = f"The engine at {client.where} has stopped answering."
                    raise Stalled(what, hint="See whether its host runs.", retryable=True)
            return waiting.result()
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})

    def _believe(self, replica: Replica, client: HttpEngine) -> None:
        """Looks at the name under which a reply comes.

        Raises:
            WrongModel: it is another model's.
        """
        told = client.take_notes()
        self._notes += told
        if client.answered and any(f"answers as {client.answered}." in note for note in told):
            replica.lies.add(client.answered)
        if client.answered in replica.lies:
            raise WrongModel(
                f"{replica.name} was asked for {self._model} and answers as {client.answered}.",
                hint="Correct engine.replicas, or what runs there.",
            )

    async def _lives(self, replica: Replica) -> bool:
        line = Connection(dataclasses.replace(self._settings, url=replica.url), environment=self._environment)
        try:
            await line.get("/models", Listing)
        except (Unreachable, Stalled, DiedMidStream):
            return False
        except EngineError:
            return True  # whatever it says, it says something
        finally:
            await line.close()
        return True


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a conversation is, and how many tokens were read and written there."""

    replica: Replica
    read: int


def _head(prompt: Prompt) -> str:
    """What stands for the workspace where none is named: the first message, which all of its conversations share."""
    return prompt.messages[0].text if prompt.messages else ""


def _beginning(prompt: Prompt) -> str:
    """Names a conversation by its beginning, up to the first thing a person said, as the caches of engines do."""
    digest = hashlib.sha256(prompt.workspace.encode("utf-8", "surrogatepass"))
    for message in prompt.messages:
        digest.update(f"\0{message.role}\0{message.text}".encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return digest.hexdigest()


def _reckoned(prompt: Prompt) -> int:
    """Tokens of a prompt that nobody has counted, at three characters each."""
    texts: Iterable[str] = (m.text + m.thinking + "".join(c.arguments for c in m.tool_calls) for m in prompt.messages)
    return sum(map(len, texts)) // 3
