"""The action `inline`: a function or variable is put in where it is used, and is gone.

Never takes a result in which the name is still defined or used.
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
    """Says where the name is still defined or used, as far as that is certain."""
    name = names.pointed(ask)
    if not name:
        return ()
    files = names.versions(changes)
    meant = names.target(files, ask, name)
    if meant is not None and (still := meant.file.still(meant.symbol)) is not None:
        message = f"{still.qualified} is still defined. Put its code in wherever it is used, then remove it."
        return (Objection(meant.file.path, still.first_line, "inline", message),)
    message = f"{name} is still used here, and is to be replaced by what it stands for"
    return names.objections("inline", names.left(files, ask, name, meant), message)


def _applies(place: Place) -> str | None:
    return f"Inline {place.word}" if place.is_code and place.word else None


ACTION = Action(
    id="inline",
    title="Inline",
    kind="refactor.inline",
    thinking=True,
    preset="coding",
    guidance="Inline what the person points at: put the function's code or the variable's expression in at every place "
    "where it is used, in all files, then remove it and imports of it. Arguments are evaluated as often and in the same "
    "order as before, names must not clash, parentheses where precedence needs them. Find all uses first. If it cannot "
    "be inlined without changing what the code does, change nothing and say why.",
    applies=_applies,
    about="name",
    check=check,
)
