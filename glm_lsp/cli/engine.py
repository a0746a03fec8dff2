"""`glm-lsp engine`: plans, installs, starts, stops and watches this host's engine.

Never speaks to the engine itself: it draws what `engine.local` does and knows.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_lsp.cli.engine_env import bridge, env
from glm_lsp.cli.engine_find import find
from glm_lsp.cli.engine_plan import plan
from glm_lsp.cli.engine_report import report
from glm_lsp.cli.engine_top import top

if TYPE_CHECKING:
    from typing import Self

    from glm_lsp.engine.local.loading import Progress as Step
    from glm_lsp.engine.local.process import Running, Status
    from glm_lsp.settings import Settings


@click.group()
def engine() -> None:
    """Plan, install, start, stop and watch this host's engine."""


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
        with _Drawing() as drawing:
            drawing.say("Installing vLLM's CPU build: about 2 GB, a minute or two")
            python = installer.install(into, drawing.line)
    click.echo(f"vLLM is ready: {python}")


@engine.command()
@click.option("--wait/--no-wait", default=True, help="Wait until it answers (the default), or return at once.")
def start(*, wait: bool) -> None:
    """Start this host's engine; installs and unpacks what is missing.

    One engine serves every editor and every run on this host. It goes on when this command ends.
    Ctrl-C while it starts stops it again.
    """
    from glm_lsp import settings
    from glm_lsp.engine.local import process

    before = process.status()
    if before.state == "running":
        click.echo(_headline(before))
        return
    began = time.monotonic()
    with _Drawing() as drawing:
        running = _launch(settings.load(), drawing)
        if not wait:
            click.echo("Starting. See how far it is with `glm-lsp engine status`.")
            return
        try:
            for progress in process.wait(running):
                drawing.show(progress)
        except KeyboardInterrupt:
            process.stop()
            raise
    click.echo(f"{_headline(process.status())} in {time.monotonic() - began:.0f} s")


@engine.command()
def stop() -> None:
    """Stop this host's engine, whoever started it."""
    from glm_lsp.engine.local import process

    click.echo("Stopped." if process.stop() else "No engine was running.")


@engine.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
def status(*, as_json: bool) -> None:
    """Say what this host's engine is doing."""
    from glm_lsp.cli import engine_top, words
    from glm_lsp.engine.local import process

    found = process.status()
    view = engine_top.brief(found.url) if found.state == "running" else None
    if as_json:
        figures = json.loads(engine_top.line_of(view)) if view is not None else None
        click.echo(json.dumps({**dataclasses.asdict(found), "figures": figures}))
        return
    click.echo(_headline(found))
    if found.pid:
        if found.note:
            click.echo(f"  {found.note}")
        click.echo(f"  {found.url} · model {found.model}")
        click.echo(
            f"  up {words.duration(found.uptime_s)} · {found.memory_bytes / 2**30:.1f} GiB of memory · process {found.pid}"
        )
    if view is not None and (line := engine_top.summary(view)):
        click.echo(f"  {line}")
    if found.log:
        click.echo(f"  log {found.log}")


@engine.command()
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come, until Ctrl-C.")
def logs(lines: int, *, follow: bool) -> None:
    """Show the engine's log."""
    from glm_lsp.engine.local import process
    from glm_lsp.errors import UsageError

    log = process.log_path()
    if not log.exists():
        raise UsageError("There is no log: the engine has not been started yet.", hint="Run `glm-lsp engine start`.")
    with log.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in deque(file, maxlen=lines):
            click.echo(line, nl=False)
        while follow:
            new = file.read()
            click.echo(new, nl=False)
            time.sleep(0 if new else 0.25)


def _launch(options: Settings, drawing: _Drawing) -> Running:
    """Everything from an empty machine to a started process."""
    from glm_lsp.engine.local import install as installer
    from glm_lsp.engine.local import process, tryout

    python = installer.find_python(options)
    if python is None:
        drawing.say("Installing vLLM's CPU build, once: about 2 GB, a minute or two")
        python = installer.install(on_line=drawing.line)
    drawing.say(tryout.NOTE)
    if not tryout.is_prepared():
        drawing.say("Unpacking the model, once: 270 MB, half a minute")
    model = tryout.prepare(python, drawing.show)
    return process.launch_detached(tryout.launch(python, model))


def _headline(found: Status) -> str:
    """One line in the words that every face uses: `SmolLM2-135M · ready`."""
    if found.state == "stopped":
        return "No engine is running. Start one with `glm-lsp engine start`."
    if found.state == "crashed":
        return f"{found.label} · down: {found.detail}"
    return f"{found.label} · {'ready' if found.state == 'running' else found.detail}"


class _Drawing:
    """Progress on standard error: a bar on a terminal, else a line whenever a stage begins.

    A class because the bar has to be taken away again, whatever happens.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._stage = ""
        if self._console.is_terminal:
            columns = (BarColumn(bar_width=30), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=100, visible=False)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays; the next stage is another stretch of work."""
        self._console.print(text, markup=False, soft_wrap=True)
        self._stage = ""
        if self._bar is not None:
            self._bar.reset(self._task, visible=False)

    def show(self, progress: Step) -> None:
        """How far the present stretch of work is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.overall, description=str(progress), visible=True)
        elif progress.stage != self._stage:
            self._console.print(str(progress), markup=False, soft_wrap=True)
        self._stage = progress.stage

    def line(self, text: str) -> None:
        """A line of pip's: in passing on a terminal, and only the telling ones elsewhere."""
        if self._bar is not None:
            self._bar.update(self._task, total=None, description=text.strip()[:100], visible=True)
        elif _TELLING.match(text):
            self._console.print(text.strip()[:100], markup=False, soft_wrap=True)


_TELLING = re.compile(r"(Making|Checking|This machine|The package index|Collecting (vllm|llm-)|Installing collected)")
