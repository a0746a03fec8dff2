"""What the system tells of changes in folders, as soon as they happen.

Never decides which folders matter, and never reads one.

On Linux one descriptor and one thread serve any number of folders, each of them by itself, so that a folder that nobody
wants is never watched. Elsewhere the system watches a folder with all that is below.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.events import FileSystemEvent
    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, WatchDescriptor

Hear: TypeAlias = "Callable[[str | None, bool], None]"
"""Is told an absolute path and whether it is a folder; no path means that news was lost."""


class Notices(Protocol):
    """Tells of changes until it is closed."""

    @property
    def count(self) -> int:
        """How many folders are watched."""
        ...

    def watch(self, folder: str) -> None:
        """Tells of changes in a folder from now on; raises OSError where the system will not."""
        ...

    def forget(self, folder: str) -> None:
        """Tells no more of a folder and of those below it."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


def listen(root: str, hear: Hear) -> Notices:
    """What this system has to tell, to `hear` in a thread of its own; raises OSError where it has nothing."""
    return _Linux(hear) if sys.platform == "linux" else _Elsewhere(root, hear)


class _Linux:
    """By inotify; watchdog's own observer would start a thread a folder, or watch everything below."""

    def __init__(self, hear: Hear) -> None:
        from watchdog.observers.inotify_c import InotifyConstants as Sign  # noqa: PLC0415 - few servers need it
        from watchdog.observers.inotify_c import InotifyFD  # noqa: PLC0415 - likewise

        self._hear = hear
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._folders: dict[WatchDescriptor, tuple[str, CallbackId]] = {}
        self._known: dict[str, WatchDescriptor] = {}
        # Neither opening nor reading: whoever reads the whole tree would fill the queue, and ours are among them.
        happens = (
            Sign.IN_MODIFY | Sign.IN_CREATE | Sign.IN_DELETE | Sign.IN_MOVE | Sign.IN_DELETE_SELF | Sign.IN_MOVE_SELF
        )
        self._mask: Any = happens | Sign.IN_ONLYDIR | Sign.IN_DONT_FOLLOW | Sign.IN_EXCL_UNLINK
        self._source: InotifyFD = InotifyFD()
        self._source.start()

    @property
    def count(self) -> int:
        return len(self._known)

    def watch(self, folder: str) -> None:
        with self._lock:
            if folder in self._known:
                return
            key: Any = next(self._numbers)
            number = self._source.add_callback(os.fsencode(folder), self._mask, self, key)
            if int(number) < 0:
                raise PermissionError(13, "it cannot be read", folder)
            if number in self._folders:  # the same folder under another name: it was moved
                old, old_key = self._folders[number]
                self._source.remove_callbacks([(number, old_key)])
                self._known.pop(old, None)
            self._folders[number] = folder, key
            self._known[folder] = number

    def forget(self, folder: str) -> None:
        with self._lock:
            for one in [one for one in self._known if one == folder or one.startswith(f"{folder}{os.sep}")]:
                number = self._known.pop(one)
                key = self._folders.pop(number)[1]
                self._source.remove_callbacks([(number, key)])

    def close(self) -> None:
        self._source.stop()
        self._source.join(5)

    # --- what watchdog calls, in its thread ------------------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        with self._lock:
            known = self._folders.get(event.wd)
        if known is None:
            return
        if not event.name:
            if event.is_delete_self or event.is_move_self:
                self._hear(known[0], True)
            return
        path = f"{known[0]}{os.sep}{os.fsdecode(event.name)}"
        is_folder = event.is_directory
        if is_folder and event.is_moved_from:
            self.forget(path)
        self._hear(path, is_folder)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        with self._lock:
            known = self._folders.pop(wd, None)
            if known is not None and self._known.get(known[0]) == wd:
                del self._known[known[0]]

    def on_queue_overflow(self) -> None:
        self._hear(None, False)


@dataclass(slots=True)
class _Elsewhere:
    """By watchdog's observer for this system, which watches the root with all that is below."""

    root: str
    hear: Hear
    _observer: Any = None
    _watched: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self._watched)

    def watch(self, folder: str) -> None:
        inside = Path(folder).is_relative_to(self.root)
        if folder in self._watched or (inside and folder != self.root):
            return
        from watchdog import events  # noqa: PLC0415 - few servers need it
        from watchdog.observers import Observer  # noqa: PLC0415 - likewise

        if self._observer is None:
            self._observer = Observer()
            self._observer.start()
        handler = events.FileSystemEventHandler()
        handler.dispatch = self._happened  # type: ignore[method-assign]  # no kind of event is treated by itself
        files = (events.FileModifiedEvent, events.FileCreatedEvent, events.FileDeletedEvent, events.FileMovedEvent)
        folders = (events.DirCreatedEvent, events.DirDeletedEvent, events.DirMovedEvent)
        self._observer.schedule(handler, folder, recursive=inside, event_filter=[*files, *folders])
        self._watched.add(folder)

    def forget(self, folder: str) -> None:
        """Nothing: what is not wanted is left out by whoever hears it."""

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5)

    def _happened(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self.hear(os.fsdecode(path), event.is_directory)
