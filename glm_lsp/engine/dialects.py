"""How each kind of server spells things: the fields of a request, and what it does with thinking.

Never opens a connection: it turns a Prompt into a body.

Another kind of server is another row of `DIALECTS`, a file in `tests/dialects/` and a row in `docs/servers.md`.
Each row says what it was written from; a hosted service may change under it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from glm_lsp.engine.profiles import Profile
    from glm_lsp.terms import Message, Prompt, ToolSpec

Switch = Literal["template", "thinking", "reasoning", "enable_thinking", "effort", ""]
"""How a request turns thinking on and off.

`template`: `chat_template_kwargs`, which reach the model's own chat template; `thinking`: the object that Z.ai made;
`reasoning`: the object that OpenRouter made; `enable_thinking`: a field of that name; `effort`: `reasoning_effort` is
`none`, or left out; empty: not at all.
"""

Keeping = Literal["switch", "field", "sent", "never"]
"""How the thinking of earlier turns is kept.

`switch`: by `clear_thinking` beside the switch; `field`: by a `clear_thinking` of its own; `sent`: to send it is all
that can be done; `never`: the server drops it, so it is not sent.
"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server understands.

    Attributes:
        id: the value of the setting `engine.dialect`.
        name: what people call it.
        owners: what its list of models gives as `owned_by`, by which it is recognised.
        hosts: where else it is recognised by its address.
        port: its usual port on one's own host, by which it is recognised there; 0 for none of its own.
        thinking_field: name of the thinking in messages that are sent back.
        details: whether thinking comes in `reasoning_details`, which go back as they came.
        max_tokens_field: name of the cap on new tokens.
        longest_reply: new tokens that it writes at most; 0 for as many as fit.
        context_length: tokens of prompt and reply that it takes of any model; 0 for what the model can.
        switch: how thinking is turned on and off.
        keeps: how earlier thinking is kept.
        thinking_budget: name of the cap on tokens of thinking; empty where it has none.
        priority: whether it takes a `priority`; it may still ignore it.
        usage_option: whether usage must be asked for with `stream_options`.
        running_usage: whether it can tell the new tokens so far with every chunk.
        streams_tools: whether it must be asked to stream the arguments of tool calls.
        parses_tools: whether tools that it takes come back as calls; else they may stay in the text.
        token_ids: whether it can be asked for the tokens it read and wrote, and given those it shall read.
        shortens: whether it cuts the cap on new tokens to what the context has left by itself.
        lists_all: whether it serves nothing but what its list of models has.
        window: which of its own documents tells the context that it has made room for; empty for none.
    """

    id: str
    name: str
    owners: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    port: int = 0
    thinking_field: str = "reasoning_content"
    details: bool = False
    max_tokens_field: str = "max_tokens"
    longest_reply: int = 0
    context_length: int = 0
    switch: Switch = ""
    keeps: Keeping = "sent"
    thinking_budget: str = ""
    priority: bool = False
    usage_option: bool = True
    running_usage: bool = False
    streams_tools: bool = False
    parses_tools: bool = True
    token_ids: bool = False
    shortens: bool = False
    lists_all: bool = True
    window: Literal["/props", "/api/ps", ""] = ""

    @property
    def switches_thinking(self) -> bool:
        """Whether a request can turn thinking on and off."""
        return bool(self.switch)


# vLLM's own source and a running 0.32: `reasoning` since 0.12, before that `reasoning_content`, which it still reads.
VLLM = Dialect(
    id="vllm",
    name="vLLM",
    owners=("vllm",),
    thinking_field="reasoning",
    max_tokens_field="max_completion_tokens",
    switch="template",
    keeps="switch",
    thinking_budget="thinking_token_budget",
    priority=True,
    running_usage=True,
    token_ids=True,
    shortens=True,
)

# docs.sglang.io, "Reasoning Parser" and "OpenAI APIs"; entrypoints/openai/protocol.py for `owned_by` and the errors.
# Cached tokens only with --enable-cache-report. Its `priority` counts the other way round by default: not sent.
SGLANG = Dialect(id="sglang", name="SGLang", owners=("sglang",), switch="template", keeps="switch")

# cli/serving of transformers 5.19: fields that it does not know are a 422; of a message it reads only role, content
# and tool calls, so that earlier thinking is dropped; its list is the download cache, not what it serves. It parses
# replies of models for which it has a response template, and GLM is none of them: tags stay in the text.
TRANSFORMERS = Dialect(
    id="transformers",
    name="transformers serve",
    switch="template",
    keeps="never",
    parses_tools=False,
    usage_option=False,  # comes unasked with the last chunk; the field is ignored with a warning
    lists_all=False,
)

# tools/server of llama.cpp: template arguments with its default --jinja; `meta.n_ctx` in its list, in /props before
# that; `timings.cache_n` tells what was cached. Without --jinja it refuses tools with a 500.
LLAMA_CPP = Dialect(
    id="llama.cpp", name="llama.cpp", owners=("llamacpp",), switch="template", keeps="switch", window="/props"
)

# docs.ollama.com, "OpenAI compatibility"; openai/openai.go and model/renderers/glm47.go: thinking is on unless the
# effort is none, and the thinking of every message is rendered. How much context it has made room for, which may be
# far less than the model's, stands in /api/ps once the model is loaded.
OLLAMA = Dialect(
    id="ollama",
    name="Ollama",
    owners=("library",),
    hosts=("ollama.com",),
    port=11434,
    thinking_field="reasoning",
    switch="effort",
    window="/api/ps",
)

# docs.z.ai, "Thinking Mode" and "Chat Completion". The two endpoints, /api/paas/v4 and /api/coding/paas/v4, differ in
# what happens to earlier thinking where a request does not say: dropped, and kept. So every request says it.
ZAI = Dialect(
    id="zai",
    name="Z.ai",
    hosts=("api.z.ai", "open.bigmodel.cn"),
    switch="thinking",
    keeps="switch",
    usage_option=False,  # usage comes unasked with the last chunk
    streams_tools=True,
)

# novita.ai/docs, "Create chat completion" and "Interleaved thinking". Nothing is said about earlier thinking but that
# it has to come back.
NOVITA = Dialect(id="novita", name="Novita", hosts=("api.novita.ai",), switch="enable_thinking")

# inference-docs.cerebras.ai, "Reasoning" and "Migrate to GLM 4.7": thinking off is an effort of none (the older
# disable_reasoning is deprecated), clear_thinking is a field of its own and true by default, fields that it does not
# know are a 400, and so is `reasoning_content` in a message. The limits are the service's.
CEREBRAS = Dialect(
    id="cerebras",
    name="Cerebras",
    hosts=("api.cerebras.ai",),
    thinking_field="reasoning",
    max_tokens_field="max_completion_tokens",
    longest_reply=40_000,
    context_length=131_072,
    switch="effort",
    keeps="field",
    usage_option=False,  # usage comes unasked with the last chunk
)

# openrouter.ai/docs, "Reasoning Tokens".
OPENROUTER = Dialect(
    id="openrouter",
    name="OpenRouter",
    hosts=("openrouter.ai",),
    thinking_field="reasoning",
    details=True,
    switch="reasoning",
)

GENERIC = Dialect(id="generic", name="an unknown kind of server")
"""The safe minimum that any OpenAI-compatible server takes."""

DIALECTS: Mapping[str, Dialect] = {
    dialect.id: dialect
    for dialect in (
        VLLM,
        SGLANG,
        LLAMA_CPP,
        OLLAMA,
        TRANSFORMERS,
        ZAI,
        NOVITA,
        CEREBRAS,
        OPENROUTER,
        GENERIC,
    )
}


def recognised(*, owner: str = "", host: str = "", port: int = 0) -> Dialect | None:
    """Finds the kind of a server by what it says of itself and by its address; None where neither tells."""
    for dialect in DIALECTS.values():
        if owner in dialect.owners or host in dialect.hosts or (dialect.port and port == dialect.port):
            return dialect
    return None


# --- a request ---------------------------------------------------------------------------------------------------


def body(
    dialect: Dialect,
    profile: Profile,
    model: str,
    prompt: Prompt,
    *,
    priority: int = 0,
    tools_as_text: bool = False,
    token_ids: bool = False,
    prompt_ids: Sequence[int] = (),
    originals: Mapping[str, Sequence[Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Spells a Prompt as the JSON object of a streamed chat completion.

    The same prompt always gives the same bytes, and a longer conversation the same bytes with more after them,
    so that a server's prefix cache can serve what it has read before.

    Args:
        dialect: how the server spells things.
        profile: what the model can do.
        model: the name it is served under.
        prompt: what it reads.
        priority: added to the prompt's own priority; lower is served first.
        tools_as_text: whether tools go into a system message in GLM's own form, for a server that parses none.
        token_ids: whether to ask for the tokens of prompt and reply.
        prompt_ids: the tokens to read; the messages are then only for a server that does not take them.
        originals: thinking as it came in `reasoning_details`, by its text.
        extra: fields from the settings; they win over ours, one level deep, save `model`, `messages` and `stream`.
    """
    messages = [_message(dialect, profile, message, originals or {}) for message in prompt.messages]
    fields: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
    if dialect.usage_option:
        fields["stream_options"] = {"include_usage": True}
        if dialect.running_usage:
            fields["stream_options"]["continuous_usage_stats"] = True
    fields["temperature"] = prompt.sampling.temperature
    if prompt.sampling.top_p is not None:
        fields["top_p"] = prompt.sampling.top_p
    if not {"max_tokens", "max_completion_tokens"} & set(extra or ()):  # theirs may be spelled the other way
        fields[dialect.max_tokens_field] = _room(dialect, profile, prompt)
    if token_ids:
        fields["return_token_ids"] = True
    if prompt_ids:  # vLLM reads these and leaves the messages unrendered, since 0.32 at the latest
        fields["kv_transfer_params"] = {"prompt_token_ids": list(prompt_ids)}
    if prompt.tools and tools_as_text:
        messages.insert(0, {"role": "system", "content": tools_text(prompt.tools)})
    elif prompt.tools:
        fields["tools"] = spelled_tools(prompt.tools)
        if dialect.streams_tools:
            fields["tool_stream"] = True
        if prompt.must_call:
            fields["tool_choice"] = "required"
    if profile.thinking:
        fields |= _thinking(dialect, profile, prompt)
    if dialect.thinking_budget and profile.thinking and prompt.thinking and prompt.thinking_tokens:
        fields[dialect.thinking_budget] = prompt.thinking_tokens
    if dialect.priority and (priority or prompt.priority):
        fields["priority"] = priority + prompt.priority
    for name, value in (extra or {}).items():
        if name in ("model", "messages", "stream"):
            continue
        ours = fields.get(name)
        fields[name] = {**ours, **value} if isinstance(ours, dict) and isinstance(value, dict) else value
    return fields


