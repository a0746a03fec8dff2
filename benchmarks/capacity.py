"""How many developers a set of GPUs serves, simulated: turns, a shared engine, and a KV cache that is too small or not.

Never measures an engine: every speed in `SPEEDS` is an estimate made from public measurements of neighbouring set-ups.
What is computed exactly is the KV cache's size, which comes from the planner.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import Any

from glm_lsp.engine.local import hardware, plan
from glm_lsp.engine.local.serving import Wishes

NAME = "capacity"
DOC = "Developers served by a set of GPUs: a simulation with estimated speeds, to see what limits and where it breaks."

GOOD_TTFT = 3.0
"""Seconds that 95 of 100 requests may take to their first token."""
GOOD_SPEED = 25.0
"""Tokens a second that half of the replies must exceed; a person reads about ten."""
CROWDS = (*range(1, 16), *range(16, 32, 2), *range(32, 64, 4), *range(64, 257, 8))
WARM_UP, MEASURED = 1800.0, 4 * 3600.0
CHUNK = 8192
"""Tokens that vLLM reads in one step at most: its default for a server on GPUs with 70 GiB or more."""

RELOADED = 200_000
"""Tokens a second that come back from the host's memory, an estimate: 380 KB each over four PCIe links of 20 GB/s."""


@dataclass(frozen=True)
class Speed:
    """One engine's speed, an estimate.

    Attributes:
        step: seconds for one token of each reply, with a single reply under way.
        each: seconds that every further reply adds to that.
        reading: tokens of a prompt read in a second.
    """

    step: float
    each: float
    reading: float


SPEEDS: dict[str, Speed] = {
    "4xH200": Speed(0.0125, 0.00040, 12_000),
    "8xH200": Speed(0.0110, 0.00025, 20_000),
    "8xH100": Speed(0.0115, 0.00028, 18_000),
    "8xA100-80": Speed(0.0150, 0.00045, 5_000),
    "4xB200": Speed(0.0110, 0.00030, 18_000),
    "1xH100": Speed(0.0070, 0.00020, 20_000),
}
"""Estimates. The anchors, all public: GLM-4.6 in BF16 on 8xB200 with SGLang takes 14.9, 25 and 47 ms a token at 1, 16 and
64 replies at once, so half a millisecond each; GLM-4.6 on 8xH200 with vLLM goes from 47 to 74 tokens a second with MTP
(vllm#25993), a factor of 1.55, by which `each` was shortened too; GLM-4.6-FP8 on 4xH200 reads and writes 12,200 tokens a
second at 32K prompts when saturated (gpustack). The others are scaled from these by memory bandwidth and arithmetic, no
better than that; A100 widens FP8 weights to BF16, and 1xH100 serves GLM-4.7-Flash."""


@dataclass(frozen=True)
class Work:
    """What the developers do; seconds and tokens.

    Attributes:
        turns: turns an hour that each developer starts, as fast as the last one has ended.
        context: tokens at which a conversation is made shorter.
        reuse: share of the earlier prompt that the cache can serve, when it still holds it.
        steps: requests in a turn, on average: thinking, tool call, its result, and so on.
        news: new tokens that each request reads: the question, a file, a tool's result.
        reply: tokens that each request writes.
        tool: seconds that a tool takes.
        head: tokens that a conversation begins with.
    """

    turns: float = 12
    context: int = 65_536
    reuse: float = 0.99
    steps: int = 6
    news: int = 1500
    reply: int = 300
    tool: float = 2.0
    head: int = 6000


@dataclass
class Request:
    """One request on its way through the engine."""

    developer: int
    prompt: int
    reply: int
    sent: float
    unread: int = 0
    left: int = 0
    first: float = 0.0


