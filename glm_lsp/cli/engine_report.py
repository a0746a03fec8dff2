"""`glm-lsp engine report`: one HTML page about past turns, and about an engine that was recorded.

Never asks the engine, sends nothing, and writes over nothing but an earlier page of its own.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

import click

from glm_lsp.errors import UsageError


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--since", default="", metavar="TIME", help="Nothing older: 30m, 2h, 7d or 2026-11-24T09:00.")
@click.option("--session", default="", metavar="NAME", help="The turns of this conversation alone.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("glm-lsp-report.html"))
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
def report(files: tuple[Path, ...], since: str, session: str, out: Path, root: Path) -> int:
    """Write a page with charts about FILES, or else about the workspace's kept conversations.

    FILES are what `glm-lsp engine top --record` and `glm-lsp refactor --output ndjson` wrote.
    """
    from glm_lsp.cli.report_page import page
    from glm_lsp.cli.report_sources import Seen, read, read_store
    from glm_lsp.cli.words import count

    earliest = moment(since) if since else 0.0
    seen = Seen()
    for file in files:
        read(file, seen)
    if session or not files:
        read_store(root, session, seen)
    seen.turns = [turn for turn in seen.turns if turn.steps and (turn.began is None or turn.began >= earliest)]
    seen.views = [view for view in sorted(seen.views, key=lambda view: view.at) if view.at >= earliest]
    if not seen.turns and not seen.views:
        raise UsageError(
            "There is nothing to report.",
            hint="Record an engine with `glm-lsp engine top --record FILE`, or name an earlier --since.",
        )
    _write(out, page(seen))
    said = [count(len(seen.turns), "turn")] if seen.turns else []
    said += [count(len(seen.views), "look") + " at the engine"] if seen.views else []
    said += [f"{count(seen.passed_over, 'line')} passed over"] if seen.passed_over else []
    click.echo(f"{out}: {' · '.join(said)}")
    return 0


def moment(text: str) -> float:
    """`30m`, `2h`, `7d` ago, or a date; in seconds since 1970.

    Raises:
        UsageError: it is none of these.
    """
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if ago:
        return time.time() - float(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]]
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text!r} is no time.", hint="Write 30m, 2h, 7d or 2026-11-24T09:00.") from None


def _write(out: Path, text: str) -> None:
    """Writes the page, over an earlier one of ours at most; its owner alone can read it."""
    from glm_lsp.cli.report_page import MARK

    try:
        if out.exists() and MARK not in out.read_bytes()[:2000].decode("utf-8", "replace"):
            raise UsageError(f"{out} is there and is no report.", hint="Name another file with --out.")
        out.touch(mode=0o600)
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.", hint="Name another with --out.") from error
