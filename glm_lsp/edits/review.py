"""A proposal while a person decides on it: taken over piece by piece, each time onto the text as it is then.

Never writes but in `write`, and never takes a piece over that has no certain place.

An editor makes the edits of a Resolution itself, or `write` puts its changes on the disk; then `settled` is told.
Until then nothing counts as applied, so what an editor refuses is still there to be decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from glm_lsp.edits.apply import apply
from glm_lsp.edits.check import Step, check
from glm_lsp.edits.hunks import hunks
from glm_lsp.edits.merge import rebase, spelled_as
from glm_lsp.edits.text import Text, decode
from glm_lsp.errors import Conflict, FileRefused, NotText, UsageError
from glm_lsp.languages import parse
from glm_lsp.terms import Edit, FileChange, Hunk, Objection, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping
    from pathlib import Path

    from glm_lsp.edits.journal import Journal
    from glm_lsp.edits.merge import Merged
    from glm_lsp.edits.paths import Jail
    from glm_lsp.terms import Proposal

    Live = Callable[[str], str | None]
    """The text of a file at this moment, as a person sees it; None where there is no such file.

    A file that cannot be read raises FileRefused; nothing fits into such a file.
    """

KEPT = 50
"""How many proposals can be decided on at a time."""

NAMED = 20
"""How many pieces that were not taken over are named to the model."""

State = Literal["proposed", "accepted", "rejected", "stale", "applied"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to decide on.

    Attributes:
        id: `<proposal>:<number>`, from 1; the same as long as the proposal lives.
        hunk: what it changes, with the lines as the model read and wrote them.
        whole: whether a whole file comes or goes with it.
        state: what was decided; `stale` where it was accepted and had no place, and can be accepted again.
    """

    id: str
    hunk: Hunk
    whole: bool
    state: State = "proposed"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the accepted pieces come to, on the files as they are now.

    Attributes:
        changes: the files; `before` is what they are now, and `after` that with the accepted pieces.
        edits: the same as replacements in the live text of existing files, each with the id of its piece; in order,
            never touching, all spans of the text before any of them.
        applied: the pieces that are in the changes.
        there: accepted pieces that the live text has already.
        stale: accepted pieces that have no certain place any more.
        left: pieces that nobody has decided on yet.
        objections: what the changes break that was sound before; to be shown, since a part of a proposal may need the
            rest of it.
    """

    changes: tuple[FileChange, ...]
    edits: tuple[tuple[str, Edit], ...]
    applied: tuple[str, ...]
    there: tuple[str, ...]
    stale: tuple[str, ...]
    left: tuple[str, ...]
    objections: tuple[Objection, ...]


@dataclass(frozen=True, slots=True)
class Pending:
    """Where a piece that waits for a decision stands in the live text; `line` counts from 1.

    A `stale` one has no place, and `line` tells what is there instead.
    """

    path: str
    line: int
    id: str
    stale: bool


class Review:
    """One proposal and what was decided on it.

    Attributes:
        proposal: as the turn made it.
    """

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self._files: list[_File] = []
        self._pieces: dict[str, Piece] = {}
        for change in proposal.changes:
            found, known = _pieces(change)
            ids = tuple(f"{proposal.id}:{len(self._pieces) + number}" for number in range(1, len(found) + 1))
            whole = known is None
            self._pieces |= {name: Piece(name, hunk, whole) for name, hunk in zip(ids, found, strict=True)}
            self._files.append(_File(change, known, ids))

    @property
    def id(self) -> str:
        """The proposal's id."""
        return self.proposal.id

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All there is to decide on, in the order of the files and their lines."""
        return tuple(self._pieces.values())

    @property
    def open(self) -> bool:
        """Whether anything is still to be decided or applied."""
        return any(piece.state in {"proposed", "accepted", "stale"} for piece in self.pieces)

    def accept(self, ids: Iterable[str] | None = None) -> None:
        """Takes these pieces, rejected ones among them; without ids all that are not rejected.

        What is applied stays so.
        Raises UsageError for an id that is not one of this proposal.
        """
        self._decide(ids, "accepted", unnamed={"proposed", "stale"})

    def reject(self, ids: Iterable[str] | None = None) -> None:
        """Rejects these pieces; without ids all that are not applied.

        What is applied stays so: it is taken back by an undo.
        Raises UsageError for an id that is not one of this proposal.
        """
        self._decide(ids, "rejected", unnamed={"proposed", "accepted", "stale"})

    def reopen(self, ids: Iterable[str] | None = None) -> None:
        """Forgets what was decided on these pieces, after an undo say; without ids on all of them.

        Raises UsageError for an id that is not one of this proposal.
        """
        for name in self._named(ids) if ids is not None else list(self._pieces):
            self._pieces[name] = replace(self._pieces[name], state="proposed")

    def resolve(self, live: Live) -> Resolution:
        """Brings what is accepted onto the live text.

        Pieces without a certain place become `stale`; accepted again, they are tried again.
        """
        changes: list[FileChange] = []
        edits: list[tuple[str, Edit]] = []
        objections: list[Objection] = []
        fates: dict[str, _Fate] = {}
        for file in self._files:
            chosen = [name for name in file.ids if self._pieces[name].state == "accepted"]
            if chosen:
                found = self._resolved(file, chosen, live)
                changes += found.changes
                edits += found.edits
                objections += found.objections
                fates |= found.fates
        by_fate = {fate: tuple(n for n, f in fates.items() if f == fate) for fate in ("fits", "done", "stale")}
        for name in by_fate["stale"]:
            self._pieces[name] = replace(self._pieces[name], state="stale")
        return Resolution(
            tuple(changes),
            tuple(edits),
            by_fate["fits"],
            by_fate["done"],
            by_fate["stale"],
            tuple(piece.id for piece in self.pieces if piece.state == "proposed"),
            tuple(objections),
        )

    def settled(self, resolution: Resolution) -> None:
        """Says that the changes of a resolution were made, so that its pieces are applied."""
        for name in (*resolution.applied, *resolution.there):
            self._pieces[name] = replace(self._pieces[name], state="applied")

    def pending(self, live: Live, path: str | None = None) -> tuple[Pending, ...]:
        """Where the pieces that wait for a decision stand now, in all files or in one; what is there already is not told."""
        found: list[Pending] = []
        for file in self._files:
            waiting = [n for n in file.ids if self._pieces[n].state in {"proposed", "accepted", "stale"}]
            if not waiting or path not in {None, file.change.path}:
                continue
            shown = _shown(live, file.change.path)
            merged = self._merged(file, shown, ())
            for name in waiting:
                if merged is None:
                    fate, line = _whole_fate(file.change, shown), 1
                else:
                    place = merged.places[file.ids.index(name)]
                    fate, line = place.fate, place.line
                if fate != "done":
                    found.append(Pending(file.change.path, line, name, fate == "stale"))
        return tuple(found)

    def note(self) -> str:
        """What became of the proposal, in words for the model's next turn; empty where nothing was decided."""
        if all(piece.state == "proposed" for piece in self.pieces):
            return ""
        taken = sum(piece.state == "applied" for piece in self.pieces)
        count = len(self._pieces)
        if taken == count:
            return "The person took over your change." if count == 1 else f"The person took over all {count} changes."
        said = f"The person took over {taken or 'none'} of {count} change{'s' * (count != 1)}"
        for state, words in (
            ("rejected", "not taken over"),
            ("stale", "without a place, since these lines changed in the meantime"),
            ("accepted", "accepted and not applied yet"),
            ("proposed", "not decided yet"),
        ):
            pieces = [piece for piece in self.pieces if piece.state == state]
            if pieces:
                more = f" and {len(pieces) - NAMED} more" if len(pieces) > NAMED else ""
                said += f"; {words}: {', '.join(map(_in_words, pieces[:NAMED]))}{more}"
        return f"{said}."

    # --- the parts -----------------------------------------------------------------------------------------------

    def _decide(self, ids: Iterable[str] | None, state: State, *, unnamed: Container[State]) -> None:
        names = self._named(ids) if ids is not None else [p.id for p in self.pieces if p.state in unnamed]
        for name in names:
            if self._pieces[name].state != "applied":
                self._pieces[name] = replace(self._pieces[name], state=state)

    def _named(self, ids: Iterable[str]) -> list[str]:
        names = list(ids)
        for name in names:
            if name not in self._pieces:
                raise UsageError(
                    f"There is no change {name!r} in the proposal {self.id}.", hint="Name one of its changes."
                )
        return names

    def _merged(self, file: _File, shown: _Shown, chosen: Container[str]) -> Merged | None:
        """The file's pieces on the live text; None where it is decided on as a whole."""
        if file.texts is None:
            return None
        before, after = (text.content for text in file.texts)
        taken = {number for number, name in enumerate(file.ids) if self._pieces[name].state == "applied"}
        picked = {number for number, name in enumerate(file.ids) if name in chosen}
        if not isinstance(shown, str):  # deleted, renamed, or no text any more
            gone = rebase(before, after, before, chosen=(), taken=taken)
            return replace(gone, places=tuple(replace(place, fate="stale", line=1) for place in gone.places))
        before, after = spelled_as(shown, before, after)
        return rebase(before, after, shown, chosen=picked, taken=taken)

    def _resolved(self, file: _File, chosen: list[str], live: Live) -> _Resolved:
        change, path = file.change, file.change.path
        shown = _shown(live, path)
        merged = self._merged(file, shown, chosen)
        if merged is None or file.texts is None:
            fate = _whole_fate(change, shown)
            fits = fate == "fits"
            broken = _check_new(change) if fits else ()
            return _Resolved([change] if fits else [], [], dict.fromkeys(chosen, fate), broken)
        fates: dict[str, _Fate] = {}
        edits: list[tuple[str, Edit]] = []
        for name, place in zip(file.ids, merged.places, strict=True):
            if name in chosen:
                fates[name] = place.fate
                if place.span is not None:
                    edits.append((name, Edit(path, place.span, place.new)))
        if not edits or not isinstance(shown, str):
            return _Resolved([], [], fates, ())
        like = file.texts[0]
        try:
            made = FileChange(
                path, like.encode(shown), replace(like, bom=file.texts[1].bom).encode(merged.text), change.mode
            )
        except NotText as error:
            lost = {name: "stale" if fate == "fits" else fate for name, fate in fates.items()}
            return _Resolved([], [], lost, (Objection(path, 0, "encoding", error.message),))
        old, new = parse(path, shown), parse(path, merged.text)
        # From the last to the first, so that every span is one of the text that the step before left.
        steps = [Step(edit.span, edit.new) for _, edit in reversed(edits)]
        return _Resolved([made], edits, fates, check(path, old, new, steps))


