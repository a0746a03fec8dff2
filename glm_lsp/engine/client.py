"""Streams chat completions from an OpenAI-compatible server over TCP or a Unix socket.

Never judges a reply: `length`, a reply of thinking only and an empty one are handed on as they are, and the turn says
what they mean (`Truncated`, `NothingSaid`).

Time is limited in three ways, never in total: connecting, then waiting for the first word (the prompt is read, which
may take minutes; a keep-alive comment or an empty chunk counts as life and starts this clock again), then silence
between words (comments no longer count: an engine that only keeps the line open has stalled). The clock stands still
while our own consumer is slow. A request is tried again only while no word has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from glm_lsp.engine import dialects, profiles
from glm_lsp.engine.connection import Connection, ToolsRefused
from glm_lsp.engine.reply import Again, Reply
from glm_lsp.engine.tags import TagParser
from glm_lsp.errors import (
    CannotDo,
    EngineError,
    MalformedReply,
    Overloaded,
    SettingsError,
    Stalled,
    WrongModel,
)
from glm_lsp.terms import Delta, Message, Prompt, Sampling, ToolSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from glm_lsp.engine.dialects import Dialect
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.settings import EngineSettings

_LONGEST_PAUSE = 30.0  # seconds; an engine that asks for more is left to the person
_PROBE_TIMEOUT = 20.0  # seconds; a busy engine must not hold up the start
_REMEMBER = 24 * 3600.0  # seconds that abilities once seen are believed


class HttpEngine:
    """An engine behind HTTP.

    Close the iterator that `stream` returns (`contextlib.aclosing`) or cancel the task that reads it: the connection
    is closed at once, by which the engine stops writing.

    Args:
        settings: address, model, dialect, time-outs.
        cache: folder that remembers what a server was seen to be able to do; None to remember nothing.
        environment: where the key comes from.
        backoff: seconds before the first retry; doubled for each further one.

    Raises:
        SettingsError: the address or the dialect is not one.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        cache: Path | None = None,
        environment: Mapping[str, str] = os.environ,
        backoff: float = 0.5,
    ) -> None:
        if settings.dialect and settings.dialect not in dialects.DIALECTS:
            known = ", ".join(dialects.DIALECTS)
            raise SettingsError(f"engine.dialect is {settings.dialect!r}.", hint=f"There are: {known}.")
        self._settings = settings
        self._line = Connection(settings, environment=environment)
        self._cache = cache
        self._remembered: Path | None = None
        self._backoff = backoff
        self._model = settings.model
        self._dialect = dialects.DIALECTS.get(settings.dialect, dialects.GENERIC)
        self._profile = profiles.profile_for(settings.model)
        self._seen = _Abilities()
        self._connected = False
        self._connecting = asyncio.Lock()

    @property
    def model(self) -> str:
        """The name the engine serves the model under."""
        return self._model

    @property
    def profile(self) -> Profile:
        """What is known of the model, as probed; only valid after `connect`."""
        return self._profile

    @property
    def dialect(self) -> Dialect:
        """How this server spells things; only valid after `connect`."""
        return self._dialect

    async def connect(self) -> None:
        """Finds the server and the model and learns their abilities; safe to call twice.

        Raises:
            EngineError: nothing there, the wrong model, or not allowed.
        """
        async with self._connecting:
            if not self._connected:
                version = await self._find_model()
                await self._learn(version)
                self._connected = True

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Sends one request and yields what comes back; connects first where that has not been done.

        What arrives in one piece is handed on in one piece: text of several chunks may come in one Delta.
        The last Delta carries `finish`, and with it usage where the engine tells it.

        Raises:
            EngineError: as its tree says; after the first Delta nothing is retried.
        """
        await self.connect()
        if prompt.tools and not self._profile.tools:
            raise CannotDo(
                f"{self._model} at {self._line.where} takes no tools.",
                hint="With vLLM, start it with --enable-auto-tool-choice and a --tool-call-parser.",
            )
        tags = self._tag_parser(prompt)
        try:
            reply, batch = await self._begin(self._body(prompt))
        except ToolsRefused as refused:
            self._forget()
            raise refused.error from None
        try:
            while True:
                for delta in batch:
                    if tags is None:
                        yield delta
                    else:
                        for parsed in tags.feed(delta):
                            yield parsed
                if batch and batch[-1].finish is not None:
                    return
                reply.rested()
                batch = await reply.more()
        finally:
            reply.close()

    async def close(self) -> None:
        """Lets go of connections; the engine itself runs on."""
        await self._line.close()

    # --- finding out ---------------------------------------------------------------------------------------------

    async def _find_model(self) -> str:
        """Settles model, dialect and context length from what the server says of itself; returns its version."""
        wanted = self._settings.model
        cards: list[_Card] = []
        try:
            cards = (await self._line.get("/models", _Listing)).data
        except MalformedReply:
            if not wanted:  # some servers have no list; where the model is named, none is needed
                raise
        self._line.served = tuple(card.id for card in cards)
        card = next((c for c in cards if not wanted or c.id == wanted), None)
        card = card or next((c for c in cards if c.id.casefold() == wanted.casefold()), None)
        if card is None and (cards or not wanted):
            what = f"no model {wanted}" if wanted else "no model at all"
            served = f"; it serves {', '.join(self._line.served)}" if cards else ""
            raise WrongModel(
                f"The engine at {self._line.where} has {what}{served}.", hint="Set engine.model to one it serves."
            )
        owner = (card.owned_by if card else None) or ""
        version = ""
        if owner in ("", *dialects.VLLM.owners):
            with contextlib.suppress(EngineError):  # only vLLM has one
                version = (await self._line.get("/../version", _Version)).version
        if not self._settings.dialect:
            named = (dialect for dialect in dialects.DIALECTS.values() if owner in dialect.owners)
            self._dialect = next(named, dialects.VLLM if version else dialects.GENERIC)
        self._model = self._line.model = card.id if card else wanted
        known = profiles.profile_for(self._model)
        self._profile = profiles.refined(
            known, context_length=(card.max_model_len or card.context_length) if card else None
        )
        return version

    async def _learn(self, version: str) -> None:
        """Probes abilities with a request for one token, unless the answer is known."""
        believed = self._profile
        if not (believed.tools or believed.thinking or believed.id == profiles.GENERIC.id):
            return
        identity = f"{self._line.where}\n{self._model}\n{version}\n{self._dialect.id}"
        name = hashlib.sha256(identity.encode()).hexdigest()[:24]
        if self._cache is not None:
            self._remembered = self._cache / "abilities" / f"{name}.json"
        self._seen = _recall(self._remembered) or await self._probe()
        self._profile = profiles.refined(
            believed,
            tools=self._seen.tools if self._seen.tools or believed.tool_wire == "none" else believed.tools,
            thinking=None if self._seen.thinking == "unseen" else True,
        )

    async def _probe(self) -> _Abilities:
        tools = (ToolSpec("noop", "Does nothing.", {"type": "object", "properties": {}}),)
        sampling = Sampling(0.0, None, 1)
        believed = profiles.refined(self._profile, thinking=True)
        for offered in (tools, ()):
            prompt = Prompt((Message("user", "Hello"),), offered, thinking=True, sampling=sampling)
            fields = dialects.body(self._dialect, believed, self._model, prompt, extra=self._settings.extra_body)
            fields[self._dialect.max_tokens_field] = 1
            try:
                async with asyncio.timeout(min(_PROBE_TIMEOUT, self._settings.first_token_timeout)):
                    reply, said = await self._begin(msgspec.json.encode(fields))
                    try:
                        while said and said[-1].finish is None:
                            said += await reply.more()
                    finally:
                        reply.close()
            except ToolsRefused:
                continue
            except (TimeoutError, Stalled, Overloaded, CannotDo):
                # It is there and busy, or dislikes the probe: beliefs stand, and the next start asks again.
                return _Abilities(tools=self._profile.tools)
            thought = any(delta.thinking for delta in said)
            raw = any(delta.text for delta in said) and not thought and self._profile.thinking
            seen = _Abilities(bool(offered), "parsed" if thought else "raw" if raw else "unseen")
            if seen.tools:  # what a server lacks is asked again each time: its operator may add it any minute
                _remember(self._remembered, seen)
            return seen
        return _Abilities(tools=False)

    def _tag_parser(self, prompt: Prompt) -> TagParser | None:
        """Makes a parser for what the server leaves in the text; None where it leaves nothing there."""
        raw_tools = bool(prompt.tools) and not self._seen.tools
        raw_thinking = self._seen.thinking == "raw"
        if self._profile.tool_wire == "none" or not (raw_tools or raw_thinking):
            return None
        switched = prompt.thinking or not (self._dialect.template_arguments and self._profile.thinking_switch)
        return TagParser(prompt.tools if raw_tools else (), thinking=switched if raw_thinking else None)

    def _forget(self) -> None:
        """Drops what was remembered of the server's abilities, which has turned out to be wrong."""
        self._connected = False
        if self._remembered is not None:
            self._remembered.unlink(missing_ok=True)

    def _body(self, prompt: Prompt) -> bytes:
        return msgspec.json.encode(
            dialects.body(
                self._dialect,
                self._profile,
                self._model,
                prompt,
                priority=self._settings.priority,
                tools_as_text=not self._seen.tools,
                extra=self._settings.extra_body,
            )
        )

    # --- talking -------------------------------------------------------------------------------------------------

    async def _begin(self, body: bytes) -> tuple[Reply, list[Delta]]:
        """Sends the request until its first words are here, with retries; returns them and the reply to read on."""
        attempt = 0
        while True:
            reply = None
            try:
                reply = await self._line.post(body)
                return reply, await reply.more()
            except BaseException as problem:
                if reply is not None:
                    reply.close()
                if not isinstance(problem, Again):
                    raise
                attempt += 1
                pause = self._backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients
                asked = (problem.error.retry_after if isinstance(problem.error, Overloaded) else None) or 0.0
                if attempt > min(self._settings.retries, problem.times) or asked > _LONGEST_PAUSE:
                    raise problem.error from problem.__cause__
            await asyncio.sleep(max(pause, asked))


# --- what servers say of themselves, and what is remembered of it ------------------------------------------------


class _Card(msgspec.Struct):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None
    context_length: int | None = None


class _Listing(msgspec.Struct):
    data: list[_Card]


class _Version(msgspec.Struct):
    version: str


class _Abilities(msgspec.Struct, frozen=True):
    """What a server was seen to do.

    Attributes:
        tools: takes tools and parses the calls itself.
        thinking: `parsed` has a field of its own, `raw` is left in the text, `unseen` did not show.
        at: when it was seen, in seconds since the epoch.
    """

    tools: bool = False
    thinking: Literal["parsed", "raw", "unseen"] = "unseen"
    at: float = 0.0


def _recall(path: Path | None) -> _Abilities | None:
    if path is None:
        return None
    try:
        seen = msgspec.json.decode(path.read_bytes(), type=_Abilities)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return seen if 0 <= time.time() - seen.at < _REMEMBER else None


def _remember(path: Path | None, seen: _Abilities) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(msgspec.structs.replace(seen, at=time.time())))
        fresh.replace(path)
    except OSError:  # a full or read-only disk costs a probe at the next start, no more
        pass
