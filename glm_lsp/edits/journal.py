"""What was applied to a workspace, recorded before it is applied, so that it can be taken back.

Never lives in the workspace, never touches git, and never writes over a file that someone else has changed since.

A run is a folder `<number>-<random>` with `run.json` (what there was and what there shall be, as digests), one file
for each content it replaces, and empty marks that say how far it came: none while it is being applied, then
`committed`, `undoing`, `undone`.
So a killed run leaves either the old files or the new ones: one without `committed` is undone at the next start; one with `undoing` and without `undone` is undone to its end.
Runs that are taken back are named in the file `undoing` before the first of them is touched, so that a kill leaves all of them or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import filelock
import msgspec
import platformdirs

from glm_lsp.edits import disk
from glm_lsp.edits.paths import Jail
from glm_lsp.errors import FileRefused, GlmError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

KEPT_RUNS = 50
KEPT_BYTES = 200_000_000
"""How much is kept; the oldest runs go first, and the last one always stays."""

LOCK_SECONDS = 10.0
"""How long to wait for another process that writes in the same workspace; a run takes well under a second."""

INTENT = "undoing"

State = Literal["applied", "undone", "interrupted"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a run: digests before and after, and its permission bits; "" and 0 where there is no file."""

    path: str
    before: str
    after: str
    before_mode: int
    after_mode: int


