"""What reviews found, told as diagnostics: sent to a client, or kept until it asks, never both.

Never finds anything, and never forgets what was found because a file was closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from glm_lsp.server import convert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.server.editor import Editor
    from glm_lsp.terms import Finding

HELD_SECONDS: Final = 60.0
"""How long a client that asks for the whole workspace is kept waiting where there is nothing new."""


@dataclass(slots=True)
class Findings:
    """The findings of one session.

    Attributes:
        editor: who is told.
        of: what was found, by the address of the file.
    """

    editor: Editor
    of: dict[str, list[Finding]] = field(default_factory=dict)
    _stamps: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, uri: str, finding: Finding) -> None:
        """Takes a finding, beside what was found there before, and tells it."""
        self.of.setdefault(uri, []).append(finding)
        self._tell(uri)

    def clear(self, uri: str) -> None:
        """Takes back what was found in a file."""
        if self.of.pop(uri, None):
            self._tell(uri)

    def said(self, uri: str, message: str) -> Finding | None:
        """The finding in a file that a diagnostic with this message tells."""
        return next((one for one in self.of.get(uri, ()) if convert.finding_text(one) == message), None)

    def drop(self, uri: str, finding: Finding) -> None:
        """Takes back one finding."""
        self.of[uri].remove(finding)
        self._tell(uri)

    def text(self, uri: str) -> str:
        """What a file with findings says, in the editor or else on the disk; "" where it cannot be read."""
        path = self.editor.path(uri)
        opened = self.editor.document(path) if path is not None else None
        if opened is not None:
            return opened[0]
        with contextlib.suppress(OSError):
            return path.read_text(encoding="utf-8", errors="replace") if path is not None else ""
        return ""

    def diagnostics(self, uri: str) -> list[types.Diagnostic]:
        """The findings in a file as diagnostics."""
        text = self.text(uri)
        return [convert.diagnostic(finding, text, self.editor.encoding) for finding in self.of.get(uri, ())]

    def _tell(self, uri: str) -> None:
        self._stamps[uri] = next(self._numbers)
        news, self._news = self._news, asyncio.Event()
        news.set()
        protocol = self.editor.server.protocol
        if self.editor.pulls:
            protocol.send_request(types.WORKSPACE_DIAGNOSTIC_REFRESH)
        else:
            params = types.PublishDiagnosticsParams(uri, self.diagnostics(uri))
            protocol.notify(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, params)

    # --- for clients that ask ------------------------------------------------------------------------------------

    def report(self, params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        """Answers `textDocument/diagnostic`; where the client takes them, with the findings in all other files."""
        uri = self._known_as(params.text_document.uri)
        others = {other: self._full(other) for other in self._stamps if other != uri} if self.editor.relates else {}
        stamp = self._stamp(uri)
        if params.previous_result_id == stamp:
            return types.RelatedUnchangedDocumentDiagnosticReport(stamp, related_documents=others or None)
        return types.RelatedFullDocumentDiagnosticReport(
            self.diagnostics(uri), related_documents=others or None, result_id=stamp
        )

    async def workspace(self, params: types.WorkspaceDiagnosticParams) -> types.WorkspaceDiagnosticReport:
        """Answers `workspace/diagnostic` once there is something that the client does not have."""
        had = {self._known_as(one.uri): one.value for one in params.previous_result_ids}
        deadline = asyncio.get_running_loop().time() + HELD_SECONDS
        while not (fresh := [uri for uri in self._stamps if had.get(uri) != self._stamp(uri)]):
            news = self._news
            try:
                async with asyncio.timeout_at(deadline):
                    await news.wait()
            except TimeoutError:
                break
        return types.WorkspaceDiagnosticReport(
            [
                types.WorkspaceFullDocumentDiagnosticReport(
                    uri=uri, items=self.diagnostics(uri), version=self._version(uri), result_id=self._stamp(uri)
                )
                for uri in fresh
            ]
        )

    def _full(self, uri: str) -> types.FullDocumentDiagnosticReport:
        return types.FullDocumentDiagnosticReport(self.diagnostics(uri), result_id=self._stamp(uri))

    def _stamp(self, uri: str) -> str:
        return str(self._stamps.get(uri, 0))

    def _version(self, uri: str) -> int | None:
        document = self.editor.opened(uri)
        return document.version if document is not None else None

    def _known_as(self, uri: str) -> str:
        """The address under which we keep a file that the client spells in another way."""
        path = self.editor.path(uri)
        if uri in self._stamps or path is None:
            return uri
        return next((other for other in self._stamps if self.editor.path(other) == path), uri)