@dataclass
class Engine:
    """An engine that reads and writes in steps; its cache keeps whole conversations, the least recent leaves first."""

    speed: Speed
    room: int
    reuse: float
    now: float = 0.0
    waiting: deque[Request] = field(default_factory=deque)
    reading: deque[Request] = field(default_factory=deque)
    writing: list[Request] = field(default_factory=list)
    kept: OrderedDict[int, int] = field(default_factory=OrderedDict)
    shelf: int = 0  # tokens that the host's memory holds besides
    shelved: OrderedDict[int, int] = field(default_factory=OrderedDict)
    asked: int = 0
    served: int = 0

    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.reading or self.writing)

    def advance(self, until: float) -> list[Request]:
        """Works until something ends or `until` is reached; returns the requests that ended."""
        self._admit()
        if self.reading:
            return self._step(1)
        if not self.writing:
            self.now = until
            return []
        step = self.speed.step + self.speed.each * (len(self.writing) - 1)
        whole = max(1, int((until - self.now) / step))
        return self._step(min(whole, *(request.left for request in self.writing)))

    def _step(self, count: int) -> list[Request]:
        budget, read = CHUNK, 0
        begun: list[Request] = []
        while self.reading and budget:
            part = min(budget, self.reading[0].unread)
            self.reading[0].unread -= part
            budget, read = budget - part, read + part
            if not self.reading[0].unread:
                begun.append(self.reading.popleft())
        decoding = self.speed.step + self.speed.each * (len(self.writing) - 1) if self.writing else 0.0
        self.now += count * decoding + read / self.speed.reading
        for request in self.writing:
            request.left -= count
        for request in begun:
            request.first = self.now
        ended = [request for request in self.writing if request.left <= 0]
        self.writing = [request for request in self.writing if request.left > 0] + begun
        for request in ended:
            self.kept[request.developer] = request.prompt + request.reply
            self.kept.move_to_end(request.developer)
        return ended

    def _admit(self) -> None:
        """Lets waiting requests in, in order, while the cache has room for all that is under way."""
        while self.waiting:
            request = self.waiting[0]
            active = sum(one.prompt + one.reply for one in (*self.reading, *self.writing))
            if active + request.prompt + request.reply > self.room and active:
                return
            self.waiting.popleft()
            held, back = self.kept.pop(request.developer, 0), self.shelved.pop(request.developer, 0)
            reload = 0 if held else back
            held = min(held or back, request.prompt)
            active += request.prompt + request.reply
            while self.kept and active + sum(self.kept.values()) > self.room:
                who, tokens = self.kept.popitem(last=False)
                self.shelved[who] = tokens
                while sum(self.shelved.values()) > self.shelf:
                    self.shelved.popitem(last=False)
            cached = int(held * self.reuse)
            self.asked += request.prompt
            self.served += cached
            request.unread = max(1, request.prompt - cached) + int(reload * self.speed.reading / RELOADED)
            request.left = request.reply
            self.reading.append(request)


def simulate(
    speed: Speed,
    room: int,
    engines: int,
    developers: int,
    work: Work,
    *,
    shelf: int = 0,
    seed: int = 1,
    seconds: float = MEASURED,
) -> dict[str, float]:
    """One crowd at work for a while; each developer stays with one engine, the fullest cache being of no use elsewhere.

    Returns:
        Seconds to the first token (median and 95 of 100), tokens a second of a reply, the share that the cache served.
    """
    dice = random.Random(seed)
    hosts = [Engine(speed, room, work.reuse, shelf=shelf) for _ in range(engines)]
    context = dict.fromkeys(range(developers), work.head)
    left: dict[int, int] = {}
    gap = 3600 / work.turns
    due = [(dice.expovariate(1 / gap), developer) for developer in range(developers)]
    heapq.heapify(due)
    ttft: list[float] = []
    speeds: list[float] = []
    warm = WARM_UP * min(1.0, seconds / MEASURED)
    end = warm + seconds
    while True:
        next_due = due[0][0] if due else end
        active = [host for host in hosts if host.busy()]
        behind = min(active, key=lambda host: host.now, default=None)
        if behind is None or next_due <= behind.now:
            if next_due >= end:
                break
            at, developer = heapq.heappop(due)
            host = hosts[developer % engines]
            if not host.busy():
                host.now = max(host.now, at)
            if not left.get(developer):
                left[developer] = 1 + min(int(dice.expovariate(1 / max(work.steps - 1, 0.1))), 60)
            if context[developer] > work.context:
                context[developer] = work.head
                host.kept.pop(developer, None)
                host.shelved.pop(developer, None)  # what is shorter now is another prompt
            news = int(dice.lognormvariate(0, 0.8) * work.news / 1.377)  # 1.377 is that distribution's mean
            reply = 20 + int(dice.expovariate(1 / work.reply))
            host.waiting.append(Request(developer, context[developer] + news, reply, at))
            continue
        if behind.now >= end:
            break
        for request in behind.advance(min(next_due, end)):
            context[request.developer] = request.prompt + request.reply
            if request.sent >= warm:
                ttft.append(request.first - request.sent)
                speeds.append(request.reply / max(behind.now - request.first, 1e-9))
            left[request.developer] -= 1
            pause = dice.expovariate(1 / (work.tool if left[request.developer] else gap))
            heapq.heappush(due, (behind.now + pause, request.developer))
    asked, served = sum(h.asked for h in hosts), sum(h.served for h in hosts)
    return {
        "ttft_p50": statistics.median(ttft) if ttft else float("inf"),
        "ttft_p95": statistics.quantiles(ttft, n=20)[-1] if len(ttft) > 1 else float("inf"),
        "tokens_per_second": statistics.median(speeds) if speeds else 0.0,
        "cached": served / asked if asked else 0.0,
        "requests": float(len(ttft)),
    }


