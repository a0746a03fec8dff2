"""Which files a workspace has, in a real git repository and outside one."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from stories import project

from glm_lsp.errors import Missing, OutsideWorkspace
from glm_lsp.index.walk import find_root, walk

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "a_py": "1",
    "src__b_py": "2",
    "src__skip_log": "3",
    "build__c_py": "4",
    "src__deep__d_py": "5",
    "src__deep__e_tmp": "",
}
IGNORED = "*.log\n/build/\n"


@pytest.fixture(params=["git", "plain"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = project(tmp_path / "w", **FILES)
    (root / ".gitignore").write_text(IGNORED)
    (root / "src" / ".gitignore").write_text("*.tmp\n!keep.tmp\n")
    (root / "src" / "keep.tmp").write_text("")
    (root / "out").symlink_to(tmp_path)
    if request.param == "git":
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        subprocess.run(["git", "-C", str(root), "add", "a.py"], check=True)
    return root


def test_ignored_files_and_links_are_left_out(root: Path) -> None:
    assert walk(root).paths == (".gitignore", "a.py", "src/.gitignore", "src/b.py", "src/deep/d.py", "src/keep.tmp")


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("src/new.py", False),
        ("src/x.log", True),
        ("build/new.py", True),
        ("src/deep/n.tmp", True),
        ("src/keep.tmp", False),
    ],
)
def test_a_file_yet_to_be_made_is_judged_too(root: Path, path: str, *, ignored: bool) -> None:
    assert walk(root).ignored(path) is ignored


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ((), (".gitignore", "a.py", "src/.gitignore", "src/b.py", "src/deep/d.py", "src/keep.tmp")),
        (("src/deep",), ("src/deep/d.py",)),
        (("a.py", "src/b.py", "a.py"), ("a.py", "src/b.py")),
        (("./src/../a.py",), ("a.py",)),
        (("src/skip.log",), ("src/skip.log",)),
    ],
)
def test_paths_on_a_command_line(root: Path, given: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    assert walk(root).select(given, cwd=root) == chosen


def test_paths_are_relative_to_where_one_is(root: Path) -> None:
    assert walk(root).select(("b.py",), cwd=root / "src") == ("src/b.py",)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("nowhere", Missing),
        ("build", Missing),
        ("..", OutsideWorkspace),
        ("/etc/passwd", OutsideWorkspace),
        ("out", OutsideWorkspace),
    ],
)
def test_paths_that_are_not_there_or_not_ours(root: Path, given: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        walk(root).select((given,), cwd=root)


def test_the_root_is_the_work_tree_around_a_folder(tmp_path: Path) -> None:
    root = project(tmp_path / "w", src__a_py="1")
    assert find_root(root / "src") == root / "src"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    assert find_root(root / "src") == root


def test_names_that_are_hard_to_quote(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    names = ["sp ace.py", "new\nline.py", "ünï.py", '"q".py', os.fsdecode(b"\xff.py")]
    for name in names:
        (root / name).write_text("1")
    assert set(walk(root).paths) == set(names)
