"""Who goes first: slots and the line before them, with real files, real processes and servers on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from stories import project
from test_bridge import AUTH, Engine, asks, bridged, user
from test_client import HELLO, TEXT, THINKING, ask, engine_for, together
from test_refactor import Person
from wire_server import Pause, WireServer, spoken

from glm_lsp.cli.ndjson import encode
from glm_lsp.cli.render import Terminal
from glm_lsp.engine import turnstile
from glm_lsp.engine.bridge import Upstream
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.turnstile import AGENT, HEADLESS, Ticket, in_line, ticket
from glm_lsp.errors import Unreachable
from glm_lsp.settings import EngineSettings, Settings
from glm_lsp.terms import Ask, Ended, Event, Queued, Started, TextAdded, ThinkingAdded, Usage, Used
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from glm_lsp.terms import Happening

URL = "unix:/run/engine.sock"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of running processes, a person's own."""
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state" / "run").mkdir(parents=True)
    return tmp_path / "state" / "run"


def take(run: Path, priority: int = 0, limit: int = 1, url: str = URL) -> Ticket:
    return ticket(url, priority=priority, limit=limit, run=run)


async def served(one: Ticket) -> list[int]:
    """Waits for its turn; returns the places it was told on the way."""
    places = []
    while place := await one.moved():
        places.append(place)
    return places


async def soon(one: Ticket, seconds: float = 0.3) -> bool:
    """Whether its turn comes within a moment; asked again, it goes on waiting."""
    try:
        async with asyncio.timeout(seconds):
            await served(one)
    except TimeoutError:
        return False
    return True


@contextlib.asynccontextmanager
async def holding(run: Path, count: int, priority: int = 0, limit: int = 0) -> AsyncIterator[list[Ticket]]:
    """Slots that are taken."""
    held = [take(run, priority, limit or count) for _ in range(count)]
    for one in held:
        assert await soon(one)
    try:
        yield held
    finally:
        for one in held:
            one.give_back()


# --- slots -------------------------------------------------------------------------------------------------------


async def test_as_many_are_served_as_there_are_slots_and_the_next_one_when_one_is_given_back(run: Path) -> None:
    async with holding(run, 3) as held:
        late = take(run, limit=3)
        assert not await soon(late)
        held[1].give_back()
        held[1].give_back()  # which is safe
        assert await soon(late)
        another = take(run, limit=3)
        assert not await soon(another, 0.1)
        another.give_back()
        late.give_back()


async def test_without_a_limit_nobody_waits_and_no_file_is_made(run: Path) -> None:
    for _ in range(50):
        assert await soon(take(run, limit=0))
    assert list(run.iterdir()) == []


async def test_a_person_finds_a_slot_that_no_background_request_takes(run: Path) -> None:
    background = [take(run, HEADLESS, limit=4) for _ in range(3)]
    agent = take(run, AGENT, limit=4)
    for one in background:
        assert await soon(one)
    assert not await soon(agent), "the fourth slot is for people"
    person = take(run, limit=4)
    assert await soon(person)
    second = take(run, limit=4)
    assert not await soon(second)
    background[0].give_back()
    assert await soon(second), "a person goes before an agent that came earlier"
    assert not await soon(agent, 0.1)
    person.give_back()
    assert not await soon(agent, 0.1), "the kept slot stays kept"
    second.give_back()
    assert await soon(agent)
    for one in (agent, *background):
        one.give_back()


async def test_where_there_is_only_one_slot_background_requests_have_it_too(run: Path) -> None:
    assert await soon(take(run, HEADLESS, limit=1))


@pytest.mark.parametrize(
    ("came", "order"),
    [
        ([0, 0, 0], [0, 1, 2]),
        ([HEADLESS, AGENT, 0], [2, 1, 0]),
        ([HEADLESS, 0, HEADLESS, 0], [1, 3, 0, 2]),
        ([0, -1], [1, 0]),
    ],
    ids=["first come", "by who asks", "and first come among equals", "by the setting"],
)
async def test_who_waits_is_served_in_order(run: Path, came: list[int], order: list[int]) -> None:
    done: list[int] = []

    async def go(number: int, one: Ticket) -> None:
        await served(one)
        done.append(number)
        one.give_back()

    async with holding(run, 1) as held, asyncio.TaskGroup() as group:
        for number, priority in enumerate(came):
            group.create_task(go(number, take(run, priority)))
        await asyncio.sleep(0.1)  # all are in line
        held[0].give_back()
    assert done == order


