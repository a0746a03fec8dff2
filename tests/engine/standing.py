"""What tests of the launcher share: an interpreter whose `vllm` is the stand-in, and quick rules.

Never starts anything by itself.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from engine import standin
from glm_lsp.engine.local import process

if TYPE_CHECKING:
    from collections.abc import Callable

CLI_MAIN = Path(standin.__file__).read_text(encoding="utf-8")

VLLM_FILES = {
    "vllm/__init__.py": "",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/cli/__init__.py": "",
    "vllm/entrypoints/cli/main.py": CLI_MAIN,
}

QUICK = process.Policy(tick=0.1, grace=0.5, drain=5, patience=1.5, pause=0.1)


def put_package(site: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Installs a distribution by hand, as far as its metadata and modules go."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")


def make_standin(folder: Path) -> Path:
    """An environment with the stand-in for vLLM; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    put_package(site, "vllm", "0.32.0", VLLM_FILES)
    return folder / "bin" / "python"


def launch(python: Path, how: str = "ok", *flags: str) -> process.Launch:
    return process.Launch(python, "/models/x", "glm", "GLM-4.7", flags=flags, environment={"STANDIN": how})


def started(python: Path, run: Path, how: str = "ok", *flags: str, policy: process.Policy = QUICK) -> process.Running:
    """Starts and waits until it answers."""
    running = process.launch_detached(launch(python, how, *flags), run=run, policy=policy)
    for _ in process.wait(running, run=run):
        pass
    return running


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Returns what the condition says once that is true."""
    deadline = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return said


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
