"""Params and results of what an editor asks on behalf of an agent of its own, to which GLM is a model among others.

Never does anything: the classes say what travels.
"""

from __future__ import annotations

from typing import Any, Literal

from glm_lsp.server.wire.parts import Count, Exactness, Thinking, Usage, Wire

FinishReason = Literal["stop", "length", "toolCalls"]

# --- what is said ------------------------------------------------------------------------------------------------


class TextPart(Wire, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Words; `type` is `text`.

    Attributes:
        text: the words.
    """

    text: str


class ThinkingPart(Wire, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What the model thought; `type` is `thinking`. An agent may leave it out of what it sends back.

    Attributes:
        text: the thought.
    """

    text: str


class CallPart(Wire, frozen=True, kw_only=True, tag_field="type", tag="call"):
    """A tool call, whole; `type` is `call`.

    Attributes:
        call_id: names it, and has to come back as it is: what was thought before the call is found by it.
        name: the tool.
        arguments: by their names.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]


class ResultPart(Wire, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """What a tool call came to; `type` is `result`.

    Attributes:
        call_id: the call.
        text: the result.
    """

    call_id: str
    text: str


class ImagePart(Wire, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """A picture, which the model cannot see: a request with one is refused; `type` is `image`.

    Attributes:
        mime_type: what kind it is.
    """

    mime_type: str = ""


class PlacePart(Wire, frozen=True, kw_only=True, tag_field="type", tag="place"):
    """The place in the engine's line of requests, before anything is said; `type` is `place`.

    Attributes:
        place: 1 for who is next; 0 when the wait is over.
    """

    place: Count


class ModelMessage(Wire, frozen=True, kw_only=True):
    """One message of a conversation that an agent keeps.

    Attributes:
        role: who says it; results of tools are said by the user.
        parts: what is said, in order.
    """

    role: Literal["system", "user", "assistant"]
    parts: tuple[TextPart | ThinkingPart | CallPart | ResultPart | ImagePart, ...]


class ModelTool(Wire, frozen=True, kw_only=True):
    """A tool of the agent's.

    Attributes:
        name: of letters, digits, `_`, `-` and `.`.
        description: for the model.
        input_schema: a JSON schema of an object; absent for a tool without arguments.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] | None = None


# --- requests ----------------------------------------------------------------------------------------------------


class CompleteParams(Wire, frozen=True, kw_only=True):
    """What an agent asks.

    Attributes:
        stream: names the reply in `glm/model/delta`; the client chooses it, anew for each request.
        messages: the whole conversation, the oldest first.
        tools: what the model may call.
        tool_mode: whether it may or has to call one.
        thinking: `auto` lets a model think that can.
        temperature: 0 to 2; absent for the model's own.
        max_tokens: new tokens at most, thinking included; absent for the model's own limit.
        workspace_folder: the address of the folder it is about; absent for the first one.
    """

    stream: str
    messages: tuple[ModelMessage, ...]
    tools: tuple[ModelTool, ...] = ()
    tool_mode: Literal["auto", "required"] = "auto"
    thinking: Thinking = "auto"
    temperature: float | None = None
    max_tokens: Count | None = None
    workspace_folder: str | None = None


class CompleteResult(Wire, frozen=True, kw_only=True):
    """How the reply ended; all of it was told in `glm/model/delta`.

    Attributes:
        finish_reason: `length` says that it was cut off, and that calls in it were left out.
        usage: what it cost.
        restored: into how many messages of the request earlier thinking was put back.
        continued: how many messages the engine read as the very tokens of before, so that nothing of them was
            rendered anew.
        notes: what a person should know, a sentence each.
    """

    finish_reason: FinishReason
    usage: Usage
    restored: int = 0
    continued: int = 0
    notes: tuple[str, ...] = ()


ReplyPart = TextPart | ThinkingPart | CallPart | PlacePart
"""What a reply is made of."""


class ModelDelta(Wire, frozen=True, kw_only=True):
    """A piece of a reply.

    Attributes:
        stream: the reply, as the request named it.
        part: thinking and text as they come; calls whole, when the reply has ended.
    """

    stream: str
    part: ReplyPart


class ModelParams(Wire, frozen=True, kw_only=True):
    """Whose model.

    Attributes:
        workspace_folder: the address of the folder whose settings say which engine; absent for the first one.
    """

    workspace_folder: str | None = None


class ModelInfo(Wire, frozen=True, kw_only=True):
    """The model that the engine serves.

    Attributes:
        id: the engine's name for it.
        family: such as `glm-4.7`; `generic` where it is not known.
        max_input_tokens: of a prompt, so that a reply has room.
        max_output_tokens: of a reply, thinking included.
        tools: whether it calls tools.
        thinking: whether it can think before it speaks.
        thinking_switch: whether thinking can be turned off.
        exactness: how earlier thinking comes back.
        banner: what a person has to be told of it, such as that it only stands in for another.
    """

    id: str
    family: str
    max_input_tokens: int
    max_output_tokens: int
    tools: bool
    thinking: bool
    thinking_switch: bool
    exactness: Exactness
    banner: str = ""


class CountParams(Wire, frozen=True, kw_only=True):
    """Texts to count.

    Attributes:
        texts: each is counted by itself.
        workspace_folder: as in the other requests.
    """

    texts: tuple[str, ...]
    workspace_folder: str | None = None


class CountResult(Wire, frozen=True, kw_only=True):
    """The tokens of each text.

    Attributes:
        tokens: in the order of the texts.
        exact: whether the engine counted them; else they are reckoned, rather too many.
    """

    tokens: tuple[int, ...]
    exact: bool
