"""The client against a real server that misbehaves in every way we know of."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from wire_server import (
    CUT,
    DONE,
    HANG_UP,
    ROLE,
    SLAM,
    USAGE,
    Answer,
    Pause,
    WireServer,
    call,
    chunk,
    refusal,
    spoken,
    vllm_error,
)

from glm_lsp.engine import open_engine
from glm_lsp.engine.cards import Card, stands_for
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.connection import Connection
from glm_lsp.engine.dialects import DIALECTS
from glm_lsp.engine.sse import EventParser
from glm_lsp.errors import (
    CannotDo,
    ContextTooLong,
    DiedMidStream,
    EngineError,
    MalformedReply,
    Overloaded,
    Refused,
    SettingsError,
    Stalled,
    Unreachable,
    WrongModel,
)
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Delta, Message, Prompt, Sampling, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

READ = ToolSpec("read", "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}})
HELLO = Prompt((Message("user", "Hello"),), (), thinking=True, sampling=Sampling(0.7, 1.0, 16384))
WITH_TOOL = Prompt((Message("user", "Hello"),), (READ,), thinking=True, sampling=Sampling(0.7, 1.0, 16384))
THINKING, TEXT = {"reasoning": "Let me see."}, {"content": "It is 3 °C."}


@contextlib.asynccontextmanager
async def engine_for(server: WireServer, *, cache: Path | None = None, **settings: Any) -> AsyncIterator[HttpEngine]:
    quick = {"connect_timeout": 2.0, "first_token_timeout": 5.0, "stall_timeout": 5.0}
    engine = HttpEngine(EngineSettings(url=server.url, **quick | settings), cache=cache, environment={}, backoff=0.01)
    try:
        yield engine
    finally:
        await engine.close()


async def ask(engine: HttpEngine, prompt: Prompt = HELLO) -> list[Delta]:
    return [delta async for delta in engine.stream(prompt)]


async def listen(engine: HttpEngine, heard: list[Delta]) -> None:
    """Keeps what is heard even where it ends in an error."""
    async for delta in engine.stream(WITH_TOOL):
        heard.append(delta)  # noqa: PERF401 - a comprehension would lose it


async def ask_server(server: WireServer, prompt: Prompt = HELLO, **settings: Any) -> list[Delta]:
    async with server.running(), engine_for(server, **settings) as engine:
        return await ask(engine, prompt)


def together(deltas: list[Delta]) -> dict[str, Any]:
    """What the Deltas say, however they were cut."""
    calls: dict[int, list[str]] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        known = calls.setdefault(piece.index, ["", "", ""])
        known[0] += piece.id
        known[1] += piece.name
        known[2] += piece.arguments
    return {
        "thinking": "".join(delta.thinking for delta in deltas),
        "text": "".join(delta.text for delta in deltas),
        "calls": [tuple(calls[index]) for index in sorted(calls)],
        "finish": [delta.finish for delta in deltas if delta.finish],
        "usage": [delta.usage for delta in deltas if delta.usage],
    }


# --- a reply that goes well --------------------------------------------------------------------------------------


async def test_thinking_text_calls_and_usage_come_in_order_and_finish_comes_last() -> None:
    deltas = await ask_server(
        WireServer(
            spoken(
                THINKING,
                TEXT,
                call(0, "", id="call-a", name="read"),
                call(0, '{"path": '),
                call(0, '"a.py"}'),
                call(1, "{}", id="call-b", name="read"),
                finish="tool_calls",
            )
        ),
        WITH_TOOL,
    )
    assert together(deltas) == {
        "thinking": "Let me see.",
        "text": "It is 3 °C.",
        "calls": [("call-a", "read", '{"path": "a.py"}'), ("call-b", "read", "{}")],
        "finish": ["tool_calls"],
        "usage": [Usage(900, 40, cached=800, thought=12)],
    }
    assert deltas[-1].finish == "tool_calls"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_thinking_is_found_under_either_name(field: str) -> None:
    assert together(await ask_server(WireServer(spoken({field: "Hm."}, TEXT))))["thinking"] == "Hm."


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("stop", "stop"), ("length", "length"), ("abort", "cancelled"), ("something new", "stop")],
)
async def test_finish_reasons_are_mapped(theirs: str, ours: str) -> None:
    assert (await ask_server(WireServer(spoken(TEXT, finish=theirs))))[-1].finish == ours


async def test_stop_after_a_tool_call_is_a_tool_call() -> None:
    deltas = await ask_server(WireServer(spoken(call(0, "{}", id="a", name="read"), finish="stop")), WITH_TOOL)
    assert deltas[-1].finish == "tool_calls"


@pytest.mark.parametrize("body", [spoken(THINKING, usage=False), spoken(usage=False)], ids=["only thinking", "empty"])
async def test_a_reply_that_says_nothing_is_handed_on_for_the_turn_to_judge(body: list[bytes]) -> None:
    said = together(await ask_server(WireServer(body)))
    assert (said["text"], said["finish"], said["usage"]) == ("", ["stop"], [])


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        ([call(0, "{}", id="a", name="x"), call(0, "{}", id="b", name="y")], [("a", "x", "{}"), ("b", "y", "{}")]),
        ([call(0, "{", id="a", name="x"), call(0, "}", id="a", name="x")], [("a", "x", "{}")]),
        ([call(5, "{}", id="a", name="x")], [("a", "x", "{}")]),
    ],
    ids=["every call has index 0", "id and name are repeated", "numbers start anywhere"],
)
async def test_odd_numbering_of_tool_calls_is_put_right(fragments: list[Any], expected: list[Any]) -> None:
    deltas = await ask_server(WireServer(spoken(*fragments, finish="tool_calls")), WITH_TOOL)
    assert together(deltas)["calls"] == expected
    assert [piece.index for delta in deltas for piece in delta.tool_calls if piece.id] == list(range(len(expected)))


async def test_a_call_without_an_id_gets_one() -> None:
    deltas = await ask_server(WireServer(spoken(call(0, "{}", name="read"), finish="tool_calls")), WITH_TOOL)
    ((call_id, name, _),) = together(deltas)["calls"]
    assert call_id
    assert name == "read"


async def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    server = WireServer(spoken(TEXT))
    async with server.running(tmp_path / "e.sock"), engine_for(server) as engine:
        assert together(await ask(engine))["text"] == "It is 3 °C."


async def test_two_streams_run_at_once() -> None:
    server = WireServer([ROLE, chunk(TEXT), Pause(0.05), chunk(TEXT), chunk({}, "stop"), DONE])
    async with server.running(), engine_for(server) as engine:
        first, second = await asyncio.gather(ask(engine), ask(engine))
    assert together(first) == together(second)
    assert len(server.requests) == 2


async def test_the_connection_is_used_again_after_a_whole_reply() -> None:
    server = WireServer(spoken(TEXT))
    ports = set()
    original = server._handle

    async def noting(request: Any) -> Any:
        ports.add(request.transport.get_extra_info("peername"))
        return await original(request)

    server._handle = noting  # type: ignore[method-assign]
    async with server.running(), engine_for(server) as engine:
        for _ in range(3):
            await ask(engine)
    assert len(ports) == 1


# --- cuts --------------------------------------------------------------------------------------------------------

SHORT = b"".join(
    [
        b'data: {"choices":[{"delta":{"reasoning":"h\xc3\xa9"}}]}\n\n',
        b": keep-alive\r\n\r\n",
        'data: {"choices":[{"delta":{"content":"日"}}]}\r\n\r\n'.encode(),
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}]}\r\r',
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{},\r\ndata: "finish_reason":"stop"}]}\n\nevent: x\nid: 1\n\n',
        b"data: [DONE]\n\n",
    ]
)
WHOLE = {"thinking": "hé", "text": "日", "calls": [("a", "f", "{}")], "finish": ["tool_calls"], "usage": []}


def test_events_do_not_depend_on_where_the_bytes_are_cut() -> None:
    whole = EventParser().feed(SHORT)
    assert len(whole) == 6
    for cut in range(len(SHORT) + 1):
        parser = EventParser()
        assert parser.feed(SHORT[:cut]) + parser.feed(SHORT[cut:]) == whole
    parser = EventParser()
    assert [event for byte in SHORT for event in parser.feed(bytes([byte]))] == whole


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=5), st.data())
def test_any_events_survive_any_line_ends_and_any_cuts(events: list[str], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    raw = b"\xef\xbb\xbf" * data.draw(st.booleans()) + "".join(f"data: {event}{end}{end}" for event in events).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    parser = EventParser()
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += parser.feed(raw[start:stop])
    assert found == [event.encode() for event in events]


async def test_deltas_do_not_depend_on_where_the_network_cuts() -> None:
    cuts = random.Random(4).sample(range(1, len(SHORT)), 40)
    bodies = [[SHORT[:cut], SHORT[cut:]] for cut in cuts]
    bodies.append([SHORT[at : at + 1] for at in range(len(SHORT))])
    server = WireServer(*bodies)
    async with server.running(), engine_for(server) as engine:
        for _ in bodies:
            assert together(await ask(engine, WITH_TOOL)) == WHOLE


async def test_a_last_event_without_its_blank_line_still_counts() -> None:
    deltas = await ask_server(WireServer([ROLE, chunk(TEXT), chunk({}, "stop")[:-2]]))
    assert together(deltas)["finish"] == ["stop"]


# --- refusals ----------------------------------------------------------------------------------------------------

CONTEXT_1 = (
    "This model's maximum context length is 4096 tokens. However, your prompt contains 5000 input tokens, which exceeds "
    "this limit even without any output tokens. Please reduce the length of the input prompt. "
    "(parameter=input_tokens, value=5000)"
)
CONTEXT_2 = (
    "This model's maximum context length is 4096 tokens. However, your request has 4100 input tokens. Shorten it."
)
CONTEXT_3 = (
    "This model's maximum context length is 100 tokens. However, you requested 130 tokens (90 in the messages, 40)."
)
CONTEXT_4 = (
    "'max_tokens' is too large: 100. This model's maximum context length is 4096 tokens and your request has "
    "4090 input tokens (100 > 4096 - 4090)."
)
CONTEXT_5 = "The input (9000 tokens) is longer than the model's context length (8192 tokens)."
CONTEXT_6 = "the request exceeds the available context size, try increasing it"
CONTEXT_7 = "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 input tokens, which"


@pytest.mark.parametrize(
    ("words", "over_by"),
    [
        (CONTEXT_1, 904),
        (CONTEXT_2, 4),
        (CONTEXT_3, 30),
        (CONTEXT_4, 94),
        (CONTEXT_5, 808),
        (CONTEXT_6, None),
        (CONTEXT_7, None),
    ],
    ids=["vllm", "vllm, older", "openai", "new tokens too many", "sglang", "llama.cpp", "at least"],
)
async def test_a_prompt_that_does_not_fit_says_by_how_much(words: str, over_by: int | None) -> None:
    with pytest.raises(ContextTooLong) as caught:
        await ask_server(WireServer(refusal(400, vllm_error(words, 400, param="input_tokens"))))
    assert caught.value.over_by == over_by
    assert caught.value.hint
    if over_by:
        assert f"by {over_by}" in caught.value.message


ELSEWHERE = {"Location": "http://127.0.0.1:1/", "Content-Type": "text/plain"}
HTML = b"<!doctype html><title>Sign in</title>"
GONE = vllm_error("The model `glm-4.7` does not exist. Valid aliases: other.", 404, "NotFoundError", "model")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(401, {"error": "Unauthorized"}), Refused, "Unauthorized"),
        (refusal(403, {"detail": "Not yours"}), Refused, "Not yours"),
        (refusal(402, {"message": "Insufficient balance"}), Refused, "Insufficient balance"),
        (Answer((), 302, ELSEWHERE), Refused, "elsewhere"),
        (refusal(404, GONE), WrongModel, "It serves glm-4.7"),
        (refusal(404, {"detail": "Not Found"}), MalformedReply, "Not Found"),
        (refusal(400, {"detail": "Server is pinned to '/m/x'; requested 'y'."}), WrongModel, "it serves /m/x"),
        (refusal(400, {"object": "error", "message": "priority must be 0"}), CannotDo, "priority must be 0"),
        (refusal(422, {"detail": [{"loc": ["body"], "msg": "extra"}]}), CannotDo, "extra"),
        (refusal(413, b"too big"), ContextTooLong, "does not fit"),
        (refusal(429, {"error": {"message": "Slow down"}}), Overloaded, "Slow down"),
        (refusal(503, b""), Overloaded, "busy"),
        (refusal(500, vllm_error("Internal server error", 500)), DiedMidStream, "Internal server error"),
        (refusal(502, HTML), Unreachable, "gateway"),
        (Answer((HTML,), 200, {"Content-Type": "text/html"}), MalformedReply, "Sign in"),
        (Answer((b'{"choices": []}',), 200, {"Content-Type": "application/json"}), MalformedReply, "choices"),
        (refusal(200, vllm_error("Not now", 503)), Overloaded, "Not now"),
        (Answer((), 200, {"Content-Type": "text/plain"}), MalformedReply, "nothing"),
        (Answer(()), MalformedReply, "nothing"),
        (Answer((b"data: {oops}\n\n",)), MalformedReply, "oops"),
        (Answer((b'data: {"choices": "x"}\n\n',)), MalformedReply, "choices"),
        (Answer((b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',)), MalformedReply, "chat completion"),
        (Answer((b'data: {"error": {"message": "' + CONTEXT_1.encode() + b'"}}\n\n', DONE)), ContextTooLong, "904"),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Answer) else None,
)
async def test_a_refusal_becomes_the_error_that_says_what_to_do(answer: Answer, kind: type, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        await ask_server(WireServer(answer), retries=0)
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert caught.value.hint


async def test_nothing_listening_is_unreachable() -> None:
    server = WireServer(spoken())
    async with server.running():
        pass
    async with engine_for(server) as engine:
        with pytest.raises(Unreachable, match="refused") as caught:
            await engine.connect()
    assert caught.value.retryable


async def test_a_missing_socket_is_unreachable(tmp_path: Path) -> None:
    engine = HttpEngine(EngineSettings(url=f"unix:{tmp_path}/none.sock"))
    with pytest.raises(Unreachable, match=r"none\.sock"):
        await engine.connect()
    await engine.close()


async def test_what_does_not_speak_http_is_malformed() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    engine = HttpEngine(EngineSettings(url=url))
    with pytest.raises(MalformedReply, match="HTTP"):
        await engine.connect()
    await engine.close()
    server.close()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/", "http://", "http://host:port", "http://u:p@host"])
def test_an_address_that_is_none_is_said_before_anything_is_sent(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        HttpEngine(EngineSettings(url=url))
    assert "u:p" not in f"{caught.value.message}{caught.value.hint}"


def test_an_address_opens_a_client_for_it_without_sending_anything(tmp_path: Path) -> None:
    engine = open_engine(EngineSettings(url="http://127.0.0.1:1", model="glm-4.7-fp8"), cache=tmp_path)
    assert (engine.model, engine.profile.id) == ("glm-4.7-fp8", "glm-4.7")


def test_an_unknown_dialect_is_said() -> None:
    with pytest.raises(SettingsError, match="klingon"):
        HttpEngine(EngineSettings(url="http://localhost", dialect="klingon"))


# --- retries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        refusal(429, {"error": "later"}, Retry_After="0"),
        refusal(503, b""),
        refusal(500, b"{}"),
        Answer((HANG_UP,)),
        Answer((ROLE, CUT)),
        Answer((ROLE, DONE)),
        Answer((b'data: {"error": {"message": "engine loop died", "code": 500}}\n\n', DONE)),
    ],
    ids=["429", "503", "500", "reset", "cut before the first word", "done without a word", "error event first"],
)
async def test_what_fails_before_the_first_word_is_tried_again(first: Answer) -> None:
    server = WireServer(first, spoken(TEXT))
    assert together(await ask_server(server))["text"] == "It is 3 °C."
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (refusal(503, b""), 3),
        (refusal(500, b""), 2),
        (refusal(504, b""), 2),
        (refusal(400, b"{}"), 1),
        (refusal(401, b"{}"), 1),
        (Answer((HANG_UP,)), 4),
        (refusal(429, b"", Retry_After="3600"), 1),
    ],
    ids=["503", "500", "504", "400", "401", "reset, once more at once as the line was kept", "429 for an hour"],
)
async def test_tries_are_counted_by_kind_of_failure(answer: Answer, requests: int) -> None:
    server = WireServer(answer)
    with pytest.raises(EngineError):
        await ask_server(server, retries=2)
    assert len(server.requests) == requests


async def test_retry_after_is_honoured() -> None:
    server = WireServer(refusal(429, b"", Retry_After="0.3"), spoken(TEXT))
    start = time.monotonic()
    await ask_server(server)
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True), 110, 120),
        (lambda: format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 0, 0),
        (lambda: "120", 120, 120),
    ],
    ids=["a date", "a date that is over", "seconds"],
)
async def test_when_to_come_back_is_read_as_seconds_or_a_date(header: Any, least: float, most: float) -> None:
    with pytest.raises(Overloaded) as caught:
        await ask_server(WireServer(refusal(429, b"", Retry_After=header())), retries=0)
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most


@pytest.mark.parametrize("header", ["soon", "Tue, 99 Foo 2026", "-5", "1e99", ""])
async def test_a_time_to_come_back_that_is_none_is_left_aside(header: str) -> None:
    with pytest.raises(Overloaded) as caught:
        await ask_server(WireServer(refusal(429, b"", Retry_After=header)), retries=0)
    assert caught.value.retry_after is None


async def test_a_line_that_was_closed_while_it_rested_costs_neither_a_try_nor_a_pause() -> None:
    server = WireServer(Answer((*spoken(TEXT), SLAM)))
    server.probe = Answer((*spoken({"reasoning": "H"}, finish="length"), SLAM))
    async with server.running():
        settings = EngineSettings(url=server.url, retries=0)
        engine = HttpEngine(settings, environment={}, backoff=60.0)
        for _ in range(3):
            assert together(await ask(engine))["text"] == "It is 3 °C."
            await asyncio.sleep(0.05)
        await engine.close()
    assert len(server.requests) == 3


async def test_an_hour_to_wait_is_left_to_the_person() -> None:
    with pytest.raises(Overloaded) as caught:
        await ask_server(WireServer(refusal(429, b"", Retry_After="3600")))
    assert caught.value.retry_after == 3600


# --- the middle of a reply ---------------------------------------------------------------------------------------

HALF_A_CALL = chunk(call(0, '{"path": "a', id="a", name="read"))


@pytest.mark.parametrize(
    "steps",
    [
        [ROLE, chunk(TEXT), CUT],
        [ROLE, chunk(TEXT), HANG_UP],
        [ROLE, chunk(TEXT)],
        [ROLE, chunk(TEXT), DONE],
        [ROLE, chunk(TEXT), 'data: {"choices": [{"delta": {"content": "日'.encode()[:-1]],
        [ROLE, chunk(TEXT), HALF_A_CALL, CUT],
        [ROLE, chunk(TEXT), b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n', DONE],
        [ROLE, chunk(TEXT), chunk({}, "error"), DONE],
    ],
    ids=[
        "cut mid-chunk",
        "reset by peer",
        "ended without finish",
        "done without finish",
        "cut mid-character",
        "cut mid-tool-call",
        "error event",
        "finish error",
    ],
)
async def test_a_reply_that_breaks_off_keeps_its_words_and_raises_without_another_try(steps: list[Any]) -> None:
    server = WireServer(steps)
    heard: list[Delta] = []
    async with server.running(), engine_for(server) as engine:
        with pytest.raises(DiedMidStream) as caught:
            await listen(engine, heard)
    said = together(heard)
    assert said["text"] == "It is 3 °C."
    assert said["finish"] == []
    assert not caught.value.retryable
    assert len(server.requests) == 1


async def test_the_words_of_an_error_event_are_kept() -> None:
    error = b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n'
    with pytest.raises(DiedMidStream, match="EngineCore died"):
        await ask_server(WireServer([ROLE, chunk(TEXT) + error, DONE]))


async def test_a_filtered_reply_is_refused() -> None:
    with pytest.raises(Refused, match="withholds"):
        await ask_server(WireServer(spoken(TEXT, finish="content_filter")))


@pytest.mark.parametrize(
    "tail",
    [[], [Pause(20)], [CUT], [HANG_UP]],
    ids=["body ends", "line stays open", "cut", "reset"],
)
async def test_a_reply_that_has_finished_needs_no_tidy_goodbye(tail: list[Any]) -> None:
    deltas = await ask_server(WireServer([ROLE, chunk(TEXT), chunk({}, "stop"), USAGE, *tail]), stall_timeout=0.2)
    assert together(deltas)["finish"] == ["stop"]
    assert together(deltas)["usage"] == [Usage(900, 40, cached=800, thought=12)]


# --- silence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [ROLE]], ids=["after the headers", "after an empty chunk"])
async def test_silence_before_the_first_word_is_a_stall(before: list[bytes]) -> None:
    server = WireServer([*before, Pause(20)])
    with pytest.raises(Stalled, match="No word"):
        await ask_server(server, first_token_timeout=0.2)
    assert len(server.requests) == 1


async def test_silence_between_words_is_a_stall() -> None:
    with pytest.raises(Stalled, match="No further word"):
        await ask_server(WireServer([ROLE, chunk(TEXT), Pause(20)]), stall_timeout=0.2)


async def test_signs_of_life_count_before_the_first_word() -> None:
    queueing = [step for _ in range(6) for step in (b": still queueing\n\n", Pause(0.2))]
    deltas = await ask_server(WireServer([*queueing, *spoken(TEXT)]), first_token_timeout=0.6)
    assert together(deltas)["text"] == "It is 3 °C."


async def test_signs_of_life_do_not_count_between_words() -> None:
    lively = [step for _ in range(60) for step in (b": ping\n\n", Pause(0.05))]
    with pytest.raises(Stalled):
        await ask_server(WireServer([ROLE, chunk(TEXT), *lively]), stall_timeout=0.3)


async def test_a_slow_consumer_is_not_a_stall() -> None:
    server = WireServer([ROLE, chunk(TEXT), Pause(0.1), chunk(TEXT), Pause(0.1), chunk({}, "stop"), DONE])
    async with server.running(), engine_for(server, stall_timeout=0.3) as engine:
        heard = []
        async for delta in engine.stream(HELLO):
            heard.append(delta)
            await asyncio.sleep(0.4)
    assert together(heard)["finish"] == ["stop"]


async def test_silence_is_counted_from_when_we_began_to_listen() -> None:
    server = WireServer([ROLE, chunk(TEXT), Pause(1.4), chunk({}, "stop"), DONE])
    async with server.running(), engine_for(server, stall_timeout=1.0) as engine:
        deltas = engine.stream(HELLO)
        heard = [await anext(deltas)]
        await asyncio.sleep(0.8)
        heard += [delta async for delta in deltas]
    assert together(heard)["finish"] == ["stop"]


# --- hanging up --------------------------------------------------------------------------------------------------

ENDLESS = [ROLE, chunk(TEXT), Pause(30)]


async def test_closing_the_iterator_hangs_up_at_once() -> None:
    server = WireServer(ENDLESS)
    async with server.running(), engine_for(server) as engine:
        async with contextlib.aclosing(engine.stream(HELLO)) as deltas:
            await anext(deltas)
        await asyncio.wait_for(server.hung_up.wait(), 2)


@pytest.mark.parametrize("steps", [[Pause(30)], ENDLESS], ids=["before the first word", "in the middle"])
async def test_cancelling_the_task_hangs_up_at_once(steps: list[Any]) -> None:
    server = WireServer(steps)
    async with server.running(), engine_for(server) as engine:
        await engine.connect()
        task = asyncio.create_task(ask(engine))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.hung_up.wait(), 2)


async def test_a_stall_hangs_up() -> None:
    server = WireServer(ENDLESS)
    async with server.running(), engine_for(server, stall_timeout=0.1) as engine:
        with pytest.raises(Stalled):
            await ask(engine)
        await asyncio.wait_for(server.hung_up.wait(), 2)


# --- what is sent ------------------------------------------------------------------------------------------------


async def sent(
    prompt: Prompt, *, models: Any = None, version: str | None = "0.32.0", **settings: Any
) -> dict[str, Any]:
    server = WireServer(spoken(TEXT), models=models, version=version)
    await ask_server(server, prompt, **settings)
    return server.requests[0]


@pytest.mark.parametrize("thinking", [True, False])
async def test_thinking_is_switched_and_preserved_by_template_arguments(thinking: bool) -> None:
    prompt = Prompt(HELLO.messages, (), thinking=thinking, sampling=HELLO.sampling)
    assert (await sent(prompt))["chat_template_kwargs"] == {"enable_thinking": thinking, "clear_thinking": False}


async def test_a_whole_conversation_is_spelled_for_vllm() -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "", thinking="\nHm.", tool_calls=(ToolCall("a", "read", '{"path": "x"}'),)),
        Message("tool", "done", call_id="a"),
        Message("assistant", "So.", tool_calls=(ToolCall("b", "read", '{"path": "'), ToolCall("c", "read", ""))),
        Message("tool", "", call_id="b"),
    )
    body = await sent(Prompt(messages, (READ,), thinking=True, sampling=Sampling(0.0, None, 10**6), priority=3))

    def spelled(call_id: str, arguments: str) -> dict[str, Any]:
        return {"id": call_id, "type": "function", "function": {"name": "read", "arguments": arguments}}

    assert body == {
        "model": "glm-4.7",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "", "reasoning": "\nHm.", "tool_calls": [spelled("a", '{"path": "x"}')]},
            {"role": "tool", "content": "done", "tool_call_id": "a"},
            {"role": "assistant", "content": "So.", "tool_calls": [spelled("b", "{}"), spelled("c", "{}")]},
            {"role": "tool", "content": "", "tool_call_id": "b"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "temperature": 0.0,
        "max_completion_tokens": 32768,
        "tools": [
            {"type": "function", "function": {"name": "read", "description": "Reads.", "parameters": READ.parameters}}
        ],
        "chat_template_kwargs": {"enable_thinking": True, "clear_thinking": False},
        "priority": 3,
    }


TALK = (
    Message("user", "Hello"),
    Message("assistant", "Hi.", thinking="\nHm."),
    Message("user", "So?"),
)


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize(
    ("dialect", "field", "spelled", "absent"),
    [
        (
            "sglang",
            "reasoning_content",
            {"chat_template_kwargs": lambda on: {"enable_thinking": on, "clear_thinking": False}},
            {"thinking", "reasoning", "tool_stream", "priority"},
        ),
        (
            "zai",
            "reasoning_content",
            {
                "thinking": lambda on: {"type": "enabled" if on else "disabled", "clear_thinking": False},
                "tool_stream": lambda _: True,
            },
            {"chat_template_kwargs", "reasoning", "stream_options"},
        ),
        (
            "openrouter",
            "reasoning",
            {"reasoning": lambda on: {"enabled": on}},
            {"chat_template_kwargs", "thinking", "tool_stream"},
        ),
    ],
    ids=["sglang", "zai", "openrouter"],
)
async def test_other_servers_are_told_in_their_own_words_to_think_and_to_keep_it(
    dialect: str, field: str, spelled: dict[str, Any], absent: set[str], thinking: bool
) -> None:
    models = {"data": [{"id": "z-ai/glm-4.7", "owned_by": "sglang" if dialect == "sglang" else "someone"}]}
    named = {} if dialect == "sglang" else {"dialect": dialect}
    prompt = Prompt(TALK, (READ,), thinking=thinking, sampling=HELLO.sampling)
    body = await sent(prompt, models=models, version=None, **named)
    assert {name: body[name] for name in spelled} == {name: value(thinking) for name, value in spelled.items()}
    assert not absent & set(body)
    assert body["messages"][1] == {"role": "assistant", "content": "Hi.", field: "\nHm."}
    assert body["max_tokens"] > 1000


async def test_a_model_that_always_thinks_is_never_told_not_to() -> None:
    models = {"data": [{"id": "glm-5.3", "owned_by": "someone"}]}
    prompt = Prompt(HELLO.messages, (), thinking=False, sampling=HELLO.sampling)
    body = await sent(prompt, models=models, version=None, dialect="zai")
    assert body["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://api.z.ai/api/paas/v4", ["zai"]),
        ("https://openrouter.ai/api/v1", ["openrouter"]),
        ("https://not-openrouter.ai/api/v1", []),
        ("unix:/x", []),
    ],
)
def test_a_public_address_is_known_by_its_host(url: str, known: list[str]) -> None:
    host = Connection(EngineSettings(url=url), environment={}).host
    assert [dialect.id for dialect in DIALECTS.values() if host in dialect.hosts] == known


async def test_thinking_that_comes_only_in_details_is_found() -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "index": 0, "format": "unknown"}, {"type": "x", "data": "e"}]
    assert together(await ask_server(WireServer(spoken({"reasoning_details": details}, TEXT))))["thinking"] == "Hm."
    both = {"reasoning": "Hm.", "reasoning_details": details}
    assert together(await ask_server(WireServer(spoken(both, TEXT))))["thinking"] == "Hm.", "and not twice"


@pytest.mark.parametrize(
    ("thinking", "tokens", "dialect", "budget"),
    [(True, 100, "", 100), (False, 100, "", None), (True, 0, "", None), (True, 100, "sglang", None)],
)
async def test_a_cap_on_thinking_goes_to_who_can_keep_it(
    thinking: bool, tokens: int, dialect: str, budget: int | None
) -> None:
    prompt = Prompt(HELLO.messages, (), thinking=thinking, sampling=HELLO.sampling, thinking_tokens=tokens)
    assert (await sent(prompt, dialect=dialect)).get("thinking_token_budget") == budget


async def test_priority_of_person_and_prompt_add_up() -> None:
    prompt = Prompt(HELLO.messages, (), thinking=True, sampling=HELLO.sampling, priority=-5)
    assert (await sent(prompt, priority=2))["priority"] == -3


async def test_extra_fields_win_except_over_what_makes_the_request() -> None:
    extra = {
        "seed": 1,
        "temperature": 0.1,
        "max_tokens": 7,
        "chat_template_kwargs": {"reasoning_effort": "low", "clear_thinking": True},
        "vllm_xargs": {"force": [1]},
        "stream": False,
        "messages": [],
        "model": "x",
    }
    body = await sent(HELLO, extra_body=extra)
    assert (body["seed"], body["temperature"], body["vllm_xargs"]) == (1, 0.1, {"force": [1]})
    assert (body["max_tokens"], "max_completion_tokens" in body) == (7, False)
    kwargs = {"enable_thinking": True, "clear_thinking": True, "reasoning_effort": "low"}
    assert body["chat_template_kwargs"] == kwargs
    assert (body["stream"], body["model"], len(body["messages"])) == (True, "glm-4.7", 1)


async def test_an_unknown_server_gets_the_safe_minimum() -> None:
    models = {"data": [{"id": "mystery", "owned_by": "someone"}]}
    prompt = Prompt((*HELLO.messages, Message("assistant", "A", thinking="T")), (), True, HELLO.sampling, priority=1)
    body = await sent(prompt, models=models, version=None, priority=1)
    assert set(body) == {"model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens"}
    assert body["messages"][1] == {"role": "assistant", "content": "A"}
    assert body["max_tokens"] <= 8192


async def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter() -> None:
    longer = Prompt((*HELLO.messages, Message("assistant", "A")), (), thinking=True, sampling=HELLO.sampling)
    short, long = json.dumps((await sent(HELLO))["messages"]), json.dumps((await sent(longer))["messages"])
    assert long.startswith(short[:-1])


SECRET = "sk-very-secret"


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, {"error": f"Incorrect key {SECRET}"}),
        refusal(400, {"error": f"header was {SECRET}"}),
        Answer((SECRET.encode(),), 200, {"Content-Type": "text/plain"}),
        Answer((f'data: {{"oops": {SECRET}}}\n\n'.encode(),)),
        Answer((ROLE, chunk(TEXT), f'data: {{"error": {{"message": "{SECRET}"}}}}\n\n'.encode())),
        Answer((f'data: {{"error": {{"message": "{SECRET}"}}}}\n\n'.encode(),)),
    ],
    ids=["401", "400", "text", "malformed", "error event later", "error event first"],
)
async def test_the_key_is_sent_and_never_repeated(answer: Answer) -> None:
    server = WireServer(answer)
    async with server.running():
        settings = EngineSettings(url=server.url, api_key_env="MY_KEY", retries=0)
        engine = HttpEngine(settings, environment={"MY_KEY": SECRET})
        with pytest.raises(EngineError) as caught:
            await ask(engine)
        await engine.close()
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    shown, error = [], caught.value
    while error is not None:
        shown.append(f"{error!r} {vars(error) if isinstance(error, EngineError) else ''}")
        error = error.__cause__ or error.__context__
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed_least_of_all_with_a_key(path: str, status: int) -> None:
    thief = WireServer(spoken(TEXT))
    async with thief.running():
        away = Answer((), status, {"Location": f"{thief.url}{path}", "Content-Type": "text/plain"})
        server = WireServer(away, models=away if path == "/v1/models" else None)
        async with server.running():
            engine = HttpEngine(EngineSettings(url=server.url, api_key_env="MY_KEY"), environment={"MY_KEY": SECRET})
            with pytest.raises(Refused, match="elsewhere") as caught:
                await ask(engine)
            await engine.close()
    assert thief.paths == []
    assert "engine.url" in caught.value.hint


async def test_a_refused_key_names_its_variable() -> None:
    server = WireServer(refusal(401, {"error": "Unauthorized"}))
    with pytest.raises(Refused) as caught:
        await ask_server(server, api_key_env="MY_KEY")
    assert "MY_KEY" in caught.value.hint
    assert "Authorization" not in server.headers[0]


# --- certificates ------------------------------------------------------------------------------------------------

AUTHORITY = trustme.CA()


def tls(name: str) -> ssl.SSLContext:
    """A server's side, with a certificate of our own authority for that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


