"""Known faults of models, recognised while they happen.

Never decides what follows: the loop does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WINDOW = 3_000
"""Characters that are looked at: long enough that no honest list or table repeats itself exactly for so long."""

REPEATS = 6
"""How often the same stretch must follow itself in the window; shorter stretches then repeat far more often."""

_END = 32
"""Characters that must occur again before a shift is tried."""


@dataclass(slots=True)
class Repetition:
    """Watches streamed words for a model that says the same again and again.

    Such loops end at the cap on new tokens otherwise, after minutes
    (reported for GLM-4.7 and its siblings by several coding agents).
    """

    _tail: str = ""
    _unseen: int = 0
    _pieces: list[str] = field(default_factory=list)

    def heard(self, piece: str) -> bool:
        """Takes the next words; true where the last `WINDOW` characters are one short stretch, repeated."""
        self._pieces.append(piece)
        self._unseen += len(piece)
        if self._unseen < WINDOW // REPEATS:
            return False
        self._tail = (self._tail + "".join(self._pieces))[-WINDOW:]
        self._pieces.clear()
        self._unseen = 0
        return len(self._tail) == WINDOW and period(self._tail, WINDOW // REPEATS) > 0


def period(text: str, longest: int) -> int:
    """The smallest p up to `longest` such that every character equals the one p places before it; 0 where none is.

    Only shifts at which the text's end occurs again are tried, so honest text costs one search.
    """
    end = text[-_END:]
    at = text.rfind(end, 0, len(text) - 1)
    while at >= 0 and (shift := len(text) - len(end) - at) <= longest:
        if text.startswith(text[shift:]):
            return shift
        at = text.rfind(end, 0, at + len(end) - 1)
    return 0


def call_in_thinking(thinking: str) -> bool:
    """Whether the model wrote a tool call into its thinking, where no server takes it for one."""
    return "<tool_call>" in thinking
