"""Whether the files that a change needs are found: from its commit message, and from one of them that is open.

Never needs an engine or a network, and never checks anything out, except for `--index`, into a folder of its own.

For each of the newest commits that changed one to five existing source files, its message is the question, and the
index is what it would have been just before it. Candidates are all source files that are no tests. With an open file,
each changed file of a commit with several is open once, and the others are to be found. Compared in the same run:
BM25 over contents, and personalised PageRank over references between files, in the manner of aider without a chat.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._commits import Past, is_source, questions
from benchmarks._pagerank import PageRank
from glm_lsp.index import words
from glm_lsp.index.rank import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from benchmarks._commits import Question
    from glm_lsp.index.index import Index
    from glm_lsp.index.rank import Corpus

NAME = "retrieval"
DOC = "share of a commit's changed files among the first 5, 10 and 20 that are found, and 1 / place of the first one"

OURS, BM25, PAGERANK = "ours", "BM25 over contents", "PageRank over references"
OPEN, ALONE = "ours, one changed file open", "ours, the message alone, same questions"
NAMELESS = ", no changed file or folder named"
METRICS = ("recall@5", "recall@10", "recall@20", "MRR")
SAMPLES = 4000  # of the bootstrap
OPENED = 3  # changed files of one commit that are open in turn
PATIENCE = 600  # seconds for the real index to have followed a commit
DEEPEST = 200  # places that are looked at for the first right file


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """What this benchmark takes beside the usual."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks retrieval")
    parser.add_argument("--repo", action="append", type=Path, required=True, help="a repository with its history")
    parser.add_argument("--commits", type=int, default=200, help="questions of each repository")
    parser.add_argument(
        "--index", action="store_true", help="ask the real index, in a work tree that follows the commits"
    )
    parser.add_argument(
        "--check-every", type=int, default=50, help="questions after which the index is compared with one built anew"
    )
    parser.add_argument("--no-pagerank", action="store_true", help="leave the slowest peer out")
    return parser.parse_args(given)


