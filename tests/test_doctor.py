"""`glm-lsp doctor` as a person runs it: a process, real servers that are well or ill, and no engine at all."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from metrics_page import PageServer, vllm
from test_exact import TokenServer
from test_refactor import GLM, Person
from wire_server import Answer, Pause, WireServer, refusal, spoken, vllm_error

from glm_lsp.cli import checks, engine_checks
from glm_lsp.engine.client import HttpEngine
from glm_lsp.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.server import ForcedEngine


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


Checks = dict[str, dict[str, Any]]


async def examine(person: Person, *arguments: str, **environment: str) -> tuple[int, Checks]:
    """Runs the command beside a server that lives in this process."""
    process = await asyncio.create_subprocess_exec(
        *(GLM, "doctor", "--json", *arguments),
        cwd=person.root,
        env={**person.environment, "XDG_RUNTIME_DIR": str(person.tmp), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in err
    assert process.returncode is not None
    answer = json.loads(out)
    checks: Checks = answer["checks"]
    assert answer["healthy"] == (process.returncode == 0)
    for row in checks.values():
        assert set(row) == {"state", "says", "do", "facts"}
        assert row["state"] != "wrong" or row["do"], "what is wrong comes with one thing to do"
    return process.returncode, checks


def states(checks: Checks) -> dict[str, str]:
    return {name: row["state"] for name, row in checks.items()}


async def test_with_a_script_for_an_engine_all_is_well(person: Person) -> None:
    code, checks = await examine(person, "--engine", person.script({"text": "Never asked."}))
    assert code == 0
    assert list(checks) == [
        *("versions", "settings", "workspace", "state", "conversations", "git", "ripgrep", "bubblewrap"),
        *("grammars", "mcp", "index", "engine"),
    ]
    assert checks["workspace"]["facts"] == {"root": str(person.root), "git": True, "files": 1}
    assert checks["conversations"]["facts"]["kept"] == 0
    assert checks["grammars"]["facts"]["broken"] == {}


def test_without_an_engine_only_that_is_wrong_and_people_get_signs_and_words(person: Person) -> None:
    person.environment["XDG_RUNTIME_DIR"] = str(person.tmp)
    done = person.glm("doctor")
    assert done.returncode == 1
    assert "✓ ok     versions" in done.stdout
    assert "✗ wrong  engine" in done.stdout
    assert "→ Start one with `glm-lsp engine start`" in done.stdout
    assert done.stdout.endswith("\nWrong: engine\n")
    assert "\x1b" not in done.stdout


async def test_an_engine_that_is_not_there_is_named(person: Person) -> None:
    code, checks = await examine(person, "--engine", "http://127.0.0.1:9")
    assert code == 1
    assert checks["engine"]["state"] == "wrong"
    assert "127.0.0.1:9" in checks["engine"]["says"]
    assert checks["engine"]["facts"]["code"] == "unreachable"


# --- what the engine can do --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "kept", "state"),
    [
        ("honest", "tokens", "ok"),
        ("ignores ids", "messages", "note"),
        ("tells no ids", "messages", "note"),
        ("tells half", "messages", "note"),
        ("refuses", "messages", "note"),
        ("no tokenise", "messages", "note"),
        ("other template", "messages", "note"),
    ],
)
async def test_kept_thinking_is_seen_by_use_and_not_believed(person: Person, way: Any, kept: str, state: str) -> None:
    server = TokenServer(*["Yes."] * 4, way=way)
    async with server.running():
        code, checks = await examine(person, "--engine", server.url)
    assert code == 0
    assert (checks["thinking"]["facts"]["kept"], checks["thinking"]["state"]) == (kept, state)
    assert (checks["engine"]["facts"]["kind"], checks["engine"]["facts"]["version"]) == ("vllm", "0.32.0")
    assert checks["engine"]["facts"]["context"] == 32768
    assert checks["cache"]["state"] == "note", "this server does not tell what it reuses"
    assert "--enable-prompt-tokens-details" in checks["cache"]["do"]
    assert all(body["max_completion_tokens"] <= 2 for body in (*server.requests, *server.probes))


async def test_what_was_remembered_wrongly_is_put_right(person: Person, tmp_path: Path) -> None:
    server = TokenServer(*["Yes."] * 9, way="tells no ids")
    async with server.running():
        await examine(person, "--engine", server.url)
        server.way = "honest"  # its operator has updated it
        _, checks = await examine(person, "--engine", server.url)
        assert checks["thinking"]["facts"]["kept"] == "tokens"
        engine = HttpEngine(EngineSettings(url=server.url), cache=tmp_path / "cache" / "glm-lsp", environment={})
        asked = len(server.probes)
        await engine.connect()
        assert engine.exactness == "tokens", "the next run goes by what the doctor saw"
        assert len(server.probes) == asked
        await engine.close()


NO_PARSER = vllm_error('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', 400)


async def test_each_missing_ability_says_which_flag_brings_it(person: Person) -> None:
    server = WireServer(spoken({"content": "Yes."}))
    server.probe = refusal(400, NO_PARSER)
    async with server.running():
        code, checks = await examine(person, "--engine", server.url)
    assert code == 0
    assert checks["tools"]["state"] == "note"
    assert "--tool-call-parser" in checks["tools"]["do"]
    assert checks["cache"]["facts"]["cached"] == 800
    assert checks["cache"]["state"] == "ok"


async def test_an_unknown_model_is_said_to_be_one(person: Person) -> None:
    models = {"data": [{"id": "mystery", "owned_by": "someone"}]}
    server = WireServer(spoken({"content": "Yes."}), models=models, version=None)
    server.probe = Answer(spoken({"content": "Y"}, finish="length"))
    async with server.running():
        code, checks = await examine(person, "--engine", server.url)
    assert code == 0
    assert checks["engine"]["state"] == "note"
    assert "unknown model" in checks["engine"]["says"]


async def test_a_server_of_an_unknown_kind_is_not_said_to_keep_thinking(person: Person) -> None:
    models = {"data": [{"id": "glm-4.7", "owned_by": "someone"}]}
    server = WireServer(spoken({"content": "Yes."}), models=models, version=None)
    async with server.running():
        code, checks = await examine(person, "--engine", server.url)
    assert code == 0
    assert checks["thinking"]["state"] == "note"
    assert "engine.dialect" in checks["thinking"]["do"]


@pytest.mark.parametrize(
    ("answer", "row", "words"),
    [
        (refusal(401, {"error": "Unauthorized"}), "request", "GLM_LSP_API_KEY"),
        (refusal(500, {"error": {"message": "CUDA error"}}), "request", "log"),
        (Answer((Pause(60),)), "request", "first_token_timeout"),
    ],
    ids=["no key", "broken", "silent"],
)
async def test_an_engine_that_fails_at_the_request_says_what_to_do(
    person: Person, answer: Answer, row: str, words: str
) -> None:
    server = WireServer(answer)
    async with server.running():
        code, checks = await examine(
            person, "--engine", server.url, GLM_LSP_ENGINE_FIRST_TOKEN_TIMEOUT="0.5", GLM_LSP_ENGINE_RETRIES="0"
        )
    assert code == 1
    assert checks["engine"]["state"] == "ok"
    assert checks[row]["state"] == "wrong"
    assert words in checks[row]["do"]


async def test_the_way_to_an_address_is_told_with_its_proxy_and_where_the_key_comes_from(person: Person) -> None:
    code, checks = await examine(
        person,
        *("--engine", "http://engine.invalid:8000", "--timeout", "20"),
        http_proxy="http://me:hush@127.0.0.1:9",
        GLM_LSP_API_KEY="sk-very-secret",
    )
    assert code == 1
    assert checks["proxy"]["state"] == "note"
    assert "the proxy 127.0.0.1:9 of http_proxy" in checks["proxy"]["says"]
    assert "https://" in checks["proxy"]["do"]
    assert checks["key"]["facts"] == {"source": "GLM_LSP_API_KEY", "set": True}
    assert "http_proxy" in checks["engine"]["says"]
    assert "no_proxy" in checks["engine"]["do"]
    assert "hush" not in json.dumps(checks)
    assert "sk-very-secret" not in json.dumps(checks)


async def test_what_is_no_proxy_is_wrong_and_named(person: Person) -> None:
    code, checks = await examine(person, "--engine", "https://engine.invalid", https_proxy="socks5://127.0.0.1:9")
    assert code == 1
    assert checks["proxy"]["state"] == "wrong"
    assert "https_proxy" in checks["proxy"]["says"]
    assert checks["key"]["says"] == "none is sent: GLM_LSP_API_KEY is not set"


async def test_an_engine_that_says_it_is_well_and_completes_nothing_is_wrong(person: Person) -> None:
    server = WireServer(refusal(500, vllm_error("EngineCore encountered an issue", 500)), documents={"/health": {}})
    server.probe = server.answers[0]
    async with server.running():
        code, checks = await examine(person, "--engine", server.url, GLM_LSP_ENGINE_RETRIES="0")
    assert code == 1
    assert "EngineCore encountered an issue" in checks["engine"]["says"]
    assert "log" in checks["engine"]["do"]


@pytest.fixture
def mute() -> Iterator[str]:
    """An address at which somebody listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_it_ends_in_time_where_nothing_answers(person: Person, mute: str) -> None:
    code, checks = await examine(person, "--engine", mute, "--timeout", "3", GLM_LSP_ENGINE_CONNECT_TIMEOUT="500")
    assert code == 1
    assert states(checks)["engine"] == "wrong" or states(checks)["request"] == "wrong"


