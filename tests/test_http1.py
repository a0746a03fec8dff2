"""HTTP/1.1 on the wire: how a body ends, what is no reply, and when a connection is used again.

The servers are sockets that write the bytes of a script.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_lsp.engine.http1 import Broken, NotHttp
from glm_lsp.engine.pool import Client, NoConnection, Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Script:
    """Answers each request with the next bytes; `None` closes the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.serving: list[Any] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Client]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        client = Client(Place("127.0.0.1", server.sockets[0].getsockname()[1]), patience=2.0)
        try:
            yield client
        finally:
            await client.close()
            server.close()
            await asyncio.gather(*self.serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.append(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while self.answers:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if self.answers and self.answers[0] is None:
                    self.answers.pop(0)
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def got(*answers: bytes | None, times: int = 1) -> list[bytes]:
    script = Script(*answers)
    async with script.running() as client:
        return [await (await client.request("GET", "/", {})).whole() for _ in range(times)]


# --- how a body ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"hi"),
        (CHUNKED + b"1\r\nh\r\n1;what=ever\r\ni\r\n0\r\nTrailer: x\r\n\r\n", b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", b"hi"),
        (b"HTTP/1.0 200 OK\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, b"hi"),
    ],
    ids=["length", "chunks", "end of the connection", "HTTP/1.0", "none", "after what only tells to wait"],
)
async def test_a_body_ends_as_it_says(answer: bytes, body: bytes) -> None:
    assert await got(answer, None) == [body]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        CHUNKED + b"2\r\nhi\r\n",
        CHUNKED + b"5\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["short", "no last chunk", "in a chunk", "in the head", "after what only tells to wait"],
)
async def test_a_body_that_ends_too_soon_is_broken(answer: bytes) -> None:
    with pytest.raises(Broken):
        await got(answer, None)


async def test_what_came_before_it_broke_is_handed_out_first() -> None:
    script = Script(CHUNKED + b"2\r\nhi\r\n", None)
    async with script.running() as client:
        reply = await client.request("GET", "/", {})
        await asyncio.sleep(0.05)
        assert await reply.read() == b"hi"
        with pytest.raises(Broken):
            await reply.read()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        CHUNKED + b"zz\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    ],
    ids=["ssh", "another version", "a chunk's size", "two lengths", "both", "an upgrade", "an endless head", "no gzip"],
)
async def test_what_is_no_reply_is_said_to_be_none(answer: bytes) -> None:
    with pytest.raises(NotHttp):
        await got(answer, OK)


async def test_what_was_packed_unasked_is_unpacked() -> None:
    pack = zlib.compressobj(wbits=31)
    packed = pack.compress(b"hi") + pack.flush()
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    assert await got(head + packed) == [b"hi"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_a_body_does_not_depend_on_where_the_network_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    raw = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            writer.write(raw[start:stop])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    async def exchange() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(Place("127.0.0.1", server.sockets[0].getsockname()[1]))
        body = await (await client.request("GET", "/", {})).whole()
        await client.close()
        server.close()
        return body

    assert asyncio.run(exchange()) == b"".join(pieces)


# --- one connection after another --------------------------------------------------------------------------------


async def test_a_connection_is_used_again_until_the_server_says_otherwise() -> None:
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    script = Script(OK, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", last, OK)
    async with script.running() as client:
        for _ in range(4):
            assert await (await client.request("GET", "/", {})).whole() == b"hi"
    assert script.connections == 2


async def test_one_that_was_closed_while_it_rested_is_replaced_once() -> None:
    script = Script(OK, None, OK)
    async with script.running() as client:
        for _ in range(2):
            assert await (await client.request("GET", "/", {})).whole() == b"hi"
    assert len(script.requests) == 2


async def test_a_request_whose_reply_had_begun_is_not_sent_again() -> None:
    script = Script(OK, b"HTTP/1.1 2", None, OK)
    async with script.running() as client:
        await (await client.request("GET", "/", {})).whole()
        with pytest.raises(Broken):
            await client.request("GET", "/", {})
    assert len(script.requests) == 2


@pytest.mark.parametrize("rest", [b"more", OK], ids=["words", "a reply"])
async def test_a_server_that_says_more_than_it_was_asked_is_not_asked_again_there(rest: bytes) -> None:
    script = Script(OK + rest, OK)
    async with script.running() as client:
        for _ in range(2):
            assert await (await client.request("GET", "/", {})).whole() == b"hi"
    assert script.connections == 2


async def test_one_that_says_something_while_nobody_asks_is_not_asked_again() -> None:
    script = Script(OK, OK)
    async with script.running() as client:
        await (await client.request("GET", "/", {})).whole()
        (kept,) = client._kept
        kept.data_received(OK)
        assert await (await client.request("GET", "/", {})).whole() == b"hi"
    assert script.connections == 2


async def test_a_reply_that_is_not_read_to_its_end_costs_its_connection() -> None:
    script = Script(CHUNKED + b"2\r\nhi\r\n", OK)
    async with script.running() as client:
        async with await client.request("GET", "/", {}) as reply:
            assert await reply.read() == b"hi"
        assert await (await client.request("GET", "/", {})).whole() == b"hi"
    assert script.connections == 2


async def test_who_reads_slowly_makes_the_server_wait_and_loses_nothing() -> None:
    size, written = 64 * 1024 * 1024, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        while written < size:
            writer.write(b"x" * 65536)
            written += 65536
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(Place("127.0.0.1", server.sockets[0].getsockname()[1]))
    reply = await client.request("GET", "/", {})
    before = -1
    while before != written:  # until the buffers of the system are full
        before = written
        await asyncio.sleep(0.2)
    assert written < size // 2
    read = 0
    while piece := await reply.read():
        read += len(piece)
    assert read == size
    server.close()


# --- what is sent ------------------------------------------------------------------------------------------------


async def test_a_request_is_what_it_should_be_byte_by_byte() -> None:
    script = Script(OK)
    async with script.running() as client:
        await (await client.request("GET", "/v1/models?x=1", {"A": "b"})).whole()
        port = client.place.port
    assert script.requests == [f"GET /v1/models?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nA: b\r\n\r\n".encode()]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0b"])
async def test_a_header_cannot_smuggle_another_one(value: str) -> None:
    script = Script(OK)
    async with script.running() as client:
        with pytest.raises(ValueError, match="header"):
            await client.request("GET", "/", {"A": value})
    assert script.requests == []


@pytest.mark.parametrize(
    ("place", "authority"),
    [
        (Place("engine.example", 80), "engine.example"),
        (Place("engine.example", 443, tls=True), "engine.example"),
        (Place("engine.example", 443), "engine.example:443"),
        (Place("::1", 8000), "[::1]:8000"),
        (Place(socket="/run/e.sock"), "localhost"),
    ],
)
def test_a_host_is_named_with_its_port_where_that_is_not_the_usual_one(place: Place, authority: str) -> None:
    assert place.authority == authority


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_why_there_is_no_connection_is_said_once(host: str) -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(NoConnection, match=r"^connection refused$"):
        await Client(Place(host, port)).request("GET", "/", {})


async def test_a_name_that_there_is_not_is_said_to_be_unknown() -> None:
    with pytest.raises(NoConnection) as caught:
        await Client(Place("engine.invalid", 80)).request("GET", "/", {})
    assert str(caught.value)
    assert "errno" not in str(caught.value)
