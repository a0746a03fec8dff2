"""What the messages of the live protocol are made of, and how a client opts in.

Never does anything: the classes say what travels.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

VERSION: Final = 1
"""Of the protocol; it changes only where a client that was written for the old one would go wrong."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Thinking = Literal["on", "off", "auto"]
StopReason = Literal["done", "nothing", "limit", "cancelled", "error"]
Severity = Literal["error", "warning", "information", "hint"]
Health = Literal["ok", "warning", "error"]
EngineState = Literal["unknown", "connecting", "ready", "down"]
IndexState = Literal["verifying", "tier 0", "tier 1", "ready"]
Exactness = Literal["tokens", "messages", "none"]
FileKind = Literal["edit", "create", "delete"]
HunkState = Literal["pending", "accepted", "rejected", "stale", "applied"]
ProposalState = Literal["pending", "applied", "partial", "rejected", "stale"]
Permit = Literal["once", "always", "tool", "no", "never"]
Decision = Literal["shown", "accepted", "partial", "rejected", "dismissed"]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What everything that travels has in common: camelCase names, defaults left out, unknown fields ignored."""


# --- opting in ---------------------------------------------------------------------------------------------------


class GlmClientCapabilities(Wire, frozen=True, kw_only=True):
    """What a client says in `capabilities.experimental.glm` of `initialize`; one that says nothing gets nothing.

    Attributes:
        protocol: the highest version of this protocol that the client speaks.
        events: the types of events it wants to be told, or true for all, those of later servers included.
        permission: whether it answers `glm/permission`; without it, people are asked by `window/showMessageRequest`.
        question: whether it answers `glm/question`; without it, likewise.
        coalesce_ms: how long a piece of text or thinking may wait for others to travel with it.
    """

    protocol: int = VERSION
    events: bool | tuple[str, ...] = False
    permission: bool = False
    question: bool = False
    coalesce_ms: int = 40


class GlmServerCapabilities(Wire, frozen=True, kw_only=True):
    """What the server answers in `capabilities.experimental.glm`, to clients that opted in and to those that did not.

    Attributes:
        protocol: the version that both will speak.
        methods: the methods that the server has, in both directions.
        events: the types of events that it can tell.
        actions: the ids that `glm/turn` takes as its `action`.
    """

    protocol: int
    methods: tuple[str, ...]
    events: tuple[str, ...]
    actions: tuple[str, ...] = ()


# --- parts -------------------------------------------------------------------------------------------------------


class Empty(Wire, frozen=True, kw_only=True):
    """An object without fields."""


class Position(Wire, frozen=True, kw_only=True):
    """A place between two characters.

    Attributes:
        line: counts from 0.
        character: counts code units of the agreed encoding from 0.
    """

    line: Count
    character: Count


class Range(Wire, frozen=True, kw_only=True):
    """From one place up to another.

    Attributes:
        start: where it begins.
        end: where it ends, itself not included.
    """

    start: Position
    end: Position


class TextDocument(Wire, frozen=True, kw_only=True):
    """A document of the editor.

    Attributes:
        uri: its address, as the editor spells it.
        version: the version that the client speaks of; where it is not the server's, the request fails as
            `ContentModified`.
    """

    uri: str
    version: int | None = None


class Usage(Wire, frozen=True, kw_only=True):
    """Tokens of one request to the engine or of a whole turn.

    Attributes:
        input_tokens: what was read.
        output_tokens: what was written, thinking included.
        cached_tokens: how much of what was read was in the engine's cache; absent where it does not say.
        thinking_tokens: how much of what was written was thinking; absent where it does not say.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    thinking_tokens: int | None = None


class Fault(Wire, frozen=True, kw_only=True):
    """Why something did not end well.

    Attributes:
        code: a short name that does not change, such as `unreachable`.
        message: what happened, for a person.
        hint: one thing to do about it.
    """

    code: str
    message: str
    hint: str = ""


class Objection(Wire, frozen=True, kw_only=True):
    """Something wrong with a proposed file.

    Attributes:
        uri: the file.
        line: counts from 0; absent where it is about the whole file.
        kind: `syntax`, `lost-symbol`, `indentation` or the name of an action's own check.
        message: what is wrong.
    """

    uri: str
    kind: str
    message: str
    line: int | None = None