async def test_a_certificate_of_a_stranger_is_not_trusted_and_the_setting_is_named(tmp_path: Path) -> None:
    server = WireServer(spoken(TEXT))
    async with server.running(tls=tls("127.0.0.1")), engine_for(server) as engine:
        with pytest.raises(Unreachable, match=r"certificate .* is not trusted: .*certificate") as caught:
            await engine.connect()
    assert "engine.ca_file" in caught.value.hint
    assert not caught.value.retryable
    assert server.paths == []


async def test_a_certificate_of_ones_own_authority_is_trusted_by_setting(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    server = WireServer(spoken(TEXT))
    async with server.running(tls=tls("127.0.0.1")), engine_for(server, ca_file=str(file)) as engine:
        assert together(await ask(engine))["text"] == "It is 3 °C."


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side whose certificate is its own authority, as `openssl req -x509` makes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    pem += key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (file := folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    (folder / "trusted.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return context


async def test_a_certificate_that_vouches_for_itself_is_not_trusted_until_it_is_named(tmp_path: Path) -> None:
    server = WireServer(spoken(TEXT))
    async with server.running(tls=self_signed(tmp_path)):
        async with engine_for(server) as engine:
            with pytest.raises(Unreachable, match="self-signed") as caught:
                await engine.connect()
        assert "engine.ca_file" in caught.value.hint
        assert server.paths == []
        async with engine_for(server, ca_file=str(tmp_path / "trusted.pem")) as engine:
            assert together(await ask(engine))["text"] == "It is 3 °C."


async def test_a_certificate_whose_time_is_over_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(hours=1)).configure_cert(context)
    server = WireServer(spoken(TEXT))
    async with server.running(tls=context), engine_for(server, ca_file=str(file)) as engine:
        with pytest.raises(Unreachable, match="expired") as caught:
            await engine.connect()
    assert "operator" in caught.value.hint
    assert server.paths == []


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    server = WireServer(spoken(TEXT))
    async with server.running(tls=tls("elsewhere.example")), engine_for(server, ca_file=str(file)) as engine:
        with pytest.raises(Unreachable, match=r"mismatch.*127\.0\.0\.1") as caught:
            await engine.connect()
    assert "engine.url" in caught.value.hint
    assert server.paths == []


async def test_a_server_without_tls_at_a_secure_address_is_said_to_be_one() -> None:
    server = WireServer(spoken(TEXT))
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url.replace("http:", "https:")), environment={})
        with pytest.raises(Unreachable) as caught:
            await engine.connect()
        await engine.close()
    assert "http://" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"], ids=["missing", "empty", "other"])
