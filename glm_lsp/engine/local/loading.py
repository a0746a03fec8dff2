"""How far a starting vLLM is, and why it failed, as told by its log.

Never touches the process: it reads lines and says what they mean.

vLLM reports its start in prose only. The lines looked for are those of vLLM 0.32; a line that is not known is passed
over, so that another version shows less progress but starts as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a start is.

    Attributes:
        stage: a few words, such as `loading weights`.
        percent: of that stage, where it counts; else None.
        overall: of the whole start, 0 to 100; 100 only when the engine answers.
    """

    stage: str
    percent: int | None = None
    overall: int = 0

    def __str__(self) -> str:
        return self.stage if self.percent is None else f"{self.stage} {self.percent} %"


# Stage, the line that begins it, and the share of the whole start at which it begins, as timed with a small model.
# With a large one nearly all the time goes into the weights, which report their own percentage.
_STAGES = (
    ("reading the model's configuration", r"non-default args:", 20),
    ("starting workers", r"Initializing a V\d LLM engine", 40),
    ("loading weights", r"Starting to load model", 60),
    ("reserving memory", r"Loading weights took", 80),
    ("warming up", r"KV cache size:", 85),
    ("opening the socket", r"init engine \(.*\) took", 95),
    ("asking for a first word", r"Application startup complete", 98),
)
_SHARDS = re.compile(r"checkpoint shards:\s+(\d+)% Completed")
_FILES = re.compile(
    r"(?:Fetching \d+ files|Downloading \(incomplete total[^)]*\)|model-\d+-of-\d+\.safetensors):\s+(\d+)%"
)


