"""Going back over several runs at once: all of them or none, through conflicts, kills and full disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_apply import child

from glm_lsp.edits.apply import apply
from glm_lsp.edits.journal import Journal
from glm_lsp.errors import Conflict, StateError
from glm_lsp.terms import FileChange

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/a.py").write_bytes(b"a = 0\n")
    return tmp_path / "work"


@pytest.fixture
def journal(root: Path, tmp_path: Path) -> Journal:
    return Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})


def step(journal: Journal, *changes: FileChange) -> None:
    apply(journal.jail.root, changes, journal=journal, jail=journal.jail, label="step")


def counted(journal: Journal, times: int) -> None:
    """Applies as many runs, each of which changes a.py and makes a file of its own."""
    for n in range(times):
        step(
            journal,
            FileChange("a.py", f"a = {n}\n".encode(), f"a = {n + 1}\n".encode()),
            FileChange(f"new/{n}.py", None, b"n\n"),
        )


def states(journal: Journal) -> list[str]:
    return [run.state for run in journal.runs()]


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_run_and_all_after_it_are_taken_back_the_latest_first(root: Path, journal: Journal) -> None:
    counted(journal, 4)
    assert [run.number for run in journal.undo_to("2")] == [4, 3, 2]
    assert tree(root) == {"a.py": b"a = 1\n", "new/0.py": b"n\n"}
    assert states(journal) == ["applied", "undone", "undone", "undone"]


def test_runs_that_were_taken_back_before_are_passed_over(root: Path, journal: Journal) -> None:
    counted(journal, 2)
    journal.undo()
    step(journal, FileChange("a.py", b"a = 1\n", b"a = 9\n"))
    assert [run.number for run in journal.undo_to("1")] == [3, 1]
    assert tree(root) == {"a.py": b"a = 0\n"}


def test_a_file_that_changed_since_stops_all_of_it_and_is_named(root: Path, journal: Journal) -> None:
    counted(journal, 3)
    (root / "new/1.py").write_bytes(b"mine\n")
    before = tree(root)
    with pytest.raises(Conflict, match=r"new/1\.py"):
        journal.undo_to("1")
    assert tree(root) == before
    assert states(journal) == ["applied"] * 3
    assert [run.number for run in journal.undo_to("3")] == [3], "what came after the change can still be taken back"


@pytest.mark.parametrize(("wrong", "words"), [("9", "no run 9"), ("x", "no run x"), ("2", "already")])
def test_a_checkpoint_that_is_none_is_said(journal: Journal, wrong: str, words: str) -> None:
    counted(journal, 2)
    journal.undo()
    with pytest.raises(StateError, match=words):
        journal.undo_to(wrong)


def test_a_file_that_was_deleted_and_made_again_comes_back_through_all_steps(root: Path, journal: Journal) -> None:
    step(journal, FileChange("a.py", b"a = 0\n", None))
    step(journal, FileChange("a.py", None, b"other\n"))
    step(journal, FileChange("a.py", b"other\n", None))
    journal.undo_to("1")
    assert tree(root) == {"a.py": b"a = 0\n"}


def test_a_kill_at_any_step_takes_back_all_or_nothing(tmp_path: Path) -> None:
    out = child(
        tmp_path,
        """
        number, outcomes = 0, []
        while True:
            root, journal = fresh(number)
            old = tree(root)
            for n, change in enumerate([
                [FileChange("a.py", OLD["a.py"], b"one"), FileChange("new/x.py", None, b"x")],
                [FileChange("a.py", b"one", b"two"), FileChange("new/x.py", b"x", None)],
            ]):
                apply(root, change, journal=journal, jail=Jail(root), label=str(n))
            new = tree(root)
            def work():
                arm(number, kill)
                journal.undo_to("1")
            done = forked(work)
            journal.recover()
            now, states = tree(root), {run.state for run in journal.runs()}
            assert (now, states) in ((old, {"undone"}), (new, {"applied"})), (number, states, now)
            outcomes.append(now == old)
            if done:
                break
            number += 1
        assert outcomes == sorted(outcomes), outcomes
        print(number, outcomes.count(False), outcomes.count(True))
        """,
    )
    steps, kept, undone = map(int, out.split())
    assert steps > 30
    assert kept
    assert undone > 10


def test_a_disk_that_is_full_at_any_step_leaves_all_or_nothing(tmp_path: Path) -> None:
    child(
        tmp_path,
        """
        import errno
        def full():
            raise OSError(errno.ENOSPC, "No space left on device")
        number = 0
        while True:
            root, journal = fresh(number)
            old = tree(root)
            apply(root, [FileChange("a.py", OLD["a.py"], b"one")], journal=journal, jail=Jail(root), label="1")
            apply(root, [FileChange("a.py", b"one", b"two")], journal=journal, jail=Jail(root), label="2")
            new = tree(root)
            arm(number, full)
            try:
                journal.undo_to("1")
                done = True
            except GlmError:
                done = False
            disarm()
            # Where the disk failed in the middle of the files, the next start finishes what was begun.
            journal.recover()
            now, states = tree(root), {run.state for run in journal.runs()}
            assert (now, states) in ((old, {"undone"}), (new, {"applied"})), (number, states, now)
            if done:
                break
            number += 1
        assert number > 20, number
        """,
    )
