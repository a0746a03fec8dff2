"""How long placing, checking and applying one edit in a 10,000-line Python file takes, beside `git apply`.

Never needs an engine or a network.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp.edits.apply import apply
from glm_lsp.edits.check import Step, check
from glm_lsp.edits.hunks import unified
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.edits.place import Placed, place, splice
from glm_lsp.edits.text import decode
from glm_lsp.languages import Parsed, parse
from glm_lsp.terms import FileChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.edits.text import Text

NAME = "edits"
DOC = "Placing, checking and applying one edit in a 10,000-line file, beside `git apply` of the same change."

LINES = 10_000
ROUNDS = 60
LIMITS = {"place and check, tree known": 20.0, "read, parse, place and check": 150.0}
"""Milliseconds that the median may take."""


def run() -> dict[str, Any]:
    """Measures everything in turns, so that a busy machine is busy for all of them alike."""
    source = _source()
    old, new = _edit(source)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "work"
        root.mkdir()
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        journal = Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(Path(folder) / "state")})
        jail = Jail(root)
        data = source.encode()
        text = decode(data, "big.py")
        tree = _parsed(source)
        if tree.faults() or not tree.symbols():
            raise AssertionError("the file is sound")
        placed = _placed(text, old, new)
        change = FileChange("big.py", data, splice(text, placed.edit).encode())
        patch = Path(folder) / "change.patch"
        patch.write_text(unified(change))

        def warm() -> None:
            _checked(text, tree, old, new)

        def cold() -> None:
            fresh = decode(data, "big.py")
            _checked(fresh, _parsed(fresh.content), old, new)

        def write() -> None:
            apply(root, [change], journal=journal, jail=jail, label="benchmark")

        def git() -> None:
            subprocess.run(["git", "-C", str(root), "apply", str(patch)], check=True)

        works: dict[str, Callable[[], None]] = {
            "place and check, tree known": warm,
            "read, parse, place and check": cold,
            "apply with journal, to the disk": write,
            "git apply": git,
        }
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                (root / "big.py").write_bytes(data)
                began = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - began)
                if work in (write, git) and (root / "big.py").read_bytes() != change.after:
                    raise AssertionError(f"{name} did not make the change")
    peer = statistics.median(seconds["git apply"])
    return {
        "benchmark": NAME,
        "lines": LINES,
        "bytes": len(data),
        "rounds": ROUNDS,
        "unit": "ms",
        "results": [
            {
                "what": name,
                "p50": round(1e3 * statistics.median(values), 3),
                "p95": round(1e3 * statistics.quantiles(values, n=20)[-1], 3),
                "times_git_apply": round(statistics.median(values) / peer, 3),
                "limit_p50": LIMITS.get(name),
            }
            for name, values in seconds.items()
        ],
        "environment": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {_git_version()}",
        "note": "git apply includes starting a process and neither checks the result nor syncs it to the disk.",
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    rows: list[tuple[str, ...]] = [("what", "p50 ms", "p95 ms", "x git apply", "limit p50")]
    for item in result["results"]:
        limit = f"{item['limit_p50']:.0f} ms" if item["limit_p50"] else ""
        rows.append((item["what"], f"{item['p50']:.2f}", f"{item['p95']:.2f}", f"{item['times_git_apply']:.2f}", limit))
    return rows


def _source() -> str:
    """A Python file of the wanted length: classes with methods, docstrings and nested blocks, no two alike."""
    pieces: list[str] = ['"""A long module."""\n\nfrom __future__ import annotations\n\n']
    count = 4
    for number in range(LINES):
        piece = _CLASS.replace("{N}", str(number))
        if count + piece.count("\n") > LINES:
            break
        pieces.append(piece)
        count += piece.count("\n")
    pieces.append("# end\n" * (LINES - count))
    return "".join(pieces)


def _edit(source: str) -> tuple[str, str]:
    lines = source.split("\n")
    at = next(n for n in range(LINES // 2, LINES) if lines[n].lstrip().startswith("def total_"))
    old = "\n".join(lines[at : at + 4]) + "\n"
    return old, old.replace("result = 0", "result = len(self.items)")


def _parsed(content: str) -> Parsed:
    tree = parse("big.py", content)
    if tree is None:
        raise AssertionError("there is a grammar for Python")
    return tree


def _placed(text: Text, old: str, new: str) -> Placed:
    placed = place(text, "big.py", old, new)
    if not isinstance(placed, Placed):
        raise TypeError("the edit changes something")
    return placed


def _checked(text: Text, tree: Parsed, old: str, new: str) -> None:
    edit = _placed(text, old, new).edit
    tree.symbols()
    if check("big.py", tree, tree.edited(edit.span, edit.new), [Step(edit.span, edit.new)]):
        raise AssertionError("the edit breaks nothing")


def _git_version() -> str:
    return subprocess.run(["git", "--version"], check=True, capture_output=True, text=True).stdout.strip()


_CLASS = '''
class Cart{N}(Base{N}):
    """What customer {N} wants to buy."""

    def __init__(self, items: list[int], rate: float = 0.{N}) -> None:
        self.items = items
        self.rate = rate

    @property
    def total_{N}(self) -> float:
        """The sum with tax."""
        result = 0
        for item in self.items:
            if item > {N}:
                result += item * (1 + self.rate)
            else:
                result += item
        return result

    def clear_{N}(self, *, keep: bool = False) -> None:
        if not keep:
            self.items = []
        self.rate = {"low": 0.1, "high": 0.2}.get("key {N}", self.rate)
'''
