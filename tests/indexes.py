"""Makes indexes of small workspaces, and says all that is in one.

Never reaches into the product beyond its public face, but to compare rows.
"""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glm_lsp.index.index import Index
from glm_lsp.settings import IndexSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIT = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false")


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), *GIT, *words], check=True, capture_output=True)


def repository(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main")
    return root


def commit(root: Path, words: str = "more") -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", words)


@contextlib.contextmanager
def opened(root: Path, state: Path, **settings: Any) -> Iterator[Index]:
    index = Index.open(root, replace(IndexSettings(), **settings), state=state)
    try:
        yield index
    finally:
        index.close()


@contextlib.contextmanager
def built(root: Path, state: Path, **settings: Any) -> Iterator[Index]:
    with opened(root, state, **settings) as index:
        index.build()
        yield index


def everything(index: Index, names: set[str]) -> dict[str, Any]:
    """All that the index says, whatever the order in which it learnt it."""
    paths = sorted(index._current.contents)
    return {
        "files": {
            path: (index._current.detail(path), index.outline(path), index.imports(path), dict(index.uses_of(path)))
            for path in paths
        },
        "symbols": {
            (name, how): sorted(index.symbols(name, how=how, limit=10_000), key=repr)
            for name in names
            for how in ("exact", "prefix", "substring")
        },
        "references": {name: index.references(name, limit=100_000) for name in names},
        "with": {name: index.files_with([name]) for name in names},
        "words": sorted(
            path for content in index.postings.documents().tolist() for path in index._current.holders(content)
        ),
        "worth showing": list(index.paths),
        "failed": index.status.failed,
    }
