"""The status bar item and the health page: what they say, and what a person can do from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from vscode.editor import until
from vscode.engines import engine_at, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from vscode.editor import VSCode, Window


def item(window: Window) -> Locator:
    """What the status bar says of us."""
    return window.page.locator("#glm-lsp\\.glm-lsp\\.glm-lsp\\.status")


def says(window: Window, text: str) -> None:
    expect(item(window)).to_have_text(text, timeout=40_000)


def test_it_says_how_full_the_context_is_and_a_click_opens_the_health_page(vscode: VSCode) -> None:
    vscode.engine({"text": "Hello.", "usage": {"read": 40_000, "written": 500, "cached": 39_000}})
    vscode.has("a.py", "a = 1\n")
    window = vscode.open()
    says(window, "GLM-4.7 · ready")
    window.command("glm.ask", {"prompt": "Say hello.", "wait": True})
    says(window, "GLM-4.7 · ready · 20 %")
    assert "97 % of what the last turn read was reused" in (item(window).get_attribute("aria-label") or "")

    item(window).click()
    page = window.frame("#page h1")
    expect(page.locator("[role=status]")).to_have_text("GLM-4.7 · ready · 20 %")
    turn = page.locator("table tbody tr", has_text="Say hello.")
    expect(turn).to_contain_text("40,000")
    expect(page.locator("dl", has_text="Context")).to_contain_text("202,752 tokens")
    assert page.locator("svg[role=img] title").first.text_content(), "a chart says what it shows"
    assert not window.barriers(page)

    button = page.get_by_role("button", name="Check Everything")
    button.focus()
    window.page.keyboard.press("Enter")
    expect(page.locator("h2", has_text="All checks")).to_be_visible(timeout=60_000)
    expect(page.locator("tr", has_text="A script stands for the model")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "Check Everything", "the focus stays where it was"
    assert not window.barriers(page)


def test_an_engine_that_is_down_and_comes_back(vscode: VSCode) -> None:
    port = free_port()
    vscode.use(f"http://127.0.0.1:{port}")
    vscode.has("a.py", "a = 1\n")
    with engine_at(port):
        window = vscode.open()
        says(window, "GLM-4.7 · ready")
    window.command("glm-lsp.showHealth")
    page = window.frame("#page h1")
    says(window, "GLM-4.7 · engine down")
    expect(page.locator(".problem.error")).to_contain_text(str(port))
    assert page.locator(".problem button").all_inner_texts() == ["Choose Engine…"], "it is no engine of this host's own"
    with engine_at(port):
        says(window, "GLM-4.7 · ready")
        expect(page.locator(".problem")).to_have_count(0)


def test_a_server_that_dies_again_and_again_is_given_up_and_can_be_started_by_hand(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."})
    vscode.has("a.py", "a = 1\n")
    good = vscode.settings["glm.server.path"]
    bad = vscode.tmp / "dying"
    # It says its version, so that it is started, and ends at once, as one does whose environment broke.
    bad.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo glm-lsp, version 0.1.0; exit; }\nexit 3\n')
    bad.chmod(0o755)
    vscode.settings["glm.server.path"] = str(bad)
    window = vscode.open()
    until("a restart", lambda: "restarting" in item(window).inner_text())
    says(window, "GLM · stopped")
    item(window).click()
    page = window.frame("#page h1")
    expect(page.locator(".problem button")).to_have_text(["Restart Server", "Show Log"])
    bad.unlink()
    bad.symlink_to(good)
    page.get_by_role("button", name="Restart Server").first.click()
    says(window, "GLM-4.7 · ready")


def test_it_speaks_chinese_where_the_editor_does(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."})
    vscode.has("a.py", "a = 1\n")
    vscode.speak("zh-cn")
    window = vscode.open()
    says(window, "GLM-4.7 · 就绪")
    window.run("显示健康状况")
    page = window.frame("#page h1")
    expect(page.get_by_role("button", name="全面检查")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-cn"


def test_a_server_that_died_knows_again_what_was_typed(vscode: VSCode) -> None:
    script = {"when": "forty_two", "text": "Seen."}
    vscode.engine(script, repeat=True)
    vscode.has("a.py", "a = 1\n")
    window = vscode.open()
    says(window, "GLM-4.7 · ready")
    window.edit("a.py", 1)
    window.type("forty_two = 42\n")
    first = vscode.servers()[0].pid
    vscode.servers()[0].kill()
    until("another server", lambda: [each for each in vscode.servers() if each.pid != first])
    says(window, "GLM-4.7 · ready")
    asked = {"action": "explain", "uri": f"file://{vscode.root}/a.py", "wait": True}
    assert window.command("glm.run", asked)["text"] == "Seen.", "the text that was not saved is in the prompt"
    assert "forty_two" not in vscode.read("a.py")
