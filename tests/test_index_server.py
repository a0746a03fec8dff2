"""Stories of the index behind the language server: it is there, follows the editor and the disk, and shows what it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lsp.editor import FakeEditor, listening
from stories import project
from test_editor_stories import CART, DONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SYMBOLS: dict[str, Any] = {"settings": {"index": {"symbols": True}}}


@pytest.fixture(autouse=True, scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with listening(tmp_path_factory.mktemp("home")) as port:
        FakeEditor.shared = port
        yield
        FakeEditor.shared = None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py=CART, shop_py="import cart\n\n\ndef sell():\n    return cart.total([])\n")


async def named(editor: FakeEditor, name: str) -> list[str]:
    found = await editor.ask("workspace/symbol", {"query": name})
    return [one["location"]["uri"].rsplit("/", 1)[1] for one in found or () if one["name"] == name]


async def until_named(editor: FakeEditor, name: str, *files: str) -> None:
    async with asyncio.timeout(30):
        while sorted(await named(editor, name)) != sorted(files):
            await asyncio.sleep(0.02)


async def indexed(editor: FakeEditor) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            status = await editor.ask("glm/status", {})
            (index,) = status["indexes"] or ({"state": ""},)
            if index["state"] == "ready":
                return index
            await asyncio.sleep(0.02)


async def test_the_status_says_what_is_known(root: Path) -> None:
    async with FakeEditor(root, [DONE]) as editor:
        await editor.open("cart.py")
        index = await indexed(editor)
        assert index["files"] == index["parsed"] == 2
        assert index["symbols"] > 1
        assert "notes" not in index
        shown = await editor.run("glm.status", {})
        assert shown["indexes"]
        editor.read("window/showDocument")


async def test_symbols_are_offered_only_where_somebody_asked_for_them(root: Path) -> None:
    async with FakeEditor(root, [DONE]) as editor:
        assert "workspaceSymbolProvider" not in editor.server
        assert "documentSymbolProvider" not in editor.server
        await editor.open("cart.py")
        await indexed(editor)
        assert await editor.ask("workspace/symbol", {"query": "total"}) == []
        assert await editor.ask("textDocument/documentSymbol", {"textDocument": {"uri": editor.uri("cart.py")}}) == []


async def test_symbols_of_a_document_are_nested_and_stand_where_it_says(root: Path) -> None:
    (root / "odd.py").write_text('class 𝒳:\n    s = "𝒳𝒳"; d = lambda: 0\n\n    def add(self): return 1\n')
    async with FakeEditor(root, [DONE], **SYMBOLS) as editor:
        assert editor.server["documentSymbolProvider"] is True
        await editor.open("odd.py")
        await indexed(editor)
        (top,) = await editor.ask("textDocument/documentSymbol", {"textDocument": {"uri": editor.uri("odd.py")}})
        assert top["name"] == "𝒳"
        (inner,) = top["children"]
        assert inner["name"] == "add"
        assert inner["selectionRange"]["start"] == {"line": 3, "character": 8}
        assert top["range"]["end"] == {"line": 3, "character": 27}


async def test_what_is_typed_counts_before_it_is_saved_and_not_once_it_is_closed(root: Path) -> None:
    async with FakeEditor(root, [DONE], **SYMBOLS) as editor:
        await editor.open("cart.py")
        await until_named(editor, "sell", "shop.py")
        await editor.type("cart.py", 0, 0, "def typed():\n    pass\n\n\n")
        await until_named(editor, "typed", "cart.py")
        await editor.close("cart.py")
        await until_named(editor, "typed")


@pytest.mark.parametrize("profile", ["neovim", "vscode", "kate"])
async def test_files_that_are_made_beside_the_editor_are_found(root: Path, profile: str) -> None:
    """Some editors watch files for us, for others we do."""
    async with FakeEditor(root, [DONE], profile=profile, **SYMBOLS) as editor:
        await editor.open("cart.py")
        await until_named(editor, "sell", "shop.py")
        (root / "new.py").write_text("def fresh():\n    pass\n")
        watching = editor.capabilities["workspace"].get("didChangeWatchedFiles") or {}
        if watching.get("dynamicRegistration"):
            changes = [{"uri": editor.uri("new.py"), "type": 1}]
            editor.tell("workspace/didChangeWatchedFiles", {"changes": changes})
        await until_named(editor, "fresh", "new.py")


async def test_it_can_be_turned_off(root: Path) -> None:
    settings = {"index": {"enabled": False}}
    async with FakeEditor(root, [DONE], settings=settings) as editor:
        await editor.open("cart.py")
        status = await editor.ask("glm/status", {})
        assert not status.get("indexes")
        assert "GLM: Document" in " ".join(await editor.actions())


async def test_a_home_folder_is_not_read_through_for_one_file_in_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root))
    FakeEditor.shared, shared = None, FakeEditor.shared
    try:
        async with FakeEditor(root, [DONE]) as editor:
            await editor.open("cart.py")
            status = await editor.ask("glm/status", {})
            assert not status.get("indexes")
    finally:
        FakeEditor.shared = shared


async def test_what_was_closed_while_the_workspace_was_not_known_is_let_go(root: Path) -> None:
    """Changed settings have every workspace opened anew when it is next wanted; the index is the same one all along."""
    async with FakeEditor(root, [DONE], **SYMBOLS) as editor:
        await editor.open("cart.py")
        await editor.type("cart.py", 0, 0, "def typed():\n    pass\n\n\n")
        await until_named(editor, "typed", "cart.py")
        editor.tell("workspace/didChangeConfiguration", {"settings": None})
        await editor.close("cart.py")
        await editor.open("shop.py")
        await editor.actions()
        await until_named(editor, "typed")
        await until_named(editor, "total", "cart.py")
