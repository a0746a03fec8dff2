"""The benchmark of the language server runs, every part of it: its figures are for a person, who asks when it matters.

Never looks at a time: machines are shared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import server

ROOT = Path(__file__).resolve().parent.parent
TINY = server.Size(
    streams=2,
    menus=2,
    document=5_000,
    files=300,
    changes=3,
    coalesce=(0,),
    seconds=0.1,
    cancels=1,
    many=3,
    short=20,
    tokens=(("paced", 30, 1), ("unpaced", 300, 1)),
    turns=8,
    limit=60.0,
)
FIGURES = {
    "menu": {"n", "p50 ms", "p95 ms", "p99 ms", "max ms"},
    "indexing": {"n", "p50 ms", "p95 ms", "p99 ms", "max ms"},
    "delta": {"n", "p50 ms", "p95 ms", "p99 ms", "max ms"},
    "cancel": {"n", "p50 ms", "p95 ms", "p99 ms", "max ms"},
    "throughput": {"tokens/s", "bare", "ratio", "steady ratio", "CPU µs/token", "begin and end CPU ms/turn"},
    "memory": {"1 turns MiB", "4 turns MiB", "8 turns MiB", "KiB/turn, second half", "% in 1,000 turns"},
}
ROWS = {"menu": 8, "indexing": 1, "delta": 2, "cancel": 2, "throughput": 2, "memory": 1}


@pytest.mark.parametrize("part", server.PARTS)
def test_a_part_gives_its_figures_alone(part: str) -> None:
    result = server.run([part], TINY)
    assert len(result["rows"]) == ROWS[part]
    for row in result["rows"]:
        assert set(row["figures"]) == FIGURES[part]
        assert row["part"] == part
    (_, *shown) = server.table(result)
    assert len(shown) == ROWS[part]


def test_a_part_whose_time_is_over_says_so() -> None:
    (row,) = server.run(["delta"], server.Size(limit=0.0))["rows"]
    assert row["what"] == "delta did not come to an end: its time is over"
    assert row["of_limit"] > 1


def test_a_part_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "benchmarks", "server", "--only", "menus"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 2
    assert "menu, indexing, delta, cancel, throughput, memory" in asked.stderr
