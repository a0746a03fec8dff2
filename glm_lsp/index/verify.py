"""What has changed in the workspace since the index was written, told without reading a file where that is possible.

Never writes rows: it says which files are as they were, which hold a content that is known, and which must be read.
"""

from __future__ import annotations

import functools
import os
import stat
import time
from dataclasses import dataclass, field
from itertools import compress
from operator import eq
from typing import TYPE_CHECKING, Any

from glm_lsp.index.current import Content
from glm_lsp.index.kinds import Kind
from glm_lsp.store.index_rows import FileRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from glm_lsp.index.walk import Listing
    from glm_lsp.store.index_rows import ContentRow, IndexRows

RACY_NS = 2_000_000_000
"""A file that was read so soon after its last change may have changed again in the same tick of its clock."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The files as the rows have them.

    Attributes:
        contents: the content of each.
        sizes: the size of each, in the same order.
        changed: the change time (ns) of each, in the same order.
        blobs: what git's id of each would be, in the same order.
        details: what is known of these contents.
    """

    contents: dict[str, int]
    sizes: list[int]
    changed: list[int]
    blobs: list[str]
    details: dict[int, Content]


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


def stored(rows: IndexRows) -> Stored:
    """Every file that has rows."""
    found = rows.files()
    paths = os.fsdecode(b"\0".join(found.paths)).split("\0") if found.paths else []
    oids, kinds = map(bytes.fromhex, found.oids), map({int(kind): kind for kind in Kind}.__getitem__, found.kinds)
    # A third of the cost of calling the class, and there may be very many.
    new: Callable[[Any], Content] = functools.partial(tuple.__new__, Content)
    details = map(new, zip(oids, found.lengths, kinds, found.states, found.notes, strict=True))
    return Stored(
        dict(zip(paths, found.contents, strict=True)),
        found.sizes,
        found.changed,
        found.oids,
        dict(zip(found.contents, details, strict=True)),
    )


def compare(
    listing: Listing,
    wanted: AbstractSet[str],
    before: Stored,
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
    changes = Changes(gone=[path for path in before.contents if path not in wanted])
    kept = _kept(listing, wanted, before)
    details, worded_to = before.details, Kind.MINIFIED  # as `Kind.has_words`, without a call for each
    asked = {number for path, number in before.contents.items() if path in kept and details[number][2] <= worded_to}
    if unlisted := asked - worded(asked):
        changes.to_read += [path for path, number in before.contents.items() if path in kept and number in unlisted]
    lookups: dict[str, tuple[bytes, str]] = {}
    for path in wanted - kept:
        if (blob := listing.blobs.get(path)) is not None:
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


def _kept(listing: Listing, wanted: AbstractSet[str], before: Stored) -> set[str]:
    """The files that are wanted and are as the rows say; nearly all are told in bulk, for there may be very many."""
    paths, blobs, seen = before.contents, listing.blobs, listing.seen
    kept: set[str] = set()
    if blobs:
        kept.update(compress(paths, map(eq, map(blobs.get, paths), before.blobs)))
    if seen:
        told = [time if time[1] > 0 else () for time in zip(before.sizes, before.changed, strict=True)]
        kept.update(compress(paths, map(eq, map(seen.get, paths), told)))
    kept &= wanted
    if len(kept) < len(paths):
        for path, size, changed in zip(paths, before.sizes, before.changed, strict=True):
            if path in wanted and path not in kept and path not in seen and _same(listing.root, path, size, changed):
                kept.add(path)
    return kept


def _same(root: Path, path: str, size: int, changed: int) -> bool:
    """Whether a file still is what was read, by its size and change time."""
    if changed <= 0:
        return False
    try:
        info = os.lstat(f"{root}/{path}")
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(info.st_mode) and (info.st_size, info.st_ctime_ns) == (size, changed)
