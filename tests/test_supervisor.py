"""The supervisor: what it does when an engine dies, hangs, lies, rests or is stopped, and when it is killed itself.

Never starts vLLM: a stand-in fails on demand, in ways that cannot be had of the real one, or not within seconds.
The real one goes through a sequence of faults in test_supervised_engine.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from engine.standing import QUICK, gone, launch, make_standin, started, wait_for

from glm_lsp.engine.local import process, record
from glm_lsp.errors import LaunchFailed, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_standin(tmp_path_factory.mktemp("standin") / "venv")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    yield folder
    process.stop(run=folder, now=True)


def state(run: Path) -> str:
    return process.status(run=run).state


def behave(run: Path, how: str) -> None:
    """Changes how the stand-in behaves, while it runs."""
    (run / "standin").write_text(how, encoding="utf-8")


def back(run: Path, before: process.Running) -> process.Status:
    """The engine once it runs again, in another process."""

    def again() -> process.Status | None:
        found = process.status(run=run)
        return found if found.state == "running" and found.pid != before.pid else None

    found: process.Status = wait_for(again)
    return found


class Line(http.client.HTTPConnection):
    """A request of somebody's, straight to the engine."""

    def __init__(self, running: process.Running) -> None:
        super().__init__("localhost", timeout=30)
        self._path = str(running.socket)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class Stream(threading.Thread):
    """A reply of some words, ten a second, as it comes."""

    def __init__(self, running: process.Running, words: int) -> None:
        super().__init__(daemon=True)
        self.said = b""
        self._line = Line(running)
        self._line.request("POST", "/v1/chat/completions", json.dumps({"stream": True, "max_tokens": words}))
        self._reply = self._line.getresponse()
        self.start()

    def run(self) -> None:
        try:
            while piece := self._reply.read1(65536):
                self.said += piece
        except (OSError, http.client.HTTPException):
            return


class TestAnEngineThatDies:
    def test_is_started_again_and_what_it_left_running_is_ended(self, python: Path, run: Path) -> None:
        running = started(python, run)
        worker = int((run / "worker.pid").read_text(encoding="utf-8"))
        os.kill(running.pid, signal.SIGKILL)
        found = back(run, running)
        assert found.restarts == 1
        assert gone(worker)
        assert process.address(run=run) == running.url
        assert "startup complete" in (run / "engine.1.log").read_text(encoding="utf-8")

    def test_says_which_restart_it_is_and_why(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, pause=60))
        behave(run, "die")
        line = Line(running)
        line.request("POST", "/v1/chat/completions", "{}")
        with pytest.raises((http.client.HTTPException, OSError)):
            line.getresponse()
        wait_for(lambda: state(run) == "restarting")
        assert process.status(run=run).detail == "1 of 5: out of GPU memory: there is not enough memory"
        with pytest.raises(Unreachable, match=r"is restarting \(1 of 5: out of GPU memory"):
            process.address(run=run)
        assert process.stop(run=run)
        assert state(run) == "stopped"

    def test_again_and_again_is_given_up_with_the_cause(self, python: Path, run: Path) -> None:
        started(python, run, policy=replace(QUICK, restarts=2, probe_every=0.1))
        behave(run, "die")
        found = wait_for(lambda: (now := process.status(run=run)).state == "crashed" and now)
        assert found.detail == "out of GPU memory: there is not enough memory (after 2 restarts)."
        assert "--utilization" in found.hint
        assert process.address(run=run) is None
        behave(run, "ok")
        assert started(python, run).pid

    def test_is_not_tried_again_where_that_would_end_the_same_way(self, python: Path, run: Path) -> None:
        with pytest.raises(LaunchFailed, match="does not take an option"):
            list(process.start(launch(python, "option"), run=run, policy=QUICK))

    def test_counts_restarts_anew_after_a_time_of_good_work(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, well_after=0.5))
        os.kill(running.pid, signal.SIGKILL)
        back(run, running)
        wait_for(lambda: process.status(run=run).restarts == 0)

    def test_of_a_worker_is_started_again(self, python: Path, run: Path) -> None:
        running = started(python, run)
        os.kill(int((run / "worker.pid").read_text(encoding="utf-8")), signal.SIGKILL)
        assert back(run, running).restarts == 1

    def test_while_a_gpu_has_gone_is_given_up_with_the_numbers(self, python: Path, run: Path) -> None:
        planned = replace(launch(python), gpus=4)  # and this machine has none
        running = process.launch_detached(planned, run=run, policy=QUICK)
        list(process.wait(running, run=run))
        os.kill(running.pid, signal.SIGKILL)
        wait_for(lambda: state(run) == "crashed")
        assert process.status(run=run).detail == "4 GPUs were here when it was planned, and 0 are now."


