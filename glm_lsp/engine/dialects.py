"""How each kind of server spells things: the fields of a request, and the errors it answers with.

Never opens a connection: it turns a Prompt into a body, and a refusal into an error of ours.

Another kind of server is another row of `DIALECTS`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from glm_lsp.errors import (
    CannotDo,
    ContextTooLong,
    DiedMidStream,
    EngineError,
    MalformedReply,
    Overloaded,
    Refused,
    Unreachable,
    WrongModel,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from glm_lsp.engine.profiles import Profile
    from glm_lsp.terms import Message, Prompt, ToolSpec


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server understands.

    Attributes:
        id: the value of the setting `engine.dialect`.
        owners: what its list of models gives as `owned_by`, by which it is recognised.
        hosts: where else it is recognised by its address.
        thinking_field: name of the thinking in messages that are sent back.
        max_tokens_field: name of the cap on new tokens.
        template_arguments: whether it hands `chat_template_kwargs` to the model's chat template.
        thinking_option: name of the object that switches thinking instead: `thinking` as Z.ai has it, `reasoning` as
            OpenRouter has it; empty for none.
        thinking_budget: name of the cap on tokens of thinking; empty where it has none.
        priority: whether it takes a `priority`; it may still ignore it.
        usage_option: whether usage must be asked for with `stream_options`.
        running_usage: whether it can tell the new tokens so far with every chunk.
        streams_tools: whether it must be asked to stream the arguments of tool calls.
        token_ids: whether it can be asked for the tokens it read and wrote, and given those it shall read.
        shortens: whether it cuts the cap on new tokens to what the context has left by itself.
    """

    id: str
    owners: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    thinking_field: str = "reasoning_content"
    max_tokens_field: str = "max_tokens"
    template_arguments: bool = False
    thinking_option: Literal["thinking", "reasoning", ""] = ""
    thinking_budget: str = ""
    priority: bool = False
    usage_option: bool = True
    running_usage: bool = False
    streams_tools: bool = False
    token_ids: bool = False
    shortens: bool = False

    @property
    def switches_thinking(self) -> bool:
        """Whether a request can turn thinking on and off."""
        return self.template_arguments or bool(self.thinking_option)


VLLM = Dialect(
    id="vllm",
    owners=("vllm",),
    thinking_field="reasoning",
    max_tokens_field="max_completion_tokens",
    template_arguments=True,
    thinking_budget="thinking_token_budget",
    priority=True,
    running_usage=True,
    token_ids=True,
    shortens=True,
)

SGLANG = Dialect(id="sglang", owners=("sglang",), template_arguments=True)

ZAI = Dialect(
    id="zai",
    hosts=("api.z.ai", "open.bigmodel.cn"),
    thinking_option="thinking",
    usage_option=False,  # usage comes unasked with the last chunk
    streams_tools=True,
)

OPENROUTER = Dialect(id="openrouter", hosts=("openrouter.ai",), thinking_field="reasoning", thinking_option="reasoning")

GENERIC = Dialect(id="generic")
"""The safe minimum that any OpenAI-compatible server takes."""

