"""The benchmarks of the server and of what is found run: their figures are for a person, who asks when it matters.

Never looks at a time: machines are shared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from indexes import commit, repository

from benchmarks import context, index, keystrokes, retrieval, server

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


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ten commits, each of which says what it changes; files come, change and go."""
    root = repository(tmp_path_factory.mktemp("history") / "shop")
    for number, word in enumerate(("cart", "price", "order", "letter", "parcel")):
        path = root / "shop" / f"{word}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"def total_{word}(items):\n    return sum(items)\n")
        commit(root, f"begin the {word}")
        path.write_text(f"def total_{word}(items):\n    rounded = round(sum(items), {number})\n    return rounded\n")
        if number % 2:
            (root / "shop" / "cart.py").write_text(f"def total_cart(items):\n    return sum(items) + {number}\n")
        if number == 3:
            (root / "shop" / "order.py").unlink()
        commit(root, f"round the total of the {word}, parcel and cart")
    return root


@pytest.mark.parametrize("kind", [(), ("--index",)], ids=["in memory", "real index"])
def test_an_index_that_follows_commits_is_the_one_that_is_built_anew(history: Path, kind: tuple[str, ...]) -> None:
    result = retrieval.run(retrieval.arguments(["--repo", str(history), "--check-every", "2", *kind]))
    (one,) = result["repositories"]
    assert (one["questions"], one["compared_with_a_fresh_index"], one["of_these_different"]) == (5, 2, 0)
    ours = {row["way"]: dict(zip(retrieval.METRICS, row["values"], strict=True)) for row in one["results"]}
    assert ours[retrieval.OURS]["recall@5"] == 1.0
    assert set(ours) >= {retrieval.OURS, retrieval.BM25, retrieval.PAGERANK, retrieval.OPEN, retrieval.ALONE}
    assert len(retrieval.table(result)) > len(ours)


def test_the_functions_that_a_commit_changed_are_looked_for_in_what_is_shown(history: Path) -> None:
    result = context.run(context.arguments(["--repo", str(history)]))
    (one,) = result["repositories"]
    assert one["questions"] == 5
    assert one["functions"] == one["files"] == {"2000": 1.0, "8000": 1.0, "32000": 1.0}
    assert len(context.table(result)) == 3


@pytest.mark.parametrize("inside", [True, False], ids=["in git", "outside git"])
def test_a_start_on_files_that_have_not_changed_is_measured(*, inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WARM", 1)
    rows = {row["what"]: row for row in index._many(600, inside=inside)}
    assert set(rows) == {index.FIRST, index.VERIFIED, "CPU of that, git's too"}
    assert rows[index.FIRST]["limit"] == 50
    assert 0 < rows[index.FIRST]["figure"] <= rows[index.VERIFIED]["figure"]


def test_a_corpus_is_built_compared_with_its_peers_and_opened_again(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "WARM", 1)
    rows = {row["what"]: row["figure"] for row in index._corpus(history)}
    assert rows["files"] >= 1
    assert rows["definitions"] >= 1
    assert {
        index.FLOOR,
        index.RATIO,
        index.COLD0,
        index.COLD1,
        index.CPU1,
        index.WORDS,
        index.FIRST,
        index.VERIFIED,
    } <= rows.keys()


def test_what_is_typed_is_looked_at_in_every_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystrokes, "LINES", 300)
    monkeypatch.setattr(keystrokes, "PLACES", 3)
    result = keystrokes.run()
    rows = result["results"]
    assert {row["path"] for row in rows} == {"large.py", "large.ts", "large.go"}
    assert {row["n"] for row in rows} == {3 * (2 * len(keystrokes.WORD) + 2), 6}
    assert all(0 < row["p50 ms"] <= row["p95 ms"] for row in rows)
    assert len(keystrokes.table(result)) == 7
