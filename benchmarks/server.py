"""What an editor feels of the language server under load: menus, deltas, throughput, cancelling, memory.

Never mixes the figures of two server processes: each part has one or more of its own, on an engine that paces its
tokens in a process of its own. Every part is over in a minute, if not with figures then with the reason.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import statistics
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import streaming
from benchmarks._editor import Editor, TooLate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "server"
DOC = "the language server with turns running: menus, deltas, cancelling, tokens/s beside bare HTTP clients, memory"
PARTS = ("menu", "indexing", "delta", "cancel", "throughput", "memory")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        streams: turns that run at once while menus and deltas are looked at.
        menus: of each kind.
        document: characters of the large document.
        files: of the workspace that is indexed meanwhile, of 5,000 characters each.
        changes: in one notification, as replacing a word everywhere sends them.
        coalesce: milliseconds that deltas are asked to wait for each other.
        seconds: of deltas that are looked at, for each setting.
        cancels: by each way.
        many: turns at once in the part about throughput.
        short: tokens of a turn that is hardly more than its beginning and its end.
        tokens: of each turn, and how often, by pace.
        turns: of the part about memory.
        limit: seconds after which a part is given up.
    """

    streams: int = 8
    menus: int = 200
    document: int = 1_000_000
    files: int = 4_000
    changes: int = 200
    coalesce: tuple[int, ...] = (0, 40)
    seconds: float = 4.0
    cancels: int = 25
    many: int = 64
    short: int = 20
    tokens: tuple[tuple[str, int, int], ...] = (("paced", 1_000, 1), ("unpaced", 4_800, 3))
    turns: int = 1_000
    limit: float = 75.0