def test_a_file_without_certificates_is_said_before_anything_is_sent(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"engine\.ca_file") as caught:
        HttpEngine(EngineSettings(url="https://localhost", ca_file=str(file)))
    assert caught.value.hint


# --- finding out -------------------------------------------------------------------------------------------------


async def test_connecting_learns_model_context_and_abilities_with_one_token() -> None:
    server = WireServer(spoken(TEXT))
    async with server.running(), engine_for(server) as engine:
        await engine.connect()
        await engine.connect()
        assert (engine.model, engine.profile.id, engine.dialect.id) == ("glm-4.7", "glm-4.7", "vllm")
        assert (engine.profile.context_length, engine.profile.tools, engine.profile.thinking) == (32768, True, True)
    assert len(server.probes) == 1
    assert (server.probes[0]["max_completion_tokens"], "tools" in server.probes[0]) == (1, True)
    assert server.paths == ["/v1/models", "/version", "/v1/chat/completions"]


async def test_a_wrong_name_lists_what_is_served() -> None:
    with pytest.raises(WrongModel, match=r"no model glm-9; it serves glm-4\.7"):
        await ask_server(WireServer(spoken(TEXT)), model="glm-9")


async def test_a_name_in_other_capitals_is_the_served_one() -> None:
    server = WireServer(spoken(TEXT))
    await ask_server(server, model="GLM-4.7")
    assert server.requests[0]["model"] == "glm-4.7"


