"""What happens in a turn, as updates of an agent panel.

Never sends anything, and never asks: permissions, questions and proposals wait for a person and are the session's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from acp import (
    start_tool_call,
    text_block,
    tool_content,
    tool_diff_content,
    update_agent_message_text,
    update_agent_thought_text,
    update_tool_call,
    update_user_message_text,
)
from acp.schema import ToolCallLocation, UsageUpdate

from glm_lsp.engine.turnstile import in_line
from glm_lsp.terms import (
    Compacted,
    ContextChosen,
    Ended,
    HunkOpened,
    Queued,
    TextAdded,
    ThinkingAdded,
    ToolCalled,
    ToolReturned,
    Used,
    Warned,
)
from glm_lsp.turn.recall import own_words, title_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from acp.schema import (
        AgentMessageChunk,
        AgentThoughtChunk,
        FileEditToolCallContent,
        ToolCallProgress,
        ToolCallStart,
        ToolKind,
        UserMessageChunk,
    )

    from glm_lsp.terms import FileChange, Message
    from glm_lsp.terms.events import Happening

    Update = AgentMessageChunk | AgentThoughtChunk | ToolCallStart | ToolCallProgress | UsageUpdate | UserMessageChunk

LONGEST = 20_000
"""Characters of a tool's result that a panel is sent; the model reads all of it."""

_NAMED = 3  # files whose names are told

_KINDS: dict[str, ToolKind] = {
    "diagnostics": "read",
    "edit_file": "edit",
    "find_references": "search",
    "find_symbol": "search",
    "list_files": "read",
    "read_file": "read",
    "replace_symbol": "edit",
    "run_command": "execute",
    "search": "search",
    "write_file": "edit",
}


class Updates:
    """The updates of one turn.

    A class because a call may be told twice: when its place in a file is known, and when it is complete.

    Args:
        root: the workspace's real path; a panel wants whole paths.
        context: tokens that the model can read at once.
    """

    def __init__(self, root: Path, context: int) -> None:
        self._root = root
        self._context = context
        self._begun: set[str] = set()

    def of(self, what: Happening) -> Iterator[Update]:
        """The updates that tell of it; most happenings need one, some none."""
        if isinstance(what, ThinkingAdded):
            yield update_agent_thought_text(what.text)
        elif isinstance(what, TextAdded):
            yield update_agent_message_text(what.text)
        elif isinstance(what, HunkOpened):
            yield self._begin(what.call, f"Edit {what.path}", "edit", [self._at(what.path, what.line)], None)
        elif isinstance(what, ToolCalled):
            yield self._called(what)
        elif isinstance(what, ToolReturned):
            result = what.result if len(what.result) <= LONGEST else f"{what.result[:LONGEST]}\n…"
            yield update_tool_call(
                what.call,
                status="completed" if what.ok else "failed",
                content=[tool_content(text_block(result or what.outcome))],
            )
        elif isinstance(what, Warned):
            yield note(what.message)
        elif isinstance(what, Compacted):
            yield note(f"The conversation was made shorter for the model: {what.before:,} → {what.after:,} tokens.")
        elif isinstance(what, ContextChosen) and what.files:
            named = ", ".join(one.path for one in what.files[:_NAMED])
            more = len(what.files) - _NAMED
            yield note(f"Read first: {named}" + (f" and {more} more" if more > 0 else ""))
        elif isinstance(what, Queued) and what.place:
            yield note(in_line(what.place))
        elif isinstance(what, Used):
            used = what.usage.read + what.usage.written
            yield UsageUpdate(session_update="usage_update", used=used, size=max(self._context, used))
        elif isinstance(what, Ended) and what.reason == "limit":
            yield note(f"{what.error} {what.hint}".strip())

    def _called(self, what: ToolCalled) -> Update:
        if what.call in self._begun:
            return update_tool_call(what.call, title=what.title, raw_input=what.arguments)
        path = what.arguments.get("file_path") or what.arguments.get("path")
        places = [self._at(path, what.arguments.get("start_line"))] if isinstance(path, str) else []
        return self._begin(what.call, what.title, _KINDS.get(what.tool, "other"), places, what.arguments)

    def _begin(
        self, call: str, title: str, kind: ToolKind, places: list[ToolCallLocation], arguments: Any
    ) -> ToolCallStart:
        self._begun.add(call)
        return start_tool_call(
            call, title, kind=kind, status="in_progress", locations=places or None, raw_input=arguments
        )

    def _at(self, path: str, line: Any) -> ToolCallLocation:
        return ToolCallLocation(path=str(self._root / path), line=line if isinstance(line, int) and line > 0 else None)


def note(words: str) -> AgentMessageChunk:
    """A line of ours between the model's words."""
    return update_agent_message_text(f"\n\n> {words}\n\n")


def diffs(root: Path, changes: Iterable[FileChange]) -> list[FileEditToolCallContent]:
    """Changes as a panel draws them; a deleted file becomes an empty one."""
    return [
        tool_diff_content(
            str(root / change.path),
            (change.after or b"").decode("utf-8", "replace"),
            None if change.before is None else change.before.decode("utf-8", "replace"),
        )
        for change in changes
    ]


def replay(messages: Iterable[Message]) -> Iterator[Update]:
    """A kept conversation once more: what the person said, what was thought, called and answered."""
    for message in messages:
        if words := own_words(message):
            yield update_user_message_text(words)
        elif message.role == "assistant":
            if message.thinking:
                yield update_agent_thought_text(message.thinking)
            if message.text:
                yield update_agent_message_text(message.text)
            for call in message.tool_calls:
                yield start_tool_call(
                    call.id,
                    title_of(call),
                    kind=_KINDS.get(call.name, "other"),
                    status="in_progress",
                    raw_input=_arguments(call.arguments),
                )
        elif message.role == "tool":
            content = [tool_content(text_block(message.text[:LONGEST]))]
            yield update_tool_call(message.call_id, status="completed", content=content)


def _arguments(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return written
