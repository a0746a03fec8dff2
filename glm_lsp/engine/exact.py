"""The next prompt as token ids: those that the engine read and wrote before, and a newly rendered end.

Never holds a token's number of its own: every id comes from the engine, and every engine's template is compared with
ours before it is trusted.

A conversation that is rendered anew from its messages is not the one that was read before: GLM's template strips white
space, and text does not always split into the tokens that were sampled. Kept as ids, it is the same to the last token,
and so is the engine's cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp.terms import Message, TokenLog, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.terms import FinishReason, Prompt

Tokenise = Callable[[dict[str, Any]], Awaitable[list[int]]]
"""Asks the engine for the tokens of a `prompt`, or of `messages` as its chat template renders them."""


@dataclass(frozen=True, slots=True)
class Template:
    """An engine's template and its marks, seen to be the ones we can continue.

    Attributes:
        identity: a digest of the tokens it makes of a fixed conversation.
        stops: the tokens that end a reply: the next role's opener, or the end of the text.
        thought: the token that ends thinking.
    """

    identity: str
    stops: frozenset[int]
    thought: int


async def learn(tokenise: Tokenise, thinking_field: str) -> Template | None:
    """Compares the engine's template with ours on a conversation that has everything in it.

    Args:
        tokenise: how to ask the engine.
        thinking_field: the name under which its tokeniser takes thinking.

    Returns:
        What is needed to continue conversations; None where the engine renders them otherwise.
    """
    spelled = [_spelled(message, thinking_field) for message in _SAMPLE]
    theirs: list[int] = []
    for thinking in (True, False):
        arguments = {"enable_thinking": thinking, "clear_thinking": False}
        theirs += await tokenise({"messages": spelled, "chat_template_kwargs": arguments})
    ours = "".join(_BEGINNING + suffix(_SAMPLE, 0, thinking=thinking) for thinking in (True, False))
    marks = "".join((*_STOPS, _THOUGHT))
    rendered = await tokenise({"prompt": ours + marks})
    *stops, thought = rendered[len(theirs) :] or (0,)
    if rendered[: len(theirs)] != theirs or len(stops) != len(_STOPS):
        return None
    return Template(hashlib.sha256(msgspec.json.encode(theirs)).hexdigest(), frozenset(stops), thought)


def fingerprint(template: Template, *, model: str, version: str, profile: str, tools: object) -> str:
    """Names what a token log belongs to: model, server version, profile, template and the tools' bytes."""
    parts = (model, version, profile, template.identity)
    return hashlib.sha256("\0".join(parts).encode() + msgspec.json.encode(tools)).hexdigest()[:32]


def usable(log: TokenLog | None, prompt: Prompt, fingerprint: str) -> bool:
    """Says whether a log is this engine's, and stands for the first messages of this prompt."""
    return (
        log is not None
        and log.fingerprint == fingerprint
        and 0 < log.covers <= len(prompt.messages)
        and prompt.messages[log.covers - 1].role == "assistant"
    )


async def continued(tokenise: Tokenise, log: TokenLog, prompt: Prompt) -> list[int]:
    """The ids that the engine shall read: the log's, and those of everything behind it.

    The end begins with one of the control tokens, at which the tokeniser splits in any case: taken by itself it has
    the same tokens as at its place.
    """
    return [*log.ids, *await tokenise({"prompt": suffix(prompt.messages, log.covers, thinking=prompt.thinking)})]


async def proof(tokenise: Tokenise, question: str, fingerprint: str) -> TokenLog:
    """A log of a question and an answer with white space around it, which the template would strip.

    An engine that reads anything but these ids, and be it the same messages, reads other tokens.
    """
    text = f"{_BEGINNING}<|user|>{question}<|assistant|>{_THOUGHT}\n Yes.\n"
    return TokenLog(tuple(await tokenise({"prompt": text})), 2, fingerprint)


