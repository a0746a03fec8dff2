"""The action `simplify`: the same behaviour in code that is easier to read.

Never trades clarity for fewer lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return f"Simplify {place.target}" if place.is_code and (place.is_selected or place.symbol is not None) else None


ACTION = Action(
    id="simplify",
    title="Simplify",
    kind="refactor.rewrite.simplify",
    thinking=True,
    preset="coding",
    guidance="Make this code easier to read without changing what it does: less nesting, early returns, no repetition, "
    "the language's and the project's own means in place of hand-made ones, nothing that is never used. Signatures, "
    "results, errors and side effects stay. Clear beats short. If it is simple already, change nothing and say so.",
    applies=_applies,
)
