"""What an editor feels of the language server under load: menus, deltas, throughput, cancelling, memory.

Never mixes the figures of two server processes: each part has one of its own, on an engine that paces its tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import streaming
from benchmarks._editor import Editor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "server"
DOC = "the language server with turns running: menus, deltas, tokens/s beside bare HTTP clients, cancelling, memory"

STREAMS = 8
MANY = 64
SHORT = 20  # tokens of a turn that is hardly more than its beginning and its end
ASKED = 300  # menus of each kind
CANCELS = 40
TURNS = (100, 200, 500, 1000)
SECONDS = 6.0  # of deltas that are looked at
PARTS = ("menus", "deltas", "many", "cancel", "memory")


def run() -> dict[str, Any]:
    """Measures every part; `GLM_LSP_BENCHMARK_PARTS` names some of them, for whoever works on one."""
    chosen = os.environ.get("GLM_LSP_BENCHMARK_PARTS", " ".join(PARTS)).split()
    parts: dict[str, Callable[[str, Path], list[dict[str, Any]]]] = {
        "menus": menus,
        "deltas": deltas,
        "many": many,
        "cancel": cancel,
        "memory": memory,
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, streaming.server() as engine:
        for name in chosen:
            found = parts[name](engine, Path(folder).resolve())
            rows += [{"part": name, **row, "load": round(os.getloadavg()[0], 1)} for row in found]
    return {"rows": rows}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    rows: list[tuple[str, ...]] = [("what", "figures", "limit", "of the limit", "load")]
    for row in result["rows"]:
        figures = ", ".join(f"{name} {value:,g}" for name, value in row["figures"].items())
        rows.append((row["what"], figures, row["limit"], f"{row['of_limit']:.2f}", f"{row['load']:.1f}"))
    return rows


# --- menus -------------------------------------------------------------------------------------------------------


def menus(engine: str, folder: Path) -> list[dict[str, Any]]:
    """Code-action lists of a small and of a large document, and right after a keystroke, with streams and without."""
    rows = []
    for streams in (0, STREAMS):
        with Editor(folder / f"menus{streams}", f"{engine}/tokens/1000000/paced") as editor:
            small = editor.open("small.py", _source(60))
            large = editor.open("large.py", _source(1_000_000))
            lines = _source(1_000_000).count("\n")
            for _ in range(streams):
                editor.turn()
            _menu(editor, small, 3)
            _menu(editor, large, 3)
            time.sleep(0.5)
            chance = random.Random(1)
            taken: dict[str, list[float]] = {"small file": [], "1 MB file": [], "1 MB file, after didChange": []}
            for version in range(2, ASKED + 2):
                line = chance.randrange(lines)
                taken["small file"].append(_menu(editor, small, 3))
                taken["1 MB file"].append(_menu(editor, large, line))
                taken["1 MB file, after didChange"].append(_menu(editor, large, line, version=version))
                time.sleep(0.02)
        for name, seconds in taken.items():
            what = f"code-action list, {name}, {streams} streams"
            rows.append(_row(what, _spread(seconds, 95), "p99 < 50 ms", lambda found: found["p99 ms"] / 50))
    return rows


def _menu(editor: Editor, uri: str, line: int, *, version: int = 0) -> float:
    """Seconds until the list at a line is there; with a version, from a keystroke there on."""
    at = {"line": line, "character": 0}
    where = {"textDocument": {"uri": uri}, "range": {"start": at, "end": at}, "context": {"diagnostics": []}}
    began = time.monotonic()
    if version:
        change = {"range": {"start": at, "end": at}, "text": " "}
        document = {"uri": uri, "version": version}
        editor.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})
    answer = editor.ask("textDocument/codeAction", where)
    if not answer.message.get("result"):
        raise RuntimeError(f"no menu: {answer.message}")
    return answer.at - began


def _source(size: int) -> str:
    """Python of at least so many characters, in classes with methods."""
    parts: list[str] = []
    written = 0
    while written < size:
        number = len(parts)
        parts.append(
            f"class Cart{number}:\n    def total(self, items):\n        found = 0\n        for item in items:\n"
            f"            found += item.price * {number}\n        return found\n\n"
        )
        written += len(parts[-1])
    return "".join(parts)


# --- deltas ------------------------------------------------------------------------------------------------------


def deltas(engine: str, folder: Path) -> list[dict[str, Any]]:
    """From the engine's write to the client's read, less the time that deltas were agreed to wait for each other."""
    rows = []
    for coalesce in (0, 40):
        for streams in (1, STREAMS):
            name = f"deltas{coalesce}-{streams}"
            with Editor(folder / name, f"{engine}/tokens/1000000/stamped", coalesce_ms=coalesce) as editor:
                for _ in range(streams):
                    editor.turn()
                editor.wait(lambda one: one.event.get("type") == "text")
                until = time.monotonic() + SECONDS
                late: list[float] = []
                while (one := editor.next()).at < until:
                    if one.event.get("type") == "text":
                        stamps = one.event["text"].split()
                        waited = coalesce / 1000 if coalesce else 0.0  # the first of a message has waited all of it
                        late += [one.at - int(stamp) / 1e6 - waited for stamp in (stamps[:1] if coalesce else stamps)]
            what = f"delta beyond coalescing, {coalesce} ms, {streams} stream{'s' if streams > 1 else ''}"
            rows.append(
                _row(
                    what,
                    _spread(late, 95),
                    "p50 < 2 ms, p99 < 10 ms",
                    lambda found: max(found["p50 ms"] / 2, found["p99 ms"] / 10),
                )
            )
    return rows


# --- many at once ------------------------------------------------------------------------------------------------


def many(engine: str, folder: Path) -> list[dict[str, Any]]:
    """Tokens a second of all turns together, beside bare HTTP clients on the same engine; medians.

    `ratio` is of the whole time, from the first request to the last answer; `steady ratio` leaves out what turns of
    `SHORT` tokens take, which is how long it takes to begin and end them.
    """
    rows = []
    for pace, count, rounds in (("paced", 1_200, 2), ("unpaced", 4_800, 5)):
        found: dict[str, list[float]] = {}
        taken: dict[tuple[str, int], float] = {}
        for number in (SHORT, count):
            url = f"{engine}/tokens/{number}/{pace}"
            with Editor(folder / f"many-{pace}-{number}", url) as editor:
                editor.answers({editor.turn()})
                for _ in range(rounds):
                    began, spent = time.monotonic(), editor.cpu_seconds()
                    last, said = editor.answers({editor.turn() for _ in range(MANY)})
                    found.setdefault(f"ours {number}", []).append(last - began)
                    found.setdefault(f"cpu {number}", []).append(editor.cpu_seconds() - spent)
                    began = time.monotonic()
                    sent = asyncio.run(streaming.read_bare(url, MANY))
                    found.setdefault(f"bare {number}", []).append(time.monotonic() - began)
                    if said != sent:
                        raise RuntimeError(f"{sent} characters were sent, and {said} arrived")
            taken |= {(who, number): statistics.median(found[f"{who} {number}"]) for who in ("ours", "bare", "cpu")}
        steady = {who: taken[who, count] - taken[who, SHORT] for who in ("ours", "bare", "cpu")}
        figures = {
            "tokens/s": round(MANY * count / taken["ours", count]),
            "bare": round(MANY * count / taken["bare", count]),
            "ratio": round(taken["bare", count] / taken["ours", count], 3),
            "steady ratio": round(steady["bare"] / steady["ours"], 3),
            "CPU µs/token": round(steady["cpu"] / MANY / (count - SHORT) * 1e6, 1),
            "begin and end ms/turn": round(taken["ours", SHORT] / MANY * 1000, 1),
        }
        what = f"{MANY} turns of {count} tokens, {pace}"
        rows.append(_row(what, figures, "ratio ≥ 0.9", lambda found: 0.9 / found["ratio"]))
    return rows


# --- cancelling --------------------------------------------------------------------------------------------------


def cancel(engine: str, folder: Path) -> list[dict[str, Any]]:
    """From the client's word to the end of the engine's connection, by both ways of saying it."""
    rows = []
    with Editor(folder / "cancel", f"{engine}/tokens/1000000/stamped") as editor:
        for way in ("$/cancelRequest", "glm/turn/cancel"):
            taken = []
            for _ in range(CANCELS):
                known = len(_closed(engine))
                number = editor.turn()
                turn = editor.wait(lambda one: one.event.get("type") == "text").turn
                time.sleep(0.05)
                began = time.monotonic()
                editor.tell(way, {"id": number} if way.startswith("$") else {"turnId": turn})
                editor.answered(number)
                while len(closed := _closed(engine)) == known:
                    time.sleep(0.005)
                taken.append(closed[-1] - began)
            found = _spread(taken, 100)
            rows.append(_row(f"{way} to engine abort", found, "max < 100 ms", lambda found: found["max ms"] / 100))
    return rows


def _closed(engine: str) -> list[float]:
    with urllib.request.urlopen(f"{engine}/closed") as answer:
        found: list[float] = json.load(answer)
    return found


# --- memory ------------------------------------------------------------------------------------------------------


def memory(engine: str, folder: Path) -> list[dict[str, Any]]:
    """Resident memory after so many short turns, each in a conversation of its own."""
    resident: dict[int, float] = {}
    with Editor(folder / "memory", f"{engine}/tokens/20/unpaced") as editor:
        done = 0
        for turns in TURNS:
            while done < turns:
                editor.answers({editor.turn() for _ in range(STREAMS // 2)})
                done += STREAMS // 2
            resident[turns] = editor.resident_bytes() / 2**20
    grown = resident[1000] / resident[200] - 1
    figures = {f"{turns} turns MiB": round(size, 1) for turns, size in resident.items()}
    figures["growth %"] = round(grown * 100, 2)
    what = "memory, growth from 200 to 1000 turns"
    return [_row(what, figures, "< 5 %", lambda found: found["growth %"] / 5)]


# --- figures -----------------------------------------------------------------------------------------------------


def _spread(seconds: Sequence[float], upper: int) -> dict[str, float]:
    """Milliseconds: the median, the tail and the worst."""
    ordered = sorted(seconds)

    def at(percent: int) -> float:
        return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 2)

    tail = {} if upper == 100 else {"p95 ms": at(95), "p99 ms": at(99)}
    return {"p50 ms": at(50), **tail, "max ms": round(ordered[-1] * 1000, 2)}


def _row(
    what: str, figures: dict[str, float], limit: str, of_limit: Callable[[dict[str, float]], float]
) -> dict[str, Any]:
    return {"what": what, "figures": figures, "limit": limit, "of_limit": round(of_limit(figures), 3)}
