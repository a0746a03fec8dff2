"""Others at work at the same time: the person who types while the model writes, another window, the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from test_refactor import BETTER, CART, edit

from vscode.editor import until
from vscode.test_view import ask, chat, ended, turn

if TYPE_CHECKING:
    from vscode.editor import VSCode

SLOW = {"chop": 4, "delay": 0.05}


def test_what_is_typed_while_the_model_writes_stays_and_the_edit_finds_its_place(vscode: VSCode) -> None:
    vscode.engine(
        {"thinking": "Quantities are left out here. " * 8, "calls": [edit("cart.py")]}, {"text": "Done."}, **SLOW
    )
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    window.edit("cart.py", 2, 5)
    window.act("GLM: Simplify")
    until("a turn runs", lambda: "working" in window.standing())
    window.edit("cart.py", 1, 1)
    window.type("# typed meanwhile")
    window.keys("Enter")
    window.holds("# typed meanwhile\n" + BETTER, "cart.py")
    accept = window.page.locator(".codelens-decoration a").filter(has_text="Accept").first
    accept.wait_for(timeout=40_000)
    accept.click()
    window.holds("# typed meanwhile\n" + BETTER, "cart.py")


def test_two_windows_and_the_command_line_share_a_conversation(vscode: VSCode) -> None:
    vscode.engine(
        {"when": "And how long", "text": "Two lines."}, {"when": "What is this", "text": "It is a cart."}, repeat=True
    )
    vscode.has("cart.py", CART)
    one, two = vscode.open(), vscode.open()
    here = chat(one)
    ask(here, "What is this?")
    ended(here)
    there = chat(two)
    two.command("glm-lsp.chat.sessions")
    session = there.locator(".all .session-open").filter(has_text="What is this?").first
    expect(session).to_be_visible(timeout=60_000)
    session.click()
    expect(there.locator(".turn .answer")).to_have_text("It is a cart.")
    ask(there, "And how long?")
    expect(turn(there).locator(".answer")).to_have_text("Two lines.", timeout=60_000)
    # The first window and the command line have it too.
    expect(here.locator(".turn")).to_have_count(2, timeout=60_000)
    expect(turn(here).locator(".answer")).to_have_text("Two lines.")
    command = [str(Path(sys.executable).with_name("glm-lsp")), "sessions", "list"]
    listed = subprocess.run(
        command, cwd=vscode.root, env=vscode.environment, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"What is this\?", listed), listed
