"""An editor's own agent on the real test engine: what vLLM reads on the second turn though the agent dropped it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from engine.server import tool_call
from lsp.editor import FakeEditor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from engine.server import ForcedEngine

pytestmark = pytest.mark.engine

BLOCK = 32
TOOLS = [
    {
        "name": "read",
        "description": "Reads a file.",
        "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "number"}}},
    }
]
HEAD = {"role": "system", "parts": [{"type": "text", "text": "You are an expert programming assistant. " * 20}]}
THOUGHT = "\nThe person means  a.py,\n\nso I read it first. "
AFTER = "It adds two numbers; nothing else. "


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"type": "text", "text": text}]}


async def text_of(url: str, ids: list[int]) -> str:
    body = {"model": "glm-4.7", "tokens": ids}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/detokenize", json=body) as reply:
        found: str = (await reply.json())["prompt"]
        return found


def joined(pieces: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of a reply, each whole: what came later than the pace of deltas came in two."""
    parts: list[dict[str, Any]] = []
    for piece in pieces:
        if parts and "text" in piece and parts[-1]["type"] == piece["type"]:
            parts[-1] = {**piece, "text": parts[-1]["text"] + piece["text"]}
        else:
            parts.append(piece)
    return parts


class Agent:
    """An agent as VS Code's: it sends back text and calls, and never what was thought before the last question."""

    def __init__(self, editor: FakeEditor, messages: list[dict[str, Any]]) -> None:
        self.editor = editor
        self.messages = messages

    async def ask(self, *said: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        self.messages += said
        stream = f"s{len(self.messages)}"
        params = {"stream": stream, "messages": self.messages, "tools": TOOLS, "maxTokens": 500}
        result = await self.editor.ask("glm/model/complete", params)
        parts = joined(one["part"] for one in self.editor.read("glm/model/delta") if one["stream"] == stream)
        kept = [part for part in parts if part["type"] in ("text", "call")]
        self.messages.append({"role": "assistant", "parts": kept})
        return result, parts

    def result(self, parts: list[dict[str, Any]], text: str) -> dict[str, Any]:
        called = next(part for part in parts if part["type"] == "call")
        return {"role": "user", "parts": [{"type": "result", "callId": called["callId"], "text": text}]}


async def two_turns(engine: ForcedEngine, root: Path) -> list[dict[str, Any]]:
    """A question with a tool call, then, with a server that was started anew, another question; what each came to."""
    engine.say(f"{THOUGHT}</think>Reading.{tool_call('read', path='a.py', lines=3)}", f"{AFTER}</think>\nIt adds. ")
    engine.say("Simple.</think>Yes.")
    messages = [HEAD]
    async with FakeEditor(root, engine.url, own=True) as editor:
        agent = Agent(editor, messages)
        first, parts = await agent.ask(user("What does a.py do?"))
        assert [part["type"] for part in parts] == ["thinking", "text", "call"]
        assert parts[0]["text"].strip() == THOUGHT.strip()
        second, _ = await agent.ask(agent.result(parts, "def add(a, b): return a + b"))
    async with FakeEditor(root, engine.url, own=True) as editor:
        agent = Agent(editor, messages)
        third, _ = await agent.ask(user("Are you sure?"))
    assert first["finishReason"] == "toolCalls"
    return [first, second, third]


async def test_the_second_turn_reads_the_thinking_of_the_first_as_tokens_and_all_of_it_from_the_cache(
    glm_engine: ForcedEngine, tmp_path: Path
) -> None:
    root = tmp_path / "work"
    root.mkdir()
    first, second, third = await two_turns(glm_engine, root)
    assert [one.get("continued", 0) for one in (first, second, third)] == [0, 3, 5]
    for before, after in ((first, second), (second, third)):
        seen = before["usage"]["inputTokens"] + before["usage"]["outputTokens"] - 1  # the stop token is not kept
        assert after["usage"]["cachedTokens"] >= seen // BLOCK * BLOCK - BLOCK
    asked = glm_engine.requests[-1]
    read = await text_of(glm_engine.url, asked["kv_transfer_params"]["prompt_token_ids"])
    assert f"<think>{THOUGHT}</think>Reading.<tool_call>read<arg_key>path</arg_key>" in read
    assert f"<think>{AFTER}</think>\nIt adds. <|user|>Are you sure?<|assistant|><think>" in read  # to the space
    assert read.count("<think>") == 3
    # The messages that travel beside the tokens have it too, for an engine that would read those.
    assert [m.get("reasoning", "").strip() for m in asked["messages"] if m["role"] == "assistant"] == [
        THOUGHT.strip(),
        AFTER.strip(),
    ]
    assert asked["chat_template_kwargs"]["clear_thinking"] is False


async def test_an_engine_that_takes_no_tokens_reads_the_thinking_in_its_messages(
    glm_engine: ForcedEngine, tmp_path: Path
) -> None:
    root = tmp_path / "work"
    root.mkdir()
    # What a server of another kind gets: messages alone.
    glm_engine.say(
        f"{THOUGHT}</think>Reading.{tool_call('read', path='a.py')}", f"{AFTER}</think>It adds.", "Ok.</think>Yes."
    )
    settings = {"engine": {"url": glm_engine.url, "dialect": "sglang"}}
    async with FakeEditor(root, "", settings=settings, own=True) as editor:
        agent = Agent(editor, [HEAD])
        _, parts = await agent.ask(user("What does a.py do?"))
        await agent.ask(agent.result(parts, "def add(a, b): return a + b"))
        third, _ = await agent.ask(user("Are you sure?"))
    assert third["restored"] == 2
    assert third.get("continued", 0) == 0
    asked = glm_engine.requests[-1]
    assert "kv_transfer_params" not in asked
    thoughts = [m["reasoning_content"] for m in asked["messages"] if m["role"] == "assistant"]
    assert [one.strip() for one in thoughts] == [THOUGHT.strip(), AFTER.strip()]


async def test_the_engine_counts_the_tokens(glm_engine: ForcedEngine, tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    async with FakeEditor(root, glm_engine.url, own=True) as editor:
        told = await editor.ask("glm/model/info", {})
        assert told["exactness"] == "tokens"
        assert told["maxInputTokens"] + told["maxOutputTokens"] == 32768
        counted = await editor.ask("glm/model/countTokens", {"texts": ["<think>", "<|user|><|user|>", ""]})
        assert counted == {"tokens": [1, 2, 0], "exact": True}
