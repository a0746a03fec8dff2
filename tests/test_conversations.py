"""Conversations: what is kept, exact tokens, forks, claims, lists, exports; in memory and on the shelf."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from glm_lsp import conversations
from glm_lsp.conversations import Conversation, Conversations, is_dead
from glm_lsp.errors import Conflict, UsageError
from glm_lsp.terms import Message, TokenLog, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from glm_lsp.store import Holder

ROOT = Path(__file__).resolve().parent.parent
TOOL = ToolSpec("read_file", "Reads.", {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}})
TALK = (
    Message("system", "You work."),
    Message("user", "Rename the cart."),
    Message("assistant", "Sure.", "Hmm, \nwhere is it?", (ToolCall("c1", "read_file", '{"z": "é"}'),)),
    Message("tool", "1|cart = 1", call_id="c1"),
    Message("assistant", "Done.", "It is renamed."),
)


def shelf(base: Path) -> Conversations:
    (base / "project").mkdir(exist_ok=True)
    return Conversations.at(base / "project", environment={"GLM_LSP_STATE_DIR": str(base / "state")})


def started(base: Path, name: str = "") -> tuple[Conversations, Conversation]:
    one = shelf(base)
    conversation = one.create(name)
    conversation.tools = (TOOL,)
    conversation.append(*TALK)
    return one, conversation


class TestInMemory:
    def test_needs_no_store(self) -> None:
        conversation = Conversation()
        conversation.tools = (TOOL,)
        conversation.append(*TALK)
        assert conversation.messages == TALK
        assert conversation.log is None
        conversation.record(TokenLog((1, 2), 3, "fp"), Usage(2, 1))
        assert conversation.log == TokenLog((1, 2), 3, "fp")

    def test_tells_which_calls_a_killed_turn_left_without_a_result(self) -> None:
        calls = (ToolCall("a", "read_file", "{}"), ToolCall("b", "read_file", "{}"))
        conversation = Conversation()
        assert conversation.unanswered == ()
        conversation.append(Message("user", "x"), Message("assistant", tool_calls=calls))
        assert conversation.unanswered == calls
        conversation.append(Message("tool", call_id="a"))
        assert conversation.unanswered == calls[1:]
        conversation.append(Message("tool", call_id="b"))
        assert conversation.unanswered == ()


class TestWhatIsKept:
    def test_everything_comes_back_as_it_was(self, tmp_path: Path) -> None:
        _, conversation = started(tmp_path, "carts")
        again = shelf(tmp_path).open("carts")
        assert again.messages == TALK
        assert again.tools == (TOOL,)
        assert list(again.tools[0].parameters["properties"]) == ["z", "a"], "in the order that the model has read"
        assert (again.id, again.name) == (conversation.id, "carts")

    @pytest.mark.parametrize(
        "text",
        ["", "a\0b\0", "\ud83d alone", "\r\n\u2028\x1b[2J", "x" * 3_000_000, "𝒳é漢"],
        ids=["empty", "nul", "half-a-surrogate", "control", "three-megabytes", "wide"],
    )
    def test_any_text_is_kept_exactly(self, tmp_path: Path, text: str) -> None:
        conversation = shelf(tmp_path).create()
        odd = Message("assistant", text, text, (ToolCall(text, text, text),), text)
        conversation.append(odd)
        assert shelf(tmp_path).open(conversation.id).messages == (odd,)
        exported = json.loads(shelf(tmp_path).export(conversation.id, "json"))
        assert exported["messages"][0]["thinking"] == text

    def test_nothing_is_as_good_as_no_append(self, tmp_path: Path) -> None:
        conversation = shelf(tmp_path).create()
        conversation.append()
        assert shelf(tmp_path).open(conversation.id).messages == ()

    def test_going_on_after_a_resume_continues_the_record(self, tmp_path: Path) -> None:
        _, conversation = started(tmp_path)
        again = shelf(tmp_path).open(conversation.id)
        again.append(Message("user", "And now?"))
        assert shelf(tmp_path).open(conversation.id).messages == (*TALK, Message("user", "And now?"))

    def test_what_another_process_has_advanced_is_not_written_over(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        stale = shelf(tmp_path).open(conversation.id)
        conversation.append(Message("user", "mine"))
        with pytest.raises(Conflict, match="went on elsewhere") as caught:
            stale.append(Message("user", "yours"))
        assert "fork" in caught.value.hint
        assert stale.messages == TALK
        assert one.open(conversation.id).messages[-1].text == "mine"

    def test_one_deleted_elsewhere_is_said_and_not_brought_back(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        one.delete(conversation.id)
        with pytest.raises(Conflict, match="deleted"):
            conversation.append(Message("user", "more"))
        with pytest.raises(Conflict, match="deleted"):
            conversation.record(None, Usage(1, 1))
        with pytest.raises(Conflict, match="deleted"), one.claim(conversation):
            pytest.fail("there is nothing to claim")


class TestExactTokens:
    def test_a_log_that_grows_is_stored_once(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        dice = random.Random(3)
        ids = tuple(dice.randrange(2**32) for _ in range(4000))
        for length in (1000, 1000, 2500, 4000):
            conversation.record(TokenLog(ids[:length], 5, "fp"), Usage(length, 7, 3, None), model="glm")
            assert one.open(conversation.id).log == TokenLog(ids[:length], 5, "fp")
        loaded = one.store.load(conversation.id)
        assert loaded is not None
        assert [len(r.new_ids) for r in loaded.requests] == [1000, 0, 1500, 1500]
        assert {r.epoch for r in loaded.requests} == {0}
        assert loaded.requests[1].usage == Usage(1000, 7, 3, None)
        assert loaded.entry.model == "glm"
        assert loaded.entry.fingerprint == "fp"

    @pytest.mark.parametrize(
        "later",
        [TokenLog((1, 9, 3, 4), 5, "fp"), TokenLog((1, 2), 5, "fp"), TokenLog((1, 2, 3, 4), 1, "fp")],
        ids=["differs", "shorter", "covers-less"],
    )
    def test_a_log_that_does_not_grow_begins_a_new_epoch(self, tmp_path: Path, later: TokenLog) -> None:
        one, conversation = started(tmp_path)
        for log in (TokenLog((1, 2, 3), 3, "fp"), later):
            conversation.record(log, Usage())
            assert conversation.log == one.open(conversation.id).log == log
        loaded = one.store.load(conversation.id)
        assert loaded is not None
        assert [r.epoch for r in loaded.requests] == [0, 1]
        assert loaded.requests[1].new_ids == later.ids

    def test_each_engine_keeps_its_own_tokens(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        for log in (TokenLog((1, 2), 3, "a"), TokenLog((8, 9), 3, "b"), TokenLog((1, 2, 3), 5, "a")):
            conversation.record(log, Usage())
        again = one.open(conversation.id)
        assert again.log == TokenLog((1, 2, 3), 5, "a")
        assert again.logs == (TokenLog((1, 2, 3), 5, "a"), TokenLog((8, 9), 3, "b"))

    def test_a_request_without_tokens_leaves_the_log_as_it_was(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        conversation.record(TokenLog((1, 2), 3, "a"), Usage())
        conversation.record(None, Usage(5, 6))
        conversation.record(TokenLog((-1, 2**40), 3, "a"), Usage(5, 6))  # not tokens: the engine is at fault
        assert conversation.log == one.open(conversation.id).log == TokenLog((1, 2), 3, "a")

    def test_resumed_logs_go_on_growing(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        conversation.record(TokenLog((1, 2), 3, "a"), Usage())
        again = one.open(conversation.id)
        again.record(TokenLog((1, 2, 3), 5, "a"), Usage())
        loaded = one.store.load(conversation.id)
        assert loaded is not None
        assert [r.new_ids for r in loaded.requests] == [(1, 2), (3,)]


class TestTheShelf:
    def test_lists_the_latest_first_with_what_one_needs_to_choose(self, tmp_path: Path) -> None:
        one, first = started(tmp_path, "first")
        with one.claim(first):
            first.append(Message("user", "more"), Message("assistant", "ok"))
        second = one.create()
        second.words = "Make it\nfast"
        second.append(Message("user", "guidance"))
        one.create()  # nobody said anything in it
        listed = one.list()
        assert [e.id for e in listed] == [second.id, first.id]
        assert [(e.turns, e.messages, e.name) for e in listed] == [(1, 1, ""), (2, 7, "first")]
        assert [e.first for e in listed] == ["Make it\nfast", "Rename the cart."]
        assert all(e.created.tzinfo is not None and e.created <= e.updated for e in listed)

    def test_opens_by_id_name_or_the_beginning_of_an_id(self, tmp_path: Path) -> None:
        one = shelf(tmp_path)
        for conversation in ("aa11", "aa22", "bb33"):
            one.store.create(conversation, f"name of {conversation}")
        assert one.open("aa11").id == one.open("name of aa11").id == "aa11"
        assert one.open("b").id == "bb33"
        with pytest.raises(UsageError, match=r"Several.*aa22"):
            one.open("aa")
        for word in ("zz", "", "%", "name"):
            with pytest.raises(UsageError, match="no conversation"):
                one.open(word)
        one.rename("aa11", "bb")
        assert one.open("bb").id == "aa11", "a name comes before the beginning of an id"

    def test_a_name_belongs_to_one(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path, "mine")
        with pytest.raises(UsageError, match="called 'mine'"):
            one.create("mine")
        other = one.create()
        with pytest.raises(UsageError, match="called 'mine'"):
            one.rename(other.id, "mine")
        one.rename(conversation.id, "")
        one.rename(other.id, "mine")
        assert one.open("mine").id == other.id
        with pytest.raises(UsageError, match="no conversation"):
            one.rename("nowhere", "x")

    @pytest.mark.parametrize("at", [None, 0, 2, 5], ids=str)
    def test_a_fork_has_the_beginning_and_its_own_end(self, tmp_path: Path, at: int | None) -> None:
        one, conversation = started(tmp_path, "root")
        conversation.record(TokenLog((1, 2), 2, "a"), Usage(2, 0))
        conversation.record(TokenLog((1, 2, 3, 4), 5, "a"), Usage(4, 0))
        fork = one.fork(conversation.id, at)
        assert fork.messages == TALK[:at]
        assert fork.tools == (TOOL,)
        logs = {None: TokenLog((1, 2, 3, 4), 5, "a"), 0: None, 2: TokenLog((1, 2), 2, "a")}
        assert fork.log == logs.get(at, logs[None])
        fork.append(Message("user", "elsewhere"))
        assert one.open(conversation.id).messages == TALK
        assert one.open(fork.id).messages == (*TALK[:at], Message("user", "elsewhere"))
        assert next(e.parent for e in one.list() if e.id == fork.id) == conversation.id

    @pytest.mark.parametrize("at", [-1, 6])
    def test_a_fork_beyond_the_end_is_refused(self, tmp_path: Path, at: int) -> None:
        one, conversation = started(tmp_path)
        with pytest.raises(UsageError, match="5 messages"):
            one.fork(conversation.id, at)

    def test_deleting_leaves_nothing_behind(self, tmp_path: Path) -> None:
        one = shelf(tmp_path)
        conversation = one.create()
        conversation.append(Message("user", "a very private word"))
        conversation.record(TokenLog((1, 2), 1, "a"), Usage())
        one.delete(conversation.id)
        one.store.file.close()
        assert b"very private" not in one.store.file.path.read_bytes()
        assert one.store.load(conversation.id) is None
        with pytest.raises(UsageError):
            one.delete(conversation.id)

    def test_purging_takes_the_old_ones_that_are_not_in_use(self, tmp_path: Path) -> None:
        one, old = started(tmp_path, "old")
        fresh, busy = one.create("fresh"), one.create("busy")
        for conversation in (old, busy):
            one.store.file.write(
                lambda db, c=conversation: db.execute(
                    "UPDATE conversations SET updated = ? WHERE id = ?", (time.time() - 10 * 86_400, c.id)
                )
            )
        with shelf(tmp_path).claim(busy):
            assert one.purge(11) == 0
            assert one.purge(9) == 1
        assert {e.id for e in one.list()} == {fresh.id, busy.id}


class TestExport:
    def test_markdown_folds_thinking_and_spells_control_characters_out(self, tmp_path: Path) -> None:
        one = shelf(tmp_path)
        conversation = one.create("odd \x1b name")
        conversation.append(
            Message("user", "hi \x1b[31mred\u202e"),
            Message("assistant", "answer", "a </details> ``` fence\x07", (ToolCall("c", "read_file", '{"a": "`"}'),)),
            Message("tool", "````\nresult\x9b", call_id="c"),
        )
        text = one.export(conversation.id)
        assert not set(text) & set("\x1b\x07\x9b\u202e")
        assert "# odd \\x1b name" in text
        assert "hi \\x1b[31mred\\u202e" in text
        assert (
            "<details><summary>Thinking</summary>\n\n````text\na </details> ``` fence\\x07\n````\n\n</details>" in text
        )
        assert "`````text\n````\nresult\\x9b\n`````" in text
        assert "Called **read_file**" in text

    def test_json_has_the_whole_record(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path, "n")
        conversation.record(TokenLog((1, 2), 5, "fp"), Usage(2, 1), model="glm")
        whole = json.loads(one.export("n", "json"))
        assert [m["text"] for m in whole["messages"]] == [m.text for m in TALK]
        assert whole["messages"][2]["tool_calls"][0]["arguments"] == '{"z": "é"}'
        assert whole["tools"][0]["name"] == "read_file"
        assert whole["requests"][0]["new_ids"] == [1, 2]
        assert whole["requests"][0]["usage"]["read"] == 2
        assert whole["name"] == "n"


HOLDER = """
import sys, time
from pathlib import Path
from glm_lsp.conversations import Conversations
from glm_lsp.terms import Message
shelf = Conversations.at(Path(sys.argv[1]), environment={"GLM_LSP_STATE_DIR": sys.argv[2]})
conversation = shelf.open(sys.argv[3])
with shelf.claim(conversation):
    conversation.append(Message("user", "theirs"))
    print("held", flush=True)
    time.sleep(float(sys.argv[4]))
