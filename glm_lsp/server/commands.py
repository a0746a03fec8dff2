"""The commands of `workspace/executeCommand`: plain JSON in and out, the same in every editor.

Never makes a client wait for the model unless it asks to.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import msgspec
from lsprotocol import types

from glm_lsp import __version__, actions
from glm_lsp.errors import Conflict, UsageError
from glm_lsp.server import convert, wire
from glm_lsp.server.desk import TRANSCRIPTS
from glm_lsp.server.engine_status import EngineSeen, lines
from glm_lsp.server.transcript import Transcript
from glm_lsp.terms import Ask, Thinking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from glm_lsp.server.desk import Desk
    from glm_lsp.server.folder import Folder
    from glm_lsp.server.session import Session
    from glm_lsp.server.turns import Turns
    from glm_lsp.server.under_way import Running


class Known(msgspec.Struct, rename="camel", kw_only=True):
    """Something that the client knows to be wrong, as in its diagnostics."""

    range: wire.Range
    message: str
    severity: int = 1
    source: str | None = None
    code: int | str | None = None


class Where(msgspec.Struct, rename="camel", kw_only=True):
    """What a command is about; every field may be left out.

    Attributes:
        action: the id of an action, for `glm.run`.
        prompt: the person's words.
        instruction: the same, for actions.
        uri: a document, or a folder.
        range: what is selected in it.
        version: the document's version that the client speaks of.
        conversation_id: which conversation to continue.
        thinking: whether the model thinks.
        wait: whether the answer is wanted instead of the turn's id.
        turn_id: a turn, for `glm.cancel`.
        proposal_id: a proposal; the latest one without it.
        hunks: ids of its hunks; all without them.
        run_id: what to take back.
        diagnostics: what the client knows to be wrong there.
        title: what the work is called.
        mentions: further documents.
    """

    action: str = ""
    prompt: str = ""
    instruction: str = ""
    uri: str = ""
    range: wire.Range | None = None
    version: int | None = None
    conversation_id: str = ""
    thinking: Thinking = "auto"
    wait: bool = False
    turn_id: str = ""
    proposal_id: str = ""
    hunks: tuple[str, ...] = ()
    run_id: str | None = None
    diagnostics: tuple[Known, ...] = ()
    title: str = ""
    mentions: tuple[str, ...] = ()
    needs_instruction: bool = False


@dataclass(slots=True)
class Commands:
    """Carries out commands for one session."""

    session: Session
    turns: Turns
    desk: Desk
    engine_seen: EngineSeen = field(default_factory=EngineSeen)

    def handler(self, name: str) -> Callable[..., Awaitable[Any]]:
        """What pygls calls for a command."""
        work = COMMANDS[name]

        async def handle(*arguments: Any) -> Any:
            where = self.where(name, arguments[0] if arguments and isinstance(arguments[0], dict) else {})
            if arguments and isinstance(arguments[0], str):
                where.prompt = where.instruction = arguments[0]
            return await work(self, where)

        return handle

    def where(self, name: str, given: dict[str, Any]) -> Where:
        """The arguments of a command; raises UsageError for what is not as it should be."""
        try:
            return msgspec.convert(given, Where)
        except msgspec.ValidationError as error:
            raise UsageError(f"{name}: {error}.", hint="Its arguments are described in docs/protocol.md.") from None

    # --- asking --------------------------------------------------------------------------------------------------

    async def run(self, where: Where) -> dict[str, Any]:
        """Runs an action at a place."""
        folder = await self.session.folder(where.uri or None)
        ask, title = await self.ask_of(folder, where)
        action = actions.find(ask.action, folder.workspace.own.actions)
        if action.edits or where.wait or self.session.editor.reviews:
            running = self.turns.begin(ask, folder, title=where.title or title)
            return await self._begun(running, wait=where.wait)
        for path in ask.paths:
            self.desk.findings.clear(self.session.editor.uri(folder.root / path))
        # Nothing will change in the editor, so what the model says has to be put before the person.
        transcript = Transcript(self.desk, f"{action.id}-{token_hex(4)}")
        running = self.turns.begin(ask, folder, title=where.title or title, listener=transcript.heard)
        await transcript.open()
        return await self._begun(running, wait=False)

    async def ask(self, where: Where) -> dict[str, Any]:
        """Asks in a conversation; the answer is written to a transcript that is shown."""
        folder = await self.session.folder(where.uri or None)
        conversation = await asyncio.to_thread(folder.conversation, where.conversation_id)
        ask, _ = await self.ask_of(folder, replace_action(where, "chat"))
        transcript = Transcript(self.desk, conversation.id)
        running = self.turns.begin(
            ask, folder, title="Ask", conversation=conversation, chosen=False, listener=transcript.heard
        )
        if not where.wait:
            await transcript.open()
        return await self._begun(running, wait=where.wait)

    async def ask_of(self, folder: Folder, where: Where) -> tuple[Ask, str]:
        """The Ask that a command means, and what to call it.

        Raises:
            UsageError: no such action, or no words where it needs some.
            Conflict: the document has another version by now.
        """
        action = actions.find(where.action or "refactor", folder.workspace.own.actions)
        words = where.prompt or where.instruction
        if action.needs_instruction and not words.strip():
            raise UsageError(f"{action.id} needs an instruction.", hint='Give it as {"instruction": "…"}.')
        ask = Ask(action.id, words, (), where.thinking)
        title = action.title
        path = self.session.editor.path(where.uri) if where.uri else None
        there = path is not None and (self.desk.live(path) is not None or path.is_file())
        name = folder.relative(path) if path is not None and there else None
        if name is not None and path is not None:
            found = self.session.editor.document(path)
            text, version = found if found is not None else (await asyncio.to_thread(_read, path), None)
            if where.version is not None and version is not None and where.version != version:
                raise Conflict(f"{name} was edited since.", hint="Choose the action again.")
            place = self._place(folder, name, text, where)
            ask = dataclasses.replace(actions.ask_at(action, place), instruction=words, thinking=where.thinking)
            title = f"{title} ({name})"
        paths = list(ask.paths)
        for uri in where.mentions:
            mentioned = self.session.editor.path(uri)
            if mentioned is not None and (other := folder.relative(mentioned)) is not None and other not in paths:
                paths.append(other)
        return dataclasses.replace(ask, paths=tuple(paths)), title

    def _place(self, folder: Folder, name: str, text: str, where: Where) -> actions.Place:
        encoding = self.session.editor.encoding
        extent = where.range
        return actions.Place(
            name,
            text,
            selection=convert.selection(name, text, extent, encoding) if extent is not None else None,
            offset=convert.offset_at(text, extent.start, encoding) if extent is not None else None,
            problems=tuple(convert.problem(name, text, _diagnostic(one), encoding) for one in where.diagnostics),
            repository=folder.workspace.listing.git,
        )

    async def _begun(self, running: Running, *, wait: bool) -> dict[str, Any]:
        if not wait:
            return {"turnId": running.id, "conversationId": running.conversation, "accepted": True}
        if running.task is not None:
            try:
                await asyncio.shield(running.task)
            except asyncio.CancelledError:
                running.cancel()
                raise
        return msgspec.to_builtins(self.result(running))  # type: ignore[no-any-return]  # an object is a dict

    def result(self, running: Running) -> wire.TurnResult:
        """How a turn ended, for whoever waited for it."""
        ended = running.ended
        usage = ended.usage if ended is not None else None
        fault = None
        if ended is not None and ended.error:
            fault = wire.Fault(code=ended.code, message=ended.error, hint=ended.hint)
        return wire.TurnResult(
            turn_id=running.id,
            conversation_id=running.conversation,
            stop_reason=ended.reason if ended is not None else "cancelled",
            text="".join(running.text),
            usage=wire.Usage(
                input_tokens=usage.read if usage else 0,
                output_tokens=usage.written if usage else 0,
                cached_tokens=usage.cached if usage else None,
                thinking_tokens=usage.thought if usage else None,
            ),
            error=fault,
            proposal_id=running.proposal or None,
        )

    # --- turns and proposals -------------------------------------------------------------------------------------

    async def cancel(self, where: Where) -> dict[str, Any]:
        """Ends a turn, or all of them."""
        ended = [r for r in self.session.turns.values() if not where.turn_id or r.id == where.turn_id]
        for running in ended:
            running.cancel()
        return {"cancelled": [running.id for running in ended]}

    async def accept(self, where: Where) -> dict[str, Any]:
        """Takes over a proposal, or some of its hunks."""
        review = self.desk.review(where.proposal_id)
        done = await self.desk.resolve(review, accepted=where.hunks, accept=None if where.hunks else True)
        return {"applied": bool(done.changes), "stale": list(done.stale)}

    async def reject(self, where: Where) -> dict[str, Any]:
        """Leaves a proposal, or some of its hunks."""
        review = self.desk.review(where.proposal_id)
        await self.desk.resolve(review, rejected=where.hunks, accept=None if where.hunks else False, apply=False)
        return {"applied": False, "stale": []}

    async def show(self, where: Where) -> dict[str, Any]:
        """Shows a proposal as a diff."""
        review = self.desk.review(where.proposal_id)
        return {"uri": await self.desk.show(review)}

    async def dismiss(self, where: Where) -> dict[str, Any]:
        """Takes back findings of a review, and has later reviews pass over them."""
        folder = await self.session.folder(where.uri or None)
        for known in where.diagnostics:
            self.desk.dismiss(folder, where.uri, known.message, known.range)
        return {"dismissed": len(where.diagnostics)}

    async def undo(self, where: Where) -> dict[str, Any]:
        """Takes back what was written to the disk; what the editor applied, its own undo takes back."""
        folder = await self.session.folder(where.uri or None)
        run = await asyncio.to_thread(folder.workspace.undo, where.run_id)
        return {"runId": run.id, "label": run.label, "paths": list(run.paths), "left": list(run.left)}

    # --- conversations and status --------------------------------------------------------------------------------

    async def new_conversation(self, where: Where) -> dict[str, Any]:
        """Begins a conversation, which plain questions continue from now on."""
        folder = await self.session.folder(where.uri or None)
        fresh = await asyncio.to_thread(folder.shelf.create, "")
        folder.current = fresh.id
        return {"conversationId": fresh.id}

    async def transcript(self, where: Where) -> dict[str, Any]:
        """Shows a conversation as Markdown."""
        folder = await self.session.folder(where.uri or None)
        conversation = await asyncio.to_thread(folder.conversation, where.conversation_id)
        text = await asyncio.to_thread(folder.shelf.export, conversation.id)
        return {"uri": await self.desk.document(TRANSCRIPTS, conversation.id, "md", text)}

    async def status(self, where: Where) -> dict[str, Any]:
        """How the server is, also as a page that is shown."""
        told = await self.status_of(where.uri or None)
        page = [f"# glm-lsp {__version__}", "", f"Health: {told.health}. {told.message}".rstrip(), ""]
        page += [
            f"- Engine: {told.engine.model or 'not known yet'}, {told.engine.state}, {told.engine.url or 'this host'}"
        ]
        page += lines(await self.engine_status(where.uri or None))
        page += [f"- Preserved thinking: {told.exactness}", f"- Turns under way: {told.turns}"]
        page += [f"- Folder: {uri}" for uri in told.workspace_folders]
        for one in told.indexes:
            page.append(f"- Index: {one.state}, {one.parsed:,} of {one.files:,} files, {one.symbols:,} symbols")
            page += [f"  - {note}" for note in one.notes]
        page += [f"- {name}: {version}" for name, version in told.versions.items()]
        await self.desk.document(TRANSCRIPTS, "status", "md", "\n".join(page) + "\n")
        return msgspec.to_builtins(told)  # type: ignore[no-any-return]  # an object is a dict

    async def status_of(self, uri: str | None) -> wire.StatusResult:
        """How the server is, after a look at the engine."""
        url = ""
        try:
            folder = await self.session.folder(uri)
            using = folder.workspace.settings.engine
            url = using.url or ", ".join(using.replicas)
            await self.session.look_for_engine(folder.workspace.settings)
        except UsageError:
            pass
        engine = self.session.known_engine
        short = self.desk.status()
        from importlib.metadata import version  # noqa: PLC0415 - only who asks for the status pays for it

        return wire.StatusResult(
            health=short.health,
            quiescent=short.quiescent,
            message=short.message,
            turns=short.turns,
            engine=wire.EngineStatus(
                model=engine.model if engine else "",
                state="ready" if engine else "down" if short.message else "unknown",
                url=url or None,
                context_tokens=engine.profile.context_length if engine else None,
                banner=engine.profile.banner if engine else "",
            ),
            exactness=getattr(engine, "exactness", "none"),
            workspace_folders=tuple(convert.path_to_uri(root) for root in self.session.roots),
            indexes=await asyncio.to_thread(self._indexes),
            versions={"glm-lsp": __version__, "pygls": version("pygls"), "lsprotocol": version("lsprotocol")},
        )

    async def engine_status(self, uri: str | None) -> wire.EngineStatusResult:
        """What the engine does, by its own count."""
        folder = await self.session.folder(uri)
        return await self.engine_seen.status(folder.workspace.settings.engine)

    def _indexes(self) -> tuple[wire.IndexStatus, ...]:
        told = []
        for kept in self.session.indexing.all:
            status = kept.index.status
            told.append(
                wire.IndexStatus(
                    workspace_folder=convert.path_to_uri(kept.index.root),
                    state="ready" if status.state == "stopped" else status.state,
                    files=status.files,
                    parsed=status.tier1,
                    symbols=status.symbols,
                    notes=kept.notes,
                )
            )
        return tuple(told)


def replace_action(where: Where, action: str) -> Where:
    """The same place with another action."""
    return msgspec.structs.replace(where, action=action)


def _diagnostic(known: Known) -> types.Diagnostic:
    start, end = (types.Position(at.line, at.character) for at in (known.range.start, known.range.end))
    severity = types.DiagnosticSeverity(known.severity) if known.severity in range(1, 5) else None
    return types.Diagnostic(types.Range(start, end), known.message, severity, known.code, source=known.source)


def _read(path: Any) -> str:
    return str(path.read_text(encoding="utf-8", errors="replace"))


def _action(name: str) -> Callable[[Commands, Where], Awaitable[dict[str, Any]]]:
    async def run(commands: Commands, where: Where) -> dict[str, Any]:
        return await commands.run(replace_action(where, name))

    return run


COMMANDS: Final[dict[str, Callable[[Commands, Where], Awaitable[dict[str, Any]]]]] = {
    "glm.ask": Commands.ask,
    "glm.run": Commands.run,
    "glm.fix": _action("fix"),
    "glm.refactor": _action("refactor"),
    "glm.explain": _action("explain"),
    "glm.document": _action("document"),
    "glm.review": _action("review_file"),
    "glm.reviewDiff": _action("review_diff"),
    "glm.cancel": Commands.cancel,
    "glm.acceptProposal": Commands.accept,
    "glm.rejectProposal": Commands.reject,
    "glm.showProposal": Commands.show,
    "glm.dismissFinding": Commands.dismiss,
    "glm.undo": Commands.undo,
    "glm.newConversation": Commands.new_conversation,
    "glm.showTranscript": Commands.transcript,
    "glm.status": Commands.status,
}
"""Every command, in the order of the documentation."""
