"""How smooth the GLM view of VS Code stays while an answer streams into a long conversation.

Never counts VS Code, the server or the model: the page that the extension ships runs by itself in Chromium, and is
told events at the pace of a fast engine. Frames are what the browser had to show; the time is that of its main thread.
"""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the page by itself is a fixture there

install = importlib.import_module("vscode.install")
ViewPage: Any = importlib.import_module("vscode.page").ViewPage

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession

NAME = "vscode-view"
DOC = "frames a second while 200 tokens a second come into a view with 50,000 tokens, and memory over 100 turns"
PARTS = ("turns", "answer", "code", "list", "memory")

TOKENS = 50_000
PACE = 200  # tokens a second
EVERY_MS = 40  # between two events, as the server merges them
SECONDS = 8
TURNS = 100
FRAMES = 30  # a second, the least that looks smooth

EXTENSION = ROOT / "editor-clients" / "vscode"
BROWSER = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

SENTENCE = "The total is a `Decimal` now, since **floats** lose cents when many are summed. "  # about 20 tokens
PROSE = f"{SENTENCE * 4}\n\n- {SENTENCE}\n- {SENTENCE}\n\n```python\ndef total(items):\n    return sum(items)\n```\n\n"
CODE = "    total = sum((item.price * item.quantity for item in items), Decimal(0))\n"  # about 20 tokens
FOUR = 4  # characters of a token, about

_STREAM = """
async ({turn, text, milliseconds, pace}) => {
  const frames = [];
  let on = true;
  const watch = (now) => { frames.push(now); if (on) requestAnimationFrame(watch); };
  requestAnimationFrame(watch);
  const piece = Math.round(pace * milliseconds / 1000);
  let seq = 1e6;
  for (let at = 0; at < text.length; at += piece) {
    const event = {type: 'text', text: text.slice(at, at + piece)};
    window.postMessage({type: 'event', event: {v: 1, turnId: turn, conversationId: 'c1', seq: seq++, t: 0, event}}, '*');
    await new Promise((go) => setTimeout(go, milliseconds));
  }
  on = false;
  return frames;
}
"""


def run(parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Measures each part in a page of its own."""
    result: dict[str, Any] = {"tokens": TOKENS, "tokensPerSecond": PACE, "limit": {"framesPerSecond": FRAMES}}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        dist = _built(Path(folder))
        browser = playwright.chromium.launch(executable_path=install.chromium(), args=[*BROWSER])
        for part in parts:
            view = ViewPage(browser, dist)
            session = view.page.context.new_cdp_session(view.page)
            session.send("Performance.enable")
            result[part] = _memory(view, session) if part == "memory" else _stream(view, session, part)
            view.close()
        browser.close()
    return result


def table(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    """One row a part."""
    rows: list[tuple[Any, ...]] = [
        ("into", "frames/s", f"over {FRAMES}", "frame p95 ms", "longest ms", "main thread busy", "heap MB")
    ]
    rows += [
        (
            part,
            found["framesPerSecond"],
            f"{found['framesPerSecond'] / FRAMES:.1f} times",
            found["frameP95Ms"],
            found["longestMs"],
            f"{found['busy']:.0%}",
            found["heapMb"],
        )
        for part, found in result.items()
        if isinstance(found, dict) and "framesPerSecond" in found and part != "limit"
    ]
    if "memory" in result:
        found = result["memory"]
        grown = f"{found['nodesAtTen']} to {found['nodesAtEnd']} nodes"
        rows.append((f"{TURNS} turns, opened again and again", "", "", "", "", grown, f"{found['heapMb']}"))
    return rows


def _built(folder: Path) -> Path:
    """The page as it is published."""
    if not (EXTENSION / "node_modules").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=EXTENSION, check=True, stdout=sys.stderr)
    subprocess.run(["node", "esbuild.mjs", "--minify"], cwd=EXTENSION, check=True, capture_output=True)
    shutil.copytree(EXTENSION / "dist", folder / "dist")
    return folder / "dist"


def _turn(number: int, text: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "text": f"Question {number}?", "words": f"Question {number}?", "turn": number},
        {"role": "assistant", "text": text, "thinking": SENTENCE * 3, "turn": number},
    ]


def _fill(view: ViewPage, part: str) -> str:
    """Has the tokens in the view, and a turn under way; its id."""
    size = TOKENS * FOUR
    if part == "turns":
        text = PROSE * max(1, size // TURNS // len(PROSE))
        messages = [one for number in range(TURNS) for one in _turn(number, text)]
        told = {"conversationId": "c1", "name": "", "messages": messages}
        view.tell({"type": "conversation", "conversation": told, "show": True})
        return str(view.begin())
    turn = str(view.begin())
    before = {
        "answer": PROSE * (size // len(PROSE)),
        "code": "```python\n" + CODE * (size // len(CODE)),
        "list": PROSE * (size // len(PROSE)) + f"- {SENTENCE}\n" * 50,
    }[part]
    view.event(turn, {"type": "text", "text": before})
    return turn


def _stream(view: ViewPage, session: CDPSession, part: str) -> dict[str, Any]:
    turn = _fill(view, part)
    time.sleep(0.5)
    unit = {"code": CODE, "list": f"- {SENTENCE}\n"}.get(part, PROSE)
    text = (unit * (SECONDS * PACE * FOUR // len(unit) + 1))[: SECONDS * PACE * FOUR]
    before = _metrics(session)
    began = time.perf_counter()
    asked = {"turn": turn, "text": text, "milliseconds": EVERY_MS, "pace": PACE * FOUR}
    frames = view.page.evaluate(_STREAM, asked)
    wall = time.perf_counter() - began
    after = _metrics(session)
    view.end(turn)
    between = [later - earlier for earlier, later in itertools.pairwise(frames)]
    return {
        "framesPerSecond": round(1000 * len(between) / (frames[-1] - frames[0]), 1),
        "frameP95Ms": round(statistics.quantiles(between, n=20)[-1], 1),
        "longestMs": round(max(between), 1),
        "busy": round((after["TaskDuration"] - before["TaskDuration"]) / wall, 3),
        "script": round((after["ScriptDuration"] - before["ScriptDuration"]) / wall, 3),
        "layout": round((after["LayoutDuration"] - before["LayoutDuration"]) / wall, 3),
        "tokensPerSecond": round(len(text) / FOUR / wall),
        "heapMb": round(after["JSHeapUsedSize"] / 1e6, 1),
    }


def _memory(view: ViewPage, session: CDPSession) -> dict[str, Any]:
    """Looks at one conversation after another, a hundred times: what is left must be that of the last ones."""
    at_ten = 0
    for number in range(TURNS):
        told = {"conversationId": f"c{number}", "name": "", "messages": _turn(0, PROSE * 4)}
        view.tell({"type": "conversation", "conversation": told, "show": True})
        if number == TURNS // 10:
            session.send("HeapProfiler.collectGarbage")
            at_ten = round(_metrics(session)["Nodes"])
    session.send("HeapProfiler.collectGarbage")
    end = _metrics(session)
    return {"nodesAtTen": at_ten, "nodesAtEnd": round(end["Nodes"]), "heapMb": round(end["JSHeapUsedSize"] / 1e6, 1)}


def _metrics(session: CDPSession) -> dict[str, float]:
    told = session.send("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in told}


if __name__ == "__main__":
    print(json.dumps(run()))
