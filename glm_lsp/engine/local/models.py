"""What a model asks of the hardware: weights, bytes of KV cache a token, heads, context, and how it is served.

Never downloads anything: the three GLM-4.7 models are known from their published configurations, any other one is read
from the `config.json` of a local folder.

Sources. The configurations are those in the model repositories zai-org/GLM-4.7, GLM-4.7-FP8 and GLM-4.7-Flash on
Hugging Face; their shapes also stand in transformers' `Glm4MoeConfig` and `Glm4MoeLiteConfig`. The numbers of parameters
are computed from them and agree with the cards: 358B (also in vLLM's recipe for GLM-4.7) and 31.2B. In GLM-4.7-FP8 every
linear layer is one byte a weight, and the embeddings and heads are two; that gives the 362 GB of its files.
Parsers, MTP with one token and the served name are the cards' own commands for vLLM.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Model:
    """One model as the planner sees it.

    Attributes:
        source: what `vllm serve` takes: a name on Hugging Face or a folder.
        served: the name that requests use.
        label: the name that people read.
        layers: transformer layers, without the drafting one.
        mtp_layers: layers that draft tokens (multi-token prediction); 0 where there are none.
        heads: attention heads.
        kv_heads: heads that keys and values have; 1 under latent attention.
        kv_values: numbers kept a token, layer and KV head: keys and values, or the one latent vector.
        latent: whether attention is latent (MLA): its one vector a token is needed whole on every GPU.
        experts: routed experts; 0 for a dense model.
        expert_width: width of one expert's hidden layer.
        context: most tokens of prompt and answer.
        weights: bytes of all weights.
        precision: `bf16`, `fp8`, or what its quantisation calls itself.
        tool_parser: vLLM's parser for its tool calls; empty where unknown.
        reasoning_parser: vLLM's parser for its thinking; empty where unknown.
    """

    source: str
    served: str
    label: str
    layers: int
    mtp_layers: int
    heads: int
    kv_heads: int
    kv_values: int
    latent: bool
    experts: int
    expert_width: int
    context: int
    weights: int
    precision: str
    tool_parser: str = "glm47"
    reasoning_parser: str = "glm45"

    @property
    def name(self) -> str:
        """What it is called in a plan: the last part of its source, such as `GLM-4.7-FP8`."""
        return Path(self.source).name

    def kv_bytes(self, tensor_parallel: int = 1, stages: int = 1, *, fp8: bool = False, mtp: bool = True) -> int:
        """Bytes of KV cache that one token takes on each GPU; the largest stage where the layers are split.

        vLLM gives every GPU at least one KV head, so beyond as many GPUs as heads the cache is kept several times over.
        """
        layers = -(-self.layers // stages) + (self.mtp_layers if mtp else 0)
        heads = 1 if self.latent else max(1, self.kv_heads // tensor_parallel)
        return layers * heads * self.kv_values * (1 if fp8 else 2)

    def splits(self, tensor_parallel: int) -> bool:
        """Whether vLLM takes this tensor-parallel size: the heads divide, and the KV heads divide or are repeated."""
        if self.heads % tensor_parallel or (self.experts and self.expert_width % tensor_parallel):
            return False
        return self.latent or not self.kv_heads % tensor_parallel or not tensor_parallel % self.kv_heads


def find(name: str) -> Model:
    """A known model by any of its names, or the one in a local folder.

    Raises:
        UsageError: neither known nor a folder with a model that can be read.
    """
    known = KNOWN.get(name.rsplit("/", 1)[-1].lower())
    folder = Path(name).expanduser()
    if folder.is_dir() and (known is None or (folder / "config.json").exists()):
        return from_folder(folder)
    if known is not None and (name.startswith("zai-org/") or "/" not in name):
        return known
    raise UsageError(
        f"`{name}` is neither a model that the planner knows nor a folder.",
        hint=f"Known are: {', '.join(KNOWN)}; another one has to be on this machine, with its config.json.",
    )


def from_folder(folder: Path) -> Model:
    """Reads the model in a folder: shapes from its `config.json`, the weights' bytes from its files.

    Raises:
        UsageError: no configuration, one that lacks what is needed, or weights that are missing.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config | config.get("text_config", {})  # where vision is a part of it, the language model's own
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no model: its config.json cannot be read.", hint="Name the folder of one model."
        ) from error
    try:
        return _from_config(config, folder)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"The config.json in {folder} lacks what a plan needs: {error}.", hint="It may be a model of another kind."
        ) from error


def parameters(config: Mapping[str, Any]) -> tuple[int, int]:
    """Parameters of a GLM-4.x mixture of experts: all of them, and those of embeddings and heads, which FP8 leaves alone.

    The drafting layer has an embedding and a head of its own in the files. Norms and biases are left out: under 0.01 %.
    """
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    drafting = config["num_nextn_predict_layers"]
    if config.get("kv_lora_rank"):
        rank, rope, nope = config["kv_lora_rank"], config["qk_rope_head_dim"], config["qk_nope_head_dim"]
        queries = config["q_lora_rank"] * (hidden + heads * (nope + rope))
        keys = hidden * (rank + rope) + rank * heads * (nope + config["v_head_dim"])
        attention = queries + keys + heads * config["v_head_dim"] * hidden
    else:
        attention = 2 * hidden * config["head_dim"] * (heads + config["num_key_value_heads"])
    width, experts = config["moe_intermediate_size"], config["n_routed_experts"]
    sparse = (experts + config["n_shared_experts"]) * 3 * hidden * width + experts * hidden
    dense = config["first_k_dense_replace"]
    words = 2 * config["vocab_size"] * hidden * (1 + drafting)
    body = (layers + drafting) * attention + dense * 3 * hidden * config["intermediate_size"]
    body += (layers - dense + drafting) * sparse + drafting * 2 * hidden * hidden
    return words + body, words


