"""Actions by name, from the palette and the editor's menu, and where their answers appear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from vscode.editor import until

if TYPE_CHECKING:
    from vscode.editor import VSCode

SOURCE = "def add(a, b):\n    return a + b\n"


def test_an_explanation_appears_in_the_view_and_the_focus_stays_in_the_text(vscode: VSCode) -> None:
    vscode.engine({"text": "It **adds** two things."})
    vscode.has("a.py", SOURCE)
    window = vscode.open()
    until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
    window.edit("a.py", 2, 5)
    window.run("GLM: Explain")
    view = window.frame("strong")
    expect(view.locator("strong", has_text="adds")).to_be_visible()
    window.type("b = 2; ")
    window.holds("def add(a, b):\n    b = 2; return a + b\n", "a.py")


def test_refactor_asks_for_words_and_without_them_does_nothing(vscode: VSCode) -> None:
    vscode.engine({"text": "Nothing to change."})
    vscode.has("a.py", SOURCE)
    window = vscode.open()
    until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
    window.edit("a.py", 2, 5)
    window.keys("Control+Alt+r")
    box = window.page.locator(".quick-input-widget", has_text="What should change?")
    box.wait_for()
    window.keys("Escape")
    box.wait_for(state="hidden")
    window.keys("Control+Alt+r")
    window.answer("use add everywhere")
    window.command("glm-lsp.showHealth")
    page = window.frame("#page h1")
    turns = page.locator("section", has=page.locator("h2", has_text="Recent turns")).locator("tbody tr")
    expect(turns).to_have_count(1)  # what was given up was not asked
    expect(turns).to_contain_text("refactor: use add everywhere")


def test_without_an_open_file_it_says_what_to_do(vscode: VSCode) -> None:
    vscode.engine({"text": "Nothing."})
    window = vscode.open()
    window.active()
    window.command("glm-lsp.explain")
    window.notice("No file is open. Open the one that it is about.")
