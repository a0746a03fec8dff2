"""`glm-lsp chat`: a conversation in the terminal, kept and resumed.

Never applies a change that the person has not agreed to.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.errors import GlmError, UsageError

if TYPE_CHECKING:
    from glm_lsp.cli.render import Terminal
    from glm_lsp.conversations import Conversation, Conversations
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Proposal, Thinking
    from glm_lsp.workspace import Workspace

HELP = """\
/think on|off|auto   whether the model thinks from now on
/files               the files that this conversation has read
/undo                take the last applied changes back
/fork                go on in a copy of this conversation
/name NAME           name this conversation, to resume it by
/sessions            the conversations of this workspace
/quit                leave; the conversation is kept
@path in a message shows that file to the model. Ctrl-C stops an answer."""


_THINKING: dict[str, Thinking] = {"on": "on", "off": "off", "auto": "auto"}


@click.command()
@click.option("--resume", default="", metavar="SESSION", help="Go on with a conversation: its id, or its name.")
@click.option("--thinking", type=click.Choice(("on", "off", "auto")), default="auto", help="Whether the model thinks.")
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--model", default="", metavar="NAME", help="The model, where the engine serves several.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
def chat(resume: str, thinking: Any, engine_url: str, model: str, root: Path) -> int:
    """Talk with the model about the workspace; it reads, and edits when you ask."""
    from glm_lsp import settings
    from glm_lsp.cli.render import Terminal
    from glm_lsp.conversations import Conversations
    from glm_lsp.engine import open_engine
    from glm_lsp.index.walk import find_root
    from glm_lsp.workspace import Workspace

    chosen = {"engine.url": engine_url, "engine.model": model}
    loaded = settings.load(find_root(root), overrides={name: value for name, value in chosen.items() if value})
    workspace = Workspace.open(root, loaded)
    shelf = Conversations.at(workspace.root)
    conversation = shelf.open(resume) if resume else shelf.create()
    talk = _Talk(
        workspace, shelf, conversation, workspace.draft(), open_engine(loaded.engine), Terminal(sys.stdout), thinking
    )
    return asyncio.run(talk.run())


@dataclass(slots=True)
class _Talk:
    workspace: Workspace
    shelf: Conversations
    conversation: Conversation
    draft: Draft
    engine: Engine
    terminal: Terminal
    thinking: Thinking

    async def run(self) -> int:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory

        await self.engine.connect()
        self.terminal.engine_line(self.engine.model, note=self.engine.profile.banner)
        for note in self.shelf.notes:
            self.terminal.note(note, "yellow")
        said = [m.text for m in self.conversation.messages if m.role == "user"]
        self.terminal.note(
            f"Session {self.conversation.id} · {len(said)} messages so far · /help" if said else "/help tells more"
        )
        typed: PromptSession[str] = PromptSession(history=InMemoryHistory(said))
        try:
            while True:
                try:
                    line = (await typed.prompt_async("› ")).strip()
                except KeyboardInterrupt:
                    continue  # what was typed so far is given up, as in a shell
                except EOFError:
                    return 0
                if line in {"/quit", "/exit"}:
                    return 0
                try:
                    if line.startswith("/"):
                        self._command(line)
                    elif line:
                        await self._ask(line, typed)
                except GlmError as error:
                    self.terminal.note(f"{error.message} {error.hint}".rstrip(), "yellow")
        finally:
            self.terminal.close()
            await self.engine.close()

    async def _ask(self, line: str, typed: Any) -> None:
        from glm_lsp.terms import Ask, Proposed

        proposal: Proposal | None = None

        async def turn() -> None:
            nonlocal proposal
            ask = Ask("chat", line, self._mentioned(line), self.thinking)
            with self.shelf.claim(self.conversation):
                events = self.workspace.turn(ask, self.engine, conversation=self.conversation, draft=self.draft).run()
                async with contextlib.aclosing(events):
                    async for event in events:
                        if isinstance(event.what, Proposed):
                            proposal = event.what.proposal
                        self.terminal.show(event)

        task = asyncio.ensure_future(turn())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return
        finally:
            loop.remove_signal_handler(signal.SIGINT)
        if proposal is None:
            return
        answer = (await typed.prompt_async("Apply these changes? [y]es, [d]iff, [n]o › ")).strip().lower()
        if answer.startswith("d"):
            self.terminal.diff(proposal.changes)
            answer = (await typed.prompt_async("Apply these changes? [y]es, [n]o › ")).strip().lower()
        if answer.startswith("y"):
            self.workspace.accept(proposal, label=line)
            self.draft.rebase()
            self.terminal.note("Applied · /undo takes it back")
        else:
            self.draft.reset()
            self.terminal.note("Dropped; nothing was written")

    def _mentioned(self, line: str) -> tuple[str, ...]:
        names = [name.rstrip(".,;:!?)") for name in re.findall(r"(?:^|\s)@(\S+)", line)]
        return self.workspace.listing.select(names, cwd=self.workspace.root) if names else ()

    def _command(self, line: str) -> None:
        name, _, rest = line[1:].partition(" ")
        rest = rest.strip()
        if name == "think" and rest in _THINKING:
            self.thinking = _THINKING[rest]
            self.terminal.note(f"Thinking: {rest}")
        elif name == "files":
            self.terminal.note(" · ".join(self.draft.paths()) or "No file has been read yet")
        elif name == "undo":
            taken = self.workspace.undo()
            self.draft.rebase()
            self.terminal.note(f"Took back: {taken.label} · {len(taken.paths)} files")
        elif name == "fork":
            self.conversation = self.shelf.fork(self.conversation.id)
            self.terminal.note(f"Session {self.conversation.id}, a copy")
        elif name == "name" and rest:
            self.shelf.rename(self.conversation.id, rest)
            self.terminal.note(f"Session {self.conversation.id} is called {rest}")
        elif name == "sessions":
            for item in self.shelf.list():
                self.terminal.note(f"{item.id}  {item.name or item.first}")
        elif name == "help":
            for row in HELP.splitlines():
                self.terminal.note(row)
        else:
            raise UsageError(f"There is no /{name} of that form.", hint="/help lists what there is.")
