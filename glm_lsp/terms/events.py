"""What happens in a turn, as it is streamed, numbered and kept.

Never does anything: plain data, like all terms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from glm_lsp.terms.nouns import Finding, Proposal, Usage  # noqa: TC001 - hints are read at run time


@dataclass(frozen=True, slots=True)
class Started:
    """A turn begins; `model` is the engine's name for it."""

    action: str
    instruction: str
    model: str
    thinking: bool
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """The engine serves others first; `place` is 1 for who is next, and 0 when it is our turn."""

    place: int


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """A file of which code was chosen; `reason` is that of its best piece, `whole` whether all of it was chosen."""

    path: str
    reason: str
    tokens: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ContextChosen:
    """Code that nobody named was chosen for the question, and the model reads it first; told once, before it speaks.

    Attributes:
        files: those of which it is, the best first.
        tokens: of all of it, as reckoned.
        words: what the model itself wanted looked for, where it was asked.
        note: why it was asked in vain; empty where it was not.
    """

    files: tuple[ChosenFile, ...]
    tokens: int
    words: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class ThinkingAdded:
    """The model thinks; `text` is what came since the last event."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingEnded:
    """The model stopped thinking; `tokens` is None where the engine has not said."""

    seconds: float
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TextAdded:
    """The model speaks; `text` is what came since the last event."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model called a tool and its arguments are complete; `title` is verb and object, `Read src/cart.py 1–80`."""

    call: str
    tool: str
    title: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """The tool's result; `outcome` is a few words, `result` what the model reads."""

    call: str
    ok: bool
    outcome: str
    result: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PermissionAsked:
    """A call that waits until somebody says whether it may run.

    Attributes:
        call: its id.
        tool: the tool's name.
        title: what a person sees of it elsewhere.
        detail: what will run, whole and exact.
        confined: whether it will run without network and home folder, writing nowhere but in the workspace.
    """

    call: str
    tool: str
    title: str
    detail: str
    confined: bool


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """The model asks the person something and waits; `options` are answers to choose from, and may be empty."""

    call: str
    question: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compacted:
    """The conversation was made shorter for the model, in one go; the full record stays.

    Attributes:
        before: tokens of the prompt before, as the engine counted or at most.
        after: tokens of the prompt now, at most.
        files: how many file bodies were replaced by their path and hash.
        summary: what the model wrote of the older turns; empty where the file bodies were enough.
        usage: what writing it cost.
    """

    before: int
    after: int
    files: int
    summary: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Found:
    """A review found something, while it goes on."""

    call: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class HunkOpened:
    """The place of an edit is known, while the model still writes it; `line` counts from 1."""

    call: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class HunkGrew:
    """Whole lines of an opened hunk, as they complete."""

    call: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HunkClosed:
    """An opened hunk is final: it is in the draft (`ok`) or was refused."""

    call: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Proposed:
    """The turn's changes, whole and checked."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Used:
    """What one engine request cost."""

    usage: Usage
    seconds: float
    first_token: float
    """Seconds from the request to its first token."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know that does not end the turn."""

    code: str
    message: str


EndReason = Literal["done", "nothing", "limit", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn ends, exactly once; `error` and `hint` say why where it did not end well."""

    reason: EndReason
    usage: Usage
    seconds: float
    code: str = ""
    error: str = ""
    hint: str = ""


Happening = (
    Started
    | ContextChosen
    | Queued
    | ThinkingAdded
    | ThinkingEnded
    | TextAdded
    | ToolCalled
    | ToolReturned
    | PermissionAsked
    | QuestionAsked
    | Compacted
    | Found
    | HunkOpened
    | HunkGrew
    | HunkClosed
    | Proposed
    | Used
    | Warned
    | Ended
)


@dataclass(frozen=True, slots=True)
class Event:
    """One happening of one turn; `seq` counts from 1 without gaps, `at` is seconds since the turn's start."""

    turn: str
    seq: int
    at: float
    what: Happening
