"""The real engine under its supervisor, through one sequence of faults: what cannot be had of it is in test_supervisor.

Never starts it more often than the faults want: each start takes half a minute. That it hangs is seen with the engine
that test_real_engine has started anyway.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from engine import server
from engine.standing import gone, wait_for

from glm_lsp.engine.local import process
from glm_lsp.engine.own import OwnEngine
from glm_lsp.errors import DiedMidStream, EngineError
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]  # it starts twice, and is killed once while it does

POLICY = process.Policy(hang=60, probe_every=4, tick=0.5, pause=0.5, drain=120, grace=5)
LOAD = 300
"""Seconds that a start may take on a busy machine."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"
    process.stop(run=tmp_path / "run", now=True)


def asked(running: process.Running, path: str, body: dict[str, Any]) -> dict[str, Any]:
    with closing(http.client.HTTPConnection("localhost", timeout=60)) as line:
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.connect(str(running.socket))
        line.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(line.getresponse().read())
        return answer


class Asking:
    """This host's engine as the product uses it, made to say one sentence over and over."""

    def __init__(self, run: Path, running: process.Running) -> None:
        words = {"model": "glm-4.7", "prompt": "yes it is. ", "add_special_tokens": False}
        self._tokens: list[int] = asked(running, "/tokenize", words)["tokens"]
        self._run = run

    async def say(self, count: int, *, at_first_word: Any = lambda: None) -> tuple[str, list[str]]:
        """So many tokens; returns the words and the notes that came before them."""
        forced = (self._tokens * count)[:count]
        extra = {"vllm_xargs": {"force_token_ids": forced}}
        engine = OwnEngine(EngineSettings(extra_body=extra, start_seconds=LOAD), run=self._run)
        prompt = Prompt((Message("user", "Is it?"),), (), thinking=False, sampling=Sampling(0.0, None, count))
        text, notes = "", list[str]()
        try:
            async with aclosing(engine.stream(prompt)) as stream:
                async for delta in stream:
                    notes += engine.take_notes()
                    if delta.text and not text:
                        at_first_word()
                    text += delta.text
        finally:
            await engine.close()
        return text, notes


def core(run: Path) -> psutil.Process:
    """The process that computes."""
    api = psutil.Process(process.status(run=run).pid)
    return next(one for one in api.children(recursive=True) if one.name().startswith("VLLM::EngineCor"))


async def test_the_real_engine_is_kept_through_the_deaths_of_its_supervisor_and_its_own(run: Path) -> None:
    launch = server.forced_launch(server.engine_python())
    running = process.launch_detached(launch, run=run, policy=POLICY)
    stages = [step.stage for step in process.wait(running, run=run)]
    assert list(dict.fromkeys(stages))[-1] == "ready"
    assert "loading weights" in stages
    asking = Asking(run, running)
    assert (await asking.say(6))[0].startswith("yes it is. yes")

    # Killed at rest, the supervisor: a reply goes on, and whoever looks for the engine next starts another one.
    first = process.status(run=run).supervisor
    text, _ = await asking.say(300, at_first_word=lambda: os.kill(first, signal.SIGKILL))
    assert text.startswith("yes it is. ")
    assert process.address(run=run) == running.url
    second = process.status(run=run).supervisor
    assert second not in {0, first}
    assert process.status(run=run).pid == running.pid

    # Killed in the middle of a reply, the process that computes: the reply ends with an error, and may be asked again.
    with pytest.raises(DiedMidStream) as broken:
        await asking.say(20_000, at_first_word=lambda: core(run).kill())
    assert broken.value.elsewhere
    assert gone(running.pid)

    # Killed while it loads again: that counts too, and the next request waits for as long as it takes.
    loading = wait_for(lambda: (now := process.status(run=run)).pid not in {0, running.pid} and now, 60)
    wait_for(lambda: process.status(run=run).percent > 0, 120)
    os.kill(loading.pid, signal.SIGKILL)
    wait_for(lambda: process.status(run=run).detail.startswith("2 of 5: it was killed"), 30)
    text, notes = await asking.say(6)
    assert text.startswith("yes it is. ")
    assert any("restarting (2 of 5" in note for note in notes), notes
    found = process.status(run=run)
    assert (found.state, found.restarts, found.supervisor) == ("running", 2, second)

    # Stopped while it writes: the reply comes to its end, and nothing new is begun.
    stopping = threading.Thread(target=process.stop, kwargs={"run": run})

    def stop_it() -> None:
        stopping.start()
        wait_for(lambda: process.status(run=run).state == "draining")

    text, _ = await asking.say(2_000, at_first_word=stop_it)
    assert text.count("yes it is. ") > 100
    stopping.join(60)
    assert gone(found.pid)
    assert process.status(run=run).state == "stopped"
    with pytest.raises(EngineError):
        await asking.say(6)
