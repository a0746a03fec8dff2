"""The front desk: one open workspace, its turns, and the changes that a person accepts or takes back.

Never draws and never speaks a protocol: the command line and the server are its clients alike.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from glm_lsp import actions, tools
from glm_lsp.conversations import Conversation
from glm_lsp.edits import review
from glm_lsp.edits.apply import apply
from glm_lsp.edits.draft import Draft
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.errors import CheckFailed, UsageError
from glm_lsp.index.walk import Listing, find_root, is_too_wide, walk
from glm_lsp.terms import Ask
from glm_lsp.turn import Turn, opening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Container, Iterator, Sequence
    from pathlib import Path

    from glm_lsp.actions import Offer, Place
    from glm_lsp.edits.journal import Run
    from glm_lsp.edits.review import Resolution
    from glm_lsp.engine.engine import Engine
    from glm_lsp.index.context import Choice
    from glm_lsp.index.index import Index
    from glm_lsp.settings import Settings
    from glm_lsp.terms import Event, PermissionAsked, Proposal, QuestionAsked
    from glm_lsp.tools import Tool


@dataclass(frozen=True, slots=True)
class Workspace:
    """One open workspace.

    Attributes:
        root: its real path.
        settings: as loaded for this workspace.
        listing: its files, at the time it was opened.
        journal: what was applied here, and can be undone.
        recovered: runs that were killed while they wrote, and have been taken back now.
        own: the person's own actions, and what is to be said of their files.
        index: what is known of its code, by whoever opened it; see `indexed`.
    """

    root: Path
    settings: Settings
    listing: Listing
    journal: Journal
    recovered: tuple[Run, ...] = ()
    own: actions.Custom = field(default_factory=actions.Custom)
    index: Index | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, folder: Path, settings: Settings, *, trusted: bool = False) -> Workspace:
        """Opens the workspace around `folder`; a run that was killed while it wrote is taken back first.

        Only of a `trusted` workspace are its own prompt files read.

        Raises:
            UsageError: there is no such folder.
            StateError: the state folder cannot be used.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder.", hint="Name a folder that exists.")
        root = find_root(folder)
        journal = Journal.open(root)
        recovered = journal.recover()
        own = actions.own(settings.actions, root, trusted=trusted)
        return cls(root, settings, walk(root), journal, recovered, own)

    @contextlib.contextmanager
    def indexed(self, *, few: int = 0) -> Iterator[Workspace]:
        """This workspace with its index, which works in the background for as long as it lasts.

        It is itself where the index is turned off, or where there are `few` files or less, which are read sooner.
        """
        off = not self.settings.index.enabled or is_too_wide(self.root)
        if off or self.index is not None or len(self.listing.paths) <= few:
            yield self
            return
        from glm_lsp.index.index import Index  # noqa: PLC0415 - the grammars, which not every command needs

        index = Index.open(self.root, self.settings.index)
        try:
            index.start()
            yield replace(self, index=index)
        finally:
            index.close()

    def offers(self, place: Place, kinds: Sequence[str] | None = None) -> tuple[Offer, ...]:
        """The menu at a place, without the actions that the person turned off; `kinds` as in `actions.offers`."""
        return actions.offers(place, kinds=kinds, custom=self.own.actions, off=self.settings.actions.off)

    def draft(self, overlay: Callable[[str], str | None] | None = None) -> Draft:
        """A shadow copy to work in; nothing in it touches the disk.

        `overlay` gives the text that an editor shows of a file, by its workspace-relative path with links resolved, and
        None for a file that is not open; it is asked from several threads.
        """
        return Draft(self._jail(), self.settings.edits, overlay)

    def turn(
        self,
        ask: Ask,
        engine: Engine,
        *,
        draft: Draft,
        conversation: Conversation | None = None,
        permit: Callable[[PermissionAsked], Awaitable[bool]] | None = None,
        answer: Callable[[QuestionAsked], Awaitable[str]] | None = None,
        further: tuple[Tool, ...] = (),
        notes: tuple[str, ...] = (),
        trusted: bool = True,
    ) -> Turn:
        """A turn for this Ask, ready to run; the engine must be connected.

        `permit`, `answer`, `further`, `notes` and `trusted` are as in Turn.

        Raises:
            UsageError: no such action, or one that needs words and has none.
        """
        action = actions.find(ask.action, self.own.actions)
        if action.needs_instruction and not ask.instruction.strip():
            raise UsageError(f"{action.id} needs an instruction.", hint="Say in quotes what should change.")
        return Turn(
            id=uuid.uuid4().hex[:8],
            ask=ask,
            action=action,
            conversation=conversation if conversation is not None else Conversation(),
            draft=draft,
            listing=self.listing,
            engine=engine,
            settings=self.settings,
            permit=permit,
            answer=answer,
            further=(*further, *tools.beside(action.tools)),
            notes=notes,
            trusted=trusted,
            index=self.index,
        )

    def context(self, ask: Ask, *, budget: int, open_paths: Collection[str] = ()) -> Choice:
        """The code that a turn about this Ask would be shown, if it named no files; of `budget` tokens at most.

        Raises:
            UsageError: the workspace has no index.
        """
        if self.index is None:
            raise UsageError("The index is turned off.", hint="Set index.enabled to true.")
        return opening.choose(self.index, ask, self.draft(), budget=budget, open_paths=open_paths)

    def compact(
        self, conversation: Conversation, engine: Engine, *, draft: Draft | None = None, instruction: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Makes a conversation shorter for the model, and yields the events of that as a turn does.

        Args:
            conversation: its claim is held.
            engine: connected; it writes the summary.
            draft: the one the conversation works in, if it goes on; what it had read has to be read again.
            instruction: the person's wishes for the summary.
        """
        return Turn(
            id=uuid.uuid4().hex[:8],
            ask=Ask("chat", instruction, thinking="off"),
            action=actions.find("chat"),
            conversation=conversation,
            draft=draft or self.draft(),
            listing=self.listing,
            engine=engine,
            settings=self.settings,
        ).compact()

    def accept(self, proposal: Proposal, *, label: str) -> str:
        """Writes a proposal to the disk, all of it or nothing, and returns the run's id for `undo`.

        Raises:
            CheckFailed: problems remain that the model did not mend.
            Conflict: a file changed since the model read it; nothing was written.
            StateError: the disk or the journal is in the way; nothing was written.
        """
        if proposal.objections:
            first = proposal.objections[0]
            raise CheckFailed(
                f"{len(proposal.objections)} problems remain, the first in {first.path}: {first.message}",
                hint="Nothing was written. Ask again, or in smaller steps.",
            )
        return apply(self.root, proposal.changes, journal=self.journal, jail=self._jail(), label=label)

    def write(self, resolution: Resolution, *, label: str, unsaved: Container[str] = ()) -> str:
        """Writes what was decided of a proposal to the disk, all of it or nothing; returns the run's id for `undo`.

        `unsaved` are the paths that an editor has open with changes of its own.

        Raises:
            Conflict: a file changed meanwhile, or is unsaved; nothing was written.
            StateError: the disk or the journal is in the way; nothing was written.
        """
        return review.write(
            resolution, self.root, journal=self.journal, jail=self._jail(), label=label, unsaved=unsaved
        )

    def undo(self, run_id: str | None = None) -> Run:
        """Takes a run back, the last one by default.

        Raises:
            Conflict: files changed since; nothing was touched.
            StateError: there is no such run.
        """
        return self.journal.undo(run_id)

    def _jail(self) -> Jail:
        edits = self.settings.edits
        ignored = (lambda _path: False) if edits.allow_ignored else self.listing.ignored
        return Jail(self.root, protected=tuple(edits.protected), ignored=ignored, secrets=edits.allow_secrets)
