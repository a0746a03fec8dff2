"""Writes down what was read and parsed: rows, word lists, and what queries see.

Never reads more of a file than whether it is there.

A content has its row, and so its number, before its words are listed under that number; words that are listed and whose
files are not yet placed are found again by their content.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glm_lsp.index import extract
from glm_lsp.index.kinds import Kind
from glm_lsp.index.verify import detail_of, trusted
from glm_lsp.store.index_rows import FAILED, NOT_PARSED, PARSED, TO_PARSE, ContentRow, FactsRow, FileRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from glm_lsp.index.current import Content, Current
    from glm_lsp.index.postings import Postings
    from glm_lsp.index.verify import Changes
    from glm_lsp.store.index_rows import IndexRows

FLUSH_FILES = 10_000
"""Files whose words may be lost at a crash, and are read again then."""


@dataclass(slots=True)
class Keeper:
    """What is written to.

    Attributes:
        root: the workspace's real path.
        rows: the rows.
        postings: gives the word lists, which are opened when they are first needed.
        listed: which contents the word lists on the disk have; empty where the open ones are to be asked.
        current: what queries see.
        failures: files that could not be read, and why.
        unflushed: files whose words are in memory only.
    """

    root: Path
    rows: IndexRows
    postings: Callable[[], Postings]
    current: Current
    listed: Callable[[], set[int]]
    failures: dict[str, str] = field(default_factory=dict)
    unflushed: int = 0

    def changes(self, changes: Changes) -> None:
        """Keeps what a comparison told."""
        if changes.placed or changes.gone:
            self.rows.place(changes.rows, map(os.fsencode, changes.gone))
            self.current.place(changes.placed, changes.gone)
        for path in changes.gone:
            self.failures.pop(path, None)

    def words(
        self, read: Iterable[tuple[str, extract.Words]], blobs: Mapping[str, str]
    ) -> list[tuple[str, int, Content]]:
        """Keeps the words of files; gives the content of each that could be read.

        Args:
            read: files with what was read of them.
            blobs: git's id for those that it says are as they were committed.
        """
        good: dict[str, extract.Words] = {}
        gone: list[str] = []
        for path, words in read:
            self.failures.pop(path, None)
            kept = self._stand_in(path, words) if words.hopeless else words
            if kept is not None and (kept.hopeless or not kept.why):
                good[path] = kept
                continue
            gone.append(path)
            if os.path.lexists(self.root / path):
                self.failures[path] = words.why
        contents: dict[tuple[bytes, str], ContentRow] = {}
        keys: dict[str, tuple[bytes, str]] = {}
        for path, words in good.items():
            name = language(path)
            state = FAILED if words.hopeless else TO_PARSE if name else NOT_PARSED
            keys[path] = key = (words.oid, name)
            contents[key] = ContentRow(words.oid, name, words.size, words.kind, state, words.why)
        numbers = self.rows.add(list(contents.values()))
        self._list({numbers[keys[path]][0]: words for path, words in good.items() if Kind(words.kind).has_words})
        placed, rows = [], []
        for path, words in good.items():
            number, row = numbers[keys[path]]
            placed.append((path, number, detail_of(row)))
            committed = blobs.get(path) == words.oid.hex()
            rows.append(FileRow(os.fsencode(path), number, words.size, 0 if committed else trusted(words.changed)))
        self.rows.place(rows, map(os.fsencode, gone))
        self.current.place(placed, gone)
        return placed

    def facts(self, parsed: Sequence[tuple[int, extract.Parsed]]) -> None:
        """Keeps what a parser said of contents, or what stood in its way."""
        if not parsed:
            return
        rows = [
            FactsRow(content, (), b"", (), FAILED, one.why)
            if one.why
            else FactsRow(content, one.definitions, one.uses, one.imports, PARSED, "")
            for content, one in parsed
        ]
        self.rows.put(rows)
        self.current.settle({row.content: (row.state, row.note) for row in rows})

    def worded(self, contents: Iterable[int]) -> set[int]:
        """Those of these contents whose words are listed."""
        asked = set(contents)
        if asked <= self.listed():  # as after most starts, which open no lists then
            return asked
        return asked.difference(self.postings().fresh(asked)) if asked else asked

    def collect(self, most: int) -> None:
        """Drops contents that no file holds, where there are more than so many."""
        gone = self.rows.collect(most)
        if gone:
            self.postings().drop(gone)
            self.unflushed += len(gone)

    def flush(self) -> None:
        """Has the word lists outlive this process."""
        if self.unflushed:
            self.postings().flush()
            self.unflushed = 0

    def _list(self, words: Mapping[int, extract.Words]) -> None:
        postings = self.postings()
        fresh = postings.fresh(words)
        if not fresh:
            return
        postings.add(fresh, [(words[n].terms, words[n].counts, words[n].total) for n in fresh])
        self.unflushed += len(fresh)
        if self.unflushed >= FLUSH_FILES:
            self.flush()

    def _stand_in(self, path: str, words: extract.Words) -> extract.Words | None:
        """What is kept of a file that ended its reader, so that it is not tried again before it changes."""
        try:
            info = (self.root / path).lstat()
        except OSError:
            return None
        oid = extract.stand_in_id(os.fsencode(path), info)
        return extract.Words(words.why, oid, info.st_size, info.st_ctime_ns, Kind.HUGE, hopeless=True)


@functools.lru_cache(65_536)
def language(path: str) -> str:
    """The name of a file's language, "" for one that is not parsed."""
    from glm_lsp.languages import language_of  # noqa: PLC0415 - only who builds pays for the grammars' library

    found = language_of(path)
    return found.name if found is not None else ""
