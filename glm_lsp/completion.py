"""One reply for an editor's own agent, which keeps the conversation itself: GLM as a model among others.

Never runs a tool and never changes a file: what is called is handed to the agent, which decides.

Such agents send the whole conversation each time, and leave out what was thought in earlier turns. Both are put right
here, by what is known of the replies that we wrote: thinking goes back where it was, known by the ids of the tool calls
that came with it, which are ours and cannot be guessed, or by the words and what they answered; and where the beginning
of the conversation is one that the engine has read, it reads the very tokens again (`engine.exact`), and nothing of it
is rendered anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from glm_lsp.engine.engine import CountsTokens
from glm_lsp.engine.restore import digest, known_by
from glm_lsp.errors import MalformedReply, NothingSaid, StateError
from glm_lsp.prompt import count as reckoned
from glm_lsp.prompt import shield, unshield
from glm_lsp.terms import Delta, FinishReason, Message, Prompt, Sampling, TokenLog, ToolCall, ToolCallDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from glm_lsp.engine.engine import Engine
    from glm_lsp.store import Thoughts
    from glm_lsp.terms import Thinking, ToolSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an agent asks of the model.

    Attributes:
        messages: the whole conversation, as the agent has it.
        tools: what the model may call.
        thinking: `auto` lets a model think that can.
        must_call: whether the reply has to be a call.
        temperature: None for the model's own.
        max_new_tokens: None for the model's own.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    thinking: Thinking = "auto"
    must_call: bool = False
    temperature: float | None = None
    max_new_tokens: int | None = None


@dataclass(slots=True)
class Completion:
    """The reply to one request of an agent.

    Attributes:
        wanted: the request.
        engine: connected.
        thoughts: what is known of earlier replies; None where nothing is kept.
        workspace: names the workspace, so that of several engines it keeps to one.
        restored: into how many messages thinking was put back.
        continued: how many messages the engine read as the very tokens of before; 0 for none.
        finish: why the reply ended; None where it did not.
        usage: what it cost.
        notes: what a person should know, a sentence each.
    """

    wanted: Wanted
    engine: Engine
    thoughts: Thoughts | None = None
    workspace: str = ""
    restored: int = 0
    continued: int = 0
    finish: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    notes: list[str] = field(default_factory=list)
    _chain: list[bytes] = field(default_factory=list)
    _known: tuple[bytes, TokenLog] | None = None

    async def run(self) -> AsyncGenerator[Delta, None]:
        """Yields thinking and text as they come, and each tool call whole, with an id of ours, when the reply has ended.

        What is thought is on the disk before the last Delta, which carries `finish`.

        Raises:
            EngineError: as the engine says; what it had called is not handed on.
            NothingSaid: the reply has neither words nor calls.
            MalformedReply: the arguments of a call are not a JSON object.
        """
        prompt = await asyncio.to_thread(self._prompt)
        thinking: list[str] = []
        text: list[str] = []
        calls: dict[int, _Call] = {}
        log: TokenLog | None = None
        async with aclosing(self.engine.stream(prompt)) as deltas:
            async for delta in deltas:
                thinking.append(delta.thinking)
                text.append(delta.text)
                for piece in delta.tool_calls:
                    calls.setdefault(piece.index, _Call(piece.name)).raw.append(piece.arguments)
                self.finish, log = delta.finish or self.finish, delta.log or log
                self.usage = delta.usage or self.usage
                if delta.thinking or delta.text or delta.queued is not None:
                    yield Delta(thinking=delta.thinking, text=delta.text, queued=delta.queued)
        self.notes += self.engine.take_notes()
        if log is not None and self._known is not None and log.ids[: len(self._known[1].ids)] == self._known[1].ids:
            self.continued = self._known[1].covers
        called = self._called(calls)
        reply = Message("assistant", "".join(text), "".join(thinking), called)
        if not (reply.text.strip() or called or self.finish == "length"):
            raise NothingSaid("The model ended its reply without a word.", hint="Ask again, in other words.")
        await asyncio.to_thread(self._remember, reply, None if self.wanted.must_call else log)
        pieces = (ToolCallDelta(n, call.id, call.name, call.arguments) for n, call in enumerate(called))
        yield Delta(tool_calls=tuple(pieces), usage=self.usage, finish=self.finish)

    def _called(self, calls: dict[int, _Call]) -> tuple[ToolCall, ...]:
        """The calls of a reply that ended well, under ids of ours; none of one that was cut off."""
        if self.finish == "length":
            return ()
        found = []
        for call in calls.values():
            raw = unshield("".join(call.raw)) or "{}"
            if not isinstance(_loaded(raw), dict):
                raise MalformedReply(f"The model called {call.name} with what is not JSON.", hint="Ask again.")
            found.append(ToolCall(f"call_{secrets.token_hex(16)}", call.name, raw))
        return tuple(found)

    # --- what it reads -------------------------------------------------------------------------------------------

    def _prompt(self) -> Prompt:
        wanted, profile = self.wanted, self.engine.profile
        self._chain = chain(wanted.tools, wanted.messages)
        thinking = profile.thinking and (wanted.thinking != "off" or not profile.thinking_switch)
        preset = profile.sampling["coding" if wanted.tools else "default"]
        messages = wanted.messages
        try:
            messages = self._restored()
            self._known = self.thoughts.log(self._chain[1:]) if self.thoughts is not None else None
        except StateError as error:
            self._note(error)
        return Prompt(
            tuple(_shielded(message) for message in messages),
            tuple(wanted.tools),
            thinking=thinking,
            sampling=Sampling(
                preset.temperature if wanted.temperature is None else wanted.temperature,
                preset.top_p if wanted.temperature is None else None,
                min(wanted.max_new_tokens or preset.max_new_tokens, profile.context_length),
            ),
            log=self._known[1] if self._known is not None else None,
            workspace=self.workspace,
            must_call=wanted.must_call,
        )

    def _restored(self) -> tuple[Message, ...]:
        """The messages with their thinking: what we know of it wins, as an agent may have joined or trimmed it."""
        found = list(self.wanted.messages)
        for at, message in enumerate(found):
            if message.role == "assistant" and (thinking := self._thought(at, message)):
                self.restored += not message.thinking
                found[at] = replace(message, thinking=thinking)
        return tuple(found)

    def _thought(self, at: int, message: Message) -> str:
        if self.thoughts is None:
            return ""
        for key in _keys(message, self.wanted.messages[:at], self._chain[at + 1]):
            if (thinking := self.thoughts.get(key)) is not None:
                return thinking
        return ""

    def _remember(self, reply: Message, log: TokenLog | None) -> None:
        if self.thoughts is None:
            return
        here = _link(self._chain[-1], reply)
        try:
            if reply.thinking:
                for key in _keys(reply, self.wanted.messages, here):
                    self.thoughts.put(key, reply.thinking)
            if log is not None:
                self.thoughts.keep_log(here, log, on=self._known)
        except StateError as error:
            self._note(error)

    def _note(self, error: StateError) -> None:
        self.notes.append(f"{error.message} Thinking of earlier turns may be missing. {error.hint}".strip())


async def count(engine: Engine, texts: Sequence[str]) -> tuple[tuple[int, ...], bool]:
    """The tokens of each text, and whether the engine counted all of them; else some are reckoned, rather too many."""
    counted = await asyncio.gather(*(engine.count(text) for text in texts)) if isinstance(engine, CountsTokens) else ()
    if counted and None not in counted:
        return tuple(number or 0 for number in counted), True
    return tuple(map(reckoned, texts)), not texts


def chain(tools: Iterable[ToolSpec], messages: Iterable[Message]) -> list[bytes]:
    """A digest of the tools, then one of each beginning of the conversation, without what was thought in it."""
    links = [digest(*(json.dumps([tool.name, tool.description, tool.parameters]) for tool in tools))]
    for message in messages:
        links.append(_link(links[-1], message))
    return links


def _link(before: bytes, message: Message) -> bytes:
    """What a message makes of the digest of those before it; agents trim replies, and spell numbers in their own way."""
    text = message.text.strip() if message.role == "assistant" else message.text
    calls = [[call.id, call.name, _loaded(call.arguments)] for call in message.tool_calls]
    return digest(before.hex(), message.role, text, message.call_id, json.dumps(calls, sort_keys=True))


def _keys(message: Message, before: Sequence[Message], here: bytes) -> list[bytes]:
    """What a reply is known by, the surest first: the ids of its calls; else all before it, or what it answered."""
    asked = next((digest(one.text) for one in reversed(before) if one.role != "assistant"), b"")
    key = known_by(message.text, [call.id for call in message.tool_calls], asked)
    if message.tool_calls or key is None:
        return [key] if key else []
    return [digest("here", here.hex()), key]


def _shielded(message: Message) -> Message:
    calls = tuple(replace(call, arguments=shield(call.arguments)) for call in message.tool_calls)
    return replace(message, text=shield(message.text), tool_calls=calls)


def _loaded(raw: str) -> Any:
    """Arguments as values, with 1.0 and 1 the same: JavaScript knows no difference."""
    with suppress(ValueError):
        return json.loads(raw, parse_float=lambda text: int(found) if (found := float(text)).is_integer() else found)
    return raw


@dataclass(slots=True)
class _Call:
    name: str
    raw: list[str] = field(default_factory=list)