async def test_a_server_without_a_list_is_taken_at_its_word_where_the_model_is_named() -> None:
    missing = refusal(404, {"detail": "Not Found"})
    server = WireServer(spoken(TEXT), models=missing)
    await ask_server(server, model="glm-4.7")
    assert server.requests[0]["model"] == "glm-4.7"
    with pytest.raises(MalformedReply):
        await ask_server(WireServer(spoken(TEXT), models=missing))


@pytest.mark.parametrize(
    ("owner", "version", "dialect"),
    [("vllm", None, "vllm"), ("", "0.32.0", "vllm"), ("", None, "generic"), ("openai", "1", "generic")],
)
async def test_the_dialect_is_found_out(owner: str, version: str | None, dialect: str) -> None:
    server = WireServer(spoken(TEXT), models={"data": [{"id": "m", "owned_by": owner}]}, version=version)
    async with server.running(), engine_for(server) as engine:
        await engine.connect()
        assert engine.dialect.id == dialect


NO_PARSER = vllm_error('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', 400)


async def test_an_unknown_model_that_refuses_tools_has_none_and_says_so() -> None:
    server = WireServer(spoken(TEXT), models={"data": [{"id": "m", "owned_by": "vllm"}]})
    server.probe = refusal(400, NO_PARSER)
    async with server.running(), engine_for(server) as engine:
        with pytest.raises(CannotDo, match="no tools"):
            await ask(engine, WITH_TOOL)
        assert not engine.profile.tools
        assert together(await ask(engine))["text"] == "It is 3 °C."


