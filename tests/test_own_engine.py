"""This host's own engine to those who use it: waited for, asked again, woken, and started where that is wished.

Never starts vLLM: a stand-in dies and rests on demand.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from engine.standing import QUICK, launch, make_standin, wait_for
from lsp.editor import FakeEditor
from test_choosing import folder as folder  # noqa: PLC0414 - a fixture

from glm_lsp.engine import open_engine
from glm_lsp.engine.local import process, service
from glm_lsp.engine.own import OwnEngine
from glm_lsp.errors import DiedMidStream, LaunchFailed, SettingsError, Unreachable
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glm_lsp.engine.local.process import Status
    from glm_lsp.terms import Delta

WORDS = Prompt((Message("user", "Say five words."),), (), thinking=False, sampling=Sampling(0.0, None, 5))
PATIENT = replace(QUICK, patience=60)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_standin(tmp_path_factory.mktemp("standin") / "venv")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A person with folders of their own, a stand-in for vLLM and no settings; the folder of what runs."""
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("GLM_LSP_ENGINE_PYTHON", str(python))
    monkeypatch.setenv("STANDIN", "ok")
    yield tmp_path / "state" / "run"
    process.stop(now=True)


def start(python: Path, how: str = "ok", *flags: str, policy: process.Policy = PATIENT) -> process.Running:
    """Starts this person's engine and waits until it answers."""
    running = process.launch_detached(launch(python, how, *flags), policy=policy)
    list(process.wait())
    return running


async def said(engine: OwnEngine, deltas: list[Delta] | None = None) -> tuple[str, list[str]]:
    """The words of one reply, and the notes that came before them."""
    text, notes = "", list[str]()
    async with aclosing(engine.stream(WORDS)) as stream:
        async for delta in stream:
            notes += engine.take_notes()
            text += delta.text
            if deltas is not None:
                deltas.append(delta)
    return text, notes


class TestARequest:
    async def test_that_meets_a_dead_engine_is_sent_again_when_it_is_back(self, python: Path) -> None:
        running = start(python, policy=replace(PATIENT, pause=0.5))
        engine = OwnEngine(EngineSettings())
        await engine.connect()
        os.kill(running.pid, signal.SIGKILL)
        text, notes = await said(engine)
        assert text.split() == ["word"] * 5
        assert any("is restarting (1 of 5: it was killed" in note and "waited for" in note for note in notes), notes
        await engine.close()

    async def test_that_breaks_off_in_its_middle_may_be_asked_again(self, python: Path, home: Path) -> None:
        start(python)
        engine = OwnEngine(EngineSettings())
        await engine.connect()
        (home / "standin").write_text("die", encoding="utf-8")
        deltas: list[Delta] = []
        with pytest.raises(DiedMidStream) as broken:
            await said(engine, deltas)
        assert broken.value.elsewhere, "a turn asks the same again"
        assert "".join(delta.text for delta in deltas)
        (home / "standin").write_text("ok", encoding="utf-8")
        assert (await said(engine))[0].split() == ["word"] * 5
        await engine.close()

    async def test_at_an_engine_that_was_given_up_is_told_the_cause(self, python: Path) -> None:
        running = start(python, policy=replace(PATIENT, restarts=0))
        engine = OwnEngine(EngineSettings())
        await engine.connect()
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(Unreachable, match="engine is down: it was killed, most likely by the system"):
            await said(engine)
        await engine.close()

    async def test_wakes_an_engine_that_sleeps(self, python: Path) -> None:
        start(python, "ok", "--enable-sleep-mode")
        process.tell_to_sleep()
        engine = OwnEngine(EngineSettings())
        await engine.connect()
        text, _ = await said(engine)
        assert text.split() == ["word"] * 5
        assert process.status().state == "running"
        await engine.close()


