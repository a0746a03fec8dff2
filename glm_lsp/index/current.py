"""Which file holds which content at this moment, and what is typed in open buffers.

Never touches the disk: the builder and the editor tell it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from glm_lsp.index.kinds import Kind
from glm_lsp.store.index_rows import TO_PARSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glm_lsp.languages.facts import Facts


class Content(NamedTuple):
    """What is known of a content: its id by git's count, size in bytes, kind, how far it is (as in the store), a note."""

    oid: bytes
    size: int
    kind: Kind
    state: int
    note: str = ""

    def waits(self, most: int) -> bool:
        """Whether it is to be parsed, where a parser is given `most` bytes at most."""
        return self.state == TO_PARSE and self.kind.is_parsed and self.size <= most


@dataclass(frozen=True, slots=True)
class Buffer:
    """An open buffer; `facts` are None until its text was parsed."""

    text: str
    facts: Facts | None = None


@dataclass(slots=True)
class Current:
    """The files of the index; safe to read from any thread.

    Attributes:
        contents: the content of each file.
        details: what is known of each of these contents.
        buffers: what is open.
        version: counts the changes.
        placed: counts the changes of which file holds which content.
    """

    contents: dict[str, int] = field(default_factory=dict)
    details: dict[int, Content] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    version: int = 0
    placed: int = 0
    _held: dict[int, tuple[str, ...]] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _sorted: tuple[str, ...] | None = None
    _sources: tuple[int, Sequence[str]] = (-1, ())

    def place(self, files: Iterable[tuple[str, int, Content]], gone: Iterable[str] = ()) -> None:
        """Says what files hold now, and which are gone."""
        with self._lock:
            holders = self._holders()
            for path in gone:
                self._leave(path, holders)
            for path, content, detail in files:
                if self.contents.get(path) != content:
                    self._leave(path, holders)
                    self.contents[path] = content
                    self._sorted = None
                    holders[content] = (*holders.get(content, ()), path)
                self.details[content] = detail
            self.placed += 1
            self.version += 1

    def replace(self, contents: dict[str, int], details: dict[int, Content]) -> None:
        """Says what all files hold, and what is known of these contents."""
        with self._lock:
            self.contents, self.details, self._held, self._sorted = contents, details, None, None
            self.placed += 1
            self.version += 1

    def settle(self, states: Mapping[int, tuple[int, str]]) -> None:
        """Says how far contents are, and what went wrong."""
        with self._lock:
            for content, (state, note) in states.items():
                if (known := self.details.get(content)) is not None:
                    self.details[content] = Content(known.oid, known.size, known.kind, state, note)
            self.version += 1

    def buffer(self, path: str, buffer: Buffer | None) -> None:
        """Says what is typed in a buffer, or that it was closed."""
        with self._lock:
            buffers = dict(self.buffers)
            if buffer is None:
                buffers.pop(path, None)
            else:
                buffers[path] = buffer
            self.buffers = buffers
            self.version += 1

    def holders(self, content: int) -> tuple[str, ...]:
        """The files with this content."""
        return self._holders().get(content, ())

    def detail(self, path: str) -> Content | None:
        """What is known of a file's content."""
        content = self.contents.get(path)
        return None if content is None else self.details.get(content)

    def paths(self) -> tuple[str, ...]:
        """All of them, sorted."""
        with self._lock:
            if self._sorted is None:
                self._sorted = tuple(sorted(self.contents))
            return self._sorted

    def sources(self) -> Sequence[str]:
        """All that hold code or text, or may do so, sorted; the very same list until a file holds something else."""
        placed, known = self.placed, self._sources
        if known[0] != placed:
            details, contents = self.details, self.contents
            known = self._sources = (
                placed,
                [
                    path
                    for path in self.paths()
                    if (detail := details.get(contents.get(path, 0))) is None or detail.kind is Kind.SOURCE
                ],
            )
        return known[1]

    def to_parse(self, most: int) -> dict[int, str]:
        """Contents that wait for a parser, with a file of each; those over `most` bytes wait for nothing."""
        with self._lock:
            waiting = [content for content, detail in self.details.items() if detail.waits(most)]
            return {content: self._holders()[content][0] for content in waiting}

    def _holders(self) -> dict[int, tuple[str, ...]]:
        """The files with each content; made when it is first needed, for a start needs none of it."""
        with self._lock:
            if self._held is None:
                found: dict[int, list[str]] = {}
                for path, content in self.contents.items():
                    found.setdefault(content, []).append(path)
                self._held = {content: tuple(paths) for content, paths in found.items()}
            return self._held

    def _leave(self, path: str, holders: dict[int, tuple[str, ...]]) -> None:
        content = self.contents.pop(path, None)
        if content is None:
            return
        self._sorted = None
        rest = tuple(one for one in holders[content] if one != path)
        if rest:
            holders[content] = rest
        else:
            del holders[content], self.details[content]
