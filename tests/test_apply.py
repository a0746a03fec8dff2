"""Applying is all or nothing: through conflicts, errors, full disks and kills, and back again."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from glm_lsp.edits import journal as journal_module
from glm_lsp.edits.apply import apply
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.errors import Conflict, NothingChanged, NotText, OutsideWorkspace, Protected, StateError
from glm_lsp.terms import FileChange

OLD = {"a.py": b"a = 1\n", "src/b.py": b"b = 1\r\n", "c.bin": b"\x00\xff"}
NEW = {"a.py": b"a = 2\n", "src/b.py": None, "c.bin": b"\x00\xfe", "new/deep/d.py": b"d = 1\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    write(root, OLD)
    return root


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def write(root: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def tree(root: Path) -> dict[str, bytes]:
    """Every file and folder below the root."""
    return {
        p.relative_to(root).as_posix(): p.read_bytes() if p.is_file() else b"<folder>" for p in sorted(root.rglob("*"))
    }


def opened(root: Path, state: Path) -> Journal:
    return Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(state)})


def changes(old: dict[str, bytes], new: dict[str, bytes | None]) -> list[FileChange]:
    return [FileChange(path, old.get(path), data) for path, data in new.items()]


def applied(root: Path, state: Path, *given: FileChange, label: str = "test") -> str:
    return apply(root, given or changes(OLD, NEW), journal=opened(root, state), jail=Jail(root), label=label)


def test_changes_creations_and_deletions_are_applied_and_taken_back(root: Path, state: Path) -> None:
    before = tree(root)
    run = applied(root, state, label="Rename a\nand more")

    assert tree(root) == {
        "a.py": b"a = 2\n",
        "c.bin": b"\x00\xfe",
        "new": b"<folder>",
        "new/deep": b"<folder>",
        "new/deep/d.py": b"d = 1\n",
        "src": b"<folder>",
    }
    (listed,) = opened(root, state).runs()
    assert (listed.id, listed.state, listed.label) == (run, "applied", "Rename a")
    assert set(listed.paths) == set(NEW)

    taken = opened(root, state).undo()

    assert (taken.id, taken.state, taken.left) == (run, "undone", ())
    assert tree(root) == before


def test_folders_that_have_other_files_by_now_stay(root: Path, state: Path) -> None:
    applied(root, state)
    (root / "new" / "mine.txt").write_text("mine")
    opened(root, state).undo()
    assert tree(root) == tree(root) | {"new/mine.txt": b"mine"}
    assert not (root / "new" / "deep").exists()


@pytest.mark.parametrize("mode", [0o755, 0o640, 0o600])
def test_permission_bits_are_kept_there_and_back(root: Path, state: Path, mode: int) -> None:
    (root / "a.py").chmod(mode)
    applied(root, state, FileChange("a.py", OLD["a.py"], b"x"))
    assert (root / "a.py").stat().st_mode & 0o7777 == mode
    opened(root, state).undo()
    assert (root / "a.py").stat().st_mode & 0o7777 == mode


def test_permission_bits_can_be_set_and_are_taken_back(root: Path, state: Path) -> None:
    applied(
        root, state, FileChange("a.py", OLD["a.py"], OLD["a.py"], mode=0o755), FileChange("e.sh", None, b"x", 0o755)
    )
    assert (root / "a.py").stat().st_mode & 0o777 == 0o755
    assert (root / "e.sh").stat().st_mode & 0o777 == 0o755
    opened(root, state).undo()
    assert (root / "a.py").stat().st_mode & 0o777 == 0o644
    assert not (root / "e.sh").exists()


def test_a_new_file_has_the_default_permissions(root: Path, state: Path) -> None:
    applied(root, state, FileChange("e.py", None, b"x"))
    (root / "f.py").write_bytes(b"x")
    assert (root / "e.py").stat().st_mode == (root / "f.py").stat().st_mode


def test_every_file_that_changed_meanwhile_is_named_and_nothing_is_written(root: Path, state: Path) -> None:
    (root / "a.py").write_bytes(b"formatted\n")
    (root / "c.bin").unlink()
    write(root, {"new/deep/d.py": b"someone was quicker"})
    before = tree(root)

    with pytest.raises(Conflict) as caught:
        applied(root, state)

    assert all(path in caught.value.message for path in ("a.py", "c.bin", "new/deep/d.py"))
    assert "src/b.py" not in caught.value.message
    assert tree(root) == before
    assert opened(root, state).runs() == ()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("../x.py", OutsideWorkspace),
        (".git/hooks/x", Protected),
        ("link/x.py", OutsideWorkspace),
        ("a.py/x.py", OutsideWorkspace),
        ("src", NotText),
        ("ro.py", Protected),
    ],
)
def test_one_file_that_is_not_ours_stops_all_of_them(root: Path, state: Path, path: str, error: type) -> None:
    (root / "link").symlink_to("/")
    write(root, {"ro.py": b"x"})
    (root / "ro.py").chmod(0o444)
    before = (root / "a.py").read_bytes()
    with pytest.raises(error):
        applied(root, state, FileChange("a.py", OLD["a.py"], b"x"), FileChange(path, None, b"x"))
    assert (root / "a.py").read_bytes() == before


def test_nothing_to_do_and_doing_twice_are_said(root: Path, state: Path) -> None:
    with pytest.raises(NothingChanged):
        applied(root, state, FileChange("a.py", b"x", b"x"))
    with pytest.raises(Conflict, match="twice"):
        applied(root, state, FileChange("a.py", OLD["a.py"], b"x"), FileChange("./a.py", OLD["a.py"], b"y"))


def test_an_edit_through_a_link_changes_the_file_and_keeps_the_link(root: Path, state: Path) -> None:
    (root / "alias.py").symlink_to("a.py")
    applied(root, state, FileChange("alias.py", OLD["a.py"], b"x"))
    assert (root / "alias.py").is_symlink()
    assert (root / "a.py").read_bytes() == b"x"


def test_undo_refuses_when_files_changed_since_and_touches_none(root: Path, state: Path) -> None:
    applied(root, state)
    (root / "a.py").write_bytes(b"edited by hand\n")
    before = tree(root)
    with pytest.raises(Conflict, match=r"a\.py"):
        opened(root, state).undo()
    assert tree(root) == before


def test_runs_are_taken_back_one_by_one_the_last_one_first(root: Path, state: Path) -> None:
    first = applied(root, state, FileChange("a.py", b"a = 1\n", b"a = 2\n"))
    second = applied(root, state, FileChange("a.py", b"a = 2\n", b"a = 3\n"))
    journal = opened(root, state)
    with pytest.raises(Conflict):
        journal.undo(first)
    assert journal.undo().id == second
    assert journal.undo().id == first
    assert (root / "a.py").read_bytes() == b"a = 1\n"
    for wrong, words in ((None, "nothing to take back"), ("0009-zzzz", "no run"), (first, "already")):
        with pytest.raises(StateError, match=words):
            journal.undo(wrong)


def test_a_run_can_be_made_again_after_it_was_taken_back(root: Path, state: Path) -> None:
    applied(root, state)
    opened(root, state).undo()
    applied(root, state)
    assert [run.state for run in opened(root, state).runs()] == ["undone", "applied"]


def test_the_journal_is_private_and_outside_the_workspace(root: Path, state: Path) -> None:
    applied(root, state)
    assert all(p.stat().st_mode & 0o077 == 0 for p in (state / "journal").rglob("*"))
    assert (state / "journal").stat().st_mode & 0o777 == 0o700


def test_workspaces_have_journals_of_their_own(root: Path, state: Path, tmp_path: Path) -> None:
    applied(root, state)
    other = tmp_path / "other"
    other.mkdir()
    assert opened(other, state).runs() == ()


def test_the_journal_keeps_the_last_runs_only(root: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "KEPT_RUNS", 3)
    for number in range(6):
        applied(root, state, FileChange(f"n{number}.py", None, b"x"), label=str(number))
    assert [run.label for run in opened(root, state).runs()] == ["3", "4", "5"]
    monkeypatch.setattr(journal_module, "KEPT_BYTES", 1)
    applied(root, state, FileChange("n6.py", None, b"x"), label="6")
    assert [run.label for run in opened(root, state).runs()] == ["6"]


def test_a_damaged_record_is_named_with_what_to_do(root: Path, state: Path) -> None:
    run = applied(root, state)
    (record,) = (state / "journal").glob(f"*/{run}/run.json")
    record.write_text("{")
    with pytest.raises(StateError, match="damaged") as caught:
        opened(root, state).runs()
    assert str(record.parent) in caught.value.hint


def test_a_state_folder_that_cannot_be_made_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="journal"):
        opened(root, tmp_path / "file" / "below")


def test_a_second_writer_waits_and_is_told(root: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LOCK_SECONDS", 0.05)
    with opened(root, state).locked(), pytest.raises(StateError, match="Another glm-lsp"):
        applied(root, state)
    applied(root, state)


def test_recovering_a_workspace_at_rest_does_nothing(root: Path, state: Path) -> None:
    applied(root, state)
    before = tree(root)
    assert opened(root, state).recover() == ()
    assert tree(root) == before


# --- kills and errors at every step --------------------------------------------------------------------------------

CHILD = '''
import os, signal, sys
from pathlib import Path
from glm_lsp.edits.apply import apply
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.errors import GlmError
from glm_lsp.terms import FileChange

sys.path.insert(0, os.environ["TESTS"])
from test_apply import NEW, OLD, changes, tree, write

base = Path(sys.argv[1])
STEPS = "open write fsync replace link unlink mkdir rmdir rename fchmod".split()
real = {name: getattr(os, name) for name in STEPS}

def arm(count, fail):
    """After `count` steps on the disk, the next one fails or kills the process."""
    left = [count]
    def wrap(name):
        def step(*args, **kwargs):
            if left[0] == 0:
                fail()
            left[0] -= 1
            return real[name](*args, **kwargs)
        return step
    for name in STEPS:
        setattr(os, name, wrap(name))
    return left

def disarm():
    for name in STEPS:
        setattr(os, name, real[name])

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def forked(work):
    """Runs `work` in a process of its own and returns whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return False
    assert os.WEXITSTATUS(status) == 0, status
    return True

