"""A logits processor for vLLM: a request that carries `force_token_ids` says exactly those tokens.

Never imports glm_lsp: vLLM loads it by name (`--logits-processors forced:ForcedTokens`, this folder on PYTHONPATH).

Random weights speak gibberish; this makes them speak the script, and leaves all else real: sampling, the KV cache,
streaming, the reasoning and tool-call parsers, stop tokens, aborts and the counting of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

    from vllm import SamplingParams


class ForcedTokens(AdapterLogitsProcessor):
    """Leaves one token possible at each position of a scripted request, and the last one ever after."""

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(
        self, params: SamplingParams
    ) -> Callable[[list[int], torch.Tensor], torch.Tensor] | None:
        wanted = (params.extra_args or {}).get("force_token_ids")
        if not wanted:
            return None
        script = [int(token) for token in wanted]

        def force(said: list[int], logits: torch.Tensor) -> torch.Tensor:
            token = script[min(len(said), len(script) - 1)]
            only = torch.full_like(logits, float("-inf"))
            only[token] = 0.0
            return only

        return force
