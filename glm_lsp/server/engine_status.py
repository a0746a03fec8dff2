"""What the status page of an editor shows of the engine: `glm/engineStatus`, and the same as lines of text.

Never keeps a request waiting for an engine that says nothing: after a moment the answer is that it does.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from glm_lsp.errors import EngineError, GlmError
from glm_lsp.server import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.engine.metrics import View, Watch
    from glm_lsp.settings import EngineSettings

PATIENCE = 1.5
"""Seconds that the page may take: a person looks at it."""

STALE = 60.0
"""Seconds after which an earlier look says nothing of the moment."""


class EngineSeen:
    """The looks at the engine that a session has taken; rates are those between one and the next."""

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self._of: EngineSettings | None = None
        self._looked = 0.0
        self._looking = asyncio.Lock()

    async def status(self, settings: EngineSettings) -> wire.EngineStatusResult:
        """Looks at the engine of these settings."""
        from glm_lsp.engine.metrics import Watch  # noqa: PLC0415 - HTTP takes a while to import

        async with self._looking:
            if self._watch is None or self._of != settings or time.monotonic() - self._looked > STALE:
                self._watch, self._of = Watch(settings), settings
            try:
                view = await self._watch.look(patience=PATIENCE)
            except GlmError as error:
                # A server that answers and offers no metrics is none that is down.
                state: wire.EngineState = "down" if isinstance(error, EngineError) and error.retryable else "unknown"
                return wire.EngineStatusResult(state=state, message=f"{error.message} {error.hint}".strip())
            finally:
                await self._watch.close()  # the next look may be in an hour, or never
            self._looked = time.monotonic()
            return _told(view)


def lines(told: wire.EngineStatusResult) -> Iterator[str]:
    """What is known, as the items of a list in Markdown."""
    if told.message:
        yield f"- The engine's figures: {told.message}"
        return
    figures = (
        ("Up", told.up_seconds, "{:,.0f} s"),
        ("Requests running", told.running, "{:,}"),
        ("Requests waiting", told.waiting, "{:,}"),
        ("Written", told.written_per_second, "{:,.1f} tokens/s"),
        ("Read", told.read_per_second, "{:,.1f} tokens/s"),
        ("First token, half of the requests", told.first_token_median, "{:,.2f} s"),
        ("First token, 95 of 100 requests", told.first_token_tail, "{:,.2f} s"),
        ("KV cache in use", told.kv_use, "{:.0%}"),
        ("Prefix cache, reused", told.reused, "{:.0%}"),
        ("Drafts accepted (MTP)", told.drafts_accepted, "{:.0%}"),
        ("Tokens a step (MTP)", told.tokens_per_step, "{:.2f}"),
        ("Preempted", told.preempted, "{:,}"),
        ("Memory", told.memory_bytes and told.memory_bytes / 2**30, "{:,.1f} GiB"),
    )
    for name, value, form in figures:
        if value is not None:
            yield f"- {name}: {form.format(value).replace('%', ' %')}"
    for gpu in told.gpus:
        busy = f", {gpu.busy:.0%} busy".replace("%", " %") if gpu.busy is not None else ""
        yield f"- {gpu.name}: {gpu.used_bytes / 2**30:,.1f} of {gpu.total_bytes / 2**30:,.1f} GiB{busy}"


def _told(view: View) -> wire.EngineStatusResult:
    # Times and shares of the last looks where something occurred, else since the engine was started.
    minute, ever, rates = view.minute, view.ever, view.now
    return wire.EngineStatusResult(
        state="ready",
        asleep=view.state == "asleep",
        model=view.model,
        url=view.where,
        up_seconds=view.up_s,
        running=_whole(view.running),
        waiting=_whole(view.waiting),
        written_per_second=rates.written_per_s,
        read_per_second=rates.read_per_s,
        first_token_median=_first(minute.first_token_p50_s, ever.first_token_p50_s),
        first_token_tail=_first(minute.first_token_p95_s, ever.first_token_p95_s),
        between_tokens_median=_first(minute.between_tokens_p50_s, ever.between_tokens_p50_s),
        kv_use=view.kv,
        reused=_first(minute.reused, ever.reused),
        drafts_accepted=_first(minute.accepted, ever.accepted),
        tokens_per_step=_first(minute.accepted_length, ever.accepted_length),
        preempted=_whole(ever.preempted),
        memory_bytes=_whole(view.memory_bytes),
        gpus=tuple(
            wire.GpuStatus(name=gpu.name, used_bytes=gpu.used_bytes, total_bytes=gpu.total_bytes, busy=gpu.busy)
            for gpu in view.gpus
        ),
    )


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
