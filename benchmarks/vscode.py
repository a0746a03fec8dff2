"""What the VS Code extension costs: at start, while an answer streams into a long conversation, and over a hundred turns.

Never counts the model or the language server: both run in processes of their own. VS Code is the real one of
`make test-vscode`, in a Chromium that draws without a GPU; what it takes by itself is measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import itertools
import json
import re
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "vscode"
DOC = "the VS Code extension: its start, its size, frames while an answer streams, and what a turn leaves in memory"
PARTS = ("size", "activation", "stream", "memory")

PACE = 200  # tokens a second
LIMITS = {"bundle KB": 1000, "activation ms": 100, "frames/s": 30, "KiB/turn": 64}
STARTS = 5
PEERS = {"vscode.git": "Git, of VS Code's own"}
TESTS = Path(__file__).resolve().parent.parent / "tests"

_WATCH = """() => {
    const watched = { frames: [], long: [], running: true };
    window.__watched = watched;
    const look = (now) => { watched.frames.push(now); if (watched.running) requestAnimationFrame(look); };
    requestAnimationFrame(look);
    const observer = new PerformanceObserver((list) => watched.long.push(...list.getEntries().map((e) => e.duration)));
    observer.observe({ entryTypes: ['longtask'] });
}"""
_WATCHED = "() => { window.__watched.running = false; return window.__watched; }"
_COLLECT = "require('v8').setFlagsFromString('--expose_gc'); require('vm').runInNewContext('gc')();"


def arguments(given: list[str]) -> argparse.Namespace:
    """Which parts, and how much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks vscode", description=__doc__)
    parser.add_argument("--parts", help="some parts, by their names with commas between", default=",".join(PARTS))
    parser.add_argument("--held", type=int, default=50_000, help="tokens that the view holds before the stream")
    parser.add_argument("--seconds", type=int, default=20, help="of the stream")
    parser.add_argument("--turns", type=int, default=100, help="of which the memory is looked at")
    options = parser.parse_args(given)
    if unknown := set(options.parts.split(",")) - set(PARTS):
        parser.error(f"vscode has these parts: {', '.join(PARTS)}; not {', '.join(sorted(unknown))}")
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures the chosen parts."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, _talker() as engine:
        bench = _Bench(Path(folder), engine, options)
        for part in options.parts.split(","):
            rows += getattr(bench, part)()
        bench.close()
    return {"rows": rows, "limits": LIMITS, "pace": PACE, "held": options.held, "turns": options.turns}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    rows: list[tuple[str, ...]] = [("what", "figure", "limit", "of it", "and")]
    for row in result["rows"]:
        limit = LIMITS.get(row["unit"]) if row.get("limited") else None
        share = f"{row['value'] / limit:.2f}" if limit else ""
        more = ", ".join(f"{key} {value}" for key, value in row.get("more", {}).items())
        rows.append((row["what"], f"{row['value']:,.1f} {row['unit']}", str(limit or ""), share, more))
    return rows


