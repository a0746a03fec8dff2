"""What an editor waits for when it starts the server, and what the server tells of itself before it has imported it.

Never measures time: what is not imported takes none.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from lsp.wire import framed, frames_of, notification, request
from lsprotocol import types
from stories import project

from glm_lsp import actions
from glm_lsp.server import app, commands, desk
from glm_lsp.server.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAVY = {
    "aiohttp",
    "click",
    "glm_lsp.actions",
    "glm_lsp.cli",
    "glm_lsp.conversations",
    "glm_lsp.edits",
    "glm_lsp.engine",
    "glm_lsp.settings",
    "glm_lsp.turn",
    "glm_lsp.workspace",
    "prompt_toolkit",
    "rich",
    "sqlite3",
    "tree_sitter",
    "websockets",
}
"""What the answer to `initialize` can do without."""

NOTING = """
import sys
from glm_lsp.server import app, transport

def note(way, at, body):
    if way == "out" and b"serverInfo" in body:
        print(*sorted(sys.modules), file=sys.stderr)

sys.exit(transport.serve_stdio(app.create_server(record=note)))
"""
INITIALIZE = request(1, "initialize", {"processId": None, "rootUri": None, "capabilities": {}})
BYE = (request(9, "shutdown"), notification("exit"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    config, state = str(tmp_path / "config"), str(tmp_path / "state")
    return {**os.environ, "XDG_CONFIG_HOME": config, "GLM_LSP_STATE_DIR": state}


def ran(arguments: list[str], environment: dict[str, str], *messages: dict[str, Any]) -> tuple[str, str]:
    """What a server says to these messages, and what it prints; it must end well."""
    said = b"".join(framed(message) for message in messages)
    command = [sys.executable, *arguments]
    process = subprocess.run(command, input=said, capture_output=True, env=environment, timeout=30, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout.decode(), process.stderr.decode()


def test_the_answer_to_initialize_waits_for_none_of_the_heavy_modules(environment: dict[str, str]) -> None:
    _, printed = ran(["-c", NOTING], environment, INITIALIZE, *BYE)
    modules = set(printed.split())
    assert "lsprotocol.types" in modules
    assert modules & HEAVY == set()


def test_the_command_that_editors_start_is_served_without_the_command_line(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said, printed = ran(["-X", "importtime", "-m", "glm_lsp", "--stdio"], environment, INITIALIZE, *BYE)
    assert '"serverInfo"' in said
    assert "glm_lsp.server.app" in printed
    assert "glm_lsp.cli" not in printed
    assert (tmp_path / "state" / "server.log").exists()


def test_what_is_told_without_importing_it_is_what_there_is() -> None:
    assert tuple(action.id for action in actions.ACTIONS) == app.ACTIONS
    assert tuple(commands.COMMANDS) == app.COMMANDS
    assert (desk.DIFFS, desk.TRANSCRIPTS) == app.SCHEMES


COLLECTING = """
import atexit, gc, sys
from glm_lsp.__main__ import main

early = []

def note(phase, info):
    if "glm_lsp.server.live" not in sys.modules:
        early.append(phase)

gc.callbacks.append(note)
atexit.register(lambda: print(len(early), gc.isenabled(), gc.get_freeze_count() > 10_000, file=sys.stderr))
sys.argv = ["glm-lsp", "--stdio"]
main()
"""


def test_garbage_is_looked_for_only_after_the_greeting_and_not_among_what_stays(environment: dict[str, str]) -> None:
    listed = request(2, "glm/conversation/list", {})
    _, printed = ran(["-c", COLLECTING], environment, INITIALIZE, listed, *BYE)
    assert printed.split() == ["0", "True", "True"]


def test_a_server_among_others_leaves_the_collection_of_garbage_alone() -> None:
    server = app.create_server()
    frozen = gc.get_freeze_count()
    server.before("initialized")
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


@contextlib.contextmanager
def started(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "glm_lsp", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_request_of_ours_is_answered_though_the_client_never_says_initialized(
    environment: dict[str, str], tmp_path: Path
) -> None:
    root = project(tmp_path / "work", a_py="x = 1\n")
    meeting = request(1, "initialize", {"processId": None, "rootUri": root.as_uri(), "capabilities": {}})
    with started(environment) as process:
        assert process.stdin
        assert process.stdout
        for message in (meeting, request(2, "glm/conversation/list", {}), request(3, "glm/nobody/knows", {})):
            process.stdin.write(framed(message))
        process.stdin.flush()
        answers: dict[int, Any] = {}
        for body in frames_of(process.stdout.raw.read):  # type: ignore[attr-defined]  # a pipe has it
            message = json.loads(body)
            if "id" in message and "method" not in message:
                answers[message["id"]] = message
            if len(answers) == 3:
                break
    assert answers[2]["result"] == {"conversations": []}
    assert answers[3]["error"]["code"] == types.ErrorCodes.MethodNotFound


@pytest.mark.parametrize(("asked", "agreed"), [(0, 0), (250, 250), (-5, 0), (10**6, 1000)])
def test_deltas_wait_as_long_for_each_other_as_the_client_asked(asked: int, agreed: int) -> None:
    server = app.create_server()
    server.protocol.outbox = outbox = Outbox(lambda _bodies: None, lambda _why: None)
    server.can = types.ClientCapabilities(experimental={"glm": {"protocol": 1, "coalesceMs": asked}})
    assert server.editor.asked is not None
    assert outbox.coalesce_ms == agreed
    assert outbox.close(5.0)
