"""`engine env` and `engine bridge` as programs: what is printed, what a shell makes of it, what runs and what remains."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from test_bridge import Engine

from glm_lsp.engine import agents
from glm_lsp.engine.agents import AGENTS, Endpoint
from glm_lsp.engine.local import share
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = [sys.executable, "-m", "glm_lsp", "engine"]
FOR_SHELLS = [name for name in AGENTS if name != "roo"]
HOSTILE = "$(touch pwned)`touch pwned`'; touch pwned; \"\n\\"


@dataclass
class Host:
    """A person's account on a host with an engine on a Unix socket."""

    tmp: Path
    engine: Engine
    environment: dict[str, str]

    def run(self, *arguments: str, fine: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | variables
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode == 0) is fine, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def told(self, agent: str, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("env", agent, "--json", *arguments).stdout)
        return found

    def status(self) -> dict[str, Any]:
        there = share.running()
        return {"running": False} if there is None else {"running": True, "url": there.url, "pid": there.pid}

    @property
    def state(self) -> Path:
        return self.tmp / "state"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    engine = Engine(tmp_path / "engine.sock")
    loop = asyncio.new_event_loop()
    up, down = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with engine.serving():
            up.set()
            await down.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(10)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GLM_LSP_", "XDG_"))}
    environment = kept | {
        "GLM_LSP_STATE_DIR": str(tmp_path / "state"),
        "GLM_LSP_ENGINE_URL": f"unix:{engine.socket}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    found = Host(tmp_path, engine, environment)
    yield found
    share.stop()
    loop.call_soon_threadsafe(down.set)
    thread.join()
    loop.close()


def evaluated(lines: str, folder: Path) -> dict[str, str]:
    """The environment of a shell that has evaluated the lines."""
    script = (
        f'eval "$1" && exec {shlex.quote(sys.executable)} -c "import os, json; print(json.dumps(dict(os.environ)))"'
    )
    done = subprocess.run(
        ["sh", "-euc", script, "sh", lines],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


class TestWhatAgentsAreTold:
    at = Endpoint("http://127.0.0.1:4747", "glm-key", "glm-4.7", 202_752)

    @pytest.mark.parametrize("agent", [name for name in FOR_SHELLS if name != "cline"])
    def test_a_shell_evaluates_it_to_just_that(self, agent: str, tmp_path: Path) -> None:
        hostile = Endpoint("http://127.0.0.1:4747", HOSTILE, "glm-4.7", 202_752)
        found = agents.setup(agent, hostile)
        environment = evaluated(found.for_shell(), tmp_path)
        assert found.variables.items() <= environment.items()
        assert "touch pwned" in json.dumps(environment)
        assert not list(tmp_path.iterdir())

    def test_a_command_is_quoted_too(self, tmp_path: Path) -> None:
        found = agents.setup("cline", Endpoint("http://127.0.0.1:4747", HOSTILE, "glm-4.7", 202_752))
        shown = subprocess.run(
            ["sh", "-c", 'cline() { printf "%s\\0" "$@"; }; eval "$1"', "sh", found.for_shell()],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        ).stdout
        assert tuple(shown.split("\0")[:-1]) == found.command[1:]
        assert HOSTILE in found.command
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["", "-x", "a b", "$(id)", "`id`", "a'b", 'a"b', "a;b", "a\nb", "x" * 201])
    def test_a_models_name_that_is_none_is_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match="calls its model"):
            Endpoint("http://127.0.0.1:4747", "k", name, 1000)

    @pytest.mark.parametrize("name", ["glm-4.7", "zai-org/GLM-4.7-FP8", "glm:4.7@x+y_z"])
    def test_models_names_that_are_in_use_are_taken(self, name: str) -> None:
        assert Endpoint("http://127.0.0.1:4747", "k", name, 1000).model == name

    @pytest.mark.parametrize("agent", list(AGENTS))
    def test_everyone_learns_address_key_and_model(self, agent: str) -> None:
        found = agents.setup(agent, self.at)
        whole = json.dumps([found.variables, found.command, found.file])
        address = "http://127.0.0.1:4747" + ("" if agent == "claude-code" else "/v1")
        assert re.search(rf'{address}\\*"', whole)
        assert "glm-key" in whole
        assert "glm-4.7" in whole

    @pytest.mark.parametrize(("context", "output"), [(202_752, 32_000), (32_768, 8_192)])
    def test_prompt_and_reply_fit_together(self, context: int, output: int) -> None:
        found = agents.setup("opencode", Endpoint("http://127.0.0.1:1", "k", "m", context)).file
        assert found["provider"]["glm-lsp"]["models"]["m"]["limit"] == {"context": context, "output": output}

    def test_claude_code_asks_for_no_model_of_another_name(self) -> None:
        found = agents.setup("claude-code", self.at).variables
        named = {name: value for name, value in found.items() if name.endswith("_MODEL")}
        assert set(named.values()) == {"glm-4.7"}
        assert {"ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL"} <= set(named)
        assert found["ANTHROPIC_API_KEY"] == ""

    def test_what_roo_imports_is_one_profile_that_is_in_use(self) -> None:
        profiles = json.loads(agents.setup("roo", self.at).for_shell())["providerProfiles"]
        assert profiles["apiConfigs"][profiles["currentApiConfigName"]]["apiProvider"] == "openai"


