"""An index under which the disk, the files, the workers or other processes misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from indexes import built, commit, everything, opened, repository
from msgspec.structs import replace
from stories import project

from glm_lsp.index.extract import Job, blob_id
from glm_lsp.index.kinds import LARGEST
from glm_lsp.index.postings import Postings
from glm_lsp.index.workers import Done, Workers
from glm_lsp.store.index_file import IndexFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = {"total", "add_up", "Cart"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(
        tmp_path / "w", cart_py="class Cart:\n    def total(self):\n        return add_up(self)\n", b_md="# add_up\n"
    )


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As an ordinary person: to the administrator, permissions mean nothing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def database(state: Path) -> Path:
    (found,) = state.glob("index/*/index.sqlite")
    return found


# --- the file ------------------------------------------------------------------------------------------------------


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database at all, and long enough to be looked at" * 100)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def scrambled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2000:] = os.urandom(len(data) - 2000)
    path.write_bytes(data)


def another_program(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")


def without_a_table(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE files")


DAMAGES = (overwritten, cut_off, scrambled, another_program, without_a_table)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_set_aside_and_built_again(
    damage: Callable[[Path], None], root: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with built(root, state) as index:
        whole = everything(index, NAMES)
    damage(database(state))
    with built(root, state) as index:
        assert everything(index, NAMES) == whole
        assert any("damaged" in note and "set aside" in note for note in index.notes)
        assert not index.status.in_memory
    assert database(state).with_name("damaged.sqlite").exists()
    with built(root, state) as index:
        assert index.notes == ()
        assert everything(index, NAMES) == whole


def test_damage_that_shows_while_it_is_used_is_mended_too(root: Path, tmp_path: Path) -> None:
    for number in range(300):
        (root / f"f{number}.py").write_text("".join(f"def f_{number}_{n}():\n    pass\n\n\n" for n in range(30)))
    state = tmp_path / "state"
    with built(root, state) as index:
        whole = everything(index, NAMES)
    path = database(state)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    path.write_bytes(data)
    with opened(root, state) as index:
        index.start()
        assert index.wait(1, 60)
        for number in range(300):  # sooner or later one meets the damage
            index.symbols(f"f_{number}_3")
            index.outline(f"f{number}.py")
        index.refresh()
        assert index.wait(1, 60)
        assert [found.path for found in index.symbols("f_299_29")] == ["f299.py"]
        assert everything(index, NAMES) == whole
        assert any("damaged" in note for note in index.notes)


def test_damaged_word_lists_are_made_anew(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with built(root, state) as index:
        whole = everything(index, NAMES)
    for path in state.glob("index/*/words-*/*"):
        path.write_bytes(b"nothing of use")
    with built(root, state) as index:
        assert everything(index, NAMES) == whole


def test_words_that_did_not_reach_the_disk_are_read_again(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    repository(root)
    commit(root)
    with built(root, state) as index:
        whole = everything(index, NAMES)
    for folder in state.glob("index/*/words-*"):
        shutil.rmtree(folder)
    with built(root, state) as index:
        assert everything(index, NAMES) == whole


@pytest.mark.parametrize("how", ["gone", "spoiled"])
def test_word_lists_that_are_lost_before_they_are_opened_are_made_anew(how: str, root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    repository(root)
    commit(root)
    with built(root, state) as index:
        whole = everything(index, NAMES)
    with built(root, state) as index:
        assert index._postings is None  # a start without changes asks for no list
        for folder in state.glob("index/*/words-*"):
            if how == "gone":
                shutil.rmtree(folder)
            else:
                next(folder.glob("*.words")).write_bytes(b"nothing of use")
        assert len(index.postings) == 0
        assert not index.wait(0, 0)  # another look was asked for
        index.build()
        assert everything(index, NAMES) == whole


def test_a_start_without_changes_does_not_load_numpy(root: Path, tmp_path: Path) -> None:
    repository(root)
    commit(root)
    with built(root, tmp_path / "state"):
        pass
    script = (
        "import sys; from pathlib import Path; from glm_lsp.index.index import Index;"
        "from glm_lsp.settings import IndexSettings;"
        "index = Index.open(Path(sys.argv[1]), IndexSettings(), state=Path(sys.argv[2]));"
        "index.build(); assert index.status.tier0; index.close(); print('numpy' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(root), str(tmp_path / "state")], capture_output=True, text=True, check=True
    ).stdout
    assert told == "False\n"


def test_rows_whose_columns_are_nonsense_are_damage(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with built(root, state) as index:
        whole = everything(index, NAMES)
    with contextlib.closing(sqlite3.connect(database(state), isolation_level=None)) as db:
        db.execute("UPDATE files SET size = 'much' WHERE path = (SELECT min(path) FROM files)")
    with built(root, state) as index:
        assert everything(index, NAMES) == whole
        assert any("damaged" in note for note in index.notes)


def test_a_file_of_a_newer_release_is_left_as_it_is(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with built(root, state):
        pass
    with contextlib.closing(sqlite3.connect(database(state), isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 99")
    before = database(state).read_bytes()
    with built(root, state) as index:
        assert [found.path for found in index.symbols("total")] == ["cart.py"]
        assert index.status.in_memory
        assert any("newer glm-lsp" in note for note in index.notes)
    assert database(state).read_bytes() == before


def test_rows_of_another_release_are_made_anew(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    one = IndexFile.open(folder, "one")
    token = one.token
    one.close()
    same = IndexFile.open(folder, "one")
    assert same.token == token
    same.close()
    other = IndexFile.open(folder, "other")
    assert other.token != token
    assert other.notes == []
    other.close()


@pytest.mark.parametrize("what", ["read-only", "a file in its place"])
def test_where_nothing_can_be_kept_it_is_in_memory_and_says_so(what: str) -> None:
    folder = Path(tempfile.mkdtemp())
    root = project(folder / "w", a_py="def total(): pass\n")
    state = folder / "state"
    if what == "read-only":
        state.mkdir()
        state.chmod(0o555)
    else:
        state.write_text("")
    folder.chmod(0o755)
    try:
        with without_rights(), built(root, state) as index:
            assert isinstance(index.postings, Postings)  # imported while Python's own files may be read
            assert index.files_with(["total"]) == ["a.py"]
            assert index.status.in_memory
            (note,) = (note for note in index.notes if "in memory only" in note)
            assert str(state) in note
    finally:
        state.chmod(0o755)
        shutil.rmtree(folder)


def test_a_disk_that_fills_up_leaves_an_index_in_memory(root: Path, tmp_path: Path) -> None:
    """The limit on the size of files is what a full disk is: a write that fails in the middle."""
    for number in range(200):
        (root / f"f{number}.py").write_text("".join(f"def f_{number}_{n}():\n    pass\n\n\n" for n in range(40)))
    script = """
