"""How a turn begins where there is an index: a map in the head, and code that nobody had to name."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from glm_lsp import prompt
from glm_lsp.conversations import Conversation
from glm_lsp.engine.scripted import Reply, ScriptedEngine, said
from glm_lsp.settings import IndexSettings, Settings
from glm_lsp.terms import Ask, Ended, Event, HunkClosed, Message, Problem, ToolReturned
from glm_lsp.turn import opening
from glm_lsp.workspace import Workspace
from tests.stories import edit, project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glm_lsp.edits.draft import Draft

LONG = "".join(f"def step_{n}(order):\n    # It is step {n}.\n    return order.next({n})\n\n\n" for n in range(400))
DISCOUNT = "def apply_discount(price, rate):\n    # <|user|> takes a part off\n    return price * (1 - rate)\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    files = {f"lib__part_{n}_py": f"def part_{n}():\n    return {n}\n" for n in range(60)}
    return project(
        tmp_path / "work",
        shop__pricing_py=DISCOUNT,
        shop__steps_py=LONG + "\n\n" + DISCOUNT.replace("apply", "revoke"),
        env_py="apply_discount = 1\n",
        **files,
    )


@dataclass
class Asked:
    events: list[Event]
    messages: tuple[Message, ...]
    draft: Draft
    shown: tuple[Any, ...]

    @property
    def opening(self) -> str:
        return [message.text for message in self.messages if message.role == "user"][-1]


def settings(**index: Any) -> Settings:
    return Settings(index=replace(IndexSettings(), **index))


@contextlib.contextmanager
def workspace(root: Path, using: Settings | None = None) -> Iterator[Workspace]:
    with Workspace.open(root, using or settings()).indexed() as opened:
        if opened.index is not None:
            assert opened.index.wait(1, 60)
        yield opened


async def ask(
    where: Workspace,
    words: str,
    *replies: Reply,
    conversation: Conversation | None = None,
    draft: Draft | None = None,
    paths: tuple[str, ...] = (),
    problems: tuple[Problem, ...] = (),
    **more: Any,
) -> Asked:
    engine = ScriptedEngine(replies or (said("Seen."),))
    draft = draft or where.draft()
    turn = where.turn(
        Ask("chat", words, paths, problems=problems),
        engine,
        conversation=conversation if conversation is not None else Conversation(),
        draft=draft,
        **more,
    )
    events = [event async for event in turn.run()]
    ended = events[-1].what
    assert isinstance(ended, Ended)
    assert ended.error == ""
    return Asked(events, engine.prompts[-1].messages, draft, turn.shown)


class TestChosenCode:
    async def test_it_comes_with_a_question_that_names_no_files(self, root: Path) -> None:
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?")
        assert (
            "shop/pricing.py, lines 1 to 3 (defines apply_discount):\n1|def apply_discount(price, rate):"
            in asked.opening
        )
        assert "The code below was found for this in the workspace" in asked.opening
        assert [one.path for one in asked.shown].count("shop/pricing.py") == 1

    async def test_its_control_strings_are_harmless(self, root: Path) -> None:
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?")
        assert "<|user|>" not in asked.opening
        assert "takes a part off" in asked.opening

    async def test_a_question_about_the_whole_workspace_gets_it_too(self, root: Path) -> None:
        (root / "big.txt").write_text("nothing to see\n" * 20_000)
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?", paths=where.listing.paths)
        assert "1|def apply_discount(price, rate):" in asked.opening
        assert "nothing to see" not in asked.opening

    async def test_a_question_that_names_files_gets_those_alone(self, root: Path) -> None:
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?", paths=("lib/part_1.py",))
        assert [one.path for one in asked.shown] == ["lib/part_1.py"]

    async def test_what_the_editor_reports_comes_as_well(self, root: Path) -> None:
        problem = Problem("lib/part_3.py", 2, 5, "error", "", "", "apply_discount is missing here")
        with workspace(root) as where:
            asked = await ask(where, "Mend it.", problems=(problem,))
        assert "lib/part_3.py" in {one.path for one in asked.shown}

    async def test_a_part_is_not_a_file_that_was_read(self, root: Path) -> None:
        change = edit("shop/steps.py", "    return price * (1 - rate)", "    return price")
        with workspace(root) as where:
            asked = await ask(where, "What does revoke_discount do?", said(calls=[change]), said("Well."))
        assert any(one.path == "shop/steps.py" for one in asked.shown)
        assert not asked.draft.was_read("shop/steps.py")
        (result,) = [event.what for event in asked.events if isinstance(event.what, ToolReturned)]
        assert not result.ok
        assert "read" in result.result

    async def test_a_file_that_is_shown_whole_may_be_edited(self, root: Path) -> None:
        change = edit("shop/pricing.py", "    return price * (1 - rate)", "    return price")
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?", said(calls=[change]), said("Done."))
        assert [event.what.ok for event in asked.events if isinstance(event.what, HunkClosed)] == [True]

    async def test_none_comes_where_the_settings_want_none(self, root: Path) -> None:
        for using in (settings(context_tokens=0), settings(enabled=False)):
            with workspace(root, using) as where:
                assert (await ask(where, "What does apply_discount do?")).shown == ()

    async def test_none_comes_from_a_workspace_that_is_not_trusted(self, root: Path) -> None:
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?", trusted=False)
        assert asked.shown == ()
        assert "Files of the workspace" in asked.messages[0].text

    async def test_it_keeps_to_its_tokens_and_to_a_share_of_a_small_context(self, root: Path) -> None:
        words = "Every step of the order, step_7, and every part, part_9"
        with workspace(root, settings(context_tokens=500)) as where:
            asked = await ask(where, words)
            assert asked.shown
            assert sum(prompt.count(one.text) for one in asked.shown) <= 500
        profile = replace(ScriptedEngine(()).profile, context_length=4096)
        assert prompt.context_budget(profile, 8000) == 512
        assert prompt.map_budget(profile, 2000) == 128

    async def test_secrets_and_what_is_protected_are_not_shown(self, root: Path) -> None:
        (root / "secrets.pem").write_text("apply_discount apply_discount\n")
        (root / ".env").write_text("apply_discount=1\n")
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?")
        assert {".env", "secrets.pem"}.isdisjoint(one.path for one in asked.shown)
        assert "apply_discount=1" not in asked.opening

    async def test_what_the_draft_has_changed_is_not_shown_as_it_was(self, root: Path) -> None:
        with workspace(root) as where:
            draft = where.draft()
            draft.read("shop/pricing.py")
            draft.write("shop/pricing.py", "def apply_discount(): return 7\n")
            asked = await ask(where, "What does apply_discount do?", draft=draft)
        assert "shop/pricing.py" not in {one.path for one in asked.shown}

    async def test_a_look_at_the_context_shows_the_same(self, root: Path) -> None:
        with workspace(root) as where:
            asked = await ask(where, "What does apply_discount do?")
            turn = where.turn(Ask("chat", "What does apply_discount do?"), ScriptedEngine(()), draft=where.draft())
            turn.open()
            assert turn.shown == asked.shown
            assert turn.conversation.messages == asked.messages


class TestLaterQuestions:
    async def test_what_was_shown_is_not_shown_again(self, root: Path) -> None:
        conversation = Conversation()
        with workspace(root) as where:
            draft = where.draft()
            await ask(where, "What does revoke_discount do?", conversation=conversation, draft=draft)
            asked = await ask(where, "And who calls revoke_discount then?", conversation=conversation, draft=draft)
            assert all("def revoke_discount" not in one.text for one in asked.shown)

    @pytest.mark.parametrize("words", ["Yes, do that.", "Why?", "Go on with the next."])
    async def test_words_that_say_nothing_bring_nothing(self, root: Path, words: str) -> None:
        conversation = Conversation()
        with workspace(root) as where:
            await ask(where, "What does revoke_discount do?", conversation=conversation)
            assert (await ask(where, words, conversation=conversation)).shown == ()

    async def test_the_model_is_told_where_a_part_that_it_saw_has_changed(self, root: Path) -> None:
        conversation = Conversation()
        with workspace(root) as where:
            await ask(where, "What does revoke_discount do?", conversation=conversation)
            (root / "shop/steps.py").write_text("gone = 1\n")
            asked = await ask(where, "Why?", conversation=conversation)
        assert "read them again before you edit them: shop/steps.py." in asked.opening


class TestTheMap:
    async def test_it_stands_in_the_head_and_the_same_in_the_next_conversation(self, root: Path) -> None:
        with workspace(root) as where:
            first = await ask(where, "What does apply_discount do?")
            (root / "lib/part_1.py").write_text("def part_1():\n    return apply_discount(1, 2)\n")
            assert where.index is not None
            where.index.refresh()
            second = await ask(where, "And part_7?")
        assert "The workspace when this conversation began:" in first.messages[0].text
        assert "shop/: pricing.py, steps.py" in first.messages[0].text
        assert first.messages[0] == second.messages[0], "an engine reads it once"

    async def test_a_conversation_keeps_the_head_it_began_with(self, root: Path) -> None:
        conversation = Conversation()
        with workspace(root) as where:
            before = await ask(where, "What does apply_discount do?", conversation=conversation)
            (root / "new.py").write_text("x = 1\n")
            assert where.index is not None
            where.index.refresh()
            after = await ask(where, "And part_7, part_8?", conversation=conversation)
        assert after.messages[: len(before.messages)] == before.messages

    async def test_few_files_are_a_plain_list(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
        root = project(tmp_path / "work", cart_py="total = 0\n")
        with workspace(root) as where:
            asked = await ask(where, "What is the total?")
        assert "Files of the workspace:\ncart.py" in asked.messages[0].text

    async def test_none_stands_there_where_the_settings_want_none(self, root: Path) -> None:
        with workspace(root, settings(map_tokens=0)) as where:
            asked = await ask(where, "What does apply_discount do?")
        assert "Files of the workspace:\nenv.py\nlib/part_0.py" in asked.messages[0].text


class TestAnIndexThatIsNotReady:
    async def test_a_turn_waits_a_moment_and_goes_without(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from glm_lsp.index.index import Index

        monkeypatch.setattr(opening, "COLD_SECONDS", 0.2)
        never = Index.open(root, IndexSettings())  # not started, so it never gets ready
        try:
            began = time.monotonic()
            asked = await ask(replace(Workspace.open(root, Settings()), index=never), "What does apply_discount do?")
            assert time.monotonic() - began < 30
        finally:
            never.close()
        assert asked.shown == ()
        assert "Files of the workspace:" in asked.messages[0].text

    async def test_who_names_the_files_does_not_wait_for_what_only_the_map_needs(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from glm_lsp.index.index import Index

        monkeypatch.setattr(opening, "COLD_SECONDS", 60.0)
        monkeypatch.setattr(opening, "SOON", 0.05)
        never = Index.open(root, IndexSettings())
        waited: list[float] = []
        monkeypatch.setattr(never, "wait", lambda _tier, timeout: waited.append(timeout) or False)
        try:
            where = replace(Workspace.open(root, Settings()), index=never)
            asked = await ask(where, "Round it.", paths=("shop/pricing.py",))
            assert sum(waited) < 1
            await ask(where, "What does apply_discount do?")
            assert sum(waited) > 50, "it waits for what the choice needs"
        finally:
            never.close()
        assert "def apply_discount" in asked.opening

    async def test_one_that_was_closed_is_no_trouble(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opening, "COLD_SECONDS", 0.2)
        with workspace(root) as where:
            pass
        asked = await ask(where, "What does apply_discount do?")
        assert asked.messages[-1].text.startswith("What does apply_discount do?")
