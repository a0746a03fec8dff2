"""What a headless run asks of git: a worktree of its own, and a commit of what it changed.

Never touches the person's index, branch or files beyond what it is asked to commit.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def add_worktree(root: Path, name: str) -> tuple[Path, str]:
    """Makes a worktree of the current commit on a new branch beside the repository; returns its path and branch.

    Raises:
        UsageError: no git repository, or no commit in it.
    """
    branch = f"glm/{name}"
    folder = Path(tempfile.mkdtemp(prefix=f"{root.name}-{name}-", dir=root.parent))
    try:
        _git(root, "worktree", "add", "-q", "-b", branch, str(folder), "HEAD")
    except UsageError:
        folder.rmdir()
        raise
    return folder, branch


def remove_worktree(root: Path, folder: Path, branch: str) -> None:
    """Removes a worktree in which nothing was changed, and its branch."""
    _git(root, "worktree", "remove", "--force", str(folder))
    _git(root, "branch", "-q", "-D", branch)


def dirty(root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that have changes which are not committed."""
    paths = list(paths)
    if not paths:
        return ()
    answer = _git(root, "status", "--porcelain=v1", "-z", "--no-renames", "--", *paths)
    return tuple(os.fsdecode(entry[3:]) for entry in answer.split(b"\0") if entry)


def commit(root: Path, paths: Iterable[str], message: str) -> str:
    """Commits just these paths, leaving whatever else is staged as it is; returns the commit's short name.

    Raises:
        UsageError: git refuses, in its own words.
    """
    listed = list(paths)
    _git(root, "add", "--intent-to-add", "--", *[path for path in listed if (root / path).exists()])
    _git(root, "commit", "-q", "--only", "-m", message, "--", *listed)
    return _git(root, "rev-parse", "--short", "HEAD").decode().strip()


def _git(root: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise UsageError("git is not installed.", hint="Install git, or leave out --worktree and --commit.") from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines() or ["git failed"]
        raise UsageError(f"git {arguments[0]}: {words[-1]}", hint="Mend that in git and run again.") from error
