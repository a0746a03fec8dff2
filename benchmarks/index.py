"""How long the workspace index takes: built anew, opened again, asked, and at a million symbols.

Never fetches a corpus: GLM_LSP_CORPUS names folders (such as an unpacked source distribution of Django, or a kernel's
sources), separated by colons; without it, the project's own sources are measured.

The peer is tree-sitter alone, parsing the same files in as many processes, and universal-ctags where it is installed;
figures of CPU time count all processes. What definitions cost over parsing alone is taken in one process, file by file;
so is the least that any query costs, which is a walk over the tree that finds nothing.

A workspace of 78,000 small files is made for the warm start, in a git repository and outside of one.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp.index.index import Index
from glm_lsp.settings import IndexSettings
from glm_lsp.store.index_file import IndexFile
from glm_lsp.store.index_rows import PARSED, ContentRow, FactsRow, FileRow, IndexRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "index"
DOC = "the index built anew, opened again, and asked at a million symbols; limits are the project's own"

MILLION = 1_000_000
MANY = 78_000
ASKED = 400
WARM = 5

COLD0, COLD1, CPU1, ALL = "words of all files", "definitions too", "CPU of that", "all of that over tree-sitter alone"
FLOOR = "a query that finds nothing, over tree-sitter alone"
RATIO, WORDS, CTAGS = "definitions over tree-sitter alone", "CPU of reading all words", "universal-ctags, wall"
FIRST, VERIFIED, SAVED = "opened again: first answer", "opened again: verified", "saved file searchable"
EXACT, PREFIX, PART, LOOSE = "exact, p95", "prefix, p95", "substring, p95", "fuzzy, p95"
RESIDENT, DISK = "memory of the process that answers", "size on the disk"
LIMITS = {FIRST: 50.0, VERIFIED: 600.0, SAVED: 100.0, EXACT: 0.1, PREFIX: 1.0, PART: 3.0, RESIDENT: 200.0, RATIO: 1.6}


def run() -> dict[str, Any]:
    """Measures every corpus, a made-up one of very many files, and one of a million symbols."""
    named = os.environ.get("GLM_LSP_CORPUS", "")
    folders = [Path(one) for one in named.split(":") if one] or [Path(__file__).parent.parent]
    results: list[dict[str, Any]] = []
    for folder in folders:
        results += [{"corpus": folder.name, **row} for row in _corpus(folder)]
    for inside in (True, False):
        where = "in git" if inside else "outside git"
        results += [{"corpus": f"{MANY:,} files {where}", **row} for row in _many(MANY, inside=inside)]
    results += [{"corpus": "a million symbols", **row} for row in _million()]
    load = os.getloadavg()[0]
    return {"results": results, "workers": _workers(), "sqlite": sqlite3.sqlite_version, "load": round(load, 1)}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    rows: list[tuple[str, ...]] = [("corpus", "what", "figure", "unit", "limit")]
    for row in result["results"]:
        limit = "" if row["limit"] is None else f"{row['limit']:g}"
        rows.append((row["corpus"], row["what"], f"{row['figure']:.3g}", row["unit"], limit))
    return rows


def _row(what: str, figure: float, unit: str) -> dict[str, Any]:
    return {"what": what, "figure": round(figure, 4), "unit": unit, "limit": LIMITS.get(what)}


def _workers() -> int:
    return max(1, os.cpu_count() or 1)


# --- a real corpus -------------------------------------------------------------------------------------------------


def _corpus(folder: Path) -> Iterator[dict[str, Any]]:
    settings = replace(IndexSettings(), workers=_workers())
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        told: dict[str, float] = {}
        began, used = time.perf_counter(), _cpu()

        def note(stage: str, done: int, total: int) -> None:
            if done == total:
                told[stage] = time.perf_counter() - began

        index = Index.open(folder, settings, state=state)
        index.build(progress=note)
        whole = time.perf_counter() - began
        status = index.status
        paths = [path for path in index.listing.paths if index.outline(path)]
        index.close()
        cpu = _cpu() - used
        yield _row("files", status.files, "files")
        yield _row("definitions", status.symbols, "definitions")
        yield _row(COLD0, told.get("words", whole), "s")
        yield _row(COLD1, whole, "s")
        yield _row(CPU1, cpu, "s")
        bare_wall, bare_cpu = _bare(folder, paths)
        yield _row("tree-sitter alone", bare_wall, "s")
        yield _row("CPU of that", bare_cpu, "s")
        yield _row(ALL, cpu / bare_cpu, "times")
        bare, floor, definitions, words = _fresh(_PARTS, str(folder), *_listed(state, paths, list(index.listing.paths)))
        yield _row(FLOOR, floor / bare, "times")
        yield _row(RATIO, definitions / bare, "times")
        yield _row(WORDS, words, "s")
        if (tags := _ctags(folder, state)) is not None:
            yield _row(CTAGS, tags, "s")
        yield _row(DISK, status.bytes / 1e6, "MB")
        yield from _opened_again(folder, state)


def _many(number: int, *, inside: bool) -> Iterator[dict[str, Any]]:
    """The warm start of a workspace of so many text files, in a repository or outside of one."""
    with tempfile.TemporaryDirectory() as name:
        root, state = Path(name) / "work", Path(name) / "state"
        for at in range(number):
            folder = root / f"d{at % 500}"
            if at < 500:
                folder.mkdir(parents=True)
            (folder / f"f{at}.txt").write_text(f"what stands in file {at}\n")
        if inside:
            for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "all")):
                subprocess.run(["git", "-C", str(root), *_GIT, *words], check=True, capture_output=True)
        with contextlib.closing(Index.open(root, replace(IndexSettings(), workers=_workers()), state=state)) as index:
            index.build()
        yield from _opened_again(root, state)


def _opened_again(folder: Path, state: Path) -> Iterator[dict[str, Any]]:
    time.sleep(2.1)  # past the time in which a file's clock tells too little
    with contextlib.closing(Index.open(folder, replace(IndexSettings(), workers=_workers()), state=state)) as settled:
        settled.build()
    first, verified, cpu = _warm(folder, state)
    yield _row(FIRST, 1e3 * first, "ms")
    yield _row(VERIFIED, 1e3 * verified, "ms")
    yield _row("CPU of that, git's too", 1e3 * cpu, "ms")


def _listed(place: Path, *lists: list[str]) -> Iterator[str]:
    for number, paths in enumerate(lists):
        file = place / f"listed-{number}"
        file.write_text("\n".join(paths), encoding="utf-8", errors="surrogateescape")
        yield str(file)


def _ctags(folder: Path, place: Path) -> float | None:
    """Seconds that universal-ctags takes for the folder, which it goes through alone; None where it is not there."""
    program = shutil.which("ctags")
    if (
        program is None
        or b"Universal" not in subprocess.run([program, "--version"], capture_output=True, check=True).stdout
    ):
        return None
    began = time.perf_counter()
    subprocess.run([program, "-R", "-f", str(place / "tags"), str(folder)], capture_output=True, check=True)
    return time.perf_counter() - began


def _warm(folder: Path, state: Path) -> tuple[float, ...]:
    """Medians over fresh processes, each of which has Python and our modules loaded when its clock starts."""
    figures = [_fresh(_WARM, str(folder), str(state)) for _ in range(WARM)]
    return tuple(statistics.median(column) for column in zip(*figures, strict=True))


def _fresh(script: str, *arguments: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def _bare(folder: Path, paths: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of parsing the files that have definitions, and nothing else."""
    used, began = _cpu(), time.perf_counter()
    parts = [paths[at :: _workers()] for at in range(_workers())]
    with tempfile.TemporaryDirectory() as name:
        running = []
        for number, part in enumerate(parts):
            listed = Path(name) / str(number)
            listed.write_text(
                "\n".join(str(folder / path) for path in part), encoding="utf-8", errors="surrogateescape"
            )
            running.append(subprocess.Popen([sys.executable, "-c", _PARSE, str(listed)]))
        for process in running:
            process.wait()
    return time.perf_counter() - began, _cpu() - used


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