async def test_a_glm_model_without_a_parser_gets_and_gives_tools_as_text() -> None:
    raw = "Reading.<tool_call>read<arg_key>path</arg_key><arg_value>a.py</arg_value></tool_call>"
    server = WireServer(spoken({"reasoning": "Hm."}, *({"content": letter} for letter in raw)))
    server.probe = refusal(400, NO_PARSER)
    deltas = await ask_server(server, WITH_TOOL)
    ((_, name, arguments),) = together(deltas)["calls"]
    assert (name, json.loads(arguments)) == ("read", {"path": "a.py"})
    assert (together(deltas)["text"], together(deltas)["finish"]) == ("Reading.", ["tool_calls"])
    body = server.requests[0]
    assert "tools" not in body
    assert body["messages"][0]["content"].startswith("\n# Tools\n\n")
    assert '<tools>\n{"type": "function", "function": {"name": "read",' in body["messages"][0]["content"]


async def test_a_glm_model_without_a_reasoning_parser_never_leaks_thinking() -> None:
    server = WireServer(spoken({"content": "Let me see.</th"}, {"content": "ink>It is 3 °C."}))
    server.probe = Answer(spoken({"content": "Let"}, finish="length"))
    said = together(await ask_server(server))
    assert (said["thinking"], said["text"]) == ("Let me see.", "It is 3 °C.")


