"""The events of a turn, as `glm/turn/event` tells them.

Never does anything: the classes say what travels.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from glm_lsp.server.wire.parts import Fault, FileKind, Objection, Range, Severity, StopReason, Usage, Wire


class Start(Wire, frozen=True, kw_only=True, tag_field="type", tag="start"):
    """The turn begins; the first event, exactly once.

    Attributes:
        action: what was asked for.
        instruction: the person's words.
        model: the engine's name for the model.
        thinking: whether it thinks before it speaks.
        files: the documents that the ask is about.
    """

    action: str
    instruction: str
    model: str
    thinking: bool
    files: tuple[str, ...]


class Queued(Wire, frozen=True, kw_only=True, tag_field="type", tag="queued"):
    """The engine serves others first; told when the place changes, and not at all where the wait is short.

    Attributes:
        place: 1 for who is next; 0 when the wait is over, before anything else is told.
    """

    place: int


class ChosenFile(Wire, frozen=True, kw_only=True):
    """A file of which code was chosen.

    Attributes:
        uri: the file.
        reason: why its best piece was chosen, in a few words for a person.
        tokens: of what was chosen of it, as reckoned.
        whole: whether that is all of it.
    """

    uri: str
    reason: str
    tokens: int
    whole: bool = False


class ContextChosen(Wire, frozen=True, kw_only=True, tag_field="type", tag="context"):
    """Code that nobody named was chosen for the question, and the model reads it first; at most once, before it speaks.

    Attributes:
        files: of which it is, the best first.
        tokens: of all of it, as reckoned.
        words: what the model itself wanted looked for, where the setting `index.ask_model` has it asked.
        note: why it was asked in vain; empty where it was not.
    """

    files: tuple[ChosenFile, ...]
    tokens: int
    words: tuple[str, ...] = ()
    note: str = ""


class ThinkingAdded(Wire, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """The model thinks.

    Attributes:
        text: what it thought since the last event of this type.
    """

    text: str


class ThinkingEnded(Wire, frozen=True, kw_only=True, tag_field="type", tag="thinkingEnd"):
    """The model stopped thinking, for now.

    Attributes:
        seconds: how long it thought.
        tokens: how much; absent where the engine does not say.
    """

    seconds: float
    tokens: int | None = None


class TextAdded(Wire, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """The model speaks.

    Attributes:
        text: what it said since the last event of this type.
    """

    text: str


class ToolCalled(Wire, frozen=True, kw_only=True, tag_field="type", tag="toolCall"):
    """The model called a tool.

    Attributes:
        call_id: names the call in later events.
        tool: the tool's name.
        title: verb and object for a person, such as `Read src/cart.py 1–80`.
        arguments: as the model gave them.
    """

    call_id: str
    tool: str
    title: str
    arguments: dict[str, Any]


class ToolReturned(Wire, frozen=True, kw_only=True, tag_field="type", tag="toolResult"):
    """A tool has done its work, or could not.

    Attributes:
        call_id: the call.
        ok: whether it did.
        outcome: a few words for a person.
        result: what the model reads of it.
        seconds: how long it took.
    """

    call_id: str
    ok: bool
    outcome: str
    result: str
    seconds: float


class PermissionAsked(Wire, frozen=True, kw_only=True, tag_field="type", tag="permission"):
    """A call waits until a person says whether it may run; it is asked elsewhere, by `glm/permission` or a message.

    Attributes:
        call_id: the call.
        tool: the tool's name.
        title: verb and object for a person.
        detail: what will run, whole and exact.
        confined: whether it will run without network and home folder, writing nowhere but in the workspace.
    """

    call_id: str
    tool: str
    title: str
    detail: str
    confined: bool


class QuestionAsked(Wire, frozen=True, kw_only=True, tag_field="type", tag="question"):
    """The model waits for a person's answer; it is asked elsewhere, by `glm/question` or a message.

    Attributes:
        call_id: the call.
        question: what it wants to know.
        options: answers to choose from; any other will do as well.
    """

    call_id: str
    question: str
    options: tuple[str, ...]


class HunkShown(Wire, frozen=True, kw_only=True, tag_field="type", tag="hunk"):
    """An edit while the model writes it; a preview, of which the proposal is the truth.

    Attributes:
        call_id: the call that makes it; a call has one hunk at a time, which opens, grows any number of times and closes.
        state: `opened` where its place is known, `grew` with whole lines as they complete, `closed` where it is final.
        uri: the file.
        range: the lines that it replaces as far as they are known, in the file as the turn has changed it until then.
        removed: with `grew`, lines that go, without terminators, behind those of earlier events.
        added: with `grew`, lines that come, likewise.
        ok: with `closed`, whether the edit was made; absent before.
        reason: with `closed`, why it was refused.
    """

    call_id: str
    state: Literal["opened", "grew", "closed"]
    uri: str
    range: Range
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    ok: bool | None = None
    reason: str = ""


class Found(Wire, frozen=True, kw_only=True, tag_field="type", tag="finding"):
    """A review found something.

    Attributes:
        call_id: the call by which the model told it.
        uri: the file.
        range: the lines it is about, whole.
        severity: how bad it is.
        message: what it is.
        suggestion: what to do about it.
    """

    call_id: str
    uri: str
    range: Range
    severity: Severity
    message: str
    suggestion: str = ""


class Compacted(Wire, frozen=True, kw_only=True, tag_field="type", tag="compacted"):
    """The conversation was made shorter for the model; the full record stays.

    Attributes:
        before: tokens of the prompt before.
        after: tokens of the prompt now, at most.
        files: how many files' bodies were left out.
        summary: what the model wrote of the older turns; empty where leaving out bodies was enough.
        usage: what it cost.
    """

    before: int
    after: int
    files: int
    summary: str
    usage: Usage


class ProposedFile(Wire, frozen=True, kw_only=True):
    """One file of a proposal, in numbers.

    Attributes:
        uri: the file.
        kind: what becomes of it.
        added: lines that come.
        removed: lines that go.
    """

    uri: str
    kind: FileKind
    added: int
    removed: int


class Proposed(Wire, frozen=True, kw_only=True, tag_field="type", tag="proposal"):
    """The turn's changes, whole and checked; `glm/proposal/get` tells all of it.

    Attributes:
        proposal_id: names it.
        summary: one line of what it does.
        files: what it changes.
        objections: what remains to be said against it.
        unchecked: files in languages whose syntax could not be checked.
    """

    proposal_id: str
    summary: str
    files: tuple[ProposedFile, ...]
    objections: tuple[Objection, ...]
    unchecked: tuple[str, ...]


class Used(Wire, frozen=True, kw_only=True, tag_field="type", tag="usage"):
    """What one request to the engine cost; a turn makes one or more.

    Attributes:
        input_tokens: what was read.
        output_tokens: what was written, thinking included.
        ttft_ms: milliseconds from the request to its first token.
        tokens_per_second: how fast the rest came; 0 where there is nothing to measure.
        cached_tokens: how much of what was read was in the engine's cache; absent where it does not say.
        thinking_tokens: how much of what was written was thinking; absent where it does not say.
    """

    input_tokens: int
    output_tokens: int
    ttft_ms: float
    tokens_per_second: float
    cached_tokens: int | None = None
    thinking_tokens: int | None = None


class Warned(Wire, frozen=True, kw_only=True, tag_field="type", tag="warning"):
    """Something that a person should know and that does not end the turn.

    Attributes:
        code: a short name that does not change.
        message: what it is.
    """

    code: str
    message: str


class End(Wire, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The turn ends; the last event, exactly once, also where the turn failed or was cancelled.

    Attributes:
        stop_reason: `done`; `nothing` where there was nothing to do; `limit` where it ran into one of its limits.
        usage: of the whole turn.
        seconds: how long it took.
        error: why it did not end well; absent where it did.
        proposal_id: of the changes that it proposed; absent where it proposed none.
    """

    stop_reason: StopReason
    usage: Usage
    seconds: float
    error: Fault | None = None
    proposal_id: str | None = None


AnyEvent = (
    Start
    | ContextChosen
    | Queued
    | ThinkingAdded
    | ThinkingEnded
    | TextAdded
    | ToolCalled
    | ToolReturned
    | PermissionAsked
    | QuestionAsked
    | HunkShown
    | Found
    | Compacted
    | Proposed
    | Used
    | Warned
    | End
)

EVENTS: Final[dict[str, type[Wire]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)}
"""The class of each type of event."""


class TurnEvent(Wire, frozen=True, kw_only=True):
    """One event of one turn.

    Attributes:
        v: the version of this protocol.
        turn_id: the turn.
        conversation_id: the conversation that the turn is part of.
        seq: counts, from 1 and without gaps, the events of this turn that this client is sent.
        t: seconds since the turn began.
        event: what happened; ignore a type that you do not know.
    """

    v: int
    turn_id: str
    conversation_id: str
    seq: int
    t: float
    event: AnyEvent
