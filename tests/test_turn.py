"""A turn, on a scripted engine: what the model does well, and everything it does badly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from stories import edit, limits, play, project, said

from glm_lsp.conversations import Conversation
from glm_lsp.engine import profiles
from glm_lsp.engine.scripted import ScriptedEngine
from glm_lsp.errors import DiedMidStream
from glm_lsp.settings import Settings
from glm_lsp.terms import (
    Ask,
    Ended,
    HunkClosed,
    HunkGrew,
    HunkOpened,
    Started,
    TextAdded,
    ThinkingAdded,
    ThinkingEnded,
    ToolCalled,
    Usage,
    Warned,
)
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

CART = "def total(items):\n    return sum(i.price for i in items)\n\n\ndef count(items):\n    return len(items)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py=CART)


async def test_thinks_edits_and_answers(root: Path) -> None:
    story = await play(
        root,
        said(
            thinking="The quantity is missing.",
            calls=[
                edit(
                    "cart.py",
                    "    return sum(i.price for i in items)",
                    "    return sum(i.price * i.qty for i in items)",
                )
            ],
            usage=Usage(read=900, written=40, cached=800, thought=6),
        ),
        said("The total counts quantities now.", usage=Usage(read=960, written=10, cached=940)),
        paths=("cart.py",),
        chop=3,
    )
    assert story.ended.reason == "done"
    assert story.after("cart.py") == CART.replace("i.price for", "i.price * i.qty for").encode()
    assert "".join(e.text for e in story.of(ThinkingAdded)) == "The quantity is missing."
    assert len(story.of(ThinkingEnded)) == 1
    assert story.of(HunkOpened)[0].line == 2
    assert [line for grew in story.of(HunkGrew) for line in grew.removed] == ["    return sum(i.price for i in items)"]
    assert [line for grew in story.of(HunkGrew) for line in grew.added] == [
        "    return sum(i.price * i.qty for i in items)"
    ]
    assert story.of(HunkClosed)[0].ok
    assert story.ended.usage == Usage(read=1860, written=50, cached=1740, thought=6)
    assert story.proposal is not None
    assert story.proposal.summary == "The total counts quantities now."


async def test_the_hunk_is_shown_while_the_model_still_writes_it(root: Path) -> None:
    story = await play(
        root,
        said(calls=[edit("cart.py", "def count(items):\n    return len(items)", "def count(items):\n    return 1\n")]),
        said("Done."),
        paths=("cart.py",),
        chop=1,
    )
    kinds = [type(event.what) for event in story.events]
    assert kinds.index(HunkOpened) < kinds.index(ToolCalled)


async def test_a_prompt_is_the_one_before_and_more(root: Path) -> None:
    story = await play(
        root,
        said(thinking="Look.", calls=[("read_file", {"file_path": "cart.py"})]),
        said(thinking="Now edit.", calls=[edit("cart.py", "    return len(items)", "    return 0")]),
        said("Done."),
    )
    first, second, third = story.engine.prompts
    assert second.messages[: len(first.messages)] == first.messages
    assert third.messages[: len(second.messages)] == second.messages
    assert first.tools == second.tools == third.tools
    assert third.messages[-2].thinking == "Now edit."


async def test_a_refused_edit_goes_back_with_the_live_lines_and_the_next_try_is_taken(root: Path) -> None:
    story = await play(
        root,
        said(calls=[edit("cart.py", "    return sum(item.price for item in items)", "    return 0")]),
        said(calls=[edit("cart.py", "    return sum(i.price for i in items)", "    return 0")]),
        said("Done."),
        paths=("cart.py",),
    )
    refused, taken = story.results()
    assert not refused.ok
    assert "2|    return sum(i.price for i in items)" in refused.result
    assert taken.ok
    assert story.ended.reason == "done"


async def test_an_edit_of_a_file_that_was_not_read_is_refused(root: Path) -> None:
    story = await play(root, said(calls=[edit("cart.py", "    return len(items)", "    return 0")]), said("Done."))
    assert not story.results()[0].ok
    assert "read_file" in story.results()[0].result
    assert story.proposal is None


async def test_a_broken_file_goes_back_for_repair(root: Path) -> None:
    story = await play(
        root,
        said(calls=[edit("cart.py", "    return len(items)", "    return len(items")]),
        said("Done."),
        said(calls=[edit("cart.py", "    return len(items", "    return len(items) + 0")]),
        said("Mended."),
        paths=("cart.py",),
    )
    assert [w.code for w in story.of(Warned)] == ["sent-back"]
    assert story.proposal is not None
    assert story.proposal.objections == ()
    assert story.after("cart.py") == CART.replace("len(items)", "len(items) + 0").encode()


async def test_a_file_that_stays_broken_is_proposed_with_its_objections(root: Path) -> None:
    story = await play(
        root,
        said(calls=[edit("cart.py", "    return len(items)", "    return len(items")]),
        *[said("It is fine.")] * 4,
        paths=("cart.py",),
    )
    assert [w.code for w in story.of(Warned)] == ["sent-back"] * 3 + ["not-mended"]
    assert story.proposal is not None
    assert story.proposal.objections[0].kind == "syntax"


class TestBadModelOutput:
    async def test_nothing_at_all(self, root: Path) -> None:
        story = await play(root, said(), said())
        assert story.ended.reason == "error"
        assert story.ended.code == "nothing-said"
        assert story.ended.hint

    async def test_only_thinking_is_asked_again_without_thinking(self, root: Path) -> None:
        story = await play(root, said(thinking="The answer is 42."), said("42"))
        assert story.ended.reason == "done"
        assert [p.thinking for p in story.engine.prompts] == [True, False]
        assert story.engine.prompts[0].messages == story.engine.prompts[1].messages

    async def test_half_a_tool_call_is_refused_and_not_carried_out(self, root: Path) -> None:
        half = '{"file_path": "cart.py", "old_string": "    return len(items)", "new_str'
        story = await play(root, said(calls=[("edit_file", half)]), said("Sorry."), paths=("cart.py",))
        assert not story.results()[0].ok
        assert story.proposal is None

    async def test_a_call_that_was_cut_off_is_never_carried_out(self, root: Path) -> None:
        whole = edit("cart.py", "    return len(items)", "    return 0")
        story = await play(
            root,
            said(calls=[whole, ("write_file", '{"file_path": "b.py", "cont')], finish="length"),
            said("I stop."),
            paths=("cart.py",),
        )
        assert story.results() == []
        assert story.proposal is None
        assert "cut off" in story.engine.prompts[1].messages[-1].text

    async def test_a_model_that_never_gets_to_an_end_is_stopped(self, root: Path) -> None:
        story = await play(root, *[said("word " * 50, finish="length")] * 4)
        assert (story.ended.reason, story.ended.code) == ("error", "truncated")

    async def test_an_unknown_tool(self, root: Path) -> None:
        story = await play(root, said(calls=[("run_shell", {"cmd": "rm -rf /"})]), said("Oh."))
        assert "There is no tool 'run_shell'" in story.results()[0].result
        assert "edit_file" in story.results()[0].result

    @pytest.mark.parametrize(
        "arguments",
        [
            {"file_path": 3, "old_string": "a", "new_string": "b"},
            {"old_string": "a", "new_string": "b"},
            {"file_path": "cart.py", "old_string": ["a"], "new_string": "b"},
            {"path": "cart.py", "old_string": "a", "new_string": "b"},
            "[]",
            "not json",
            "",
        ],
        ids=["number", "missing", "list", "other-name", "array", "no-json", "empty"],
    )
    async def test_wrong_arguments(self, root: Path, arguments: object) -> None:
        story = await play(root, said(calls=[("edit_file", arguments)]), said("Oh."), paths=("cart.py",))
        result = story.results()[0]
        assert not result.ok
        assert result.result
        assert story.proposal is None

    async def test_the_same_edit_again_is_already_so(self, root: Path) -> None:
        once = edit("cart.py", "    return len(items)", "    return sum(i.qty for i in items)")
        story = await play(root, said(calls=[once, once]), said("Done."), paths=("cart.py",))
        assert [r.ok for r in story.results()] == [True, True]
        assert story.results()[1].outcome == "already so"

    async def test_the_same_call_over_and_over_ends_the_turn_and_keeps_what_was_done(self, root: Path) -> None:
        again = said(calls=[("search", {"pattern": "total"})])
        done = said(calls=[edit("cart.py", "    return len(items)", "    return 0")])
        story = await play(root, done, *[again] * 9, paths=("cart.py",))
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) == 4
        assert story.proposal is not None

    async def test_a_hundred_edits_in_one_reply(self, tmp_path: Path) -> None:
        root = project(tmp_path / "w", many_py="".join(f"v{n} = {n}\n" for n in range(100)))
        calls = [edit("many.py", f"v{n} = {n}", f"v{n} = {n + 1000}") for n in range(100)]
        story = await play(root, said(calls=calls), said("Done."), paths=("many.py",))
        assert all(r.ok for r in story.results())
        assert story.after("many.py") == "".join(f"v{n} = {n + 1000}\n" for n in range(100)).encode()

    async def test_control_strings_in_a_file_are_harmless_and_kept(self, tmp_path: Path) -> None:
        source = "TAGS = ['</arg_value>', '<|user|>', '</think>']\nx = 1\n"
        root = project(tmp_path / "w", tags_py=source)
        shown = "TAGS = ['<\u2060/arg_value>', '<\u2060|user|>', '<\u2060/think>']"
        story = await play(
            root,
            said(calls=[edit("tags.py", shown, shown.replace("]", ", '<\u2060/tool_call>']"))]),
            said("Done."),
            paths=("tags.py",),
        )
        assert shown in story.engine.prompts[0].messages[-1].text
        assert "</arg_value>" not in story.engine.prompts[0].messages[-1].text
        assert story.after("tags.py") == source.replace("]", ", '</tool_call>']").encode()

    async def test_thinking_never_gets_into_an_edit(self, root: Path) -> None:
        story = await play(
            root,
            said(
                thinking="</think> old_string: SECRET", calls=[edit("cart.py", "    return len(items)", "    return 0")]
            ),
            said("Done."),
            paths=("cart.py",),
        )
        assert b"SECRET" not in (story.after("cart.py") or b"")


class TestTheEngineFails:
    async def test_in_the_middle_of_a_hunk(self, root: Path) -> None:
        begun = '{"file_path": "cart.py", "old_string": "    return len(items)\\n", "new_string": "    return 1\\n    x'
        died = said(
            calls=[("edit_file", begun)], error=DiedMidStream("The engine's connection broke.", hint="Look at its log.")
        )
        story = await play(root, died, paths=("cart.py",))
        assert story.of(HunkOpened)
        assert not story.of(HunkClosed)[0].ok
        assert (story.ended.reason, story.ended.code) == ("error", "died-mid-stream")
        assert story.ended.hint == "Look at its log."
        assert story.proposal is None

    async def test_after_an_edit_was_made_nothing_is_proposed(self, root: Path) -> None:
        story = await play(
            root,
            said(calls=[edit("cart.py", "    return len(items)", "    return 0")]),
            said("And n", error=DiedMidStream("The engine's connection broke.")),
            paths=("cart.py",),
        )
        assert story.proposal is None
        assert (root / "cart.py").read_text() == CART


class TestLimits:
    async def test_steps(self, root: Path) -> None:
        replies = [said(calls=[("read_file", {"file_path": "cart.py", "start_line": n})]) for n in range(1, 7)]
        story = await play(root, *replies, settings=limits(max_steps=3))
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) == 3

    async def test_new_tokens(self, root: Path) -> None:
        replies = [
            said(calls=[("read_file", {"file_path": "cart.py", "start_line": n})], usage=Usage(written=400))
            for n in range(1, 7)
        ]
        story = await play(root, *replies, settings=limits(max_new_tokens=1000))
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) == 3


@pytest.mark.parametrize(("asked", "thinks"), [("auto", True), ("on", True), ("off", False)])
async def test_thinking_is_the_actions_default_unless_the_person_says(root: Path, asked: str, *, thinks: bool) -> None:
    story = await play(root, said("Done."), thinking=asked)
    assert story.of(Started)[0].thinking is thinks
    assert story.engine.prompts[0].thinking is thinks


async def test_a_cancelled_turn_ends_once_and_lets_go_of_the_engine(root: Path) -> None:
    workspace = Workspace.open(root, Settings())
    engine = ScriptedEngine([said("one two three four five")], chop=1, delay=0.01)
    turn = workspace.turn(Ask("refactor", "Go."), engine, conversation=Conversation(), draft=workspace.draft())
    seen = []

    async def consume() -> None:
        async for event in turn.run():
            seen.append(event.what)
            if isinstance(event.what, TextAdded):
                asyncio.current_task().cancel()  # type: ignore[union-attr]

    task = asyncio.create_task(consume())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [w.reason for w in seen if isinstance(w, Ended)] == ["cancelled"]
    assert isinstance(seen[-1], Ended)
    assert engine.abandoned == 1


async def test_a_model_without_tools_cannot_refactor_and_says_what_it_can(root: Path) -> None:
    story = await play(root, profile=profiles.profile_for("smollm2-135m"), model="smollm2-135m", paths=("cart.py",))
    assert story.ended.code == "cannot-do"
    assert "document" in story.ended.hint


async def test_a_model_without_tools_documents_function_by_function(root: Path) -> None:
    story = await play(
        root,
        said("This Python function counts the items. It is nice."),
        said("The total function calculates the total price of the items."),
        paths=("cart.py",),
        action="document",
        profile=profiles.profile_for("smollm2-135m"),
        model="smollm2-135m",
    )
    assert story.ended.reason == "done"
    assert story.after("cart.py") == (
        b'def total(items):\n    """Calculates the total price of the items."""\n    return sum(i.price for i in items)\n\n\n'
        b'def count(items):\n    """Counts the items."""\n    return len(items)\n'
    )


async def test_a_useless_answer_is_dropped_and_said_so(root: Path) -> None:
    story = await play(
        root,
        said("```python\nprint('no')\n```"),
        said("Yes."),
        paths=("cart.py",),
        action="document",
        profile=profiles.profile_for("smollm2-135m"),
    )
    assert story.ended.reason == "nothing"
    assert [r.outcome for r in story.results()] == ["no usable answer"] * 2


async def test_the_files_of_a_folder_that_are_not_text_do_not_stop_the_others(tmp_path: Path) -> None:
    root = project(tmp_path / "w", a_py="x = 1\n", b_bin=b"\0\1\2")
    story = await play(root, said(calls=[edit("a.py", "x = 1", "x = 2")]), said("Done."), paths=("a.py", "b.bin"))
    assert story.after("a.py") == b"x = 2\n"


async def test_a_file_named_outright_that_is_not_text_is_refused_in_words(tmp_path: Path) -> None:
    root = project(tmp_path / "w", b_bin=b"\0\1\2")
    story = await play(root, paths=("b.bin",))
    assert story.ended.code == "not-text"
