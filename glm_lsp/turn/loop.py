"""The turn itself: its frame of one start and one end, and the loop of thinking, tools and answer within limits.

Never carries out a call from a reply that was cut off, and never takes such a reply for an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from glm_lsp import prompt, tools
from glm_lsp.edits.hunks import counts
from glm_lsp.errors import ContextTooLong, EngineError, GlmError, LimitReached, NothingSaid, Truncated
from glm_lsp.terms import Compacted, Ended, EndReason, Event, Proposal, Proposed, Started, Usage, Used, Warned
from glm_lsp.turn import opening
from glm_lsp.turn.calls import Calls
from glm_lsp.turn.compaction import compact
from glm_lsp.turn.guards import call_in_thinking
from glm_lsp.turn.limits import Limits
from glm_lsp.turn.listening import Listening
from glm_lsp.turn.questions import ask_questions
from glm_lsp.turn.rates import Learning, Rates
from glm_lsp.turn.suggestions import CANDIDATES, Suggested, suggest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from glm_lsp.actions import Action
    from glm_lsp.conversations import Conversation
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.index.index import Index
    from glm_lsp.index.pointed import Hints
    from glm_lsp.index.walk import Listing
    from glm_lsp.settings import Settings
    from glm_lsp.terms import Ask, Excerpt, Happening, Objection, PermissionAsked, QuestionAsked, TokenLog


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
        answer: brings the person's answer to a question of the model's; without it the model is not offered to ask.
        further: tools beside the built-in ones, such as those of MCP servers.
        notes: what the model shall know of what happened since the last turn, a sentence each.
        trusted: whether a new conversation gets tools, reads the project's instructions and is shown code that nobody
            named.
        index: what is known of the workspace; without it the model finds things by its tools alone.
        shown: the code in the message that opened the turn, once that is written.
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
    answer: Callable[[QuestionAsked], Awaitable[str]] | None = None
    further: tuple[tools.Tool, ...] = ()
    notes: tuple[str, ...] = ()
    trusted: bool = True
    index: Index | None = None
    shown: tuple[Excerpt, ...] = ()
    _usage: Usage = field(default_factory=Usage)
    _said: list[str] = field(default_factory=list)
    _rates: Rates = field(default_factory=Rates)
    _reply: Listening | None = None
    _repairs: int = 0
    _cut_off: int = 0
    _answer: str = ""

    async def run(self) -> AsyncGenerator[Event, None]:
        """Yields the turn's events: first one Started and last one Ended, also on errors.

        A cancelled task gets its Ended event first, and the cancellation with the next step of the iteration.
        """
        with_tools = self.engine.profile.tools
        work = self._with_tools() if with_tools else ask_questions(self.ask, self.action, self.draft, self.engine)
        learning = Learning(self.engine)
        try:
            async with aclosing(self._numbered(work)) as events:
                async for event in events:
                    learning.heard(event.what, self.shown, self._rates)
                    yield event
        finally:
            await learning.end()

    async def compact(self) -> AsyncGenerator[Event, None]:
        """Makes the conversation shorter instead, with the Ask's words as wishes for the summary; events as in `run`."""
        async with aclosing(self._numbered(self._shorter(self.ask.instruction, thoroughly=True))) as events:
            async for event in events:
                yield event

    def tell(self, words: str) -> None:
        """Says something to the model while it works; it reads it with the next result, or after its answer."""
        self._said.append(words)

    # --- the frame -----------------------------------------------------------------------------------------------

    async def _numbered(self, work: AsyncGenerator[Happening, None]) -> AsyncGenerator[Event, None]:
        started = time.monotonic()
        seq = 0
        async with aclosing(self._framed(work, started)) as happenings:
            async for what in happenings:
                seq += 1
                if isinstance(what, Used):
                    self._usage += what.usage
                    self._reply = None
                yield Event(self.id, seq, time.monotonic() - started, what)

    async def _framed(self, work: AsyncGenerator[Happening, None], started: float) -> AsyncGenerator[Happening, None]:
        yield Started(self.ask.action, self.ask.instruction, self.engine.model, self._thinking, self.ask.paths)
        reason: EndReason = "done"
        error: GlmError | None = None
        cancelled: asyncio.CancelledError | None = None
        defect: Exception | None = None
        compacted = False
        try:
            async with aclosing(work) as happenings:
                async for what in happenings:
                    compacted = compacted or isinstance(what, Compacted)
                    yield what
        except asyncio.CancelledError as caught:
            reason, cancelled = "cancelled", caught
        except LimitReached as caught:
            reason, error = "limit", caught
        except GlmError as caught:
            reason, error = "error", caught
        except Exception as caught:  # noqa: BLE001 - a turn ends with Ended whatever happens; raised again below
            reason, defect = "error", caught
        if self._reply is not None:  # broken off: what it had written was paid for too
            self._usage += Usage(written=self._reply.written)
        if reason in {"done", "limit"}:
            if self.draft.changes():
                yield Proposed(self._proposal())
            elif reason == "done" and not self._answer and not compacted:
                reason = "nothing"
        yield Ended(
            reason,
            self._usage,
            time.monotonic() - started,
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
            objections=self._objections(),
            unchecked=self.draft.unchecked(),
        )

    def _objections(self) -> tuple[Objection, ...]:
        """What is wrong with the draft, and what the action asks of its result besides."""
        found = self.draft.objections()
        if self.action.check is None or not (changes := self.draft.changes()):
            return found
        return (*found, *self.action.check(self.ask, changes))

    # --- the loop ------------------------------------------------------------------------------------------------

    async def _with_tools(self) -> AsyncGenerator[Happening, None]:
        async with aclosing(self._opened()) as happenings:
            async for what in happenings:
                yield what
        limits = Limits(self.settings.turn)
        context = tools.ToolContext(self.draft, self.listing, self.settings.tools, index=self._index)
        calls = Calls(
            self.conversation,
            context,
            self.settings.tools,
            limits,
            self.permit,
            self.answer,
            self.further,
            self._said,
            self._problems,
            edits=self.action.edits,
            trusted=self.trusted,
        )
        thinking = self._thinking
        while True:
            limits.step(self._usage.written)
            reply = Listening(self.draft if self.action.edits else None)
            async with aclosing(self._asked(reply, thinking=thinking)) as happenings:
                async for what in happenings:
                    yield what
            if reply.finish == "length":
                for what in self._continued(reply):
                    yield what
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
            thinking = self._thinking
            for note in self.engine.take_notes():
                yield Warned("engine-note", note)
            if (anew := self._begun_anew(reply.log)) is not None:
                yield anew
            self.conversation.append(reply.message())
            self.conversation.record(reply.log, reply.usage, model=self.engine.model)
            if reply.calls:
                async with aclosing(calls.carry_out(reply.calls.values())) as happenings:
                    async for what in happenings:
                        yield what
                if calls.finished is None:
                    continue
                self._answer = str(calls.finished["summary"]).strip()
                if left := str(calls.finished.get("left_undone") or "").strip():
                    yield Warned("left-undone", left)
            else:
                self._answer = reply.text.strip()
                if self._said:
                    self.conversation.append(prompt.ask("\n\n".join(self._said), "", ()))
                    self._said.clear()
                    continue
            objections = self._objections()
            if not objections:
                return
            if self._repairs >= self.settings.turn.repairs:
                yield Warned("not-mended", f"Problems remain after {self._repairs} repairs: {objections[0].message}")
                return
            self._repairs += 1
            yield Warned("sent-back", f"Sent back for repair: {objections[0].path}: {objections[0].message}")
            self.conversation.append(prompt.repair(objections))

    async def _opened(self) -> AsyncGenerator[Happening, None]:
        """Chooses what the model reads first, with its own help where that is wished for, and begins with it."""
        helped = self.settings.index.ask_model and self._thinking
        seen = await asyncio.to_thread(self._look, candidates=CANDIDATES if helped else 0)
        suggested = Suggested()
        if seen.candidates:
            suggested = await suggest(self.engine, self.ask.instruction, seen.candidates)
            if suggested.used is not None:
                yield suggested.used
            if suggested.hints is not None:
                seen = await asyncio.to_thread(self._look, hints=suggested.hints)
        self._begin(seen)
        if (chosen := opening.told(seen, self.shown, suggested.note)) is not None:
            yield chosen

    def _problems(self) -> str:
        """What stands against the end that the model declares; empty where nothing does, or where it was told enough."""
        objections = self._objections()
        if not objections or self._repairs >= self.settings.turn.repairs:
            return ""
        self._repairs += 1
        return f"Not finished. {prompt.problems(objections)}\n\nMend them with further edits, then finish."

    def open(self) -> None:
        """Puts what the model would read first into the conversation and asks nothing: a look at the context."""
        self._begin(self._look())

    @property
    def _index(self) -> Index | None:
        return self.index if self.trusted else None

    def _look(self, *, hints: Hints | None = None, candidates: int = 0) -> opening.Look:
        if self._index is not None:
            self._rates = Rates.open(self.listing.root, self.engine.model)
        return opening.look(
            self.conversation,
            self.ask,
            draft=self.draft,
            listing=self.listing,
            profile=self.engine.profile,
            index=self._index,
            settings=self.settings.index,
            scale=self._rates.scale,
            hints=hints,
            candidates=candidates,
        )

    def _begin(self, seen: opening.Look) -> None:
        self.shown = opening.begin(
            self.conversation,
            self.ask,
            self.action,
            offered=self._offered() if self.trusted else (),
            notes=self.notes,
            draft=self.draft,
            listing=self.listing,
            seen=seen,
            settings=self.settings.prompt if self.trusted else replace(self.settings.prompt, instruction_files=[]),
        )

    def _offered(self) -> tuple[tools.Tool, ...]:
        built_in = tools.offered(
            repository=self.listing.git,
            commands=self.permit is not None or bool(self.settings.tools.commands),
            person=self.answer is not None,
        )
        return (*built_in, *self.further)

    async def _asked(self, reply: Listening, *, thinking: bool) -> AsyncGenerator[Happening, None]:
        """One request and its reply, after the conversation was made shorter where that is needed."""
        share, length = self.settings.prompt.compact_at, self.engine.profile.context_length
        if share and prompt.tokens(self.conversation) > share * length:
            async with aclosing(self._shorter()) as happenings:
                async for what in happenings:
                    yield what
        last = moved = False
        while True:
            request = prompt.compose(
                self.conversation,
                self.engine.profile,
                preset=self.action.preset,
                thinking=thinking,
                thinking_tokens=self.settings.turn.thinking_tokens,
            )
            request = replace(request, workspace=str(self.draft.jail.root))
            self._reply = reply
            try:
                async with aclosing(reply.listen(self.engine, request)) as happenings:
                    async for what in happenings:
                        yield what
            except ContextTooLong:
                if last or not share:
                    raise
                last = True
                async with aclosing(self._shorter(thoroughly=True)) as happenings:
                    async for what in happenings:
                        yield what
            except EngineError as error:
                if not error.elsewhere or moved:  # once a step: what breaks a second engine may be the request itself
                    raise
                moved = True
                yield Warned(
                    "asked-again", f"{error.message} What it had begun to say is void; the same is asked again."
                )
                self._usage += Usage(written=reply.written)
                reply.begin_again()
            else:
                return

    async def _shorter(self, words: str = "", *, thoroughly: bool = False) -> AsyncGenerator[Happening, None]:
        shorter = compact(
            self.conversation,
            self.draft,
            self.engine,
            preset=self.action.preset,
            share=self.settings.prompt.compact_at or 1.0,
            words=words,
            thoroughly=thoroughly,
        )
        async with aclosing(shorter) as happenings:
            async for what in happenings:
                yield what

    def _continued(self, reply: Listening) -> list[Happening]:
        """Lets the model go on after a reply that ran out of new tokens; raises Truncated where that was in vain."""
        happenings: list[Happening] = list(reply.drop_calls("cut off"))
        self._cut_off += 1
        if self._cut_off > self.settings.turn.repairs:
            raise Truncated(
                f"The model ran out of its {reply.cap:,} new tokens {self._cut_off} times.",
                hint="Ask for less at once, or turn thinking off.",
            )
        self.conversation.append(reply.message())
        self.conversation.record(None, reply.usage, model=self.engine.model)
        self.conversation.append(prompt.cut_off(reply.cap))
        return [*happenings, Warned("truncated", f"The reply was cut off at {reply.cap:,} tokens.")]

    def _begun_anew(self, log: TokenLog | None) -> Warned | None:
        """Says, once a change, that the engine could not go on from the tokens it was last known by."""
        earlier = self.conversation.log
        if log is None or earlier is None or log.fingerprint == earlier.fingerprint:
            return None
        return Warned(
            "new-token-log",
            f"{self.engine.model} reads this conversation by tokens of its own: the model, its template, the server's "
            "version or the tools are not those of before.",
        )

    def _fault(self, reply: Listening) -> GlmError | None:
        """What makes a reply one that is better asked for again."""
        if reply.looping:
            return LimitReached("The model repeated itself.", hint="Ask again, in other words.")
        if reply.overthought:
            limit = self.settings.turn.thinking_tokens
            return LimitReached(f"The model thought for far more than {limit:,} tokens.", hint="Ask for less at once.")
        if reply.calls or reply.text.strip():
            return None
        if call_in_thinking(reply.thinking):
            return NothingSaid("The model called a tool in its thinking.", hint="Ask again, or with --thinking off.")
        if self.draft.changes():
            return None
        return NothingSaid("The model ended its reply without a word.", hint="Ask again, in other words.")
