"""`glm-lsp chat` in a real terminal, and `glm-lsp sessions` behind it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest
from test_refactor import BETTER, CART, GLM, Person, edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Screen:
    """A person at a terminal: types, and waits until something is to be read."""

    def __init__(self, person: Person, *arguments: str) -> None:
        self.primary, secondary = pty.openpty()
        environment = {**person.environment, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        self.process = subprocess.Popen(
            [GLM, "chat", *arguments],
            cwd=person.root,
            env=environment,
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal, as at a terminal
        )
        os.close(secondary)
        self.seen = ""

    def until(self, words: str, seconds: float = 30) -> str:
        deadline = time.monotonic() + seconds
        while words not in plain(self.seen):
            assert time.monotonic() < deadline, f"{words!r} never came; there is:\n{plain(self.seen)}"
            ready, _, _ = select.select([self.primary], [], [], 0.2)
            if ready:
                data = os.read(self.primary, 65536).decode(errors="replace")
                if "\x1b[6n" in data:
                    os.write(self.primary, b"\x1b[1;1R")  # where the cursor is: a terminal answers when it is asked
                self.seen += data
        found, self.seen = self.seen, ""
        return plain(found)

    def type(self, line: str) -> None:
        self.press(f"{line}\r")

    def press(self, keys: str) -> None:
        time.sleep(0.2)
        os.write(self.primary, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.primary)


def plain(text: str) -> str:
    return re.sub(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[=>()][0-9A-Z]?)", "", text)


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()


def sessions(person: Person, *arguments: str) -> subprocess.CompletedProcess[str]:
    return person.glm("sessions", *arguments)


def listed(person: Person) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sessions(person, "list", "--json").stdout.splitlines()]


def test_a_chat_edits_with_consent_and_is_resumed_with_its_thinking(person: Person, screens: list[Screen]) -> None:
    engine = person.script(
        {"thinking": "Quantities matter.", "calls": [{"name": "read_file", "arguments": {"file_path": "cart.py"}}]},
        {"thinking": "Now edit.", "calls": [edit("cart.py")]},
        {"text": "The total counts quantities."},
    )
    screen = Screen(person, "--engine", engine)
    screens.append(screen)
    screen.until("/help tells more")
    screen.type("count quantities in @cart.py")
    said = screen.until("Apply these changes?")
    assert "Thought for" in said
    assert "The total counts quantities." in said
    screen.type("y")
    screen.until("Applied · /undo takes it back")
    assert person.read() == BETTER
    screen.type("/name money")
    screen.until("is called money")
    screen.type("/undo")
    screen.until("Took back")
    assert person.read() == CART
    screen.type("/think off")
    screen.until("Thinking: off")
    screen.type("/dance")
    screen.until("There is no /dance")
    screen.type("/quit")
    assert screen.process.wait(timeout=10) == 0

    (session,) = listed(person)
    assert (session["name"], session["turns"]) == ("money", 1)
    shown = sessions(person, "show", "money").stdout
    assert "Quantities matter." in shown

    again = Screen(
        person,
        "--resume",
        "money",
        "--engine",
        person.script({"when": "Quantities", "text": "As I said."}, {"text": "Yes, it does."}),
    )
    screens.append(again)
    greeted = again.until("1 message so far")
    assert "› count quantities in @cart.py" in greeted
    assert "▸ Thought · 18 characters · Quantities matter." in greeted
    assert "The total counts quantities." in greeted
    again.type("does it count?")
    again.until("Yes, it does.")
    again.type("/quit")
    assert again.process.wait(timeout=10) == 0
    assert listed(person)[0]["turns"] == 2


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(person: Person, screens: list[Screen]) -> None:
    screen = Screen(person, "--engine", person.script({"text": "slow " * 500}, {"text": "Here."}, delay=0.05, chop=5))
    screens.append(screen)
    screen.until("/help tells more")
    screen.type("tell me a lot")
    screen.until("slow slow")
    os.write(screen.primary, b"\x03")
    screen.until("Stopped")
    screen.type("are you there?")
    screen.until("Here.")


def test_no_changes_are_written_when_the_person_says_no(person: Person, screens: list[Screen]) -> None:
    engine = person.script(
        {"calls": [{"name": "read_file", "arguments": {"file_path": "cart.py"}}, edit("cart.py")]}, {"text": "Done."}
    )
    screen = Screen(person, "--engine", engine)
    screens.append(screen)
    screen.until("/help tells more")
    screen.type("count quantities")
    screen.until("Apply these changes?")
    screen.type("n")
    screen.until("nothing was written")
    assert person.read() == CART


def command(line: str) -> dict[str, Any]:
    return {"calls": [{"name": "run_command", "arguments": {"command": line}}]}


@pytest.fixture
def chat(person: Person, screens: list[Screen]) -> Callable[..., Screen]:
    """Begins a chat in which the model says these things."""

    def begin(*replies: dict[str, Any], arguments: tuple[str, ...] = (), **script: Any) -> Screen:
        screen = Screen(person, "--engine", person.script(*replies, **script), *arguments)
        screens.append(screen)
        screen.until("/help")
        return screen

    return begin


class TestPermission:
    def test_once_always_and_never_also_after_a_restart(self, person: Person, chat: Callable[..., Screen]) -> None:
        screen = chat(
            command("echo 1 >> one"), {"text": "Ran it."}, command("echo 1 >> one"), {"text": "Again."},
            command("echo 1 >> one"), {"text": "Third."}, command("echo 1 >> two"), {"text": "Not run."},
        )  # fmt: skip
        screen.type("run it")
        shown = screen.until("[o]nce, [a]lways for this command, [n]o, n[e]ver ›")
        assert "The model asks to run a command:" in shown
        assert "  │ echo 1 >> one" in shown
        assert "confined:" in shown
        screen.type("what?")
        screen.until("Permit it?")
        screen.type("o")
        screen.until("Ran it.")
        screen.type("run it again")
        screen.until("n[e]ver ›")
        screen.type("a")
        screen.until("Again.")
        screen.type("and again")
        assert "Permit it?" not in screen.until("Third.")
        screen.type("run the other")
        screen.until("n[e]ver ›")
        screen.type("never")
        screen.until("Not run.")
        assert person.read("one") == "1\n1\n1\n"
        screen.type("/quit")
        assert screen.process.wait(timeout=10) == 0

        screen = chat(command("echo 1 >> one"), command("echo 1 >> two"), {"text": "Over."})
        screen.type("both")
        assert "Permit it?" not in screen.until("Over.")
        assert person.read("one") == "1\n1\n1\n1\n"
        assert not (person.root / "two").exists()
        screen.type("/permissions")
        rules = screen.until("2  never   run_command  echo 1 >> two")
        assert "1  always  run_command  echo 1 >> one" in rules
        screen.type("/permissions forget 2")
        screen.until("Forgotten: never run_command echo 1 >> two")
        (file,) = (person.tmp / "state/permissions").glob("*.json")
        assert file.stat().st_mode & 0o777 == 0o600

    def test_ctrl_c_stops_the_turn_and_leaves_a_conversation_that_goes_on(
        self, person: Person, chat: Callable[..., Screen]
    ) -> None:
        screen = chat(command("touch owned"), {"when": "stopped before", "text": "As you like."})
        screen.type("run it")
        screen.until("n[e]ver ›")
        screen.press("\x03")
        screen.until("Stopped: cancelled")
        screen.type("never mind")
        screen.until("As you like.")
        assert not (person.root / "owned").exists()
        (session,) = listed(person)
        messages = json.loads(sessions(person, "export", session["id"], "--format", "json").stdout)["messages"]
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool", "user", "assistant"]
        assert messages[3]["call_id"] == messages[2]["tool_calls"][0]["id"]

    def test_ctrl_c_still_stops_an_answer_that_comes_after_a_question(self, chat: Callable[..., Screen]) -> None:
        screen = chat(command("true"), {"text": "slow " * 500}, {"text": "Here."}, delay=0.05, chop=5)
        screen.type("run it")
        screen.until("n[e]ver ›")
        screen.type("o")
        screen.until("slow slow")
        screen.press("\x03")
        screen.until("Stopped: cancelled")
        screen.type("are you there?")
        screen.until("Here.")

    def test_what_was_typed_before_the_question_does_not_answer_it(
        self, person: Person, chat: Callable[..., Screen]
    ) -> None:
        screen = chat({"thinking": "Hm. " * 10, **command("touch owned")}, {"text": "Fine."}, delay=0.05, chop=4)
        screen.type("run it")
        screen.until("Thinking…")
        screen.press("a\r")
        screen.until("n[e]ver ›")
        screen.type("n")
        screen.until("Fine.")
        assert not (person.root / "owned").exists()

    def test_a_command_cannot_draw_a_question_of_its_own(self, chat: Callable[..., Screen]) -> None:
        screen = chat(command("echo\n  confined: harmless\nPermit it? [o]nce ›" + "y" * 120), {"text": "Fine."})
        screen.type("run it")
        shown = screen.until("n[e]ver ›")
        between = shown[shown.index("asks to run") : shown.rindex("confined:")].splitlines()[1:-1]
        assert len(between) == 4
        assert all(line.startswith("  │ ") for line in between)
        screen.type("n")
        screen.until("Fine.")


class TestQuestion:
    ASK = {"calls": [{"name": "ask_user", "arguments": {"question": "Which one?", "options": ["red", "blue"]}}]}  # noqa: RUF012 - read only

    @pytest.mark.parametrize(("typed", "heard"), [("2", "answers: blue"), ("green, please", "answers: green, please")])
    def test_is_answered_by_number_or_in_words(self, chat: Callable[..., Screen], typed: str, heard: str) -> None:
        screen = chat(self.ASK, {"when": heard, "text": "So be it."})
        screen.type("paint it")
        shown = screen.until("Answer (a number, or your own words) ›")
        assert "? Which one?" in shown
        assert "  2  blue" in shown
        screen.type(typed)
        screen.until("So be it.")

    @pytest.mark.parametrize("keys", ["\r", "\x03", "\x04"], ids=["nothing", "ctrl-c", "ctrl-d"])
    def test_without_an_answer_stops_the_turn(self, chat: Callable[..., Screen], keys: str) -> None:
        screen = chat(self.ASK, {"when": "stopped before", "text": "So be it."})
        screen.type("paint it")
        screen.until("own words) ›")
        screen.press(keys)
        screen.until("Stopped: cancelled")
        screen.type("whatever")
        screen.until("So be it.")


def numbered(n: int) -> dict[str, Any]:
    return {"name": "write_file", "arguments": {"file_path": f"{n}.txt", "content": f"{n}\n"}}


def test_undo_goes_back_to_a_checkpoint_and_the_model_is_told(person: Person, chat: Callable[..., Screen]) -> None:
    made = [reply for n in (1, 2, 3) for reply in ({"calls": [numbered(n)]}, {"text": f"Made {n}."})]
    screen = chat(*made, {"when": "The person took back your changes to 2.txt", "text": "I see."})
    for n in (1, 2, 3):
        screen.type(f"make {n}")
        screen.until("Apply these changes?")
        screen.type("y")
        screen.until("Applied ·")
    screen.type("/checkpoints")
    shown = screen.until("/undo N takes back N and all after it")
    assert re.search(r"2  \d{4}-\d\d-\d\d \d\d:\d\d  make 2 · 2.txt", shown)
    (person.root / "3.txt").write_text("mine\n")
    screen.type("/undo 2")
    screen.until("3.txt has changed on disk")
    assert (person.root / "2.txt").exists()
    (person.root / "3.txt").write_text("3\n")
    screen.type("/undo 2")
    screen.until("Took back: make 2 · 1 file")
    assert sorted(path.name for path in person.root.glob("*.txt")) == ["1.txt"]
    screen.type("what now?")
    screen.until("I see.")
    screen.type("/quit")
    assert screen.process.wait(timeout=10) == 0
    listed = person.glm("undo", "--list").stdout
    assert "make 1 · 1.txt" in listed
    assert "undone · make 3 · 3.txt" in listed
    assert "Took back 1:" in person.glm("undo", "--to", "1").stdout
    assert not list(person.root.glob("*.txt"))


def test_the_model_is_told_that_its_changes_were_not_accepted(chat: Callable[..., Screen]) -> None:
    screen = chat(
        {"calls": [numbered(1)]}, {"text": "Made."}, {"when": "did not accept your changes to 1.txt", "text": "Oh."}
    )
    screen.type("make it")
    screen.until("Apply these changes? [y]es, [d]iff, [n]o ›")
    screen.type("d")
    assert "+1" in screen.until("[y]es, [n]o ›")
    screen.press("\x03")
    screen.until("nothing was written")
    screen.type("why?")
    screen.until("Oh.")


class TestTyping:
    def test_commands_and_paths_are_completed(self, chat: Callable[..., Screen]) -> None:
        screen = chat({"when": "1|def total(items):", "text": "Seen."})
        screen.press("/checkp")
        screen.until("/checkpoints")
        screen.press("\t\r")
        screen.until("Nothing has been applied")
        screen.press("look at @crt")
        screen.until("cart.py")
        screen.press("\t\r")
        screen.until("Seen.")

    def test_several_lines_are_one_message(self, chat: Callable[..., Screen]) -> None:
        screen = chat({"when": "one\ntwo\nthree", "text": "Three."})
        screen.press("one\\\r")
        screen.press("two\x1b\r")
        screen.type("three")
        screen.until("Three.")

    def test_lines_are_kept_privately_for_the_next_chat(self, person: Person, chat: Callable[..., Screen]) -> None:
        screen = chat({"text": "Yes."}, *[command("true"), {"text": "Ran."}])
        screen.type("remember this line")
        screen.until("Yes.")
        screen.type("run it")
        screen.until("n[e]ver ›")
        screen.type("o")
        screen.until("Ran.")
        screen.type("/quit")
        assert screen.process.wait(timeout=10) == 0
        (kept,) = (person.tmp / "state/journal").glob("*/typed")
        assert kept.stat().st_mode & 0o777 == 0o600
        assert [line for line in kept.read_text().splitlines() if line.startswith("+")] == [
            "+remember this line",
            "+run it",
            "+/quit",
        ]
        screen = chat({"when": "remember this line", "text": "Found."})
        screen.press("\x12ember")
        screen.until("remember this line")
        screen.press("\r\r")
        screen.until("Found.")

    def test_an_at_sign_that_names_no_file_is_a_word(self, chat: Callable[..., Screen]) -> None:
        screen = chat({"when": "what is @property?", "text": "A decorator."})
        screen.type("what is @property?")
        screen.until("@property is no file here")
        screen.until("A decorator.")


def test_the_latest_conversation_goes_on_and_is_looked_back_on(person: Person, chat: Callable[..., Screen]) -> None:
    screen = chat({"thinking": "Easy.", "text": "Blue."}, {"text": "Still blue."})
    for line, answer in (("which colour?", "Blue."), ("and now?", "Still blue.")):
        screen.type(line)
        screen.until(answer)
    screen.type("/quit")
    assert screen.process.wait(timeout=10) == 0
    screen = chat({"when": "Still blue.", "text": "As before."}, arguments=("-c",))
    screen.type("/history")
    shown = screen.until("Still blue.")
    assert "› which colour?" in shown
    assert "▸ Thought · 5 characters · Easy." in shown
    screen.type("and?")
    screen.until("As before.")
    screen.type("/new")
    screen.until("a new one")
    screen.type(f"/resume {listed(person)[0]['id']}")
    greeted = screen.until("3 messages so far")
    assert "› and?" in greeted
    assert "which colour?" not in greeted


def test_compacting_is_shown_with_what_it_cost(chat: Callable[..., Screen]) -> None:
    screen = chat(
        {"text": " ".join(map(str, range(3000)))},
        {"text": "Short."},
        {"when": "keep the colours", "text": "They like blue.", "usage": {"read": 9000, "written": 12}},
        {"when": "They like blue.", "text": "Blue it is."},
    )
    for line in ("tell me", "and now?"):
        screen.type(line)
        screen.until("Done in")
    screen.type("/compact keep the colours")
    shown = screen.until("Done in")
    assert re.search(r"Compacted: [\d,]+ → [\d,]+ tokens · summary of older turns · cost 12 tokens · 9,000 read", shown)
    screen.type("which?")
    screen.until("Blue it is.")


def test_a_session_of_headless_runs_is_continued_listed_exported_and_deleted(person: Person) -> None:
    first = person.run(
        "look", "cart.py", "--session", "work", engine=person.script({"thinking": "Deep.", "text": "Seen."})
    )
    assert first.returncode == 0, first.stderr
    second = person.run("look again", "--session", "work", engine=person.script({"when": "look", "text": "Again."}))
    assert second.returncode == 0, second.stderr
    (session,) = listed(person)
    assert session["turns"] == 2
    exported = json.loads(sessions(person, "export", "work", "--format", "json").stdout)
    assert "Deep." in json.dumps(exported)
    assert sessions(person, "delete", "work").returncode == 0
    assert listed(person) == []
    gone = sessions(person, "show", "work")
    assert gone.returncode == 4
    assert "work" in gone.stderr
