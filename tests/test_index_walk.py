"""Which files there are, where git, rules and folders are in an odd state."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stories import project

from glm_lsp.index import git, plain
from glm_lsp.index.walk import look, walk

if TYPE_CHECKING:
    from collections.abc import Iterator


def run(root: Path, *words: str, check: bool = True) -> None:
    identity = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "protocol.file.allow=always",
        "-c",
        "commit.gpgsign=false",
    )
    subprocess.run(["git", "-C", str(root), *identity, *words], check=check, capture_output=True)


def repository(root: Path, **files: str) -> Path:
    project(root, **files)
    run(root.parent, "init", "-q", "-b", "main", str(root))
    run(root, "add", "-A")
    run(root, "commit", "-qm", "first")
    return root


@pytest.fixture
def as_somebody() -> Iterator[None]:
    """Rights mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_git_says_which_files_are_as_they_were_committed(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="a = 1\n", b_py="b = 1\n", c_py="c = 1\n")
    (root / "b.py").write_text("b = 2\n")
    (root / "c.py").unlink()
    (root / "new.py").write_text("n = 1\n")
    listing = walk(root)
    assert listing.paths == ("a.py", "b.py", "new.py")
    assert set(listing.blobs) == {"a.py"}
    hashed = subprocess.run(["git", "hash-object", "a.py"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert listing.blobs["a.py"] == hashed.strip()


def test_a_file_that_git_was_told_not_to_look_at_is_never_taken_for_clean(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="a = 1\n", b_py="b = 1\n")
    run(root, "update-index", "--assume-unchanged", "a.py")
    run(root, "update-index", "--skip-worktree", "b.py")
    (root / "a.py").write_text("a = 2\n")
    (root / "b.py").unlink()
    listing = walk(root)
    assert listing.paths == ("a.py",)
    assert not listing.blobs


def test_repositories_inside_are_entered(tmp_path: Path) -> None:
    other = repository(tmp_path / "other", lib_py="l = 1\n")
    root = repository(tmp_path / "w", a_py="a = 1\n")
    run(root, "submodule", "--quiet", "add", str(other), "vendored")
    nested = repository(root / "tools" / "own", t_py="t = 1\n")
    (nested / ".gitignore").write_text("*.log\n")
    (nested / "x.log").write_text("")
    (nested / "deep.py").write_text("")
    listing = walk(root)
    assert set(listing.paths) == {
        ".gitmodules", "a.py", "vendored/lib.py", "tools/own/t.py", "tools/own/.gitignore", "tools/own/deep.py",
    }  # fmt: skip
    assert "vendored/lib.py" in listing.blobs
    (root / "vendored" / "more.py").write_text("")
    (root / "tools" / "own" / "t.py").unlink()
    again = look(listing, ["vendored/more.py", "tools/own/t.py"])
    assert again == walk(root)


def test_a_submodule_that_was_not_fetched_and_a_broken_repository_hold_nothing(tmp_path: Path) -> None:
    other = repository(tmp_path / "other", lib_py="l = 1\n")
    root = repository(tmp_path / "w", a_py="a = 1\n")
    run(root, "submodule", "--quiet", "add", str(other), "vendored")
    run(root, "commit", "-qam", "with")
    run(root, "submodule", "--quiet", "deinit", "-f", "vendored")
    project(root / "broken", x_py="1")
    (root / "broken" / ".git").write_text("gitdir: /nowhere\n")
    assert {"a.py"} == {path for path in walk(root).paths if path.endswith(".py") and not path.startswith("broken/")}


def test_a_worktree_is_a_workspace_like_any_other(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="a = 1\n")
    run(root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "b.py").write_text("")
    assert walk(tmp_path / "side").paths == ("a.py", "b.py")
    assert walk(root).paths == ("a.py",)


def test_a_rebase_in_progress_changes_nothing_but_what_is_clean(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="a = 1\n", b_py="b = 1\n")
    run(root, "checkout", "-qb", "side")
    (root / "a.py").write_text("a = 2\n")
    run(root, "commit", "-qam", "two")
    run(root, "checkout", "-q", "main")
    (root / "a.py").write_text("a = 3\n")
    run(root, "commit", "-qam", "three")
    run(root, "checkout", "-q", "side")
    run(root, "rebase", "main", check=False)
    assert (root / ".git" / "rebase-merge").exists()
    listing = walk(root)
    assert listing.paths == ("a.py", "b.py")
    assert set(listing.blobs) == {"b.py"}


def test_nothing_behind_a_link_is_listed(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", src__a_py="a = 1\n", b_py="b = 1\n")
    outside = tmp_path / "outside"
    (root / "src").rename(outside)
    (root / "src").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "b.py").unlink()
    (root / "b.py").symlink_to(outside / "a.py")
    assert walk(root).paths == ()
    assert plain.files(root) == []


def test_loops_of_links_are_neither_followed_nor_an_end(tmp_path: Path) -> None:
    """Followed, the links of each folder would lead to four to the power of forty paths, and the chain to an error."""
    root = repository(tmp_path / "w", a_py="a = 1\n")
    folder = root
    for depth in range(40):
        for name in ("up", "again", "top"):
            (folder / name).symlink_to({"up": "..", "again": ".", "top": root}[name])
        (folder / f"f{depth}.py").write_text(f"a = {depth}\n")
        folder /= "d"
        folder.mkdir()
    for number in range(60):  # more than the system follows
        (root / f"chain{number}").symlink_to(f"chain{(number + 1) % 60}")
    expected = sorted(["a.py", *("d/" * depth + f"f{depth}.py" for depth in range(40))])
    assert list(walk(root).paths) == expected
    assert plain.files(root) == expected
    assert sorted(plain._files(root)) == expected


RULES = {
    "plain": {".gitignore": b"*.log\n/build/\n!keep.log\n", "src/.gitignore": b"*.tmp\n!b.tmp\n"},
    "only below": {"src/.gitignore": b"*.tmp\n!b.tmp\n", "build/.gitignore": b"*\n"},
    "not UTF-8": {".gitignore": b"*.log\n\xff\xfe*.tmp\n*.bak\n"},
    "not UTF-8, below": {"src/.gitignore": b"a.tmp\n\xff\xfe*.py\n"},
    "no line end, and spaces": {".gitignore": b"  \n# no\n\\#yes\n*.bak"},
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_the_native_walk_the_slow_walk_and_git_agree(rules: dict[str, bytes], tmp_path: Path) -> None:
    root = tmp_path / "w"
    for name in (
        "a.py",
        "x.log",
        "keep.log",
        "build/c.py",
        "src/b.tmp",
        "src/a.tmp",
        "src/deep/a.tmp",
        "o.bak",
        ".hidden",
        "#yes",
        "ü.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    for name, data in rules.items():
        (root / name).write_bytes(data)
    ours = plain.files(root)
    assert ours == sorted(plain._files(root))
    run(tmp_path, "init", "-q", str(root))
    assert tuple(ours) == walk(root).paths


def test_rules_that_are_a_folder_or_a_name_that_is_no_text_stop_no_walk(tmp_path: Path) -> None:
    root = tmp_path / "w"
    odd = os.fsdecode(b"\xff.py")
    for name in (".gitignore/inside.py", odd, "a.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    assert plain.files(root) == sorted([".gitignore/inside.py", odd, "a.py"])
    run(tmp_path, "init", "-q", str(root))
    assert set(walk(root).paths) == {".gitignore/inside.py", odd, "a.py"}


@pytest.mark.parametrize("kind", ["git", "plain"])
def test_a_folder_that_cannot_be_read_holds_nothing(
    kind: str, as_somebody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tempfile.mkdtemp())  # the usual one may be closed to whom we are now
    monkeypatch.setenv("HOME", str(folder))
    root = folder / "w"
    for name in ("a.py", "shut/b.py", "open/c.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    if kind == "git":
        run(folder, "init", "-q", str(root))
    (root / "shut").chmod(0)
    try:
        listing = walk(root)
        assert listing.paths == ("a.py", "open/c.py")
        assert listing.git is (kind == "git")
    finally:
        (root / "shut").chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["git", "plain"])
def test_another_look_at_some_paths_sees_what_a_walk_of_everything_sees(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "w"
    files = {"a_py": "1", "src__b_py": "2", "src__c_py": "3", "src__deep__d_py": "4"}
    if kind == "git":
        repository(root, **files)
    else:
        project(root, **files)
    (root / ".gitignore").write_text("*.log\n")
    before = walk(root)
    (root / "a.py").write_text("changed")
    (root / "src" / "b.py").unlink()
    (root / "src" / "new.py").write_text("")
    (root / "src" / "x.log").write_text("")
    (root / "src" / "deep").rename(root / "src" / "deeper")
    (root / "src" / "c.py").unlink()
    (root / "src" / "c.py").mkdir()
    (root / "src" / "c.py" / "inside.py").write_text("")
    touched = ["a.py", "src/b.py", "src/new.py", "src/x.log", "src/deep", "src/deeper", "src/c.py", "nowhere.py"]
    after = look(before, touched)
    assert after == walk(root)
    assert after.blobs == walk(root).blobs


def test_new_rules_are_heeded_by_another_look(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="1")
    (root / "x.log").write_text("")
    before = walk(root)
    (root / ".gitignore").write_text("*.log\n")
    assert look(before, [".gitignore"]).paths == (".gitignore", "a.py")


def test_no_program_that_a_repository_names_is_run(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="1")
    nested = repository(root / "nested", b_py="1")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    hook.chmod(0o755)
    run(nested, "config", "core.fsmonitor", str(hook))
    assert "nested/b.py" in walk(root).paths
    assert not (tmp_path / "ran").exists()


def test_recent_commits_name_the_files_worth_reading_first(tmp_path: Path) -> None:
    root = repository(tmp_path / "w", a_py="1", b_py="1", c_py="1")
    for name in ("c.py", "a.py"):
        (root / name).write_text("2")
        run(root, "commit", "-qam", name)
    assert git.recent(root)[:2] == ["a.py", "c.py"]
    assert git.recent(tmp_path) == []
