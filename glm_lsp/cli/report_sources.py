"""What `engine report` is about: turns and looks at an engine, read from where they were written down.

Never asks the engine, and passes over what it cannot read.

Three sources: lines of `engine top --record`, lines of `refactor --output ndjson`, and the store, which keeps what each
request of a turn cost, but not how long it took.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp import terms
from glm_lsp.engine.metrics import View
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from glm_lsp.store.rows import Loaded, Said


@dataclass(slots=True)
class Step:
    """One request to the engine; `at` counts seconds from the turn's start, and None stands for what is not known."""

    at: float | None
    usage: terms.Usage
    seconds: float | None = None
    first_token: float | None = None


@dataclass(slots=True)
class Call:
    """One call of a tool."""

    title: str
    at: float | None = None
    seconds: float | None = None
    ok: bool | None = None


@dataclass(slots=True)
class TurnSeen:
    """One turn: its words, what it asked of the engine, which tools ran.

    Attributes:
        title: the person's words.
        model: which model answered.
        began: in seconds since 1970; None where the source does not say.
        seconds: how long it took; None where that is not known.
        ended: how it ended; empty where that is not known.
    """

    title: str = ""
    model: str = ""
    began: float | None = None
    seconds: float | None = None
    ended: str = ""
    steps: list[Step] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def usage(self) -> terms.Usage:
        """What all steps cost together."""
        return sum((step.usage for step in self.steps), terms.Usage())


@dataclass(slots=True)
class Seen:
    """Everything the page is about; `passed_over` counts lines that could not be read."""

    turns: list[TurnSeen] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    passed_over: int = 0


def read(file: Path, seen: Seen) -> None:
    """Adds what a file of lines says of engines and turns.

    Raises:
        UsageError: it cannot be read, or not one of its lines is of a kind that is known.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    turns: dict[str, TurnSeen] = {}
    known = 0
    for line in filter(None, lines):
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
            if "event" in row:
                _take(turns.setdefault(str(row.get("turn", "")), TurnSeen()), row)
            else:
                seen.views.append(msgspec.convert(row, View))
            known += 1
        except (msgspec.MsgspecError, UnicodeDecodeError):  # half a line, where the writer was killed
            seen.passed_over += 1
    if not known and lines:
        raise UsageError(
            f"{file} holds nothing that can be reported.",
            hint="It takes what `engine top --record` and `refactor --output ndjson` write.",
        )
    seen.turns += turns.values()


def read_store(root: Path, session: str, seen: Seen) -> None:
    """Adds the turns of the workspace's conversations, or of one of them; raises UsageError where there is no such."""
    from glm_lsp.conversations import Conversations
    from glm_lsp.index.walk import find_root

    if not root.is_dir():
        raise UsageError(f"{root} is not a folder.", hint="Name a folder in the workspace with --root.")
    shelf = Conversations.at(find_root(root))
    ids = [shelf.open(session).id] if session else [entry.id for entry in reversed(shelf.list())]
    for one in ids:
        loaded = shelf.store.load(one)
        if loaded is not None:
            seen.turns += _turns_of(loaded)


# --- the sources -------------------------------------------------------------------------------------------------


def _take(turn: TurnSeen, row: dict[str, Any]) -> None:
    """Adds an event; kinds that are of no account here, and those of a later release, are passed over."""
    kind, at = row["event"], msgspec.convert(row.get("at", 0.0), float)
    if kind == "started":
        started = msgspec.convert(row, terms.Started)
        turn.title, turn.model = started.instruction or started.action, started.model
    elif kind == "used":
        used = msgspec.convert(row, terms.Used)
        turn.steps.append(Step(max(0.0, at - used.seconds), used.usage, used.seconds, used.first_token))
    elif kind == "tool-called":
        turn.calls.append(Call(msgspec.convert(row, terms.ToolCalled).title, at))
    elif kind == "tool-returned":
        returned = msgspec.convert(row, terms.ToolReturned)
        waiting = next((call for call in turn.calls if call.ok is None), None)  # results come in the calls' order
        if waiting is not None:
            waiting.ok, waiting.seconds = returned.ok, returned.seconds
            waiting.at = max(0.0, at - returned.seconds)
    elif kind == "ended":
        ended = msgspec.convert(row, terms.Ended)
        turn.seconds, turn.ended = ended.seconds, ended.reason


def _turns_of(loaded: Loaded) -> Iterable[TurnSeen]:
    turns: dict[str, TurnSeen] = {}
    said: dict[str, list[Said]] = {}
    for one in loaded.said:
        said.setdefault(one.turn, []).append(one)
    for request in loaded.requests:
        messages = said.get(request.turn, [])
        began = min((one.at for one in messages), default=request.at)
        turn = turns.get(request.turn)
        if turn is None:
            words = next((one.message.text for one in messages if one.message.role == "user"), "")
            turn = turns[request.turn] = TurnSeen(words or loaded.entry.first, request.model, began)
            turn.calls = [Call(_title(call)) for one in messages for call in one.message.tool_calls]
        turn.steps.append(Step(max(0.0, request.at - began), request.usage))
        turn.seconds = max(turn.seconds or 0.0, request.at - began)
    return turns.values()


def _title(call: terms.ToolCall) -> str:
    from glm_lsp import tools

    tool = tools.find(call.name)
    try:
        return tool.title(msgspec.json.decode(call.arguments)) if tool is not None else call.name
    except Exception:  # noqa: BLE001 - what a model wrote as arguments may be anything, and this is only a title
        return call.name
