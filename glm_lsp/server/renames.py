"""The edit that goes with a renamed file: the import statements that name it, where they are certain.

Never asks the model, and never keeps the editor waiting: past its time it answers with nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from glm_lsp.edits.moved import PYTHON, SCRIPTS, updated
from glm_lsp.edits.text import Text, decode
from glm_lsp.errors import GlmError
from glm_lsp.server import convert
from glm_lsp.terms import FileChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lsprotocol import types

    from glm_lsp.server.folder import Folder
    from glm_lsp.server.session import Session

SECONDS: Final = 1.0
"""How long the editor may be kept from renaming."""

MOST_BYTES: Final = 1_000_000
"""Files larger than this are left as they are."""


async def edit_for(session: Session, files: Sequence[types.FileRename]) -> types.WorkspaceEdit | None:
    """What to change before these files are renamed; None where that is nothing, or could not be found in time."""
    first = convert.uri_to_path(files[0].old_uri) if files else None
    folder = session.known(first) if first is not None else None
    if folder is None or not folder.trusted or not folder.workspace.settings.editor.rename_imports:
        return None
    moved: dict[str, str] = {}
    for file in files:
        ends = [convert.uri_to_path(uri) for uri in (file.old_uri, file.new_uri)]
        names = [folder.relative(path) if path is not None else None for path in ends]
        if names[0] is not None and names[1] is not None:
            moved[names[0]] = names[1]
    if not moved:
        return None
    deadline = time.monotonic() + SECONDS
    changes = await asyncio.to_thread(_changes, session, folder, moved, deadline)
    return session.editor.edit(folder.root, changes) if changes else None


def _changes(session: Session, folder: Folder, moved: Mapping[str, str], deadline: float) -> list[FileChange]:
    known = frozenset(folder.workspace.listing.paths) | set(moved)
    stems = {PurePosixPath(old).stem.removesuffix(".d") for old in moved}
    stems |= {PurePosixPath(old).parent.name for old in moved if PurePosixPath(old).stem == "index"}
    found: list[FileChange] = []
    for path, before, text in _texts(session, folder, sorted(known)):
        if time.monotonic() > deadline:
            return []
        if path not in moved and not any(stem in text.content for stem in stems):
            continue
        new = updated(path, text.content, moved, known)
        if new != text.content:
            change = FileChange(path, before, text.encode(new))
            opened = session.editor.document(folder.root / path) is not None
            if not convert.beyond(change, session.editor.edits, opened=opened):
                found.append(change)
    return found


def _texts(session: Session, folder: Folder, paths: Sequence[str]) -> Iterator[tuple[str, bytes, Text]]:
    for path in paths:
        if not path.endswith((*PYTHON, *SCRIPTS)):
            continue
        opened = session.editor.document(folder.root / path)
        with contextlib.suppress(OSError, GlmError):
            if opened is not None:
                text = Text(opened[0])
                yield path, text.encode(), text
            elif (folder.root / path).stat().st_size <= MOST_BYTES:
                data = (folder.root / path).read_bytes()
                yield path, data, decode(data, path)
