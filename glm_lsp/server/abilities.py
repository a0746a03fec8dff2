"""What a client can be trusted with, where its declared capabilities alone do not say so.

Never imports anything heavy: the answer to `initialize` asks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lsprotocol import types

VS_CODE: Final = ("Visual Studio Code", "VSCodium", "Code - OSS", "Cursor", "Windsurf")
"""How VS Code and what is made of it begin to name themselves in `clientInfo`."""

WAITING: Final = (*VS_CODE, "Neovim", "Sublime Text LSP")
"""Editors that wait for `codeAction/resolve` without a limit, and can be used meanwhile."""


def waits(can: types.ClientCapabilities, name: str, further: Sequence[str] = ()) -> bool:
    """Whether `codeAction/resolve` may take as long as a turn.

    A client that declares that it resolves edits may still give up after some seconds (Helix after 20, lsp-mode after
    10), or stand still meanwhile (Eglot), so its name has to begin like one that is known, or one of `further`.
    """
    action = can.text_document.code_action if can.text_document else None
    if action is None or action.resolve_support is None or not action.code_action_literal_support:
        return False
    return (
        bool(action.data_support) and "edit" in action.resolve_support.properties and _named(name, (*WAITING, *further))
    )


def pulls(can: types.ClientCapabilities, name: str) -> bool:
    """Whether findings reach the person when the client asks for them, those in files that are not open among them.

    VS Code asks for the whole workspace; another client has to take what is said of other files than the one it asked
    about. One that can do neither would show less than it is sent otherwise.
    """
    pulled = can.text_document.diagnostic if can.text_document else None
    asked_again = can.workspace.diagnostics if can.workspace else None
    if pulled is None or asked_again is None or not asked_again.refresh_support:
        return False
    return bool(pulled.related_document_support) or _named(name, VS_CODE)


def confirms(can: types.ClientCapabilities, name: str) -> bool:
    """Whether the person is asked before an edit that needs confirmation is applied.

    Declaring annotations says only that they are understood: some apply such edits without a word.
    """
    edits = can.workspace.workspace_edit if can.workspace else None
    return bool(edits and edits.change_annotation_support is not None) and _named(name, VS_CODE)


def _named(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(one) for one in names if one)
