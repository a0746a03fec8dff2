"""`glm-lsp engine start`, `stop`, `sleep` and `wake`: what is started is what `engine plan` printed.

Never chooses and never watches: it draws what `engine.local` does and knows.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.cli.engine_plan import model_of, wished, wishes_of
from glm_lsp.errors import EngineError, LaunchFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from glm_lsp.engine.local.choosing import Choice
    from glm_lsp.engine.local.loading import Progress as Step
    from glm_lsp.engine.local.process import Policy, Status
    from glm_lsp.engine.local.record import Launch
    from glm_lsp.settings import EngineSettings, Settings


class _WithOwnOptions(click.Command):
    """A command whose arguments begin with the person's `engine.start_options`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from glm_lsp import settings

        return super().parse_args(ctx, [*settings.load().engine.start_options, *args])


@click.command(cls=_WithOwnOptions)
@wished
@click.option(
    "--cpu", is_flag=True, help="Use no GPU: a model of this machine, or the try-out model, on the processor."
)
@click.option("--tryout", is_flag=True, help="The small try-out model on the processor, whatever there is.")
@click.option("--sleep-mode", is_flag=True, help="Let it give its GPUs' memory back while it sleeps.")
@click.option("--dry-run", is_flag=True, help="Show what would be started, and start nothing.")
@click.option("--wait/--no-wait", default=True, help="Wait until it answers (the default), or return at once.")
@click.option("--foreground", is_flag=True, help="Go on until it ends, as a service does.")
@click.option("--install/--no-install", default=True, help="Install vLLM's CPU build where it is missing and enough.")
@click.argument("vllm_words", nargs=-1, type=click.UNPROCESSED, metavar="[-- WORDS OF VLLM SERVE]")
def start(*, dry_run: bool, wait: bool, foreground: bool, install: bool, **chosen: Any) -> int:
    """Start this host's engine: what `glm-lsp engine plan` shows on GPUs, else the try-out model.

    One engine serves every editor and every run on this host. A supervisor keeps it and starts it again when it fails;
    both go on when this command ends. Ctrl-C while it starts stops it again.
    """
    from glm_lsp import settings
    from glm_lsp.engine.local import process

    loaded = settings.load()
    policy = policy_of(loaded.engine)
    if dry_run:
        for line in shown(choose(loaded, chosen, look=False).launches):
            click.echo(line)
        return 0
    before = [one for one in process.statuses() if one.state not in {"stopped", "crashed"}]
    if before and all(one.state in {"running", "asleep"} for one in before):
        for one in before:
            click.echo(headline(one))
        return 0
    began = time.monotonic()
    with Drawing() as drawing:
        launches = choose(loaded, chosen, drawing, install=install).launches if not before else ()
        for note in dict.fromkeys(one.note for one in launches if one.note):
            drawing.say(note)
        if foreground:
            return process.run_here(launches, policy=policy)
        if not before:
            process.launch_all(launches, policy=policy)
        if not wait:
            click.echo("Starting. See how far it is with `glm-lsp engine status`.")
            return 0
        try:
            for progress in process.wait():
                drawing.show(progress)
        except KeyboardInterrupt:
            process.stop(now=True)
            raise
        able = asyncio.run(_abilities(loaded.engine))
    for one in process.statuses():
        click.echo(f"{headline(one)} in {time.monotonic() - began:.0f} s")
    if able:
        click.echo(f"  {able}")
    return 0


@click.command()
@click.option("--now", is_flag=True, help="Do not wait for what runs.")
def stop(*, now: bool) -> None:
    """Stop this host's engine, whoever started it.

    What runs may come to its end, for as long as `engine.drain_seconds` says; nothing new is begun.
    """
    from glm_lsp.engine.local import process

    click.echo("Stopped." if process.stop(now=now) else "No engine was running.")


@click.command()
def sleep() -> None:
    """Have the engine give its GPUs' memory back, until it is woken or wanted.

    The weights wait in the host's memory, and what was read is forgotten. It has to be started with --sleep-mode.
    """
    from glm_lsp.engine.local import process

    process.tell_to_sleep()
    click.echo("Asleep. `glm-lsp engine wake`, or the next request, wakes it.")


@click.command()
def wake() -> None:
    """Wake the engine."""
    from glm_lsp.engine.local import process

    process.wake()
    click.echo(headline(process.status()))


def policy_of(options: EngineSettings) -> Policy:
    """The rules by which the person's engine is kept."""
    from glm_lsp.engine.local.process import Policy

    return Policy(
        restarts=options.restarts,
        hang=options.hang_seconds,
        drain=options.drain_seconds,
        idle_stop=options.idle_stop * 60,
        idle_sleep=options.idle_sleep * 60,
    )


