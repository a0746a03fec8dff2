"""Reads a tool call's arguments while they stream, and checks them against the tool's schema.

Never repairs broken JSON and never decodes anything twice: HTML entities, backslashes and tags in a text stay as the
model wrote them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from glm_lsp.errors import BadArguments

if TYPE_CHECKING:
    from glm_lsp.terms import ToolSpec


@dataclass(frozen=True, slots=True)
class ArgumentPiece:
    """What became known of one argument.

    Attributes:
        key: the argument's name.
        text: for a string, the decoded characters since the last piece; never half of a surrogate pair.
        done: whether the value is complete with this piece.
        value: the value where it is no string, which comes in one piece.
    """

    key: str
    text: str = ""
    done: bool = False
    value: Any = None


class ArgumentStream:
    """The JSON text of one object, read as it comes; one for each tool call.

    Fragments may be cut anywhere, within an escape or a surrogate pair as well: the pieces of a key add up to the same
    text for every cut.
    Literal newlines and tabs within strings are taken as such, though JSON wants them escaped.
    Nothing is raised while the stream goes on: after a mistake no more pieces come, and `finish` says what it was.
    """

    def __init__(self) -> None:
        self._state: _State = "start"
        self._values: dict[str, Any] = {}
        self._key = ""
        self._text: list[str] = []
        self._raw: list[str] = []
        self._pending = ""  # an escape that is not complete yet, or a high surrogate waiting for the low one
        self._depth = 0
        self._quoted = False
        self._mistake = ""
        self._read = 0

    def push(self, fragment: str) -> list[ArgumentPiece]:
        """Takes the next fragment and returns what became known by it, in order."""
        pieces: list[ArgumentPiece] = []
        at = 0
        try:
            while at < len(fragment) and not self._mistake:
                at = self._step(fragment, at, pieces)
        except _WrongError as wrong:
            self._mistake = str(wrong)
        self._read += len(fragment)
        return pieces

    def finish(self) -> dict[str, Any]:
        """The whole object; an empty stream is the empty object, as servers send it for a call without arguments.

        Raises BadArguments where the text is cut off, is no object, names an argument twice or is no JSON.
        """
        if not self._mistake and self._state not in {"start", "end"}:
            within = f' within "{self._key}"' if self._key else ""
            self._mistake = f"they end{within} after {self._read} characters, before they are complete"
        if self._mistake:
            raise BadArguments(
                f"The arguments of the tool call cannot be used: {self._mistake}.",
                hint="Call the tool again with one complete JSON object.",
            )
        return dict(self._values)

    def _step(self, fragment: str, at: int, pieces: list[ArgumentPiece]) -> int:
        """Reads on from `at` and returns how far it came, at least one character further."""
        if self._state in {"key", "string"}:
            return self._in_string(fragment, at, pieces)
        if self._state == "value":
            return self._in_value(fragment, at, pieces)
        at = _BLANKS.match(fragment, at).end()  # type: ignore[union-attr]  # it matches nothing as well
        if at == len(fragment):
            return at
        character = fragment[at]
        match self._state, character:
            case "start", "{":
                self._state = "first-key"
            case "start", _:
                raise _WrongError(f"they begin with {character!r} and are no JSON object")
            case (("first-key" | "next-key"), '"'):
                self._state = "key"
                self._text.clear()
            case (("first-key" | "comma"), "}"):
                self._state = "end"
            case "colon", ":":
                self._state = "before-value"
            case "before-value", '"':
                self._state = "string"
                self._text.clear()
            case "before-value", _ if character not in ",:}]":
                self._state = "value"
                self._raw.clear()
                self._depth, self._quoted = 0, False
                return at
            case "comma", ",":
                self._state = "next-key"
            case "end", _:
                raise _WrongError(f"{character!r} stands behind the end of the object")
            case _:
                wanted = _WANTED.get(self._state, "a value")
                raise _WrongError(f"{character!r} stands where {wanted} should be{self._after()}")
        return at + 1

    def _after(self) -> str:
        return f' (at "{self._key}")' if self._key else ""

    def _in_string(self, fragment: str, at: int, pieces: list[ArgumentPiece]) -> int:
        """Reads on in a string to its end or the fragment's, and tells what came if the string is a value."""
        new: list[str] = []
        closed = False
        try:
            while at < len(fragment) and not closed:
                if self._pending:
                    at = self._in_escape(fragment, at, new)
                    continue
                end = _SPECIAL.search(fragment, at)
                stop = end.start() if end else len(fragment)
                new.append(fragment[at:stop])
                at = stop + 1 if end else stop
                if end and end[0] == "\\":
                    self._pending = "\\"
                closed = bool(end) and end[0] == '"' if end else False
        finally:  # what was right before a mistake is told for every cut alike
            if new and self._state == "string" and (text := "".join(new)) and not closed:
                self._text.append(text)
                pieces.append(ArgumentPiece(self._key, text))
                new = []
        text = "".join(new)
        self._text.append(text)
        if closed:
            whole = "".join(self._text)
            if self._state == "key":
                if whole in self._values:
                    raise _WrongError(f'they give "{whole}" twice')
                self._key, self._state = whole, "colon"
            else:
                self._values[self._key] = whole
                self._state = "comma"
                pieces.append(ArgumentPiece(self._key, text, done=True))
        return at

    def _in_escape(self, fragment: str, at: int, new: list[str]) -> int:
        r"""Takes one more character of an escape, whose beginning is pending: `\n`, `\u00e9` or a pair of those."""
        self._pending += fragment[at]
        pending = self._pending
        low = pending[6:] if len(pending) > 6 else ""
        escape = low or pending
        if low and not "\\u".startswith(low[:2]):
            raise _WrongError(f"{pending[:6]} is half of a character{self._after()}")
        if len(escape) == 1:
            return at + 1
        if escape[1] != "u":
            if escape[1] not in _ESCAPES:
                raise _WrongError(f"{escape!r} is no JSON escape{self._after()}: a backslash is written as \\\\")
            new.append(_ESCAPES[escape[1]])
            self._pending = ""
            return at + 1
        if escape[-1] != "u" and escape[-1] not in "0123456789abcdefABCDEF":
            raise _WrongError(f"{escape!r} is no JSON escape{self._after()}")
        if len(escape) < 6:
            return at + 1
        code = int.from_bytes(bytes.fromhex(escape[2:]))
        if low:
            high = int.from_bytes(bytes.fromhex(pending[2:6]))
            if not 0xDC00 <= code <= 0xDFFF:
                raise _WrongError(f"{pending[:6]} is half of a character{self._after()}")
            new.append(chr(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)))
        elif 0xD800 <= code <= 0xDBFF:
            return at + 1  # pending until its other half is there
        elif 0xDC00 <= code <= 0xDFFF:
            raise _WrongError(f"{escape} is half of a character{self._after()}")
        else:
            new.append(chr(code))
        self._pending = ""
        return at + 1

    def _in_value(self, fragment: str, at: int, pieces: list[ArgumentPiece]) -> int:
        """Reads on in a value that is no string, to the comma or brace behind it."""
        start = at
        while at < len(fragment):
            if self._pending:  # the character behind a backslash, wherever the fragment was cut
                self._pending = ""
                at += 1
                continue
            found = _STRUCTURE.search(fragment, at)
            if not found:
                break
            sign, at = found[0], found.end()
            if sign == '"':
                self._quoted = not self._quoted
            elif self._quoted:
                self._pending = sign if sign == "\\" else ""
            elif sign in "[{":
                self._depth += 1
            elif self._depth and sign in "]}":
                self._depth -= 1
            elif not self._depth and sign in ",}":
                self._raw.append(fragment[start : found.start()])
                self._end_value(pieces)
                return found.start()
        self._raw.append(fragment[start:])
        return len(fragment)

    def _end_value(self, pieces: list[ArgumentPiece]) -> None:
        raw = "".join(self._raw).strip()
        try:
            value = json.loads(raw, parse_constant=_no_constant, strict=False)
        except (ValueError, RecursionError):
            raise _WrongError(f'the value of "{self._key}" is no JSON: {raw[:60]!r}') from None
        self._values[self._key] = value
        self._state = "comma"
        pieces.append(ArgumentPiece(self._key, done=True, value=value))


