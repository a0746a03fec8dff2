"""What is on the menu at a place: the title, the kind, and the whole Ask that a choice of it starts.

Never asks the engine or reads a file: a menu has to be there in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glm_lsp.terms import Ask, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.actions.action import Action
    from glm_lsp.actions.place import Place

_ON_SAVE = "source.fixAll"
"""What editors ask for whenever a file is saved, of every server; a model has to be asked for by its own name."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One entry of the menu.

    Attributes:
        action: the action's id.
        title: what the person reads.
        kind: its LSP code action kind.
        ask: what a choice of it asks.
        preferred: whether an editor may take it for the first choice.
        needs_instruction: whether the Ask still lacks the person's words.
    """

    action: str
    title: str
    kind: str
    ask: Ask
    preferred: bool
    needs_instruction: bool


def offer(action: Action, place: Place) -> Offer | None:
    """What the action offers at the place; None where it does not apply."""
    title = action.applies(place) if action.applies is not None else None
    if not title:
        return None
    return Offer(action.id, title, action.kind, ask_at(action, place), action.preferred, action.needs_instruction)


def ask_at(action: Action, place: Place) -> Ask:
    """What the action asks at a place, without the person's words; whether it applies there is not looked at."""
    ask = Ask(action.id, "", (place.path,))
    chosen = place.selection
    if action.about == "nothing":
        return replace(ask, paths=())
    if action.about == "file" or chosen is None:
        return replace(ask, problems=place.in_file or place.problems) if action.about == "file" else ask
    if action.about == "problems":
        return replace(ask, selections=(chosen,), problems=place.problems)
    if action.about == "name":
        return replace(ask, selections=(replace(chosen, text=place.word),))
    if not place.is_selected and place.symbol is not None:
        chosen = Selection(place.path, place.symbol.first_line, place.symbol.last_line)
    return replace(ask, selections=(chosen,))


def wanted(kind: str, kinds: Sequence[str] | None) -> bool:
    """Whether a client that asks for these kinds wants one of `kind`: itself, or one above it; None means all."""
    if kinds is None:
        return True
    return any(not asked or kind == asked or (kind.startswith(f"{asked}.") and asked != _ON_SAVE) for asked in kinds)
