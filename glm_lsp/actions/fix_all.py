"""The action `fix_all`: everything that is known to be wrong in a file is put right.

Never runs because a file is saved: an editor has to ask for it by its own kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    known = len(place.in_file or place.problems)
    return f"Fix all {known} problems in {place.name}" if known > 1 else None


ACTION = Action(
    id="fix_all",
    title="Fix all problems in the file",
    kind="source.fixAll.glm",
    thinking=True,
    preset="coding",
    guidance="Fix all problems that are reported in these files; where none are listed here, ask diagnostics for them. "
    "Find what they have in common before you edit. Mend causes with small changes; do not suppress messages. What you "
    "leave as it is, name in your answer with the reason.",
    applies=_applies,
    about="file",
)