import json, resource, signal, sys
from pathlib import Path
from glm_lsp.index.index import Index
from glm_lsp.settings import IndexSettings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
index = Index.open(Path(sys.argv[1]), IndexSettings(), state=Path(sys.argv[2]))
index.build()
found = [one.path for one in index.symbols("f_199_39")]
print(json.dumps([found, index.status.in_memory, list(index.notes), len(index.files_with(["f_7_7"]))]))
index.close()
"""
    command = [sys.executable, "-c", script, str(root), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    found, in_memory, notes, number = json.loads(done.stdout)
    assert found == ["f199.py"]
    assert in_memory
    assert number == 1
    assert any("in memory only" in note for note in notes)
    assert "Traceback" not in done.stderr


# --- other processes -----------------------------------------------------------------------------------------------


def test_a_second_process_reads_what_the_first_writes_and_takes_over_from_it(root: Path, tmp_path: Path) -> None:
    with opened(root, tmp_path / "state") as second, built(root, tmp_path / "state") as first:
        assert second.status.writer
        assert not first.status.writer, "it came later"
        second.start()
        assert second.wait(1, 60)
        until(lambda: first.symbols("total"))
        first.start()
        (root / "new.py").write_text("def fresh(): pass\n")
        second.refresh(["new.py"])
        until(lambda: first.symbols("fresh") and first.content_of("new.py") and first.references("add_up"))
        assert first.files_with(["fresh"]) is None, "it cannot know what is not yet read"
        assert first.outline("new.py") == second.outline("new.py")
        second.close()
        until(lambda: first.status.writer)
        (root / "newer.py").write_text("def fresher(): pass\n")
        first.refresh(["newer.py"])
        until(lambda: first.symbols("fresher"))
        assert first.notes == ()


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_a_killed_process_leaves_an_index_that_goes_on(root: Path, tmp_path: Path) -> None:
    for number in range(400):
        (root / f"f{number}.py").write_text("".join(f"def f_{number}_{n}():\n    pass\n\n\n" for n in range(20)))
    script = (
        "import sys, time; from pathlib import Path; from glm_lsp.index.index import Index;"
        "from glm_lsp.settings import IndexSettings;"
        "i = Index.open(Path(sys.argv[1]), IndexSettings(), state=Path(sys.argv[2])); i.start();"
        "[time.sleep(0.005) for _ in iter(lambda: i.status.tier0 > 100, True)]; print('now', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.wait()
    process.stdout.close()
    with built(root, tmp_path / "state") as index, built(root, tmp_path / "fresh") as fresh:
        assert everything(index, NAMES | {"f_399_19"}) == everything(fresh, NAMES | {"f_399_19"})
        assert index.notes == ()


# --- workers -------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_replaced_and_its_files_are_done_again(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    paths = tuple(f"f{number}.py".encode() for number in range(60))
    for path in paths:
        (root / os.fsdecode(path)).write_text("".join(f"def f{n}(): pass\n" for n in range(4000)))
    ends: queue.SimpleQueue[Done] = queue.SimpleQueue()
    workers = Workers(1, ends.put)
    try:
        workers.submit(Job(0, os.fsencode(root), paths))
        until(lambda: workers.pids)
        (killed,) = workers.pids
        os.kill(killed, signal.SIGKILL)
        done: dict[bytes, str] = {}
        while True:
            end = ends.get(timeout=60)
            assert end.reply is not None or not end.job.paths or end.last
            if end.reply is not None:
                done.update(zip(end.job.paths, (word.why for word in end.reply.words), strict=True))
            if end.last:
                break
        if done:  # it was killed at work; before, the job would be given back whole
            assert done == dict.fromkeys(paths, "")
        assert killed not in workers.pids
    finally:
        workers.close()
    assert workers.pids == ()


def test_a_file_that_takes_too_long_ends_its_worker_and_is_noted_alone(tmp_path: Path) -> None:
    root = project(tmp_path / "w", quick_py="a = 1\n", also_quick_py="b = 1\n")
    slow = b" ".join(
        b"word%08x" % (number * 7919) for number in range(1_100_000)
    )  # each of them met for the first time
    assert len(slow) < LARGEST
    (root / "slow.py").write_bytes(slow)
    ends: queue.SimpleQueue[Done] = queue.SimpleQueue()
    workers = Workers(1, ends.put)
    try:
        workers.submit(Job(0, os.fsencode(root), (b"quick.py", b"slow.py", b"also_quick.py"), seconds=0.4))
        why: dict[bytes, str] = {}
        while not (end := ends.get(timeout=60)).last or not why:
            assert end.reply is not None
            why.update(zip(end.job.paths, (word.why for word in end.reply.words), strict=True))
        assert end.reply is not None
        why.update(zip(end.job.paths, (word.why for word in end.reply.words), strict=True))
    finally:
        workers.close()
    assert why == {b"quick.py": "", b"also_quick.py": "", b"slow.py": "it kept its worker busy for too long"}


def hanging(root: Path) -> Job:
    """Two good files with one between them that Ruby's grammar needs minutes for."""
    project(root, good_py="def good(): pass\n", also_py="def also(): pass\n")
    (root / "bad.rb").write_bytes(b"%w(" * 66_000)
    paths = (b"good.py", b"bad.rb", b"also.py")
    return Job(1, os.fsencode(root), paths, tuple(blob_id((root / os.fsdecode(path)).read_bytes()) for path in paths))