async def test_what_was_seen_is_remembered_for_a_day(tmp_path: Path) -> None:
    server = WireServer(spoken(TEXT))
    async with server.running():
        for _ in range(2):
            async with engine_for(server, cache=tmp_path) as engine:
                await engine.connect()
                assert engine.profile.tools
        assert len(server.probes) == 1
        (remembered,) = (tmp_path / "abilities").iterdir()
        for damage in (b"{", b"\xff", b'{"tools": 3}', b'{"tools": true, "at": 1}'):
            remembered.write_bytes(damage)
            async with engine_for(server, cache=tmp_path) as engine:
                await engine.connect()
        assert len(server.probes) == 5


async def test_another_version_of_the_server_is_asked_again(tmp_path: Path) -> None:
    server = WireServer(spoken(TEXT))
    async with server.running():
        for version in ("0.32.0", "0.33.0"):
            server.version = version
            async with engine_for(server, cache=tmp_path) as engine:
                await engine.connect()
    assert len(server.probes) == 2


async def test_tools_refused_later_are_asked_for_again(tmp_path: Path) -> None:
    server = WireServer(refusal(400, NO_PARSER), spoken(TEXT))
    async with server.running(), engine_for(server, cache=tmp_path) as engine:
        with pytest.raises(CannotDo):
            await ask(engine, WITH_TOOL)
        await ask(engine, WITH_TOOL)
    assert len(server.probes) == 2


