"""The page `/metrics` of vLLM, SGLang and llama.cpp, read into counters, gauges and histograms.

Never asks a server: text goes in. What it does not tell is None, and what is no number is passed over.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often something took how long: `counts[i]` of all took `bounds[i]` seconds or less; the last bound is inf."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def quantile(self, share: float) -> float | None:
        """The time in which that share was done, as Prometheus reckons it: evenly within a bucket; None for no case."""
        wanted = share * self.counts[-1] if self.counts else 0.0
        lower, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= wanted > 0:
                return lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / (count - below)
            lower, below = bound, count
        return None


@dataclass(frozen=True, slots=True)
class Counted:
    """What only grows while a server runs: tokens, cases and times; None where it does not tell.

    Attributes:
        written: tokens of replies.
        read: tokens of prompts; llama.cpp leaves out those that it reused.
        looked_up: tokens of prompts that were looked for in the prefix cache.
        reused: how many of these were there.
        steps: in which tokens were drafted ahead.
        drafted: tokens that were drafted.
        accepted: how many of these were taken.
        preempted: requests that had to give their memory to others and start again.
        requests: that ended.
        first_token: times from a request to its first token.
        between_tokens: times from one token to the next.
    """

    written: float | None = None
    read: float | None = None
    looked_up: float | None = None
    reused: float | None = None
    steps: float | None = None
    drafted: float | None = None
    accepted: float | None = None
    preempted: float | None = None
    requests: float | None = None
    first_token: Histogram | None = None
    between_tokens: Histogram | None = None

    def since(self, earlier: Counted) -> Counted | None:
        """What came after an earlier count; None where something fell, as the server was started anew in between."""
        grown: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            now, then = getattr(self, field.name), getattr(earlier, field.name)
            if isinstance(now, Histogram):
                if isinstance(then, Histogram) and then.bounds == now.bounds:
                    counts = tuple(a - b for a, b in zip(now.counts, then.counts, strict=True))
                    if min(counts, default=0) < 0:
                        return None
                    now = Histogram(now.bounds, counts)
            elif now is not None and then is not None:
                now -= then
                if now < 0:
                    return None
            grown[field.name] = now
        return Counted(**grown)


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of the page.

    Attributes:
        at: when, in seconds since 1970.
        kind: the server's: the id of its dialect.
        model: the name that it gives its model; empty where it does not.
        counted: what it has counted since it was started.
        started: when that was, in seconds since 1970.
        running: requests that are being served.
        waiting: requests in line.
        waiting_why: the same by reason; vLLM tells `capacity` and `deferred`.
        kv: share of the KV cache that is taken by requests, 0 to 1.
        asleep: whether it was put to sleep.
        memory: bytes of the process that answers; vLLM's workers are processes of their own.
        accepted_length: tokens a step, of a server that tells just this.
    """

    at: float
    kind: str
    model: str = ""
    counted: Counted = dataclasses.field(default_factory=Counted)
    started: float | None = None
    running: float | None = None
    waiting: float | None = None
    waiting_why: dict[str, float] = dataclasses.field(default_factory=dict)
    kv: float | None = None
    asleep: bool = False
    memory: float | None = None
    accepted_length: float | None = None


def parse(text: str, at: float) -> Sample | None:
    """Reads a page in Prometheus' text format; lines that are none, and values that are no numbers, are passed over.

    Args:
        text: the page; what follows its last line end is half a line, and left out.
        at: when it was read, in seconds since 1970.

    Returns:
        None where the page has no figure of a server that is known here.
    """
    found = _Found()
    whole = text[: text.rfind("\n") + 1]
    for line in whole.splitlines():
        if line.startswith(_WANTED):
            found.take(line)
    prefix = next((prefix for prefix in _NAMES if found.has(prefix)), None)
    if prefix is None:
        return None
    kind, names = _NAMES[prefix]

    def total(what: str) -> float | None:
        return found.total(names[what]) if what in names else None

    counters: dict[str, Any] = {what: total(what) for what in _COUNTERS}
    for what in ("first_token", "between_tokens"):
        counters[what] = found.histogram(names[what]) if what in names else None
    return Sample(
        at=at,
        kind=kind,
        model=", ".join(sorted(found.models)),
        counted=Counted(**counters),
        started=found.total(_STARTED),
        running=total("running"),
        waiting=total("waiting"),
        waiting_why={k: v for k, v in found.by(names.get("waiting_why", ""), "reason").items() if v},
        kv=found.mean(names.get("kv", "")),
        asleep=found.by(_SLEEP, "sleep_state").get("awake", 1.0) == 0,
        memory=found.total(_MEMORY),
        accepted_length=found.mean(names.get("accepted_length", "")),
    )


