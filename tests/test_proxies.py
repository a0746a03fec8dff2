"""Proxies from the environment: which one counts, what goes through it, and what never does.

The proxy is a real one in a few lines. It takes every host for this one, so that a server with a name is reached that
no resolver knows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from test_client import TEXT, ask, together
from wire_server import WireServer, spoken

from glm_lsp.engine import pool
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.metrics import Watch
from glm_lsp.engine.proxies import proxy_for
from glm_lsp.errors import EngineError, Refused, SettingsError, Unreachable
from glm_lsp.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET, PASSWORD = "sk-very-secret", "pass:word/"
AUTHORITY = trustme.CA()
NAME = "engine.example"


class Proxy:
    """Passes on to this host's own port, whatever name is asked for; keeps what it saw."""

    def __init__(self, *, wants: str = "", refuses: int = 0) -> None:
        self.wants, self.refuses = wants, refuses
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.seen = b""
        self.port = 0
        self.serving: list[Any] = []

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await asyncio.wait_for(asyncio.gather(*self.serving, return_exceptions=True), 5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.partition("\r\n")[0].split(" ")
            self.asked.append(f"{method} {target}")
            self.heads.append(head)
            proof = f"Proxy-Authorization: Basic {base64.b64encode(self.wants.encode()).decode()}\r\n"
            status = 407 if self.wants and proof not in head else self.refuses
            if status:
                writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                writer.close()
                return
            authority = target if method == "CONNECT" else target.removeprefix("http://").partition("/")[0]
            inner = await asyncio.open_connection("127.0.0.1", int(authority.rpartition(":")[2]))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                inner[1].write(head.replace(f"http://{authority}", "", 1).encode())
            await asyncio.gather(self._pass(reader, inner[1]), self._pass(inner[0], writer))
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        writer.close()


def server_side(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return file


def engine_at(server: WireServer, environment: dict[str, str], **settings: Any) -> HttpEngine:
    url = server.url.replace("127.0.0.1", NAME)
    quick = {"connect_timeout": 2.0, "api_key_env": "KEY", "retries": 0}
    return HttpEngine(EngineSettings(url=url, **quick | settings), environment={"KEY": SECRET, **environment})


# --- what goes through it ----------------------------------------------------------------------------------------


async def test_a_reply_is_streamed_through_a_proxy_that_is_told_the_whole_address() -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy(wants=f"me:{PASSWORD}")
    async with server.running(), proxy.running():
        engine = engine_at(server, {"http_proxy": f"http://me:pass%3Aword%2F@127.0.0.1:{proxy.port}"})
        assert together(await ask(engine))["text"] == "It is 3 °C."
        await engine.close()
    name = server.url.replace("127.0.0.1", NAME)
    assert proxy.asked[0] == f"GET {name}/v1/models"
    assert server.headers[0]["Host"] == name.removeprefix("http://")
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"


async def test_through_a_tunnel_the_proxy_sees_neither_key_nor_words(authority: Path) -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy(wants=f"me:{PASSWORD}")
    async with server.running(tls=server_side(NAME)), proxy.running():
        variables = {"HTTPS_PROXY": f"http://me:pass%3Aword%2F@127.0.0.1:{proxy.port}"}
        engine = engine_at(server, variables, ca_file=str(authority))
        for _ in range(2):
            assert together(await ask(engine))["text"] == "It is 3 °C."
        await engine.close()
    assert set(proxy.asked) == {f"CONNECT {server.url.replace('127.0.0.1', NAME).removeprefix('https://')}"}
    assert len(proxy.asked) == 1, "the connection is kept"
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert "Proxy-Authorization" not in server.headers[0]
    assert proxy.seen
    assert SECRET.encode() not in proxy.seen
    assert SECRET not in "".join(proxy.heads)


async def test_the_certificate_behind_a_tunnel_is_checked(authority: Path) -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy()
    async with server.running(tls=server_side("elsewhere.example")), proxy.running():
        engine = engine_at(server, {"https_proxy": f"http://127.0.0.1:{proxy.port}"}, ca_file=str(authority))
        with pytest.raises(Unreachable, match="certificate"):
            await engine.connect()
        await engine.close()
    assert server.paths == []


async def test_a_proxy_may_itself_be_spoken_to_over_tls(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    pool.system_trust.cache_clear()
    server, proxy = WireServer(spoken(TEXT)), Proxy()
    try:
        async with server.running(tls=server_side(NAME)), proxy.running(tls=server_side("127.0.0.1")):
            engine = engine_at(server, {"https_proxy": f"https://127.0.0.1:{proxy.port}"})
            assert together(await ask(engine))["text"] == "It is 3 °C."
            await engine.close()
    finally:
        pool.system_trust.cache_clear()
    assert len(proxy.asked) == 1


async def test_what_is_on_this_host_is_never_looked_for_elsewhere() -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy()
    async with server.running(), proxy.running():
        variables = {"http_proxy": f"http://127.0.0.1:{proxy.port}", "ALL_PROXY": f"http://127.0.0.1:{proxy.port}"}
        engine = HttpEngine(EngineSettings(url=server.url), environment=variables)
        assert together(await ask(engine))["text"] == "It is 3 °C."
        await engine.close()
    assert proxy.asked == []


async def test_the_page_of_figures_is_looked_for_there_too() -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy()
    async with server.running(), proxy.running():
        url = server.url.replace("127.0.0.1", NAME)
        watch = Watch(EngineSettings(url=url), environment={"http_proxy": f"http://127.0.0.1:{proxy.port}"})
        with pytest.raises(EngineError, match="404"):
            await watch.look()
        await watch.close()
    assert proxy.asked == [f"GET {url}/metrics"]


# --- what may be wrong with it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("status", "kind", "words", "hint"),
    [
        (407, Refused, "wants a user and a password", "user:password@"),
        (403, EngineError, "403", ""),
    ],
)
async def test_a_proxy_that_refuses_is_named(tls: bool, status: int, kind: type, words: str, hint: str) -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy(refuses=status)
    async with server.running(tls=server_side(NAME) if tls else None), proxy.running():
        variable = "https_proxy" if tls else "http_proxy"
        engine = engine_at(server, {variable: f"http://me:{'hush'}@127.0.0.1:{proxy.port}"})
        with pytest.raises(kind, match=words) as caught:
            await engine.connect()
        await engine.close()
    said = f"{caught.value.message} {caught.value.hint}"
    if status == 407 or tls:
        assert variable in said
    assert hint in said
    assert "hush" not in said
    assert server.paths == []


async def test_a_proxy_that_is_not_there_is_named_and_its_password_is_not() -> None:
    server, proxy = WireServer(spoken(TEXT)), Proxy()
    async with server.running():
        async with proxy.running():
            pass
        engine = engine_at(server, {"http_proxy": f"http://me:hush@127.0.0.1:{proxy.port}"})
        with pytest.raises(Unreachable, match=r"http_proxy.*refused") as caught:
            await engine.connect()
        await engine.close()
    assert "no_proxy" in caught.value.hint
    assert caught.value.retryable
    assert "hush" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://127.0.0.1:1080", "socks5"),
        ("http://", "no proxy's address"),
        ("http://host:port", "no proxy's address"),
        ("http://me:hush@[", "no proxy's address"),
        ("ftp://me:hush@host", "no proxy's address"),
    ],
)
def test_what_is_no_proxy_is_said_before_anything_is_sent(value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        HttpEngine(EngineSettings(url="https://engine.example"), environment={"https_proxy": value})
    assert "https_proxy" in caught.value.message
    assert "hush" not in f"{caught.value.message} {caught.value.hint}"


# --- which one counts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "tls", "host"),
    [
        ({"http_proxy": "http://a:1"}, False, "a"),
        ({"http_proxy": "http://a:1"}, True, ""),
        ({"https_proxy": "http://a:1"}, True, "a"),
        ({"HTTP_PROXY": "b:1"}, False, "b"),
        ({"http_proxy": "http://a", "HTTP_PROXY": "http://b"}, False, "a"),
        ({"http_proxy": "", "HTTP_PROXY": "http://b"}, False, "b"),
        ({"all_proxy": "http://c"}, True, "c"),
        ({"all_proxy": "http://c", "HTTPS_PROXY": "http://d"}, True, "d"),
        ({"http_proxy": "http://a", "no_proxy": "*"}, False, ""),
        ({}, False, ""),
    ],
)
def test_variables_count_in_their_order(variables: dict[str, str], tls: bool, host: str) -> None:
    found = proxy_for(NAME, 8000, tls=tls, environment=variables)
    assert (found.host if found else "") == host


