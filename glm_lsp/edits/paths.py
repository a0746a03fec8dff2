"""The jail: which files are ours to read and to write, and opening them so that no link can lead elsewhere.

Never asks git, never decides by the text of a path alone, and never opens what it has not checked.

A path is checked twice. `readable` and `writable` resolve every link and say yes or no in words.
`folder` and `read` then walk the resolved path from the root, folder by folder, and refuse links on the way: one that
was put there in between leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pathspec

from glm_lsp.errors import Missing, NotText, OutsideWorkspace, Protected, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEVER_WRITTEN = (
    ".glm-lsp.toml",  # our own settings
    ".vscode/",  # tasks and settings that an editor carries out
    "*.code-workspace",
    "AGENTS.md",  # instructions that later conversations obey
    "AGENT.md",
)
"""Patterns, as in .gitignore, of files that steer tools: a model that writes them writes its own permissions."""

SECRETS = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "!*.pub",
    ".netrc",
    ".pgpass",
    ".pypirc",
    ".npmrc",
    "credentials",
    "credentials.json",
)
"""Patterns of files that hold keys and passwords: they are neither read nor written."""


def nothing_ignored(_path: str) -> bool:
    """Says of every path that it is part of the project."""
    return False


@dataclass(frozen=True)
class Jail:
    """The rules of one workspace.

    Attributes:
        root: its folder; resolved when the jail is made.
        protected: the person's patterns of files never to be written.
        ignored: whether a workspace-relative path is kept out of the project, as git would say.
        secrets: whether files that look like secrets may be touched after all.
    """

    root: Path
    protected: tuple[str, ...] = ()
    ignored: Callable[[str], bool] = field(default=nothing_ignored)
    secrets: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())
        try:
            _ = self._patterns
        except ValueError as error:
            raise SettingsError(f"edits.protected has a pattern that cannot be read: {error}.") from error

    def readable(self, path: str) -> str:
        """The canonical path of an existing file that may be read: relative to the root, with `/`, links resolved.

        Args:
            path: relative to the root, or absolute.

        Raises:
            OutsideWorkspace: it leads out of the workspace, as it stands or through a link.
            Protected: it is in .git, ignored, or looks like a secret.
            Missing: there is no such file.
            NotText: it is a folder, a device, or anything else that is not a regular file.
        """
        given, real = self._inside(path)
        self._refuse_private(given, real)
        return self._existing(path, real)

    def writable(self, path: str) -> str:
        """The canonical path of a file that may be written, existing or new.

        Raises as `readable`, but for Missing; and Protected also for files that steer tools, for those that the person
        protects, and for those whose permissions forbid writing.
        """
        given, real = self._inside(path)
        self._refuse_private(given, real)
        for name in (given, real):
            if self._patterns[0].match_file(name.casefold()):
                raise Protected(f"{path} steers other tools and is never written.", hint="Ask the person to change it.")
            if self._patterns[2].match_file(name):
                raise Protected(f"{path} is protected by the setting edits.protected.", hint="Leave it as it is.")
        if os.path.lexists(self.root / real):
            self._existing(path, real)
            try:
                mode = (self.root / real).lstat().st_mode
            except OSError as error:
                raise Missing(f"{path} cannot be reached: {error.strerror}.", hint="It has gone just now.") from error
            if not mode & 0o222 or not os.access(self.root / real, os.W_OK):
                raise Protected(f"{path} is read-only.", hint="Change its permissions if it is to be edited.")
        elif given == real and ("\\" in real or re.match(r"[A-Za-z]:|~", real)):
            raise OutsideWorkspace(
                f"{path} is not a path of this workspace.",
                hint="Give a path relative to its root, with forward slashes.",
            )
        return real

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        """The bytes of the file at a canonical path.

        Raises:
            NotText: it is larger than `limit` bytes, or not a regular file.
            Missing, OutsideWorkspace: as it is now, after the check.
        """
        with self._opened(path) as descriptor:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise NotText(f"{path} is not a regular file.", hint="Name a text file.")
            if limit is not None and info.st_size > limit:
                raise NotText(
                    f"{path} has {info.st_size:,} bytes; files over {limit:,} are not read.",
                    hint="edits.max_file_bytes sets this limit.",
                )
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read() if limit is None else file.read(limit + 1)
        if limit is not None and len(data) > limit:
            raise NotText(f"{path} grows while it is read.", hint="Try again once nobody writes to it.")
        return data

    def size(self, path: str) -> int:
        """How many bytes the file at a canonical path has; raises as `read`."""
        with self._opened(path) as descriptor:
            return os.fstat(descriptor).st_size

    @contextlib.contextmanager
    def folder(self, path: str) -> Iterator[tuple[int, str]]:
        """Opens the folder that holds a canonical path, and gives its descriptor and the file's own name.

        Raises OutsideWorkspace where a folder on the way has become a link, and Missing where one is not there.
        """
        parts = PurePosixPath(path).parts
        descriptor = _open(str(self.root), os.O_RDONLY | os.O_DIRECTORY, None, path)
        try:
            for part in parts[:-1]:
                deeper = _open(part, os.O_RDONLY | os.O_DIRECTORY, descriptor, path)
                os.close(descriptor)
                descriptor = deeper
            yield descriptor, parts[-1]
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        with self.folder(path) as (folder, name):
            # Without waiting, since a pipe without a writer would keep us for ever.
            descriptor = _open(name, os.O_RDONLY | os.O_NONBLOCK, folder, path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _inside(self, path: str) -> tuple[str, str]:
        """The path as it was given and with links resolved, both relative to the root."""
        if not path or "\0" in path or path.strip() != path:
            raise OutsideWorkspace(f"{path!r} is not a path.", hint="Give a path relative to the workspace's root.")
        outside = OutsideWorkspace(
            f"{path} is outside the workspace.", hint="Give a path relative to the workspace's root."
        )
        lexical = Path(os.path.normpath(self.root / path))
        real = self._resolved(self.root / path, path)
        if not lexical.is_relative_to(self.root):
            # An absolute path may name the same place through a link above the root, as /tmp does on some systems.
            if not real.is_relative_to(self.root) or ".." in PurePosixPath(path).parts:
                raise outside
            lexical = real
        if not real.is_relative_to(self.root):
            raise outside
        if self.root in {real, lexical}:
            raise NotText(f"{path} is the workspace itself.", hint="Name a file in it.")
        here = self.root
        for part in lexical.relative_to(self.root).parts:
            here /= part
            if os.path.islink(here) and not os.path.exists(here):  # noqa: PTH114, PTH110 - never raise, as Path's do
                raise OutsideWorkspace(f"{path} goes through a link that leads nowhere.", hint="Name the file itself.")
        return lexical.relative_to(self.root).as_posix(), real.relative_to(self.root).as_posix()

    def _resolved(self, path: Path, given: str) -> Path:
        try:
            real = path.resolve()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                real.lstat()  # fails for names that are too long
            if real.resolve() == real:  # beyond links in a circle, resolving gives up and leaves other links in
                return real
            why = "its links go in a circle"
        except (OSError, RuntimeError, ValueError) as error:
            why = str(error)
        raise OutsideWorkspace(f"{given!r} cannot be resolved: {why}.", hint="Name the file itself.")

    def _refuse_private(self, given: str, real: str) -> None:
        for name in (given, real):
            if any(_is_git(part) for part in PurePosixPath(name).parts):
                raise Protected(f"{name} is git's own.", hint="Work on the project's files only.")
            if not self.secrets and self._patterns[1].match_file(name.casefold()):
                raise Protected(
                    f"{name} looks like a secret.",
                    hint="edits.allow_secrets, in the person's own settings, lets such files be read and edited.",
                )
            if self.ignored(name):
                raise Protected(
                    f"{name} is ignored by git.",
                    hint="edits.allow_ignored, in the person's own settings, lets such files be read and edited.",
                )

    def _existing(self, path: str, real: str) -> str:
        try:
            mode = (self.root / real).lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"There is no {path}.", hint="list_files shows what there is.") from None
        except OSError as error:
            raise Missing(f"{path} cannot be reached: {error.strerror}.") from error
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise NotText(f"{path} is {what}.", hint="Name a text file.")
        return real

    @cached_property
    def _patterns(self) -> tuple[pathspec.GitIgnoreSpec, pathspec.GitIgnoreSpec, pathspec.GitIgnoreSpec]:
        fixed = [pathspec.GitIgnoreSpec.from_lines(p.casefold() for p in lines) for lines in (NEVER_WRITTEN, SECRETS)]
        return (fixed[0], fixed[1], pathspec.GitIgnoreSpec.from_lines(self.protected))


def _open(name: str, flags: int, folder: int | None, path: str) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise Missing(f"There is no {path}.", hint="list_files shows what there is.") from None
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
            raise OutsideWorkspace(
                f"{path} goes through a link, or through something that is not a folder.", hint="Name the file itself."
            ) from None
        raise Protected(f"{path} cannot be opened: {error.strerror}.", hint="Check its permissions.") from error


def _is_git(part: str) -> bool:
    # Other spellings that some file systems take for `.git`: trailing dots and blanks, the short name, ignored points.
    plain = "".join(c for c in part if c not in _INVISIBLE).rstrip(". ").casefold()
    return plain in {".git", "git~1"}


_INVISIBLE = "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
