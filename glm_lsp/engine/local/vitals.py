"""Whether an engine that runs is well: what its figures, and requests for one token, say over time.

Never asks anything and never looks at a clock: it is told, and judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glm_lsp.engine.local.asking import Sample
    from glm_lsp.engine.local.record import Policy

REFUSALS = 3
"""Requests for one token that have to fail in a row: one may fail for a reason of its own."""


@dataclass(slots=True)
class Vitals:
    """What was seen of one run of an engine, from the moment `began`.

    Attributes:
        idle_since: since when nobody but us has wanted anything of it.
        probe_due: when it is to be asked for a token, if it rests.
    """

    policy: Policy
    began: float
    idle_since: float = field(init=False)
    probe_due: float = field(init=False)
    _answered: float = field(init=False)
    _moved: float = field(init=False)
    _marks: tuple[float, ...] = ()
    _busy: bool = False
    _ended: float | None = None
    _probing_since: float | None = None
    _own: int = 0
    _settled: float = 0.0
    _refusals: int = 0

    def __post_init__(self) -> None:
        self.idle_since = self._answered = self._moved = self.began
        self.probe_due = self.began + self.policy.probe_every

    def saw(self, seen: Sample | None, now: float) -> str:
        """Takes one look at the figures; returns what is wrong, or nothing."""
        limit = self.policy.hang
        if seen is None:
            silent = now - self._answered
            return f"it has not answered for {silent:.0f} s" if silent > limit else ""
        self._answered = now
        if seen.marks != self._marks or not seen.busy or not self._busy:
            self._moved, self._marks = now, seen.marks
        self._busy = seen.busy
        self._note_work(seen, now)
        if seen.busy and now - self._moved > limit:
            asked = (
                f"{seen.running + seen.waiting:.0f} requests wait"
                if seen.running + seen.waiting > 1
                else "a request waits"
            )
            return f"{asked} and nothing has moved for {now - self._moved:.0f} s"
        if self._probing_since is not None and not seen.busy and now - self._probing_since > limit:
            return f"it has not written a token in {now - self._probing_since:.0f} s"
        return ""

    @property
    def rests(self) -> bool:
        """Whether nothing runs, not even a request of our own."""
        return not self._busy and self._probing_since is None

    def may_probe(self, now: float) -> bool:
        """Whether it is to be asked for a token now: it rests, or nobody could see whether it does."""
        return now >= self.probe_due and self._probing_since is None and not self._busy

    def probing(self, now: float) -> None:
        """Notes that it is being asked."""
        self._probing_since = now

    def probed(self, fault: str, now: float) -> str:
        """Notes what came of it; returns what is wrong, or nothing."""
        self._probing_since, self._settled = None, now + 2 * self.policy.tick
        self._refusals = self._refusals + 1 if fault else 0
        self._own += not fault
        # One that failed is asked again soon, so that a refusal is known for what it is within seconds.
        self.probe_due = now + (
            min(5 * self.policy.tick, self.policy.probe_every) if fault else self.policy.probe_every
        )
        return f"it says that it is well, and {fault}" if self._refusals >= REFUSALS else ""

    def _note_work(self, seen: Sample, now: float) -> None:
        """Notes whether anybody else wanted something; what ends while a request of our own does is not told apart."""
        if self._probing_since is not None:
            seen_busy = seen.running + seen.waiting > 1
        else:
            seen_busy = seen.busy
            if now >= self._settled:
                others = seen.ended - self._own
                if self._ended is not None and others != self._ended:
                    self.idle_since = now
                self._ended = others
        if seen_busy:
            self.idle_since = now
