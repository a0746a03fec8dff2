"""What happens to a turn when things go wrong around it: kills, a store in trouble, rivals, links, floods, clocks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import test_refactor
from stories import edit, project, said

from glm_lsp.conversations import Conversation, Conversations
from glm_lsp.engine.scripted import Reply, ScriptedEngine
from glm_lsp.errors import GlmError, StateError
from glm_lsp.settings import Settings
from glm_lsp.store import Compaction, Store
from glm_lsp.store.file import MIGRATIONS
from glm_lsp.terms import Ask, Ended, Event, Message, Proposed
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from glm_lsp.terms import Delta, Prompt

ROOT = Path(__file__).resolve().parent.parent


class Person(test_refactor.Person):
    """Someone at a shell whose runs can be killed with all that they started."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.environment["PYTHONPATH"] = str(ROOT)

    def command(self, *arguments: str, engine: str | None = None) -> list[str]:
        return [sys.executable, "-m", "glm_lsp", *super().command(*arguments, engine=engine)[1:]]

    def start(self, *arguments: str, engine: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments, "--output", "ndjson", engine=engine),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def named(self, name: str, *replies: dict[str, Any], **more: Any) -> str:
        """A script under a name of its own, beside others."""
        path = self.tmp / f"{name}.json"
        path.write_text(json.dumps({"replies": replies, **more}))
        return f"scripted:{path}"

    def shelf(self) -> Conversations:
        return Conversations.at(self.root, environment=self.environment)

    def tree(self) -> dict[str, bytes]:
        paths = (path for path in self.root.rglob("*") if path.is_file() and ".git" not in path.parts)
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def well_formed(messages: Sequence[Message]) -> None:
    """Every tool call has its one result right behind it, in order, and there are no other results."""
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert waiting, f"a result that nobody asked for: {message}"
            assert message.call_id in waiting, message
            waiting.remove(message.call_id)
        else:
            assert not waiting, f"calls without results before {message}"
            waiting = [call.id for call in message.tool_calls]
            assert len(set(waiting)) == len(waiting)
    assert not waiting, "calls without results at the end"


# --- kill -9 at every step of a turn -------------------------------------------------------------------------------


def called(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


STORY: list[dict[str, Any]] = [
    {"thinking": "I look first.", "calls": [called("read_file", file_path="b.py")]},
    {"thinking": "Now both.", "calls": [test_refactor.edit("b.py", "b = 1", "b = 2"), test_refactor.edit("cart.py")]},
    {"calls": [called("search", pattern="qty"), test_refactor.edit("b.py", "c = 1", "c = 2")]},
    {"thinking": "That was it.", "text": "Quantities are counted now."},
]
BEFORE = {"cart.py": test_refactor.CART.encode(), "b.py": b"b = 1\nc = 1\n"}
AFTER = {"cart.py": test_refactor.BETTER.encode(), "b.py": b"b = 2\nc = 2\n"}
GO_ON = (
    {"thinking": "Where was I?", "calls": [called("read_file", file_path="b.py")]},
    {"when": "b.py, lines 1 to 2", "text": "I see."},
)


def moments(kinds: list[str]) -> list[int]:
    """The first event of each kind, and every fourth one from the last."""
    first = {kind: number for number, kind in reversed(list(enumerate(kinds, 1)))}
    return sorted({*first.values(), *range(len(kinds), 0, -4)})


def test_a_kill_at_any_step_of_a_turn_loses_nothing_that_ended_and_applies_nothing_by_half(person: Person) -> None:
    project(person.root, b_py=BEFORE["b.py"])
    engine = person.named("story", *STORY, delay=0.01)
    resume = person.named("resume", *GO_ON)
    work = ("count quantities", "cart.py", "--apply", "--session")
    whole = person.run(*work, "whole", "--output", "ndjson", engine=engine)
    kinds = [json.loads(line)["event"] for line in whole.stdout.splitlines()]
    assert person.tree() == AFTER
    assert {"thinking-added", "tool-called", "tool-returned", "hunk-closed", "proposed", "ended"} <= set(kinds)
    outcomes = []
    for moment in moments(kinds):
        for path, content in BEFORE.items():
            (person.root / path).write_bytes(content)
        name = f"killed-{moment}"
        process = person.start(*work, name, engine=engine)
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline())["event"] for _ in range(moment)]
        kill(process)
        assert seen == kinds[:moment]

        resumed = person.run("go on", "--session", name, engine=resume)
        assert (resumed.returncode, resumed.stderr) == (0, ""), "the claim is free, and the workspace opens"
        tree = person.tree()
        assert tree in (BEFORE, AFTER), (moment, seen[-1], tree)
        outcomes.append(tree == AFTER)
        messages = person.shelf().open(name).messages
        well_formed(messages)
        assert messages[-1].text == "I see."
        asked = [n for n, message in enumerate(messages) if message.role == "user"][-1]
        earlier = messages[:asked]
        # The turn goes on behind an event only when what it tells of is kept.
        results = [message for message in earlier if message.role == "tool" and "Not carried out" not in message.text]
        assert len(results) >= seen[:-1].count("tool-returned")
        if "ended" in seen:
            assert earlier[-1].text == "Quantities are counted now."
            assert [m.thinking for m in earlier if m.role == "assistant"] == [r.get("thinking", "") for r in STORY]
    assert outcomes[0] is False