class TestAnEngineThatHangs:
    def test_stopped_as_a_whole_is_started_again(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, hang=1))
        os.kill(running.pid, signal.SIGSTOP)
        found = back(run, running)
        assert found.restarts == 1
        assert gone(running.pid)

    def test_that_says_it_is_well_and_answers_no_completion_is_started_again(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, hang=1, probe_every=0.2, pause=60))
        behave(run, "silent")
        wait_for(lambda: state(run) == "restarting")
        assert "has not written a token in" in process.status(run=run).detail
        assert gone(running.pid)

    def test_that_says_it_is_well_and_refuses_completions_is_started_again(self, python: Path, run: Path) -> None:
        started(python, run, policy=replace(QUICK, probe_every=0.1, pause=60))
        behave(run, "mute")
        wait_for(lambda: state(run) == "restarting")
        assert process.status(run=run).detail == "1 of 5: it says that it is well, and it answers with HTTP 500"

    def test_in_the_middle_of_a_request_is_started_again(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, hang=1, pause=60))
        behave(run, "stuck")
        stream = Stream(running, 50)
        wait_for(lambda: state(run) == "restarting")
        assert "a request waits and nothing has moved" in process.status(run=run).detail
        stream.join(10)
        assert not stream.is_alive()

    def test_is_not_one_that_is_busy(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, hang=0.6, probe_every=0.2))
        stream = Stream(running, 30)
        stream.join(20)
        assert stream.said.endswith(b"[DONE]\n\n")
        assert process.status(run=run).pid == running.pid


class TestAStop:
    def test_lets_a_running_reply_come_to_its_end(self, python: Path, run: Path) -> None:
        running = started(python, run)
        stream = Stream(running, 15)
        time.sleep(0.3)
        stopping = threading.Thread(target=process.stop, kwargs={"run": run})
        stopping.start()
        wait_for(lambda: process.status(run=run).detail == "waits for 1 requests")
        with pytest.raises(Unreachable, match="is being stopped"):
            process.address(run=run)
        stopping.join(20)
        stream.join(5)
        assert stream.said.endswith(b"[DONE]\n\n")
        assert gone(running.pid)
        assert state(run) == "stopped"

    def test_waits_no_longer_than_it_was_told(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, drain=0.5))
        stream = Stream(running, 600)
        assert process.stop(run=run)
        assert gone(running.pid)
        stream.join(5)
        assert not stream.said.endswith(b"[DONE]\n\n")

    def test_at_once_waits_for_nobody(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, drain=300))
        Stream(running, 600)
        began = time.monotonic()
        assert process.stop(run=run, now=True)
        assert time.monotonic() - began < 10
        assert gone(running.pid)

    def test_comes_by_itself_when_nobody_wants_anything(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, idle_stop=1.5, probe_every=0.3))
        stream = Stream(running, 20)  # longer than that, which is no rest
        stream.join(20)
        assert stream.said.endswith(b"[DONE]\n\n")
        wait_for(lambda: state(run) == "stopped")
        assert "nobody wanted anything" in process.status(run=run).detail
        assert gone(running.pid)
        assert process.address(run=run) is None
        assert started(python, run).pid != running.pid


