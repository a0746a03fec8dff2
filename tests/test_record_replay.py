"""`glm-lsp serve --record`: a session is written down, and played again to a fresh server with the same outcome."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lsp.replay import GLM, Message, Replay, load
from lsp.wire import notification, request
from test_refactor import CART, Person, edit

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def session(person: Person) -> Iterator[tuple[str, Message]]:
    """What an editor says in a short session, and what it waits for: the form of a record, written by hand."""
    root = person.root.resolve().as_uri()
    document = {"uri": f"{root}/cart.py"}
    place = {"line": 1, "character": 4}
    capabilities: dict[str, Any] = {
        "window": {"workDoneProgress": True, "showDocument": {"support": True}},
        "workspace": {"applyEdit": True, "configuration": True, "workspaceEdit": {"documentChanges": True}},
    }
    folders = [{"uri": root, "name": "work"}]

    def answered(number: Any) -> tuple[str, Message]:
        return "out", {"jsonrpc": "2.0", "id": number, "result": None}

    def asked(number: Any, method: str, result: Any) -> Iterator[tuple[str, Message]]:
        yield "out", request(number, method, {})
        yield "in", {"jsonrpc": "2.0", "id": number, "result": result}

    params = {"processId": 1, "rootUri": root, "workspaceFolders": folders, "capabilities": capabilities}
    yield "in", request("a", "initialize", params)
    yield answered("a")
    yield "in", notification("initialized", {})
    opened = {**document, "languageId": "python", "version": 1, "text": CART}
    yield "in", notification("textDocument/didOpen", {"textDocument": opened})
    yield from asked("s1", "workspace/configuration", [None])
    context = {"textDocument": document, "range": {"start": place, "end": place}, "context": {"diagnostics": []}}
    yield "in", request(7, "textDocument/codeAction", context)
    yield answered(7)
    chosen = {"action": "simplify", "uri": document["uri"], "range": {"start": place, "end": place}, "version": 1}
    yield "in", request("b", "workspace/executeCommand", {"command": "glm.run", "arguments": [chosen]})
    yield from asked("s2", "window/workDoneProgress/create", None)
    yield from asked("s3", "workspace/applyEdit", {"applied": True})
    yield answered("b")
    changed = {"textDocument": {**document, "version": 2}, "contentChanges": [{"text": CART + "# more\n"}]}
    yield "in", notification("textDocument/didChange", changed)
    yield "in", request(8, "glm/no/such/method", {})
    yield "out", {"jsonrpc": "2.0", "id": 8, "error": {"code": -32601, "message": ""}}
    yield "in", request("c", "workspace/executeCommand", {"command": "glm.ask", "arguments": ["What does it do?"]})
    yield from asked("s4", "window/workDoneProgress/create", None)
    yield from asked("s5", "window/showDocument", {"success": True})
    yield answered("c")
    transcript = {"command": "glm.showTranscript", "arguments": [{"conversationId": "made up by the server"}]}
    yield "in", request("d", "workspace/executeCommand", transcript)
    yield from asked("s6", "window/showDocument", {"success": True})
    yield answered("d")
    yield "in", request(9, "shutdown")
    yield answered(9)
    yield "in", notification("exit")


REPLIES = (
    {"thinking": "Quantities.", "calls": [edit("cart.py")]},
    {"text": "They count now."},
    {"when": "What does it do?", "text": "It sums prices."},
)


def environment(person: Person) -> dict[str, str]:
    return {**person.environment, "GLM_LSP_ENGINE_URL": person.script(*REPLIES)}


@pytest.fixture
def recorded(person: Person) -> Path:
    """The record of a session on a server."""
    path = person.tmp / "session.jsonl"
    script = list(session(person))
    for way, message in script:  # the id of the conversation is the server's; the answer to glm.ask tells it
        if way == "out" and message["id"] == "c":
            message["result"] = {"conversationId": "made up by the server"}
    command = (GLM, "--stdio", "--record", str(path))
    played = Replay(script).run(command, env=environment(person))
    assert played.code == 0
    assert played.differences() == []
    return path


def kinds(messages: list[Message]) -> list[tuple[str, str]]:
    """What was answered and asked, without what comes as often as the clock has it."""
    found = []
    for message in messages:
        if "method" not in message:
            found.append(("answer", json.dumps(message["id"])))
        elif "id" in message:
            found.append(("request", message["method"]))
    return sorted(found)


def test_a_record_has_both_ways_in_order_and_only_its_owner_reads_it(person: Person, recorded: Path) -> None:
    assert stat.S_IMODE(recorded.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in recorded.read_text().splitlines()]
    assert all(set(line) == {"way", "at", "message"} for line in lines)
    assert {line["way"] for line in lines} == {"in", "out"}
    said = [message for way, message in load(recorded) if way == "in" and "method" in message]
    expected = [message["method"] for way, message in session(person) if way == "in" and "method" in message]
    assert [message["method"] for message in said] == expected
    heard = [message for way, message in load(recorded) if way == "out"]
    edits = [message for message in heard if message.get("method") == "workspace/applyEdit"]
    assert "i.qty" in json.dumps(edits)


def test_a_fresh_server_answers_the_same_when_it_is_played_again(person: Person, recorded: Path) -> None:
    then = load(recorded)
    played = Replay(then).run(env=environment(person))
    assert played.code == 0
    assert played.differences() == []
    assert kinds(played.heard) == kinds([message for way, message in then if way == "out"])
    answers = {json.dumps(m["id"]): m for m in played.heard if "method" not in m}
    menu = next(message for way, message in then if way == "out" and message.get("id") == 7)
    assert answers["7"]["result"] == menu["result"]
    assert answers["8"]["error"]["code"] == -32601


def test_what_is_otherwise_is_told(person: Person, recorded: Path) -> None:
    then = load(recorded)
    wrong = [
        (way, {"jsonrpc": "2.0", "id": 8, "result": {}} if way == "out" and message.get("id") == 8 else message)
        for way, message in then
    ]
    played = Replay(wrong).run(env=environment(person))
    assert [line.partition(" ")[0] for line in played.differences()] == ["glm/no/such/method"]


def test_an_answer_that_never_comes_is_no_silence(person: Person) -> None:
    script = [
        ("in", request(1, "initialize", {"processId": None, "rootUri": None, "capabilities": {}})),
        ("out", {"jsonrpc": "2.0", "id": 1, "result": {}}),
        ("in", notification("exit")),
        ("out", {"jsonrpc": "2.0", "id": 2, "result": {}}),
        ("in", request(3, "shutdown")),
    ]
    with pytest.raises(AssertionError, match="the server ended before shutdown"):
        Replay(script).run(env=environment(person))


def test_it_is_a_command_too(person: Person, recorded: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lsp.replay", str(recorded)],
        cwd=HERE,
        env=environment(person),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
