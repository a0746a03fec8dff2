"""Conversations kept as tokens: what is rendered, what is logged, and what servers do that do not play along."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, Literal

import pytest
from aiohttp import web
from wire_server import DONE, Answer, WireServer, chunk, refusal, spoken, vllm_error

from glm_lsp.engine import exact, profiles
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.scripted import ScriptedEngine, said
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Delta, FinishReason, Message, Prompt, Sampling, TokenLog, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

READ = ToolSpec("read", "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}})
CALL = ToolCall("a", "read", '{"path": "x"}')


def asked(*messages: Message, log: TokenLog | None = None, thinking: bool = True, tool: ToolSpec = READ) -> Prompt:
    return Prompt(messages, (tool,), thinking=thinking, sampling=Sampling(0.7, 1.0, 4096), log=log)


# --- rendering ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "since", "rendered"),
    [
        ((Message("assistant", "A"), Message("user", " B\n")), 1, "<|user|> B\n<|assistant|><think>"),
        (
            (Message("assistant", "", tool_calls=(CALL,)), Message("tool", "1\n"), Message("tool", "2")),
            1,
            "<|observation|><tool_response>1\n</tool_response><tool_response>2</tool_response><|assistant|><think>",
        ),
        (
            (Message("tool", "1"), Message("tool", "2"), Message("user", "B")),
            1,
            "<tool_response>2</tool_response><|user|>B<|assistant|><think>",
        ),
        ((Message("system", "S"), Message("user", "B")), 0, "<|system|>S<|user|>B<|assistant|><think>"),
        (
            (Message("assistant", "\nA ", thinking=" T\n", tool_calls=(CALL, CALL)),),
            0,
            "<|assistant|><think>T</think>A"
            + 2 * "<tool_call>read<arg_key>path</arg_key><arg_value>x</arg_value></tool_call>"
            + "<|assistant|><think>",
        ),
        ((Message("assistant", "A"),), 0, "<|assistant|></think>A<|assistant|><think>"),
        ((Message("assistant", "<think>T</think>A"),), 0, "<|assistant|><think>T</think>A<|assistant|><think>"),
        (
            (Message("assistant", "", tool_calls=(ToolCall("a", "f", '{"n": 3.0, "l": [1, null], "s": "é"}'),)),),
            0,
            (
                "<|assistant|></think><tool_call>f<arg_key>n</arg_key><arg_value>3.0</arg_value><arg_key>l</arg_key>"
                "<arg_value>[1, null]</arg_value><arg_key>s</arg_key><arg_value>é</arg_value></tool_call>"
                "<|assistant|><think>"
            ),
        ),
        (
            (Message("assistant", "", tool_calls=(ToolCall("a", "f", '{"n": '), ToolCall("b", "g", "[1]"))),),
            0,
            "<|assistant|></think><tool_call>f</tool_call><tool_call>g</tool_call><|assistant|><think>",
        ),
        ((Message("assistant", "A"),), 1, "<|assistant|><think>"),
    ],
    ids=[
        "a question",
        "results",
        "a further result",
        "system",
        "a reply",
        "no thinking",
        "tags left in the text",
        "arguments",
        "broken arguments",
        "nothing",
    ],
)
def test_the_end_is_rendered_as_the_template_does(messages: tuple[Message, ...], since: int, rendered: str) -> None:
    assert exact.suffix(messages, since, thinking=True) == rendered
    assert exact.suffix(messages, since, thinking=False) == rendered.removesuffix("<think>") + "</think>"


def test_only_families_whose_template_was_compared_are_continued_as_tokens() -> None:
    assert {p.id for p in profiles.PROFILES if p.suffix} == {"glm-4.7", "glm-4.7-flash"}


# --- the log -----------------------------------------------------------------------------------------------------

STOP, THOUGHT = 7, 9
TEMPLATE = exact.Template("t", frozenset({STOP}), THOUGHT)


@pytest.mark.parametrize(
    ("read", "written", "finish", "thinking", "kept"),
    [
        ([1, 2], [3, THOUGHT, 4, STOP], "stop", True, (1, 2, 3, THOUGHT, 4)),
        ([1, 2], [3, THOUGHT, STOP, 4], "tool_calls", True, (1, 2, 3, THOUGHT, STOP, 4)),
        ([1, 2], [3, STOP], "stop", False, (1, 2, 3)),
        ([1, 2], [3, STOP], "stop", True, None),
        ([1, 2], [3, THOUGHT, 4], "length", True, None),
        ([1, 2], [3, THOUGHT, 4], "cancelled", True, None),
        (None, [3, THOUGHT, STOP], "stop", True, None),
        ([1, 2], [], "stop", False, None),
    ],
    ids=["stop token goes", "only the last", "no thinking", "never stopped thinking", "cut", "cancelled", "-", "empty"],
)
def test_a_log_is_made_of_whole_replies(
    read: list[int] | None, written: list[int], finish: FinishReason, thinking: bool, kept: tuple[int, ...] | None
) -> None:
    prompt = asked(Message("system"), Message("user"), thinking=thinking)
    log = exact.log_after(read, written, prompt=prompt, finish=finish, template=TEMPLATE, fingerprint="f")
    assert log == (None if kept is None else TokenLog(kept, 3, "f"))


def test_a_fingerprint_changes_with_everything_it_names() -> None:
    known = {"model": "m", "version": "1", "profile": "p", "tools": "1"}
    changes: list[dict[str, str]] = [{}, {"model": "n"}, {"version": "2"}, {"profile": "q"}, {"tools": "2"}]
    prints = [exact.fingerprint(TEMPLATE, **known | change) for change in changes]
    prints.append(exact.fingerprint(dataclasses.replace(TEMPLATE, identity="u"), **known))
    assert len(set(prints)) == len(prints)


# --- servers -----------------------------------------------------------------------------------------------------

Way = Literal["honest", "ignores ids", "tells no ids", "tells half", "refuses", "no tokenise", "other template"]
_MARKS = re.compile(r"(\[gMASK\]|<sop>|<\|[a-z]+\|>|</?think>|</?tool_[a-z]+>|</?arg_[a-z]+>)")


def tokens_of(text: str) -> list[int]:
    """One token a control token, one a character of all else."""
    pieces = (piece for piece in _MARKS.split(text) if piece)
    return [
        token
        for piece in pieces
        for token in ([10_000_000 + sum(piece.encode())] if _MARKS.fullmatch(piece) else map(ord, piece))
    ]


def rendered(body: dict[str, Any]) -> str:
    """What a server with GLM-4.7's template makes of a body's messages."""
    messages = [
        Message(
            m["role"],
            m["content"],
            m.get("reasoning", ""),
            tuple(ToolCall("", c["function"]["name"], c["function"]["arguments"]) for c in m.get("tool_calls", ())),
        )
        for m in body["messages"]
    ]
    return "[gMASK]<sop>" + exact.suffix(messages, 0, thinking=body["chat_template_kwargs"]["enable_thinking"])


class TokenServer(WireServer):
    """Says one reply after the other and reads and tells tokens, or does not."""

    def __init__(self, *replies: str, way: Way = "honest") -> None:
        super().__init__(spoken())
        self.replies = list(replies)
        self.way = way
        self.read: list[list[int]] = []

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/tokenize" and self.way != "no tokenise":
            self.paths.append(request.path)
            body = await request.json()
            text = body.get("prompt") or rendered(body) + "\n" * (self.way == "other template")
            return web.json_response({"count": 0, "max_model_len": 1, "tokens": tokens_of(text)})
        if request.path == "/v1/chat/completions":
            body = await request.json()
            if 1 not in (body.get("max_completion_tokens"), body.get("max_tokens")):
                self.answers = [self._answer(body)]
        return await super()._handle(request)

    def _answer(self, body: dict[str, Any]) -> Answer:
        wants = bool(body.get("return_token_ids"))
        if self.way == "refuses" and wants:
            return refusal(400, vllm_error("return_token_ids: extra fields not permitted", 400))
        given = body.get("kv_transfer_params", {}).get("prompt_token_ids")
        self.read.append(given if given and self.way != "ignores ids" else tokens_of(rendered(body)))
        tells = wants and self.way != "tells no ids"
        thinking, text = re.fullmatch(r"(?:(.*)</think>)?(.*)", self.replies.pop(0), re.DOTALL).groups()  # type: ignore[union-attr]
        thought = tokens_of(f"{thinking}</think>") if thinking is not None else []
        rest = [] if self.way == "tells half" else tokens_of(f"{text}<|user|>")

        def told(ids: list[int]) -> dict[str, Any]:
            return {"token_ids": ids} if tells else {}

        def event(delta: dict[str, Any], ids: list[int], finish: str | None = None) -> bytes:
            return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish, **told(ids)}])

        usage = {"prompt_tokens": len(self.read[-1]), "completion_tokens": len(thought) + len(tokens_of(text)) + 1}
        return Answer(
            (
                chunk({"role": "assistant"}, prompt_token_ids=self.read[-1] if tells else None),
                event({"reasoning": thinking} if thinking else {}, thought),
                event({"content": text}, rest[:-1]),
                event({}, rest[-1:], "stop"),
                chunk(choices=[], usage=usage),
                DONE,
            )
        )


@contextlib.asynccontextmanager
async def engine_for(server: TokenServer, cache: Path | None = None, **settings: Any) -> AsyncIterator[HttpEngine]:
    engine = HttpEngine(EngineSettings(url=server.url, **settings), cache=cache, environment={}, backoff=0.01)
    try:
        yield engine
    finally:
        await engine.close()


async def ask(engine: HttpEngine, prompt: Prompt) -> tuple[Message, TokenLog | None]:
    deltas: list[Delta] = [delta async for delta in engine.stream(prompt)]
    assert all(delta.log is None for delta in deltas[:-1])
    text, thinking = "".join(d.text for d in deltas), "".join(d.thinking for d in deltas)
    return Message("assistant", text, thinking), deltas[-1].log


async def test_what_was_read_and_written_is_read_again_to_the_last_token() -> None:
    server = TokenServer("\n one \n</think>\n\nFirst.\n", " two</think>Second.", "Third.")
    async with server.running(), engine_for(server) as engine:
        messages: tuple[Message, ...] = (Message("system", "S"), Message("user", "A"))
        first, log = await ask(engine, asked(*messages))
        assert log is not None
        assert log.ids == tuple(tokens_of("[gMASK]<sop><|system|>S<|user|>A<|assistant|><think>")) + tuple(
            tokens_of("\n one \n</think>\n\nFirst.\n")
        )
        assert log.covers == 3
        messages = (*messages, first, Message("user", "B"))
        second, after = await ask(engine, asked(*messages, log=log))
        assert after is not None
        assert server.read[1] == [*log.ids, *tokens_of("<|user|>B<|assistant|><think>")]
        assert server.requests[1]["messages"][2]["reasoning"] == "\n one \n", "they come along, for another server"
        assert server.requests[1]["chat_template_kwargs"]["clear_thinking"] is False
        messages = (*messages, second, Message("user", "C"))
        _, last = await ask(engine, asked(*messages, log=after, thinking=False))
        assert last is not None
        assert server.read[2] == [*after.ids, *tokens_of("<|user|>C<|assistant|></think>")]
        assert last.ids == (*server.read[2], *tokens_of("Third."))
        assert engine.exactness == "tokens"
    assert server.paths.count("/tokenize") == 3 + 2


async def test_a_reply_that_was_cut_off_is_rendered_behind_the_log_before_it() -> None:
    server = TokenServer("one</think>First.", "three</think>Third.")
    async with server.running(), engine_for(server) as engine:
        opening = Message("user", "A")
        first, log = await ask(engine, asked(opening))
        cut = (Message("user", "B"), Message("assistant", "Sec", thinking="two"), Message("user", "C"))
        assert log is not None
        _, after = await ask(engine, asked(opening, first, *cut, log=log))
        end = "<|user|>B<|assistant|><think>two</think>Sec<|user|>C<|assistant|><think>"
        assert server.read[1] == [*log.ids, *tokens_of(end)]
        assert after is not None
        assert after.covers == 6


@pytest.mark.parametrize(
    "way", ["ignores ids", "tells no ids", "tells half", "refuses", "no tokenise", "other template"]
)
async def test_a_server_that_does_not_play_along_gets_messages_from_then_on(way: Way, tmp_path: Path) -> None:
    server = TokenServer(*["\none\n</think>First."] * 5, way=way)
    async with server.running(), engine_for(server, tmp_path) as engine:
        messages: tuple[Message, ...] = (Message("user", "A"),)
        log = new = None
        for _ in range(3):
            reply, new = await ask(engine, asked(*messages, log=log))
            assert (reply.text, reply.thinking) == ("First.", "\none\n"), "the reply itself is as good as any"
            log = new or log
            messages = (*messages, reply, Message("user", "B"))
        assert new is None
        assert engine.exactness == "messages"
    body = server.requests[-1]
    assert "return_token_ids" not in body
    assert "kv_transfer_params" not in body
    assert [m.get("reasoning") for m in body["messages"]] == [None, "\none\n", None, "\none\n", None]
    assert body["chat_template_kwargs"] == {"enable_thinking": True, "clear_thinking": False}
    assert json.loads(next((tmp_path / "abilities").glob("*.json")).read_bytes())["exact"] is False


async def test_what_is_remembered_is_not_tried_again_by_another_process(tmp_path: Path) -> None:
    server = TokenServer(*["one</think>First."] * 2, way="tells no ids")
    async with server.running():
        for _ in range(2):
            async with engine_for(server, tmp_path) as engine:
                await ask(engine, asked(Message("user", "A")))
    assert ["return_token_ids" in body for body in server.requests] == [True, False]


async def test_a_refusal_for_another_reason_stays_a_refusal() -> None:
    class Refusing(TokenServer):
        def _answer(self, body: dict[str, Any]) -> Answer:
            return refusal(400, vllm_error("temperature is too warm", 400))

    server = Refusing()
    async with server.running(), engine_for(server) as engine:
        with pytest.raises(Exception, match="too warm"):
            await ask(engine, asked(Message("user", "A")))
        assert engine.exactness == "tokens", "nothing was learnt about tokens"


def _renamed(log: TokenLog, prompt: Prompt) -> Prompt:
    return dataclasses.replace(prompt, log=dataclasses.replace(log, fingerprint="of another engine"))


def _other_tools(log: TokenLog, prompt: Prompt) -> Prompt:
    return dataclasses.replace(prompt, log=log, tools=(dataclasses.replace(READ, description="Reads it."),))


def _too_long(log: TokenLog, prompt: Prompt) -> Prompt:
    return dataclasses.replace(prompt, log=dataclasses.replace(log, covers=9))


def _no_reply(log: TokenLog, prompt: Prompt) -> Prompt:
    return dataclasses.replace(prompt, log=dataclasses.replace(log, covers=1))


@pytest.mark.parametrize("changed", [_renamed, _other_tools, _too_long, _no_reply])
async def test_a_log_that_does_not_fit_is_left_aside_and_a_new_one_begins(
    changed: Callable[[TokenLog, Prompt], Prompt],
) -> None:
    server = TokenServer("one</think>First.", "two</think>Second.")
    async with server.running(), engine_for(server) as engine:
        first, log = await ask(engine, asked(Message("user", "A")))
        assert log is not None
        _, new = await ask(engine, changed(log, asked(Message("user", "A"), first, Message("user", "B"))))
        assert "kv_transfer_params" not in server.requests[1]
        assert new is not None
        assert new.covers == 4
        assert list(new.ids[: len(server.read[1])]) == server.read[1]


async def test_another_dialect_is_never_asked_for_tokens() -> None:
    class Plain(TokenServer):
        def _answer(self, body: dict[str, Any]) -> Answer:
            return Answer(spoken({"content": "Hello."}))

    server = Plain()
    server.probe = Answer(spoken({"content": "H"}, finish="length"))
    async with server.running(), engine_for(server, dialect="generic") as engine:
        _, log = await ask(engine, asked(Message("user", "A")))
        assert log is None
        assert engine.exactness == "messages"
    assert "return_token_ids" not in server.requests[0]
    assert "/tokenize" not in server.paths


async def test_a_script_hands_on_the_log_it_was_given() -> None:
    log = TokenLog((1, 2), 2, "f")
    engine = ScriptedEngine([said("Hello.", log=log)], chop=2)
    assert [d.log async for d in engine.stream(asked(Message("user", "A")))] == [None, None, None, log]
