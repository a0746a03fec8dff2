"""The action `convert`: the same thing in another form that the person names, such as `to async` or `to dataclass`.

Never guesses the form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return f"Convert {place.target} to…" if place.is_selected or place.symbol is not None else None


ACTION = Action(
    id="convert",
    title="Convert to…",
    kind="refactor.rewrite.convert",
    thinking=True,
    preset="coding",
    guidance="Convert this code into the form that is asked for, wholly: no half-way state and no unused remains of the "
    "old form. Look up who uses it and bring them along. What it does for its callers stays the same, except where the "
    "new form demands otherwise; say where.",
    needs_instruction=True,
    applies=_applies,
)