async def test_background_requests_do_not_starve(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "SECONDS_A_STEP", 0.02)  # a minute in a fifth of a second
    async with holding(run, 1) as held:
        old = take(run, HEADLESS)
        assert not await soon(old, 0.1)
        await asyncio.sleep(0.2)
        fresh = take(run)
        assert not await soon(fresh, 0.1)
        held[0].give_back()
        assert await soon(old)
        assert not await soon(fresh, 0.1)
        old.give_back()
        assert await soon(fresh)
        fresh.give_back()


async def test_an_old_background_request_before_a_person_does_not_keep_them_from_the_kept_slot(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turnstile, "SECONDS_A_STEP", 0.0)
    async with holding(run, 2, HEADLESS, limit=3):
        old, person = take(run, HEADLESS, limit=3), take(run, limit=3)
        assert not await soon(old, 0.1)
        assert await soon(person)
        person.give_back()
        old.give_back()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:8000", "http://127.0.0.1:8000/v1/", True),
        ("unix:/x/e.sock", "unix:x/e.sock", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8001", False),
    ],
)
async def test_each_engine_has_its_own_line_however_it_is_spelled(run: Path, one: str, other: str, same: bool) -> None:
    first, second = take(run, url=one), take(run, url=other)
    assert await soon(first)
    assert await soon(second, 0.1) is not same
    first.give_back()
    second.give_back()


# --- the place in line -------------------------------------------------------------------------------------------


async def test_the_place_is_told_when_it_changes(run: Path) -> None:
    async with holding(run, 1) as held:
        line = [take(run) for _ in range(3)]
        waits = [asyncio.create_task(served(one)) for one in line]
        await asyncio.sleep(0.5)
        for one in (held[0], line[0], line[1]):
            one.give_back()
            await asyncio.sleep(0.3)
        assert [await one for one in waits] == [[1], [2, 1], [3, 2, 1]]
        line[2].give_back()


async def test_a_short_wait_is_not_told(run: Path) -> None:
    async with holding(run, 1) as held:
        wait = asyncio.create_task(served(one := take(run)))
        await asyncio.sleep(0.1)
        held[0].give_back()
        assert await wait == []
        one.give_back()


async def test_a_cancelled_wait_frees_the_place_at_once(run: Path) -> None:
    async with holding(run, 1) as held:
        first, second = take(run), take(run)
        waits = [asyncio.create_task(served(one)) for one in (first, second)]
        await asyncio.sleep(0.4)
        waits[0].cancel()
        first.give_back()
        held[0].give_back()
        assert await waits[1] in ([2], [2, 1])
        second.give_back()
    assert list(run.rglob("waiting/*")) == []


