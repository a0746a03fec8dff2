"""The documents that a client has open, kept line by line: a change costs what it changes, not what the file holds.

Never splits lines at anything but the three endings of the protocol, and never reads a file that is open.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self, cast

from lsprotocol import types
from pygls.workspace import TextDocument, Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.edits.text import Text
    from glm_lsp.server.convert import Encoding


class Document(TextDocument):
    """One open document.

    Changes are made on the event loop; everything else may be read from any thread, and is of one edition.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._edition = 0
        self._lines: list[str] | None = None  # with their endings; None until the first change inside the text
        self._joined: tuple[int, str] | None = None  # the edition that it is of, and its characters
        self._told: tuple[int, Text] | None = None

    @property
    def source(self) -> str:
        """The characters, as the client has them; those of the file where the client has not opened it."""
        if self._lines is None:
            return str(super().source)
        edition, joined = self._edition, self._joined
        if joined is None or joined[0] != edition:
            joined = self._joined = (edition, "".join(self._lines))
        return joined[1]

    @property
    def text(self) -> Text:
        """The same with its lines and their places, made once for each edition."""
        from glm_lsp.edits.text import Text  # noqa: PLC0415 - after the answer to `initialize`

        edition, told = self._edition, self._told
        if told is None or told[0] != edition:
            told = self._told = (edition, Text(self.source))
        return told[1]

    @property
    def lines(self) -> Sequence[str]:
        """The lines with their endings; nothing follows the last ending."""
        return tuple(_split(self.source) if self._lines is None else self._lines)

    def apply_change(self, change: types.TextDocumentContentChangeEvent) -> None:
        """Makes a change; a place behind the end of its line is that end, and one behind the last line the text's."""
        if isinstance(change, types.TextDocumentContentChangePartial):
            if self._lines is None:
                self._lines = _split(self.source)
                self._source = ""  # not kept twice
            start, end = sorted((self._place(change.range.start), self._place(change.range.end)))
            self._replace(start, end, change.text)
        else:
            self._source, self._lines = change.text, None
        self._edition += 1

    def _place(self, position: types.Position) -> tuple[int, int]:
        """The line and how many of its characters stand before a position; a text with no last ending ends in a line."""
        from glm_lsp.server.convert import column_at  # noqa: PLC0415 - after the answer to `initialize`

        lines = cast("list[str]", self._lines)
        if position.line < len(lines):
            encoding = cast("Encoding", getattr(self.position_codec.encoding, "value", self.position_codec.encoding))
            return position.line, column_at(lines[position.line].rstrip("\r\n"), position.character, encoding)
        if lines and not lines[-1].endswith(("\n", "\r")):
            return len(lines) - 1, len(lines[-1])
        return len(lines), 0

    def _replace(self, start: tuple[int, int], end: tuple[int, int], new: str) -> None:
        lines = cast("list[str]", self._lines)
        first, behind = start[0], end[0] + 1
        before = lines[first][: start[1]] if first < len(lines) else ""
        after = lines[end[0]][end[1] :] if end[0] < len(lines) else ""
        piece = before + new + after
        if first and piece.startswith("\n") and lines[first - 1].endswith("\r"):
            first -= 1  # the two are one ending from now on
            piece = lines[first] + piece
        lines[first:behind] = _split(piece)


def text_of(document: TextDocument) -> Text:
    """The characters of an open document with their lines, not made anew before it changes."""
    from glm_lsp.edits.text import Text  # noqa: PLC0415 - after the answer to `initialize`

    return document.text if isinstance(document, Document) else Text(document.source)


class Documents(Workspace):
    """The documents, notebooks and folders of a client, as pygls keeps them, with documents of ours."""

    @classmethod
    def instead_of(cls, workspace: Workspace) -> Self:
        """One for the same client, which has not opened anything yet."""
        folders = list(workspace.folders.values())
        incremental = types.TextDocumentSyncKind.Incremental
        return cls(workspace.root_uri, incremental, folders, workspace.position_encoding)

    def _create_text_document(
        self, doc_uri: str, source: str | None = None, version: int | None = None, language_id: str | None = None
    ) -> Document:
        return Document(
            doc_uri, source=source, version=version, language_id=language_id, position_codec=self.position_codec
        )


def _split(text: str) -> list[str]:
    r"""Lines with their endings `\n`, `\r\n` and `\r`; `str.splitlines` also splits at form feeds, U+2028 and more."""
    return io.StringIO(text, newline="").readlines()
