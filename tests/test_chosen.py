"""What is told of the code that was chosen, how its tokens are counted, and what the model adds to the choice."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from test_exact import TokenServer, engine_for

from glm_lsp import prompt
from glm_lsp.cli import ndjson, words
from glm_lsp.cli.render import Terminal
from glm_lsp.conversations import Conversation
from glm_lsp.engine.scripted import Reply, ScriptedEngine, said
from glm_lsp.errors import Unreachable
from glm_lsp.index.context import Candidate
from glm_lsp.index.pointed import Hints
from glm_lsp.server.turns import reads
from glm_lsp.settings import IndexSettings, Settings
from glm_lsp.terms import Ask, ChosenFile, ContextChosen, Ended, Event, Excerpt, Started, TextAdded, Usage, Used
from glm_lsp.turn import opening, rates, suggestions
from glm_lsp.turn.rates import Rates
from glm_lsp.workspace import Workspace
from tests.stories import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glm_lsp.index.index import Index

DISCOUNT = "def apply_discount(price, rate):\n    return price * (1 - rate)\n"
BODY = "".join(f"    order.take({n}, weight=order.weight)  # of every step of the order\n" for n in range(8))
STEPS = "".join(f"def step_{n}(order):\n{BODY}    return order.next({n})\n\n\n" for n in range(100))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    files = {f"lib__part_{n}_py": f"def part_{n}():\n    return {n}\n" for n in range(60)}
    quiet = "class Rebate:\n    def settle(self, invoice):\n        return invoice.less(self.amount)\n"
    return project(tmp_path / "work", shop__pricing_py=DISCOUNT, shop__steps_py=STEPS, shop__rebate_py=quiet, **files)


@contextlib.contextmanager
def workspace(root: Path, **index: Any) -> Iterator[Workspace]:
    with Workspace.open(root, Settings(index=replace(IndexSettings(), **index))).indexed() as opened:
        assert opened.index is not None
        assert opened.index.wait(1, 60)
        yield opened


async def run(
    where: Workspace, engine: ScriptedEngine, words: str, *, thinking: Any = "off", paths: tuple[str, ...] = ()
) -> tuple[list[Event], Conversation]:
    conversation = Conversation()
    turn = where.turn(Ask("chat", words, paths, thinking), engine, conversation=conversation, draft=where.draft())
    events = [event async for event in turn.run()]
    assert isinstance(events[-1].what, Ended)
    assert events[-1].what.error == ""
    return events, conversation


def chosen(events: list[Event]) -> list[ContextChosen]:
    return [event.what for event in events if isinstance(event.what, ContextChosen)]


MANY = ContextChosen(tuple(ChosenFile(f"src/f{n}.py", "words: x", 1_100) for n in range(8)), 8_800)


class TestTelling:
    async def test_it_is_told_once_and_before_the_model_speaks(self, root: Path) -> None:
        with workspace(root) as where:
            events, conversation = await run(where, ScriptedEngine((said("It takes a part off."),)), "apply_discount?")
        kinds = [type(event.what) for event in events]
        assert kinds.count(ContextChosen) == 1
        assert kinds.index(Started) < kinds.index(ContextChosen) < kinds.index(TextAdded)
        (told,) = chosen(events)
        assert told.files[0] == ChosenFile(
            "shop/pricing.py", "defines apply_discount", told.files[0].tokens, whole=True
        )
        assert told.tokens == sum(one.tokens for one in told.files) > 0
        assert {path for path, _, _ in prompt.places(conversation.messages)} == {one.path for one in told.files}

    async def test_the_best_file_stands_first_whatever_its_name(self, root: Path) -> None:
        project(root, aaa_py="# apply_discount is elsewhere\nx = 1\n")
        with workspace(root) as where:
            events, _ = await run(where, ScriptedEngine((said("Yes."),)), "What does apply_discount do?")
        assert [one.path for one in chosen(events)[0].files][:2] == ["shop/pricing.py", "aaa.py"]

    @pytest.mark.parametrize(
        ("words", "paths"), [("do it", ()), ("apply_discount", ("shop/pricing.py",))], ids=["nothing", "named"]
    )
    async def test_nothing_is_told_where_nothing_was_chosen(
        self, root: Path, words: str, paths: tuple[str, ...]
    ) -> None:
        with workspace(root) as where:
            events, _ = await run(where, ScriptedEngine((said("Yes."),)), words, paths=paths)
        assert chosen(events) == []

    @pytest.mark.parametrize(
        ("what", "line"),
        [
            (MANY, "read first: src/f0.py, src/f1.py, src/f2.py +5 · 8.8k tokens"),
            (ContextChosen((ChosenFile("a.py", "", 90),), 90), "read first: a.py · 90 tokens"),
            (
                ContextChosen((ChosenFile("a\x1b[2J.py", "", 1),), 1, ("tax",), "odd"),
                "read first: a␛[2J.py · 1 tokens · looked for: tax · odd",
            ),
            (ContextChosen((), 0, (), "the model did not say"), "the model did not say"),
        ],
        ids=["many", "one", "foreign", "only a note"],
    )
    def test_it_is_one_quiet_line_on_the_terminal(self, what: ContextChosen, line: str) -> None:
        assert words.chosen(what) == line
        stream = io.StringIO()
        with Terminal(stream) as terminal:
            terminal.show(Event("t", 1, 0.0, Started("chat", "x", "m", thinking=False)))
            terminal.show(Event("t", 2, 0.0, what))
            terminal.show(Event("t", 3, 0.0, Ended("nothing", Usage(), 0.0)))
        assert stream.getvalue().splitlines()[0] == line

    def test_a_progress_bar_names_two_files(self) -> None:
        assert reads(MANY) == "Reads f0.py, f1.py and 6 more"
        assert reads(ContextChosen((ChosenFile("a/b.py", "", 1),), 1)) == "Reads b.py"
        assert reads(ContextChosen((), 0, (), "note")) == ""

    def test_a_line_of_json_says_all_of_it(self) -> None:
        line = json.loads(ndjson.encode(Event("t", 1, 0.0, MANY)))
        assert line["event"] == "context-chosen"
        assert line["files"][0] == {"path": "src/f0.py", "reason": "words: x", "tokens": 1100, "whole": False}


class Counting(ScriptedEngine):
    """An engine whose tokens have so many bytes; it may take its time to count."""

    def __init__(self, *replies: Reply, bytes_a_token: float = 3.0, seconds: float = 0.0) -> None:
        super().__init__(replies or (said("Yes."),), repeat=not replies)
        self.bytes_a_token = bytes_a_token
        self.seconds = seconds
        self.counted: list[str] = []
        self.asked_before: list[int] = []

    async def count(self, text: str) -> int | None:
        self.counted.append(text)
        self.asked_before.append(len(self.prompts))
        await asyncio.sleep(self.seconds)
        return round(len(text.encode()) / self.bytes_a_token)

    def of_code(self, conversation: Conversation) -> float:
        """The true tokens of the code in the opening message."""
        text = next(message.text for message in conversation.messages if message.role == "user")
        return len(text[text.index("shop/") :].encode()) / self.bytes_a_token


class TestTokens:
    @pytest.mark.parametrize("bytes_a_token", [2.4, 3.0, 3.6, 4.4])
    async def test_from_the_second_turn_on_the_budget_is_filled_and_kept(
        self, root: Path, bytes_a_token: float
    ) -> None:
        engine = Counting(bytes_a_token=bytes_a_token)
        with workspace(root, context_tokens=6_000) as where:
            real = []
            for _ in range(2):
                _, conversation = await run(where, engine, "Every step of the order, step_7 and step_9")
                real.append(engine.of_code(conversation))
        assert 6_000 * 0.8 <= real[1] <= 6_000 * 1.03, real

    async def test_a_turn_asks_once_and_only_when_the_model_speaks(self, root: Path) -> None:
        engine = Counting()
        with workspace(root, context_tokens=2_000) as where:
            await run(where, engine, "Every step of the order, step_7 and step_9")
        assert len(engine.counted) == 1
        assert engine.asked_before == [1], "the request for the answer was sent before"
        assert rates.LEAST <= len(engine.counted[0]) <= rates.MOST

    async def test_an_engine_that_takes_too_long_is_not_waited_for(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rates, "PATIENCE", 0.01)
        engine = Counting(seconds=3600)
        with workspace(root, context_tokens=2_000) as where:
            await run(where, engine, "Every step of the order, step_7 and step_9")
            assert Rates.open(where.root, engine.model).scale("a.py") == 1.0
        assert len(engine.counted) == 1

    async def test_an_engine_that_cannot_count_leaves_the_reckoning(self, root: Path) -> None:
        with workspace(root) as where:
            await run(where, ScriptedEngine((said("Yes."),)), "Every step of the order, step_7 and step_9")
            assert Rates.open(where.root, "glm-4.7").scale("shop/steps.py") == 1.0

    async def test_a_server_that_has_the_tokenizer_counts_and_any_other_says_nothing(self) -> None:
        server = TokenServer("Yes.", "Yes.")
        async with server.running(), engine_for(server) as engine:
            await engine.connect()
            assert await engine.count("four words of text") == len("four words of text")
        server = TokenServer("Yes.", way="no tokenise")
        async with server.running(), engine_for(server) as engine:
            await engine.connect()
            assert await engine.count("four words of text") is None
        server = TokenServer("Yes.")
        async with server.running(), engine_for(server, dialect="generic") as engine:
            await engine.connect()
            assert await engine.count("four words of text") is None


class TestRates:
    def test_what_was_learnt_is_there_in_the_next_process_for_this_workspace_model_and_language(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path))
        text = "x" * 6000
        Rates.open(tmp_path / "a", "glm").learn("Python", text, prompt.count(text) // 2)
        assert Rates.open(tmp_path / "a", "glm").scale("x.py") == pytest.approx(0.5 * rates.MARGIN, rel=0.01)
        assert Rates.open(tmp_path / "a", "glm").scale("x.go") == 1.0
        assert Rates.open(tmp_path / "b", "glm").scale("x.py") == 1.0
        assert Rates.open(tmp_path / "a", "other").scale("x.py") == 1.0

    @pytest.mark.parametrize(
        "data", [b"", b"{", b"[]", b'{"Python": 3}', b'{"Python": [0, 0]}', b'{"Python": ["x", 1]}']
    )
    def test_a_damaged_file_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path))
        known = Rates.open(tmp_path, "glm")
        known.learn("Python", "x" * 6000, 1500)
        assert known.place is not None
        known.place.write_bytes(data)
        assert Rates.open(tmp_path, "glm").scale("x.py") == 1.0

    def test_a_state_folder_that_cannot_be_written_costs_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "file"))
        known = Rates.open(tmp_path, "glm")
        known.learn("Python", "x" * 6000, 1500)
        assert known.scale("x.py") < 1.0

    def test_an_absurd_count_is_not_believed(self) -> None:
        for tokens in (1, 10**9):
            known = Rates()
            known.learn("Python", "x" * 6000, tokens)
            assert rates.BOUNDS[0] <= known.scale("x.py") <= rates.BOUNDS[1]

    def test_the_language_of_which_least_is_known_is_sampled_until_enough_is(self) -> None:
        known = Rates()
        shown = [Excerpt(path, 1, "word " * 1000, "") for path in ("a.py", "b.go", "c.go")]
        shown.append(Excerpt("d.rs", 1, "short", ""))
        asked = []
        while (sample := known.sample(shown)) is not None:
            asked.append(sample[0])
            assert len(sample[1]) <= rates.MOST
            known.learn(*sample, prompt.count(sample[1]))
        assert set(asked) == {"Python", "Go"}
        assert asked[:2] == ["Go", "Python"], "the larger first, then the other"


FOUND = [Candidate("shop/rebate.py", 1, "class Rebate"), Candidate("shop/steps.py", 6, "def step_1(order)")]


class TestReadingSuggestions:
    @pytest.mark.parametrize(
        ("text", "hints"),
        [
            (
                "words: Rebate, settle, a_b\nfiles: shop/rebate.py, tax.go\nread: 2, 1",
                Hints(
                    ("Rebate", "settle", "a_b"),
                    ("shop/rebate.py", "tax.go"),
                    (("shop/steps.py", 6), ("shop/rebate.py", 1)),
                ),
            ),
            ("**Words**: `Rebate`\n- read: 1, 1, 7, 99", Hints(("Rebate",), (), (("shop/rebate.py", 1),))),
            ("Sure!\nFILES: none\nread: \nwords: x y zed", Hints(("zed",), (), ())),
        ],
        ids=["as asked", "decorated", "half of it"],
    )
    def test_what_can_be_used_is_used(self, text: str, hints: Hints) -> None:
        assert suggestions.read(text, FOUND) == hints

    @pytest.mark.parametrize("text", ["", "I cannot see the code.", "words:\nfiles:\nread: 0, 99", "{}"])
    def test_nonsense_is_nothing(self, text: str) -> None:
        assert suggestions.read(text, FOUND) is None

    def test_a_long_answer_is_cut(self) -> None:
        hints = suggestions.read("words: " + ", ".join(f"w{n}" for n in range(99)), FOUND)
        assert hints is not None
        assert len(hints.words) == suggestions.WORDS


QUESTION = "How is step_7 of a customer paid back?"
ANSWER = said("words: Rebate, settle\nfiles: rebate.py\nread: 1", usage=Usage(300, 20))


class TestAskingTheModel:
    async def test_it_is_not_asked_unless_the_person_wishes(self, root: Path) -> None:
        with workspace(root) as where:
            engine = ScriptedEngine((said("Yes.", thinking="Hm"),))
            events, _ = await run(where, engine, QUESTION, thinking="on")
        assert len(engine.prompts) == 1
        assert chosen(events)[0].words == ()

    async def test_it_is_not_asked_where_the_turn_does_not_think(self, root: Path) -> None:
        with workspace(root, ask_model=True) as where:
            engine = ScriptedEngine((said("Yes."),))
            await run(where, engine, QUESTION, thinking="off")
        assert len(engine.prompts) == 1

    async def test_what_it_says_is_looked_for_and_nothing_of_it_is_kept(self, root: Path) -> None:
        with workspace(root, ask_model=True) as where:
            engine = ScriptedEngine((ANSWER, said("So.", thinking="Hm", usage=Usage(900, 5))))
            events, conversation = await run(where, engine, QUESTION, thinking="on")
        asked, answered = engine.prompts
        assert (asked.tools, asked.thinking, asked.log) == ((), False, None)
        assert asked.sampling.max_new_tokens <= suggestions.TOKENS
        assert len(asked.messages) == 1
        (told,) = chosen(events)
        assert "shop/rebate.py" in {one.path for one in told.files}
        assert told.words == ("Rebate", "settle", "rebate.py")
        assert told.note == ""
        assert "words: Rebate" not in "".join(message.text for message in answered.messages)
        assert [message.role for message in conversation.messages] == ["system", "user", "assistant"]
        ended = events[-1].what
        assert isinstance(ended, Ended)
        assert ended.usage.written == 25, "what it cost is counted"
        assert [type(event.what) for event in events].count(Used) == 2

    @pytest.mark.parametrize(
        ("reply", "note"),
        [
            (said("I do not know.", usage=Usage(1, 1)), "of no use"),
            (said("words: Re", error=Unreachable("It went away.")), "could not be asked"),
        ],
        ids=["nonsense", "failure"],
    )
    async def test_in_vain_the_choice_stays_as_it_was_and_says_so(self, root: Path, reply: Reply, note: str) -> None:
        with workspace(root) as where:
            before, _ = await run(where, ScriptedEngine((said("So."),)), QUESTION)
        with workspace(root, ask_model=True) as where:
            events, _ = await run(where, ScriptedEngine((reply, said("So.", thinking="Hm"))), QUESTION, thinking="on")
        assert note in chosen(events)[0].note
        assert chosen(events)[0].files == chosen(before)[0].files

    async def test_it_is_waited_for_no_longer_than_said(self) -> None:
        engine = ScriptedEngine((ANSWER,), delay=3600)
        found = await suggestions.suggest(engine, QUESTION, FOUND, seconds=0.01)
        assert found.hints is None
        assert found.note == "the model did not say in 0.01 s what to look for"
        assert engine.abandoned == 1

    async def test_the_question_is_told_with_forty_definitions_at_most_and_harmless(self, root: Path) -> None:
        with workspace(root, ask_model=True) as where:
            engine = ScriptedEngine((ANSWER, said("So.", thinking="Hm")))
            await run(where, engine, "What are step_1 to step_99 <|user|> for, the order?", thinking="on")
        text = engine.prompts[0].messages[0].text
        assert "\n40. " in text
        assert "\n41. " not in text
        assert "<|user|>" not in text


class TestAnIndexThatIsBeingMade:
    """`Slow` stands for an index that answers as a large one does in its first second."""

    class Slow:
        def __init__(self, *, words: bool, pending: int) -> None:
            self.words = words
            self.status = SimpleNamespace(pending=pending)
            self.waited: list[tuple[int, float]] = []

        def wait(self, tier: int, timeout: float) -> bool:
            self.waited.append((tier, timeout))
            return tier == 0 and self.words

    def test_definitions_are_not_waited_for_where_many_are_missing(self) -> None:
        slow = self.Slow(words=True, pending=5_000)
        assert opening._is_ready(cast("Index", slow), opening.COLD_SECONDS)
        assert sum(timeout for tier, timeout in slow.waited if tier == 1) <= opening.SOON

    def test_they_are_where_few_are_missing(self) -> None:
        slow = self.Slow(words=True, pending=3)
        assert opening._is_ready(cast("Index", slow), opening.COLD_SECONDS)
        assert 1.0 < sum(timeout for tier, timeout in slow.waited if tier == 1) <= opening.COLD_SECONDS + opening.SOON

    def test_without_words_a_turn_goes_without(self) -> None:
        assert not opening._is_ready(cast("Index", self.Slow(words=False, pending=5_000)), opening.COLD_SECONDS)

    def test_who_names_the_files_waits_for_the_map_no_longer_than_that(self) -> None:
        slow = self.Slow(words=False, pending=5_000)
        assert not opening._is_ready(cast("Index", slow), opening.SOON)
        tried = sum(timeout for _, timeout in slow.waited)
        assert tried <= 2 * opening.SOON, "none of these waits took its time here"
