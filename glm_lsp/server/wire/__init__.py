"""The live protocol `glm/*`, version 1: every message once, as a class; documentation and clients are made from it.

Never does anything: the classes say what travels, and `MESSAGES` which way.

A field with a default may be left out, and is left out where it has that default; fields that nobody knows are ignored.
Positions and ranges are those of the language server protocol, in the encoding that `initialize` agreed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from glm_lsp.server.wire.events import (
    EVENTS,
    AnyEvent,
    ChosenFile,
    Compacted,
    ContextChosen,
    End,
    Found,
    HunkShown,
    PermissionAsked,
    Proposed,
    ProposedFile,
    QuestionAsked,
    Queued,
    Start,
    TextAdded,
    ThinkingAdded,
    ThinkingEnded,
    ToolCalled,
    ToolReturned,
    TurnEvent,
    Used,
    Warned,
)
from glm_lsp.server.wire.model import (
    CallPart,
    CompleteParams,
    CompleteResult,
    CountParams,
    CountResult,
    FinishReason,
    ImagePart,
    ModelDelta,
    ModelInfo,
    ModelMessage,
    ModelParams,
    ModelTool,
    PlacePart,
    ReplyPart,
    ResultPart,
    TextPart,
    ThinkingPart,
)
from glm_lsp.server.wire.parts import (
    VERSION,
    Count,
    Decision,
    Empty,
    EngineState,
    Exactness,
    Fault,
    FileKind,
    GlmClientCapabilities,
    GlmServerCapabilities,
    Health,
    HunkState,
    IndexState,
    Objection,
    Permit,
    Position,
    ProposalState,
    Range,
    Severity,
    StopReason,
    TextDocument,
    Thinking,
    Usage,
    Wire,
)
from glm_lsp.server.wire.proposals import (
    EngineStatus,
    EngineStatusResult,
    FeedbackParams,
    FocusParams,
    GpuStatus,
    HunkDecision,
    IndexStatus,
    PermissionParams,
    PermissionResult,
    ProposalFile,
    ProposalHunk,
    ProposalRef,
    ProposalResult,
    QuestionParams,
    QuestionResult,
    ResolveParams,
    ResolveResult,
    Status,
    StatusResult,
    TrustParams,
    UndoParams,
    UndoResult,
)
from glm_lsp.server.wire.turns import (
    CompactParams,
    CompactResult,
    ConversationEntry,
    ConversationRef,
    ConversationResult,
    ConversationsParams,
    ConversationsResult,
    ForkParams,
    Message,
    NewParams,
    PreviewFile,
    PreviewResult,
    RenameParams,
    TellParams,
    TellResult,
    ToolCall,
    TurnParams,
    TurnRef,
    TurnResult,
)

__all__ = (
    "EVENTS",
    "MESSAGES",
    "TYPED",
    "VERSION",
    "AnyEvent",
    "CallPart",
    "ChosenFile",
    "CompactParams",
    "CompactResult",
    "Compacted",
    "CompleteParams",
    "CompleteResult",
    "ContextChosen",
    "ConversationEntry",
    "ConversationRef",
    "ConversationResult",
    "ConversationsParams",
    "ConversationsResult",
    "Count",
    "CountParams",
    "CountResult",
    "Decision",
    "Direction",
    "Empty",
    "End",
    "EngineState",
    "EngineStatus",
    "EngineStatusResult",
    "Exactness",
    "Fault",
    "FeedbackParams",
    "FileKind",
    "FinishReason",
    "FocusParams",
    "ForkParams",
    "Found",
    "GlmClientCapabilities",
    "GlmServerCapabilities",
    "GpuStatus",
    "Health",
    "HunkDecision",
    "HunkShown",
    "HunkState",
    "ImagePart",
    "IndexState",
    "IndexStatus",
    "Kind",
    "Message",
    "MessageKind",
    "ModelDelta",
    "ModelInfo",
    "ModelMessage",
    "ModelParams",
    "ModelTool",
    "NewParams",
    "Objection",
    "PermissionAsked",
    "PermissionParams",
    "PermissionResult",
    "Permit",
    "PlacePart",
    "Position",
    "PreviewFile",
    "PreviewResult",
    "ProposalFile",
    "ProposalHunk",
    "ProposalRef",
    "ProposalResult",
    "ProposalState",
    "Proposed",
    "ProposedFile",
    "QuestionAsked",
    "QuestionParams",
    "QuestionResult",
    "Queued",
    "Range",
    "RenameParams",
    "ReplyPart",
    "ResolveParams",
    "ResolveResult",
    "ResultPart",
    "Severity",
    "Start",
    "Status",
    "StatusResult",
    "StopReason",
    "TellParams",
    "TellResult",
    "TextAdded",
    "TextDocument",
    "TextPart",
    "Thinking",
    "ThinkingAdded",
    "ThinkingEnded",
    "ThinkingPart",
    "ToolCall",
    "ToolCalled",
    "ToolReturned",
    "TrustParams",
    "TurnEvent",
    "TurnParams",
    "TurnRef",
    "TurnResult",
    "UndoParams",
    "UndoResult",
    "Usage",
    "Used",
    "Warned",
    "Wire",
    "opted_in",
    "server_capabilities",
)

Direction = Literal["to server", "to client"]
Kind = Literal["request", "notification"]


@dataclass(frozen=True, slots=True)
class MessageKind:
    """One message of the protocol; `result` is None for a notification."""

    direction: Direction
    kind: Kind
    params: type[Wire]
    result: type[Wire] | None
    doc: str


def _asks(params: type[Wire], result: type[Wire], doc: str, direction: Direction = "to server") -> MessageKind:
    return MessageKind(direction, "request", params, result, doc)


def _tells(params: type[Wire], doc: str, direction: Direction = "to server") -> MessageKind:
    return MessageKind(direction, "notification", params, None, doc)


MESSAGES: Final[dict[str, MessageKind]] = {
    "glm/turn": _asks(TurnParams, TurnResult, "Asks the model, and is answered when the turn has ended."),
    "glm/turn/tell": _asks(TellParams, TellResult, "Says something to the model while it works."),
    "glm/turn/cancel": _tells(TurnRef, "Ends a turn, whoever began it; nothing happens where it has ended."),
    "glm/context/preview": _asks(TurnParams, PreviewResult, "Tells what `glm/turn` with these params would send."),
    "glm/conversation/list": _asks(ConversationsParams, ConversationsResult, "Lists conversations."),
    "glm/conversation/get": _asks(ConversationRef, ConversationResult, "Tells what was said in a conversation."),
    "glm/conversation/new": _asks(NewParams, ConversationRef, "Begins a conversation."),
    "glm/conversation/fork": _asks(ForkParams, ConversationRef, "Begins a conversation where another one was."),
    "glm/conversation/rename": _asks(RenameParams, Empty, "Names a conversation."),
    "glm/conversation/delete": _asks(ConversationRef, Empty, "Deletes a conversation and all that it holds."),
    "glm/conversation/compact": _asks(CompactParams, CompactResult, "Makes a conversation shorter for the model."),
    "glm/proposal/get": _asks(ProposalRef, ProposalResult, "Tells a proposal, as it stands against the live buffers."),
    "glm/proposal/resolve": _asks(ResolveParams, ResolveResult, "Accepts or rejects a proposal, whole or by hunks."),
    "glm/model/info": _asks(ModelParams, ModelInfo, "Tells which model an agent of the editor's own would get."),
    "glm/model/complete": _asks(
        CompleteParams, CompleteResult, "Asks for one reply on behalf of such an agent; answered when it has ended."
    ),
    "glm/model/countTokens": _asks(CountParams, CountResult, "Counts the tokens of texts."),
    "glm/undo": _asks(UndoParams, UndoResult, "Takes back what was applied."),
    "glm/status": _asks(Empty, StatusResult, "Tells how the server is."),
    "glm/engineStatus": _asks(Empty, EngineStatusResult, "Tells what the engine does, as it counts it."),
    "glm/feedback": _tells(FeedbackParams, "Tells what a person thought of a turn or a proposal."),
    "glm/didFocus": _tells(FocusParams, "Tells what a person looks at."),
    "glm/workspace/didChangeTrust": _tells(TrustParams, "Tells whether a person trusts a folder."),
    "glm/permission": _asks(
        PermissionParams, PermissionResult, "Asks a person whether a call may run; needs `permission`.", "to client"
    ),
    "glm/question": _asks(
        QuestionParams, QuestionResult, "Asks a person on behalf of the model; needs `question`.", "to client"
    ),
    "glm/turn/event": _tells(TurnEvent, "Tells what happens in a turn; needs `events`.", "to client"),
    "glm/model/delta": _tells(
        ModelDelta, "Tells a piece of the reply to `glm/model/complete`, to whoever asked for it.", "to client"
    ),
    "glm/status/didChange": _tells(
        Status, "Tells how the server is, whenever that changes; needs the opt-in.", "to client"
    ),
}
"""Every message by its method, in the order of the documentation."""

TYPED: Final[dict[str, tuple[type[Any] | None, type[Any] | None]]] = {
    method: (message.params, message.result) for method, message in MESSAGES.items()
}
"""The classes of params and result by method, as `GlmServer` takes them."""


def opted_in(experimental: object) -> GlmClientCapabilities | None:
    """What a client asks for in `capabilities.experimental`; None where it does not opt in, or not in a way we know."""
    asked = experimental.get("glm") if isinstance(experimental, dict) else None
    if not isinstance(asked, dict):
        return None
    try:
        said = msgspec.convert(asked, GlmClientCapabilities)
    except msgspec.ValidationError:
        return None
    return said if said.protocol >= VERSION else None


def server_capabilities(actions: tuple[str, ...] = ()) -> dict[str, Any]:
    """What belongs in `experimental.glm` of the answer to `initialize`, as plain data."""
    told = GlmServerCapabilities(protocol=VERSION, methods=tuple(MESSAGES), events=tuple(EVENTS), actions=actions)
    return dict(msgspec.to_builtins(told))
