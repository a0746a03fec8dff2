"""Tells which files of a workspace changed on the disk, where no editor does.

Never reads what is in a file, and never watches a folder that the rules leave out, or one such as `node_modules`.

The system has a limit to the folders that it watches. Past it, what is watched is still told at once, and for the rest
the whole workspace is compared with what it was, every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glm_lsp.index import notices, plain
from glm_lsp.index.git import QUIET
from glm_lsp.index.plain import ALWAYS_SKIPPED
from glm_lsp.index.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from glm_lsp.index.notices import Notices

QUIET_SECONDS: Final = 0.05
"""How long nothing more may happen before what happened is told."""

LONGEST_SECONDS: Final = 0.3
"""How long it is kept at most, where something happens all the time."""

MANY: Final = 1_000
"""Changed paths at once from which on it is cheaper to look at everything."""

MOST_FOLDERS: Final = 50_000
"""Folders that are watched at most; each takes a kilobyte of the kernel's memory."""

RESCAN_SECONDS: Final = 5.0
"""How often everything is compared where the system does not tell of all changes; less often where that takes long."""

_RULES: Final = {".gitignore", ".gitmodules"}
_REMEMBERED: Final = 100_000


@dataclass(slots=True)
class _Happened:
    """What was heard since it was told last: paths and whether they are folders, and what is more than a path."""

    paths: dict[str, bool] = field(default_factory=dict)
    rules: bool = False
    checkout: bool = False
    lost: bool = False

    @property
    def any(self) -> bool:
        return bool(self.paths) or self.rules or self.checkout or self.lost


_State = dict[str, tuple[int, int] | str]
"""What says of each file whether it is another one: its id in git, or its time and size."""


