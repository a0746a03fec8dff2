"""Who waits for whom at one engine: a person's first token beside background turns, and what the line costs a batch.

Never measures a model: the engine is the real vLLM with a tiny GLM-4.7, whose words are forced, on two CPU cores that
it shares with its clients. The background is a process of its own, as it would be.

The batch is four headless runs of sixteen turns each, which line up as four processes would; the bare client sends the
very same requests, all at once, and then as many at a time as the line lets through: the difference is what the slots
cost that are kept for people. Where the engine shares its processors with the client, tokens a second follow from the
CPU that both take, which is told too: it suffers less from what else the machine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import itertools
import json
import operator
import os
import resource
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil

from glm_lsp.cli import headless
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.local import process
from glm_lsp.engine.turnstile import HEADLESS
from glm_lsp.settings import EngineSettings, IndexSettings, Settings
from glm_lsp.terms import Ask, Message, Prompt, Sampling, Used
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glm_lsp.terms import Event

NAME = "fairness"
DOC = "a person's first token beside 24 background turns, and tokens a second of 64 headless turns, on a real engine"
PARTS = ("foreground", "batch")

SEATS = 24  # requests that the engine serves at a time
BACKGROUND = 24  # turns that are under way all the time
ASKED = 15  # times that the person asks
WRITTEN = 160  # tokens of a background reply
RUNS, FILES = 4, 16  # of the batch
LENGTHS = (120, 200, 280, 360)  # tokens of the replies, one for each run
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Order:
    """One way to keep order.

    Attributes:
        name: how the table calls it.
        limit: requests of this host at a time; 0 for no line.
        priority: of the background.
        background: how many turns there are beside.
    """

    name: str
    limit: int = 0
    priority: int = 0
    background: int = BACKGROUND


ORDERS = (
    Order("nothing beside", background=0),
    Order("line and priority", SEATS - 1, HEADLESS),
    Order("priority alone", 0, HEADLESS),
    Order("neither"),
)


def run(only: Sequence[str] = PARTS) -> dict[str, Any]:
    """Starts the engine once and measures what is asked for."""
    result: dict[str, Any] = {"seats": SEATS, "background": BACKGROUND}
    with tempfile.TemporaryDirectory() as folder, _engine(Path(folder)) as forced:
        words = asyncio.run(_words(forced.url, Path(textwrap.__file__).read_text(encoding="utf-8")[:8000]))
        if "foreground" in only:
            result["foreground"] = [_beside(forced.running.url, order, words) for order in ORDERS]
        if "batch" in only:
            result["batch"] = asyncio.run(_batch(forced, words, _project(Path(folder) / "work")))
    return result


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    rows: list[tuple[str, ...]] = [("what", "p50", "p95", "worst", "beside")]
    rows += [
        (
            f"first token, {row['order']}",
            *(f"{1000 * row[figure]:.0f} ms" for figure in ("p50_s", "p95_s", "worst_s")),
            f"{row['background_tokens_per_s']:.0f} background tokens/s",
        )
        for row in result.get("foreground", [])
    ]
    if batch := result.get("batch"):
        rows += [
            (
                f"batch, {row['client']}",
                f"{row['median']:.0f} tokens/s",
                f"{max(row['tokens_per_s']):.0f} at best",
                f"{row['of_ours']:.2f} of it is ours ({row['of_ours_by_cpu']:.2f} by CPU)",
                f"CPU: {row['cpu_s']:.1f} s in the client, {row['engine_cpu_s']:.1f} s in the engine",
            )
            for row in batch["clients"]
        ]
    return rows


# --- the engine --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _engine(folder: Path) -> Iterator[Any]:
    """The tests' own engine with room for `SEATS` and scheduling by priority, behind its relay; with a state of its own."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    server: Any = importlib.import_module("engine.server")  # the tests are no package of the product
    before = os.environ.get("GLM_LSP_STATE_DIR")
    try:
        launch = server.forced_launch(server.engine_python())
    except RuntimeError as error:
        sys.exit(f"{NAME}: {error}")
    flags = list(launch.flags)
    flags[flags.index("--max-num-seqs") + 1] = str(SEATS)
    launch = dataclasses.replace(launch, flags=(*flags, "--scheduling-policy", "priority"))
    os.environ["GLM_LSP_STATE_DIR"] = str(folder / "state")
    try:
        forced = server.ForcedEngine(server.start(launch, folder / "run"))
        yield forced
        forced.close()
    finally:
        process.stop(run=folder / "run")
        os.environ.pop("GLM_LSP_STATE_DIR")
        if before is not None:
            os.environ["GLM_LSP_STATE_DIR"] = before


