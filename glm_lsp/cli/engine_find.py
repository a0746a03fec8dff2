"""`glm-lsp engine find`: names the engines that run on this host already, and the line that would use one.

Never changes a setting, and never sends anything but the question which models there are.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from glm_lsp.engine.discovery import Found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")
def find(*, as_json: bool) -> None:
    """Name the engines that run on this host, and the line for your settings that uses one.

    Asks for the models on the usual ports of vLLM, SGLang, llama.cpp and Ollama, on this host only and without a key.
    """
    from glm_lsp.engine import discovery
    from glm_lsp.settings import user_file

    found = discovery.find()
    if as_json:
        rows = [{**dataclasses.asdict(one), "setting": one.setting} for one in found]
        click.echo(json.dumps({"version": 1, "found": rows, "file": str(user_file())}))
        return
    for line in lines(found, user_file()):
        click.echo(line)


def lines(found: Sequence[Found], file: Path) -> Iterator[str]:
    """What was found, for people."""
    if not found:
        yield "No engine runs on this host, as far as its usual ports tell. Start one with `glm-lsp engine start`."
        return
    rows = [(one.name, one.url, _serving(one), _whose(one)) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if found[0].own:
        yield ""
        yield "The first is this host's own engine: it is used where engine.url is empty."
    other = next((one for one in found if not one.own), None)
    if other is not None:
        yield ""
        yield f"To use {other.name}, if you know whose it is, put this under [engine] in {file}:"
        yield f"  {other.setting}"


def _serving(one: Found) -> str:
    if one.wants_key:
        return "asks for a key"
    more = f" and {len(one.models) - 3} more" if len(one.models) > 3 else ""
    return f"{', '.join(one.models[:3])}{more}" if one.models else "no model"


def _whose(one: Found) -> str:
    if one.own:
        return "your own"
    if not one.user:
        return ""
    return f"run by {one.user}" if one.ours else f"run by {one.user}, another user"