def fresh(number):
    root = base / str(number)
    write(root, OLD)
    return root, Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(base / "state")})
'''


def child(tmp_path: Path, script: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", CHILD + textwrap.dedent(script), str(tmp_path)],
        env={**os.environ, "TESTS": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_kill_at_any_step_leaves_the_old_files_or_the_new_ones(tmp_path: Path) -> None:
    out = child(
        tmp_path,
        """
        number, outcomes = 0, []
        while True:
            root, journal = fresh(number)
            old = tree(root)
            def work():
                arm(number, kill)
                apply(root, changes(OLD, NEW), journal=journal, jail=Jail(root), label="x")
            done = forked(work)
            journal.recover()
            now = tree(root)
            assert not [path for path in now if ".glm-lsp" in path], now
            new = {p: d for p, d in {**OLD, **NEW}.items() if d is not None}
            new |= {"src": b"<folder>", "new": b"<folder>", "new/deep": b"<folder>"}
            assert now in (old, new), (number, now)
            outcomes.append("new" if now == new else "old")
            if done:
                break
            number += 1
        assert outcomes == sorted(outcomes, reverse=True), outcomes
        print(number, outcomes.count("old"), outcomes.count("new"))
        """,
    )
    steps, old, new = map(int, out.split())
    assert steps > 40
    assert old > 30
    assert new >= 2  # killed after the last file and before the end, and not killed


def test_a_kill_while_a_killed_run_is_taken_back_is_no_worse(tmp_path: Path) -> None:
    out = child(
        tmp_path,
        """
        def count_apply(number):
            root, journal = fresh(number)
            left = arm(10_000, kill)
            apply(root, changes(OLD, NEW), journal=journal, jail=Jail(root), label="x")
            disarm()
            return 10_000 - left[0]
        late = count_apply("count") - 12  # most files are in their places by then
        number = 0
        while True:
            root, journal = fresh(f"r{number}")
            old = tree(root)
            def work():
                arm(late, kill)
                apply(root, changes(OLD, NEW), journal=journal, jail=Jail(root), label="x")
            assert not forked(work)
            assert tree(root) != old
            def again():
                arm(number, kill)
                journal.recover()
            done = forked(again)
            journal.recover()
            assert tree(root) == old, (number, tree(root))
            if done:
                break
            number += 1
        print(number)
        """,
    )
    assert int(out) > 15


def test_a_kill_while_a_run_is_undone_leaves_it_applied_or_undone(tmp_path: Path) -> None:
    out = child(
        tmp_path,
        """
        number, states = 0, []
        while True:
            root, journal = fresh(number)
            old = tree(root)
            apply(root, changes(OLD, NEW), journal=journal, jail=Jail(root), label="x")
            new = tree(root)
            def work():
                arm(number, kill)
                journal.undo()
            done = forked(work)
            journal.recover()
            now = tree(root)
            (run,) = journal.runs()
            assert now == (old if run.state == "undone" else new), (number, run.state, now)
            states.append(run.state)
            if done:
                break
            number += 1
        print(number, states.count("applied"), states.count("undone"))
        """,
    )
    steps, applied_, undone = map(int, out.split())
    assert steps > 20
    assert applied_
    assert undone > 5


def test_an_error_at_any_step_changes_nothing_and_is_said_in_words(tmp_path: Path) -> None:
    out = child(
        tmp_path,
        """
        import errno
        number, refused = 0, 0
        while True:
            root, journal = fresh(number)
            old = tree(root)
            fired = []
            def fail():
                if not fired:
                    fired.append(True)
                    disarm()
                    raise OSError(errno.EIO, "Input/output error")
            arm(number, fail)
            try:
                apply(root, changes(OLD, NEW), journal=journal, jail=Jail(root), label="x")
            except GlmError as error:
                refused += 1
                assert tree(root) == old, (number, tree(root))
                assert error.message
            disarm()
            if not fired:
                break
            number += 1
        print(number, refused)
        """,
    )
    steps, refused = map(int, out.split())
    assert refused > steps * 0.7


def test_files_that_someone_changed_after_the_kill_are_left_alone_and_named(root: Path, state: Path) -> None:
    journal = opened(root, state)
    run = applied(root, state)
    (next((state / "journal").glob(f"*/{run}")) / "committed").unlink()  # as if it had been killed just before
    (root / "a.py").write_bytes(b"mine\n")

    (recovered,) = journal.recover()

    assert (recovered.id, recovered.state, recovered.left) == (run, "undone", ("a.py",))
    assert (root / "a.py").read_bytes() == b"mine\n"
    assert (root / "src" / "b.py").read_bytes() == OLD["src/b.py"]
    assert not (root / "new").exists()
    assert journal.recover() == ()


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """The limit on a file's size stands in for a full disk: it needs no rights to set, and ends a write half-way."""
    out = child(
        tmp_path,
        """
        import resource
        small, large = b"x" * 100, b"y" * 200_000
        for case, (before, after) in {"new content": (small, large), "journal": (large, small)}.items():
            root, journal = fresh(case)
            write(root, {"big.txt": before})
            old = tree(root)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
            try:
                given = [FileChange("a.py", OLD["a.py"], b"a = 2"), FileChange("big.txt", before, after)]
                apply(root, given, journal=journal, jail=Jail(root), label="x")
            except GlmError as error:
                print(error.code, "|", error.message)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert tree(root) == old, tree(root).keys()
            assert journal.recover() == ()
        """,
    )
    assert [line.split(" | ")[0] for line in out.splitlines()] == ["state-error"] * 2
    assert out.count("The disk is full") == 2


def test_a_folder_that_may_not_be_written_is_said_and_nothing_is_changed() -> None:
    """Root may write anywhere, so the child gives its rights away first, and works where anyone can."""
    import shutil
    import tempfile

    base = Path(tempfile.mkdtemp())
    try:
        base.chmod(0o777)
        out = child(
            base,
            """
            os.umask(0)
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            root, journal = fresh("work")
            (root / "src").chmod(0o555)
            old = tree(root)
            try:
                apply(root, changes(OLD, {"a.py": b"x", "src/b.py": b"y"}), journal=journal, jail=Jail(root), label="x")
            except GlmError as error:
                print(error.code, error.message)
            (root / "src").chmod(0o755)
            assert tree(root) == old
            """,
        )
    finally:
        shutil.rmtree(base)
    assert out.startswith("state-error Not permitted")


def test_a_folder_swapped_for_a_link_between_check_and_write_leads_nowhere(tmp_path: Path) -> None:
    out = child(
        tmp_path,
        """
        outside = base / "outside"
        write(outside, {"b.py": OLD["src/b.py"]})
        number, caught = 0, 0
        while True:
            root, journal = fresh(number)
            fired = []
            def swap():
                if not fired:
                    fired.append(True)
                    real["rename"](root / "src", root / "moved")
                    os.symlink("../outside", root / "src")
            arm(number, swap)
            try:
                apply(root, changes(OLD, {"a.py": b"a = 2", "src/b.py": b"stolen"}), journal=journal, jail=Jail(root), label="x")
            except GlmError:
                caught += 1
            disarm()
            assert tree(outside) == {"b.py": OLD["src/b.py"]}, number
            if not fired:
                break
            number += 1
        print(number, caught)
        """,
    )
    steps, caught = map(int, out.split())
    assert steps > 20
    assert caught > 10
