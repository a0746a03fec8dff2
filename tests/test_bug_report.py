"""`glm-lsp bug-report`: what is in the zip, and above all what is not."""

from __future__ import annotations

import json
import stat
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from test_refactor import CART, NEW, Person, edit

from glm_lsp.server.commands import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

PLANTED = {
    "a key in a table": "sk-planted-0001",
    "a password in an address": "planted-0002",
    "a password of a server": "planted-0003",
    "a header": "planted-0004",
    "standing instructions": "planted-0005 words of mine",
    "a key by mistake": "planted_0006",
    "a key in the environment": "planted-0007",
    "something else in the environment": "planted-0008-and-more",
    "words of a question": "planted-0009",
    "words of an answer": "planted-0010",
    "code": "planted_0011",
    "a name of a file": "planted_0012",
    "a message in the log": "planted-0013",
    "a line of code in the log": "planted_0014",
    "a name of a conversation": "planted-0015",
}
SETTINGS = """
[engine]
url = "http://someone:planted-0002@127.0.0.1:9/planted-0002"
api_key_env = "planted_0006"
retries = 0
extra_body = { api_key = "sk-planted-0001" }
[prompt]
instructions = "planted-0005 words of mine"
[mcp.servers.planted-0003]
command = "planted-0003"
env = { PASSWORD = "planted-0003" }
[mcp.servers.other]
url = "https://example.com/planted-0004"
headers = { Authorization = "Bearer planted-0004" }
"""
LOG = """2026-11-01 10:00:00,000 42 ERROR glm_lsp.server.faults: incident 0badcafe in textDocument/codeAction
Traceback (most recent call last):
  File "/home/planted-0008-and-more/lib/python3.11/site-packages/glm_lsp/server/app.py", line 12, in code_action
    return shown(planted_0014)
           ^^^^^^^^^^^^^^^^^^^
ValueError: planted-0013
2026-11-01 10:00:01,000 42 WARNING glm_lsp.server.protocol: notification 'x' ignored: planted-0013
2026-11-01 10:00:02,000 42 INFO aiohttp.client: planted-0013
planted-0013 on a line of its own
"""


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def report(person: Person, *arguments: str) -> tuple[dict[str, str], str]:
    target = person.tmp / "report.zip"
    done = person.glm("bug-report", "--output", str(target), "--timeout", "20", *arguments)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}, done.stdout


def test_nothing_that_is_yours_is_in_it(person: Person) -> None:
    (person.root / "planted_0012.py").write_text("planted_0011 = 1\n")
    script = person.script({"calls": [edit("cart.py", new=NEW + "  # planted_0011")]}, {"text": "planted-0010"})
    asked = person.run("planted-0009", "cart.py", "--apply", "--session", "planted-0015", engine=script)
    assert asked.returncode == 0, asked.stderr
    config = person.tmp / "config" / "glm-lsp"
    config.mkdir(parents=True)
    (config / "settings.toml").write_text(SETTINGS)
    (person.tmp / "state" / "server.log").write_text(LOG)
    person.environment |= {"GLM_LSP_API_KEY": "planted-0007", "EDITOR": "planted-0008-and-more"}

    parts, said = report(person)
    for what, words in PLANTED.items():
        for name, text in parts.items():
            assert words not in text, f"{what} is in {name}"
        assert words not in said.replace(str(person.tmp), "")
    assert "planted" not in "".join(parts.values())
    assert str(person.tmp) not in "".join(parts.values())
    assert "qty" not in "".join(parts.values())

    state = json.loads(parts["state.json"])
    assert state["runs"]["applied"] == 1
    assert (state["conversations"], state["turns"]) == (1, 1)
    assert state["messages"] >= 3
    assert json.loads(parts["settings.json"]) == {
        "engine.api_key_env": "set",
        "engine.extra_body": "1 set",
        "engine.retries": 0,
        "engine.url": "http on this host",
        "mcp.servers": "2 set",
        "prompt.instructions": "set",
    }
    assert parts["server.log"].splitlines() == [
        "2026-11-01 10:00:00,000 42 ERROR glm_lsp.server.faults: incident 0badcafe in textDocument/codeAction",
        "  glm_lsp/server/app.py:12 in code_action",
        "ValueError",
        "2026-11-01 10:00:01,000 42 WARNING glm_lsp.server.protocol: notification 'x' ignored",
        "2026-11-01 10:00:02,000 42 INFO aiohttp.client: …",
    ]


def test_what_is_in_it_serves_whoever_mends(person: Person) -> None:
    parts, said = report(person)
    told: dict[str, Any] = {name: json.loads(text) for name, text in parts.items() if name.endswith(".json")}
    assert told["versions.json"]["packages"]["pygls"]
    assert told["doctor.json"]["grammars"]["state"] == "ok"
    assert told["doctor.json"]["engine"]["state"] == "wrong"
    assert told["doctor.json"]["engine"]["code"]
    assert told["capabilities.json"]["executeCommandProvider"]["commands"] == list(COMMANDS)
    assert parts["server.log"] == "There is no log.\n"
    for name in parts:
        assert name in said


def test_settings_that_cannot_be_read_do_not_stop_it_and_are_not_quoted(person: Person) -> None:
    person.environment["GLM_LSP_ENGINE_RETRIES"] = "planted"
    parts, _ = report(person)
    assert json.loads(parts["settings.json"]) == {"unreadable": "settings-error"}
    assert "planted" not in "".join(parts.values())


def test_a_file_that_is_there_is_not_written_over(person: Person) -> None:
    target = person.tmp / "mine.zip"
    target.write_text("mine")
    done = person.glm("bug-report", "--output", str(target), "--timeout", "5")
    assert done.returncode == 4
    assert "exists" in done.stderr
    assert target.read_text() == "mine"
    assert person.read() == CART
