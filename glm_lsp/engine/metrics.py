"""What an engine does, seen by what it counts: tokens a second, times, queue, cache, memory.

Never guesses: what a server does not tell is None, and no figure between two samples is negative.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from glm_lsp.engine.connection import FAILURES, Connection, plain
from glm_lsp.engine.counters import Counted, Sample, parse
from glm_lsp.engine.reply import silence
from glm_lsp.errors import CannotDo, EngineError, GlmError, MalformedReply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from glm_lsp.settings import EngineSettings

PATIENCE = 3.0
"""Seconds for one page: a server that is well answers in some milliseconds, also under load."""

MINUTE = 60.0
"""Seconds that the figures of `View.minute` cover at most."""

State = Literal["ready", "asleep", "down"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a stretch of time came to; shares are from 0 to 1, and None stands for what is not known or did not occur.

    Attributes:
        seconds: how long it was.
        written: tokens of replies.
        read: tokens of prompts.
        written_per_s: the first by the second.
        read_per_s: likewise.
        requests: that ended.
        preempted: requests that had to start again for want of memory.
        reused: share of the prompts that the prefix cache had.
        accepted: share of the drafted tokens that were taken (MTP).
        accepted_length: tokens that a step brought, the drafted ones included (MTP).
        first_token_p50_s: half of the requests had their first token in this time.
        first_token_p95_s: 95 of 100 had.
        between_tokens_p50_s: half of the tokens came this long after the one before.
        between_tokens_p95_s: 95 of 100 did.
    """

    seconds: float | None = None
    written: float | None = None
    read: float | None = None
    written_per_s: float | None = None
    read_per_s: float | None = None
    requests: float | None = None
    preempted: float | None = None
    reused: float | None = None
    accepted: float | None = None
    accepted_length: float | None = None
    first_token_p50_s: float | None = None
    first_token_p95_s: float | None = None
    between_tokens_p50_s: float | None = None
    between_tokens_p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this host, as its driver sees it; `busy` is the share of the last moments in which it worked."""

    name: str
    used_bytes: int
    total_bytes: int
    busy: float | None = None


@dataclass(frozen=True, slots=True)
class View:
    """All there is to see of an engine at one moment; the names are those of the lines that `top --json` writes.

    Attributes:
        at: when, in seconds since 1970.
        state: `down` where it did not answer; then only `where`, `error` and `hint` say something.
        where: its address, as it may be shown.
        kind: the id of its dialect.
        model: its name for the model.
        up_s: seconds since it was started.
        running: requests that are being served.
        waiting: requests in line.
        waiting_why: the same by reason.
        kv: share of the KV cache that is taken.
        memory_bytes: of its processes, or of the one that answers where it is not this host's own.
        gpus: of this host, where the engine runs here.
        now: since the sample before.
        minute: the last minute, or as long as has been looked.
        ever: since the server was started.
        error: why it did not answer.
        hint: one thing to do about that.
    """

    at: float
    state: State
    where: str = ""
    kind: str = ""
    model: str = ""
    up_s: float | None = None
    running: float | None = None
    waiting: float | None = None
    waiting_why: dict[str, float] = dataclasses.field(default_factory=dict)
    kv: float | None = None
    memory_bytes: float | None = None
    gpus: tuple[Gpu, ...] = ()
    now: Figures = Figures()
    minute: Figures = Figures()
    ever: Figures = Figures()
    error: str = ""
    hint: str = ""


class Watch:
    """Looks at one engine again and again, and keeps the samples of the last minute.

    An engine that is away is looked for anew each time, so it may be started, stopped and moved meanwhile.

    Args:
        settings: where it is; empty for this host's own, or for the first of the replicas.
        environment: where the key is looked up if it comes from a variable.
    """

    def __init__(self, settings: EngineSettings, *, environment: Mapping[str, str] = os.environ) -> None:
        self._settings, self._environment = settings, environment
        self._page: _Page | None = None
        self._kept: deque[Sample] = deque()

    async def look(self, *, patience: float = PATIENCE) -> View:
        """Takes a sample, and says what is to be seen by it and those before.

        Args:
            patience: seconds after which a server that says nothing counts as hung.

        Raises:
            EngineError: it is not there, hangs, wants another key, or offers no metrics.
            SettingsError: the address or the key cannot be one.
        """
        try:
            if self._page is None:
                self._page = _Page(await asyncio.to_thread(_located, self._settings), self._environment)
            sample = await self._page.sample(patience)
        except GlmError:
            await self.close()
            raise
        is_own = not self._settings.url and not self._settings.replicas
        own = await asyncio.to_thread(_own_memory) if is_own else None
        here = not self._page.host or self._page.host in {"localhost", "127.0.0.1", "::1"}
        seen = self.add(sample)
        return dataclasses.replace(
            seen,
            where=self._page.where,
            memory_bytes=own or sample.memory,
            gpus=await asyncio.to_thread(gpus) if here else (),
        )

    def add(self, sample: Sample) -> View:
        """Takes a sample from elsewhere; what is known of a server before its restart is forgotten."""
        kept = self._kept
        if kept and not _goes_on(kept[-1], sample):
            kept.clear()
        while kept and sample.at - kept[0].at > MINUTE:
            kept.popleft()
        before = kept[-1] if kept else None
        first = kept[0] if kept else None
        kept.append(sample)
        up = sample.at - sample.started if sample.started is not None and sample.started <= sample.at else None
        return View(
            at=sample.at,
            state="asleep" if sample.asleep else "ready",
            kind=sample.kind,
            model=sample.model,
            up_s=up,
            running=sample.running,
            waiting=sample.waiting,
            waiting_why=sample.waiting_why,
            kv=sample.kv,
            memory_bytes=sample.memory,
            now=_between(before, sample),
            minute=_between(first, sample),
            ever=_figures(sample.counted, up, sample.accepted_length),
        )

    async def every(self, seconds: float) -> AsyncIterator[View]:
        """Looks again and again, that many seconds apart; an engine that is away is a View like any other.

        Raises:
            GlmError: as `look`, at the first look only, where another one will not do better.
        """
        first = True
        try:
            while True:
                began = time.monotonic()
                try:
                    view = await self.look()
                except GlmError as error:
                    if first and not (isinstance(error, EngineError) and error.retryable):
                        raise
                    view = View(time.time(), "down", self._settings.url, error=error.message, hint=error.hint)
                yield view
                first = False
                await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets go of the connection; another look opens one."""
        page, self._page = self._page, None
        if page is not None:
            await page.close()


