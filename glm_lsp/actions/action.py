"""What an action is: a value that says where it is offered, how it is put to the model, and what its result must be.

Never runs anything: the turn does, the same way for every action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from glm_lsp.actions.place import Place
    from glm_lsp.edits.text import Text
    from glm_lsp.engine.profiles import Preset
    from glm_lsp.terms import Ask, Edit, FileChange, Message, Objection

About = Literal["selection", "name", "problems", "file", "nothing"]
"""What of a place an Ask names: the selected lines, else the definition around the caret; the name there; what is wrong
there; the whole file with all that is wrong in it; nothing, since the model looks for itself."""


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
        title: its name in a list of all actions.
        kind: its LSP code action kind.
        thinking: whether the model thinks, unless the person says otherwise.
        preset: the sampling preset.
        guidance: what the model is told of this kind of work, before the person's own words.
        needs_instruction: whether it means anything without the person's words.
        questions: the one-shot way for models without tools: the questions about one file, in order; None where this
            action needs tools.
        applies: the title of its offer at a place, or None where it makes no sense there; an action without it is
            never offered at a place.
        about: what of the place goes into the Ask.
        edits: whether it changes files; where it does not, every edit in its turn is refused.
        tools: names of tools that only its own conversations are offered.
        check: what a result must satisfy beyond syntax; it gets all changes of the turn and says what is wrong with
            them, and is silent where it cannot be sure.
        headless: whether words and paths are enough for it, so that it is of use outside an editor.
        preferred: whether an editor may take it for the first choice among the offers at a place.
    """

    id: str
    title: str
    kind: str
    thinking: bool
    preset: Preset
    guidance: str
    needs_instruction: bool = False
    questions: Callable[[str, Text], tuple[Question, ...]] | None = None
    applies: Callable[[Place], str | None] | None = None
    about: About = "selection"
    edits: bool = True
    tools: tuple[str, ...] = ()
    check: Callable[[Ask, Sequence[FileChange]], tuple[Objection, ...]] | None = None
    headless: bool = True
    preferred: bool = False
