"""`glm-lsp sessions`: the conversations of a workspace.

Never changes what was said in one; to go on from an earlier point, fork it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from glm_lsp.conversations import Conversations

_ROOT = click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")


@click.group()
def sessions() -> None:
    """List, show, export and tidy up the conversations of a workspace."""


@sessions.command("list")
@_ROOT
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(root: Path, *, as_json: bool) -> None:
    """List the conversations, the latest first."""
    for item in _shelf(root).list():
        if as_json:
            row = {
                "id": item.id,
                "name": item.name,
                "created": item.created.isoformat(),
                "updated": item.updated.isoformat(),
                "turns": item.turns,
                "messages": item.messages,
                "first": item.first,
            }
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            words = item.name or item.first
            click.echo(f"{item.id}  {item.updated:%Y-%m-%d %H:%M}  {item.turns:3} turns  {words[:70]}")


@sessions.command()
@click.argument("session")
@_ROOT
def show(session: str, root: Path) -> None:
    """Print SESSION as Markdown."""
    shelf = _shelf(root)
    click.echo(shelf.export(shelf.open(session).id, "markdown"))


@sessions.command()
@click.argument("session")
@click.option("--format", "form", type=click.Choice(("markdown", "json")), default="markdown")
@click.option("--to", type=click.Path(path_type=Path), help="A file; standard output by default.")
@_ROOT
def export(session: str, form: Any, to: Path | None, root: Path) -> None:
    """Write SESSION, thinking and tool calls included."""
    shelf = _shelf(root)
    text = shelf.export(shelf.open(session).id, form)
    if to is None:
        click.echo(text)
    else:
        to.write_text(text, encoding="utf-8")


@sessions.command()
@click.argument("session")
@click.argument("name")
@_ROOT
def rename(session: str, name: str, root: Path) -> None:
    """Give SESSION a NAME, by which it can be resumed."""
    shelf = _shelf(root)
    shelf.rename(shelf.open(session).id, name)


@sessions.command()
@click.argument("session")
@_ROOT
def delete(session: str, root: Path) -> None:
    """Delete SESSION for good."""
    shelf = _shelf(root)
    found = shelf.open(session)
    shelf.delete(found.id)
    click.echo(f"Deleted {found.id}.")


@sessions.command()
@click.option("--older-than", type=click.IntRange(0), required=True, metavar="DAYS")
@_ROOT
def purge(older_than: int, root: Path) -> None:
    """Delete the conversations that nobody has gone on with for so many days."""
    click.echo(f"Deleted {_shelf(root).purge(older_than)} conversations.")


def _shelf(root: Path) -> Conversations:
    from glm_lsp.conversations import Conversations
    from glm_lsp.index.walk import find_root

    return Conversations.at(find_root(root))
