"""How a turn begins: the head of a new conversation, then what the person asks and what changed since the last turn.

Never changes what was said before: all of it is appended.

What is shown of the workspace is chosen first, by `look`, which takes its time and touches nothing but the draft.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from glm_lsp import prompt
from glm_lsp.errors import FileRefused
from glm_lsp.terms import ChosenFile, ContextChosen, Excerpt, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from glm_lsp.actions import Action
    from glm_lsp.conversations import Conversation
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.index.context import Candidate, Choice, Piece
    from glm_lsp.index.index import Index
    from glm_lsp.index.pointed import Hints
    from glm_lsp.index.walk import Listing
    from glm_lsp.settings import IndexSettings, PromptSettings
    from glm_lsp.terms import Ask
    from glm_lsp.tools import Tool

log = logging.getLogger(__name__)

COLD_SECONDS = 1.5
"""How long an index that was just opened is waited for; then the turn goes without."""

SOON = 0.4
"""Seconds of these after which definitions are waited for only where few are missing; words do as well.

Who names the files waits no longer than this at all, since only the map is made of the index then.
"""

NEARLY = 100
"""Files still to be parsed, up to which it is worth the rest of the time."""

FEW_FILES = 40
"""Files up to which a list of them is the best map."""

TELLING = 5
"""Words of a later question from which on code is chosen for it, unless it has a name as it is written in code."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an opening message is to show.

    Attributes:
        overview: the map of the workspace, for the head; empty for a plain list of files.
        whole: files that were asked about and fit.
        pieces: what was chosen of other files.
        complete: those of which the pieces are all.
        files: of which the pieces are, the best first, as a person is told.
        candidates: definitions that might be worth reading, where they were wished for.
        hints: what was looked for besides the words of the question.
    """

    overview: str = ""
    whole: tuple[str, ...] = ()
    pieces: tuple[Excerpt, ...] = ()
    complete: frozenset[str] = frozenset()
    files: tuple[ChosenFile, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    hints: Hints | None = None


def look(
    conversation: Conversation,
    ask: Ask,
    *,
    draft: Draft,
    listing: Listing,
    profile: Profile,
    index: Index | None,
    settings: IndexSettings,
    scale: Callable[[str], float] = lambda _: 1.0,
    hints: Hints | None = None,
    candidates: int = 0,
) -> Look:
    """Chooses what to show, and begins the draft from what is on the disk now; may run in a thread of its own.

    Waits a moment for an index that is not ready, and does without where that is not enough. `scale`, `hints` and
    `candidates` are as for choosing.

    Raises:
        FileRefused: the only file that was asked about cannot be read.
    """
    if not draft.changes():
        draft.rebase()  # what is on the disk now is what the turn works on
    everything = ask.paths == listing.paths
    whole = tuple(_to_show(ask, draft, prompt.budget(profile), everything=everything))
    if index is None or (len(listing.paths) <= FEW_FILES and (whole or not listing.paths)):
        return Look(whole=whole)
    try:
        return _looked(
            conversation,
            ask,
            draft,
            listing,
            profile,
            index,
            settings,
            whole,
            scale=scale,
            hints=hints,
            candidates=candidates,
        )
    except Exception:  # what was chosen is a help, and no turn fails for want of it
        log.exception("nothing could be chosen from the index")
        return Look(whole=whole)


def _looked(
    conversation: Conversation,
    ask: Ask,
    draft: Draft,
    listing: Listing,
    profile: Profile,
    index: Index,
    settings: IndexSettings,
    whole: tuple[str, ...],
    *,
    scale: Callable[[str], float],
    hints: Hints | None,
    candidates: int,
) -> Look:
    first = not conversation.messages
    asks = not ask.paths or (ask.paths == listing.paths and not whole)
    if not (first or asks) or not _is_ready(index, COLD_SECONDS if asks else SOON):
        return Look(whole=whole)
    overview = ""
    if first and len(listing.paths) > FEW_FILES and settings.map_tokens:
        from glm_lsp.index.overview import overview as made  # noqa: PLC0415 - not every turn begins a conversation

        overview = made(index, budget=prompt.map_budget(profile, settings.map_tokens), count=prompt.count)
    if not asks:
        return Look(overview, whole)
    budget = prompt.context_budget(profile, settings.context_tokens)
    if not first:
        budget = budget // 2 if _telling(ask.instruction) else 0
    if not budget:
        return Look(overview, whole)
    choice = choose(index, ask, draft, budget=budget, scale=scale, hints=hints, candidates=candidates)
    shown = prompt.places(conversation.shown)
    pieces = [one for one in choice.pieces if (one.path, one.first_line, one.last_line) not in shown]
    fresh = tuple(Excerpt(one.path, one.first_line, one.text, one.reason, one.numbers) for one in pieces)
    complete = frozenset(one.path for one in choice.pieces if one.kind == "file")
    return Look(overview, whole, fresh, complete, _files(pieces, complete), choice.candidates, hints)


def _is_ready(index: Index, most: float) -> bool:
    """Waits so long for the words of all files, and for their definitions where these are there soon."""
    began = time.monotonic()
    if index.wait(1, min(SOON, most)):
        return True
    left = most - (time.monotonic() - began)
    if left > 0 and index.status.pending <= NEARLY and index.wait(1, left):
        return True
    return index.wait(0, max(0.0, most - (time.monotonic() - began)))


def _files(pieces: Sequence[Piece], complete: Collection[str]) -> tuple[ChosenFile, ...]:
    """The files of some pieces, the best first."""
    found: dict[str, ChosenFile] = {}
    for one in sorted(pieces, key=lambda piece: (-piece.score, piece.path, piece.first_line)):
        known = found.get(one.path) or ChosenFile(one.path, one.reason, 0, one.path in complete)
        found[one.path] = replace(known, tokens=known.tokens + one.tokens)
    return tuple(found.values())


def told(seen: Look, shown: Collection[Excerpt], note: str = "") -> ContextChosen | None:
    """What a person is told of the choice; None where there was none.

    Args:
        seen: what was chosen.
        shown: what the opening message has of it.
        note: why the model was asked in vain.
    """
    there = {one.path for one in shown}
    files = tuple(one for one in seen.files if one.path in there)
    if not files and not note:
        return None
    words = (*seen.hints.words, *seen.hints.paths) if seen.hints is not None else ()
    return ContextChosen(files, sum(one.tokens for one in files), words, note)


def choose(
    index: Index,
    ask: Ask,
    draft: Draft,
    *,
    budget: int,
    open_paths: Collection[str] = (),
    scale: Callable[[str], float] = lambda _: 1.0,
    hints: Hints | None = None,
    candidates: int = 0,
) -> Choice:
    """The pieces of code that are worth reading for an Ask, as they are in the draft.

    Files that were read already are left out, and so are those that may not be read, or are not as the index knows
    them.
    """
    from glm_lsp.index import context  # noqa: PLC0415 - numpy, which not every turn needs

    leave_out = set(draft.paths())

    def chosen() -> Choice:
        return context.choose(
            index,
            ask.instruction,
            budget=budget,
            count=prompt.count,
            open_paths=open_paths,
            selections=ask.selections,
            problems=ask.problems,
            leave_out=leave_out,
            scale=scale,
            hints=hints or context.NO_HINTS,
            candidates=candidates,
        )

    choice = chosen()
    for _ in range(2):
        if not (refused := {piece.path for piece in choice.pieces if not _is_there(draft, piece)}):
            return choice
        leave_out |= refused  # others may have its room
        choice = chosen()
    return context.without(choice, {piece.path for piece in choice.pieces if not _is_there(draft, piece)})


def _is_there(draft: Draft, piece: Piece) -> bool:
    """Whether the draft has these lines, and the file may be read."""
    try:
        lines = draft.peek(piece.path).lines()
    except FileRefused:
        return False
    if piece.numbers:
        return piece.last_line <= len(lines)
    return lines[piece.first_line - 1 : piece.last_line] == piece.text.split("\n")


def _telling(words: str) -> bool:
    """Whether a later question says what it is about; `yes, do that` does not."""
    from glm_lsp.index.words import identifiers  # noqa: PLC0415 - as above

    found = identifiers(words)
    return len(found) >= TELLING or any("_" in word or word[1:].lower() != word[1:] for word in found)


def begin(
    conversation: Conversation,
    ask: Ask,
    action: Action,
    *,
    offered: Iterable[Tool],
    notes: Sequence[str],
    draft: Draft,
    listing: Listing,
    settings: PromptSettings,
    seen: Look,
) -> tuple[Excerpt, ...]:
    """Appends what the model reads before its first reply of this turn; gives the code it shows.

    Raises:
        FileRefused: the only file that was asked about cannot be read.
        StateError: the conversation cannot be written.
    """
    for call in conversation.unanswered:
        # A turn was killed or stopped between the call and its result; the model has to know.
        conversation.append(Message("tool", "Not carried out: the turn was stopped before.", call_id=call.id))
    first = not conversation.messages
    said = list(notes)
    if first:
        conversation.tools = tuple(tool.spec for tool in offered)
        conversation.words = ask.instruction
        project = _instructions(conversation, [n for n in settings.instruction_files if "/" not in n], draft)
        conversation.append(
            prompt.head(listing.paths, own=settings.instructions, project=project, overview=seen.overview)
        )
    else:
        said += _changes(conversation, draft, settings)
    said += _nearer_instructions(conversation, ask, draft, listing, settings)
    everything = ask.paths == listing.paths
    excerpts = []
    for path in seen.whole:
        try:
            text = draft.read(path)
        except FileRefused:
            if len(ask.paths) == 1:
                raise  # named outright: say why not
            continue  # among many files some are not text; the model may still ask for them and be told so
        excerpts.append(Excerpt(path, 1, "\n".join(text.lines()), "the whole file"))
    left_out = [path for path in ask.paths if not draft.was_read(path)]
    if left_out and not everything:
        said.append("This is about these files too; read them as you need: " + ", ".join(left_out[:200]))
    said = [prompt.selected(ask.selections), prompt.known_problems(ask.problems), *said]
    pieces = list(_still_there(seen, draft))
    if pieces:
        said.append(prompt.chosen_for(first=first))
    for piece in pieces:
        # To have seen a part of a file is not to have read it: it may not be edited for that, but the model has to know
        # where it changed.
        conversation.seen[piece.path] = draft.digest(piece.path) or ""
    conversation.seen.update(draft.digests())
    conversation.append(prompt.ask(ask.instruction, action.guidance, [*excerpts, *pieces], said))
    return (*excerpts, *pieces)


def _still_there(seen: Look, draft: Draft) -> Iterator[Excerpt]:
    """The chosen pieces; files that are shown whole count as read from now on."""
    for piece in seen.pieces:
        try:
            if piece.path in seen.complete:
                draft.read(piece.path)
            yield piece
        except FileRefused:
            continue  # gone since it was chosen


def _instructions(conversation: Conversation, paths: Iterable[str], draft: Draft) -> dict[str, str]:
    """The text of those files of instructions that are there; the model has seen them from now on."""
    found = {}
    for path in paths:
        try:
            found[path] = draft.peek(path).content
        except FileRefused:
            continue
        conversation.seen[path] = draft.digest(path) or ""
    return found


def _changes(conversation: Conversation, draft: Draft, settings: PromptSettings) -> list[str]:
    """Notes on the files that are not as the model last saw them; instructions are told anew."""
    edited: list[str] = []
    gone: list[str] = []
    notes: list[str] = []
    for path, digest in sorted(conversation.seen.items()):
        now = draft.digest(path) or ""
        if now == digest:
            continue
        conversation.seen[path] = now
        if PurePosixPath(path).name in settings.instruction_files and now:
            notes.append(prompt.instructions(path, draft.peek(path).content, again=True))
        else:
            (edited if now else gone).append(path)
    return [*notes, *filter(None, [prompt.changed_since(edited, gone)])]


def _nearer_instructions(
    conversation: Conversation, ask: Ask, draft: Draft, listing: Listing, settings: PromptSettings
) -> list[str]:
    """Notes with the instructions of the folders in which the files asked about lie, outermost first, once each."""
    wanted: dict[str, None] = {}
    for path in ask.paths if ask.paths != listing.paths else ():
        for folder in reversed(PurePosixPath(path).parents[:-1]):
            for name in settings.instruction_files:
                candidate = str(folder / name)
                if candidate in listing.path_set and candidate not in conversation.seen:
                    wanted[candidate] = None
    told = _instructions(conversation, wanted, draft)
    return [prompt.instructions(path, text, again=False) for path, text in told.items()]


def _to_show(ask: Ask, draft: Draft, room: int, *, everything: bool) -> list[str]:
    """The files that the opening message shows whole: as many of those asked for as fit into `room` bytes.

    A whole workspace is shown only where all of it fits: its first files would be a random choice.
    """
    shown = []
    for path in ask.paths:
        if draft.was_read(path):
            continue
        try:
            size = draft.size(path)
        except FileRefused:
            if len(ask.paths) == 1:
                raise
            continue  # gone since it was chosen
        if size > room and everything:
            return []
        if size <= room:
            room -= size
            shown.append(path)
    return shown
