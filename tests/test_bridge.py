"""The bridge between other agents and the engine: who gets through, what is added, what comes back, and when.

The engine is a small server whose every byte the test decides; the real one is in test_shared_engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from wire_server import WireServer, spoken

from glm_lsp.engine import bridge
from glm_lsp.engine.restore import Memory
from glm_lsp.errors import StateError, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "glm-secret"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Engine:
    """An engine on a Unix socket that does as it is told."""

    socket: Path
    answer: Answer | None = None
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request.path_qs, dict(request.headers), await request.read()))
        if self.answer is None:
            return web.json_response({"data": [{"id": "glm-4.7", "max_model_len": 32768}]})
        return await self.answer(request)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(self.socket)).start()
        try:
            yield
        finally:
            await runner.cleanup()


@dataclass
class Bridged:
    """A running bridge and a client of it."""

    url: str
    session: aiohttp.ClientSession
    crossing: bridge.Crossing

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.session.post(self.url + path, json=body, headers=AUTH | headers)

    async def said(self, path: str, body: Any) -> bytes:
        async with self.post(path, body) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.read()


@contextlib.asynccontextmanager
async def bridged(socket: Path, **more: Any) -> AsyncIterator[Bridged]:
    settings = {"upstream": lambda: bridge.Upstream(f"unix:{socket}"), "token": TOKEN} | more
    crossing = bridge.Crossing(**settings)
    ports: asyncio.Queue[int] = asyncio.Queue()
    closing = asyncio.Event()
    task = asyncio.create_task(bridge.serve(crossing, 0, ready=ports.put_nowait, closing=closing))
    port = await ports.get()
    async with aiohttp.ClientSession() as session:
        yield Bridged(f"http://127.0.0.1:{port}", session, crossing)
    closing.set()
    await task


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    found = Engine(tmp_path / "e.sock")
    async with found.serving():
        yield found


@pytest.fixture
async def agent(engine: Engine) -> AsyncIterator[Bridged]:
    async with bridged(engine.socket) as found:
        yield found


def asks(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "glm-4.7", "stream": True, "messages": list(messages)} | more


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


# --- replies, as vLLM spells them ---------------------------------------------------------------------------------


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def chunks(*deltas: dict[str, Any], finish: str | None = "stop") -> bytes:
    """A streamed chat completion."""
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return sse(*events) + b"data: [DONE]\n\n"


def calls(*ids: str) -> dict[str, Any]:
    made = [{"index": n, "id": one, "function": {"name": "f", "arguments": "{}"}} for n, one in enumerate(ids)]
    return {"tool_calls": made}


def message_events(*blocks: dict[str, Any], stop: bool = True) -> bytes:
    """A streamed message of Anthropic's API."""
    lines = []
    for at, block in enumerate(blocks):
        kind = block["type"]
        empty = block | {"thinking": ""} if kind == "thinking" else block | {"text": ""} if kind == "text" else block
        lines.append({"type": "content_block_start", "index": at, "content_block": empty})
        for name in ("thinking", "text"):
            if name in block:
                first, second = block[name][:3], block[name][3:]
                for piece in (first, second):
                    delta = {"type": f"{name}_delta", name: piece}
                    lines.append({"type": "content_block_delta", "index": at, "delta": delta})
        lines.append({"type": "content_block_stop", "index": at})
    lines += [{"type": "message_stop"}] if stop else []
    return b"".join(f"event: {line['type']}\n".encode() + sse(line) for line in lines)


def streams(payload: bytes) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await reply.prepare(request)
        for at in range(0, len(payload), 7):  # the network cuts where it likes
            await reply.write(payload[at : at + 7])
        await reply.write_eof()
        return reply

    return answer


def whole(body: Any, status: int = 200) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        del request
        return web.json_response(body, status=status, headers={"Retry-After": "3", "Set-Cookie": "a=b"})

    return answer


# --- who gets through ---------------------------------------------------------------------------------------------


