"""Makes a tiny GLM-4.7: its architecture, its special tokens and the form of its prompts, with random weights.

Never imports glm_lsp: it is run by the engine's interpreter, `python checkpoint.py FOLDER [--mtp]`.

1.8 million parameters, made from a fixed seed in seconds. With `--mtp` it has the layer for multi-token prediction
besides. The prompt's form is GLM-4.7's, byte by byte: no newline after a role or between turns, thinking and answers
stripped, tool calls in XML, thinking of turns before the last user message left out unless `clear_thinking` is false.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sysconfig
from pathlib import Path

VOCABULARY = 4096
SPECIAL = (
    *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
)
ADDED = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    *("<tool_response>", "</tool_response>"),
)
STOP = ("<|endoftext|>", "<|user|>", "<|observation|>")

TEMPLATE = """\
[gMASK]<sop>
{%- macro text_of(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content is not none -%}{%- for part in content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
<|system|>
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{% for tool in tools %}{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}</tools>

For each function call, output the function name and arguments within the following XML format:
<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value>\
<arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>
{%- endif -%}
{%- set last = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}<|user|>{{ text_of(message.content) }}
{%- elif message.role == 'system' -%}<|system|>{{ text_of(message.content) }}
{%- elif message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}<|observation|>{%- endif -%}
<tool_response>{{ text_of(message.content) }}</tool_response>
{%- elif message.role == 'assistant' -%}
<|assistant|>
{%- set content = text_of(message.content) -%}
{%- set thought = '' -%}
{%- if message.reasoning_content is string -%}{%- set thought = message.reasoning_content -%}
{%- elif '</think>' in content -%}
{%- set thought = content.split('</think>')[0].split('<think>')[-1] -%}
{%- set content = content.split('</think>')[-1] -%}
{%- endif -%}
{%- set kept = (clear_thinking is defined and not clear_thinking) or loop.index0 > last.user -%}
{%- if kept and thought -%}<think>{{ thought.strip() }}</think>{%- else -%}</think>{%- endif -%}
{{ content.strip() }}
{%- for call in message.tool_calls or [] -%}
{%- set function = call.function or call -%}
<tool_call>{{ function.name }}
{%- for key, value in function.arguments.items() -%}
<arg_key>{{ key }}</arg_key><arg_value>
{{- value if value is string else value | tojson(ensure_ascii=False) -}}
</arg_value>
{%- endfor -%}
</tool_call>
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>{{ '</think>' if enable_thinking is defined and not enable_thinking else '<think>' }}
{%- endif -%}
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mtp", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(arguments.folder)
    write_model(arguments.folder, mtp=arguments.mtp)


def write_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(ADDED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(path) for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:80]], trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ADDED])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def write_model(folder: Path, *, mtp: bool) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer, Glm4MoeConfig, Glm4MoeForCausalLM

    torch.manual_seed(47)
    stops = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(list(STOP))
    config = Glm4MoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=3,
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        n_group=1,
        topk_group=1,
        use_qk_norm=True,
        attention_bias=True,
        partial_rotary_factor=0.5,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    model = Glm4MoeForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = stops
    model.generation_config.pad_token_id = stops[0]
    model.save_pretrained(folder)
    if not mtp:
        return
    weights = load_file(folder / "model.safetensors")
    last, extra = f"model.layers.{config.num_hidden_layers - 1}.", f"model.layers.{config.num_hidden_layers}."
    weights |= {extra + name.removeprefix(last): w.clone() for name, w in weights.items() if name.startswith(last)}
    ones = torch.ones(config.hidden_size, dtype=torch.bfloat16)
    weights |= {extra + name: ones.clone() for name in ("enorm.weight", "hnorm.weight", "shared_head.norm.weight")}
    wide = torch.empty(config.hidden_size, 2 * config.hidden_size, dtype=torch.bfloat16)
    weights[extra + "eh_proj.weight"] = wide.normal_(std=0.02)
    weights[extra + "shared_head.head.weight"] = weights["lm_head.weight"].clone()
    weights[extra + "embed_tokens.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    written["num_nextn_predict_layers"] = 1
    (folder / "config.json").write_text(json.dumps(written, indent=2), encoding="utf-8")


if __name__ == "__main__":
    random.seed(47)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
