"""What a tool is: a frozen schema the model sees, and a function that runs it inside the workspace.

Never raises for what the model did wrong: a refusal is a result the model reads and can act on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glm_lsp.edits.hunks import hunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.edits.draft import Draft
    from glm_lsp.errors import GlmError
    from glm_lsp.index.walk import Listing
    from glm_lsp.terms import Hunk, ToolSpec

RESULT_LIMIT = 40_000
"""Characters of one result at most: about 10,000 tokens, so that no single call fills the context."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may touch: the turn's draft and the list of the workspace's files."""

    draft: Draft
    listing: Listing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: a few words for the person, the whole for the model, and the edits it made."""

    words: str
    text: str
    ok: bool = True
    hunks: tuple[Hunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing the model may do between two thoughts.

    Attributes:
        spec: name, description and schema, as the model sees them.
        title: the line a person sees, from the arguments: verb and object.
        run: does it; errors from `glm_lsp.errors` become the result the model reads.
        edits: whether it changes the draft; such calls run one after the other, in order.
    """

    spec: ToolSpec
    title: Callable[[dict[str, Any]], str]
    run: Callable[[ToolContext, dict[str, Any]], Outcome]
    edits: bool = False


def refusal(error: GlmError) -> Outcome:
    """A call that could not be carried out; the model reads why, and what to do instead."""
    words = error.message.split("\n", 1)[0].split(". ", 1)[0].split(": ", 1)[0].rstrip(".:")
    return Outcome(f"refused: {words}", f"{error.message}\n{error.hint}".strip(), ok=False)


def edited(draft: Draft, path: str, before: str) -> Outcome:
    """What an edit of `path`, which read `before`, came to; says so where the file is broken for now."""
    made = hunks(path, before, draft.text(path).content, context=0)
    added, removed = (sum(len(getattr(hunk, side)) for hunk in made) for side in ("added", "removed"))
    objections = [objection for objection in draft.objections() if objection.path == path]
    notes = "".join(f"\nFor now line {o.line}: {o.message}" for o in objections[:3])
    where = f" from line {made[0].new_line}" if made else ""
    return Outcome(f"+{added} −{removed}", f"Edited {path}{where}: +{added} −{removed}.{notes}", hunks=made)


def parameter(kind: str, description: str, **more: Any) -> dict[str, Any]:
    """One property of a tool's schema; every property has a type."""
    return {"type": kind, "description": description, **more}


def schema(required: tuple[str, ...], **properties: dict[str, Any]) -> dict[str, Any]:
    """A closed object schema; the order of `properties` is the order the model writes them in."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def numbered(lines: list[str], first: int) -> str:
    """Lines with their numbers as `12|text`: a bar, since a tab would blur the indentation behind it."""
    return "\n".join(f"{number}|{line}" for number, line in enumerate(lines, first))
