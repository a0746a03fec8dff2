"""The editor at the other end: what it can do, what is open in it, and how it is asked for something.

Never decides what to ask: whoever runs a turn does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from glm_lsp.server import abilities, convert, wire
from glm_lsp.server.cells import Cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pygls.workspace import TextDocument

    from glm_lsp.server.convert import Encoding
    from glm_lsp.server.transport import GlmServer
    from glm_lsp.terms import FileChange


MOST_COALESCED_MS: Final = 1000
"""The longest that a client can have its deltas wait for each other."""

_ENCODINGS: Final[dict[str, Encoding]] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


@dataclass(slots=True)
class Editor:
    """One client, once it has said what it is.

    Attributes:
        server: the connection to it.
        name: what it calls itself; empty where it does not say.
        asked: what it opted in to; None where it did not.
        edits: what it can do with edits.
    """

    server: GlmServer
    name: str = ""
    asked: wire.GlmClientCapabilities | None = None
    edits: convert.EditAbilities = field(default_factory=convert.EditAbilities)
    _can: types.ClientCapabilities = field(default_factory=types.ClientCapabilities)
    _cells: Cells = field(default_factory=Cells)

    def met(self, capabilities: types.ClientCapabilities, name: str = "") -> None:
        """Takes note of what the client declares in `initialize`."""
        self._can = capabilities
        self.name = name
        self.asked = wire.opted_in(capabilities.experimental)
        self.edits = convert.EditAbilities.of(capabilities)
        if self.asked is not None:
            self.server.protocol.outbox.coalesce_ms = min(max(self.asked.coalesce_ms, 0), MOST_COALESCED_MS)

    # --- what it can do ------------------------------------------------------------------------------------------

    @property
    def encoding(self) -> Encoding:
        """Of positions, as agreed."""
        agreed = self.server.workspace.position_encoding
        return _ENCODINGS.get(str(getattr(agreed, "value", agreed)), "utf-16")

    @property
    def reviews(self) -> bool:
        """Whether it shows proposals itself, so that nothing is applied before it says so."""
        asked = self.asked
        return asked is not None and (
            asked.events is True or (asked.events is not False and "proposal" in asked.events)
        )

    def waits(self, further: Sequence[str] = ()) -> bool:
        """Whether it waits for the edit of a code action; `further` are names of editors that do."""
        return not self.reviews and abilities.waits(self._can, self.name, further)

    @property
    def pulls(self) -> bool:
        """Whether it asks for diagnostics, so that it is not sent any."""
        return abilities.pulls(self._can, self.name)

    @property
    def relates(self) -> bool:
        """Whether it takes diagnostics of other documents with those it asked for."""
        pulled = self._can.text_document.diagnostic if self._can.text_document else None
        return bool(pulled and pulled.related_document_support)

    @property
    def confirms(self) -> bool:
        """Whether it asks the person before it applies an edit that needs confirmation."""
        return self.edits.confirms and abilities.confirms(self._can, self.name)

    @property
    def asks_before_renaming(self) -> bool:
        """Whether it asks what else changes before it renames files, when it is told to."""
        can = self._can.workspace.file_operations if self._can.workspace else None
        return bool(can and can.will_rename and can.dynamic_registration)

    @property
    def configures(self) -> bool:
        """Whether it can be asked for settings."""
        return bool(self._can.workspace and self._can.workspace.configuration)

    @property
    def watches(self) -> bool:
        """Whether it watches files for us."""
        watching = self._can.workspace.did_change_watched_files if self._can.workspace else None
        return bool(watching and watching.dynamic_registration)

    @property
    def registers_configuration(self) -> bool:
        """Whether it tells of changed settings when it is asked to."""
        changing = self._can.workspace.did_change_configuration if self._can.workspace else None
        return bool(changing and changing.dynamic_registration)

    @property
    def takes_actions(self) -> bool:
        """Whether it takes code actions; an older editor takes their commands only."""
        action = self._can.text_document.code_action if self._can.text_document else None
        return bool(action and action.code_action_literal_support)

    @property
    def tags_generated(self) -> bool:
        """Whether it marks actions that a model carries out."""
        action = self._can.text_document.code_action if self._can.text_document else None
        tags = action.tag_support.value_set if action and action.tag_support else ()
        return types.CodeActionTag.LlmGenerated in tags

    @property
    def shows_disabled(self) -> bool:
        """Whether it shows actions that cannot be taken now, with the reason."""
        action = self._can.text_document.code_action if self._can.text_document else None
        return bool(action and action.disabled_support)

    @property
    def has_virtual_documents(self) -> bool:
        """Whether it opens documents that only we have."""
        return bool(self._can.workspace and self._can.workspace.text_document_content)

    @property
    def refreshes_lenses(self) -> bool:
        """Whether it asks for code lenses again when it is told to."""
        lens = self._can.workspace.code_lens if self._can.workspace else None
        return bool(lens and lens.refresh_support)

    # --- what is open in it --------------------------------------------------------------------------------------

    def path(self, uri: str) -> Path | None:
        """The file that an address names; that of a notebook's cell is named after the notebook, and None for others."""
        return convert.uri_to_path(uri) or self._cells.path(self.server.workspace, uri)

    def opened(self, uri: str) -> TextDocument | None:
        """An open document by its address, however that is escaped."""
        found: TextDocument | None = self.server.workspace.text_documents.get(unquote(uri))
        return found

    def document(self, path: Path) -> tuple[str, int | None] | None:
        """The text of a file that is open, saved or not, with its version; None for one that is not. Any thread."""
        for uri in (convert.path_to_uri(path), self._spelled.get(path, "")):
            found = self.opened(uri)
            if found is not None:
                return found.source, found.version
        return None

    @property
    def _spelled(self) -> dict[Path, str]:
        """Addresses as the editor spells them, by path: editors differ in what they escape."""
        uris = [document.uri for document in list(self.server.workspace.text_documents.values())]
        return {path: uri for uri in uris if (path := self.path(uri)) is not None}

    def uri(self, path: Path) -> str:
        """The address of a file, as the editor spells it where it is open."""
        return self._spelled.get(path) or convert.path_to_uri(path)

    # --- asking it for something ---------------------------------------------------------------------------------

    async def request(self, method: str, params: Any) -> Any:
        """Asks; None where the editor cannot, or answers with an error."""
        try:
            return await self.server.protocol.send_request_async(method, params)
        except JsonRpcException:
            return None

    def show(self, message: str, kind: types.MessageType = types.MessageType.Info) -> None:
        """Shows a sentence to the person."""
        self.server.protocol.notify(types.WINDOW_SHOW_MESSAGE, types.ShowMessageParams(kind, message))

    async def choose(self, message: str, options: Sequence[str]) -> str:
        """Asks the person to choose; empty where they would not, or where the editor cannot ask."""
        items = [types.MessageActionItem(option) for option in options]
        params = types.ShowMessageRequestParams(types.MessageType.Info, message, items)
        chosen = await self.request(types.WINDOW_SHOW_MESSAGE_REQUEST, params)
        return str(chosen.title) if chosen is not None else ""

    async def open(self, uri: str) -> bool:
        """Shows a document; says whether it did."""
        shows = self._can.window.show_document if self._can.window else None
        if not (shows and shows.support):
            return False
        answer = await self.request(types.WINDOW_SHOW_DOCUMENT, types.ShowDocumentParams(uri=uri, take_focus=False))
        return bool(answer and answer.success)

    async def apply(
        self, root: Path, changes: Sequence[FileChange], label: str, *, confirm: str = "", refactoring: bool = True
    ) -> bool:
        """Has the editor make changes, each of which it can; says whether it did.

        Args:
            root: what the paths are relative to.
            changes: `before` is what the editor has now.
            label: what it calls the undo step.
            confirm: what the person is asked to confirm, where the editor can ask.
            refactoring: whether the editor may treat it as one.
        """
        edit = self.edit(root, changes, confirm=confirm)
        params = convert.apply_params(edit, label, self.edits, refactoring=refactoring)
        answer = await self.request(types.WORKSPACE_APPLY_EDIT, params)
        return bool(answer and answer.applied)

    def edit(self, root: Path, changes: Sequence[FileChange], *, confirm: str = "") -> types.WorkspaceEdit:
        """Changes as this editor makes them; `root` and `confirm` as for `apply`."""
        versions = {c.path: found[1] for c in changes if (found := self.document(root / c.path)) is not None}
        return convert.workspace_edit(
            changes,
            self.edits,
            self.encoding,
            uri_of=lambda path: self.uri(root / path),
            versions=versions,
            confirm=confirm,
        )

    async def configuration(self, scope: str | None) -> dict[str, Any]:
        """The editor's settings of ours, for a folder; empty where it has none."""
        if not self.configures:
            return {}
        item = types.ConfigurationItem(scope_uri=scope, section="glm")
        asked = self.request(types.WORKSPACE_CONFIGURATION, types.ConfigurationParams([item]))
        try:
            answer = await asyncio.wait_for(asked, 5.0)
        except TimeoutError:
            return {}
        first = answer[0] if isinstance(answer, list | tuple) and answer else None
        return first if isinstance(first, dict) else {}
