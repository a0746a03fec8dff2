"""The live protocol's requests and notifications, answered: `glm/*`, for clients that opted in.

Never answers anything that `wire` does not define.
"""

from __future__ import annotations

import asyncio
import bisect
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp import prompt
from glm_lsp.conversations import Conversation
from glm_lsp.edits.text import Text
from glm_lsp.errors import CannotDo, GlmError, UsageError
from glm_lsp.server import convert, wire
from glm_lsp.server.commands import Where
from glm_lsp.server.desk import diff
from glm_lsp.server.turn_events import file_kind, objection, usage
from glm_lsp.terms import Compacted
from glm_lsp.turn.recall import own_words, title_of

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.edits.review import Piece, Resolution, Review
    from glm_lsp.server.commands import Commands
    from glm_lsp.server.desk import Desk
    from glm_lsp.server.folder import Folder
    from glm_lsp.server.session import Session
    from glm_lsp.server.transport import GlmServer
    from glm_lsp.terms import Excerpt

ENDING_SECONDS = 2.0
"""How long a cancelled turn is waited for."""

_STATES: dict[str, wire.HunkState] = {
    "proposed": "pending",
    "accepted": "accepted",
    "rejected": "rejected",
    "stale": "stale",
    "applied": "applied",
}


def register(commands: Commands) -> None:
    """Registers the handlers of `glm/*` on a server."""
    server, session, desk = commands.session.editor.server, commands.session, commands.desk
    _turns(server, commands)
    _conversations(server, session)
    _proposals(server, desk)
    _rest(server, commands)


def _turns(server: GlmServer, commands: Commands) -> None:
    session, desk, turns = commands.session, commands.desk, commands.turns

    async def asked(params: wire.TurnParams) -> tuple[Folder, Any, str]:
        uri = params.text_document.uri if params.text_document else ""
        folder = await session.folder(params.workspace_folder or uri or None)
        where = Where(
            action=params.action,
            instruction=params.instruction,
            uri=uri,
            range=params.range,
            version=params.text_document.version if params.text_document else None,
            thinking=params.thinking,
            mentions=params.mentions,
        )
        return folder, *await commands.ask_of(folder, where)

    @server.feature("glm/turn")
    async def turn(params: wire.TurnParams) -> wire.TurnResult:
        folder, ask, title = await asked(params)
        kept = params.action == "chat" or params.conversation_id is not None
        conversation: Conversation | None = None
        if kept:
            open_it = folder.shelf.open if params.conversation_id else folder.shelf.create
            conversation = await asyncio.to_thread(open_it, params.conversation_id or "")
        running = turns.begin(
            ask, folder, title=title, conversation=conversation, token=params.work_done_token, chosen=False
        )
        if running.task is not None:
            try:
                await asyncio.shield(running.task)
            except asyncio.CancelledError:
                running.cancel()
                await asyncio.wait({running.task}, timeout=ENDING_SECONDS)  # its last event comes before the answer
                raise
        return commands.result(running)

    @server.feature("glm/turn/tell")
    def tell(params: wire.TellParams) -> wire.TellResult:
        running = session.turns.get(params.turn_id)
        if running is None or running.turn is None:
            return wire.TellResult(accepted=False)
        running.turn.tell(params.text)
        return wire.TellResult(accepted=True)

    @server.feature("glm/turn/cancel")
    def cancel(params: wire.TurnRef) -> None:
        running = session.turns.get(params.turn_id)
        if running is not None:
            running.cancel()

    @server.feature("glm/context/preview")
    async def preview(params: wire.TurnParams) -> wire.PreviewResult:
        folder, ask, _ = await asked(params)
        engine = await session.engine(folder.workspace.settings)
        conversation = (
            await asyncio.to_thread(folder.shelf.open, params.conversation_id)
            if params.conversation_id
            else Conversation()
        )
        copy = Conversation(conversation.tools, list(conversation.messages), seen=dict(conversation.seen))
        draft = folder.workspace.draft(overlay=lambda name: desk.live(folder.root / name))
        turn = folder.workspace.turn(ask, engine, draft=draft, conversation=copy, trusted=folder.trusted)
        await asyncio.to_thread(turn.open)
        request = prompt.compose(copy, engine.profile, preset="default", thinking=False)
        return wire.PreviewResult(
            files=tuple(_previewed(session, folder.root, piece) for piece in turn.shown),
            characters=sum(len(message.text) + len(message.thinking) for message in request.messages),
            tokens_at_most=prompt.tokens(copy),
            tools=tuple(tool.name for tool in copy.tools),
            instructions_from=tuple(
                session.editor.uri(folder.root / path)
                for path in copy.seen
                if path.rpartition("/")[2] in folder.workspace.settings.prompt.instruction_files
            ),
        )


