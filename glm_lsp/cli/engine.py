"""`glm-lsp engine`: plans, installs, starts, stops and watches this host's engine.

Never speaks to the engine itself: it draws what `engine.local` does and knows.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from pathlib import Path

import click

from glm_lsp.cli.engine_env import bridge, env
from glm_lsp.cli.engine_find import find
from glm_lsp.cli.engine_plan import plan
from glm_lsp.cli.engine_report import report
from glm_lsp.cli.engine_service import install_service, uninstall_service
from glm_lsp.cli.engine_start import Drawing, headline, sleep, start, stop, wake
from glm_lsp.cli.engine_top import top


@click.group()
def engine() -> None:
    """Plan, install, start, stop and watch this host's engine."""


for one in (start, stop, sleep, wake, install_service, uninstall_service):
    engine.add_command(one)
engine.add_command(plan)
engine.add_command(find)
engine.add_command(env)
engine.add_command(bridge)
engine.add_command(top)
engine.add_command(report)


@engine.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the environment; default: beside ours, or the data folder.",
)
@click.option("--force", is_flag=True, help="Make the environment even where another interpreter has vLLM.")
def install(into: Path | None, *, force: bool) -> None:
    """Install vLLM's CPU build and the try-out model.

    They go into an environment of their own, of about 2 GB. A second call finds it and does nothing.
    """
    from glm_lsp import settings
    from glm_lsp.engine.local import install as installer

    python = None if into or force else installer.find_python(settings.load())
    if python is None:
        with Drawing() as drawing:
            drawing.say("Installing vLLM's CPU build: about 2 GB, a minute or two")
            python = installer.install(into, drawing.line)
    click.echo(f"vLLM is ready: {python}")


@engine.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
def status(*, as_json: bool) -> None:
    """Say what this host's engine is doing."""
    from glm_lsp.cli import engine_top, words
    from glm_lsp.engine.local import process

    all_found = process.statuses() or (process.Status("stopped"),)
    views = [engine_top.brief(one.url) if one.state == "running" else None for one in all_found]
    if as_json:
        rows = [
            {**dataclasses.asdict(one), "figures": json.loads(engine_top.line_of(view)) if view is not None else None}
            for one, view in zip(all_found, views, strict=True)
        ]
        click.echo(json.dumps(rows[0] if len(rows) == 1 else {**rows[0], "engines": rows}))
        return
    for found, view in zip(all_found, views, strict=True):
        click.echo(headline(found))
        if found.pid:
            if found.note:
                click.echo(f"  {found.note}")
            click.echo(f"  {found.url} · model {found.model}")
            memory = f"{found.memory_bytes / 2**30:.1f} GiB of memory"
            watched = f"supervised by {found.supervisor}" if found.supervisor else "its supervisor is gone"
            click.echo(f"  up {words.duration(found.uptime_s)} · {memory} · process {found.pid} · {watched}")
        if found.restarts and found.state != "restarting":
            click.echo(f"  started again {found.restarts} times in a row")
        if view is not None and (line := engine_top.summary(view)):
            click.echo(f"  {line}")
        if found.hint and found.state == "crashed":
            click.echo(f"  → {found.hint}")
        if found.log:
            click.echo(f"  log {found.log}")


@engine.command()
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come, until Ctrl-C.")
@click.option("--engine", "number", default=0, show_default=True, help="Which of several engines, from 0.")
def logs(lines: int, number: int, *, follow: bool) -> None:
    """Show the engine's log."""
    from glm_lsp.engine.local import process
    from glm_lsp.errors import UsageError

    log = process.log_path(number)
    if not log.exists():
        raise UsageError("There is no log: the engine has not been started yet.", hint="Run `glm-lsp engine start`.")
    with log.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in deque(file, maxlen=lines):
            click.echo(line, nl=False)
        while follow:
            if log.stat().st_size < file.tell():  # it was put aside and began anew
                file.seek(0)
            new = file.read()
            click.echo(new, nl=False)
            time.sleep(0 if new else 0.25)