@dataclass(slots=True)
class Watcher:
    """Watches one workspace, from `start` to `close`.

    Attributes:
        root: its real path.
        tell: is called, in a thread of ours, with the paths that changed, files and folders, relative to the root;
            None means that anything may have changed.
        most: folders that are watched at most.
        listen: gives what tells of changes.
        note: what a person should know of it; empty where all is well.
    """

    root: Path
    tell: Callable[[frozenset[str] | None], None]
    most: int = MOST_FOLDERS
    listen: Callable[[str, notices.Hear], Notices] = notices.listen
    note: str = ""
    _notices: Notices | None = None
    _partly: bool = False
    _git: Path | None = None
    _nested: set[str] = field(default_factory=set)
    _ignored: dict[str, bool] = field(default_factory=dict)
    _before: _State | None = None
    _compared: float = 0.0
    _pause: float = RESCAN_SECONDS
    _news: threading.Condition = field(default_factory=threading.Condition)
    _happened: _Happened = field(default_factory=_Happened)
    _first: float = 0.0
    _last: float = 0.0
    _ready: bool = False
    _ended: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins, in the background; what changes from now on is told."""
        self._thread = threading.Thread(target=self._run, args=(time.time(),), name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; nothing is told afterwards."""
        with self._news:
            self._ended = True
            self._news.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)

    def wait(self, seconds: float) -> bool:
        """Waits until changes are told as they happen; says whether they are."""
        with self._news:
            return self._news.wait_for(lambda: self._ready or self._ended, seconds) and self._ready

    @property
    def rescans(self) -> bool:
        """Whether it compares everything again and again, since the system does not tell of all changes."""
        return self._partly

    @property
    def folders(self) -> int:
        """How many folders are watched."""
        return self._notices.count if self._notices is not None else 0

    # --- telling -----------------------------------------------------------------------------------------------------

    def _run(self, since: float) -> None:
        try:
            self._git = _git_folder(self.root)
            self._say(self._begin(since))
            while (happened := self._next()) is not None:
                late = self._partly and time.monotonic() >= self._compared + self._pause
                if happened.lost or (late and not self.folders and self.root.is_dir()):
                    self._begin(since=None)
                    self._say(None)
                else:
                    self._heed(happened)
                if late:
                    self._compare()
        finally:
            if self._notices is not None:
                self._notices.close()

    def _next(self) -> _Happened | None:
        """What happened, once nothing more does, or until it is time to compare; None where it is time to end."""
        with self._news:
            waits = max(0.0, self._compared + self._pause - time.monotonic()) if self._partly else None
            self._news.wait_for(lambda: self._ended or self._happened.any, waits)
            while not self._ended and self._happened.any:
                left = min(self._last + QUIET_SECONDS, self._first + LONGEST_SECONDS) - time.monotonic()
                if left <= 0:
                    break
                self._news.wait(left)
            happened, self._happened = self._happened, _Happened()
            return None if self._ended else happened

    def _hear(self, path: str | None, is_folder: bool) -> None:
        """Takes a notice, in the thread that brings it; the less is done here, the less is lost."""
        folder, name = os.path.split(path or "")
        relative = _relative(path, self.root) if path is not None else ""
        is_git = self._git is not None and folder == str(self._git)
        if is_git and name not in {"HEAD", "index"}:
            return
        is_told = is_git or path in {None, str(self.root)}
        if not is_told and (not relative or not ALWAYS_SKIPPED.isdisjoint(relative.split("/"))):
            return
        with self._news:
            self._last = time.monotonic()
            happened = self._happened
            if not happened.any:
                self._first = self._last
            if is_git:
                happened.checkout = True
            elif not relative:
                happened.lost = True
            else:
                happened.rules |= name in _RULES
                happened.paths[relative] = happened.paths.get(relative, False) or is_folder
            self._news.notify_all()

    def _heed(self, happened: _Happened) -> None:
        """Tells what happened, and watches what is new."""
        if happened.rules:
            self._ignored.clear()
            self._watch_below("", since=None)
            self._say(None)
            return
        changed = self._heeded(happened.paths)
        for path in changed:
            if happened.paths[path]:
                self._watch_below(path, since=None)
        self._say(None if happened.checkout else frozenset(changed))

    def _say(self, changed: frozenset[str] | None) -> None:
        if changed is None or len(changed) > MANY:
            self.tell(None)
        elif changed:
            self.tell(changed)

    # --- watching ----------------------------------------------------------------------------------------------------

    def _begin(self, since: float | None) -> frozenset[str]:
        """Watches everything anew; gives the files that changed after `since`, which nobody may have told of."""
        if self._notices is not None:
            self._notices.close()
        self._notices, self._partly, self.note = None, False, ""
        self._ignored.clear()
        self._nested.clear()
        found: frozenset[str] = frozenset()
        try:
            self._notices = self.listen(str(self.root), self._hear)
            if self._git is not None:
                with contextlib.suppress(FileNotFoundError):
                    self._notices.watch(str(self._git))
            found = self._watch_below("", since)
        except OSError as error:
            self._fall_back(error)
        with self._news:
            self._ready = True
            self._news.notify_all()
        return found

    def _watch_below(self, start: str, since: float | None) -> frozenset[str]:
        """Watches a folder and those below it; gives the files in there that changed after `since`, if that is asked.

        A folder is watched before it is read, so that what comes into it is either read or told.
        """
        found: list[str] = []
        level = [start]
        while level and not self._ended:
            inner: list[str] = []
            for folder in level:
                if not self._watch(folder) and self._partly:
                    return frozenset()  # nothing is missed: all of it is compared
                for name, is_folder, changed in _entries(self.root / folder):
                    path = f"{folder}/{name}" if folder else name
                    if name == ".git" and folder:
                        self._nested.add(folder)
                    if is_folder and name not in ALWAYS_SKIPPED:
                        inner.append(path)
                    elif since is not None and not is_folder and changed >= since:
                        found.append(path)
            level = self._heeded(dict.fromkeys(inner, True))
        return frozenset(self._heeded(dict.fromkeys(found, False)))

    def _watch(self, folder: str) -> bool:
        """Watches one folder; says whether it is watched now."""
        if self._notices is None:
            return False
        try:
            if self._notices.count >= self.most:
                raise OSError(errno.ENOSPC, f"more than {self.most:,} folders")
            self._notices.watch(str(self.root / folder))
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            if folder == "":
                self._fall_back(error)
            return False
        except OSError as error:
            self._fall_back(error)
            return False
        return True

    def _fall_back(self, error: OSError) -> None:
        self._partly = True
        self.note = (
            f"The system does not tell of all changed files ({error.strerror}), so they are looked for every few "
            "seconds. On Linux, raise fs.inotify.max_user_watches."
        )

    # --- comparing ---------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Looks what changed since the last time, by git or by each file's time and size."""
        began = time.monotonic()
        before, self._before = self._before, _state(self.root)
        self._compared = time.monotonic()
        self._pause = max(RESCAN_SECONDS, 20 * (self._compared - began))
        if before is None:
            self._say(None)  # what happened until now was not told
        else:
            after = self._before
            self._say(frozenset(path for path in {*before, *after} if before.get(path) != after.get(path)))

    # --- rules -------------------------------------------------------------------------------------------------------

    def _heeded(self, paths: dict[str, bool]) -> list[str]:
        """Those that the rules do not leave out, in the same order; what was asked once is remembered."""
        unknown = [path for path in paths if path not in self._ignored]
        if unknown:
            if len(self._ignored) + len(unknown) > _REMEMBERED:
                self._ignored.clear()
                unknown = list(paths)
            out = self._left_out(unknown, paths)
            self._ignored.update((path, path in out) for path in unknown)
        return [path for path in paths if not self._ignored[path]]

    def _left_out(self, paths: Sequence[str], folders: dict[str, bool]) -> set[str]:
        if self._git is None:
            # Rules for folders alone need something inside to match.
            return {p for p in paths if plain.ignored(self.root, f"{p}/." + "x" if folders[p] else p)}
        groups: dict[str, list[str]] = {}
        for path in paths:
            prefix = max((one for one in self._nested if path.startswith(f"{one}/")), key=len, default="")
            groups.setdefault(prefix, []).append(path)
        return {path for prefix, some in groups.items() for path in _left_out_by_git(self.root, prefix, some)}


