"""Whether the code that a change needs is shown: the share of a commit's changed functions within some tokens.

Never needs an engine or a network, and never checks anything out.

For each of the newest commits that changed one to five existing source files, its message is the question, and the
index is what it would have been just before it. A function counts as shown where at least half of its changed lines
stand in what was chosen; signatures alone do not count.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks._commits import Past, questions
from glm_lsp import prompt
from glm_lsp.index.context import choose
from glm_lsp.index.names import Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks._commits import Question
    from glm_lsp.index.index import Index
    from glm_lsp.languages.facts import Definition

NAME = "context"
DOC = "share of a commit's changed functions that stand in the code chosen for its message, by tokens of it"

BUDGETS = (2_000, 8_000, 32_000)

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? ", re.MULTILINE)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """What this benchmark takes beside the usual."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks context")
    parser.add_argument("--repo", action="append", type=Path, required=True, help="a repository with its history")
    parser.add_argument("--commits", type=int, default=100, help="questions of each repository")
    return parser.parse_args(given)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Asks all questions of all repositories."""
    found: list[dict[str, Any]] = []
    for repository in options.repo:
        past = _Moment(repository)
        shares: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
        files: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
        seconds: list[float] = []
        for question in questions(repository, options.commits):
            past.move(question.parent)
            wanted = _changed(question, past)
            if not wanted:
                continue
            for budget in BUDGETS:
                # A moment of the past is no index, but says all that is asked of one here.
                choice = choose(cast("Index", past), question.text, budget=budget, count=prompt.count)
                seconds.append(choice.seconds)
                shown = [piece for piece in choice.pieces if not piece.numbers]
                hits = 0
                for (path, _), lines in wanted.items():
                    seen = [
                        line
                        for line in lines
                        if any(one.path == path and one.first_line <= line <= one.last_line for one in shown)
                    ]
                    hits += 2 * len(seen) >= len(lines)
                shares[budget].append(hits / len(wanted))
                paths = {path for path, _ in wanted}
                files[budget].append(len(paths & {one.path for one in choice.pieces}) / len(paths))
        resolved = repository.resolve()
        found.append(
            {
                "repository": resolved.name if resolved.name not in {"repo", ".git"} else resolved.parent.name,
                "questions": len(shares[BUDGETS[0]]),
                "functions": {str(budget): round(statistics.mean(of), 3) for budget, of in shares.items()},
                "files": {str(budget): round(statistics.mean(of), 3) for budget, of in files.items()},
                "errors": {
                    kind: {str(budget): round(_error(values), 3) for budget, values in of.items()}
                    for kind, of in (("functions", shares), ("files", files))
                },
                "p50_ms": round(1e3 * statistics.median(seconds), 1),
                "p95_ms": round(1e3 * statistics.quantiles(seconds, n=20)[-1], 1),
            }
        )
    return {
        "repositories": found,
        "mean": {
            kind: {
                str(budget): round(statistics.mean(one[kind][str(budget)] for one in found), 3) for budget in BUDGETS
            }
            for kind in ("functions", "files")
        },
        "errors": {
            kind: {
                str(budget): round(math.hypot(*(one["errors"][kind][str(budget)] for one in found)) / len(found), 3)
                for budget in BUDGETS
            }
            for kind in ("functions", "files")
        },
        "note": "Means over questions, then over repositories, with standard errors; tokens are reckoned, rather too "
        "many.",
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    heading = [f"functions in {budget:,}" for budget in BUDGETS] + [f"files in {budget:,}" for budget in BUDGETS]
    rows: list[tuple[str, ...]] = [("repository", "n", *heading, "p50 ms", "p95 ms")]
    rows += [
        (one["repository"], str(one["questions"]), *_cells(one, one["errors"]), str(one["p50_ms"]), str(one["p95_ms"]))
        for one in result["repositories"]
    ]
    number = sum(one["questions"] for one in result["repositories"])
    rows.append(("mean", str(number), *_cells(result["mean"], result["errors"]), "", ""))
    return rows


def _cells(means: Mapping[str, Any], errors: Mapping[str, Any]) -> list[str]:
    return [
        f"{value:.3f} ±{errors[kind][budget]:.3f}"
        for kind in ("functions", "files")
        for budget, value in means[kind].items()
    ]


def _error(values: Sequence[float]) -> float:
    """The standard error of a mean."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


class _Moment(Past):
    """A repository at one commit, with what choosing asks of an index beside ranking."""

    __hash__ = object.__hash__  # one that changes with its content could not be kept in a table

    def outline(self, path: str) -> Sequence[Definition]:
        """What a file defines."""
        return self.definitions_of(path)

    def symbols(self, name: str, *, limit: int = 100) -> list[Found]:
        """The definitions of exactly this name."""
        found = [
            Found(path, one, 1.0)
            for path in self.defined(name)
            for one in self.definitions_of(path)
            if one.name == name
        ]
        return found[:limit]


def _changed(question: Question, past: Past) -> Mapping[tuple[str, str], set[int]]:
    """The changed lines of each function that a commit changed, as it was before: by path and qualified name."""
    difference = subprocess.run(
        [
            "git",
            "-C",
            past.repository,
            "diff",
            "-U0",
            "--no-renames",
            question.parent,
            question.commit,
            "--",
            *question.changed,
        ],
        capture_output=True,
        check=True,
    ).stdout.decode(errors="replace")
    found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for part in re.split(r"^diff --git ", difference, flags=re.MULTILINE)[1:]:
        named = re.search(r"^--- a/(.*)$", part, re.MULTILINE)
        if named is None:
            continue
        path = named[1]
        for hunk in _HUNK.finditer(part):
            first, number = int(hunk[1]), int(hunk[2] or 1)
            for line in range(first, first + max(1, number)):
                around = [
                    one
                    for one in past.definitions_of(path)
                    if one.first_line <= line <= one.last_line and one.last_line > one.first_line
                ]
                if around:
                    inner = min(around, key=lambda one: one.last_line - one.first_line)
                    found[path, inner.qualified].add(line)
    return found
