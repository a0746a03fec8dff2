"""GLM in VS Code's own chat, signed out, on both copies: `@glm`, and GLM as the model of VS Code's own agent."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from engine.listening import ListeningEngine
from engine.server import tool_call
from playwright.sync_api import expect

from vscode.editor import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.server import ForcedEngine
    from playwright.sync_api import Locator

    from vscode.editor import VSCode, Window

CART = "def total(prices):\n    return sum(prices)\n"
EDIT = {
    "name": "edit_file",
    "arguments": {
        "file_path": "cart.py",
        "old_string": "    return sum(prices)",
        "new_string": "    return round(sum(prices), 2)",
    },
}
CHAT = ".interactive-session"


@pytest.fixture
def engine(_forced_engine: ForcedEngine) -> Iterator[ListeningEngine]:
    found = ListeningEngine(_forced_engine.running)
    yield found
    found.close()


def text_of(url: str, ids: list[int]) -> str:
    """What the engine has read, as text."""
    body = json.dumps({"model": "glm-4.7", "tokens": ids}).encode()
    request = urllib.request.Request(f"{url}/detokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return str(json.load(reply)["prompt"])


def chat(window: Window) -> None:
    """Opens VS Code's own chat, and waits until it has a model."""
    window.command("workbench.action.chat.open")
    expect(window.page.locator(f"{CHAT} .interactive-input-part [aria-label*='GLM']").first).to_be_visible(
        timeout=60_000
    )


def ask(window: Window, words: str) -> None:
    """Writes into the chat and sends it."""
    window.host("await vscode.commands.executeCommand('workbench.action.chat.open', {query: args.words})", words=words)


def answers(window: Window) -> Locator:
    return window.page.locator(f"{CHAT} .interactive-response")


def says(window: Window, text: str, *, seconds: float = 30) -> None:
    """Waits until the last answer has this text and is complete."""
    expect(answers(window).last).to_contain_text(text, timeout=seconds * 1000)
    expect(window.page.locator(f"{CHAT} .chat-response-loading")).to_have_count(0, timeout=seconds * 1000)


def button(window: Window, title: str) -> Locator:
    return answers(window).last.locator(".monaco-button", has_text=title).first


def test_glm_answers_in_a_chat_that_nobody_set_up_and_remembers_its_thinking(vscode: VSCode) -> None:
    vscode.engine(
        {"thinking": "They greet me.", "text": "Hello from **GLM**."}, {"when": "hello", "text": "You said hello."}
    )
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    chat(window)
    ask(window, "@glm hello")
    says(window, "Hello from GLM.")
    answers(window).last.get_by_text("Completed").first.click()
    thought = answers(window).last.get_by_text("They greet me.")
    if vscode.copy == "open":
        expect(thought.first).to_be_visible()
        expect(button(window, "Show Thinking")).to_have_count(0)
    else:  # a person's VS Code keeps native thinking from extensions: a button leads to it
        expect(thought).to_have_count(0)
        button(window, "Show Thinking").click()
        view = window.frame(".composer textarea", seconds=60)
        expect(view.locator(".turn").last).to_contain_text("hello")
        window.command("workbench.action.chat.open")
    ask(window, "@glm what did I say?")
    says(window, "You said hello.")
    window.picture(vscode.tmp / "participant.png")


def test_a_change_is_proposed_with_buttons_and_accepted(vscode: VSCode) -> None:
    vscode.engine({"calls": [EDIT]}, {"text": "It rounds now."})
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    window.edit("cart.py", 2, 5)
    chat(window)
    ask(window, "@glm /refactor round the total")
    says(window, "It rounds now.")
    expect(answers(window).last).to_contain_text("1 file · +1 −1")
    expect(button(window, "Review")).to_be_visible()
    button(window, "Accept").click()
    window.holds(CART.replace("sum(prices)", "round(sum(prices), 2)"), "cart.py")
    window.picture(vscode.tmp / "proposal.png")


def test_a_command_runs_after_a_button_in_the_chat_was_pressed(vscode: VSCode) -> None:
    run = {"name": "run_command", "arguments": {"command": "echo it-ran > ran.txt"}}
    vscode.engine({"calls": [run]}, {"text": "Done."})
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    chat(window)
    ask(window, "@glm run it")
    expect(answers(window).last).to_contain_text("echo it-ran", timeout=30_000)
    assert not (vscode.root / "ran.txt").exists()
    button(window, "Once").click()
    says(window, "Done.")


