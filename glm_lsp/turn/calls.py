"""The calls of one reply, carried out: understood, permitted, run, and their results put into the conversation.

Never runs what was not understood or not permitted: the model reads why, and can do better.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from glm_lsp import prompt, tools
from glm_lsp.errors import BadArguments, GlmError
from glm_lsp.terms import (
    Found,
    HunkClosed,
    HunkGrew,
    HunkOpened,
    Message,
    PermissionAsked,
    QuestionAsked,
    ToolCalled,
    ToolReturned,
)
from glm_lsp.tools.permissions import matches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from glm_lsp.conversations import Conversation
    from glm_lsp.settings import ToolSettings
    from glm_lsp.terms import Happening
    from glm_lsp.turn.limits import Limits
    from glm_lsp.turn.listening import Call

T = TypeVar("T")

STOPPING_SECONDS = 5.0
"""How long a tool that was told to stop is waited for."""


@dataclass(slots=True)
class Calls:
    """Carries out calls for one turn; `permit`, `answer` and `further` are as in Turn.

    Attributes:
        waiting: what the person said meanwhile; it goes to the model with the next result.
        edits: whether files may be changed at all.
        trusted: whether any tool may be used.
        problems: says what stands against the end of the turn; empty where nothing does.
        finished: the arguments of the call that ended the turn.
    """

    conversation: Conversation
    context: tools.ToolContext
    settings: ToolSettings
    limits: Limits
    permit: Callable[[PermissionAsked], Awaitable[bool]] | None
    answer: Callable[[QuestionAsked], Awaitable[str]] | None
    further: tuple[tools.Tool, ...]
    waiting: list[str]
    problems: Callable[[], str]
    edits: bool = True
    trusted: bool = True
    finished: dict[str, Any] | None = None

    async def carry_out(self, calls: Iterable[Call]) -> AsyncGenerator[Happening, None]:
        """Carries out the calls of one reply: neighbours that only read at once, all others one by one, in order."""
        for reads, group in itertools.groupby((self._understood(call) for call in calls), lambda step: step.reads):
            for steps in [list(group)] if reads else ([step] for step in group):
                async with aclosing(self._together(steps)) as happenings:
                    async for what in happenings:
                        yield what
        self.limits.carried_out()

    def _understood(self, call: Call) -> _Step:
        known = [spec.name for spec in self.conversation.tools if self.trusted]
        tool = tools.find(call.name) or next((tool for tool in self.further if tool.spec.name == call.name), None)
        if tool is None or call.name not in known:
            gone = f"{call.name} cannot be reached now." if call.name in known else f"There is no tool {call.name!r}."
            error = BadArguments(f"{gone} There are: {', '.join(known)}.")
            return _Step(call, None, call.name or "a tool without a name", {}, tools.refusal(error))
        if tool.edits and not self.edits:
            error = BadArguments("This request is to change nothing.", hint="Say in your answer what should change.")
            return _Step(call, None, call.name, {}, tools.refusal(error))
        try:
            arguments = call.arguments(tool.spec)
            return _Step(call, tool, tool.title(arguments), arguments)
        except BadArguments as error:
            return _Step(call, tool, call.name, {}, tools.refusal(error))

    async def _together(self, steps: list[_Step]) -> AsyncGenerator[Happening, None]:
        for step in steps:
            yield ToolCalled(step.call.id, step.call.name, step.title, step.arguments)
        if steps[0].outcome is None and not steps[0].reads:
            for ask in (self._permitted, self._answered):
                async with aclosing(ask(steps[0])) as happenings:
                    async for what in happenings:
                        yield what
        reading = asyncio.Lock()
        done = await asyncio.gather(*(self._run(step, reading) for step in steps), return_exceptions=True)
        for step, ended in zip(steps, done, strict=True):
            if isinstance(ended, BaseException):
                raise ended
            outcome, seconds = ended
            if step.tool is not None and step.tool.ends and outcome.ok and (left := self.problems()):
                outcome = tools.Outcome("sent back for repair", left, ok=False)
            for what in _returned(step.call, outcome, seconds):
                yield what
            text = prompt.shield(outcome.text)
            while self.waiting:
                text += prompt.shield(prompt.added(self.waiting.pop(0)))
            self.conversation.seen.update(self.context.draft.digests())
            self.conversation.append(Message("tool", text, call_id=step.call.id))
            if step.tool is not None and step.tool.ends and outcome.ok:
                self.finished = step.arguments
            self.limits.called(step.call.name, step.call.raw, outcome.text, ok=outcome.ok)

    async def _permitted(self, step: _Step) -> AsyncGenerator[Happening, None]:
        """Asks whether the step may run, where that has to be asked; gives it its refusal if not."""
        tool = step.tool
        if step.outcome is not None or tool is None or tool.permission is None:
            return
        try:
            detail = tool.permission(step.arguments)
        except BadArguments as error:
            step.outcome = tools.refusal(error)
            return
        if detail is None:
            return
        if self.permit is None:
            if not self._permitted_by_settings(tool, detail):
                allowed = f" These commands may be run: {', '.join(self.settings.commands)}." * bool(
                    self.settings.commands
                )
                words = f"{tool.spec.name} is not permitted in this run.{allowed}"
                step.outcome = tools.Outcome("refused: not permitted", words, ok=False)
            return
        root = self.context.draft.jail.root
        confined = tool.confined is not None and await asyncio.to_thread(tool.confined, root)
        asked = PermissionAsked(step.call.id, tool.spec.name, step.title, detail, confined)
        yield asked
        if not await self._waiting(self.permit(asked)):
            words = "The person did not permit this. Nothing was run. Go on without it, or say what you need it for."
            step.outcome = tools.Outcome("refused: not permitted", words, ok=False)

    def _permitted_by_settings(self, tool: tools.Tool, detail: str) -> bool:
        commands = self.settings.commands if tool is tools.find("run_command") else []
        return any(matches(pattern, detail) for pattern in commands)

    async def _answered(self, step: _Step) -> AsyncGenerator[Happening, None]:
        """Asks the person what the step asks, where somebody is there."""
        if step.outcome is not None or step.tool is None or step.tool.question is None or self.answer is None:
            return
        try:
            words, options = step.tool.question(step.arguments)
        except BadArguments as error:
            step.outcome = tools.refusal(error)
            return
        asked = QuestionAsked(step.call.id, words, options)
        yield asked
        answer = (await self._waiting(self.answer(asked))).strip()
        step.outcome = tools.Outcome("answered", f"The person answers: {answer}" if answer else "They gave no answer.")

    async def _waiting(self, answer: Awaitable[T]) -> T:
        began = time.monotonic()
        try:
            return await answer
        finally:
            self.limits.waited += time.monotonic() - began

    async def _run(self, step: _Step, reading: asyncio.Lock) -> tuple[tools.Outcome, float]:
        """The outcome of one step and how long it took; those that may not run at once take turns with `reading`."""
        began = time.monotonic()
        if step.outcome is None and step.tool is not None:
            try:
                if step.tool.at_once:
                    step.outcome = await self._in_thread(step.tool, step.arguments)
                else:
                    async with reading:
                        step.outcome = await self._in_thread(step.tool, step.arguments)
            except GlmError as error:
                step.outcome = tools.refusal(error)
        assert step.outcome is not None  # noqa: S101 - for the type checker: there is a tool or a refusal
        return step.outcome, time.monotonic() - began

    async def _in_thread(self, tool: tools.Tool, arguments: dict[str, Any]) -> tools.Outcome:
        stop = threading.Event()
        running = asyncio.ensure_future(asyncio.to_thread(tool.run, replace(self.context, stop=stop), arguments))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()  # a command has to be dead before the turn is over
            await asyncio.wait({running}, timeout=STOPPING_SECONDS)
            raise


def _returned(call: Call, outcome: tools.Outcome, seconds: float) -> Iterable[Happening]:
    if call.shown:
        yield HunkClosed(call.id, outcome.ok, "" if outcome.ok else outcome.words)
    else:
        for hunk in outcome.hunks:
            yield HunkOpened(call.id, hunk.path, hunk.old_line)
            yield HunkGrew(call.id, hunk.removed, hunk.added)
            yield HunkClosed(call.id, ok=True)
    for finding in outcome.findings:
        yield Found(call.id, finding)
    yield ToolReturned(call.id, outcome.ok, outcome.words, outcome.text, seconds)


@dataclass(slots=True)
class _Step:
    """One call with what it means; `outcome` stands from the start where it cannot be carried out."""

    call: Call
    tool: tools.Tool | None
    title: str
    arguments: dict[str, Any]
    outcome: tools.Outcome | None = None

    @property
    def reads(self) -> bool:
        return self.tool is None or self.tool.reads