def _previewed(session: Session, root: Path, piece: Excerpt) -> wire.PreviewFile:
    last = piece.numbers[-1] if piece.numbers else piece.first_line + piece.text.count("\n")
    return wire.PreviewFile(
        uri=session.editor.uri(root / piece.path),
        first_line=piece.first_line - 1,
        last_line=last - 1,
        reason=piece.reason,
        characters=len(piece.text),
    )


def _conversations(server: GlmServer, session: Session) -> None:
    async def holding(word: str) -> tuple[Folder, Conversation]:
        """The folder that has the conversation, and it."""
        await session.folder()
        for folder in session.folders:
            found = await asyncio.to_thread(folder.shelf.find, word)
            if found is not None:
                return folder, found
        raise UsageError(f"There is no conversation {word!r}.", hint="glm/conversation/list tells them.")

    @server.feature("glm/conversation/list")
    async def listed(params: wire.ConversationsParams) -> wire.ConversationsResult:
        first = await session.folder(params.workspace_folder)
        folders = [first] if params.workspace_folder else session.folders
        entries = [
            wire.ConversationEntry(
                id=entry.id,
                name=entry.name,
                first=entry.first,
                updated=entry.updated.isoformat(),
                turns=entry.turns,
                messages=entry.messages,
                workspace_folder=convert.path_to_uri(folder.root),
            )
            for folder in folders
            for entry in await asyncio.to_thread(folder.shelf.list)
        ]
        return wire.ConversationsResult(conversations=tuple(sorted(entries, key=lambda e: e.updated, reverse=True)))

    @server.feature("glm/conversation/get")
    async def get(params: wire.ConversationRef) -> wire.ConversationResult:
        _, found = await holding(params.conversation_id)
        openings = found.openings
        messages = tuple(
            wire.Message(
                role=message.role,
                text=message.text,
                thinking=message.thinking,
                tool_calls=tuple(
                    wire.ToolCall(id=call.id, name=call.name, arguments=call.arguments, title=title_of(call))
                    for call in message.tool_calls
                ),
                call_id=message.call_id,
                turn=bisect.bisect_right(openings, number) - 1,
                words=own_words(message),
            )
            for number, message in enumerate(found.messages)
        )
        return wire.ConversationResult(conversation_id=found.id, name=found.name, messages=messages)

    @server.feature("glm/conversation/new")
    async def new(params: wire.NewParams) -> wire.ConversationRef:
        folder = await session.folder(params.workspace_folder)
        fresh = await asyncio.to_thread(folder.shelf.create, params.name)
        return wire.ConversationRef(conversation_id=fresh.id)

    @server.feature("glm/conversation/fork")
    async def fork(params: wire.ForkParams) -> wire.ConversationRef:
        folder, found = await holding(params.conversation_id)
        at = None
        if params.at is not None:
            openings = found.openings
            at = openings[params.at] if 0 <= params.at < len(openings) else None
        copy = await asyncio.to_thread(folder.shelf.fork, found.id, at)
        return wire.ConversationRef(conversation_id=copy.id)

    @server.feature("glm/conversation/rename")
    async def rename(params: wire.RenameParams) -> wire.Empty:
        folder, found = await holding(params.conversation_id)
        await asyncio.to_thread(folder.shelf.rename, found.id, params.name)
        return wire.Empty()

    @server.feature("glm/conversation/delete")
    async def delete(params: wire.ConversationRef) -> wire.Empty:
        folder, found = await holding(params.conversation_id)
        await asyncio.to_thread(folder.shelf.delete, found.id)
        return wire.Empty()

    @server.feature("glm/conversation/compact")
    async def compact(params: wire.CompactParams) -> wire.CompactResult:
        folder, found = await holding(params.conversation_id)
        engine = await session.engine(folder.workspace.settings)
        made: Compacted | None = None
        with folder.shelf.claim(found, catch_up=True):
            async for event in folder.workspace.compact(found, engine, instruction=params.instruction):
                if isinstance(event.what, Compacted):
                    made = event.what
        if made is None:
            raise CannotDo("There is nothing to make shorter in this conversation.")
        return wire.CompactResult(
            before=made.before, after=made.after, files=made.files, summary=made.summary, usage=usage(made.usage)
        )


def _proposals(server: GlmServer, desk: Desk) -> None:
    @server.feature("glm/proposal/get")
    def get(params: wire.ProposalRef) -> wire.ProposalResult:
        review = desk.review(params.proposal_id)
        return _told(desk, review)

    @server.feature("glm/proposal/resolve")
    async def resolve(params: wire.ResolveParams) -> wire.ResolveResult:
        review = desk.review(params.proposal_id)
        running = desk.turn_of(review)
        done = await desk.resolve(
            review,
            accepted=[one.hunk_id for one in params.decisions if one.accept],
            rejected=[one.hunk_id for one in params.decisions if not one.accept],
            accept=params.accept,
            apply=params.apply,
        )
        edit = None
        if not params.apply and done.changes:
            edit = _edit(desk, running.folder, done)
        applied = params.apply and bool(done.changes)
        return wire.ResolveResult(applied=applied, state=_state(review), stale=done.stale, edit=edit)


