"""The standard methods that only some clients can use: waiting for an edit, asking for diagnostics, renaming files.

Never offers any of them to a client that would lose by it, and never imports anything heavy before it is used.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from lsprotocol import types

from glm_lsp.server import abilities

if TYPE_CHECKING:
    from glm_lsp.server.commands import Commands

RENAMED_FILES: Final = types.FileOperationRegistrationOptions(
    [
        types.FileOperationFilter(
            types.FileOperationPattern(
                "**/*.{py,pyi,js,jsx,mjs,cjs,ts,tsx,mts,cts}", types.FileOperationPatternKind.File
            ),
            scheme="file",
        )
    ]
)
"""Which renames of files we want to be asked about."""


def advertise(
    server: types.ServerCapabilities, client: types.ClientCapabilities, name: str, options: dict[str, Any]
) -> bool:
    """Adds to what `initialize` answers, and says whether `codeAction/resolve` was offered.

    Args:
        server: what is answered.
        client: what the client declares.
        name: what it calls itself.
        options: those of `initialize` and of the command line, by their dotted names; they are all there is by now.
    """
    further = options.get("editor.waits")
    further = [one for one in further if isinstance(one, str)] if isinstance(further, list | tuple) else []
    offered = server.code_action_provider
    resolves = isinstance(offered, types.CodeActionOptions) and abilities.waits(client, name, further)
    if isinstance(offered, types.CodeActionOptions):
        offered.resolve_provider = resolves or None
    if abilities.pulls(client, name):
        server.diagnostic_provider = types.DiagnosticOptions(
            inter_file_dependencies=False, workspace_diagnostics=True, identifier="glm"
        )
    can = client.workspace.file_operations if client.workspace else None
    wanted = options.get("editor.rename_imports") and can is not None and can.will_rename
    if options.get("index.symbols"):
        server.document_symbol_provider = server.workspace_symbol_provider = True
    # A client that can be told later is told once the settings of its folder are known.
    if wanted and can is not None and not can.dynamic_registration and server.workspace is not None:
        server.workspace.file_operations = types.FileOperationOptions(will_rename=RENAMED_FILES)
    return resolves


def register(commands: Commands) -> None:
    """Registers the handlers on the server of these commands."""
    session, desk = commands.session, commands.desk
    server = session.editor.server

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        if isinstance(action.data, dict) and action.edit is None and action.command is None:
            action.edit = await _edit_of(commands, action.data)
        return action

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC)
    def diagnostic(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        return desk.findings.report(params)

    @server.feature(types.WORKSPACE_DIAGNOSTIC)
    async def workspace_diagnostic(params: types.WorkspaceDiagnosticParams) -> types.WorkspaceDiagnosticReport:
        return await desk.findings.workspace(params)

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def document_symbol(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        from glm_lsp.server import symbols  # noqa: PLC0415 - only who asks for symbols pays for it

        return await symbols.of_document(session, params.text_document.uri)

    @server.feature(types.WORKSPACE_SYMBOL)
    async def workspace_symbol(params: types.WorkspaceSymbolParams) -> list[types.WorkspaceSymbol]:
        from glm_lsp.server import symbols  # noqa: PLC0415 - likewise

        return await symbols.of_workspace(session, params.query)

    @server.feature(types.WORKSPACE_WILL_RENAME_FILES)
    async def will_rename(params: types.RenameFilesParams) -> types.WorkspaceEdit | None:
        from glm_lsp.server import renames  # noqa: PLC0415 - only who renames files pays for it

        return await renames.edit_for(session, params.files)


async def _edit_of(commands: Commands, data: dict[str, Any]) -> types.WorkspaceEdit | None:
    """Runs the action that was chosen, and gives its edit; None where that comes later, or nothing comes of it.

    Later means: in the background, as for any other client. The person sees its progress bar all the time.
    """
    where = commands.where("codeAction/resolve", data)
    folder = await commands.session.folder(where.uri or None)
    ask, title = await commands.ask_of(folder, where)
    loop = asyncio.get_running_loop()
    wanted: asyncio.Future[types.WorkspaceEdit] = loop.create_future()

    def hand(edit: types.WorkspaceEdit) -> bool:
        if wanted.done():
            return False
        wanted.set_result(edit)
        return True

    running = commands.turns.begin(ask, folder, title=where.title or title, hand=hand)
    ends: set[asyncio.Future[Any]] = {wanted} if running.task is None else {wanted, running.task}
    try:
        seconds = folder.workspace.settings.editor.wait_seconds
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        running.cancel()
        raise
    return wanted.result() if not wanted.cancel() else None