FILES = 150


def phase(person: Person, old: dict[str, bytes], runs: int) -> str:
    """How far an apply that is standing still has come, from the outside."""
    now = person.tree()
    journal = [p for p in (person.tmp / "state" / "journal").glob("*/*-*") if not p.name.startswith(("new-", "dead-"))]
    changed = sum(now.get(path) != content for path, content in old.items())
    if len(journal) == runs:
        return "before"
    if any((run / "committed").exists() for run in journal if run.name.startswith(f"{runs + 1:04d}-")):
        return "committed"
    if changed:
        return "some files" if changed < FILES else "all files"
    return "staged" if any(".glm-lsp-" in path for path in now) else "journalled"


def stopped_at(process: subprocess.Popen[bytes], wanted: str, look: Callable[[], str]) -> bool:
    """Lets a process run a millisecond at a time until it is in the wanted phase; False where that was passed over."""
    order = ["before", "journalled", "staged", "some files", "all files", "committed"]
    running = psutil.Process(process.pid)
    while True:
        os.killpg(process.pid, signal.SIGSTOP)
        while running.status() != psutil.STATUS_STOPPED:
            if running.status() == psutil.STATUS_ZOMBIE:
                return False
        found = look()
        if found == wanted:
            return True
        if order.index(found) > order.index(wanted):
            return False
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.001)


@pytest.mark.parametrize("wanted", ["journalled", "staged", "some files", "committed"])
def test_a_kill_while_files_are_written_leaves_all_old_or_all_new(person: Person, wanted: str) -> None:
    (person.root / "cart.py").unlink()
    old = {f"f{n:03}.txt": f"old {n}\n".encode() for n in range(FILES)}
    new = {path: content.replace(b"old", b"new") for path, content in old.items()}
    edits = [
        test_refactor.edit(path, content.decode().strip(), new[path].decode().strip()) for path, content in old.items()
    ]
    engine = person.named("many", {"calls": edits}, {"text": "All of them."})
    for _ in range(10):  # the scheduler may run past the moment, though not ten times
        for path, content in old.items():
            (person.root / path).write_bytes(content)
        runs = len(list((person.tmp / "state" / "journal").glob("*/*-*")))
        process = person.start("renew", *old, "--apply", "--session", f"s{runs}", engine=engine)
        assert process.stdout is not None
        while b'"event":"ended"' not in process.stdout.readline():
            assert process.poll() is None
        there = stopped_at(process, wanted, lambda runs=runs: phase(person, old, runs))
        kill(process)
        done = person.run("look", "--session", f"s{runs}", engine=person.named("look", {"text": "I see."}))
        assert done.returncode == 0, done.stderr
        assert person.tree() in (old, new)
        if there:
            assert person.tree() == (new if wanted == "committed" else old)
            assert ("Took back a run that was killed" in done.stdout) is (wanted != "committed")
            messages = person.shelf().open(f"s{runs}").messages
            well_formed(messages)
            assert [m.text for m in messages if m.role == "assistant"] == ["", "All of them.", "I see."]
            return
    pytest.fail(f"it never stood still with {wanted}")


