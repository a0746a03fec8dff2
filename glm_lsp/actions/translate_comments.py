"""The action `translate_comments`: comments and documentation in another language, English unless another is named.

Never touches code, names or strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions.action import Action

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place


def _applies(place: Place) -> str | None:
    row = place.row
    if row is None or not row.comment or not (place.is_code or place.is_selected):
        return None
    signs = (row.comment, "/*", '"""') if row.name == "Python" or row.comment == "//" else (row.comment,)
    about = place.selected if place.is_selected else place.content
    where = place.lines if place.is_selected else place.name
    return f"Translate comments in {where}" if any(sign in about for sign in signs) else None


ACTION = Action(
    id="translate_comments",
    title="Translate comments",
    kind="refactor.rewrite.comments",
    thinking=False,
    preset="coding",
    guidance="Translate comments and documentation into the language that is asked for, or into English where none is. "
    "Only words change: code, names, strings, markup, links, directives such as linter marks, and the layout of lines "
    "stay. Keep the meaning and the terms of the project; do not add or drop anything.",
    applies=_applies,
)
