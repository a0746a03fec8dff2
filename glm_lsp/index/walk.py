"""Which files a workspace has: git's own answer in a repository, .gitignore rules elsewhere.

Never follows a symbolic link, and reads no file but those with rules.
"""

from __future__ import annotations

import bisect
import functools
import os
import stat
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import Missing, OutsideWorkspace
from glm_lsp.index import git, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

MOST_PATHS = 500
"""Paths that are worth a look each; with more of them, everything is looked at."""


def is_too_wide(root: Path) -> bool:
    """Whether a folder is a person's home or holds it: opened for one file in it, not for all that is there."""
    return Path.home().resolve().is_relative_to(root.resolve())


def find_root(start: Path) -> Path:
    """The workspace that `start` belongs to: the git work tree around it, else `start` itself."""
    return (git.top(start) or start).resolve()


@dataclass(frozen=True)
class Listing:
    """The files of a workspace at one moment.

    Attributes:
        root: the workspace's real path.
        paths: workspace-relative POSIX paths of regular files, sorted, ignored ones left out.
        git: whether git gave the answer.
        blobs: git's id of the content, for tracked files that are as they were committed or staged.
        nested: folders that are repositories of their own, with a slash behind.
        seen: size and change time (ns) of files, where the walk has just looked at them.
    """

    root: Path
    paths: tuple[str, ...]
    git: bool
    blobs: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    nested: tuple[str, ...] = field(default=(), compare=False)
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)

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
        return plain.ignored(self.root, path)

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
    found = git.listed(root)
    if found is None:
        seen = plain.seen(root)
        return Listing(root, tuple(sorted(seen)), git=False, seen=seen)
    return Listing(
        root, tuple(sorted({*found.blobs, *found.others})), git=True, blobs=found.blobs, nested=tuple(found.nested)
    )


def look(listing: Listing, paths: Collection[str]) -> Listing:
    """The listing with another look at `paths`, files or folders that may be new, changed or gone.

    Changed rules, another repository inside, or very many paths make it a walk of everything.
    """
    if not paths:
        return listing
    if len(paths) > MOST_PATHS or any(path.rpartition("/")[2] == ".gitignore" for path in paths):
        return walk(listing.root)
    if not listing.git:
        return _look_plain(listing, paths)
    found = git.listed(listing.root, sorted(paths), nested=listing.nested)
    if found is None or not set(found.nested) <= set(listing.nested):
        return walk(listing.root)
    below = _below(listing.paths, paths)
    kept = listing.path_set - below
    blobs = {path: blob for path, blob in listing.blobs.items() if path not in below}
    now = tuple(sorted(kept.union(found.blobs, found.others)))
    return replace(listing, paths=now, blobs=blobs | found.blobs)


def _look_plain(listing: Listing, paths: Collection[str]) -> Listing:
    """The same outside git; a folder is a walk of everything."""
    gone, fresh = set(), set()
    for path in paths:
        try:
            mode = (listing.root / path).lstat().st_mode
        except (OSError, ValueError):
            mode = 0
        if stat.S_ISDIR(mode):
            return walk(listing.root)
        if not stat.S_ISREG(mode):
            gone.add(path)
        elif not plain.ignored(listing.root, path):
            fresh.add(path)
    now = (listing.path_set - _below(listing.paths, gone)) | fresh
    return replace(listing, paths=tuple(sorted(now)))


def _below(paths: Sequence[str], given: Collection[str]) -> set[str]:
    """Those of the sorted `paths` that are among `given` or in a folder that is."""
    found: set[str] = set()
    for one in given:
        prefix = one.rstrip("/")
        at = bisect.bisect_left(paths, prefix)
        if at < len(paths) and paths[at] == prefix:
            found.add(prefix)
        first, behind = bisect.bisect_left(paths, f"{prefix}/"), bisect.bisect_left(paths, f"{prefix}0")
        found.update(paths[first:behind])  # "0" is the sign behind "/"
    return found