# --- the store in trouble while a turn runs ------------------------------------------------------------------------


class Mishap(ScriptedEngine):
    """A model during whose given request, from 0, something happens to the world."""

    def __init__(self, replies: Sequence[Reply], request: int, happen: Callable[[], Any]) -> None:
        super().__init__(replies)
        self.request, self.happen = request, happen

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        if len(self.prompts) == self.request:
            self.happen()
        async with aclosing(super().stream(prompt)) as deltas:
            async for delta in deltas:
                yield delta


WORK = (
    said(thinking="I look first.", calls=[("read_file", {"file_path": "b.py"})]),
    said(thinking="Now both.", calls=[edit("b.py", "b = 1", "b = 2"), edit("cart.py", "return 1", "return 2")]),
    said("It counts now.", thinking="That was it."),
)
SAID = ["", "", "It counts now."]
REQUESTS = range(len(WORK))


class Desk:
    """A workspace and its shelf in this process."""

    def __init__(self, base: Path, *, busy: float = 5.0) -> None:
        self.root = project(base / "work", cart_py="def total():\n    return 1\n", b_py="b = 1\n")
        self.base = base
        name = Conversations.at(self.root, environment=self.environment).store.file.path
        self.shelf = Conversations(Store.open(name, busy=busy))
        self.workspace = Workspace.open(self.root, Settings())

    @property
    def environment(self) -> dict[str, str]:
        return {"GLM_LSP_STATE_DIR": str(self.base / "state")}

    @property
    def path(self) -> Path:
        return self.shelf.store.file.path

    def fresh(self) -> Conversations:
        """The shelf as another process would open it."""
        return Conversations.at(self.root, environment=self.environment)

    async def turn(
        self, conversation: Conversation, engine: ScriptedEngine, paths: tuple[str, ...] = ("cart.py",)
    ) -> list[Event]:
        with self.shelf.claim(conversation, catch_up=True):
            turn = self.workspace.turn(
                Ask("refactor", "Count.", paths), engine, conversation=conversation, draft=self.workspace.draft()
            )
            events = [event async for event in turn.run()]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [type(event.what) for event in events].count(Ended) == 1
        assert isinstance(events[-1].what, Ended)
        return events

    async def goes_on(self, conversation: Conversation) -> None:
        """Another turn, in this process and then after a restart, finds everything in order."""
        for restarted in (False, True):
            again = self.fresh().open(conversation.id) if restarted else conversation
            events = await self.turn(again, ScriptedEngine([said("I see.")]), ())
            assert ended(events).reason == "done", ended(events)
            assert self.fresh().open(conversation.id).messages == again.messages
            well_formed(again.messages)


def ended(events: list[Event]) -> Ended:
    assert isinstance(events[-1].what, Ended)
    return events[-1].what


def spoken(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages if message.role == "assistant"]


def remove_file(path: Path) -> None:
    path.unlink()


def remove_all(path: Path) -> None:
    for one in path.parent.iterdir():
        one.unlink()
    path.parent.rmdir()


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def noise(path: Path) -> None:
    for one in (path, Path(f"{path}-wal")):
        if one.exists():
            one.write_bytes(random.Random(1).randbytes(20_000))


def cut(path: Path) -> None:
    for one in (path, Path(f"{path}-wal")):
        if one.exists():
            os.truncate(one, 1000)


def another_program(path: Path) -> None:
    remove_all(path)
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")