@pytest.mark.parametrize(
    ("place", "words"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd"), (113, "113th")]
)
def test_a_place_is_said_as_people_say_it(place: int, words: str) -> None:
    assert in_line(place) == f"busy · {words} in line"


# --- several processes -------------------------------------------------------------------------------------------

OTHER = """
import asyncio, sys, time
from pathlib import Path
from glm_lsp.engine.turnstile import ticket

async def main():
    run, priority, limit, times, hold = Path(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5])
    for _ in range(times):
        one = ticket("unix:/run/engine.sock", priority=priority, limit=limit, run=run)
        while await one.moved():
            print("waits", flush=True)
        came = time.monotonic()
        print("has", flush=True)
        await asyncio.sleep(hold)
        print("had", priority, came, time.monotonic(), flush=True)
        one.give_back()

asyncio.run(main())
"""


@contextlib.contextmanager
def other(
    run: Path, priority: int = 0, limit: int = 1, times: int = 1, hold: float = 60.0
) -> Iterator[subprocess.Popen[str]]:
    """Another process that wants to be served."""
    command = [sys.executable, "-c", OTHER, str(run), *map(str, (priority, limit, times, hold))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_slot_is_free_when_its_process_is_gone_however_it_went(run: Path, how: signal.Signals) -> None:
    with other(run) as process:
        assert await asyncio.to_thread(heard, process) == "has"
        mine = take(run)
        assert not await soon(mine)
        process.send_signal(how)
        assert await soon(mine, 5.0)
        mine.give_back()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_who_was_killed_or_stopped_in_the_line_holds_nobody_up(run: Path, how: signal.Signals) -> None:
    async with holding(run, 1) as held:
        with other(run, hold=0.0) as process:
            assert await asyncio.to_thread(heard, process) == "waits"
            mine = take(run)
            assert not await soon(mine, 0.1)
            process.send_signal(how)
            held[0].give_back()
            assert await soon(mine, 10.0)
            mine.give_back()
            if how is signal.SIGSTOP:
                process.send_signal(signal.SIGCONT)
                assert await asyncio.to_thread(heard, process) == "has", "it goes on where it was"


async def test_the_file_of_who_was_killed_long_ago_is_removed(run: Path) -> None:
    async with holding(run, 1) as held:
        with other(run) as process:
            assert await asyncio.to_thread(heard, process) == "waits"
            process.kill()
            process.wait()
        (left,) = run.rglob("waiting/*")
        os.utime(left, (0, 0))
        held[0].give_back()
        one = take(run)
        assert await soon(one)
        one.give_back()
    assert not left.exists()


async def test_who_was_stopped_while_looking_holds_nobody_up(run: Path) -> None:
    first = take(run)
    assert await soon(first)
    first.give_back()
    (order,) = run.rglob("order")
    with order.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        one = take(run)
        assert await soon(one, 10.0)
        one.give_back()


async def test_processes_never_have_more_slots_than_there_are(run: Path) -> None:
    limit = 3
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(other(run, priority, limit, times=12, hold=0.02)) for priority in (0, 0, 5, 10, 10, 10)
        ]
        said = [await asyncio.to_thread(process.communicate, timeout=60) for process in processes]
    stays = [
        (int(priority), float(came), float(went))
        for out, _ in said
        for priority, came, went in (line.split()[1:] for line in out.splitlines() if line.startswith("had"))
    ]
    assert len(stays) == 6 * 12
    for background, most in ((False, limit), (True, limit - 1)):
        counted = [stay for stay in stays if stay[0] > 0 or not background]
        together = [sum(came <= moment < went for _, came, went in counted) for _, moment, _ in counted]
        assert max(together) <= most


# --- how many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "url", "slots"),
    [
        (["serve", "--max-num-seqs", "4"], URL, 3),
        (["serve", "--max_num_seqs=4", "--uds", "x"], URL, 3),
        (["serve", "--max-num-seqs", "4"], "http://127.0.0.1:8000", 0),
        (["serve"], URL, 0),
        (["serve", "--max-num-seqs"], URL, 0),
        (["serve", "--max-num-seqs", "1"], URL, 0),
    ],
    ids=["one less", "with an equals sign", "another engine", "not said", "cut off", "one at a time"],
)
async def test_this_hosts_own_engine_says_how_many_it_serves(run: Path, words: list[str], url: str, slots: int) -> None:
    (run / "engine.json").write_text(json.dumps({"engines": [{"url": URL, "command": words, "pid": 1}]}))
    held = [take(run, limit=0, url=url) for _ in range(slots)]
    for one in held:
        assert await soon(one)
    one = take(run, limit=0, url=url)
    assert await soon(one, 0.1) is (slots == 0)
    for each in (one, *held):
        each.give_back()


async def test_an_engine_that_is_being_stopped_takes_nothing_new(run: Path) -> None:
    def record(state: str) -> str:
        own = {"url": URL, "command": ["serve", "--max-num-seqs", "2"], "state": state}
        return json.dumps({"engines": [own]})

    (run / "engine.json").write_text(record("running"))
    held, waiting = take(run, limit=0), take(run, limit=0)
    assert await soon(held)
    asked = asyncio.create_task(waiting.moved())
    (run / "engine.json").write_text(record("running"))
    await asyncio.sleep(0.4)
    (run / "engine.json").write_text(record("draining"))
    assert await asked == 1  # a place in line, told before it was
    with pytest.raises(Unreachable, match="being stopped"):
        await waiting.moved()
    with pytest.raises(Unreachable, match="being stopped"):
        await take(run, limit=0).moved()
    for each in (held, waiting):
        each.give_back()


async def test_a_broken_state_file_is_no_limit(run: Path) -> None:
    (run / "engine.json").write_text("{")
    assert await soon(take(run, limit=0))


