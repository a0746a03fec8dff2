"""A conversation made shorter for the model: what stays, what goes, what is kept, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest
from stories import project, said

from glm_lsp import prompt
from glm_lsp.conversations import Conversation, Conversations
from glm_lsp.engine import profiles
from glm_lsp.engine.scripted import Reply, ScriptedEngine
from glm_lsp.errors import ContextTooLong, DiedMidStream
from glm_lsp.settings import Settings
from glm_lsp.store import Compaction
from glm_lsp.terms import Ask, Compacted, Ended, Event, Happening, Message, TokenLog, ToolReturned, Usage, Warned
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=Happening)
SMALL = replace(profiles.GLM_47, context_length=8_000)
BODY = "".join(f"value_{n} = {n}\n" for n in range(400))


class Talk:
    """One conversation on the shelf, gone on with turn by turn."""

    def __init__(self, base: Path, *, profile: profiles.Profile = SMALL) -> None:
        self.root = project(base / "work", big_py=BODY, small_py="x = 1\n")
        self.shelf = Conversations.at(self.root, environment={"GLM_LSP_STATE_DIR": str(base / "state")})
        self.conversation = self.shelf.create()
        self.workspace = Workspace.open(self.root, Settings())
        self.draft = self.workspace.draft()
        self.profile = profile
        self.prompts: list[tuple[Message, ...]] = []

    async def turn(self, words: str, *replies: Reply, paths: tuple[str, ...] = ()) -> list[Event]:
        engine = ScriptedEngine(replies, profile=self.profile)
        ask = Ask("chat", words, paths, "off")
        turn = self.workspace.turn(ask, engine, conversation=self.conversation, draft=self.draft)
        events = [event async for event in turn.run()]
        self.prompts = [request.messages for request in engine.prompts]
        return events

    async def compact(self, *replies: Reply, instruction: str = "") -> list[Event]:
        engine = ScriptedEngine(replies, profile=self.profile)
        wanted = self.workspace.compact(self.conversation, engine, draft=self.draft, instruction=instruction)
        events = [event async for event in wanted]
        self.prompts = [request.messages for request in engine.prompts]
        return events

    def again(self) -> Conversation:
        return self.shelf.open(self.conversation.id)


def of(kind: type[T], events: list[Event]) -> list[T]:
    return [event.what for event in events if isinstance(event.what, kind)]


def read(path: str) -> tuple[str, dict[str, object]]:
    return ("read_file", {"file_path": path})


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


async def test_bodies_of_files_go_first_and_no_summary_is_asked_for_where_that_is_enough(talk: Talk) -> None:
    await talk.turn(
        "What is in big.py?",
        said(thinking="I look.", calls=[read("big.py")], usage=Usage(read=2_000, written=20)),
        said("Values.", usage=Usage(read=6_390, written=20)),
    )
    events = await talk.turn("And now?", said("Nothing more.", usage=Usage(read=900, written=5)))
    (made,) = of(Compacted, events)
    assert made.files == 1
    assert made.summary == ""
    assert made.before > 6_400
    assert made.after < 3_200
    sent = "\n".join(message.text for message in talk.prompts[-1])
    assert "value_399" not in sent
    assert "[big.py, lines 1 to 400 of 400" in sent
    assert "left out to save room" in sent
    assert talk.prompts[-1][-1].text == "And now?"
    assert [m.thinking for m in talk.prompts[-1] if m.thinking] == ["I look."], "thoughts stay"


async def test_the_record_stays_whole_and_another_process_reads_the_short_form(talk: Talk) -> None:
    await talk.turn(
        "What is in big.py?",
        said(calls=[read("big.py")], usage=Usage(read=2_000, written=20)),
        said("Values.", usage=Usage(read=7_000, written=20)),
    )
    await talk.turn("And now?", said("Nothing more.", usage=Usage(read=900, written=5)))
    again = talk.again()
    assert again.shown == talk.conversation.shown
    assert again.messages == talk.conversation.messages
    assert any("value_399" in message.text for message in again.messages)
    assert not any("value_399" in message.text for message in again.shown)
    assert "value_399" in talk.shelf.export(again.id)
    assert "Compacted for the model" in talk.shelf.export(again.id)


async def test_where_bodies_are_not_enough_the_model_writes_a_summary(talk: Talk) -> None:
    for n in range(4):
        await talk.turn(
            f"Question {n}: {'why? ' * 100}", said("Because. " * 150, usage=Usage(read=1_500 * n, written=2))
        )
    talk.conversation.record(None, Usage(read=7_500, written=10))
    events = await talk.turn(
        "The last question.",
        said("They ask why, and it is because.", usage=Usage(read=7_600, written=30)),
        said("Done.", usage=Usage(read=700, written=3)),
    )
    (made,) = of(Compacted, events)
    assert made.summary == "They ask why, and it is because."
    assert made.usage == Usage(read=7_600, written=30)
    assert of(Ended, events)[0].usage.read == 7_600 + 700, "what the summary cost is counted"
    asked, after = talk.prompts
    assert asked[-1].text.startswith("This conversation is about to be made shorter")
    assert asked[:-1] == talk.conversation.messages[: len(asked) - 1], "the engine has read all but the end of it"
    assert after[0] == talk.conversation.messages[0], "the head stays"
    assert "They ask why, and it is because." in after[1].text
    assert after[-1].text == "The last question."
    assert len(after) < len(asked)


async def test_asked_for_by_the_person_it_happens_at_once_with_their_wishes(talk: Talk) -> None:
    await talk.turn("One.", said("First. " * 300))
    await talk.turn("Two.", said("Second. " * 300))
    events = await talk.compact(said("Two things were asked."), instruction="Keep the numbers.")
    assert "Keep the numbers." in talk.prompts[0][-1].text
    (made,) = of(Compacted, events)
    assert made.summary == "Two things were asked."
    assert of(Ended, events)[0].reason == "done"
    await talk.turn("Three.", said("Third."))
    assert "Two things were asked." in talk.prompts[-1][1].text
    assert talk.prompts[-1][-1].text == "Three."


async def test_there_is_nothing_to_do_in_a_new_conversation(talk: Talk) -> None:
    events = await talk.compact()
    assert of(Compacted, events) == []
    assert of(Ended, events)[0].reason == "nothing"


@pytest.mark.parametrize(
    "reply",
    [said("", error=DiedMidStream("It died.")), said(""), said(calls=[read("a.py")])],
    ids=["dies", "mute", "calls"],
)
async def test_a_model_that_writes_no_summary_is_replaced_by_a_plain_record(talk: Talk, reply: Reply) -> None:
    await talk.turn("Rename the cart.", said("Renamed. " * 200))
    await talk.turn("Now the invoice.", said("Done. " * 200))
    events = await talk.compact(reply)
    (made,) = of(Compacted, events)
    assert "The person: Rename the cart." in made.summary
    assert "You: Renamed." in made.summary
    assert of(Ended, events)[0].reason == "done"


async def test_in_the_middle_of_a_turn_no_call_is_parted_from_its_result(talk: Talk) -> None:
    replies = [
        said(
            thinking=f"Step {n}.",
            calls=[read("big.py" if n % 2 else "small.py")],
            usage=Usage(read=read_so_far, written=9),
        )
        for n, read_so_far in enumerate((1_000, 3_000, 6_500))
    ]
    events = await talk.turn(
        "Look at everything.", *replies, said("A summary."), said("All seen.", usage=Usage(read=900, written=4))
    )
    assert of(Compacted, events)
    assert all(result.ok for result in of(ToolReturned, events))
    sent = talk.prompts[-1]
    open_calls: set[str] = set()
    for message in sent:
        open_calls |= {call.id for call in message.tool_calls}
        if message.role == "tool":
            assert message.call_id in open_calls, "a result without its call"
            open_calls.discard(message.call_id)
    assert not open_calls, "a call without its result"
    assert any("Look at everything." in message.text for message in sent), "what the person wants is still said"


async def test_a_prompt_that_the_engine_finds_too_long_is_made_shorter_and_sent_again(talk: Talk) -> None:
    await talk.turn("One.", said("First. " * 300))
    events = await talk.turn(
        "Two.",
        said(error=ContextTooLong("Too long by 100 tokens.", over_by=100)),
        said("One was asked."),
        said("Second."),
    )
    assert of(Ended, events)[0].reason == "done"
    assert of(Compacted, events)[0].summary == "One was asked."


async def test_turned_off_it_never_happens(talk: Talk) -> None:
    settings = Settings()
    talk.workspace = Workspace.open(talk.root, replace(settings, prompt=replace(settings.prompt, compact_at=0.0)))
    await talk.turn("One.", said("First. " * 300, usage=Usage(read=7_900, written=9)))
    events = await talk.turn("Two.", said("Second."))
    assert of(Compacted, events) == []


async def test_files_whose_bodies_are_gone_are_read_again_before_they_are_edited(talk: Talk) -> None:
    await talk.turn(
        "Look.",
        said(calls=[read("small.py")], usage=Usage(read=500, written=9)),
        said("Seen. " * 400, usage=Usage(read=7_000, written=9)),
    )
    edit = ("edit_file", {"file_path": "small.py", "old_string": "x = 1", "new_string": "x = 2"})
    events = await talk.turn("Change it.", said("Summary."), said(calls=[edit]), said("It must be read."))
    assert of(Compacted, events)
    (result,) = of(ToolReturned, events)
    assert not result.ok
    assert "read_file" in result.result


def test_exact_tokens_begin_anew_behind_a_compaction(tmp_path: Path) -> None:
    shelf = Conversations.at(tmp_path, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})
    one = shelf.create()
    one.append(Message("system", "Head."), Message("user", "One."), Message("assistant", "First."))
    one.record(TokenLog((1, 2, 3), 3, "f"), Usage(read=2, written=1))
    assert one.log == TokenLog((1, 2, 3), 3, "f")
    assert one.measured == (3, 3)
    one.compact(Compaction(3, (Message("system", "Head."), Message("user", "Short.")), 0, "Short.", 30, 9, 5.0))
    assert one.log is None
    assert one.measured is None
    one.append(Message("user", "Two."), Message("assistant", "Second."))
    one.record(TokenLog((1, 7, 8, 9), 4, "f"), Usage(read=3, written=1))
    for loaded in (one, shelf.open(one.id)):
        assert loaded.log == TokenLog((1, 7, 8, 9), 4, "f"), "covers counts the messages that the model reads"
        assert [m.text for m in loaded.shown] == ["Head.", "Short.", "Two.", "Second."]
        assert loaded.measured == (4, 4)
    before = shelf.fork(one.id, at=3)
    assert [m.text for m in before.shown] == ["Head.", "Short."], "a fork behind it has it too"
    assert shelf.fork(one.id, at=2).shown == one.messages[:2], "and one before it does not"


def test_only_real_excerpts_are_left_out_of_what_a_person_said() -> None:
    words = "See a.py, lines 1 to 2 (my note): nothing\n12|this is mine\n"
    assert prompt.without_excerpts(words) == (words, 0)


async def test_the_person_is_told_what_it_came_to(talk: Talk) -> None:
    await talk.turn("One.", said("First. " * 300))
    events = await talk.compact(said("Short."))
    assert of(Warned, events) == []
    (made,) = of(Compacted, events)
    assert 0 < made.after < made.before
