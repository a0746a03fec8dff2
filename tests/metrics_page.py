"""A real HTTP server with a page `/metrics`, and pages to put there.

Never counts anything: it says what it was given, or fails as it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REAL = (Path(__file__).parent / "metrics" / "vllm-0.32-mtp.txt").read_text(encoding="utf-8")
"""What vLLM 0.32 said, with MTP, after two requests of 241 tokens each for 40 tokens, and one of its launcher's."""

SGLANG = """\
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="glm-4.7"} 8000
sglang:cached_tokens_total{cache_source="device",model_name="glm-4.7"} 5000
sglang:cached_tokens_total{cache_source="host",model_name="glm-4.7"} 1000
sglang:generation_tokens_total{model_name="glm-4.7"} 7.5e+02
sglang:token_usage{model_name="glm-4.7"} 0.28
sglang:num_running_reqs{model_name="glm-4.7"} 3
sglang:num_queue_reqs{model_name="glm-4.7"} 2
sglang:spec_accept_length{model_name="glm-4.7"} 1.9
sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="glm-4.7"} 5
sglang:time_to_first_token_seconds_bucket{le="0.5",model_name="glm-4.7"} 10
sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="glm-4.7"} 10
"""

LLAMA = """\
llamacpp:prompt_tokens_total 512
llamacpp:tokens_predicted_total 96
llamacpp:predicted_tokens_seconds nan
llamacpp:requests_processing 1
llamacpp:requests_deferred 4
"""


def vllm(
    *,
    written: float = 0,
    read: float = 0,
    running: float = 0,
    waiting: float = 0,
    reused: float = 0,
    first: tuple[float, ...] = (0, 0, 0),
    started: float = 1000.0,
    kv: float = 0.42,
) -> str:
    """A page of vLLM's with what matters; `first` counts first tokens within 0.1, 0.5 and any number of seconds."""
    label = 'engine="0",model_name="glm-4.7"'
    buckets = "".join(
        f'vllm:time_to_first_token_seconds_bucket{{{label},le="{le}"}} {n}\n'
        for le, n in zip(("0.1", "0.5", "+Inf"), first, strict=True)
    )
    return (
        f"process_start_time_seconds {started}\n"
        f"vllm:generation_tokens_total{{{label}}} {written}\n"
        f"vllm:prompt_tokens_total{{{label}}} {read}\n"
        f"vllm:prefix_cache_queries_total{{{label}}} {read}\n"
        f"vllm:prefix_cache_hits_total{{{label}}} {reused}\n"
        f"vllm:num_requests_running{{{label}}} {running}\n"
        f"vllm:num_requests_waiting{{{label}}} {waiting}\n"
        f"vllm:kv_cache_usage_perc{{{label}}} {kv}\n{buckets}"
    )


@dataclass
class PageServer:
    """Gives its pages in order, the last one again and again.

    Attributes:
        pages: what `/metrics` says; an exception's place is taken by a number, which is a status.
        key: what it wants as a bearer's token; empty for nothing.
        hangs: whether it never answers.
        kind: the content type.
        asked: the paths that were asked for.
    """

    pages: list[str | int]
    key: str = ""
    hangs: bool = False
    kind: str = "text/plain"
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @contextlib.asynccontextmanager
    async def running(self, socket: Path | None = None) -> AsyncIterator[PageServer]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.UnixSite(runner, str(socket)) if socket else web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"unix:{socket}" if socket else f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.hangs:
            await asyncio.sleep(60)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if request.path != "/metrics":
            return web.json_response({"detail": "Not Found"}, status=404)
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        if isinstance(page, int):
            return web.json_response({"error": {"code": page, "message": "no"}}, status=page)
        return web.Response(text=page, content_type=self.kind)
