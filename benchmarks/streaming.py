"""Tokens a second and CPU a token of a streamed reply, beside a bare HTTP client on the same stream.

Never includes start-up: every consumer is a command that is run on a short and on a long reply, and what is reported
is the difference.

The server is a process of its own that sends what vLLM sends, one event and one HTTP chunk a token, either at 100
tokens a second and stream or as fast as it is read. The address says how many tokens: `http://HOST/tokens/N/paced`.
With `stamped` it is paced, each token is the monotonic time of its writing in µs and a space, and `http://HOST/closed`
tells when clients hung up inside such a stream.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "streaming"
DOC = "tokens/s and CPU per token through `refactor --output ndjson`, beside a bare HTTP client on the same stream"

PACE = 100  # tokens a second and stream, as a large model on its own GPUs gives
LENGTHS = {"unpaced": (20_000, 220_000), "paced": (50, 850)}  # tokens of a run, all streams together if unpaced
ROUNDS = {"unpaced": 5, "paced": 3}
CONSUMERS = ("refactor", "client", "bare")


def run() -> dict[str, Any]:
    """Measures every consumer, unpaced and paced, with 1 and 32 streams."""
    rows = []
    with server() as address:
        for pace in LENGTHS:
            for streams in (1, 32):
                measured = compare(address, pace, streams)
                for name, figures in measured.items():
                    ratio = figures["tokens_per_s"] / measured["bare"]["tokens_per_s"]
                    rows.append(
                        {"pace": pace, "streams": streams, "consumer": name, **figures, "of_bare": round(ratio, 3)}
                    )
    return {"rows": rows, "pace": PACE}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    rows: list[tuple[str, ...]] = [("server", "streams", "consumer", "tokens/s", "of bare", "CPU µs/token")]
    rows += [
        (
            row["pace"],
            str(row["streams"]),
            row["consumer"],
            f"{row['tokens_per_s']:,.0f}",
            f"{row['of_bare']:.2f}",
            f"{row['cpu_us_per_token']:.1f}",
        )
        for row in result["rows"]
    ]
    return rows


def command(name: str, url: str, streams: int) -> list[str]:
    """The command that reads `streams` replies at once from `url` and ends; another consumer is another branch here."""
    if name == "refactor":
        files = [f"{number}.py" for number in range(streams)]
        batch = ["--each", "file", "--jobs", str(streams), "--output", "ndjson", "--root", str(workspace(files))]
        return [str(Path(sys.executable).with_name("glm-lsp")), "refactor", "Hello", *files, "--engine", url, *batch]
    return [sys.executable, __file__, "read", name, url, str(streams)]


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


def workspace(files: Sequence[str]) -> Path:
    """A workspace with small files of these names, one for each stream, outside any repository."""
    for name in files:
        (_folder() / name).write_text("x = 1\n")
    return _folder()


@dataclass(frozen=True)
class Spent:
    """Wall and CPU seconds of one whole command."""

    wall: float
    cpu: float


def spend(argv: Sequence[str]) -> Spent:
    """Runs a command to its end and says what it took, all its threads and system time included."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for already, which Popen cannot know
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    return Spent(wall, usage.ru_utime + usage.ru_stime)


