"""What a person can ask: one file an action, listed in the order of the menu.

Never asks the engine: an action only says how it should be asked.
"""

from __future__ import annotations

from glm_lsp.actions import chat, document, refactor
from glm_lsp.actions.action import Action, Question
from glm_lsp.errors import UsageError

ACTIONS: tuple[Action, ...] = (
    refactor.ACTION,
    document.ACTION,
    chat.ACTION,
)

__all__ = ["ACTIONS", "Action", "Question", "find"]


def find(name: str) -> Action:
    """The action of that id.

    Raises:
        UsageError: there is none.
    """
    for action in ACTIONS:
        if action.id == name:
            return action
    raise UsageError(f"There is no action {name!r}.", hint=f"There are: {', '.join(a.id for a in ACTIONS)}.")