class _Bench:
    """A real VS Code with the extension as it is published."""

    def __init__(self, folder: Path, engine: str, options: argparse.Namespace) -> None:
        sys.path.insert(0, str(TESTS))  # the tests are no package of the product
        self.editor: Any = importlib.import_module("vscode.editor")
        if missing := self.editor.install.missing():
            sys.exit(f"Not installed: {', '.join(missing)}. `make test-vscode` does it.")
        self.folder, self.engine, self.options = folder, engine, options
        self.vsix = self.editor.packed(folder)
        self.extensions = self.editor.extensions(folder / "extensions", self.vsix)
        self._browser = self.editor.chromium()
        self.browser = self._browser.__enter__()
        self._number = 0

    def close(self) -> None:
        """Ends the browser."""
        self._browser.__exit__(None, None, None)

    @contextlib.contextmanager
    def vscode(self) -> Iterator[Any]:
        """A VS Code with nothing in it from before."""
        self._number += 1
        folder = self.folder / f"{self._number}"
        folder.mkdir()
        one = self.editor.VSCode("gated", folder, self.browser, self.extensions)
        one.settings["glm.server.path"] = str(Path(sys.executable).with_name("glm-lsp"))
        one.use(self.engine)
        try:
            yield one
        except self.editor.Error:
            one.keep(self.editor.install.CACHE / "failures" / "benchmark")
            raise
        finally:
            one.close()

    # --- the parts

    def size(self) -> list[dict[str, Any]]:
        """What is loaded, in kilobytes, and the whole package."""
        with zipfile.ZipFile(self.vsix) as archive:
            code = {Path(one.filename).name: one.file_size for one in archive.infolist() if "/dist/" in one.filename}
        scripts = {name: f"{size / 1000:.0f}" for name, size in code.items() if name.endswith((".js", ".css"))}
        whole = sum(code.values()) / 1000
        return [
            {"what": "bundle", "value": whole, "unit": "bundle KB", "limited": True, "more": scripts},
            {"what": "package", "value": self.vsix.stat().st_size / 1000, "unit": "KB"},
        ]

    def activation(self) -> list[dict[str, Any]]:
        """Milliseconds of the extension host's time, as VS Code itself counts them; the median of several windows."""
        took: dict[str, list[float]] = {}
        with self.vscode() as vscode:
            for _ in range(STARTS):
                window = vscode.open()
                window.active()
                for name, ms in self._activations(window).items():
                    took.setdefault(name, []).append(ms)
                window.close()
        ours = {
            "what": "activation",
            "value": statistics.median(took[self.editor.EXTENSION]),
            "unit": "activation ms",
            "limited": True,
            "more": {
                "best": f"{min(took[self.editor.EXTENSION]):.0f}",
                "all": " ".join(f"{ms:.0f}" for ms in took[self.editor.EXTENSION]),
            },
        }
        peers = [
            {"what": f"activation of {name}", "value": statistics.median(took[peer]), "unit": "activation ms"}
            for peer, name in PEERS.items()
            if peer in took
        ]
        return [ours, *peers]

    def _activations(self, window: Any) -> dict[str, float]:
        window.command("workbench.action.showRuntimeExtensions")
        rows = window.page.locator(".runtime-extensions-editor .extension")
        rows.first.wait_for()
        found = {}
        for text in self.editor.until("the extensions that run", rows.all_inner_texts):
            ms = re.search(r"Activation: (\d+)\s?ms", text)
            name = {"GLM": self.editor.EXTENSION, "Git": "vscode.git"}.get(text.strip().split("\n")[0].strip())
            if ms and name:
                found[name] = float(ms[1])
        return found

    def stream(self) -> list[dict[str, Any]]:
        """Frames a second of the view while tokens come into a conversation that holds many, and of the view at rest."""
        seconds = self.options.seconds
        with self.vscode() as vscode:
            _, view = self._view(vscode)
            idle = _frames(view, lambda: time.sleep(5))
            # Several turns, as a long conversation has; all of it as fast as it comes.
            turns = 10
            for number in range(1, turns + 1):
                self._ask(view, f"Say {self.options.held // turns} at 0", number, seconds=240)
            seen = _frames(view, lambda: self._ask(view, f"Say {PACE * seconds} at {PACE}", turns + 1, seconds * 5))
        more = {
            "p95 ms": seen["p95"],
            "longest ms": seen["longest"],
            "seconds": f"{seen['seconds']:.0f}",
        }
        return [
            {
                "what": f"stream, {self.options.held:,} tokens held",
                "value": seen["rate"],
                "unit": "frames/s",
                "limited": True,
                "more": more,
            },
            {"what": "at rest", "value": idle["rate"], "unit": "frames/s", "more": {"p95 ms": idle["p95"]}},
        ]

    def memory(self) -> list[dict[str, Any]]:
        """KiB that a turn leaves behind, in the second half of many: in the extension host, and in the view's page."""
        turns = self.options.turns
        with self.vscode() as vscode:
            window, view = self._view(vscode)
            host, page = {}, {}
            for number in range(1, turns + 1):
                self._ask(view, "Say 200 at 0", number, seconds=60)
                if number in (turns // 2, turns):
                    time.sleep(1)
                    host[number] = window.host(f"{_COLLECT} return process.memoryUsage().heapUsed") / 1024
                    page[number] = _heap(window.page) / 1024
        return [
            {
                "what": f"memory of {what}, turns {turns // 2} to {turns}",
                "value": (held[turns] - held[turns // 2]) / (turns - turns // 2),
                "unit": "KiB/turn",
                "limited": True,
                "more": {"MiB at the end": f"{held[turns] / 1024:.0f}"},
            }
            for what, held in (("the extension host", host), ("the page", page))
        ]

    def _view(self, vscode: Any) -> tuple[Any, Any]:
        window = vscode.open()
        window.active()
        window.command("glm-lsp.chat.open")
        return window, window.frame(".composer textarea", seconds=60)

    def _ask(self, view: Any, words: str, number: int, seconds: float) -> None:
        """Asks in the view, and waits until the turn of this number has ended."""
        view.locator(".composer textarea").fill(words)
        view.locator(".composer textarea").press("Enter")
        done = view.locator(".turn").nth(number - 1).locator(".foot").get_by_text(re.compile("^Done"))
        done.wait_for(timeout=seconds * 1000)


def _frames(view: Any, meanwhile: Any) -> dict[str, Any]:
    view.evaluate(_WATCH)
    meanwhile()
    at = view.evaluate(_WATCHED)["frames"]
    gaps = sorted(b - a for a, b in itertools.pairwise(at))
    seconds = (at[-1] - at[0]) / 1000
    return {
        "rate": len(gaps) / seconds,
        "p95": f"{gaps[int(0.95 * len(gaps))]:.0f}",
        "longest": f"{gaps[-1]:.0f}",
        "seconds": seconds,
    }


def _heap(page: Any) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return float(used)


# --- the engine --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _talker() -> Iterator[str]:
    """An OpenAI-compatible server that says as many tokens as it is asked to, at the pace that it is asked for."""
    loop, ready, end, address = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", _completion)
        app.router.add_get("/v1/models", _models)
        app.router.add_get("/version", lambda _: _json({"version": "0.32.0"}))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await end.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


async def _json(value: Any) -> web.Response:
    return web.json_response(value)


async def _models(_: web.Request) -> web.Response:
    card = {"id": "glm-4.7", "owned_by": "vllm", "max_model_len": 202_752}
    return web.json_response({"data": [card]})


async def _completion(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    asked = re.findall(r"Say (\d+) at (\d+)", json.dumps(body["messages"]))
    count, pace = map(int, asked[-1]) if asked else (1, 0)
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    start = time.perf_counter()
    step = 1 if pace else 50
    for number in range(0, count, step):
        if pace:
            await asyncio.sleep(max(0.0, start + number / pace - time.perf_counter()))
        words = "".join(_word(each) for each in range(number, min(number + step, count)))
        await answer.write(_event({"role": "assistant", "content": words}))
    await answer.write(_event({}, "stop"))
    usage = {"prompt_tokens": 1000, "completion_tokens": count, "total_tokens": 1000 + count}
    await answer.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
    await answer.write(b"data: [DONE]\n\n")
    return answer


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "glm-4.7"}
    return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"


def _word(number: int) -> str:
    """One token of an answer with paragraphs, lists and blocks of code."""
    line, place = divmod(number, 12)
    start = {0: "\n\n- ", 1: "\n\n", 2: "\n\n```python\n"}.get(line % 5, "\n") if place == 0 else " "
    end = "\n```" if line % 5 == 2 and place == 11 else ""
    return f"{start}word{number % 1000}{end}"
