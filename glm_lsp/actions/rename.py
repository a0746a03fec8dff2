"""The action `rename`: a new name for a thing, at its definition and wherever it is used.

Never takes a result in which the old name is certain to have been left behind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from glm_lsp.actions import names
from glm_lsp.actions.action import Action
from glm_lsp.actions.place import IDENTIFIER
from glm_lsp.terms import Objection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.actions.place import Place
    from glm_lsp.terms import Ask, FileChange


_PATH = rf"(?:{IDENTIFIER}(?:\.|::|#))*"
_NEW = rf"[`'\"]?(?P<new>{IDENTIFIER})(?:\(\))?[`'\"]?\.?"
_ONE = re.compile(rf"(?:(?:rename\s+)?(?:(?:it|this)\s+)?(?:to|into|as)\s+)?{_NEW}", re.IGNORECASE)
_TWO = re.compile(
    rf"(?:rename\s+)?[`'\"]?{_PATH}(?P<old>{IDENTIFIER})(?:\(\))?[`'\"]?(?:\s*(?:->|=>|→)\s*|\s+(?:to|into|as)\s+){_PATH}{_NEW}",
    re.IGNORECASE,
)


def names_of(ask: Ask) -> tuple[str, str] | None:
    """The old and the new name; None where the words ask for more than a rename, or do not say.

    `grand_total`, `to grand_total`, `total -> grand_total`, `rename Cart.total to grand_total`.
    """
    words, pointed = ask.instruction.strip(), names.pointed(ask)
    if (one := _ONE.fullmatch(words)) and pointed:
        return pointed, one["new"]
    if (two := _TWO.fullmatch(words)) and pointed in {"", two["old"]}:
        return two["old"], two["new"]
    return None


def check(ask: Ask, changes: Sequence[FileChange]) -> tuple[Objection, ...]:
    """Says where the old name is still defined or used in the changed files, as far as that is certain."""
    asked = names_of(ask)
    if asked is None or asked[0] == asked[1]:
        return ()
    old, new = asked
    files = names.versions(changes)
    meant = names.target(files, ask, old)
    if meant is not None and (still := meant.file.still(meant.symbol)) is not None:
        message = f"{still.qualified} still has its old name here. Rename the definition to {new}, and all uses of it."
        return (Objection(meant.file.path, still.first_line, "rename", message),)
    return names.objections("rename", names.left(files, ask, old, meant), f"{old} is still used here instead of {new}")


def _applies(place: Place) -> str | None:
    return f"Rename {place.word} everywhere…" if place.is_code and place.word else None


ACTION = Action(
    id="rename",
    title="Rename everywhere…",
    kind="refactor.rewrite.rename",
    thinking=True,
    preset="coding",
    guidance="Rename what the person points at to the name they give, at its definition and wherever it is used: calls, "
    "imports, re-exports, overrides, tests, strings and settings that name it, comments and documentation that speak of "
    "it. Find all uses first; other things of the same name stay as they are. Change nothing else. If the new name is "
    "taken where it would stand, change nothing and say so.",
    needs_instruction=True,
    applies=_applies,
    about="name",
    check=check,
)
