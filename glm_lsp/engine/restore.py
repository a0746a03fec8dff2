"""Remembers the thinking that was streamed to other agents, and puts it back where an agent leaves it out.

Never keeps a conversation: only thinking, under a digest of what was said with it, in memory and up to a limit.

Preserved thinking needs two things: a template that renders earlier thinking (`clear_thinking: false`), and messages
that still hold it. Many agents drop it: they show the thinking and send back the answer and the tool calls alone.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Literal

import msgspec

from glm_lsp.engine.sse import EventParser

Form = Literal["openai", "anthropic"]
"""How messages and replies are spelled: as chat completions, or as Anthropic's messages."""

LONGEST_REPLY = 64 * 1024 * 1024
"""Bytes of a reply that is not streamed beyond which its thinking is not remembered."""


class Memory:
    """Thinking by what was said with it, the least used forgotten first.

    A reply with tool calls is known by their ids, which are unique. One without is known by its text together with
    the message that it answers, since two conversations may both end with “Done.”.

    Args:
        limit: bytes of thinking that are kept.

    Attributes:
        restored: how many messages got their thinking back.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, str] = OrderedDict()
        self._size = 0
        self.restored = 0

    def __len__(self) -> int:
        return len(self._kept)

    def listen(self, form: Form, body: dict[str, Any], *, streamed: bool) -> Listener:
        """Makes what listens to the reply to this request."""
        return Listener(self, form, _asked(form, body.get("messages")), streamed=streamed)

    def keep(self, key: bytes, thinking: str) -> None:
        """Remembers one reply's thinking."""
        self._size -= len(self._kept.pop(key, "").encode())
        self._kept[key] = thinking
        self._size += len(thinking.encode())
        while self._size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.encode())

    def restore(self, form: Form, body: dict[str, Any]) -> int:
        """Puts thinking back into the assistant messages that lack it, in place; returns into how many."""
        messages = body.get("messages")
        if not isinstance(messages, list):
            return 0
        before = self.restored
        for at, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("role") != "assistant" or _thinks(form, message):
                continue
            key = known_by(_text(message.get("content")), _ids(form, message), _asked(form, messages[:at]))
            thinking = self._kept.get(key) if key else None
            if thinking is None or key is None:
                continue
            self._kept.move_to_end(key)
            _put(form, message, thinking)
            self.restored += 1
        return self.restored - before


class Listener:
    """Listens to one reply as it passes, and remembers its thinking when it has ended well.

    Bytes go through it in the pieces in which they come; it never holds any of them up.
    """

    def __init__(self, memory: Memory, form: Form, asked: bytes, *, streamed: bool) -> None:
        self._memory, self._form, self._asked = memory, form, asked
        self._events = EventParser() if streamed else None
        self._whole = bytearray()
        self._said: dict[int, _Said] = {}

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the reply."""
        if self._events is None:
            if len(self._whole) <= LONGEST_REPLY:
                self._whole += chunk
            return
        for data in self._events.feed(chunk):
            event = _decoded(data)
            if self._form == "openai":
                self._chunk(event, "delta")
            else:
                self._block_event(event)

    def end(self) -> None:
        """Says that the reply is over: what ended well is remembered."""
        if self._events is None:
            reply = _decoded(bytes(self._whole)) if len(self._whole) <= LONGEST_REPLY else {}
            if self._form == "openai":
                self._chunk(reply, "message")
            elif reply.get("role") == "assistant" and reply.get("stop_reason"):
                said = self._said.setdefault(0, _Said(ended=True))
                for block in _blocks(reply):
                    said.block(block)
        for said in self._said.values():
            key = known_by("".join(said.text), said.ids, self._asked)
            if said.ended and said.thinking and key:
                self._memory.keep(key, "".join(said.thinking))

    def _chunk(self, event: dict[str, Any], field: str) -> None:
        """A piece of a chat completion, or a whole one."""
        for choice in _dicts(event.get("choices")):
            said = self._said.setdefault(choice.get("index") or 0, _Said())
            piece = choice.get(field)
            if isinstance(piece, dict):
                said.add(piece.get("reasoning") or piece.get("reasoning_content"), said.thinking)
                said.add(piece.get("content"), said.text)
                said.ids += [str(call["id"]) for call in _dicts(piece.get("tool_calls")) if call.get("id")]
            said.ended |= bool(choice.get("finish_reason"))

    def _block_event(self, event: dict[str, Any]) -> None:
        """An event of a streamed message."""
        said = self._said.setdefault(0, _Said())
        match event:
            case {"type": "content_block_start", "content_block": dict() as block}:
                said.block(block)
            case {"type": "content_block_delta", "delta": dict() as piece}:
                said.add(piece.get("thinking"), said.thinking)
                said.add(piece.get("text"), said.text)
            case {"type": "message_stop"}:
                said.ended = True


class _Said(msgspec.Struct):
    """One reply so far."""

    thinking: list[str] = []
    text: list[str] = []
    ids: list[str] = []
    ended: bool = False

    @staticmethod
    def add(piece: object, to: list[str]) -> None:
        if isinstance(piece, str) and piece:
            to.append(piece)

    def block(self, block: dict[str, Any]) -> None:
        self.add(block.get("thinking"), self.thinking)
        self.add(block.get("text"), self.text)
        if block.get("type") == "tool_use":
            self.add(block.get("id"), self.ids)


def known_by(text: str, ids: list[str], asked: bytes) -> bytes | None:
    """What a reply is known by; None for one that says nothing. Agents trim texts, so space around them is no part."""
    if ids:
        return digest("calls", *sorted(ids))
    return digest("text", text.strip(), asked.hex()) if text.strip() else None


def _asked(form: Form, messages: object) -> bytes:
    """A digest of the last message that is not the model's own."""
    for message in reversed(_dicts(messages)):
        if message.get("role") == "assistant":
            continue
        results = [_text(block.get("content")) for block in _blocks(message) if block.get("type") == "tool_result"]
        return digest(_text(message.get("content")), *(results if form == "anthropic" else ()))
    return b""


def digest(*parts: str) -> bytes:
    """One digest of several texts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return whole.digest()


def _thinks(form: Form, message: dict[str, Any]) -> bool:
    if form == "openai":
        return bool(message.get("reasoning") or message.get("reasoning_content"))
    return any(block.get("type") == "thinking" and block.get("thinking") for block in _blocks(message))


def _put(form: Form, message: dict[str, Any], thinking: str) -> None:
    if form == "openai":
        message.pop("reasoning_content", None)  # an empty one
        message["reasoning"] = thinking
        return
    said = message.get("content")
    rest = [{"type": "text", "text": said}] if isinstance(said, str) else said if isinstance(said, list) else []
    rest = [block for block in rest if not (isinstance(block, dict) and block.get("type") == "thinking")]
    message["content"] = [{"type": "thinking", "thinking": thinking, "signature": ""}, *rest]


def _ids(form: Form, message: dict[str, Any]) -> list[str]:
    if form == "openai":
        return [str(call["id"]) for call in _dicts(message.get("tool_calls")) if call.get("id")]
    return [str(block["id"]) for block in _blocks(message) if block.get("type") == "tool_use" and block.get("id")]


def _text(content: object) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in _dicts(content))
    return "".join(text for text in texts if isinstance(text, str))


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    return _dicts(message.get("content"))


def _dicts(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # `[DONE]`, and whatever else is no JSON
        return {}
    return found if isinstance(found, dict) else {}
