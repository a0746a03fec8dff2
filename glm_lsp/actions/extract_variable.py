"""The action `extract_variable`: the selected expression gets a name.

Never offers itself for whole statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place

_PAIRS = {")": "(", "]": "[", "}": "{"}


def _applies(place: Place) -> str | None:
    if not place.is_code or place.selection is None or not _is_expression(place.selection.text):
        return None
    return "Extract variable"


def _is_expression(text: str) -> bool:
    """Whether the selected text may be one expression: brackets in balance, and no statement's end."""
    stripped = text.strip()
    if not stripped or stripped[-1] in ";:{,=" or len(stripped) > 2_000 or not any(c.isalnum() for c in stripped):
        return False
    opened: list[str] = []
    for character in stripped:
        if character in "([{":
            opened.append(character)
        elif character in _PAIRS and opened and opened[-1] == _PAIRS[character]:
            opened.pop()
        elif character in _PAIRS or (character == "\n" and not opened):
            return False
    return not opened


ACTION = Action(
    id="extract_variable",
    title="Extract variable",
    kind="refactor.extract.variable",
    thinking=False,
    preset="coding",
    guidance="Give the selected expression a name: a new variable (or constant, where the language has them) just before "
    "the statement that holds it, and its name in the expression's place. Call it by what it means, as the person says "
    "or as the project names such things. Replace further occurrences only in the same block and where the value is "
    "certain to be the same. It must be evaluated as often, and under the same conditions, as before wherever that can "
    "be noticed.",
    applies=_applies,
    headless=False,
)