def most(gpus: str, engines: int, work: Work, offload: int = 0) -> dict[str, Any]:
    """The largest crowd that is served well, with its figures, and what went wrong with the next one."""
    made = plan.make(hardware.parse(gpus), wishes=Wishes(replicas=engines if engines > 1 else None, kv_offload=offload))
    speed = SPEEDS["4xH200"] if engines == 2 and gpus == "8xH200" else SPEEDS[gpus]
    good, good_crowd, limit = None, 0, f"more than {CROWDS[-1]} were not tried"
    for crowd in CROWDS:
        found = simulate(speed, made.memory.tokens, made.engines, crowd, work, shelf=made.memory.offloaded_tokens)
        if found["ttft_p95"] > GOOD_TTFT or found["tokens_per_second"] < GOOD_SPEED:
            limit = (
                f"{found['ttft_p95']:.1f} s to the first token, {found['tokens_per_second']:.0f} tokens/s, "
                f"{found['cached']:.0%} cached at {crowd}"
            )
            break
        good, good_crowd = found, crowd
    return {
        "gpus": gpus,
        "model": made.model.name,
        "engines": made.engines,
        "cache_tokens": made.memory.tokens * made.engines,
        "offload_gib": offload,
        "turns_per_hour": work.turns,
        "context": min(work.context, made.max_len),
        "reuse": work.reuse,
        "developers": good_crowd,
        "figures": {name: round(value, 3) for name, value in good.items()} if good else None,
        "breaks": limit,
    }


def run() -> dict[str, Any]:
    """Every set of GPUs at the usual work, then 4xH200 with one thing changed at a time."""
    usual = Work()
    changed = [
        *(replace(usual, turns=turns) for turns in (6, 30)),
        *(replace(usual, context=context) for context in (32_768, 131_072)),
        *(replace(usual, reuse=reuse) for reuse in (0.9, 0.5, 0.0)),
    ]
    rows = [most(gpus, 1, usual) for gpus in SPEEDS]
    rows.insert(2, most("8xH200", 2, usual))
    rows += [most("4xH200", 1, work) for work in changed]
    rows.append(most("4xH200", 1, usual, offload=400))
    return {
        "benchmark": NAME,
        "simulated": True,
        "good": {"ttft_p95_s": GOOD_TTFT, "tokens_per_second_p50": GOOD_SPEED},
        "seconds_simulated": MEASURED,
        "results": rows,
        "note": "Simulated with estimated speeds; only the cache sizes are computed. Measure yours before you buy.",
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    head = ("GPUs", "engines", "cache", "turns/h", "context", "reuse", "developers", "p95 s", "tok/s", "breaks with")
    rows: list[tuple[str, ...]] = [head]
    for row in result["results"]:
        figures = row["figures"] or {"ttft_p95": float("nan"), "tokens_per_second": float("nan")}
        rows.append(
            (
                row["gpus"] + (" (Flash)" if row["model"].endswith("Flash") else ""),
                str(row["engines"]),
                f"{row['cache_tokens'] / 1e6:.2f} M" + (f" + {row['offload_gib']} GiB" if row["offload_gib"] else ""),
                f"{row['turns_per_hour']:g}",
                f"{row['context']:,}",
                f"{row['reuse']:.0%}",
                str(row["developers"]),
                f"{figures['ttft_p95']:.1f}",
                f"{figures['tokens_per_second']:.0f}",
                row["breaks"],
            )
        )
    return rows
