"""Tool calls and thinking out of the raw text of a GLM model, for servers that have no parser for them.

Never guesses: a tag counts only where the form has a place for it, and a call that is not closed is never handed out
as one that may run.

The form is `<tool_call>NAME<arg_key>K</arg_key><arg_value>V</arg_value>...</tool_call>`, where white space may stand
between tags, after the name and around keys. Values are not escaped, so a tag inside a value is told from a real one
by what follows: `</arg_value>` ends a value only before `<arg_key>` or `</tool_call>`; `<tool_call>` opens a call only
before a name and one of those two; `<think>` opens thinking only at the very start.

The result does not depend on how the text was cut: what may be the start of a tag is held back until it is decided.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from glm_lsp.terms import Delta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from glm_lsp.terms import FinishReason, ToolSpec

_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_KEY, _KEY_END = "<arg_key>", "</arg_key>"
_VALUE, _VALUE_END = "<arg_value>", "</arg_value>"
_THINK, _THINK_END = "<think>", "</think>"

_NAME = re.compile(r"\s*([\w.\-]{1,64})\s*")
_SPACE = re.compile(r"\s*")

_State = Literal["start", "thinking", "text", "arguments", "key", "value", "broken"]


async def from_tags(
    deltas: AsyncIterator[Delta], tools: Sequence[ToolSpec], *, thinking: bool | None = None
) -> AsyncGenerator[Delta, None]:
    """Rewrites a stream whose text is raw, as `TagParser` does."""
    parser = TagParser(tools, thinking=thinking)
    async for delta in deltas:
        for parsed in parser.feed(delta):
            yield parsed


class TagParser:
    """Reads raw text piece by piece and gives out text, thinking and tool calls.

    Args:
        tools: the tools on offer; their schemas say which values are JSON and which are text.
        thinking: whether the prompt ends inside a thought, as GLM-4.7's does when thinking is on;
            None where the server takes thinking out of the text itself.
        call_ids: what the ids of calls start with; random by default.
    """

    def __init__(self, tools: Sequence[ToolSpec], *, thinking: bool | None = None, call_ids: str = "") -> None:
        self._types = {tool.name: _property_types(tool.parameters) for tool in tools}
        self._state: _State = "text" if thinking is None else "start"
        self._opened_by_prompt = bool(thinking)
        self._call_ids = call_ids or f"call-{secrets.token_hex(4)}-"
        self._buffer = ""
        self._searched = 0
        self._calls = 0
        self._first_argument = True
        self._key = ""
        self._kinds: frozenset[str] = frozenset()
        self._kinds_by_key: dict[str, frozenset[str]] = {}
        self._after_call = False
        self._broken = False
        self._out: list[Delta] = []

    def feed(self, delta: Delta) -> list[Delta]:
        """Takes the next Delta and returns what it settles; the Delta with `finish` settles everything.

        A reply with a call that was never closed, or broke the form, finishes with `length`: none of it may be run.
        A reply with whole calls finishes with `tool_calls`.
        """
        self._out = []
        if delta.thinking or delta.tool_calls:
            self._out.append(Delta(thinking=delta.thinking, tool_calls=delta.tool_calls))
        self._buffer += delta.text
        while self._buffer and self._step():
            pass
        if delta.finish is None:
            if delta.usage is not None:
                self._out.append(Delta(usage=delta.usage))
        else:
            self._out.append(
                dataclasses.replace(delta, thinking="", text="", tool_calls=(), finish=self._end(delta.finish))
            )
        return self._out

    def _end(self, finish: FinishReason) -> FinishReason:
        unclosed = self._broken or self._state in ("arguments", "key", "value", "broken")
        if not unclosed:
            unclosed = self._buffer.startswith(_CALL)
            inside = self._state == "thinking" or (self._state == "start" and self._opened_by_prompt)
            (self._think if inside else self._say)(self._buffer)
        self._buffer = ""
        if unclosed:
            return "length"
        return "tool_calls" if self._calls and finish == "stop" else finish

    # Each step consumes something and returns True, or waits for more text and returns False.

    def _step(self) -> bool:
        match self._state:
            case "start":
                return self._at_start()
            case "thinking":
                return self._in_thinking()
            case "text":
                return self._in_text()
            case "arguments":
                return self._between_arguments()
            case "key":
                return self._in_key()
            case "value":
                return self._in_value()
            case "broken":
                return self._skip_broken()

    def _at_start(self) -> bool:
        rest = self._buffer.lstrip()
        if not rest:
            return False
        for tag, inside in ((_THINK, True), (_THINK_END, False)):
            if rest.startswith(tag):
                self._buffer = rest[len(tag) :]
                self._state = "thinking" if inside else "text"
                return True
            if tag.startswith(rest):
                return False
        self._state = "thinking" if self._opened_by_prompt else "text"
        return True

    def _in_thinking(self) -> bool:
        at = self._buffer.find("<", self._searched)
        while at >= 0:
            if self._buffer.startswith(_THINK_END, at):
                self._think(self._buffer[:at])
                self._go("text", at + len(_THINK_END))
                return True
            opened = self._opening(at)
            if opened is None or _THINK_END.startswith(self._buffer[at:]):
                break
            if opened and opened[0] in self._types:  # a call ends the thought that the model forgot to end
                self._think(self._buffer[:at])
                self._open(*opened)
                return True
            at = self._buffer.find("<", at + 1)
        return self._release(at, self._think)

    def _in_text(self) -> bool:
        at = self._buffer.find("<", self._searched)
        while at >= 0:
            opened = self._opening(at)
            if opened is None:
                break
            if opened:
                self._say(self._buffer[:at])
                self._open(*opened)
                return True
            at = self._buffer.find("<", at + 1)
        return self._release(at, self._say)

    def _release(self, at: int, emit: Any) -> bool:
        """Hands out the text before a tag that is not decided yet; all of it where there is none."""
        keep = len(self._buffer) if at < 0 else at
        emit(self._buffer[:keep])
        self._buffer = self._buffer[keep:]
        self._searched = 0
        return False

    def _opening(self, at: int) -> tuple[str, int] | tuple[()] | None:
        """Looks for a call at `at`: its name and where its arguments begin; empty for none, None for not yet known."""
        if not self._buffer.startswith(_CALL, at):
            return None if _CALL.startswith(self._buffer[at : at + len(_CALL)]) else ()
        start = at + len(_CALL)
        name = _NAME.match(self._buffer, start)
        if name is None:
            return () if self._buffer[start:].strip() else None
        follows = self._buffer[name.end() : name.end() + len(_CALL_END)]
        if follows.startswith(_KEY) or follows == _CALL_END:
            return name[1], name.end()
        return None if _KEY.startswith(follows) or _CALL_END.startswith(follows) else ()

    def _open(self, name: str, end: int) -> None:
        self._call(id=f"{self._call_ids}{self._calls}", name=name)
        self._kinds_by_key = self._types.get(name, {})
        self._first_argument = True
        self._go("arguments", end)

    def _between_arguments(self) -> bool:
        rest = self._buffer.lstrip()
        if rest.startswith(_KEY):
            self._buffer = rest
            self._go("key", len(_KEY))
        elif rest.startswith(_CALL_END):
            self._call(arguments="{}" if self._first_argument else "}")
            self._calls += 1
            self._after_call = True
            self._buffer = rest
            self._go("text", len(_CALL_END))
        elif _KEY.startswith(rest) or _CALL_END.startswith(rest):
            return False
        else:
            self._go("broken", 0)
        return True

    def _in_key(self) -> bool:
        end = self._buffer.find(_KEY_END)
        if end < 0:
            return False
        after = _SPACE.match(self._buffer, end + len(_KEY_END))
        assert after is not None  # noqa: S101 - the pattern matches the empty string
        follows = self._buffer[after.end() : after.end() + len(_VALUE)]
        if follows == _VALUE:
            self._key = self._buffer[:end].strip()
            self._kinds = self._kinds_by_key.get(self._key, _TEXT)
            comma = "{" if self._first_argument else ", "
            opening = '"' if self._kinds == _TEXT else ""
            self._call(arguments=f"{comma}{json.dumps(self._key, ensure_ascii=False)}: {opening}")
            self._first_argument = False
            self._go("value", after.end() + len(_VALUE))
            return True
        if _VALUE.startswith(follows):
            return False
        self._go("broken", 0)
        return True

    def _in_value(self) -> bool:
        at = self._buffer.find("<", self._searched)
        while at >= 0:
            ends = self._ends_value(at)
            if ends is None:
                break
            if ends:
                self._value(self._buffer[:at], last=True)
                self._go("arguments", at + len(_VALUE_END))
                return True
            at = self._buffer.find("<", at + 1)
        if self._kinds == _TEXT:
            return self._release(at, self._value)
        self._searched = len(self._buffer) if at < 0 else at
        return False

    def _ends_value(self, at: int) -> bool | None:
        if not self._buffer.startswith(_VALUE_END, at):
            return None if _VALUE_END.startswith(self._buffer[at : at + len(_VALUE_END)]) else False
        after = _SPACE.match(self._buffer, at + len(_VALUE_END))
        assert after is not None  # noqa: S101 - the pattern matches the empty string
        follows = self._buffer[after.end() : after.end() + len(_CALL_END)]
        if follows.startswith(_KEY) or follows == _CALL_END:
            return True
        return None if _KEY.startswith(follows) or _CALL_END.startswith(follows) else False

    def _skip_broken(self) -> bool:
        self._broken = True
        end = self._buffer.find(_CALL_END)
        if end < 0:
            self._buffer = self._buffer[-len(_CALL_END) :]
            return False
        self._calls += 1
        self._go("text", end + len(_CALL_END))
        return True

    def _go(self, state: _State, consumed: int) -> None:
        self._state = state
        self._buffer = self._buffer[consumed:]
        self._searched = 0

    def _say(self, text: str) -> None:
        if self._after_call:  # white space between calls is the form's, not the answer's
            text = text.lstrip()
        if text:
            self._after_call = False
            self._out.append(Delta(text=text))

    def _think(self, text: str) -> None:
        if text:
            self._out.append(Delta(thinking=text))

    def _value(self, text: str, *, last: bool = False) -> None:
        if self._kinds == _TEXT:
            escaped = json.dumps(text, ensure_ascii=False)[1:-1]
            if escaped or last:
                self._call(arguments=f'{escaped}"' if last else escaped)
        else:
            self._call(arguments=as_json(text, self._kinds))

    def _call(self, *, id: str = "", name: str = "", arguments: str = "") -> None:  # noqa: A002 - the field's own name
        self._out.append(Delta(tool_calls=(ToolCallDelta(self._calls, id, name, arguments),)))


def as_json(text: str, kinds: frozenset[str]) -> str:
    """Spells a raw value as JSON of one of the schema's types; as a string where it is none of them.

    Args:
        text: the value as the model wrote it.
        kinds: names of JSON schema types.
    """
    bare = text.strip()
    spelled = {"True": "true", "False": "false", "None": "null"}.get(bare, bare)
    try:
        value = msgspec.json.decode(spelled)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return json.dumps(text, ensure_ascii=False)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": is_number and (isinstance(value, int) or value.is_integer()),
        "number": is_number,
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    if any(fits.get(kind) for kind in kinds) and not ("string" in kinds and not fits["null"]):
        return spelled
    return json.dumps(text, ensure_ascii=False)


_TEXT = frozenset({"string"})


def _property_types(schema: dict[str, Any]) -> dict[str, frozenset[str]]:
    properties = schema.get("properties")
    return {name: _types(each) for name, each in properties.items()} if isinstance(properties, dict) else {}


def _types(schema: Any) -> frozenset[str]:
    """Collects the types that a property's schema allows; text where it names none."""
    if not isinstance(schema, dict):
        return _TEXT
    named = schema.get("type")
    if isinstance(named, str):
        return frozenset({named})
    if isinstance(named, list):
        return frozenset(str(each) for each in named)
    branches = schema.get("anyOf") or schema.get("oneOf") or []
    found: frozenset[str] = frozenset().union(*(_types(branch) for branch in branches)) if branches else frozenset()
    return found or _TEXT
