"""`glm-lsp index`: what is known of a workspace, and what of it the model would be shown.

Never asks the engine and never changes a file of the workspace.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.cli.words import clean, count, duration, one_line
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from glm_lsp.index.context import Piece
    from glm_lsp.index.index import Index, Status

EXIT_NOTHING = 1
"""A query that finds nothing, as `grep` has it."""

WIDE = 160
"""Columns of a table that no terminal bounds."""

_ROOT = click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")


@click.group()
def index() -> None:
    """See what is known of the workspace, and what of it a question would bring before the model."""


@index.command()
@_ROOT
@_JSON
def build(root: Path, *, as_json: bool) -> int:
    """Bring the index up to date and wait for that."""
    with _opened(root) as made:
        _brought_up(made)
        _tell(made, as_json=as_json)
    return 0


@index.command()
@_ROOT
@_JSON
def status(root: Path, *, as_json: bool) -> int:
    """Show how far the index is, and what it could not read; changes nothing."""
    with _opened(root) as made:
        _tell(made, as_json=as_json)
    return 0


@index.command()
@click.argument("name")
@click.option("--how", type=click.Choice(("exact", "prefix", "substring", "fuzzy")), help="How NAME is meant.")
@click.option("--references", is_flag=True, help="Where NAME is used, instead of where it is defined.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Places at most.")
@_ROOT
@_JSON
def query(name: str, how: Any, limit: int, root: Path, *, references: bool, as_json: bool) -> int:
    """Find where NAME is defined: exactly that name, else names that begin with it, have it in them, or are like it."""
    if not name.strip():
        raise UsageError("The name is empty.", hint="Give a name or a part of one.")
    if references and how not in {None, "exact"}:
        raise UsageError("--references takes a whole name.", hint="Leave --how out.")
    with _opened(root) as made:
        _brought_up(made)
        if references:
            places = made.references(name, limit=limit)
            rows: list[dict[str, Any]] = [{"path": path, "line": line} for path, line in places]
        else:
            rows = _definitions(made, name, how, limit)
    if as_json:
        click.echo(json.dumps({"version": 1, "name": name, "found": rows}, ensure_ascii=False))
    elif references:
        click.echo("".join(f"{clean(row['path'])}:{row['line']}\n" for row in rows), nl=False)
    elif rows:
        _table(
            ("place", "kind", "name", "signature"),
            [(f"{row['path']}:{row['line']}", row["kind"], row["name"], row["signature"]) for row in rows],
        )
    if not rows and not as_json:
        click.echo(f"Nothing here is called {clean(name)}.", err=True)
    return 0 if rows else EXIT_NOTHING


@index.command()
@click.argument("question")
@click.option("--budget", type=click.IntRange(1), help="Tokens at most; index.context_tokens by default.")
@click.option("--open", "opened", multiple=True, type=click.Path(), metavar="PATH", help="A file as if it were open.")
@click.option("--show", is_flag=True, help="The text that would be sent.")
@_ROOT
@_JSON
def context(
    question: str, budget: int | None, opened: tuple[str, ...], root: Path, *, show: bool, as_json: bool
) -> int:
    """Show the code that QUESTION would bring before the model, where it names no files."""
    from glm_lsp import prompt, settings
    from glm_lsp.index.context import numbered
    from glm_lsp.terms import Ask, Excerpt
    from glm_lsp.workspace import Workspace

    if not question.strip():
        raise UsageError("The question is empty.", hint="Say in quotes what you would ask.")
    with _opened(root) as made:
        _brought_up(made)
        workspace = dataclasses.replace(Workspace.open(root, settings.load(made.root)), index=made)
        paths = workspace.listing.select(opened, cwd=Path.cwd() if root == Path() else root) if opened else ()
        tokens = budget or workspace.settings.index.context_tokens
        choice = workspace.context(Ask("chat", question), budget=tokens, open_paths=paths)
    if as_json:
        found = {
            "version": 1,
            "question": question,
            "budget": choice.budget,
            "tokens": choice.tokens,
            "seconds": round(choice.seconds, 4),
            "pieces": [_as_row(piece, numbered(piece) if show else None) for piece in choice.pieces],
            "considered": [
                {"path": one.path, "score": round(one.score, 3), "reasons": dict(one.reasons)}
                for one in choice.considered
            ],
        }
        click.echo(json.dumps(found, ensure_ascii=False))
    elif show:
        shown = [Excerpt(p.path, p.first_line, p.text, p.reason, p.numbers) for p in choice.pieces]
        click.echo(clean(prompt.ask(question, "", shown, [prompt.chosen_for(first=True)] if shown else []).text))
    else:
        _table(
            ("score", "tokens", "place", "what", "why"),
            [
                (f"{p.score:.2f}", f"{p.tokens:,}", f"{p.path}:{p.first_line}-{p.last_line}", p.kind, p.reason)
                for p in choice.pieces
            ],
            right=2,
        )
        files = count(len({piece.path for piece in choice.pieces}), "file")
        click.echo(
            f"{count(len(choice.pieces), 'piece')} of {files} · {choice.tokens:,} of {choice.budget:,} tokens · "
            f"{count(len(choice.considered), 'file')} considered · {1000 * choice.seconds:.0f} ms"
        )
    return 0 if choice.pieces else EXIT_NOTHING


@index.command("map")
@click.option("--budget", type=click.IntRange(1), help="Tokens at most; index.map_tokens by default.")
@_ROOT
@_JSON
def map_(budget: int | None, root: Path, *, as_json: bool) -> int:
    """Show the map of the workspace that stands at the head of a conversation."""
    from glm_lsp import prompt
    from glm_lsp.index.overview import overview

    with _opened(root) as made:
        _brought_up(made)
        tokens = budget or made.settings.map_tokens
        text = overview(made, budget=tokens, count=prompt.count)
    if as_json:
        found = {"version": 1, "budget": tokens, "tokens": prompt.count(text) if text else 0, "map": text}
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        click.echo(clean(text) if text else f"No map fits into {tokens:,} tokens.", err=not text)
    return 0 if text else EXIT_NOTHING


# --- the parts ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[Index]:
    """The index, which does nothing by itself yet."""
    from glm_lsp import settings
    from glm_lsp.index.index import Index
    from glm_lsp.index.walk import find_root

    if not root.is_dir():
        raise UsageError(f"{root} is not a folder.", hint="Name a folder that exists.")
    place = find_root(root)
    loaded = settings.load(place)
    if not loaded.index.enabled:
        raise UsageError("The index is turned off here.", hint="Set index.enabled to true.")
    made = Index.open(place, loaded.index)
    try:
        for note in made.notes:
            click.echo(note, err=True)
        yield made
    finally:
        made.close()


def _brought_up(made: Index) -> None:
    """Waits for the index, with a bar on a terminal where that takes a while; Ctrl-C keeps what is done."""
    with _progress() as progress:
        made.build(progress=progress)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    if not sys.stderr.isatty():
        yield lambda _stage, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:8}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=max(total, 1))

        yield show


def _tell(made: Index, *, as_json: bool) -> None:
    found = made.status
    if as_json:
        row = dataclasses.asdict(found) | {
            "version": 1,
            "root": str(made.root),
            "failed": [{"path": path, "why": why} for path, why in found.failed],
            "notes": list(made.notes),
        }
        click.echo(json.dumps(row, ensure_ascii=False))
        return
    click.echo(_in_words(found))
    if found.failed:
        click.echo("Not read as a whole:")
        _table(("file", "why"), found.failed)


def _in_words(found: Status) -> str:
    known = f"{found.tier1:,} of {count(found.files, 'file')} parsed · {found.tier0:,} searched by their words"
    parts = [known, count(found.symbols, "definition")]
    parts.append("in memory only" if found.in_memory else f"{found.bytes / 1e6:.1f} MB on the disk")
    if found.pending:
        parts.append(f"{found.pending:,} to do")
    if found.seconds:
        parts.append(duration(found.seconds))
    if not found.writer:
        parts.append("another process keeps it current")
    return " · ".join(parts)


def _definitions(made: Index, name: str, how: Any, limit: int) -> list[dict[str, Any]]:
    """What is found in the first way that finds anything, or in the one that was asked for."""
    for way in (how,) if how else ("exact", "prefix", "substring", "fuzzy"):
        found = made.symbols(name, how=way, limit=limit)
        if found:
            return [
                {
                    "path": one.path,
                    "line": one.definition.line,
                    "kind": one.definition.kind,
                    "name": one.definition.qualified,
                    "signature": one.definition.signature,
                    "doc": one.definition.doc,
                    "score": round(one.score, 3),
                }
                for one in found
            ]
    return []


def _as_row(piece: Piece, text: str | None) -> dict[str, Any]:
    row = dataclasses.asdict(piece)
    del row["text"], row["numbers"]
    return row if text is None else row | {"text": text}


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> None:
    """Prints a table, the first `right` columns of it as numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(heading):
        table.add_column(title, justify="right" if number < right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console.print(table)
