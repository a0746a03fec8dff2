"""`glm-lsp engine plan`: shows what to start on these GPUs, why, and what will fit.

Never starts anything, and never computes: it draws a Plan.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from glm_lsp.engine.local.models import Model
    from glm_lsp.engine.local.plan import Plan
    from glm_lsp.engine.local.serving import Wishes

GIB = 1 << 30

_Command = TypeVar("_Command", bound="Callable[..., Any]")


_OPTIONS = (
    click.option(
        "--model",
        default="",
        metavar="NAME",
        help="glm-4.7-fp8, glm-4.7, glm-4.7-flash, or a folder; default: the best that fits.",
    ),
    click.option("--name", default="", metavar="NAME", help="Name that requests use; default: the model's own."),
    click.option("--max-len", type=int, metavar="TOKENS", help="Longest context; default: as much as fits."),
    click.option("--kv-fp8", is_flag=True, help="KV cache in FP8: twice the tokens, at some loss."),
    click.option(
        "--kv-offload",
        type=int,
        default=0,
        metavar="GIB",
        help="Keep KV cache in this much of each host's memory besides.",
    ),
    click.option("--replicas", type=int, metavar="N", help="So many engines; default: what keeps the most tokens."),
    click.option(
        "--utilization", type=float, default=0.92, show_default=True, help="Share of each GPU that vLLM may use."
    ),
    click.option(
        "--socket", default="", metavar="PATH", help="Where the engine listens; default: in your own run-time folder."
    ),
)


def wished(command: _Command) -> _Command:
    """Gives a command the options by which an engine is chosen; `wishes_of` and `model_of` read them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wishes_of(chosen: Mapping[str, Any]) -> Wishes:
    """What a person chose, by the options' names."""
    from glm_lsp.engine.local import places
    from glm_lsp.engine.local.serving import Wishes

    names = ("max_len", "kv_fp8", "kv_offload", "replicas", "utilization")
    socket = chosen["socket"] or str(places.run_dir() / "vllm.sock")
    return Wishes(**{name: chosen[name] for name in names}, socket=socket)


def model_of(chosen: Mapping[str, Any]) -> Model | None:
    """The model that a person chose; None where they left that open.

    Raises:
        UsageError: there is no such model, or a name without one.
    """
    from glm_lsp.engine.local import models
    from glm_lsp.errors import UsageError

    if not chosen["model"]:
        if chosen["name"]:
            raise UsageError("--name goes with --model.", hint="Say which model has that name.")
        return None
    found = models.find(chosen["model"])
    return dataclasses.replace(found, served=chosen["name"]) if chosen["name"] else found


@click.command()
@click.option(
    "--gpus", default="", metavar="GPUS", help="4xH200, 8xH100-80, 2x8xH100 for two hosts; default: this host's."
)
@wished
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
@click.option("--compose", is_flag=True, help="A compose file for vLLM's own container image instead.")
def plan(gpus: str, *, as_json: bool, compose: bool, **chosen: Any) -> int:
    """Plan the engine for this host's GPUs, or for those you name: the command, its reasons, and the arithmetic.

    Nothing is started. What cannot fit is refused, with the numbers and what would fit.
    """
    from glm_lsp.engine.local import hardware
    from glm_lsp.engine.local import plan as planner
    from glm_lsp.errors import UsageError

    try:
        found = hardware.parse(gpus) if gpus else hardware.find()
        made = planner.make(found, model_of(chosen), wishes_of(chosen))
    except UsageError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"version": 1, "fits": False, "message": error.message, "hint": error.hint}))
        return error.exit_code
    if as_json:
        click.echo(json.dumps({"version": 1, "fits": True, **as_data(made)}))
        return 0
    if compose:
        from glm_lsp.engine.local.compose import compose_file

        click.echo(compose_file(made), nl=False)
        return 0
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    for line in lines(made, width):
        click.echo(line)
    return 0


def as_data(made: Plan) -> dict[str, object]:
    """The plan for programs; each command also as a line for a shell."""
    data = dataclasses.asdict(made)
    for command, row in zip(made.commands, data["commands"], strict=True):
        row["shell"] = str(command)
    return data


def lines(made: Plan, width: int) -> Iterator[str]:
    """The plan for people, in rows of at most `width` columns where words allow."""
    engines = "1 engine" if made.engines == 1 else f"{made.engines} engines"
    each = made.layout.tensor * made.layout.stages
    yield f"{made.model.name} on {made.hardware} · {engines} of {each} × {made.gpu.name}"
    yield ""
    yield from _arithmetic(made)
    yield ""
    yield from _commands(made, width)
    yield ""
    yield "Why (· the model's card says so, + added here):"
    for flag in made.flags:
        yield from _wrapped(f"{'·' if flag.card else '+'} {flag.words[0]}", flag.reason, width)
    for note in made.notes:
        yield ""
        yield from textwrap.wrap(note, width)


def _arithmetic(made: Plan) -> Iterator[str]:
    memory, layout = made.memory, made.layout
    parts = layout.tensor * layout.stages
    share = f"{made.model.weights / GIB:,.1f} GiB / {parts}" if parts > 1 else ""
    rows = [
        ("usable on each GPU", f"{memory.usable / GIB:.1f} GiB", ""),
        ("× utilisation", f"{memory.allowed / GIB:.1f} GiB", f"{memory.allowed / memory.usable:.2f}"),
        ("− weights", f"{memory.weights / GIB:.1f} GiB", share),
        ("− reserve", f"{memory.reserve / GIB:.1f} GiB", "an estimate: activations, CUDA graphs, NCCL"),
        ("= KV cache", f"{memory.cache / GIB:.1f} GiB", f"÷ {memory.per_token / 1024:.1f} KiB a token"),
        ("= tokens kept", f"{memory.tokens:,}", "an engine; vLLM logs what it measured as “GPU KV cache size”"),
        ("longest context", f"{made.max_len:,}", f"of the {made.model.context:,} that the model can read"),
    ]
    for name, value, note in rows:
        yield f"  {name:19}{value:>11}   {note}".rstrip()
    fitting = " · ".join(f"{count} of {length:,}" for length, count in made.conversations)
    yield f"  {'conversations':19}{fitting} tokens at once, over all engines"


def _commands(made: Plan, width: int) -> Iterator[str]:
    several = len({command.host for command in made.commands}) > 1
    for number, command in enumerate(made.commands):
        if number:
            yield ""
        if several and (not number or made.commands[number - 1].host != command.host):
            yield f"On host {command.host}:"
        yield from _folded(str(command), width)


def _folded(command: str, width: int) -> Iterator[str]:
    """A shell's line over several rows, broken before options."""
    row = ""
    for part in command.split(" --"):
        piece = part if not row and part == command.split(" --", 1)[0] else f"--{part}"
        if row and len(row) + len(piece) + 3 > width:
            yield f"{row} \\"
            row = f"    {piece}"
        else:
            row = f"{row} {piece}" if row else piece
    yield row


def _wrapped(head: str, text: str, width: int) -> Iterator[str]:
    indent = 36
    first, *more = textwrap.wrap(text, max(width - indent - 2, 30))
    if len(head) > indent:
        yield f"  {head}"
        yield f"{'':{indent + 2}}{first}"
    else:
        yield f"  {head:{indent}}{first}"
    for line in more:
        yield f"{'':{indent + 2}}{line}"
