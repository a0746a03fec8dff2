"""The commands of a chat: lines that begin with a slash, each with its form, its words and what it does.

Never sends anything to the model but by `/compact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.cli import recall
from glm_lsp.cli.words import count, one_line
from glm_lsp.errors import UsageError
from glm_lsp.turn.recall import asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from glm_lsp.cli.talk import Talk
    from glm_lsp.cli.words import Row
    from glm_lsp.edits.journal import Run
    from glm_lsp.terms import Thinking
    from glm_lsp.tools.permissions import Rule

_THINKING: dict[str, Thinking] = {"on": "on", "off": "off", "auto": "auto"}

CHECKPOINTS = 15
"""How many of the latest ones are listed."""

TURNS = 10
"""Turns that /history shows by default."""

KEYS = """\
@path in a message shows that file to the model; Tab completes it.
Alt-Enter, or a backslash before Enter, begins a new line. Ctrl-R searches what was typed.
Ctrl-C stops an answer."""


async def run(talk: Talk, line: str) -> None:
    """Carries out a line that begins with a slash; raises UsageError where there is no such command."""
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"There is no /{one_line(name, 40)}.", hint="/help lists what there is.")
    await command.run(talk, rest.strip())


def checkpoints(runs: Iterable[Run]) -> list[str]:
    """One line for each run: its number, when it was, whether it was taken back, what for, and its files."""
    rows = []
    for run in runs:
        files = ", ".join(run.paths[:3]) + (f" and {len(run.paths) - 3} more" if len(run.paths) > 3 else "")
        state = "" if run.state == "applied" else f"{run.state} · "
        rows.append(f"{run.number:4}  {run.when:%Y-%m-%d %H:%M}  {state}{one_line(run.label, 60)} · {one_line(files)}")
    return rows


@dataclass(frozen=True, slots=True)
class Command:
    """One of them; `form` is what follows its name, `completed` what may be completed there."""

    form: str
    about: str
    run: Callable[[Talk, str], Awaitable[None]]
    completed: Callable[[Talk], Iterable[str]] | None = None


# --- what each does --------------------------------------------------------------------------------------------------


async def _think(talk: Talk, rest: str) -> None:
    if rest not in _THINKING:
        raise UsageError("/think takes on, off or auto.")
    talk.thinking = _THINKING[rest]
    talk.terminal.note(f"Thinking: {rest}")


async def _files(talk: Talk, _rest: str) -> None:
    talk.terminal.note(" · ".join(talk.draft.paths()) or "No file has been read yet")


async def _undo(talk: Talk, rest: str) -> None:
    if rest:
        talk.taken_back(talk.workspace.journal.undo_to(rest))
    else:
        talk.taken_back([talk.workspace.undo()])


async def _checkpoints(talk: Talk, _rest: str) -> None:
    applied = _applied(talk)
    if not applied:
        talk.terminal.note("Nothing has been applied that could be taken back")
        return
    rows: list[Row] = [(row, "") for row in checkpoints(applied[-CHECKPOINTS:])]
    talk.terminal.lines([*rows, ("/undo N takes back N and all after it", "dim")])


async def _drop(talk: Talk, _rest: str) -> None:
    changed = [change.path for change in talk.draft.changes()]
    if changed:
        talk.drop(changed)
    else:
        talk.terminal.note("There is nothing to drop")


async def _compact(talk: Talk, rest: str) -> None:
    await talk.watch(talk.workspace.compact(talk.conversation, talk.engine, draft=talk.draft, instruction=rest))


async def _history(talk: Talk, rest: str) -> None:
    if rest and not (rest.isascii() and rest.isdigit()):
        raise UsageError("/history takes how many turns to show.")
    rows = recall.rows(talk.conversation.messages, int(rest or TURNS))
    talk.terminal.lines(rows or [("Nothing was said yet", "")])


async def _permissions(talk: Talk, rest: str) -> None:
    word, _, number = rest.partition(" ")
    if word == "forget" and number.isascii() and number.isdigit():
        talk.terminal.note(f"Forgotten: {_rule(talk.permissions.forget(int(number)))}")
    elif rest:
        raise UsageError("/permissions lists what you said for good; /permissions forget N takes N of them back.")
    else:
        rules = talk.permissions.rules
        commands = talk.workspace.settings.tools.commands
        rows: list[Row] = [(f"{number:3}  {_rule(rule)}", "") for number, rule in enumerate(rules, 1)]
        rows += [
            (f"  ·  always  run_command  {one_line(pattern)} · by the setting tools.commands", "")
            for pattern in commands
        ]
        talk.terminal.lines(rows or [("Nothing is permitted or refused for good", "")])


async def _fork(talk: Talk, _rest: str) -> None:
    talk.conversation = talk.shelf.fork(talk.conversation.id)
    talk.terminal.note(f"Session {talk.conversation.id}, a copy")


async def _name(talk: Talk, rest: str) -> None:
    if not rest:
        raise UsageError("/name takes a name.")
    talk.shelf.rename(talk.conversation.id, rest)
    talk.terminal.note(f"Session {talk.conversation.id} is called {rest}")


async def _new(talk: Talk, _rest: str) -> None:
    talk.go_on_in(talk.shelf.create())
    talk.terminal.note(f"Session {talk.conversation.id}, a new one")


async def _resume(talk: Talk, rest: str) -> None:
    if not rest:
        raise UsageError("/resume takes a session: its id or its name.", hint="/sessions lists them.")
    talk.go_on_in(talk.shelf.open(rest))
    welcome_back(talk)


async def _sessions(talk: Talk, _rest: str) -> None:
    here = talk.conversation.id
    for item in talk.shelf.list():
        mark = " · this one" if item.id == here else ""
        talk.terminal.note(f"{item.id}  {item.updated:%Y-%m-%d %H:%M}  {one_line(item.name or item.first, 70)}{mark}")


async def _help(talk: Talk, _rest: str) -> None:
    forms = {f"/{name} {command.form}".strip(): command.about for name, command in COMMANDS.items()}
    wide = max(map(len, forms))
    rows: list[Row] = [(f"{form:{wide}}  {about}", "") for form, about in forms.items()]
    talk.terminal.lines([*rows, *((line, "dim") for line in KEYS.splitlines())])


async def _quit(_talk: Talk, _rest: str) -> None:
    raise EOFError


def welcome_back(talk: Talk) -> None:
    """Says where a conversation stands, and how its last turn ended."""
    said = asked(talk.conversation.messages)
    if not said:
        talk.terminal.note("/help tells more")
        return
    talk.terminal.lines(recall.rows(talk.conversation.messages, 1))
    name = f" · {one_line(talk.conversation.name)}" if talk.conversation.name else ""
    talk.terminal.note(f"Session {talk.conversation.id}{name} · {count(len(said), 'message')} so far · /help")


COMMANDS: dict[str, Command] = {
    "think": Command("on|off|auto", "whether the model thinks from now on", _think, lambda _: _THINKING),
    "files": Command("", "the files that this conversation has read", _files),
    "undo": Command("[N]", "take the last applied changes back, or N and all after it", _undo),
    "checkpoints": Command("", "the changes that were applied, with their numbers", _checkpoints),
    "drop": Command("", "forget edits that are not applied", _drop),
    "compact": Command("[WORDS]", "make the conversation shorter for the model; WORDS say what matters", _compact),
    "history": Command("[N]", "the last N turns, briefly", _history),
    "permissions": Command("[forget N]", "what you permitted or refused for good", _permissions, lambda _: ["forget "]),
    "fork": Command("", "go on in a copy of this conversation", _fork),
    "name": Command("NAME", "name this conversation, to resume it by", _name),
    "new": Command("", "begin a new conversation", _new),
    "resume": Command(
        "SESSION", "go on with another conversation", _resume, lambda talk: [e.name or e.id for e in talk.shelf.list()]
    ),
    "sessions": Command("", "the conversations of this workspace", _sessions),
    "help": Command("", "this list", _help),
    "quit": Command("", "leave; the conversation is kept", _quit),
}
"""By name, in the order of the list."""


def _applied(talk: Talk) -> Sequence[Run]:
    return [run for run in talk.workspace.journal.runs() if run.state == "applied"]


def _rule(rule: Rule) -> str:
    said = "always" if rule.permitted else "never"
    return f"{said:6}  {one_line(rule.tool, 80)}  {one_line(rule.detail) or '(everything)'}{' · confined only' * rule.only_confined}"