class TestAStartingEngine:
    async def test_is_waited_for_and_shown(self, python: Path) -> None:
        process.launch_detached(launch(python, "slow"), policy=PATIENT)
        seen: list[Status | None] = []
        engine = open_engine(EngineSettings(), on_wait=seen.append)
        await engine.connect()
        await engine.close()
        stages = [one.detail for one in seen if one is not None]
        assert "loading weights 43 %" in stages
        assert seen[-1] is None

    async def test_is_not_waited_for_longer_than_was_set(self, python: Path) -> None:
        process.launch_detached(launch(python, "hang"), policy=PATIENT)
        engine = OwnEngine(EngineSettings(start_seconds=0.5))
        with pytest.raises(Unreachable, match=r"is still starting.*for 0 s by now"):
            await engine.connect()

    async def test_shows_its_progress_in_an_editor(self, python: Path, tmp_path: Path, home: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "cart.py").write_text("def total(items):\n    return sum(items)\n")
        process.launch_detached(launch(python, "held"), policy=PATIENT)
        environment = {"GLM_LSP_STATE_DIR": str(tmp_path / "state")}
        async with FakeEditor(tmp_path / "work", own=True, environment=environment) as editor:
            await editor.open("cart.py")
            await editor.select(1, 4)
            editor.will("window/showDocument", {"success": True})
            assert (await editor.choose("Explain"))["accepted"]

            def bar() -> list[dict[str, Any]]:
                bars = editor.bars().values()
                return next((one for one in bars if one and one[0].get("title") == "GLM: the engine"), [])

            await editor.until(lambda: any("loading weights" in one.get("message", "") for one in bar()))
            (home / "standin").write_text("ok", encoding="utf-8")
            await editor.until(lambda: bar() and bar()[-1]["kind"] == "end")
            told = bar()
            await editor.quiet()
            for method in ("window/showDocument", "window/showMessage"):
                editor.read(method)
        assert any("loading weights" in one.get("message", "") for one in told)
        assert [one["percentage"] for one in told if "percentage" in one] == sorted(
            one["percentage"] for one in told if "percentage" in one
        )

    def test_shows_its_progress_on_the_terminal(self, python: Path, tmp_path: Path, home: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "cart.py").write_text("def total(items):\n    return sum(items)\n")
        process.launch_detached(launch(python, "held"), policy=PATIENT)
        with subprocess.Popen(
            [sys.executable, "-m", "glm_lsp", "refactor", "say something", "cart.py"],
            cwd=tmp_path / "work",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as refactor:
            assert refactor.stderr
            assert refactor.stderr.readline() == "Waiting for this host's engine\n"
            assert refactor.stderr.readline().startswith("loading weights")
            (home / "standin").write_text("ok", encoding="utf-8")
            rest = refactor.stderr.read()
        assert "Waiting" not in rest


class TestStartingItself:
    @pytest.fixture(autouse=True)
    def options(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        words = ["--cpu", "--model", str(folder), "--name", "glm"]
        monkeypatch.setenv("GLM_LSP_ENGINE_START_OPTIONS", json.dumps(words))

    async def test_happens_where_it_is_wished_and_once_for_two_at_a_time(self) -> None:
        both = [open_engine(EngineSettings(start="auto"), on_wait=lambda _: None) for _ in range(2)]
        await asyncio.gather(*(one.connect() for one in both))
        assert [one.model for one in both] == ["glm", "glm"]
        assert len(process.statuses()) == 1
        for one in both:
            await one.close()

    async def test_does_not_happen_unasked(self) -> None:
        with pytest.raises(Unreachable, match="No engine is set"):
            open_engine(EngineSettings(), on_wait=lambda _: None)

    async def test_that_fails_says_why(self, folder: Path) -> None:
        (folder / "model-00002-of-00002.safetensors").unlink()
        engine = open_engine(EngineSettings(start="auto"), on_wait=lambda _: None)
        with pytest.raises(LaunchFailed, match="lacks 1 of its 2 files of weights"):
            await engine.connect()

    def test_takes_two_words_only(self) -> None:
        with pytest.raises(SettingsError, match=r"engine\.start is 'maybe'"):
            open_engine(EngineSettings(start="maybe"))

    def test_as_a_service_is_the_units_own_command(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The unit's ExecStart, run as it stands, with its own variables and no others."""
        text = service.unit(["--max-len", "1024"], process.Policy(drain=1, grace=1))
        lines = [line.removeprefix("Environment=").strip('"') for line in text.splitlines() if "Environment=" in line]
        variables = dict(line.split("=", 1) for line in lines)
        options = os.environ["GLM_LSP_ENGINE_START_OPTIONS"]
        variables |= {"HOME": str(tmp_path), "STANDIN": "ok", "GLM_LSP_ENGINE_START_OPTIONS": options}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(str(tmp_path / "notify"))
            heard.settimeout(60)
            service_process = subprocess.Popen(
                service.command_of(text), env=variables | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
            )
            try:
                told = b""
                while b"READY=1" not in told:
                    told = heard.recv(4096)
                assert process.status().supervisor == service_process.pid
                assert "1024" in process.record.orders(tmp_path / "state" / "run").launches[0].flags  # type: ignore[union-attr]
                service_process.send_signal(signal.SIGTERM)
                assert service_process.wait(30) == 0
                wait_for(lambda: process.status().state == "stopped")
            finally:
                service_process.kill()
                service_process.wait()
