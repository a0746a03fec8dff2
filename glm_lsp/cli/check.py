"""`glm-lsp check`: what the server makes of one file, told without an editor and without an engine.

Never asks the engine, and never writes to the file.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_lsp.errors import FileRefused, GlmError, Missing, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.edits.draft import Draft
    from glm_lsp.edits.text import Text
    from glm_lsp.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Offered:
    """One line of the menu."""

    action: str
    title: str
    kind: str
    needs_instruction: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something may not be done: a stable code, a sentence, and what to do."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What there is to say of a file.

    Attributes:
        root: the workspace's folder.
        path: the file, as the workspace names it.
        language: its name in our table; empty for one that is not there.
        grammar: `loaded`, `none`, `too slow` where the file takes too long to parse, or why it cannot be loaded.
        encoding: how its bytes are read; empty where they are not.
        lines: how many it has.
        faults: its first syntax faults, as line and message.
        faults_in_all: how many there are.
        line: the line whose menu is told, from 1.
        symbol: the innermost definition around that line; empty where there is none.
        actions: the menu.
        instructions: files with a project's instructions that the model reads before this file.
        unreadable: why it may not be read; None where it may.
        uneditable: why it may not be edited; None where it may.
    """

    root: str
    path: str
    language: str
    grammar: str
    encoding: str
    lines: int
    faults: tuple[tuple[int, str], ...]
    faults_in_all: int
    line: int
    symbol: str
    actions: tuple[Offered, ...]
    instructions: tuple[str, ...]
    unreadable: Refusal | None
    uneditable: Refusal | None


SHOWN_FAULTS = 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--line", type=click.IntRange(1), default=1, show_default=True, help="The line whose menu is told.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
def check(file: Path, line: int, *, as_json: bool) -> int:
    """Say what the server makes of FILE: its language, its faults, its menu; exit code 1 where it cannot be edited."""
    if file.is_dir():
        raise UsageError(f"{file} is a folder.", hint="Name a file.")
    if not file.exists():
        raise UsageError(f"There is no file {file}.", hint="Name one that exists.")
    checked = examined(file, line)
    if as_json:
        click.echo(json.dumps({"version": 1, **dataclasses.asdict(checked)}, ensure_ascii=False))
    else:
        _show(checked)
    return 1 if checked.unreadable or checked.uneditable else 0


def examined(file: Path, line: int) -> Checked:
    """Opens the workspace around a file as the server does, and looks at the file.

    Raises:
        UsageError: the file has fewer lines.
        SettingsError, StateError: the workspace cannot be opened.
    """
    from glm_lsp import settings
    from glm_lsp.index.walk import find_root
    from glm_lsp.languages import language_of
    from glm_lsp.workspace import Workspace

    folder = file.absolute().parent.resolve()
    root = find_root(folder)
    workspace = Workspace.open(root, settings.load(root))
    path = (folder / file.name).relative_to(workspace.root).as_posix()
    draft = workspace.draft()
    text: Text | None = None
    unreadable = None
    try:
        text = draft.peek(path)
    except FileRefused as error:
        unreadable = _refusal(error)
    if text is not None and line > max(1, text.line_count):
        raise UsageError(f"{path} has {text.line_count} lines.", hint="Name one of them with --line.")
    language = language_of(path)
    grammar, faults = _parsed(path, text)
    symbol, actions = _menu(workspace, path, text, line) if text is not None else ("", ())
    return Checked(
        root=str(workspace.root),
        path=path,
        language=language.name if language else "",
        grammar=grammar,
        encoding=text.encoding if text is not None else "",
        lines=text.line_count if text is not None else 0,
        faults=faults[:SHOWN_FAULTS],
        faults_in_all=len(faults),
        line=line,
        symbol=symbol,
        actions=actions,
        instructions=_instructions(workspace, path) if text is not None else (),
        unreadable=unreadable,
        uneditable=unreadable or _refused(lambda: _editable(draft, path, text)),
    )


