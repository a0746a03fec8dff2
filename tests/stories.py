"""Plays a turn on a scripted engine in a real folder, and reads what happened.

Never replaces a part of the product: the script stands only for the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from glm_lsp.conversations import Conversation
from glm_lsp.engine.scripted import Reply, ScriptedEngine, said
from glm_lsp.settings import Settings
from glm_lsp.terms import Ask, Ended, Event, Happening, Proposal, Proposed, ToolReturned
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.edits.draft import Draft

T = TypeVar("T")


@dataclass
class Story:
    """What happened in a turn."""

    events: list[Event]
    draft: Draft
    conversation: Conversation
    engine: ScriptedEngine

    def of(self, kind: type[T]) -> list[T]:
        return [event.what for event in self.events if isinstance(event.what, kind)]

    @property
    def ended(self) -> Ended:
        return self.of(Ended)[-1]

    @property
    def proposal(self) -> Proposal | None:
        found = self.of(Proposed)
        return found[-1].proposal if found else None

    def results(self) -> list[ToolReturned]:
        return self.of(ToolReturned)

    def after(self, path: str) -> bytes | None:
        assert self.proposal is not None
        return next(change.after for change in self.proposal.changes if change.path == path)


def project(root: Path, **files: str | bytes) -> Path:
    """Writes files; `a__b_py` is the name `a/b.py`."""
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        path = root / (stem.replace("__", "/") + "." + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def edit(path: str, old: str, new: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("edit_file", {"file_path": path, **more, "old_string": old, "new_string": new})


async def play(
    root: Path,
    *replies: Reply,
    instruction: str = "Do it.",
    paths: tuple[str, ...] = (),
    action: str = "refactor",
    thinking: Any = "auto",
    settings: Settings | None = None,
    chop: int = 0,
    **engine: Any,
) -> Story:
    """Runs one turn to its end."""
    workspace = Workspace.open(root, settings or Settings())
    scripted = ScriptedEngine(replies, chop=chop, **engine)
    draft, conversation = workspace.draft(), Conversation()
    turn = workspace.turn(Ask(action, instruction, paths, thinking), scripted, conversation=conversation, draft=draft)
    events = [event async for event in turn.run()]
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "numbered without gaps"
    kinds = [type(event.what).__name__ for event in events]
    assert kinds.count("Started") == kinds.count("Ended") == 1
    assert kinds[0] == "Started"
    assert kinds[-1] == "Ended"
    assert kinds.count("HunkOpened") == kinds.count("HunkClosed"), "every hunk that was opened is closed"
    return Story(events, draft, conversation, scripted)


def limits(**turn: Any) -> Settings:
    settings = Settings()
    return replace(settings, turn=replace(settings.turn, **turn))


def happenings(story: Story) -> list[Happening]:
    return [event.what for event in story.events]


__all__ = ["Story", "edit", "happenings", "limits", "play", "project", "said"]
