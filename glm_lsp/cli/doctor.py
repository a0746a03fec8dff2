"""`glm-lsp doctor`: looks at everything a turn needs, and says of each thing that is wrong what to do about it.

Never mends anything, never sends anything anywhere but to the engine that is set, and never shows a secret.

Every check runs in a thread of its own that is left behind when the time is over: a dead network drive or an engine
that says nothing holds up its own row and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.cli import checks, engine_checks
from glm_lsp.cli.checks import Row
from glm_lsp.errors import GlmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from glm_lsp.cli.checks import State
    from glm_lsp.settings import Settings

SIGNS: dict[State, tuple[str, str, str]] = {
    "ok": ("✓", "ok", "green"),
    "note": ("!", "note", "yellow"),
    "wrong": ("✗", "wrong", "red"),
}
"""Sign, word and colour of each state; `wrong` alone makes the exit code 1."""


@click.command()
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--model", default="", metavar="NAME", help="The model, where the engine serves several.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
@click.option("--timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds for all of it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
def doctor(engine_url: str, model: str, root: Path, timeout: float, *, as_json: bool) -> int:
    """Check everything that a turn needs, from settings to the engine; exit code 1 where something is wrong."""
    until = time.monotonic() + timeout
    chosen = {name: value for name, value in (("engine.url", engine_url), ("engine.model", model)) if value}
    rows: list[Row] = []
    show = None if as_json else _printer()
    for row in _examined(root, chosen, until):
        rows.append(row)
        if show is not None:
            show(row)
    wrong = [row.id for row in rows if row.state == "wrong"]
    if as_json:
        named = {row.id: {k: v for k, v in dataclasses.asdict(row).items() if k != "id"} for row in rows}
        click.echo(json.dumps({"version": 1, "healthy": not wrong, "checks": named}))
    elif wrong:
        click.echo(f"\nWrong: {', '.join(wrong)}")
    code = 1 if wrong else 0
    if any(thread.name == _LOOKING for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code)  # Python would wait at its end for a look-up of a name that never comes back
    return code


def _printer() -> Callable[[Row], None]:
    from rich.text import Text

    from glm_lsp.cli.surface import Surface
    from glm_lsp.cli.words import one_line

    surface = Surface(sys.stdout, color=None, live=False, record=False, width=None, frames=0, rows=Text)

    def show(row: Row) -> None:
        sign, word, colour = SIGNS[row.state]
        line = Text(f"{sign} {word:5} ", colour)
        line.append(f" {row.id:14} ", "bold")
        line.append(one_line(row.says, 2000), "")
        surface.line(line)
        if row.do:
            surface.line(Text(f"{'':24}→ {one_line(row.do, 2000)}"))

    return show


def _examined(root: Path, chosen: dict[str, str], until: float) -> Iterator[Row]:
    """All rows, in the order in which a person would look."""
    from glm_lsp.settings import Settings, load

    found: dict[str, Any] = {}

    def opened() -> list[Row]:
        from glm_lsp.index.walk import find_root

        found["root"] = place = find_root(root) if root.is_dir() else root.absolute()
        error = None
        try:
            loaded = load(place, overrides=chosen)
        except GlmError as caught:  # the engine can be looked at all the same
            error, plain = caught, Settings()
            url = chosen.get("engine.url") or os.environ.get("GLM_LSP_ENGINE_URL", "")
            loaded = dataclasses.replace(plain, engine=dataclasses.replace(plain.engine, url=url))
        found["settings"] = loaded
        return [checks.settings(place, loaded, error)]

    yield checks.versions()
    yield from _Look("settings", opened).rows(until)
    if "settings" not in found:
        return
    place, settings = found["root"], found["settings"]
    looks = [
        _Look("workspace", lambda: [checks.workspace(place)]),
        _Look("state", lambda: [checks.state()]),
        _Look("conversations", lambda: [checks.conversations(place)]),
        _Look("programs", lambda: checks.programs(place)),
        _Look("grammars", lambda: [checks.grammars()]),
        _Look("mcp", lambda: [checks.mcp(settings)]),
        _Look("index", lambda: checks.index(place, settings)),
        _Look("vllm", lambda: engine_checks.way(settings)),
        *_engines(settings, until),
    ]
    for look in looks:
        yield from look.rows(until)


def _engines(settings: Settings, until: float) -> Iterator[_Look]:
    """One look at the engine; of several, one at each, whose rows bear its address, all at the same time."""
    several = settings.engine.replicas
    if settings.engine.url or not several:
        yield _Look("engine", lambda: checks.engine(settings, until))
        return
    for url in several:
        name = url.partition("://")[2] or url

        def look(url: str = url, name: str = name) -> list[Row]:
            alone = dataclasses.replace(settings, engine=dataclasses.replace(settings.engine, url=url, replicas=[]))
            return [dataclasses.replace(row, id=f"{row.id} {name}") for row in checks.engine(alone, until)]

        yield _Look(f"engine {name}", look)


_LOOKING = "doctor looks"


class _Look:
    """One check under way, in a thread that nobody waits for when the time is over."""

    def __init__(self, name: str, work: Callable[[], Sequence[Row]]) -> None:
        self._name = name
        self._found: Sequence[Row] = ()
        self._work = work
        self._thread = threading.Thread(target=self._run, name=_LOOKING, daemon=True)
        self._thread.start()

    def rows(self, until: float) -> Sequence[Row]:
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            says = "No answer before the time was over."
            return [Row(self._name, "wrong", says, "Run it again with a longer --timeout, or see what it waits for.")]
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._work()
        except GlmError as error:
            self._found = [checks.failed(self._name, error)]
        except Exception as error:  # noqa: BLE001 - a check that fails is a finding like any other
            self._found = [Row(self._name, "wrong", f"{type(error).__name__}: {error}", "Please report this.")]
