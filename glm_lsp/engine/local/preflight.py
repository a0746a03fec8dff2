"""What can be known to fail before an engine is started: weights that are not all there, GPUs that cannot be used.

Never downloads and never starts anything: it looks, and refuses with the numbers and what to do.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from glm_lsp.engine.local import hardware
from glm_lsp.engine.local.hardware import GIB
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from glm_lsp.engine.local.models import Model

_OFF = {"1", "true", "yes", "on"}


def weights(model: Model, *, environment: Mapping[str, str] = os.environ) -> None:
    """Sees whether the model's files are whole, or can come from the hub.

    Raises:
        UsageError: some are missing or cut off, the hub may not be asked, or the disk is too small.
    """
    folder = Path(model.source).expanduser()
    if folder.is_dir():
        _whole(folder)
        return
    snapshots = _hub(environment) / f"models--{model.source.replace('/', '--')}" / "snapshots"
    here = [one for one in snapshots.glob("*") if (one / "config.json").exists()]
    if any(_is_whole(one) for one in here):
        return
    if _is_offline(environment):
        raise UsageError(
            f"{model.source} is not {'all ' if here else ''}on this machine, and HF_HUB_OFFLINE forbids to ask for it.",
            hint="Unset HF_HUB_OFFLINE, or download it elsewhere (`hf download`) and name the folder with --model.",
        )
    target = next((one for one in (_hub(environment), *_hub(environment).parents) if one.exists()), Path("/"))
    partly = sum(file.stat().st_size for file in snapshots.parent.glob("blobs/*")) if here else 0
    free = shutil.disk_usage(target).free
    if free < model.weights - partly:
        raise UsageError(
            f"{model.source} has {_gb(model.weights)} to download, and {_gb(free)} are free at {target}.",
            hint="Make room, set HF_HOME to a larger disk, or name a folder that has the model with --model.",
        )


def gpus(numbers: Iterable[int], share: float) -> None:
    """Sees whether NVIDIA's GPUs of these numbers are whole, and have as much memory free as is to be taken.

    Raises:
        UsageError: one is split, or somebody uses its memory.
    """
    import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415 - only where an engine is started on GPUs

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return  # another vendor's
    try:
        seen = hardware.visible()
        for number in (seen[one] if seen else one for one in numbers):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            if _is_split(pynvml, handle):
                raise UsageError(
                    f"GPU {number} is split into parts (MIG), and an engine takes whole ones.",
                    hint=f"`nvidia-smi -i {number} -mig 0` makes it whole again; whoever uses a part has to end first.",
                )
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
            usable = memory.total - memory.reserved
            if memory.free < usable * share:
                raise UsageError(
                    f"GPU {number} has {memory.free / GIB:.1f} of {usable / GIB:.1f} GiB free, and the plan takes "
                    f"{usable * share / GIB:.1f}.",
                    hint="See with `nvidia-smi` who uses it, or take less with --utilization.",
                )
    except pynvml.NVMLError as error:
        raise UsageError(
            f"The driver does not tell of the GPUs: {error}.", hint="See what `nvidia-smi` says."
        ) from error
    finally:
        pynvml.nvmlShutdown()


def main_memory(model: Model, cache: int) -> None:
    """Sees whether weights and cache fit into the host's own memory.

    Raises:
        UsageError: they do not.
    """
    there = psutil.virtual_memory().available
    if model.weights + cache > there:
        raise UsageError(
            f"{model.name} wants {_gb(model.weights)} for its weights and {_gb(cache)} for its cache on the processor, "
            f"and {_gb(there)} of memory are free.",
            hint="Close what else uses the memory, or serve a smaller model.",
        )


def _whole(folder: Path) -> None:
    named, missing, cut = _files(folder)
    if missing:
        raise UsageError(
            f"{folder} lacks {len(missing)} of its {len(named)} files of weights, such as {missing[0].name}.",
            hint="Download the model again: what is there already is kept.",
        )
    if cut:
        path, there, wanted = cut[0]
        raise UsageError(
            f"{path} is cut off: {there:,} of {wanted:,} bytes are there ({len(cut)} such of {len(named)} files).",
            hint="Download the model again: what is there already is kept.",
        )


def _is_whole(folder: Path) -> bool:
    named, missing, cut = _files(folder)
    return bool(named) and not missing and not cut


def _files(folder: Path) -> tuple[list[Path], list[Path], list[tuple[Path, int, int]]]:
    """The files of weights that the index names, or else those there are; the missing ones, and those cut off."""
    index = folder / "model.safetensors.index.json"
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        named = sorted({folder / name for name in found})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        named = sorted(folder.glob("*.safetensors"))
    missing = [path for path in named if not path.exists()]
    sizes = [(path, path.stat().st_size, _size(path)) for path in named if path not in missing]
    return named, missing, [row for row in sizes if row[1] < row[2]]


def _size(path: Path) -> int:
    """How long a file of weights is to be by its own header: its length, then each tensor's place."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:  # the format's own limit
                return 0
            content = file.read(length)
        if len(content) < length:
            return int(8 + length)
        header = json.loads(content)
        ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
        return int(8 + length + max(ends, default=0))
    except (OSError, ValueError, struct.error, KeyError, TypeError, IndexError):
        return 8  # not even a header: more than nothing has to be there, and vLLM says what else is wrong


def _is_split(nvml: object, handle: object) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - NVMLError_NotSupported, on all GPUs that cannot be split
        return False


def _hub(environment: Mapping[str, str]) -> Path:
    """Where the hub's client keeps what it downloaded, by its own variables."""
    if cache := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _is_offline(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name, "").lower() in _OFF for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _gb(size: float) -> str:
    return f"{size / 1e9:,.0f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
