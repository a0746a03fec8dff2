"""The turn itself: its frame of one start and one end, and the loop of thinking, tools and answer within limits.

Never carries out a call from a reply that was cut off, and never takes such a reply for an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glm_lsp import prompt, tools
from glm_lsp.edits.hunks import counts
from glm_lsp.errors import BadArguments, FileRefused, GlmError, LimitReached, NothingSaid, Truncated
from glm_lsp.terms import (
    Ended,
    EndReason,
    Event,
    Excerpt,
    HunkClosed,
    HunkGrew,
    HunkOpened,
    Message,
    PermissionAsked,
    Proposal,
    Proposed,
    Started,
    ToolCalled,
    ToolReturned,
    Usage,
    Used,
    Warned,
)
from glm_lsp.tools.permissions import matches
from glm_lsp.turn.guards import call_in_thinking
from glm_lsp.turn.listening import Listening
from glm_lsp.turn.questions import ask_questions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from glm_lsp.actions import Action
    from glm_lsp.conversations import Conversation
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.index.walk import Listing
    from glm_lsp.settings import Settings
    from glm_lsp.terms import Ask, Happening
    from glm_lsp.turn.listening import Call


STOPPING_SECONDS = 5.0
"""How long a tool that was told to stop is waited for."""


@dataclass(slots=True)
class Turn:
    """The run of one Ask.

    Attributes:
        id: names the turn in its events.
        conversation: where the words go; an empty one gets its head from this turn.
        draft: where the edits go.
        engine: connected.
        permit: says whether a command may run, by asking a person or from what they said before; without it only what
            the setting `tools.commands` names may.
    """

    id: str
    ask: Ask
    action: Action
    conversation: Conversation
    draft: Draft
    listing: Listing
    engine: Engine
    settings: Settings
    permit: Callable[[PermissionAsked], Awaitable[bool]] | None = None
    _waited: float = 0.0
    _started: float = 0.0
    _usage: Usage = field(default_factory=Usage)
    _steps: int = 0
    _repairs: int = 0
    _answer: str = ""
    _seen_calls: dict[str, int] = field(default_factory=dict)

    async def run(self) -> AsyncGenerator[Event, None]:
        """Yields the turn's events: first one Started and last one Ended, also on errors.

        A cancelled task gets its Ended event first, and the cancellation with the next step of the iteration.
        """
        self._started = time.monotonic()
        seq = 0
        async with aclosing(self._framed()) as happenings:
            async for what in happenings:
                seq += 1
                if isinstance(what, Used):
                    self._usage += what.usage
                yield Event(self.id, seq, time.monotonic() - self._started, what)

    async def _framed(self) -> AsyncGenerator[Happening, None]:
        yield Started(self.ask.action, self.ask.instruction, self.engine.model, self._thinking, self.ask.paths)
        reason: EndReason = "done"
        error: GlmError | None = None
        cancelled: asyncio.CancelledError | None = None
        defect: Exception | None = None
        work = (
            self._with_tools()
            if self.engine.profile.tools
            else ask_questions(self.ask, self.action, self.draft, self.engine)
        )
        try:
            async with aclosing(work) as happenings:
                async for what in happenings:
                    yield what
        except asyncio.CancelledError as caught:
            reason, cancelled = "cancelled", caught
        except LimitReached as caught:
            reason, error = "limit", caught
        except GlmError as caught:
            reason, error = "error", caught
        except Exception as caught:  # noqa: BLE001 - a turn ends with Ended whatever happens; raised again below
            reason, defect = "error", caught
        if reason in {"done", "limit"}:
            if self.draft.changes():
                yield Proposed(self._proposal())
            elif reason == "done" and not self._answer:
                reason = "nothing"
        yield Ended(
            reason,
            self._usage,
            time.monotonic() - self._started,
            code=error.code if error else "defect" if defect else "",
            error=error.message if error else f"A defect of glm-lsp: {defect!r}" if defect else "",
            hint=error.hint if error else "",
        )
        if cancelled or defect:
            raise cancelled or defect or AssertionError

    @property
    def _thinking(self) -> bool:
        profile = self.engine.profile
        wanted = self.action.thinking if self.ask.thinking == "auto" else self.ask.thinking == "on"
        return profile.thinking and (wanted or not profile.thinking_switch)

    def _proposal(self) -> Proposal:
        changes = self.draft.changes()
        digest = hashlib.sha256(b"".join(c.path.encode() + (c.after or b"") for c in changes)).hexdigest()
        added, removed = counts(changes)
        return Proposal(
            id=digest[:12],
            summary=self._answer or f"{len(changes)} files · +{added} −{removed}",
            changes=changes,
            hunks=self.draft.hunks(),
            objections=self.draft.objections(),
            unchecked=self.draft.unchecked(),
        )

    async def _with_tools(self) -> AsyncGenerator[Happening, None]:
        self._open()
        thinking = self._thinking
        cut_off = 0
        while True:
            self._check_limits()
            request = prompt.compose(
                self.conversation,
                self.engine.profile,
                preset=self.action.preset,
                thinking=thinking,
                priority=self.settings.engine.priority,
            )
            reply = Listening(self.draft)
            async with aclosing(reply.listen(self.engine, request)) as happenings:
                async for what in happenings:
                    yield what
            if reply.finish == "length":
                for what in reply.drop_calls("cut off"):
                    yield what
                cut_off += 1
                if cut_off > self.settings.turn.repairs:
                    raise Truncated(
                        f"The model ran out of its {request.sampling.max_new_tokens:,} new tokens {cut_off} times.",
                        hint="Ask for less at once, or turn thinking off.",
                    )
                yield Warned("truncated", f"The reply was cut off at {request.sampling.max_new_tokens:,} tokens.")
                self.conversation.append(reply.message(), prompt.cut_off(request.sampling.max_new_tokens))
                self.conversation.record(None, reply.usage, model=self.engine.model)
                continue
            fault = self._fault(reply)
            if fault is not None:
                for what in reply.drop_calls(fault.message):
                    yield what
                if not thinking or not self.engine.profile.thinking_switch:
                    raise fault
                # Asked again without thinking, the model has to speak; the reply is left out of the conversation, so
                # nothing already sent changes.
                yield Warned(fault.code, f"{fault.message} Asked again without thinking.")
                thinking = False
                continue
            self.conversation.append(reply.message())
            self.conversation.record(reply.log, reply.usage, model=self.engine.model)
            if reply.calls:
                async with aclosing(self._carry_out(reply.calls.values())) as happenings:
                    async for what in happenings:
                        yield what
                continue
            self._answer = reply.text.strip()
            objections = self.draft.objections()
            if not objections:
                return
            if self._repairs >= self.settings.turn.repairs:
                yield Warned("not-mended", f"Problems remain after {self._repairs} repairs: {objections[0].message}")
                return
            self._repairs += 1
            yield Warned("sent-back", f"Sent back for repair: {objections[0].path}: {objections[0].message}")
            self.conversation.append(prompt.repair(objections))

    def _fault(self, reply: Listening) -> GlmError | None:
        """What makes a reply one that is better asked for again."""
        if reply.looping:
            return LimitReached("The model repeated itself.", hint="Ask again, in other words.")
        if reply.calls or reply.text.strip():
            return None
        if call_in_thinking(reply.thinking):
            return NothingSaid("The model called a tool in its thinking.", hint="Ask again, or with --thinking off.")
        if self.draft.changes():
            return None
        return NothingSaid("The model ended its reply without a word.", hint="Ask again, in other words.")

    def _open(self) -> None:
        for call in self.conversation.unanswered:
            # A turn was killed or stopped between the call and its result; the model has to know.
            words = "Not carried out: the turn was stopped before."
            self.conversation.append(Message("tool", words, call_id=call.id))
        if not self.conversation.messages:
            self.conversation.tools = tuple(
                tool.spec
                for tool in tools.offered(
                    repository=self.listing.git,
                    commands=self.permit is not None or bool(self.settings.tools.commands),
                )
            )
            self.conversation.words = self.ask.instruction
            self.conversation.append(prompt.head(self.listing.paths))
        room = prompt.budget(self.engine.profile)
        everything = self.ask.paths == self.listing.paths
        excerpts = []
        for path in self._to_show(room, everything=everything):
            try:
                text = self.draft.read(path)
            except FileRefused:
                if len(self.ask.paths) == 1:
                    raise  # named outright: say why not
                continue  # among many files some are not text; the model may still ask for them and be told so
            excerpts.append(Excerpt(path, 1, "\n".join(text.lines()), "the whole file"))
        words = self.ask.instruction
        left_out = [path for path in self.ask.paths if not self.draft.was_read(path)]
        if left_out and not everything:
            words += "\n\nThis is about these files too; read them as you need: " + ", ".join(left_out[:200])
        self.conversation.append(prompt.ask(words, self.action.guidance, excerpts))

    def _to_show(self, room: int, *, everything: bool) -> list[str]:
        """The files that the opening message shows whole: as many of those asked for as fit into `room` bytes.

        A whole workspace is shown only where all of it fits: its first files would be a random choice.
        """
        shown = []
        for path in self.ask.paths:
            if self.draft.was_read(path):
                continue
            size = self.draft.size(path)
            if size > room and everything:
                return []
            if size <= room:
                room -= size
                shown.append(path)
        return shown

    def _check_limits(self) -> None:
        limits = self.settings.turn
        self._steps += 1
        if self._steps > limits.max_steps:
            raise LimitReached(f"Stopped after {limits.max_steps} requests.", hint="turn.max_steps sets this limit.")
        if time.monotonic() - self._started - self._waited > limits.max_seconds:
            raise LimitReached(f"Stopped after {limits.max_seconds:.0f} s.", hint="turn.max_seconds sets this limit.")
        if self._usage.written > limits.max_new_tokens:
            raise LimitReached(
                f"Stopped after {self._usage.written:,} new tokens.", hint="turn.max_new_tokens sets this limit."
            )

    async def _carry_out(self, calls: Iterable[Call]) -> AsyncGenerator[Happening, None]:
        """Carries out the calls of one reply: neighbours that only read at once, all others one by one, in order."""
        for reads, group in itertools.groupby((self._understood(call) for call in calls), lambda step: step.reads):
            for steps in [list(group)] if reads else ([step] for step in group):
                async with aclosing(self._together(steps)) as happenings:
                    async for what in happenings:
                        yield what

    def _understood(self, call: Call) -> _Step:
        known = [spec.name for spec in self.conversation.tools]
        tool = tools.find(call.name) if call.name in known else None
        if tool is None:
            error = BadArguments(f"There is no tool {call.name!r}. There are: {', '.join(known)}.")
            return _Step(call, None, call.name or "a tool without a name", {}, tools.refusal(error))
        try:
            arguments = call.arguments(tool.spec)
            return _Step(call, tool, tool.title(arguments), arguments)
        except BadArguments as error:
            return _Step(call, tool, call.name, {}, tools.refusal(error))

    async def _together(self, steps: list[_Step]) -> AsyncGenerator[Happening, None]:
        for step in steps:
            yield ToolCalled(step.call.id, step.call.name, step.title, step.arguments)
        if steps[0].outcome is None and not steps[0].reads:
            async with aclosing(self._permitted(steps[0])) as happenings:
                async for what in happenings:
                    yield what
        reading = asyncio.Lock()
        done = await asyncio.gather(*(self._run(step, reading) for step in steps), return_exceptions=True)
        for step, ended in zip(steps, done, strict=True):
            if isinstance(ended, BaseException):
                raise ended
            outcome, seconds = ended
            call = step.call
            if call.shown:
                yield HunkClosed(call.id, outcome.ok, "" if outcome.ok else outcome.words)
            else:
                for hunk in outcome.hunks:
                    yield HunkOpened(call.id, hunk.path, hunk.old_line)
                    yield HunkGrew(call.id, hunk.removed, hunk.added)
                    yield HunkClosed(call.id, ok=True)
            yield ToolReturned(call.id, outcome.ok, outcome.words, outcome.text, seconds)
            self.conversation.append(Message("tool", prompt.shield(outcome.text), call_id=call.id))
            self._count_call(call, outcome)

    async def _permitted(self, step: _Step) -> AsyncGenerator[Happening, None]:
        """Asks whether the step may run, where that has to be asked; gives it its refusal if not."""
        tool = step.tool
        if tool is None or tool.permission is None:
            return
        try:
            detail = tool.permission(step.arguments)
        except BadArguments as error:
            step.outcome = tools.refusal(error)
            return
        if detail is None:
            return
        if self.permit is None:
            commands = self.settings.tools.commands
            if not any(matches(pattern, detail) for pattern in commands):
                allowed = f"These may: {', '.join(commands)}." if commands else "None may."
                step.outcome = tools.Outcome(
                    "refused: not permitted", f"This command is not permitted in this run. {allowed}", ok=False
                )
            return
        confined = tool.confined is not None and await asyncio.to_thread(tool.confined, self.draft.jail.root)
        asked = PermissionAsked(step.call.id, tool.spec.name, step.title, detail, confined)
        yield asked
        began = time.monotonic()
        try:
            permitted = await self.permit(asked)
        finally:
            self._waited += time.monotonic() - began  # a person may take their time
        if not permitted:
            words = "The person did not permit this. Nothing was run. Go on without it, or say what you need it for."
            step.outcome = tools.Outcome("refused: not permitted", words, ok=False)

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
        context = tools.ToolContext(self.draft, self.listing, self.settings.tools, stop)
        running = asyncio.ensure_future(asyncio.to_thread(tool.run, context, arguments))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()  # a command has to be dead before the turn is over
            await asyncio.wait({running}, timeout=STOPPING_SECONDS)
            raise

    def _count_call(self, call: Call, outcome: tools.Outcome) -> None:
        # The result counts too: reading a file again after it changed is not the same call.
        key = hashlib.sha256("\0".join((call.name, call.raw, outcome.text)).encode()).hexdigest()
        self._seen_calls[key] = self._seen_calls.get(key, 0) + 1
        if self._seen_calls[key] >= self.settings.turn.same_call_limit:
            raise LimitReached(
                f"The model made the same call {self._seen_calls[key]} times with the same result: {call.name}.",
                hint="Ask again in other words; turn.same_call_limit sets this limit.",
            )


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
