"""One streamed reply: raw bytes in, Deltas out, with a clock that notices silence.

Never sends anything and never tries again; it says with `Again` where the client may.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp.engine import refusals
from glm_lsp.engine.http1 import NotHttp
from glm_lsp.engine.sse import EventParser
from glm_lsp.errors import DiedMidStream, EngineError, MalformedReply, Refused, Stalled
from glm_lsp.terms import Delta, ToolCallDelta, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.engine.http1 import Response
    from glm_lsp.terms import FinishReason

_LONGEST_EVENT = 16 * 1024 * 1024  # bytes; a whole reply is a fraction of it
_TAIL = 5.0  # seconds to wait for the usage once the reply has finished
_GOODBYE = 0.25  # seconds to wait for the end of the body, so that the connection can be used again


class Again(Exception):
    """Nothing was streamed yet and the same request may go through: at most `times` more, else `error` stands."""

    def __init__(self, error: EngineError, *, times: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.times = times


class Reply:
    """A reply as it comes in.

    Args:
        response: an open response whose body is an event stream.
        where: the engine's address as it may be shown.
        first_word: seconds to wait for the first word, counted anew with every sign of life.
        stall: seconds of silence between words that count as a stall.
        failure: turns a status and an error event's data into what to raise.
        redact: takes what must not be shown out of a server's words.

    Attributes:
        read: the tokens of the prompt, where the server tells them; None until then.
        written: the tokens of the reply so far, likewise.
        model: the name of the model that answers, as the server gives it; empty until then.
        details: the thinking in `reasoning_details`, where it comes so, as it has to go back.
        thought: its text.
    """

    def __init__(
        self,
        response: Response,
        *,
        where: str,
        first_word: float,
        stall: float,
        failure: Callable[[int, bytes], Exception],
        redact: Callable[[bytes], bytes],
    ) -> None:
        self._response = response
        self._where = where
        self._failure = failure
        self._redact = redact
        self._events = EventParser()
        self._calls = _CallNumbers()
        self.read: list[int] | None = None
        self.written: list[int] = []
        self.model = ""
        self.details: list[dict[str, Any]] = []
        self.thought = ""
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._error: Callable[[], Exception] | None = None
        self._received = False
        self._spoke = False
        self._done = False
        self._stall = stall
        self._limit = first_word
        self._waiting = False
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(first_word, self._tick)

    async def more(self) -> list[Delta]:
        """Waits for the next words and returns them; the last Delta of the last list carries `finish`.

        What arrived together is joined: neighbours of one kind become one Delta.

        Raises:
            EngineError: the reply is over before its end, or is not one.
            Again: the same, before the first word and with some hope.
        """
        while True:
            if self._error is not None:
                raise self._error()
            chunk = await self._read()
            if chunk:
                self._received = True
                if not self._spoke:
                    self._since = self._loop.time()
                deltas = self._decode(self._events.feed(chunk))
                if self._events.pending > _LONGEST_EVENT:
                    self._error = lambda: MalformedReply(f"An event from {self._where} has no end.")
            else:
                last = self._events.end()
                deltas = self._decode([last] if last else [], cut=True)
                self._done = True
            if deltas and not self._spoke:
                self._spoke = True
                self._wait(self._stall)
            if self._finish is not None and self._error is None:
                self._wait(min(self._stall, _TAIL))
            if self._done and self._error is None:
                if self._finish is not None:
                    if chunk:
                        self._wait(_GOODBYE)
                        await self._read()
                    return [*deltas, Delta(usage=self._usage, finish=self._finish)]
                self._error = partial(self._cut_off, "ended")
            if deltas:
                return deltas

    def rested(self) -> None:
        """Starts the clock of silence anew: until now it was the consumer who took its time."""
        self._since = self._loop.time()

    def close(self) -> None:
        """Lets go of the connection at once; the engine notices and stops, where it has not finished."""
        self._timer.cancel()
        self._response.close()

    async def _read(self) -> bytes:
        """Reads what there is; empty at the end, and where only the end was missing."""
        self._waiting = True
        try:
            return await self._response.read()
        except Stalled:
            if self._finish is None:
                raise
            return b""
        except (OSError, NotHttp) as error:
            if self._finish is None:
                raise self._cut_off("broke off") from error
            return b""
        finally:
            self._waiting = False

    def _decode(self, events: list[bytes], *, cut: bool = False) -> list[Delta]:
        """Turns events into Deltas; stops at one that says the reply is over, well or not."""
        out = _Joiner()
        for data in events:
            if data == b"[DONE]":
                self._done = True
                break
            try:
                chunk = _CHUNK.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if cut or not data.strip():
                    continue
                self._error = partial(self._malformed, data, str(error))
                break
            if chunk.error is not None:
                self._error = partial(self._reported, data)
                break
            if chunk.usage is not None:
                self._usage = chunk.usage.plain()
            if chunk.timings is not None and self._usage is not None and self._usage.cached is None:
                self._usage = dataclasses.replace(self._usage, cached=chunk.timings.cache_n)
            if not self.model and chunk.model:
                self.model = chunk.model
            if chunk.prompt_token_ids is not None:
                self.read = chunk.prompt_token_ids
            if not chunk.choices:
                continue
            out.written = self._usage.written if self._usage is not None else 0
            choice = chunk.choices[0]
            if choice.token_ids is not None:
                self.written += choice.token_ids
            delta = choice.delta
            if delta is not None:
                detailed = self._detailed(delta.reasoning_details) if delta.reasoning_details else ""
                if thought := delta.reasoning or delta.reasoning_content or detailed:
                    out.add("thinking", thought)
                    if self.details:
                        self.thought += thought
                if delta.content:
                    out.add("text", delta.content)
                for fragment in delta.tool_calls or ():
                    out.add_call(self._calls.number(fragment))
            if choice.finish_reason is not None:
                self._ends(choice.finish_reason)
        return out.all()

    def _detailed(self, pieces: list[dict[str, Any]]) -> str:
        """Keeps the pieces of thinking of a server that gives it in details, joined as they were cut; returns their text.

        Pieces of one block have its index and kind; what is not text, such as a signature, stands in its last piece.
        """
        for piece in pieces:
            last = self.details[-1] if self.details else {}
            if piece.get("index") is None or any(last.get(name) != piece.get(name) for name in ("index", "type")):
                self.details.append(dict(piece))
                continue
            for name, value in piece.items():
                grows = (
                    name in ("text", "summary", "data") and isinstance(value, str) and isinstance(last.get(name), str)
                )
                if value is not None:
                    last[name] = last[name] + value if grows else value
        return "".join(str(piece.get("text") or piece.get("summary") or "") for piece in pieces)

    def _ends(self, reason: str) -> None:
        if reason in ("content_filter", "sensitive"):
            self._error = lambda: Refused(f"The engine at {self._where} withholds the rest of the reply ({reason}).")
        elif reason in ("error", "network_error"):
            self._error = partial(self._cut_off, f"reported its own failure ({reason})")
        else:
            finish = _FINISHES.get(reason, "stop")
            self._finish = "tool_calls" if finish == "stop" and self._calls.any else finish

    def _reported(self, data: bytes) -> Exception:
        words, status = refusals.spoken(self._redact(data))
        problem = self._failure(status or 500, data)
        if not self._spoke:
            return problem
        return self._cut_off(f"reported its own failure ({words.rstrip('.')})" if words else "reported its own failure")

    def _cut_off(self, how: str) -> Exception:
        """Says that the reply is over before its end."""
        if self._spoke:
            return DiedMidStream(
                f"The reply from {self._where} {how} in the middle.", hint="Nothing of it was applied; try again."
            )
        if not self._received:
            return MalformedReply(f"The engine at {self._where} answers with nothing.", hint="Its own log says why.")
        error = DiedMidStream(f"The reply from {self._where} {how} before its first word.", retryable=True)
        return Again(error, times=99)

    def _malformed(self, data: bytes, error: str) -> MalformedReply:
        start = self._redact(data)[:80].decode(errors="replace")
        return MalformedReply(
            f"What {self._where} sends is not a chat completion: {start!r} ({error}).",
            hint="See whether engine.url and engine.dialect fit this server.",
        )

    # --- the clock -----------------------------------------------------------------------------------------------
    # One timer a reply that looks at a time stamp when it fires: cheaper than a time-out around every read.

    def _wait(self, limit: float) -> None:
        if limit == self._limit:
            return
        self._limit = limit
        self._since = self._loop.time()
        self._timer.cancel()
        self._timer = self._loop.call_later(limit, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        due = self._since + self._limit if self._waiting else now + self._limit
        if now < due:
            self._timer = self._loop.call_at(due, self._tick)
            return
        self._response.fail(silence(self._where, self._limit, spoke=self._spoke))


def silence(where: str, seconds: float, *, spoke: bool) -> Stalled:
    """Says that no word came for that long."""
    if spoke:
        return Stalled(
            f"No further word from {where} for {seconds:g} s.",
            hint="Try again; engine.stall_timeout sets how long to wait.",
        )
    return Stalled(
        f"No word from {where} for {seconds:g} s.",
        hint="It may be overloaded; engine.first_token_timeout sets how long to wait.",
    )


# --- the wire ----------------------------------------------------------------------------------------------------

_FINISHES: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "abort": "cancelled",
    "cancelled": "cancelled",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, object] | None = None


class _Fragment(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    content: str | None = None
    tool_calls: list[_Fragment] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    reasoning_tokens: int | None = None

    def plain(self) -> Usage:
        read, written = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            read=self.prompt_tokens or 0,
            written=self.completion_tokens or 0,
            cached=read.cached_tokens if read else None,
            thought=written.reasoning_tokens if written else self.reasoning_tokens,  # SGLang has it outside
        )


class _Timings(msgspec.Struct):
    """llama.cpp's own, where its usage does not tell what was cached."""

    cache_n: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None
    model: str | None = None
    timings: _Timings | None = None
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class _Joiner:
    """Joins neighbouring pieces of one kind into one Delta each."""

    __slots__ = ("_index", "_kind", "_out", "_pieces", "_written", "written")

    def __init__(self) -> None:
        self.written = 0
        self._written = 0
        self._out: list[Delta] = []
        self._pieces: list[str] = []
        self._kind = ""
        self._index = 0

    def add(self, kind: str, piece: str, index: int = 0) -> None:
        if kind != self._kind or index != self._index:
            self._flush()
            self._kind = kind
            self._index = index
        self._written = self.written
        self._pieces.append(piece)

    def add_call(self, piece: ToolCallDelta) -> None:
        if piece.id:
            self._flush()
            self._out.append(Delta(tool_calls=(piece,)))
        elif piece.arguments:
            self.add("arguments", piece.arguments, piece.index)

    def all(self) -> list[Delta]:
        self._flush()
        return self._out

    def _flush(self) -> None:
        if not self._pieces:
            return
        joined = "".join(self._pieces)
        self._pieces = []
        if self._kind == "thinking":
            self._out.append(Delta(thinking=joined, written=self._written))
        elif self._kind == "text":
            self._out.append(Delta(text=joined, written=self._written))
        else:
            call = ToolCallDelta(self._index, arguments=joined)
            self._out.append(Delta(tool_calls=(call,), written=self._written))


class _CallNumbers:
    """Numbers tool calls in the order they begin, however a server numbers them.

    Some give every call the index 0 and tell them apart by id, some repeat id and name in every fragment, and some
    give no id at all.
    """

    __slots__ = ("_current", "any")

    def __init__(self) -> None:
        self._current: dict[int, tuple[int, str]] = {}
        self.any = False

    def number(self, fragment: _Fragment) -> ToolCallDelta:
        theirs = fragment.index or 0
        function = fragment.function
        arguments = (function.arguments if function else None) or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        known = self._current.get(theirs)
        name = (function.name if function else None) or ""
        if known is not None and not (name and fragment.id and fragment.id != known[1]):
            return ToolCallDelta(known[0], arguments=arguments)
        self.any = True
        ours = 0 if not self._current else max(number for number, _ in self._current.values()) + 1
        given = fragment.id or f"call-{secrets.token_hex(4)}"
        self._current[theirs] = (ours, given)
        return ToolCallDelta(ours, given, name, arguments)
