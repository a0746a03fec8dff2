"""Names, descriptions and schemas of MCP servers' tools, made fit for the model to see.

Never trusts what a server wrote: what is not a plain schema is left out, bounded or made plain.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from glm_lsp.prompt import shield
from glm_lsp.terms import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAME_LENGTH = 64
"""Characters of a tool's name: what engines of the OpenAI kind take."""

SERVER_LENGTH = 24

DESCRIPTION_LENGTH = 2_000

SENTENCE_LENGTH = 500
"""Characters of the description of one argument."""

SCHEMA_LENGTH = 20_000
"""Characters of one tool's schema; the model reads it with every conversation."""

DEPTH = 8
"""How deep a schema may go; below that, anything is taken."""

PARTS = 2_000
"""Parts of one schema that are looked at: references can make a small document endless."""

CHOICES = 100

_KINDS = ("string", "integer", "number", "boolean", "array", "object")
_KEY = re.compile(r"[\w.$@:/\[\]-]{1,64}", re.ASCII)
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")


def server_name(name: str) -> str:
    """A server's name as it begins the names of its tools: without `__`, which ends it there."""
    return re.sub(r"[^a-zA-Z0-9-]+", "_", name).strip("_")[:SERVER_LENGTH].strip("_") or "server"


def tool_names(server: str, names: Iterable[str]) -> dict[str, str]:
    """The model's name for each of a server's tools: `server__tool`, of letters, digits, `_` and `-`.

    A name that has to be changed and meets another one gets a mark made from what it was, so that every name stands
    for the same tool as long as the server calls it the same.
    """
    wanted = {name: f"{server}__{re.sub(r'[^a-zA-Z0-9_-]', '_', name) or 'tool'}" for name in names}
    plain = {name for name, full in wanted.items() if full == f"{server}__{name}" and len(full) <= NAME_LENGTH}
    taken = [full for name, full in wanted.items() if name in plain]
    changed = [full for name, full in wanted.items() if name not in plain]
    given: dict[str, str] = {}
    for name, full in wanted.items():
        if name not in plain and (full in taken or changed.count(full) > 1 or len(full) > NAME_LENGTH):
            mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            given[name] = f"{full[: NAME_LENGTH - 9]}_{mark}"
        else:
            given[name] = full
    return given


def tool_spec(name: str, description: str, schema: Any) -> ToolSpec:
    """The tool as the model sees it.

    Raises:
        ValueError: its schema cannot be put before the model; the words complete "its schema".
    """
    made = _Reading(schema).plain(schema, 0, ())
    properties = made.get("properties", {})
    odd = next((key for key in properties if not _KEY.fullmatch(key)), None)
    if odd is not None:
        raise ValueError(f"names an argument {odd[:40]!r}")
    parameters = {
        "type": "object",
        "properties": properties,
        "required": made.get("required", []),
        "additionalProperties": False,
    }
    size = len(json.dumps(parameters))
    if size > SCHEMA_LENGTH:
        raise ValueError(f"has {size:,} characters, more than {SCHEMA_LENGTH:,}")
    return ToolSpec(name, readable(description, DESCRIPTION_LENGTH) or "No description.", parameters)


def readable(text: str, limit: int) -> str:
    """Foreign text for the model: of visible characters, bounded, and without its control strings."""
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in text[: 2 * limit]).strip()
    return shield(text if len(text) <= limit else f"{text[: limit - 1]}…")


class _Reading:
    """The reading of one schema: its whole document, and how much more of it may be read."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = PARTS

    def plain(self, schema: Any, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        """A schema of the keywords that we and the engines understand, with a type and without references."""
        schema, seen = self._resolved(schema, seen)
        if depth >= DEPTH or not schema:
            return {"type": _types([schema])}
        parts = [schema]
        for joined in ("anyOf", "oneOf", "allOf"):
            # Types come from every alternative; the rest from the first one that says it.
            parts += [self.plain(one, depth + 1, seen) for one in _of(schema, joined, list) or ()]
        kind = _types(parts)
        made: dict[str, Any] = {"type": kind}
        description = _first(parts, "description", str)
        if description:
            made["description"] = readable(description, SENTENCE_LENGTH)
        choices = _choices(parts)
        if choices:
            made["enum"] = choices
        made |= _limits(schema, kind)
        if "array" in kind:
            made["items"] = self.plain(_first(parts, "items", dict), depth + 1, seen)
        properties = _first(parts, "properties", dict) if "object" in kind else None
        if properties:
            required = _first(parts, "required", list) or []
            made["properties"] = {str(key): self.plain(one, depth + 1, seen) for key, one in properties.items()}
            made["required"] = [key for key in made["properties"] if key in required]
        return made

    def _resolved(self, schema: Any, seen: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What a reference within the document stands for; an object for one that leads to itself, or nowhere."""
        while isinstance(schema, dict):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"has more than {PARTS:,} parts")
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema, seen
            found: Any = self._root if reference.startswith("#") and reference not in seen else None
            for step in reference.removeprefix("#").split("/")[1:]:
                found = _of(found, step.replace("~1", "/").replace("~0", "~"), dict)
            own = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**found, **own} if isinstance(found, dict) else {"type": "object", **own}
            seen = (*seen, reference)
        return {}, seen


def _limits(schema: dict[str, Any], kind: str | list[str]) -> dict[str, Any]:
    """The bounds and the format that it states itself; bounds of a number only where nothing else is taken."""
    ordered = kind in ("integer", "number")
    stated = {key: schema[key] for key in ("minimum", "maximum") if ordered and _is_number(schema.get(key))}
    stated |= {key: schema[key] for key in _COUNTS if type(schema.get(key)) is int}
    wording = _of(schema, "format", str)
    return stated | ({"format": readable(wording, SENTENCE_LENGTH)} if wording else {})


def _types(parts: Sequence[dict[str, Any]]) -> str | list[str]:
    kinds: list[Any] = []
    for part in parts:
        kind = part.get("type")
        kinds += kind if isinstance(kind, list) else [kind]
    known = [kind for kind in _KINDS if kind in kinds]
    for part in parts if not known else ():
        guessed = {_type_of(choice) for choice in _choices([part])}
        guessed |= {"object"} if _of(part, "properties", dict) else set()
        guessed |= {"array"} if _of(part, "items", dict) else set()
        known += [kind for kind in _KINDS if kind in guessed and kind not in known]
    return known[0] if len(known) == 1 else known or "string"


def _type_of(value: Any) -> str:
    return {bool: "boolean", int: "integer", float: "number"}.get(type(value), "string")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _choices(parts: Iterable[dict[str, Any]]) -> list[Any]:
    """The values of the first part that names any; such as cannot be shown whole are left out."""
    for part in parts:
        choices = [part["const"]] if "const" in part else _of(part, "enum", list)
        if choices:
            shown = [one for one in choices if isinstance(one, int | float) or _is_shown(one)]
            return [shield(one) if isinstance(one, str) else one for one in shown[:CHOICES]]
    return []


def _is_shown(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= SENTENCE_LENGTH


def _of(part: Any, keyword: str, kind: Any) -> Any:
    value = part.get(keyword) if isinstance(part, dict) else None
    return value if isinstance(value, kind) else None


def _first(parts: Iterable[dict[str, Any]], keyword: str, kind: Any) -> Any:
    return next((part[keyword] for part in parts if isinstance(part.get(keyword), kind)), None)
