"""The benchmark of attaching gives its figures; they are for a person, who asks when it matters.

Never looks at a time: machines are shared.
"""

from __future__ import annotations

from benchmarks import attach


def test_it_gives_a_row_for_each_way_to_attach() -> None:
    result = attach.run(runs=3, fresh_runs=2)
    assert [row["n"] for row in result["rows"]] == [3, 3, 2, 2, 3, 3]
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in result["rows"])
    assert len(attach.table(result)) == 1 + len(result["rows"])