# The names: vllm/v1/metrics of 0.32, docs.sglang.io "Production Metrics", llama.cpp's tools/server/README.md.
_NAMES: dict[str, tuple[str, dict[str, str]]] = {
    "vllm:": (
        "vllm",
        {
            "written": "vllm:generation_tokens_total",
            "read": "vllm:prompt_tokens_total",
            "looked_up": "vllm:prefix_cache_queries_total",
            "reused": "vllm:prefix_cache_hits_total",
            "steps": "vllm:spec_decode_num_drafts_total",
            "drafted": "vllm:spec_decode_num_draft_tokens_total",
            "accepted": "vllm:spec_decode_num_accepted_tokens_total",
            "preempted": "vllm:num_preemptions_total",
            "requests": "vllm:request_success_total",
            "first_token": "vllm:time_to_first_token_seconds",
            "between_tokens": "vllm:inter_token_latency_seconds",
            "running": "vllm:num_requests_running",
            "waiting": "vllm:num_requests_waiting",
            "waiting_why": "vllm:num_requests_waiting_by_reason",
            "kv": "vllm:kv_cache_usage_perc",
        },
    ),
    "sglang:": (
        "sglang",
        {
            "written": "sglang:generation_tokens_total",
            "read": "sglang:prompt_tokens_total",
            "looked_up": "sglang:prompt_tokens_total",
            "reused": "sglang:cached_tokens_total",
            "requests": "sglang:num_requests_total",
            "first_token": "sglang:time_to_first_token_seconds",
            "between_tokens": "sglang:inter_token_latency_seconds",
            "running": "sglang:num_running_reqs",
            "waiting": "sglang:num_queue_reqs",
            "kv": "sglang:token_usage",
            "accepted_length": "sglang:spec_accept_length",
        },
    ),
    "llamacpp:": (
        "llama.cpp",
        {
            "written": "llamacpp:tokens_predicted_total",
            "read": "llamacpp:prompt_tokens_total",
            "running": "llamacpp:requests_processing",
            "waiting": "llamacpp:requests_deferred",
            "kv": "llamacpp:kv_cache_usage_ratio",
        },
    ),
}
_SLEEP, _STARTED, _MEMORY = "vllm:engine_sleep_state", "process_start_time_seconds", "process_resident_memory_bytes"
_WANTED = (_SLEEP, _STARTED, _MEMORY, *(name for _, names in _NAMES.values() for name in names.values()))
"""How the lines begin that are read: a page has ten times as many."""


_COUNTERS = ("written", "read", "looked_up", "reused", "steps", "drafted", "accepted", "preempted", "requests")


class _Found:
    """The values of a page by name, each with its labels; ranks and replicas that count for themselves are summed."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[dict[str, str], float]]] = {}
        self.models: set[str] = set()

    def take(self, line: str) -> None:
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - only who looks pays

        try:
            families = list(text_string_to_metric_families(line))
        except (ValueError, IndexError):  # a line that is none is no reason to do without the others
            return
        for family in families:
            for name, labels, value, *_ in family.samples:
                if math.isfinite(value) and value >= 0:
                    self._values.setdefault(name, []).append((labels, value))
                    if model := labels.get("model_name"):
                        self.models.add(model)

    def has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self._values)

    def total(self, name: str) -> float | None:
        return sum(value for _, value in self._values[name]) if name in self._values else None

    def mean(self, name: str) -> float | None:
        values = self._values.get(name)
        return sum(value for _, value in values) / len(values) if values else None

    def by(self, name: str, label: str) -> dict[str, float]:
        sums: dict[str, float] = {}
        for labels, value in self._values.get(name, ()):
            sums[labels.get(label, "")] = sums.get(labels.get(label, ""), 0.0) + value
        return sums

    def histogram(self, name: str) -> Histogram | None:
        buckets: dict[float, float] = {}
        for text, count in self.by(f"{name}_bucket", "le").items():
            try:
                buckets[float(text)] = count
            except ValueError:
                continue
        if math.inf not in buckets:
            return None
        bounds = tuple(sorted(buckets))
        return Histogram(bounds, tuple(buckets[bound] for bound in bounds))