async def _words(url: str, text: str) -> Words:
    """Tokens of a text, which should not repeat itself: a turn would rightly end such a reply."""

    async def tokens(text: str) -> list[int]:
        body = {"model": "glm-4.7", "prompt": text, "add_special_tokens": False}
        async with aiohttp.ClientSession() as session, session.post(f"{url}/tokenize", json=body) as reply:
            found: list[int] = (await reply.json())["tokens"]
            return found

    return Words(await tokens(text), await tokens("</think>"), await tokens("<|user|>"))


@dataclass(frozen=True, slots=True)
class Words:
    """What the model is made to say: tokens of a text, and those that end its thinking and its turn."""

    text: list[int]
    thought: list[int]
    end: list[int]

    def reply(self, length: int) -> dict[str, Any]:
        """The field of a request whose reply has this many tokens."""
        thinking = length // 3
        rest = length - thinking - len(self.thought) - len(self.end)
        said = self.text[:thinking] + self.thought + self.text[thinking : thinking + rest] + self.end
        return {"vllm_xargs": {"force_token_ids": said}}


# --- a person beside background turns ----------------------------------------------------------------------------


def _beside(url: str, order: Order, words: Words) -> dict[str, Any]:
    """Asks as a person while a process of its own keeps the engine busy."""
    asked = {
        "url": url,
        "priority": order.priority,
        "max_requests": order.limit,
        "extra_body": words.reply(WRITTEN),
    }
    command = [sys.executable, "-m", "benchmarks.fairness", json.dumps(asked), str(order.background)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as background:
        assert background.stdout is not None
        try:
            background.stdout.readline()  # all of it is under way
            began = time.monotonic()
            waits, places = asyncio.run(_as_a_person(url, order.limit, words))
            seconds = time.monotonic() - began
        finally:
            background.send_signal(signal.SIGTERM)
            written = int(background.stdout.readline() or 0)
    waits.sort()
    return {
        "order": order.name,
        "n": len(waits),
        "p50_s": statistics.median(waits),
        "p95_s": statistics.quantiles(waits, n=20, method="inclusive")[-1],
        "worst_s": waits[-1],
        "longest_line": max(places, default=0),
        "background_tokens_per_s": written / seconds,
    }


async def _as_a_person(url: str, limit: int, words: Words) -> tuple[list[float], list[int]]:
    """Seconds to each first token, and the places in line that were told."""
    engine = HttpEngine(EngineSettings(url=url, max_requests=limit, extra_body=words.reply(8)), environment={})
    await engine.connect()
    waits, places = [], []
    for _ in range(ASKED):
        await asyncio.sleep(0.7)
        began, first = time.monotonic(), 0.0
        async for delta in engine.stream(_question(300)):
            if delta.queued is not None:
                places.append(delta.queued)
            elif not first:
                first = time.monotonic() - began
        waits.append(first)
    await engine.close()
    return waits, places


def _question(words: int) -> Prompt:
    """A question that no other begins like, so that it has to be read."""
    text = " ".join(secrets.token_hex(2) for _ in range(words // 4))  # such a word has some four tokens
    return Prompt((Message("user", text),), (), thinking=True, sampling=Sampling(0.0, None, 1000))


async def _busy(settings: dict[str, Any], count: int) -> None:
    """Keeps `count` turns under way until it is told to end; then prints how many tokens were written."""
    engine = HttpEngine(EngineSettings(**settings), environment={})
    await engine.connect()
    written, begun = 0, 0
    warm, ending = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)

    async def one() -> None:
        nonlocal written, begun
        while True:
            begun += 1
            if begun > 2 * count:  # as many have ended, and the rest are at different places
                warm.set()
            before = 0
            async for delta in engine.stream(_question(600)):
                written += max(delta.written - before, 0)
                before = delta.written or before

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    if tasks:
        await warm.wait()
    print("busy", flush=True)
    written = 0
    await ending.wait()
    print(written, flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await engine.close()


# --- a batch -----------------------------------------------------------------------------------------------------


async def _batch(forced: Any, words: Words, workspace: Workspace) -> dict[str, Any]:
    """The same requests by headless runs and by a bare client, in turns."""
    forced.say(*["Nothing.</think>Nothing."] * (RUNS * FILES))
    await _runs(workspace, forced.url, [{}] * RUNS)  # through the relay, which keeps what was asked
    bodies = list(forced.requests)
    by_file = {name: body for body in bodies for number, name in enumerate(_names()) if _function(number) in str(body)}
    if len(by_file) != RUNS * FILES:
        raise RuntimeError("The turns asked for something else than one reply each.")
    clients = ("glm-lsp", "bare, all at once", "bare, as many at a time")
    speeds: dict[str, list[float]] = {client: [] for client in clients}
    spent = dict.fromkeys(clients, 0.0)
    engines = dict.fromkeys(clients, 0.0)
    tokens = set()
    # In turns, and another one first each time: what else the machine does then hits all alike.
    for number, at in itertools.product(range(REPEATS), range(len(clients))):
        client = clients[(number + at) % len(clients)]
        salt = {"cache_salt": secrets.token_hex(8)}  # nobody finds what another one has read
        extras = [words.reply(length) | salt for length in LENGTHS]
        before, engine, began = _cpu(), _cpu_of(forced.running.pid), time.monotonic()
        if client == clients[0]:
            written = await _runs(workspace, forced.running.url, extras, limit=SEATS - 1)
        else:
            asked = [by_file[file] | extras[number // FILES] for number, file in enumerate(_names())]
            at_a_time = len(asked) if client == clients[1] else SEATS - 2
            written = await _bare(forced.running.url, asked, at_a_time)
        speeds[client].append(written / (time.monotonic() - began))
        spent[client] += (_cpu() - before) / REPEATS
        engines[client] += (_cpu_of(forced.running.pid) - engine) / REPEATS
        tokens.add(written)
    if len(tokens) != 1:
        raise RuntimeError(f"The counts of tokens differ: {tokens}.")
    median = {client: statistics.median(speeds[client]) for client in clients}
    rows = [
        {
            "client": client,
            "tokens_per_s": speeds[client],
            "median": median[client],
            "of_ours": statistics.median(map(operator.truediv, speeds[clients[0]], speeds[client])),
            "of_ours_by_cpu": (spent[client] + engines[client]) / (spent[clients[0]] + engines[clients[0]]),
            "cpu_s": spent[client],
            "engine_cpu_s": engines[client],
        }
        for client in clients
    ]
    return {"clients": rows, "tokens": tokens.pop(), "turns": RUNS * FILES, "lengths": LENGTHS}


def _project(root: Path) -> Workspace:
    root.mkdir()
    for number, name in enumerate(_names()):
        body = f"def {_function(number)}:\n    return sum(item.price for item in items)\n"
        (root / name).write_text(body * 8, encoding="utf-8")
    # Without an index: what is measured is the turns, not how quickly files are read for the first time.
    return Workspace.open(root, Settings(index=IndexSettings(enabled=False)))


def _function(number: int) -> str:
    return f"total_{number}(items)"


def _names() -> list[str]:
    return [f"cart_{number:02}.py" for number in range(RUNS * FILES)]


async def _runs(workspace: Workspace, url: str, extras: list[dict[str, Any]], limit: int = 0) -> int:
    """Headless runs at the same time, a turn for each file; returns the tokens that were written."""
    written = 0

    def show(event: Event) -> None:
        nonlocal written
        if isinstance(event.what, Used):
            written += event.what.usage.written

    async def one(extra: dict[str, Any], files: tuple[str, ...]) -> None:
        engine = HttpEngine(
            EngineSettings(url=url, extra_body=extra, priority=HEADLESS, max_requests=limit), environment={}
        )
        await engine.connect()
        plan = headless.Plan(Ask("refactor", "Count quantities.", files, "on"), each_file=True, jobs=FILES)
        done = await headless.run(plan, workspace, engine, show, print)
        if any(turn.ended.reason != "done" for turn in done.turns):
            raise RuntimeError(f"A turn went wrong: {done.turns[0].ended}")
        await engine.close()

    files = iter(_names())
    shares = [(extra, tuple(itertools.islice(files, FILES))) for extra in extras]
    async with asyncio.TaskGroup() as group:
        for extra, share in shares:
            group.create_task(one(extra, share))
    return written


async def _bare(url: str, bodies: list[dict[str, Any]], at_a_time: int) -> int:
    """The requests, read line by line, each decoded with the standard library; returns the tokens that were written."""
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.UnixConnector(url.removeprefix("unix:"), limit=0)
    slots = asyncio.Semaphore(at_a_time)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def one(body: dict[str, Any]) -> int:
            written = 0
            async with slots, session.post("http://engine/v1/chat/completions", json=body) as reply:
                reply.raise_for_status()
                async for line in reply.content:
                    if line.startswith(b"data: {"):
                        usage = json.loads(line[6:]).get("usage") or {}
                        written = usage.get("completion_tokens", written)
            return written

        return sum(await asyncio.gather(*(one(body) for body in bodies)))


def _cpu_of(pid: int) -> float:
    """Seconds of the processor that the engine has taken, with all of its processes."""
    engine = psutil.Process(pid)
    used = [each.cpu_times() for each in (engine, *engine.children(recursive=True))]
    return sum(each.user + each.system for each in used)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asyncio.run(_busy(json.loads(sys.argv[1]), int(sys.argv[2])))
