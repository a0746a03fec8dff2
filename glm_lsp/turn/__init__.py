"""One turn, from an Ask to a stream of Events: think, call a tool, read its result, think again, answer.

Never writes a file and never speaks to an editor: a turn leaves its edits in the draft and its words in the
conversation.
"""

from __future__ import annotations

from glm_lsp.turn.loop import Turn

__all__ = ["Turn"]
