"""This host's own engine as an Engine: waited for while it starts or restarts, woken, and started where that is wished.

Never watches it: that is the supervisor's work, whose record is read before each request.

A request that fails before its first word, as the engine has died, is sent again once it is back. After the first word
nothing is sent again here: the error's `elsewhere` says that the request may be, and what was said is void.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from glm_lsp.engine import profiles
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.local import places, process
from glm_lsp.engine.replicas import Replicas
from glm_lsp.errors import DiedMidStream, LaunchFailed, Stalled, Unreachable
from glm_lsp.terms import Delta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from glm_lsp.engine.local.process import Status
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.settings import EngineSettings
    from glm_lsp.terms import Prompt

_LOOK = 0.25  # seconds between two looks at one that is not there yet
_NOTICED = 6.0  # seconds within which a supervisor has seen that its engine died
_AGAIN = 2  # how often one request is sent again: what kills an engine twice may be the request


class OwnEngine:
    """The engine, or the engines, of this host.

    Args:
        settings: with neither `url` nor `replicas`.
        on_wait: told how the engine is, again and again while it is waited for, and None when that is over.
        cache: folder that remembers what a server was seen to be able to do; None to remember nothing.
        anew: whether to find that out again, whatever is remembered.
        run: folder of the engine's record; None for the person's own.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        on_wait: Callable[[Status | None], object] = lambda _: None,
        cache: Path | None = None,
        anew: bool = False,
        run: Path | None = None,
    ) -> None:
        self._settings = settings
        self._on_wait = on_wait
        self._cache = cache
        self._anew = anew
        self._run = run
        self._urls: tuple[str, ...] = ()
        self._inner: HttpEngine | Replicas | None = None
        self._notes: list[str] = []
        self._starting = asyncio.Lock()

    @property
    def model(self) -> str:
        """The name it serves the model under."""
        return self._inner.model if self._inner is not None else self._settings.model

    @property
    def profile(self) -> Profile:
        """What is known of the model; only valid after `connect`."""
        return self._inner.profile if self._inner is not None else profiles.profile_for(self._settings.model)

    @property
    def exactness(self) -> str:
        """As HttpEngine says; empty for several engines."""
        return self._inner.exactness if isinstance(self._inner, HttpEngine) else ""

    def take_notes(self) -> tuple[str, ...]:
        """What a person should know and has not been told: each thing once, as a sentence."""
        notes, self._notes = tuple(self._notes), []
        return (*notes, *(self._inner.take_notes() if self._inner is not None else ()))

    async def connect(self) -> None:
        """Waits until the engine is there, starting it where that is wished; safe to call twice.

        Raises:
            EngineError: it is not, or did not come within `engine.start_seconds`.
        """
        while True:
            async for _ in self._there():
                pass
            assert self._inner is not None  # noqa: S101 - for the type checker
            before = self._pids()
            try:
                await self._inner.connect()
            except (Unreachable, DiedMidStream) as error:
                if not await self._comes_back(before, error):
                    raise
            else:
                return

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Sends one request and yields what comes back; an empty Delta says that there is a note to be taken.

        Raises:
            EngineError: as its tree says; `elsewhere` where the request may be sent again as the engine comes back.
        """
        sent = 0
        while True:
            async for note in self._there():
                self._notes.append(note)
                yield Delta()
            assert self._inner is not None  # noqa: S101 - for the type checker
            before = self._pids()
            spoke = False
            try:
                async with aclosing(self._inner.stream(prompt)) as deltas:
                    async for delta in deltas:
                        spoke = spoke or (delta.queued is None and delta != _NOTHING)
                        yield delta
            except (Unreachable, DiedMidStream, Stalled) as error:
                sent += 1
                if sent > _AGAIN or error.elsewhere or not await self._comes_back(before, error):
                    raise
                if spoke:
                    error.elsewhere = True
                    raise
            else:
                return

    async def count(self, text: str) -> int | None:
        """The tokens of a text, by the model's own tokenizer; None where that is not known."""
        return await self._inner.count(text) if self._inner is not None else None

    async def close(self) -> None:
        """Lets go of connections; the engine runs on."""
        if self._inner is not None:
            await self._inner.close()

    # --- waiting -------------------------------------------------------------------------------------------------

    async def _there(self) -> AsyncGenerator[str, None]:
        """Comes to an end when the engine takes requests; yields what a person should know meanwhile, a few times.

        Raises:
            Unreachable: it is down, or takes too long.
            LaunchFailed: it could not be started.
        """
        waits = False
        try:
            async for found, words in self._states():
                waits = True
                self._on_wait(found)
                if words:
                    yield words
        finally:
            if waits:
                self._on_wait(None)

    async def _states(self) -> AsyncGenerator[tuple[Status, str], None]:
        """The engine's state at each look until it takes requests, and what to say of it when that is another."""
        until = time.monotonic() + self._settings.start_seconds
        told = ""
        started = False
        while True:
            found = await asyncio.to_thread(process.statuses, run=self._run, memory=False)
            if any(one.state == "running" for one in found):
                if not any(one.supervisor for one in found):
                    await asyncio.to_thread(process.addresses, run=self._run)  # has it supervised
                await self._open(tuple(one.url for one in found))
                return
            waiting = next((one for one in found if one.state in process.UNDER_WAY), None)
            if any(one.state == "asleep" for one in found):
                words = "is asleep and is woken"
                await asyncio.to_thread(process.tell_to_wake, run=self._run)
            elif waiting is not None:
                words = process.in_words(waiting)
            elif self._settings.start == "auto" and not started:
                started, words = True, "is started"
                await self._start()
            else:
                raise self._down(found)
            if time.monotonic() > until:
                raise Unreachable(
                    f"This host's engine {words}, for {self._settings.start_seconds:.0f} s by now.",
                    hint="`glm-lsp engine status` says how far it is; engine.start_seconds is how long it is waited for.",
                    retryable=True,
                )
            kind = words.partition(":")[0]  # not at each per cent
            news = f"This host's engine {words}; it is waited for." if kind != told else ""
            told = kind
            yield waiting or process.Status("starting", detail=words), news
            await asyncio.sleep(_LOOK)

    def _down(self, found: tuple[Status, ...]) -> Unreachable:
        one = next(iter(found), process.Status("stopped"))
        hint = one.hint or "Start it with `glm-lsp engine start`, or set engine.start to auto."
        return Unreachable(f"This host's engine {process.in_words(one)}.", hint=hint, retryable=True)

    async def _comes_back(self, before: frozenset[int], error: Exception) -> bool:
        """Whether the engine is about to be there again, or is by now, in another process.

        Raises:
            Unreachable: it is down for good, and why.
        """
        until = time.monotonic() + _NOTICED
        while time.monotonic() < until:
            found = await asyncio.to_thread(process.statuses, run=self._run, memory=False)
            if any(one.state == "draining" for one in found):
                return False
            if not found or all(one.state in {"crashed", "stopped"} for one in found):
                raise self._down(found) from error
            again = {"restarting", "starting"}
            if any(one.state in again for one in found) or frozenset(one.pid for one in found) != before:
                return True
            await asyncio.sleep(_LOOK)
        return False

    def _pids(self) -> frozenset[int]:
        return frozenset(one.pid for one in process.statuses(run=self._run, memory=False))

    async def _open(self, urls: tuple[str, ...]) -> None:
        if urls == self._urls and self._inner is not None:
            return
        if self._inner is not None:
            await self._inner.close()
        self._urls = urls
        if len(urls) == 1:
            alone = dataclasses.replace(self._settings, url=urls[0])
            self._inner = HttpEngine(alone, cache=self._cache, anew=self._anew)
        else:
            several = dataclasses.replace(self._settings, replicas=list(urls))
            self._inner = Replicas(several, cache=self._cache, anew=self._anew)

    async def _start(self) -> None:
        """Starts what `glm-lsp engine start` starts; where others do so at the same time, one engine comes of it."""
        words = ("-m", "glm_lsp", "engine", "start", "--no-wait", "--no-install")
        starter = await asyncio.create_subprocess_exec(
            *(sys.executable, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=places.run_dir(),  # `python -m` puts it on the module path: a folder where nothing shadows ours
        )
        _, said = await starter.communicate()
        if starter.returncode:
            words_of = said.decode("utf-8", "replace").strip().removeprefix("glm-lsp: ")
            raise LaunchFailed(f"This host's engine was not started. {words_of}", hint="Try `glm-lsp engine start`.")


_NOTHING = Delta()