async def test_a_cache_that_cannot_be_written_costs_only_a_probe(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    server = WireServer(spoken(TEXT))
    async with server.running(), engine_for(server, cache=blocked) as engine:
        await engine.connect()
        assert engine.profile.tools


@pytest.mark.parametrize(
    "probe",
    [refusal(503, b""), refusal(400, {"error": "max_tokens must be at least 16"})],
    ids=["busy", "dislikes the probe"],
)
async def test_a_probe_that_fails_leaves_beliefs_standing(probe: Answer) -> None:
    server = WireServer(spoken(TEXT))
    server.probe = probe
    async with server.running(), engine_for(server) as engine:
        await engine.connect()
        assert engine.profile.tools


@pytest.mark.parametrize(
    ("probe", "kind"),
    [(refusal(401, b"{}"), Refused), (refusal(500, b"{}"), DiedMidStream), (Answer((HANG_UP,)), DiedMidStream)],
    ids=["key", "broken", "reset"],
)
async def test_a_probe_that_shows_an_unusable_engine_says_so(probe: Answer, kind: type) -> None:
    server = WireServer(spoken(TEXT))
    server.probe = probe
    async with server.running(), engine_for(server, retries=0) as engine:
        with pytest.raises(EngineError) as caught:
            await engine.connect()
    assert type(caught.value) is kind


async def test_good_health_does_not_hide_that_completions_fail() -> None:
    server = WireServer(refusal(500, {"error": {"message": "CUDA error"}}), documents={"/health": {"status": "ok"}})
    async with server.running(), engine_for(server, retries=0) as engine:
        await engine.connect()
        with pytest.raises(DiedMidStream, match="CUDA error"):
            await ask(engine)
    server.probe = server.answers[0]
    async with server.running(), engine_for(server, retries=0) as engine:
        with pytest.raises(DiedMidStream, match="CUDA error"):
            await engine.connect()


def answering_as(name: str) -> list[bytes]:
    return [ROLE.replace(b'"glm-4.7"', b'"' + name.encode() + b'"'), *spoken(TEXT)[1:]]


async def test_a_server_that_answers_as_another_model_is_noticed_once() -> None:
    server = WireServer(answering_as("gpt-oss-20b"))
    server.probe = Answer(answering_as("gpt-oss-20b"))
    async with server.running(), engine_for(server) as engine:
        await ask(engine)
        (note,) = engine.take_notes()
        await ask(engine)
        assert engine.take_notes() == ()
        assert engine.answered == "gpt-oss-20b"
    assert "was asked for glm-4.7 and answers as gpt-oss-20b" in note


@pytest.mark.parametrize(
    ("asked_for", "answered", "same"),
    [
        ("glm-4.7", "GLM-4.7", True),
        ("glm-4.7", "zai-org/GLM-4.7-FP8", True),
        ("z-ai/glm-4.7", "z-ai/glm-4.7-20251222", True),
        ("mystery", "mystery:latest", True),
        ("models/mystery", "mystery@main", True),
        ("glm-4.7", "glm-4.7-flash", False),
        ("glm-4.7", "glm-4.6", False),
        ("glm-5.3", "glm-5.2", False),
        ("mystery", "riddle", False),
        ("coder", "glm-4.7", True),
        ("coder", "glm-4.7-flash", False),
    ],
)
def test_names_of_one_model_are_told_from_names_of_two(asked_for: str, answered: str, same: bool) -> None:
    listed = [Card("coder", root="zai-org/GLM-4.7"), Card("glm-4.7", root="zai-org/GLM-4.7"), Card("glm-4.7-flash")]
    assert stands_for(asked_for, answered, listed) is same


async def test_a_silent_server_does_not_hold_up_the_start() -> None:
    server = WireServer(spoken(TEXT), models=Answer((Pause(20),)))
    async with server.running(), engine_for(server, connect_timeout=0.1) as engine:
        with pytest.raises(EngineError):
            await engine.connect()


async def test_the_stand_in_is_not_probed() -> None:
    server = WireServer(spoken(TEXT), models={"data": [{"id": "smollm2-135m", "owned_by": "vllm"}]})
    async with server.running(), engine_for(server) as engine:
        await ask(engine)
        assert engine.profile.stand_in
    assert server.probes == []
    assert "chat_template_kwargs" not in server.requests[0]