class TestSleep:
    def test_gives_memory_back_until_it_is_woken(self, python: Path, run: Path) -> None:
        running = started(python, run, "ok", "--enable-sleep-mode", policy=replace(QUICK, probe_every=0.2))
        process.tell_to_sleep(run=run)
        assert state(run) == "asleep"
        time.sleep(1)  # some looks, which are no reason to take it for dead
        process.wake(run=run)
        found = process.status(run=run)
        assert (found.state, found.pid, found.restarts) == ("running", running.pid, 0)

    def test_comes_by_itself_when_nobody_wants_anything(self, python: Path, run: Path) -> None:
        started(python, run, "ok", "--enable-sleep-mode", policy=replace(QUICK, idle_sleep=0.5))
        wait_for(lambda: state(run) == "asleep")

    def test_waits_until_nothing_runs(self, python: Path, run: Path) -> None:
        running = started(python, run, "ok", "--enable-sleep-mode")
        stream = Stream(running, 12)
        time.sleep(0.3)
        process.tell_to_sleep(run=run)
        stream.join(1)
        assert stream.said.endswith(b"[DONE]\n\n")

    def test_is_refused_where_vllm_was_not_asked_for_it(self, python: Path, run: Path) -> None:
        with pytest.raises(Unreachable):
            process.tell_to_sleep(run=run)
        started(python, run)
        with pytest.raises(LaunchFailed, match="without the ability to sleep"):
            process.tell_to_sleep(run=run)