def test_a_program_that_hangs_does_not_hold_it_up(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "rg").write_text("#!/bin/sh\nexec sleep 300\n")
    (folder / "rg").chmod(0o755)
    person.environment["PATH"] = f"{folder}:{person.environment['PATH']}"
    done = person.glm("doctor", "--engine", person.script(), "--timeout", "2")
    assert done.returncode == 1
    assert "✗ wrong  programs" in done.stdout
    assert "✓ ok     engine" in done.stdout, "the others are looked at all the same"


# --- on the way to it --------------------------------------------------------------------------------------------


async def test_an_engine_that_counts_says_so_and_one_that_does_not_says_how_it_would(person: Person) -> None:
    server = WireServer(spoken({"content": "Yes."}))
    async with server.running():
        _, checks = await examine(person, "--engine", server.url)
    assert checks["metrics"]["state"] == "note"
    assert "--enable-metrics" in checks["metrics"]["do"]
    assert checks["metrics"]["facts"] == {"offered": False, "code": "cannot-do"}


@pytest.mark.parametrize(
    ("page", "state", "words"),
    [
        (vllm(running=2, waiting=1), "ok", "2 running, 1 waiting"),
        (vllm(kv=0.99), "note", "KV cache is full"),
        ('vllm:engine_sleep_state{sleep_state="awake"} 0\n', "note", "put to sleep"),
    ],
    ids=["well", "full", "asleep"],
)
async def test_what_an_engine_counts_is_judged(page: str, state: str, words: str) -> None:
    async with PageServer([page]).running() as server:
        row = await checks.metrics(EngineSettings(url=server.url))
    assert row.state == state
    assert words in row.says
    assert state == "ok" or row.do