# --- what must not stop work -------------------------------------------------------------------------------------


async def test_where_the_folder_cannot_be_used_everybody_passes_and_it_is_said_why(run: Path) -> None:
    (run / "turnstile").write_text("in the way")
    for _ in range(3):
        one = take(run)
        assert await soon(one)
        assert "do not line up" in one.problem
        one.give_back()


async def test_a_folder_that_goes_away_lets_those_who_wait_pass(run: Path) -> None:
    async with holding(run, 1):
        one = take(run)
        assert not await soon(one, 0.1)
        (waiting,) = run.rglob("waiting")
        for path in (*waiting.iterdir(), waiting):
            path.unlink() if path.is_file() else path.rmdir()
        assert await soon(one, 5.0)
        assert one.problem
        one.give_back()


async def test_a_person_is_told_once_that_nobody_lines_up(run: Path) -> None:
    (run / "turnstile").write_text("in the way")
    server = WireServer(spoken(TEXT))
    async with server.running(), engine_for(server, max_requests=1) as engine:
        for _ in range(2):
            assert together(await ask(engine))["finish"] == ["stop"]
        (note,) = engine.take_notes()
        assert "do not line up" in note


# --- the client --------------------------------------------------------------------------------------------------


async def test_a_request_waits_here_and_reaches_the_engine_when_it_is_its_turn(run: Path) -> None:
    server = WireServer([*spoken(THINKING)[:2], Pause(0.8), *spoken(TEXT)[1:]], spoken(TEXT))
    async with server.running(), engine_for(server, max_requests=1) as engine:
        first = asyncio.create_task(ask(engine))
        await asyncio.sleep(0.3)
        second = asyncio.create_task(ask(engine))
        await asyncio.sleep(0.35)
        assert len(server.requests) == 1
        assert together(await first)["finish"] == ["stop"]
        deltas = await second
        assert [delta.queued for delta in deltas if delta.queued is not None] == [1, 0]
        assert [delta.queued for delta in deltas][:2] == [1, 0], "before anything else"
        assert together(deltas)["text"] == TEXT["content"]


async def test_a_request_that_is_cancelled_in_the_line_never_reaches_the_engine(run: Path) -> None:
    server = WireServer(spoken(TEXT))
    async with server.running(), engine_for(server, max_requests=1) as engine:
        await engine.connect()
        async with holding_at(server.url, run):
            waits = asyncio.create_task(ask(engine))
            await asyncio.sleep(0.1)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
        assert together(await ask(engine))["finish"] == ["stop"], "and holds no slot"
        assert len(server.requests) == 1


async def test_a_request_that_fails_gives_its_slot_back(run: Path) -> None:
    server = WireServer(b"data: nonsense\n\n", spoken(TEXT))
    async with server.running(), engine_for(server, max_requests=1, retries=0) as engine:
        with pytest.raises(Exception, match="127"):
            await ask(engine)
        async with asyncio.timeout(10):
            assert together(await ask(engine))["finish"] == ["stop"]


@contextlib.asynccontextmanager
async def holding_at(url: str, run: Path, limit: int = 1) -> AsyncIterator[Ticket]:
    one = take(run, limit=limit, url=url)
    assert await soon(one)
    try:
        yield one
    finally:
        one.give_back()


# --- turns, and what is seen of it -------------------------------------------------------------------------------


async def test_a_turn_tells_its_place_before_anything_else_and_counts_the_wait(run: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(project(tmp_path / "work", cart_py="x = 1\n"), Settings())
    server = WireServer(spoken(THINKING, TEXT))
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url, max_requests=1), environment={})
        await engine.connect()
        happened: list[Happening] = []
        async with holding_at(server.url, run) as held:
            asyncio.get_running_loop().call_later(0.6, held.give_back)
            turn = workspace.turn(Ask("chat", "Hello"), engine, draft=workspace.draft())
            happened += [event.what async for event in turn.run()]
        await engine.close()
    assert [type(what) for what in happened[:4]] == [Started, Queued, Queued, ThinkingAdded]
    assert [what.place for what in happened if isinstance(what, Queued)] == [1, 0]
    (used,) = [what for what in happened if isinstance(what, Used)]
    assert used.first_token > 0.5, "who asked has waited for that long"


