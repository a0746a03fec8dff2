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
import dataclasses
import os
import random
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp.engine import cards, dialects, exact, profiles, turnstile
from glm_lsp.engine.abilities import PROBE_TIMEOUT
from glm_lsp.engine.attach import Server, attach
from glm_lsp.engine.connection import Connection, ToolsRefused
from glm_lsp.engine.reply import Again, Reply
from glm_lsp.engine.tags import TagParser
from glm_lsp.errors import CannotDo, EngineError, MalformedReply, Overloaded, Refused, SettingsError, WrongModel
from glm_lsp.terms import Delta, Message, Prompt, Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from glm_lsp.engine.abilities import Abilities
    from glm_lsp.engine.attach import Exactness
    from glm_lsp.engine.dialects import Dialect
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.settings import EngineSettings
    from glm_lsp.terms import TokenLog

_MOST_ORIGINALS = 256  # thoughts that are kept as they came; older ones go back as text
_LONGEST_PAUSE = 30.0  # seconds; an engine that asks for more is left to the person


class HttpEngine:
    """An engine behind HTTP.

    Close the iterator that `stream` returns (`contextlib.aclosing`) or cancel the task that reads it: the connection
    is closed at once, by which the engine stops writing.

    Args:
        settings: address, model, dialect, time-outs.
        cache: folder that remembers what a server was seen to be able to do; None to remember nothing.
        anew: whether to find that out again, whatever is remembered.
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
        anew: bool = False,
        environment: Mapping[str, str] = os.environ,
        backoff: float = 0.5,
    ) -> None:
        if settings.dialect and settings.dialect not in dialects.DIALECTS:
            there_are = ", ".join(dialects.DIALECTS)
            raise SettingsError(f"engine.dialect is {settings.dialect!r}.", hint=f"There are: {there_are}.")
        self._settings = settings
        self._line = Connection(settings, environment=environment)
        self._cache = cache
        self._anew = anew
        self._backoff = backoff
        known = dialects.DIALECTS.get(settings.dialect, dialects.GENERIC)
        self._server = Server(settings.model, profiles.profile_for(settings.model), known)
        self._connected = False
        self._connecting = asyncio.Lock()
        self._template: exact.Template | None = None
        self._learning = asyncio.Lock()
        self._originals: dict[str, list[dict[str, Any]]] = {}
        self._answered = ""
        self._notes: list[str] = []
        self._unordered = False

    @property
    def model(self) -> str:
        """The name the engine serves the model under."""
        return self._server.model

    @property
    def profile(self) -> Profile:
        """What is known of the model, as probed; only valid after `connect`."""
        return self._server.profile

    @property
    def dialect(self) -> Dialect:
        """How this server spells things; only valid after `connect`."""
        return self._server.dialect

    @property
    def where(self) -> str:
        """The address, without anything secret."""
        return self._line.where

    @property
    def version(self) -> str:
        """What the server says its version is; empty where it does not; only valid after `connect`."""
        return self._server.version

    @property
    def seen(self) -> Abilities:
        """What the server was seen to do; only valid after `connect`."""
        return self._server.seen

    @property
    def exactness(self) -> Exactness:
        """How earlier thinking comes back, as far as was seen; only valid after `connect`."""
        return self._server.exactness

    @property
    def answered(self) -> str:
        """The name of the model in the last reply; empty before the first, and where the server gives none."""
        return self._answered

    def take_notes(self) -> tuple[str, ...]:
        """What a person should know of this engine and has not been told: each thing once, as a sentence."""
        notes, self._notes = tuple(self._notes), []
        return notes

    async def connect(self) -> None:
        """Finds the server and the model and learns their abilities; safe to call twice.

        Raises:
            EngineError: nothing there, the wrong model, or not allowed.
        """
        async with self._connecting:
            if not self._connected:
                await attach(self._server, self._line, self._settings, self._said, cache=self._cache, anew=self._anew)
                self._connected = True

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Sends one request when it is its turn and yields what comes back; connects first where that has not been done.

        What arrives in one piece is handed on in one piece: text of several chunks may come in one Delta.
        The last Delta carries `finish`, and with it usage where the engine tells it, and the log of a whole reply
        where the engine works with tokens. A prompt's own log that is another engine's is left aside.

        Raises:
            EngineError: as its tree says; after the first Delta nothing is retried.
        """
        await self.connect()
        priority = self._settings.priority + prompt.priority
        ticket = turnstile.ticket(self._line.where, priority=priority, limit=self._settings.max_requests)
        try:
            waited = False
            while place := await ticket.moved():
                waited = True
                yield Delta(queued=place)
            if waited:
                yield Delta(queued=0)
            if ticket.problem and not self._unordered:
                self._unordered = True
                self._notes.append(ticket.problem)
            async with contextlib.aclosing(self._exchange(prompt)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            ticket.give_back()

    async def _exchange(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        if prompt.tools and not self._server.profile.tools:
            raise CannotDo(
                f"{self._server.model} at {self._line.where} takes no tools.",
                hint="With vLLM, start it with --enable-auto-tool-choice and a --tool-call-parser.",
            )
        tags = self._tag_parser(prompt)
        tokens = await self._tokens(prompt)
        try:
            try:
                reply, batch = await self._begin(self._body(prompt, tokens))
            except CannotDo:
                if tokens is None:
                    raise
                tokens = None
                reply, batch = await self._begin(self._body(prompt, None))
                self._server.works_without_tokens()  # it was they that the server disliked
        except ToolsRefused as refused:
            self._connected = False
            self._server.forget()
            raise refused.error from None
        try:
            if tokens is not None and (not reply.read or (tokens.ids and reply.read != tokens.ids)):
                self._server.works_without_tokens()  # it read something else: the messages, which came along for that
                tokens = None
            while True:
                if tokens is not None and batch and batch[-1].finish is not None:
                    batch[-1] = dataclasses.replace(batch[-1], log=self._log(reply, tokens, prompt, batch[-1]))
                for delta in batch:
                    if tags is None:
                        yield delta
                    else:
                        for parsed in tags.feed(delta):
                            whole = parsed.log is None or parsed.finish in ("stop", "tool_calls")
                            yield parsed if whole else dataclasses.replace(parsed, log=None)
                if batch and batch[-1].finish is not None:
                    self._keep_original(reply)
                    return
                reply.rested()
                batch = await reply.more()
        finally:
            reply.close()

    async def proof(self, question: str) -> Prompt:
        """A request that shows, once it was streamed, whether the engine reads tokens that it is given.

        They are not quite those of its messages: an engine that reads the messages instead is found out, and
        `exactness` says so afterwards. Where messages are all it takes, the request has no tokens.
        """
        await self.connect()
        sampling = Sampling(0.0, None, 2)
        messages = (Message("user", question), Message("assistant", "Yes."), Message("user", "And now?"))
        prompt = Prompt(messages, (), thinking=False, sampling=sampling)
        tokens = await self._tokens(prompt)
        if tokens is None:
            return prompt
        return dataclasses.replace(prompt, log=await exact.proof(self._tokenise, question, tokens.fingerprint))

    async def count(self, text: str) -> int | None:
        """The tokens of a text, by the model's own tokenizer; None where the server does not say."""
        if not self._server.dialect.token_ids:
            return None
        try:
            return len(await self._tokenise({"prompt": text}))
        except EngineError:
            return None

    async def close(self) -> None:
        """Lets go of connections; the engine itself runs on."""
        await self._line.close()

    def _tag_parser(self, prompt: Prompt) -> TagParser | None:
        """Makes a parser for what the server leaves in the text; None where it leaves nothing there."""
        raw_tools = bool(prompt.tools) and not (self._server.seen.tools and self._server.dialect.parses_tools)
        raw_thinking = self._server.seen.thinking == "raw"
        if self._server.profile.tool_wire == "none" or not (raw_tools or raw_thinking):
            return None
        switched = prompt.thinking or not (
            self._server.dialect.switches_thinking and self._server.profile.thinking_switch
        )
        return TagParser(prompt.tools if raw_tools else (), thinking=switched if raw_thinking else None)

    def _body(self, prompt: Prompt, tokens: _Tokens | None) -> bytes:
        return msgspec.json.encode(
            dialects.body(
                self._server.dialect,
                self._server.profile,
                self._server.model,
                prompt,
                priority=self._settings.priority,
                tools_as_text=not self._server.seen.tools,
                token_ids=tokens is not None,
                prompt_ids=tokens.ids if tokens else (),
                originals=self._originals,
                extra=self._settings.extra_body,
            )
        )

    def _note_model(self, answered: str) -> None:
        """Notices a reply that says it is from another model than the one that was asked for."""
        if not answered or answered == self._answered:
            return
        self._answered = answered
        if not cards.stands_for(self._server.model, answered, self._server.cards):
            self._notes.append(
                f"The engine at {self._line.where} was asked for {self._server.model} and answers as {answered}."
            )

    def _keep_original(self, reply: Reply) -> None:
        """Keeps thinking that has to go back as it came, for as long as this engine is used."""
        if self._server.dialect.details and reply.details and reply.thought:
            self._originals[reply.thought] = reply.details
            while len(self._originals) > _MOST_ORIGINALS:
                self._originals.pop(next(iter(self._originals)))

    # --- tokens --------------------------------------------------------------------------------------------------

    async def _tokens(self, prompt: Prompt) -> _Tokens | None:
        """Finds what the engine shall read as tokens; None where it does not work with them, or is too busy to ask."""
        if self.exactness != "tokens":
            return None
        try:
            async with self._learning:
                if self._template is None:
                    self._template = await exact.learn(self._tokenise, self._server.dialect.thinking_field)
            if self._template is None:
                self._server.works_without_tokens()
                return None
            fingerprint = exact.fingerprint(
                self._template,
                model=self._server.model,
                version=self._server.version,
                profile=self._server.profile.id,
                tools=dialects.spelled_tools(prompt.tools),
            )
            ids: list[int] = []
            known = (log for log in (prompt.log, *prompt.other_logs) if exact.usable(log, prompt, fingerprint))
            if (log := next(known, None)) is not None:
                ids = await exact.continued(self._tokenise, log, prompt)
        except (MalformedReply, CannotDo, Refused, WrongModel):
            self._server.works_without_tokens()
            return None
        except EngineError:  # what stands in the way of the request itself shows there
            return None
        return _Tokens(self._template, fingerprint, ids)

    async def _tokenise(self, fields: Mapping[str, Any]) -> list[int]:
        body = msgspec.json.encode({"model": self._server.model, "add_special_tokens": False, **fields})
        return (await self._line.get("/../tokenize", _Tokenised, body=body)).tokens

    def _log(self, reply: Reply, tokens: _Tokens, prompt: Prompt, last: Delta) -> TokenLog | None:
        """The log of a reply whose last Delta is here; without all of its tokens, the engine is not asked again."""
        if not reply.written or (last.usage is not None and last.usage.written != len(reply.written)):
            self._server.works_without_tokens()
            return None
        return exact.log_after(
            reply.read,
            reply.written,
            prompt=prompt,
            finish=last.finish or "stop",
            template=tokens.template,
            fingerprint=tokens.fingerprint,
        )

    # --- talking -------------------------------------------------------------------------------------------------

    async def _said(self, body: bytes) -> list[Delta]:
        """A whole reply that is expected to be short."""
        async with asyncio.timeout(min(PROBE_TIMEOUT, self._settings.first_token_timeout)):
            reply, said = await self._begin(body)
            try:
                while said and said[-1].finish is None:
                    said += await reply.more()
            finally:
                reply.close()
        return said

    async def _begin(self, body: bytes) -> tuple[Reply, list[Delta]]:
        """Sends the request until its first words are here, with retries; returns them and the reply to read on."""
        attempt = 0
        while True:
            reply = None
            try:
                reply = await self._line.post(body)
                batch = await reply.more()
                self._note_model(reply.model)
                return reply, batch  # noqa: TRY300 - what follows is for what was raised
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


class _Tokenised(msgspec.Struct):
    tokens: list[int]


class _Tokens(msgspec.Struct, frozen=True):
    """What a request says of tokens: those to read, empty where the engine shall render the messages."""

    template: exact.Template
    fingerprint: str
    ids: list[int]