def test_without_an_address_it_says_which_vllm_would_be_started(person: Person) -> None:
    done = person.glm("doctor", "--json")
    row = json.loads(done.stdout)["checks"]["vllm"]
    assert row["facts"]["version"] in row["says"] if row["state"] == "ok" else "engine install" in row["do"]


def test_a_socket_is_judged_by_whether_it_is_one_and_who_can_use_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    missing = engine_checks.socket(f"unix:{path}")
    assert (missing.state, "no socket at" in missing.says) == ("wrong", True)
    path.write_text("")
    assert "is no socket" in engine_checks.socket(f"unix:{path}").says
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o600)
        well = engine_checks.socket(f"unix:{path}")
        assert (well.state, well.facts["mode"]) == ("ok", "0o600")


def test_a_socket_that_everyone_can_use_is_noticed() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as server:
        path = Path(folder) / "s"
        server.bind(str(path))
        path.chmod(0o777)
        assert engine_checks.socket(f"unix:{path}").state == "ok", "nobody else gets into its folder"
        Path(folder).chmod(0o755)
        row = engine_checks.socket(f"unix:{path}")
        assert (row.state, row.do) == ("note", f"chmod 700 {folder}")


async def test_how_far_the_index_is_is_told_and_that_it_is_turned_off(person: Person) -> None:
    assert person.glm("index", "build").returncode == 0
    _, checks = await examine(person, "--engine", person.script())
    assert (checks["index"]["facts"]["files"], checks["index"]["facts"]["parsed"]) == (1, 1)
    _, checks = await examine(person, "--engine", person.script(), GLM_LSP_INDEX_ENABLED="false")
    assert checks["index"]["state"] == "note"
    assert "index.enabled" in checks["index"]["do"]


# --- ourselves ---------------------------------------------------------------------------------------------------


async def test_settings_are_shown_without_their_secrets(person: Person) -> None:
    (person.tmp / "config" / "glm-lsp").mkdir(parents=True)
    file = person.tmp / "config" / "glm-lsp" / "settings.toml"
    file.write_text(
        '[engine]\napi_key_env = "sk-in-the-wrong-place"\nextra_body = {password = "sk-two"}\n'
        '[turn]\nmax_steps = 7\n[mcp.servers.weather]\ncommand = "weather"\nargs = ["--token=sk-three"]\n'
    )
    code, checks = await examine(person, "--engine", person.script(), GLM_LSP_API_KEY="sk-four")
    assert code == 0
    facts = checks["settings"]["facts"]
    assert facts["files"] == [str(file)]
    assert facts["changed"]["turn.max_steps"] == "7"
    assert set(facts["changed"]) >= {"engine.api_key_env", "engine.extra_body", "engine.url", "mcp.servers"}
    assert checks["mcp"]["facts"] == {"servers": ["weather"]}
    assert "sk-" not in json.dumps(checks)