def validate(arguments: dict[str, Any], spec: ToolSpec) -> dict[str, Any]:
    """The arguments as the tool's schema wants them.

    Harmless differences are evened out: `"12"` and `12.0` for an integer, `"true"` for a boolean, and null for an
    optional argument, which is dropped.

    Raises:
        BadArguments: a missing, unknown or wrong argument, with its name, what was given and what is wanted.
    """
    properties: dict[str, dict[str, Any]] = spec.parameters.get("properties", {})
    required = set(spec.parameters.get("required", ()))
    for key in arguments:
        if key not in properties:
            raise _unknown(key, spec, properties, arguments)
    valid: dict[str, Any] = {}
    for key, schema in properties.items():
        given = arguments.get(key)
        if given is not None:
            valid[key] = _fitting(spec.name, key, given, schema)
        elif key in required:
            missing = [name for name in properties if name in required and arguments.get(name) is None]
            raise BadArguments(
                f"{spec.name} needs {_and(missing)}, which {'is' if len(missing) == 1 else 'are'} missing.",
                hint=f"Call {spec.name} again with {_and(sorted(required, key=list(properties).index))}.",
            )
    return valid


_State = Literal["start", "first-key", "next-key", "key", "colon", "before-value", "string", "value", "comma", "end"]
_WANTED = {
    "first-key": "the name of an argument",
    "next-key": "the name of an argument",
    "colon": "a colon",
    "comma": "a comma or the end of the object",
}
_BLANKS = re.compile(r"[ \t\r\n]*")
_SPECIAL = re.compile(r'["\\]')
_STRUCTURE = re.compile(r'["\\{}\[\],]')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MEANT = {  # what models call our arguments after other tools
    "path": ("file_path",),
    "filename": ("file_path",),
    "file": ("file_path",),
    "filepath": ("file_path",),
    "filePath": ("file_path",),
    "old_text": ("old_string",),
    "old_str": ("old_string",),
    "oldString": ("old_string",),
    "search": ("old_string", "pattern"),
    "new_text": ("new_string", "new_source"),
    "new_str": ("new_string", "new_source"),
    "newString": ("new_string",),
    "replace": ("new_string",),
    "text": ("content",),
    "file_text": ("content",),
    "code": ("new_source", "content"),
    "line": ("start_line",),
    "name": ("symbol",),
    "query": ("pattern",),
    "cmd": ("command",),
}


