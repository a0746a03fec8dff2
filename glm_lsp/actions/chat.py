"""The action `chat`: a conversation about the workspace, in which anything may be asked.

Never edits unless it is asked to.
"""

from __future__ import annotations

from glm_lsp.actions.action import Action

ACTION = Action(
    id="chat",
    title="Ask…",
    kind="source",
    thinking=True,
    preset="default",
    guidance="",
    needs_instruction=True,
)
