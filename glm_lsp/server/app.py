"""The server with all its handlers: one short function a method.

Never decides anything itself: a handler turns a message into a call of the session, its turns or its desk.
Never imports what the answer to `initialize` can do without: that is there from the next message on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from glm_lsp import __version__
from glm_lsp.errors import GlmError, UsageError
from glm_lsp.server import documents, surface, transport, wire
from glm_lsp.server.transport import GlmServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from glm_lsp.actions import Offer
    from glm_lsp.server.commands import Commands
    from glm_lsp.server.desk import Desk
    from glm_lsp.server.editor import Editor
    from glm_lsp.server.session import Session
    from glm_lsp.server.turns import Turns

KINDS = (
    types.CodeActionKind.QuickFix,
    types.CodeActionKind.RefactorExtract,
    types.CodeActionKind.RefactorInline,
    types.CodeActionKind.RefactorRewrite,
    types.CodeActionKind.RefactorMove,
    types.CodeActionKind.Source,
)

ACTIONS = (
    "fix",
    "fix_all",
    "explain",
    "document",
    "generate_tests",
    "extract_function",
    "extract_variable",
    "inline",
    "rename",
    "move_to_file",
    "simplify",
    "add_types",
    "translate_comments",
    "convert",
    "review_file",
    "review_diff",
    "refactor",
    "chat",
)
"""The ids of `actions.ACTIONS`, which `initialize` tells without importing what they are."""

COMMANDS = (
    "glm.ask",
    "glm.run",
    "glm.fix",
    "glm.refactor",
    "glm.explain",
    "glm.document",
    "glm.review",
    "glm.reviewDiff",
    "glm.cancel",
    "glm.acceptProposal",
    "glm.rejectProposal",
    "glm.showProposal",
    "glm.dismissFinding",
    "glm.undo",
    "glm.newConversation",
    "glm.showTranscript",
    "glm.status",
)
"""The names of `commands.COMMANDS`, likewise."""

SCHEMES = ("glm-diff", "glm-transcript")
"""Of the documents that only the desk has."""


class Server(GlmServer):
    """One client's server; its parts are made when they are first wanted.

    Attributes:
        told: what the client said in `initializationOptions`.
        can: what it can do.
        client: what it calls itself.
        resolves: whether it was told that it can have the edit of an action before it takes it.
        token: what it must say as `token` in `initializationOptions`; empty where nothing is asked for.
        alone: whether nothing but this server is in the process, so that how it collects garbage is ours to say.
    """

    def __init__(self, overrides: dict[str, Any] | None = None, *, token: str = "", **options: Any) -> None:
        super().__init__("glm-lsp", __version__, messages=wire.TYPED, **options)
        self.told: dict[str, Any] = {}
        self.can = types.ClientCapabilities()
        self.client = ""
        self.resolves = False
        self.token = token
        self._overrides = overrides or {}
        self._background: set[asyncio.Task[None]] = set()
        self._live = False
        self.alone = False

    @functools.cached_property
    def editor(self) -> Editor:
        """The client, as a part of us that can be asked."""
        from glm_lsp.server.editor import Editor  # noqa: PLC0415 - after the answer to `initialize`

        editor = Editor(self)
        editor.met(self.can, self.client)
        return editor

    @functools.cached_property
    def session(self) -> Session:
        """What the client has open."""
        from glm_lsp.server.session import Session, flat  # noqa: PLC0415 - after the answer to `initialize`

        return Session(self.editor, self._overrides, flat(self.told))

    @functools.cached_property
    def desk(self) -> Desk:
        """What lies before the person."""
        from glm_lsp.server.desk import Desk  # noqa: PLC0415 - after the answer to `initialize`

        return Desk(self.session)

    @functools.cached_property
    def runner(self) -> Turns:
        """Runs its turns."""
        from glm_lsp.server.turns import Turns  # noqa: PLC0415 - after the answer to `initialize`

        return Turns(self.session, self.desk)

    @functools.cached_property
    def commands(self) -> Commands:
        """Carries out its commands."""
        from glm_lsp.server.commands import Commands  # noqa: PLC0415 - after the answer to `initialize`

        return Commands(self.session, self.runner, self.desk)

    def before(self, method: str) -> None:
        """Has everything ready that a message may want; `initialize` wants next to nothing."""
        if not self._live and method not in {types.INITIALIZE, types.SHUTDOWN}:
            from glm_lsp.server import lane, live  # noqa: PLC0415 - after the answer to `initialize`

            self._live = True
            live.register(self.commands)
            lane.register(self.session)
            surface.register(self.commands)
            if self.alone:
                gc.freeze()  # the protocol's classes alone would hold up everything for some 50 ms at each full pass
                gc.enable()

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def amend_capabilities(self, capabilities: types.ServerCapabilities) -> None:
        """Adds what pygls does not know of, and what only some clients are offered."""
        capabilities.experimental = {"glm": wire.server_capabilities(ACTIONS)}
        if capabilities.workspace is not None:
            capabilities.workspace.text_document_content = types.TextDocumentContentOptions(schemes=list(SCHEMES))
        options: dict[str, Any] = {}
        for section in ("editor", "index"):
            told = self.told.get(section)
            options |= {f"{section}.{name}": value for name, value in told.items()} if isinstance(told, dict) else {}
        self.resolves = surface.advertise(capabilities, self.can, self.client, options | self._overrides)


def create_server(
    overrides: dict[str, Any] | None = None,
    *,
    record: Callable[[str, float, bytes], None] | None = None,
    token: str = "",
) -> Server:
    """A server for one client.

    Args:
        overrides: options from the command line, by their dotted names; they win over the client's own.
        record: as in GlmServer.
        token: what the client has to know; empty asks for nothing.
    """
    server = Server(
        overrides,
        token=token,
        record=record,
        text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
        notebook_document_sync=types.NotebookDocumentSyncOptions(
            notebook_selector=[types.NotebookDocumentFilterWithNotebook(notebook="*")]
        ),
    )
    _lifecycle(server)
    _documents(server)
    _code_actions(server)
    for name in COMMANDS:
        server.command(name)(_command(server, name))
    return server


def stdio() -> int:
    """Serves the editor that started us, as `glm-lsp --stdio` does, and gives the code to exit with.

    Garbage is not looked for before `initialize` was answered: what is made until then stays.
    """
    gc.disable()
    transport.log_to_file(transport.log_path())
    server = create_server()
    server.alone = True
    return transport.serve_stdio(server)


def _command(server: Server, name: str) -> Callable[..., Awaitable[Any]]:
    async def handle(*arguments: Any) -> Any:
        return await server.commands.handler(name)(*arguments)

    return handle


# --- coming and going --------------------------------------------------------------------------------------------


def _lifecycle(server: Server) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.can = params.capabilities
        server.client = params.client_info.name if params.client_info is not None else ""
        told = params.initialization_options if isinstance(params.initialization_options, dict) else {}
        if server.token and not compare_digest(str(told.get("token", "")).encode(), server.token.encode()):
            raise UsageError(
                "This server asks for its token.", hint='Give it as {"token": "…"} in the initializationOptions.'
            )
        server.told = told

    @server.feature(types.INITIALIZED)
    async def initialized(_params: types.InitializedParams) -> None:
        if server.editor.registers_configuration:
            await _register(server, types.WORKSPACE_DID_CHANGE_CONFIGURATION, {"section": "glm"})
        if server.editor.watches:
            watched = {"watchers": [{"globPattern": "**/*"}]}
            await _register(server, types.WORKSPACE_DID_CHANGE_WATCHED_FILES, watched)
        with contextlib.suppress(GlmError):
            folder = await server.session.folder()
            for run in folder.workspace.recovered:
                server.editor.show(f"GLM took back a change that was killed while it was written: {run.label}")
            if folder.workspace.settings.editor.rename_imports and server.editor.asks_before_renaming:
                await _register(server, types.WORKSPACE_WILL_RENAME_FILES, surface.RENAMED_FILES)
            server.in_background(server.session.indexing.show(folder.root))
            await server.session.look_for_engine(folder.workspace.settings)
        server.desk.status_changed()

    @server.feature(types.SHUTDOWN)
    async def shutdown(_params: None) -> None:
        if "session" in vars(server):
            await server.session.close()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def configured(_params: types.DidChangeConfigurationParams) -> None:
        server.session.forget()

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(_params: types.DidChangeWorkspaceFoldersParams) -> None:
        server.session.forget()


async def _register(server: Server, method: str, options: object) -> None:
    registration = types.Registration(server.protocol.new_id("registration"), method, options)
    await server.editor.request(types.CLIENT_REGISTER_CAPABILITY, types.RegistrationParams([registration]))


# --- documents ---------------------------------------------------------------------------------------------------


def _documents(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        server.session.typed(params.text_document.uri)  # pygls keeps the text

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        server.session.typed(params.text_document.uri)
        if any(review.open for review in server.desk.reviews):
            server.desk.lenses_changed()

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        server.session.untyped(params.text_document.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: types.DidChangeWatchedFilesParams) -> None:
        from glm_lsp.server import convert  # noqa: PLC0415 - after the answer to `initialize`

        paths = (convert.uri_to_path(event.uri) for event in params.changes)
        server.session.changed(path for path in paths if path is not None)

    @server.feature(types.WORKSPACE_TEXT_DOCUMENT_CONTENT)
    def content(params: types.TextDocumentContentParams) -> types.TextDocumentContentResult:
        return types.TextDocumentContentResult(server.desk.content(params.uri))


# --- code actions ------------------------------------------------------------------------------------------------


def _code_actions(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=list(KINDS)))
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        from glm_lsp.actions import Place, find  # noqa: PLC0415 - after the answer to `initialize`
        from glm_lsp.server import convert  # noqa: PLC0415 - likewise

        uri = params.text_document.uri
        path = server.editor.path(uri)
        document = server.editor.opened(uri)
        if path is None or document is None:
            return []
        folder = server.session.known(path) or await server.session.folder(uri)
        name = folder.relative(path)
        if name is None or not folder.trusted:
            return []
        kinds = [str(getattr(kind, "value", kind)) for kind in params.context.only or ()] or None
        settings = folder.workspace.settings
        text, encoding = documents.text_of(document), server.editor.encoding
        problems = tuple(convert.problem(name, text, diagnostic, encoding) for diagnostic in params.context.diagnostics)
        place = Place(
            name,
            text,
            selection=convert.selection(name, text, params.range, encoding),
            offset=convert.offset_at(text, params.range.start, encoding),
            problems=problems,
            repository=folder.workspace.listing.git,
        )
        offered = folder.workspace.offers(place, kinds)
        down = server.session.engine_down
        if down:
            server.in_background(server.session.look_for_engine(settings))
        using, own = settings.editor, folder.workspace.own.actions
        waits = using.wait_seconds > 0 and server.resolves and server.editor.waits(using.waits)
        return [
            _code_action(server, params, offer, down, waits=waits and find(offer.action, own).edits)
            for offer in offered
            if not offer.needs_instruction or server.editor.asked is not None
        ] + _dismissals(server, params, kinds)

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions(resolve_provider=False))
    def code_lens(params: types.CodeLensParams) -> list[types.CodeLens]:
        lenses = []
        for place in server.desk.pending(params.text_document.uri):
            at = types.Position(max(0, place.line - 1), 0)
            commands = (("Accept", "glm.acceptProposal"), ("Reject", "glm.rejectProposal"))
            for title, command in commands[place.stale :]:
                argument = {"proposalId": place.id, "hunks": [place.id]}
                lenses.append(
                    types.CodeLens(types.Range(at, at), types.Command(f"GLM: {title}", command, arguments=[argument]))
                )
        return lenses


def _code_action(
    server: Server, params: types.CodeActionParams, offer: Offer, down: str, *, waits: bool
) -> types.CodeAction | types.Command:
    argument: dict[str, Any] = {
        "action": offer.action,
        "uri": params.text_document.uri,
        "range": _plain(params.range),
        "title": offer.title,
    }
    document = server.editor.opened(params.text_document.uri)
    if document is not None and document.version is not None:
        argument["version"] = document.version
    if offer.needs_instruction:
        argument["needsInstruction"] = True
    if params.context.diagnostics:
        argument["diagnostics"] = [_told(one) for one in params.context.diagnostics]
    command = types.Command(f"GLM: {offer.title}", "glm.run", arguments=[argument])
    if not server.editor.takes_actions:
        return command
    disabled = down if down and server.editor.shows_disabled else ""
    return types.CodeAction(
        title=f"GLM: {offer.title}",
        kind=offer.kind,
        is_preferred=offer.preferred or None,
        diagnostics=list(params.context.diagnostics) if offer.kind == "quickfix" else None,
        disabled=types.CodeActionDisabled(disabled) if disabled else None,
        command=None if disabled or waits else command,
        data=argument if waits and not disabled else None,
        tags=[types.CodeActionTag.LlmGenerated] if server.editor.tags_generated else None,
    )


def _dismissals(
    server: Server, params: types.CodeActionParams, kinds: list[str] | None
) -> list[types.CodeAction | types.Command]:
    """An action for each finding of ours here that a person may not want to see again."""
    from glm_lsp.server.convert import SOURCE  # noqa: PLC0415 - after the answer to `initialize`

    if kinds is not None and not any("quickfix".startswith(kind) for kind in kinds):
        return []
    uri = params.text_document.uri
    actions: list[types.CodeAction | types.Command] = []
    for one in params.context.diagnostics:
        if one.source != SOURCE or server.desk.findings.said(uri, one.message) is None:
            continue
        title = "GLM: Dismiss this finding"
        command = types.Command(title, "glm.dismissFinding", arguments=[{"uri": uri, "diagnostics": [_told(one)]}])
        actions.append(
            types.CodeAction(title, types.CodeActionKind.QuickFix, diagnostics=[one], command=command)
            if server.editor.takes_actions
            else command
        )
    return actions


def _told(diagnostic: types.Diagnostic) -> dict[str, Any]:
    return {
        "range": _plain(diagnostic.range),
        "message": diagnostic.message,
        "severity": diagnostic.severity,
        "source": diagnostic.source,
        "code": diagnostic.code,
    }


def _plain(extent: types.Range) -> dict[str, Any]:
    return {
        "start": {"line": extent.start.line, "character": extent.start.character},
        "end": {"line": extent.end.line, "character": extent.end.character},
    }
