"""The action `generate_tests`: tests for what is pointed at, in the style that the project has.

Never changes the code under test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return f"Generate tests for {place.target}" if place.is_code and not place.is_test else None


ACTION = Action(
    id="generate_tests",
    title="Generate tests",
    kind="refactor.glm.tests",
    thinking=True,
    preset="coding",
    guidance="Write tests for this code. First find how the project tests: framework, folder, names, fixtures; put the "
    "new tests where a reader would look for them, and extend a file of tests that is already there. Test behaviour, "
    "one thing a test: the usual case, the edges, and what must fail. Every test must be able to fail. Do not change "
    "the code under test; where it looks wrong, say so in your answer instead of testing the fault in.",
    applies=_applies,
)
