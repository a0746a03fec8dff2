"""How one of several engines has been: since when it is left alone, for how long, why, and how that is said.

Never asks a server: the one who does tells what came of it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glm_lsp.errors import (
    DiedMidStream,
    EngineError,
    MalformedReply,
    Overloaded,
    Refused,
    Stalled,
    Unreachable,
    WrongModel,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from glm_lsp.engine.client import HttpEngine

_BLAMED = (Unreachable, DiedMidStream, Stalled, MalformedReply, WrongModel, Refused)
"""What speaks against a replica; anything else would be the same at another one."""

_LONGEST_PAUSE = 60.0  # seconds that a replica which failed again and again is left alone
_WORTH_WAITING = 30.0  # seconds; an engine that asks for more costs more than reading a long conversation anew


@dataclass(slots=True, eq=False)
class Replica:
    """One of them, and how it has been.

    Attributes:
        ready: whether it was reached and found to serve the right model.
        failures: in a row; a reply with a good end sets it back.
        until: when it may be tried again.
        cause: of the last failure.
        told: who was said to stand in for it, since it was last well.
        lies: names of other models that its replies had.
        streams: replies under way.
    """

    url: str
    client: HttpEngine
    ready: bool = False
    failures: int = 0
    until: float = 0.0
    cause: EngineError | None = None
    told: set[str] = field(default_factory=set)
    lies: set[str] = field(default_factory=set)
    streams: int = 0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """Its address as a person reads it."""
        return self.client.where.removeprefix("http://").removeprefix("https://")

    def is_up(self) -> bool:
        """Whether it is well, or may be tried again."""
        return time.monotonic() >= self.until

    def failed(self, error: EngineError, pause: float) -> None:
        """Leaves it alone for `pause` seconds, or twice, four times, eight times as long after failures before."""
        asked = (error.retry_after if isinstance(error, Overloaded) else None) or 0.0
        self.cause = error
        self.until = time.monotonic() + max(asked, min(_LONGEST_PAUSE, pause * 2**self.failures))
        self.failures = min(self.failures + 1, 16)

    def succeeded(self) -> None:
        """Forgets the failures, as a reply has come to a good end."""
        self.failures, self.until, self.cause = 0, 0.0, None
        self.told.clear()


def speaks_against(error: EngineError) -> bool:
    """Whether another replica may do better; what is wrong with a request is wrong everywhere."""
    return isinstance(error, _BLAMED)


def is_a_long_wait(error: EngineError) -> bool:
    """Whether an engine asks for more time than another one takes to read a long conversation anew."""
    return isinstance(error, Overloaded) and (error.retry_after or 0.0) > _WORTH_WAITING


def why(error: EngineError) -> str:
    """What is the matter with a replica, in few words."""
    match error:
        case Stalled():
            return "has fallen silent"
        case DiedMidStream():
            return "broke off"
        case Overloaded():
            return "is too busy"
        case WrongModel():
            return "serves another model"
        case Refused():
            return "refuses us"
        case Unreachable():
            return "does not answer"
        case _:
            return "does not answer as it should"


def none_left(causes: Mapping[Replica, EngineError]) -> EngineError:
    """The error where no replica is left, with what each one said."""
    kinds: Sequence[type[EngineError]] = [*{type(error) for error in causes.values()}]
    kind = kinds[0] if len(kinds) == 1 and kinds[0] in _BLAMED else Unreachable
    each = " ".join(f"{replica.name}: {error.message}" for replica, error in causes.items())
    hint = "`glm-lsp doctor` looks at each of them; engine.replicas has their addresses."
    return kind(
        f"None of the {len(causes)} engines can be used. {each}",
        hint=hint,
        retryable=any(e.retryable for e in causes.values()),
    )