"""


def hold(base: Path, conversation: str, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, base / "project", base / "state", conversation, str(seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


class TestClaims:
    def test_a_second_turn_is_refused_with_the_holder_named(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        process = hold(tmp_path, conversation.id, 60)
        try:
            with pytest.raises(Conflict, match=f"process {process.pid}"), one.claim(conversation, wait=0.2):
                pytest.fail("two turns at once")
            with pytest.raises(Conflict):
                one.open(conversation.id).append(Message("user", "without a claim"))
            with pytest.raises(Conflict):
                one.delete(conversation.id)
            fork = one.fork(conversation.id)
            with one.claim(fork):
                fork.append(Message("user", "a fork is free"))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def test_a_second_turn_may_wait_for_the_first(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        process = hold(tmp_path, conversation.id, 0.3)
        with one.claim(conversation, wait=30, catch_up=True):
            assert conversation.messages[-1].text == "theirs"
            conversation.append(Message("user", "ours"))
        process.communicate(timeout=30)

    def test_a_conversation_that_went_on_is_not_claimed_unawares(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        hold(tmp_path, conversation.id, 0).communicate(timeout=30)
        with pytest.raises(Conflict, match="went on elsewhere"), one.claim(conversation):
            pytest.fail("it knows less than there is")
        with one.claim(one.open(conversation.id)):
            pass  # and the refused claim was let go

    @pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
    def test_a_killed_holders_claim_is_taken_over(self, tmp_path: Path, reaped: bool) -> None:
        one, conversation = started(tmp_path)
        process = hold(tmp_path, conversation.id, 60)
        process.send_signal(signal.SIGKILL)
        if reaped:
            process.wait()
        else:
            while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
        with one.claim(conversation, catch_up=True):
            conversation.append(Message("user", "ours"))
        process.communicate()
        assert [m.text for m in one.open(conversation.id).messages[-2:]] == ["theirs", "ours"]

    def test_one_process_too_has_one_turn_at_a_time(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        same = one.open(conversation.id)
        with one.claim(conversation):
            with pytest.raises(Conflict, match=f"process {os.getpid()}"), one.claim(same):
                pytest.fail("two turns at once")
            conversation.append(Message("user", "ours"))
        with one.claim(same, catch_up=True):
            pass

    def test_a_turn_that_fails_lets_go(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        with pytest.raises(ZeroDivisionError), one.claim(conversation):
            _ = 1 / 0
        with one.claim(conversation):
            pass

    def test_a_claim_taken_over_while_asleep_stops_the_sleeper(self, tmp_path: Path) -> None:
        one, conversation = started(tmp_path)
        with one.claim(conversation):
            one.store.file.write(lambda db: db.execute("UPDATE claims SET expires = 1"))
            other = shelf(tmp_path).open(conversation.id)
            with shelf(tmp_path).claim(other), pytest.raises(Conflict, match="under way"):
                conversation.append(Message("user", "late"))

    def test_a_claim_is_renewed_while_it_is_held(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(conversations, "LEASE_SECONDS", 0.6)
        one, conversation = started(tmp_path)
        other = one.open(conversation.id)
        with one.claim(conversation):
            until = time.monotonic() + 2
            while time.monotonic() < until:
                with pytest.raises(Conflict), one.claim(other):
                    pytest.fail("it ran out")
                time.sleep(0.1)

    def test_one_in_memory_needs_none(self, tmp_path: Path) -> None:
        conversation = Conversation()
        with shelf(tmp_path).claim(conversation):
            conversation.append(Message("user", "x"))

    @pytest.mark.parametrize(
        ("change", "dead"),
        [
            ({}, False),
            ({"expires": 1.0}, True),
            ({"pid": 2**22 + 5}, True),
            ({"started": 5.0}, True),
            ({"expires": 9e9}, False),
            ({"host": "elsewhere"}, False),
            ({"host": "elsewhere", "pid": 2**22 + 5, "started": 5.0}, False),
            ({"host": "elsewhere", "expires": 1.0}, True),
            ({"host": "elsewhere", "expires": 9e9}, True),
            ({"expires": 9e9, "pid": 2**22 + 5}, True),
        ],
        ids=[
            *("alive", "expired", "gone", "recycled", "alive-and-the-clock-went-back", "elsewhere"),
            *("elsewhere-another-pid", "elsewhere-expired", "elsewhere-and-the-clock-went-back"),
            "gone-and-the-clock-went-back",
        ],
    )
    def test_who_counts_as_dead(self, change: dict[str, object], dead: bool) -> None:
        holder: Holder = conversations._ourselves()
        assert is_dead(replace(holder, **change)) is dead
