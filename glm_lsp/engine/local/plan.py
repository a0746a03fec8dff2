"""From hardware, a model and a person's wishes to the `vllm serve` that fits, with the reason of every flag.

Never starts anything and never asks a device: arithmetic only, and what cannot fit is refused with the numbers.

The arithmetic, for each GPU: usable memory x utilisation - weights - reserve = KV cache; divided by the bytes that a
token takes there, it gives the tokens that an engine can keep. An engine that cannot keep one whole context refuses to
start (vLLM's own check), so the longest context is limited to what fits.

The reserve is an estimate: what vLLM needs beside weights and cache for activations, logits, CUDA graphs and NCCL.
Two public logs of vLLM on H100 leave 5.4 GiB (Llama-3.3-70B-FP8, two GPUs) and about 8 GiB (Qwen3-235B-FP8, four GPUs,
vllm#21348). What vLLM itself measured is the line "GPU KV cache size" of its log.
"""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.engine.local.hardware import GIB
from glm_lsp.engine.local.models import GLM_47_FLASH, GLM_47_FP8, KNOWN
from glm_lsp.engine.local.serving import Layout, Wishes, flags_for
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.engine.local.hardware import Gpu, Hardware
    from glm_lsp.engine.local.models import Model
    from glm_lsp.engine.local.serving import Flag

RESERVE = 7 * GIB
LEAST_CONTEXT = 32_768
"""A shorter context is refused unless asked for: a turn with a few files would not fit."""

LENGTHS = (16_384, 32_768, 65_536)
"""Conversations of these lengths are counted, and of the longest."""

STEP = 4096
"""A context that had to be cut is a multiple of this, so that estimates do not look like measurements."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The arithmetic of one GPU in bytes, and what follows from it for one engine in tokens."""

    usable: int
    allowed: int
    weights: int
    reserve: int
    cache: int
    per_token: int
    tokens: int
    offloaded_tokens: int


