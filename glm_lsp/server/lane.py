"""GLM as a model for an agent of the editor's own: `glm/model/*` answered.

Never keeps such a conversation, and never judges what its agent does.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from glm_lsp import completion, settings
from glm_lsp.completion import Completion, Wanted
from glm_lsp.conversations import Conversations
from glm_lsp.errors import CannotDo, StateError, UsageError
from glm_lsp.server import frames, wire
from glm_lsp.server.turn_events import usage
from glm_lsp.store import Thoughts
from glm_lsp.terms import Message, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from glm_lsp.engine.engine import Engine
    from glm_lsp.server.session import Session
    from glm_lsp.terms import Delta

_FINISHES: dict[str | None, wire.FinishReason] = {"length": "length", "tool_calls": "toolCalls"}


def register(session: Session) -> None:
    """Registers the handlers of `glm/model/*` on a server."""
    server = session.editor.server

    @server.feature("glm/model/complete")
    async def complete(params: wire.CompleteParams) -> wire.CompleteResult:
        messages = tuple(_messages(params.messages))
        if not any(message.role != "system" for message in messages):
            raise UsageError("There is nothing to answer in `messages`.", hint="Send at least what the user says.")
        engine, root, shelf = await _engine(session, params.workspace_folder)
        reply = Completion(
            Wanted(
                messages,
                tuple(ToolSpec(one.name, one.description, one.input_schema or _NOTHING) for one in params.tools),
                thinking=params.thinking,
                must_call=params.tool_mode == "required" and bool(params.tools),
                temperature=params.temperature,
                max_new_tokens=params.max_tokens,
            ),
            engine,
            Thoughts(shelf.store.file) if shelf is not None else None,
            str(root or ""),
        )
        outbox = server.protocol.outbox
        async with contextlib.aclosing(reply.run()) as deltas:
            async for delta in deltas:
                for part in _parts(delta):
                    outbox.stream(f"model {params.stream}", _Piece(params.stream, part))
        return wire.CompleteResult(
            finish_reason=_FINISHES.get(reply.finish, "stop"),
            usage=usage(reply.usage),
            restored=reply.restored,
            continued=reply.continued,
            notes=tuple(reply.notes),
        )

    @server.feature("glm/model/info")
    async def info(params: wire.ModelParams) -> wire.ModelInfo:
        engine, _, _ = await _engine(session, params.workspace_folder)
        profile = engine.profile
        longest = min(profile.sampling["coding"].max_new_tokens, profile.context_length // 4)
        return wire.ModelInfo(
            id=engine.model,
            family=profile.id,
            max_input_tokens=profile.context_length - longest,
            max_output_tokens=longest,
            tools=profile.tools,
            thinking=profile.thinking,
            thinking_switch=profile.thinking and profile.thinking_switch,
            exactness=getattr(engine, "exactness", "messages" if profile.preserves_thinking else "none"),
            banner=profile.banner,
        )

    @server.feature("glm/model/countTokens")
    async def count(params: wire.CountParams) -> wire.CountResult:
        engine, _, _ = await _engine(session, params.workspace_folder)
        tokens, exact = await completion.count(engine, params.texts)
        return wire.CountResult(tokens=tokens, exact=exact)


_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


async def _engine(session: Session, uri: str | None) -> tuple[Engine, Path | None, Conversations | None]:
    """The engine, the root of the workspace and its shelf; without a folder, the person's own settings and shelf."""
    if uri is not None or session.roots:
        folder = await session.folder(uri)
        return await session.engine(folder.workspace.settings), folder.root, folder.shelf
    engine = await session.engine(settings.load(overrides={**session.told, **session.overrides}))
    try:
        return engine, None, await asyncio.to_thread(Conversations.at, Path.home())
    except StateError:
        return engine, None, None


def _messages(said: Iterable[wire.ModelMessage]) -> Iterator[Message]:
    """An agent's messages as ours: what tools gave are messages of their own, and come first."""
    for message in said:
        text, thinking = "", ""
        calls: list[ToolCall] = []
        for part in message.parts:
            match part:
                case wire.TextPart():
                    text += part.text
                case wire.ThinkingPart():
                    thinking += part.text
                case wire.CallPart():
                    raw = msgspec.json.encode(part.arguments).decode()
                    calls.append(ToolCall(part.call_id, part.name, raw))
                case wire.ResultPart():
                    yield Message("tool", part.text, call_id=part.call_id)
                case wire.ImagePart():
                    raise CannotDo(
                        f"GLM reads no pictures ({part.mime_type or 'an image'}).",
                        hint="Take the picture out of the conversation, or choose another model for it.",
                    )
        if message.role == "assistant":
            if text or thinking or calls:
                yield Message("assistant", text, thinking, tuple(calls))
        elif text:
            yield Message(message.role, text)


def _parts(delta: Delta) -> Iterator[wire.ReplyPart]:
    if delta.queued is not None:
        yield wire.PlacePart(place=delta.queued)
    if delta.thinking:
        yield wire.ThinkingPart(text=delta.thinking)
    if delta.text:
        yield wire.TextPart(text=delta.text)
    for call in delta.tool_calls:
        yield wire.CallPart(call_id=call.id, name=call.name, arguments=msgspec.json.decode(call.arguments))


class _Piece:
    """One piece of a reply that waits in the outbox; neighbours of one kind are joined once, when they are written."""

    def __init__(self, stream: str, part: wire.ReplyPart) -> None:
        self._stream = stream
        self._parts = [part]
        words = part.text if isinstance(part, wire.TextPart | wire.ThinkingPart) else ""
        self.size = 120 + (len(words.encode("utf-8", "surrogatepass")) or 512)

    def merged(self, other: Self) -> Self | None:
        """Takes the other in, where both are words or both are thought."""
        mine, its = self._parts[-1], other._parts[0]
        if type(mine) is not type(its) or not isinstance(mine, wire.TextPart | wire.ThinkingPart):
            return None
        self._parts += other._parts
        self.size += other.size - 120
        return self

    def encode(self) -> bytes:
        """The notification."""
        part = self._parts[0]
        if isinstance(part, wire.TextPart | wire.ThinkingPart):
            words = (one.text for one in self._parts if isinstance(one, wire.TextPart | wire.ThinkingPart))
            part = type(part)(text="".join(words))
        params = wire.ModelDelta(stream=self._stream, part=part)
        return frames.encode({"jsonrpc": "2.0", "method": "glm/model/delta", "params": params})
