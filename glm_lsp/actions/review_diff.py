"""The action `review_diff`: what is wrong with the changes that git shows, as findings with lines.

Never changes a file, and never reports what the changes did not touch or break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action
from glm_lsp.actions.review_file import FINDINGS

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    return "Review uncommitted changes" if place.repository else None


ACTION = Action(
    id="review_diff",
    title="Review changes",
    kind="source.glm.reviewChanges",
    thinking=True,
    preset="coding",
    guidance="Review the changes that the tool git shows: against HEAD, or against the revision that is asked for. Read "
    "the changed files around them, and who calls what was changed. Report what the changes break, leave half done or "
    f"get wrong, at lines of the files as they are now. {FINDINGS}",
    applies=_applies,
    about="nothing",
    edits=False,
    tools=("report_finding",),
)
