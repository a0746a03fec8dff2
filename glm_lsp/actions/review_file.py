"""The action `review_file`: what is wrong in a file, as findings with lines.

Never changes a file: each finding can be fixed by an action of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place

FINDINGS = (
    "Report each finding by report_finding as soon as you are sure of it, with the narrowest lines; where you have no "
    "such tool, list them in your answer as `path:line`. Look for what breaks: wrong results, unhandled cases, races, "
    "leaks, security holes, misuse of an API, tests that cannot fail. Check each against the code around it, and drop "
    "what you cannot show. No praise, no matters of taste, nothing that a formatter would do. Change nothing. End with "
    "one or two sentences on the whole, and say so where there is nothing to find."
)
"""What every review is told."""


def _applies(place: Place) -> str | None:
    return f"Review {place.name}"


ACTION = Action(
    id="review_file",
    title="Review the file",
    kind="source.glm.review",
    thinking=True,
    preset="coding",
    guidance=f"Review these files as they are. {FINDINGS}",
    applies=_applies,
    about="file",
    edits=False,
    tools=("report_finding",),
)
