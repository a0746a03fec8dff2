"""How a turn begins: the head of a new conversation, then what the person asks and what changed since the last turn.

Never changes what was said before: all of it is appended.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from glm_lsp import prompt
from glm_lsp.errors import FileRefused
from glm_lsp.terms import Excerpt, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glm_lsp.actions import Action
    from glm_lsp.conversations import Conversation
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.index.walk import Listing
    from glm_lsp.settings import PromptSettings
    from glm_lsp.terms import Ask
    from glm_lsp.tools import Tool


def begin(
    conversation: Conversation,
    ask: Ask,
    action: Action,
    *,
    offered: Iterable[Tool],
    notes: Sequence[str],
    draft: Draft,
    listing: Listing,
    profile: Profile,
    settings: PromptSettings,
) -> None:
    """Appends what the model reads before its first reply of this turn.

    Raises:
        FileRefused: the only file that was asked about cannot be read.
        StateError: the conversation cannot be written.
    """
    for call in conversation.unanswered:
        # A turn was killed or stopped between the call and its result; the model has to know.
        conversation.append(Message("tool", "Not carried out: the turn was stopped before.", call_id=call.id))
    if not draft.changes():
        draft.rebase()  # what is on the disk now is what the turn works on
    said = list(notes)
    if not conversation.messages:
        conversation.tools = tuple(tool.spec for tool in offered)
        conversation.words = ask.instruction
        project = _instructions(conversation, [n for n in settings.instruction_files if "/" not in n], draft)
        conversation.append(prompt.head(listing.paths, own=settings.instructions, project=project))
    else:
        said += _changes(conversation, draft, settings)
    said += _nearer_instructions(conversation, ask, draft, listing, settings)
    room = prompt.budget(profile)
    everything = ask.paths == listing.paths
    excerpts = []
    for path in _to_show(ask, draft, room, everything=everything):
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
    conversation.seen.update(draft.digests())
    conversation.append(prompt.ask(ask.instruction, action.guidance, excerpts, said))


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
