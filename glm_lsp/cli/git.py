"""What a headless run asks of git: a worktree of its own, and a commit of what it changed.

Never touches the person's index, branch or files beyond what it is asked to commit.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class Worktree:
    """A worktree on a branch of its own; it is removed in the end unless `keep` is set."""

    folder: Path
    branch: str
    keep: bool = False


@contextlib.contextmanager
def worktree(root: Path, name: str) -> Iterator[Worktree]:
    """Makes a worktree of the current commit, beside the repository, for as long as it is needed.

    Raises:
        UsageError: no git repository, or no commit in it.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{root.name}-{name}-", dir=root.parent))
    place = Worktree(folder, f"glm/{folder.name.removeprefix(f'{root.name}-')}")
    try:
        _git(root, "worktree", "add", "-q", "-b", place.branch, str(folder), "HEAD")
    except UsageError:
        folder.rmdir()
        raise
    try:
        yield place
    finally:
        if not place.keep:
            _git(root, "worktree", "remove", "--force", str(folder))
            _git(root, "branch", "-q", "-D", place.branch)


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