def answers(workers: Workers, job: Job, ends: queue.SimpleQueue[Done]) -> dict[bytes, tuple[str, int]]:
    """What stood in the way of each file, and how many definitions it has."""
    workers.submit(job)
    said: dict[bytes, tuple[str, int]] = {}
    while True:
        end = ends.get(timeout=100)
        assert end.reply is not None, "a worker could be started"
        said.update(zip(end.job.paths, ((one.why, len(one.definitions)) for one in end.reply.parsed), strict=True))
        if end.last:
            return said


def test_a_grammar_that_hangs_costs_its_worker_and_the_one_file(tmp_path: Path) -> None:
    job = replace(hanging(tmp_path / "w"), seconds=4.0)
    ends: queue.SimpleQueue[Done] = queue.SimpleQueue()
    workers = Workers(1, ends.put)
    try:
        said = answers(workers, job, ends)
    finally:
        workers.close()
    assert said == {
        b"good.py": ("", 1),
        b"bad.rb": ("it kept its worker busy for too long", 0),
        b"also.py": ("", 1),
    }


def test_a_grammar_that_crashes_costs_its_worker_and_the_one_file(tmp_path: Path) -> None:
    job = replace(hanging(tmp_path / "w"), seconds=100.0)
    first, second, third = (
        replace(job, paths=job.paths[at : at + 1], expected=job.expected[at : at + 1]) for at in range(3)
    )
    ends: queue.SimpleQueue[Done] = queue.SimpleQueue()
    workers = Workers(1, ends.put)
    try:
        assert answers(workers, first, ends) == {b"good.py": ("", 1)}
        (crashing,) = workers.pids
        fault = threading.Timer(0.5, os.kill, (crashing, signal.SIGSEGV))
        fault.start()
        assert answers(workers, second, ends) == {b"bad.rb": ("it ended its worker (SIGSEGV)", 0)}
        fault.join()
        assert answers(workers, third, ends) == {b"also.py": ("", 1)}
        assert crashing not in workers.pids
    finally:
        workers.close()


