"""A real HTTP server that answers each chat completion with the bytes it was told, for tests of the client.

Never thinks: it replays scripted steps, keeps what it was sent, and notices who hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

HANG_UP = object()
"""A step: the connection is reset without a word."""

CUT = object()
"""A step: the connection ends inside a chunk, without the end of the body."""


SLAM = object()
"""A step: the body ends as it should, and the connection is closed a moment later, without having said so."""


@dataclass(frozen=True)
class Pause:
    """A step: silence."""

    seconds: float


@dataclass
class Answer:
    """What one request gets: a status, headers, and a body in pieces; each piece is flushed on its own."""

    steps: Sequence[Any] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})


def refusal(status: int, body: Any, **headers: str) -> Answer:
    """An answer that is not a stream; `body` is JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"}
    return Answer((raw,), status, kind | {name.replace("_", "-"): value for name, value in headers.items()})


def vllm_error(message: str, code: int, kind: str = "BadRequestError", param: str | None = None) -> dict[str, Any]:
    """An error as vLLM spells it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event as vLLM sends it."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish, "token_ids": None}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "glm-4.7",
        "choices": [choice],
    }
    return b"data: " + json.dumps(body | more, ensure_ascii=False).encode() + b"\n\n"


def call(index: int, arguments: str, *, id: str | None = None, name: str | None = None) -> dict[str, Any]:  # noqa: A002 - the field's own name
    """A delta with a fragment of a tool call."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    start = {"id": id, "type": "function"} if id else {}
    return {"tool_calls": [{"index": index, **start, "function": function}]}


USAGE = chunk(
    choices=[],
    usage={
        "prompt_tokens": 900,
        "total_tokens": 940,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 800},
        "completion_tokens_details": {"reasoning_tokens": 12},
    },
)
DONE = b"data: [DONE]\n\n"
ROLE = chunk({"role": "assistant", "content": ""})


def spoken(*deltas: dict[str, Any], finish: str | None = "stop", usage: bool = True) -> list[bytes]:
    """A whole reply, event by event."""
    return [
        ROLE,
        *(chunk(delta) for delta in deltas),
        *([chunk({}, finish)] if finish else []),
        *([USAGE] if usage else []),
        DONE,
    ]


class WireServer:
    """Answers in the order it was given answers; the last one is repeated.

    A request for a single token, by which a client finds out what a server can do, gets `probe` and uses up no answer.

    Its API is below `root`; `documents` are what else it answers with, by their path.

    Attributes:
        probes: bodies of requests for a single token.
        requests: bodies of the other chat completions, oldest first; `headers` has theirs.
        paths: every path that was asked for.
        hung_up: set when a client closed the connection before its answer was whole.
    """

    def __init__(
        self,
        *answers: Answer | Sequence[Any],
        models: Any = None,
        version: str | None = "0.32.0",
        root: str = "/v1",
        documents: dict[str, Any] | None = None,
    ) -> None:
        self.answers = [answer if isinstance(answer, Answer) else Answer(answer) for answer in answers]
        card = {"id": "glm-4.7", "object": "model", "owned_by": "vllm", "max_model_len": 32768}
        self.models: Any = {"object": "list", "data": [card]} if models is None else models
        self.version = version
        self.root = root
        self.documents = documents or {}
        self.probe = Answer(spoken({"reasoning": "H"}, finish="length"))
        self.probes: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.paths: list[str] = []
        self.hung_up = asyncio.Event()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(
        self, socket: Path | None = None, *, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator[WireServer]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A pause that nobody waits for any more must not hold up the end of a test.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.UnixSite(runner, str(socket)) if socket else web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        scheme = "https" if tls else "http"
        self.url = f"unix:{socket}" if socket else f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if request.path == "/version" and self.version is not None:
            return web.json_response({"version": self.version})
        if request.path in self.documents:
            return web.json_response(self.documents[request.path])
        if request.path == f"{self.root}/models":
            if isinstance(self.models, Answer):
                return await self._send(request, self.models)
            return web.json_response(self.models)
        if request.path != f"{self.root}/chat/completions":
            return web.json_response({"detail": "Not Found"}, status=404)
        body = await request.json()
        if body.get("max_completion_tokens", body.get("max_tokens")) == 1:
            self.probes.append(body)
            return await self._send(request, self.probe)
        self.requests.append(body)
        self.headers.append(request.headers)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            return await self._send(request, answer)
        except (asyncio.CancelledError, ConnectionResetError):
            self.hung_up.set()
            raise

    async def _send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if answer.steps and answer.steps[0] is HANG_UP:
            request.transport.abort()
            return response
        response.enable_chunked_encoding()
        await response.prepare(request)
        for step in answer.steps:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif step is HANG_UP:
                await asyncio.sleep(0.05)  # what was written has to be on its way first
                request.transport.abort()
                return response
            elif step is SLAM:
                await response.write_eof()
                await asyncio.sleep(0.02)
                request.transport.close()
                return response
            elif step is CUT:
                request.transport.write(b"ff\r\ndata: {")
                request.transport.close()
                return response
            elif step:
                await response.write(step)
                await asyncio.sleep(0)
        await response.write_eof()
        return response
