"""How long an editor waits for the language server: from spawn to the answer to `initialize`.

Never compares runs of different minutes: each round starts every server once, in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

NAME = "initialize"
DOC = "seconds from spawn to the answer to `initialize`, beside a bare pygls server and jedi-language-server"
RUNS = 15

_BARE = "from pygls.lsp.server import LanguageServer; LanguageServer('bare', '1').start_io()"
_OURS = "import sys; from glm_lsp.server.transport import GlmServer, serve_stdio; sys.exit(serve_stdio(GlmServer('g', '1')))"


def run() -> dict[str, Any]:
    """Measures medians over `RUNS` rounds; jedi-language-server is None where pip cannot fetch it."""
    with tempfile.TemporaryDirectory() as folder:
        servers = {
            "python": [sys.executable, "-c", _ECHO],
            "bare_pygls": [sys.executable, "-c", _BARE],
            "transport": [sys.executable, "-c", _OURS],
            "glm_lsp": [str(Path(sys.executable).with_name("glm-lsp")), "--stdio"],
        }
        jedi = _jedi(Path(folder))
        if jedi is not None:
            servers["jedi_language_server"] = [str(jedi)]
        # An installed server has its bytecode; so have these, from the round that warms up.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["GLM_LSP_STATE_DIR"] = str(Path(folder) / "state")
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        taken: dict[str, list[float]] = {name: [] for name in servers}
        for number in range(RUNS + 1):
            for name, command in servers.items():
                seconds = _initialized(command, environment)
                if number:  # the first round warms up
                    taken[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    return {
        **{f"{name}_seconds": median for name, median in medians.items()},
        "jedi_language_server_seconds": medians.get("jedi_language_server"),
        "transport_ratio_to_bare_pygls": medians["transport"] / medians["bare_pygls"],
        "glm_lsp_ratio_to_bare_pygls": medians["glm_lsp"] / medians["bare_pygls"],
        "limit_ratio_to_bare_pygls": 1.1,
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows to print."""
    jedi = result["jedi_language_server_seconds"]
    bare = result["bare_pygls_seconds"]
    named = {"python": "python that answers anything", "bare_pygls": "bare pygls", "transport": "glm-lsp's transport"}
    rows = [("what", "median s", "to bare pygls")]
    for name, what in {**named, "glm_lsp": "glm-lsp --stdio"}.items():
        rows.append((what, f"{result[f'{name}_seconds']:.3f}", f"{result[f'{name}_seconds'] / bare:.2f}"))
    told = ("not installable", "") if jedi is None else (f"{jedi:.3f}", f"{jedi / bare:.2f}")
    return [*rows, ("jedi-language-server", *told), ("limit for glm-lsp --stdio", "", "1.10")]


_ECHO = (
    "import sys; sys.stdin.buffer.read(20); body = b'{\"id\": 1}'; "
    "sys.stdout.buffer.write(b'Content-Length: %d\\r\\n\\r\\n%b' % (len(body), body)); sys.stdout.flush()"
)


def _initialized(command: list[str], environment: dict[str, str]) -> float:
    """Seconds until a server has answered `initialize`; it is killed afterwards."""
    params: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=environment
    )
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        said = b""
        while b'"id"' not in said:
            chunk = process.stdout.read(65536)
            if not chunk:
                raise RuntimeError(f"{command[0]} ended without an answer")
            said += chunk
        taken = time.perf_counter() - began
        process.kill()
        process.wait()
    return taken


def _jedi(folder: Path) -> Path | None:
    """Installs jedi-language-server into an environment of its own."""
    venv.create(folder / "jedi", with_pip=True)
    pip = [str(folder / "jedi" / "bin" / "python"), "-m", "pip", "install", "--quiet", "jedi-language-server"]
    if subprocess.run(pip, check=False, capture_output=True).returncode:
        return None
    return folder / "jedi" / "bin" / "jedi-language-server"
