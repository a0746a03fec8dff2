"""Which files there are outside git repositories, by the rules of `.gitignore` files alone.

Never follows a symbolic link, and never enters the folders of version control or of installed packages.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pathspec

ALWAYS_SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"})
"""Folders that no walk enters; git's answer leaves most of them out anyway."""


def files(root: Path) -> list[str]:
    """The regular files below `root`, workspace-relative, sorted; folders that cannot be read hold none."""
    return sorted(seen(root))


def seen(root: Path) -> dict[str, tuple[int, int]]:
    """The same with the size and the change time (ns) of each, in no order."""
    found: dict[str, tuple[int, int]] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        here = _look(f"{root}/{prefix[:-1]}", prefix)
        if here is None:
            found.update((prefix + path, info) for path, info in _ruled(root / prefix).items())
        else:
            found.update(here[0])
            pending += here[1]
    return found


def ignored(root: Path, path: str) -> bool:
    """Whether the rules leave out `path`, which need not be there."""
    parts = PurePosixPath(path).parts
    if ALWAYS_SKIPPED.intersection(parts):
        return True
    folders = [Path(), *list(Path(path).parents)[-2::-1]]
    return any(
        _matches(_rules(root / folder), PurePosixPath(*parts[depth:]).as_posix())
        for depth, folder in enumerate(folders)
    )


def _look(folder: str, prefix: str) -> tuple[dict[str, tuple[int, int]], list[str]] | None:
    """The files of a folder without rules above it, and its folders; None where it has rules of its own."""
    files: dict[str, tuple[int, int]] = {}
    below: list[str] = []
    is_regular = stat.S_ISREG  # looked up once, for there may be very many files
    try:
        # From an open folder, its files are looked at without going all the way to each.
        with _opened(folder, os.O_NOFOLLOW if prefix else 0) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                name = entry.name
                if name in ALWAYS_SKIPPED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(f"{prefix}{name}/")
                    continue
                if name == ".gitignore":
                    return None
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it has just vanished
                if is_regular(info.st_mode):
                    files[prefix + name] = (info.st_size, info.st_ctime_ns)
    except OSError:
        pass  # a folder holds what can be read of it
    return files, below


@contextlib.contextmanager
def _opened(folder: str, flags: int) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ruled(folder: Path) -> dict[str, tuple[int, int]]:
    """What `seen` tells, of a folder that has rules."""
    quick = _quick(folder)
    if quick is not None:
        return quick
    found: dict[str, tuple[int, int]] = {}
    for path in _files(folder):
        with contextlib.suppress(OSError):
            info = (folder / path).lstat()
            found[path] = (info.st_size, info.st_ctime_ns)
    return found


def _quick(root: Path) -> dict[str, tuple[int, int]] | None:
    """The walk in native code; None where it is not there or would not give what git's rules say.

    It ends at a name that is not UTF-8, and takes no further rules from a file of rules behind a line that is not.
    """
    try:
        import rignore  # noqa: PLC0415 - not needed inside git repositories
    except ImportError:
        return None
    top = len(str(root).rstrip("/")) + 1
    found: dict[str, tuple[int, int]] = {}
    try:
        for entry in rignore.walk(
            root,
            ignore_hidden=False,
            read_ignore_files=False,
            read_parents_ignores=False,
            read_git_ignore=True,
            read_global_git_ignore=False,
            read_git_exclude=False,
            require_git=False,
            follow_links=False,
            overrides=[f"!{name}" for name in sorted(ALWAYS_SKIPPED)],
        ):
            path = str(entry)
            try:
                info = os.lstat(path)
            except OSError:
                continue
            if not stat.S_ISREG(info.st_mode):
                continue
            if path.endswith("/.gitignore"):
                Path(path).read_bytes().decode()
            found[path[top:]] = (info.st_size, info.st_ctime_ns)
    except (OSError, ValueError, RuntimeError):
        return None
    return found


def _files(root: Path) -> Iterator[str]:
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
