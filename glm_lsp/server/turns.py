"""The turns of one client: run in the background, told as they go, and what they propose brought to the person.

Never applies what the person has not chosen: one file of an action they picked, or what they said yes to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lsprotocol import types

from glm_lsp.conversations import Conversation
from glm_lsp.engine.turnstile import in_line
from glm_lsp.errors import GlmError
from glm_lsp.server import faults, wire
from glm_lsp.server.turn_events import TurnEvents
from glm_lsp.server.under_way import Running
from glm_lsp.terms import (
    ContextChosen,
    Ended,
    Event,
    Found,
    PermissionAsked,
    Proposed,
    QuestionAsked,
    Queued,
    Started,
    TextAdded,
    ThinkingAdded,
    ToolCalled,
    Usage,
    Warned,
)
from glm_lsp.tools.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from glm_lsp.engine.engine import Engine
    from glm_lsp.server.desk import Desk
    from glm_lsp.server.folder import Folder
    from glm_lsp.server.session import Session
    from glm_lsp.terms import Ask, Proposal
    from glm_lsp.tools import Tool
    from glm_lsp.tools.permissions import Answer
    from glm_lsp.turn import Turn

log = logging.getLogger(__name__)

LINE = 60
"""Characters of the last line of thinking that a progress bar shows."""

REPORT_SECONDS = 0.25

ANSWERS: dict[str, Answer] = {"Once": "once", "Always": "always", "No": "no", "Never": "never"}


@dataclass(slots=True)
class Turns:
    """Runs turns for one session; `desk` is where proposals go."""

    session: Session
    desk: Desk

    def begin(
        self,
        ask: Ask,
        folder: Folder,
        *,
        title: str,
        conversation: Conversation | None = None,
        token: types.ProgressToken | None = None,
        chosen: bool = True,
        listener: Callable[[Event], None] | None = None,
        hand: Callable[[types.WorkspaceEdit], bool] | None = None,
    ) -> Running:
        """Starts a turn and returns at once.

        Args:
            ask: what is asked.
            folder: where.
            title: what a progress bar calls it.
            conversation: which one it continues; None for one of its own, which is not kept.
            token: of a bar that the client has begun.
            chosen: whether the person chose an action, whose changes of one file may be applied without a question.
            listener: told every event, before the client is.
            hand: gives the edit that comes of it to whoever waits for it; False where nobody does any more.
        """
        running = Running(_fresh_id(), conversation.id if conversation else "", folder, ask, title)
        self.session.turns[running.id] = running
        work = self._run(running, conversation, token, chosen=chosen, listener=listener, hand=hand)
        running.task = asyncio.get_running_loop().create_task(work)
        running.task.add_done_callback(lambda task: self._gone(running, task))
        return running

    def _gone(self, running: Running, task: asyncio.Task[None]) -> None:
        self.session.turns.pop(running.id, None)
        self.desk.status_changed()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s", faults.incident(error, "a turn"))

    async def _run(
        self,
        running: Running,
        conversation: Conversation | None,
        token: types.ProgressToken | None,
        *,
        chosen: bool,
        listener: Callable[[Event], None] | None,
        hand: Callable[[types.WorkspaceEdit], bool] | None,
    ) -> None:
        editor = self.session.editor
        self.desk.status_changed()
        told = None
        if editor.asked is not None:
            told = TurnEvents(
                running.id,
                running.conversation,
                wanted=editor.asked,
                uri_of=lambda path: editor.uri(running.folder.root / path),
                outbox=editor.server.protocol.outbox,
            )
        title = f"GLM: {running.title}"
        proposal: Proposal | None = None
        try:
            async with editor.server.show_progress(
                title, token=token, cancellable=True, message="Starting", on_cancel=running.cancel
            ) as bar:
                report = _Reporter(bar.report)
                try:
                    async with contextlib.aclosing(self._events(running, conversation)) as events:
                        async for event in events:
                            what = event.what
                            if isinstance(what, TextAdded):
                                running.text.append(what.text)
                            elif isinstance(what, Proposed):
                                proposal = what.proposal
                                running.proposal = self.desk.take(running, proposal)
                            elif isinstance(what, Found):
                                self.desk.found(running.folder, what.finding)
                            elif isinstance(what, Ended):
                                running.ended = what
                            if listener is not None:
                                listener(event)
                            report.heard(what)
                            if told is not None:
                                told.tell(event)
                finally:
                    bar.closing = _closing(running)
        except asyncio.CancelledError:
            return  # Ended was told; whoever cancelled knows
        if running.ended is not None and running.ended.error:
            self._say_why(running.ended)
        elif proposal is not None and not editor.reviews:
            try:
                running.applied = await self.desk.bring(running, proposal, chosen=chosen, hand=hand)
            except GlmError as error:
                editor.show(f"GLM: {error.message} {error.hint}".strip(), types.MessageType.Error)
            except asyncio.CancelledError:
                return

    def _say_why(self, ended: Ended) -> None:
        kind = types.MessageType.Warning if ended.reason == "limit" else types.MessageType.Error
        self.session.editor.show(f"GLM: {ended.error} {ended.hint}".strip(), kind)

    async def _events(self, running: Running, conversation: Conversation | None) -> AsyncGenerator[Event, None]:
        """The turn's events; what keeps it from beginning is told as a turn that failed."""
        folder, session = running.folder, self.session
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            try:
                engine = await session.engine(folder.workspace.settings)
                further = await session.further(folder)
                stack.enter_context(self._claimed(folder, conversation))
            except (GlmError, asyncio.CancelledError) as stopped:
                started = Started(running.ask.action, running.ask.instruction, "", thinking=False)
                yield Event(running.id, 1, 0.0, started)
                seconds = time.monotonic() - began
                if isinstance(stopped, GlmError):
                    why = (stopped.code, stopped.message, stopped.hint)
                    yield Event(running.id, 2, seconds, Ended("error", Usage(), seconds, *why))
                    return
                yield Event(running.id, 2, seconds, Ended("cancelled", Usage(), seconds))
                raise
            turn = running.turn = self._turn(running, engine, conversation or Conversation(), further)
            async with contextlib.aclosing(turn.run()) as events:
                async for event in events:
                    yield Event(running.id, event.seq, event.at, event.what)

    @contextlib.contextmanager
    def _claimed(self, folder: Folder, conversation: Conversation | None) -> Iterator[None]:
        if conversation is None:
            yield
            return
        with folder.shelf.claim(conversation, catch_up=True):
            yield

    def _turn(self, running: Running, engine: Engine, conversation: Conversation, further: tuple[Tool, ...]) -> Turn:
        folder = running.folder

        async def permit(asked: PermissionAsked) -> Answer:
            return await self._permit(running, asked)

        async def answer(asked: QuestionAsked) -> str:
            return await self._answer(running, asked)

        return folder.workspace.turn(
            running.ask,
            engine,
            draft=folder.workspace.draft(overlay=lambda path: self.desk.live(folder.root / path)),
            conversation=conversation,
            permit=Permissions.at(folder.root, folder.workspace.settings.tools.commands, permit),
            answer=answer,
            further=further,
            notes=self.desk.notes(running.conversation),
            trusted=folder.trusted,
        )

    async def _permit(self, running: Running, asked: PermissionAsked) -> Answer:
        """Asks the person, in the way the client offers."""
        editor = self.session.editor
        if editor.asked is not None and editor.asked.permission:
            params = wire.PermissionParams(
                turn_id=running.id,
                call_id=asked.call,
                tool=asked.tool,
                title=asked.title,
                detail=asked.detail,
                confined=asked.confined,
                options=("once", "always", *(() if asked.tool == "run_command" else ("tool",)), "no", "never"),
            )
            said = await editor.request("glm/permission", params)
            return said.answer if isinstance(said, wire.PermissionResult) else "no"
        where = "confined: no network, writes only here" if asked.confined else "NOT confined: network and home"
        chosen = await editor.choose(f"GLM wants to run ({where}):\n{asked.detail}", tuple(ANSWERS))
        return ANSWERS.get(chosen, "no")

    async def _answer(self, running: Running, asked: QuestionAsked) -> str:
        editor = self.session.editor
        if editor.asked is not None and editor.asked.question:
            params = wire.QuestionParams(
                turn_id=running.id, call_id=asked.call, question=asked.question, options=asked.options
            )
            said = await editor.request("glm/question", params)
            return (said.answer or "") if isinstance(said, wire.QuestionResult) else ""
        return await editor.choose(f"GLM asks: {asked.question}", asked.options) if asked.options else ""