TROUBLE = [remove_file, remove_all, remove_log, noise, cut, another_program]
IN_PLACE = [noise, cut]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_store_that_goes_away_during_a_turn_does_not_disturb_it(
    tmp_path: Path, trouble: Callable[[Path], None], request_: int
) -> None:
    desk = Desk(tmp_path)
    conversation = desk.shelf.create("mine")

    def happen() -> None:
        if trouble in IN_PLACE:
            desk.shelf.store.file.close()  # pages that are held in memory would hide the damage from us
        trouble(desk.path)

    events = await desk.turn(conversation, Mishap(WORK, request_, happen))
    assert ended(events).reason == "done", ended(events)
    assert [type(event.what) for event in events].count(Proposed) == 1
    assert spoken(conversation.messages) == SAID
    assert desk.fresh().open("mine").messages == conversation.messages
    await desk.goes_on(conversation)


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: trouble.__name__)
async def test_a_store_that_goes_away_between_two_turns_does_not_end_the_conversation(
    tmp_path: Path, trouble: Callable[[Path], None]
) -> None:
    desk = Desk(tmp_path)
    conversation = desk.shelf.create("mine")
    await desk.turn(conversation, ScriptedEngine(WORK))
    if trouble in IN_PLACE:
        desk.shelf.store.file.close()
    trouble(desk.path)
    await desk.goes_on(conversation)
    assert spoken(desk.fresh().open("mine").messages) == [*SAID, "I see.", "I see."]


