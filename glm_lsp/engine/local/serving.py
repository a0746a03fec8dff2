"""The flags of one `vllm serve`, each with its reason.

Never decides how an engine is laid out: that is the planner's. Every flag here exists in vLLM 0.32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glm_lsp.engine.local.models import Model


@dataclass(frozen=True, slots=True)
class Flag:
    """Some words of a command line that belong together, why they are there, and whether the model's card has them."""

    words: tuple[str, ...]
    reason: str
    card: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """How an engine lies on GPUs.

    Attributes:
        tensor: GPUs that share every layer.
        stages: hosts that share the layers among them.
        per_host: engines on each host; 1 where an engine spans several.
    """

    tensor: int
    stages: int = 1
    per_host: int = 1


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person may choose.

    Attributes:
        max_len: tokens of the longest context; None for as much as fits.
        kv_fp8: keep the KV cache in FP8: twice the tokens, at some loss.
        kv_offload: GiB of each host's memory for KV cache that does not fit on its GPUs; 0 for none.
        replicas: engines; None for as many as keep the most tokens.
        utilization: share of each GPU that vLLM may use; 0.92 is its default.
        socket: where a host's only engine listens; several get a number each; empty for whoever starts it to say.
        port: where the first engine of a host listens when there are several hosts.
    """

    max_len: int | None = None
    kv_fp8: bool = False
    kv_offload: int = 0
    replicas: int | None = None
    utilization: float = 0.92
    socket: str = "/run/user/1000/glm-lsp/vllm.sock"
    port: int = 8000


def flags_for(
    model: Model,
    layout: Layout,
    wishes: Wishes,
    *,
    max_len: int,
    hosts: int,
    devices: Sequence[int] = (),
    engine: int = 0,
    head: int = 0,
    stage: int = 0,
) -> tuple[Flag, ...]:
    """All flags of one process: those of the model's card in the card's order, then what is added.

    Args:
        model: what is served.
        layout: how the engine lies on them.
        wishes: what the person chose.
        max_len: the longest context.
        hosts: how many hosts the plan has.
        devices: numbers of the GPUs that this engine uses, where its host has others besides.
        engine: which of this host's engines it is, from 0.
        head: number of the host with the engine's first stage.
        stage: which stage of its engine this is, from 0; only the first one answers requests.
    """
    worker = (Flag(("--headless",), "This host only computes: its engine's first one answers."),)
    return (
        *_of_the_card(model, layout),
        *_for_turns(model),
        *_for_memory(model, layout, wishes, max_len),
        *_for_places(layout, head, stage, devices),
        *(worker if stage else _address(wishes, hosts, engine, layout)),
    )


def _of_the_card(model: Model, layout: Layout) -> Iterator[Flag]:
    heads = "the one latent vector a token is repeated on each" if model.latent else f"{model.kv_heads} KV heads"
    yield Flag(
        ("--tensor-parallel-size", str(layout.tensor)),
        f"Every layer is split over {layout.tensor} GPUs: {model.heads} heads divide by it ({heads}), and so do the weights."
        if layout.tensor > 1
        else "The model fits on one GPU.",
        card=True,
    )
    if model.mtp_layers and layout.stages == 1:
        yield Flag(
            (
                *("--speculative-config.method", "mtp"),
                *("--speculative-config.num_speculative_tokens", "1"),
            ),
            "The model's own layer drafts one token ahead, right nine times of ten by vLLM's recipe; more are slower.",
            card=True,
        )
    if model.tool_parser:
        yield Flag(("--tool-call-parser", model.tool_parser), "Reads the model's tool calls into fields.", card=True)
    if model.reasoning_parser:
        yield Flag(("--reasoning-parser", model.reasoning_parser), "Parts its thinking from its answer.", card=True)
    if model.tool_parser:
        yield Flag(("--enable-auto-tool-choice",), "Lets the model decide when to call a tool.", card=True)
    yield Flag(("--served-model-name", model.served), "The name that requests use, and not a path.", card=True)


def _for_turns(model: Model) -> Iterator[Flag]:
    yield Flag(("--enable-prompt-tokens-details",), "Tells with each reply how much of the prompt the cache served.")
    if model.reasoning_parser:
        yield Flag(
            ("--default-chat-template-kwargs", json.dumps({"clear_thinking": False})),
            "Keeps earlier thinking in the prompt for every client. The template's default drops it at each new question, "
            "which also makes the cache miss from there on.",
        )
    yield Flag(
        ("--scheduling-policy", "priority"),
        "Whoever waits at an editor comes before background work; without it vLLM ignores a request's priority.",
    )


def _for_memory(model: Model, layout: Layout, wishes: Wishes, max_len: int) -> Iterator[Flag]:
    if max_len < model.context:
        yield Flag(("--max-model-len", str(max_len)), f"One context of {max_len:,} tokens has to fit into the cache.")
    if wishes.kv_fp8:
        yield Flag(
            ("--kv-cache-dtype", "fp8"), "Chosen: half the bytes a token, twice the tokens; some accuracy is lost."
        )
    if wishes.utilization != 0.92:
        yield Flag(
            ("--gpu-memory-utilization", f"{wishes.utilization:g}"), "Chosen: the share of each GPU that vLLM may use."
        )
    if wishes.kv_offload:
        share = wishes.kv_offload / layout.per_host
        yield Flag(
            ("--kv-offloading-size", f"{share:g}", "--kv-offloading-backend", "native"),
            f"Chosen: what falls out of the GPUs' cache stays in {share:g} GiB of the host's memory, summed over the GPUs.",
        )
    if layout.tensor > 1 and model.experts and (model.expert_width // layout.tensor) % 64:
        yield Flag(
            ("--enable-expert-parallel",),
            f"Whole experts on each GPU: split {layout.tensor} ways, their width of {model.expert_width} would not be a "
            "multiple of the kernels' 64, and be padded.",
        )


def _for_places(layout: Layout, head: int, stage: int, numbers: Sequence[int]) -> Iterator[Flag]:
    if layout.stages > 1:
        yield Flag(
            ("--pipeline-parallel-size", str(layout.stages)),
            f"The layers are shared by {layout.stages} hosts: the weights do not fit on one.",
        )
        yield Flag(
            (
                *("--distributed-executor-backend", "mp", "--nnodes", str(layout.stages), "--node-rank", str(stage)),
                *("--master-addr", f"HOST{head}"),
            ),
            f"Joins the hosts without Ray; put the first host's address for HOST{head}.",
        )
    if numbers:
        yield Flag(
            ("--device-ids", ",".join(map(str, numbers))), "The GPUs of this engine; the others are not touched."
        )


def _address(wishes: Wishes, hosts: int, engine: int, layout: Layout) -> Iterator[Flag]:
    if hosts > 1:
        yield Flag(
            ("--host", "127.0.0.1", "--port", str(wishes.port + engine)),
            "Reached from other hosts through a tunnel or a proxy of yours: vLLM's own key guards /v1 alone.",
        )
        return
    if not (socket := wishes.socket):
        return
    if layout.per_host > 1:
        stem, dot, ending = socket.rpartition(".")
        socket = f"{stem}-{engine}.{ending}" if dot else f"{socket}-{engine}"
    yield Flag(("--uds", socket), "A socket in a folder that only its owner can enter: no port, and no key to lose.")