@dataclass(frozen=True, slots=True)
class Command:
    """One process to start: on which host (from 0), its environment and its words."""

    host: int
    environment: dict[str, str]
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([*(f"{k}={shlex.quote(v)}" for k, v in self.environment.items()), shlex.join(self.argv)])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start, and why.

    Attributes:
        hardware: what it was made for, as said.
        gpu: the kind of GPU that is used.
        gpus: how many of them are used.
        unused: how many GPUs are left.
        engines: how many engines there are, over all hosts.
        max_len: the longest context.
        flags: those of the first engine, each with its reason.
        conversations: how many of a length fit at once, over all engines: (length, how many).
        notes: what else a person should know.
    """

    hardware: str
    platform: str
    model: Model
    gpu: Gpu
    gpus: int
    unused: int
    engines: int
    layout: Layout
    memory: Memory
    max_len: int
    flags: tuple[Flag, ...]
    commands: tuple[Command, ...]
    conversations: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def make(hardware: Hardware, model: Model | None = None, wishes: Wishes = Wishes()) -> Plan:  # noqa: B008 - frozen
    """The plan that keeps the most tokens; without a model GLM-4.7-FP8 where it fits, else GLM-4.7-Flash.

    Raises:
        UsageError: nothing fits; the message has the numbers and the hint what would fit.
    """
    if model is not None:
        return _plan(hardware, model, wishes)
    try:
        return _plan(hardware, GLM_47_FP8, wishes)
    except UsageError as error:
        if not hardware.hosts or _fits(hardware, GLM_47_FP8):  # a wish is what cannot be had: no other model is wanted
            raise
        try:
            plan = _plan(hardware, GLM_47_FLASH, wishes)
        except UsageError as second:
            raise UsageError(f"{error.message}\n{second.message}", hint=second.hint) from error
        note = f"{GLM_47_FLASH.name} is planned, since {error.message}"
        return dataclasses.replace(plan, notes=(note, *plan.notes))


def memory_of(model: Model, gpu: Gpu, layout: Layout, wishes: Wishes) -> Memory:
    """The arithmetic of one GPU; `cache` and `tokens` are 0 where the weights alone are too much."""
    allowed = int(gpu.memory * wishes.utilization)
    drafts = layout.stages == 1
    weights = -(-model.weights // (layout.tensor * layout.stages))
    per_token = model.kv_bytes(layout.tensor, layout.stages, fp8=wishes.kv_fp8, mtp=drafts)
    cache = max(0, allowed - weights - RESERVE)
    offload = wishes.kv_offload * GIB // layout.per_host
    return Memory(
        usable=gpu.memory,
        allowed=allowed,
        weights=weights,
        reserve=RESERVE,
        cache=cache,
        per_token=per_token,
        tokens=cache // per_token,
        offloaded_tokens=offload // (per_token * layout.tensor),
    )


def layouts(model: Model, per_host: int, hosts: int, replicas: int | None) -> Iterator[Layout]:
    """Every layout that vLLM would take: engines within a host first, then one engine over several hosts.

    Within a host any size that divides the heads. Over hosts tensor parallel inside each and a stage a host, since
    a stage hands over one vector a token, while tensor parallel exchanges two in every layer.
    """
    for tensor in range(1, per_host + 1):
        if not model.splits(tensor):
            continue
        fitting = per_host // tensor
        if replicas is None:
            yield Layout(tensor, per_host=fitting)
        elif replicas % hosts == 0 and replicas // hosts <= fitting:
            yield Layout(tensor, per_host=replicas // hosts)
    for stages in range(2, hosts + 1):
        if hosts % stages == 0 and replicas in {None, hosts // stages}:
            for tensor in range(1, per_host + 1):
                if model.splits(tensor):
                    yield Layout(tensor, stages)


def _plan(hardware: Hardware, model: Model, wishes: Wishes) -> Plan:
    _check(model, wishes)
    if not hardware.hosts:
        raise UsageError(
            f"There is no GPU here, and {model.name} needs {_gb(model.weights)} for its weights alone.",
            hint="Plan for a machine that has them with --gpus 4xH200, use one elsewhere with --engine URL, "
            "or try things out on the processor with `glm-lsp engine start`.",
        )
    refusals = []
    for gpu, per_host, hosts in _alike(hardware):
        try:
            return _on(hardware, model, wishes, gpu, per_host, hosts)
        except UsageError as error:
            refusals.append(error)
    if len(refusals) > 1:
        kinds = ", ".join(f"{per_host} x {gpu}" for gpu, per_host, _ in _alike(hardware))
        raise UsageError(
            f"These GPUs do not match ({kinds}): an engine splits evenly, so it takes GPUs of one kind, and none is "
            f"enough alone. {refusals[0].message}",
            hint=refusals[0].hint,
        )
    raise refusals[0]


def _fits(hardware: Hardware, model: Model) -> bool:
    try:
        _plan(hardware, model, Wishes())
    except UsageError:
        return False
    return True


def _on(hardware: Hardware, model: Model, wishes: Wishes, gpu: Gpu, per_host: int, hosts: list[int]) -> Plan:
    _check_gpu(gpu, model, wishes)
    wanted = wishes.max_len or model.context
    candidates = [
        (layout, memory_of(model, gpu, layout, wishes))
        for layout in layouts(model, per_host, len(hosts), wishes.replicas)
    ]
    if not candidates:
        raise UsageError(
            f"{wishes.replicas} engines cannot be laid on {len(hosts)} x {per_host} {gpu.name}: each host takes the "
            f"same number, and an engine takes a number of GPUs that divides its {model.heads} heads.",
            hint="Leave --replicas out.",
        )
    least = wishes.max_len or min(LEAST_CONTEXT, model.context)
    fitting = [(layout, memory) for layout, memory in candidates if memory.tokens >= least]
    if not fitting:
        raise _refusal(
            model,
            gpu,
            per_host,
            len(hosts),
            wishes,
            least,
            max((memory for _, memory in candidates), key=lambda m: (m.tokens, -m.weights)),
        )
    whole = [(layout, memory) for layout, memory in fitting if memory.tokens >= wanted]
    within = [c for c in whole or fitting if c[0].stages == 1]

    def kept(candidate: tuple[Layout, Memory]) -> tuple[int, int]:
        layout, memory = candidate
        engines = layout.per_host * len(hosts) // layout.stages
        return (memory.tokens * engines if whole else memory.tokens), -layout.tensor

    layout, memory = max(within or whole or fitting, key=kept)
    max_len = wanted if whole else memory.tokens // STEP * STEP
    engines = layout.per_host * len(hosts) // layout.stages
    gpus = engines * layout.tensor * layout.stages
    total = sum(len(host) for host in hardware.hosts)
    processes = list(_processes(hardware, model, gpu, layout, wishes, hosts, max_len))
    environment = {"SAFETENSORS_FAST_GPU": "1"} if gpu.vendor == "amd" else {}
    lengths = dict.fromkeys(length for length in (*LENGTHS, max_len) if length <= max_len)
    plan = Plan(
        hardware=hardware.said,
        platform="cuda" if gpu.vendor == "nvidia" else "rocm",
        model=model,
        gpu=gpu,
        gpus=gpus,
        unused=total - gpus,
        engines=engines,
        layout=layout,
        memory=memory,
        max_len=max_len,
        flags=processes[0][1],
        commands=tuple(
            Command(
                host, environment, ("vllm", "serve", model.source, *(word for flag in flags for word in flag.words))
            )
            for host, flags in processes
        ),
        conversations=tuple((length, engines * (memory.tokens // length)) for length in lengths),
        notes=(),
    )
    return dataclasses.replace(plan, notes=tuple(_notes(plan, hardware, wishes)))


def _processes(
    hardware: Hardware, model: Model, gpu: Gpu, layout: Layout, wishes: Wishes, hosts: list[int], max_len: int
) -> Iterator[tuple[int, tuple[Flag, ...]]]:
    """The host and the flags of every process."""
    for place, host in enumerate(hosts):
        numbers = [number for number, one in enumerate(hardware.hosts[host]) if one == gpu]
        for engine in range(layout.per_host):
            own = numbers[engine * layout.tensor : (engine + 1) * layout.tensor]
            yield (
                host,
                flags_for(
                    model,
                    layout,
                    wishes,
                    max_len=max_len,
                    hosts=len(hosts),
                    devices=own if len(own) < len(hardware.hosts[host]) else (),
                    engine=engine,
                    head=hosts[place - place % layout.stages],
                    stage=place % layout.stages,
                ),
            )


def _alike(hardware: Hardware) -> list[tuple[Gpu, int, list[int]]]:
    """For each kind of GPU: how many a host has, and the hosts that have as many; the most memory first."""
    found = []
    for gpu in dict.fromkeys(gpu for host in hardware.hosts for gpu in host):
        counts = [host.count(gpu) for host in hardware.hosts]
        hosts = [number for number, count in enumerate(counts) if count == max(counts)]
        found.append((gpu, max(counts), hosts))
    return sorted(found, key=lambda kind: -kind[0].memory * kind[1] * len(kind[2]))


def _check(model: Model, wishes: Wishes) -> None:
    if wishes.kv_offload < 0 or (wishes.replicas is not None and wishes.replicas < 1):
        raise UsageError("There are no fewer engines than one, and no less memory than none.", hint="Mend the figure.")
    if wishes.max_len is not None and not 0 < wishes.max_len <= model.context:
        raise UsageError(
            f"{model.name} can read {model.context:,} tokens at most, not {wishes.max_len:,}.",
            hint="Ask for less, or leave --max-len out.",
        )
    if not 0.1 <= wishes.utilization <= 0.99:
        raise UsageError(f"A utilisation of {wishes.utilization} cannot be.", hint="It lies between 0.1 and 0.99.")


def _check_gpu(gpu: Gpu, model: Model, wishes: Wishes) -> None:
    if wishes.kv_fp8 and not gpu.fp8:
        raise UsageError(
            f"{gpu.name} has no FP8 arithmetic, which vLLM's attention needs for an FP8 KV cache "
            "(compute capability 8.9 or later).",
            hint="Leave --kv-fp8 out.",
        )
    if model.precision == "fp8" and gpu.vendor == "amd" and not gpu.fp8:
        raise UsageError(
            f"{gpu.name} has no FP8 arithmetic, and vLLM's weight-only kernel for it (Marlin) is NVIDIA's alone.",
            hint="Take weights in BF16: --model glm-4.7.",
        )


def _refusal(model: Model, gpu: Gpu, per_host: int, hosts: int, wishes: Wishes, least: int, best: Memory) -> UsageError:
    split = f" as {wishes.replicas} engines" if wishes.replicas else ""
    have = (
        f"{per_host * hosts} x {gpu.name}{split} allow {_gib(best.allowed)} GiB each "
        f"({wishes.utilization:.0%} of {_gib(best.usable)})"
    )
    if best.cache == 0:
        why = f"the weights take {_gib(best.weights)} GiB of it and {_gib(best.reserve)} GiB are reserved: nothing is left"
    else:
        why = (
            f"after weights ({_gib(best.weights)} GiB) and reserve ({_gib(best.reserve)} GiB) there is room for "
            f"{best.tokens:,} tokens, not {least:,}"
        )
    return UsageError(
        f"{model.name} ({_gb(model.weights)}) does not fit: {have}; {why}.", hint=_would_fit(model, gpu, wishes)
    )


def _would_fit(model: Model, gpu: Gpu, wishes: Wishes) -> str:
    """The smallest host of the same GPU that would do, and the known models that would do on fewer."""
    fewer = dataclasses.replace(wishes, replicas=None, kv_offload=0)
    for count in (1, 2, 4, 8, 16, 32):
        if not model.splits(count):
            continue
        memory = memory_of(model, gpu, Layout(min(count, 8), -(-count // 8)), fewer)
        if memory.tokens >= (wishes.max_len or min(LEAST_CONTEXT, model.context)):
            host = f"{count} x {gpu.name}" if count <= 8 else f"{count // 8} hosts with 8 x {gpu.name} each"
            other = " an engine" if wishes.replicas else ""
            other += " or a smaller --max-len" if wishes.max_len else ""
            return f"What would fit: {host}{other}{_smaller(model)}."
    return f"No number of {gpu.name} up to 32 would do. Take GPUs with more memory{_smaller(model)}."


def _smaller(model: Model) -> str:
    names = [known.served for known in KNOWN.values() if known.weights < model.weights]
    return f", or a smaller model ({', '.join(names)})" if names else ""


def _notes(plan: Plan, hardware: Hardware, wishes: Wishes) -> Iterator[str]:
    model, gpu, layout, memory = plan.model, plan.gpu, plan.layout, plan.memory
    kinds = {one for host in hardware.hosts for one in host}
    if len(kinds) > 1:
        yield f"The GPUs do not match: only {gpu.name} is used, since an engine splits evenly over GPUs of one kind."
    elif plan.unused:
        yield f"Left over: {plan.unused} of the GPUs. An engine takes a number that divides its {model.heads} heads."
    if model.precision == "fp8" and not gpu.fp8:
        yield (
            f"{gpu.name} does not multiply FP8: vLLM keeps the weights in FP8 and widens them in its Marlin kernel, so "
            "they take the same memory, and reading long prompts is slower than the FP8 arithmetic of an H100."
        )
    if gpu.vendor == "amd":
        yield (
            "vLLM's recipe verifies GLM-4.7 on MI300X, MI325X and MI355X with a BF16 command that turns prefix caching "
            "off; this plan keeps it on, as every turn lives from it. --model glm-4.7 plans the BF16 weights."
        )
    if plan.max_len < model.context and wishes.max_len is None:
        yield f"The context is cut from {model.context:,} to {plan.max_len:,} tokens: that is what the cache can keep."
    if model.latent and wishes.kv_fp8:
        yield "An FP8 KV cache has given garbage on this model over several turns (vllm#38652): look at what it writes."
    if wishes.kv_offload:
        yield f"Beside that, {memory.offloaded_tokens:,} tokens an engine stay in {wishes.kv_offload} GiB of the host's memory."
        if hardware.ram is not None and wishes.kv_offload * GIB > 0.8 * hardware.ram:
            yield f"That is more than 80 % of this host's {_gib(hardware.ram)} GiB: it may run out of memory."
    if gpu.capability >= (10, 0) and model is GLM_47_FP8:
        yield (
            "For Blackwell vLLM's recipe also has NVIDIA's weights in four bits (nvidia/GLM-4.7-NVFP4), half as large; they "
            "are planned from a local folder: --model FOLDER."
        )
    if layout.stages > 1:
        yield (
            f"One engine over {layout.stages} hosts: start the same on each, the head last or first; they find each "
            "other through --master-addr. Ray would do it too (--distributed-executor-backend ray in place of the "
            "--nnodes flags). MTP is left out: with stages, this planner has not seen it run."
        )
    if plan.engines > 1:
        yield (
            f"{plan.engines} engines keep {plan.engines} caches: a conversation has to go to the engine that has read it. "
            "Name them all in engine.replicas, and each workspace keeps to one. Replicas rather than vLLM's data "
            "parallel, which spreads requests over ranks with a cache each, and a conversation would meet a cold one."
        )
    elif layout.tensor > 4 and layout.stages == 1 and not model.latent and layout.tensor % 2 == 0:
        halves = memory_of(model, gpu, Layout(layout.tensor // 2), wishes)
        if halves.tokens >= plan.max_len and model.splits(layout.tensor // 2):
            yield (
                f"Two engines of {layout.tensor // 2} GPUs (--replicas 2) would keep {2 * halves.tokens:,} tokens "
                f"instead of {memory.tokens:,}, since the weights would be there twice; they pay where one must go on "
                "when the other fails, or where many short turns matter more than long ones."
            )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"


def _gb(size: int) -> str:
    return f"{size / 1e9:.0f} GB"