def gpus() -> tuple[Gpu, ...]:
    """The GPUs of this host as NVIDIA's driver sees them at this moment; none where there is no such driver."""
    nvml = _driver()
    if nvml is None:
        return ()
    seen = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory, name = nvml.nvmlDeviceGetMemoryInfo(handle), nvml.nvmlDeviceGetName(handle)
            try:
                busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            except nvml.NVMLError:  # not where a GPU is shared out (MIG)
                busy = None
            words = name.decode() if isinstance(name, bytes) else name
            seen.append(Gpu(words.removeprefix("NVIDIA "), int(memory.used), int(memory.total), busy))
    except nvml.NVMLError:
        return ()
    return tuple(seen)


class _Page(Connection):
    """The same line to the server, to the page that lies beside its API."""

    def __init__(self, settings: EngineSettings, environment: Mapping[str, str]) -> None:
        super().__init__(settings, environment=environment)
        self._root = self._root.rpartition("/")[0]

    async def sample(self, patience: float) -> Sample:
        try:
            async with asyncio.timeout(patience):
                response = await self._send("GET", "/metrics", None, await self._proof())
                payload = await self._drain(response, _LONGEST)
        except TimeoutError as error:
            raise silence(self.where, patience, spoke=False) from error
        except FAILURES as error:
            raise plain(self._broken(error)) from error
        if response.status in _OFFERS_NONE:
            raise CannotDo(f"{self.where} offers no metrics: /metrics answers {response.status}.", hint=_HINT)
        if response.status != 200:
            raise plain(self._failure(response.status, payload))
        sample = parse(payload.decode("utf-8", "replace"), time.time())
        if sample is None:
            kind = response.content_type
            raise MalformedReply(f"/metrics of {self.where} is {kind} without a figure that is known.", hint=_HINT)
        return sample


_LONGEST = 8 * 1024 * 1024  # bytes; vLLM's page has some hundred thousand
_OFFERS_NONE = {404, 405, 501}  # llama.cpp says 501 where it was not asked to count
_HINT = "vLLM offers them by itself, SGLang with --enable-metrics, llama.cpp with --metrics, hosted services do not."


def _located(settings: EngineSettings) -> EngineSettings:
    """The settings with the address of the engine that they mean.

    Raises:
        CannotDo: it is a script.
        Unreachable: none is set and none runs.
    """
    if settings.url.startswith("scripted:"):
        raise CannotDo("A script stands for the model: it counts nothing.", hint="Name an engine with --engine URL.")
    if settings.url:
        return settings
    if settings.replicas:
        return dataclasses.replace(settings, url=settings.replicas[0], replicas=[])
    from glm_lsp.engine import discovery  # noqa: PLC0415 - only where no address is set
    from glm_lsp.engine.local import process  # noqa: PLC0415 - as above

    url = process.address()
    return discovery.instead(settings) if url is None else dataclasses.replace(settings, url=url)


def _own_memory() -> int:
    from glm_lsp.engine.local import process  # noqa: PLC0415 - only where this host's own engine is looked at

    return process.status().memory_bytes


@lru_cache(maxsize=1)
def _driver() -> Any:
    """NVIDIA's library, opened once for the life of this process: that takes longer than to ask it."""
    import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415 - only where an engine is looked at

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


# --- what lies between two samples -------------------------------------------------------------------------------


def _goes_on(earlier: Sample, later: Sample) -> bool:
    """Whether it is the same run of the same server, later."""
    if (earlier.kind, earlier.model) != (later.kind, later.model) or later.at <= earlier.at:
        return False
    if earlier.started is not None and later.started is not None and abs(later.started - earlier.started) > 1:
        return False
    return later.counted.since(earlier.counted) is not None


def _between(earlier: Sample | None, later: Sample) -> Figures:
    counted = later.counted.since(earlier.counted) if earlier is not None else None
    if earlier is None or counted is None:
        return Figures()
    return _figures(counted, later.at - earlier.at, later.accepted_length)


def _figures(counted: Counted, seconds: float | None, accepted_length: float | None) -> Figures:
    first, between = counted.first_token, counted.between_tokens
    more = _share(counted.accepted, counted.steps)
    return Figures(
        seconds=seconds,
        written=counted.written,
        read=counted.read,
        written_per_s=_share(counted.written, seconds),
        read_per_s=_share(counted.read, seconds),
        requests=counted.requests,
        preempted=counted.preempted,
        reused=_share(counted.reused, counted.looked_up),
        accepted=_share(counted.accepted, counted.drafted),
        accepted_length=1 + more if more is not None else accepted_length,
        first_token_p50_s=first.quantile(0.5) if first else None,
        first_token_p95_s=first.quantile(0.95) if first else None,
        between_tokens_p50_s=between.quantile(0.5) if between else None,
        between_tokens_p95_s=between.quantile(0.95) if between else None,
    )


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
