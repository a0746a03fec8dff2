"""Other agents on the real engine, over the bridge: what reaches vLLM, and what the model reads of it.

The engine says what the test wants; the bridge, the agent, both APIs and the prompt's rendering are real.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from engine.listening import ListeningEngine
from engine.server import CACHE, tool_call

from glm_lsp.engine.local import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.server import ForcedEngine

pytestmark = pytest.mark.engine

PROGRAM = [sys.executable, "-m", "glm_lsp", "engine"]
BIN = Path(sys.executable).parent  # Node.js comes as a wheel into our own environment
READ = {
    "name": "read",
    "description": "Reads.",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
}


@pytest.fixture
def engine(_forced_engine: ForcedEngine) -> Iterator[ListeningEngine]:
    found = ListeningEngine(_forced_engine.running)
    yield found
    found.close()


@pytest.fixture
def told(
    engine: ListeningEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Asks what an agent is told; starts the bridge."""
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GLM_LSP_ENGINE_URL", engine.url)

    def ask(agent: str, *arguments: str) -> dict[str, Any]:
        command = [*PROGRAM, "env", agent, "--start", "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    yield ask
    share.stop()


def with_node() -> dict[str, str]:
    """The environment as it is now, with our Node.js before any other."""
    return os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}


async def post(url: str, key: str, body: dict[str, Any]) -> Any:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.post(url, json=body | {"stream": False}) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def test_the_model_reads_the_thinking_that_an_agent_dropped(engine: ListeningEngine, told: Any) -> None:
    at = told("openai")
    url = f"{at['openai']}/chat/completions"
    tools = [{"type": "function", "function": READ}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is in a.py?"}]
    engine.say("I look into it. " * 20 + "</think>" + tool_call("read", path="a.py"))
    engine.say("Only a number. " * 20 + "</think>A number.", "So be it.</think>Yes.", "So be it.</think>Yes.")

    for answer in ("x = 1", None):
        body = {"model": at["model"], "messages": messages, "tools": tools, "max_tokens": 500}
        message = (await post(url, at["key"], body))["choices"][0]["message"]
        dropped = {"role": "assistant", "content": message["content"] or ""}
        if calls := message.get("tool_calls"):
            dropped["tool_calls"] = calls
            messages += [dropped, {"role": "tool", "tool_call_id": calls[0]["id"], "content": answer}]
        else:
            messages += [dropped, {"role": "user", "content": "Is that all?"}]
    body = {"model": at["model"], "messages": messages, "tools": tools, "max_tokens": 500}
    bridged = await post(url, at["key"], body)
    bare = await post(f"{engine.url}/v1/chat/completions", "", body)

    _, reached = engine.seen[2]
    thought = [
        message.get("reasoning", "").strip() for message in reached["messages"] if message["role"] == "assistant"
    ]
    assert thought == [("I look into it. " * 20).strip(), ("Only a number. " * 20).strip()]
    assert reached["chat_template_kwargs"] == {"clear_thinking": False}
    assert bridged["usage"]["prompt_tokens"] > bare["usage"]["prompt_tokens"] + 100, "it is in the prompt"
    assert (
        bridged["usage"]["prompt_tokens_details"]["cached_tokens"]
        > bare["usage"]["prompt_tokens_details"]["cached_tokens"]
    )


async def test_so_it_does_in_anthropics_api(engine: ListeningEngine, told: Any) -> None:
    at = told("claude-code")
    tools = [{"name": "read", "description": "Reads.", "input_schema": READ["parameters"]}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is in a.py?"}]
    engine.say("I look into it.</think>" + tool_call("read", path="a.py"), "Only x.</think>x is 1.")
    body = {"model": at["model"], "max_tokens": 500, "tools": tools}

    said = (await post(f"{at['anthropic']}/v1/messages", at["key"], body | {"messages": messages}))["content"]
    assert [block["type"] for block in said] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": said[1]["id"], "content": "x = 1"}
    messages += [{"role": "assistant", "content": said[1:]}, {"role": "user", "content": [result]}]
    await post(f"{at['anthropic']}/v1/messages", at["key"], body | {"messages": messages})

    path, reached = engine.seen[1]
    assert path == "/v1/messages"
    assert reached["messages"][1]["content"][0]["thinking"] == "I look into it."
    assert reached["chat_template_kwargs"] == {"clear_thinking": False}


@dataclass(frozen=True)
class Agent:
    """A coding agent with a command line.

    Attributes:
        name: how `engine env` calls it.
        package: what npm installs.
        program: its name in `node_modules/.bin`.
        script: of the package, run after it was installed; empty where there is none.
        words: what stands before the question.
        environment: what else it wants, to be quiet and to do with the tiny model's context.
        tool: its call that reads a file, with the name of the argument.
        path: of the API that it uses.
    """

    name: str
    package: str
    program: str
    words: tuple[str, ...]
    tool: tuple[str, str]
    path: str = "/v1/chat/completions"
    script: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def install(self) -> Path:
        """Installs it from npm, and keeps it for the next run."""
        folder = CACHE.parent / "agents" / self.package.replace("/", "-").strip("@")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "complete").exists():
                npm = [str(BIN / "npm"), "install", "--prefix", str(folder), "--no-audit", "--no-fund"]
                self._run([*npm, "--ignore-scripts", self.package])
                if self.script:
                    home = folder / "node_modules" / self.package.rpartition("@")[0]
                    self._run([str(BIN / "node"), str(home / self.script)])
                (folder / "complete").touch()
        return folder / "node_modules" / ".bin" / self.program

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, env=with_node(), capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, f"{self.package} could not be installed:\n{done.stderr[-2000:]}"


AGENTS = [
    Agent(
        "qwen-code",
        "@qwen-code/qwen-code@0.15.10",
        "qwen",
        ("--auth-type", "openai", "--yolo", "-p"),
        ("read_file", "file_path"),
        # Its own prompt takes 26,000 of the tiny model's 32,768 tokens, so that its replies have to be short.
        environment={"QWEN_CODE_MAX_OUTPUT_TOKENS": "2000"},
    ),
    Agent(
        "claude-code",
        "@anthropic-ai/claude-code@2.1.197",
        "claude",
        ("--tools", "Read", "-p"),
        ("Read", "file_path"),
        path="/v1/messages",
        script="install.cjs",
        environment={"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "2000", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    ),
    Agent(
        "opencode",
        "opencode-ai@1.18.33",
        "opencode",
        ("run",),
        ("read", "filePath"),
        script="postinstall.mjs",
        environment={"OPENCODE_DISABLE_AUTOUPDATE": "1"},
    ),
]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_an_agent_works_with_the_engine_by_what_env_prints(
    agent: Agent, engine: ListeningEngine, told: Any, tmp_path: Path
) -> None:
    program = agent.install()
    at = told(agent.name)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "cart.py").write_text("x = 1\n")
    name, argument = agent.tool
    call = tool_call(name, **{argument: str(tmp_path / "work" / "cart.py")})
    engine.say(f"I look at it first.</think>{call}")
    engine.say("So x is one.</think>x is 1 in cart.py.")

    script = f'eval "$({PROGRAM[0]} -m glm_lsp engine env {agent.name})" && exec "$@"'
    given = [f"{name}={value}" for name, value in agent.environment.items()]
    done = subprocess.run(
        ["sh", "-c", script, "sh", "env", *given, str(program), *agent.words, "What is x in cart.py?"],
        env=with_node() | {"HOME": str(tmp_path), "NO_COLOR": "1"},
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        stdin=subprocess.DEVNULL,
    )

    assert "x is 1 in cart.py." in done.stdout, done.stdout + done.stderr
    first, second = [body for path, body in engine.seen if path == agent.path][:2]
    assert first["model"] == at["model"]
    assert first["stream"] is True
    assert second["chat_template_kwargs"] == {"clear_thinking": False}
    thinking, result = _as_sent_back(second["messages"])
    assert "I look at it first." in thinking
    assert "x = 1" in result


def _as_sent_back(messages: list[dict[str, Any]]) -> tuple[list[Any], str]:
    """The thinking that came back with the call, and what the tool returned, in either API."""
    thinking, results = [], []
    for message in messages:
        blocks = message["content"] if isinstance(message.get("content"), list) else []
        thinking += [block["thinking"] for block in blocks if block.get("type") == "thinking"]
        results += [block for block in blocks if block.get("type") == "tool_result"]
        if message.get("tool_calls"):
            thinking += [message.get("reasoning"), message.get("reasoning_content")]
        if message["role"] == "tool":
            results.append(message)
    return thinking, json.dumps(results).replace("\\t", " ")
