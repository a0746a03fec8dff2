"""The one-shot way, for a model without tools: small questions whose place and form are ours.

Never keeps a conversation: each question stands alone, since a small model has a small context.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from glm_lsp import prompt
from glm_lsp.errors import CannotDo, FileRefused
from glm_lsp.terms import HunkClosed, HunkGrew, HunkOpened, Queued, ToolCalled, ToolReturned, Used, Warned
from glm_lsp.turn.listening import Listening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from glm_lsp.actions import Action, Question
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Ask, Edit, Happening


async def ask_questions(ask: Ask, action: Action, draft: Draft, engine: Engine) -> AsyncGenerator[Happening, None]:
    """Asks all of an action's questions about all of the Ask's files; answers of no use are dropped, and said so.

    Raises:
        CannotDo: the action has no such way.
        EngineError: as the engine says.
    """
    if action.questions is None:
        raise CannotDo(
            f"{engine.model} cannot use tools, which {action.id} needs.",
            hint="Use --action document, or an engine that serves GLM-4.7.",
        )
    for path in ask.paths:
        try:
            text = draft.read(path)
        except FileRefused as error:
            yield Warned(error.code, error.message)
            continue
        # From the end of the file to its start, so that an edit leaves the places before it where they are.
        for number, question in reversed(list(enumerate(action.questions(path, text)))):
            async with aclosing(_ask(f"{path}#{number}", path, question, action, draft, engine)) as happenings:
                async for what in happenings:
                    yield what


async def _ask(
    call: str, path: str, question: Question, action: Action, draft: Draft, engine: Engine
) -> AsyncGenerator[Happening, None]:
    yield ToolCalled(call, action.id, question.title, {})
    began = time.monotonic()
    reply = Listening(draft)
    async with aclosing(
        reply.listen(engine, prompt.question(question.messages, engine.profile, action.preset))
    ) as heard:
        async for what in heard:
            if isinstance(what, Used | Queued):
                yield what
    edit = question.answer(reply.text)
    if edit is None:
        yield ToolReturned(call, ok=False, outcome="no usable answer", result=reply.text, seconds=_since(began))
        return
    yield HunkOpened(call, path, question.line)
    yield HunkGrew(call, added=tuple(edit.new.rstrip("\r\n").splitlines()))
    refused = _put(draft, path, edit)
    yield HunkClosed(call, ok=not refused, reason=refused)
    outcome = "dropped" if refused else "placed"
    yield ToolReturned(call, ok=not refused, outcome=outcome, result=reply.text, seconds=_since(began))


def _put(draft: Draft, path: str, edit: Edit) -> str:
    """Puts an edit into the draft if the file stays sound; returns why not, or nothing."""
    before = draft.mark()
    try:
        objections = draft.put(path, edit)
    except FileRefused as error:
        return error.message
    if objections:
        draft.back_to(before)
        return objections[0].message
    return ""


def _since(began: float) -> float:
    return time.monotonic() - began
