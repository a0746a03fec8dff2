"""What has changed in the workspace since the index was written, told without reading a file where that is possible.

Never writes rows: it says which files are as they were, which hold a content that is known, and which must be read.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from glm_lsp.index.current import Content
from glm_lsp.index.kinds import Kind
from glm_lsp.store.index_rows import FileRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from glm_lsp.index.walk import Listing
    from glm_lsp.store.index_rows import ContentRow, IndexRows

RACY_NS = 2_000_000_000
"""A file that was read so soon after its last change may have changed again in the same tick of its clock."""


class Stored(NamedTuple):
    """A file as the rows have it."""

    content: int
    size: int
    changed: int
    detail: Content


@dataclass(slots=True)
class Changes:
    """What came of the comparison.

    Attributes:
        placed: files that hold a content which is known, with the rows to write.
        to_read: files whose content nobody knows.
        gone: files that are not there any more, or are left out now.
    """

    placed: list[tuple[str, int, Content]] = field(default_factory=list)
    to_read: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[FileRow]:
        """The rows of `placed`; git's id told their content, so no time is kept."""
        return [FileRow(os.fsencode(path), content, 0, 0) for path, content, _ in self.placed]


def stored(rows: IndexRows) -> dict[str, Stored]:
    """Every file that has rows."""
    kinds = {int(kind): kind for kind in Kind}
    encoding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
    new: Callable[..., Any] = tuple.__new__  # a third of the cost of calling the class, and there may be very many
    return {
        str(path, encoding, errors): new(
            Stored, (content, size, changed, new(Content, (oid, length, kinds[kind], state, note)))
        )
        for path, content, size, changed, oid, length, kind, state, note in rows.files()
    }


def compare(
    listing: Listing,
    wanted: AbstractSet[str],
    before: Mapping[str, Stored],
    rows: IndexRows,
    *,
    language: Callable[[str], str],
    worded: Callable[[Iterable[int]], set[int]],
) -> Changes:
    """Compares what is there with what was.

    Args:
        listing: what is there.
        wanted: the files of it that belong into the index.
        before: the rows.
        rows: for contents that another branch left behind.
        language: the name of a file's language.
        worded: those of these contents whose words are known; the word lists may lag behind the rows.
    """
    changes = Changes(gone=[path for path in before if path not in wanted])
    blobs, worded_to = listing.blobs, Kind.MINIFIED  # as `Kind.has_words`, without a call for each
    kept = {
        path: row
        for path, row in before.items()
        if path in wanted and (blobs.get(path) == row[3][0].hex() or _same(listing, path, row))
    }
    known = worded({row.content for row in kept.values() if row.detail.kind <= worded_to})
    lookups: dict[str, tuple[bytes, str]] = {}
    changes.to_read += [path for path, row in kept.items() if row.content not in known and row.detail.kind <= worded_to]
    for path in wanted - kept.keys():
        if (blob := blobs.get(path)) is not None:
            lookups[path] = (bytes.fromhex(blob), language(path))
        else:
            changes.to_read.append(path)
    found = rows.known(set(lookups.values())) if lookups else {}
    known = worded({number for number, _ in found.values()})
    for path, key in lookups.items():
        number, content = found.get(key, (0, None))
        if content is None or (Kind(content.kind).has_words and number not in known):
            changes.to_read.append(path)
        else:
            changes.placed.append((path, number, detail_of(content)))
    return changes


def detail_of(row: ContentRow) -> Content:
    """What is known of a content, from its row."""
    return Content(row.oid, row.size, Kind(row.kind), row.state, row.note)


def trusted(changed: int) -> int:
    """The change time to keep for a file that was just read; -1 where the time cannot tell a later change."""
    return changed if time.time_ns() - changed > RACY_NS else -1


def _same(listing: Listing, path: str, row: Stored) -> bool:
    """Whether a file still is what was read, by its size and change time."""
    if row.changed <= 0:
        return False
    if (seen := listing.seen.get(path)) is None:
        try:
            info = os.lstat(f"{listing.root}/{path}")
        except (OSError, ValueError):
            return False
        seen = (info.st_size, info.st_ctime_ns) if stat.S_ISREG(info.st_mode) else None
    return seen == (row.size, row.changed)
