"""`glm-lsp engine env` and `glm-lsp engine bridge`: let other coding agents use the same engine.

Never writes an agent's settings: it prints what belongs there. What a shell evaluates goes to standard output, and
everything meant for a person to standard error.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.engine.agents import AGENTS

if TYPE_CHECKING:
    from glm_lsp.engine.agents import Endpoint
    from glm_lsp.engine.bridge import Upstream
    from glm_lsp.settings import EngineSettings

LINGER = 1800.0
"""Seconds without an engine after which a bridge that nobody looks at ends."""

_NO_KEY = "none"
"""What is shown to a server that asks for no key: agents and their libraries refuse to start without one."""

_OWN = "this host's own engine"


@click.command(context_settings={"max_content_width": 110})
@click.argument("agent", type=click.Choice(list(AGENTS)))
@click.option("--start", is_flag=True, help="Start the bridge in the background where none runs.")
@click.option(
    "--bridge/--direct",
    "bridged",
    default=None,
    help="Through the bridge, or at the engine's own address; default: the bridge for a socket or where it runs.",
)
@click.option("--file", "as_file", is_flag=True, help="Print a settings file instead of lines for a shell.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
@click.option(
    "--engine", "url", metavar="URL", help="Address of the engine; default: engine.url, else this host's own."
)
def env(agent: str, *, start: bool, bridged: bool | None, as_file: bool, as_json: bool, url: str | None) -> None:
    """Print what points another coding agent at this engine.

    For a shell: `eval "$(glm-lsp engine env claude-code --start)"`.
    Explanations go to standard error.
    """
    from glm_lsp.engine import agents
    from glm_lsp.errors import UsageError

    engine = _settings(url)
    is_socket = not engine.url or engine.url.startswith("unix:")
    if bridged is False and is_socket:
        raise UsageError("An engine on a socket has no address for other agents.", hint="Leave --direct out.")
    through = (is_socket or start or _leads_there(engine)) if bridged is None else bridged
    endpoint = _bridged(engine, start=start) if through else _direct(engine)
    found = agents.setup(agent, endpoint)
    if as_file and not found.file:
        raise UsageError(f"{agent} is set up by its environment, not by a file.", hint="Leave --file out.")
    if as_json:
        whole: dict[str, Any] = {"agent": agent, "bridge": through} | dataclasses.asdict(endpoint)
        whole |= {"openai": endpoint.openai, "anthropic": endpoint.url} | dataclasses.asdict(found)
        click.echo(json.dumps(whole))
        return
    click.echo(json.dumps(found.file, indent=2) if as_file else found.for_shell())
    for note in found.notes:
        click.echo(note, err=True)
    if through:
        click.echo("Through the bridge: earlier thinking is rendered, and put back where the agent drops it.", err=True)
    else:
        click.echo("Direct: thinking that the agent drops is lost to the model. --bridge would put it back.", err=True)


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port on 127.0.0.1; default: the last one, else a free one."
)
@click.option("--restore/--no-restore", default=True, help="Put thinking back where an agent drops it (the default).")
@click.option("--preserve/--no-preserve", default=True, help="Ask for earlier thinking to be rendered (the default).")
@click.option("--linger", type=click.FloatRange(0), default=0.0, help="End after so many seconds without an engine.")
@click.option("--new-token", is_flag=True, help="Make a new token: what was printed before no longer works.")
@click.option("--stop", "ending", is_flag=True, help="End the bridge that runs.")
@click.option("--status", "looking", is_flag=True, help="Say whether one runs and what it did, as one JSON object.")
@click.option(
    "--engine", "url", metavar="URL", help="Address of the engine; default: engine.url, else this host's own."
)
def bridge(
    *,
    port: int | None,
    restore: bool,
    preserve: bool,
    linger: float,
    new_token: bool,
    ending: bool,
    looking: bool,
    url: str | None,
) -> None:
    """Let other agents on this host use the engine, over 127.0.0.1 and with a token.

    Runs until Ctrl-C. `glm-lsp engine env NAME --start` starts one in the background.
    """
    from glm_lsp.engine.local import share

    if ending:
        click.echo("Stopped." if share.stop() else "No bridge was running.")
        return
    if looking:
        click.echo(json.dumps(_status()))
        return
    engine = _settings(url)
    with share.only_one():
        known = share.get_pass(anew=new_token)
        _serve(engine, known.token, port, known.port, restore=restore, preserve=preserve, linger=linger)


def _serve(
    engine: EngineSettings, token: str, wanted: int | None, last: int, *, restore: bool, preserve: bool, linger: float
) -> None:
    import asyncio
    import signal

    from glm_lsp.engine import bridge as crossing
    from glm_lsp.engine.local import share
    from glm_lsp.errors import StateError

    leads_to = engine.url or _OWN

    def ready(port: int) -> None:
        there = share.record(port, engine.url)
        click.echo(f"{there.url} leads to {leads_to}. `glm-lsp engine env NAME` prints what an agent wants.", err=True)

    async def serve(port: int) -> None:
        closing = asyncio.Event()
        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, closing.set)
        way = crossing.Crossing(lambda: _upstream(engine), token, restore=restore, preserve=preserve, linger=linger)
        await crossing.serve(way, port, ready=ready, closing=closing)

    try:
        asyncio.run(serve(last if wanted is None else wanted))
    except StateError:
        if wanted is not None or not last:
            raise
        click.echo(f"Port {last} is taken by another program now: agents have to be told the new one.", err=True)
        asyncio.run(serve(0))


def _settings(url: str | None) -> EngineSettings:
    from glm_lsp import settings
    from glm_lsp.errors import UsageError

    engine = settings.load().engine
    engine = dataclasses.replace(engine, url=url) if url else engine
    if engine.url.startswith("scripted:"):
        raise UsageError("A scripted engine is not for other agents.", hint="Name a running engine with --engine URL.")
    return engine


def _upstream(engine: EngineSettings) -> Upstream:
    """Where the engine is now, with its key."""
    from glm_lsp.engine import keys
    from glm_lsp.engine.bridge import Upstream
    from glm_lsp.engine.local import process
    from glm_lsp.errors import Unreachable

    url = engine.url or next(iter(engine.replicas), "") or process.address()
    if url is None:
        raise Unreachable("No engine runs on this host.", hint="Start one with `glm-lsp engine start`.")
    return Upstream(url, keys.find(engine, os.environ).value, engine.max_requests, engine.ca_file)


def _leads_there(engine: EngineSettings) -> bool:
    from glm_lsp.engine.local import share

    there = share.running()
    return there is not None and there.upstream == engine.url


def _bridged(engine: EngineSettings, *, start: bool) -> Endpoint:
    from glm_lsp.engine.local import share
    from glm_lsp.errors import StateError, UsageError

    model, context = _model(engine)
    there = share.running()
    if there is None and start:
        there = share.start(["--linger", str(LINGER), *(["--engine", engine.url] if engine.url else [])])
    if there is None:
        raise UsageError(
            "Other agents reach this engine over a bridge, and none runs.",
            hint="Add --start, or run `glm-lsp engine bridge` in another terminal.",
        )
    if there.upstream != engine.url:
        raise StateError(
            f"The bridge at {there.url} leads to {there.upstream or _OWN}, not to {engine.url or _OWN}.",
            hint="End it with `glm-lsp engine bridge --stop`, and try again.",
        )
    return _endpoint(there.url, share.get_pass().token, model, context)


def _direct(engine: EngineSettings) -> Endpoint:
    from glm_lsp.engine import keys

    model, context = _model(engine)
    key = keys.find(engine, os.environ).value
    return _endpoint(engine.url.rstrip("/").removesuffix("/v1"), key or _NO_KEY, model, context)


def _endpoint(url: str, key: str, model: str, context: int) -> Endpoint:
    from glm_lsp.engine.agents import Endpoint

    return Endpoint(url, key, model, context)


def _model(engine: EngineSettings) -> tuple[str, int]:
    """The model's name and the tokens of its context, as the engine says."""
    import asyncio

    from glm_lsp.engine.connection import Connection
    from glm_lsp.errors import MalformedReply, WrongModel

    async def ask() -> dict[str, Any]:
        line = Connection(dataclasses.replace(engine, url=_upstream(engine).url))
        try:
            return await line.get("/models", dict[str, Any])
        finally:
            await line.close()

    cards = {str(card.get("id")): card for card in asyncio.run(ask()).get("data") or [] if isinstance(card, dict)}
    if not cards:
        raise MalformedReply("The engine lists no model.", hint="See `glm-lsp doctor`.")
    name = engine.model or next(iter(cards))
    if name not in cards:
        raise WrongModel(f"The engine does not serve {name}: it has {', '.join(cards)}.", hint="Correct engine.model.")
    context = cards[name].get("max_model_len")
    return name, context if isinstance(context, int) and context > 0 else 128_000


def _status() -> dict[str, Any]:
    import asyncio

    from glm_lsp.engine import bridge as crossing
    from glm_lsp.engine.local import share

    there = share.running()
    if there is None:
        return {"running": False}
    counts = asyncio.run(crossing.ask_status(there.port, share.get_pass().token))
    return {"running": True, "url": there.url, "pid": there.pid, "upstream": there.upstream} | counts