class _WrongError(Exception):
    """The text is no JSON object; its words complete a sentence."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _unknown(
    key: str, spec: ToolSpec, properties: dict[str, dict[str, Any]], arguments: dict[str, Any]
) -> BadArguments:
    near = [name for name in _MEANT.get(key, ()) if name in properties and name not in arguments]
    near = near or get_close_matches(key, [name for name in properties if name not in arguments], n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    return BadArguments(
        f'{spec.name} has no argument "{key}".{meant}',
        hint=f"Call {spec.name} again; its arguments are {_and(list(properties)) or 'none'}.",
    )


def _fitting(tool: str, key: str, given: Any, schema: dict[str, Any]) -> Any:
    wanted = schema.get("type", "")
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    for kind in kinds:
        value = _as(kind, given, schema)
        if value is not None:
            if "enum" in schema and value not in schema["enum"]:
                choices = ", ".join(map(json.dumps, schema["enum"]))
                raise BadArguments(f'"{key}" of {tool} is one of {choices}, not {_told(given)}.', hint=_AGAIN)
            if "minimum" in schema and not isinstance(value, str | list) and value < schema["minimum"]:
                raise BadArguments(f'"{key}" of {tool} is at least {schema["minimum"]}, not {given}.', hint=_AGAIN)
            return value
    words = " or ".join(_KINDS.get(kind, kind) for kind in kinds if kind != "null")
    raise BadArguments(f'"{key}" of {tool} is {words}, not {_told(given)}.', hint=_AGAIN)


_AGAIN = "Call it again with that argument corrected."
_KINDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list of strings",
    "object": "an object",
}


def _as(kind: str, given: Any, schema: dict[str, Any]) -> Any:
    """The given value as that kind; None where it is none."""
    match kind, given:
        case "string", str():
            return given
        case "boolean", bool():
            return given
        case "boolean", str() if given.strip().lower() in {"true", "false"}:
            return given.strip().lower() == "true"
        case (("integer" | "number"), bool()):
            return None
        case (("integer" | "number"), int()):
            return given
        case "integer", float() if given.is_integer():
            return int(given)
        case "number", float():
            return given
        case "integer", str() if re.fullmatch(r"\s*[+-]?\d{1,18}(?:\.0+)?\s*", given, re.ASCII):
            return int(given.strip().partition(".")[0])
        case "array", list():
            item = schema.get("items", {}).get("type", "string")
            kinds = [item] if isinstance(item, str) else item
            return given if all(any(_as(kind, one, {}) is not None for kind in kinds) for one in given) else None
        case "object", dict():
            return given
    return None


def _told(given: Any) -> str:
    told = json.dumps(given, ensure_ascii=False)
    return told if len(told) <= 60 else f"{told[:57]}..."


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
