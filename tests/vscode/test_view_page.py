"""The page of the GLM view: what it draws of what happens, what keys do, and what a screen reader is told."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from vscode import install
from vscode.editor import EXTENSION
from vscode.page import ViewPage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

LONG = "\n\n".join(f"Paragraph {n} says something that takes a line or two in a narrow view." for n in range(60))

MARKDOWN = [
    "# Title\n\nOne *two* **three** `four`.\n\nFive [six](https://example.org) seven.\n",
    "- one\n- two\n\n  more of two\n- three\n\n1. a\n2. b\n\n   ```js\n   x = 1\n   ```\n\nend",
    "Before\n\n```python\ndef f():\n    return '''\n```\n\nAfter\n\n~~~~\n```\nnot an end\n```\n~~~~\nlast",
    "| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\n> quoted\n> more\n\n---\n\nSetext\n======\n\nEnd",
    "```diff\n-a\n+b\n```\n```\nno language\n```\ntext right after\n    and indented\n\n    code by indent\n",
    "A fence that is never closed:\n\n```rust\nfn main() {}\n// the end",
    "Line one\r\nline two\r\n\r\n```sh\r\nls\r\n```\r\ndone\r\n",
    "``` \nempty language\n```\n\n````md\n```py\nx\n```\n````\n",
]


@pytest.fixture
def view(browser: Browser, _ours: Path) -> Iterator[ViewPage]:
    page = ViewPage(browser, _ours / f"{EXTENSION}-0.0.0" / "dist")
    yield page
    page.close()


def answer(view: ViewPage) -> str:
    return (
        view.page.locator(".turn")
        .last.locator(".answer")
        .last.evaluate(
            # Where the page is cut into parts has no meaning.
            "e => [...e.children].map((part) => part.innerHTML).join('')"
        )
    )


# --- streaming


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_in_pieces_becomes_what_it_is_as_a_whole(view: ViewPage, text: str) -> None:
    turn = view.begin()
    view.event(turn, {"type": "text", "text": text})
    view.end(turn)
    whole = answer(view)
    assert "<" in whole
    rng = random.Random(len(text))
    for most in (1, 3, 17):
        turn = view.begin()
        at = 0
        while at < len(text):
            step = rng.randint(1, most)
            view.event(turn, {"type": "text", "text": text[at : at + step]})
            at += step
        view.end(turn)
        assert answer(view) == whole


def test_what_is_complete_is_not_drawn_again(view: ViewPage) -> None:
    turn = view.begin()
    view.event(turn, {"type": "text", "text": "First.\n\n```python\nx = 1\n"})
    view.page.evaluate(
        "globalThis.first = document.querySelector('.answer p'); globalThis.code = document.querySelector('.code')"
    )
    view.event(turn, {"type": "text", "text": "y = 2\n```\n\nSecond "}, {"type": "text", "text": "and more."})
    assert view.page.evaluate(
        "first === document.querySelector('.answer p') && code === document.querySelector('.code')"
    )
    assert view.page.locator(".code code").inner_text() == "x = 1\ny = 2\n"
    view.end(turn)


def test_nothing_that_the_model_writes_is_more_than_text(view: ViewPage) -> None:
    turn = view.begin("<img src=x onerror=alert(1)>")
    bad = (
        "<script>alert(1)</script> <img src=x onerror=alert(1)> ![i](https://example.org/i.png)\n\n"
        "[a](javascript:alert(1)) [b](data:text/html,x) [c](https://example.org/?q=<x>)\n\n<style>*{display:none}</style>"
    )
    view.event(
        turn,
        {"type": "thinking", "text": "<b>bold</b>"},
        {"type": "toolCall", "callId": "1", "tool": "x", "title": "<b>t</b>", "arguments": {"a": "<i>b</i>"}},
        {"type": "toolResult", "callId": "1", "ok": True, "outcome": "<u>o</u>", "result": "<u>r</u>", "seconds": 0},
        {"type": "text", "text": bad},
    )
    view.end(turn)
    view.page.locator(".call summary").click()
    thread = view.page.locator(".thread")
    assert thread.locator("script, img, style, b, i, u").count() == 0
    assert [link.get_attribute("href") for link in thread.locator(".answer a").all()] == [
        "https://example.org/i.png",
        "https://example.org/?q=%3Cx%3E",
    ]
    expect(thread.locator(".answer")).to_contain_text("<script>alert(1)</script>")
    thread.locator(".answer a").last.click()
    assert view.posted("openLink") == [{"type": "openLink", "href": "https://example.org/?q=%3Cx%3E"}]
    assert view.page.url.endswith("view.test/")


def test_streaming_moves_the_page_only_for_who_is_at_its_end(view: ViewPage) -> None:
    turn = view.begin()
    view.event(turn, {"type": "text", "text": LONG})
    where = "document.querySelector('.scroller').scrollTop"
    at_end = "(() => { const s = document.querySelector('.scroller'); return s.scrollHeight - s.scrollTop - s.clientHeight < 2 })()"
    assert view.page.evaluate(at_end)
    view.event(turn, {"type": "text", "text": LONG})
    assert view.page.evaluate(at_end)
    view.page.mouse.move(150, 300)
    view.page.mouse.wheel(0, -900)
    to_end = view.page.get_by_role("button", name="To the end")
    expect(to_end).to_be_visible()
    before = view.page.evaluate(where)
    view.event(
        turn,
        {"type": "text", "text": LONG},
        {"type": "toolCall", "callId": "1", "tool": "x", "title": "X", "arguments": {}},
    )
    assert view.page.evaluate(where) == before
    to_end.click()
    view.settle()
    assert view.page.evaluate(at_end)
    expect(to_end).to_be_hidden()
    view.event(turn, {"type": "text", "text": LONG})
    assert view.page.evaluate(at_end)
    view.end(turn)


def test_thinking_shows_its_last_line_and_folds_when_it_ends(view: ViewPage) -> None:
    turn = view.begin()
    view.event(turn, {"type": "thinking", "text": "Prices are floats.\nSo look at tax"})
    summary = view.page.locator(".thought summary")
    expect(summary).to_contain_text("Thinking…")
    expect(summary.locator(".thought-line")).to_have_text("So look at tax")
    expect(view.page.locator(".thought-text")).to_be_hidden()
    view.event(turn, {"type": "thinkingEnd", "seconds": 12.2, "tokens": 840}, {"type": "text", "text": "Well."})
    expect(summary).to_have_text("Thought for 12 s · 840 tokens")
    view.end(turn)
    expect(view.page.locator(".foot").last).to_have_text("Done in 2 s · 40 tokens · 2,000 read, 95 % reused")


# --- what is told of a turn


def test_each_event_has_its_line(view: ViewPage) -> None:
    turn = view.begin()
    chosen = [{"uri": f"file:///shop/{name}.py", "reason": "named", "tokens": 100} for name in "abcde"]
    lines = {"start": {"line": 9, "character": 0}, "end": {"line": 10, "character": 0}}
    view.event(turn, {"type": "queued", "place": 2})
    expect(view.page.locator(".foot").last).to_have_text("Busy · 2nd in line")
    view.event(
        turn,
        {"type": "queued", "place": 0},
        {"type": "context", "files": chosen, "tokens": 500},
        {"type": "compacted", "before": 90000, "after": 9000, "files": 3, "summary": "Before…", "usage": USAGE_},
        {"type": "warning", "code": "w", "message": "Mind this."},
        {
            "type": "finding",
            "callId": "9",
            "uri": "file:///shop/a.py",
            "range": lines,
            "severity": "error",
            "message": "Wrong",
        },
        {"type": "hologram", "of": "a later server"},
        {"type": "hunk", "callId": "1", "state": "opened", "uri": "file:///shop/a.py", "range": lines},
        {
            "type": "hunk",
            "callId": "1",
            "state": "grew",
            "uri": "file:///shop/a.py",
            "range": lines,
            "removed": ["x"],
            "added": ["y"],
        },
    )
    thread = view.page.locator(".thread")
    for text in (
        "Read first: a.py, b.py, c.py +2 · 500 tokens",
        "Made shorter for the model: 90,000 → 9,000 tokens",
        "Mind this.",
        "a.py:10 Wrong",
        "Edit a.py",
        "a.py 10 · +1 −1",
        "+ y",
    ):
        expect(thread).to_contain_text(text)
    view.event(
        turn,
        {
            "type": "hunk",
            "callId": "1",
            "state": "closed",
            "uri": "file:///shop/a.py",
            "range": lines,
            "ok": False,
            "reason": "not found",
        },
        {"type": "toolCall", "callId": "1", "tool": "edit_file", "title": "Edited a.py", "arguments": {}},
        {"type": "toolResult", "callId": "1", "ok": False, "outcome": "not found", "result": "no", "seconds": 1},
    )
    call = thread.locator(".call.failed")
    expect(call.locator(".call-fold > summary")).to_have_text("Edited a.py · not found · 1 s")
    call.locator(".call-fold > summary").click()
    expect(call.locator(".hunk summary")).to_contain_text("not found")
    thread.get_by_role("button", name="a.py:10").click()
    assert view.posted("openFile") == [{"type": "openFile", "uri": "file:///shop/a.py", "line": 9}]
    view.end(turn)


USAGE_ = {"inputTokens": 1, "outputTokens": 1}


def test_a_permission_shows_all_that_will_run_and_each_answer_there_is(view: ViewPage) -> None:
    turn = view.begin()
    ask = {
        "turnId": turn,
        "callId": "1",
        "tool": "run_command",
        "title": "Run pytest",
        "detail": "pytest -q\n--all",
        "confined": False,
    }
    view.event(turn, {"type": "toolCall", "callId": "1", "tool": "run_command", "title": "Run pytest", "arguments": {}})
    view.tell({"type": "permission", "ask": {**ask, "options": ["once", "always", "tool", "no", "never"]}})
    asking = view.page.get_by_role("group", name="Permission")
    expect(asking).to_contain_text("pytest -q\n--all")
    expect(asking).to_contain_text("It runs with all your rights.")
    assert [one.inner_text() for one in asking.get_by_role("button").all()] == [
        "Once",
        "Always this",
        "Always this tool",
        "No",
        "Never this",
    ]
    assert view.page.locator("[role=alert]").inner_text() == "GLM asks: Run pytest"
    assert view.focused() == "Ask GLM", "the focus stays where the person types"
    asking.get_by_role("button", name="No", exact=True).click()
    assert view.posted("permit") == [{"type": "permit", "callId": "1", "answer": "no"}]
    view.tell({"type": "settled", "callId": "1", "answer": "no"})
    expect(asking).to_have_text("You said: No")
    view.end(turn)


def test_a_question_takes_an_option_or_other_words(view: ViewPage) -> None:
    turn = view.begin()
    ask = {"turnId": turn, "callId": "1", "question": "Round how?", "options": ["up", "down"]}
    view.tell({"type": "question", "ask": ask})
    group = view.page.get_by_role("group", name="Round how?")
    expect(group.get_by_role("button", name="up")).to_be_visible()
    group.get_by_role("textbox", name="Round how?").fill("half to even")
    group.get_by_role("textbox", name="Round how?").press("Enter")
    assert view.posted("answer") == [{"type": "answer", "callId": "1", "answer": "half to even"}]
    view.tell({"type": "settled", "callId": "1", "answer": "half to even"})
    expect(group).to_have_text("Round how? — half to even")
    view.end(turn)


def test_a_proposal_is_taken_by_files(view: ViewPage) -> None:
    turn = view.begin()
    files = [{"uri": f"file:///shop/{name}.py", "kind": "edit", "added": 12, "removed": 4} for name in "ab"]
    view.event(
        turn, {"type": "proposal", "proposalId": "p1", "summary": "", "files": files, "objections": [], "unchecked": []}
    )
    view.end(turn, proposalId="p1")
    card = view.page.get_by_role("group", name="Proposal: 2 files · +24 −8")
    card.get_by_role("checkbox", name="Take b.py").uncheck()
    card.get_by_role("button", name="Accept").click()
    assert view.posted("resolve") == [
        {"type": "resolve", "proposalId": "p1", "accept": True, "files": ["file:///shop/a.py"]}
    ]
    view.tell(
        {
            "type": "proposal",
            "now": {"proposalId": "p1", "state": "partial", "pending": {"file:///shop/b.py": 1}, "stale": 0},
        }
    )
    expect(card).to_contain_text("Partly applied · 2 files")
    assert card.get_by_role("checkbox").count() == 1
    card.get_by_role("button", name="Review", exact=True).click()
    assert view.posted("review") == [{"type": "review", "proposalId": "p1"}]
    view.tell({"type": "proposal", "now": {"proposalId": "p1", "state": "applied", "pending": {}, "stale": 0}})
    card.get_by_role("button", name="Undo").click()
    assert view.posted("undo")


# --- writing


def test_what_is_typed_while_it_works_is_told_or_waits(view: ViewPage) -> None:
    turn = view.begin()
    view.field.fill("only in cart.py")
    view.field.press("Enter")
    assert view.posted("tell") == [{"type": "tell", "turnId": turn, "words": "only in cart.py"}]
    view.tell({"type": "told", "turnId": turn, "words": "only in cart.py", "accepted": True})
    expect(view.page.locator(".turn")).to_contain_text("You added: only in cart.py")
    view.field.fill("and then the tests")
    view.field.press("Alt+Enter")
    expect(view.page.get_by_role("list", name="To be sent after")).to_contain_text("and then the tests")
    view.end(turn)
    assert view.posted("ask")[-1]["asked"]["words"] == "and then the tests"
    expect(view.page.get_by_role("list", name="To be sent after")).to_be_hidden()


def test_words_that_come_too_late_become_a_question(view: ViewPage) -> None:
    turn = view.begin()
    view.field.fill("wait")
    view.field.press("Enter")
    view.end(turn)
    view.tell({"type": "told", "turnId": turn, "words": "wait", "accepted": False})
    assert view.posted("ask")[-1]["asked"]["words"] == "wait"


def test_what_waits_is_not_sent_after_a_turn_that_failed(view: ViewPage) -> None:
    turn = view.begin()
    view.field.fill("next")
    view.field.press("Alt+Enter")
    fault = {"code": "server-gone", "message": "The server ended.", "hint": "Ask again."}
    view.end(turn, "error", error=fault)
    assert len(view.posted("ask")) == 1
    expect(view.page.get_by_role("list", name="To be sent after")).to_contain_text("next")
    expect(view.page.locator(".foot").last).to_contain_text("The server ended. Ask again.")
    view.page.get_by_role("button", name="Try Again").click()
    assert view.posted("ask")[-1]["asked"]["words"] == "Hello?"


def test_escape_stops_then_leaves(view: ViewPage) -> None:
    turn = view.begin()
    view.field.press("Escape")
    assert view.posted("stop")[-1]["turnId"] == turn
    view.end(turn, "cancelled")
    expect(view.page.locator(".foot").last).to_contain_text("Stopped after 2 s")
    assert not view.posted("leave")
    view.field.press("Escape")
    assert view.posted("leave")


def test_a_draft_and_what_waits_survive_the_page(view: ViewPage) -> None:
    view.begin()
    view.field.fill("next")
    view.field.press("Alt+Enter")
    view.page.get_by_role("combobox", name="Thinking").select_option("off")
    view.field.fill("half a sentence, and")
    view.page.wait_for_timeout(300)
    kept = view.posted("keep")[-1]["kept"]
    assert kept["conversationId"] == "c1"
    view.load(kept)
    assert view.field.input_value() == "half a sentence, and"
    assert view.page.get_by_role("combobox", name="Thinking").input_value() == "off"
    expect(view.page.get_by_role("list", name="To be sent after")).to_contain_text("next")


def test_what_is_named_is_found_while_typing_and_goes_with_the_words(view: ViewPage) -> None:
    view.field.press_sequentially("Look at #ca")
    query = view.posted("find")[-1]
    assert query["query"] == "ca"
    found = [
        {
            "label": name,
            "detail": "src",
            "mention": {"token": f"#src/{name}", "kind": "file", "uri": f"file:///shop/src/{name}"},
        }
        for name in ("cart.py", "card.py")
    ]
    view.tell({"type": "found", "number": query["number"] - 1, "found": found})
    expect(view.page.get_by_role("listbox")).to_be_hidden()
    view.tell({"type": "found", "number": query["number"], "found": found})
    options = view.page.get_by_role("listbox").get_by_role("option")
    expect(options).to_have_count(2)
    assert options.first.get_attribute("aria-selected") == "true"
    view.field.press("ArrowDown")
    assert view.field.get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    view.field.press("Enter")
    assert view.field.input_value() == "Look at #src/card.py "
    view.field.press_sequentially("please")
    view.field.press("Enter")
    asked = view.posted("ask")[-1]["asked"]
    assert asked["words"] == "Look at #src/card.py please"
    assert asked["mentions"] == [found[1]["mention"]]


def test_escape_closes_the_list_and_leaves_the_words(view: ViewPage) -> None:
    view.field.press_sequentially("#ca")
    query = view.posted("find")[-1]
    found = [{"label": "a", "detail": "", "mention": {"token": "#a", "kind": "file", "uri": "file:///a"}}]
    view.tell({"type": "found", "number": query["number"], "found": found})
    expect(view.page.get_by_role("listbox")).to_be_visible()
    view.field.press("Escape")
    expect(view.page.get_by_role("listbox")).to_be_hidden()
    assert view.field.input_value() == "#ca"
    assert not view.posted("leave")
    view.field.press("Enter")
    assert view.posted("ask")[-1]["asked"]["words"] == "#ca"


# --- conversations


def entries(*names: str, turns: int = 1) -> dict[str, Any]:
    listed = [
        {
            "id": f"c{n}",
            "name": name,
            "first": f"first {n}",
            "updated": "2026-01-01T00:00:00+00:00",
            "turns": turns,
            "messages": 3,
        }
        for n, name in enumerate(names, 1)
    ]
    return {"type": "sessions", "sessions": listed}


KEPT = {
    "conversationId": "c2",
    "name": "Money",
    "messages": [
        {"role": "user", "text": "Use Decimal.", "words": "Use Decimal."},
        {"role": "assistant", "text": "Done."},
        {"role": "user", "text": "Thanks", "words": "Thanks", "turn": 1},
        {"role": "assistant", "text": "Welcome.", "turn": 1},
    ],
}


def test_conversations_are_opened_named_and_deleted_with_keys(view: ViewPage) -> None:
    view.tell(entries("One", "Two"), {"type": "showSessions"})
    rows = view.page.locator(".all .session-open")
    expect(rows).to_have_count(2)
    expect(rows.first).to_be_focused()
    view.page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    view.page.keyboard.press("F2")
    view.page.keyboard.press("Delete")
    assert view.posted("rename") == [{"type": "rename", "conversationId": "c2", "name": "Two"}]
    assert view.posted("delete") == [{"type": "delete", "conversationId": "c2", "name": "Two"}]
    view.tell(entries("One", "Two again"))
    expect(rows.nth(1)).to_contain_text("Two again")
    expect(rows.nth(1)).to_be_focused()
    view.page.keyboard.press("Enter")
    assert view.posted("open") == [{"type": "open", "conversationId": "c2"}]
    view.tell({"type": "conversation", "conversation": KEPT, "show": True})
    expect(view.page.locator(".turn")).to_have_count(2)
    expect(view.page.locator(".turn").first).to_contain_text("Done.")


def test_what_others_add_appears(view: ViewPage) -> None:
    view.tell({"type": "conversation", "conversation": KEPT, "show": True})
    more = [*KEPT["messages"], {"role": "user", "text": "More?", "words": "More?", "turn": 2}]
    view.tell({"type": "conversation", "conversation": {**KEPT, "messages": more}, "show": False})
    expect(view.page.locator(".turn").last).to_contain_text("More?")
    view.tell({"type": "gone", "conversationId": "c2"})
    expect(view.page.locator(".turn")).to_have_count(0)


def test_a_question_is_edited_by_forking_there(view: ViewPage) -> None:
    view.tell({"type": "conversation", "conversation": KEPT, "show": True})
    view.field.fill("a draft")
    view.page.locator(".turn").nth(1).hover()
    view.page.locator(".turn").nth(1).get_by_role("button", name="Edit and Resend").click()
    assert view.field.input_value() == "Thanks"
    view.field.fill("Thanks, and round it")
    view.field.press("Enter")
    sent = view.posted("editAndAsk")[-1]
    assert (sent["conversationId"], sent["at"], sent["asked"]["words"]) == ("c2", 1, "Thanks, and round it")
    assert view.field.input_value() == "a draft"
    expect(view.page.locator(".turn")).to_have_count(2)
    view.tell({"type": "began", "key": sent["asked"]["key"], "conversationId": "c9"})
    view.event(
        "t9",
        {"type": "start", "action": "chat", "instruction": "x", "model": "m", "thinking": False},
        conversation="c9",
    )
    view.event("t9", {"type": "text", "text": "In the fork."}, conversation="c9")
    expect(view.page.locator(".turn").last).to_contain_text("In the fork.")
    view.tell({"type": "conversation", "conversation": KEPT, "show": True})
    expect(view.page.locator(".turn").last).to_contain_text("Welcome.")


def test_a_turn_goes_on_while_another_conversation_is_looked_at(view: ViewPage) -> None:
    turn = view.begin()
    view.event(turn, {"type": "text", "text": "Half"})
    view.tell({"type": "conversation", "conversation": KEPT, "show": True})
    view.event(turn, {"type": "text", "text": " and half."})
    expect(view.page.locator(".turns")).not_to_contain_text("Half")
    view.tell({"type": "conversation", "conversation": {**KEPT, "conversationId": "c1", "messages": []}, "show": True})
    expect(view.page.locator(".answer")).to_have_text("Half and half.")
    view.end(turn)


def test_an_answer_without_a_conversation_is_shown_and_can_be_gone_on_from(view: ViewPage) -> None:
    start = {"type": "start", "action": "explain", "instruction": "", "model": "m", "thinking": False}
    view.event("t7", {**start, "files": ["file:///shop/cart.py"]}, conversation="")
    view.event("t7", {"type": "text", "text": "It sums."}, conversation="")
    view.event("t7", {"type": "end", "stopReason": "done", "usage": USAGE_, "seconds": 1}, conversation="")
    expect(view.page.get_by_role("heading", name="Explain · cart.py")).to_be_visible()
    expect(view.page.locator(".answer")).to_have_text("It sums.")
    turn = view.begin("Of what?")
    assert view.posted("ask")[-1]["conversationId"] == ""
    view.event(turn, {"type": "text", "text": "Prices."})
    view.end(turn)
    kept = [{"role": "user", "text": "Of what?", "words": "Of what?"}, {"role": "assistant", "text": "Prices."}]
    told = {**KEPT, "conversationId": "c1", "messages": kept}
    view.tell({"type": "conversation", "conversation": told, "show": False})
    assert [one.inner_text() for one in view.page.locator(".answer").all()] == ["It sums.", "Prices."]


# --- for everyone


def test_everything_is_reached_with_the_keyboard(view: ViewPage) -> None:
    turn = view.begin()
    view.event(
        turn,
        {"type": "thinking", "text": "x"},
        {"type": "thinkingEnd", "seconds": 1},
        {"type": "text", "text": "```py\nx\n```\n"},
    )
    view.end(turn)
    view.field.focus()
    view.page.keyboard.press("Shift+Tab")
    stop = view.focused()
    view.page.keyboard.press("Home")
    seen = [view.focused()]
    for _ in range(20):
        view.page.keyboard.press("ArrowDown")
        if view.focused() == seen[-1]:
            break
        seen.append(view.focused())
    assert seen[:4] == ["Edit and Resend", "Fork from Here", "Copy", "Thought for 1 s"]
    assert seen[4:7] == ["Apply with GLM", "Insert at Cursor", "Copy"]
    assert stop in seen
    view.page.keyboard.press("Escape")
    assert view.focused() == "Ask GLM"
    view.page.keyboard.press("Shift+Tab")
    assert view.focused() == seen[-1], "the way back leads to where one was"


def test_a_screen_reader_is_told_what_changes_and_not_each_word(view: ViewPage) -> None:
    view.page.evaluate(
        "globalThis.heard = []; new MutationObserver(() => heard.push(document.querySelector('[role=status]').textContent))"
        ".observe(document.querySelector('[role=status]'), {childList: true, characterData: true, subtree: true})"
    )
    turn = view.begin()
    for _ in range(20):
        view.event(turn, {"type": "thinking", "text": "word "})
    view.event(turn, {"type": "thinkingEnd", "seconds": 1})
    for _ in range(20):
        view.event(turn, {"type": "text", "text": "word "})
    view.end(turn)
    assert view.page.evaluate("heard") == [
        "Thinking",
        "Answering",
        "Done in 2 s · 40 tokens · 2,000 read, 95 % reused",
    ]
    assert view.page.locator("[role=log]").get_attribute("aria-live") == "off"


def test_an_untrusted_folder_says_what_is_off(view: ViewPage) -> None:
    view.tell({"type": "surroundings", "surroundings": {"trusted": False, "folders": []}})
    banner = view.page.get_by_text("This folder is not trusted: no tools, no commands")
    expect(banner).to_be_visible()
    view.page.get_by_role("button", name="Manage Trust").click()
    assert view.posted("command") == [{"type": "command", "command": "workbench.trust.manage"}]


def test_it_speaks_the_persons_language(view: ViewPage) -> None:
    bundle = install.ROOT / "editor-clients" / "vscode" / "l10n" / "bundle.l10n.zh-cn.json"
    view.load(strings=json.loads(bundle.read_text()))
    field = view.page.get_by_role("textbox", name="询问 GLM")
    field.fill("你好")
    field.press("Enter")
    expect(view.page.locator(".foot")).to_have_text("正在发送…")


def test_what_would_be_read_is_shown(view: ViewPage) -> None:
    view.field.fill("What is a price?")
    view.page.get_by_role("button", name="What Would Be Read").click()
    assert view.posted("preview")[-1]["asked"]["words"] == "What is a price?"
    piece = {"uri": "file:///shop/cart.py", "firstLine": 0, "lastLine": 9, "reason": "named", "characters": 300}
    told = {"files": [piece], "characters": 9000, "tokensAtMost": 3210, "tools": ["read_file"], "instructionsFrom": []}
    view.tell({"type": "preview", "preview": told})
    region = view.page.get_by_role("region", name="What Would Be Read")
    expect(region).to_contain_text("At most 3,210 tokens in all")
    expect(region).to_contain_text("cart.py 1–10 named")
    view.page.keyboard.press("Escape")
    expect(region).to_be_hidden()
    expect(view.field).to_be_focused()


def test_forced_colours_and_less_motion_are_heeded(view: ViewPage) -> None:
    view.page.emulate_media(forced_colors="active", reduced_motion="reduce")
    turn = view.begin()
    view.settle()
    assert view.page.locator(".icon-loading").first.evaluate("e => getComputedStyle(e).animationName") == "none"
    assert view.page.locator(".box").evaluate("e => getComputedStyle(e).borderStyle") == "solid"
    view.end(turn)


def test_axe_finds_no_barrier(view: ViewPage) -> None:
    turn = view.begin()
    view.event(
        turn,
        {"type": "thinking", "text": "x"},
        {"type": "thinkingEnd", "seconds": 1},
        {"type": "text", "text": MARKDOWN[3]},
    )
    view.tell(
        {"type": "question", "ask": {"turnId": turn, "callId": "1", "question": "How?", "options": ["a"]}},
        entries("One"),
    )
    view.page.evaluate(install.axe().read_text() + ";0")
    rules = "{resultTypes: ['violations'], rules: {'color-contrast': {enabled: false}}}"  # no theme is here
    for _ in range(2):
        found = view.page.evaluate(f"axe.run(document, {rules})")
        assert [f"{one['id']}: {one['nodes'][0]['html']}" for one in found["violations"]] == []
        view.tell({"type": "showSessions"})
    view.end(turn)
