"""What lies before the person: proposals to decide, findings of reviews, transcripts, and what to tell the model of it.

Never applies a hunk that was not accepted, and never one whose place is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs
from lsprotocol import types

from glm_lsp.edits.hunks import unified
from glm_lsp.edits.review import Review, Reviews
from glm_lsp.errors import FileRefused, GlmError, StateError, UsageError
from glm_lsp.server import convert, wire
from glm_lsp.server.dismissals import Dismissals
from glm_lsp.server.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from glm_lsp.edits.review import Pending, Resolution
    from glm_lsp.server.folder import Folder
    from glm_lsp.server.session import Session
    from glm_lsp.server.under_way import Running
    from glm_lsp.terms import FileChange, Finding, Proposal

MOST_FEEDBACK_BYTES = 1_000_000

YES, DIFF, NO = "Apply", "Show diff", "Discard"

DIFFS, TRANSCRIPTS = "glm-diff", "glm-transcript"
"""Schemes of documents that only we have."""


@dataclass(slots=True)
class Desk:
    """The desk of one session.

    Attributes:
        session: whose it is.
        reviews: proposals under decision.
        findings: what reviews found.
        focus: the address of the document that the person looks at.
    """

    session: Session
    reviews: Reviews = field(default_factory=Reviews)
    focus: str = ""
    findings: Findings = field(init=False)
    _of: dict[str, Running] = field(default_factory=dict)
    _notes: dict[str, list[str]] = field(default_factory=dict)
    _status: wire.Status | None = None
    _placed: dict[tuple[str, str], tuple[object, tuple[Pending, ...]]] = field(default_factory=dict)
    _dismissals: dict[Path, Dismissals] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Has the findings told to the same client."""
        self.findings = Findings(self.session.editor)

    # --- the live text -------------------------------------------------------------------------------------------

    def live(self, path: Path) -> str | None:
        """What an open document says; None for one that is not open. Any thread."""
        found = self.session.editor.document(path)
        return found[0] if found is not None else None

    # --- proposals -----------------------------------------------------------------------------------------------

    def take(self, running: Running, proposal: Proposal) -> str:
        """Puts a proposal on the desk, and returns its id."""
        review = self.reviews.add(proposal)
        kept = {one.id for one in self.reviews}
        self._of = {name: turn for name, turn in self._of.items() if name in kept} | {review.id: running}
        self._placed = {key: found for key, found in self._placed.items() if key[0] in kept}
        self.lenses_changed()
        return review.id

    def turn_of(self, review: Review) -> Running:
        """The turn that made a proposal."""
        return self._of[review.id]

    def review(self, proposal_id: str) -> Review:
        """The proposal of that id, the latest one for ""; raises UsageError where it is not on the desk any more."""
        if not proposal_id:
            proposal_id = next((one.id for one in reversed(tuple(self.reviews)) if one.open), "")
        return self.reviews.get(proposal_id)

    def pending(self, uri: str) -> tuple[Pending, ...]:
        """Where the pieces that wait for a decision stand in a document."""
        path = self.session.editor.path(uri)
        known = self.session.known(path) if path is not None else None
        name = known.relative(path) if known is not None and path is not None else None
        if known is None or name is None:
            return ()
        reviews = [one for one in self.reviews if self._of[one.id].folder.root == known.root]
        live = self.shown(known)
        try:
            text = live(name)
        except FileRefused:
            return tuple(place for one in reviews for place in one.pending(live, name))
        return tuple(place for one in reviews for place in self._pending(one, name, text))

    def _pending(self, review: Review, name: str, text: str | None) -> tuple[Pending, ...]:
        """The same for one proposal; merged anew only where the text or what was decided is not as it was."""
        now = (text, tuple(piece.state for piece in review.pieces))
        before, found = self._placed.get((review.id, name), (None, ()))
        if before != now:
            found = review.pending(lambda _name: text, name)
            self._placed[review.id, name] = (now, found)
        return found

    def shown(self, folder: Folder) -> Callable[[str], str | None]:
        """What a person sees of a file now: the editor's text, else the disk's; None where there is none."""
        return folder.workspace.draft(overlay=lambda name: self.live(folder.root / name)).live

    async def bring(
        self,
        running: Running,
        proposal: Proposal,
        *,
        chosen: bool,
        hand: Callable[[types.WorkspaceEdit], bool] | None = None,
    ) -> bool:
        """Applies a proposal that needs no question, or asks; says whether anything was applied.

        Args:
            running: the turn that made it.
            proposal: what to apply.
            chosen: whether the person chose an action, whose changes of one file need no question.
            hand: gives the edit to whoever waits for it; False where nobody does any more.
        """
        editor = self.session.editor
        review = self.review(running.proposal)
        if proposal.objections:
            first = proposal.objections[0]
            editor.show(
                f"GLM: nothing was applied, since problems remain: {first.path}:{first.line}: {first.message}",
                types.MessageType.Warning,
            )
            return False
        one_file = len(proposal.changes) == 1 and proposal.changes[0].before and proposal.changes[0].after
        confirm = ""
        if not (chosen and one_file):
            files = len(proposal.changes)
            named = ", ".join(_told(change) for change in proposal.changes[:8])
            what = f"GLM: {proposal.summary}\n{files} file{'s' if files > 1 else ''}: {named}"
            if editor.confirms and not any(self._beyond(running.folder, change) for change in proposal.changes):
                confirm = f"GLM: {proposal.summary}"
            elif not await self._agreed(review, what):
                await self.resolve(review, accept=False)
                return False
        resolution = await self.resolve(review, accept=True, confirm=confirm, hand=hand)
        if resolution.stale:
            count = len(resolution.stale)
            editor.show(
                f"GLM: {count} change{'s' if count > 1 else ''} had no place any more, since you edited there. "
                "The rest was applied.",
                types.MessageType.Warning,
            )
        return bool(resolution.changes)

    async def _agreed(self, review: Review, what: str) -> bool:
        """Whether the person says yes to all of a proposal, after a look at it if they like."""
        editor = self.session.editor
        answer = await editor.choose(what, (YES, DIFF, NO))
        if answer == DIFF:
            await self.show(review)
            answer = await editor.choose(f"GLM: {review.proposal.summary}", (YES, NO))
        return answer == YES

    async def resolve(
        self,
        review: Review,
        *,
        accepted: Collection[str] = (),
        rejected: Collection[str] = (),
        accept: bool | None = None,
        apply: bool = True,
        confirm: str = "",
        hand: Callable[[types.WorkspaceEdit], bool] | None = None,
    ) -> Resolution:
        """Decides hunks and applies what was accepted to the live text.

        Args:
            review: the proposal.
            accepted: ids of hunks.
            rejected: ids of hunks.
            accept: what becomes of all other hunks; None leaves them.
            apply: whether it is applied; else the Resolution tells what would be, and the hunks stay accepted.
            confirm: what the editor has the person confirm first; where they do not, all that was accepted is rejected.
            hand: as for `bring`.

        Raises:
            Conflict, StateError: it could not be applied; then it stays to be decided.
        """
        running = self.turn_of(review)
        if rejected:
            review.reject(rejected)
        if accepted:
            review.accept(accepted)
        if accept is not None:
            (review.accept if accept else review.reject)([p.id for p in review.pieces if p.state == "proposed"])
        resolution = review.resolve(self.shown(running.folder))
        if apply:
            applied = not resolution.changes or await self._apply(running, resolution, confirm=confirm, hand=hand)
            if applied:
                review.settled(resolution)
            elif confirm:
                review.reject()
                resolution = replace(resolution, changes=(), edits=(), applied=())
            else:
                raise GlmError("The editor did not apply the changes.", hint="Accept them again, or discard them.")
        if note := review.note():
            self._notes[running.conversation] = [note]
        self.lenses_changed()
        return resolution

    async def _apply(
        self,
        running: Running,
        resolution: Resolution,
        *,
        confirm: str,
        hand: Callable[[types.WorkspaceEdit], bool] | None,
    ) -> bool:
        """Makes changes: through the editor what it can make, on the disk the rest; says whether the editor did."""
        editor, folder = self.session.editor, running.folder
        by_editor: list[FileChange] = []
        by_us: list[FileChange] = []
        for change in resolution.changes:
            (by_us if self._beyond(folder, change) else by_editor).append(change)
        if by_us:
            unsaved = {change.path for change in by_us if self.live(folder.root / change.path) is not None}
            await asyncio.to_thread(
                folder.workspace.write,
                replace(resolution, changes=tuple(by_us)),
                label=running.title,
                unsaved=unsaved,
            )
        if not by_editor:
            return True
        if hand is not None and not by_us and hand(editor.edit(folder.root, by_editor, confirm=confirm)):
            return True
        return await editor.apply(folder.root, by_editor, f"GLM: {running.title}", confirm=confirm)

    def _beyond(self, folder: Folder, change: FileChange) -> str:
        opened = self.live(folder.root / change.path) is not None
        return convert.beyond(change, self.session.editor.edits, opened=opened)

    def notes(self, conversation: str) -> tuple[str, ...]:
        """What the model has to be told of what the person decided; told once."""
        return tuple(self._notes.pop(conversation, ())) if conversation else ()

    # --- findings ------------------------------------------------------------------------------------------------

    def found(self, folder: Folder, finding: Finding) -> None:
        """Takes what a review found, unless a person dismissed it before."""
        uri = self.session.editor.uri(folder.root / finding.path)
        if not self._dismissed(folder).covers(finding, self.findings.text(uri)):
            self.findings.add(uri, finding)

    def dismiss(self, folder: Folder, uri: str, message: str, lines: wire.Range) -> None:
        """Takes back a finding for good, by what its diagnostic says and where that stands now.

        Raises:
            UsageError: there is no such finding.
            StateError: later reviews will tell it again, since that could not be kept.
        """
        finding = self.findings.said(uri, message)
        if finding is None:
            raise UsageError("There is no such finding any more.")
        where = replace(finding, first_line=lines.start.line + 1, last_line=lines.end.line + 1)
        text = self.findings.text(uri)
        self.findings.drop(uri, finding)
        try:
            self._dismissed(folder).add(where, text)
        except OSError as error:
            raise StateError(f"It is dismissed until the server ends, and no longer: {error}.") from error

    def _dismissed(self, folder: Folder) -> Dismissals:
        if folder.root not in self._dismissals:
            self._dismissals[folder.root] = Dismissals.at(folder.root)
        return self._dismissals[folder.root]

    # --- documents that only we have -----------------------------------------------------------------------------

    async def show(self, review: Review) -> str:
        """Shows a proposal as a diff; its address."""
        return await self.document(DIFFS, review.id, "diff", diff(review))

    async def document(self, scheme: str, name: str, suffix: str, text: str) -> str:
        """Shows a document of ours, from us where the client has such documents, else from a file; its address."""
        editor = self.session.editor
        path = folder() / f"{name}.{suffix}"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(text, encoding="utf-8", errors="replace")
            path.chmod(0o600)
        uri = f"{scheme}:/{name}.{suffix}" if editor.has_virtual_documents else convert.path_to_uri(path)
        if not await editor.open(uri):
            editor.show(f"GLM: see {path}")
        return uri

    def content(self, uri: str) -> str:
        """The text of a document of ours; raises UsageError for any other."""
        scheme, _, rest = uri.partition(":")
        name = rest.lstrip("/")
        if scheme not in {DIFFS, TRANSCRIPTS} or "/" in name or name.startswith("."):
            raise UsageError(f"{uri[:200]} is not a document of ours.")
        try:
            return (folder() / name).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(f"{uri[:200]} is gone.", hint="Ask for it again.") from error

    def judge(self, said: wire.FeedbackParams) -> None:
        """Keeps what a person thought of a turn or a proposal in `feedback.jsonl` of the state folder, for them alone."""
        path = folder().parent / "feedback.jsonl"
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **msgspec.to_builtins(said)}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists() and path.stat().st_size > MOST_FEEDBACK_BYTES:
                path.replace(path.with_suffix(".old.jsonl"))
            with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as lines:
                lines.write(msgspec.json.encode(line) + b"\n")

    # --- telling the client --------------------------------------------------------------------------------------

    def lenses_changed(self) -> None:
        """Has the client ask for code lenses again."""
        editor = self.session.editor
        if editor.refreshes_lenses:
            editor.server.protocol.send_request(types.WORKSPACE_CODE_LENS_REFRESH)

    def status(self) -> wire.Status:
        """How the server is, in short."""
        down = self.session.engine_down
        turns = len(self.session.turns)
        return wire.Status(health="error" if down else "ok", quiescent=turns == 0, message=down, turns=turns)

    def status_changed(self) -> None:
        """Tells an opted-in client how the server is, where that is news."""
        status = self.status()
        if self.session.editor.asked is not None and status != self._status:
            self._status = status
            self.session.editor.server.protocol.notify("glm/status/didChange", status)


def diff(review: Review) -> str:
    """A proposal as a patch."""
    return "".join(unified(change) for change in review.proposal.changes)


def folder() -> Path:
    """Where diffs and transcripts lie that are shown from files."""
    return Path(os.environ.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp")) / "shown"


def _told(change: FileChange) -> str:
    what = "new " if change.before is None else "deleted " if change.after is None else ""
    return f"{what}{change.path}"
