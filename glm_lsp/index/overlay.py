"""What is typed in open buffers, parsed a moment after the last key, in a process of its own.

Never holds up whoever types, and never lets unsaved text near the disk.

A text is known to searches at once; its definitions follow when it was parsed. Of several texts of one buffer only the
newest is parsed. The process keeps the trees, so that it looks only at what was typed; when nothing more is typed for a
while, it looks at all of the text once, for what a broken text may have left behind.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from glm_lsp.index.extract import Job, Parsed
from glm_lsp.index.names import definitions_of
from glm_lsp.index.workers import Done, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from glm_lsp.index.index import Index
    from glm_lsp.languages.facts import Facts

QUIET_SECONDS: Final = 0.04
"""How long nothing may be typed before a buffer is parsed."""

LONGEST_SECONDS: Final = 0.5
"""How long it waits at most, where somebody types on."""

REST_SECONDS: Final = 2.0
"""How long nothing may be typed before all of a text is looked at."""

MOST_FAILURES: Final = 2
"""How often in a row a buffer may fail to be parsed; then it is left alone until it is opened again."""

PARSE_SECONDS: Final = 3.0
"""What one parse may take; a buffer that takes longer keeps the definitions it had."""


@dataclass(slots=True)
class _Typed:
    """A buffer that waits to be parsed: its text, when it was first and last changed, whether it only rests."""

    text: Callable[[], str]
    first: float
    last: float
    is_rest: bool = False


@dataclass(slots=True)
class Overlay:
    """The open buffers of one index; may be told from any thread.

    Attributes:
        index: what is told of them.
        most: bytes of a text that is parsed at most.
    """

    index: Index
    most: int
    _open: set[str] = field(default_factory=set)
    _waiting: dict[str, _Typed] = field(default_factory=dict)
    _under_way: dict[str, tuple[str, bool]] = field(default_factory=dict)
    _failed: dict[str, tuple[int, str]] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _workers: Workers | None = None
    _ended: bool = False

    @property
    def plain(self) -> dict[str, str]:
        """The buffers that are known by their words alone, since they could not be parsed, and why."""
        with self._news:
            return {path: why for path, (_, why) in self._failed.items()}

    def changed(self, path: str, text: Callable[[], str]) -> None:
        """Says that a buffer was opened or typed in; `text` is asked later, from a thread of ours, for what it says."""
        now = time.monotonic()
        with self._news:
            self._open.add(path)
            known = self._waiting.get(path)
            first = known.first if known is not None and not known.is_rest else now
            self._waiting[path] = _Typed(text, first, now)
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="overlay", daemon=True)
                self._thread.start()
            self._news.notify_all()

    def closed(self, path: str) -> None:
        """Says that a buffer is open no more; what is on the disk counts again."""
        with self._news:
            self._open.discard(path)
            self._waiting.pop(path, None)
            self._under_way.pop(path, None)
            self._failed.pop(path, None)
            self.index.overlay(path, None)

    def keep(self, paths: Collection[str]) -> None:
        """Says which buffers are open; all others are closed."""
        for path in self._open - set(paths):
            self.closed(path)

    def close(self) -> None:
        """Ends the process that parses."""
        with self._news:
            self._ended = True
            self._news.notify_all()
        if self._workers is not None:
            self._workers.close()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while (due := self._next()) is not None:
            for path, typed in due.items():
                self._take(path, typed)

    def _next(self) -> dict[str, _Typed] | None:
        """The buffers that have been quiet for long enough; None where it is time to end."""
        with self._news:
            while not self._ended:
                now = time.monotonic()
                # One parse a buffer at a time: its answer is what the next one waits for.
                free = {path: typed for path, typed in self._waiting.items() if path not in self._under_way}
                due = {path: typed for path, typed in free.items() if now >= _due(typed)}
                if due:
                    for path in due:
                        del self._waiting[path]
                    return due
                self._news.wait(max(0.001, min(map(_due, free.values())) - now) if free else None)
            return None

    def _take(self, path: str, typed: _Typed) -> None:
        text = typed.text()
        data = text.encode("utf-8", "replace")
        with self._news:
            if self._ended or path not in self._open or (path in self._waiting and typed.is_rest):
                return
            if not typed.is_rest:
                self.index.overlay(path, text)
            if self._failed.get(path, (0, ""))[0] >= MOST_FAILURES:
                return
            if len(data) > self.most:
                self._failed[path] = 0, f"it has {len(data):,} bytes"
                return
            self._under_way[path] = text, typed.is_rest
            if self._workers is None:
                self._workers = Workers(1, self._parsed)
        self._workers.submit(Job(1, b"/", (os.fsencode(path),), (), PARSE_SECONDS, (data,)))

    def _parsed(self, done: Done) -> None:
        path = os.fsdecode(done.job.paths[0])
        answer = done.reply.parsed[0] if done.reply is not None and done.reply.parsed else None
        facts = facts_of(answer) if answer is not None and not answer.why else None
        with self._news:
            text, is_rest = self._under_way.pop(path, (None, False))
            self._news.notify_all()
            if text is None or self._ended:
                return
            if facts is None:
                why = answer.why if answer is not None else "the process that parses could not be started"
                self._failed[path] = self._failed.get(path, (0, ""))[0] + 1, why
            else:
                self._failed.pop(path, None)
                self.index.overlay(path, text, facts)
            if path not in self._waiting and not is_rest:
                now = time.monotonic()
                # Also after a failure: the process that is there now may do it.
                self._waiting[path] = _Typed(lambda: text, now, now, is_rest=True)


def _due(typed: _Typed) -> float:
    """When a buffer is to be parsed at the latest."""
    if typed.is_rest:
        return typed.last + REST_SECONDS
    return min(typed.last + QUIET_SECONDS, typed.first + LONGEST_SECONDS)


def facts_of(parsed: Parsed) -> Facts:
    """What a worker said, as facts."""
    from glm_lsp.languages.facts import Facts  # noqa: PLC0415 - only where buffers are parsed

    return Facts(definitions_of(parsed.definitions), _USES.decode(parsed.uses), parsed.imports)


_USES = msgspec.msgpack.Decoder(dict[str, tuple[int, ...]])
