"""The action `chat`: a conversation about the workspace, in which anything may be asked.

Never edits unless it is asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return f"Ask about {place.target}…"


ACTION = Action(
    id="chat",
    title="Ask…",
    kind="source",
    thinking=True,
    preset="default",
    guidance="",
    needs_instruction=True,
    applies=_applies,
)
