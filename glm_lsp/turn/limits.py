"""How long a turn may go on: requests, seconds, new tokens, the same calls again, and work that leads nowhere.

Never ends a turn by itself: it raises, and the loop keeps what was achieved.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glm_lsp.errors import LimitReached

if TYPE_CHECKING:
    from glm_lsp.settings import TurnSettings

LONGEST_CYCLE = 4
"""Steps of a cycle that is recognised when it has come round twice: read a, read b, read a, read b."""


@dataclass(slots=True)
class Limits:
    """The counts of one turn.

    Attributes:
        settings: the limits.
        waited: seconds that went to a person, who may take their time.
    """

    settings: TurnSettings
    waited: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _steps: int = 0
    _calls: dict[str, int] = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)
    _results: set[str] = field(default_factory=set)
    _fresh: bool = False
    _idle: int = 0

    def step(self, written: int) -> None:
        """Counts the next request, after `written` new tokens so far.

        Raises:
            LimitReached: it may not be sent any more.
        """
        limits = self.settings
        self._steps += 1
        if self._steps > limits.max_steps:
            raise LimitReached(f"Stopped after {limits.max_steps} requests.", hint="turn.max_steps sets this limit.")
        if time.monotonic() - self._started - self.waited > limits.max_seconds:
            raise LimitReached(f"Stopped after {limits.max_seconds:.0f} s.", hint="turn.max_seconds sets this limit.")
        if written > limits.max_new_tokens:
            raise LimitReached(f"Stopped after {written:,} new tokens.", hint="turn.max_new_tokens sets this limit.")

    def called(self, name: str, arguments: str, result: str, *, ok: bool) -> None:
        """Counts a call with its result, which counts too: a file read again after it changed is not the same call.

        Raises:
            LimitReached: the same call with the same result, or the same few of them in turn, come again and again.
        """
        key = _digest(name, arguments, result)
        times = self._calls[key] = self._calls.get(key, 0) + 1
        self._order.append(key)
        shown = _digest(result)
        self._fresh = self._fresh or (ok and shown not in self._results)
        self._results.add(shown)
        if times >= self.settings.same_call_limit:
            raise LimitReached(
                f"The model made the same call {times} times with the same result: {name}.",
                hint="Ask again in other words; turn.same_call_limit sets this limit.",
            )
        for length in range(2, LONGEST_CYCLE + 1):
            last = self._order[-2 * length :]
            if len(last) == 2 * length and last[:length] == last[length:]:
                raise LimitReached(
                    f"The model went round in a circle: the same {length} calls twice, with the same results.",
                    hint="Ask again in other words.",
                )

    def carried_out(self) -> None:
        """Ends the count of one request's calls.

        Raises:
            LimitReached: for too many requests in a row nothing new came of them.
        """
        self._idle = 0 if self._fresh else self._idle + 1
        self._fresh = False
        if self._idle >= self.settings.idle_steps:
            raise LimitReached(
                f"{self._idle} requests in a row brought nothing new: every call was refused or told what was known.",
                hint="Ask again in other words; turn.idle_steps sets this limit.",
            )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
