"""The engine as a service of the person's own: a systemd user unit, written from what `engine start` would do.

Never runs as root and never starts anything by itself: systemd does.

The unit runs the supervisor in the foreground, which tells systemd when the engine is ready. Stopping asks the
supervisor alone; where systemd has to end the supervisor, or it was killed, everything it started goes with it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import LaunchFailed, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from glm_lsp.engine.local.record import Policy

NAME = "glm-lsp-engine.service"

_CARRIED = (
    *("PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCM_PATH"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"),
    *("GLM_LSP_STATE_DIR", "GLM_LSP_ENGINE_PYTHON", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND"),
)
"""Variables of the shell that installs the unit which decide what is found; a service starts with few. No secrets."""


def unit(words: Sequence[str], policy: Policy, *, environment: Mapping[str, str] = os.environ) -> str:
    """The unit's text.

    Args:
        words: options of `glm-lsp engine start`.
        policy: the rules by which the engine is kept; how long stopping may take follows from them.
        environment: the variables from which those that matter are carried over.
    """
    command = [sys.executable, "-m", "glm_lsp", "engine", "start", "--foreground", "--no-install", *words]
    variables = [f"{name}={environment[name]}" for name in _CARRIED if environment.get(name)]
    return "\n".join(
        (
            "# Written by `glm-lsp engine install-service`; write it again to change it.",
            "[Unit]",
            "Description=The engine of glm-lsp (vLLM)",
            "",
            "[Service]",
            "Type=notify",
            f"ExecStart={' '.join(map(_quoted, command))}",
            *(f"Environment={_quoted(one)}" for one in variables),
            "# A large model takes minutes to load.",
            "TimeoutStartSec=infinity",
            "# What runs may come to its end.",
            f"TimeoutStopSec={policy.drain + policy.grace + 30:.0f}",
            "KillMode=mixed",
            "# The supervisor starts the engine again by itself, and what it gave up (3) or refuses (4) stays so.",
            "Restart=on-failure",
            "RestartSec=10",
            "RestartPreventExitStatus=3 4",
            "UMask=0077",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        )
    )


def command_of(text: str) -> list[str]:
    """The words of a unit's ExecStart, as systemd reads them."""
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]


def path(*, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the person's units are: systemd.unit(5)."""
    config = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "systemd" / "user" / NAME


def install(text: str, *, now: bool = False) -> list[str]:
    """Writes the unit, has systemd look at it, and with `now` starts it at every login and at once.

    Returns:
        What is left for the person to do, a command each.

    Raises:
        StateError: it cannot be written.
        LaunchFailed: systemd does not take it.
    """
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror}.", hint="See whose the folder is.") from error
    if said := verify(target):
        raise LaunchFailed(f"systemd does not like {target}:\n{said}", hint="Report this, with that text.")
    reloaded = _systemctl("daemon-reload")
    if now and reloaded and _systemctl("enable", "--now", NAME):
        return ["loginctl enable-linger"]
    reload = [] if reloaded else ["systemctl --user daemon-reload"]
    return [*reload, f"systemctl --user enable --now {NAME}", "loginctl enable-linger"]


def uninstall() -> bool:
    """Stops the service and removes the unit; False where there was none."""
    target = path()
    if not target.exists():
        return False
    _systemctl("disable", "--now", NAME)
    target.unlink()
    _systemctl("daemon-reload")
    return True


def verify(target: Path) -> str:
    """What systemd has to say against a unit; empty where it is good, or systemd's tools are not there to ask."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return ""
    for kind in (["--user"], []):  # without a session of the person's it can only look as if it were the system's
        words = [program, *kind, "verify", "--man=no", str(target)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).splitlines()
        if not any("initialize manager" in line for line in said):
            return "\n".join(line for line in said if target.name in line)
    return ""


def _systemctl(*words: str) -> bool:
    program = shutil.which("systemctl")
    if program is None:
        return False
    done = subprocess.run([program, "--user", *words], capture_output=True, timeout=600, check=False)
    return done.returncode == 0


def _quoted(word: str) -> str:
    """A word as systemd reads it: specifiers and variables are no such things here (systemd.syntax(7))."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word and not set(word) & set(" \t\"'\\;"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