def _parsed(path: str, text: Text | None) -> tuple[str, tuple[tuple[int, str], ...]]:
    """How the grammar is, and the syntax faults as line and message."""
    from glm_lsp.languages import language_of, parse

    language = language_of(path)
    if language is None:
        return "none", ()
    try:
        language.load()
    except Exception as error:  # noqa: BLE001 - a wheel for another machine fails in many ways
        return f"cannot be loaded: {type(error).__name__}: {error}", ()
    parsed = parse(language, text.content) if text is not None else None
    if text is not None and parsed is None:
        return "too slow", ()
    return "loaded", tuple((fault.line, fault.message) for fault in parsed.faults()) if parsed is not None else ()


def _menu(workspace: Workspace, path: str, text: Text, line: int) -> tuple[str, tuple[Offered, ...]]:
    """The definition around a line, and what an editor would offer with the caret at its first word."""
    from glm_lsp.actions import Place
    from glm_lsp.terms import Selection

    words = text.line(line) if line <= text.line_count else ""
    start = text.offset_of(line) if line <= text.line_count else 0
    place = Place(
        path,
        text,
        selection=Selection(path, line, line),
        offset=start + len(words) - len(words.lstrip()),
        repository=workspace.listing.git,
    )
    symbol = place.symbol.qualified if place.symbol is not None else ""
    offers = workspace.offers(place)
    return symbol, tuple(Offered(one.action, one.title, one.kind, one.needs_instruction) for one in offers)


def _instructions(workspace: Workspace, path: str) -> tuple[str, ...]:
    """The files of instructions that a turn about this file begins with, found as a turn finds them."""
    from glm_lsp.conversations import Conversation
    from glm_lsp.engine.scripted import ScriptedEngine
    from glm_lsp.terms import Ask

    conversation = Conversation()
    names = workspace.settings.prompt.instruction_files
    ask = Ask("explain", "", (path,))
    try:
        workspace.turn(ask, ScriptedEngine(()), draft=workspace.draft(), conversation=conversation).open()
    except GlmError:
        return ()
    return tuple(seen for seen in conversation.seen if seen != path and seen.rpartition("/")[2] in names)


def _editable(draft: Draft, path: str, text: Text | None) -> None:
    draft.jail.writable(path)
    if text is None:
        raise Missing(f"{path} cannot be read.")
    text.encode()


def _refused(attempt: Callable[[], object]) -> Refusal | None:
    try:
        attempt()
    except FileRefused as error:
        return _refusal(error)
    return None


def _refusal(error: FileRefused) -> Refusal:
    return Refusal(error.code, error.message, error.hint)


def _show(checked: Checked) -> None:
    from glm_lsp.cli.words import count, one_line

    def row(name: str, says: str) -> None:
        click.echo(f"{name:13} {one_line(says, 2000)}")

    row("file", f"{checked.path} in {checked.root}")
    row("language", f"{checked.language or 'not known'} · grammar: {checked.grammar}")
    if checked.unreadable is not None:
        row("read", f"no: {checked.unreadable.message} {checked.unreadable.hint}")
    else:
        row("text", f"{count(checked.lines, 'line')} · {checked.encoding}")
    refusal = checked.uneditable
    row("edit", "yes" if refusal is None else f"no: {refusal.message} {refusal.hint}")
    row("instructions", ", ".join(checked.instructions) or "none")
    row("syntax", count(checked.faults_in_all, "fault") if checked.faults_in_all else "no fault")
    for line, message in checked.faults:
        row("", f"{checked.path}:{line}: {message}")
    row("menu", f"at line {checked.line}" + (f", in {checked.symbol}" if checked.symbol else ""))
    for offered in checked.actions:
        words = " (asks for words)" if offered.needs_instruction else ""
        row("", f"{offered.title}{words} · {offered.action} · {offered.kind}")
