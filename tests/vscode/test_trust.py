"""A workspace that is not trusted, in a real VS Code: nothing of it is told to the model, which has no tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect
from test_refactor import CART

from vscode.editor import until
from vscode.engines import engine_at, free_port
from vscode.test_view import ask, chat, turn

if TYPE_CHECKING:
    from vscode.editor import VSCode, Window


def trust(window: Window) -> None:
    window.run("Workspaces: Manage Workspace Trust")
    window.page.locator(".workspace-trust-editor .monaco-button").filter(has_text="Trust").first.click()
    until("trust", lambda: window.host("return vscode.workspace.isTrusted"))


def test_a_project_tells_the_model_nothing_and_has_no_menu_until_it_is_trusted(vscode: VSCode) -> None:
    port = free_port()
    vscode.use(f"http://127.0.0.1:{port}")
    vscode.settings |= {"security.workspace.trust.enabled": True, "security.workspace.trust.startupPrompt": "never"}
    vscode.has("AGENTS.md", "Always say please.\n")
    vscode.has("cart.py", CART)
    with engine_at(port, *["It sums."] * 12) as engine:
        asked = lambda words: next((str(one) for one in engine.requests if words in str(one)), "")  # noqa: E731
        window = vscode.open()
        window.active()
        window.edit("cart.py", 1, 5)
        assert window.actions() == []
        view = chat(window)
        ask(view, "What is a cart?")
        expect(turn(view).locator(".answer")).to_have_text("It sums.", timeout=60_000)
        first = asked("What is a cart?")
        assert "Always say please" not in first
        assert "read_file" not in first
        trust(window)
        window.edit("cart.py", 1, 5)
        assert until("the menu", window.actions)
        window.keys("Escape")
        view = chat(window)
        window.command("glm-lsp.chat.new")
        ask(view, "And what is a price?")
        expect(turn(view).locator(".answer")).to_have_text("It sums.", timeout=60_000)
        second = asked("And what is a price?")
        assert "Always say please" in second
        assert "read_file" in second
