"""`glm-lsp serve`, and `glm-lsp --stdio` for short: the language server that editors start.

Never prints to standard output while an editor reads it.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command()
@click.option("--stdio", "how", flag_value="stdio", default="stdio", help="Talk over standard input and output.")
@click.option("--tcp", "how", flag_value="tcp", help="Listen on a port of this machine.")
@click.option("--ws", "how", flag_value="ws", help="Listen for web sockets; a client shows a token.")
@click.option("--host", default="127.0.0.1", help="Where to listen.")
@click.option("--port", default=0, help="The port; 0 lets the system choose.")
@click.option("--token", help="What a client of --tcp or --ws must show; made up where none is given.")
@click.option(
    "--origin", "origins", multiple=True, help="A page that may open a web socket, such as http://localhost:8080."
)
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--model", default="", metavar="NAME", help="The model, where the engine serves several.")
@click.option("--log", type=click.Path(path_type=Path), help="Where to log; by default in the state folder.")
@click.option("--record", type=click.Path(path_type=Path), help="Write every message to a file, to look at or replay.")
def serve(
    how: str,
    host: str,
    port: int,
    token: str | None,
    origins: tuple[str, ...],
    engine_url: str,
    model: str,
    log: Path | None,
    record: Path | None,
) -> int:
    """Serve editors: the language server, over standard input and output unless said otherwise."""
    from glm_lsp.server import transport
    from glm_lsp.server.app import create_server

    chosen = {"engine.url": engine_url, "engine.model": model}
    overrides = {name: value for name, value in chosen.items() if value}
    transport.log_to_file(log or _log_file())
    recorder = _recorder(record) if record is not None else None
    if how == "stdio":
        return transport.serve_stdio(create_server(overrides, record=recorder))
    if recorder is not None:
        raise UsageError("--record is for --stdio, which has one client.", hint="Leave it out.")
    if token is None:
        token = secrets.token_urlsafe(24)
        sys.stderr.write(f"The token is {token}\n")
    if how == "tcp":
        return transport.serve_tcp(lambda: create_server(overrides, token=token), host, port)
    return transport.serve_websocket(lambda: create_server(overrides), host, port, token=token, origins=origins)


def _log_file() -> Path:
    import os

    import platformdirs

    return Path(os.environ.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp")) / "server.log"


def _recorder(path: Path) -> Callable[[str, float, bytes], None]:
    """Writes each message as a line of JSON: which way it went, when, and what it was."""
    import json
    import os

    lines = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", buffering=1, encoding="utf-8")

    def write(way: str, at: float, body: bytes) -> None:
        message = body.decode("utf-8", "replace")
        lines.write(json.dumps({"way": way, "at": round(at, 6), "message": message}) + "\n")

    return write
