"""Keeps one engine going: starts it, watches it, starts it again when it fails, and gives it up when that is in vain.

Never imports vLLM and never judges its figures: that is for `vitals`.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp.engine.local import asking, child
from glm_lsp.engine.local.loading import Diagnosis, Loading, diagnose
from glm_lsp.engine.local.record import Running
from glm_lsp.engine.local.vitals import Vitals
from glm_lsp.errors import LaunchFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from glm_lsp.engine.local.child import Child
    from glm_lsp.engine.local.record import Launch, Policy


class Keeper:
    """Keeps one engine; `run` is the body of a thread, everything else is called from others.

    Args:
        launch: what to start.
        policy: by which rules.
        home: folder of its socket.
        number: which of this host's engines it is, from 0.
        log: where its log goes.
        tell: gets what there is to know, whenever that changes.
        adopted: one that runs already, left behind by an earlier supervisor.
    """

    def __init__(
        self,
        launch: Launch,
        policy: Policy,
        home: Path,
        number: int,
        log: Path,
        tell: Callable[[Running], None],
        adopted: Running | None = None,
    ) -> None:
        self._launch = launch
        self._policy = policy
        self._home = home
        self._number = number
        self._log = log
        self._tell = tell
        self._child: Child | None = child.Child(adopted) if adopted else None
        self._was_ready = adopted is not None and adopted.state in {"running", "asleep", "draining"}
        self._restarts = adopted.restarts if adopted else 0
        self._stop = threading.Event()
        self._now = threading.Event()
        self._wanted = ""
        address = child.address_of(launch, home, number)
        self._seen = adopted or Running(
            pid=0,
            created=0.0,
            url=f"unix:{address}",
            served_name=launch.served_name,
            label=launch.label,
            note=launch.note,
            log=str(log),
            command=child.command_of(launch, address),
            can_sleep=launch.can_sleep,
        )

    def stop(self, *, now: bool = False) -> None:
        """Has it end: once what runs is done or the time for that is over, or at once."""
        if now:
            self._now.set()
        self._stop.set()

    @property
    def seen(self) -> Running:
        """What there is to know now."""
        return self._seen

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stop.is_set()

    def sleep(self) -> None:
        """Has the engine give its GPUs' memory back."""
        self._wanted = "sleep"

    def wake(self) -> None:
        """Has it take its weights back."""
        self._wanted = "wake"

    def run(self) -> None:
        """Keeps the engine until it is told to stop, nobody wants it any more, or it is given up."""
        while True:
            trouble = self._once()
            if trouble is None:
                return
            if self._child is not None:
                self._child.end(0 if self._hangs else self._policy.grace)
                self._child = None
            limit = self._policy.restarts
            lost = self._lost_gpus()
            if lost or trouble.lasting or not self._was_ready or self._restarts >= limit:
                cause = lost or trouble.cause
                tried = f" (after {self._restarts} restarts)" if self._restarts else ""
                self._say(
                    state="crashed", pid=0, detail=f"{cause.rstrip('.')}{tried}.", hint=trouble.hint, percent=None
                )
                return
            self._restarts += 1
            pause = min(self._policy.longest_pause, self._policy.pause * 2 ** (self._restarts - 1))
            words = f"{self._restarts} of {limit}: {trouble.cause.rstrip('.')}"
            self._say(state="restarting", pid=0, detail=words, overall=0, percent=None, restarts=self._restarts)
            if self._stop.wait(pause):
                self._say(state="stopped", detail="", percent=None)
                return

    # --- one run of the engine -----------------------------------------------------------------------------------

    _hangs = False

    def _once(self) -> Diagnosis | None:
        """Starts it and watches it; returns why it failed, or None where it ended as it should."""
        self._hangs = False
        try:
            if self._child is not None and self._was_ready:
                return self._watch(self._child)
            if self._child is None:
                self._child = child.spawn(self._launch, self._home, self._number, self._log)
                run = self._child.running
                again = {"state": "restarting"} if self._restarts else {"state": "starting", "detail": "importing vLLM"}
                self._say(pid=run.pid, created=run.created, url=run.url, command=run.command, **again)
            if not (trouble := self._load(self._child)):
                trouble = self._watch(self._child)
        except LaunchFailed as error:
            return Diagnosis(error.message, error.hint, lasting=True)
        return trouble

    def _load(self, engine: Child) -> Diagnosis | None:
        """Follows a start until it answers, or the person does not want it any more."""
        loading = Loading(self._log)
        heard = time.monotonic()
        while not self._stop.wait(min(0.25, self._policy.tick)):
            progress, news = loading.look()
            if news and not loading.is_up:  # once it is up, the lines are the echo of our own questions
                heard = time.monotonic()
            if not engine.is_alive():
                return diagnose(self._log, engine.exit_code)
            if asking.answers(engine.running.url, engine.running.served_name):
                return None
            if time.monotonic() - heard > self._policy.patience:
                self._hangs = True
                what = f"it did not get beyond “{progress}” for {self._policy.patience:.0f} s."
                return Diagnosis(what, f"Its log may say why: {self._log}")
            if self._restarts == 0:
                self._say(detail=str(progress))
            self._say(percent=progress.percent, overall=progress.overall)
        return None

    def _watch(self, engine: Child) -> Diagnosis | None:
        """Watches one that answers, until it fails or is to end."""
        began = time.monotonic()
        if not self._stop.is_set():
            self._was_ready = True
            if self._seen.state != "asleep":
                self._say_running()
            engine.count_workers()
        vitals = Vitals(self._policy, began)
        probe = _Probe()
        missing = 0
        while not self._stop.wait(self._policy.tick):
            if not engine.is_alive():
                return diagnose(self._log, engine.exit_code)
            now = time.monotonic()
            if self._seen.state == "asleep":
                if self._wanted == "wake":
                    vitals = Vitals(self._policy, now)
                    if fault := self._woken(engine):
                        return fault
                continue
            wrong = vitals.saw(asking.sample(engine.running.url), now)
            if probe.answer is not None:
                wrong = vitals.probed(probe.take(), time.monotonic()) or wrong
            missing = missing + 1 if (lost := engine.lost_workers()) else 0
            if missing > 3:  # vLLM itself ends within a moment, as a rule, and its log says why
                wrong = f"{lost} of its workers have died, and it goes on without"
            if wrong:
                self._hangs = True
                return Diagnosis(f"{wrong}.", "Look at `glm-lsp engine logs`.")
            if vitals.may_probe(now):
                vitals.probing(now)
                probe.ask(engine.running.url, engine.running.served_name, self._policy.hang * 2)
            if self._restarts and now - began > self._policy.well_after:
                self._restarts = 0
                self._say(restarts=0)
            if vitals.rests and self._laid_to_rest(engine, now - vitals.idle_since):
                return None
            child.cut(self._log, self._policy.log_bytes)
        self._drained(engine)
        return None

    def _say_running(self) -> None:
        self._say(state="running", detail="", percent=None, overall=100, restarts=self._restarts)

    def _laid_to_rest(self, engine: Child, idle: float) -> bool:
        """Puts one that nobody wants to sleep, or ends it; returns whether it ended."""
        policy = self._policy
        if policy.idle_stop and idle > policy.idle_stop:
            engine.end(policy.grace)
            self._say(state="stopped", pid=0, detail=f"nobody wanted anything of it for {_span(policy.idle_stop)}")
            return True
        if self._wanted == "sleep" or (policy.idle_sleep and self._launch.can_sleep and idle > policy.idle_sleep):
            self._wanted = ""
            if self._launch.can_sleep and asking.sleep(engine.running.url):
                self._say(state="asleep", detail="")
        return False

    def _woken(self, engine: Child) -> Diagnosis | None:
        self._wanted = ""
        self._say(state="starting", detail="waking up", overall=90)
        if asking.wake(engine.running.url) and asking.answers(engine.running.url, engine.running.served_name):
            self._say_running()
            return None
        self._hangs = True
        return Diagnosis("it did not wake up.", "Look at `glm-lsp engine logs`.")

    def _drained(self, engine: Child) -> None:
        """Ends it once what runs is done, or the time for that is over; new requests of ours stay away meanwhile."""
        self._say(state="draining", detail="", percent=None)
        until = time.monotonic() + self._policy.drain
        while engine.is_alive() and time.monotonic() < until and not self._now.is_set():
            seen = asking.sample(engine.running.url)
            if seen is None or not seen.busy:
                break
            self._say(detail=f"waits for {seen.running + seen.waiting:.0f} requests")
            self._now.wait(min(0.5, self._policy.tick))
        engine.end(self._policy.grace)
        self._say(state="stopped", pid=0, detail="")

    def _lost_gpus(self) -> str:
        """What has become of the GPUs since it was planned; empty where they are all there."""
        if not self._launch.gpus:
            return ""
        from glm_lsp.engine.local import hardware  # noqa: PLC0415 - opens the driver, which only GPUs need

        there = sum(len(host) for host in hardware.find().hosts)
        if there >= self._launch.gpus:
            return ""
        return f"{self._launch.gpus} GPUs were here when it was planned, and {there} are now."

    def _say(self, **news: Any) -> None:
        seen = msgspec.structs.replace(self._seen, **news)
        if seen != self._seen:
            self._seen = seen
            self._tell(seen)


class _Probe:
    """A request for one token in a thread of its own: one that hangs holds up nobody."""

    def __init__(self) -> None:
        self.answer: str | None = None

    def ask(self, url: str, served_name: str, timeout: float) -> None:
        def work() -> None:
            self.answer = asking.fault(url, served_name, timeout=timeout)

        threading.Thread(target=work, daemon=True).start()

    def take(self) -> str:
        answer, self.answer = self.answer or "", None
        return answer


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