async def test_a_wrong_setting_is_one_finding_and_the_engine_is_looked_at_all_the_same(person: Person) -> None:
    (person.root / ".glm-lsp.toml").write_text("[turn]\nmax_stepz = 3\n")
    code, checks = await examine(person, GLM_LSP_ENGINE_URL=person.script())
    assert code == 1
    assert [name for name, state in states(checks).items() if state == "wrong"] == ["settings"]
    assert "turn.max_stepz" in checks["settings"]["says"]
    assert "max_steps" in checks["settings"]["do"]


async def test_a_variable_that_is_no_option_is_noticed(person: Person) -> None:
    _, checks = await examine(person, "--engine", person.script(), GLM_LSP_ENGINE_URLL="http://x")
    assert checks["settings"]["state"] == "note"
    assert "GLM_LSP_ENGINE_URLL" in checks["settings"]["says"]


async def test_a_state_folder_that_is_a_file_is_wrong_in_every_row_that_needs_it(person: Person) -> None:
    blocked = person.tmp / "blocked"
    blocked.write_text("in the way")
    code, checks = await examine(person, "--engine", person.script(), GLM_LSP_STATE_DIR=str(blocked / "state"))
    assert code == 1
    assert {name for name, state in states(checks).items() if state == "wrong"} == {"state", "conversations"}
    assert "GLM_LSP_STATE_DIR" in checks["state"]["do"]


async def test_damaged_conversations_are_said_to_have_been_set_aside(person: Person) -> None:
    person.run("look", "cart.py", "--session", "work", engine=person.script({"text": "Seen."}))
    _, checks = await examine(person, "--engine", person.script())
    assert checks["conversations"]["facts"]["kept"] == 1
    file = Path(checks["conversations"]["facts"]["file"])
    for part in file.parent.glob(f"{file.name}-*"):
        part.unlink()
    file.write_bytes(b"not a database" * 500)
    code, checks = await examine(person, "--engine", person.script())
    assert code == 0
    assert checks["conversations"]["state"] == "note"
    assert "set aside" in checks["conversations"]["says"]


async def test_conversations_of_a_newer_release_are_left_alone(person: Person) -> None:
    _, checks = await examine(person, "--engine", person.script())
    file = Path(checks["conversations"]["facts"]["file"])
    subprocess.run(["python3", "-c", _NEWER, str(file)], check=True)
    code, checks = await examine(person, "--engine", person.script())
    assert code == 1
    assert "newer glm-lsp" in checks["conversations"]["says"]


_NEWER = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version = 99')"


async def test_missing_programs_are_notes_that_say_what_is_lost(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    git = shutil.which("git")
    assert git is not None
    (folder / "git").symlink_to(git)
    code, checks = await examine(person, "--engine", person.script(), PATH=str(folder))
    assert code == 0
    found = states(checks)
    assert (found["git"], found["ripgrep"], found["bubblewrap"]) == ("ok", "note", "note")
    assert "unconfined" in checks["bubblewrap"]["says"]


@pytest.mark.parametrize("folder", ["nowhere", "cart.py"])
async def test_a_root_that_is_no_folder(person: Person, folder: str) -> None:
    code, checks = await examine(person, "--engine", person.script(), "--root", folder)
    assert code == 1
    assert checks["workspace"]["state"] == "wrong"


async def test_nothing_that_a_server_says_steers_the_terminal(person: Person) -> None:
    models = {"data": [{"id": "glm-4.7\x1b[2J\n✓ ok", "owned_by": "vllm"}]}
    server = WireServer(spoken({"content": "Yes."}), models=models)
    async with server.running():
        process = await asyncio.create_subprocess_exec(
            *(GLM, "doctor", "--engine", server.url),
            cwd=person.root,
            env=person.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert b"\x1b" not in out
    assert "glm-4.7␛[2J ✓ ok" in out.decode()


@pytest.mark.engine
async def test_the_real_engine_is_well_in_every_row(person: Person, glm_engine: ForcedEngine) -> None:
    glm_engine.say("Yes.", "Yes.")
    code, checks = await examine(person, "--engine", glm_engine.url)
    assert code == 0, checks
    assert checks["thinking"]["facts"] == {"thinks": True, "parsed": "parsed", "kept": "tokens"}
    assert checks["cache"]["facts"]["cached"] > 0
    seen = ("engine", "tools", "request", "thinking", "cache", "metrics")
    assert {states(checks)[name] for name in seen} == {"ok"}
    given, again = (body["kv_transfer_params"]["prompt_token_ids"] for body in glm_engine.requests)
    assert given == again
