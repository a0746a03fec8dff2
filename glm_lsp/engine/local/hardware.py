"""Which GPUs there are: found on this host, or given as text such as `8xH100-80` or `2x8xH100`.

Never touches a GPU: it asks the drivers' own libraries for names and sizes, and starts nothing on the device.

Sizes are what vLLM can use: the driver's total without what it keeps for itself.
The table's figures are the totals that PyTorch prints in its out-of-memory messages ("total capacity of 139.80 GiB"),
rounded down, as they stand in public logs and issue trackers: H200 139.80, B200 178.35 (pytorch/ao#4002), GH200 94.50,
H20 95.00 to 95.22, L40S 44.40, RTX 4090 23.64, RTX 5090 31.34, RTX PRO 6000 94.97, MI300X 191.98 (206,141,652,992
bytes, ROCm#4750), MI325X 255.98, MI355X 287.98, MI250X 63.98. Of the B300 only the driver's 275,040 MiB was found, of
which 1.6 GiB are taken off here; the B200 keeps 0.7 of its 183,359 MiB. A figure given in the text (`-94`) chooses
among variants.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psutil

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Vendor = Literal["nvidia", "amd"]
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as people say it: `H100`.
        memory: bytes that a program can use.
        vendor: whose it is.
        capability: NVIDIA's compute capability, (9, 0) for Hopper; (0, 0) elsewhere.
        fp8: whether it multiplies FP8 numbers itself; NVIDIA does from capability 8.9 on.
    """

    name: str
    memory: int
    vendor: Vendor
    capability: tuple[int, int] = (0, 0)
    fp8: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.memory / GIB:.0f} GiB)"


@dataclass(frozen=True, slots=True)
class Hardware:
    """The hosts with the GPUs of each, in the order in which the drivers number them.

    Attributes:
        hosts: one tuple of GPUs a host; empty where there is no GPU at all.
        said: how it is shown: the text that was given, or `4xH200` made from what was found.
        ram: bytes of each host's own memory, where known.
    """

    hosts: tuple[tuple[Gpu, ...], ...]
    said: str
    ram: int | None = None

    @property
    def platform(self) -> str:
        """What vLLM calls it: `cuda`, `rocm` or `cpu`."""
        vendors = {gpu.vendor for host in self.hosts for gpu in host}
        return "cuda" if "nvidia" in vendors else "rocm" if vendors else "cpu"


def parse(text: str) -> Hardware:
    """Reads `4xH200`, `8xH100-80`, `2x8xH100` (two hosts), `4xH100+2xL40S` (mixed), `8xH100,8xH100` or `none`.

    Raises:
        UsageError: a word that is no such thing, or a GPU that is not in the table.
    """
    plain = "".join(text.split())
    if plain.lower() in {"none", "0"}:
        return Hardware((), "none")
    hosts: list[tuple[Gpu, ...]] = []
    for host in plain.split(","):
        times, gpus = 1, []
        for part in host.split("+"):
            match = _PART.fullmatch(part)
            if match is None:
                raise UsageError(
                    f"`{part or text}` does not say which GPUs.", hint="Write it as 4xH200, 8xH100-80 or 2x8xH100."
                )
            count = int(match["count"] or 1)
            if match["hosts"]:
                if "+" in host:
                    raise UsageError(f"`{host}` mixes GPUs and hosts.", hint="Write the hosts one by one, with commas.")
                times = int(match["hosts"])
            if not (0 < count <= _MOST and 0 < times <= _MOST):
                raise UsageError(f"`{part}` names {times} × {count} GPUs.", hint=f"Each figure is from 1 to {_MOST}.")
            gpus += [_known(match["name"], match["size"])] * count
        hosts += [tuple(gpus)] * times
    return Hardware(tuple(hosts), plain)


def find() -> Hardware:
    """Looks at this host: NVIDIA by NVML, AMD by `amd-smi`, in the order in which vLLM looks; no host where none is.

    A driver that is there and broken counts as none: `nvidia-smi` says more.
    """
    gpus = _nvidia() or _amd()
    said = "+".join(f"{gpus.count(gpu)}x{gpu.name}" for gpu in dict.fromkeys(gpus)) or "none"
    return Hardware((tuple(gpus),) if gpus else (), said, psutil.virtual_memory().total)


