"""What a conversation is recalled by: the words of the person, and nothing of what was put around them."""

from __future__ import annotations

import pytest

from glm_lsp import prompt
from glm_lsp.actions import find
from glm_lsp.terms import Excerpt, Problem, Selection
from glm_lsp.turn.recall import asked

POINTED = prompt.selected([Selection("cart.py", 2, 3, "    return sum(\n")])
REPORTED = prompt.known_problems([Problem("cart.py", 2, 1, "error", "ruff", "F821", "Undefined name")])
NOTES = {
    "pointed at": POINTED,
    "reported": REPORTED,
    "edited since": prompt.changed_since(["cart.py"], []),
    "gone since": prompt.changed_since([], ["cart.py"]),
    "instructions": prompt.instructions("AGENTS.md", "Be terse.", again=True),
    "taken over": "The person took over none of 2 changes; not taken over: cart.py, line 2.",
    "more files": "This is about these files too; read them as you need: a.py",
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
@pytest.mark.parametrize(
    "words", ["Add it up.\n\nAnd test it: a cart points at prices.", ""], ids=["words", "no words"]
)
def test_notes_of_ours_are_not_the_persons_words(words: str, note: str) -> None:
    excerpt = Excerpt("cart.py", 1, "x = 1\n", "the whole file")
    message = prompt.ask(words, find("document").guidance, [excerpt], [note, POINTED])
    assert asked([message]) == ([words] if words else [])
