"""The real test engine: vLLM with the tiny GLM-4.7, started by the product's own launcher, behind a relay.

Never answers in the engine's place: the relay adds what is to be said to each request and passes the stream through.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from glm_lsp import settings
from glm_lsp.engine.local import choosing, install, models, process
from glm_lsp.engine.local.serving import Wishes

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "test-engine"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
PARSERS = ("--tool-call-parser", "glm47", "--reasoning-parser", "glm45", "--enable-auto-tool-choice")
STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")


def engine_python() -> Path:
    """The interpreter with vLLM; fails with what to do where there is none."""
    python = install.find_python(settings.load())
    if python is None:
        raise RuntimeError(
            "The real test engine needs vLLM's CPU build: run `make setup` (or `glm-lsp engine install`)."
        )
    return python


def tiny_glm(python: Path, *, mtp: bool = False) -> Path:
    """The tiny checkpoint's folder; made when the script that makes it has changed."""
    script = HERE / "checkpoint.py"
    key = hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"tiny-glm-{key}{'-mtp' if mtp else ''}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=CACHE))
        command = [str(python), str(script), str(part), *(["--mtp"] if mtp else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT)
        if done.returncode != 0:
            raise RuntimeError(f"The tiny checkpoint could not be made:\n{done.stderr[-2000:]}")
        if not folder.exists():
            part.rename(folder)
        shutil.rmtree(part, ignore_errors=True)
    return folder


CONTEXT = 32768
"""Tokens that the tiny checkpoint is made for."""


def forced_launch(python: Path, context: int = CONTEXT) -> process.Launch:
    """The tiny GLM-4.7 that says what it is told; it can be made to read more than it is made for."""
    return process.Launch(
        python=python,
        model=str(tiny_glm(python)),
        served_name="glm-4.7",
        label="tiny GLM-4.7",
        flags=(
            *("--dtype", "bfloat16", "--max-model-len", str(context), "--max-num-seqs", "8", "--block-size", "32"),
            *PARSERS,
            *("--enable-prompt-tokens-details", "--enforce-eager", "--logits-processors", "forced:ForcedTokens"),
        ),
        environment=ENVIRONMENT | {"PYTHONPATH": str(HERE), "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"},
    )


def whole_command_launch(python: Path) -> process.Launch:
    """What `glm-lsp engine start --model FOLDER` starts, with MTP and two workers, on two CPU cores."""
    model = replace(models.from_folder(tiny_glm(python, mtp=True)), served="glm-4.7-fp8")
    bound = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}
    choice = choosing.on_processor(model, Wishes(max_len=4096, socket=""), python, environment=bound)
    return choice.launches[0]


def tool_call(name: str, **arguments: Any) -> str:
    """A tool call in GLM's own form: strings as they are, everything else as JSON."""
    pairs = (
        f"<arg_key>{key}</arg_key><arg_value>"
        f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}</arg_value>"
        for key, value in arguments.items()
    )
    return f"<tool_call>{name}{''.join(pairs)}</tool_call>"


_BEGINNING = 12  # events of a streamed reply that `hold` lets through: some words, and not only who speaks


