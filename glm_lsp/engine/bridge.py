"""Lets other agents on this host use the engine: loopback TCP with a token in front of the engine's address.

Never listens beyond this host, never logs or keeps what passes, and holds no part of a stream back.

What an agent sends goes to the engine as it is, but for preserved thinking: `clear_thinking: false` is added where the
request says nothing of it, and thinking that the agent dropped is put back (`restore`). It lines up behind a person's
own requests (`turnstile`), and vLLM is told the same by a header that other servers pass over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from glm_lsp.engine import turnstile
from glm_lsp.engine.connection import FAILURES, reach
from glm_lsp.engine.pool import Client, NoConnection, Place
from glm_lsp.engine.restore import Memory
from glm_lsp.errors import GlmError, StateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from glm_lsp.engine.http1 import Response
    from glm_lsp.engine.restore import Form, Listener

STATUS_PATH = "/glm-lsp/bridge"
"""Where the bridge tells of itself."""

OPENAI_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"})
ANTHROPIC_PATHS = frozenset({"/v1/messages", "/v1/messages/count_tokens"})
_RENDERED = ANTHROPIC_PATHS | {"/v1/chat/completions", "/v1/responses"}  # those that take chat_template_kwargs
_RESTORED: dict[str, Form] = {
    "/v1/chat/completions": "openai",
    "/v1/messages": "anthropic",
    "/v1/messages/count_tokens": "anthropic",
}
_WRITING = frozenset({"/v1/messages"}) | OPENAI_PATHS - {"/v1/embeddings"}  # those that take the engine's time
_LARGEST_REQUEST = 256 * 1024 * 1024  # bytes: a long conversation with pictures in it
_PRIORITY = "X-Vllm-Priority"  # vLLM's own, for all of its APIs (0.32)
_PASSED_ON = ("Content-Type", "Accept", "User-Agent", "X-Request-Id", "Anthropic-Version", "Anthropic-Beta")
_PASSED_BACK = ("Content-Type", "Cache-Control", "Retry-After", "X-Request-Id")
_PATIENCE = 10.0  # seconds to wait for a connection to the engine
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the engine is.

    Attributes:
        url: as in `engine.url`.
        key: its API key; empty for none. The agents never see it.
        limit: requests that it is sent at a time, as in `turnstile.ticket`.
        ca_file: as in `engine.ca_file`.
    """

    url: str
    key: str = ""
    limit: int = 0
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What a bridge needs to know.

    Attributes:
        upstream: finds the engine; asked again when it is gone, as it may have been started again elsewhere.
        token: what agents must show, as `Authorization: Bearer` or `x-api-key`.
        restore: whether thinking that agents drop is put back.
        preserve: whether `clear_thinking: false` is added.
        linger: seconds without an engine and without a request after which the bridge ends; 0 for never.
    """

    upstream: Callable[[], Upstream]
    token: str
    restore: bool = True
    preserve: bool = True
    linger: float = 0.0


async def serve(crossing: Crossing, port: int, *, ready: Callable[[int], None], closing: asyncio.Event) -> None:
    """Serves on 127.0.0.1 until `closing` is set or it has lingered long enough.

    Args:
        crossing: what it leads to, and for whom.
        port: where to listen; 0 for any free port.
        ready: is told the port once it listens.
        closing: ends it; what is being streamed then ends at once.

    Raises:
        StateError: the port is taken.
    """
    bridge = _Bridge(crossing)
    app = web.Application(client_max_size=_LARGEST_REQUEST)
    app.router.add_route("*", "/{path:.*}", bridge.handle)
    # An agent that goes away cancels its handler, which closes the connection to the engine: it stops writing.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, logger=_silent(), shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            raise StateError(
                f"Port {port} of 127.0.0.1 cannot be had: {(error.strerror or str(error)).lower()}.",
                hint="Choose another one with --port.",
            ) from error
        ready(int(runner.addresses[0][1]))
        ended = asyncio.create_task(closing.wait())
        lonely = asyncio.create_task(bridge.until_lonely())
        await asyncio.wait({ended, lonely}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, lonely):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    finally:
        await bridge.close()
        await runner.cleanup()


async def ask_status(port: int, token: str) -> dict[str, Any]:
    """Asks a running bridge for its counts; nothing where it does not answer."""
    client = Client(Place("127.0.0.1", port))
    try:
        async with asyncio.timeout(5):
            reply = await client.request("GET", STATUS_PATH, {"Authorization": f"Bearer {token}"})
            return dict(msgspec.json.decode(await reply.whole())) if reply.status == 200 else {}
    except (*FAILURES, TimeoutError, msgspec.DecodeError):
        return {}
    finally:
        await client.close()


class _Bridge:
    """One bridge: its connections, its memory and its counts."""

    def __init__(self, crossing: Crossing) -> None:
        self._crossing = crossing
        self._memory = Memory()
        self._engine: Upstream | None = None
        self._clients: dict[tuple[str, str], tuple[Client, str]] = {}
        self._counts = {"requests": 0, "preserved": 0, "refused": 0}
        self._under_way = 0
        self._used = asyncio.get_running_loop().time()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request of an agent, or of whoever else found the port."""
        if refusal := self._refused(request):
            self._counts["refused"] += 1
            return refusal
        if request.path == STATUS_PATH:
            return web.json_response(
                self._counts | {"restored": self._memory.restored, "remembered": len(self._memory)}
            )
        if request.method == "HEAD" and request.path == "/":  # some agents look whether anybody is there
            return web.Response()
        models = request.path == "/v1/models" or (request.path.startswith("/v1/models/") and ".." not in request.path)
        known = request.method == "GET" if models else request.path in OPENAI_PATHS | ANTHROPIC_PATHS
        if not known or (not models and request.method != "POST"):
            return _problem(request, 404, "not_found_error", f"The bridge does not lead to {request.path}.")
        self._under_way += 1
        self._counts["requests"] += 1
        try:
            return await self._pass_on(request)
        finally:
            self._under_way -= 1
            self._used = asyncio.get_running_loop().time()

    async def until_lonely(self) -> None:
        """Returns when nobody asked and no engine was there for as long as the bridge lingers."""
        linger = self._crossing.linger
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(linger / 4, 30.0) if linger else 3600.0)
            if not linger or self._under_way or loop.time() - self._used < linger:
                continue
            if not await self._has_engine():
                return
            self._used = loop.time()  # it is there: the time without one begins again

    async def close(self) -> None:
        """Closes the connections to the engine."""
        for client, _ in self._clients.values():
            await client.close()

    # --- who may ask ---------------------------------------------------------------------------------------------

    def _refused(self, request: web.Request) -> web.Response | None:
        """A refusal for who is not an agent with the token.

        A page in a browser can reach loopback too, by a name of its own that leads there (DNS rebinding): the names
        in Host and Origin tell.
        """
        if _host_of(f"//{request.headers.get('Host', '')}") not in _LOOPBACK:
            return _problem(request, 403, "permission_error", "The bridge is asked for by its address, 127.0.0.1.")
        origin = request.headers.get("Origin")
        if origin is not None and _host_of(origin) not in _LOOPBACK:
            return _problem(request, 403, "permission_error", "The bridge does not serve web pages.")
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        bearer = shown.strip() if scheme.lower() == "bearer" else ""
        good = self._crossing.token.encode()
        tokens = (bearer, request.headers.get("X-Api-Key", ""))
        if not any(hmac.compare_digest(token.encode("utf-8", "surrogateescape"), good) for token in tokens):
            said = "The token is missing or wrong; `glm-lsp engine env` prints the right one."
            return _problem(request, 401, "authentication_error", said)
        return None

    # --- passing on ----------------------------------------------------------------------------------------------

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body, listener = self._prepared(request.path, await request.read())
        told = {name: request.headers.get(name, "") for name in _PASSED_ON}
        headers = {name: value for name, value in told.items() if value and value.isascii() and value.isprintable()}
        if request.path not in _WRITING:
            return await self._exchange(request, body, headers, listener)
        try:
            engine = self._engine or await self._find()
        except GlmError as error:
            return _no_engine(request, error)
        ticket = turnstile.ticket(engine.url, priority=turnstile.AGENT, limit=engine.limit)
        try:
            while await ticket.moved():
                pass  # no API has words for it
            return await self._exchange(request, body, headers | {_PRIORITY: str(turnstile.AGENT)}, listener)
        finally:
            ticket.give_back()

    async def _exchange(
        self, request: web.Request, body: bytes, headers: Mapping[str, str], listener: Listener | None
    ) -> web.StreamResponse:
        try:
            reply = await self._ask(request.method, request.path_qs, body, headers)
        except GlmError as error:
            return _no_engine(request, error)
        except FAILURES as error:
            why = f"The engine does not answer ({type(error).__name__}). See `glm-lsp engine status`."
            return _problem(request, 503, "api_error", why)
        async with reply:
            return await self._stream_back(request, reply, listener)

    async def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Sends a request to the engine, which is looked for again where it is no longer found.

        Raises:
            GlmError: there is none.
            FAILURES: it does not answer.
        """
        if self._engine is not None:
            with contextlib.suppress(NoConnection):  # nothing was sent
                return await self._send(self._engine, method, path, body, headers)
        return await self._send(await self._find(), method, path, body, headers)

    async def _find(self) -> Upstream:
        # In a thread: it asks the engine how it is, and other agents' streams must not wait for that.
        self._engine = await asyncio.to_thread(self._crossing.upstream)
        return self._engine

    async def _send(
        self, upstream: Upstream, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Response:
        at = (upstream.url, upstream.ca_file)
        if at not in self._clients:
            client, root, _ = reach(upstream.url, ca_file=upstream.ca_file, patience=_PATIENCE, environment=os.environ)
            self._clients[at] = client, root
        client, root = self._clients[at]
        key = {"Authorization": f"Bearer {upstream.key}"} if upstream.key else {}
        identity = {"Accept-Encoding": "identity"}  # a compressed stream comes in lumps
        return await client.request(method, f"{root}{path.removeprefix('/v1')}", {**headers, **identity, **key}, body)

    def _prepared(self, path: str, body: bytes) -> tuple[bytes, Listener | None]:
        """The body as the engine shall have it, and what listens to the reply."""
        if path not in _RENDERED:
            return body, None
        try:
            asked = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return body, None  # the engine says what is wrong with it
        if not isinstance(asked, dict):
            return body, None
        form = _RESTORED.get(path) if self._crossing.restore else None
        changed = self._crossing.preserve and _preserve(asked)
        self._counts["preserved"] += changed
        listener = None
        if form is not None:
            listener = self._memory.listen(form, asked, streamed=bool(asked.get("stream")))
            changed |= bool(self._memory.restore(form, asked))
        return msgspec.json.encode(asked) if changed else body, listener

    async def _stream_back(
        self, request: web.Request, reply: Response, listener: Listener | None
    ) -> web.StreamResponse:
        listener = listener if reply.status == 200 else None
        headers = {name: reply.headers[name.lower()] for name in _PASSED_BACK if name.lower() in reply.headers}
        back = web.StreamResponse(status=reply.status, headers=headers)
        await back.prepare(request)
        broken = False
        async for chunk in _chunks(reply):
            if chunk is None:
                broken = True
                break
            await back.write(chunk)
            if listener is not None:
                listener.feed(chunk)
        if broken:
            # The head is out and said 200: only the stream itself can still say that this is not its end.
            if reply.content_type == "text/event-stream":
                await back.write(_broken_event(request.path))
            back.force_close()
        elif listener is not None:
            listener.end()
        await back.write_eof()
        return back

    async def _has_engine(self) -> bool:
        try:
            async with asyncio.timeout(10):
                reply = await self._ask("GET", "/v1/models", b"", {})
                reply.close()
                return True
        except (GlmError, *FAILURES):
            return False


def _silent() -> logging.Logger:
    """A logger that says nothing: the server's own would show the beginning of a request that it cannot read."""
    logger = logging.getLogger("glm_lsp.bridge")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _preserve(body: dict[str, Any]) -> bool:
    """Asks for earlier thinking to be rendered, unless the request says what it wants; returns whether it did."""
    wanted = body.get("chat_template_kwargs")
    if wanted is None:
        wanted = body["chat_template_kwargs"] = {}
    if not isinstance(wanted, dict) or "clear_thinking" in wanted:
        return False
    wanted["clear_thinking"] = False
    return True


async def _chunks(reply: Response) -> AsyncIterator[bytes | None]:
    """The reply's bytes as they come; None in the end where the connection broke."""
    try:
        while chunk := await reply.read():
            yield chunk
    except FAILURES:
        yield None


def _host_of(address: str) -> str:
    """The host of an address, or nothing for one that has none, such as the `null` of a sandboxed page."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _problem(request: web.Request, status: int, kind: str, message: str) -> web.Response:
    """A refusal in the words that the agent's library understands."""
    return web.json_response(_error(request.path, kind, message, status), status=status)


def _no_engine(request: web.Request, error: GlmError) -> web.Response:
    return _problem(request, 503, "api_error", f"{error.message} {error.hint}".strip())


def _error(path: str, kind: str, message: str, status: int) -> Mapping[str, Any]:
    if path in ANTHROPIC_PATHS:
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "code": status}}


def _broken_event(path: str) -> bytes:
    data = msgspec.json.encode(_error(path, "api_error", "The engine broke off in the middle of its reply.", 502))
    name = b"event: error\n" if path in ANTHROPIC_PATHS else b""
    return b"\n\n" + name + b"data: " + data + b"\n\n"