@pytest.mark.parametrize("trouble", IN_PLACE, ids=lambda trouble: trouble.__name__)
async def test_damage_under_an_open_file_ends_in_words_at_worst_and_in_a_file_that_can_be_used(
    tmp_path: Path, trouble: Callable[[Path], None]
) -> None:
    desk = Desk(tmp_path)
    conversation = desk.shelf.create("mine")
    events = await desk.turn(conversation, Mishap(WORK, 1, lambda: trouble(desk.path)))
    assert ended(events).reason == "done" or ended(events).code in {"state-error", "conflict"}
    desk.shelf.store.file.close()
    fresh = desk.fresh()
    assert fresh.notes or fresh.open("mine").messages == conversation.messages
    await desk.goes_on(fresh.create())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Callable[[], None]]:
    """Another program that can be made to write and not to end."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        yield lambda: db.execute("BEGIN IMMEDIATE") and None


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_store_locked_for_too_long_ends_the_turn_in_words_and_the_next_one_goes_on(
    tmp_path: Path, request_: int
) -> None:
    desk = Desk(tmp_path, busy=0.1)
    conversation = desk.shelf.create("mine")
    with writing(desk.path) as lock:
        events = await desk.turn(conversation, Mishap(WORK, request_, lock))
        assert (ended(events).reason, ended(events).code) == ("error", "state-error")
        assert "Another glm-lsp is writing" in ended(events).error
        assert ended(events).hint
    assert desk.fresh().open("mine").messages == conversation.messages
    await desk.goes_on(conversation)


async def test_a_store_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    conversation = desk.shelf.create("mine")
    with contextlib.closing(sqlite3.connect(desk.path, isolation_level=None, check_same_thread=False)) as other:
        ending = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
        events = await desk.turn(
            conversation, Mishap(WORK, 1, lambda: (other.execute("BEGIN IMMEDIATE"), ending.start()))
        )
        ending.join()
    assert ended(events).reason == "done"
    assert desk.fresh().open("mine").messages == conversation.messages


async def test_a_claim_that_could_not_be_let_go_of_keeps_its_own_process_out_no_longer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, busy=0.1)
    conversation = desk.shelf.create("mine")
    with writing(desk.path) as lock, desk.shelf.claim(conversation):
        lock()
    await desk.goes_on(conversation)


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_newer_release_that_takes_the_store_over_during_a_turn_is_not_written_to(
    tmp_path: Path, request_: int
) -> None:
    desk = Desk(tmp_path)
    conversation = desk.shelf.create("mine")

    def migrate() -> None:
        with contextlib.closing(sqlite3.connect(desk.path)) as db:
            db.execute("ALTER TABLE messages RENAME TO sayings")
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")

    events = await desk.turn(conversation, Mishap(WORK, request_, migrate))
    assert (ended(events).reason, ended(events).code) == ("error", "state-error")
    assert "newer glm-lsp" in ended(events).error
    assert "Update" in ended(events).hint
    assert not list(desk.path.parent.glob("*.damaged-*"))
    with contextlib.closing(sqlite3.connect(desk.path)) as db:
        assert db.execute("SELECT count(*) FROM sayings").fetchone()[0] == len(conversation.messages)
    with pytest.raises(StateError, match="newer glm-lsp"), desk.shelf.claim(conversation):
        pytest.fail("it belongs to the newer release")


FULL_DISK = """
import resource, sys
from glm_lsp.cli import run
resource.setrlimit(resource.RLIMIT_FSIZE, (160_000, 160_000))  # a limit that needs no rights; it ends writes half-way
sys.exit(run(sys.argv[1:]))
"""


def test_a_disk_that_fills_up_during_a_turn_ends_it_in_words_and_the_next_one_goes_on(person: Person) -> None:
    project(person.root, long_txt="".join(f"line {n} of many, and more of it\n" for n in range(3_000)))
    reads = [{"calls": [called("read_file", file_path="long.txt", start_line=n)]} for n in range(1, 2_000, 200)]
    engine = person.named("long", *reads, {"text": "Read."})
    command = person.command("read", "cart.py", "--session", "long", "--output", "ndjson", engine=engine)
    full = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *command[3:]],
        cwd=person.root,
        env=person.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    events = [json.loads(line) for line in full.stdout.splitlines()]
    assert [event["event"] for event in events].count("ended") == 1
    assert (events[-1]["reason"], events[-1]["code"]) == ("error", "state-error")
    assert "cannot be kept" in events[-1]["error"]
    assert events[-1]["hint"]
    assert full.returncode == 3
    assert "Traceback" not in full.stderr
    kept = person.shelf().open("long").messages
    results = [event for event in events if event["event"] == "tool-returned"]
    assert 0 < len(results) < len(reads)
    assert [m.text for m in kept if m.role == "tool"] == [event["result"] for event in results][: len(kept)][
        : sum(m.role == "tool" for m in kept)
    ]
    assert sum(m.role == "tool" for m in kept) >= len(results) - 1
    again = person.run("go on", "--session", "long", engine=person.named("more", {"text": "I see."}))
    assert again.returncode == 0, again.stderr
    well_formed(person.shelf().open("long").messages)


# --- two at once ---------------------------------------------------------------------------------------------------


def test_of_two_runs_in_one_session_the_second_is_refused_in_words_and_may_come_again(person: Person) -> None:
    slow = person.named("slow", {"thinking": "I think at length.", "text": "First."}, chop=1, delay=0.05)
    quick = person.named("quick", {"text": "Second."})
    first = person.start("look", "cart.py", "--session", "one", engine=slow)
    assert first.stdout is not None
    first.stdout.readline()
    second = person.run("look too", "--session", "one", engine=quick)
    assert second.returncode == 3
    assert f"process {first.pid}" in second.stderr
    assert "Wait for it to end" in second.stderr
    assert "Traceback" not in second.stderr
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert person.run("look too", "--session", "one", engine=quick).returncode == 0
    messages = person.shelf().open("one").messages
    well_formed(messages)
    assert spoken(messages) == ["First.", "Second."]


def test_two_that_begin_a_session_of_one_name_at_once_share_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for number in range(20):
        ready, found = threading.Barrier(2), []

        def begin(name: str = f"s{number}", ready: threading.Barrier = ready, found: list[str] = found) -> None:
            shelf = desk.fresh()
            ready.wait()
            found.append(shelf.named(name).id)

        threads = [threading.Thread(target=begin) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 2
        assert found[0] == found[1] == desk.shelf.named(f"s{number}").id


MANY_TURNS = """
import asyncio, sys
from pathlib import Path
from stories import edit, said
from test_faults import Desk, ended
from glm_lsp.engine.scripted import ScriptedEngine
from glm_lsp.terms import Proposed

async def main(base, name):
    desk = Desk(base)
    conversation = desk.shelf.create(name)
    for n in range(20):
        replies = [
            said(thinking=f"{name} {n}", calls=[("read_file", {"file_path": f"{name}.py"})]),
            said(calls=[edit(f"{name}.py", f"x = {n}", f"x = {n + 1}")]),
            said(f"{name} {n} done"),
        ]
        events = await desk.turn(conversation, ScriptedEngine(replies), ())
        assert ended(events).reason == "done", ended(events)
        (proposal,) = [e.what.proposal for e in events if isinstance(e.what, Proposed)]
        desk.workspace.accept(proposal, label=f"{name} {n}")

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def test_two_processes_take_twenty_turns_each_in_one_workspace(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    project(desk.root, left_py="x = 0\n", right_py="x = 0\n")
    environment = {**os.environ, **desk.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", MANY_TURNS, tmp_path, name], env=environment, stderr=subprocess.PIPE, text=True
        )
        for name in ("left", "right")
    ]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    for name in ("left", "right"):
        assert (desk.root / f"{name}.py").read_text() == "x = 20\n"
        messages = desk.shelf.open(name).messages
        well_formed(messages)
        assert [text for text in spoken(messages) if text] == [f"{name} {n} done" for n in range(20)]
    assert {entry.turns for entry in desk.shelf.list()} == {20}


