"""What is typed in open buffers, parsed a moment after the last key, in a process of its own.

Never holds up whoever types, and never lets unsaved text near the disk.

A text is known to searches at once; its definitions follow when it was parsed. Of several texts of one buffer only the
newest is parsed, and an answer to an older one is thrown away.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from glm_lsp.index.extract import Job, Parsed, unpack_uses
from glm_lsp.index.names import definition_of
from glm_lsp.index.workers import Done, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.index.index import Index
    from glm_lsp.languages.facts import Facts

QUIET_SECONDS: Final = 0.04
"""How long nothing may be typed before a buffer is parsed."""

LONGEST_SECONDS: Final = 0.5
"""How long it waits at most, where somebody types on."""

PARSE_SECONDS: Final = 3.0
"""What one parse may take; a buffer that takes longer keeps the definitions it had."""


@dataclass(slots=True)
class _Typed:
    """A buffer that waits to be parsed: its text, when it was first and last changed."""

    text: Callable[[], str]
    first: float
    last: float


@dataclass(slots=True)
class Overlay:
    """The open buffers of one index; may be told from any thread.

    Attributes:
        index: what is told of them.
        most: bytes of a text that is parsed at most.
    """

    index: Index
    most: int
    _waiting: dict[str, _Typed] = field(default_factory=dict)
    _under_way: dict[str, str] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _workers: Workers | None = None
    _ended: bool = False

    def changed(self, path: str, text: Callable[[], str]) -> None:
        """Says that a buffer was opened or typed in; `text` is asked later, from a thread of ours, for what it says."""
        now = time.monotonic()
        with self._news:
            known = self._waiting.get(path)
            self._waiting[path] = _Typed(text, known.first if known is not None else now, now)
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="overlay", daemon=True)
                self._thread.start()
            self._news.notify_all()

    def closed(self, path: str) -> None:
        """Says that a buffer is open no more; what is on the disk counts again."""
        with self._news:
            self._waiting.pop(path, None)
            self._under_way.pop(path, None)
        self.index.overlay(path, None)

    def close(self) -> None:
        """Ends the process that parses."""
        with self._news:
            self._ended = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(5)
        if self._workers is not None:
            self._workers.close()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            for path, typed in due.items():
                self._take(path, typed.text())

    def _next(self) -> dict[str, _Typed] | None:
        """The buffers that have been quiet for long enough; None where it is time to end."""
        with self._news:
            while not self._ended:
                now = time.monotonic()
                due = {
                    path: typed
                    for path, typed in self._waiting.items()
                    # One parse a buffer at a time: its answer is what the next one waits for.
                    if path not in self._under_way
                    and (now >= typed.last + QUIET_SECONDS or now >= typed.first + LONGEST_SECONDS)
                }
                if due:
                    for path in due:
                        del self._waiting[path]
                    return due
                waiting = [typed.last for path, typed in self._waiting.items() if path not in self._under_way]
                self._news.wait(max(0.001, min(waiting) + QUIET_SECONDS - now) if waiting else None)
            return None

    def _take(self, path: str, text: str) -> None:
        self.index.overlay(path, text)
        data = text.encode("utf-8", "replace")
        if len(data) > self.most or self._ended:
            return
        with self._news:
            self._under_way[path] = text
        if self._workers is None:
            self._workers = Workers(1, self._parsed)
        name = os.fsencode(path)
        self._workers.submit(Job(1, b"/", (name,), (), PARSE_SECONDS, (data,)))

    def _parsed(self, done: Done) -> None:
        path = os.fsdecode(done.job.paths[0])
        with self._news:
            text = self._under_way.pop(path, None)
            self._news.notify_all()
        answer = done.reply.parsed[0] if done.reply is not None and done.reply.parsed else None
        if text is not None and answer is not None and not answer.why:
            self.index.overlay(path, text, facts_of(answer))


def facts_of(parsed: Parsed) -> Facts:
    """What a worker said, as facts."""
    from glm_lsp.languages.facts import Facts  # noqa: PLC0415 - only where buffers are parsed

    return Facts(tuple(map(definition_of, parsed.definitions)), unpack_uses(parsed.uses), parsed.imports)
