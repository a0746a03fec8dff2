"""One session of an agent panel: a conversation, how it is led, and the turn that is under way in it.

Never applies a change or runs a command that the person has not agreed to, once or for the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from acp import start_tool_call, text_block, tool_content, update_tool_call
from acp.schema import (
    AllowedOutcome,
    EmbeddedResourceContentBlock,
    PermissionOption,
    PromptResponse,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
    ToolCallUpdate,
)
from acp.schema import Usage as PanelUsage

from glm_lsp import actions
from glm_lsp.acp.updates import Updates, diffs, note
from glm_lsp.errors import Conflict, GlmError, UsageError
from glm_lsp.terms import Ask, Ended, Proposed, Usage
from glm_lsp.tools.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from acp.interfaces import Client
    from acp.schema import PermissionOptionKind, StopReason

    from glm_lsp.acp.updates import Update
    from glm_lsp.conversations import Conversation, Conversations
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Event, FileChange, PermissionAsked, Proposal, QuestionAsked, Thinking
    from glm_lsp.tools import Tool
    from glm_lsp.tools.permissions import Answer
    from glm_lsp.workspace import Workspace

Mode = Literal["ask", "apply"]
"""Whether changes wait for the person, or are applied at once; commands are asked about in both."""

COMMANDS = {
    "compact": ("Make the conversation shorter for the model; what was said stays.", "wishes for the summary"),
    "undo": ("Take back the changes that were applied last.", ""),
} | {
    action.id: (f"{action.title}.", "what, with files mentioned")
    for action in actions.ACTIONS
    if action.headless and action.id != "chat"
}
"""What a line can begin with: name, what it does, what may follow."""

_ANSWERS: tuple[tuple[Answer, str, PermissionOptionKind], ...] = (
    ("once", "Allow once", "allow_once"),
    ("always", "Always allow this", "allow_always"),
    ("tool", "Always allow this tool", "allow_always"),
    ("no", "No", "reject_once"),
    ("never", "Never allow this", "reject_always"),
)
_APPLY = (
    PermissionOption(option_id="apply", name="Apply", kind="allow_once"),
    PermissionOption(option_id="always", name="Apply, and those to come", kind="allow_always"),
    PermissionOption(option_id="discard", name="Discard", kind="reject_once"),
)
_COMMAND = re.compile(r"/([a-z-]+)(?:\s+(.*))?", re.DOTALL)


@dataclass(slots=True)
class Session:
    """One conversation in one panel.

    Attributes:
        workspace: with its index, where it has one.
        shelf: where the conversation is kept.
        client: the panel.
        reads: whether the panel tells what its buffers hold.
        writes: whether it takes text into its buffers.
        further: tools of MCP servers.
        thinking: whether the model thinks.
        mode: what becomes of changes.
        notes: what the model has to be told with the person's next words.
    """

    workspace: Workspace
    shelf: Conversations
    conversation: Conversation
    client: Client
    reads: bool = False
    writes: bool = False
    further: tuple[Tool, ...] = ()
    thinking: Thinking = "auto"
    mode: Mode = "ask"
    notes: list[str] = field(default_factory=list)
    _running: asyncio.Task[PromptResponse] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way."""
        return self._running is not None

    async def prompt(
        self,
        blocks: Sequence[TextContentBlock | ResourceContentBlock | EmbeddedResourceContentBlock | object],
        engine: Engine,
    ) -> PromptResponse:
        """One turn with these words, to its end.

        Raises:
            GlmError: it could not be carried out; what was said until then is kept.
        """
        if self._running is not None:
            raise UsageError("This session works on something already.", hint="Stop it, or wait.")
        self._running = running = asyncio.create_task(self._answered(blocks, engine))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled():  # by `cancel`; else the panel itself is gone
                return PromptResponse(stop_reason="cancelled")
            running.cancel()
            await asyncio.wait({running})
            raise
        finally:
            self._running = None

    def cancel(self) -> None:
        """Stops the turn that is under way."""
        if self._running is not None:
            self._running.cancel()

    async def tell(self, update: Update) -> None:
        """Sends the panel an update."""
        await self.client.session_update(self.conversation.id, update)

    # --- a turn --------------------------------------------------------------------------------------------------

    async def _answered(self, blocks: Sequence[object], engine: Engine) -> PromptResponse:
        words, paths = self._read(blocks)
        command = _COMMAND.fullmatch(words.strip())
        name, rest = (command[1], (command[2] or "").strip()) if command else ("", "")
        if name not in COMMANDS:
            return await self._turn(Ask("chat", words, paths, self.thinking), engine)
        if name == "undo":
            run = await asyncio.to_thread(self.workspace.undo)
            self.notes.append(f"The person took back your changes to {', '.join(run.paths)}.")
            await self.tell(note(f"Took back: {run.label}"))
            return PromptResponse(stop_reason="end_turn")
        if name == "compact":
            with self.shelf.claim(self.conversation, catch_up=True):
                events = self.workspace.compact(self.conversation, engine, instruction=rest)
                return await self._shown(events, engine, rest)
        return await self._turn(Ask(name, rest, paths, self.thinking), engine)

    async def _turn(self, ask: Ask, engine: Engine) -> PromptResponse:
        if self.workspace.index is not None:
            self.workspace.index.refresh()  # a panel does not tell what was edited meanwhile
        shown = await self._unsaved(ask.paths)
        said = len(self.conversation.messages)
        with self.shelf.claim(self.conversation, catch_up=True):
            turn = self.workspace.turn(
                ask,
                engine,
                draft=self.workspace.draft(overlay=shown.get),
                conversation=self.conversation,
                permit=Permissions.at(self.workspace.root, self.workspace.settings.tools.commands, self._permit),
                answer=self._answer,
                further=self.further,
                notes=tuple(self.notes),
            )
            try:
                return await self._shown(turn.run(), engine, ask.instruction)
            finally:
                if len(self.conversation.messages) > said:
                    self.notes.clear()  # they are in the conversation now

    async def _shown(self, events: AsyncGenerator[Event, None], engine: Engine, label: str) -> PromptResponse:
        updates = Updates(self.workspace.root, engine.profile.context_length)
        proposal: Proposal | None = None
        ended: Ended | None = None
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event.what, Proposed):
                    proposal = event.what.proposal
                elif isinstance(event.what, Ended):
                    ended = event.what
                for update in updates.of(event.what):
                    await self.tell(update)
        if ended is not None and ended.reason == "error":
            raise GlmError(ended.error, hint=ended.hint)
        if proposal is not None:
            await self._offer(proposal, label)
        reason: StopReason = "max_turn_requests" if ended is not None and ended.reason == "limit" else "end_turn"
        return PromptResponse(stop_reason=reason, usage=_usage(ended.usage if ended is not None else Usage()))

    # --- what the person is asked --------------------------------------------------------------------------------

    async def _permit(self, asked: PermissionAsked) -> Answer:
        where = "confined: no network, writes only here" if asked.confined else "NOT confined: network and home"
        call = ToolCallUpdate(
            tool_call_id=asked.call,
            title=f"{asked.title} ({where})",
            kind="execute",
            content=[tool_content(text_block(asked.detail))],
        )
        offered = [one for one in _ANSWERS if one[0] != "tool" or asked.tool != "run_command"]
        chosen = await self._choose(call, [PermissionOption(option_id=o, name=n, kind=k) for o, n, k in offered])
        return next((answer for answer, _, _ in offered if answer == chosen), "no")

    async def _answer(self, asked: QuestionAsked) -> str:
        """What the person chose; a question in free words is asked back by the model's own text."""
        if not asked.options:
            await self.tell(note(asked.question))
            return ""
        call = ToolCallUpdate(tool_call_id=asked.call, title=asked.question, kind="think")
        options = [
            PermissionOption(option_id=str(number), name=words, kind="allow_once")
            for number, words in enumerate(asked.options)
        ]
        chosen = await self._choose(call, options)
        return asked.options[int(chosen)] if chosen else ""

    async def _choose(self, call: ToolCallUpdate, options: list[PermissionOption]) -> str:
        """The id of what the person chose; empty where they chose nothing."""
        said = await self.client.request_permission(self.conversation.id, call, options)
        known = {option.option_id for option in options}
        outcome = said.outcome
        return outcome.option_id if isinstance(outcome, AllowedOutcome) and outcome.option_id in known else ""

    async def _offer(self, proposal: Proposal, label: str) -> None:
        changes = proposal.changes
        paths = ", ".join(change.path for change in changes)
        call = f"changes-{proposal.id}"
        title = f"Change {paths}" if len(changes) <= 3 else f"Change {len(changes)} files"
        shown = diffs(self.workspace.root, changes)
        await self.tell(start_tool_call(call, title, kind="edit", status="pending", content=shown))
        if proposal.objections:
            first = proposal.objections[0]
            await self.tell(update_tool_call(call, status="failed"))
            await self.tell(note(f"Nothing was written: problems remain, the first in {first.path}: {first.message}"))
            return
        chosen = "apply"
        if self.mode == "ask":
            chosen = await self._choose(ToolCallUpdate(tool_call_id=call, title=title, kind="edit"), list(_APPLY))
        if chosen not in {"apply", "always"}:
            self.notes.append(f"The person did not accept your changes to {paths}; nothing of them was written.")
            await self.tell(update_tool_call(call, status="failed", title=f"{title}: discarded"))
            return
        if chosen == "always":
            self.mode = "apply"
        try:
            await self._apply(proposal, label)
        except GlmError as error:
            self.notes.append(f"Your changes to {paths} were not applied: {error.message}")
            await self.tell(update_tool_call(call, status="failed"))
            await self.tell(note(f"{error.message} {error.hint}".strip()))
            return
        await self.tell(update_tool_call(call, status="completed"))

    async def _apply(self, proposal: Proposal, label: str) -> None:
        """Writes the changes: into the panel's buffer where a file has unsaved text there, else to the disk.

        Raises:
            Conflict: a file is not as the model read it; nothing was written.
        """
        unsaved = await self._unsaved([change.path for change in proposal.changes if change.before is not None])
        typed: list[FileChange] = []
        for change in proposal.changes:
            if change.path not in unsaved:
                continue
            if not self.writes or change.after is None or _lines(change.before) != unsaved[change.path]:
                raise Conflict(
                    f"{change.path} has unsaved changes that the model has not read. Nothing was written.",
                    hint="Save it, and ask again.",
                )
            typed.append(change)
        saved = tuple(change for change in proposal.changes if change.path not in unsaved)
        if saved:
            await asyncio.to_thread(self.workspace.accept, replace(proposal, changes=saved), label=label or "chat")
        for change in typed:
            text = (change.after or b"").decode("utf-8", "replace")
            await self.client.write_text_file(self.conversation.id, str(self.workspace.root / change.path), text)

    async def _unsaved(self, paths: Iterable[str]) -> dict[str, str]:
        """The text of those files that a buffer holds otherwise than the disk, with line feeds as line ends."""
        found: dict[str, str] = {}
        for path in paths if self.reads else ():
            whole = self.workspace.root / path
            with contextlib.suppress(Exception):  # a panel that cannot say has nothing unsaved that it would tell of
                said = await self.client.read_text_file(self.conversation.id, str(whole))
                text = _lines(said.content.encode())
                if text != _lines(await asyncio.to_thread(whole.read_bytes)):
                    found[path] = text
        return found

    # --- what the person said ------------------------------------------------------------------------------------

    def _read(self, blocks: Sequence[object]) -> tuple[str, tuple[str, ...]]:
        """The person's words, and the files of the workspace that they mention."""
        words: list[str] = []
        paths: dict[str, None] = {}
        for block in blocks:
            if isinstance(block, TextContentBlock):
                words.append(block.text)
                continue
            uri = block.uri if isinstance(block, ResourceContentBlock) else ""
            resource = block.resource if isinstance(block, EmbeddedResourceContentBlock) else None
            uri = resource.uri if resource is not None else uri
            path = self._path(uri)
            part = urlsplit(uri).fragment
            if path:
                paths[path] = None
                words.append(f"@{path}" + (f" ({part})" if part else ""))
            elif uri:
                words.append(uri)
            if isinstance(resource, TextResourceContents) and (not path or part):
                words.append(f"\n```\n{resource.text}\n```\n")
        return "".join(words), tuple(paths)

    def _path(self, uri: str) -> str:
        """Where in the workspace a file's address lies; empty where it is none of its files."""
        parts = urlsplit(uri)
        if parts.scheme != "file":
            return ""
        with contextlib.suppress(ValueError, OSError):
            path = Path(unquote(parts.path)).resolve()
            name = path.relative_to(self.workspace.root).as_posix()
            return name if path.is_file() else ""
        return ""


def _usage(used: Usage) -> PanelUsage:
    return PanelUsage(
        total_tokens=used.read + used.written,
        input_tokens=used.read,
        output_tokens=used.written,
        thought_tokens=used.thought,
        cached_read_tokens=used.cached,
    )


def _lines(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
