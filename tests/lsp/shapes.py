"""Whether plain data has the shape of a class of the protocol, or of one of ours: every key known, none missing.

Never converts anything and never lets a key pass that its class does not have.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import types as python
import typing
from typing import Annotated, Any, Literal

import attrs
import msgspec
from lsprotocol import types

Misfit = tuple[int, str]
"""How deep something is wrong, and what."""


def misfits(value: Any, hint: Any, where: str = "$", depth: int = 0) -> list[Misfit]:
    """All that is wrong with `value`, as a `hint` of a field would have it; empty where it fits."""
    if hint is Any or hint is object:
        return []
    if hint is None or hint is type(None):
        return [] if value is None else [(depth, f"{where}: {_short(value)} where null belongs")]
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _constrained(value, hint, where, depth)
    if origin in (typing.Union, python.UnionType):
        return _any_of(value, typing.get_args(hint), where, depth)
    if origin is Literal:
        return [] if value in typing.get_args(hint) else [(depth, f"{where}: {_short(value)} is none of {hint}")]
    if origin is tuple and not (len(typing.get_args(hint)) == 2 and typing.get_args(hint)[1] is Ellipsis):
        return _tuple(value, typing.get_args(hint), where, depth)
    if origin in (collections.abc.Sequence, list, tuple):
        if not isinstance(value, list):
            return [(depth, f"{where}: {_short(value)} is no array")]
        item = typing.get_args(hint)[0]
        return [one for n, v in enumerate(value) for one in misfits(v, item, f"{where}[{n}]", depth + 1)]
    if origin in (collections.abc.Mapping, dict):
        if not isinstance(value, dict):
            return [(depth, f"{where}: {_short(value)} is no object")]
        item = typing.get_args(hint)[1]
        return [one for k, v in value.items() for one in misfits(v, item, f"{where}.{k}", depth + 1)]
    return _of_class(value, hint, where, depth)


def _of_class(value: Any, kind: Any, where: str, depth: int) -> list[Misfit]:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        known = {member.value for member in kind}
        fits = value in known and not isinstance(value, bool) if isinstance(value, str | int) else False
        return [] if fits else [(depth, f"{where}: {_short(value)} is no {kind.__name__}")]
    if kind in (str, bool):
        return [] if isinstance(value, kind) else [(depth, f"{where}: {_short(value)} is no {kind.__name__}")]
    if kind in (int, float):
        takes = (int,) if kind is int else (int, float)
        fits = isinstance(value, takes) and not isinstance(value, bool)
        return [] if fits else [(depth, f"{where}: {_short(value)} is no {kind.__name__}")]
    if not isinstance(value, dict):
        return [(depth, f"{where}: {_short(value)} is no {getattr(kind, '__name__', kind)}")]
    shape = _shape(kind)
    name = kind.__name__
    found = [(depth, f"{where}: {name} has no key {key!r}") for key in value if key not in shape]
    for key, (hint, required, check) in shape.items():
        if key not in value:
            found += [(depth, f"{where}: {name} lacks {key!r}")] if required else []
            continue
        wrong = misfits(value[key], hint, f"{where}.{key}", depth + 1)
        if not wrong and check is not None:
            wrong = check(value[key], f"{where}.{key}", depth + 1)
        found += wrong
    return found


@functools.cache
def _shape(kind: Any) -> dict[str, tuple[Any, bool, Any]]:
    """For each key of a class: what it holds, whether it must be there, and a further check."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        shape = {f.encode_name: (f.type, f.required, None) for f in msgspec.structs.fields(kind)}
        return ({config.tag_field: (Literal[config.tag], True, None)} if config.tag_field else {}) | shape
    hints = typing.get_type_hints(kind, vars(types))
    shape = {}
    for a in attrs.fields(kind):
        special = types.is_special_property(kind, a.name) and a.name not in {"root_path", "workspace_folders"}
        hint = hints[a.name]
        nullable = types.is_special_property(kind, a.name) or a.default is attrs.NOTHING
        if not nullable and typing.get_origin(hint) is typing.Union:
            rest = tuple(arg for arg in typing.get_args(hint) if arg is not type(None))
            hint = typing.Union[rest]  # noqa: UP007 - made of a tuple
        # `Optional[Any]` loses its null nowhere: what is not restricted takes it.
        hint = Any if Any in typing.get_args(hint) else hint
        check = functools.partial(_validated, a) if a.validator is not None else None
        shape[_camel(a.name)] = (hint, a.default is attrs.NOTHING or special, check)
    return shape


def _validated(attribute: Any, value: Any, where: str, depth: int) -> list[Misfit]:
    try:
        attribute.validator(None, attribute, value)
    except (TypeError, ValueError) as error:
        return [(depth, f"{where}: {error.args[0]}")]
    return []


def _any_of(value: Any, kinds: tuple[Any, ...], where: str, depth: int) -> list[Misfit]:
    if isinstance(value, dict):
        for kind in kinds:  # tagged classes of ours say themselves which one is meant
            config = getattr(kind, "__struct_config__", None)
            if config is not None and config.tag_field and value.get(config.tag_field) == config.tag:
                return misfits(value, kind, where, depth)
    tries = [misfits(value, kind, where, depth) for kind in kinds]
    if any(not one for one in tries):
        return []
    return max(tries, key=lambda one: (min(deep for deep, _ in one), -len(one)))


def _constrained(value: Any, hint: Any, where: str, depth: int) -> list[Misfit]:
    plain, *notes = typing.get_args(hint)
    found = misfits(value, plain, where, depth)
    if not found:
        for note in notes:
            if isinstance(note, msgspec.Meta) and note.ge is not None and value < note.ge:
                found.append((depth, f"{where}: {value} is less than {note.ge}"))
    return found


def _tuple(value: Any, kinds: tuple[Any, ...], where: str, depth: int) -> list[Misfit]:
    if not isinstance(value, list) or len(value) != len(kinds):
        return [(depth, f"{where}: {_short(value)} is no array of {len(kinds)}")]
    pairs = enumerate(zip(value, kinds, strict=True))
    return [one for n, (v, kind) in pairs for one in misfits(v, kind, f"{where}[{n}]", depth + 1)]


def _camel(name: str) -> str:
    head, *rest = name.removesuffix("_").split("_")
    return head + "".join(word.title() for word in rest)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
