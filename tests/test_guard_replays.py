"""Known faults of models, replayed through whole turns: what is wrong is never carried out, and what was done is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from stories import Story, edit, limits, play, project, said
from test_client import NO_PARSER
from wire_server import WireServer, call, refusal, spoken

from glm_lsp.engine.client import HttpEngine
from glm_lsp.settings import EngineSettings, Settings
from glm_lsp.terms import Ask, Ended, Happening, Proposed, ToolReturned, Warned
from glm_lsp.turn.guards import WINDOW
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.engine.scripted import Reply

T = TypeVar("T")

CART = "def total(items):\n    return sum(i.price for i in items)\n\n\ndef count(items):\n    return len(items)\n"
ZERO = edit("cart.py", "    return len(items)", "    return 0")
DONE = CART.replace("return len(items)", "return 0").encode()
IN_TAGS = (
    "<tool_call>edit_file\n<arg_key>file_path</arg_key>\n<arg_value>cart.py</arg_value>\n"
    "<arg_key>old_string</arg_key>\n<arg_value>    return len(items)</arg_value>\n"
    "<arg_key>new_string</arg_key>\n<arg_value>    return 0</arg_value>\n</tool_call>"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {f"{name}_py": f"{name} = 1\n" for name in "abcd"}
    return project(tmp_path / "work", cart_py=CART, notes_md="total\n", **files)


def kept(story: Story) -> bool:
    """Whether the edit that came before the fault is proposed, and nothing else."""
    return story.proposal is not None and [c.after for c in story.proposal.changes] == [DONE]


class TestACallInThinking:
    THOUGHT = f"I will change it now. {IN_TAGS}"

    async def test_is_not_carried_out_and_the_model_is_asked_to_speak(self, root: Path) -> None:
        story = await play(root, said(thinking=self.THOUGHT), said("Nothing to do."), paths=("cart.py",), chop=5)
        assert [(w.code, "in its thinking" in w.message) for w in story.of(Warned)] == [("nothing-said", True)]
        assert [p.thinking for p in story.engine.prompts] == [True, False]
        assert story.results() == []
        assert story.proposal is None
        assert story.ended.reason == "done"

    async def test_is_left_out_of_what_the_model_reads_later(self, root: Path) -> None:
        story = await play(root, said(thinking=self.THOUGHT), said(calls=[ZERO]), said("Done."), paths=("cart.py",))
        assert kept(story)
        assert not [m for m in story.conversation.messages if "<tool_call>" in m.thinking]

    async def test_again_without_thinking_ends_the_turn_in_words(self, root: Path) -> None:
        story = await play(root, *[said(thinking=self.THOUGHT)] * 2, paths=("cart.py",))
        assert (story.ended.reason, story.ended.code) == ("error", "nothing-said")
        assert story.ended.hint
        assert story.results() == []

    async def test_beside_an_answer_is_only_a_thought(self, root: Path) -> None:
        story = await play(root, said("It is right as it is.", thinking=self.THOUGHT), paths=("cart.py",))
        assert story.ended.reason == "done"
        assert story.proposal is None


async def test_an_answer_left_in_thinking_after_an_edit_keeps_the_edit(root: Path) -> None:
    story = await play(root, said(calls=[ZERO]), said(thinking="The count is 0 now."), paths=("cart.py",))
    assert story.ended.reason == "done"
    assert kept(story)


PARAGRAPH = (
    "Let me look at the file again. I need to see what `total` does before I change it, so I read it once more.\n"
)


class TestRepetition:
    @pytest.mark.parametrize("where", ["text", "thinking"])
    @pytest.mark.parametrize("words", [PARAGRAPH, "wait ", "!"], ids=["paragraph", "word", "character"])
    async def test_is_ended_long_before_the_limit_of_tokens(self, root: Path, where: str, words: str) -> None:
        length = 40 * WINDOW
        looping = {"text": ""} | {where: words * (length // len(words))}
        story = await play(root, said(calls=[ZERO]), said(**looping), said("Done."), paths=("cart.py",), chop=40)
        streamed = sum(len(getattr(what, "text", "")) for what in (e.what for e in story.events))
        assert streamed < 3 * WINDOW
        assert story.engine.abandoned == 1, "the engine is told to stop"
        assert "repeated itself" in story.of(Warned)[0].message
        assert [p.thinking for p in story.engine.prompts] == [True, True, False]
        assert kept(story)
        assert not [m for m in story.conversation.messages if len(m.text) + len(m.thinking) > WINDOW]

    async def test_again_ends_the_turn_and_keeps_what_was_done(self, root: Path) -> None:
        looping = said("wait " * 10_000)
        story = await play(root, said(calls=[ZERO]), looping, looping, paths=("cart.py",), chop=40)
        assert story.ended.reason == "limit"
        assert "repeated itself" in story.ended.error
        assert kept(story)

    async def test_drops_the_calls_that_came_before_it(self, root: Path) -> None:
        # A call, and words without end behind it: the reply did not end well, so not even its whole call is run.
        begun = said(calls=[ZERO], finish="stop")[:-1]
        looping: Reply = (*begun, *said("wait " * 10_000))
        story = await play(root, looping, said("Nothing to do."), paths=("cart.py",), chop=40)
        assert story.results() == []
        assert story.proposal is None


class TestGoingRoundInCircles:
    """What is not worth a further step ends the turn, and what was achieved is proposed."""

    @pytest.mark.parametrize("length", [1, 2, 3, 4])
    async def test_a_cycle_of_calls(self, root: Path, length: int) -> None:
        cycle = [said(calls=[("read_file", {"file_path": f"{name}.py"})]) for name in "abcd"[:length]]
        story = await play(root, said(calls=[ZERO]), *(cycle * 20), paths=("cart.py",))
        assert story.ended.reason == "limit"
        assert story.ended.error
        assert len(story.engine.prompts) <= 2 + 3 * length
        assert kept(story)

    async def test_a_cycle_of_calls_in_one_reply_each(self, root: Path) -> None:
        reply = said(calls=[("read_file", {"file_path": f"{name}.py"}) for name in "abcd"])
        story = await play(root, said(calls=[ZERO]), *[reply] * 20, paths=("cart.py",))
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) <= 5
        assert kept(story)

    async def test_an_edit_made_and_unmade(self, root: Path) -> None:
        there, back = edit("a.py", "a = 1", "a = 2"), edit("a.py", "a = 2", "a = 1")
        read = said(calls=[("read_file", {"file_path": "a.py"})])
        story = await play(
            root, said(calls=[ZERO]), read, *[said(calls=[there]), said(calls=[back])] * 20, paths=("cart.py",)
        )
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) <= 9
        assert story.after("cart.py") == DONE

    async def test_calls_that_all_fail_in_ever_new_ways(self, root: Path) -> None:
        failing = [said(calls=[("read_file", {"file_path": f"nowhere-{n}.py"})]) for n in range(30)]
        story = await play(root, said(calls=[ZERO]), *failing, paths=("cart.py",), settings=limits(idle_steps=5))
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) <= 8
        assert kept(story)

    async def test_tools_that_do_not_exist(self, root: Path) -> None:
        wishing = [said(calls=[(f"do_{n}", {}), (f"undo_{n}", {})]) for n in range(30)]
        story = await play(root, said(calls=[ZERO]), *wishing, paths=("cart.py",), settings=limits(idle_steps=5))
        assert story.ended.reason == "limit"
        assert len(story.engine.prompts) <= 8
        assert kept(story)

    async def test_calls_that_bring_nothing_new(self, root: Path) -> None:
        empty = [said(calls=[("search", {"pattern": f"zebra{n % 7}"})]) for n in range(30)]
        story = await play(root, said(calls=[ZERO]), *empty, paths=("cart.py",))
        assert story.ended.reason == "limit"
        assert kept(story)

    async def test_work_that_gets_on_is_left_alone(self, tmp_path: Path) -> None:
        # The same tool thirty times, now and then refused, and each time something new: no guard may end this.
        root = project(tmp_path / "long", many_py="".join(f"v{n} = {n}\n" for n in range(30)))
        steps = []
        for n in range(30):
            steps += [said(calls=[edit("many.py", f"w{n} = {n}", "x = 1")])] if n % 3 == 0 else []
            steps += [said(calls=[edit("many.py", f"v{n} = {n}", f"v{n} = {n + 100}")])]
        story = await play(root, *steps, said("Done."), paths=("many.py",))
        assert story.ended.reason == "done", story.ended.error
        assert story.after("many.py") == "".join(f"v{n} = {n + 100}\n" for n in range(30)).encode()


async def wired(root: Path, *replies: Any, parsed: bool) -> tuple[list[Happening], WireServer]:
    """A turn over real HTTP, on a server that parses tool calls, or one that leaves the model's tags in the text."""
    server = WireServer(*replies)
    if not parsed:
        server.probe = refusal(400, NO_PARSER)
    workspace = Workspace.open(root, Settings())
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url), cache=None, environment={}, backoff=0.01)
        try:
            await engine.connect()
            turn = workspace.turn(Ask("refactor", "Do it.", ("cart.py",)), engine, draft=workspace.draft())
            happened = [event.what async for event in turn.run()]
        finally:
            await engine.close()
    assert [type(what) for what in happened].count(Ended) == 1
    assert isinstance(happened[-1], Ended)
    return happened, server


