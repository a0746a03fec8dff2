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
    from collections.abc import Iterator
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
        time.sleep(0.2)
        os.write(self.primary, f"{line}\r".encode())

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
    again.until("1 messages so far")
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