def compare(address: str, pace: str, streams: int) -> dict[str, dict[str, float]]:
    """Measures all consumers in turns, so that a busy moment of the machine meets them all; gives the medians."""
    short, long = LENGTHS[pace]
    if pace == "unpaced":
        short, long = short // streams, long // streams
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONSUMERS}
    for _ in range(ROUNDS[pace]):
        for name in CONSUMERS:
            less, more = (spend(command(name, f"{address}/tokens/{count}/{pace}", streams)) for count in (short, long))
            tokens = (long - short) * streams
            found[name].append((tokens / (more.wall - less.wall), (more.cpu - less.cpu) / tokens * 1e6))
    return {
        name: {
            "tokens_per_s": round(sorted(rate for rate, _ in runs)[len(runs) // 2], 1),
            "cpu_us_per_token": round(sorted(cpu for _, cpu in runs)[len(runs) // 2], 2),
        }
        for name, runs in found.items()
    }


# --- the consumers, each in a process of its own -----------------------------------------------------------------


async def read_with_client(url: str, streams: int) -> int:
    """Counts the characters that our client hands on."""
    from glm_lsp.engine.client import HttpEngine
    from glm_lsp.settings import EngineSettings
    from glm_lsp.terms import Message, Prompt, Sampling

    engine = HttpEngine(EngineSettings(url=url))
    prompt = Prompt((Message("user", "Hello"),), (), thinking=True, sampling=Sampling(0.0, None, 16_384))
    await engine.connect()

    async def one() -> int:
        return sum([len(delta.text) + len(delta.thinking) async for delta in engine.stream(prompt)])

    counted = await asyncio.gather(*(one() for _ in range(streams)))
    await engine.close()
    return sum(counted)


async def read_bare(url: str, streams: int) -> int:
    """Counts the characters the plain way: line by line, each decoded with the standard library."""
    import aiohttp

    async def one(session: aiohttp.ClientSession) -> int:
        counted = 0
        async with session.post(f"{url}/v1/chat/completions", json={"stream": True}) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        delta = choice["delta"]
                        counted += len(delta.get("content") or "") + len(delta.get("reasoning") or "")
        return counted

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        return sum(await asyncio.gather(*(one(session) for _ in range(streams))))


# --- the server --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Runs the server in a process of its own and yields its address."""
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """One event as vLLM 0.32 spells it, in an HTTP chunk of its own."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
    body = {"id": "chatcmpl-8f3a2c61", "object": "chat.completion.chunk", "created": 1, "model": "glm-4.7"}
    usage = {
        "prompt_tokens": 31_880,
        "total_tokens": 32_492,
        "completion_tokens": 612,
    }  # as our client asks vLLM for it
    return _chunk(
        b"data: " + json.dumps(body | {"choices": [choice], "usage": usage}, separators=(",", ":")).encode() + b"\n\n"
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# Numbered, so that the stream is no loop of one short stretch, which a turn would rightly end.
_WORDS = ("The", " value", " of", " `total`", " is", " a", " sum", ",\n", "    return", " x", " +", " 1")
_TOKENS = [_event({("reasoning", "content")[number % 2]: f"{word}{number}"}) for number in range(20) for word in _WORDS]
_BLOCK = 240  # tokens written at once when nobody holds us back; a multiple of the script's length


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
            )
            body = await reader.readexactly(length)
            path = head.split(" ")[1]
            if path == "/closed":
                answer = json.dumps(_closed).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
                continue
            if not path.endswith("/chat/completions"):
                card = {"id": "glm-4.7", "owned_by": "vllm", "max_model_len": 202_752}
                answer = json.dumps({"data": [card], "version": "0.32.0"}).encode()
                head_of = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(head_of % len(answer) + answer)
                continue
            _, _, count, pace, *_ = path.split("/")
            asked = json.loads(body).get("max_completion_tokens")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            if pace == "stamped" and asked != 1:
                if not await _stamp(reader, writer, int(count)):
                    break
            else:
                await _stream(writer, 1 if asked == 1 else int(count), paced=pace == "paced")
            writer.write(_event({}, "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            await writer.drain()
    writer.close()


async def _stream(writer: asyncio.StreamWriter, count: int, *, paced: bool) -> None:
    if paced:
        start = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / PACE - time.perf_counter()))
            if writer.is_closing():
                raise ConnectionResetError  # nobody reads any more
            writer.write(_TOKENS[number % len(_TOKENS)])
        return
    block = b"".join(_TOKENS) * (_BLOCK // len(_TOKENS))
    for _ in range(count // _BLOCK):
        writer.write(block)
        await writer.drain()
    writer.write(b"".join(_TOKENS[number % len(_TOKENS)] for number in range(count % _BLOCK)))


_closed: list[float] = []  # monotonic seconds at which a client hung up inside a stamped stream


async def _stamp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> bool:
    """Sends tokens that say when they were written; says whether the client stayed."""
    gone = asyncio.ensure_future(_hung_up(reader))
    start = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / PACE - time.perf_counter()))
        if gone.done():
            return False
        writer.write(_event({"content": f"{time.monotonic_ns() // 1000} "}))
    gone.cancel()
    return True


async def _hung_up(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read(1)
    _closed.append(time.monotonic())


async def _serve_until_stopped() -> None:
    listening = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=256)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_serve_until_stopped())
        case ["read", name, url, streams]:
            reader = {"client": read_with_client, "bare": read_bare}[name]
            print(asyncio.run(reader(url, int(streams))))
