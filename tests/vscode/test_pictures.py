"""What the extension looks like: the pictures of the README, taken from a VS Code at work.

`make screenshots-vscode` writes them to docs/images; otherwise they are only taken, and everything in them is waited for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from neovim.plugged import MONEY, decimals
from playwright.sync_api import expect
from test_refactor import edit

from vscode.editor import until
from vscode.test_view import ask, chat, ended

if TYPE_CHECKING:
    from vscode.editor import VSCode, Window

pytestmark = [pytest.mark.copies("gated")]

MOST_BYTES = 200_000
TAX = """from decimal import Decimal

RATE = 0.2


def with_tax(price):
    return round(price * (1 + RATE), 2)
"""
PRICES = [
    edit("tax.py", "RATE = 0.2", 'RATE = Decimal("0.2")'),
    edit(
        "tax.py", "    return round(price * (1 + RATE), 2)", '    return (price * (1 + RATE)).quantize(Decimal("0.01"))'
    ),
]
PROPOSALS = "[id='workbench.view.extension.glm'] .monaco-list-row"
THOUGHT = "Prices are floats, so cents get lost when they are added up. The quantity is not looked at either."
ANSWER = (
    "Prices are `Decimal` now, and a total counts quantities:\n\n"
    "- `Item.price` is a `Decimal`, and an empty cart costs `Decimal(0)`;\n"
    "- tax is rounded to cents once, at the end."
)


def picture(window: Window, name: str) -> None:
    """Takes it, where it belongs if that is asked for."""
    window.page.mouse.move(640, 2)
    folder = Path(os.environ.get("GLM_LSP_PICTURES") or window.vscode.tmp)
    path = folder / f"vscode-{name}.png"
    window.picture(path)
    assert path.stat().st_size < MOST_BYTES


def shop(vscode: VSCode, *replies: dict[str, object]) -> Window:
    vscode.settings |= {"workbench.colorTheme": "Default Dark Modern", "editor.fontSize": 14}
    vscode.engine(*replies)
    vscode.has("cart.py", MONEY)
    vscode.has("tax.py", TAX)
    window = vscode.open()
    window.page.set_viewport_size({"width": 1280, "height": 860})
    window.active()
    until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
    return window


def read(path: str) -> dict[str, object]:
    return {"name": "read_file", "arguments": {"file_path": path}}


def test_the_view_beside_the_code(vscode: VSCode) -> None:
    window = shop(
        vscode,
        {"thinking": THOUGHT, "calls": [read("cart.py"), read("tax.py")]},
        {"calls": [*decimals(), *PRICES]},
        {"text": ANSWER, "usage": {"read": 31_880, "written": 612, "cached": 31_240, "thought": 0}},
    )
    window.edit("cart.py", 11, 5)
    view = chat(window)
    ask(view, "In #cart.py and #tax.py, use Decimal for money")
    ended(view)
    expect(view.get_by_role("group", name="Proposal")).to_contain_text("cart.py")
    until("the list of proposals", lambda: window.page.locator(PROPOSALS).filter(has_text="tax.py").count())
    assert window.barriers(view) == []
    view.locator(".turn").last.scroll_into_view_if_needed()
    picture(window, "view")


def test_a_change_in_the_text(vscode: VSCode) -> None:
    window = shop(vscode, {"thinking": THOUGHT, "calls": [decimals()[2]]}, {"text": "It counts quantities."})
    window.edit("cart.py", 10, 5)
    window.act("GLM: Change total")
    window.answer("count quantities")
    expect(window.page.locator(".codelens-decoration a").filter(has_text="Accept").first).to_be_visible(timeout=40_000)
    until("the turn has ended", lambda: "working" not in window.standing())
    picture(window, "hunk")


def test_several_files_to_review(vscode: VSCode) -> None:
    window = shop(
        vscode,
        {"thinking": THOUGHT, "calls": [read("cart.py"), read("tax.py")]},
        {"calls": [*decimals(), *PRICES]},
        {"text": ANSWER},
    )
    window.edit("cart.py", 10, 5)
    window.command("glm.refactor", {"instruction": "use Decimal for money", "uri": (vscode.root / "cart.py").as_uri()})
    rows = window.page.locator(PROPOSALS)
    until("the list of proposals", lambda: rows.filter(has_text="tax.py").count(), seconds=60)
    window.frame(".composer textarea")
    expect(window.page.locator(".monaco-diff-editor, .multiDiffEntry").first).to_be_visible(timeout=40_000)
    picture(window, "review")
