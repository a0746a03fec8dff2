"""`glm-lsp engine top`: what the engine does, live, as one frame, or as lines of JSON.

Never counts anything itself: the figures are `engine.metrics`'s, here they are drawn and written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.cli.words import duration, one_line
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.text import Text

    from glm_lsp.engine.metrics import Figures, View, Watch

SHOWN = 40
"""Samples in the small curves beside the rates."""

GIB = 1 << 30
_BARS = "▁▂▃▄▅▆▇█"


@click.command()
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="One frame, of two looks, and no more.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each look.")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="Write each look to a file too.")
@click.option("--save-svg", type=click.Path(path_type=Path), hidden=True)
def top(
    engine_url: str, interval: float, record: Path | None, save_svg: Path | None, *, once: bool, as_json: bool
) -> int:
    """Watch what the engine does: tokens a second, times, queue, cache, memory. Ctrl-C ends it.

    Reads the page /metrics, which vLLM offers by itself, SGLang with --enable-metrics and llama.cpp with --metrics.
    """
    from glm_lsp import settings
    from glm_lsp.engine.metrics import Watch
    from glm_lsp.index.walk import find_root

    chosen = {"engine.url": engine_url} if engine_url else {}
    watch = Watch(settings.load(find_root(Path()), overrides=chosen).engine)
    with contextlib.ExitStack() as stack:
        told = [_recorder(record, stack)] if record is not None else []
        if as_json:
            told.append(lambda view: click.echo(line_of(view)))
        else:
            face = _Face(save_svg, live=not once)
            stack.callback(face.close)
            told.append(face.show)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
        with contextlib.suppress(KeyboardInterrupt):  # that is how a person ends it
            asyncio.run(_once(watch, interval, told) if once else _watched(watch, interval, told))
    return 0


def line_of(view: View) -> str:
    """A look as one line of JSON: the fields of a View, to the microsecond, with a version in front."""
    return json.dumps({"version": 1, **_rounded(dataclasses.asdict(view))}, ensure_ascii=False)


def frame(view: View, curves: Curves, width: int) -> Iterator[Text]:
    """One frame in rows of at most `width` columns: the words are the same with and without colours."""
    from rich.text import Text

    yield _headline(view)
    if view.state == "down":
        yield Text(f"  {one_line(view.error, 400)}", "red")
        if view.hint:
            yield Text(f"  → {one_line(view.hint, 400)}")
        return
    yield Text("")
    yield Text(f"{'':26}{'now':>10}{'last minute':>14}{'since start':>14}", "dim")
    for label, cell in _ROWS:
        cells = [cell(figures) for figures in (view.now, view.minute, view.ever)]
        if not any(cells):
            continue
        row = Text(f"  {label:24}")
        for text, room in zip(cells, (10, 14, 14), strict=True):
            row.append(f"{text or '·':>{room}}", "" if text else "dim")
        if curve := curves.of(label, width - 68):
            row.append(f"   {curve}", "green")
        yield row
    yield Text("")
    yield from _gauges(view)


class Curves:
    """The last figures of the rates, as small curves."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[float]] = {}

    def add(self, view: View) -> None:
        """Takes a look's rates."""
        for label, value in ((WRITTEN, view.now.written_per_s), (READ, view.now.read_per_s)):
            if value is not None:
                self._kept.setdefault(label, deque(maxlen=SHOWN)).append(value)

    def of(self, label: str, width: int) -> str:
        """The curve of a row, the latest at its right end; empty where there is none or no room."""
        return curve(list(self._kept.get(label, ()))[-width:]) if width > 0 else ""


def curve(values: Sequence[float]) -> str:
    """`▁▂▅█▃`: each value between nothing and the highest of them."""
    highest = max(values, default=0)
    return "".join(_BARS[round(value / highest * (len(_BARS) - 1)) if highest else 0] for value in values)


def brief(url: str) -> View | None:
    """One look at an engine that runs; None where it offers no metrics or says nothing for a second."""
    from glm_lsp.engine.metrics import Watch
    from glm_lsp.errors import GlmError
    from glm_lsp.settings import EngineSettings

    async def look() -> View | None:
        watch = Watch(EngineSettings(url=url))
        try:
            return await watch.look(patience=1.0)
        except GlmError:
            return None
        finally:
            await watch.close()

    return asyncio.run(look())


def summary(view: View) -> str:
    """The most telling figures on one line: what goes on now, and what came of it since the engine was started."""
    said = []
    if view.running is not None:
        said.append(f"{view.running:,.0f} running, {view.waiting or 0:,.0f} waiting")
    if view.kv is not None:
        said.append(f"KV cache {view.kv:.0%} in use".replace("%", " %"))
    figures = view.ever
    if figures.reused is not None:
        said.append(f"{_percent(figures.reused)} reused")
    if figures.first_token_p50_s is not None:
        said.append(f"first token {_time(figures.first_token_p50_s)}")
    if figures.accepted_length is not None:
        said.append(f"{figures.accepted_length:.2f} tokens a step")
    return " · ".join(said)


# --- the frame's parts -------------------------------------------------------------------------------------------

WRITTEN, READ = "written, tokens/s", "read, tokens/s"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{int(value * 100 + 1e-6)} %"  # rounded down: what is not all is not 100


def _time(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.2f} s" if value < 10 else f"{value:,.0f} s"


_ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    (WRITTEN, lambda f: _rate(f.written_per_s)),
    (READ, lambda f: _rate(f.read_per_s)),
    ("first token, p50", lambda f: _time(f.first_token_p50_s)),
    ("first token, p95", lambda f: _time(f.first_token_p95_s)),
    ("between tokens, p50", lambda f: _time(f.between_tokens_p50_s)),
    ("between tokens, p95", lambda f: _time(f.between_tokens_p95_s)),
    ("prefix cache, reused", lambda f: _percent(f.reused)),
    ("drafts accepted (MTP)", lambda f: _percent(f.accepted)),
    ("tokens a step (MTP)", lambda f: "" if f.accepted_length is None else f"{f.accepted_length:.2f}"),
    ("requests ended", lambda f: _count(f.requests)),
    ("requests preempted", lambda f: _count(f.preempted)),
)


def _headline(view: View) -> Text:
    from rich.text import Text

    line = Text()
    line.append(one_line(view.model or "Engine", 60), "bold")
    line.append(" · ", "")
    line.append(view.state, {"ready": "green", "asleep": "yellow", "down": "red"}[view.state])
    if view.up_s is not None:
        line.append(f" · up {duration(view.up_s)}", "")
    line.append(f" · {view.kind} at {view.where}" if view.kind else f" · {view.where or 'this host'}", "dim")
    return line


def _gauges(view: View) -> Iterator[Text]:
    from rich.text import Text

    if view.running is not None:
        why = ", ".join(f"{one_line(name, 30)} {count:,.0f}" for name, count in view.waiting_why.items())
        row = Text(f"  {'requests':12}{view.running:,.0f} running · ")
        row.append(f"{view.waiting or 0:,.0f} waiting", "yellow" if view.waiting else "")
        if why:
            row.append(f" ({why})", "dim")
        yield row
    if view.kv is not None:
        yield _bar("KV cache", view.kv, _percent(view.kv))
    if view.memory_bytes:
        yield Text(f"  {'memory':12}{view.memory_bytes / GIB:,.1f} GiB")
    for number, gpu in enumerate(view.gpus):
        words = f"{gpu.used_bytes / GIB:,.1f} of {gpu.total_bytes / GIB:,.1f} GiB"
        words += f" · {_percent(gpu.busy)} busy" if gpu.busy is not None else ""
        share = gpu.used_bytes / gpu.total_bytes if gpu.total_bytes else 0.0
        yield _bar(f"GPU {number}", share, f"{words} · {one_line(gpu.name, 40)}")


def _bar(label: str, share: float, words: str, room: int = 30) -> Text:
    from rich.text import Text

    full = round(min(max(share, 0.0), 1.0) * room)
    row = Text(f"  {label:12}")
    row.append("█" * full, "yellow" if share > 0.9 else "green")
    row.append("░" * (room - full), "dim")
    row.append(f" {words}")
    return row


# --- the command's parts -----------------------------------------------------------------------------------------


class _Face:
    """Draws on standard output: rows that change in place on a terminal, else a frame for each look."""

    def __init__(self, save_svg: Path | None, *, live: bool) -> None:
        from rich.console import Group

        from glm_lsp.cli.surface import Surface

        self._curves, self._save_svg = Curves(), save_svg
        self._view: View | None = None
        self._surface = Surface(
            sys.stdout,
            color=None,
            live=None if live else False,
            record=False,
            width=None,
            frames=0,
            rows=lambda: Group(*self._rows()),
        )
        self._surface.open_rows()

    def show(self, view: View) -> None:
        from rich.text import Text

        if self._view is not None and not self._surface.live:
            self._surface.line(Text(""))
        self._view = view
        self._curves.add(view)
        if self._surface.live:
            self._surface.refresh()
        else:
            self._print()

    def close(self) -> None:
        """Leaves on the screen what was seen last."""
        self._surface.close_rows()
        if self._surface.live:
            self._print()
        if self._save_svg is not None:
            self._picture(self._save_svg)

    def _print(self) -> None:
        for row in self._rows():
            self._surface.line(row)

    def _rows(self) -> list[Text]:
        return [] if self._view is None else list(frame(self._view, self._curves, self._surface.width))

    def _picture(self, path: Path) -> None:
        from rich.text import Text

        from glm_lsp.cli.surface import Surface

        drawn = Surface(io.StringIO(), color=None, live=None, record=True, width=100, frames=0, rows=lambda: Text(""))
        for row in [] if self._view is None else frame(self._view, self._curves, 100):
            drawn.line(row)
        drawn.save_svg(path, "glm-lsp engine top")


async def _watched(watch: Watch, interval: float, told: Sequence[Callable[[View], object]]) -> None:
    async for view in watch.every(interval):
        for tell in told:
            tell(view)


async def _once(watch: Watch, interval: float, told: Sequence[Callable[[View], object]]) -> None:
    """Tells one look; another one before it gives the figures of the moment a beginning."""
    try:
        await watch.look()
        await asyncio.sleep(interval)
        view = await watch.look()
    finally:
        await watch.close()
    for tell in told:
        tell(view)


def _recorder(path: Path, stack: contextlib.ExitStack) -> Callable[[View], object]:
    """Appends lines to a file that its owner alone can read; they say when this person worked, and how much."""
    try:
        file = stack.enter_context(os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="Name another with --record.") from error

    def write(view: View) -> None:
        file.write(line_of(view) + "\n")
        file.flush()

    return write


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
