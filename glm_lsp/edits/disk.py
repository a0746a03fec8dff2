"""The few ways in which bytes get onto the disk: staged beside their place, then put there in one step.

Never follows a link, never writes into a file that is in use, and never leaves half a file under its real name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from glm_lsp.errors import Conflict, Missing, StateError

if TYPE_CHECKING:
    from glm_lsp.edits.paths import Jail

ABSENT = ""
"""The digest of a file that is not there."""


def digest(data: bytes | None) -> str:
    """What tells one content from another; `ABSENT` for a file that is not there."""
    return ABSENT if data is None else hashlib.sha256(data).hexdigest()


def now(jail: Jail, path: str) -> tuple[bytes | None, int]:
    """The bytes and permission bits of a file at this moment; None and 0 where there is none.

    Raises NotText where something else than a file is there, OutsideWorkspace where a link is.
    """
    try:
        data = jail.read(path)
        with jail.folder(path) as (folder, name):
            return data, stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except (Missing, FileNotFoundError):
        return None, 0


def stage(jail: Jail, path: str, temporary: str, data: bytes, mode: int | None) -> None:
    """Writes `data` to a new file beside `path`, down to the disk, with the owner, attributes and bits of `path`.

    Args:
        jail: where `path` is.
        path: the canonical path that it is meant for.
        temporary: the name of the new file, in the same folder.
        data: its content.
        mode: its permission bits; None for those of `path`, or the default where that is new.
    """
    with jail.folder(path) as (folder, name):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o666, dir_fd=folder)
        try:
            _write(descriptor, data)
            with contextlib.suppress(FileNotFoundError):
                _resemble(descriptor, folder, name)
            if mode is not None:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put(jail: Jail, path: str, temporary: str, *, expected: str) -> None:
    """Makes a staged file the file at `path`, if what is there is still what is expected.

    Raises Conflict where it is not.
    """
    refuse_changed(jail, path, expected)
    with jail.folder(path) as (folder, name):
        if expected == ABSENT:
            try:
                # Unlike renaming, this fails where a file has come to be there.
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                raise changed([path]) from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
            else:
                os.unlink(temporary, dir_fd=folder)
                return
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def remove(jail: Jail, path: str, *, expected: str) -> None:
    """Deletes the file at `path`, if it is still what is expected; raises Conflict where it is not."""
    refuse_changed(jail, path, expected)
    with jail.folder(path) as (folder, name):
        os.unlink(name, dir_fd=folder)


def set_mode(jail: Jail, path: str, mode: int) -> None:
    """Sets the permission bits of the file at `path`."""
    with jail.folder(path) as (folder, name):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)


def drop(jail: Jail, path: str, temporary: str) -> None:
    """Removes a staged file, if it is there."""
    with contextlib.suppress(Missing, FileNotFoundError), jail.folder(path) as (folder, _):
        os.unlink(temporary, dir_fd=folder)


def missing_folders(jail: Jail, path: str) -> list[str]:
    """The folders above `path` that are not there yet, outermost first."""
    above = [parent.as_posix() for parent in PurePosixPath(path).parents][-2::-1]
    return [folder for folder in above if not os.path.lexists(jail.root / folder)]


def make_folder(jail: Jail, path: str) -> None:
    """Makes one folder, unless it is there."""
    with jail.folder(path) as (above, name), contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=above)


def drop_folder(jail: Jail, path: str) -> None:
    """Removes one folder, if it is there and empty."""
    with contextlib.suppress(OSError, Missing), jail.folder(path) as (above, name):
        os.rmdir(name, dir_fd=above)


def sync_folder(jail: Jail, path: str) -> None:
    """Brings the names in the folder of `path` down to the disk."""
    with contextlib.suppress(Missing), jail.folder(path) as (folder, _):
        os.fsync(folder)


def write_private(path: str, data: bytes) -> None:
    """Writes one of our own files, readable by its owner alone, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(folder: str) -> None:
    """Brings the names in one of our own folders down to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_changed(jail: Jail, path: str, expected: str) -> None:
    """Raises Conflict where the file at `path` is not what is expected."""
    if digest(now(jail, path)[0]) != expected:
        raise changed([path])


def changed(paths: list[str], hint: str = "Run it again, from the files as they are.") -> Conflict:
    """The error for files that changed under us."""
    which = f"{paths[0]} has" if len(paths) == 1 else f"{', '.join(paths)} have"
    return Conflict(
        f"{which} changed on disk in the meantime. Nothing was written.",
        hint=hint,
    )


def in_words(error: OSError, doing: str) -> StateError:
    """An error of the operating system, said in words."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StateError(f"The disk is full ({error.strerror}): {doing}.", hint="Make room and run it again.")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StateError(f"Not permitted ({error.strerror}): {doing}.", hint="Check the permissions of the folder.")
    return StateError(f"{error.strerror or error}: {doing}.", hint="Run it again once that is mended.")


_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV}


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _resemble(descriptor: int, folder: int, name: str) -> None:
    """Gives an open file the owner, the extended attributes and the permission bits of another, as far as we may."""
    like = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        info, own = os.fstat(like), os.fstat(descriptor)
        if (info.st_uid, info.st_gid) != (own.st_uid, own.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, info.st_uid, info.st_gid)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                for attribute in os.listxattr(like):
                    os.setxattr(descriptor, attribute, os.getxattr(like, attribute))
        os.fchmod(descriptor, stat.S_IMODE(info.st_mode))
    finally:
        os.close(like)