class ForcedEngine:
    """A running engine, and the relay that makes it say what the test wants.

    With thinking on, a reply begins inside the thinking, as GLM's prompt ends with `<think>`:

        engine.say("look first</think>" + tool_call("read_file", path="a.py"))
        engine.say("done</think>Renamed it.")
        …the product is pointed at engine.url…
        assert engine.requests[1]["messages"][-1]["role"] == "tool"

    With thinking off it begins with the answer. The stop token that GLM would draw is added where none is given:
    `<|observation|>` after a tool call, else `<|user|>`.

    Attributes:
        url: where the product should go.
        requests: the bodies of the chat requests so far, as the product sent them, oldest first.
        replies: what vLLM streamed to each, raw; a refused one has none.
        refused: how many chat requests came when nothing was left to say; each got a 400.
    """

    model = "glm-4.7"

    def __init__(self, running: process.Running) -> None:
        self.running = running
        self.requests: list[dict[str, Any]] = []
        self.replies: list[bytearray] = []
        self.refused = 0
        self._script: deque[str | list[int]] = deque()
        self._scripts: dict[str, deque[str | list[int]]] = {}
        self._first: asyncio.Barrier | None = None
        self._held: asyncio.Event | None = None
        self._socket = running.url.removeprefix("unix:")
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="relay", daemon=True)
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("The relay did not start.")

    def say(self, *replies: str | list[int], to: str = "") -> None:
        """Queues what the next chat requests will be answered with, in order; a list is the very tokens to say.

        With `to` only requests that contain these words are, where several ask at the same time.
        """
        (self._scripts.setdefault(to, deque()) if to else self._script).extend(replies)

    def meet(self, count: int) -> None:
        """Holds the next requests back until there are `count` of them, which are then answered side by side."""
        self._first = asyncio.Barrier(count)

    def hold(self) -> None:
        """Lets replies begin and no more, but for those that `to` is about, until `release`."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Lets go of what was held back."""
        if (held := self._held) is not None:
            self._held = None
            self._loop.call_soon_threadsafe(held.set)

    @property
    def unsaid(self) -> tuple[str | list[int], ...]:
        """What was queued and not asked for."""
        return (*self._script, *(reply for script in self._scripts.values() for reply in script))

    def reset(self) -> None:
        """Forgets the queue and the records."""
        self._script.clear()
        self._scripts.clear()
        self._first = None
        self.release()
        self.requests.clear()
        self.replies.clear()
        self.refused = 0

    def close(self) -> None:
        """Ends the relay; the engine runs on."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(30)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._relay())
        finally:
            self._loop.close()

    async def _relay(self) -> None:
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        connector = aiohttp.UnixConnector(self._socket)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._upstream:
            # A client that goes away cancels its handler, which closes the connection to vLLM: aborts are passed on.
            runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            self.url = f"http://127.0.0.1:{port}"
            self._ready.set()
            await self._closing.wait()
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        chat = held = None
        said = bytearray()
        if request.method == "POST" and request.path == "/v1/chat/completions":
            chat = json.loads(body)
        if chat is not None and not self._is_probe(chat):
            self.requests.append(chat)
            if (barrier := self._first) is not None:
                async with asyncio.timeout(60):
                    await barrier.wait()
                self._first = None
            script = next((own for words, own in self._scripts.items() if own and words in body.decode()), self._script)
            if not script:
                self.refused += 1
                message = "The test has nothing left to say: one more engine.say(...), or one request too many."
                return web.json_response({"error": {"message": message, "code": 400}}, status=400)
            wanted = script.popleft()
            held = self._held if script is self._script else None
            tokens = wanted if isinstance(wanted, list) else await self._tokens(wanted)
            chat = chat | {"vllm_xargs": {"force_token_ids": tokens}}
            self.replies.append(said)
            body = json.dumps(chat).encode()
        headers = {
            k: v for k, v in request.headers.items() if k.lower() not in {"host", "content-length", "connection"}
        }
        async with self._upstream.request(
            request.method, f"http://engine{request.path_qs}", data=body, headers=headers
        ) as got:
            kept = {"content-type", "retry-after", "cache-control", "x-request-id"}
            reply = web.StreamResponse(
                status=got.status, headers={k: v for k, v in got.headers.items() if k.lower() in kept}
            )
            await reply.prepare(request)
            async for chunk in got.content.iter_any():
                said += chunk
                await reply.write(chunk)
                if held is not None and said.count(b"data: ") > _BEGINNING:
                    await held.wait()
            await reply.write_eof()
            return reply

    @staticmethod
    def _is_probe(chat: dict[str, Any]) -> bool:
        """Whether a client only asks what the server can do; such a request of one token is answered freely."""
        return 1 in {chat.get("max_tokens"), chat.get("max_completion_tokens")}

    async def _tokens(self, text: str) -> list[int]:
        """Encodes a reply with the checkpoint's tokenizer, which knows `</think>` and the rest as single tokens."""
        if not text.endswith(STOPS):
            text += "<|observation|>" if text.rstrip().endswith("</tool_call>") else "<|user|>"
        body = {"model": self.model, "prompt": text, "add_special_tokens": False}
        async with self._upstream.post("http://engine/tokenize", json=body) as reply:
            reply.raise_for_status()
            tokens: list[int] = (await reply.json())["tokens"]
            return tokens


def start(launch: process.Launch, run: Path, policy: process.Policy = process.Policy()) -> process.Running:  # noqa: B008 - frozen
    """Starts an engine and waits until it answers; says on standard error how far it is."""
    running = process.launch_detached(launch, run=run, policy=policy)
    stage = ""
    for progress in process.wait(running, run=run):
        if progress.stage != stage:
            stage = progress.stage
            sys.stderr.write(f"[{launch.label}: {progress}]\n")
    return running
