"""Which paths the jail lets through, and that nothing put there later leads out."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from glm_lsp.edits.paths import Jail
from glm_lsp.errors import GlmError, Missing, NotText, OutsideWorkspace, Protected, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a file, a folder, links of all kinds, and a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    root = tmp_path / "work"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("a = 1\n")
    (root / "docs").symlink_to("src")
    (root / "alias.py").symlink_to("src/a.py")
    (root / "out").symlink_to("../outside")
    (root / "out.txt").symlink_to("../outside/secret.txt")
    (root / "dangling.py").symlink_to("src/none.py")
    (root / "dangling_out.py").symlink_to("../outside/none.py")
    (root / "circle").symlink_to("circle")
    (root / "innocent").symlink_to(".git")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("")
    (root / "back\\slash.txt").write_text("odd, and there")
    os.mkfifo(root / "pipe")
    return root


READABLE = {
    "src/a.py": "src/a.py",
    "./src//a.py": "src/a.py",
    "src/../src/a.py": "src/a.py",
    "docs/a.py": "src/a.py",
    "alias.py": "src/a.py",
    "back\\slash.txt": "back\\slash.txt",
}
REFUSED = {
    "../outside/secret.txt": OutsideWorkspace,
    "src/../../outside/secret.txt": OutsideWorkspace,
    "out/secret.txt": OutsideWorkspace,
    "out.txt": OutsideWorkspace,
    "out/new.py": OutsideWorkspace,
    "dangling.py": OutsideWorkspace,
    "dangling_out.py": OutsideWorkspace,
    "circle": OutsideWorkspace,
    "circle/a.py": OutsideWorkspace,
    "/etc/passwd": OutsideWorkspace,
    "//etc/passwd": OutsideWorkspace,
    "a\0b": OutsideWorkspace,
    "": OutsideWorkspace,
    " src/a.py": OutsideWorkspace,
    "a" * 300: OutsideWorkspace,
    "a\ud800b": OutsideWorkspace,
    ".": NotText,
    "src": NotText,
    "pipe": NotText,
    ".git/config": Protected,
    ".GIT/config": Protected,
    "src/.git/hooks/x": Protected,
    ".git./config": Protected,
    "git~1/config": Protected,
    ".g\u200cit/config": Protected,
    "innocent/config": Protected,
    ".env": Protected,
    "src/.env.local": Protected,
    "deploy/server.PEM": Protected,
    "id_rsa": Protected,
    ".aws/credentials": Protected,
}
NEVER_WRITTEN = [
    ".vscode/tasks.json",
    "x.code-workspace",
    "AGENTS.md",
    "sub/agents.md",
    ".glm-lsp.toml",
    "..\\..\\x.txt",
    "C:\\Windows\\x",
    "C:/Windows/x",
    "~/.bashrc",
]


@pytest.mark.parametrize("path", READABLE)
def test_paths_inside_are_made_canonical(root: Path, path: str) -> None:
    jail = Jail(root)
    assert jail.readable(path) == jail.writable(path) == READABLE[path]
    assert jail.readable(str(root / path)) == READABLE[path]


@pytest.mark.parametrize("path", REFUSED)
def test_paths_that_are_not_ours_are_neither_read_nor_written(root: Path, path: str) -> None:
    jail = Jail(root)
    for ask in (jail.readable, jail.writable):
        with pytest.raises(REFUSED[path]) as caught:
            ask(path)
        assert caught.value.message


@pytest.mark.parametrize("path", NEVER_WRITTEN)
def test_files_that_steer_tools_and_paths_of_other_systems_are_not_written(root: Path, path: str) -> None:
    with pytest.raises((Protected, OutsideWorkspace)):
        Jail(root).writable(path)


def test_such_files_may_be_read(root: Path) -> None:
    (root / "AGENTS.md").write_text("Be kind.")
    assert Jail(root).readable("AGENTS.md") == "AGENTS.md"


def test_new_files_may_be_written_and_not_read(root: Path) -> None:
    jail = Jail(root)
    assert jail.writable("new/deep/b.py") == "new/deep/b.py"
    assert jail.writable("docs/b.py") == "src/b.py"
    with pytest.raises(Missing):
        jail.readable("new/deep/b.py")


def test_examples_of_secrets_are_no_secrets(root: Path) -> None:
    jail = Jail(root)
    assert jail.writable(".env.example") == ".env.example"
    assert jail.writable("id_rsa.pub") == "id_rsa.pub"


def test_the_person_can_allow_secrets(root: Path) -> None:
    (root / ".env").write_text("X=1")
    assert Jail(root, secrets=True).readable(".env") == ".env"


def test_the_persons_patterns_protect_from_writing_only(root: Path) -> None:
    jail = Jail(root, protected=("src/", "!src/b.py", "*.lock"))
    assert jail.readable("src/a.py") == "src/a.py"
    for path in ("src/a.py", "docs/a.py", "deep/uv.lock"):
        with pytest.raises(Protected):
            jail.writable(path)


def test_a_workspaces_patterns_cannot_lift_what_is_built_in(root: Path) -> None:
    jail = Jail(root, protected=("!.env", "!.vscode/", "!.git/"))
    for path in (".env", ".vscode/tasks.json", ".git/config"):
        with pytest.raises(Protected):
            jail.writable(path)


def test_a_pattern_that_cannot_be_read_is_a_wrong_setting(root: Path) -> None:
    with pytest.raises(SettingsError):
        Jail(root, protected=("!",))


def test_ignored_files_are_refused_under_any_name(root: Path) -> None:
    jail = Jail(root, ignored=lambda path: path.startswith("src/"))
    for path in ("src/a.py", "alias.py", "docs/a.py", "src/new.py"):
        with pytest.raises(Protected):
            jail.writable(path)


def test_a_read_only_file_is_not_written_and_the_error_says_so(root: Path) -> None:
    (root / "src" / "a.py").chmod(0o444)
    with pytest.raises(Protected, match="read-only"):
        Jail(root).writable("src/a.py")


def test_reading_has_a_limit(root: Path) -> None:
    jail = Jail(root)
    assert jail.read("src/a.py", limit=6) == b"a = 1\n"
    with pytest.raises(NotText, match="6 bytes"):
        jail.read("src/a.py", limit=5)


@pytest.mark.parametrize("victim", ["src/a.py", "src"], ids=["file", "folder"])
def test_a_link_put_there_after_the_check_leads_nowhere(root: Path, victim: str) -> None:
    jail = Jail(root)
    path = jail.readable("src/a.py")
    (root / victim).rename(root / "moved")
    (root / victim).symlink_to("../outside" if victim == "src" else "../../outside/secret.txt")

    with pytest.raises(OutsideWorkspace):
        jail.read(path)


def test_a_pipe_put_there_after_the_check_is_not_waited_for(root: Path) -> None:
    (root / "src" / "a.py").unlink()
    os.mkfifo(root / "src" / "a.py")
    with pytest.raises(NotText):
        Jail(root).read("src/a.py")


def test_a_workspace_reached_through_a_link_is_the_same_workspace(root: Path, tmp_path: Path) -> None:
    (tmp_path / "short").symlink_to(root)
    jail = Jail(tmp_path / "short")
    assert jail.root == root
    assert jail.readable(str(tmp_path / "short" / "src" / "a.py")) == "src/a.py"


def test_random_paths_never_lead_out(root: Path) -> None:
    jail = Jail(root)
    parts = ["..", ".", "src", "out", "docs", "a.py", "", "circle", "innocent", "secret.txt"]
    for combination in itertools.product(parts, repeat=4):
        try:
            path = jail.writable("/".join(combination).lstrip("/"))
        except GlmError:
            continue
        assert (root / path).resolve().is_relative_to(root)
        assert ".git" not in path
