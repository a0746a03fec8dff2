"""The action `explain`: what this code does and why, in words.

Never changes a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return f"Explain {place.target}"


ACTION = Action(
    id="explain",
    title="Explain",
    # Not a kind below `source`: editors leave those out of the light bulb.
    kind="refactor.glm.explain",
    thinking=False,
    preset="default",
    guidance="Explain this code to a colleague who knows the language but not this project; change nothing. Begin with "
    "what it is for, in one sentence. Then how it works, and what is easy to get wrong: hidden assumptions, edge cases, "
    "side effects. Look up who calls it and what it calls where that matters. Name lines as `path:line`. Be brief.",
    applies=_applies,
    edits=False,
)
