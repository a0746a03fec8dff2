"""Which files a workspace has: git's own answer in a repository, .gitignore rules elsewhere.

Never follows a symbolic link and never opens a file.
"""

from __future__ import annotations

import functools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from glm_lsp.errors import Missing, OutsideWorkspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pathspec

ALWAYS_SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"})
"""Folders that no walk enters; git's answer leaves most of them out anyway."""


def find_root(start: Path) -> Path:
    """The workspace that `start` belongs to: the git work tree around it, else `start` itself."""
    try:
        answer = _git(start, "rev-parse", "--show-toplevel")
    except (OSError, subprocess.CalledProcessError):
        return start.resolve()
    top = os.fsdecode(answer).rstrip("\n")
    return Path(top).resolve() if top else start.resolve()


@dataclass(frozen=True)
class Listing:
    """The files of a workspace at one moment.

    Attributes:
        root: the workspace's real path.
        paths: workspace-relative POSIX paths of regular files, sorted, ignored ones left out.
        git: whether git gave the answer.
    """

    root: Path
    paths: tuple[str, ...]
    git: bool

    @functools.cached_property
    def path_set(self) -> frozenset[str]:
        """`paths` for quick look-ups."""
        return frozenset(self.paths)

    def ignored(self, path: str) -> bool:
        """Whether the rules say that `path`, listed or yet to be created, is not part of the project."""
        if path in self.path_set:
            return False
        if self.git:
            answer = subprocess.run(
                ["git", "-C", str(self.root), "check-ignore", "-q", "--", path], capture_output=True, check=False
            )
            return answer.returncode == 0
        parts = PurePosixPath(path).parts
        if ALWAYS_SKIPPED.intersection(parts):
            return True
        return any(
            _matches(_rules(self.root / folder), PurePosixPath(*parts[depth:]).as_posix())
            for depth, folder in enumerate([Path(), *list(Path(path).parents)[-2::-1]])
        )

    def select(self, given: Iterable[str], *, cwd: Path) -> tuple[str, ...]:
        """The listed files that paths on a command line mean: a file itself, or everything below a folder.

        Args:
            given: paths relative to `cwd`, or absolute; none means the whole workspace.
            cwd: the folder that relative paths start from.

        Raises:
            Missing: a path that does not exist, or a folder in which there is nothing to work on.
            OutsideWorkspace: a path that leaves the workspace.
        """
        chosen: dict[str, None] = {}
        for text in given:
            absolute = Path(os.path.abspath(cwd / text))  # noqa: PTH100 - resolve() would follow links
            if not absolute.exists():
                raise Missing(f"There is no {text}.", hint="Paths are relative to the folder you are in.")
            real = absolute.parent.resolve() / absolute.name if absolute.name else absolute
            if not (real.is_relative_to(self.root) and absolute.resolve().is_relative_to(self.root)):
                raise OutsideWorkspace(f"{text} is outside the workspace {self.root}.", hint="Run from its workspace.")
            relative = real.relative_to(self.root).as_posix()
            below = [p for p in self.paths if relative == "." or f"{p}/".startswith(f"{relative}/")]
            if not below and absolute.is_dir():
                raise Missing(f"There is nothing to work on in {text}.", hint="Ignored files are left out.")
            # A file that is named outright is taken even when it is ignored; the edit engine refuses it in words.
            chosen.update(dict.fromkeys(below or [relative]))
        return tuple(chosen) if chosen else self.paths


def walk(root: Path) -> Listing:
    """Lists the workspace at `root`."""
    root = root.resolve()
    try:
        answer = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except (OSError, subprocess.CalledProcessError):
        return Listing(root, tuple(sorted(_walk_plain(root))), git=False)
    names = {os.fsdecode(name) for name in answer.split(b"\0") if name}
    return Listing(root, tuple(sorted(name for name in names if _is_regular(root / name))), git=True)


def _git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _walk_plain(root: Path) -> Iterator[str]:
    pending: list[tuple[Path, tuple[tuple[Path, pathspec.GitIgnoreSpec], ...]]] = [(root, ())]
    while pending:
        folder, outer = pending.pop()
        rules = _rules(folder)
        active = (*outer, (folder, rules)) if rules is not None else outer
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # a folder that cannot be read holds nothing that we could work on
        for entry in entries:
            path = Path(entry.path)
            is_folder = entry.is_dir(follow_symlinks=False)
            name = entry.name + ("/" if is_folder else "")
            if entry.name in ALWAYS_SKIPPED or any(
                _matches(spec, (path.parent.relative_to(base) / name).as_posix() + ("/" if is_folder else ""))
                for base, spec in active
            ):
                continue
            if is_folder:
                pending.append((path, active))
            elif entry.is_file(follow_symlinks=False):
                yield path.relative_to(root).as_posix()


def _rules(folder: Path) -> pathspec.GitIgnoreSpec | None:
    try:
        lines = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    import pathspec  # noqa: PLC0415 - not needed inside git repositories

    return pathspec.GitIgnoreSpec.from_lines(lines)


def _matches(spec: pathspec.GitIgnoreSpec | None, path: str) -> bool:
    return spec is not None and spec.match_file(path)