def run(only: Sequence[str] = PARTS, size: Size | None = None) -> dict[str, Any]:
    """Measures these parts, one after the other."""
    size = size or Size()
    parts: dict[str, Callable[[_Bench], list[dict[str, Any]]]] = {
        "menu": menu,
        "indexing": indexing,
        "delta": delta,
        "cancel": cancel,
        "throughput": throughput,
        "memory": memory,
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in only:
            with streaming.server() as engine:
                began = time.monotonic()
                bench = _Bench(engine, Path(folder).resolve() / name, size, began + size.limit)
                try:
                    found = parts[name](bench)
                except TooLate as error:
                    found = [_row(f"{name} did not come to an end: {error}", {}, "an end", 99.0)]
                about = {"part": name, "load": round(os.getloadavg()[0], 1)}
                rows += [{**about, **row, "seconds": round(time.monotonic() - began, 1)} for row in found]
    return {"rows": rows}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    rows: list[tuple[str, ...]] = [("what", "figures", "limit", "of the limit", "load")]
    for row in result["rows"]:
        figures = ", ".join(f"{name} {value:,g}" for name, value in row["figures"].items())
        rows.append((row["what"], figures, row["limit"], f"{row['of_limit']:.2f}", f"{row['load']:.1f}"))
    return rows


@dataclass(frozen=True)
class _Bench:
    """What every part has: the engine's address, a folder of its own, how much to measure, and until when."""

    engine: str
    folder: Path
    size: Size
    until: float

    def editor(self, name: str, tokens: int, pace: str, *, coalesce_ms: int = 40) -> Editor:
        """An editor whose turns have so many tokens."""
        url = f"{self.engine}/tokens/{tokens}/{pace}"
        return Editor(self.folder / name, url, until=self.until, coalesce_ms=coalesce_ms)


_ENDLESS = 1_000_000  # tokens


# --- menus and changes -------------------------------------------------------------------------------------------


def menu(bench: _Bench) -> list[dict[str, Any]]:
    """Code-action lists of a small and of a large document, and from a change of it on, with streams and without."""
    rows = []
    for streams in (0, bench.size.streams):
        with bench.editor(f"menus{streams}", _ENDLESS, "paced") as editor:
            taken = _menus(editor, bench.size, streams)
        for name, seconds in taken.items():
            figures = _spread(seconds)
            what = f"code-action list, {name}, {streams} streams"
            rows.append(_row(what, figures, "p99 < 50 ms", figures["p99 ms"] / 50))
    return rows


def indexing(bench: _Bench) -> list[dict[str, Any]]:
    """The same lists while a workspace of many files is read and parsed, with streams; as many as there is time for."""
    folder = bench.folder / "indexing"
    folder.mkdir(parents=True)
    for number in range(bench.size.files):
        (folder / f"f{number}.py").write_text(_source(5_000).replace("Cart", f"Cart{number}_"))
    taken: list[float] = []
    with bench.editor("indexing", _ENDLESS, "paced") as editor:
        small = editor.open("small.py", _source(60))
        _flow(editor, bench.size.streams)
        _menu(editor, small, 3)  # the first imports what it wants
        while len(taken) < bench.size.menus:
            if taken and len(taken) % 20 == 0:
                status = editor.ask("glm/status", {}).message["result"]
                if all(one["state"] == "ready" for one in status["indexes"]):
                    break
            taken.append(_menu(editor, small, 3))
            time.sleep(0.02)
    figures = _spread(taken)
    what = f"code-action list, while {bench.size.files:,} files are indexed, {bench.size.streams} streams"
    return [_row(what, figures, "p99 < 50 ms", figures["p99 ms"] / 50)]


def _menus(editor: Editor, size: Size, streams: int) -> dict[str, list[float]]:
    """Seconds of each list, by its kind."""
    text = _source(size.document)
    small, large = editor.open("small.py", _source(60)), editor.open("large.py", text)
    _flow(editor, streams)
    chance, versions = random.Random(1), itertools.count(2)
    several = f"1 MB file, after didChange in {size.changes} places"
    taken: dict[str, list[float]] = {
        "small file": [],
        "1 MB file": [],
        "1 MB file, after didChange": [],
        several: [],
    }
    for number in range(-1, size.menus):
        line, *others = chance.choices(range(text.count("\n")), k=size.changes)
        found = {
            "small file": _menu(editor, small, 3),
            "1 MB file": _menu(editor, large, line),
            "1 MB file, after didChange": _menu(editor, large, line, next(versions), [line]),
        }
        if number % 4 == 0:
            found[several] = _menu(editor, large, line, next(versions), [line, *others])
        if number >= 0:  # the first of each imports what it wants
            for name, seconds in found.items():
                taken[name].append(seconds)
        time.sleep(0.005)
    return taken


def _menu(editor: Editor, uri: str, line: int, version: int = 0, changed: Sequence[int] = ()) -> float:
    """Seconds until the list at a line is there; with changed lines, from their notification on."""
    at = {"line": line, "character": 0}
    where = {"textDocument": {"uri": uri}, "range": {"start": at, "end": at}, "context": {"diagnostics": []}}
    places = [{"line": number, "character": 0} for number in changed]
    changes = [{"range": {"start": place, "end": place}, "text": " "} for place in places]
    began = time.monotonic()
    if changes:
        document = {"uri": uri, "version": version}
        editor.tell("textDocument/didChange", {"textDocument": document, "contentChanges": changes})
    answer = editor.ask("textDocument/codeAction", where)
    if not answer.message.get("result"):
        raise RuntimeError(f"no menu: {answer.message}")
    return answer.at - began


def _flow(editor: Editor, streams: int) -> None:
    """Begins turns and waits until each has said a word."""
    for _ in range(streams):
        editor.turn()
    seen: set[str] = set()
    while len(seen) < streams:
        one = editor.next()
        if one.event.get("type") in {"text", "thinking"}:
            seen.add(one.turn)


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


def delta(bench: _Bench) -> list[dict[str, Any]]:
    """From the engine's write to the client's read, less the time that deltas were agreed to wait for each other."""
    rows = []
    for coalesce, streams in itertools.product(bench.size.coalesce, (1, bench.size.streams)):
        with bench.editor(f"deltas{coalesce}-{streams}", _ENDLESS, "stamped", coalesce_ms=coalesce) as editor:
            _flow(editor, streams)
            until = time.monotonic() + bench.size.seconds
            late: list[float] = []
            while (one := editor.next()).at < until:
                if one.event.get("type") == "text":
                    stamps = one.event["text"].split()
                    # The first of a message has waited all of it.
                    late += [one.at - int(stamp) / 1e6 - coalesce / 1000 for stamp in stamps[: 1 if coalesce else None]]
        figures = _spread(late)
        what = f"delta beyond coalescing of {coalesce} ms, {streams} streams"
        rows.append(_row(what, figures, "p50 < 2 ms, p99 < 10 ms", max(figures["p50 ms"] / 2, figures["p99 ms"] / 10)))
    return rows


# --- cancelling --------------------------------------------------------------------------------------------------


def cancel(bench: _Bench) -> list[dict[str, Any]]:
    """From the client's word to the end of the engine's connection, by both ways of saying it."""
    rows = []
    with bench.editor("cancel", _ENDLESS, "stamped") as editor:
        for way in ("$/cancelRequest", "glm/turn/cancel"):
            taken = []
            for _ in range(bench.size.cancels):
                known = len(_closed(bench.engine))
                number = editor.turn()
                turn = editor.wait(lambda one: one.event.get("type") == "text").turn
                time.sleep(0.03)
                began = time.monotonic()
                editor.tell(way, {"id": number} if way.startswith("$") else {"turnId": turn})
                editor.answered(number)
                while len(closed := _closed(bench.engine)) == known:
                    if time.monotonic() > min(bench.until, began + 5):
                        raise TooLate(f"{way} did not reach the engine")
                    time.sleep(0.005)
                taken.append(closed[-1] - began)
            figures = _spread(taken)
            rows.append(_row(f"{way} to engine abort", figures, "max < 100 ms", figures["max ms"] / 100))
    return rows


def _closed(engine: str) -> list[float]:
    with urllib.request.urlopen(f"{engine}/closed", timeout=10) as answer:
        found: list[float] = json.load(answer)
    return found


# --- many at once ------------------------------------------------------------------------------------------------


def throughput(bench: _Bench) -> list[dict[str, Any]]:
    """Tokens a second of all turns together, beside bare HTTP clients on the same engine; medians.

    `ratio` is of the whole time, from the first request to the last answer; `steady ratio` leaves out what turns of
    few tokens take, which is how long it takes to begin and end them.
    """
    size, rows = bench.size, []
    for pace, count, rounds in size.tokens:
        taken: dict[tuple[str, int], float] = {}
        for tokens in (size.short, count):
            found = _beside_bare(bench, pace, tokens, rounds)
            taken |= {(who, tokens): statistics.median(seconds) for who, seconds in found.items()}
        steady = {who: max(taken[who, count] - taken[who, size.short], 1e-6) for who in ("ours", "bare", "cpu")}
        figures = {
            "tokens/s": round(size.many * count / taken["ours", count]),
            "bare": round(size.many * count / taken["bare", count]),
            "ratio": round(taken["bare", count] / taken["ours", count], 3),
            "steady ratio": round(steady["bare"] / steady["ours"], 3),
            "CPU µs/token": round(steady["cpu"] / size.many / (count - size.short) * 1e6, 1),
            "begin and end CPU ms/turn": round(taken["cpu", size.short] / size.many * 1000, 1),
        }
        rows.append(
            _row(f"{size.many} turns of {count} tokens, {pace}", figures, "ratio ≥ 0.9", 0.9 / figures["ratio"])
        )
    return rows


def _beside_bare(bench: _Bench, pace: str, tokens: int, rounds: int) -> dict[str, list[float]]:
    """Wall seconds of ours and of bare clients and CPU seconds of ours, all turns together, in turns."""
    found: dict[str, list[float]] = {"ours": [], "bare": [], "cpu": []}
    with bench.editor(f"many-{pace}-{tokens}", tokens, pace) as editor:
        editor.answers({editor.turn() for _ in range(4)})
        for _ in range(rounds):
            began, spent = time.monotonic(), editor.cpu_seconds()
            last, said = editor.answers({editor.turn() for _ in range(bench.size.many)})
            found["ours"].append(last - began)
            found["cpu"].append(editor.cpu_seconds() - spent)
            began = time.monotonic()
            url = f"{bench.engine}/tokens/{tokens}/{pace}"
            sent = asyncio.run(asyncio.wait_for(streaming.read_bare(url, bench.size.many), bench.size.limit))
            found["bare"].append(time.monotonic() - began)
            if said != sent:
                raise RuntimeError(f"{sent} characters were sent, and {said} arrived")
    return found


# --- memory ------------------------------------------------------------------------------------------------------


def memory(bench: _Bench) -> list[dict[str, Any]]:
    """Resident memory over many short turns, each in a conversation of its own, and its slope over the second half."""
    turns, at_once = bench.size.turns, max(1, bench.size.streams // 2)
    resident: list[tuple[int, float]] = []
    with bench.editor("memory", bench.size.short, "unpaced") as editor:
        done = 0
        while done < turns:
            editor.answers({editor.turn() for _ in range(at_once)})
            done += at_once
            resident.append((done, editor.resident_bytes() / 2**20))
    half = [one for one in resident if one[0] >= turns / 2]
    slope = statistics.linear_regression(*zip(*half, strict=True)).slope
    growth = 1000 * slope / half[0][1] * 100
    figures = {f"{done} turns MiB": round(size, 1) for done, size in (resident[len(resident) // 10], half[0], half[-1])}
    figures |= {"KiB/turn, second half": round(slope * 1024, 3), "% in 1,000 turns": round(growth, 2)}
    return [_row(f"memory over {turns} turns", figures, "< 5 % in 1,000 turns", growth / 5)]


# --- figures -----------------------------------------------------------------------------------------------------


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: the median, the tail where there are enough to speak of one, and the worst."""
    ordered = sorted(seconds)

    def at(percent: int) -> float:
        return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 2)

    return {"n": len(ordered), "p50 ms": at(50), "p95 ms": at(95), "p99 ms": at(99), "max ms": at(100)}


def _row(what: str, figures: dict[str, float], limit: str, of_limit: float) -> dict[str, Any]:
    return {"what": what, "figures": figures, "limit": limit, "of_limit": round(of_limit, 3)}