def log_after(
    read: Sequence[int] | None,
    written: Sequence[int],
    *,
    prompt: Prompt,
    finish: FinishReason,
    template: Template,
    fingerprint: str,
) -> TokenLog | None:
    """The log once a reply has ended; it covers the prompt's messages and the reply, which has to be appended next.

    None for a reply that was cut off or whose thinking never ended. As ids it would stay open for ever, so it is better
    rendered from its message: the log before it stays good, and the reply becomes part of the end behind that.

    Args:
        read: the ids of the prompt, as the engine gave them back.
        written: the ids of the reply, its final stop token included.
        prompt: what was asked.
        finish: why the reply ended.
        template: the engine's marks.
        fingerprint: what the log will belong to.
    """
    if not read or not written or finish not in ("stop", "tool_calls"):
        return None
    if prompt.thinking and template.thought not in written:
        return None
    kept = written[:-1] if written[-1] in template.stops else written
    return TokenLog((*read, *kept), len(prompt.messages) + 1, fingerprint)


# --- GLM-4.7's template, from the first message not yet read ------------------------------------------------------


def suffix(messages: Sequence[Message], since: int, *, thinking: bool) -> str:
    """Renders the messages from index `since` on, and the opener of the next reply, as GLM-4.7's chat template does.

    No new line stands after a role or between turns; neighbouring tool results share one opener; arguments that are
    text stand as they are, all others as JSON (chat template of the public model repository, with clear_thinking
    false).
    """
    pieces = []
    before = messages[since - 1].role if since else ""
    for message in messages[since:]:
        match message.role:
            case "tool":
                opener = "" if before == "tool" else "<|observation|>"
                pieces.append(f"{opener}<tool_response>{message.text}</tool_response>")
            case "assistant":
                pieces.append(_reply(message))
            case "user" | "system":
                pieces.append(f"<|{message.role}|>{message.text}")
        before = message.role
    return "".join([*pieces, "<|assistant|>", "<think>" if thinking else _THOUGHT])


def _reply(message: Message) -> str:
    thought, text = message.thinking, message.text
    if not thought and _THOUGHT in text:  # a server that told them not apart
        thought, text = text.split(_THOUGHT)[0].split("<think>")[-1], text.split(_THOUGHT)[-1]
    opener = f"<think>{thought.strip()}" if thought else ""
    calls = "".join(map(_call, message.tool_calls))
    return f"<|assistant|>{opener}{_THOUGHT}{text.strip()}{calls}"


def _call(call: ToolCall) -> str:
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = None
    pairs = arguments.items() if isinstance(arguments, dict) else ()  # what is no object goes to engines as {}
    rendered = (
        f"<arg_key>{name}</arg_key><arg_value>"
        f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}</arg_value>"
        for name, value in pairs
    )
    return f"<tool_call>{call.name}{''.join(rendered)}</tool_call>"


_BEGINNING = "[gMASK]<sop>"
_STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")
_THOUGHT = "</think>"

# Everything in which templates of this family are known to differ: white space at every edge, thinking before and
# after the last user message, a reply without any, one call and two, arguments of every kind, several results.
_SAMPLE = (
    Message("system", "One \n"),
    Message("user", "\n Two"),
    Message(
        "assistant",
        " \nFour\n",
        "\nThree ",
        (
            ToolCall("a", "find", '{"text": " five\\n", "more": [1, 2.5, {"é": null}], "all": true}'),
            ToolCall("b", "look", "{}"),
        ),
    ),
    Message("tool", "\nSix ", call_id="a"),
    Message("tool", "Seven", call_id="b"),
    Message("assistant", "Eight\n"),
    Message("user", "Nine"),
    Message("system", " Ten"),
    Message("user", "Eleven\n"),
    Message("assistant", "", "Twelve", (ToolCall("c", "look", "{}"),)),
    Message("tool", "", call_id="c"),
)


def _spelled(message: Message, thinking_field: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        fields["tool_call_id"] = message.call_id
    if message.thinking:
        fields[thinking_field] = message.thinking
    if message.tool_calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return fields
