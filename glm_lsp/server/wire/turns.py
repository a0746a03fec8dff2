"""Params and results of what is about turns and conversations.

Never does anything: the classes say what travels.
"""

from __future__ import annotations

from typing import Literal

from glm_lsp.server.wire.parts import Fault, Range, StopReason, TextDocument, Thinking, Usage, Wire

# --- turns -------------------------------------------------------------------------------------------------------


class TurnParams(Wire, frozen=True, kw_only=True):
    """What a person asks.

    Attributes:
        instruction: their words; may be empty where the action needs none.
        action: what is asked for, such as `chat` or `refactor`.
        conversation_id: the conversation to continue; absent for a new one.
        workspace_folder: the address of the folder to work in; absent for that of the document, or the first one.
        text_document: the document it is about.
        range: what is selected in it; absent for all of it.
        mentions: addresses of further files that it is about.
        thinking: `auto` leaves it to the action.
        work_done_token: the token of a progress bar that the client shows.
    """

    instruction: str
    action: str = "chat"
    conversation_id: str | None = None
    workspace_folder: str | None = None
    text_document: TextDocument | None = None
    range: Range | None = None
    mentions: tuple[str, ...] = ()
    thinking: Thinking = "auto"
    work_done_token: int | str | None = None


class TurnResult(Wire, frozen=True, kw_only=True):
    """How a turn ended; it says all that the events told of the outcome, so that a client may ignore those.

    Attributes:
        turn_id: the turn.
        conversation_id: what to continue with.
        stop_reason: as in the event `end`.
        text: everything that the model said; equal to the texts of the events put together.
        usage: of the whole turn.
        error: why it did not end well; absent where it did.
        proposal_id: of the changes that it proposed; absent where it proposed none.
    """

    turn_id: str
    conversation_id: str
    stop_reason: StopReason
    text: str
    usage: Usage
    error: Fault | None = None
    proposal_id: str | None = None


class TellParams(Wire, frozen=True, kw_only=True):
    """Words for the model while it works.

    Attributes:
        turn_id: the turn.
        text: the words.
    """

    turn_id: str
    text: str


class TellResult(Wire, frozen=True, kw_only=True):
    """What became of the words.

    Attributes:
        accepted: whether the model will read them; false where the turn had ended.
    """

    accepted: bool


class TurnRef(Wire, frozen=True, kw_only=True):
    """A turn.

    Attributes:
        turn_id: names it.
    """

    turn_id: str


class PreviewFile(Wire, frozen=True, kw_only=True):
    """A piece of a file that would be sent.

    Attributes:
        uri: the file.
        first_line: counts from 0.
        last_line: itself included.
        reason: why it would be sent.
        characters: how long it is.
    """

    uri: str
    first_line: int
    last_line: int
    reason: str
    characters: int


class PreviewResult(Wire, frozen=True, kw_only=True):
    """What the model would read first, were the turn begun now.

    Attributes:
        files: the pieces of files.
        characters: of the whole prompt.
        tokens_at_most: of the whole prompt.
        tools: the names of the tools on offer.
        instructions_from: addresses of the files with a project's instructions.
    """

    files: tuple[PreviewFile, ...]
    characters: int
    tokens_at_most: int
    tools: tuple[str, ...]
    instructions_from: tuple[str, ...]


# --- conversations -----------------------------------------------------------------------------------------------


class ConversationRef(Wire, frozen=True, kw_only=True):
    """A conversation.

    Attributes:
        conversation_id: its id, the beginning of its id, or its name.
    """

    conversation_id: str


class ConversationsParams(Wire, frozen=True, kw_only=True):
    """Which conversations.

    Attributes:
        workspace_folder: the address of the folder whose they are; absent for all folders.
    """

    workspace_folder: str | None = None


class ConversationEntry(Wire, frozen=True, kw_only=True):
    """A conversation in a list.

    Attributes:
        id: names it.
        name: what a person called it; may be empty.
        first: how its first ask begins.
        updated: when it was last added to, as in `2026-01-31T12:00:00+00:00`.
        turns: how many it has.
        messages: how many it has.
        workspace_folder: the address of the folder whose it is.
    """

    id: str
    name: str
    first: str
    updated: str
    turns: int
    messages: int
    workspace_folder: str | None = None


class ConversationsResult(Wire, frozen=True, kw_only=True):
    """All that there are.

    Attributes:
        conversations: the latest first.
    """

    conversations: tuple[ConversationEntry, ...]


class ToolCall(Wire, frozen=True, kw_only=True):
    """A tool call in a message.

    Attributes:
        id: names it.
        name: the tool.
        arguments: the JSON text of an object, as the model wrote it.
        title: verb and object for a person, as in the event `toolCall`.
    """

    id: str
    name: str
    arguments: str
    title: str = ""


class Message(Wire, frozen=True, kw_only=True):
    """One message of a conversation.

    Attributes:
        role: who says it.
        text: what is said.
        thinking: what the model thought before it.
        tool_calls: what the model called with it.
        call_id: the call that a tool's message answers.
        turn: which turn it belongs to, from 0; `glm/conversation/fork` counts them so.
        words: of a user's message, the person's own words; empty where the message is the server's.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    turn: int = 0
    words: str = ""


class ConversationResult(Wire, frozen=True, kw_only=True):
    """What was said, in full.

    Attributes:
        conversation_id: its id.
        name: what a person called it; may be empty.
        messages: the oldest first.
    """

    conversation_id: str
    name: str
    messages: tuple[Message, ...]


class NewParams(Wire, frozen=True, kw_only=True):
    """A new conversation.

    Attributes:
        name: what to call it.
        workspace_folder: the address of the folder whose it is; absent for the first one.
    """

    name: str = ""
    workspace_folder: str | None = None


class ForkParams(Wire, frozen=True, kw_only=True):
    """A conversation, and where to leave it.

    Attributes:
        conversation_id: as in the other requests.
        at: how many turns the fork shares with it; absent for all.
    """

    conversation_id: str
    at: int | None = None


class RenameParams(Wire, frozen=True, kw_only=True):
    """A conversation and its name.

    Attributes:
        conversation_id: as in the other requests.
        name: what to call it from now on.
    """

    conversation_id: str
    name: str


class CompactParams(Wire, frozen=True, kw_only=True):
    """A conversation to be made shorter for the model.

    Attributes:
        conversation_id: as in the other requests.
        instruction: what the summary should keep.
    """

    conversation_id: str
    instruction: str = ""


class CompactResult(Wire, frozen=True, kw_only=True):
    """How much shorter it is.

    Attributes:
        before: tokens of the prompt before.
        after: tokens of the prompt now, at most.
        files: how many files' bodies were left out.
        summary: what the model wrote of the older turns; may be empty.
        usage: what it cost.
    """

    before: int
    after: int
    files: int
    summary: str
    usage: Usage
