"""The GLM view in a real VS Code: a conversation, its turns, and everything that waits for a person.

Never looks into the page by more than what a person or a screen reader is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect
from test_refactor import CART

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Locator

    from vscode.editor import VSCode, Window

TAX = "def tax(price):\n    return round(price * 0.2, 2)\n"


def chat(window: Window) -> Frame:
    """The view, opened with its command."""
    window.active()
    window.command("glm-lsp.chat.open")
    return window.frame(".composer textarea", seconds=60)


def ask(view: Frame, words: str) -> None:
    field = view.locator("textarea")
    field.fill(words)
    field.press("Enter")


def turn(view: Frame, number: int = -1) -> Locator:
    turns = view.locator(".turn")
    return turns.last if number < 0 else turns.nth(number)


def ended(view: Frame, number: int = -1) -> Locator:
    """Waits until a turn has ended; its last line."""
    foot = turn(view, number).locator(".foot")
    expect(foot).to_contain_text(re.compile(r"^(Done|Stopped|Nothing|Ended|Failed)"), timeout=40_000)
    return foot


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def test_an_answer_streams_with_its_thought_its_calls_and_its_end(vscode: VSCode) -> None:
    vscode.engine(
        {"thinking": "Prices are floats here.\nSo look first.", "calls": [call("read_file", file_path="cart.py")]},
        {
            "text": "# Prices\n\n- They are **floats**.\n- See `Item`.\n\n```python\ndef total(items):\n    return 0\n```\n\nThat is all.",
            "usage": {"read": 2000, "written": 40, "cached": 1900, "thought": 0},
        },
        chop=3,
        delay=0.005,
    )
    vscode.has("cart.py", CART)
    window = vscode.open()
    view = chat(window)
    ask(view, "What are prices?")
    expect(turn(view).get_by_role("heading", name="What are prices?")).to_be_visible()
    assert "reused" in ended(view).inner_text()
    assert [one.inner_text() for one in view.locator(".answer li").all()] == ["They are floats.", "See Item."]
    assert view.locator(".answer .code code").inner_text() == "def total(items):\n    return 0\n"
    expect(view.locator(".thought summary")).to_have_text(re.compile(r"^Thought for [\d.]+ s"))
    thought = view.locator(".thought-text")
    expect(thought).to_be_hidden()
    view.locator(".thought summary").click()
    expect(thought).to_have_text("Prices are floats here.\nSo look first.")
    line = view.locator(".call summary")
    expect(line).to_contain_text("Read cart.py")
    line.click()
    expect(view.locator(".call-body")).to_contain_text("1|def total(items):")
    expect(view.locator(".meter-text")).to_have_text("2,000 read, 95 % reused")
    assert window.barriers(view) == []