def choose(
    loaded: Settings,
    chosen: dict[str, Any],
    drawing: Drawing | None = None,
    *,
    look: bool = True,
    install: bool = False,
) -> Choice:
    """What is to be started; with a drawing also prepared, where that takes a while.

    Raises:
        GlmError: it cannot be.
    """
    from glm_lsp.engine.local import choosing, hardware

    model = model_of(chosen)
    found = hardware.Hardware((), "none") if chosen["cpu"] or chosen["tryout"] else hardware.find()
    more = list(chosen["vllm_words"])
    if (chosen["sleep_mode"] or loaded.engine.idle_sleep) and choosing.SLEEP not in more and not chosen["tryout"]:
        more += [choosing.SLEEP] if found.hosts or model is not None else []
    if found.hosts:
        python = _python(loaded, look=look)
        return choosing.on_gpus(found, model, wishes_of(chosen), python, more=more, look=look)
    if model is not None and not chosen["tryout"]:
        python = _python(loaded, drawing, install=install, look=look)
        return choosing.on_processor(model, wishes_of(chosen), python, more=more, look=look)
    return choosing.Choice((_try_out(loaded, drawing, more, install=install, look=look),))


def shown(launches: Sequence[Launch]) -> Iterator[str]:
    """The commands as a shell would take them, with the variables that are set."""
    from glm_lsp.engine.local import child, record

    home = record.home_of(None)
    for number, launch in enumerate(launches):
        words = child.command_of(launch, child.address_of(launch, home, number))
        variables = [f"{name}={shlex.quote(value)}" for name, value in launch.environment.items()]
        yield " ".join([*variables, shlex.join(words)])


def headline(found: Status) -> str:
    """One line in the words that every face uses: `SmolLM2-135M · ready`."""
    match found.state:
        case "stopped":
            why = f" It was stopped: {found.detail}." if found.detail else ""
            return f"No engine is running.{why} Start one with `glm-lsp engine start`."
        case "crashed":
            return f"{found.label} · down: {found.detail}"
        case "running":
            return f"{found.label} · ready" + (f" ({found.detail})" if found.detail else "")
        case "starting":
            return f"{found.label} · {found.detail}"
        case "restarting":
            return f"{found.label} · restarting ({found.detail})"
        case "draining":
            return f"{found.label} · stopping" + (f": {found.detail}" if found.detail else "")
        case _:
            return f"{found.label} · {found.state}"


def _try_out(loaded: Settings, drawing: Drawing | None, more: Sequence[str], *, install: bool, look: bool) -> Launch:
    from dataclasses import replace

    from glm_lsp.engine.local import tryout

    python = _python(loaded, drawing, install=install, look=look)
    if look and not tryout.is_prepared():
        if drawing is not None:
            drawing.say("Unpacking the model, once: 270 MB, half a minute")
        tryout.prepare(python, drawing.show if drawing is not None else lambda _: None)
    launch = tryout.launch(python, tryout.model_folder())
    return replace(launch, flags=(*launch.flags, *more))


def _python(loaded: Settings, drawing: Drawing | None = None, *, look: bool, install: bool = False) -> Path:
    """The interpreter that has vLLM; where a processor is enough, its build is installed."""
    from pathlib import Path

    from glm_lsp.engine.local import install as installer

    python = installer.find_python(loaded)
    if python is not None:
        return python
    if not look:
        return Path("python3")
    if drawing is None or not install:
        raise LaunchFailed(
            "vLLM is not installed here.",
            hint="On a host with GPUs: python3 -m venv ~/vllm && ~/vllm/bin/pip install 'vllm>=0.32', and name "
            "~/vllm/bin/python in engine.python. Without one: `glm-lsp engine install`.",
        )
    drawing.say("Installing vLLM's CPU build, once: about 2 GB, a minute or two")
    return installer.install(on_line=drawing.line)


async def _abilities(options: EngineSettings) -> str:
    """Looks at the engine as a client does, which remembers what it can do; returns that in a line."""
    from dataclasses import replace

    from glm_lsp.engine import open_engine

    engine = open_engine(replace(options, url="", replicas=[]))
    try:
        await engine.connect()
        profile = engine.profile
        can = [name for name, has in (("tools", profile.tools), ("thinking", profile.thinking)) if has]
        kept = getattr(engine, "exactness", "")
        can += (
            [{"tokens": "thinking kept token by token", "messages": "thinking kept as text"}[kept]]
            if kept in {"tokens", "messages"} and profile.thinking
            else []
        )
        return f"{engine.model} · {profile.context_length:,} tokens of context · {', '.join(can) or 'no tools, no thinking'}"
    except (EngineError, UsageError) as error:
        return f"It runs, and a client is told: {error.message}"
    finally:
        await engine.close()


class Drawing:
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