def test_a_file_that_needs_too_much_memory_costs_nothing_but_itself(tmp_path: Path) -> None:
    root = project(tmp_path / "w", good_py="def good(): pass\n")
    (root / "wide.py").write_bytes(b"f(" * 200_000 + b")" * 200_000)
    ends: queue.SimpleQueue[Done] = queue.SimpleQueue()
    workers = Workers(1, ends.put, megabytes=130)
    expected = []
    import hashlib

    for name in ("good.py", "wide.py"):
        data = (root / name).read_bytes()
        expected.append(hashlib.sha1(b"blob %d\0" % len(data) + data).digest())
    try:
        workers.submit(Job(1, os.fsencode(root), (b"good.py", b"wide.py"), tuple(expected)))
        said: dict[bytes, tuple[str, int]] = {}
        while True:
            end = ends.get(timeout=60)
            assert end.reply is not None, "a worker could be started"
            said.update(zip(end.job.paths, ((one.why, len(one.definitions)) for one in end.reply.parsed), strict=True))
            if end.last:
                break
    finally:
        workers.close()
    assert said[b"good.py"] == ("", 1)
    assert said[b"wide.py"][0]


def test_a_file_whose_worker_dies_is_noted_and_tried_again_when_it_has_changed(root: Path, tmp_path: Path) -> None:
    path = root / "long.py"
    path.write_text("".join(f"def long_{n}(a, b):\n    return a + b * {n}\n\n\n" for n in range(60_000)))
    with opened(root, tmp_path / "state", max_file_bytes=10_000_000, workers=1) as index:
        index.build()
        taken = index.symbols("long_59999")
        index.start()
        if taken:  # parsed in time by a quick machine; a text that nobody has seen is parsed anew
            path.write_text(path.read_text() + "\n# another\n")
            index.refresh(["long.py"])
        else:
            assert dict(index.status.failed)["long.py"]
            return
        killer = threading.Thread(target=kill_at_work, args=(index,))
        killer.start()
        assert index.wait(1, 60)
        killer.join()
        failed = dict(index.status.failed)
        assert "SIGKILL" in failed["long.py"]
        assert [found.path for found in index.symbols("total")] == ["cart.py"], "the others are there"
        index.refresh()
        assert index.wait(1, 60)
        assert dict(index.status.failed) == failed, "it was not tried again"
        path.write_text("def long_1(): pass\n")
        index.refresh(["long.py"])
        assert index.wait(1, 60)
        assert index.status.failed == ()
        assert [found.path for found in index.symbols("long_1")] == ["long.py"]


def kill_at_work(index: object) -> None:
    """Kills the worker whenever it has the long file under way."""
    builder = index._builder
    end = time.monotonic() + 30
    while time.monotonic() < end and "long.py" not in dict(index.status.failed):
        if any(path == "long.py" for path, _ in list(builder._parsing)):
            time.sleep(0.05)
            for pid in builder.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def test_without_workers_there_are_words_all_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    for number in range(200):
        (root / f"f{number}.txt").write_text(f"word_{number}\n")
    with built(root, tmp_path / "state") as index:
        assert index.files_with(["word_77"]) == ["f77.txt"]
        assert index.symbols("total") == []
        assert any("No worker" in note for note in index.notes)
    monkeypatch.undo()
    with built(root, tmp_path / "state") as index:
        assert [found.path for found in index.symbols("total")] == ["cart.py"]


# --- files ---------------------------------------------------------------------------------------------------------


