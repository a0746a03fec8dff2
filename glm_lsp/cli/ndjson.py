"""Events as lines of JSON, for programs that follow a run.

Never leaves anything out but the files' raw bytes, and never writes what a JSON parser refuses.
"""

from __future__ import annotations

import hashlib
import json
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from glm_lsp import terms
from glm_lsp.edits.hunks import counts, unified

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.terms import Event, FileChange, Proposal


def encode(event: Event) -> bytes:
    """One event as one JSON object, without the newline: `turn`, `seq`, `at` (to the millisecond), `event`, its fields."""
    what = event.what
    name, fields = _SHAPES[type(what)]
    line = {"turn": event.turn, "seq": event.seq, "at": round(event.at, 3), "event": name, **fields(what)}
    try:
        return _encode(line)
    except (UnicodeEncodeError, OverflowError):
        # A lone surrogate or a huge number in what a model wrote: rare, and no reason to end the stream.
        return json.dumps(sound(msgspec.to_builtins(line)), ensure_ascii=False, separators=(",", ":")).encode()


def kebab(name: str) -> str:
    """`ThinkingAdded` as `thinking-added`."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


def proposal_as_dict(proposal: Proposal) -> dict[str, Any]:
    """A proposal for JSON: each file's bytes stand as a unified diff and as checksums."""
    return {
        "id": proposal.id,
        "summary": proposal.summary,
        "changes": [change_as_dict(change) for change in proposal.changes],
        "hunks": proposal.hunks,
        "objections": proposal.objections,
        "unchecked": proposal.unchecked,
    }


def change_as_dict(change: FileChange) -> dict[str, Any]:
    """One changed file for JSON; a missing side has the checksum None."""
    added, removed = counts((change,))
    return {
        "path": change.path,
        "kind": "created" if change.before is None else "deleted" if change.after is None else "modified",
        "added": added,
        "removed": removed,
        "mode": change.mode,
        "before_sha256": _sha256(change.before),
        "after_sha256": _sha256(change.after),
        "diff": unified(change),
    }


def sound(value: Any) -> Any:
    """The same value with lone surrogates replaced, which neither UTF-8 nor strict JSON parsers take."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {sound(key): sound(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [sound(item) for item in value]
    return value


_SURROGATES = re.compile("[\ud800-\udfff]")
_encode = msgspec.json.Encoder().encode


def _sha256(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _fields_of(kind: type) -> Callable[[Any], dict[str, Any]]:
    names = tuple(kind.__slots__)  # type: ignore[attr-defined]  # every happening is a slotted dataclass
    if len(names) == 1:
        only = names[0]
        get_one = attrgetter(only)
        return lambda what: {only: get_one(what)}
    get_all = attrgetter(*names)
    return lambda what: dict(zip(names, get_all(what), strict=True))


_SHAPES: dict[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    kind: (kebab(kind.__name__), _fields_of(kind)) for kind in get_args(terms.Happening)
}
_SHAPES[terms.Proposed] = ("proposed", lambda what: {"proposal": proposal_as_dict(what.proposal)})