async def test_it_leads_to_an_address_with_a_path_and_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = WireServer(spoken({"content": "Yes."}), root="/api/paas/v4")
    async with server.running(tls=context):
        there = bridge.Upstream(f"{server.url}/api/paas/v4", "engine-key", ca_file=str(tmp_path / "ca.pem"))
        async with bridged(tmp_path / "none", upstream=lambda: there) as agent:
            assert b"Yes." in await agent.said(CHAT, asks(user("x")))
        distrusted = bridge.Upstream(f"{server.url}/api/paas/v4", "engine-key")
        async with bridged(tmp_path / "none", upstream=lambda: distrusted) as agent, agent.post(CHAT, asks()) as reply:
            assert reply.status == 503
    assert server.paths == ["/api/paas/v4/chat/completions"]
    assert server.headers[0]["Authorization"] == "Bearer engine-key"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Authorization": f"Bearer {TOKEN}"}, 200, id="bearer"),
        pytest.param({"X-Api-Key": TOKEN}, 200, id="x-api-key"),
        pytest.param({"X-Api-Key": TOKEN, "Origin": "http://localhost:3000"}, 200, id="a page of this host"),
        pytest.param({}, 401, id="no token"),
        pytest.param({"Authorization": "Bearer glm-secreT"}, 401, id="wrong token"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, 401, id="wrong scheme"),
        pytest.param({"Authorization": "Bearer "}, 401, id="empty token"),
        pytest.param({"Authorization": "Bearer \xe9"}, 401, id="token of other characters"),
        pytest.param({**AUTH, "Host": "evil.example:80"}, 403, id="another host's name"),
        pytest.param({**AUTH, "Host": "127.0.0.1.evil.example"}, 403, id="a name that begins like ours"),
        pytest.param({**AUTH, "Host": "[::bad"}, 403, id="a broken host"),
        pytest.param({**AUTH, "Origin": "https://evil.example"}, 403, id="a web page"),
        pytest.param({**AUTH, "Origin": "null"}, 403, id="a sandboxed page"),
        pytest.param({**AUTH, "Origin": "file://"}, 403, id="a page from a file"),
    ],
)
async def test_only_who_has_the_token_and_is_no_web_page_gets_through(
    engine: Engine, agent: Bridged, headers: dict[str, str], status: int
) -> None:
    async with agent.session.get(f"{agent.url}/v1/models", headers=headers) as reply:
        assert reply.status == status
        assert "Access-Control-Allow-Origin" not in reply.headers
    assert len(engine.got) == (status == 200)


async def test_a_page_that_asks_whether_it_may_is_told_no(engine: Engine, agent: Bridged) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with agent.session.options(agent.url + CHAT, headers=headers) as reply:
        assert reply.status == 403
    assert not engine.got


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metrics"),
        ("POST", "/tokenize"),
        ("POST", "/sleep"),
        ("POST", "/v1/load_lora_adapter"),
        ("GET", CHAT),
        ("DELETE", "/v1/models"),
        ("POST", "/v1/../tokenize"),
        ("POST", "/v1/%2e%2e/tokenize"),
    ],
)
async def test_the_rest_of_the_engine_cannot_be_reached(engine: Engine, agent: Bridged, method: str, path: str) -> None:
    async with agent.session.request(method, agent.url + path, headers=AUTH) as reply:
        assert reply.status == 404
    assert not engine.got


