"""The scripted engine, by hand and from a file."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from glm_lsp.engine import open_engine
from glm_lsp.engine.scripted import ScriptedEngine, said
from glm_lsp.errors import CannotDo, Stalled, UsageError
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Delta, Message, Prompt, Sampling, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.engine.engine import Engine


def prompt(text: str = "Hello") -> Prompt:
    return Prompt((Message("user", text),), (), thinking=True, sampling=Sampling(0.0, None, 10))


async def ask(engine: Engine, text: str = "Hello") -> list[Delta]:
    return [delta async for delta in engine.stream(prompt(text))]


def words(deltas: list[Delta]) -> tuple[str, str, str]:
    calls = "".join(piece.arguments for delta in deltas for piece in delta.tool_calls)
    return "".join(d.thinking for d in deltas), "".join(d.text for d in deltas), calls


async def test_replies_are_given_in_turn_and_prompts_are_kept() -> None:
    engine = ScriptedEngine([said("one"), said("two", thinking="hm", usage=Usage(1, 2))])
    assert await ask(engine, "A") == [Delta(text="one"), Delta(finish="stop")]
    assert await ask(engine, "B") == [Delta(thinking="hm"), Delta(text="two"), Delta(usage=Usage(1, 2), finish="stop")]
    assert [given.messages[0].text for given in engine.prompts] == ["A", "B"]
    with pytest.raises(CannotDo, match="request 3"):
        await ask(engine)


@pytest.mark.parametrize("chop", [1, 3, 1000])
async def test_chopping_changes_the_pieces_and_not_what_is_said(chop: int) -> None:
    reply = said("the text", thinking="a thought", calls=[("f", {"a": "é"}), ("g", '{"half')])
    whole, cut = await ask(ScriptedEngine([reply])), await ask(ScriptedEngine([reply], chop=chop))
    assert words(cut) == words(whole)
    assert all(max(map(len, words([delta]))) <= chop for delta in cut)
    assert [delta.finish for delta in cut if delta.finish] == ["tool_calls"]
    names = [(piece.index, piece.name) for delta in cut for piece in delta.tool_calls if piece.name]
    assert names == [(0, "f"), (1, "g")]


async def test_calls_of_different_requests_have_different_ids() -> None:
    engine = ScriptedEngine([said(calls=[("f", {}), ("g", {})])], repeat=True)
    ids = [piece.id for _ in range(2) for delta in await ask(engine) for piece in delta.tool_calls]
    assert len(set(ids)) == 4


async def test_an_error_is_raised_where_it_stands() -> None:
    engine = ScriptedEngine([said("half an", error=Stalled("Silence.", hint="Wait."))])
    stream = engine.stream(prompt())
    assert await anext(stream) == Delta(text="half an")
    with pytest.raises(Stalled, match="Silence"):
        await anext(stream)
    assert engine.abandoned == 0


async def test_a_stream_that_is_closed_early_is_counted() -> None:
    engine = ScriptedEngine([said("a long answer")], chop=1)
    async with contextlib.aclosing(engine.stream(prompt())) as stream:
        await anext(stream)
    assert engine.abandoned == 1


async def test_a_reply_can_wait_for_its_prompt() -> None:
    engine = ScriptedEngine([said("for b"), said("for any")], when=["b.py"])
    assert words(await ask(engine, "a.py"))[1] == "for any"
    assert words(await ask(engine, "b.py"))[1] == "for b"


async def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    usage = {"read": 9, "written": 4, "cached": 8, "thought": 1}
    replies = [
        {"thinking": "Hm.", "calls": [{"name": "f", "arguments": {"x": 1}}, {"name": "g"}], "usage": usage},
        {"text": "cut", "finish": "length"},
        {"error": {"code": "stalled", "message": "Silence."}},
    ]
    path.write_text(json.dumps({"model": "zai-org/GLM-4.7-Flash", "chop": 2, "replies": replies}))
    engine = open_engine(EngineSettings(url=f"scripted:{path}"))
    await engine.connect()
    assert (engine.model, engine.profile.id) == ("zai-org/GLM-4.7-Flash", "glm-4.7-flash")
    first = await ask(engine)
    assert words(first) == ("Hm.", "", '{"x":1}{}')
    assert first[-1] == Delta(usage=Usage(9, 4, 8, 1), finish="tool_calls")
    assert (await ask(engine))[-1].finish == "length"
    with pytest.raises(Stalled, match="Silence"):
        await ask(engine)
    await engine.close()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"{}",
        b'{"replies": [{"txt": "typo"}]}',
        b'{"replies": [{"finish": "whenever"}]}',
        b'{"replies": [{"error": {"code": "nonsense"}}]}',
        None,
    ],
)
def test_a_bad_script_is_said_to_be_one(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "script.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError):
        ScriptedEngine.load(path)
