"""One chat while it goes on: asks the model, asks the person back, applies what they agree to.

Never applies a change and never lets a command run that the person has not agreed to.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glm_lsp.cli import words
from glm_lsp.errors import Conflict, Missing
from glm_lsp.terms import Ask, Proposed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from glm_lsp.cli.keyboard import Keyboard
    from glm_lsp.cli.render import Terminal
    from glm_lsp.conversations import Conversation, Conversations
    from glm_lsp.edits.draft import Draft
    from glm_lsp.edits.journal import Run
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Event, PermissionAsked, Proposal, QuestionAsked, Thinking
    from glm_lsp.tools import Tool
    from glm_lsp.tools.permissions import Answer, Permissions
    from glm_lsp.workspace import Workspace

ANSWERS: dict[str, Answer] = {"o": "once", "a": "always", "t": "tool", "n": "no", "e": "never"}

MENTION = re.compile(r'(?:^|(?<=\s))@(?:"([^"]+)"|(\S+))')


@dataclass(slots=True)
class Talk:
    """What a chat knows.

    Attributes:
        further: tools beside the built-in ones.
        notes: what the model has to be told with the person's next words.
    """

    workspace: Workspace
    shelf: Conversations
    conversation: Conversation
    draft: Draft
    engine: Engine
    terminal: Terminal
    keyboard: Keyboard
    permissions: Permissions
    thinking: Thinking = "auto"
    further: tuple[Tool, ...] = ()
    notes: list[str] = field(default_factory=list)
    _running: asyncio.Task[Proposal | None] | None = None

    async def ask(self, line: str) -> None:
        """One turn with these words, and the person's say on what it proposes."""
        if self.workspace.index is not None:
            self.workspace.index.refresh()  # nobody tells a terminal what was edited meanwhile
        turn = self.workspace.turn(
            Ask("chat", line, self._mentioned(line), self.thinking),
            self.engine,
            conversation=self.conversation,
            draft=self.draft,
            permit=self.permissions,
            answer=self.answer,
            further=self.further,
            notes=tuple(self.notes),
        )
        said = len(self.conversation.messages)
        proposal = await self.watch(turn.run())
        if len(self.conversation.messages) > said:
            self.notes.clear()  # they are in the conversation now
        if proposal is not None:
            await self._offer(proposal, line)

    async def watch(self, events: AsyncGenerator[Event, None]) -> Proposal | None:
        """Shows what happens, as the conversation's only turn, until it ends or Ctrl-C ends it."""
        self._running = asyncio.ensure_future(self._shown(events))
        self._heed()
        try:
            return await self._running
        except asyncio.CancelledError:
            return None
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            self._running = None

    async def permit(self, asked: PermissionAsked) -> Answer:
        """Asks the person whether a call may run; Ctrl-C stops the turn."""
        self._tell_notes()
        whole = asked.tool != "run_command"
        choices = {letter: word for letter, word in ANSWERS.items() if whole or word != "tool"}
        always = "[a]lways for these arguments, [t]his tool always" if whole else "[a]lways for this command"
        with self._typing():
            self.terminal.lines(words.permission(asked, self.terminal.width))
            typed = await self.keyboard.choose(f"Permit it? [o]nce, {always}, [n]o, n[e]ver › ", choices)
        return next(answer for answer in ANSWERS.values() if answer == typed)

    async def answer(self, asked: QuestionAsked) -> str:
        """The person's answer, by number or in their own words; Ctrl-C or nothing at all stops the turn."""
        hint = "a number, or your own words" if asked.options else "your words"
        with self._typing():
            typed = await self.keyboard.answer(f"Answer ({hint}) › ")
        if not typed:
            raise asyncio.CancelledError
        number = int(typed) if typed.isascii() and typed.isdigit() else 0
        return asked.options[number - 1] if 1 <= number <= len(asked.options) else typed

    def taken_back(self, runs: Sequence[Run]) -> None:
        """Runs were undone: the draft follows the disk, the person reads it, and the model will."""
        self.draft.rebase()
        for run in runs:
            files = words.count(len(run.paths), "file")
            self.terminal.note(f"Took back: {run.label} · {files}")
            self.notes.append(f"The person took back your changes to {_named(run.paths)}.")
            if run.left:
                self.terminal.note(f"Changed meanwhile, so left as they are: {_named(run.left)}", "yellow")

    def drop(self, paths: Sequence[str]) -> None:
        """The edits of these files, which are not on disk, are forgotten, and the model will know."""
        self.draft.reset()
        self.notes.append(f"The person did not accept your changes to {_named(paths)}; nothing of them was written.")
        self.terminal.note("Dropped; nothing was written")

    def go_on_in(self, conversation: Conversation) -> None:
        """Turns to another conversation, which knows nothing of this one's files."""
        if self.draft.changes():
            self.terminal.note("Dropped the edits of the turn that was stopped; nothing of them was written", "yellow")
        self.conversation = conversation
        self.draft = self.workspace.draft()
        self.notes.clear()

    # --- the parts -----------------------------------------------------------------------------------------------

    async def _shown(self, events: AsyncGenerator[Event, None]) -> Proposal | None:
        proposal: Proposal | None = None
        with self.shelf.claim(self.conversation):
            async with contextlib.aclosing(events):
                async for event in events:
                    if isinstance(event.what, Proposed):
                        proposal = event.what.proposal
                    self.terminal.show(event)
        return proposal

    def _heed(self) -> None:
        """Has Ctrl-C stop what is running; whoever read a line in between took the signal for themselves."""
        if self._running is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._running.cancel)

    @contextlib.contextmanager
    def _typing(self) -> Iterator[None]:
        try:
            with self.terminal.typing():
                yield
        except (KeyboardInterrupt, EOFError):
            raise asyncio.CancelledError from None
        finally:
            self._heed()

    async def _offer(self, proposal: Proposal, label: str) -> None:
        paths = [change.path for change in proposal.changes]
        if proposal.objections:
            self.terminal.note("Nothing was written: problems remain. Ask for them to be mended, or /drop it", "yellow")
            return
        choices = {"y": "yes", "d": "diff", "n": "no"}
        typed = "diff"
        while typed == "diff":
            shown = ", ".join(f"[{letter}]{word[1:]}" for letter, word in choices.items())
            try:
                typed = await self.keyboard.choose(f"Apply these changes? {shown} › ", choices)
            except (KeyboardInterrupt, EOFError):
                typed = "no"
            if typed == "diff":
                self.terminal.diff(proposal.changes)
                choices = {"y": "yes", "n": "no"}
        if typed == "no":
            self.drop(paths)
            return
        try:
            self.workspace.accept(proposal, label=label)
        except Conflict as error:
            self.draft.reset()
            self.draft.rebase()
            self.notes.append(f"Your changes to {_named(paths)} were not applied: {error.message}")
            raise
        self.draft.rebase()
        self.terminal.note("Applied · /undo takes it back")

    def _mentioned(self, line: str) -> tuple[str, ...]:
        chosen: dict[str, None] = {}
        for quoted, plain in MENTION.findall(line):
            name = quoted or plain.rstrip(".,;:!?)")
            try:
                chosen.update(dict.fromkeys(self.workspace.listing.select([name], cwd=self.workspace.root)))
            except Missing:
                self.terminal.note(f"@{name} is no file here, so it is taken as a word", "yellow")
        return tuple(chosen)

    def _tell_notes(self) -> None:
        for note in self.permissions.notes:
            self.terminal.note(note, "yellow")
        self.permissions.notes.clear()


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - 10
    return ", ".join(paths[:10]) + (f" and {more} more" if more > 0 else "")