# --- a link swapped in between check and use -----------------------------------------------------------------------


@contextlib.contextmanager
def swapping(place: Path, target: Path) -> Iterator[None]:
    """All the while, `place` is by turns what it was and a link to `target`."""
    aside, ended = place.with_name(place.name + ".aside"), threading.Event()
    dice = random.Random(3)

    def clear() -> None:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)  # made anew for a new file while there was nothing
        else:
            place.unlink(missing_ok=True)

    def swap() -> None:
        while not ended.is_set():
            place.rename(aside)
            with contextlib.suppress(FileExistsError):
                place.symlink_to(target)
            time.sleep(0.0002)
            while aside.exists():
                with contextlib.suppress(OSError):
                    clear()
                    aside.rename(place)
            time.sleep(dice.uniform(0, 0.01))  # at times long enough for the whole turn, at times for one step

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("victim", ["src", "src/a.py"], ids=["a folder", "a file"])
async def test_a_link_that_comes_and_goes_shows_nothing_from_outside_and_nothing_is_written_there(
    tmp_path: Path, victim: str
) -> None:
    desk = Desk(tmp_path)
    project(desk.root, src__a_py="value = 0\n")
    outside = project(tmp_path / "outside", a_py="value = 0\nSECRET = 'zebra'\n")
    listing = desk.workspace.listing
    assert "src/a.py" in Workspace.open(desk.root, Settings()).listing.paths
    target = outside if victim == "src" else outside / "a.py"
    codes: dict[str, int] = {}
    shown = applied = 0
    began = time.monotonic()
    with swapping(desk.root / victim, target):
        while time.monotonic() < began + 30:
            if time.monotonic() > began + 1.5 and shown and applied and codes.keys() - {""}:
                break
            replies = [
                said(calls=[("read_file", {"file_path": "src/a.py"}), ("search", {"pattern": "value|SECRET"})]),
                said(
                    calls=[
                        edit("src/a.py", "value = 0", "value = 1"),
                        ("write_file", {"file_path": "src/b.py", "content": "b = 1\n"}),
                    ]
                ),
                said("Done."),
            ]
            conversation = Conversation()
            workspace = Workspace(desk.root, Settings(), listing, desk.workspace.journal)
            draft = workspace.draft()
            turn = workspace.turn(
                Ask("refactor", "Count.", ("src/a.py",)),
                ScriptedEngine(replies),
                conversation=conversation,
                draft=draft,
            )
            with contextlib.suppress(GlmError):
                events = [event async for event in turn.run()]
                codes[ended(events).code] = codes.get(ended(events).code, 0) + 1
                assert ended(events).code != "defect", ended(events)
                assert "zebra" not in str(events) + str(conversation.messages)
                shown += any("value = 0" in message.text for message in conversation.messages)
                for event in events:
                    if isinstance(event.what, Proposed):
                        workspace.accept(event.what.proposal, label="x")
                        applied += 1
                        workspace.undo()
            assert (outside / "a.py").read_text() == "value = 0\nSECRET = 'zebra'\n"
            assert [path.name for path in outside.iterdir()] == ["a.py"]
    assert shown, "at times the file is there"
    assert codes.keys() - {""}, "and at times the link is in the way"
    assert applied, codes


# --- a flood -------------------------------------------------------------------------------------------------------