def of(happened: list[Happening], kind: type[T]) -> list[T]:
    return [what for what in happened if isinstance(what, kind)]


def in_pieces(raw: str) -> list[dict[str, Any]]:
    return [{"content": raw[start : start + 3]} for start in range(0, len(raw), 3)]


RAW_FAULTS = {
    "an arg_value is missing": IN_TAGS.replace("<arg_value>    return 0</arg_value>\n", ""),
    "an arg_value is not opened": IN_TAGS.replace("<arg_value>    return 0", "    return 0"),
    "an arg_value is not closed": IN_TAGS.replace("    return 0</arg_value>\n", "    return 0"),
    "the call is not closed": IN_TAGS.removesuffix("</tool_call>"),
    "it ends inside a value": IN_TAGS.partition("return 0")[0],
    "the second of two is broken": IN_TAGS + IN_TAGS.replace("<arg_value>cart.py</arg_value>\n", ""),
}


@pytest.mark.parametrize("raw", RAW_FAULTS.values(), ids=RAW_FAULTS)
async def test_a_call_in_broken_tags_is_never_carried_out_and_the_next_try_is(root: Path, raw: str) -> None:
    broken, whole = spoken({"reasoning": "Hm."}, *in_pieces(raw)), spoken(*in_pieces(IN_TAGS))
    happened, server = await wired(root, broken, whole, spoken({"content": "Done."}), parsed=False)
    assert [w.code for w in of(happened, Warned)] == ["truncated"]
    assert [r.ok for r in of(happened, ToolReturned)] == [True], "only the whole one"
    (proposed,) = of(happened, Proposed)
    assert [c.after for c in proposed.proposal.changes] == [DONE]
    assert len(server.requests) == 3


