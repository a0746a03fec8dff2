"""How long choosing the code for a question takes, in any folder, without git and without an engine.

Never looks at what was chosen: `context` and `retrieval` measure how good it is.

GLM_LSP_CORPUS names folders (such as an unpacked source distribution of Django), separated by colons; without it, the
project's own sources are measured. The questions are entries of the folder's release notes, and, where these are too
few, what comments and docstrings say of definitions. Each way of asking has a process of its own, which has met no file
before its first question; that one is told apart. Times are processor time, all threads together.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp import prompt
from glm_lsp.index.context import choose
from glm_lsp.index.index import Index
from glm_lsp.settings import IndexSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "context-speed"
DOC = "processor time of choosing the code for one question; the limit is for 10,000 files"

ASKED = 240
BUDGET = 8_000
OPEN = (0, 1, 3)
ROUNDS = 3
LIMIT = 50.0

_NOTES = re.compile(r"(?i)(release|change|news|history)[^/]*(/[^/]*)?\.(txt|rst|md)$")
_ENTRY = re.compile(r"^[*+-] +(\S.*(?:\n {2,}\S.*)*)", re.MULTILINE)
_TARGET = re.compile(r"(?<=[^`\s])\s+<[^<>`]+>(?=`)")
_MARK = re.compile(r":[\w:]+:(?=`)|[`~]")


def run() -> dict[str, Any]:
    """Asks every corpus with no file open, with one, and with three."""
    named = os.environ.get("GLM_LSP_CORPUS", "")
    results: list[dict[str, Any]] = []
    for folder in [Path(one) for one in named.split(":") if one] or [Path(__file__).parent.parent]:
        with tempfile.TemporaryDirectory() as state:
            with contextlib.closing(_opened(folder, state)) as index:
                files = index.status.files
            for number in OPEN:
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.context_speed", str(folder), state, str(number)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                results.append({"corpus": folder.name, "files": files, "open": number, **json.loads(done.stdout)})
    return {"results": results, "limit_ms": LIMIT, "budget": BUDGET, "load": round(os.getloadavg()[0], 1)}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    rows: list[tuple[str, ...]] = [
        ("corpus", "files", "open", "n", "first ms", "p50 ms", "p95 ms", "limit", "MB after 1st", f"after {ROUNDS}")
    ]
    for one in result["results"]:
        figures = [f"{one[name]:.1f}" for name in ("first_ms", "p50_ms", "p95_ms")]
        limit = f"{result['limit_ms']:g}" if one["files"] <= 10_000 else ""
        memory = [f"{one[name]:.0f}" for name in ("megabytes", "megabytes_later")]
        rows.append((one["corpus"], str(one["files"]), str(one["open"]), str(one["n"]), *figures, limit, *memory))
    return rows


def questions(index: Index, number: int) -> list[str]:
    """What somebody might ask of this workspace; the same each time."""
    dice = random.Random(0)
    entries: list[str] = []
    for path in index.paths:
        if _NOTES.search(path):
            entries += (
                " ".join(_MARK.sub("", _TARGET.sub("", one[1])).split())
                for one in _ENTRY.finditer(index.text(path) or "")
            )
    entries = sorted({one[:400] for one in entries if len(one) > 40})
    dice.shuffle(entries)
    if len(entries) < number:
        entries += _said_of_definitions(index, number - len(entries), dice)
    return entries[:number]


def asked(index: Index, opened: int) -> Iterator[tuple[str, Sequence[str]]]:
    """The questions, each with the files that are open meanwhile."""
    dice = random.Random(1)
    paths = [path for path in index.paths if path.endswith((".py", ".c", ".js", ".ts", ".go", ".rs", ".java"))]
    for question in questions(index, ASKED + 1):
        yield question, dice.sample(paths, min(opened, len(paths)))


def _said_of_definitions(index: Index, number: int, dice: random.Random) -> list[str]:
    paths = list(index.paths)
    dice.shuffle(paths)
    found: dict[str, None] = {}
    for path in paths:
        said = [one.doc for one in index.outline(path) if len(one.doc) > 40]
        if said:
            found[dice.choice(said)] = None
        if len(found) == number:
            break
    return list(found)


def _opened(folder: Path, state: str) -> Index:
    settings = replace(IndexSettings(), workers=min(2, os.cpu_count() or 1))
    index = Index.open(folder, settings, state=Path(state))
    index.build()
    return index


def _measured(folder: Path, state: str, opened: int) -> dict[str, Any]:
    with contextlib.closing(_opened(folder, state)) as index:
        given = list(asked(index, opened))
        rounds = []
        memory = []
        for _ in range(ROUNDS):
            taken = []
            for question, paths in given:
                began = time.process_time()
                choose(index, question, budget=BUDGET, count=prompt.count, open_paths=paths)
                taken.append(1e3 * (time.process_time() - began))
            rounds.append(taken)
            memory.append(_resident())
        first, *rest = rounds[0]
        return {
            "n": len(rest),
            "first_ms": first,
            "p50_ms": statistics.median(rest),
            "p95_ms": statistics.quantiles(rest, n=20)[-1],
            "megabytes": memory[0],
            "megabytes_later": memory[-1],
        }


def _resident() -> float:
    """Megabytes that this process has in memory now; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


if __name__ == "__main__":
    print(json.dumps(_measured(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
