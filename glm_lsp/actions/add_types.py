"""The action `add_types`: types where the language leaves them to choice.

Never changes what the code does when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place

_HOW = {"Python": "type hints", "JavaScript": "JSDoc types", "TypeScript": "types", "TSX": "types", "PHP": "types"}
"""How the languages in which types are optional call them."""


def _applies(place: Place) -> str | None:
    how = _HOW.get(place.row.name) if place.row is not None else None
    return f"Add {how} to {place.target}" if how else None


ACTION = Action(
    id="add_types",
    title="Add types",
    kind="refactor.rewrite.types",
    thinking=False,
    preset="coding",
    guidance="Add types where they are missing: parameters, results, and variables whose type is not plain to see. Use "
    "the form of this language (JSDoc comments in JavaScript) and the version that the project supports. Look up what "
    "callers pass rather than guess; be as exact as the code allows, and avoid Any and its like. Change nothing that "
    "happens at run time.",
    applies=_applies,
)