FLOOD = r"""
import asyncio, resource, sys
from pathlib import Path
from stories import edit, said
from test_faults import Desk, ended
from glm_lsp.conversations import Conversation
from glm_lsp.engine.scripted import ScriptedEngine
from glm_lsp.terms import Ask, ToolReturned

SIZE = 100_000_000
CALLS = [
    ("read_file", {"file_path": "big.txt"}),
    ("read_file", {"file_path": "big.txt", "start_line": 5, "end_line": 6}),
    ("search", {"pattern": "line"}),
    ("search", {"pattern": "(?<=i)ne"}),
    ("find_symbol", {"name": "line"}),
    ("find_references", {"name": "line"}),
    ("list_files", {}),
    ("edit_file", {"file_path": "big.txt", "old_string": "line", "new_string": "x"}),
    ("write_file", {"file_path": "big.txt", "content": "x"}),
    ("run_command", {"command": "cat big.txt"}),
    ("read_file", {"file_path": "grown.txt"}),
    ("edit_file", {"file_path": "grown.txt", "old_string": "line", "new_string": "x"}),
    ("search", {"pattern": "line"}),
    ("run_command", {"command": "cat grown.txt >&2"}),
]

def fill(path):
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"line of a hundred million\n" * (SIZE // 2700))

async def play(desk, paths):
    async def yes(asked):
        return True
    grown = desk.root / "grown.txt"
    grown.write_text("line\n")
    engine = ScriptedEngine([
        said(calls=[("read_file", {"file_path": "grown.txt"})]), *(said(calls=[call]) for call in CALLS), said("Done.")
    ])
    conversation = desk.shelf.create()
    turn = desk.workspace.turn(
        Ask("refactor", "Look.", paths), engine, conversation=conversation, draft=desk.workspace.draft()
    )
    turn.permit = yes
    events = []
    async for event in turn.run():
        events.append(event)
        if isinstance(event.what, ToolReturned) and len(paths) == 2 and len(events) < 12:
            fill(grown)
    return events, conversation

async def main(base):
    desk = Desk(base)
    await play(desk, ())
    fill(desk.root / "big.txt")
    desk = Desk(base)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    events, conversation = await play(desk, ("cart.py", "big.txt"))
    assert (desk.root / "grown.txt").stat().st_size > 90_000_000
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = [e.what for e in events if isinstance(e.what, ToolReturned)]
    print(ended(events).reason, len(results), max(len(r.result) for r in results), (after - before) // 1024)
    print(max(len(m.text) for m in conversation.messages))

asyncio.run(main(Path(sys.argv[1])))
"""


