"""What `engine start` starts: the plan's own words on GPUs, a folder's model on the processor, and what is refused.

Never starts anything; GPUs are said to be there, since none is.
"""

from __future__ import annotations

import json
import os
import shlex
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from engine.standing import make_standin, put_package

from glm_lsp import cli
from glm_lsp.engine.local import child, choosing, compose, hardware, models, places, plan, preflight, service
from glm_lsp.engine.local.hardware import GIB
from glm_lsp.engine.local.process import Policy
from glm_lsp.engine.local.serving import Wishes
from glm_lsp.errors import LaunchFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_standin(tmp_path_factory.mktemp("standin") / "venv")


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person with folders of their own and nothing set."""
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.delenv(name, raising=False)


def weights_file(path: Path, size: int = 64) -> None:
    """A file of weights in the real format, with one tensor."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of GLM-4.7's kind in two files."""
    made = tmp_path / "tiny"
    made.mkdir()
    config = models.GLM_47_CONFIG | {"architectures": ["Glm4MoeForCausalLM"], "num_hidden_layers": 2}
    (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        weights_file(made / name)
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (made / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return made


def run(*words: str, fails: bool = False) -> str:
    result = CliRunner().invoke(cli.commands, ["engine", *words])
    if fails:
        assert isinstance(result.exception, UsageError | LaunchFailed), result.output
        return f"{result.exception.message} {result.exception.hint}"
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


class TestOnGpus:
    @pytest.mark.parametrize("gpus", ["4xH200", "8xH100", "1xH100", "2xL40S+4xH200", "8xMI300X", "8xL40S"])
    @pytest.mark.parametrize("wishes", [Wishes(socket="/run/x/vllm.sock")], ids=["plain"])
    def test_starts_the_very_words_of_the_plan(self, python: Path, gpus: str, wishes: Wishes) -> None:
        found = hardware.parse(gpus)
        choice = choosing.on_gpus(found, None, wishes, python, look=False)
        for launch, command in zip(choice.launches, plan.make(found, None, wishes).commands, strict=True):
            words = child.command_of(launch, child.address_of(launch, Path("/elsewhere"), 0))
            vllm, extra = words[: len(command.argv) + 2], words[len(command.argv) + 2 :]
            assert vllm[1:4] == ("-m", "vllm.entrypoints.cli.main", "serve")
            assert vllm[4:] == command.argv[2:]
            assert extra == ("--disable-access-log-for-endpoints", "/health,/metrics,/v1/models")
            assert launch.environment == command.environment
            assert launch.gpus == sum(map(len, found.hosts))

    def test_dry_run_shows_what_the_plan_shows(self, monkeypatch: pytest.MonkeyPatch, python: Path) -> None:
        monkeypatch.setattr(hardware, "find", lambda: hardware.parse("4xH200"))
        monkeypatch.setenv("GLM_LSP_ENGINE_PYTHON", str(python))
        planned = json.loads(run("plan", "--json", "--max-len", "65536"))["commands"][0]["argv"]
        started = shlex.split(run("start", "--dry-run", "--max-len", "65536"))
        assert started[started.index("serve") + 1 :][: len(planned) - 2] == planned[2:]

    def test_several_engines_listen_side_by_side(self, python: Path) -> None:
        found, wishes = hardware.parse("8xH200"), Wishes(replicas=2, socket="/run/x/vllm.sock")
        first, second = choosing.on_gpus(found, None, wishes, python, look=False).launches
        assert (first.value("--uds"), second.value("--uds")) == ("/run/x/vllm-0.sock", "/run/x/vllm-1.sock")
        assert (first.value("--device-ids"), second.value("--device-ids")) == ("0,1,2,3", "4,5,6,7")

    def test_what_cannot_fit_is_refused_with_the_numbers(self, python: Path) -> None:
        with pytest.raises(UsageError, match=r"GLM-4\.7-FP8 \(361 GB\) does not fit: 2 x H100"):
            choosing.on_gpus(hardware.parse("2xH100"), models.GLM_47_FP8, Wishes(), python, look=False)

    def test_vllms_build_for_processors_is_refused(self, tmp_path: Path) -> None:
        other = make_standin(tmp_path / "venv")
        site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
        next(site.glob("vllm-*.dist-info")).rename(site / "gone")
        put_package(site, "vllm", "0.32.0+cpu", {})
        with pytest.raises(LaunchFailed, match="build for processors, and this host has GPUs"):
            choosing.on_gpus(hardware.parse("4xH200"), None, Wishes(), other)


class Nvml(SimpleNamespace):
    """Stands for NVIDIA's library on a host whose GPUs are as told."""

    class NVMLError(Exception):
        pass

    def __init__(self, free: float = 139.0, *, split: bool = False) -> None:
        memory = SimpleNamespace(total=int(139.8 * GIB), reserved=0, free=int(free * GIB))
        super().__init__(
            nvmlInit=lambda: None,
            nvmlShutdown=lambda: None,
            nvmlMemory_v2=2,
            nvmlDeviceGetHandleByIndex=lambda number: number,
            nvmlDeviceGetMemoryInfo=lambda handle, version: memory,
            nvmlDeviceGetMigMode=self._mode(split),
        )

    def _mode(self, split: bool) -> Callable[[int], Any]:
        def mode(_: int) -> Any:
            if not split:
                raise self.NVMLError("not supported")
            return (1, 1)

        return mode


class TestGpusThatCannotBeUsed:
    def test_in_use_are_refused_with_the_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", Nvml(free=12.0))
        with pytest.raises(UsageError, match=r"GPU 0 has 12\.0 of 139\.8 GiB free, and the plan takes 128\.6"):
            preflight.gpus(range(4), 0.92)

    def test_that_are_split_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", Nvml(split=True))
        with pytest.raises(UsageError, match=r"GPU 3 is split into parts \(MIG\)") as refused:
            preflight.gpus([3], 0.92)
        assert "nvidia-smi -i 3 -mig 0" in refused.value.hint

    def test_that_are_hidden_from_vllm_are_not_planned_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nvml = Nvml()
        nvml.nvmlDeviceGetCount = lambda: 8
        nvml.nvmlDeviceGetCudaComputeCapability = lambda handle: (9, 0)
        nvml.nvmlDeviceGetName = lambda handle: "NVIDIA H200"
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        assert hardware.find().said == "8xH200"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
        assert hardware.find().said == "4xH200"
        asked: list[int] = []
        nvml.nvmlDeviceGetHandleByIndex = lambda number: asked.append(number) or number
        preflight.gpus([0, 2], 0.92)
        assert asked == [2, 6], "vLLM counts from 0 among those that it sees"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8f3a")
        assert hardware.visible() == []

    def test_that_are_free_are_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", Nvml())
        preflight.gpus(range(4), 0.92)


class TestWeights:
    def test_that_are_whole_are_taken(self, folder: Path) -> None:
        preflight.weights(models.from_folder(folder))

    def test_with_a_missing_file_are_refused_by_name(self, folder: Path) -> None:
        found = models.from_folder(folder)
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(UsageError, match="lacks 1 of its 2 files of weights, such as model-00002-of-00002"):
            preflight.weights(found)
        assert "lacks 1 of its 2 files" in run("start", "--model", str(folder), "--cpu", "--no-install", fails=True)

    @pytest.mark.parametrize("left", [0, 5, 60, 100])
    def test_that_are_cut_off_are_refused_with_the_numbers(self, folder: Path, left: int) -> None:
        path = folder / "model-00001-of-00002.safetensors"
        os.truncate(path, left)
        with pytest.raises(UsageError, match=rf"model-00001-of-00002\.safetensors is cut off: {left} of "):
            preflight.weights(models.from_folder(folder))

    def test_that_are_nowhere_are_refused_without_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(UsageError, match="not on this machine, and HF_HUB_OFFLINE forbids"):
            preflight.weights(models.GLM_47_FLASH)

    def test_that_the_hubs_client_has_are_found_without_the_hub(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        snapshots = tmp_path / "hub" / "hub" / "models--zai-org--GLM-4.7-Flash" / "snapshots"
        snapshots.mkdir(parents=True)
        folder.rename(snapshots / "abc")
        preflight.weights(models.GLM_47_FLASH)
        (snapshots / "abc" / "model-00001-of-00002.safetensors").unlink()
        with pytest.raises(UsageError, match="not all on this machine"):
            preflight.weights(models.GLM_47_FLASH)

    def test_too_large_for_the_disk_are_refused_with_the_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000_000))
        with pytest.raises(UsageError, match="361 GB to download, and 50 GB are free"):
            preflight.weights(models.GLM_47_FP8)


class TestOnTheProcessor:
    def test_a_folder_gets_the_flags_of_its_card_and_what_a_processor_needs(self, folder: Path, python: Path) -> None:
        launch = choosing.on_processor(models.from_folder(folder), Wishes(max_len=4096), python).launches[0]
        words = " ".join(launch.flags)
        for wanted in (
            "--tensor-parallel-size 1",
            "--tool-call-parser glm47 --reasoning-parser glm45 --enable-auto-tool-choice",
            "--speculative-config.method mtp",
            "--scheduling-policy priority",
            "--max-model-len 4096",
            "--block-size 32",
        ):
            assert wanted in words
        assert launch.gpus == 0

    def test_two_workers_share_it_where_the_person_binds_two(self, folder: Path, python: Path) -> None:
        bound = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}
        launch = choosing.on_processor(models.from_folder(folder), Wishes(), python, environment=bound).launches[0]
        assert launch.value("--tensor-parallel-size") == "2"
        assert launch.environment["VLLM_CPU_OMP_THREADS_BIND"] == "0|1"

    def test_more_than_the_memory_is_refused_with_the_numbers(self, folder: Path, python: Path) -> None:
        space = {"VLLM_CPU_KVCACHE_SPACE": "90000"}
        with pytest.raises(
            UsageError, match=r"96,637 GB for its cache on the processor, and \d+ GB of memory are free"
        ):
            choosing.on_processor(models.from_folder(folder), Wishes(), python, environment=space)

    def test_a_large_model_by_name_is_for_gpus(self, python: Path) -> None:
        with pytest.raises(UsageError, match=r"GLM-4\.7-FP8 \(361 GB\) is for GPUs"):
            choosing.on_processor(models.GLM_47_FP8, Wishes(), python)

    def test_sleep_is_refused(self, folder: Path, python: Path) -> None:
        with pytest.raises(UsageError, match="for GPUs"):
            choosing.on_processor(models.from_folder(folder), Wishes(), python, more=(choosing.SLEEP,))

    def test_the_persons_own_options_come_first_and_words_for_vllm_last(
        self, folder: Path, python: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GLM_LSP_ENGINE_PYTHON", str(python))
        own = ["--cpu", "--model", str(folder), "--max-len", "2048"]
        monkeypatch.setenv("GLM_LSP_ENGINE_START_OPTIONS", json.dumps(own))
        words = shlex.split(run("start", "--dry-run", "--max-len", "1024", "--", "--seed", "4"))
        assert words[words.index("--max-model-len") + 1] == "1024"
        assert words[words.index("serve") + 1] == str(folder)
        assert "--seed 4" in " ".join(words)

    def test_a_host_without_vllm_says_how_to_get_it(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from glm_lsp.engine.local import install

        monkeypatch.setattr(install, "find_python", lambda settings: None)
        said = run("start", "--model", str(folder), "--cpu", "--no-install", fails=True)
        assert "vLLM is not installed here" in said
        assert "pip install 'vllm>=0.32'" in said


class TestService:
    def test_systemd_takes_the_unit(self, tmp_path: Path) -> None:
        written = tmp_path / service.NAME
        awkward = ["--model", '/models/a "b" 50% $HOME', "--max-len", "4096"]
        written.write_text(service.unit(awkward, Policy()), encoding="utf-8")
        assert service.verify(written) == ""  # where systemd's tools are installed
        written.write_text("[Service]\nExecStart=/nowhere/program\n", encoding="utf-8")
        if service.shutil.which("systemd-analyze"):
            assert "nowhere" in service.verify(written)

    def test_has_the_words_that_it_was_given(self) -> None:
        words = ["--model", "/models/a b", "--name", "50% $HOME"]
        text = service.unit(words, Policy(drain=60, grace=15))
        assert service.command_of(text)[-4:] == words
        assert "TimeoutStopSec=105" in text
        assert "Environment=PATH=" in text

    def test_carries_no_secret(self) -> None:
        assert "s3cret" not in service.unit([], Policy(), environment={"HF_TOKEN": "s3cret", "PATH": "/bin"})

    def test_is_printed_written_and_removed(self, tmp_path: Path) -> None:
        printed = run("install-service", "--print", "--model", "/models/x", "--max-len", "4096")
        assert "--foreground --no-install --model /models/x --max-len 4096" in printed
        assert not service.path().exists()
        said = run("install-service", "--max-len", "4096")
        assert service.path().is_file()
        assert "systemctl --user enable --now" in said
        assert run("uninstall-service") == "Removed.\n"
        assert not service.path().exists()
        assert run("uninstall-service") == "There was no service.\n"

    def test_with_an_option_that_start_does_not_have_is_refused(self) -> None:
        result = CliRunner().invoke(cli.commands, ["engine", "install-service", "--nonsense"])
        assert result.exit_code != 0
        assert not service.path().exists()


class TestCompose:
    def test_is_the_plans_command_in_a_container(self) -> None:
        made = plan.make(hardware.parse("4xH200"), None, Wishes(socket="/run/user/1000/glm-lsp/vllm.sock"))
        services = yaml.safe_load(compose.compose_file(made, user="1000:1000"))["services"]
        own = services["vllm"]
        assert own["entrypoint"] == ["vllm", "serve"]
        planned = list(made.commands[0].argv[2:])
        planned[planned.index("--uds") + 1] = "/run/glm-lsp/vllm.sock"
        assert own["command"] == planned
        device = own["deploy"]["resources"]["reservations"]["devices"][0]
        assert device == {"driver": "nvidia", "device_ids": ["0", "1", "2", "3"], "capabilities": ["gpu"]}
        assert own["user"] == "1000:1000"

    def test_gives_each_of_several_engines_its_own_gpus(self) -> None:
        made = plan.make(hardware.parse("8xH200"), None, Wishes(replicas=2))
        services = yaml.safe_load(compose.compose_file(made))["services"]
        ids = [s["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for s in services.values()]
        assert ids == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
        assert all("--device-ids" not in s["command"] for s in services.values())
        assert {s["command"][-1] for s in services.values()} == {"/run/glm-lsp/vllm-0.sock", "/run/glm-lsp/vllm-1.sock"}

    def test_mounts_a_model_of_this_machine(self, folder: Path) -> None:
        made = plan.make(hardware.parse("4xH200"), models.from_folder(folder), Wishes())
        own = next(iter(yaml.safe_load(compose.compose_file(made))["services"].values()))
        assert own["command"][0] == "/models"
        assert f"{folder}:/models:ro" in own["volumes"]

    def test_for_amd_has_its_devices(self) -> None:
        own = yaml.safe_load(run("plan", "--gpus", "8xMI300X", "--compose"))["services"]["vllm"]
        assert own["devices"] == ["/dev/kfd", "/dev/dri"]
        assert "rocm" in own["image"]

    def test_for_several_hosts_is_refused(self) -> None:
        assert "for one host" in run("plan", "--gpus", "2x8xH100", "--compose", fails=True)

    def test_the_one_in_docs_is_what_the_plan_gives(self) -> None:
        made = plan.make(hardware.parse("4xH200"), None, Wishes(socket="/run/user/1000/glm-lsp/vllm.sock"))
        assert (DOCS / "compose.yaml").read_text(encoding="utf-8") == compose.compose_file(made, user="1000:1000")


def test_the_run_time_folder_is_the_owners_alone() -> None:
    assert places.run_dir().stat().st_mode & 0o777 == 0o700