def visible(environment: Mapping[str, str] = os.environ) -> list[int]:
    """The numbers in `CUDA_VISIBLE_DEVICES`, by which vLLM counts from 0; empty where it is not set or names otherwise."""
    words = [word.strip() for word in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else []


def _nvidia() -> list[Gpu]:
    import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415 - only where someone asks which GPUs there are

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_from_nvml(pynvml, index) for index in visible() or range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _from_nvml(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    name = nvml.nvmlDeviceGetName(handle)
    name = name.decode() if isinstance(name, bytes) else name
    usable = int(memory.total - memory.reserved)
    return Gpu(_short(name), usable, "nvidia", (major, minor), (major, minor) >= (8, 9))


def _amd() -> list[Gpu]:
    program = shutil.which("amd-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "static", "--asic", "--vram", "--json"], capture_output=True, text=True, timeout=30, check=True
        )
        found = json.loads(done.stdout)
        rows = found["gpu_data"] if isinstance(found, dict) else found  # newer releases wrap the list
        return [_from_amd_smi(row) for row in rows]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return []


def _from_amd_smi(row: dict[str, Any]) -> Gpu:
    size = row["vram"]["size"]
    unit = {"MB": 1 << 20, "GB": 1 << 30}[str(size["unit"])]
    name = _short(str(row["asic"]["market_name"]))
    return Gpu(name, int(size["value"]) * unit, "amd", fp8=name in _AMD_FP8)


def _short(name: str) -> str:
    """`H100` from `NVIDIA H100 80GB HBM3`, `MI300X` from `AMD Instinct MI300X`."""
    words = re.sub(r"[^A-Z0-9]", " ", name.upper()).split()
    flat = "".join(words)
    for known in sorted({row[0] for row in _TABLE}, key=len, reverse=True):
        if known in words or (len(known) > 5 and known in flat):
            return known
    return " ".join(w for w in name.split() if w not in {"NVIDIA", "AMD", "Instinct"})


def _known(name: str, size: str | None) -> Gpu:
    """The row of the table; without a size the first one of that name, which is the common one."""
    rows = [row for row in _TABLE if row[0] == name.upper()]
    if not rows:
        near = difflib.get_close_matches(name.upper(), [row[0] for row in _TABLE], 1, 0.5)
        names = ", ".join(dict.fromkeys(row[0] for row in _TABLE))
        raise UsageError(
            f"There is no GPU `{name}` in the table{f'; is it {near[0]}?' if near else '.'}",
            hint=f"Known are: {names}.",
        )
    chosen = next((row for row in rows if size is None or row[1] == int(size)), None)
    if chosen is None:
        sizes = " and ".join(f"{row[0]}-{row[1]}" for row in rows)
        raise UsageError(f"There is no {name.upper()} with {size} GB.", hint=f"There are {sizes}.")
    return Gpu(chosen[0], int(chosen[2] * GIB), chosen[3], chosen[4], chosen[4] >= (8, 9) or chosen[0] in _AMD_FP8)


_MOST = 1024
_PART = re.compile(r"(?:(?:(?P<hosts>\d+)[x×*])?(?P<count>\d+)[x×*])?(?P<name>[A-Za-z][A-Za-z0-9]*)(?:-(?P<size>\d+))?")
_AMD_FP8 = {"MI300X", "MI325X", "MI355X"}

_TABLE: tuple[tuple[str, int, float, Vendor, tuple[int, int]], ...] = (
    ("H100", 80, 79.1, "nvidia", (9, 0)),
    ("H100", 94, 93.0, "nvidia", (9, 0)),
    ("H200", 141, 139.8, "nvidia", (9, 0)),
    ("H20", 96, 95.0, "nvidia", (9, 0)),
    ("H20", 141, 139.8, "nvidia", (9, 0)),
    ("GH200", 96, 94.5, "nvidia", (9, 0)),
    ("B200", 180, 178.3, "nvidia", (10, 0)),
    ("B300", 288, 267.0, "nvidia", (10, 3)),
    ("A100", 80, 79.1, "nvidia", (8, 0)),
    ("A100", 40, 39.3, "nvidia", (8, 0)),
    ("A800", 80, 79.1, "nvidia", (8, 0)),
    ("L40S", 48, 44.3, "nvidia", (8, 9)),
    ("L4", 24, 21.9, "nvidia", (8, 9)),
    ("RTX4090", 24, 23.5, "nvidia", (8, 9)),
    ("RTX5090", 32, 31.3, "nvidia", (12, 0)),
    ("RTXPRO6000", 96, 94.9, "nvidia", (12, 0)),
    ("MI300X", 192, 191.9, "amd", (0, 0)),
    ("MI325X", 256, 255.9, "amd", (0, 0)),
    ("MI355X", 288, 287.9, "amd", (0, 0)),
    ("MI250X", 64, 63.9, "amd", (0, 0)),  # each of its two halves is a device of its own
)
"""Name, the size people say in GB, usable GiB, vendor, compute capability."""
