"""Known faults of models, recognised while they happen.

Never decides what follows: the loop does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WINDOW = 3_000
"""Characters that are looked at: long enough that no honest list or table repeats itself exactly for so long."""

REPEATS = 6
"""How often the same stretch must follow itself in the window; shorter stretches then repeat far more often."""


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
        return len(self._tail) == WINDOW and period(self._tail) <= WINDOW // REPEATS


def period(text: str) -> int:
    """The smallest p such that every character equals the one p places before it; linear in the text's length."""
    borders = [0] * len(text)
    length = 0
    for index in range(1, len(text)):
        while length and text[index] != text[length]:
            length = borders[length - 1]
        if text[index] == text[length]:
            length += 1
        borders[index] = length
    return len(text) - (borders[-1] if borders else 0)


def call_in_thinking(thinking: str) -> bool:
    """Whether the model wrote a tool call into its thinking, where no server takes it for one."""
    return "<tool_call>" in thinking
