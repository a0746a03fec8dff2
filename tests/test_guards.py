"""Known faults of models, told from what only looks like them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_lsp.turn.guards import WINDOW, Repetition, period

LOOPS = {
    "a word": "wait ",
    "one character": "!",
    "a paragraph": "Let me look at the file again. I need to see what `total` does before I change it, so I read it once more.\n",
}
HONEST = {
    "prose": " ".join(
        random.Random(1).choices(["the", "a", "file", "total", "reads", "changes", "so", "and", "then", "why"], k=4_000)
    ),
    "a long list": "".join(f"- item {n}: nothing to do\n" for n in range(600)),
    "a table of numbers": "".join(f"| {n} | {n * n} |\n" for n in range(900)),
}


def heard(text: str, size: int) -> bool:
    watch = Repetition()
    return any(watch.heard(text[start : start + size]) for start in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 7, 500, 10_000])
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_is_heard_however_it_comes(loop: str, size: int) -> None:
    text = HONEST["prose"][:2_000] + loop * (2 * WINDOW // len(loop))
    assert heard(text, size)


@pytest.mark.parametrize("size", [1, 500])
@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_honest_text_is_not_taken_for_a_loop(text: str, size: int) -> None:
    assert not heard(text, size)


@given(st.text("ab", min_size=1, max_size=40))
def test_the_period_is_the_smallest_shift_that_fits(text: str) -> None:
    text *= 4  # longer than what must occur again, mostly
    shifts = (p for p in range(1, len(text) // 2) if text[p:] == text[: len(text) - p] and len(text) - p >= 32)
    assert period(text, len(text) // 2 - 1) == next(shifts, 0)
