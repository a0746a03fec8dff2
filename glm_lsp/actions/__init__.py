"""What a person can ask: one file an action, listed in the order of the menu.

Never asks the engine: an action only says how it should be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions import (
    add_types,
    chat,
    convert,
    document,
    explain,
    extract_function,
    extract_variable,
    fix,
    fix_all,
    generate_tests,
    inline,
    move_to_file,
    refactor,
    rename,
    review_diff,
    review_file,
    simplify,
    translate_comments,
)
from glm_lsp.actions.action import Action, Question
from glm_lsp.actions.custom import Custom, read
from glm_lsp.actions.offer import Offer, ask_at, offer, wanted
from glm_lsp.actions.place import Place
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from glm_lsp.settings import ActionSettings

ACTIONS: tuple[Action, ...] = (
    fix.ACTION,
    fix_all.ACTION,
    explain.ACTION,
    document.ACTION,
    generate_tests.ACTION,
    extract_function.ACTION,
    extract_variable.ACTION,
    inline.ACTION,
    rename.ACTION,
    move_to_file.ACTION,
    simplify.ACTION,
    add_types.ACTION,
    translate_comments.ACTION,
    convert.ACTION,
    review_file.ACTION,
    review_diff.ACTION,
    refactor.ACTION,
    chat.ACTION,
)

__all__ = ["ACTIONS", "Action", "Custom", "Offer", "Place", "Question", "ask_at", "find", "offers", "own"]


def find(name: str, further: Sequence[Action] = ()) -> Action:
    """The action of that id, among ours and `further` ones.

    Raises:
        UsageError: there is none.
    """
    for action in (*ACTIONS, *further):
        if action.id == name:
            return action
    known = ", ".join(a.id for a in (*ACTIONS, *further))
    raise UsageError(f"There is no action {name!r}.", hint=f"There are: {known}.")


def offers(
    place: Place,
    *,
    kinds: Sequence[str] | None = None,
    custom: Sequence[Action] = (),
    off: Collection[str] = (),
) -> tuple[Offer, ...]:
    """The menu at a place, in order, the person's own actions last.

    Args:
        place: what the editor points at.
        kinds: LSP kinds that the editor wants, each with all below it; None for every kind.
        custom: the person's own actions.
        off: ids that are not to be offered.
    """
    listed = (action for action in (*ACTIONS, *custom) if action.id not in off and wanted(action.kind, kinds))
    return tuple(found for action in listed if (found := offer(action, place)) is not None)


def own(settings: ActionSettings, root: Path | None = None, *, trusted: bool = False) -> Custom:
    """The person's own actions, from their folder of prompt files, and the workspace's where it is trusted."""
    return read(settings, root, trusted=trusted, taken=[action.id for action in ACTIONS])