@dataclass(slots=True)
class _Answers:
    """For each way of asking, a row of the metrics for each question."""

    rows: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    differences: int = 0
    checks: int = 0

    def add(self, way: str, found: Sequence[str], wanted: Collection[str]) -> None:
        places = [found.index(path) if path in found else len(found) + DEEPEST for path in wanted]
        recall = [sum(place < most for place in places) / len(places) for most in (5, 10, 20)]
        first = min(places)
        self.rows.setdefault(way, []).append((*recall, 1 / (1 + first) if first < DEEPEST else 0.0))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Asks all questions of all repositories."""
    found: list[dict[str, Any]] = []
    together: list[dict[str, list[tuple[float, ...]]]] = []
    for repository in options.repo:
        began = time.perf_counter()
        answers = _Answers()
        asked = questions(repository, options.commits)
        moments = _real_moments if options.index else _moments
        for question, corpus, past in moments(repository, asked, answers, options.check_every):
            _ask(question, corpus, past, answers, pagerank=not options.no_pagerank)
        together.append(answers.rows)
        found.append(
            {
                "repository": _name(repository),
                "questions": len(asked),
                "results": [_figures(way, [rows]) for way, rows in answers.rows.items()],
                "differences": _differences([answers.rows]),
                "rank_p50_ms": round(1e3 * statistics.median(answers.seconds), 2),
                "rank_p95_ms": round(1e3 * float(np.quantile(answers.seconds, 0.95)), 2),
                "compared_with_a_fresh_index": answers.checks,
                "of_these_different": answers.differences,
                "seconds": round(time.perf_counter() - began, 1),
            }
        )
    ways = list(dict.fromkeys(way for rows in together for way in rows))
    return {
        "repositories": found,
        "mean": [_figures(way, [rows[way] for rows in together if way in rows]) for way in ways],
        "differences": _differences(together),
        "note": "Means over repositories; standard errors and intervals (95 %, paired bootstrap) over questions.",
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    rows: list[tuple[str, ...]] = [("repository", "way", "n", *METRICS)]
    groups = [(one["repository"], one["results"], one["differences"]) for one in result["repositories"]]
    for name, results, differences in [*groups, ("mean", result["mean"], result["differences"])]:
        for one in results:
            cells = (f"{value:.3f} ±{error:.3f}" for value, error in zip(one["values"], one["errors"], strict=True))
            rows.append((name, one["way"], str(one["n"]), *cells))
        for one in differences:
            cells = (
                f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
                for value, (low, high) in zip(one["values"], one["intervals"], strict=True)
            )
            rows.append((name, f"{one['way']} above {one['than']}", "", *cells))
    return rows


# --- asking ------------------------------------------------------------------------------------------------------


def _moments(
    repository: Path, asked: Sequence[Question], answers: _Answers, every: int
) -> Iterator[tuple[Question, Corpus, Past]]:
    """Each question with the index of its moment; every now and then compared with an index built from nothing."""
    past = Past(repository)
    for number, question in enumerate(asked, 1):
        past.move(question.parent)
        if number % every == 0:
            fresh = Past(repository, past.parsed)
            fresh.move(question.parent)
            _compare(question, past, fresh, answers)
        yield question, past, past


def _real_moments(
    repository: Path, asked: Sequence[Question], answers: _Answers, every: int
) -> Iterator[tuple[Question, Corpus, Past]]:
    """The same, of the real index of a work tree that follows the commits."""
    from glm_lsp.index.index import Index
    from glm_lsp.settings import IndexSettings

    past = Past(repository)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        root = Path(folder) / "work"
        clone = ["git", "clone", "-q", "--shared", "--no-checkout", str(repository.resolve()), str(root)]
        subprocess.run(clone, check=True)
        index: Index | None = None
        for number, question in enumerate(asked, 1):
            subprocess.run(["git", "-C", str(root), "checkout", "-q", "-f", "--detach", question.parent], check=True)
            past.move(question.parent)
            if index is None:
                index = Index.open(root, IndexSettings(), state=Path(folder) / "state")
                ending.callback(index.close)
                index.start()
            index.refresh()
            _settle(index, question)
            if number % every == 0:
                fresh = Index.open(root, IndexSettings(), state=Path(folder) / f"fresh-{number}")
                with contextlib.closing(fresh):
                    fresh.build()
                    _settle(fresh, question)
                    _compare(question, index, fresh, answers)
            yield question, index, past


def _settle(index: Index, question: Question) -> None:
    """Waits for the files and for the commits, which are read beside whoever asks for them."""
    end = time.monotonic() + PATIENCE
    ready = index.wait(timeout=PATIENCE)
    while index.history.head != question.parent and time.monotonic() < end:
        time.sleep(0.02)
    if not ready or index.history.head != question.parent:
        raise RuntimeError(f"the index is not ready at {question.parent}")


def _compare(question: Question, one: Corpus, other: Corpus, answers: _Answers) -> None:
    """Counts the files of which two indexes say different things, and another order or score of the files as one more."""
    answers.checks += 1
    answers.differences += len(set(one.paths) ^ set(other.paths))
    for path in set(one.paths) & set(other.paths):
        answers.differences += tuple(one.definitions_of(path)) != tuple(other.definitions_of(path)) or {
            name: tuple(lines) for name, lines in one.uses_of(path).items()
        } != {name: tuple(lines) for name, lines in other.uses_of(path).items()}
    for opened in ((), question.changed[:1]):
        found = [rank(corpus, question.text, open_paths=opened, limit=10_000) for corpus in (one, other)]
        answers.differences += found[0] != found[1]


def _ask(question: Question, corpus: Corpus, past: Past, answers: _Answers, *, pagerank: bool) -> None:
    wanted = [path for path in question.changed if path in past.now]
    if not wanted:
        return
    ways: dict[str, Callable[[], list[str]]] = {OURS: lambda: _ours(corpus, question.text, answers)}
    ways[BM25] = lambda: _bm25(past, question.text)
    if pagerank:
        ways[PAGERANK] = lambda: PageRank(past).rank(question.text)
    for way, find in ways.items():
        found = find()
        answers.add(way, found, wanted)
        if not _gives_away(question.text, wanted):
            answers.add(way + NAMELESS, found, wanted)
    if len(wanted) > 1:
        alone = _ours(corpus, question.text, answers)
        for path in wanted[:OPENED]:
            others = [one for one in wanted if one != path]
            with_it = _ours(corpus, question.text, answers, open_paths=[path])
            answers.add(OPEN, [one for one in with_it if one != path], others)
            answers.add(ALONE, [one for one in alone if one != path], others)


def _ours(corpus: Corpus, text: str, answers: _Answers, open_paths: Sequence[str] = ()) -> list[str]:
    began = time.perf_counter()
    found = rank(corpus, text, open_paths=open_paths, limit=10_000)
    answers.seconds.append(time.perf_counter() - began)
    return [one.path for one in found if is_source(one.path)]


def _bm25(past: Past, text: str) -> list[str]:
    alive = np.zeros(len(past.number) + 1, np.bool_)
    alive[[past.content_of(path) for path in past.paths]] = True
    docs, scores = past.postings.bm25(words.query(text), alive)
    value = dict(zip(docs.tolist(), scores.tolist(), strict=True))
    scored = [(value.get(past.content_of(path), 0.0), path) for path in past.paths]
    return [path for score, path in sorted(scored, key=lambda item: (-item[0], item[1])) if score > 0]


def _gives_away(text: str, wanted: Iterable[str]) -> bool:
    """Whether the message has the file's or its folder's name as a word."""
    said = set(words.query(text))
    names = (name for path in wanted for name in (Path(path).stem, Path(path).parent.name))
    return any(words.whole(name) in said for name in names)


def _name(repository: Path) -> str:
    parts = [part for part in repository.resolve().parts if part not in {"repo", ".git", "/"}]
    return parts[-1].removesuffix(".git")


# --- counting ----------------------------------------------------------------------------------------------------


def _figures(way: str, groups: Sequence[Sequence[tuple[float, ...]]]) -> dict[str, Any]:
    """Means over the groups, with standard errors over their questions."""
    tables = [np.array(rows) for rows in groups]
    means = np.mean([one.mean(axis=0) for one in tables], axis=0)
    variance = sum(one.var(axis=0, ddof=1) / len(one) if len(one) > 1 else np.zeros(len(METRICS)) for one in tables)
    errors = np.sqrt(variance) / len(tables)
    return {
        "way": way,
        "n": sum(len(one) for one in tables),
        "values": [round(float(value), 4) for value in means],
        "errors": [round(float(error), 4) for error in errors],
    }


def _differences(groups: Sequence[dict[str, list[tuple[float, ...]]]]) -> list[dict[str, Any]]:
    """How far one way is above another one on the same questions, by a bootstrap of the pairs within each repository."""
    found: list[dict[str, Any]] = []
    for way, than in ((OURS, BM25), (OURS + NAMELESS, BM25 + NAMELESS), (OURS, PAGERANK), (OPEN, ALONE)):
        pairs = [np.array(rows[way]) - np.array(rows[than]) for rows in groups if way in rows and than in rows]
        if not pairs:
            continue
        chance = np.random.default_rng(7)
        drawn = np.mean([one[chance.integers(0, len(one), (SAMPLES, len(one)))].mean(axis=1) for one in pairs], axis=0)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        found.append(
            {
                "way": way,
                "than": than,
                "values": [round(float(value), 4) for value in np.mean([one.mean(axis=0) for one in pairs], axis=0)],
                "intervals": [[round(float(a), 4), round(float(b), 4)] for a, b in zip(low, high, strict=True)],
            }
        )
    return found
