"""Fairness on a real engine: people before background work, and every process of a person in one line.

The engine serves eight at a time; the line here is shorter, so that few requests fill it. What is said is forced, but
how long it takes is the engine's.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from test_refactor import CART, Person

from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.turnstile import HEADLESS
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.server import ForcedEngine

pytestmark = pytest.mark.engine

LONG = " ".join(f"word{number}" for number in range(120)) + "</think>Enough."
LIMIT = 3
"""Requests at a time: two in the background, and one slot for people."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose line is used, for other processes too."""
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
async def person(glm_engine: ForcedEngine, state: Path) -> AsyncIterator[HttpEngine]:
    engine = HttpEngine(EngineSettings(url=glm_engine.url, max_requests=LIMIT), environment={})
    await engine.connect()
    yield engine
    await engine.close()


def question(words: str) -> Prompt:
    return Prompt((Message("user", words),), (), thinking=True, sampling=Sampling(0.0, None, 1000))


def headless(person: Person, *files: str) -> Any:
    """A run in a process of its own, which nobody watches."""
    for file in files:
        (person.root / file).write_text(CART)
    command = person.command("say it", *files, "--each", "file", "--jobs", "8", "--output", "ndjson")
    return asyncio.create_subprocess_exec(
        *command, cwd=person.root, env=person.environment, stdout=asyncio.subprocess.PIPE
    )


async def test_a_person_is_served_at_once_while_headless_turns_of_other_processes_line_up(
    tmp_path: Path, glm_engine: ForcedEngine, person: HttpEngine
) -> None:
    files = [f"cart_{number}.py" for number in range(5)]
    glm_engine.say(*[LONG] * len(files))
    glm_engine.say("Yes.</think>Certainly.", to="a person asks")
    glm_engine.hold()  # nothing of the background ends before the person is through
    run = Person(tmp_path)
    run.environment |= {"GLM_LSP_ENGINE_MAX_REQUESTS": str(LIMIT), "GLM_LSP_ENGINE_URL": glm_engine.url}

    process = await headless(run, *files)
    assert process.stdout is not None
    events = []
    while not any(event["event"] == "queued" for event in events):
        events.append(json.loads(await process.stdout.readline()))
    while len(glm_engine.requests) < 2:  # one that has its slot may still be on its way
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # time enough for one too many
    assert len(glm_engine.requests) == 2, "and the third slot is free for people"
    said = "".join([delta.text async for delta in person.stream(question("a person asks"))])
    at_the_engine = len(glm_engine.requests)
    glm_engine.release()
    rest, _ = await process.communicate()
    events += [json.loads(line) for line in rest.splitlines()]

    assert said == "Certainly."
    assert at_the_engine == 3, "it was served while the background held all of its slots"
    assert "priority" not in next(body for body in glm_engine.requests if "a person asks" in json.dumps(body))
    background = [body for body in glm_engine.requests if "a person asks" not in json.dumps(body)]
    assert [body["priority"] for body in background] == [HEADLESS] * len(files)
    ended = [event["reason"] for event in events if event["event"] == "ended"]
    assert ended == ["done"] * len(files)
    waited = {event["turn"] for event in events if event["event"] == "queued"}
    assert 1 <= len(waited) <= len(files) - 2
    for turn in waited:
        places = [event["place"] for event in events if event["turn"] == turn and event["event"] == "queued"]
        assert places[-1] == 0
        assert places == sorted(places, reverse=True)


async def test_never_more_requests_are_at_the_engine_than_the_line_lets_through(
    glm_engine: ForcedEngine, person: HttpEngine, state: Path
) -> None:
    settings = EngineSettings(url=glm_engine.url, max_requests=LIMIT, priority=HEADLESS)
    background = HttpEngine(settings, environment={})
    glm_engine.say(*["Word by word " * 12 + "</think>Done."] * 9)
    glm_engine.hold()  # no reply ends, and so no slot is given back

    async with asyncio.TaskGroup() as group:
        replies = [
            group.create_task(collected(person if number % 3 == 0 else background, question(f"Question {number}")))
            for number in range(9)
        ]
        while len(glm_engine.requests) < LIMIT:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # time enough for one too many
        at_the_engine = len(glm_engine.requests)
        glm_engine.release()
    await background.close()
    assert at_the_engine == LIMIT
    assert [reply.result() for reply in replies] == ["Done."] * 9
    assert len(glm_engine.requests) == 9


async def test_cancelling_frees_the_slot_for_the_next_one_at_once(
    glm_engine: ForcedEngine, person: HttpEngine, state: Path
) -> None:
    alone = HttpEngine(EngineSettings(url=glm_engine.url, max_requests=1), environment={})
    glm_engine.say(LONG.replace("</think>", " and so on" * 1000 + "</think>"), "Yes.</think>Certainly.")
    heard = asyncio.Event()

    async def long() -> None:
        async for _ in alone.stream(question("The long one")):
            heard.set()

    first = asyncio.create_task(long())
    await heard.wait()
    second = asyncio.create_task(collected(alone, question("The next one")))
    await asyncio.sleep(0.1)
    assert len(glm_engine.requests) == 1
    first.cancel()
    assert await second == "Certainly."
    assert b"Enough" not in glm_engine.replies[0], "vLLM stopped writing"
    await alone.close()


async def collected(engine: HttpEngine, prompt: Prompt) -> str:
    return "".join([delta.text async for delta in engine.stream(prompt)])


async def test_an_engine_that_does_not_schedule_by_priority_takes_it_all_the_same(glm_engine: ForcedEngine) -> None:
    engine = HttpEngine(EngineSettings(url=glm_engine.url, priority=HEADLESS), environment={})
    glm_engine.say("Yes.</think>Certainly.")
    assert await collected(engine, question("Background")) == "Certainly."
    assert glm_engine.requests[0]["priority"] == HEADLESS
    await engine.close()