class TestEnv:
    def test_starts_the_bridge_when_told_and_finds_it_again(self, host: Host) -> None:
        first = host.run("env", "claude-code", "--start")
        environment = evaluated(first.stdout, host.tmp)
        assert environment["ANTHROPIC_MODEL"] == "glm-4.7"
        assert environment["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "32768"
        assert "Through the bridge" in first.stderr
        assert host.run("env", "claude-code").stdout == first.stdout
        asked = urllib.request.Request(
            environment["ANTHROPIC_BASE_URL"] + "/v1/models",
            headers={"Authorization": f"Bearer {environment['ANTHROPIC_AUTH_TOKEN']}"},
        )
        with urllib.request.urlopen(asked, timeout=10) as reply:
            assert json.load(reply)["data"][0]["id"] == "glm-4.7"

    def test_what_it_printed_stays_true_when_the_bridge_is_started_again(self, host: Host) -> None:
        before = host.told("openai", "--start")
        assert host.run("bridge", "--stop").stdout == "Stopped.\n"
        assert host.told("openai", "--start") == before

    def test_without_a_bridge_prints_nothing_and_says_what_to_do(self, host: Host) -> None:
        done = host.run("env", "openai", fine=False)
        assert done.stdout == ""
        assert "--start" in done.stderr

    def test_without_an_engine_prints_nothing_and_starts_nothing(self, host: Host) -> None:
        done = host.run("env", "openai", "--start", fine=False, GLM_LSP_ENGINE_URL="")
        assert done.stdout == ""
        assert "glm-lsp engine start" in done.stderr
        assert not host.status()["running"]

    def test_two_at_once_start_one_bridge(self, host: Host) -> None:
        command = [*PROGRAM, "env", "openai", "--start", "--json"]
        both = [
            subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(2)
        ]
        first, second = [json.loads(one.communicate(timeout=60)[0]) for one in both]
        assert first == second
        bridges = [p for p in psutil.process_iter(["cmdline"]) if "--linger" in (p.info["cmdline"] or [])]
        mine = [p for p in bridges if p.environ().get("GLM_LSP_STATE_DIR") == str(host.state)]
        assert [p.pid for p in mine] == [host.status()["pid"]]

    def test_leads_straight_to_an_address_and_says_what_that_costs(self, host: Host) -> None:
        host.run("env", "openai", "--start")
        url = host.status()["url"]  # any server on loopback will do: here, the bridge
        token = json.loads((host.state / "bridge-pass.json").read_bytes())["token"]
        done = host.run("env", "openai", "--engine", url, GLM_LSP_API_KEY=token)
        assert evaluated(done.stdout, host.tmp)["OPENAI_BASE_URL"] == f"{url}/v1"
        assert evaluated(done.stdout, host.tmp)["OPENAI_API_KEY"] == token
        assert "Direct" in done.stderr
        assert host.run("env", "openai", "--engine", f"{url}/v1", GLM_LSP_API_KEY=token).stdout == done.stdout

    def test_does_not_lead_over_a_bridge_that_leads_elsewhere(self, host: Host) -> None:
        host.run("env", "openai", "--start")
        other = host.tmp / "other.sock"
        other.symlink_to(host.engine.socket)
        done = host.run("env", "openai", "--engine", f"unix:{other}", fine=False)
        assert "engine bridge --stop" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [(["openai", "--direct"], "--direct"), (["claude-code", "--start", "--file"], "--file"), (["emacs"], "emacs")],
    )
    def test_what_does_not_go_together_is_said(self, host: Host, arguments: list[str], hint: str) -> None:
        done = host.run("env", *arguments, fine=False)
        assert (done.returncode, done.stdout) == (4, "")
        assert hint in done.stderr

    def test_prints_a_file_where_there_is_one(self, host: Host) -> None:
        config = json.loads(host.run("env", "opencode", "--start", "--file").stdout)
        assert config["model"] == "glm-lsp/glm-4.7"
        assert config["provider"]["glm-lsp"]["models"]["glm-4.7"]["limit"] == {"context": 32768, "output": 8192}


