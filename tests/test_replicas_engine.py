"""Two real test engines behind one workspace each, and one of them killed in the middle of a turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from engine import server
from engine.server import ForcedEngine, tool_call
from stories import project
from test_refactor import BETTER, CART, NEW, OLD

from glm_lsp.conversations import Conversation
from glm_lsp.engine.local import process
from glm_lsp.engine.replicas import Replicas
from glm_lsp.settings import EngineSettings, Settings
from glm_lsp.terms import Ask, Ended, Proposed, ThinkingAdded, Used, Warned
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]  # it may have two engines to start

BLOCK = 32


@pytest.fixture
def another_engine(tmp_path: Path) -> Iterator[ForcedEngine]:
    """A second one, to be killed."""
    try:
        engine = ForcedEngine(server.start(server.forced_launch(server.engine_python()), tmp_path / "run"))
        yield engine
        if engine._thread.is_alive():
            engine.close()
    finally:
        process.stop(run=tmp_path / "run")


def kill(engine: ForcedEngine) -> None:
    """As when the power fails: the server and its workers, and nobody listens any more."""
    root = psutil.Process(engine.running.pid)
    family = [root, *root.children(recursive=True)]
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=10)
    engine.close()


def at(engine: ForcedEngine, replicas: Replicas, folder: Path) -> Workspace:
    """A workspace that belongs to that engine."""
    names = (folder / f"work-{number}" for number in range(100))
    root = next(name for name in names if replicas.order(str(name.resolve()))[0] == engine.url)
    return Workspace.open(project(root, cart_py=CART), Settings())


async def play(
    workspace: Workspace, replicas: Replicas, conversation: Conversation, words: str, then: Any = None
) -> list[Any]:
    await replicas.connect()
    ask = Ask("refactor", words, ("cart.py",), "on")
    run = workspace.turn(ask, replicas, conversation=conversation, draft=workspace.draft())
    happened = []
    async for event in run.run():
        happened.append(event.what)
        if then is not None:
            then(happened)
    assert isinstance(happened[-1], Ended)
    assert (happened[-1].reason, happened[-1].error) == ("done", "")
    return happened


def used(happened: list[Any]) -> list[Any]:
    return [what.usage for what in happened if isinstance(what, Used)]


def read_at(conversation: Conversation) -> int:
    """Tokens that the engine which said the last word keeps of it: every full block."""
    assert conversation.log is not None
    return len(conversation.log.ids) // BLOCK * BLOCK


OWN = "It adds up the prices of all items, one by one, and rounds nothing. " * 30
EDIT = tool_call("edit_file", file_path="cart.py", old_string=OLD, new_string=NEW)
LONG = "Where else is the price added up, and who counts on it being so? " * 40


async def test_each_workspace_stays_where_its_cache_is_and_one_whose_engine_is_killed_goes_on(
    tmp_path: Path, glm_engine: ForcedEngine, another_engine: ForcedEngine
) -> None:
    settings = EngineSettings(replicas=[glm_engine.url, another_engine.url])
    replicas = Replicas(settings, environment={})
    staying = at(glm_engine, replicas, tmp_path)
    moving = at(another_engine, replicas, tmp_path)
    talks = {glm_engine.url: Conversation(), another_engine.url: Conversation()}
    places = ((staying, glm_engine), (moving, another_engine))

    for workspace, engine in places:
        engine.say(f"First at {engine.url}.</think>{OWN}")
        await play(workspace, replicas, talks[engine.url], "What does it do?")
    await replicas.close()

    replicas = Replicas(settings, environment={})  # another process, which remembers nothing
    for workspace, engine in places:
        engine.say("Second.</think>Nothing else.")
        known = read_at(talks[engine.url])
        told = await play(workspace, replicas, talks[engine.url], "What else?")
        (usage,) = used(told)
        assert usage.cached >= known > 2000, "it came back to the one that had read it"
        assert len(engine.requests) == 2
        assert not [what for what in told if isinstance(what, Warned)]

    another_engine.say("I look first.</think>" + tool_call("read_file", file_path="cart.py"), f"{LONG}</think>Never.")
    glm_engine.say(f"{LONG}</think>" + EDIT, "That is all.</think>Quantities count now.")
    killed: list[int] = []

    def at_the_second_step(happened: list[Any]) -> None:
        steps = sum(isinstance(what, Used) for what in happened)
        if not killed and steps == 1 and isinstance(happened[-1], ThinkingAdded):
            said = "".join(what.text for what in happened if isinstance(what, ThinkingAdded))
            if LONG[:100] in said:
                killed.append(len(happened))
                kill(another_engine)

    talk = talks[another_engine.url]
    told = await play(moving, replicas, talk, "Count quantities.", at_the_second_step)
    assert killed, "the engine was killed while it thought"

    warned = [what.message for what in told if isinstance(what, Warned)]
    name, other = another_engine.url.removeprefix("http://"), glm_engine.url.removeprefix("http://")
    assert len(warned) == 2
    assert "the same is asked again" in warned[0]
    assert warned[1].startswith(f"{name} broke off; this conversation goes on at {other}, which reads it anew (about ")
    (proposal,) = (what.proposal for what in told if isinstance(what, Proposed))
    assert proposal.changes[0].after == BETTER.encode()

    thoughts = [message.thinking.strip() for message in talk.messages if message.role == "assistant"]
    assert thoughts == [
        f"First at {another_engine.url}.",
        "Second.",
        "I look first.",
        LONG.strip(),
        "That is all.",
    ]
    moved, after = used(told)[-2:]
    assert moved.read - moved.cached > 300, "the other one had the head that both share, and not this conversation"
    assert after.cached >= (moved.read + moved.written - 1) // BLOCK * BLOCK, "and now it has"
    there = [json.dumps(body["messages"], ensure_ascii=False) for body in glm_engine.requests[2:]]
    assert all(thought in there[-1] for thought in thoughts[:3]), "what was thought at the first is read at the second"

    known = read_at(talk)
    glm_engine.say("Third.</think>Yes.")
    told = await play(moving, replicas, talk, "Is it done?")
    assert used(told)[0].cached >= known
    assert not [what for what in told if isinstance(what, Warned) and "goes on at" in what.message], "told once"
    await replicas.close()
