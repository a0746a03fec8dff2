"""What git knows of a work tree: its files, which of them are as they were committed, and which changed lately.

Never writes to a repository, and never runs a program that a repository's own settings name.
"""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUIET = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
"""A nested repository may come from a stranger, and its `core.fsmonitor` would be a command of theirs."""

REGULAR = {"100644", "100755"}

_PLAIN = ("H 100644 ", "H 100755 ")


@dataclass(slots=True)
class Found:
    """The files of a work tree.

    Attributes:
        blobs: paths whose file is what git has under that id (40 or 64 hexadecimal digits), filters aside.
        others: the rest: modified, untracked, in conflict, or such that git was told not to look.
        nested: folders that are repositories of their own, submodules or not, with a slash behind.
    """

    blobs: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)


def listed(root: Path, under: Sequence[str] = (), *, nested: Sequence[str] = ()) -> Found | None:
    """Lists the work tree at `root`, with the repositories inside it; None where `root` is in none.

    Symbolic links, and what lies behind a folder that is one, are left out.

    Args:
        root: the workspace's real path.
        under: look at these paths alone, files or folders; none means everything.
        nested: folders known to be repositories of their own, for the paths of `under` that lie there.
    """
    found = Found()
    folders = _Folders(root)
    for prefix, paths in _by_repository(under, nested).items():
        if not _enter(root, prefix, paths, found, folders):
            return None
    return found


def recent(root: Path, *, commits: int = 200, seconds: float = 2.0) -> list[str]:
    """Paths that the latest commits changed, the latest first, once each; empty outside git or where that takes long."""
    arguments = (
        "log",
        "-z",
        f"-{commits}",
        "--format=",
        "--name-only",
        "--no-renames",
        "--relative",
        "--no-show-signature",
    )
    try:
        answer = subprocess.run(
            _command(root, arguments), capture_output=True, check=True, timeout=seconds, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return list(dict.fromkeys(name for name in os.fsdecode(answer).split("\0") if name))


def top(start: Path) -> Path | None:
    """The top of the work tree around `start`; None outside git."""
    try:
        answer = subprocess.run(
            _command(start, ("rev-parse", "--show-toplevel")), capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    text = os.fsdecode(answer).rstrip("\n")
    return Path(text) if text else None


def _by_repository(under: Sequence[str], nested: Sequence[str]) -> dict[str, list[str]]:
    """The paths that are asked for, by the folder of the repository that they belong to."""
    groups: dict[str, list[str]] = {"": []} if not under else {}
    for path in under:
        prefix = max((one for one in nested if f"{path}/".startswith(one)), key=len, default="")
        groups.setdefault(prefix, []).append(path[len(prefix) :])
    # A whole repository was asked for where nothing of the path is left.
    return {prefix: [] if "" in paths else paths for prefix, paths in groups.items()}


def _enter(root: Path, prefix: str, under: Sequence[str], found: Found, folders: _Folders) -> bool:
    """Adds the repository at `prefix`, and those inside it, to `found`; False where git does not answer."""
    answers = _ask(root / prefix, under, inside=bool(prefix))
    if answers is None:
        return False
    tracked, modified, untracked = answers
    doubtful = {prefix + name for name in modified}
    inside: list[str] = []
    for entry in tracked:
        if entry[49:52] == " 0\t" and entry.startswith(_PLAIN):  # as nearly all are, in a half of the time
            path = prefix + entry[52:]
            if path not in doubtful and folders.real(path):  # else it is among those that are looked at below
                found.blobs[path] = entry[9:49]
            continue
        head, _, name = entry.partition("\t")
        tag, mode, blob, stage = head.split(" ")
        path = prefix + name
        if mode == "160000":
            inside.append(path + "/")
        elif mode not in REGULAR:
            continue
        elif tag == "H" and stage == "0" and path not in doubtful:
            if folders.real(path):
                found.blobs[path] = blob
        else:
            doubtful.add(path)
    inside += [prefix + name for name in untracked if name.endswith("/")]
    doubtful.update(prefix + name for name in untracked if not name.endswith("/"))
    found.others += [path for path in doubtful if folders.holds(path)]
    for folder in inside:
        if not os.path.lexists(root / folder / ".git") or not folders.real(folder + ".git"):
            continue
        found.nested.append(folder)
        _enter(root, folder, (), found, folders)
    return True


def _ask(folder: Path, under: Sequence[str], *, inside: bool) -> tuple[list[str], list[str], list[str]] | None:
    """The index's entries, modified or missing paths, and untracked ones that are not ignored."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1"}
    if inside:  # another repository than the one that we may have been started for
        for name in (
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_PREFIX",
            "GIT_COMMON_DIR",
            "GIT_OBJECT_DIRECTORY",
        ):
            environment.pop(name, None)
        environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    questions = (("-s", "-v"), ("-m",), ("-o", "--exclude-standard"))
    running: list[subprocess.Popen[bytes]] = []
    try:
        for question in questions:
            command = _command(folder, ("ls-files", "-z", *question, "--", *under))
            running.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    stdin=subprocess.DEVNULL,
                    env=environment,
                )
            )
        answers = [one.communicate()[0] for one in running]
    except OSError:
        return None
    finally:
        for one in running:
            if one.poll() is None:
                one.kill()
                one.communicate()
    if any(one.returncode for one in running):
        return None
    entries, modified, untracked = ([name for name in os.fsdecode(answer).split("\0") if name] for answer in answers)
    return entries, modified, untracked


def _command(folder: Path, arguments: Iterable[str]) -> list[str]:
    return ["git", "-C", str(folder), *QUIET, *arguments]


class _Folders:
    """Which folders are real ones, and what is in them, each looked at once."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._known: dict[str, bool] = {"": True}

    def real(self, path: str) -> bool:
        """Whether every folder on the way to `path` is a folder, and not a link to one."""
        folder = path.rpartition("/")[0]
        known = self._known.get(folder)
        if known is None:
            known = self.real(folder) and stat.S_ISDIR(self._mode(folder))
            self._known[folder] = known
        return known

    def holds(self, path: str) -> bool:
        """Whether `path` is a regular file on a real way."""
        return self.real(path) and stat.S_ISREG(self._mode(path))

    def _mode(self, path: str) -> int:
        try:
            return os.lstat(f"{self._root}/{path}").st_mode
        except (OSError, ValueError):
            return 0