class TestBridge:
    def test_keeps_its_secrets_to_their_owner_and_out_of_the_process_list(self, host: Host) -> None:
        token = host.told("openai", "--start")["key"]
        for path in (host.state / "bridge-pass.json", host.state / "run" / "bridge.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(host.state.stat().st_mode) == 0o700
        assert token not in "".join(psutil.Process(host.status()["pid"]).cmdline())
        assert token not in (host.state / "bridge.log").read_text()

    def test_tells_what_it_did(self, host: Host) -> None:
        assert json.loads(host.run("bridge", "--status").stdout) == {"running": False}
        host.run("env", "openai", "--start")
        told = json.loads(host.run("bridge", "--status").stdout)
        assert told["upstream"] == f"unix:{host.engine.socket}"
        assert (told["running"], told["requests"], told["restored"]) == (True, 0, 0)

    def test_listens_on_loopback_alone(self, host: Host) -> None:
        host.run("env", "openai", "--start")
        process = psutil.Process(host.status()["pid"])
        listening = [c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        assert listening == ["127.0.0.1"]

    def test_a_second_one_is_refused_and_says_where_the_first_is(self, host: Host) -> None:
        host.run("env", "openai", "--start")
        assert host.status()["url"] in host.run("bridge", fine=False).stderr

    def test_a_new_token_shuts_out_who_has_the_old_one(self, host: Host) -> None:
        old = host.told("openai", "--start")
        host.run("bridge", "--stop")
        with self.in_front(host, "--new-token") as url:
            assert url == old["url"]
            new = host.told("openai")
            assert new["key"] != old["key"]
            asked = urllib.request.Request(f"{url}/v1/models", headers={"X-Api-Key": old["key"]})
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(asked, timeout=10)
            assert refusal.value.code == 401
            refusal.value.close()

    def test_takes_another_port_when_its_own_is_taken_and_says_so(self, host: Host) -> None:
        before = host.told("openai", "--start")
        host.run("bridge", "--stop")
        with socket.create_server(("127.0.0.1", int(before["url"].rpartition(":")[2]))):
            after = host.told("openai", "--start")
            assert after["url"] != before["url"]
        assert "is taken by another program" in (host.state / "bridge.log").read_text()

    def test_a_port_that_was_asked_for_and_is_taken_is_an_error(self, host: Host) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            assert f"Port {port}" in host.run("bridge", "--port", port, fine=False).stderr

    def test_ctrl_c_ends_it_and_leaves_no_trace_of_running(self, host: Host) -> None:
        with self.in_front(host):
            assert host.status()["running"]
        assert host.status() == {"running": False}
        assert not (host.state / "run" / "bridge.json").exists()

    def test_one_that_was_killed_is_not_taken_for_running(self, host: Host) -> None:
        host.run("env", "openai", "--start")
        killed = psutil.Process(host.status()["pid"])
        killed.kill()
        killed.wait(10)
        assert host.status() == {"running": False}
        assert host.told("openai", "--start")["url"]

    def test_another_programs_pid_is_left_alone(self, host: Host) -> None:
        assert not host.status()["running"]
        with subprocess.Popen(["sleep", "60"]) as other:
            state = {"pid": other.pid, "created": 1.0, "port": 1, "upstream": ""}
            (host.state / "run" / "bridge.json").write_text(json.dumps(state))
            assert host.run("bridge", "--stop").stdout == "No bridge was running.\n"
            assert other.poll() is None
            other.terminate()

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', "\xff"])
    def test_damaged_records_count_for_none(self, host: Host, content: str) -> None:
        assert not host.status()["running"]
        (host.state / "run" / "bridge.json").write_bytes(content.encode("latin-1"))
        (host.state / "bridge-pass.json").write_bytes(content.encode("latin-1"))
        assert host.status() == {"running": False}
        assert host.told("openai", "--start")["key"].startswith("glm-")

    def in_front(self, host: Host, *arguments: str) -> Any:
        """A bridge in another terminal, ended with Ctrl-C."""
        return _InFront(host, arguments)


class _InFront:
    def __init__(self, host: Host, arguments: tuple[str, ...]) -> None:
        self._command, self._environment = [*PROGRAM, "bridge", *arguments], host.environment

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, env=self._environment, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        return self._process.stderr.readline().split()[0]

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(20) == 0
        assert self._process.stderr is not None
        self._process.stderr.close()
