"""The action `refactor`: a change in the person's own words.

Never decides what to change: the words do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return f"Change {place.target}…"


ACTION = Action(
    id="refactor",
    title="Refactor…",
    kind="refactor.rewrite",
    thinking=True,
    preset="coding",
    guidance="Make this change in the workspace. Behaviour that the request does not mention stays as it is.",
    needs_instruction=True,
    applies=_applies,
)