class TestASupervisor:
    def test_that_is_killed_leaves_the_engine_and_the_next_one_adopts_it(self, python: Path, run: Path) -> None:
        running = started(python, run)
        stream = Stream(running, 30)
        first = process.status(run=run).supervisor
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: process.status(run=run).supervisor != first)
        assert process.status(run=run).supervisor == 0
        assert process.address(run=run) == running.url  # whoever looks for the engine sees to it
        second = process.status(run=run).supervisor
        assert second not in {0, first}
        stream.join(20)
        assert stream.said.endswith(b"[DONE]\n\n"), "nobody noticed"
        os.kill(running.pid, signal.SIGKILL)
        assert back(run, running).supervisor == second

    def test_that_is_killed_while_the_engine_starts_is_replaced_by_who_waits(self, python: Path, run: Path) -> None:
        running = process.launch_detached(launch(python, "slow"), run=run, policy=replace(QUICK, patience=60))
        os.kill(process.status(run=run).supervisor, signal.SIGKILL)
        assert [step.stage for step in process.wait(running, run=run)][-1] == "ready"
        assert process.status(run=run).pid == running.pid

    def test_and_engine_that_are_killed_are_struck_from_the_record(self, python: Path, run: Path) -> None:
        running = started(python, run)
        worker = int((run / "worker.pid").read_text(encoding="utf-8"))
        for pid in (process.status(run=run).supervisor, running.pid):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: state(run) == "crashed")
        assert process.address(run=run) is None
        assert started(python, run).pid != running.pid
        assert gone(worker), "what the dead engine left running is ended"

    def test_that_is_killed_does_not_keep_an_engine_from_being_stopped(self, python: Path, run: Path) -> None:
        running = started(python, run)
        os.kill(process.status(run=run).supervisor, signal.SIGKILL)
        assert process.stop(run=run)
        assert gone(running.pid)

    def test_that_is_stuck_is_said_to_be_and_can_be_stopped(
        self, python: Path, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = started(python, run)
        os.kill(process.status(run=run).supervisor, signal.SIGSTOP)
        monkeypatch.setattr(record, "LEASE", 1.0)
        wait_for(lambda: "supervisor is stuck" in process.status(run=run).detail)
        assert process.stop(run=run)
        assert gone(running.pid)

    def test_is_small(self, python: Path, run: Path) -> None:
        started(python, run)
        supervisor = psutil.Process(process.status(run=run).supervisor)
        loaded = supervisor.memory_maps()
        assert not any("aiohttp" in one.path or "torch" in one.path for one in loaded)
        assert supervisor.memory_info().rss < 60 * 2**20

    def test_keeps_its_logs_within_a_size(self, python: Path, run: Path) -> None:
        running = started(python, run, policy=replace(QUICK, log_bytes=20_000))
        with (run / "engine.log").open("ab") as log:
            log.write(b"a line of the engine's\n" * 2000)
        wait_for((run / "engine.1.log").exists)
        assert (run / "engine.log").stat().st_size < 20_000
        assert b"a line of the engine's" in (run / "engine.1.log").read_bytes()
        assert process.status(run=run).pid == running.pid

    def test_tells_systemd_when_it_is_ready(self, python: Path, run: Path, tmp_path: Path, monkeypatch: Any) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(str(tmp_path / "notify"))
            heard.settimeout(30)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            started(python, run)
            said = b""
            while b"READY=1" not in said:
                said = heard.recv(4096)
        assert b"STATUS=GLM-4.7 running" in said


class TestSeveral:
    def test_of_one_plan_are_started_together_and_found_by_clients(self, python: Path, run: Path) -> None:
        launches = [launch(python), launch(python)]
        process.launch_all(launches, run=run, policy=QUICK)
        list(process.wait(run=run))
        assert process.addresses(run=run) == (f"unix:{run}/engine.sock", f"unix:{run}/engine-1.sock")
        first, second = process.statuses(run=run)
        assert first.pid != second.pid
        assert first.log != second.log

    def test_go_on_without_one_that_is_down(self, python: Path, run: Path) -> None:
        policy = replace(QUICK, pause=60)
        process.launch_all([launch(python), launch(python)], run=run, policy=policy)
        list(process.wait(run=run))
        first, second = process.statuses(run=run)
        os.kill(first.pid, signal.SIGKILL)
        wait_for(lambda: state(run) == "restarting")
        assert process.addresses(run=run) == (second.url,)


class TestAnAddress:
    def test_with_files_that_a_killed_program_left_is_used(self, python: Path, run: Path) -> None:
        record.home_of(run)
        for name in ("engine.lock", "supervisor.lock"):
            (run / name).touch()  # nobody holds them: a lock goes with the process that has it
        record.give_orders(run, [launch(python, "oom")], QUICK)
        assert started(python, run).pid

    def test_of_a_stale_socket_is_made_free(self, python: Path, run: Path) -> None:
        record.home_of(run)
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(run / "engine.sock"))
        left.close()
        assert started(python, run).url == f"unix:{run}/engine.sock"

    def test_that_another_program_listens_at_is_left_alone(self, python: Path, run: Path) -> None:
        record.home_of(run)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(run / "engine.sock"))
            other.listen()
            with pytest.raises(LaunchFailed, match="Another program listens"):
                list(process.start(launch(python), run=run, policy=QUICK))
            assert (run / "engine.sock").exists()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
    def test_of_somebody_else_is_refused(self, python: Path, run: Path) -> None:
        record.home_of(run)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(run / "engine.sock"))
        os.chown(run / "engine.sock", 65534, 65534)
        with pytest.raises(LaunchFailed, match=r"engine\.sock belongs to nobody"):
            list(process.start(launch(python), run=run, policy=QUICK))

    def test_that_is_a_file_is_refused(self, python: Path, run: Path) -> None:
        record.home_of(run)
        (run / "engine.sock").write_text("notes", encoding="utf-8")
        with pytest.raises(LaunchFailed, match="is no socket"):
            list(process.start(launch(python), run=run, policy=QUICK))
        assert (run / "engine.sock").read_text(encoding="utf-8") == "notes"


def test_a_second_supervisor_does_not_begin(python: Path, run: Path) -> None:
    started(python, run)
    command = [sys.executable, "-m", "glm_lsp.engine.local.supervisor", str(run), str(run)]
    assert subprocess.run(command, check=False, timeout=30).returncode == 75
    assert state(run) == "running"
