"""Puts a set of changes on the disk, all of them or none.

Never merges: a file that is not what the change was made from stops the whole set before anything is written.

The order, each step on the disk before the next begins: the journal, all new contents beside their places, then one
rename a file, then the mark that says it is complete.
A failure takes back what was done; a kill is taken back at the next start (`Journal.recover`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.edits import disk
from glm_lsp.edits.journal import Entry, staged_name
from glm_lsp.errors import Conflict, GlmError, NothingChanged, StateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from glm_lsp.edits.journal import Journal
    from glm_lsp.edits.paths import Jail
    from glm_lsp.terms import FileChange


def apply(root: Path, changes: Sequence[FileChange], *, journal: Journal, jail: Jail, label: str) -> str:
    """Applies the changes and returns the id of the run, for `Journal.undo`.

    Folders of new files are made; permission bits, owner and attributes of existing files are kept.

    Args:
        root: the workspace; the one of the jail and the journal.
        changes: the files, each at most once; those that change nothing are passed over.
        journal: where the way back is kept.
        jail: what may be written.
        label: what it is for, shown to the person in the list of runs.

    Raises:
        Conflict: files are not what the changes were made from; names all of them.
        OutsideWorkspace, Protected, NotText: a file that is not ours to write.
        NothingChanged: there is nothing to do.
        StateError: a full disk, missing permissions, the journal; nothing was written.
    """
    if jail.root != root.resolve() or journal.jail.root != jail.root:
        raise StateError("The journal, the jail and the root are not of one workspace.")
    wanted = _wanted(changes, jail)
    with journal.locked():
        journal.settle()
        try:
            entries = _entries(wanted, jail)
        except OSError as error:
            raise disk.in_words(error, "nothing was written") from error
        name = journal.begin(label, entries, [item.before for item in wanted])
        try:
            _write(wanted, entries, jail, journal, name)
            journal.commit(name)
        except BaseException as error:
            try:
                left = journal.take_back(name, journal.record(name))
            except (OSError, GlmError) as second:
                raise StateError(
                    f"It failed ({_words(error)}), and could not be taken back ({_words(second)}).",
                    hint="The next start takes it back; the old contents are in the journal.",
                ) from error
            if left:
                raise Conflict(
                    f"It failed ({_words(error)}), and was taken back but for {', '.join(left)}, which changed meanwhile.",
                    hint="Look at these files.",
                ) from error
            if isinstance(error, OSError):
                raise disk.in_words(error, "nothing was changed") from error
            raise
    return name


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: str
    before: bytes | None
    after: bytes | None
    mode: int | None


def _wanted(changes: Sequence[FileChange], jail: Jail) -> list[_Wanted]:
    wanted: dict[str, _Wanted] = {}
    for change in changes:
        if change.before == change.after and (change.mode is None or change.after is None):
            continue
        path = jail.writable(change.path)
        if path in wanted:
            raise Conflict(f"{path} is changed twice in one set. Nothing was written.", hint="Make it one change.")
        wanted[path] = _Wanted(path, change.before, change.after, change.mode)
    if not wanted:
        raise NothingChanged("There is nothing to apply.")
    return list(wanted.values())


def _entries(wanted: Sequence[_Wanted], jail: Jail) -> list[Entry]:
    """What there is and what there shall be; raises Conflict naming every file that is not as expected."""
    entries: list[Entry] = []
    odd: list[str] = []
    for item in wanted:
        content, mode = disk.now(jail, item.path)
        if content != item.before:
            odd.append(item.path)
        after_mode = mode if item.mode is None else item.mode
        entries.append(Entry(item.path, disk.digest(item.before), disk.digest(item.after), mode, after_mode))
    if odd:
        raise disk.changed(odd)
    return entries


def _write(wanted: Sequence[_Wanted], entries: Sequence[Entry], jail: Jail, journal: Journal, name: str) -> None:
    for folder in journal.record(name).folders:
        disk.make_folder(jail, folder)
    for index, item in enumerate(wanted):
        if item.after is not None:
            disk.stage(jail, item.path, staged_name(name, index), item.after, item.mode)
    for index, (item, entry) in enumerate(zip(wanted, entries, strict=True)):
        if item.after is None:
            disk.remove(jail, item.path, expected=entry.before)
        else:
            disk.put(jail, item.path, staged_name(name, index), expected=entry.before)
    for item in wanted:
        disk.sync_folder(jail, item.path)


def _words(error: BaseException) -> str:
    return error.message.rstrip(".") if isinstance(error, GlmError) else str(error) or type(error).__name__
