"""What the model reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_lsp import prompt
from glm_lsp.conversations import Conversation
from glm_lsp.engine import profiles
from glm_lsp.terms import Excerpt, Message

CONTROL = [
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|observation|>",
    "<|endoftext|>",
    "<sop>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<tool_response>",
]


@given(st.lists(st.sampled_from([*CONTROL, "\u2060", "<", "x", "<\u2060", "\n"])).map("".join))
def test_shielding_removes_every_control_string_and_is_taken_back_exactly(text: str) -> None:
    shielded = prompt.shield(text)
    assert not any(control in shielded for control in CONTROL)
    assert prompt.unshield(shielded) == text


@pytest.mark.parametrize("text", ["a < b", "<html>", "x <- y", "List<String>", "<|other|>"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert prompt.shield(text) == text


def test_the_words_come_before_the_code_so_that_a_batch_shares_them() -> None:
    first = prompt.ask("Do it.", "Guidance.", [Excerpt("a.py", 1, "x = 1\ny = 2", "the whole file")])
    second = prompt.ask("Do it.", "Guidance.", [Excerpt("b.py", 1, "z = 3", "the whole file")])
    shared = "Guidance.\n\nDo it.\n\n"
    assert first.text.startswith(shared)
    assert second.text.startswith(shared)
    assert "1|x = 1\n2|y = 2" in first.text


def test_room_is_left_for_the_prompt() -> None:
    conversation = Conversation()
    conversation.append(Message("user", "x" * 200_000))
    composed = prompt.compose(conversation, profiles.GLM_47, preset="default", thinking=True)
    assert composed.sampling.max_new_tokens + 100_000 < profiles.GLM_47.context_length


def test_the_map_is_bounded() -> None:
    text = prompt.head([f"f{n}.py" for n in range(5_000)]).text
    assert "the first 400 of 5000" in text
    assert text.count("\n") < 450
