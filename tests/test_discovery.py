"""What is found on this host: real servers on loopback, asked without a key, and used only where a person says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
from wire_server import Answer, Pause, WireServer, refusal, spoken

from glm_lsp.cli.engine_find import lines
from glm_lsp.engine import discovery, open_engine
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.discovery import Found
from glm_lsp.engine.local import places
from glm_lsp.engine.local.record import Record, Running
from glm_lsp.errors import Unreachable
from glm_lsp.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GLM = Path(sys.executable).with_name("glm-lsp")


@pytest.fixture(autouse=True)
def no_engine_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))


def listing(owner: str | None, *models: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": model, "owned_by": owner} for model in models]}


def server_of(owner: str | None, *models: str, **more: Any) -> WireServer:
    return WireServer(spoken({"content": "Hi."}), models=listing(owner, *models), **more)


@contextlib.asynccontextmanager
async def running(*servers: WireServer) -> AsyncIterator[list[int]]:
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        yield [int(server.url.rpartition(":")[2]) for server in servers]


async def found_at(ports: list[int], patience: float = 5.0) -> tuple[Found, ...]:
    return await asyncio.to_thread(discovery.find, ports, patience=patience)


@pytest.mark.parametrize(
    ("owner", "kind", "name"),
    [
        ("vllm", "vllm", "vLLM"),
        ("sglang", "sglang", "SGLang"),
        ("llamacpp", "llama.cpp", "llama.cpp"),
        ("library", "ollama", "Ollama"),
        ("someone", "generic", "an unknown kind of server"),
        (None, "generic", "an unknown kind of server"),
    ],
)
async def test_a_server_is_named_by_what_it_says(owner: str | None, kind: str, name: str) -> None:
    async with running(server_of(owner, "glm-4.7", "other")) as ports:
        (found,) = await found_at(ports)
    assert (found.kind, found.name, found.models) == (kind, name, ("glm-4.7", "other"))
    assert found.url == f"http://127.0.0.1:{ports[0]}"
    assert found.setting == f'url = "{found.url}"'
    assert not found.own


async def test_all_are_asked_at_once_and_told_in_the_order_of_the_ports() -> None:
    slow = WireServer([], models=Answer((Pause(0.5), json.dumps(listing("vllm", "a")).encode())))
    async with running(slow, server_of("sglang", "b"), server_of("llamacpp", "c")) as ports:
        found = await found_at([*ports, _closed()])
    assert [one.models for one in found] == [("a",), ("b",), ("c",)]


async def test_one_that_hangs_is_left_out_and_holds_nothing_up() -> None:
    silent = WireServer([], models=Answer((Pause(30),)))
    async with running(silent, server_of("vllm", "a")) as ports:
        assert [one.models for one in await found_at(ports, patience=0.4)] == [("a",)]


@pytest.mark.parametrize(
    "answer",
    [
        Answer((b"<html>",), 200, {"Content-Type": "text/html"}),
        refusal(200, {"models": []}),
        refusal(200, ["glm-4.7"]),
        refusal(404, {"detail": "Not Found"}),
        refusal(500, b""),
        refusal(401, b"<html>Sign in</html>"),
        Answer((), 302, {"Location": "http://127.0.0.1:1/v1/models", "Content-Type": "text/plain"}),
    ],
    ids=["HTML", "other JSON", "a list", "404", "500", "401 in HTML", "a redirect"],
)
async def test_what_is_no_engine_is_left_out(answer: Answer) -> None:
    async with running(WireServer([], models=answer)) as ports:
        assert await found_at(ports) == ()


async def test_what_does_not_speak_http_is_left_out() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        assert await found_at([server.sockets[0].getsockname()[1]]) == ()


async def test_one_that_asks_for_a_key_is_told_and_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_LSP_API_KEY", "sk-secret")
    seen: list[Any] = []
    locked = WireServer([], models=refusal(401, {"error": "Unauthorized"}))
    original = locked._handle

    async def noting(request: Any) -> Any:
        seen.append(request.headers)
        return await original(request)

    locked._handle = noting  # type: ignore[method-assign]
    async with running(locked) as ports:
        (found,) = await found_at(ports)
    assert found.wants_key
    assert found.models == ()
    assert "Authorization" not in seen[0]
    assert "asks for a key" in "\n".join(lines([found], Path("settings.toml")))


async def test_nobody_is_asked_to_write_a_word() -> None:
    server = server_of("vllm", "glm-4.7")
    async with running(server) as ports:
        await found_at(ports)
    assert server.paths == ["/v1/models"]


# --- this host's own ---------------------------------------------------------------------------------------------


async def test_this_hosts_own_engine_comes_first(tmp_path: Path) -> None:
    own = WireServer([], models=listing("vllm", "ours"), documents={"/health": {}})
    this = psutil.Process()
    path = places.run_dir() / "engine.sock"
    record = Running(this.pid, this.create_time(), f"unix:{path}", "ours", "Ours", "", str(tmp_path / "log"), ())
    record = Record(this.pid, this.create_time(), (msgspec.structs.replace(record, state="running"),))
    (places.run_dir() / "engine.json").write_bytes(msgspec.json.encode(record))
    async with own.running(path), running(server_of("vllm", "other")) as ports:
        found = await found_at(ports)
    assert [(one.own, one.models) for one in found] == [(True, ("ours",)), (False, ("other",))]
    assert found[0].url == f"unix:{path}"
    shown = "\n".join(lines(found, Path("settings.toml")))
    assert "used where engine.url is empty" in shown


# --- using one ---------------------------------------------------------------------------------------------------


async def instead(settings: EngineSettings, ports: list[int]) -> EngineSettings:
    return await asyncio.to_thread(discovery.instead, settings, ports=ports)


async def test_none_is_used_unless_the_person_says_so_but_it_is_named() -> None:
    async with running(server_of("vllm", "glm-4.7")) as ports:
        with pytest.raises(Unreachable, match="No engine is set; vLLM listens at") as caught:
            await instead(EngineSettings(), ports)
    assert f"--engine http://127.0.0.1:{ports[0]}" in caught.value.hint


async def test_with_none_to_name_the_way_to_start_one_is_said() -> None:
    with pytest.raises(Unreachable) as caught:
        await instead(EngineSettings(discover=True), [_closed()])
    assert "engine start" in caught.value.hint


async def test_the_one_that_serves_the_wanted_model_is_used_without_any_key() -> None:
    settings = EngineSettings(discover=True, model="GLM-4.7", api_key_command=["cat"], api_key_keyring="a/b")
    async with running(server_of("vllm", "other"), server_of("sglang", "glm-4.7")) as ports:
        used = await instead(settings, ports)
        assert used.url == f"http://127.0.0.1:{ports[1]}"
        assert (used.api_key_env, used.api_key_command, used.api_key_keyring) == ("", [], "")
        engine = HttpEngine(used, environment={"": "sk-secret", "GLM_LSP_API_KEY": "sk-secret"})
        await engine.connect()
        assert engine.dialect.id == "sglang"
        await engine.close()


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({"model": "glm-5.3"}, [("glm-4.7",)]),
        ({}, [("mystery",)]),
        ({}, [("glm-4.7",), ("glm-4.7",)]),
        ({}, [()]),
    ],
    ids=["another model", "an unknown model", "two that could be meant", "no model"],
)
async def test_where_it_is_not_clear_which_none_is_used(
    settings: dict[str, Any], served: list[tuple[str, ...]]
) -> None:
    async with running(*(server_of("vllm", *models) for models in served)) as ports:
        with pytest.raises(Unreachable, match="No engine is set") as caught:
            await instead(EngineSettings(discover=True, **settings), ports)
    assert "engine find" in caught.value.hint


async def test_no_code_goes_to_what_another_user_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(server_of("vllm", "glm-4.7")) as ports:
        monkeypatch.setattr(discovery, "listener", lambda _: os.getuid() + 4242)
        with pytest.raises(Unreachable):
            await instead(EngineSettings(discover=True), ports)
        (found,) = await found_at(ports)
    assert found.ours is False
    assert "another user" in "\n".join(lines([found], Path("settings.toml")))


def test_opening_without_an_address_names_what_there_is_and_what_to_do() -> None:
    with pytest.raises(Unreachable, match="No engine is set") as caught:
        open_engine(EngineSettings())
    assert caught.value.hint


# --- who listens -------------------------------------------------------------------------------------------------

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, state: str, user: int, address: str = "0100007F") -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {user}  0 1 1 0\n"


@pytest.mark.parametrize(
    ("rows", "user"),
    [
        ([row(8000, "0A", 1000)], 1000),
        ([row(8000, "0A", 1000, "00000000"), row(8000, "01", 7), row(9000, "0A", 8)], 1000),
        ([row(8000, "0A", 1000), row(8000, "0A", 1001, "00000000")], None),
        ([row(8000, "06", 1000)], None),
        ([], None),
        (["nonsense\n"], None),
    ],
    ids=["one", "among others", "two", "none that listens", "empty", "nonsense"],
)
def test_the_systems_list_tells_who_listens(tmp_path: Path, rows: list[str], user: int | None) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD + "".join(rows))
    assert discovery.listener(8000, tables=[table, tmp_path / "missing"]) == user


async def test_a_real_listener_is_oneself_where_the_system_tells() -> None:
    async with running(server_of("vllm", "a")) as ports:
        assert discovery.listener(ports[0]) in (os.getuid(), None)


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_found_to_people_and_to_programs(tmp_path: Path) -> None:
    environment = {**os.environ, "GLM_LSP_STATE_DIR": str(tmp_path / "state")}
    told = subprocess.run([GLM, "engine", "find"], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.strip()
    raw = subprocess.run([GLM, "engine", "find", "--json"], capture_output=True, text=True, check=True, env=environment)
    answer = json.loads(raw.stdout)
    assert answer["version"] == 1
    assert answer["file"].endswith("settings.toml")
    for one in answer["found"]:
        assert one["setting"] == f'url = "{one["url"]}"'


def test_a_table_lines_up_and_ends_with_the_line_for_the_settings() -> None:
    found = [
        Found("http://127.0.0.1:8000", "vllm", "vLLM", ("a", "b", "c", "d"), user="me", ours=True),
        Found("http://127.0.0.1:11434", "ollama", "Ollama", ()),
    ]
    shown = list(lines(found, Path("/home/me/settings.toml")))
    assert shown == [
        "vLLM    http://127.0.0.1:8000   a, b, c and 1 more  run by me",
        "Ollama  http://127.0.0.1:11434  no model",
        "",
        "To use vLLM, if you know whose it is, put this under [engine] in /home/me/settings.toml:",
        '  url = "http://127.0.0.1:8000"',
    ]
    assert "engine start" in "".join(lines([], Path("settings.toml")))


def _closed() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