def test_files_that_are_no_files_any_more_are_left_out(root: Path, tmp_path: Path) -> None:
    with opened(root, tmp_path / "state") as index:
        index.start()
        assert index.wait(1, 60)
        (root / "cart.py").unlink()
        (root / "cart.py").mkdir()
        (root / "b.md").unlink()
        os.mkfifo(root / "b.md")
        index.refresh(["cart.py", "b.md"])
        assert index.wait(1, 60)
        assert index.status.files == 0
        assert index.symbols("total") == []
        assert index.text("b.md") is None
        assert index.text("cart.py") is None


def test_files_that_change_all_the_time_end_as_they_last_were(root: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = root / f"busy{number % 5}.py"
            path.unlink(missing_ok=True)
            if number % 7:
                path.write_text(f"def busy_{number}():\n    pass\n" * (1 + number % 50))
            else:
                path.mkdir()
                path.rmdir()

    writer = threading.Thread(target=change)
    writer.start()
    try:
        with opened(root, tmp_path / "state") as index:
            index.start()
            for _ in range(30):
                index.refresh([f"busy{n}.py" for n in range(5)] if _ % 3 else None)
                index.symbols("busy", how="prefix")
                time.sleep(0.02)
            stop.set()
            writer.join()
            index.refresh()
            assert index.wait(1, 60)
            with built(root, tmp_path / "fresh") as fresh:
                assert everything(index, NAMES | {"busy_1"}) == everything(fresh, NAMES | {"busy_1"})
    finally:
        stop.set()
        writer.join()


def test_text_that_is_no_utf8_is_read_as_far_as_it_is_text(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / "latin.py").write_bytes(b"# caf\xe9\ndef caf\xe9_total(): pass\ndef plain_total(): pass\n")
    (root / os.fsdecode(b"n\xffme.py")).write_text("def in_odd_file(): pass\n")
    with built(root, tmp_path / "state") as index:
        assert [found.path for found in index.symbols("plain_total")] == ["latin.py"]
        assert [found.path for found in index.symbols("in_odd_file")] == [os.fsdecode(b"n\xffme.py")]
        assert index.text("latin.py").startswith("# caf\ufffd\n")
    with opened(root, tmp_path / "state") as index:
        assert [found.path for found in index.symbols("in_odd_file")] == [os.fsdecode(b"n\xffme.py")]


def test_a_source_file_of_100_megabytes_is_not_even_read(root: Path, tmp_path: Path) -> None:
    with (root / "huge.py").open("wb") as file:
        file.write(b"def start(): pass\n")
        file.truncate(100_000_000)
    with built(root, tmp_path / "state") as index:
        assert index.text("huge.py") is None
        assert index.symbols("start") == []
        assert "huge.py" in index.files_with(["start"]), "nobody knows what is in it"
        assert "100,000,000 bytes" in dict(index.status.failed)["huge.py"]
        assert "huge.py" not in index.paths


def test_a_file_that_may_not_be_read_is_noted() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    root = project(folder / "w", a_py="def total(): pass\n", shut_py="def closed(): pass\n")
    (root / "shut.py").chmod(0)
    try:
        with without_rights(), built(root, folder / "state") as index:
            assert dict(index.status.failed)["shut.py"] == "Permission denied"
            assert index.files_with(["total"]) == ["a.py"]
    finally:
        shutil.rmtree(folder)


def test_names_that_differ_only_in_case_are_two_files(tmp_path: Path) -> None:
    root = project(
        tmp_path / "w", readme_py="def low(): pass\n", README_py="def high(): pass\n", Readme_py="def low(): pass\n"
    )
    with built(root, tmp_path / "state") as index:
        assert [found.path for found in index.symbols("high")] == ["README.py"]
        assert [found.path for found in index.symbols("low")] == ["Readme.py", "readme.py"]
        (root / "README.py").unlink()
        index.build()
        assert index.symbols("high") == []
        assert len(index.symbols("low")) == 2


def test_a_hundred_thousand_files_are_walked_and_read(tmp_path: Path) -> None:
    root = repository(tmp_path / "w")
    for folder in range(200):
        (root / f"d{folder}").mkdir()
        first = root / f"d{folder}" / "f0.txt"
        first.write_text(f"word_{folder}\n")
        for number in range(1, 500):
            os.link(first, root / f"d{folder}" / f"f{number}.txt")
    with built(root, tmp_path / "state") as index:
        assert index.status.files == index.status.tier0 == 100_000
        assert len(index.files_with(["word_77"])) == 500
        assert index.notes == ()
