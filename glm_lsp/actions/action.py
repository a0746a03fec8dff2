"""What an action is: a value that says how one kind of request is put to the model.

Never runs anything: the turn does, the same way for every action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.edits.text import Text
    from glm_lsp.engine.profiles import Preset
    from glm_lsp.terms import Edit, Message


@dataclass(frozen=True, slots=True)
class Question:
    """One small question to a model without tools: the place and the form of the edit are ours, the words its own.

    Attributes:
        title: what a person sees: `Described total`.
        line: where the edit will stand, from 1.
        messages: what the model reads: the question, perhaps behind answered ones that show what is wanted.
        answer: turns its reply into an edit of the text the question was made from, or None where it is of no use.
    """

    title: str
    line: int
    messages: tuple[Message, ...]
    answer: Callable[[str], Edit | None]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can ask for.

    Attributes:
        id: its name on the command line and on the wire.
        title: its name in a menu.
        kind: its LSP code action kind.
        thinking: whether the model thinks, unless the person says otherwise.
        preset: the sampling preset.
        guidance: what the model is told of this kind of work, before the person's own words.
        needs_instruction: whether it means anything without the person's words.
        questions: the one-shot way for models without tools: the questions about one file, in order; None where this
            action needs tools.
    """

    id: str
    title: str
    kind: str
    thinking: bool
    preset: Preset
    guidance: str
    needs_instruction: bool = False
    questions: Callable[[str, Text], tuple[Question, ...]] | None = None
