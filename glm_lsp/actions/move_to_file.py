"""The action `move_to_file`: a definition moves to the file that the person names, and its users follow.

Never takes a result in which it is defined in both files, or in none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions import names
from glm_lsp.actions.action import Action
from glm_lsp.terms import Objection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.actions.place import Place
    from glm_lsp.terms import Ask, FileChange


def check(ask: Ask, changes: Sequence[FileChange]) -> tuple[Objection, ...]:
    """Says where the definition is still in its old file, or is in no other."""
    files = names.versions(changes)
    name = names.pointed(ask)
    meant = names.target(files, ask, name) if name else None
    if meant is None or "." in meant.symbol.qualified:
        return ()
    moved = any(s.name == name for file in files if file is not meant.file for s in file.made)
    still = meant.file.still(meant.symbol)
    if still is not None:
        message = f"{name} is still defined here." + (" Remove it: it is in its new file." if moved else " Move it.")
        return (Objection(meant.file.path, still.first_line, "move", message),)
    if not moved and len(files) == len(changes):
        message = f"{name} was removed here, and no other file defines it. Define it in the file it was to move to."
        return (Objection(meant.file.path, 0, "move", message),)
    return ()


def _applies(place: Place) -> str | None:
    symbol = place.symbol
    if not place.is_code or symbol is None or place.word != symbol.name or "." in symbol.qualified:
        return None
    return f"Move {symbol.name} to file…"


ACTION = Action(
    id="move_to_file",
    title="Move to file…",
    kind="refactor.move",
    thinking=True,
    preset="coding",
    guidance="Move what the person points at into the file they name, which may have to be made. It takes along what only "
    "it needs, and its comments; both files import what they now need and no more. Every user is changed to the new "
    "place; leave a re-export behind only where the project does so or others may depend on it. Avoid import cycles. "
    "The code itself stays as it is.",
    needs_instruction=True,
    applies=_applies,
    about="name",
    check=check,
)
