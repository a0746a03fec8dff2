"""What it costs when the engine of a conversation dies: from the kill to the next word, beside a cache that is warm.

Never says how a GPU would fare: the engines are two real vLLM with a tiny GLM-4.7 on the processor, which reads a prompt
in another time. What carries over is what is not reading: noticing the death, and turning to the other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import os
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil

from glm_lsp.engine.local import process
from glm_lsp.engine.replicas import Replicas
from glm_lsp.errors import EngineError
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Delta, Message, Prompt, Sampling

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "failover"
DOC = "milliseconds to the first token when the engine of a conversation is killed, on two real test engines"
SIZES = (2_000, 8_000, 24_000)
"""Tokens of the conversations, about."""


def run(sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Kills an engine once for each size, in the middle of a reply, and starts it anew."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    server: Any = importlib.import_module("engine.server")  # the tests are no package of the product
    try:
        launch = server.forced_launch(server.engine_python())
    except RuntimeError as error:
        sys.exit(f"{NAME}: {error}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "a", Path(folder) / "b"
        try:
            stays = server.start(launch, runs[1])
            for size in sizes:
                dies = server.start(launch, runs[0])
                rows.append(asyncio.run(_measure(dies, stays, size)))
                process.stop(run=runs[0])
        finally:
            for one in runs:
                process.stop(run=one)
    return {"rows": rows}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    heading = ("tokens", "warm", "cold", "death noticed", "kill to next token", "next request", "load")
    keys = ("warm_ms", "cold_ms", "noticed_ms", "next_token_ms", "at_rest_ms")
    rows: list[tuple[str, ...]] = [heading]
    rows += [
        (f"{row['tokens']:,}", *(f"{row[key]:,.0f} ms" for key in keys), f"{row['load']:.1f}") for row in result["rows"]
    ]
    return rows


async def _measure(dies: process.Running, stays: process.Running, size: int) -> dict[str, Any]:
    """One size: a cache that is warm, one that is cold, a death in the middle of a reply, and one that nobody saw."""
    forced = await _tokens(stays.url)
    extra = {"vllm_xargs": {"force_token_ids": forced * 300}}
    settings = EngineSettings(replicas=[dies.url, stays.url], extra_body=extra)
    engine, unaware = Replicas(settings, environment={}), Replicas(settings, environment={})
    at_dying, at_staying = _belonging(engine, dies.url, size), _belonging(engine, stays.url, size)
    row: dict[str, Any] = {"size": size, "load": os.getloadavg()[0]}
    try:
        for one in (engine, unaware):  # learns the template, and so on
            for prompt in (at_dying("begin"), at_staying("begin")):
                await _first(one, prompt)
        row["cold_ms"], row["tokens"] = await _first(engine, at_dying("talk"))
        row["warm_ms"], _ = await _first(engine, at_dying("talk"))
        await _first(unaware, at_dying("other talk"))
        row |= await _killed(engine, at_dying("talk"), dies.pid)
        row["at_rest_ms"], _ = await _first(unaware, at_dying("other talk"))
    finally:
        await engine.close()
        await unaware.close()
    return row


async def _killed(engine: Replicas, prompt: Prompt, pid: int) -> dict[str, float]:
    """Kills the engine when it has said its first words of many, and asks again as a turn does."""
    endless = dataclasses.replace(prompt, sampling=Sampling(0.0, None, 3000))
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    killed, heard = 0.0, 0
    try:
        async with aclosing(engine.stream(endless)) as deltas:
            async for _ in deltas:
                heard += 1
                if heard == 3:
                    for one in family:
                        one.kill()
                    killed = time.monotonic()
    except EngineError as error:
        if not killed or not error.elsewhere:
            raise
        noticed = time.monotonic() - killed
        waited, _ = await _first(engine, prompt)
        return {"noticed_ms": noticed * 1000, "next_token_ms": noticed * 1000 + waited}
    raise RuntimeError("The reply had ended before the engine was killed.")


async def _first(engine: Replicas, prompt: Prompt) -> tuple[float, int]:
    """Milliseconds to the first word, and the prompt's tokens; the reply is read to its end."""
    began, first, read = time.monotonic(), 0.0, 0
    async with aclosing(engine.stream(prompt)) as deltas:
        async for delta in deltas:
            if not first and delta != Delta():
                first = time.monotonic()
            read = delta.usage.read if delta.usage else read
    return (first - began) * 1000, read


def _belonging(engine: Replicas, url: str, size: int) -> Callable[[str], Prompt]:
    """Makes prompts of a workspace that belongs to one engine."""
    workspace = next(name for name in map(str, range(1000)) if engine.order(name)[0] == url)

    def prompt(name: str) -> Prompt:
        lines = "".join(f"def total_{name[:3]}_{n}(items): return sum(items)\n" for n in range(size // 19))
        messages = (Message("system", f"{name} {time.time_ns() // 10**12} {size}"), Message("user", lines))
        return Prompt(messages, (), thinking=True, sampling=Sampling(0.0, None, 8), workspace=workspace)

    return prompt


async def _tokens(url: str) -> list[int]:
    connector = aiohttp.UnixConnector(url.removeprefix("unix:"))
    body = {"model": "glm-4.7", "prompt": " the sum of all items in this class, and more", "add_special_tokens": False}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post("http://engine/tokenize", json=body) as reply,
    ):
        found: list[int] = (await reply.json())["tokens"]
        return found
