"""How long it takes until an engine that runs already can be asked: reached, its model known, its abilities probed.

Never counts what a model takes to answer: the engine is the wire server of the tests, in a process of its own, which
answers the probe at once. A real one adds the time that it takes to write one token.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

NAME = "attach"
DOC = "milliseconds from an address to an engine that is ready for its first request"
RUNS = 200
FRESH_RUNS = 15
LIMIT_MS = 150.0
"""What attaching may take at the 95th percentile."""

_TESTS = Path(__file__).parent.parent / "tests"

_SERVER = """
import asyncio, sys
from pathlib import Path
from wire_server import WireServer, spoken

async def main():
    server = WireServer(spoken({"content": "Yes."}))
    async with server.running(Path(sys.argv[1]) if sys.argv[1] else None):
        print(server.url, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""

_PEER = """
import time
began = time.perf_counter()
import aiohttp
print((time.perf_counter() - began) * 1000, time.process_time() * 1000)
"""
"""What a new process pays that only imports the client which most others use, before it has asked for anything."""

_FRESH = """
import time
began = time.perf_counter()
import asyncio, sys
from pathlib import Path
from glm_lsp.engine import open_engine
from glm_lsp.settings import EngineSettings

async def main():
    engine = open_engine(EngineSettings(url=sys.argv[1]), cache=Path(sys.argv[2]))
    await engine.connect()
    print((time.perf_counter() - began) * 1000, time.process_time() * 1000)
    await engine.close()

asyncio.run(main())
"""


def run(runs: int = RUNS, fresh_runs: int = FRESH_RUNS) -> dict[str, Any]:
    """Attaches `runs` times over TCP and over a socket, with nothing remembered and with it, and in new processes."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="attach-") as folder:
        root = Path(folder)
        for what, socket in (("TCP", ""), ("a Unix socket", str(root / "engine.sock"))):
            with _Server(socket) as url:
                rows.append(_row(f"{what}, for the first time", asyncio.run(_attached(url, runs, None))))
                cache = root / f"cache-{len(rows)}"
                asyncio.run(_attached(url, 1, cache))
                rows.append(_row(f"{what}, remembered", asyncio.run(_attached(url, runs, cache))))
                if not socket:
                    rows += _in_new_processes(url, root, fresh_runs)
    return {"rows": rows, "limit_ms": LIMIT_MS}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows to print."""
    rows: list[tuple[str, ...]] = [("attaching over", "n", "p50 ms", "p95 ms", "CPU ms", "of the limit")]
    for row in result["rows"]:
        spent = f"{row['cpu_ms']:.1f}" if row["cpu_ms"] else "–"
        share = f"{row['p95_ms'] / result['limit_ms']:.2f}"
        rows.append((row["what"], str(row["n"]), f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}", spent, share))
    return rows


async def _attached(url: str, runs: int, cache: Path | None) -> tuple[list[float], float]:
    """The milliseconds of each run, and the mean of the processor time that our side took."""
    from glm_lsp.engine.client import HttpEngine
    from glm_lsp.settings import EngineSettings

    times, spent = [], time.process_time()
    for _ in range(runs):
        began = time.perf_counter()
        engine = HttpEngine(EngineSettings(url=url), cache=cache, environment={})
        await engine.connect()
        times.append((time.perf_counter() - began) * 1000)
        if not engine.profile.tools or engine.model != "glm-4.7":
            raise RuntimeError("The engine was not understood: these figures would mean nothing.")
        await engine.close()
    return times, (time.process_time() - spent) * 1000 / runs


def _in_new_processes(url: str, root: Path, runs: int) -> list[dict[str, Any]]:
    """Rows for attaching in a process that has to import everything, and for a peer, in turns; CPU is of all of it.

    Modules are compiled beforehand, as they are where a package is installed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(root / "compiled")
    names = ("TCP, for the first time, in a new process with its imports", "a new process that only imports aiohttp")
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(-1, runs):  # the first one compiles
        commands = ((_FRESH, url, str(root / f"fresh-{number}")), (_PEER,))
        for name, command in zip(names, commands, strict=True):
            done = subprocess.run(
                [sys.executable, "-c", *command], capture_output=True, text=True, check=True, env=environment
            )
            wall, cpu = map(float, done.stdout.split())
            measured[name] += [(wall, cpu)] * (number >= 0)
    return [_row(name, ([wall for wall, _ in each], median(cpu for _, cpu in each))) for name, each in measured.items()]


def _row(what: str, measured: tuple[list[float], float]) -> dict[str, Any]:
    times, cpu = measured
    cuts = quantiles(times, n=20, method="inclusive")
    return {"what": what, "n": len(times), "p50_ms": cuts[9], "p95_ms": cuts[18], "cpu_ms": cpu}


class _Server:
    """The wire server in a process of its own, so that its work is not counted with ours."""

    def __init__(self, socket: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_TESTS)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, socket], stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        if not url:
            raise RuntimeError("The wire server did not start.")
        return url

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
