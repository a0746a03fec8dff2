"""Where a command of the model's runs: behind bubblewrap's walls where there are any.

Never lets a command run unconfined that a person permitted as a confined one.

Inside, the workspace is the only place on disk that can be written, without `.git` and the files that steer tools.
There is no network, no home folder, no socket of a service, and `/tmp` is empty and goes away afterwards.
Programs and libraries outside the home folders can be read and run.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.edits.paths import NEVER_WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HIDDEN = ("/tmp", "/var/tmp", "/run", "/home", "/root")  # noqa: S108 - empty places are mounted there, nothing is written
"""Folders that are empty inside: homes, other people's temporary files, and `/run` with the sockets of services."""

STEERING = (".git", *(name.rstrip("/") for name in NEVER_WRITTEN if "*" not in name))
"""Names in the workspace's root that can only be read."""


def confined(root: Path) -> bool:
    """Whether a command in the workspace at `root` would run confined.

    No, where bubblewrap is missing or the system forbids it, and where the workspace contains the home folder.
    """
    return not Path.home().resolve().is_relative_to(root.resolve()) and _works()


def walled(
    command: Sequence[str], root: Path, *, homes: Iterable[Path] | None = None, readable: Iterable[str] = ()
) -> list[str]:
    """The arguments that run `command` confined to the workspace at `root`.

    Args:
        command: a program and its arguments.
        root: the workspace.
        homes: folders to hide besides `HIDDEN`; by default the person's own.
        readable: folders that may be read although they lie in a hidden one.
    """
    hidden = [Path(name) for name in HIDDEN] + list(homes if homes is not None else [Path.home()])
    # In order, since a later mount covers an earlier one: outer folders first.
    empty = sorted({str(folder.resolve()) for folder in hidden if folder.exists()})
    walls = ["bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    walls += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for name in empty:
        walls += ["--tmpfs", name]
    for name in readable:
        folder = str(Path(name).expanduser().resolve())
        walls += ["--ro-bind-try", folder, folder]
    here = str(root.resolve())
    walls += ["--bind", here, here]
    for name in STEERING:
        if (root / name).exists():
            walls += ["--ro-bind", f"{here}/{name}", f"{here}/{name}"]
    return [*walls, "--chdir", here, "--setenv", "TMPDIR", "/tmp", "--", *command]  # noqa: S108 - a private one


@functools.cache
def _works() -> bool:
    """Whether the walls stand: some systems have the program and forbid what it needs."""
    if shutil.which("bwrap") is None:
        return False
    try:
        tried = subprocess.run(walled(["true"], Path("/usr")), capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0