def child(base: Path, code: str, *arguments: str, first: str = "", **more: Any) -> str:
    """What a program of this file's and the product's prints."""
    path = os.pathsep.join(filter(None, (first, str(ROOT), str(ROOT / "tests"))))
    environment = {**os.environ, "GLM_LSP_STATE_DIR": str(base / "state"), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code, base, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hundred_megabytes_neither_fill_the_memory_nor_a_result(tmp_path: Path) -> None:
    try:
        turn, message = child(tmp_path, FLOOD).splitlines()
    finally:
        for path in (tmp_path / "work").glob("*.txt"):
            path.unlink()
    reason, results, longest, megabytes = turn.split()
    assert (reason, int(results)) == ("done", 15)
    assert int(longest) < 50_000
    assert int(message) < 50_000
    assert int(megabytes) < 50


# --- a clock that goes backwards -----------------------------------------------------------------------------------

CLOCK = """
import os, time
real = time.time
def shifted():
    try:
        with open(os.environ["CLOCK_OFFSET"]) as file:
            return real() + float(file.read() or 0)
    except (OSError, KeyError, ValueError):
        return real()
time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
"""
"""Stands in for a system clock that is set while programs run: Python's own clock is shifted by what a file says."""

HOUR, DAY = 3600.0, 86_400.0


class Clock:
    """The clock of the programs that a test starts, and of no others."""

    def __init__(self, person: Person) -> None:
        folder = person.tmp / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(CLOCK)
        self.offset = folder / "offset"
        self.set(0)
        person.environment["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
        person.environment["CLOCK_OFFSET"] = str(self.offset)

    def set(self, seconds: float) -> None:
        fresh = self.offset.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self.offset)


@pytest.fixture
def clock(person: Person) -> Clock:
    return Clock(person)


@pytest.mark.parametrize("jump", [-2 * HOUR, -400 * DAY], ids=["two hours", "a year"])
def test_a_turn_goes_on_while_the_clock_goes_back_and_nobody_else_gets_in(
    person: Person, clock: Clock, jump: float
) -> None:
    project(person.root, b_py=BEFORE["b.py"])
    quick = person.named("quick", {"text": "Second."})
    first = person.start(
        "count quantities",
        "cart.py",
        "--apply",
        "--session",
        "one",
        engine=person.named("story", *STORY, chop=10, delay=0.03),
    )
    assert first.stdout is not None
    lines = [first.stdout.readline()]
    clock.set(jump)
    second = person.run("look too", "--session", "one", engine=quick)
    assert second.returncode == 3
    assert "Another turn is under way" in second.stderr
    rest, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    events = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    times = [event["at"] for event in events]
    assert times == sorted(times), "a turn's own time does not hang on the clock"
    assert events[-1]["reason"] == "done"
    assert 0 <= events[-1]["seconds"] < 60
    assert person.tree() == AFTER
    third = person.run("look too", "--session", "one", engine=quick)
    assert third.returncode == 0, third.stderr
    messages = person.shelf().open("one").messages
    well_formed(messages)
    assert spoken(messages)[-2:] == ["Quantities are counted now.", "Second."]


def test_a_killed_turns_claim_is_free_although_the_clock_went_back(person: Person, clock: Clock) -> None:
    first = person.start(
        "look", "cart.py", "--session", "one", engine=person.named("slow", {"text": "First."}, chop=1, delay=1)
    )
    assert first.stdout is not None
    first.stdout.readline()
    kill(first)
    clock.set(-DAY)
    done = person.run("look too", "--session", "one", engine=person.named("quick", {"text": "Second."}))
    assert done.returncode == 0, done.stderr


def test_with_the_clock_back_the_last_run_is_still_the_first_to_be_undone(person: Person, clock: Clock) -> None:
    for number, content in enumerate([test_refactor.BETTER, test_refactor.BETTER.replace("qty", "count")]):
        clock.set(-number * DAY)
        before = person.read()
        change = test_refactor.edit("cart.py", before.splitlines()[1], content.splitlines()[1])
        done = person.run(
            f"change {number}", "cart.py", "--apply", engine=person.named("s", {"calls": [change]}, {"text": "Done."})
        )
        assert done.returncode == 0, done.stderr
    assert person.glm("undo").returncode == 0
    assert person.read() == test_refactor.BETTER
    assert person.glm("undo").returncode == 0
    assert person.read() == test_refactor.CART


def test_with_the_clock_back_nothing_is_purged_that_is_younger_than_asked(person: Person, clock: Clock) -> None:
    engine = person.named("quick", *[{"text": "Seen."}] * 2)
    assert person.run("look", "cart.py", "--session", "old", engine=engine).returncode == 0
    clock.set(-10 * DAY)
    assert person.run("look", "cart.py", "--session", "older", engine=engine).returncode == 0
    sessions = [sys.executable, "-m", "glm_lsp", "sessions"]

    def purged(days: int) -> str:
        done = subprocess.run(
            [*sessions, "purge", "--older-than", str(days)],
            cwd=person.root,
            env=person.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "Deleted 0" in purged(1)
    clock.set(-5 * DAY)
    assert "Deleted 0" in purged(6)
    assert "Deleted 1" in purged(4)
    assert [entry.name for entry in person.shelf().list()] == ["old"]
    clock.set(2 * DAY)
    assert "Deleted 1" in purged(1)


def test_with_the_clock_back_the_last_compaction_is_still_the_one_that_counts(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    conversation = desk.shelf.create("mine")
    now = time.time()
    for number, at in enumerate([now, now - DAY, now - DAY]):
        conversation.append(Message("user", f"message {number}"))
        opening = (Message("user", f"in short {number}"),)
        conversation.compact(Compaction(number + 1, opening, 0, "", 100, 50, at))
    for again in (desk.fresh().open("mine"), desk.fresh().open(desk.fresh().fork("mine").id)):
        assert again.shown == conversation.shown == (Message("user", "in short 2"),)