def _edit(desk: Desk, folder: Folder, done: Resolution) -> dict[str, Any]:
    editor = desk.session.editor
    versions = {c.path: found[1] for c in done.changes if (found := editor.document(folder.root / c.path))}
    edit = convert.workspace_edit(
        done.changes,
        editor.edits,
        editor.encoding,
        uri_of=lambda path: editor.uri(folder.root / path),
        versions=versions,
    )
    return dict(msgspec.json.decode(editor.server.protocol.encoded({"result": edit}))["result"])


def _told(desk: Desk, review: Review) -> wire.ProposalResult:
    running = desk.turn_of(review)
    root = running.folder.root
    shown = desk.shown(running.folder)
    lines = {place.id: place for place in review.pending(shown)}

    def uri_of(path: str) -> str:
        return desk.session.editor.uri(root / path)

    def hunk(piece: Piece) -> wire.ProposalHunk:
        place = lines.get(piece.id)
        first = (place.line if place is not None else piece.hunk.old_line) - 1
        state = "stale" if place is not None and place.stale else _STATES[piece.state]
        text = Text(shown(piece.hunk.path) or "")
        ending = next((end for end in text.terminators() if end), "\n")  # the document's: it says what stands there
        ends = (first, first + len(piece.hunk.removed))
        start, end = (text.offset_of(min(max(line, 0), text.line_count) + 1) for line in ends)
        old = text.content[start:end] if state == "pending" else "".join(line + ending for line in piece.hunk.removed)
        new = "".join(line + ending for line in piece.hunk.added)
        if old and not old.endswith(("\n", "\r")):
            new = new.removesuffix(ending)
        return wire.ProposalHunk(
            hunk_id=piece.id,
            range=wire.Range(start=_position(desk, text, start), end=_position(desk, text, end)),
            old_text=old,
            new_text=new,
            state=state,
        )

    return wire.ProposalResult(
        proposal_id=review.id,
        turn_id=running.id,
        summary=review.proposal.summary,
        state=_state(review),
        files=tuple(
            wire.ProposalFile(
                uri=uri_of(change.path),
                kind=file_kind(change),
                hunks=tuple(hunk(piece) for piece in review.pieces if piece.hunk.path == change.path),
            )
            for change in review.proposal.changes
        ),
        unified_diff=diff(review),
        objections=tuple(objection(one, uri_of) for one in review.proposal.objections),
        unchecked=tuple(uri_of(path) for path in review.proposal.unchecked),
    )


def _position(desk: Desk, text: Text, offset: int) -> wire.Position:
    at = convert.position_at(text, offset, desk.session.editor.encoding)
    return wire.Position(line=at.line, character=at.character)


def _state(review: Review) -> wire.ProposalState:
    states = {piece.state for piece in review.pieces}
    if states == {"applied"}:
        return "applied"
    if states == {"rejected"}:
        return "rejected"
    if "applied" in states:
        return "partial"
    return "stale" if states == {"stale"} else "pending"


def _rest(server: GlmServer, commands: Commands) -> None:
    session, desk = commands.session, commands.desk

    @server.feature("glm/undo")
    async def undo(params: wire.UndoParams) -> wire.UndoResult:
        folder = await session.folder(params.workspace_folder)
        run = await asyncio.to_thread(folder.workspace.undo, params.run_id)
        left = set(run.left)
        return wire.UndoResult(
            run_id=run.id,
            label=run.label,
            restored=tuple(session.editor.uri(folder.root / path) for path in run.paths if path not in left),
            left=tuple(session.editor.uri(folder.root / path) for path in run.left),
        )

    @server.feature("glm/status")
    async def status(_params: wire.Empty | None) -> wire.StatusResult:
        return await commands.status_of(None)

    @server.feature("glm/engineStatus")
    async def engine_status(_params: wire.Empty | None) -> wire.EngineStatusResult:
        return await commands.engine_status(None)

    @server.feature("glm/feedback")
    def feedback(params: wire.FeedbackParams) -> None:
        desk.judge(params)

    @server.feature("glm/didFocus")
    def focus(params: wire.FocusParams) -> None:
        desk.focus = params.text_document.uri if params.text_document else ""

    @server.feature("glm/workspace/didChangeTrust")
    async def trust(params: wire.TrustParams) -> None:
        path = convert.uri_to_path(params.uri)
        if path is None:
            raise GlmError(f"{params.uri[:200]} is not a folder.")
        await session.trusts(path, trusted=params.trusted)