def _from_config(config: dict[str, Any], folder: Path) -> Model:
    heads = int(config["num_attention_heads"])
    latent = bool(config.get("kv_lora_rank"))
    head_size = int(config.get("head_dim") or config["hidden_size"] // heads)
    values = int(config["kv_lora_rank"]) + int(config["qk_rope_head_dim"]) if latent else 2 * head_size
    experts = int(config.get("n_routed_experts") or config.get("num_experts") or config.get("num_local_experts") or 0)
    architecture = next(iter(config.get("architectures") or [""]))
    tools, reasoning = _parsers(architecture, folder)
    return Model(
        source=str(folder),
        served=folder.name.lower(),
        label=folder.name,
        layers=int(config["num_hidden_layers"]),
        mtp_layers=int(config.get("num_nextn_predict_layers") or 0),
        heads=heads,
        kv_heads=1 if latent else int(config.get("num_key_value_heads") or heads),
        kv_values=values,
        latent=latent,
        experts=experts,
        expert_width=int(config.get("moe_intermediate_size") or config.get("intermediate_size") or 0),
        context=int(config["max_position_embeddings"]),
        weights=_bytes_of_weights(folder),
        precision=_precision(config),
        tool_parser=tools,
        reasoning_parser=reasoning,
    )


def _parsers(architecture: str, folder: Path) -> tuple[str, str]:
    """GLM-4.5 and 4.6 have 4.7's shapes and other tool calls; only their template knows `/nothink`."""
    if architecture not in {"Glm4MoeForCausalLM", "Glm4MoeLiteForCausalLM"}:
        return "", ""
    template = folder / "chat_template.jinja"
    older = template.exists() and "/nothink" in template.read_text(encoding="utf-8", errors="replace")
    return ("glm45" if older else "glm47"), "glm45"


def _precision(config: Mapping[str, Any]) -> str:
    quantised = config.get("quantization_config")
    if not quantised:
        return "bf16"
    text = json.dumps(quantised).lower()
    is_fp8 = '"fp8"' in text or ('"num_bits": 8' in text and '"float"' in text)
    return "fp8" if is_fp8 else str(quantised.get("quant_method", "quantised"))


def _bytes_of_weights(folder: Path) -> int:
    index = folder / "model.safetensors.index.json"
    files = sorted(folder.glob("*.safetensors"))
    if index.exists():
        named = {folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        missing = sorted(path.name for path in named if not path.exists())
        if missing:
            raise UsageError(
                f"{folder} lacks {len(missing)} of its {len(named)} files of weights, such as {missing[0]}.",
                hint="Download the model again: what is there already is kept.",
            )
        files = sorted(named)
    if not files:
        raise UsageError(f"{folder} holds no weights (*.safetensors).", hint="Download the model first.")
    return sum(path.stat().st_size for path in files)


GLM_47_CONFIG: dict[str, Any] = {
    "vocab_size": 151_552,
    "hidden_size": 5120,
    "num_hidden_layers": 92,
    "num_nextn_predict_layers": 1,
    "num_attention_heads": 96,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12_288,
    "moe_intermediate_size": 1536,
    "n_routed_experts": 160,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "max_position_embeddings": 202_752,
}
"""The part of GLM-4.7's config.json that decides about memory."""

GLM_47_FLASH_CONFIG: dict[str, Any] = {
    "vocab_size": 154_880,
    "hidden_size": 2048,
    "num_hidden_layers": 47,
    "num_nextn_predict_layers": 1,
    "num_attention_heads": 20,
    "q_lora_rank": 768,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 192,
    "qk_rope_head_dim": 64,
    "v_head_dim": 256,
    "intermediate_size": 10_240,
    "moe_intermediate_size": 1536,
    "n_routed_experts": 64,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 202_752,
}
"""The same of GLM-4.7-Flash, whose attention is latent: 512 + 64 numbers a token and layer."""


def _glm(name: str, label: str, config: Mapping[str, Any], *, fp8: bool = False) -> Model:
    total, words = parameters(config)
    latent = "kv_lora_rank" in config
    return Model(
        source=f"zai-org/{name}",
        served=name.lower(),
        label=label,
        layers=config["num_hidden_layers"],
        mtp_layers=config["num_nextn_predict_layers"],
        heads=config["num_attention_heads"],
        kv_heads=1 if latent else config["num_key_value_heads"],
        kv_values=config["kv_lora_rank"] + config["qk_rope_head_dim"] if latent else 2 * config["head_dim"],
        latent=latent,
        experts=config["n_routed_experts"],
        expert_width=config["moe_intermediate_size"],
        context=config["max_position_embeddings"],
        weights=total + words if fp8 else 2 * total,
        precision="fp8" if fp8 else "bf16",
    )


GLM_47_FP8 = _glm("GLM-4.7-FP8", "GLM-4.7", GLM_47_CONFIG, fp8=True)
GLM_47 = _glm("GLM-4.7", "GLM-4.7", GLM_47_CONFIG)
GLM_47_FLASH = _glm("GLM-4.7-Flash", "GLM-4.7-Flash", GLM_47_FLASH_CONFIG)
KNOWN = {model.served: model for model in (GLM_47_FP8, GLM_47, GLM_47_FLASH)}
"""The models that need no folder, by the name they are served under, the largest that is advised first."""
