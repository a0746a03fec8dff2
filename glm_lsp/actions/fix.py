"""The action `fix`: what is wrong at this place is put right.

Never silences a checker where the code can be mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    if not place.problems:
        return None
    first, more = place.problems[0], len(place.problems) - 1
    message = " ".join(first.message.split())
    message = message if len(message) <= 60 else f"{message[:59].rstrip()}…"
    return f"Fix: {message}" + (f" (and {more} more)" if more else "")


ACTION = Action(
    id="fix",
    title="Fix this problem",
    kind="quickfix",
    thinking=True,
    preset="coding",
    guidance="Fix what the editor reports here. Find the cause first, which may lie elsewhere, and mend that with the "
    "smallest change that is right. Do not suppress the message, loosen a type or delete what is checked, unless the "
    "message itself is wrong; then say so.",
    applies=_applies,
    about="problems",
    headless=False,
    preferred=True,
)