@dataclass(frozen=True, slots=True)
class Record:
    """What `run.json` holds; `folders` are those that the run makes, outermost first."""

    label: str
    when: datetime
    root: str
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One run as a person sees it.

    Attributes:
        id: what `undo` takes.
        label: what it was for.
        when: when it was applied, in local time.
        paths: the files it wrote.
        state: `interrupted` where it was killed and has not been recovered yet.
        left: files that could not be taken back, since they had changed meanwhile.
    """

    id: str
    label: str
    when: datetime
    paths: tuple[str, ...]
    state: State
    left: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """A shorter name, which `undo` takes too."""
        return _number(self.id)


@dataclass(frozen=True, slots=True)
class Journal:
    """The runs of one workspace.

    Attributes:
        folder: where they are kept.
        jail: the way to the workspace's files.
    """

    folder: Path
    jail: Jail

    @classmethod
    def open(cls, root: Path, *, environment: Mapping[str, str] = os.environ) -> Journal:
        """Opens the journal of the workspace at `root`; GLM_LSP_STATE_DIR says where, else the person's state folder.

        Raises StateError where that folder cannot be made.
        """
        jail = Jail(root)
        state = environment.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp")
        name = hashlib.sha256(os.fsencode(jail.root)).hexdigest()[:16]
        folder = Path(state) / "journal" / name
        try:
            folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for own in (folder.parent, folder):
                own.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise disk.in_words(error, f"the journal's folder {folder} cannot be made") from error
        return cls(folder, jail)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes and threads from writing in this workspace.

        Raises StateError where another one does not end.
        """
        lock = filelock.FileLock(self.folder / "lock", mode=0o600)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout as error:
            raise StateError(
                "Another glm-lsp is writing in this workspace.", hint="Wait for it to end, or end it."
            ) from error
        except OSError as error:
            raise disk.in_words(error, f"the journal in {self.folder} cannot be locked") from error
        try:
            yield
        finally:
            lock.release()

    def runs(self) -> tuple[Run, ...]:
        """All runs, the oldest first."""
        return tuple(self._run(name, self.record(name)) for name in self._names())

    def recover(self) -> tuple[Run, ...]:
        """Takes back what killed runs left half done; returns those runs, with the files that had to be left alone.

        Raises StateError where the workspace cannot be written, or a record is damaged.
        """
        with self.locked():
            return self.settle()

    def undo(self, run_id: str | None = None) -> Run:
        """Takes back one run, the last applied one where none is named; by its id or its number.

        Raises:
            Conflict: files are not as that run left them; nothing was written.
            StateError: there is no such run, or it has been taken back already.
        """
        return self._undo(run_id, and_later=False)[0]

    def undo_to(self, run_id: str) -> tuple[Run, ...]:
        """Takes back one run and every applied one after it, the latest first: all of them or none.

        Raises Conflict and StateError as `undo` does.
        """
        return self._undo(run_id, and_later=True)

    # --- for `apply`, which holds the lock -----------------------------------------------------------------------

    def begin(self, label: str, entries: Sequence[Entry], contents: Sequence[bytes | None]) -> str:
        """Records a run on disk, before its first write, and returns its id.

        Args:
            label: what it is for.
            entries: its files.
            contents: what each of them holds now; None for one that is not there.
        """
        number = max((_number(name) for name in self._names()), default=0) + 1
        name = f"{number:04d}-{secrets.token_hex(2)}"
        folders = {f: None for e in entries if e.after for f in disk.missing_folders(self.jail, e.path)}
        record = Record(
            label.strip().partition("\n")[0][:200],
            datetime.now(UTC),
            str(self.jail.root),
            tuple(entries),
            tuple(folders),
        )
        fresh = self.folder / f"new-{name}"
        try:
            fresh.mkdir(mode=0o700)
            for index, content in enumerate(contents):
                if content is not None:
                    disk.write_private(str(fresh / f"{index}"), content)
            disk.write_private(str(fresh / "run.json"), msgspec.json.encode(record))
            disk.sync(str(fresh))
            os.rename(fresh, self.folder / name)  # noqa: PTH104 - one of the steps that the tests interrupt by name
            disk.sync(str(self.folder))
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise disk.in_words(error, "the journal cannot be written, so nothing was applied") from error
        return name

    def commit(self, name: str) -> None:
        """Says that a run is complete, and lets go of the oldest ones."""
        self._mark(name, "committed")
        with contextlib.suppress(OSError):  # the run is complete whatever becomes of the old ones
            self._prune()

    def take_back(self, name: str, record: Record, *, staged: bool = False) -> tuple[str, ...]:
        """Restores every file that is as the run left it, and returns the others that are not as before either.

        With `staged`, the old contents stand beside their places already.
        A file that cannot be written is tried again at the next start: the run is not marked as undone.
        """
        left: list[str] = []
        (self.folder / name / "committed").unlink(missing_ok=True)
        if not staged:
            self._drop_staged(name, record)
        for index, entry in enumerate(record.entries):
            try:
                if not self._restore(name, index, entry, staged=staged):
                    left.append(entry.path)
            except (OSError, GlmError):
                self._drop_staged(name, record)
                raise
        self._drop_staged(name, record)
        for folder in reversed(record.folders):
            disk.drop_folder(self.jail, folder)
        for entry in record.entries:
            disk.sync_folder(self.jail, entry.path)
        self._mark(name, "undone", "\n".join(left))
        return tuple(left)

    def settle(self) -> tuple[Run, ...]:
        """As `recover`, for a caller who holds the lock."""
        settled: list[Run] = []
        try:
            for junk in self.folder.glob("*-*-*"):  # `new-` was never begun, `dead-` was being removed
                shutil.rmtree(junk, ignore_errors=True)
            settled += self._carry_out(self._intended())
            for name in self._names():
                marks = self._marks(name)
                if "undone" in marks or ("committed" in marks and "undoing" not in marks):
                    continue
                record = self.record(name)
                settled.append(self._run(name, record, left=self.take_back(name, record)))
        except OSError as error:
            raise disk.in_words(error, "a run that was interrupted could not be taken back") from error
        return tuple(settled)

    def record(self, name: str) -> Record:
        """What was recorded of a run; raises StateError where that is damaged."""
        path = self.folder / name / "run.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError) as error:
            raise StateError(
                f"The record {path} is damaged: {error}.",
                hint=f"Look whether the workspace is as it should be, then move {path.parent} away.",
            ) from error

    # --- the parts -----------------------------------------------------------------------------------------------

    def _applied(self, run_id: str | None) -> str:
        runs = self.runs()
        if run_id is None:
            run = next((run for run in reversed(runs) if run.state == "applied"), None)
            if run is None:
                raise StateError(
                    "There is nothing to take back in this workspace.",
                    hint="Only what glm-lsp wrote to the disk is taken back here; what an editor changed, its own undo "
                    "takes back.",
                )
        else:
            run = next((run for run in runs if run_id in {run.id, str(run.number)}), None)
            if run is None:
                raise StateError(f"There is no run {run_id}.", hint="glm-lsp undo --list shows what there is.")
            if run.state != "applied":
                raise StateError(f"Run {run_id} has been taken back already.")
        return run.id

    def _stage(self, name: str, record: Record) -> None:
        """Writes all that is to be restored beside its place first: a full disk is found out before the first change."""
        for index, entry in enumerate(record.entries):
            if entry.before and entry.before != entry.after:
                self._stage_one(name, index, entry)

    def _restore(self, name: str, index: int, entry: Entry, *, staged: bool) -> bool:
        """Brings one file back, and says whether it is as it was."""
        try:
            content, mode = disk.now(self.jail, entry.path)
        except FileRefused:
            return False  # a folder or a link has taken its place
        digest = disk.digest(content)
        if digest == entry.before:
            if digest and digest == entry.after and mode == entry.after_mode:
                disk.set_mode(self.jail, entry.path, entry.before_mode)
            return True
        if digest != entry.after:
            return False
        if not entry.before:
            disk.remove(self.jail, entry.path, expected=entry.after)
            return True
        if not staged:
            self._stage_one(name, index, entry)
        disk.put(self.jail, entry.path, staged_name(name, index), expected=entry.after)
        return True

    def _stage_one(self, name: str, index: int, entry: Entry) -> None:
        for folder in disk.missing_folders(self.jail, entry.path):
            disk.make_folder(self.jail, folder)
        data = (self.folder / name / f"{index}").read_bytes()
        disk.stage(self.jail, entry.path, staged_name(name, index), data, entry.before_mode)

    def _undo(self, run_id: str | None, *, and_later: bool) -> tuple[Run, ...]:
        with self.locked():
            self.settle()
            names = [self._applied(run_id)]
            if and_later:
                runs = [run for run in self.runs() if run.state == "applied" and run.number > _number(names[0])]
                names = [*(run.id for run in reversed(runs)), *names]
            records = {name: self.record(name) for name in names}
            try:
                odd = self._odd(records.values())
                if odd:
                    raise disk.changed(odd, "Only files that are as the run left them can be taken back.")
                self._intend(records)
                try:
                    for name, record in records.items():
                        self._stage(name, record)
                except (OSError, GlmError):
                    for name, record in records.items():
                        self._drop_staged(name, record)
                    (self.folder / INTENT).unlink()
                    raise
                return self._carry_out(records, staged=True)
            except OSError as error:
                raise disk.in_words(error, f"{', '.join(names)} could not be taken back") from error

    def _odd(self, records: Iterable[Record]) -> list[str]:
        """The files that are not as these runs, the latest first, left them; each is looked at once."""
        odd: dict[str, None] = {}
        there: dict[str, tuple[str, int]] = {}
        for record in records:
            for entry in record.entries:
                if entry.path not in there:
                    content, own_mode = disk.now(self.jail, entry.path)
                    there[entry.path] = disk.digest(content), own_mode
                digest, mode = there[entry.path]
                if digest != entry.after or (entry.before == entry.after and mode != entry.after_mode):
                    odd[entry.path] = None
                there[entry.path] = entry.before, entry.before_mode
        return list(odd)

    def _intend(self, names: Iterable[str]) -> None:
        """Names the runs that are taken back; from here on a kill is no way out for any of them."""
        fresh = self.folder / f"{INTENT}.new"
        fresh.unlink(missing_ok=True)
        disk.write_private(str(fresh), "\n".join(names).encode())
        os.rename(fresh, self.folder / INTENT)  # noqa: PTH104 - one of the steps that the tests interrupt by name
        disk.sync(str(self.folder))

    def _intended(self) -> dict[str, Record]:
        try:
            names = (self.folder / INTENT).read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return {}
        there = self._names()
        return {name: self.record(name) for name in names if name in there}

    def _carry_out(self, records: Mapping[str, Record], *, staged: bool = False) -> tuple[Run, ...]:
        """Takes back what was intended, from wherever it was left."""
        undone = []
        for name, record in records.items():
            if "undone" not in self._marks(name):
                self._mark(name, "undoing")
                undone.append(self._run(name, record, left=self.take_back(name, record, staged=staged)))
        (self.folder / INTENT).unlink(missing_ok=True)
        return tuple(undone)

    def _drop_staged(self, name: str, record: Record) -> None:
        for index, entry in enumerate(record.entries):
            disk.drop(self.jail, entry.path, staged_name(name, index))

    def _names(self) -> list[str]:
        names = (path.name for path in self.folder.iterdir() if path.name.count("-") == 1 and path.is_dir())
        return sorted((name for name in names if name.partition("-")[0].isdigit()), key=_number)

    def _marks(self, name: str) -> set[str]:
        return {path.name for path in (self.folder / name).iterdir()} & {"committed", "undoing", "undone"}

    def _mark(self, name: str, mark: str, text: str = "") -> None:
        with contextlib.suppress(FileExistsError):
            disk.write_private(str(self.folder / name / mark), text.encode())
        disk.sync(str(self.folder / name))

    def _run(self, name: str, record: Record, *, left: tuple[str, ...] = ()) -> Run:
        marks = self._marks(name)
        state: State = "undone" if "undone" in marks else "applied" if marks == {"committed"} else "interrupted"
        paths = tuple(entry.path for entry in record.entries)
        return Run(name, record.label, record.when.astimezone(), paths, state, left)

    def _prune(self) -> None:
        names = self._names()
        sizes = {name: sum(f.stat().st_size for f in (self.folder / name).iterdir()) for name in names}
        for name in names[:-1]:
            if len(sizes) <= KEPT_RUNS and sum(sizes.values()) <= KEPT_BYTES:
                return
            dead = self.folder / f"dead-{name}"
            # Renamed first: a run that loses its marks file by file would look like one that was interrupted.
            os.rename(self.folder / name, dead)  # noqa: PTH104 - one of the steps that the tests interrupt by name
            shutil.rmtree(dead, ignore_errors=True)
            del sizes[name]


def staged_name(name: str, index: int) -> str:
    """The name under which a run stages its file number `index`, in the folder where it belongs."""
    return f".glm-lsp-{name}-{index}"


def _number(name: str) -> int:
    return int(name.partition("-")[0])
