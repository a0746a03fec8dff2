"""GLM as a model for an editor's own agent: what it is told, what comes back, and what is put back into its history."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lsp.editor import FakeEditor, Refused

from glm_lsp.completion import Completion, Wanted, chain, count
from glm_lsp.conversations import Conversations
from glm_lsp.engine.scripted import ScriptedEngine, said
from glm_lsp.errors import DiedMidStream, MalformedReply, NothingSaid
from glm_lsp.store import Thoughts
from glm_lsp.store.file import MIGRATIONS
from glm_lsp.terms import Message, TokenLog, ToolCall, ToolSpec

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.terms import Delta

READ = ToolSpec("read", "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}})
ASKS = Message("user", "What does a.py do?")


@pytest.fixture
def thoughts(tmp_path: Path) -> Thoughts:
    return kept(tmp_path)


def kept(base: Path) -> Thoughts:
    """As a process that has just begun finds them."""
    return Thoughts(Conversations.at(base, environment={"GLM_LSP_STATE_DIR": str(base / "state")}).store.file)


async def reply(
    engine: ScriptedEngine, thoughts: Thoughts | None, *messages: Message, tools: tuple[ToolSpec, ...] = (READ,)
) -> tuple[Completion, Message, list[Delta]]:
    """One reply as an agent has it: text and calls, and no thinking."""
    found = Completion(Wanted(messages, tools), engine, thoughts)
    deltas = [delta async for delta in found.run()]
    text = "".join(delta.text for delta in deltas)
    calls = tuple(ToolCall(p.id, p.name, p.arguments) for delta in deltas for p in delta.tool_calls)
    return found, Message("assistant", text, tool_calls=calls), deltas


# --- what is put back --------------------------------------------------------------------------------------------


async def test_thinking_that_the_agent_dropped_is_there_again_after_a_restart(tmp_path: Path) -> None:
    engine = ScriptedEngine(
        [
            said("Looking.", thinking="\nI had better read it. ", calls=[("read", {"path": "a.py"})]),
            said("It adds.", thinking="So it adds."),
            said("Yes."),
        ]
    )
    first, called, _ = await reply(engine, kept(tmp_path), ASKS)
    assert first.finish == "tool_calls"
    result = Message("tool", "a + b", call_id=called.tool_calls[0].id)
    _, answered, _ = await reply(engine, kept(tmp_path), ASKS, called, result)
    third, _, _ = await reply(engine, kept(tmp_path), ASKS, called, result, answered, Message("user", "Sure?"))
    assert [m.thinking for m in engine.prompts[-1].messages] == ["", "\nI had better read it. ", "", "So it adds.", ""]
    assert third.restored == 2
    assert [m.text for m in engine.prompts[-1].messages] == [
        "What does a.py do?",
        "Looking.",
        "a + b",
        "It adds.",
        "Sure?",
    ]


async def test_what_the_agent_kept_of_the_thinking_gives_way_to_what_was_thought(thoughts: Thoughts) -> None:
    engine = ScriptedEngine([said("", thinking=" one\n\ntwo ", calls=[("read", {})]), said("Good.")])
    _, called, _ = await reply(engine, thoughts, ASKS)
    trimmed = replace(called, thinking="one two")
    found, _, _ = await reply(engine, thoughts, ASKS, trimmed, Message("tool", "", call_id=called.tool_calls[0].id))
    assert engine.prompts[-1].messages[1].thinking == " one\n\ntwo "
    assert found.restored == 0  # nothing was missing


async def test_a_reply_of_words_is_known_by_all_before_it_and_else_by_what_it_answers(thoughts: Thoughts) -> None:
    engine = ScriptedEngine(
        [said("Done.", thinking="of the first"), said("Done.", thinking="of the second"), *[said("x")] * 3]
    )
    one, other = Message("system", "First."), Message("system", "Second.")
    _, done, _ = await reply(engine, thoughts, one, ASKS)
    await reply(engine, thoughts, other, ASKS)
    trimmed = replace(done, text=" Done.\n")
    await reply(engine, thoughts, one, ASKS, trimmed, Message("user", "?"))
    assert engine.prompts[-1].messages[2].thinking == "of the first"
    await reply(engine, thoughts, Message("system", "Rewritten."), ASKS, done, Message("user", "?"))
    assert engine.prompts[-1].messages[2].thinking == "of the second"  # the later of the two
    await reply(engine, thoughts, one, Message("user", "Something else"), done, Message("user", "?"))
    assert engine.prompts[-1].messages[2].thinking == ""


async def test_ids_of_calls_are_new_each_time_and_cannot_be_guessed(thoughts: Thoughts) -> None:
    engine = ScriptedEngine([said("", thinking="t", calls=[("read", {}), ("read", {"path": "b"})])] * 2)
    ids = []
    for _ in range(2):
        _, called, _ = await reply(engine, thoughts, ASKS)
        ids += [call.id for call in called.tool_calls]
    assert len(set(ids)) == 4
    assert all(len(one) == len("call_") + 32 for one in ids)


async def test_another_workspace_knows_nothing_of_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    engine = ScriptedEngine([said("Fine.", thinking="private"), said("x")])
    _, fine, _ = await reply(engine, kept(tmp_path / "one"), ASKS)
    found, _, _ = await reply(engine, kept(tmp_path / "two"), ASKS, fine, Message("user", "?"))
    assert found.restored == 0
    assert engine.prompts[-1].messages[1].thinking == ""


# --- the tokens --------------------------------------------------------------------------------------------------


async def test_the_engine_gets_the_tokens_of_the_longest_beginning_that_it_has_read(tmp_path: Path) -> None:
    first, second = TokenLog((1, 2, 3), 2, "print"), TokenLog((1, 2, 3, 4, 5), 4, "print")
    engine = ScriptedEngine(
        [
            said("", thinking="t", calls=[("read", {"n": 1.0, "b": 2})], log=first),
            said("Good.", log=second),
            said("More.", log=TokenLog((1, 2, 3, 4, 5, 6), 6, "print")),
            *[said("x")] * 3,
        ]
    )
    _, called, _ = await reply(engine, kept(tmp_path), ASKS)
    call = called.tool_calls[0]
    result = Message("tool", "r", call_id=call.id)
    again = replace(called, tool_calls=(replace(call, arguments='{"b":2,"n":1}'),))  # as JavaScript spells it
    found, good, _ = await reply(engine, kept(tmp_path), ASKS, again, result)
    assert engine.prompts[-1].log == first
    assert found.continued == 2
    found, _, _ = await reply(engine, kept(tmp_path), ASKS, again, result, good, Message("user", "On."))
    assert engine.prompts[-1].log == second
    assert found.continued == 4
    # Edited: only what is still the same is read as tokens, and other tools make another beginning of it all.
    await reply(engine, kept(tmp_path), ASKS, again, result, Message("assistant", "Bad."), Message("user", "On."))
    assert engine.prompts[-1].log == first
    changed = replace(again, tool_calls=(replace(call, arguments='{"b":3}'),))
    await reply(engine, kept(tmp_path), ASKS, changed, result)
    assert engine.prompts[-1].messages[1].thinking == "t"
    await reply(engine, kept(tmp_path), ASKS, again, result, tools=())
    assert [prompt.log for prompt in engine.prompts[-2:]] == [None, None]


def test_tokens_are_kept_once_and_gone_with_what_they_stand_on(thoughts: Thoughts) -> None:
    a, b = TokenLog(tuple(range(1000)), 2, "p"), TokenLog(tuple(range(1500)), 4, "p")
    thoughts.keep_log(b"a", a, on=None)
    thoughts.keep_log(b"b", b, on=(b"a", a))
    thoughts.keep_log(b"c", TokenLog((9, 9), 4, "p"), on=(b"a", a))  # does not begin so: it stands alone
    assert thoughts.log([b"a", b"b"]) == (b"b", b)
    assert thoughts.log([b"c"]) == (b"c", TokenLog((9, 9), 4, "p"))
    sizes = thoughts.file.read(lambda db: db.execute("SELECT length(ids) FROM read_tokens ORDER BY rowid").fetchall())
    assert sizes == [(4000,), (2000,), (8,)]
    thoughts.file.write(lambda db: db.execute("DELETE FROM read_tokens WHERE digest = ?", (b"a",)))
    assert thoughts.log([b"a", b"b"]) is None


def test_what_is_kept_has_bounds_in_size_and_in_age(thoughts: Thoughts, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(thoughts, most_bytes=20_000)
    for number in range(100):
        small.put(b"%d" % number, "x" * 1000)
    assert 10 <= len(small) <= 20
    assert small.get(b"99") is not None
    assert small.get(b"0") is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 86_400)
    small.put(b"new", "y")
    assert len(small) == 1


def test_tokens_that_are_still_stood_on_are_not_old(thoughts: Thoughts) -> None:
    small = replace(thoughts, most_bytes=3000)
    a = TokenLog(tuple(range(100)), 2, "p")
    small.keep_log(b"a", a, on=None)
    known, log = b"a", a
    for number in range(12):
        log = TokenLog((*log.ids, number), log.covers + 2, "p")
        small.keep_log(b"grown %d" % number, log, on=small.log([known]))
        small.keep_log(b"other %d" % number, TokenLog(tuple(range(100)), 2, "p"), on=None)
        known = b"grown %d" % number
    assert small.log([known]) == (known, log)


# --- replies -----------------------------------------------------------------------------------------------------


async def test_a_call_is_handed_on_whole_and_with_its_real_text(thoughts: Thoughts) -> None:
    engine = ScriptedEngine([said("", calls=[("read", {"path": "<\u2060think>"})])], chop=1)
    _, called, deltas = await reply(engine, thoughts, Message("user", "see <think>"))
    assert called.tool_calls[0].arguments == '{"path":"<think>"}'
    assert sum(bool(delta.tool_calls) for delta in deltas) == 1
    assert engine.prompts[0].messages[0].text == "see <\u2060think>"  # no control token out of a file


async def test_a_reply_that_was_cut_off_has_no_calls(thoughts: Thoughts) -> None:
    engine = ScriptedEngine([said("Let me", calls=[("read", '{"path": "a')], finish="length")])
    found, called, _ = await reply(engine, thoughts, ASKS)
    assert found.finish == "length"
    assert called.tool_calls == ()
    assert called.text == "Let me"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (said("", thinking="hm"), NothingSaid),
        (said("", calls=[("read", "[1]")]), MalformedReply),
        (said("So", error=DiedMidStream("gone")), DiedMidStream),
    ],
)
async def test_what_is_no_answer_is_an_error(thoughts: Thoughts, script: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await reply(ScriptedEngine([script]), thoughts, ASKS)


async def test_a_file_that_a_newer_release_took_over_costs_the_thinking_and_not_the_reply(thoughts: Thoughts) -> None:
    thoughts.file.write(lambda db: db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}"))
    found, good, _ = await reply(ScriptedEngine([said("Good.", thinking="t")]), thoughts, ASKS)
    assert good.text == "Good."
    assert "newer glm-lsp" in found.notes[0]
    assert "may be missing" in found.notes[0]


async def test_tokens_are_reckoned_where_the_engine_does_not_count() -> None:
    tokens, exact = await count(ScriptedEngine([]), ("x" * 30, ""))
    assert (tokens, exact) == ((11, 1), False)


def test_a_beginning_is_known_whatever_was_thought_in_it() -> None:
    thought = Message("assistant", "Yes. ", "hm")
    assert chain((READ,), [ASKS, thought]) == chain((READ,), [ASKS, replace(thought, thinking="", text="Yes.")])
    assert chain((READ,), [ASKS]) != chain((), [ASKS])


# --- the wire ----------------------------------------------------------------------------------------------------


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def pieces(editor: FakeEditor, stream: str) -> list[dict[str, Any]]:
    return [params["part"] for params in editor.read("glm/model/delta") if params["stream"] == stream]


async def test_an_editor_asks_for_a_reply_and_hears_it_as_it_comes(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    usage = {"read": 12, "written": 7, "cached": 8}
    replies: list[dict[str, Any]] = [
        {"thinking": "Let me see.", "text": "Reading.", "calls": [{"name": "read", "arguments": {"path": "a"}}]},
        {"when": "Sure?", "text": "Yes.", "usage": usage},
    ]
    async with FakeEditor(root, replies, script={"chop": 4}) as editor:
        tools = [{"name": "read", "description": "Reads.", "inputSchema": READ.parameters}]
        params = {"stream": "one", "messages": [user("Look.")], "tools": tools}
        first = await editor.ask("glm/model/complete", params)
        heard = pieces(editor, "one")
        assert first["finishReason"] == "toolCalls"
        assert [part["type"] for part in heard] == ["thinking", "text", "call"]  # neighbours travel together
        assert heard[0]["text"] == "Let me see."
        called = heard[2]
        assert called["arguments"] == {"path": "a"}
        result = user({"type": "result", "callId": called["callId"], "text": "a"}, "Sure?")
        again = {"role": "assistant", "parts": [{"type": "text", "text": "Reading."}, called]}
        second = await editor.ask(
            "glm/model/complete", params | {"stream": "two", "messages": [user("Look."), again, result]}
        )
        assert second["restored"] == 1
        assert second["usage"] == {"inputTokens": 12, "outputTokens": 7, "cachedTokens": 8}
        assert pieces(editor, "two") == [{"type": "text", "text": "Yes."}]


async def test_a_reply_can_be_cancelled(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    async with FakeEditor(root, [{"text": "word " * 500}], script={"chop": 5, "delay": 0.02}) as editor:
        number = editor.begin("glm/model/complete", {"stream": "s", "messages": [user("Talk.")]})
        await editor.until(lambda: any(m.get("method") == "glm/model/delta" for m in editor.heard))
        began = asyncio.get_running_loop().time()
        editor.cancel(number)
        with pytest.raises(Refused, match="cancelled"):
            await editor.answer(number)
        assert asyncio.get_running_loop().time() - began < 5
        assert pieces(editor, "s")
        assert (await editor.ask("glm/model/info", {}))["family"] == "glm-4.7"


async def test_what_cannot_be_asked_is_refused_in_words(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    async with FakeEditor(root, [{"text": "x"}]) as editor:
        picture = user("What is it?", {"type": "image", "mimeType": "image/png"})
        with pytest.raises(Refused, match="no pictures") as refused:
            await editor.ask("glm/model/complete", {"stream": "s", "messages": [picture]})
        assert "another model" in refused.value.data["hint"]
        with pytest.raises(Refused, match="nothing to answer"):
            await editor.ask("glm/model/complete", {"stream": "s", "messages": []})


async def test_the_model_says_what_it_is_and_counts(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    async with FakeEditor(root, [{"text": "x"}]) as editor:
        told = await editor.ask("glm/model/info", {})
        assert told["id"] == "glm-4.7"
        assert told["tools"]
        assert told["thinkingSwitch"]
        assert told["maxInputTokens"] + told["maxOutputTokens"] == 202_752
        assert await editor.ask("glm/model/countTokens", {"texts": ["abc" * 10, ""]}) == {
            "tokens": [11, 1],
            "exact": False,
        }


async def test_an_engine_that_is_down_says_what_to_do(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    async with FakeEditor(root, "http://127.0.0.1:9/v1") as editor:
        with pytest.raises(Refused) as refused:
            await editor.ask("glm/model/complete", {"stream": "s", "messages": [user("Hello.")]})
        assert refused.value.data["code"] == "unreachable"
        assert refused.value.data["hint"]
