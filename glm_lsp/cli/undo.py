"""`glm-lsp undo`: takes applied runs back.

Never touches a file that changed since the run.
"""

from __future__ import annotations

from pathlib import Path

import click

from glm_lsp.errors import UsageError


@click.command()
@click.argument("run", required=False)
@click.option("--to", "first", default="", metavar="RUN", help="Take back RUN and every run after it, or none.")
@click.option("--list", "show", is_flag=True, help="List the runs that can be taken back.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
def undo(run: str | None, first: str, root: Path, *, show: bool) -> None:
    """Take RUN back, by its number or its id; the last applied one by default."""
    from glm_lsp import settings
    from glm_lsp.cli.slash import checkpoints
    from glm_lsp.index.walk import find_root
    from glm_lsp.workspace import Workspace

    if run and first:
        raise UsageError("--to names a run already.", hint="Leave the other one out.")
    workspace = Workspace.open(root, settings.load(find_root(root)))
    if show:
        for row in checkpoints(workspace.journal.runs()):
            click.echo(row)
        return
    for taken in workspace.journal.undo_to(first) if first else [workspace.undo(run)]:
        click.echo(f"Took back {taken.number}: {len(taken.paths)} files are as they were. {taken.label}")
        for path in taken.left:
            click.echo(f"  {path} changed meanwhile, so it was left as it is.")