class Reviews:
    """The proposals that can be decided on, the latest ones; older ones make room."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._reviews: dict[str, Review] = {}

    def __iter__(self) -> Iterator[Review]:
        """All of them, the oldest first."""
        return iter(tuple(self._reviews.values()))

    def add(self, proposal: Proposal) -> Review:
        """Begins a review; the same proposal made again begins anew."""
        self._reviews.pop(proposal.id, None)
        self._reviews[proposal.id] = Review(proposal)
        for old in list(self._reviews)[: -self._most]:
            del self._reviews[old]
        return self._reviews[proposal.id]

    def get(self, name: str) -> Review:
        """The review of a proposal, by its id or that of one of its pieces; raises UsageError where there is none."""
        found = self._reviews.get(name) or self._reviews.get(name.rpartition(":")[0])
        if found is None:
            raise UsageError(f"There is no proposal {name!r} any more.", hint="Ask again.")
        return found

    def drop(self, name: str) -> None:
        """Forgets a proposal, if it is there."""
        self._reviews.pop(name, None)

    def pending(self, live: Live, path: str | None = None) -> tuple[Pending, ...]:
        """As `Review.pending`, of all of them."""
        return tuple(place for review in self for place in review.pending(live, path))


def write(
    resolution: Resolution, root: Path, *, journal: Journal, jail: Jail, label: str, unsaved: Container[str] = ()
) -> str:
    """Puts a resolution on the disk, all of it or nothing, and returns the id of the run, for `Journal.undo`.

    Args:
        resolution: what to write.
        root: the workspace; the one of the jail and the journal.
        journal: where the way back is kept.
        jail: what may be written.
        label: what it is for, shown to the person in the list of runs.
        unsaved: canonical paths of the files that an editor has open with changes that were not saved.

    Raises:
        Conflict: one of the files is unsaved in an editor, or not on disk as the resolution found it.
        And as `apply`.
    """
    odd = [change.path for change in resolution.changes if change.path in unsaved]
    if odd:
        has = "has" if len(odd) == 1 else "have"
        raise Conflict(
            f"{', '.join(odd)} {has} unsaved changes in an editor. Nothing was written.",
            hint="Save first, or take the changes over in the editor.",
        )
    return apply(root, resolution.changes, journal=journal, jail=jail, label=label)


_Fate = Literal["fits", "done", "stale"]
_Shown = str | None | FileRefused


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the proposal; `texts` are before and after, None where it is decided on as a whole."""

    change: FileChange
    texts: tuple[Text, Text] | None
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Resolved:
    changes: list[FileChange]
    edits: list[tuple[str, Edit]]
    fates: Mapping[str, _Fate]
    objections: tuple[Objection, ...]


