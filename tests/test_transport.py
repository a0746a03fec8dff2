"""The transport, byte for byte: a real process, real pipes and sockets, and no library of the protocol in between.

The classes named for a trap hold what stock servers on pygls do wrong there.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lsp.wire import ENOUGH, SERVER, Client, framed, frames_of, notification, request
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from glm_lsp.errors import UsageError
from glm_lsp.server import frames, transport
from glm_lsp.server.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URI = "file:///w/a.py"


def at(line: int = 0) -> dict[str, Any]:
    return {"textDocument": {"uri": URI}, "position": {"line": line, "character": 0}}


def command(name: str, *arguments: Any) -> dict[str, Any]:
    return {"command": name, "arguments": list(arguments)}


def text_of(uri: str = URI) -> dict[str, Any]:
    return {"textDocument": {"uri": uri, "languageId": "python", "version": 1, "text": "one\n"}}


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + ENOUGH
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


def events(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message["params"] for message in messages if message.get("method") == "glm/event"]


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as connected:
        connected.initialize({"window": {"workDoneProgress": True}})
        yield connected


@pytest.fixture(scope="class")
def lasting() -> Iterator[Client]:
    """One process for tests that leave it as it was."""
    with Client() as connected:
        connected.initialize()
        yield connected


class TestTrapAToCCancelling:
    def test_a_cancelled_request_is_answered_once_and_its_coroutine_ends(self, client: Client) -> None:
        client.write(request("a", "textDocument/definition", at(3)))
        assert client.ask("glm/cancelled", {})["result"] == ["began"]
        client.write(notification("$/cancelRequest", {"id": "a"}), notification("$/cancelRequest", {"id": "a"}))
        assert client.answer("a")["error"]["code"] == -32800
        assert client.ask("glm/cancelled", {})["result"] == ["began", "definition 3"]
        assert client.leave() == 0
        assert [message for message in client.rest() if message.get("id") == "a"] == []

    def test_b_a_cancelled_command_is_cancelled_inside(self, client: Client) -> None:
        client.write(request(1, "workspace/executeCommand", command("wait")))
        assert client.ask("glm/cancelled", {})["result"] == ["began"]
        client.write(notification("$/cancelRequest", {"id": 1}))
        assert client.answer(1)["error"]["code"] == -32800
        assert client.ask("glm/cancelled", {})["result"] == ["began", "command"]

    def test_c_a_request_cancelled_before_it_begins_is_never_run(self, client: Client) -> None:
        client.write(
            request(0, "workspace/executeCommand", command("busy", 0.5)),
            request(1, "textDocument/definition", at()),
            notification("$/cancelRequest", {"id": 1}),
        )
        assert client.answer(1)["error"]["code"] == -32800
        assert client.ask("glm/cancelled", {})["result"] == []

    def test_c_a_cancelled_thread_is_answered_at_once_and_only_once(self, client: Client) -> None:
        client.write(request(1, "textDocument/references", {**at(10), "context": {"includeDeclaration": True}}))
        client.ask("glm/cancelled", {})
        client.write(notification("$/cancelRequest", {"id": 1}))
        assert client.answer(1)["error"]["code"] == -32800
        # A second one of the same id waits for the first thread's end and keeps its own answer.
        client.write(request(1, "textDocument/references", {**at(12), "context": {"includeDeclaration": True}}))
        assert client.answer(1)["result"] == []
        assert client.leave() == 0
        assert all("method" in message for message in client.rest())

    def test_a_notification_that_takes_long_is_no_part_of_a_request_with_an_empty_id(self, client: Client) -> None:
        client.write(
            request("", "textDocument/definition", at()),
            notification("textDocument/didSave", {"textDocument": {"uri": URI}}),
            request(1, "glm/untyped", [1]),
        )
        client.answer(1)
        client.write(notification("$/cancelRequest", {"id": ""}))
        assert client.answer("")["error"]["code"] == -32800

    @pytest.mark.parametrize("params", [None, {}, [], {"id": None}, {"id": [1]}, {"id": "nobody"}, 5], ids=repr)
    def test_a_cancellation_of_nothing_changes_nothing(self, client: Client, params: Any) -> None:
        client.write({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": params})
        assert client.ask("glm/untyped", [1])["result"] == [1]


class TestTrapDThreads:
    def test_busy_threads_do_not_keep_messages_from_being_read(self, client: Client) -> None:
        for number in range(8):  # twice as many as there are threads
            client.write(request(number, "workspace/executeCommand", command("spin", 30)))
        assert client.ask("glm/untyped", [1])["result"] == [1]
        client.write(notification("$/cancelRequest", {"id": 7}))
        assert client.answer(7)["error"]["code"] == -32800


class TestTrapEInvalidParams:
    @pytest.mark.parametrize(
        "params", [{"bad": 1}, None, [], 5, "x", {**at(), "position": {"line": "x", "character": 0}}], ids=repr
    )
    def test_params_that_do_not_fit_are_answered_in_words(self, lasting: Client, params: Any) -> None:
        error = lasting.ask("textDocument/hover", params)["error"]
        assert error["code"] == -32602
        assert "Invalid params" in error["message"]
        assert "Traceback" not in json.dumps(error)

    def test_the_words_say_where_as_the_client_spells_it(self, lasting: Client) -> None:
        assert "$.textDocument" in lasting.ask("textDocument/hover", {"position": at()["position"]})["error"]["message"]

    @pytest.mark.parametrize(
        ("params", "where"),
        [({}, "theText"), ({"theText": 5}, "$.theText"), ({"theText": "x", "versions": {"a": "b"}}, "$.versions[...]")],
    )
    def test_our_own_messages_are_checked_strictly(self, lasting: Client, params: Any, where: str) -> None:
        error = lasting.ask("glm/echo", params)["error"]
        assert error["code"] == -32602
        assert where in error["message"]

    @pytest.mark.parametrize("arguments", [[], [{"theText": "x"}, 2], [5], [{}]], ids=repr)
    def test_a_command_is_checked_too(self, lasting: Client, arguments: list[Any]) -> None:
        assert lasting.ask("workspace/executeCommand", command("one", *arguments))["error"]["code"] == -32602

    def test_a_command_that_there_is_not(self, lasting: Client) -> None:
        error = lasting.ask("workspace/executeCommand", command("none"))["error"]
        assert error == {"code": -32602, "message": "There is no command 'none'."}

    def test_a_client_that_failed_to_initialize_may_try_again(self) -> None:
        with Client() as client:
            assert client.ask("initialize", {"capabilities": 5})["error"]["code"] == -32602
            assert client.initialize()["serverInfo"]["name"] == "test"


class TestTrapFNestedMessages:
    def test_a_payload_that_holds_a_message_is_data(self, lasting: Client) -> None:
        inner = {"jsonrpc": "2.0", "id": 1, "method": "textDocument/hover", "params": {"jsonrpc": "2.0"}}
        assert lasting.ask("glm/echo", {"theText": "x", "more": inner})["result"]["more"] == inner
        assert lasting.ask("workspace/executeCommand", command("echo", inner))["result"] == [inner]


class TestTrapGWhatIsNoMessage:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"{", -32700),
            (b"", -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":NaN}', -32700),
            (b'{"a":"\xff"}', -32700),
            (b"[" * 100_000, -32700),
            (b"[]", -32600),
            (b'[{"jsonrpc":"2.0","id":1,"method":"shutdown"}]', -32600),
            (b"5", -32600),
            (b"null", -32600),
            (b"{}", -32600),
            (b'{"jsonrpc":"2.0","method":5}', -32600),
            (b'{"jsonrpc":"2.0","id":null,"method":"shutdown"}', -32600),
            (b'{"jsonrpc":"2.0","id":1.5,"method":"shutdown"}', -32600),
            (b'{"jsonrpc":"2.0","id":true,"method":"shutdown"}', -32600),
            (b'{"jsonrpc":"2.0","id":[1],"method":"shutdown"}', -32600),
        ],
        ids=lambda value: repr(value)[:50],
    )
    def test_it_is_answered_with_a_null_id(self, lasting: Client, body: bytes, code: int) -> None:
        lasting.write(body)
        answer = lasting.answer(None)
        assert answer["error"]["code"] == code
        assert lasting.ask("glm/untyped", [1])["result"] == [1]

    @pytest.mark.parametrize(
        "message",
        [{"id": 1, "method": "glm/untyped"}, {"jsonrpc": "1.0", "id": 1, "method": "x"}, {"jsonrpc": "2.0", "id": 1}],
        ids=repr,
    )
    def test_a_request_that_is_none_is_answered_under_its_id(self, lasting: Client, message: Any) -> None:
        lasting.write(message)
        assert lasting.answer(1)["error"]["code"] == -32600

    @pytest.mark.parametrize(
        "header",
        [
            b"content-length: %d\r\n\r\n",
            b"CONTENT-LENGTH:%d\r\n\r\n",
            b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: %d\r\n\r\n",
            b"Content-Length: %d\r\nContent-Type: x\r\n\r\n",
            b"Content-Length: %d\n\n",
        ],
    )
    def test_a_header_may_be_spelled_in_many_ways(self, lasting: Client, header: bytes) -> None:
        body = json.dumps(request(1, "glm/untyped", [1])).encode()
        lasting.write_raw(header % len(body) + body)
        assert lasting.answer(1)["result"] == [1]

    @pytest.mark.parametrize(
        "garbage",
        [
            b"hello\r\n\r\n",
            b"\x00" * 100_000,
            b"Content-Length: -5\r\n\r\n",
            b"Content-Length: 1e3\r\n\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"Content-Length: 10\r\n\r\n{}",
            b"Content-Length: 1\r\n\r\n{}}}",
            b"X" * 20_000 + b"\r\n\r\n",
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_after_garbage_the_next_message_is_understood(self, lasting: Client, garbage: bytes) -> None:
        lasting.write_raw(garbage + framed(request(1, "glm/untyped", [1])))
        assert lasting.answer(1)["result"] == [1]
        assert lasting.ask("glm/untyped", [2])["result"] == [2]

    def test_a_message_over_the_limit_is_refused_and_skipped(self) -> None:
        with Client("limit_bytes=1000") as client:
            client.initialize()
            client.write(request(1, "glm/untyped", ["x" * 5000]), request(2, "glm/untyped", [2]))
            assert "1000 bytes" in client.answer(None)["error"]["message"]
            assert client.answer(2)["result"] == [2]

    def test_a_length_beyond_all_bounds_ends_the_connection(self) -> None:
        with Client() as client:
            client.write_raw(b"Content-Length: 999999999999999999\r\n\r\n")
            assert client.process.wait(ENOUGH) == 1

    @pytest.mark.parametrize("method", ["textDocument/declaration", "textDocument/implementation"])
    @pytest.mark.parametrize(
        ("line", "code", "data"),
        [
            (0, -32803, {"code": "unreachable", "hint": "Start the engine."}),
            (1, -32801, {"code": "conflict", "hint": "Try again."}),
            (2, -32603, None),
            (3, -32602, None),
            (4, -32603, None),
        ],
    )
    def test_a_failing_handler_gives_a_code_and_no_traceback(
        self, lasting: Client, method: str, line: int, code: int, data: Any
    ) -> None:
        error = lasting.ask(method, at(line))["error"]
        assert error["code"] == code
        assert error.get("data") == data
        assert "secret" not in json.dumps(error)
        assert "Traceback" not in json.dumps(error)

    def test_an_incident_is_in_the_log_under_the_number_the_client_has(self, tmp_path: Path) -> None:
        log = tmp_path / "state" / "server.log"
        with Client(f"log={log}") as client:
            client.initialize()
            number = client.ask("textDocument/declaration", at(2))["error"]["message"].split()[-1].rstrip(".")
            assert f"incident {number}" in log.read_text(encoding="utf-8")
            assert log.stat().st_mode & 0o777 == 0o600

    def test_a_result_that_json_cannot_say_is_an_error(self, lasting: Client) -> None:
        error = lasting.ask("textDocument/documentSymbol", {"textDocument": {"uri": URI}})["error"]
        assert error["code"] == -32603

    @pytest.mark.parametrize("method", ["textDocument/nothing", "$/nothing", "textDocument/didOpen", "exit", ""])
    def test_a_method_that_is_no_request_of_ours(self, lasting: Client, method: str) -> None:
        assert lasting.ask(method, text_of())["error"]["code"] == -32601

    def test_a_request_sent_as_a_notification_does_nothing(self, lasting: Client) -> None:
        lasting.write(notification("shutdown"), notification("glm/nothing"), notification("textDocument/hover", 5))
        assert lasting.ask("glm/untyped", [1])["result"] == [1]

    def test_a_failing_notification_tells_the_person_what_can_be_told(self, lasting: Client) -> None:
        lasting.write(notification("textDocument/didSave", {"textDocument": {"uri": "file:///gone"}}))
        assert lasting.told("window/showMessage")["params"] == {
            "type": 2,
            "message": "There is no such file. Save it again.",
        }
        lasting.write(notification("textDocument/didSave", {"textDocument": {"uri": URI}}))
        assert "secret" not in lasting.told("window/logMessage")["params"]["message"]


class TestTrapHLifeCycle:
    def test_before_initialize_requests_are_refused_and_notifications_dropped(self) -> None:
        with Client() as client:
            client.write(notification("textDocument/didOpen", text_of()))
            assert client.ask("textDocument/hover", at())["error"]["code"] == -32002
            client.initialize()
            assert client.ask("initialize", {"processId": None, "capabilities": {}})["error"]["code"] == -32600

    def test_after_shutdown_requests_are_refused(self, client: Client) -> None:
        client.write(request(1, "textDocument/definition", at()))
        client.ask("glm/cancelled", {})
        client.write(request(2, "shutdown"))
        first, second = client.next(), client.next()
        assert (first["id"], first["error"]["code"]) == (1, -32800), "open requests are answered first"
        assert second == {"jsonrpc": "2.0", "id": 2, "result": None}
        assert client.ask("glm/untyped", [1])["error"]["code"] == -32600
        assert client.ask("shutdown")["error"]["code"] == -32600
        client.write(notification("exit"))
        assert client.process.wait(ENOUGH) == 0

    def test_exit_without_shutdown_is_a_failure(self, client: Client) -> None:
        client.write(request(1, "textDocument/definition", at()), notification("exit"))
        assert client.process.wait(ENOUGH) == 1
        assert client.answer(1)["error"]["code"] == -32800

    def test_an_id_in_use_is_refused_and_the_first_goes_on(self, client: Client) -> None:
        client.write(request(1, "textDocument/definition", at()), request(1, "glm/untyped", [1]))
        assert "id" in client.answer(1)["error"]["message"]
        client.write(notification("$/cancelRequest", {"id": 1}))
        assert client.answer(1)["error"]["code"] == -32800

    @pytest.mark.parametrize("number", [0, -1, 2**60, "", "1", "ü\U0001f600", 10**30], ids=repr)
    def test_an_id_comes_back_as_it_was(self, client: Client, number: Any) -> None:
        client.write(request(number, "glm/untyped", [1]))
        assert client.answer(number)["result"] == [1]

    def test_a_handler_sees_the_documents_as_they_were_when_its_request_was_sent(self, client: Client) -> None:
        client.write(notification("textDocument/didOpen", text_of()))
        for version in range(2, 50):
            change = {"textDocument": {"uri": URI, "version": version}, "contentChanges": [{"text": f"{version}"}]}
            client.write(notification("textDocument/didChange", change), request(version, "textDocument/hover", at()))
        for version in range(2, 50):
            assert client.answer(version)["result"]["contents"]["value"] == f"{version}:{version}"


class TestTrapIAClientThatDoesNotRead:
    def test_the_loop_goes_on_and_deltas_merge_without_losing_a_word(self) -> None:
        with Client(paused=True) as client:
            params = {"processId": None, "capabilities": {}}
            client.write(request(0, "initialize", params))
            client.write(request(1, "workspace/executeCommand", command("stream", 20_000, 100, "t")))
            client.write(request(2, "glm/cancelled", {}))
            time.sleep(0.5)  # the pipe is full by now
            client.write(request(3, "workspace/executeCommand", command("echo", "x")))
            client.read_on()
            client.answer(1)
            client.answer(3)
            seen = events(client.aside)
            assert [event["seq"] for event in seen] == list(range(len(seen)))
            assert seen[-1]["kind"] == "end"
            assert len(seen) < 3000, "they were merged"
            text = "".join(event["text"] for event in seen)
            assert text == "".join(f"{number:07d}".ljust(100, ".") for number in range(20_000))

    def test_a_client_that_falls_too_far_behind_is_given_up(self) -> None:
        with Client("waiting_bytes=1000000", paused=True) as client:
            client.write(request(0, "initialize", {"processId": None, "capabilities": {}}))
            client.write(request(1, "workspace/executeCommand", command("flood", 10_000, 1000)))
            assert client.process.wait(ENOUGH) == 1
            assert b"has not read for long" in client.stderr or until(lambda: b"not read" in client.stderr)

    def test_streams_of_several_turns_keep_their_order_and_end_before_the_answer(self, client: Client) -> None:
        for number in range(5):
            client.write(request(number, "workspace/executeCommand", command("stream", 50, 20, f"turn {number}")))
        for number in range(5):
            assert client.answer(number)["result"] == 50
        ends = [event for event in events(client.aside) if event["kind"] == "end"]
        assert len(ends) == 5
        for event in events(client.aside):
            assert len(event["text"]) <= 4096


class TestTrapJTheEnd:
    def ended(self, client: Client) -> int:
        began = time.monotonic()
        code = client.process.wait(ENOUGH)
        assert time.monotonic() - began < 10, "it waited for the thread, which sleeps for half a minute"
        return code

    @pytest.mark.parametrize("busy", ["spin", "wait", "unstoppable"])
    def test_a_closed_stream_ends_the_process_whatever_runs(self, client: Client, busy: str) -> None:
        client.write(request(1, "workspace/executeCommand", command(busy, *([30] if busy == "spin" else []))))
        client.ask("glm/cancelled", {})
        client.hang_up()
        assert self.ended(client) == 1
        assert client.answer(1)["error"]["code"] == -32800

    def test_requests_before_the_end_of_the_stream_are_answered(self, client: Client) -> None:
        client.write(*(request(number, "glm/untyped", [number]) for number in range(100)))
        client.hang_up()
        assert [message["result"] for message in client.rest()] == [[number] for number in range(100)]

    def test_a_closed_stream_after_shutdown_is_no_failure(self, client: Client) -> None:
        client.ask("shutdown")
        client.hang_up()
        assert self.ended(client) == 0

    def test_a_signal_ends_it_in_order(self, client: Client) -> None:
        client.write(request(1, "textDocument/definition", at()))
        client.ask("glm/cancelled", {})
        client.process.send_signal(signal.SIGTERM)
        assert client.answer(1)["error"]["code"] == -32800
        assert self.ended(client) == 1

    def test_a_client_that_closes_its_ear_ends_it(self, client: Client) -> None:
        assert client.process.stdout
        with Client(paused=True) as deaf:
            assert deaf.process.stdout
            deaf.process.stdout.close()
            deaf.write(request(0, "initialize", {"processId": None, "capabilities": {}}))
            assert self.ended(deaf) == 1
            deaf.process.stdout = Path(os.devnull).open("rb")  # noqa: SIM115 - closed by the client
            deaf._reading = threading.Thread(target=int)

    def test_the_death_of_the_editor_ends_it(self) -> None:
        editor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with Client("watch=0.1") as client:
            client.initialize(processId=editor.pid)
            time.sleep(0.4)
            assert client.ask("glm/untyped", [1])["result"] == [1]
            editor.communicate(b"\n")
            assert self.ended(client) == 1

    def test_an_editor_that_it_cannot_see_is_not_taken_for_dead(self) -> None:
        with Client("watch=0.05") as client:
            client.initialize(processId=2**22 + 5)
            time.sleep(0.3)
            assert client.ask("glm/untyped", [1])["result"] == [1]

    def test_the_death_of_whoever_started_it_ends_it(self, tmp_path: Path) -> None:
        # The launcher starts the server with a pipe that stays open elsewhere, and dies.
        code = (
            "import subprocess, sys, os\n"
            f"p = subprocess.Popen([sys.executable, {str(SERVER)!r}, 'watch=0.1'])\n"
            "print(p.pid, file=sys.stderr, flush=True)\n"
            "import time; time.sleep(1.5)\n"
        )
        launcher = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert launcher.stdin
        assert launcher.stderr
        assert launcher.stdout
        server = int(launcher.stderr.readline())
        launcher.wait(ENOUGH)
        launcher.stdout.read()  # ends when the server has gone
        until(lambda: not Path(f"/proc/{server}").exists() or state_of(server) == "Z")
        for pipe in (launcher.stdin, launcher.stdout, launcher.stderr):
            pipe.close()


class TestTrapKProgress:
    def test_a_bar_begins_reports_ends_and_is_forgotten(self, client: Client) -> None:
        client.write(request(1, "workspace/executeCommand", command("progress", 20)))
        for number in range(20):
            created = client.told("window/workDoneProgress/create")
            client.write({"jsonrpc": "2.0", "id": created["id"], "result": None})
            token = created["params"]["token"]
            values = [client.told("$/progress")["params"] for _ in range(3)]
            assert {value["token"] for value in values} == {token}
            assert [value["value"] for value in values] == [
                {"kind": "begin", "title": f"Work {number}", "cancellable": True},
                {"kind": "report", "message": "half", "percentage": 50},
                {"kind": "end", "message": "done"},
            ]
        assert client.answer(1)["result"] == 0

    def test_a_client_without_bars_is_asked_for_none(self) -> None:
        with Client() as client:
            client.initialize()
            assert client.ask("workspace/executeCommand", command("progress", 3))["result"] == 0
            assert client.aside == []

    def test_a_client_that_never_agrees_does_not_hold_up_the_work(self, client: Client) -> None:
        assert client.ask("workspace/executeCommand", command("progress", 3))["result"] == 0
        assert {message["method"] for message in client.aside} == {"window/workDoneProgress/create"}

    def test_a_token_of_the_client_needs_no_agreement(self, client: Client) -> None:
        assert client.ask("workspace/executeCommand", command("progress", 1, "mine"))["result"] == 0
        assert {message["method"] for message in client.aside} == {"$/progress"}

    def test_the_persons_cancel_reaches_the_work(self, client: Client) -> None:
        client.write(request(1, "workspace/executeCommand", command("cancellable")))
        created = client.told("window/workDoneProgress/create")
        client.write({"jsonrpc": "2.0", "id": created["id"], "result": None})
        client.told("$/progress")
        client.write(notification("window/workDoneProgress/cancel", {"token": created["params"]["token"]}))
        assert client.answer(1)["result"] == "the person cancelled"

    def test_tokens_of_pygls_own_bars_are_forgotten_too(self, client: Client) -> None:
        assert client.ask("workspace/executeCommand", command("pygls progress", 100))["result"] == 0


class TestTrapLCustomMessages:
    def test_typed_messages_keep_every_key(self, client: Client) -> None:
        more = {"class": 1, "a-b": {"type_name": 2}, "": None}
        asked = {"theText": "x", "versions": {"src/a.py": 3}, "more": more}
        assert client.ask("glm/echo", asked)["result"] == asked

    def test_messages_without_a_type_are_plain_data(self, client: Client) -> None:
        plain = {"class": 1, "a-b": {"type_name": 2}}
        assert client.ask("glm/untyped", plain)["result"] == plain

    def test_an_answer_of_the_client_is_typed(self, client: Client) -> None:
        client.write(request(1, "workspace/executeCommand", command("permission", "May I?")))
        asked = client.told("glm/permission")
        assert asked["params"]["theText"] == "May I?"
        client.write({"jsonrpc": "2.0", "id": asked["id"], "result": {"theText": "yes"}})
        assert client.answer(1)["result"] == "yes"

    @pytest.mark.parametrize(
        "answer",
        [{"result": {"wrong": 1}}, {"result": 5}, {"error": {"code": -32601, "message": "no"}}, {"error": 5}],
        ids=repr,
    )
    def test_a_bad_answer_of_the_client_fails_only_the_question(self, client: Client, answer: Any) -> None:
        client.write(request(1, "workspace/executeCommand", command("permission", "May I?")))
        client.write({"jsonrpc": "2.0", "id": client.told("glm/permission")["id"], **answer})
        assert "error" in client.answer(1)
        assert client.ask("glm/untyped", [1])["result"] == [1]

    def test_a_question_that_is_no_longer_asked_is_withdrawn(self, client: Client) -> None:
        client.write(request(1, "workspace/executeCommand", command("permission", "May I?")))
        asked = client.told("glm/permission")
        client.write(notification("$/cancelRequest", {"id": 1}))
        assert client.told("$/cancelRequest")["params"] == {"id": asked["id"]}
        assert client.answer(1)["error"]["code"] == -32800
        client.write({"jsonrpc": "2.0", "id": asked["id"], "result": {"theText": "late"}})
        assert client.ask("glm/untyped", [1])["result"] == [1]

    def test_a_standard_question_is_answered_by_plain_values(self, client: Client) -> None:
        client.write(request(1, "workspace/executeCommand", command("configuration")))
        asked = client.told("workspace/configuration")
        assert asked["params"] == {"items": [{"section": "glm"}]}
        client.write({"jsonrpc": "2.0", "id": asked["id"], "result": [{"thinking": "on"}]})
        assert client.answer(1)["result"] == [{"thinking": "on"}]


class TestTrapMPayloadsAreNeverLogged:
    def test_nothing_of_a_message_is_in_the_log_or_on_stderr(self, tmp_path: Path) -> None:
        log = tmp_path / "server.log"
        with Client(f"log={log}") as client:
            client.initialize(initializationOptions={"key": "hunter2"}, rootUri="file:///hunter2")
            opened = text_of()
            opened["textDocument"]["text"] = "hunter2"
            client.write(notification("textDocument/didOpen", opened))
            client.ask("textDocument/hover", at())
            client.ask("glm/echo", {"theText": 5, "hunter2": "hunter2"})
            client.write(b'{"hunter2"', {"jsonrpc": "2.0", "id": "nobody", "result": "hunter2"})
            client.write(notification("textDocument/didSave", {"hunter2": "hunter2"}))
            client.ask("workspace/executeCommand", command("echo", "hunter2"))
            client.leave()
            assert "notification" in log.read_text(encoding="utf-8")
            assert "hunter2" not in log.read_text(encoding="utf-8")
            assert b"hunter2" not in client.stderr


class TestTrapNThreads:
    def test_threads_may_send_and_lose_nothing(self, client: Client) -> None:
        for number in range(4):
            client.write(request(number, "workspace/executeCommand", command("tell from threads", f"t{number}", 500)))
        for number in range(4):
            client.answer(number)
        for name in ("t0", "t1", "t2", "t3"):
            told = [m["params"]["number"] for m in client.aside if m["params"]["name"] == name]
            assert told == list(range(500))


class TestTrapOText:
    def test_text_goes_out_as_it_is(self, lasting: Client) -> None:
        text = "日本語 \U0001f600 é"
        lasting.ask("workspace/executeCommand", command("echo", text))
        assert any(text.encode() in body for body in lasting.bodies)

    def test_lone_surrogates_neither_break_nor_reach_a_strict_reader(self, lasting: Client) -> None:
        assert lasting.ask("workspace/executeCommand", command("surrogates"))["result"] == "a\ufffdb\U0001f600c"
        assert lasting.ask("glm/untyped", ["a\ud800b"])["result"] == ["a\ufffdb"]

    def test_an_id_that_is_a_lone_surrogate_comes_back(self, lasting: Client) -> None:
        lasting.write(request("\ud800", "glm/untyped", [1]))
        assert lasting.answer("\ud800")["result"] == [1]


class TestTrapPIds:
    def test_ids_of_both_sides_do_not_meet(self, lasting: Client) -> None:
        lasting.write(request("glm-ask-1", "workspace/executeCommand", command("permission", "May I?")))
        asked = lasting.told("glm/permission")
        assert asked["id"] == "glm-ask-1", "the worst case"
        lasting.write(request("other", "glm/untyped", [1]))
        assert lasting.answer("other")["result"] == [1]
        lasting.write({"jsonrpc": "2.0", "id": asked["id"], "result": {"theText": "yes"}})
        assert lasting.answer("glm-ask-1")["result"] == "yes"


class TestStdout:
    def test_a_stray_print_or_child_does_not_reach_the_client(self, client: Client) -> None:
        assert client.ask("workspace/executeCommand", command("print"))["result"] is None
        assert client.ask("workspace/executeCommand", command("stdin"))["result"] == "", "stdin is ours alone"
        assert client.leave() == 0
        assert b"a stray print" in client.stderr
        assert b"a stray child" in client.stderr

    def test_pipes_that_do_not_block_are_served_too(self) -> None:
        into, out = os.pipe()
        back, over = os.pipe()
        os.set_blocking(into, False)
        os.set_blocking(over, False)
        server = subprocess.Popen([sys.executable, str(SERVER)], stdin=into, stdout=over)
        os.close(into)
        os.close(over)
        os.write(out, framed(request(1, "initialize", {"processId": None, "capabilities": {}})))
        big = framed(request(2, "glm/untyped", ["x" * 500_000]))
        writing = threading.Thread(target=lambda: [os.write(out, big[i : i + 4096]) for i in range(0, len(big), 4096)])
        writing.start()
        bodies = list(itertools.islice(frames_of(lambda most: os.read(back, most)), 2))
        writing.join()
        assert len(bodies[1]) > 500_000
        os.close(out)
        assert server.wait(ENOUGH) == 1
        os.close(back)


class TestTrace:
    def traced(self, client: Client, level: str) -> dict[str, Any]:
        client.write(notification("$/setTrace", {"value": level}))
        client.ask("glm/untyped", ["hunter2"])
        while "untyped" not in (params := client.told("$/logTrace")["params"])["message"]:
            pass
        return params

    def test_messages_are_named_with_id_and_time(self, client: Client) -> None:
        params = self.traced(client, "messages")
        assert params.keys() == {"message"}
        assert params["message"].startswith("glm/untyped (")
        assert params["message"].endswith(" ms")

    def test_verbose_adds_sizes_and_never_content(self, client: Client) -> None:
        params = self.traced(client, "verbose")
        assert "bytes" in params["verbose"]
        assert "hunter2" not in json.dumps(params)

    def test_off_says_nothing(self, client: Client) -> None:
        client.ask("glm/untyped", [1])
        client.ask("glm/untyped", [1])
        assert client.aside == []


class TestInitialize:
    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (["utf-8", "utf-16"], "utf-8"),
            (["utf-32", "utf-8", "utf-16"], "utf-32"),
            (["utf-16"], "utf-16"),
            (["utf-7"], "utf-16"),
            (None, "utf-16"),
        ],
        ids=repr,
    )
    def test_positions_are_counted_as_the_client_likes_best(self, offered: list[str] | None, chosen: str) -> None:
        with Client() as client:
            general = {"positionEncodings": offered} if offered else {}
            assert client.initialize({"general": general})["capabilities"]["positionEncoding"] == chosen

    def test_a_session_can_be_recorded(self, tmp_path: Path) -> None:
        record = tmp_path / "record"
        with Client(f"record={record}") as client:
            client.initialize()
            client.leave()
        lines = record.read_bytes().splitlines()
        assert lines[0].startswith(b"in ")
        assert b'"initialize"' in lines[0]
        assert {line.split()[0] for line in lines} == {b"in", b"out"}


class TestTcp:
    @pytest.fixture
    def address(self) -> Iterator[tuple[str, int]]:
        with Client("mode=tcp", paused=True) as server:
            line = os.read(server._out, 1000).decode()
            host, port = line.strip().removeprefix("glm-lsp listens on tcp://").rsplit(":", 1)
            yield host, int(port)

    def test_several_clients_at_once_each_have_a_server_of_their_own(self, address: tuple[str, int]) -> None:
        with socket.create_connection(address) as one, socket.create_connection(address) as two:
            inboxes = [frames_of(one.recv), frames_of(two.recv)]
            for number, (end, inbox) in enumerate(zip((one, two), inboxes, strict=True)):
                opened = text_of()
                opened["textDocument"]["text"] = f"of client {number}"
                end.sendall(framed(request(1, "initialize", {"processId": None, "capabilities": {}})))
                assert json.loads(next(inbox))["id"] == 1
                end.sendall(framed(notification("textDocument/didOpen", opened)))
            for number, (end, inbox) in enumerate(zip((one, two), inboxes, strict=True)):
                end.sendall(framed(request(2, "textDocument/hover", at())))
                assert json.loads(next(inbox))["result"]["contents"]["value"] == f"1:of client {number}"
            one.sendall(framed(notification("exit")))
            assert one.recv(1) == b""
            two.sendall(framed(request(3, "glm/untyped", [1])))
            assert json.loads(next(inboxes[1]))["result"] == [1]

    def test_a_client_that_vanishes_leaves_the_others_alone(self, address: tuple[str, int]) -> None:
        gone = socket.create_connection(address)
        gone.sendall(b"Content-Length: 100\r\n\r\n{")
        gone.close()
        with socket.create_connection(address) as end:
            end.sendall(framed(request(1, "initialize", {"processId": None, "capabilities": {}})))
            assert json.loads(next(frames_of(end.recv)))["id"] == 1

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
    def test_it_does_not_listen_to_other_machines_unasked(self, host: str) -> None:
        with pytest.raises(UsageError, match="other machines"):
            transport.serve_tcp(lambda: pytest.fail("nobody connects"), host)


class TestWebSocket:
    @pytest.fixture
    def url(self) -> Iterator[str]:
        with Client("mode=ws", paused=True) as server:
            yield os.read(server._out, 1000).decode().strip().removeprefix("glm-lsp listens on ")

    @pytest.mark.parametrize(
        "how",
        [
            {"path": "/?token=sesame"},
            {"subprotocols": ["glm-lsp.sesame"]},
            {"path": "/?token=sesame", "origin": "http://localhost:8080"},
        ],
        ids=repr,
    )
    def test_whoever_knows_the_token_is_served(self, url: str, how: dict[str, Any]) -> None:
        with connect(url + how.pop("path", "/"), **how) as end:
            end.send(json.dumps(request(1, "initialize", {"processId": None, "capabilities": {}})))
            assert json.loads(end.recv())["id"] == 1
            end.send(json.dumps(request(2, "glm/untyped", ["é"])))
            assert json.loads(end.recv()) == {"jsonrpc": "2.0", "id": 2, "result": ["é"]}
            end.send("[")
            assert json.loads(end.recv())["error"]["code"] == -32700
            end.send(json.dumps(notification("exit")))
            assert list(end) == []

    @pytest.mark.parametrize(
        "how",
        [
            {},
            {"path": "/?token=open"},
            {"subprotocols": ["glm-lsp.open"]},
            {"path": "/?token=sesame", "origin": "https://evil.example"},
            {"path": "/?token=sesame", "origin": "null"},
        ],
        ids=repr,
    )
    def test_anyone_else_gets_403(self, url: str, how: dict[str, Any]) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            connect(url + how.pop("path", "/"), **how)
        assert refusal.value.response.status_code == 403

    def test_there_is_no_web_socket_without_a_token(self) -> None:
        with pytest.raises(UsageError, match="token"):
            transport.serve_websocket(lambda: pytest.fail("nobody connects"), token="")


class TestFrames:
    @pytest.mark.parametrize("step", [1, 2, 7, 64, 100_000])
    def test_messages_are_cut_right_however_the_bytes_arrive(self, step: int) -> None:
        stream = b"junk\r\n\r\n" + framed(b'{"a":1}') + b"more junk" + framed("é" * 50) + framed(b"") + framed([1])
        pieces = iter([stream[i : i + step] for i in range(0, len(stream), step)])
        reader = frames.FrameReader(lambda _most: next(pieces, b""))
        found = list(iter(reader.next, None))
        bodies = [body for body in found if isinstance(body, bytes)]
        assert [json.loads(body) for body in bodies if body] == [{"a": 1}, "é" * 50, [1]]
        assert sum(isinstance(body, frames.Broken) for body in found) == 2

    @pytest.mark.parametrize("text", ["", "é", "a\ud800", "\udfff\ud800", "\ud83d" + "\ude00", "\U0001f600"], ids=ascii)
    def test_replaced_text_is_as_long_as_it_was_in_utf_16(self, text: str) -> None:
        before = len(text.encode("utf-16-le", "surrogatepass"))
        assert len(frames.sound(text).encode("utf-16-le")) == before


class Piece:
    """A delta of digits that notes when it was encoded."""

    def __init__(self, text: str, written: list[str]) -> None:
        self.text = text
        self.written = written
        self.size = len(text)

    def merged(self, other: Piece) -> Piece | None:
        return Piece(self.text + other.text, self.written) if other.text.isdigit() and self.text.isdigit() else None

    def encode(self) -> bytes:
        self.written.append(self.text)
        return self.text.encode()


class TestOutbox:
    def through(self, use: Callable[[Outbox, Callable[[str], Piece]], None], **options: Any) -> list[bytes]:
        written: list[bytes] = []
        encoded: list[str] = []
        outbox = Outbox(written.extend, pytest.fail, **options)
        use(outbox, lambda text: Piece(text, encoded))
        assert outbox.close(ENOUGH)
        return written

    def test_deltas_of_a_key_that_come_close_together_are_one(self) -> None:
        def use(outbox: Outbox, piece: Callable[[str], Piece]) -> None:
            for digit in "123":
                outbox.stream("a", piece(digit))
                outbox.stream("b", piece(digit))

        assert self.through(use, coalesce_ms=60_000) == [b"123", b"123"]

    def test_a_message_of_the_same_key_comes_after_them(self) -> None:
        def use(outbox: Outbox, piece: Callable[[str], Piece]) -> None:
            outbox.stream("a", piece("1"))
            outbox.stream("b", piece("2"))
            outbox.send(b"end of a", "a")
            outbox.stream("a", piece("3"))
            outbox.send(b"answer")

        found = self.through(use, coalesce_ms=60_000)
        assert found[:2] == [b"1", b"end of a"]
        assert sorted(found[2:4]) == [b"2", b"3"]
        assert found[4:] == [b"answer"]

    def test_deltas_that_do_not_go_together_keep_their_order(self) -> None:
        def use(outbox: Outbox, piece: Callable[[str], Piece]) -> None:
            for text in ("1", "2", "x", "y", "3"):
                outbox.stream("a", piece(text))

        assert self.through(use, coalesce_ms=60_000) == [b"12", b"x", b"y", b"3"]

    def test_a_lot_is_written_before_its_time(self) -> None:
        written: list[bytes] = []
        outbox = Outbox(written.extend, pytest.fail, coalesce_ms=60_000)
        for _ in range(40):
            outbox.stream("a", Piece("1" * 100, []))
        until(lambda: sum(map(len, written)) >= 2048)
        assert outbox.close(ENOUGH)
        assert sum(map(len, written)) == 4000

    def test_a_delta_is_written_when_its_time_has_come(self) -> None:
        written: list[bytes] = []
        outbox = Outbox(written.extend, pytest.fail, coalesce_ms=20)
        outbox.stream("a", Piece("1", []))
        until(lambda: written == [b"1"])
        assert outbox.close(ENOUGH)

    def test_while_the_client_does_not_read_deltas_go_on_merging(self) -> None:
        go = threading.Event()
        written: list[bytes] = []

        def write(bodies: list[bytes]) -> None:
            go.wait(ENOUGH)
            written.extend(bodies)

        outbox = Outbox(write, pytest.fail, coalesce_ms=0)
        outbox.send(b"first")
        until(lambda: outbox.waiting_bytes == 0)
        for number in range(10_000):
            outbox.stream("a", Piece(str(number % 10), []))
        outbox.send(b"end", "a")
        outbox.stream("a", Piece("7", []))
        go.set()
        assert outbox.close(ENOUGH)
        assert written == [b"first", b"0123456789" * 1000, b"end", b"7"]

    def test_a_client_is_given_up_once_and_nothing_more_is_taken(self) -> None:
        go = threading.Event()
        given_up: list[str] = []
        outbox = Outbox(lambda _bodies: go.wait(ENOUGH) and None, given_up.append, limit_bytes=1000)
        for _ in range(1000):
            outbox.send(b"x" * 100)
        assert len(given_up) == 1
        assert outbox.waiting_bytes == 0
        go.set()
        assert not outbox.close(ENOUGH)

    def test_a_message_that_cannot_be_encoded_does_not_stop_the_others(self) -> None:
        class Bad:
            def encode(self) -> bytes:
                raise ValueError("no")

        def use(outbox: Outbox, _piece: Callable[[str], Piece]) -> None:
            outbox.send(Bad())
            outbox.send(b"good")

        assert self.through(use) == [b"good"]


def state_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"
