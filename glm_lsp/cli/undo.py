"""`glm-lsp undo`: takes an applied run back.

Never touches a file that changed since the run.
"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", required=False)
@click.option("--list", "show", is_flag=True, help="List the runs that can be taken back.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
def undo(run: str | None, root: Path, *, show: bool) -> None:
    """Take RUN back, the last applied one by default."""
    from glm_lsp import settings
    from glm_lsp.index.walk import find_root
    from glm_lsp.workspace import Workspace

    workspace = Workspace.open(root, settings.load(find_root(root)))
    if show:
        for item in workspace.journal.runs():
            click.echo(f"{item.id}  {item.when:%Y-%m-%d %H:%M}  {item.state:9}  {len(item.paths)} files  {item.label}")
        return
    taken = workspace.undo(run)
    click.echo(f"Took back {taken.id}: {len(taken.paths)} files are as they were. {taken.label}")