def _pieces(change: FileChange) -> tuple[tuple[Hunk, ...], tuple[Text, Text] | None]:
    """The hunks of a change; without texts, and as one hunk, where the file is decided on as a whole."""
    before, after = (_decoded(data, change.path) for data in (change.before, change.after))
    if before is not None and after is not None and before.content != after.content:
        return hunks(change.path, before.content, after.content), (before, after)
    removed, added = (tuple(text.lines()) if text is not None else () for text in (before, after))
    return (Hunk(change.path, 1, 1, removed, added),), None


def _decoded(data: bytes | None, path: str) -> Text | None:
    try:
        return decode(data, path) if data is not None else None
    except NotText:
        return None


def _shown(live: Live, path: str) -> _Shown:
    try:
        return live(path)
    except FileRefused as error:
        return error


def _whole_fate(change: FileChange, shown: _Shown) -> _Fate:
    """What becomes of a file that comes, goes or changes as a whole."""
    if isinstance(shown, FileRefused):
        return "stale"

    def is_now(data: bytes | None) -> bool:
        text = _decoded(data, change.path)
        return shown is None if data is None else text is not None and text.content == shown

    if change.before != change.after and is_now(change.after):
        return "done"
    return "fits" if is_now(change.before) else "stale"


def _check_new(change: FileChange) -> tuple[Objection, ...]:
    text = _decoded(change.after, change.path)
    if change.before is not None or text is None:
        return ()
    return check(change.path, None, parse(change.path, text.content), (Step(Span(0, 0), text.content),))


def _in_words(piece: Piece) -> str:
    hunk = piece.hunk
    if piece.whole:
        return f"{hunk.path} ({'the new file' if hunk.added else 'the file'})"
    shown = next((line.strip() for line in (*hunk.added, *hunk.removed) if line.strip()), "")
    return f"{hunk.path} line {hunk.old_line}" + (f" ({shown[:60]})" if shown else "")
