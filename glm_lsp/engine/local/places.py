"""Where the local engine keeps what it needs: its socket and state, its log, its converted models.

Never creates anything that others can read: the folder of the socket is what keeps other people out of the engine.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import platformdirs

from glm_lsp.errors import StateError

SOCKET_PATH_LIMIT = 107  # bytes that fit into sockaddr_un.sun_path with its closing zero (unix(7))

SHORT = "glm-lsp-engine-"
"""How the names of folders begin that hold a socket alone."""


def state_dir() -> Path:
    """What outlives a reboot: the log. `GLM_LSP_STATE_DIR` replaces the default."""
    return Path(os.environ.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp"))


def run_dir() -> Path:
    """What belongs to running processes: lock, state file and socket. Made for its owner only.

    It is `run` in `GLM_LSP_STATE_DIR` where that is set, else `glm-lsp` in the system's folder for the person's
    run-time files, else `run` in the state folder.

    Raises:
        StateError: the folder belongs to somebody else.
    """
    system = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    own = not os.environ.get("GLM_LSP_STATE_DIR") and system.is_dir() and os.access(system, os.W_OK)
    return private(system / "glm-lsp" if own else state_dir() / "run")


def private(folder: Path) -> Path:
    """Makes a folder that only its owner can enter.

    Raises:
        StateError: it belongs to somebody else, is a link, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StateError(f"{folder} is not a folder of yours.", hint="Remove it, or set GLM_LSP_STATE_DIR.")
        folder.chmod(0o700)
    except OSError as error:
        raise StateError(f"{folder} cannot be made: {error.strerror}.", hint="Set GLM_LSP_STATE_DIR.") from error
    return folder


def socket_in(folder: Path, name: str = "engine") -> Path:
    """A path for an engine's socket in `folder`, or in a fresh private folder where that path would be too long."""
    socket = folder / f"{name}.sock"
    if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT:
        return socket
    return Path(tempfile.mkdtemp(prefix=SHORT, dir="/tmp")) / f"{name}.sock"


def models_dir() -> Path:
    """Where converted models are kept; safe to delete."""
    return Path(platformdirs.user_cache_dir("glm-lsp")) / "models"