@pytest.mark.parametrize(
    ("host", "exceptions", "excepted"),
    [
        ("glm.corp.example", "corp.example", True),
        ("glm.corp.example", ".corp.example", True),
        ("glm.corp.example", "*.corp.example", True),
        ("glm.corp.example", "other, GLM.Corp.Example.", True),
        ("glm.corp.example", "glm.corp.example:8000", True),
        ("glm.corp.example", "glm.corp.example:8001", False),
        ("glmcorp.example", "corp.example", False),
        ("glm.corp.example", "glm", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]:8000", True),
        ("fd00::1", "fd00::1", True),
        ("engine.example", "", False),
        ("localhost", "", True),
        ("127.9.9.9", "", True),
        ("::1", "", True),
    ],
)
def test_exceptions_are_names_their_ends_addresses_and_networks(host: str, exceptions: str, excepted: bool) -> None:
    variables = {"http_proxy": "http://proxy:1", "NO_PROXY": exceptions}
    assert (proxy_for(host, 8000, tls=False, environment=variables) is None) == excepted


def test_a_proxy_is_shown_without_its_password() -> None:
    found = proxy_for(NAME, 80, tls=False, environment={"http_proxy": "http://me:hush@a:1"})
    assert found is not None
    assert found.authorization == f"Basic {base64.b64encode(b'me:hush').decode()}"
    assert "hush" not in f"{found!r} {found.name}"
    assert found.authorization not in repr(found)