DIALECTS: Mapping[str, Dialect] = {dialect.id: dialect for dialect in (VLLM, SGLANG, ZAI, OPENROUTER, GENERIC)}


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
        extra: fields from the settings; they win over ours, one level deep, save `model`, `messages` and `stream`.
    """
    messages = [_message(dialect, profile, message) for message in prompt.messages]
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
    if dialect.template_arguments and profile.thinking:
        arguments: dict[str, Any] = {}
        if profile.thinking_switch:
            arguments["enable_thinking"] = prompt.thinking
        if profile.preserves_thinking:
            arguments["clear_thinking"] = False
        if arguments:
            fields["chat_template_kwargs"] = arguments
    if dialect.thinking_option and profile.thinking:
        fields[dialect.thinking_option] = _thinking(dialect, profile, prompt)
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
    """The object that switches thinking, and keeps that of earlier turns where it can say so."""
    on = prompt.thinking or not profile.thinking_switch  # a model that always thinks refuses to be told not to
    if dialect.thinking_option == "reasoning":
        return {"enabled": on}
    kept = {"clear_thinking": False} if profile.preserves_thinking else {}
    return {"type": "enabled" if on else "disabled", **kept}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _message(dialect: Dialect, profile: Profile, message: Message) -> dict[str, Any]:
    # Content is never null: GLM's template would print the word None (seen with several renderers).
    spelled: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        spelled["tool_call_id"] = message.call_id
    if message.thinking and profile.preserves_thinking:
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
    wanted = prompt.sampling.max_new_tokens
    if dialect.shortens:
        return min(wanted, profile.context_length)
    characters = sum(
        len(m.text) + len(m.thinking) + sum(len(c.arguments) for c in m.tool_calls) for m in prompt.messages
    )
    characters += sum(len(json.dumps(tool.parameters)) + len(tool.description) for tool in prompt.tools)
    left = profile.context_length - characters // 3  # code has more than three characters to a token
    return max(1, min(wanted, left, profile.context_length // 2) if left > 0 else 1)


# --- a refusal ---------------------------------------------------------------------------------------------------


class _Problem(msgspec.Struct):
    message: str = ""
    type: str = ""
    code: int | str | None = None


class _Refusal(msgspec.Struct):
    """The shapes in use: `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}`."""

    error: _Problem | str | None = None
    message: str | None = None
    detail: Any = None
    code: int | str | None = None


def spoken(payload: bytes) -> tuple[str, int | None]:
    """Reads a server's own words out of an error's body, and the status inside it if there is one.

    Returns:
        The words, at most 500 characters of them and empty where there are none, and the status or None.
    """
    try:
        refusal = msgspec.json.decode(payload, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", None
    problem = refusal.error if isinstance(refusal.error, _Problem) else _Problem(code=refusal.code)
    words = problem.message or (refusal.error if isinstance(refusal.error, str) else "") or refusal.message or ""
    if not words and refusal.detail:
        words = refusal.detail if isinstance(refusal.detail, str) else json.dumps(refusal.detail, ensure_ascii=False)
    code = problem.code
    status = code if isinstance(code, int) and 100 <= code < 600 else None
    return (words or problem.type)[:500], status


def explain(
    status: int,
    payload: bytes,
    *,
    where: str,
    model: str,
    served: Sequence[str] = (),
    key_env: str = "",
    has_key: bool = False,
    retry_after: float | None = None,
) -> EngineError:
    """Turns an answer that is not a completion into the error that says what to do about it.

    Args:
        status: the HTTP status, or the one inside an error event.
        payload: the body, or the event's data.
        where: the engine's address as it may be shown.
        model: the name that was asked for.
        served: the names the engine serves, where known.
        key_env: name of the variable that may hold a key.
        has_key: whether it does.
        retry_after: seconds the server asked us to wait.
    """
    words, _ = spoken(payload)
    says = f": {words.rstrip('.')}." if words else "."
    if status in (401, 403, 407):
        hint = f"The key in {key_env} does not open it." if has_key else f"Put the engine's key into {key_env}."
        return Refused(f"The engine at {where} refuses us ({status}){says}", hint=hint)
    if status == 402:
        return Refused(f"The engine at {where} wants to be paid (402){says}", hint="Look at the account's balance.")
    if 300 <= status < 400:
        return Refused(
            f"The engine at {where} sends us elsewhere ({status}), which is not followed.",
            hint="Set engine.url to the final address.",
        )
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(words)):
        return _too_long(words, where)
    if status == 404 and "model" in words.lower():
        names = f" It serves {', '.join(served)}." if served else ""
        return WrongModel(
            f"The engine at {where} has no model {model}{says if not served else '.'}{names}",
            hint="Set engine.model to one of them." if served else "Set engine.model to a model that it serves.",
        )
    if status in (404, 405, 410):
        return MalformedReply(
            f"There are no chat completions at {where} ({status}){says}",
            hint="engine.url is the address up to, and with or without, the /v1.",
        )
    if status in (429, 503, 529):
        hint = f"Try again in {retry_after:.0f} s." if retry_after else "Try again in a moment."
        return Overloaded(f"The engine at {where} is too busy ({status}){says}", hint=hint, retry_after=retry_after)
    if status in (502, 504):
        return Unreachable(
            f"The gateway at {where} does not reach its engine ({status}){says}",
            hint="See whether the engine behind it runs.",
            retryable=True,
        )
    if status >= 500:
        return DiedMidStream(
            f"The engine at {where} failed ({status}){says}", hint="Its own log says why.", retryable=True
        )
    return CannotDo(
        f"The engine at {where} does not take the request ({status}){says}",
        hint="See whether engine.dialect and engine.extra_body fit this server.",
    )


def refuses_tools(status: int, payload: bytes) -> bool:
    """Says whether a refusal is about the tools that came with the request.

    vLLM answers 400 (without --enable-auto-tool-choice), llama.cpp 500 (without --jinja).
    """
    words = spoken(payload)[0]
    return status in (400, 404, 422, 500, 501) and bool(_TOOLS.search(words)) and not _TOO_LONG.search(words)


_TOOLS = re.compile(r"\btools?\b|\btool[_ ](?:choice|use|call)", re.IGNORECASE)

_TOO_LONG = re.compile(
    r"maximum context length|context[ _]length[ _]exceeded|exceeds? (?:the |model's )?(?:available |maximum )?context"
    r"|exceeds? max(?:imum)? length|longer than the (?:model's context|maximum model) length|prompt is too long",
    re.IGNORECASE,
)

_LIMIT = re.compile(
    r"maximum context length(?: is| of)? \(?(\d+)|context length \((\d+)|context size \((\d+)|maximum model length of (\d+)",
    re.IGNORECASE,
)

# Each with what the request takes up: vLLM since 0.12, vLLM before and OpenAI, SGLang and vLLM's generic form.
_TAKEN = (
    re.compile(r"contains (\d+) input tokens|has (\d+) input tokens", re.IGNORECASE),
    re.compile(r"requested (\d+) tokens|resulted in (\d+) tokens", re.IGNORECASE),
    re.compile(r"(?:input|request|prompt)(?: length)? \((\d+)|length of (\d+)\)? is longer", re.IGNORECASE),
)

_CAP = re.compile(r"too large: (\d+)")


def _too_long(words: str, where: str) -> ContextTooLong:
    limit = _number(_LIMIT, words)
    taken = next((n for pattern in _TAKEN if (n := _number(pattern, words)) is not None), None)
    over = None
    if limit is not None and taken is not None:
        cap = _number(_CAP, words) or 0
        over = taken + cap - limit if taken + cap > limit else None
    size = f" of {limit:,} tokens" if limit is not None else ""
    much = f" by {over:,} tokens" if over is not None else ""
    return ContextTooLong(
        f"The prompt does not fit into the context{size} of the engine at {where}{much}.",
        hint="Name fewer or smaller files, or start a new conversation.",
        over_by=over,
    )


def _number(pattern: re.Pattern[str], words: str) -> int | None:
    found = pattern.search(words)
    return int(next(group for group in found.groups() if group)) if found else None
