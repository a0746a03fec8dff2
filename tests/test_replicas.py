"""Several engines as one, on servers that replay: who is asked, who stands in, what a person is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from test_doctor import examine
from test_refactor import Person
from wire_server import CUT, HANG_UP, Answer, Pause, WireServer, chunk, refusal, spoken, vllm_error

from glm_lsp import settings as options
from glm_lsp.conversations import Conversation
from glm_lsp.engine import open_engine
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.replicas import Replicas
from glm_lsp.errors import (
    ContextTooLong,
    DiedMidStream,
    EngineError,
    Overloaded,
    SettingsError,
    Unreachable,
    WrongModel,
)
from glm_lsp.settings import EngineSettings, Settings
from glm_lsp.terms import Ask, Ended, Message, Prompt, Sampling, TextAdded, ThinkingAdded, Warned
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

YES = spoken({"reasoning": "Hm."}, {"content": "Yes."})
BROKEN = Answer((chunk({"role": "assistant"}), chunk({"reasoning": "Half a thou"}), Pause(0.05), CUT))
FAILS = refusal(500, vllm_error("EngineCore died", 500))
QUICK: dict[str, Any] = {"connect_timeout": 2.0, "first_token_timeout": 5.0, "stall_timeout": 5.0}
WORK = "the work"


def asked(*said: str, workspace: str = WORK, beginning: str = "Hello") -> Prompt:
    """A question, and every second text after it an answer."""
    talk = [Message("system", "You help."), Message("user", beginning)]
    talk += [Message("user" if number % 2 else "assistant", text) for number, text in enumerate(said)]
    return Prompt(tuple(talk), (), thinking=True, sampling=Sampling(0.0, None, 100), workspace=workspace)


class Servers:
    """Some of them, in the order in which one workspace uses them, and the engine made of them."""

    def __init__(
        self, servers: list[WireServer], engine: Replicas, stops: dict[str, contextlib.AsyncExitStack]
    ) -> None:
        by_url = {server.url: server for server in servers}
        self.engine = engine
        self.inorder = [by_url[url] for url in engine.order(WORK)]
        self._stops = stops

    @property
    def requests(self) -> list[int]:
        return [len(server.requests) for server in self.inorder]

    async def stop(self, number: int) -> None:
        await self._stops[self.inorder[number].url].aclose()

    async def start_again(self, number: int) -> None:
        server = self.inorder[number]
        url, port = server.url, int(server.url.rpartition(":")[2])
        await self._stops[url].enter_async_context(server.running(port=port))

    async def ask(self, *said: str, **more: Any) -> str:
        return "".join([delta.text async for delta in self.engine.stream(asked(*said, **more))])


@contextlib.asynccontextmanager
async def several(
    count: int = 2, *, pause: float = 60.0, look_every: float = 15.0, **more: Any
) -> AsyncIterator[Servers]:
    servers = [WireServer(YES) for _ in range(count)]
    stops = {}
    async with contextlib.AsyncExitStack() as all_of_them:
        for server in servers:
            stop = contextlib.AsyncExitStack()
            await stop.enter_async_context(server.running())
            all_of_them.push_async_callback(stop.aclose)
            stops[server.url] = stop
        engine = Replicas(
            EngineSettings(replicas=[server.url for server in servers], **QUICK | more),
            environment={},
            pause=pause,
            look_every=look_every,
        )
        all_of_them.push_async_callback(engine.close)
        yield Servers(servers, engine, stops)


def named(server: WireServer) -> str:
    return server.url.removeprefix("http://")


# --- where a conversation belongs ----------------------------------------------------------------------------------


def test_taking_one_away_moves_its_own_share_and_no_other() -> None:
    urls = [f"http://glm-{letter}:8000" for letter in "abcde"]
    places = [f"/home/me/project-{number}" for number in range(500)]
    whole = Replicas(EngineSettings(replicas=urls), environment={})
    fewer = Replicas(EngineSettings(replicas=urls[:2] + urls[3:]), environment={})
    before = {place: whole.order(place) for place in places}
    share = Counter(order[0] for order in before.values())
    assert set(share) == set(urls)
    assert max(share.values()) < 2 * min(share.values())
    for place, order in before.items():
        assert fewer.order(place) == tuple(url for url in order if url != urls[2])


async def test_all_conversations_of_a_workspace_go_to_one_and_after_a_restart_to_the_same() -> None:
    async with several(3) as one:
        for number in range(4):
            assert await one.ask(beginning=f"Question {number}") == "Yes."
        assert one.requests == [4, 0, 0]
        urls = [server.url for server in one.inorder]
        later = Replicas(EngineSettings(replicas=sorted(urls), **QUICK), environment={})
        assert later.order(WORK) == tuple(urls), "in whatever order they are written"
        async for _ in later.stream(asked("Yes.", "And now?")):
            pass
        await later.close()
        assert one.requests == [5, 0, 0]
        assert one.engine.take_notes() == ()
        assert all("workspace" not in body for body in one.inorder[0].requests), "its name is never sent"


# --- one of them is down -------------------------------------------------------------------------------------------


async def test_one_that_is_down_from_the_start_is_stood_in_for_and_said_so_once() -> None:
    async with several() as one:
        await one.stop(0)
        assert await one.ask() == "Yes."
        (note,) = one.engine.take_notes()
        first, second = map(named, one.inorder)
        assert note == f"{first} does not answer; {second} stands in for it."
        assert await one.ask(beginning="Another") == "Yes."
        assert one.engine.take_notes() == ()


async def test_a_conversation_moves_once_and_stays_and_new_ones_return() -> None:
    async with several(pause=0.0) as one:
        await one.ask()
        await one.stop(0)
        heard = [delta async for delta in one.engine.stream(asked("Yes.", "And now?"))]
        assert not heard[0].text, "the note is told before the first word"
        (note,) = one.engine.take_notes()
        first, second = map(named, one.inorder)
        assert note == (
            f"{first} does not answer; this conversation goes on at {second}, which reads it anew (about 940 tokens): "
            "the first answer takes longer."
        )
        await one.start_again(0)
        await one.ask("Yes.", "And now?", "Yes.", "More?")
        assert one.requests == [1, 2], "it stays where it was read last"
        await one.ask(beginning="Something new")
        assert one.requests == [2, 2]
        assert one.engine.take_notes() == ()


async def test_what_dies_before_its_first_word_is_sent_to_the_next_at_once() -> None:
    async with several() as one:
        one.inorder[0].answers = [Answer((HANG_UP,))]
        assert await one.ask() == "Yes."
        assert one.requests == [2, 1], "a kept connection that was closed counts only the second time"
        await one.ask("Yes.", "More?")
        assert one.requests == [2, 2], "the first is left alone for a while"


async def test_after_a_moment_it_is_asked_what_it_serves_before_a_request_is_risked() -> None:
    async with several(pause=0.0) as one:
        first = one.inorder[0]
        first.answers = [FAILS, FAILS, Answer(YES)]
        for number in range(3):
            first.paths.clear()
            assert await one.ask(beginning=f"Question {number}") == "Yes."
            if number:
                assert first.paths[0] == "/v1/models"
        assert one.requests == [3, 2]
        notes = one.engine.take_notes()
        assert len(notes) == 1, "a flapping one is told of once"
        assert "broke off" in notes[0]


async def test_each_failure_in_a_row_doubles_the_time_for_which_it_is_left_alone() -> None:
    async with several() as one:
        replica = one.engine._replicas[0]
        waits = []
        for _ in range(9):
            replica.failed(DiedMidStream("x"), 2.0)
            waits.append(replica.until)
            replica.until = 0.0
        steps = [round(later - waits[0]) for later in waits]
        assert steps == [0, 2, 6, 14, 30, 58, 58, 58, 58]
        replica.succeeded()
        assert replica.is_up()


async def test_when_all_are_down_the_error_has_a_cause_for_each() -> None:
    async with several(3, first_token_timeout=0.3) as one:
        await one.ask()
        await one.stop(0)
        one.inorder[1].models = refusal(401, vllm_error("No.", 401))
        one.inorder[1].answers = [refusal(401, vllm_error("No.", 401))]
        one.inorder[2].answers = [Answer((Pause(20),))]
        with pytest.raises(Unreachable) as caught:
            await one.ask("Yes.", "And now?")
        for server, word in zip(one.inorder, ("refused", "401", "0.3 s"), strict=True):
            assert f"{named(server)}: " in caught.value.message
            assert word in caught.value.message
        assert caught.value.message.startswith("None of the 3 engines can be used.")
        await one.start_again(0)
        assert await one.ask("Yes.", "And now?") == "Yes.", "a person who asks again is not told to wait"


async def test_when_none_answers_at_the_start_the_error_has_a_cause_for_each() -> None:
    async with several() as one:
        await one.stop(0)
        await one.stop(1)
        with pytest.raises(Unreachable, match="None of the 2 engines") as caught:
            await one.engine.connect()
        assert all(named(server) in caught.value.message for server in one.inorder)
        assert "doctor" in caught.value.hint
        await one.start_again(1)
        await one.engine.connect()
        assert await one.ask() == "Yes."


async def test_one_that_hangs_with_its_connection_open_is_found_out_before_the_long_time_out() -> None:
    async with several(connect_timeout=0.1, first_token_timeout=600.0, look_every=0.05) as one:
        await one.ask()
        one.inorder[0].answers = [Answer((Pause(100),))]
        one.inorder[0].models = Answer((Pause(100),))
        assert await one.ask("Yes.", "And now?") == "Yes."
        (note,) = one.engine.take_notes()
        assert "has fallen silent" in note


async def test_one_that_reads_for_long_and_lives_is_waited_for() -> None:
    async with several(look_every=0.02) as one:
        one.inorder[0].answers = [Answer((Pause(0.3), *YES))]
        assert await one.ask() == "Yes."
        assert one.requests == [1, 0]
        assert one.inorder[0].paths.count("/v1/models") > 3


async def test_a_request_that_breaks_two_is_not_tried_on_a_third() -> None:
    async with several(3) as one:
        for server in one.inorder:
            server.answers = [FAILS]
        with pytest.raises(DiedMidStream):
            await one.ask()
        assert one.requests == [1, 1, 0]


# --- busy ones -----------------------------------------------------------------------------------------------------


async def test_a_busy_one_is_waited_for_since_the_cache_is_there() -> None:
    async with several() as one:
        busy = refusal(429, vllm_error("busy", 429), Retry_After="0.05")
        one.inorder[0].answers = [busy, Answer(YES)]
        assert await one.ask() == "Yes."
        assert one.requests == [2, 0]


@pytest.mark.parametrize("others", [True, False], ids=["others are well", "it is the last"])
async def test_one_that_is_busy_for_longer_than_reading_anew_takes_is_left(*, others: bool) -> None:
    async with several() as one:
        await one.ask()
        one.inorder[0].answers = [refusal(429, vllm_error("busy", 429), Retry_After="300")]
        if others:
            assert await one.ask("Yes.", "And now?") == "Yes."
            assert "is too busy" in one.engine.take_notes()[0]
        else:
            await one.stop(1)
            one.engine._replicas.sort(key=lambda replica: replica.url != one.inorder[0].url)
            one.engine._replicas[1].failed(Unreachable("gone"), 60.0)
            with pytest.raises(Overloaded):
                await one.ask("Yes.", "And now?")


async def test_who_waits_in_line_for_one_is_not_sent_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with several(max_requests=1) as one:
        one.inorder[0].answers = [Answer((Pause(0.2), *YES))]
        both = await asyncio.gather(one.ask(), one.ask(beginning="Another"))
        assert both == ["Yes.", "Yes."]
        assert one.requests == [2, 0]


async def test_a_prompt_that_is_too_long_is_too_long_everywhere() -> None:
    async with several() as one:
        words = "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens."
        one.inorder[0].answers = [refusal(400, vllm_error(words, 400))]
        with pytest.raises(ContextTooLong):
            await one.ask()
        assert one.requests == [1, 0]
        assert one.engine._replicas[0].is_up()


# --- others than they should be ------------------------------------------------------------------------------------


def card(name: str = "glm-4.7", length: int = 32768) -> dict[str, Any]:
    return {"data": [{"id": name, "object": "model", "owned_by": "vllm", "max_model_len": length}]}


async def test_one_that_serves_another_model_is_left_out_and_said_so() -> None:
    async with several(3) as one:
        odd = next(server for server in one.inorder if server.url == one.engine._replicas[2].url)
        odd.models = card("qwen3-coder")
        await one.engine.connect()
        (note,) = one.engine.take_notes()
        assert note == f"{named(odd)} is left out: it serves qwen3-coder, and the others serve glm-4.7."
        for server in one.inorder:
            if server is not odd:
                server.answers = [refusal(401, vllm_error("No.", 401))]
        with pytest.raises(EngineError, match="qwen3-coder"):
            await one.ask()
        assert odd.requests == []


async def test_a_named_model_that_one_lacks_is_no_reason_to_stop() -> None:
    async with several(model="glm-4.7") as one:
        one.inorder[0].models = card("glm-4.6")
        assert await one.ask() == "Yes."
        assert one.engine.take_notes() == (
            f"{named(one.inorder[0])} serves another model; {named(one.inorder[1])} stands in for it.",
        )


async def test_one_without_tools_is_left_out_beside_others_with_them() -> None:
    async with several() as one:
        odd = next(server for server in one.inorder if server.url == one.engine._replicas[1].url)
        no_parser = "auto tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"
        odd.probe = refusal(400, vllm_error(f'"{no_parser}"', 400))
        odd.models = card("glm-4.7")
        await one.engine.connect()
        assert one.engine.profile.tools
        assert odd.requests == []


async def test_one_that_lies_about_its_model_is_found_by_its_first_reply() -> None:
    async with several(pause=0.0) as one:
        lie = [chunk({"content": "I am"}, model="qwen3-coder"), *spoken({"content": " not."})]
        one.inorder[0].answers = [Answer(lie)]
        assert await one.ask() == "Yes.", "not a word of it is handed on"
        assert any("answers as qwen3-coder" in note for note in one.engine.take_notes())
        assert await one.ask(beginning="Another") == "Yes."
        assert one.requests[1] == 2
        one.inorder[1].answers = [Answer(lie)]
        with pytest.raises(WrongModel, match="None of the 2 engines"):
            await one.ask(beginning="A third")


async def test_the_shortest_context_of_all_holds_for_all() -> None:
    async with several() as one:
        one.inorder[1].models = card(length=16384)
        await one.engine.connect()
        assert one.engine.profile.context_length == 16384
        (note,) = one.engine.take_notes()
        assert "16,384" in note


# --- in the middle of a reply --------------------------------------------------------------------------------------


async def test_after_the_first_word_nothing_is_sent_again_here_and_the_error_says_who_would_take_it() -> None:
    async with several() as one:
        one.inorder[0].answers = [BROKEN]
        with pytest.raises(DiedMidStream) as caught:
            await one.ask()
        assert caught.value.elsewhere
        assert one.requests == [1, 0]
        one.inorder[1].answers = [BROKEN]
        with pytest.raises(DiedMidStream) as caught:
            await one.ask()
        assert not caught.value.elsewhere, "there is nobody left"


async def test_a_turn_goes_on_at_the_next_and_its_record_has_every_thought_once(tmp_path: Path) -> None:
    async with several() as one:
        events, conversation, servers = await turn(tmp_path, one, [BROKEN], [Answer(YES)])
        assert next(what for what in events if isinstance(what, Ended)).reason == "done"
        assert [(m.thinking, m.text) for m in conversation.messages if m.role == "assistant"] == [("Hm.", "Yes.")]
        warned = [what for what in events if isinstance(what, Warned)]
        assert [what.code for what in warned] == ["asked-again", "engine-note"]
        first, second = map(named, servers)
        assert "the same is asked again" in warned[0].message
        assert warned[1].message == f"{first} broke off; {second} stands in for it."
        place = [i for i, what in enumerate(events) if what in warned]
        words = [i for i, what in enumerate(events) if isinstance(what, TextAdded)]
        assert max(place) < min(words), "told before the answer comes"
        assert "".join(what.text for what in events if isinstance(what, ThinkingAdded)) == "Half a thouHm."


async def test_a_turn_whose_request_breaks_a_second_engine_ends(tmp_path: Path) -> None:
    async with several(3) as one:
        events, conversation, servers = await turn(tmp_path, one, [BROKEN], [BROKEN], [Answer(YES)])
        ended = next(what for what in events if isinstance(what, Ended))
        assert (ended.reason, ended.code) == ("error", "died-mid-stream")
        assert [m for m in conversation.messages if m.role == "assistant"] == []
        assert [len(server.requests) for server in servers] == [1, 1, 0]


async def turn(root: Path, one: Servers, *answers: list[Answer]) -> tuple[list[Any], Conversation, list[WireServer]]:
    """A turn in a real folder, whose place among the servers is its own."""
    workspace = Workspace.open(root, Settings())
    by_url = {server.url: server for server in one.inorder}
    servers = [by_url[url] for url in one.engine.order(str(workspace.root))]
    for server, its in zip(servers, answers, strict=True):
        server.answers = its
    await one.engine.connect()
    conversation = Conversation()
    run = workspace.turn(
        Ask("refactor", "Is it?", (), "auto"), one.engine, conversation=conversation, draft=workspace.draft()
    )
    return [event.what async for event in run.run()], conversation, servers


# --- settings, and the doctor --------------------------------------------------------------------------------------


def test_addresses_come_from_the_person_and_never_from_a_workspace(tmp_path: Path) -> None:
    urls = ["http://a", "http://b"]
    (tmp_path / ".glm-lsp.toml").write_text('[engine]\nreplicas = ["http://a"]\n')
    with pytest.raises(SettingsError, match=r"engine\.replicas may not be set by a workspace"):
        options.load(tmp_path, environment={})
    (tmp_path / ".glm-lsp.toml").unlink()
    loaded = options.load(tmp_path, environment={"GLM_LSP_ENGINE_REPLICAS": '["http://a", "http://b"]'})
    assert loaded.engine.replicas == urls
    assert isinstance(open_engine(loaded.engine, cache=tmp_path), Replicas)
    alone = replace(loaded.engine, url="http://c")
    assert isinstance(open_engine(alone, cache=tmp_path), HttpEngine), "one that is named is the one that is used"


@pytest.mark.parametrize("urls", [["http://a", "http://a/"], ["a"]], ids=["twice", "no address"])
def test_a_wrong_list_is_refused(urls: list[str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        open_engine(EngineSettings(replicas=urls), cache=tmp_path)


async def test_the_doctor_looks_at_each(tmp_path: Path) -> None:
    async with several() as one:
        await one.stop(1)
        urls = ", ".join(f'"{server.url}"' for server in one.inorder)
        code, checks = await examine(Person(tmp_path), GLM_LSP_ENGINE_REPLICAS=f"[{urls}]")
        first, second = map(named, one.inorder)
        assert code == 1
        assert checks[f"engine {first}"]["state"] == "ok"
        assert checks[f"cache {first}"]["facts"]["reported"]
        assert checks[f"engine {second}"]["state"] == "wrong"