def spelled_tools(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Spells tools as every server takes them."""
    return [_tool(tool) for tool in tools]


def tools_text(tools: Sequence[ToolSpec]) -> str:
    """Describes tools to the model byte for byte as GLM-4.7's own chat template does (its public model repository)."""
    lines = "".join(json.dumps(_tool(tool), ensure_ascii=False) + "\n" for tool in tools)
    return (
        "\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{lines}</tools>\n\n"
        "For each function call, output the function name and arguments within the following XML format:\n"
        "<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value>"
        "<arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"
    )


def _thinking(dialect: Dialect, profile: Profile, prompt: Prompt) -> dict[str, Any]:
    """The fields that switch thinking, and keep that of earlier turns where they can say so."""
    on = prompt.thinking or not profile.thinking_switch  # a model that always thinks refuses to be told not to
    cleared = {"clear_thinking": False} if profile.preserves_thinking else {}
    beside = cleared if dialect.keeps == "switch" else {}
    own = cleared if dialect.keeps == "field" else {}
    match dialect.switch:
        case "template":
            arguments = ({"enable_thinking": on} if profile.thinking_switch else {}) | beside
            return own | ({"chat_template_kwargs": arguments} if arguments else {})
        case "thinking":
            return own | {"thinking": {"type": "enabled" if on else "disabled", **beside}}
        case "reasoning":
            return own | {"reasoning": {"enabled": on}}
        case "enable_thinking":
            return own | {"enable_thinking": on}
        case "effort":
            return own if on else own | {"reasoning_effort": "none"}
        case _:
            return own


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _message(
    dialect: Dialect, profile: Profile, message: Message, originals: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    # Content is never null: GLM's template would print the word None (seen with several renderers).
    spelled: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        spelled["tool_call_id"] = message.call_id
    if message.thinking and profile.preserves_thinking and dialect.keeps != "never":
        if details := originals.get(message.thinking):
            spelled["reasoning_details"] = list(details)
        else:
            spelled[dialect.thinking_field] = message.thinking
    if message.tool_calls:
        spelled["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments if _is_object(call.arguments) else "{}"},
            }
            for call in message.tool_calls
        ]
    return spelled


def _is_object(text: str) -> bool:
    """Says whether a text is a JSON object; templates walk over its items and break on anything else."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False


def _room(dialect: Dialect, profile: Profile, prompt: Prompt) -> int:
    """Caps new tokens: every server refuses a cap above the whole context, and some a cap above what is left of it."""
    wanted = min(prompt.sampling.max_new_tokens, dialect.longest_reply or prompt.sampling.max_new_tokens)
    if dialect.shortens:
        return min(wanted, profile.context_length)
    characters = sum(
        len(m.text) + len(m.thinking) + sum(len(c.arguments) for c in m.tool_calls) for m in prompt.messages
    )
    characters += sum(len(json.dumps(tool.parameters)) + len(tool.description) for tool in prompt.tools)
    left = profile.context_length - characters // 3  # code has more than three characters to a token
    return max(1, min(wanted, left, profile.context_length // 2) if left > 0 else 1)
