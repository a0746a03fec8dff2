"""`glm-lsp chat`: a conversation in the terminal, kept and resumed.

Never decides anything itself: a line that begins with a slash is a command, every other one goes to the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.errors import GlmError, UsageError

if TYPE_CHECKING:
    from glm_lsp.cli.talk import Talk
    from glm_lsp.cli.waiting import Waiting
    from glm_lsp.conversations import Conversation, Conversations
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import PermissionAsked, Thinking
    from glm_lsp.tools.permissions import Answer
    from glm_lsp.workspace import Workspace


@click.command()
@click.option("--resume", default="", metavar="SESSION", help="Go on with a conversation: its id, or its name.")
@click.option("--continue", "-c", "latest", is_flag=True, help="Go on with the latest conversation.")
@click.option("--thinking", type=click.Choice(("on", "off", "auto")), default="auto", help="Whether the model thinks.")
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--model", default="", metavar="NAME", help="The model, where the engine serves several.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
def chat(resume: str, thinking: Any, engine_url: str, model: str, root: Path, *, latest: bool) -> int:
    """Talk with the model about the workspace; it reads, and edits when you ask."""
    from glm_lsp import settings
    from glm_lsp.cli.waiting import Waiting
    from glm_lsp.conversations import Conversations
    from glm_lsp.engine import open_engine
    from glm_lsp.index.walk import find_root
    from glm_lsp.workspace import Workspace

    if resume and latest:
        raise UsageError("--resume and --continue exclude each other.", hint="Leave one of them out.")
    chosen = {"engine.url": engine_url, "engine.model": model}
    loaded = settings.load(find_root(root), overrides={name: value for name, value in chosen.items() if value})
    workspace = Workspace.open(root, loaded)
    shelf = Conversations.at(workspace.root)
    if latest:
        resume = next((entry.id for entry in shelf.list()), "")
    conversation = shelf.open(resume) if resume else shelf.create()
    waiting = Waiting()
    engine = open_engine(loaded.engine, on_wait=waiting)
    return asyncio.run(_chat(workspace, shelf, conversation, engine, thinking, waiting))


async def _chat(
    workspace: Workspace,
    shelf: Conversations,
    conversation: Conversation,
    engine: Engine,
    thinking: Thinking,
    waiting: Waiting,
) -> int:
    from glm_lsp.cli import slash
    from glm_lsp.cli.headless import mcp_tools

    notes: list[str] = []
    stack = contextlib.ExitStack()
    try:
        workspace = await asyncio.to_thread(stack.enter_context, workspace.indexed())
        try:
            await engine.connect()
        finally:
            waiting.close()
        talk = _talk(workspace, shelf, conversation, engine, thinking)
        talk.further = await asyncio.to_thread(stack.enter_context, mcp_tools(workspace, notes.append))
        talk.terminal.engine_line(engine.model, note=engine.profile.banner)
        index = workspace.index
        for note in (*shelf.notes, *talk.permissions.notes, *notes, *(index.notes if index is not None else ())):
            talk.terminal.note(note, "yellow")
        talk.permissions.notes.clear()
        slash.welcome_back(talk)
        try:
            while True:
                await _next(talk)
        except EOFError:
            return 0
        finally:
            talk.terminal.close()
    finally:
        stack.close()
        await engine.close()


async def _next(talk: Talk) -> None:
    """One line of the person's and what comes of it; raises EOFError where they leave."""
    from glm_lsp.cli import slash

    try:
        line = await talk.keyboard.line()
    except KeyboardInterrupt:
        return  # what was typed so far is given up, as in a shell
    try:
        if line.startswith("/"):
            await slash.run(talk, line)
        elif line:
            await talk.ask(line)
    except GlmError as error:
        talk.terminal.note(f"{error.message} {error.hint}".rstrip(), "yellow")


def _talk(
    workspace: Workspace, shelf: Conversations, conversation: Conversation, engine: Engine, thinking: Thinking
) -> Talk:
    from glm_lsp.cli.keyboard import Completions, Keyboard
    from glm_lsp.cli.render import Terminal
    from glm_lsp.cli.slash import COMMANDS
    from glm_lsp.cli.talk import Talk
    from glm_lsp.tools.permissions import Permissions

    def completed(name: str) -> list[str]:
        completions = COMMANDS[name].completed
        return list(completions(talk)) if completions is not None else []

    async def permit(asked: PermissionAsked) -> Answer:
        return await talk.permit(asked)

    completer = Completions(
        {name: command.about for name, command in COMMANDS.items()}, completed, lambda: workspace.listing.paths
    )
    keyboard = Keyboard(workspace.journal.folder / "typed", completer)
    permissions = Permissions.at(workspace.root, workspace.settings.tools.commands, permit)
    talk = Talk(
        workspace,
        shelf,
        conversation,
        workspace.draft(),
        engine,
        Terminal(sys.stdout),
        keyboard,
        permissions,
        thinking,
    )
    return talk
