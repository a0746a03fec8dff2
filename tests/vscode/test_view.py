"""The GLM view in a real VS Code: a conversation, its turns, and everything that waits for a person.

Never looks into the page by more than what a person or a screen reader is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from test_refactor import BETTER, CART, edit

from vscode.editor import until

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Locator

    from vscode.editor import VSCode, Window

expect.set_options(timeout=20_000)  # machines are shared; what is there at once costs no time

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


SLOW = "One after another the words come. " * 400


def test_a_proposal_is_taken_over_by_files_and_undone(vscode: VSCode) -> None:
    taxed = edit("tax.py", "    return round(price * 0.2, 2)", "    return price * 0.2")
    vscode.engine({"calls": [edit("cart.py"), taxed]}, {"text": "Both count now."})
    vscode.has("cart.py", CART)
    vscode.has("tax.py", TAX)
    window = vscode.open()
    window.edit("cart.py")
    view = chat(window)
    ask(view, "Count quantities in #cart.py and #tax.py")
    ended(view)
    assert window.text("cart.py") == CART, "nothing is made before somebody took it"
    card = view.get_by_role("group", name="Proposal: 2 files · +2 −2")
    card.get_by_role("checkbox", name="Take tax.py").uncheck()
    card.get_by_role("button", name="Accept").click()
    window.holds(BETTER, "cart.py")
    expect(card).to_contain_text("Partly applied")
    card.get_by_role("button", name="Reject").click()
    expect(card.get_by_role("checkbox")).to_have_count(0)
    assert vscode.read("tax.py") == TAX
    card.get_by_role("button", name="Undo").click()
    window.holds(CART, "cart.py")


def test_a_command_runs_only_with_a_word_and_words_reach_the_model_meanwhile(vscode: VSCode) -> None:
    vscode.engine(
        {"calls": [call("run_command", command="echo ran > ran.txt")]},
        {"when": "but be quick", "calls": [call("run_command", command="echo ran > ran.txt")]},
        {"text": "It ran."},
    )
    window = vscode.open()
    view = chat(window)
    ask(view, "Run it.")
    asking = view.get_by_role("group", name="Permission")
    expect(asking).to_contain_text("echo ran > ran.txt")
    view.locator("textarea").fill("but be quick")
    view.locator("textarea").press("Enter")
    expect(turn(view)).to_contain_text("You added: but be quick")
    asking.get_by_role("button", name="No", exact=True).click()
    expect(asking.first).to_have_text("You said: No")
    expect(asking).to_have_count(2)
    assert not (vscode.root / "ran.txt").exists()
    asking.nth(1).get_by_role("button", name="Once", exact=True).click()
    ended(view)
    assert vscode.read("ran.txt") == "ran\n"


def test_a_stream_goes_on_behind_another_view_and_is_stopped_with_escape(vscode: VSCode) -> None:
    vscode.engine({"text": SLOW}, chop=8, delay=0.01)
    window = vscode.open()
    view = chat(window)
    ask(view, "Count.")
    expect(turn(view)).to_contain_text("One after another")
    seen = len(turn(view).inner_text())
    window.command("workbench.view.explorer")
    window.page.wait_for_timeout(500)
    view = chat(window)
    until("more than before", lambda: len(turn(view).inner_text()) > seen + 100)
    view.locator("textarea").press("Escape")
    expect(turn(view).locator(".foot")).to_contain_text("Stopped after", timeout=5_000)


def test_a_server_that_dies_in_a_turn_loses_nothing_that_was_said_or_typed(vscode: VSCode) -> None:
    vscode.engine({"text": SLOW}, chop=8, delay=0.01, repeat=True)
    window = vscode.open()
    view = chat(window)
    ask(view, "Count.")
    expect(turn(view)).to_contain_text("One after another")
    view.locator("textarea").fill("half a sentence")
    vscode.servers()[0].kill()
    foot = turn(view).locator(".foot")
    expect(foot).to_contain_text("Ask again: what was said is kept.")
    expect(turn(view)).to_contain_text("One after another")
    assert view.locator("textarea").input_value() == "half a sentence"
    until("another server", vscode.servers)
    foot.get_by_role("button", name="Try Again").click()
    expect(turn(view, 1)).to_contain_text("One after another", timeout=30_000)
    assert view.locator("textarea").input_value() == "half a sentence"


def test_an_engine_that_is_down_is_told_with_what_to_do(vscode: VSCode) -> None:
    vscode.use("http://127.0.0.1:9/v1")
    window = vscode.open()
    view = chat(window)
    ask(view, "Anybody?")
    foot = turn(view).locator(".foot.error")
    expect(foot).to_contain_text("127.0.0.1:9", timeout=40_000)
    expect(foot.get_by_role("button", name="Try Again")).to_be_visible()


def test_a_reloaded_window_shows_the_conversation_and_the_draft(vscode: VSCode) -> None:
    vscode.engine({"when": "Of what?", "text": "Prices."}, {"thinking": "Hm.", "text": "It sums."}, repeat=True)
    window = vscode.open()
    view = chat(window)
    ask(view, "What does it do?")
    ended(view)
    view.locator("textarea").fill("half a sentence")
    window.page.wait_for_timeout(500)
    window.reload()
    view = chat(window)
    expect(view.locator(".answer")).to_have_text("It sums.", timeout=30_000)
    expect(view.locator(".thought summary")).to_have_text("Thought")
    assert view.locator("textarea").input_value() == "half a sentence"
    ask(view, "Of what?")
    ended(view)
    expect(view.locator(".answer").last).to_have_text("Prices.")


def test_two_windows_share_a_conversation_live(vscode: VSCode) -> None:
    vscode.engine({"text": "First."}, {"text": "Second."}, repeat=True)
    one = vscode.open()
    view = chat(one)
    ask(view, "Begin.")
    ended(view)
    two = vscode.open()
    other = chat(two)
    expect(other.locator(".answer")).to_have_text("First.")
    ask(other, "Go on.")
    ended(other)
    one.page.bring_to_front()
    expect(view.locator(".turn")).to_have_count(2, timeout=20_000)
    expect(view.locator(".turn").last).to_contain_text("Go on.")


def test_what_is_named_reaches_the_model(vscode: VSCode) -> None:
    vscode.engine(
        {"when": "round(price * 0.2, 2)", "text": "A tax."},
        {"when": "The person points at cart.py, lines 1 to 2", "text": "A selection."},
        {"when": "The editor reports:\n- no problems", "text": "No problems."},
    )
    vscode.has("cart.py", CART)
    vscode.has("tax.py", TAX)
    window = vscode.open()
    window.edit("cart.py", 1, 1, to=(2, 10))
    view = chat(window)
    field = view.locator("textarea")
    field.press_sequentially("What is #ta", delay=30)
    view.get_by_role("option").filter(has_text="tax.py").click()
    assert field.input_value() == "What is #tax.py "
    field.press("Enter")
    ended(view)
    expect(view.locator(".answer").last).to_have_text("A tax.")
    view.get_by_role("button", name="Add #cart.py:1-2").click()
    field.press("Enter")
    ended(view, 1)
    expect(view.locator(".answer").last).to_have_text("A selection.")
    field.press_sequentially("And #prob", delay=30)
    expect(view.get_by_role("option").filter(has_text="problems")).to_be_visible()
    field.press("Tab")
    field.press("Enter")
    ended(view, 2)
    expect(view.locator(".answer").last).to_have_text("No problems.")


def test_conversations_fork_and_are_named_and_deleted(vscode: VSCode) -> None:
    vscode.engine({"text": "One."}, {"text": "Two."}, {"text": "Another two."})
    window = vscode.open()
    view = chat(window)
    ask(view, "First?")
    ended(view, 0)
    ask(view, "Second?")
    ended(view, 1)
    turn(view, 1).hover()
    turn(view, 1).get_by_role("button", name="Edit and Resend").click()
    ask(view, "Second, but other?")
    ended(view, 1)
    expect(view.locator(".answer")).to_have_text(
        ["One.", "Another two."]
    )  # the old turn may still be seen to have ended
    window.command("glm-lsp.chat.sessions")
    rows = view.locator(".all .session-open")
    expect(rows).to_have_count(2)
    rows.first.focus()
    rows.first.press("F2")
    window.answer("Forked")
    expect(rows.filter(has_text="Forked")).to_have_count(1)
    rows.filter(has_text="First?").focus()
    rows.filter(has_text="First?").press("Delete")
    window.dialog("Delete “First?”?", button="Delete")
    expect(rows).to_have_count(1)
    rows.first.click()
    expect(view.locator(".answer").last).to_have_text("Another two.")


def test_the_preview_tells_what_would_be_read(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."})
    vscode.has("cart.py", CART)
    window = vscode.open()
    view = chat(window)
    view.locator("textarea").fill("What is #cart.py for?")
    view.get_by_role("button", name="What Would Be Read").click()
    region = view.get_by_role("region", name="What Would Be Read")
    expect(region).to_contain_text("cart.py 1–2", timeout=20_000)
    expect(region).to_contain_text("read_file")
    region.get_by_role("button", name="cart.py 1–2").click()
    expect(window.page.locator(".tab.active")).to_contain_text("cart.py")


def test_an_untrusted_folder_is_told(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."})
    vscode.settings |= {"security.workspace.trust.enabled": True, "security.workspace.trust.startupPrompt": "never"}
    window = vscode.open()
    view = chat(window)
    expect(view.get_by_text("This folder is not trusted: no tools, no commands")).to_be_visible()
    view.get_by_role("button", name="Manage Trust").click()
    window.see("You are in Restricted Mode")


@pytest.mark.parametrize("theme", ["Default Dark Modern", "Default Light Modern", "Default High Contrast"])
@pytest.mark.copies("gated")
def test_no_theme_keeps_anybody_out(vscode: VSCode, theme: str) -> None:
    vscode.settings["workbench.colorTheme"] = theme
    vscode.engine(
        {"thinking": "Hm.", "calls": [edit("cart.py"), call("run_command", command="ls")]},
        {"text": "See [cart](cart.py) and `total`.\n\n```python\nx = 'text'  # 1\n```\n\n> quoted"},
    )
    vscode.has("cart.py", CART)
    window = vscode.open()
    view = chat(window)
    view.locator("textarea").press_sequentially("Count #ca", delay=30)
    expect(view.get_by_role("option").filter(has_text="cart.py")).to_be_visible()
    assert window.barriers(view) == []
    view.locator("textarea").press("Tab")
    view.locator("textarea").press("Enter")
    expect(view.get_by_role("group", name="Permission")).to_be_visible()
    assert window.barriers(view) == []
    view.get_by_role("button", name="No", exact=True).click()
    ended(view)
    view.locator(".thought summary").click()
    assert window.barriers(view) == []
    window.command("glm-lsp.chat.sessions")
    assert window.barriers(view) == []
