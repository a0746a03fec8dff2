"""The tree of what can go wrong, grouped by what a person can do about it.

Never raised by hand with a bare message: each error says what happened, and its hint says one thing to do.

GlmError
├── UsageError                 the command or a setting is wrong: mend it and run again
│   └── SettingsError
├── EngineError                the model's server: start it, point at another one, or try again
│   ├── Unreachable            nothing answers at that address
│   ├── Refused                it answers and will not serve us (key, rights, redirect)
│   ├── WrongModel             it serves other models
│   ├── ContextTooLong         the prompt does not fit, and by how much
│   ├── Overloaded             it is there and asks us to come back later
│   ├── Stalled                no word for longer than the time-out
│   ├── DiedMidStream          the connection broke before the end
│   ├── MalformedReply         what it sent is not a chat completion
│   ├── NothingSaid            it ended with thinking only, or with nothing
│   ├── Truncated              it ran out of new tokens in the middle
│   ├── CannotDo               this model or server lacks an ability that the work needs
│   └── LaunchFailed           the local engine did not start
├── EditRefused                what the model wrote cannot be applied: the reason goes back to the model
│   ├── AnchorNotFound         the old text is nowhere in the file
│   ├── AnchorAmbiguous        the old text is in several places
│   ├── NothingChanged         old and new are the same
│   ├── PlaceholderText        the new text stands for code it leaves out
│   ├── BadArguments           a tool call whose arguments do not fit its schema
│   ├── UnknownSymbol          no such function or class in the file
│   ├── NotRead                the file was not read before it was edited
│   └── CheckFailed            the result is broken: syntax errors, lost symbols
├── FileRefused                a file that is not ours to read or write
│   ├── OutsideWorkspace       the path leaves the workspace, perhaps through a link
│   ├── Protected              .git, ignored, secret or protected by a setting
│   ├── NotText                binary, or an encoding that cannot be kept exactly
│   └── Missing                no such file
├── Conflict                   a file changed under us: nothing was written
├── LimitReached               the turn ran into one of its limits
└── StateError                 our own files: the journal, a full disk, a damaged record
"""

from __future__ import annotations

from typing import ClassVar, Literal

Level = Literal["info", "warning", "error"]


class GlmError(Exception):
    """Anything that goes wrong in a way we can explain.

    Args:
        message: what happened and, where known, why; one or two sentences.
        hint: one thing to do about it; empty where the message says it.
    """

    level: ClassVar[Level] = "error"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """A stable name for programs, such as `context-too-long`."""
        name = type(self).__name__
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


class UsageError(GlmError):
    """The command line or a setting is wrong."""

    exit_code = 4


class SettingsError(UsageError):
    """A settings file or variable holds something that does not fit."""


class EngineError(GlmError):
    """The engine, wherever it runs.

    Attributes:
        retryable: whether the same request may go through later; nothing was streamed when it is true.
        elsewhere: whether the same request can be sent again at once, as another engine would take it; what was
            streamed of this reply is then void.
    """

    elsewhere: bool = False

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class Unreachable(EngineError):
    """Nothing answers at the engine's address."""


class Refused(EngineError):
    """The engine answers, and will not serve us."""


class WrongModel(EngineError):
    """The engine serves other models."""


class ContextTooLong(EngineError):
    """The prompt does not fit into the model's context.

    Attributes:
        over_by: how many tokens too many, where the engine says; else None.
    """

    def __init__(self, message: str, *, hint: str = "", over_by: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.over_by = over_by


class Overloaded(EngineError):
    """The engine is there and asks us to come back later.

    Attributes:
        retry_after: seconds it asked us to wait, where it said.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint, retryable=True)
        self.retry_after = retry_after


class Stalled(EngineError):
    """No word from the engine for longer than the time-out."""


class DiedMidStream(EngineError):
    """The connection broke, or the engine reported its own failure, before the reply's end."""


class MalformedReply(EngineError):
    """What the engine sent is not a chat completion."""


class NothingSaid(EngineError):
    """The reply ended with thinking only, or with nothing at all."""


class Truncated(EngineError):
    """The model ran out of new tokens in the middle; what there is, is never taken for an answer."""


class CannotDo(EngineError):
    """This model or server lacks an ability that the work needs."""


class LaunchFailed(EngineError):
    """The local engine could not be installed or started."""


class EditRefused(GlmError):
    """What the model wrote cannot be applied; the message goes back to the model as it is."""

    level = "warning"


class AnchorNotFound(EditRefused):
    """The old text is nowhere in the file."""


class AnchorAmbiguous(EditRefused):
    """The old text is in several places."""


class NothingChanged(EditRefused):
    """Old and new text are the same."""


class PlaceholderText(EditRefused):
    """The new text stands for code that it leaves out."""


class BadArguments(EditRefused):
    """A tool call whose arguments do not fit the tool's schema."""


class UnknownSymbol(EditRefused):
    """No such function or class in the file."""


class NotRead(EditRefused):
    """The file was not read before it was edited."""


class CheckFailed(EditRefused):
    """The edited file is broken: new syntax errors, lost symbols, mixed indentation."""


class FileRefused(GlmError):
    """A file that is not ours to read or to write."""

    level = "warning"


class OutsideWorkspace(FileRefused):
    """The path leaves the workspace, perhaps through a link."""


class Protected(FileRefused):
    """The path is in .git, ignored, a secret, or protected by a setting."""


class NotText(FileRefused):
    """The file is binary, or in an encoding that we could not keep exactly."""


class Missing(FileRefused):
    """There is no such file."""


class Conflict(GlmError):
    """A file changed under us; nothing was written."""

    level = "warning"


class LimitReached(GlmError):
    """The turn ran into one of its limits; what was achieved is kept."""

    level = "warning"


class StateError(GlmError):
    """Our own files are in the way: the journal, a full disk, a damaged record."""