def _entries(folder: Path) -> Iterator[tuple[str, bool, float]]:
    """Names, whether each is a folder, and when it was changed last; links and what cannot be read are left out."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        yield entry.name, True, 0.0
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.name, False, entry.stat(follow_symlinks=False).st_ctime
    except OSError:
        return


def _relative(path: str, root: Path) -> str:
    """The path below the root; empty for the root and for what is elsewhere."""
    top = str(root).rstrip(os.sep) + os.sep
    return path[len(top) :].replace(os.sep, "/") if path.startswith(top) else ""


def _state(root: Path) -> _State:
    listing = walk(root)
    found: _State = dict(listing.blobs)
    for path in listing.paths:
        if path not in found:
            with contextlib.suppress(OSError):
                info = (root / path).lstat()
                found[path] = (info.st_ctime_ns, info.st_size)
    return found


def _left_out_by_git(root: Path, prefix: str, paths: Iterable[str]) -> set[str]:
    """Those that the rules of the repository at `prefix` leave out; tracked ones never are."""
    top = f"{prefix}/" if prefix else ""
    given = "\0".join(path[len(top) :] for path in paths)
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    if prefix:  # another repository than the one that we may have been started for
        environment = {name: value for name, value in environment.items() if not name.startswith("GIT_DIR")}
    try:
        answer = subprocess.run(
            ["git", "-C", str(root / prefix), *QUIET, "check-ignore", "-z", "--stdin"],
            input=os.fsencode(given),
            capture_output=True,
            check=False,
            env=environment,
        ).stdout
    except OSError:
        return set()
    return {top + name for name in os.fsdecode(answer).split("\0") if name}


def _git_folder(root: Path) -> Path | None:
    """Where the repository keeps which commit is checked out; None outside git."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *QUIET, "rev-parse", "--absolute-git-dir"], capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return Path(os.fsdecode(answer).rstrip("\n")).resolve()
