"""`transformers serve` itself, which lies in the engine's environment, with the tiny GLM-4.7: the contract is not only replayed.

The model's weights are random, so that nobody looks at what it says.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from engine import server

from glm_lsp.engine.client import HttpEngine
from glm_lsp.errors import WrongModel
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

READ = ToolSpec("read", "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}})


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address and the folder of its model."""
    python = server.engine_python()
    model, home = server.tiny_glm(python), tmp_path_factory.mktemp("transformers")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (home / "hub").mkdir()
    command = [str(python.parent / "transformers"), "serve", "--host", "127.0.0.1", "--port", str(port), str(model)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    with (home / "log").open("w") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, home / "log")
            yield f"http://127.0.0.1:{port}", model
        finally:
            process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"transformers serve did not start:\n{log.read_text()[-2000:]}")


def engine_at(serving: tuple[str, Path], **settings: str) -> HttpEngine:
    return HttpEngine(EngineSettings(url=serving[0], retries=0, **settings), environment={})


async def test_a_named_model_is_served_although_the_list_has_others(serving: tuple[str, Path]) -> None:
    engine = engine_at(serving, dialect="transformers", model=str(serving[1]))
    await engine.connect()
    assert engine.model == str(serving[1])
    assert engine.profile.tools, "it is a GLM: its calls are read out of the text"
    assert engine.seen.thinking != "parsed"
    assert engine.exactness == "none"
    await engine.close()


@pytest.mark.parametrize("thinking", [True, False])
async def test_a_conversation_with_tools_is_taken_and_its_stream_is_understood(
    serving: tuple[str, Path], thinking: bool
) -> None:
    engine = engine_at(serving, dialect="transformers", model=str(serving[1]))
    messages = (
        Message("system", "Be brief."),
        Message("user", "What is in x?"),
        Message("assistant", "", thinking="I look.", tool_calls=(ToolCall("a", "read", '{"path": "x"}'),)),
        Message("tool", "1", call_id="a"),
        Message("user", "And now?"),
    )
    deltas = [d async for d in engine.stream(Prompt(messages, (READ,), thinking, Sampling(0.0, None, 24)))]
    await engine.close()
    assert deltas[-1].finish in ("stop", "length", "tool_calls")
    assert "".join(d.thinking + d.text for d in deltas) or any(d.tool_calls for d in deltas)
    (usage,) = [d.usage for d in deltas if d.usage]
    assert usage.read > 20
    assert 0 < usage.written <= 24
    assert engine.take_notes() == (), "it answers under the name of the model with its revision, which is the same one"


async def test_several_replies_at_once_and_a_reply_that_is_left_disturb_nobody(serving: tuple[str, Path]) -> None:
    engine = engine_at(serving, dialect="transformers", model=str(serving[1]))
    prompt = Prompt((Message("user", "Count."),), (), thinking=False, sampling=Sampling(0.0, None, 40))

    async def whole() -> str:
        return "".join([d.text + d.thinking async for d in engine.stream(prompt)])

    left = engine.stream(prompt)
    await anext(left)
    await left.aclose()
    first, second = await asyncio.gather(whole(), whole())
    assert first == second
    await engine.close()


async def test_another_model_than_the_one_that_it_was_started_for_is_named_with_what_it_serves(
    serving: tuple[str, Path],
) -> None:
    engine = engine_at(serving, dialect="transformers", model="zai-org/GLM-4.7-Flash")
    with pytest.raises(WrongModel, match=rf"no model zai-org/GLM-4\.7-Flash; it serves .*{serving[1].name}") as caught:
        await engine.connect()
    await engine.close()
    assert "engine.model" in caught.value.hint