@dataclass(slots=True)
class _Reporter:
    """Tells a progress bar what goes on, a few times a second: the last line of thinking, or the tool at work."""

    report: Callable[[str], None]
    _tail: str = ""
    _at: float = 0.0

    def heard(self, what: object) -> None:
        if isinstance(what, ThinkingAdded | TextAdded):
            self._tail = (self._tail + what.text)[-400:]
            line = next((one.strip() for one in reversed(self._tail.splitlines()) if one.strip()), "")
            self._tell(line[-LINE:])
        elif isinstance(what, ToolCalled):
            self._tail = ""
            self._at = 0.0
            self._tell(what.title)
        elif isinstance(what, Queued):
            self._at = 0.0
            self._tell(in_line(what.place) if what.place else "Working")
        elif isinstance(what, ContextChosen):
            self._tell(reads(what))
        elif isinstance(what, Warned):
            self._tell(what.message)

    def _tell(self, line: str) -> None:
        now = time.monotonic()
        if line and now - self._at >= REPORT_SECONDS:
            self._at = now
            self.report(line)


def reads(chosen: ContextChosen) -> str:
    """What a progress bar says of the code that was chosen, `Reads cart.py, tax.py and 6 more`; empty for none."""
    names = ", ".join(PurePosixPath(one.path).name for one in chosen.files[:2])
    more = f" and {len(chosen.files) - 2} more" if len(chosen.files) > 2 else ""
    return f"Reads {names}{more}" if names else ""


def _closing(running: Running) -> str:
    ended = running.ended
    if ended is None:
        return "Cancelled"
    if ended.reason in {"done", "nothing"}:
        return "Done" if running.proposal or running.text else "Nothing to change"
    return {"limit": "Stopped at a limit", "cancelled": "Cancelled", "error": "Failed"}[ended.reason]


def _fresh_id() -> str:
    from secrets import token_hex  # noqa: PLC0415 - a millisecond that the start need not pay

    return token_hex(5)