def shown(*happenings: Happening, **terminal: Any) -> str:
    stream = io.StringIO()
    with Terminal(stream, color=False, live=False, width=80, **terminal) as face:
        for number, what in enumerate(happenings):
            face.show(Event("t", number + 1, 0.0, what))
    return stream.getvalue()


BEGIN = Started("chat", "Hello", "GLM-4.7", thinking=True)
END = Ended("done", Usage(), 1.0)


def test_a_terminal_says_once_that_others_go_first() -> None:
    text = shown(BEGIN, Queued(3), Queued(2), Queued(0), TextAdded("Hi."), END)
    assert text.count("in line") == 1
    assert "busy · 3rd in line\n" in text


def test_a_program_reads_each_place() -> None:
    line = json.loads(encode(Event("t", 2, 0.5, Queued(3))))
    assert line == {"turn": "t", "seq": 2, "at": 0.5, "event": "queued", "place": 3}


def test_a_live_terminal_shows_the_place_as_it_is_now() -> None:
    stream = io.StringIO()
    with Terminal(stream, color=True, live=True, width=80, frames=0) as face:
        seen = []
        for number, what in enumerate((BEGIN, Queued(2), Queued(1), Queued(0), END)):
            face.show(Event("t", number + 1, 0.0, what))
            before = len(stream.getvalue())
            face.refresh()
            seen.append("in line" in stream.getvalue()[before:])
    assert seen == [False, True, True, False, False]


# --- who asks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "sent"), [("", HEADLESS), ("3", 3), ("-1", -1)], ids=["unset", "later", "sooner"])
async def test_a_run_that_nobody_watches_comes_after_people_unless_the_settings_say_otherwise(
    tmp_path: Path, setting: str, sent: int
) -> None:
    person = Person(tmp_path)
    person.environment |= {"GLM_LSP_ENGINE_PRIORITY": setting} if setting else {}
    server = WireServer(spoken(TEXT))
    async with server.running():
        await asyncio.to_thread(person.run, "Say it.", "cart.py", engine=server.url)
    assert [request.get("priority") for request in server.requests] == [sent]


async def test_a_person_asks_with_no_priority_at_all() -> None:
    server = WireServer(spoken(TEXT))
    async with server.running(), engine_for(server) as engine:
        await ask(engine, HELLO)
    assert "priority" not in server.requests[0]


async def test_other_agents_line_up_behind_people_and_vllm_is_told(tmp_path: Path, run: Path) -> None:
    engine = Engine(tmp_path / "e.sock")
    async with engine.serving():
        upstream = leading_to(engine.socket, limit=2)
        async with bridged(engine.socket, upstream=lambda: upstream) as agent:
            async with holding_at(upstream.url, run, limit=2) as person, holding_at(upstream.url, run, limit=2):
                waits = asyncio.create_task(agent.said("/v1/chat/completions", asks(user("Hello"))))
                await asyncio.sleep(0.2)
                assert not engine.got
                async with agent.session.get(f"{agent.url}/v1/models", headers=AUTH) as reply:
                    assert reply.status == 200, "what takes no time does not wait"
                person.give_back()
                await asyncio.sleep(0.2)
                assert not waits.done(), "the slot of people stays free"
            assert b"glm-4.7" in await waits
    (listed, written) = engine.got
    assert "X-Vllm-Priority" not in listed[1]
    assert (written[0], written[1]["X-Vllm-Priority"]) == ("/v1/chat/completions", str(AGENT))


async def test_an_agent_that_goes_away_in_the_line_leaves_it(tmp_path: Path, run: Path) -> None:
    engine = Engine(tmp_path / "e.sock")
    async with engine.serving():
        upstream = leading_to(engine.socket, limit=1)
        async with bridged(engine.socket, upstream=lambda: upstream) as agent:
            async with holding_at(upstream.url, run):
                with pytest.raises((TimeoutError, aiohttp.ServerTimeoutError)):
                    async with asyncio.timeout(0.3):
                        await agent.said("/v1/chat/completions", asks(user("Hello")))
                await asyncio.sleep(0.2)
                assert list(run.rglob("waiting/*")) == []
            assert b"glm-4.7" in await agent.said("/v1/chat/completions", asks(user("Hello")))
    assert len(engine.got) == 1


def leading_to(socket: Path, limit: int) -> Upstream:
    return Upstream(f"unix:{socket}", limit=limit)