# --- a million symbols ---------------------------------------------------------------------------------------------


def _million() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        root, state = Path(name) / "work", Path(name) / "state"
        root.mkdir()
        with contextlib.closing(Index.open(root, IndexSettings(), state=state)):
            pass
        (folder,) = state.glob("index/*")
        began = time.perf_counter()
        names = _fill(folder)
        yield _row("rows written", time.perf_counter() - began, "s")
        yield _row(DISK, (folder / "index.sqlite").stat().st_size / 1e6, "MB")
        index = Index.open(root, IndexSettings(), state=state)
        dice = random.Random(1)
        yield from _asked(index, [dice.choice(names) for _ in range(ASKED)])
        index.close()
        (megabytes,) = _fresh(_RESIDENT, str(root), str(state), *dice.sample(names, 50))
        yield _row(RESIDENT, megabytes, "MB")
    yield _row(SAVED, 1e3 * _saved(), "ms")


def _fill(folder: Path) -> list[str]:
    """A million definitions in 20,000 files; the names are made of words, and most occur once."""
    rows = IndexRows(IndexFile.open(folder, _fingerprint(folder)))
    dice = random.Random(0)
    words = ["".join(dice.choice("abcdefghijklmnoprstuvw") for _ in range(dice.randint(3, 8))) for _ in range(3000)]
    names: list[str] = []
    for at in range(0, 20_000, 500):
        contents = [ContentRow(b"%020d" % (at + n), "Python", 1000, 0, PARSED, "") for n in range(500)]
        ids = [number for number, _ in rows.add(contents).values()]
        facts = []
        for content in ids:
            # As in real code, nine of ten names are defined once, and some, such as `get`, very often.
            parts = [1 if dice.random() < 0.03 else dice.randint(2, 4) for _ in range(MILLION // 20_000)]
            made = ["_".join(dice.choice(words) for _ in range(number)) for number in parts]
            names += made[:2]
            defined = [
                (one, one, "function", n, n + 9, n, 4, f"def {one}(self, value)", "") for n, one in enumerate(made)
            ]
            facts.append(FactsRow(content, defined, b"", (), PARSED, ""))
        rows.put(facts)
        rows.place([FileRow(b"src/d%d/f%d.py" % (one % 300, one), one, 1000, 1) for one in ids])
    rows.file.close()
    return names


def _fingerprint(folder: Path) -> str:
    with contextlib.closing(sqlite3.connect(folder / "index.sqlite")) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone()[0])


def _asked(index: Index, names: list[str]) -> Iterator[dict[str, Any]]:
    ways: tuple[tuple[str, Any, Callable[[str], str]], ...] = (
        (EXACT, "exact", lambda name: name),
        (PREFIX, "prefix", lambda name: name[: max(4, len(name) // 2)]),
        (PART, "substring", lambda name: name[len(name) // 3 :][:6] if len(name) > 8 else name),
        (LOOSE, "fuzzy", lambda name: name[:3] + name[4:]),
    )
    for what, how, made in ways:
        taken = []
        for name in names if how != "fuzzy" else names[:50]:
            began = time.perf_counter()
            index.symbols(made(name), how=how)
            taken.append(1e3 * (time.perf_counter() - began))
        yield _row(what, statistics.quantiles(taken, n=20)[18], "ms")


def _saved() -> float:
    """From a write to the answer, with words and definitions, in a workspace of 500 files."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "work"
        root.mkdir()
        for number in range(500):
            (root / f"f{number}.py").write_text(f"def f_{number}():\n    return {number}\n" * 20)
        index = Index.open(root, IndexSettings(), state=Path(name) / "state")
        index.start()
        index.wait()
        taken = []
        for number in range(20):
            (root / "f7.py").write_text(f"def saved_{number}():\n    return 1\n")
            began = time.perf_counter()
            index.refresh(["f7.py"])
            while not index.symbols(f"saved_{number}"):
                time.sleep(0.0005)
            taken.append(time.perf_counter() - began)
        index.close()
        return statistics.median(taken)


_GIT = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")

_WARM = """
import resource, sys, time
from pathlib import Path
from glm_lsp.index.index import Index
from glm_lsp.settings import IndexSettings
from glm_lsp.languages import facts
def cpu():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)
used, began = cpu(), time.perf_counter()
index = Index.open(Path(sys.argv[1]), IndexSettings(), state=Path(sys.argv[2]))
index.symbols("get")
first = time.perf_counter() - began
index.build()
print(first, time.perf_counter() - began, cpu() - used)
index.close()
"""

_PARSE = """
import sys
from pathlib import Path
import tree_sitter
from glm_lsp.languages import language_of
parsers = {}
for name in Path(sys.argv[1]).read_text(errors="surrogateescape").splitlines():
    language = language_of(name)
    if language.name not in parsers:
        parsers[language.name] = tree_sitter.Parser(language.load()[0])
    parsers[language.name].parse(Path(name).read_bytes())
"""

_PARTS = """
import os, sys, time
from pathlib import Path
import tree_sitter
from glm_lsp.index import extract, words
from glm_lsp.languages import language_of
root = os.fsencode(sys.argv[1])
def paths(at):
    return [os.fsencode(line) for line in Path(sys.argv[at]).read_text(errors="surrogateescape").splitlines()]
parsers, nothing, bare, floor, definitions = {}, {}, 0.0, 0.0, 0.0
for path in paths(2):
    data, _ = extract.read(root, path)
    language = language_of(os.fsdecode(path))
    if language.name not in parsers:
        parsers[language.name] = tree_sitter.Parser(language.load()[0])
        nothing[language.name] = tree_sitter.Query(language.load()[0], "(MISSING) @nothing")
        extract.parse(path, "", 10)
    began = time.process_time()
    tree = parsers[language.name].parse(data)
    parsed = time.process_time()
    tree_sitter.QueryCursor(nothing[language.name]).captures(tree.root_node)
    walked = time.process_time()
    extract.parse(path, extract.decoded(data), 10)
    bare += parsed - began
    floor += walked - began
    definitions += time.process_time() - walked
began = time.process_time()
for path in paths(3):
    extract.read_words(root, path)
print(bare, floor, definitions, time.process_time() - began)
"""

_RESIDENT = """
import resource, sys
from pathlib import Path
from glm_lsp.index.index import Index
from glm_lsp.settings import IndexSettings
index = Index.open(Path(sys.argv[1]), IndexSettings(), state=Path(sys.argv[2]))
for name in sys.argv[3:]:
    for how in ("exact", "prefix", "substring", "fuzzy"):
        index.symbols(name, how=how)
index.status, index.paths, index.postings
try:  # Linux's own account for getrusage begins with the memory of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / (1 << 10))
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
index.close()
"""