def test_a_reply_that_is_stopped_ends_the_turn(vscode: VSCode) -> None:
    vscode.engine({"text": "word " * 2000}, chop=5, delay=0.05)
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    chat(window)
    ask(window, "@glm talk")
    expect(answers(window).last).to_contain_text("word word", timeout=30_000)
    window.command("workbench.action.chat.cancel")
    until("no turn runs", lambda: "1 turn" not in window.standing() and "…" not in window.standing())


def test_an_engine_that_is_down_is_said_with_what_to_do(vscode: VSCode) -> None:
    vscode.use("http://127.0.0.1:9/v1")
    window = vscode.open()
    window.active()
    chat(window)
    ask(window, "@glm hello")
    expect(answers(window).last).to_contain_text("127.0.0.1:9", timeout=60_000)
    expect(button(window, "Set Up GLM")).to_be_visible()


def test_another_extension_can_use_the_model_with_nobody_signed_in(vscode: VSCode) -> None:
    call = {"name": "read", "arguments": {"path": "a"}}
    vscode.engine({"thinking": "I had better read.", "text": "Reading.", "calls": [call]})
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    heard = window.host(
        "const [m] = await vscode.lm.selectChatModels({vendor: 'glm'});"
        "const read = {name: 'read', description: 'Reads.', inputSchema: {type: 'object'}};"
        "const said = [vscode.LanguageModelChatMessage.User('Read.')];"
        "const r = await m.sendRequest(said, {tools: [read]}), parts = [];"
        "for await (const p of r.stream) parts.push(p.name ? [p.name, p.input, p.callId.length] : p.value);"
        "return {id: m.id, most: m.maxInputTokens, tokens: await m.countTokens('x'.repeat(6000)), parts}"
    )
    assert heard["id"] == "glm-4.7"
    assert heard["most"] > 100_000
    assert heard["tokens"] == 2001
    assert heard["parts"] == ["I had better read.", "Reading.", ["read", {"path": "a"}, len("call_") + 32]]


def own_agent(vscode: VSCode) -> Window:
    """A window in whose chat VS Code's own agent works with GLM."""
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    chat(window)
    window.run("GLM: Use GLM in VS Code's Own Chat")
    window.notice("titles of chats", button="Leave It", seconds=120)
    return window


def two_questions(window: Window) -> None:
    ask(window, "What does total do?")
    says(window, "It adds prices.", seconds=150)
    ask(window, "Are you sure?")
    says(window, "Yes, sure.", seconds=150)
    assert not window.page.locator(".monaco-dialog-box").count(), "nobody is asked to sign in"


def test_vs_codes_own_agent_works_with_nobody_signed_in_and_gets_its_thinking_back(vscode: VSCode) -> None:
    where = {"filePath": str(vscode.root / "cart.py"), "startLine": 1, "endLine": 2}
    vscode.engine(
        {"thinking": "I had better read it.", "text": "Reading.", "calls": [{"name": "read_file", "arguments": where}]},
        {"when": "return sum(prices)", "thinking": "It sums.", "text": "It adds prices."},
        {"when": "Are you sure?", "text": "Yes, sure."},
    )
    window = own_agent(vscode)
    two_questions(window)
    until("two replies have their thinking again", lambda: "thinking put back into 2 messages" in vscode.logs())


@pytest.mark.engine
def test_the_engine_reads_the_thinking_that_vs_codes_own_agent_dropped(vscode: VSCode, engine: ListeningEngine) -> None:
    vscode.use(engine.url)
    call = tool_call("read_file", filePath=str(vscode.root / "cart.py"), startLine=1, endLine=2)
    engine.say("Hm.</think>Hello.")  # to the server, which asks what the engine can do before anything else
    engine.say(f"\nI had better read  it first. </think>Reading.{call}", "It sums, no more. </think>It adds prices.")
    engine.say("Simple.</think>Yes, sure.")
    two_questions(own_agent(vscode))
    asked = engine.seen[-1][1]
    read = text_of(engine.url, asked["kv_transfer_params"]["prompt_token_ids"])
    assert "<think>\nI had better read  it first. </think>Reading.<tool_call>read_file" in read
    assert "<think>It sums, no more. </think>It adds prices." in read