class Loading:
    """Follows one log.

    A class because it keeps its place in the file between two looks.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read_to = 0
        self._rest = ""
        self._now = Progress("importing vLLM")

    def look(self) -> tuple[Progress, bool]:
        """Reads what was written since the last look; returns the progress and whether anything was."""
        try:
            with self._log.open("rb") as file:
                if file.seek(0, 2) < self._read_to:  # it was put aside and began anew
                    self._read_to = 0
                file.seek(self._read_to)
                new = file.read()
        except OSError:
            return self._now, False
        self._read_to += len(new)
        *lines, self._rest = re.split(r"[\r\n]", self._rest + new.decode("utf-8", "replace"))
        for line in lines:
            self._now = _advance(self._now, line)
        return self._now, bool(new)

    @property
    def is_up(self) -> bool:
        """Whether the log says that the server takes requests; it may still not serve them."""
        return self._now.overall >= _STAGES[-1][2]

    def ready(self) -> Progress:
        """The progress of an engine that answers."""
        return Progress("ready", None, 100)


def _advance(now: Progress, line: str) -> Progress:
    if now.overall <= 60 and (files := _FILES.search(line)):
        return Progress("downloading the model", int(files[1]), max(now.overall, 40))
    if shards := _SHARDS.search(line):
        percent = int(shards[1])
        return Progress("loading weights", percent, max(now.overall, 60 + percent * 20 // 100))
    for stage, pattern, share in _STAGES:
        # Every worker says the same in its turn: a later stage is never left for an earlier one.
        if share > now.overall and re.search(pattern, line):
            return Progress(stage, 0 if stage == "loading weights" else None, share)
    return now


_LASTING = (
    (r"No module named '?([\w.]+)", "the Python module {0} is missing.", "Run `glm-lsp engine install`."),
    (r"operator torchvision::nms does not exist", "its torchvision is a build for CUDA, beside a torch for the CPU.",
     "Uninstall torchvision, torchaudio and torchcodec there, or run `glm-lsp engine install`."),
    (r"No package metadata was found for (\S+)", "the metadata of {0} is missing.", "Run `glm-lsp engine install`."),
    (r"CUDA driver version is insufficient|driver on your system is too old|unsupported display driver",
     "the GPU's driver is older than this vLLM wants.", "Update NVIDIA's driver, see `nvidia-smi`."),
    (r"No CUDA GPUs are available|no CUDA-capable device|cuInit failed|NVML Shared Library Not Found",
     "no GPU can be used.", "See what `nvidia-smi` says, and whether CUDA_VISIBLE_DEVICES hides them."),
    (r"Failed to infer device type", "vLLM found no device it was built for.",
     "Without a GPU it takes the CPU build: run `glm-lsp engine install`."),
    (r"No space left on device", "the disk is full.", "Make room and start it again."),
    (r"Free memory on device .*?\(([\d.]+)/([\d.]+) GiB\)", "only {0} of {1} GiB of a GPU are free.",
     "See with `nvidia-smi` who uses it, or take less with --utilization."),
    (r"estimated maximum model length is (\d+)", "the cache has room for {0} tokens, and a whole context is longer.",
     "Start it with --max-len {0} or less."),
    (r"Address already in use", "its address is taken.", "Run `glm-lsp engine stop` and start it again."),
    (r"OfflineModeIsEnabled|LocalEntryNotFoundError|outgoing traffic has been disabled",
     "the model is not on this machine, and the hub is not to be asked (or does not answer).",
     "Download it where there is a network and name its folder with --model, or unset HF_HUB_OFFLINE."),
    (r"GatedRepoError|401 Client Error", "the hub wants to know who asks for the model.", "Run `hf auth login` there."),
    (r"(?i)Temporary failure in name resolution|Name or service not known|Failed to resolve|MaxRetryError",
     "the model is not all on this machine, and the hub cannot be reached.",
     "See to the network, or name a folder that has the model with --model."),
    (r"Cannot find any model weights|does not appear to have a file named|is not a valid model|Repository Not Found",
     "the model's files are not all there.", "Download the model again; of the try-out model delete the folder."),
    (r"Permission denied: '([^']*)'", "{0} may not be read or written.", "Mend its owner or its mode."),
    (r"error: (?:unrecognized arguments|argument):? (.*)", "this vLLM does not take an option: {0}.",
     "Install the version that this glm-lsp names: `glm-lsp engine install`."),
)  # fmt: skip
"""What another try would run into again: what is looked for, the cause, and what to do."""

_PASSING = (
    (r"(?i)cuda out of memory|torch\.OutOfMemoryError|HIP out of memory", "out of GPU memory: there is not enough memory.",
     "Take less with --utilization 0.88, or serve with a shorter context: --max-len."),
    (r"(?i)OutOfMemoryError|MemoryError|cannot allocate memory|no available memory for the cache",
     "there is not enough memory.", "Close what else uses the memory, or serve with a shorter context."),
    (r"(?i)NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclInternalError|ncclRemoteError",
     "the GPUs cannot talk to each other (NCCL).",
     "Start it with NCCL_DEBUG=INFO in the environment; /dev/shm may be too small, or NCCL_P2P_DISABLE=1 may help."),
    (r"CUDA error: ([^\n]*)", "the GPU failed: {0}.", "See `dmesg` for a line with Xid, and what `nvidia-smi` says."),
)  # fmt: skip
"""What may go well the next time."""

_WITHOUT_CAUSE = (
    (r"Worker proc (\S+) died unexpectedly", "its worker {0} died.",
     "`glm-lsp engine logs` has its last words, and `dmesg` says whether the system killed it."),
)  # fmt: skip
"""What says only that something happened; a cause is looked for first."""

_NOISE = re.compile(
    r"^( - (leaked|\.\.\. skipped)|nanobind: |See https://nanobind|\s*warnings\.warn)|resource_tracker: "
)
"""What libraries say when they are ended in a hurry."""


class Diagnosis(NamedTuple):
    """Why an engine ended: the cause, one thing to do, and whether another try would end in the same way."""

    cause: str
    hint: str
    lasting: bool = False


def diagnose(log: Path, exit_code: int | None) -> Diagnosis:
    """Says why an engine ended.

    Args:
        log: its log.
        exit_code: as `subprocess` gives it (negative for a signal), or None where nobody could collect it.
    """
    lines = last_lines(log, 400)
    text = "\n".join(lines)
    for table in (_PASSING, _LASTING, _WITHOUT_CAUSE):
        for pattern, cause, hint in table:
            if found := re.search(pattern, text):
                return Diagnosis(cause.format(*found.groups()), hint, table is _LASTING)
    if exit_code in {-9, 137}:
        return Diagnosis(
            "it was killed, most likely by the system for want of memory.", "Close what else uses the memory."
        )
    if exit_code in {-15, -2, 143, 130}:
        return Diagnosis("it was told to stop.", "Start it again with `glm-lsp engine start`.")
    ended = "it ended" if exit_code is None else f"it ended with code {exit_code}"
    errors = [line for line in lines if re.search(r"\w(Error|Exception)\b: ", line)]
    # The first error is the cause; what follows is other processes noticing it.
    return Diagnosis(f"{ended}: {_plain(errors[0])}." if errors else f"{ended}.", "Look at `glm-lsp engine logs`.")


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log that say anything, without what progress bars overwrote."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 400_000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line.split("\r")[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return [line for line in lines if line and not _NOISE.search(line)][-count:]


def _plain(line: str) -> str:
    """A line without vLLM's prefix of process, level, time and place."""
    return re.sub(r"^(\([^)]*\) )?([A-Z]+ [\d-]+ [\d:.]+ \[[^\]]*\] )?", "", line).strip().rstrip(".")[:300]