async def test_nor_by_a_path_that_leads_out_of_what_can(engine: Engine, agent: Bridged) -> None:
    port = int(agent.url.rpartition(":")[2])
    for path in ("/v1/models/../../metrics", "/v1/models/%2e%2e/%2e%2e/metrics", "/v1/chat/completions/../../../sleep"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: {TOKEN}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        writer.close()
    assert not engine.got


async def test_the_token_stays_on_this_side_and_the_engines_key_on_the_other(engine: Engine) -> None:
    upstream = bridge.Upstream(f"unix:{engine.socket}", "engine-key")
    async with bridged(engine.socket, upstream=lambda: upstream) as agent:
        headers = AUTH | {"X-Api-Key": TOKEN, "Cookie": "a=b", "Anthropic-Version": "2023-06-01"}
        async with agent.session.post(
            f"{agent.url}{MESSAGES}?beta=true", json=asks(user("x")), headers=headers
        ) as reply:
            assert "engine-key" not in f"{reply.headers}{await reply.text()}"
    path, sent, body = engine.got[0]
    assert path == "/v1/messages?beta=true"
    assert sent["Authorization"] == "Bearer engine-key"
    assert sent["Anthropic-Version"] == "2023-06-01"
    assert TOKEN not in f"{sent}{body!r}"
    assert "Cookie" not in sent


async def test_refusals_are_spelled_as_each_api_spells_them(agent: Bridged) -> None:
    async with agent.session.post(agent.url + MESSAGES, json={}) as reply:
        assert (await reply.json())["error"]["type"] == "authentication_error"
        assert (await reply.json())["type"] == "error"
    async with agent.session.post(agent.url + CHAT, json={}) as reply:
        assert "glm-lsp engine env" in (await reply.json())["error"]["message"]


# --- what comes back, and when ------------------------------------------------------------------------------------


async def test_what_is_streamed_arrives_before_there_is_more(engine: Engine, agent: Bridged) -> None:
    more = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(b"data: 1\n\ndata: 2")
        await more.wait()
        await reply.write(b"\n\n")
        await reply.write_eof()
        return reply

    engine.answer = answer
    async with agent.post(CHAT, asks(user("x"))) as reply:
        assert reply.content_type == "text/event-stream"
        assert await reply.content.readexactly(16) == b"data: 1\n\ndata: 2"
        more.set()
        assert await reply.read() == b"\n\n"


async def test_an_agent_that_goes_away_stops_the_engine(engine: Engine, agent: Bridged) -> None:
    stopped = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(b"data: 1\n\n")
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return reply

    engine.answer = answer
    async with agent.post(CHAT, asks(user("x"))) as reply:
        await reply.content.readany()
    async with asyncio.timeout(10):
        await stopped.wait()


async def test_the_engines_own_refusal_comes_through(engine: Engine, agent: Bridged) -> None:
    engine.answer = whole({"error": {"message": "too long"}}, 400)
    async with agent.post(CHAT, asks(user("x"))) as reply:
        assert (reply.status, await reply.json()) == (400, {"error": {"message": "too long"}})
        assert reply.headers["Retry-After"] == "3"
        assert "Set-Cookie" not in reply.headers


async def test_a_redirect_is_not_followed(engine: Engine, agent: Bridged) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(status=307, headers={"Location": "https://evil.example/"})

    engine.answer = answer
    async with agent.session.post(agent.url + CHAT, json={}, headers=AUTH, allow_redirects=False) as reply:
        assert reply.status == 307
        assert "Location" not in reply.headers
    assert len(engine.got) == 1


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_an_engine_that_breaks_off_ends_the_stream_with_an_error(
    engine: Engine, agent: Bridged, path: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(b"data: 1\n\ndata: half of a li")
        assert request.transport is not None
        request.transport.abort()
        return reply

    engine.answer = answer
    said = await agent.said(path, asks(user("x")))
    last = [block for block in said.split(b"\n\n") if block][-1]
    assert b"broke off" in last
    assert last.startswith(b"event: error\n" if path == MESSAGES else b"data: {")
    assert b"[DONE]" not in said


async def test_no_engine_is_said_and_a_new_one_is_found(tmp_path: Path) -> None:
    there: list[Engine] = []

    def upstream() -> bridge.Upstream:
        if not there:
            raise Unreachable("No engine runs on this host.", hint="Start one with `glm-lsp engine start`.")
        return bridge.Upstream(f"unix:{there[-1].socket}")

    async with bridged(tmp_path, upstream=upstream) as agent:
        async with agent.post(MESSAGES, asks(user("x"))) as reply:
            assert reply.status == 503
            assert "glm-lsp engine start" in (await reply.json())["error"]["message"]
        for name in ("a.sock", "b.sock"):  # started again elsewhere
            there.append(Engine(tmp_path / name))
            async with there[-1].serving():
                await agent.said(CHAT, asks(user("x")))
                await agent.said(CHAT, asks(user("y")))
            assert len(there[-1].got) == 2
        async with agent.post(CHAT, asks(user("x"))) as reply:
            assert reply.status == 503
            assert "does not answer" in (await reply.json())["error"]["message"]


async def test_a_large_request_goes_through_whole(engine: Engine, agent: Bridged) -> None:
    body = io.BytesIO(json.dumps(asks(user("é" * 5_000_000))).encode())
    async with agent.session.post(agent.url + CHAT, data=body, headers=AUTH) as reply:
        assert reply.status == 200
    assert len(engine.bodies[0]["messages"][0]["content"]) == 5_000_000


async def test_requests_at_once_do_not_wait_for_one_another(engine: Engine, agent: Bridged) -> None:
    everyone = asyncio.Barrier(20)

    async def answer(request: web.Request) -> web.StreamResponse:
        await everyone.wait()
        return web.Response(body=await request.read())

    engine.answer = answer
    async with asyncio.timeout(20):
        said = await asyncio.gather(*(agent.said(CHAT, asks(user(f"{n}"))) for n in range(20)))
    assert [json.loads(one)["messages"][0]["content"] for one in said] == [f"{n}" for n in range(20)]


async def test_a_port_that_is_taken_is_an_error(engine: Engine, agent: Bridged) -> None:
    del engine
    port = int(agent.url.rpartition(":")[2])
    with pytest.raises(StateError, match="cannot be had"):
        await bridge.serve(agent.crossing, port, ready=lambda _: None, closing=asyncio.Event())


async def test_it_ends_when_there_has_been_no_engine_for_long(tmp_path: Path) -> None:
    gone = bridge.Crossing(lambda: bridge.Upstream(f"unix:{tmp_path}/none"), TOKEN, linger=0.2)
    async with asyncio.timeout(20):
        await bridge.serve(gone, 0, ready=lambda _: None, closing=asyncio.Event())


async def test_it_stays_while_there_is_an_engine(engine: Engine) -> None:
    async with bridged(engine.socket, linger=0.1) as agent:
        while len(engine.got) < 3:  # it looked three times, and is still there
            await asyncio.sleep(0.02)
        await agent.said(CHAT, asks(user("x")))


async def test_it_counts_without_keeping(engine: Engine, agent: Bridged) -> None:
    engine.answer = streams(chunks({"reasoning": "hm"}, {"content": "yes"}))
    await agent.said(CHAT, asks(user("x")))
    await agent.said(CHAT, asks(user("x"), {"role": "assistant", "content": "yes"}, user("y")))
    counts = await bridge.ask_status(int(agent.url.rpartition(":")[2]), TOKEN)
    assert counts == {"requests": 2, "preserved": 2, "refused": 0, "restored": 1, "remembered": 2}
    assert await bridge.ask_status(int(agent.url.rpartition(":")[2]), "wrong") == {}


# --- preserved thinking -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/messages/count_tokens", "/v1/responses"])
async def test_earlier_thinking_is_asked_for(engine: Engine, agent: Bridged, path: str) -> None:
    await agent.said(path, asks(user("x"), chat_template_kwargs={"enable_thinking": True}))
    assert engine.bodies == [
        asks(user("x"), chat_template_kwargs={"enable_thinking": True, "clear_thinking": False}),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(CHAT, b'{"chat_template_kwargs": {"clear_thinking": true},  "n": 1.50}', id="another wish"),
        pytest.param(CHAT, b'{"chat_template_kwargs": 7}', id="nonsense"),
        pytest.param(CHAT, b"{not json", id="no json"),
        pytest.param(CHAT, b'\xff"', id="no text"),
        pytest.param(CHAT, b"[1]", id="no object"),
        pytest.param("/v1/completions", b'{"prompt":  "x"}', id="no messages"),
    ],
)
async def test_anything_else_goes_through_byte_by_byte(engine: Engine, agent: Bridged, path: str, body: bytes) -> None:
    async with agent.session.post(agent.url + path, data=body, headers=AUTH) as reply:
        assert reply.status == 200
    assert engine.got[0][2] == body


async def test_it_can_be_left_off(engine: Engine) -> None:
    async with bridged(engine.socket, preserve=False, restore=False) as agent:
        engine.answer = streams(chunks({"reasoning": "hm"}, {"content": "yes"}))
        await agent.said(CHAT, asks(user("x")))
        again = asks(user("x"), {"role": "assistant", "content": "yes"}, user("y"))
        await agent.said(CHAT, again)
    assert engine.bodies[1] == again


THOUGHT = {"reasoning": "Look first, "}, {"reasoning": "é."}
OPENAI_CASES = [
    pytest.param([{"content": "The answer."}], {"content": "The answer."}, id="text"),
    pytest.param([{"content": "\nThe "}, {"content": "answer.\n"}], {"content": "The answer."}, id="trimmed text"),
    pytest.param([{"content": "A."}], {"content": [{"type": "text", "text": "A."}]}, id="text in parts"),
    pytest.param([calls("c1")], {"content": None, "tool_calls": [{"id": "c1"}]}, id="a call"),
    pytest.param(
        [{"content": "I read. "}, calls("c1")], {"content": "", "tool_calls": [{"id": "c1"}]}, id="text dropped"
    ),
    pytest.param([calls("c1", "c2")], {"tool_calls": [{"id": "c2"}, {"id": "c1"}]}, id="calls in another order"),
    pytest.param([calls("c1")], {"tool_calls": [{"id": "c1"}], "reasoning_content": ""}, id="an empty field"),
]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("said", "sent_back"), OPENAI_CASES)
async def test_thinking_that_an_agent_drops_is_put_back(
    engine: Engine, agent: Bridged, said: list[dict[str, Any]], sent_back: dict[str, Any], *, streamed: bool
) -> None:
    if streamed:
        engine.answer = streams(chunks(*THOUGHT, *said))
    else:
        message: dict[str, Any] = {"role": "assistant", "reasoning": "Look first, é.", "content": ""}
        for delta in said:
            message |= delta | {"content": message["content"] + delta.get("content", "")}
        engine.answer = whole({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    await agent.said(CHAT, asks(user("x"), stream=streamed))

    back = {"role": "assistant"} | sent_back
    await agent.said(CHAT, asks(user("x"), back, user("y"), stream=streamed))

    expected = {name: value for name, value in back.items() if name != "reasoning_content"}
    assert engine.bodies[1]["messages"] == [user("x"), expected | {"reasoning": "Look first, é."}, user("y")]


@pytest.mark.parametrize(
    ("said", "second"),
    [
        pytest.param(
            chunks(*THOUGHT, {"content": "A."}),
            [user("x"), {"role": "assistant", "content": "A.", "reasoning_content": "mine"}, user("y")],
            id="thinking is there",
        ),
        pytest.param(
            chunks(*THOUGHT, {"content": "Done."}),
            [user("something else"), {"role": "assistant", "content": "Done."}, user("y")],
            id="another conversation with the same answer",
        ),
        pytest.param(
            chunks(*THOUGHT, {"content": "A."}),
            [user("x"), {"role": "assistant", "content": "B."}, user("y")],
            id="another answer",
        ),
        pytest.param(
            chunks(*THOUGHT, {"content": "A."}, finish=None),
            [user("x"), {"role": "assistant", "content": "A."}, user("y")],
            id="an answer that was cut off",
        ),
        pytest.param(
            chunks({"content": "A."}),
            [user("x"), {"role": "assistant", "content": "A."}, user("y")],
            id="an answer without thinking",
        ),
        pytest.param(chunks(*THOUGHT), [user("x"), {"role": "assistant", "content": ""}, user("y")], id="nothing said"),
        pytest.param(chunks({"content": "A."}), [7, {"role": "assistant"}, {"content": {}}], id="nonsense"),
    ],
)
async def test_other_messages_are_left_as_they_are(
    engine: Engine, agent: Bridged, said: bytes, second: list[Any]
) -> None:
    engine.answer = streams(said)
    await agent.said(CHAT, asks(user("x")))
    await agent.said(CHAT, asks(*second))
    assert engine.bodies[1]["messages"] == second


THINKING = {"type": "thinking", "thinking": "Look first, é."}
RESTORED = THINKING | {"signature": ""}
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "Read", "input": {}}


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("said", "sent_back", "expected"),
    [
        pytest.param(
            [{"type": "text", "text": "Answer."}], "Answer.", [RESTORED, {"type": "text", "text": "Answer."}], id="text"
        ),
        pytest.param([TOOL_USE], [TOOL_USE], [RESTORED, TOOL_USE], id="a call"),
        pytest.param([TOOL_USE], [THINKING, TOOL_USE], [THINKING, TOOL_USE], id="thinking is there"),
        pytest.param(
            [TOOL_USE],
            [{"type": "redacted_thinking", "data": "x"}, TOOL_USE],
            [RESTORED, {"type": "redacted_thinking", "data": "x"}, TOOL_USE],
            id="redacted",
        ),
    ],
)
async def test_so_it_is_in_anthropics_api(
    engine: Engine, agent: Bridged, said: list[Any], sent_back: Any, expected: list[Any], *, streamed: bool
) -> None:
    if streamed:
        engine.answer = streams(message_events(THINKING, *said))
    else:
        engine.answer = whole({"role": "assistant", "content": [THINKING, *said], "stop_reason": "end_turn"})
    question = user([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}])
    await agent.said(MESSAGES, asks(question, stream=streamed))
    await agent.said(MESSAGES, asks(user("x"), {"role": "assistant", "content": sent_back}, user("y")))
    assert engine.bodies[1]["messages"][1]["content"] == expected


async def test_a_message_that_was_cut_off_is_not_remembered(engine: Engine, agent: Bridged) -> None:
    engine.answer = streams(message_events(THINKING, TOOL_USE, stop=False))
    await agent.said(MESSAGES, asks(user("x")))
    await agent.said(MESSAGES, asks(user("x"), {"role": "assistant", "content": [TOOL_USE]}))
    assert engine.bodies[1]["messages"][1]["content"] == [TOOL_USE]


def test_memory_has_a_limit_and_forgets_what_was_not_used_for_longest() -> None:
    memory = Memory(limit=100)
    for name in ("a", "b"):
        listener = memory.listen("openai", asks(user("x")), streamed=True)
        listener.feed(chunks({"reasoning": name * 40}, calls(name)))
        listener.end()

    def restored(name: str) -> str:
        body = asks({"role": "assistant", "tool_calls": [{"id": name}]})
        memory.restore("openai", body)
        return str(body["messages"][0].get("reasoning", ""))

    assert restored("a") == "a" * 40
    memory.keep(b"another", "é" * 20)
    assert [restored(name) for name in ("a", "b")] == ["a" * 40, ""]
    memory.keep(b"huge", "x" * 101)
    assert len(memory) == 0
