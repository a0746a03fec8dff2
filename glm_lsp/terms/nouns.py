"""The nouns that every floor shares, frozen.

Never does anything: plain data from the standard library, no input, no output, no decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Thinking = Literal["on", "off", "auto"]
"""Turn-level thinking: `auto` leaves it to the action."""

Role = Literal["system", "user", "assistant", "tool"]

FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]
"""Why a reply ended; `length` is never an answer."""


# --- what a person asks ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Lines of a file that a person pointed at, from 1, the last one included.

    `text` is what is selected, exactly; empty for a caret, or where whole lines are meant.
    """

    path: str
    first_line: int
    last_line: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asks: an action, in their words, about these files.

    Attributes:
        action: the id of an action, such as `refactor`.
        instruction: the person's own words; may be empty where the action needs none.
        paths: workspace-relative POSIX paths of files the ask is about, in order.
        thinking: the person's override of the action's default.
        selections: what they pointed at.
        problems: what an editor knows to be wrong there, and the ask is about.
    """

    action: str
    instruction: str
    paths: tuple[str, ...] = ()
    thinking: Thinking = "auto"
    selections: tuple[Selection, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of code chosen for the model to read; `first_line` counts from 1.

    `numbers` are those of the lines where they do not follow one another, as with signatures.
    """

    path: str
    first_line: int
    text: str
    reason: str
    numbers: tuple[int, ...] = ()


# --- what the model reads and streams back -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call as the engine gave it; `arguments` is the JSON text of an object, unvalidated."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `thinking` and `tool_calls` belong to the assistant, `call_id` to a tool."""

    role: Role
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON schema of an object with a type for every property."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; None leaves a field to the server."""

    temperature: float
    top_p: float | None
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class TokenLog:
    """The exact tokens of a conversation so far, as an engine read and wrote them.

    Attributes:
        ids: of everything up to and with the last covered message, without the token that ended it.
        covers: how many of the conversation's messages they stand for.
        fingerprint: names the engine's model, template and tools that they belong to; another one cannot use them.
    """

    ids: tuple[int, ...]
    covers: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one engine request reads.

    Attributes:
        messages: the whole conversation so far, oldest first.
        tools: the tools on offer; empty for a plain question.
        thinking: whether the model thinks before it speaks.
        sampling: temperature, nucleus and the cap on new tokens.
        priority: lower is served first, where the engine can.
        log: the exact tokens of the first messages, where they are known; the engine reads those, and renders only
            the messages behind them.
        other_logs: the same as other engines told them, for a conversation that comes back to an earlier model.
        thinking_tokens: tokens of thinking at most, where the engine can see to it; 0 for no limit.
        workspace: names the workspace, and is never sent: of several engines, each workspace keeps to one.
        must_call: whether the reply has to be a tool call, where the engine can see to it.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    thinking: bool
    sampling: Sampling
    priority: int = 0
    log: TokenLog | None = None
    other_logs: tuple[TokenLog, ...] = ()
    thinking_tokens: int = 0
    workspace: str = ""
    must_call: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request or a whole turn; `cached` and `thought` are None where the engine does not say."""

    read: int = 0
    written: int = 0
    cached: int | None = None
    thought: int | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.read + other.read,
            self.written + other.written,
            _sum(self.cached, other.cached),
            _sum(self.thought, other.thought),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call: id and name come with its first piece, then fragments of the arguments' JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one chunk of the stream adds; the last one carries `finish`, and usage comes once.

    `written` counts the new tokens of the reply up to here, where the engine tells while it writes; else it is 0.
    Before all others there may be some with nothing but `queued`: the place in line, from 1, and 0 when that is over.
    """

    thinking: str = ""
    text: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    written: int = 0
    usage: Usage | None = None
    finish: FinishReason | None = None
    log: TokenLog | None = None
    """With `finish`: the tokens of the prompt and of this reply, where the engine tells them."""
    queued: int | None = None


# --- what the model wrote ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` (inclusive) to `end` (exclusive) of a decoded text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in one file: `span` of the text it was placed in becomes `new`, terminators included."""

    path: str
    span: Span
    new: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after, as bytes; `before` is None for a new file, `after` for a deleted one.

    `mode` is the permission bits the result gets; None keeps the file's own, or the default for a new one.
    """

    path: str
    before: bytes | None
    after: bytes | None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Hunk:
    """One reviewable piece of a change, in lines without terminators; line numbers count from 1.

    `before` and `after` are up to three lines of context around it.
    """

    path: str
    old_line: int
    new_line: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Objection:
    """Something wrong with a proposed file, in words the model can act on; `line` counts from 1, 0 for the whole file.

    `kind` is `syntax`, `lost-symbol`, `indentation` or the name of an action's own check.
    """

    path: str
    line: int
    kind: str
    message: str


Severity = Literal["error", "warning", "information", "hint"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file as an editor's checkers told it; `line` and `column` count from 1.

    `source` is who says so, such as `pyright`, and `code` its name for the rule; both may be empty.
    """

    path: str
    line: int
    column: int
    severity: Severity
    source: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a review found: lines of a file, from 1, and what to do about them; `suggestion` may be empty."""

    path: str
    first_line: int
    last_line: int
    severity: Severity
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A set of changes to be accepted or not, whole, with what remains to be said against them."""

    id: str
    summary: str
    changes: tuple[FileChange, ...]
    hunks: tuple[Hunk, ...]
    objections: tuple[Objection, ...] = ()
    unchecked: tuple[str, ...] = ()
    """Paths in languages we have no grammar for: applied without a syntax check."""
