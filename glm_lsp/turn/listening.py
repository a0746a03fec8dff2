"""What one engine request brings, as it comes: thinking, words, and tool calls whose edits are shown while they grow.

Never carries out a call: that is for a reply which has ended well.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glm_lsp import prompt, tools
from glm_lsp.edits.grow import GrowingHunk
from glm_lsp.edits.parse import ArgumentStream, validate
from glm_lsp.terms import (
    Delta,
    FinishReason,
    HunkClosed,
    HunkOpened,
    Message,
    Queued,
    TextAdded,
    ThinkingAdded,
    ThinkingEnded,
    ToolCall,
    Usage,
    Used,
    Warned,
)
from glm_lsp.turn.guards import Repetition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Happening, Prompt, TokenLog, ToolCallDelta, ToolSpec


_NOTHING = Delta()
"""What comes before the first word where an engine has something to tell."""

OVER_BUDGET = 1.5
"""How far thinking may go over its limit before the reply is ended: an engine that sees to it is not exact either."""


@dataclass(slots=True)
class Call:
    """One tool call; its arguments are known when the reply has ended.

    Attributes:
        shown: whether the place of its edit was shown already.
    """

    id: str
    name: str
    growing: GrowingHunk | None = None
    shown: bool = False
    _arguments: ArgumentStream = field(default_factory=ArgumentStream)
    _fragments: list[str] = field(default_factory=list)

    @property
    def raw(self) -> str:
        """The arguments' JSON text, as it came."""
        return "".join(self._fragments)

    def push(self, fragment: str) -> Iterator[Happening]:
        """Takes the next piece of the arguments; yields what there is to see."""
        self._fragments.append(fragment)
        for piece in self._arguments.push(fragment):
            if self.growing is not None:
                for what in self.growing.feed(piece):
                    self.shown = self.shown or isinstance(what, HunkOpened)
                    yield what

    def arguments(self, spec: ToolSpec) -> dict[str, Any]:
        """The whole arguments, checked against the tool's schema.

        Raises:
            BadArguments: they are cut off, or do not fit.
        """
        return {
            name: prompt.unshield(value) if isinstance(value, str) else value
            for name, value in validate(self._arguments.finish(), spec).items()
        }


@dataclass(slots=True)
class Listening:
    """One reply, while it comes and after.

    Attributes:
        draft: where edits will go; None where none may.
        calls: the tool calls by their index, in order.
        finish: why the reply ended; None where it did not.
        usage: what it cost, as far as the engine says.
        cap: new tokens that it was allowed.
        written: new tokens so far, where the engine tells while it writes.
        looping: whether it was ended because the model said the same over and over.
        overthought: whether it was ended because the thinking went far over its limit.
        log: the tokens of the request and of this reply, where the engine tells them; None for a reply that was cut.
    """

    draft: Draft | None
    calls: dict[int, Call] = field(default_factory=dict)
    finish: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    log: TokenLog | None = None
    cap: int = 0
    written: int = 0
    looping: bool = False
    overthought: bool = False
    _thinking: list[str] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)

    @property
    def thinking(self) -> str:
        """The thoughts so far."""
        return "".join(self._thinking)

    @property
    def text(self) -> str:
        """The words said so far."""
        return "".join(self._text)

    def message(self) -> Message:
        """The reply as the conversation keeps it."""
        calls = tuple(ToolCall(call.id, call.name, call.raw) for call in self.calls.values())
        return Message("assistant", self.text, "".join(self._thinking), calls)

    async def listen(self, engine: Engine, request: Prompt) -> AsyncGenerator[Happening, None]:
        """Sends the request and yields what happens; when it breaks off, what was shown growing is taken back.

        Raises:
            EngineError: as the engine says.
        """
        self.cap = request.sampling.max_new_tokens
        sent = time.monotonic()
        first = thinking_since = 0.0
        thought = 0
        repetition = Repetition()
        try:
            async with aclosing(engine.stream(request)) as deltas:
                async for delta in deltas:
                    if delta.queued is not None:
                        yield Queued(delta.queued)
                        continue
                    if not first:
                        for note in engine.take_notes():
                            yield Warned("engine-note", note)
                        if delta == _NOTHING:
                            continue
                    first = first or time.monotonic()
                    if delta.thinking:
                        thinking_since = thinking_since or time.monotonic()
                        thought = delta.written
                        self._thinking.append(delta.thinking)
                        yield ThinkingAdded(delta.thinking)
                    if thinking_since and (delta.text or delta.tool_calls or delta.finish):
                        yield ThinkingEnded(time.monotonic() - thinking_since, thought or None)
                        thinking_since = 0.0
                    if delta.text:
                        self._text.append(delta.text)
                        yield TextAdded(delta.text)
                    for piece in delta.tool_calls:
                        for what in self._add(piece):
                            yield what
                    self.written = delta.written or self.written
                    self.usage = delta.usage or self.usage
                    self.finish = delta.finish or self.finish
                    self.log = delta.log or self.log
                    if delta.thinking and 0 < request.thinking_tokens * OVER_BUDGET < delta.written:
                        self.overthought = True
                        break
                    if repetition.heard(delta.thinking or delta.text):
                        self.looping = True
                        break
        except GeneratorExit:
            raise  # nobody listens any more
        except BaseException:
            for what in self.drop_calls("the reply broke off"):
                yield what
            raise
        yield Used(self.usage, time.monotonic() - sent, (first or time.monotonic()) - sent)

    def begin_again(self) -> None:
        """Forgets a reply that broke off, for the same request to be sent again."""
        self.calls.clear()
        self._thinking.clear()
        self._text.clear()
        self.finish, self.usage, self.log, self.written = None, Usage(), None, 0

    def drop_calls(self, reason: str) -> Iterator[Happening]:
        """Forgets the tool calls of a reply that did not end well: not even its first ones are carried out."""
        for call in self.calls.values():
            if call.shown:
                yield HunkClosed(call.id, ok=False, reason=reason)
        self.calls.clear()

    def _add(self, piece: ToolCallDelta) -> Iterator[Happening]:
        call = self.calls.get(piece.index)
        if call is None:
            call = self.calls[piece.index] = Call(piece.id or f"call-{piece.index}", piece.name)
            tool = tools.find(piece.name)
            if tool is not None and tool.edits and self.draft is not None:
                call.growing = GrowingHunk(call.id, call.name, self.draft.known_text, self.draft.symbol_line)
        yield from call.push(piece.arguments)