def arguments(**values: str) -> str:
    return str(values).replace("'", '"')


PARSED_FAULTS = {
    # As parsers of servers hand on what they could not read.
    "cut off by the limit": ('{"file_path": "cart.py", "old_string": "    return len(items)", "new_s', "length", []),
    "cut off and called whole": ('{"file_path": "cart.py", "old_string": "    return len(i', "tool_calls", [False]),
    "whole and cut off": (
        arguments(file_path="cart.py", old_string="    return len(items)", new_string="    return 9"),
        "length",
        [],
    ),
    "a value left out": (arguments(file_path="cart.py", old_string="    return len(items)"), "tool_calls", [False]),
    "no arguments": ("", "tool_calls", [False]),
}


@pytest.mark.parametrize(("raw", "finish", "results"), PARSED_FAULTS.values(), ids=PARSED_FAULTS)
async def test_a_broken_call_that_the_server_parsed_is_never_carried_out(
    root: Path, raw: str, finish: str, results: list[bool]
) -> None:
    broken = spoken(call(0, "", id="call-1", name="edit_file"), call(0, raw), finish=finish)
    happened, _ = await wired(root, broken, spoken({"content": "I leave it."}), parsed=True)
    assert [r.ok for r in of(happened, ToolReturned)] == results
    assert of(happened, Proposed) == []


OUTSIDE = ["../../etc/passwd", "/etc/passwd", "link", "sub/../../../../../../../etc/passwd"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize(
    "tool",
    [
        "read_file",
        "edit_file",
        "replace_symbol",
        "write_file",
        "list_files",
        "search",
        "find_symbol",
        "find_references",
        "git",
    ],
)
async def test_no_tool_shows_or_changes_what_is_outside(root: Path, tool: str, path: str) -> None:
    before = (root / "/etc/passwd").read_bytes()
    (root / "link").symlink_to("/etc/passwd")
    (root / ".git").mkdir()
    given = {
        "read_file": {"file_path": path},
        "edit_file": {"file_path": path, "old_string": "root", "new_string": "toor"},
        "replace_symbol": {"file_path": path, "symbol": "root", "new_source": "toor"},
        "write_file": {"file_path": path, "content": "toor::0:0::/:/bin/sh\n"},
        "list_files": {"pattern": path},
        "search": {"pattern": "root:", "files": path},
        "find_symbol": {"name": "root", "files": path},
        "find_references": {"name": "root", "files": path},
        "git": {"subcommand": "blame", "file_path": path},
    }[tool]
    story = await play(root, said(calls=[(tool, given)]), said("Oh."))
    assert "root:x:" not in str([m.text for p in story.engine.prompts for m in p.messages])
    assert "root:x:" not in str(story.events)
    assert story.proposal is None
    assert (root / "/etc/passwd").read_bytes() == before
