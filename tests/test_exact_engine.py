"""Conversations kept as tokens on the real test engine: what vLLM reads, caches and parses."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from engine.server import tool_call

from glm_lsp.engine import exact
from glm_lsp.engine.client import HttpEngine
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling, TokenLog, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engine.server import ForcedEngine

pytestmark = pytest.mark.engine

BLOCK = 32
READ = ToolSpec("read_file", "Reads a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
_MARK = re.compile(r"(<[|/]?[a-z_]+\|?>)")
HEAD = Message("system", "You work on the code of one workspace. " * 12)


async def tokens(url: str, **fields: Any) -> list[int]:
    body = {"model": "glm-4.7", "add_special_tokens": False, **fields}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/tokenize", json=body) as reply:
        assert reply.status == 200, await reply.text()
        found: list[int] = (await reply.json())["tokens"]
        return found


async def text_of(url: str, ids: list[int]) -> str:
    body = {"model": "glm-4.7", "tokens": ids}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/detokenize", json=body) as reply:
        found: str = (await reply.json())["prompt"]
        return found


async def letters(url: str, text: str) -> list[int]:
    """Tokens that say a text letter by letter, as its own encoding never would; control tokens stay whole."""
    pieces = [piece for piece in _MARK.split(text) if piece]
    spelled = [[piece] if _MARK.fullmatch(piece) else list(piece) for piece in pieces]
    known = {letter: await tokens(url, prompt=letter) for letter in {letter for piece in spelled for letter in piece}}
    return [token for piece in spelled for letter in piece for token in known[letter]]


@dataclass
class Talk:
    """One conversation with the engine, as the turn leads it."""

    forced: ForcedEngine
    engine: HttpEngine
    messages: list[Message] = field(default_factory=lambda: [HEAD])
    log: TokenLog | None = None
    usage: list[Usage] = field(default_factory=list)

    async def ask(self, reply: str | list[int], *said: Message, thinking: bool = True) -> Message:
        self.messages += said
        self.forced.say(reply)
        prompt = Prompt(
            tuple(self.messages), (READ,), thinking=thinking, sampling=Sampling(0.0, None, 2000), log=self.log
        )
        thought, text, calls = "", "", dict[int, list[str]]()
        async for delta in self.engine.stream(prompt):
            thought += delta.thinking
            text += delta.text
            for piece in delta.tool_calls:
                call = calls.setdefault(piece.index, [piece.id, piece.name, ""])
                call[2] += piece.arguments
            if delta.finish:
                assert delta.usage is not None
                assert delta.log is not None
                self.usage.append(delta.usage)
                self.log = delta.log
        answer = Message("assistant", text, thought, tuple(ToolCall(*call) for call in calls.values()))
        self.messages.append(answer)
        return answer

    def read(self, request: int = -1) -> list[int]:
        """The tokens that vLLM says it read."""
        for line in self.forced.replies[request].split(b"\n"):
            if b'"prompt_token_ids"' in line:
                found: list[int] = json.loads(line.removeprefix(b"data: "))["prompt_token_ids"]
                return found
        raise AssertionError("vLLM did not say what it read")


@pytest.fixture
async def talk(glm_engine: ForcedEngine) -> AsyncIterator[Talk]:
    salt = {"cache_salt": secrets.token_hex(8)}  # what other tests left in the cache does not count here
    engine = HttpEngine(EngineSettings(url=glm_engine.url, extra_body=salt), environment={})
    yield Talk(glm_engine, engine)
    await engine.close()


CALL = tool_call("read_file", path="cart.py")
RESULT = "1: def total(items):\n2:     return sum(i.price for i in items)\n" * 4

TASKS: tuple[tuple[tuple[str, tuple[Message, ...]], ...], ...] = tuple(
    (
        (f"\nThe file first, for task {n}.\n</think>" + CALL, (Message("user", f"Task {n}: count quantities."),)),
        (f" And its test,\n\n  twice {n}. </think>\n\nI look.\n" + CALL + CALL, (Message("tool", RESULT + str(n)),)),
        (f"Done {n}.\n\n</think>\n\nThe total {n} counts.\n", (Message("tool", "one\n"), Message("tool", " two"))),
    )
    for n in (1, 2, 3)
)


@pytest.mark.parametrize("split", ["canonical", "letter by letter"])
async def test_three_tasks_with_tools_are_read_again_to_the_last_token(talk: Talk, split: str) -> None:
    url = talk.forced.url
    thoughts: list[str] = []
    for task in TASKS:
        for reply, said in task:
            before = talk.log
            await talk.ask(
                reply
                if split == "canonical"
                else await letters(url, reply + ("<|observation|>" if CALL in reply else "<|user|>")),
                *said,
            )
            read = talk.read()
            if before is not None:
                end = exact.suffix((Message("assistant"), *said), 1, thinking=True)
                assert read == [*before.ids, *await tokens(url, prompt=end)]
                assert talk.usage[-1].cached == len(before.ids) // BLOCK * BLOCK, "every full block"
            text = await text_of(url, read)
            assert all(f"<think>{thought}</think>" in text for thought in thoughts), "as they were, at their place"
            assert text.count("<think>") == len(thoughts) + 1
            thoughts.append(reply.partition("</think>")[0])
    answers = [m for m in talk.messages if m.role == "assistant"]
    assert [len(m.tool_calls) for m in answers] == [1, 2, 0] * 3
    assert {call.arguments for m in answers for call in m.tool_calls} == {'{"path": "cart.py"}'}
    assert [m.thinking.strip() for m in answers] == [t.strip() for t in thoughts], "vLLM still tells them apart"
    assert talk.engine.exactness == "tokens"


async def test_switching_thinking_leaves_the_prefix_as_it_was(talk: Talk) -> None:
    url = talk.forced.url
    for number, thinking in enumerate([True, False, False, True, False]):
        before = talk.log
        reply = f"{'Hm.</think>' if thinking else ''}Answer {number}. " + "And some more words. " * number
        answer = await talk.ask(reply, Message("user", f"Question {number}, " * 9), thinking=thinking)
        assert answer.text.startswith(f"Answer {number}.")
        if before is not None:
            assert talk.read()[: len(before.ids)] == list(before.ids)
            assert talk.usage[-1].cached == len(before.ids) // BLOCK * BLOCK
        assert (await text_of(url, talk.read())).endswith("<think>" if thinking else "</think>")


async def test_another_process_goes_on_where_the_first_one_was(talk: Talk) -> None:
    await talk.ask("\nOne.\n</think>First. " + "words " * 40, Message("user", "A"))
    log = talk.log
    assert log is not None
    second = HttpEngine(EngineSettings(url=talk.forced.url, extra_body=talk.engine._settings.extra_body))
    try:
        later = Talk(talk.forced, second, talk.messages, log)
        await later.ask("Two.</think>Second.", Message("user", "B"))
        assert later.read()[: len(log.ids)] == list(log.ids)
        assert later.usage[-1].cached == len(log.ids) // BLOCK * BLOCK
    finally:
        await second.close()


def _plain(message: Message) -> dict[str, Any]:
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
        for c in message.tool_calls
    ]
    fields = {"role": message.role, "content": message.text, "reasoning": message.thinking, "tool_calls": calls}
    return {name: value for name, value in fields.items() if value or name in ("role", "content")}


SPOKEN = Message("assistant", "Answer.", "Thought.", (ToolCall("a", "f", '{"x": "y"}'),))


@pytest.mark.parametrize(
    "end",
    [
        (Message("user", "\n Hello 日本 \n"),),
        (Message("tool", " one\n", call_id="a"),),
        (Message("tool", "one", call_id="a"), Message("tool", "", call_id="b"), Message("user", "And?")),
        (Message("user", "A"), Message("system", "Be brief.\n"), Message("user", "B")),
        (Message("user", "A"), Message("assistant", " B ", "\nT\n"), Message("user", "C")),
        (Message("user", "A"), Message("assistant", "B"), Message("user", "C")),
        (Message("user", "A"), Message("assistant", "<think>T\n</think>\nB"), Message("user", "C")),
        (
            Message("tool", "r"),
            Message("assistant", "", "T", (ToolCall("b", "g", '{"n": [1.5, {"é": null}], "s": " z "}'),)),
            Message("tool", "q"),
        ),
    ],
    ids=["question", "result", "results", "system", "foreign reply", "no thinking", "tags in text", "foreign call"],
)
@pytest.mark.parametrize("thinking", [True, False])
async def test_the_end_has_the_tokens_that_the_template_gives_it(
    glm_engine: ForcedEngine, end: tuple[Message, ...], thinking: bool
) -> None:
    start = (HEAD, Message("user", "Go."), SPOKEN)
    arguments = {"chat_template_kwargs": {"enable_thinking": thinking, "clear_thinking": False}}

    async def whole(*messages: Message, opened: bool) -> list[int]:
        spelled = [_plain(message) for message in messages]
        return await tokens(glm_engine.url, messages=spelled, add_generation_prompt=opened, **arguments)

    suffix = await tokens(glm_engine.url, prompt=exact.suffix((*start, *end), len(start), thinking=thinking))
    assert [*await whole(*start, opened=False), *suffix] == await whole(*start, *end, opened=True)


async def test_the_template_of_the_engine_is_ours(glm_engine: ForcedEngine) -> None:
    async def tokenise(fields: dict[str, Any]) -> list[int]:
        return await tokens(glm_engine.url, **fields)

    learnt = await exact.learn(tokenise, "reasoning")
    assert learnt is not None
    marks = ("<|endoftext|>", "<|user|>", "<|observation|>")
    assert learnt.stops == {token for mark in marks for token in await tokens(glm_engine.url, prompt=mark)}

    async def clearing(fields: dict[str, Any]) -> list[int]:
        kwargs = {"chat_template_kwargs": {"enable_thinking": True}} if "messages" in fields else {}
        return await tokenise({**fields, **kwargs})

    assert await exact.learn(clearing, "reasoning") is None, "one that drops earlier thinking is not"
