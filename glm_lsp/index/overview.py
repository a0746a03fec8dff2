"""The map of a workspace for the head of a conversation: its folders, main files and most used names.

Never reads a file, and never changes while the workspace has the same files: conversations that begin one after the
other share their head, and an engine reads what is shared once.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter, defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from glm_lsp.index.kinds import Kind, by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from glm_lsp.index.index import Index

FILES_SHARE = 0.55
"""Part of the budget that the names of all files may take; where they take more, there are folders instead."""

MAIN = 24
"""Main files at most."""

ASKED = 2_000
"""Files that are asked which names they use; of more, every so-manieth one."""

NAMES = 120
"""Names at most."""

FEWEST = 2
"""Files that use a name which is worth its room."""

_ROOTS = (
    "readme", "contributing", "architecture", "pyproject.toml", "setup.py", "setup.cfg", "package.json", "cargo.toml",
    "go.mod", "pom.xml", "build.gradle", "build.gradle.kts", "cmakelists.txt", "makefile", "meson.build", "justfile",
    "dockerfile", "docker-compose.yml", "tsconfig.json", "composer.json", "gemfile", "mix.exs", "package.swift",
    "build.sbt", "tox.ini", "noxfile.py",
)  # fmt: skip
"""Names, or beginnings of names, of files that say what a project is and how it is built."""

_ENTRIES = frozenset(
    "__main__ main app cli index lib mod manage wsgi asgi server program application".split()  # noqa: SIM905 - twelve pairs of quotation marks are no easier to read
)
"""Names, without their ending, of files in which a program begins."""

_CODE = frozenset(
    ".py .js .mjs .ts .tsx .jsx .go .rs .java .kt .scala .swift .c .cc .cpp .cs .rb .php .lua .sh".split()  # noqa: SIM905 - as above
)

_kept: weakref.WeakKeyDictionary[Any, dict[object, str]] = weakref.WeakKeyDictionary()
_keeping = threading.Lock()


def overview(index: Index, *, budget: int, count: Callable[[str], int]) -> str:
    """The map, at most `budget` tokens by `count`; empty where there is no room for anything.

    Names stand in it once all files were parsed, so that the same files give the same map.
    """
    paths = tuple(index.listing.paths)
    parsed = index.wait(1, 0)
    key = (paths, budget, parsed)
    with _keeping:
        known = _kept.setdefault(index, {})
        if key in known:
            return known[key]
    text = _made(index, paths, budget, count, named=parsed)
    with _keeping:
        if len(known) > 8:
            known.clear()
        return known.setdefault(key, text)


def _made(index: Index, paths: Sequence[str], budget: int, count: Callable[[str], int], *, named: bool) -> str:
    every = _by_folder(paths)
    whole = f"All {len(paths)} files, by folder:\n{every}" if len(paths) != 1 else f"The only file: {paths[0]}"
    if count(whole) <= budget * (FILES_SHARE if named else 0.9):
        parts = [whole]
    else:
        parts = [
            _fitting(
                f"Folders, with the number of files in them, {len(paths):,} in all", _folders(paths), budget // 2, count
            )
        ]
        parts.append(_fitting("Main files", _main_files(paths), budget // 4, count))
    room = budget - count("\n".join(parts))
    if named:
        parts.append(
            _fitting(
                "Names that most files use, by the file that defines them", _names(index, room, count), room, count
            )
        )
    text = "\n".join(part for part in parts if part)
    return text if count(text) <= budget else ""


def _fitting(title: str, lines: Sequence[str], budget: int, count: Callable[[str], int]) -> str:
    """The title and as many of the lines as fit; empty where none does."""
    kept = list(lines)
    while kept:
        more = f"\n[and {len(lines) - len(kept)} more]" if len(kept) < len(lines) else ""
        text = f"{title}:\n" + "\n".join(kept) + more
        tokens = count(text)
        if tokens <= budget:
            return text
        kept = kept[: min(len(kept) - 1, int(len(kept) * budget / tokens))]
    return ""


# --- files and folders --------------------------------------------------------------------------------------------


def _by_folder(paths: Sequence[str]) -> str:
    """All files, a line for each folder."""
    held: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, _, name = path.rpartition("/")
        held[folder].append(name)
    return "\n".join(f"{folder or '.'}/: {', '.join(names)}" for folder, names in sorted(held.items()))


def _folders(paths: Sequence[str], most: int = 60) -> list[str]:
    """Folders with what they hold: the largest are opened, one after the other, until there are enough lines."""
    below: Counter[str] = Counter()
    inner: defaultdict[str, set[str]] = defaultdict(set)
    own: Counter[str] = Counter()
    for path in paths:
        parents = path.split("/")[:-1]
        own["/".join(parents)] += 1
        for depth in range(len(parents) + 1):
            folder = "/".join(parents[:depth])
            below[folder] += 1
            if depth:
                inner["/".join(parents[: depth - 1])].add(folder)
    shown = {""}
    closed = {""}
    while closed and len(shown) < most:
        largest = min(closed, key=lambda folder: (-below[folder], folder))
        closed.remove(largest)
        if len(shown) + len(inner[largest]) > most and len(shown) > 1:
            continue
        shown |= inner[largest]
        closed |= {folder for folder in inner[largest] if inner[folder]}
    if len(shown) > 2 * most:  # a folder with very many folders
        shown = set(sorted(shown, key=lambda folder: (-below[folder], folder))[:most])
    return [
        f"{folder or '.'}/ {below[folder]:,}"
        + ("" if not opened or not own[folder] else f" ({own[folder]:,} directly)")
        for folder in sorted(shown)
        for opened in (inner[folder] & shown,)
    ]


def _main_files(paths: Sequence[str]) -> list[str]:
    """What says what the project is, and where its programs begin; the nearest to the root first."""
    found: list[tuple[int, int, str]] = []
    for path in paths:
        pure = PurePosixPath(path)
        depth = len(pure.parts) - 1
        name = pure.name.lower()
        if depth <= 1 and name.startswith(_ROOTS):
            found.append((depth, 0, path))
        elif depth <= 3 and pure.suffix in _CODE and pure.stem.lower() in _ENTRIES and not is_test(path):
            found.append((depth, 1, path))
    return [path for _, _, path in sorted(found)[:MAIN]]


def is_test(path: str) -> bool:
    """Whether a file seems to be a test, or to belong to tests."""
    *folders, name = path.lower().split("/")
    stem = name.rpartition(".")[0] or name
    return (
        any(folder in {"test", "tests", "__tests__", "spec", "specs", "testdata", "e2e"} for folder in folders)
        or stem.startswith("test_")
        or stem.endswith(("_test", ".test", ".spec", "_spec"))
        or name == "conftest.py"
    )


# --- names --------------------------------------------------------------------------------------------------------


def _names(index: Index, room: int, count: Callable[[str], int]) -> list[str]:
    """A line for each file with the names in it that the most other files use, as many as there is room for."""
    used = Counter(_used(index))
    chosen: defaultdict[str, list[str]] = defaultdict(list)
    number = 0
    for name, times in sorted(used.items(), key=lambda item: (-item[1], item[0])):
        if times < FEWEST or number >= NAMES or room <= 0:
            break
        if len(name) < 3 or name.startswith("_") or (name.islower() and name.isalpha()):
            continue  # a plain word is a variable somewhere, whatever else it is
        where = [one for one in index.symbols(name, limit=4) if not is_test(one.path)]
        if len(where) != 1 or where[0].definition.kind in _TOO_SMALL or by_name(where[0].path) is not Kind.SOURCE:
            continue
        path, definition = where[0].path, where[0].definition
        if any(part.startswith("_") for part in definition.qualified.split(".")):
            continue
        room -= count(name) + 1 + (0 if path in chosen else count(path) + 2)
        chosen[path].append(definition.qualified)
        number += 1
    return [f"{path}: {', '.join(names)}" for path, names in sorted(chosen.items())]


_TOO_SMALL = {"variable", "field", "property", "heading", "parameter", "key", "section"}


def _used(index: Index) -> Iterator[str]:
    """Each name once for every file that uses it, without the files that define it."""
    paths = [path for path in index.paths if not is_test(path)]
    for path in paths[:: max(1, -(-len(paths) // ASKED))]:
        own = {one.name for one in index.outline(path)}
        yield from (name for name in index.uses_of(path) if name not in own)
