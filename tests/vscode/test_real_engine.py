"""The extension on the real engine: the tiny GLM-4.7 thinks, calls tools and edits, and VS Code shows and applies it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from engine.server import tool_call
from playwright.sync_api import expect
from test_refactor import BETTER, CART, NEW, OLD

from vscode.editor import until
from vscode.test_view import ask, chat, ended, turn

if TYPE_CHECKING:
    from engine.server import ForcedEngine

    from vscode.editor import VSCode

pytestmark = [pytest.mark.engine]


def test_a_code_action_becomes_an_edit_that_is_accepted_undone_and_told_to_the_model(
    vscode: VSCode, glm_engine: ForcedEngine
) -> None:
    vscode.use(glm_engine.url)
    vscode.has("cart.py", CART)
    glm_engine.say(
        "Quantities are left out.</think>"
        + tool_call("edit_file", file_path="cart.py", old_string=OLD, new_string=NEW),
        "So it is better.</think>The total counts quantities.",
        "They asked again.</think>It multiplies.",
    )
    window = vscode.open()
    window.active()
    window.edit("cart.py", 2, 5)
    window.act("GLM: Change total")
    window.answer("count quantities")
    window.holds(BETTER, "cart.py")
    accept = window.page.locator(".codelens-decoration a").filter(has_text="Accept").first
    accept.wait_for()
    accept.click()
    until("nothing is marked", lambda: not window.page.locator(".codelens-decoration a").count())
    window.keys("Control+s")
    until("it is saved", lambda: vscode.read("cart.py") == BETTER)
    assert "count quantities" in str(glm_engine.requests[0]["messages"][-1])
    assert "".join(glm_engine.requests[1]["messages"][-1]["role"]) == "tool"


def test_a_chat_thinks_asks_before_it_runs_a_command_and_keeps_its_thoughts(
    vscode: VSCode, glm_engine: ForcedEngine
) -> None:
    vscode.use(glm_engine.url)
    vscode.has("cart.py", CART)
    glm_engine.say(
        "Let me count the lines.</think>" + tool_call("run_command", command="wc -l cart.py"),
        "Two of them.</think>It has two lines.",
        "As I counted.</think>Still two.",
    )
    window = vscode.open()
    view = chat(window)
    ask(view, "How long is cart.py?")
    asked = turn(view).locator(".ask.open")
    expect(asked).to_contain_text("wc -l cart.py", timeout=60_000)
    assert len(glm_engine.requests) == 1, "nothing is run or told before the person has answered"
    asked.get_by_role("button", name="Once").click()
    ended(view)
    expect(turn(view).locator(".answer").last).to_have_text("It has two lines.")
    expect(turn(view).locator(".thought summary").first).to_have_text(re.compile(r"^Thought for"))
    assert "2 cart.py" in str(glm_engine.requests[1]["messages"][-1])
    ask(view, "Still?")
    expect(turn(view).locator(".answer").last).to_have_text("Still two.", timeout=60_000)
    # What was thought is read again, as it was: by its tokens where they are sent, else in the messages.
    third = str(glm_engine.requests[2])
    assert "Let me count the lines." in third
    assert "Two of them." in third


def test_stop_in_mid_stream_ends_the_turn_here_and_in_the_engine(vscode: VSCode, glm_engine: ForcedEngine) -> None:
    vscode.use(glm_engine.url)
    vscode.has("cart.py", CART)
    glm_engine.say("I think.</think>" + "One two three. " * 60, "Again.</think>Here I am.")
    glm_engine.hold()
    window = vscode.open()
    view = chat(window)
    ask(view, "Talk.")
    expect(turn(view).locator(".answer, .thought").first).to_be_visible(timeout=60_000)
    view.get_by_role("button", name="Stop").click()
    expect(turn(view).locator(".foot")).to_contain_text("Stopped", timeout=20_000)
    glm_engine.release()
    ask(view, "Are you there?")
    expect(turn(view).locator(".answer").last).to_have_text("Here I am.", timeout=60_000)
    assert window.barriers(view) == []
