"""What is still to be read or parsed, the most wanted first.

Never does any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

K = TypeVar("K")

OPEN, NEAR, RECENT, REST = range(4)


@dataclass(slots=True)
class Ranks:
    """What makes a file wanted: being open, lying beside an open one, having changed lately."""

    _open: frozenset[str] = frozenset()
    _near: frozenset[str] = frozenset()
    _recent: dict[str, int] = field(default_factory=dict)

    def opened(self, paths: Collection[str]) -> None:
        """Says which files are open now."""
        self._open = frozenset(paths)
        self._near = frozenset(path.rpartition("/")[0] for path in paths)

    def changed(self, paths: Iterable[str]) -> None:
        """Says which files changed lately, the latest first."""
        self._recent = {path: number for number, path in enumerate(paths)}

    def of(self, path: str) -> tuple[int, int, str]:
        """Where a file stands; the smaller, the earlier."""
        if path in self._open:
            return OPEN, 0, path
        if path.rpartition("/")[0] in self._near:
            return NEAR, 0, path
        number = self._recent.get(path)
        return (REST, 0, path) if number is None else (RECENT, number, path)


@dataclass(slots=True)
class Pending(Generic[K]):
    """Keys with the file that each stands for."""

    ranks: Ranks
    _paths: dict[K, str] = field(default_factory=dict)
    _order: list[K] | None = None  # the most wanted last

    def __len__(self) -> int:
        return len(self._paths)

    def paths(self) -> list[str]:
        """The files of all of them."""
        return list(self._paths.values())

    def add(self, paths: Mapping[K, str]) -> None:
        """Adds these; those that are there already stay as they are."""
        for key, path in paths.items():
            self._paths.setdefault(key, path)
        self._order = None

    def drop(self, keys: Iterable[K]) -> None:
        """Takes these out."""
        for key in keys:
            self._paths.pop(key, None)

    def clear(self) -> None:
        """Takes everything out."""
        self._paths, self._order = {}, None

    def reorder(self) -> None:
        """Heeds that the ranks have changed."""
        self._order = None

    def first(self) -> int | None:
        """The rank of the most wanted; None where there is none."""
        order = self._ordered()
        return self.ranks.of(self._paths[order[-1]])[0] if order else None

    def take(self, number: int) -> dict[K, str]:
        """Takes out up to `number`, the most wanted first."""
        order = self._ordered()
        taken: dict[K, str] = {}
        while order and len(taken) < number:
            key = order.pop()
            if key in self._paths:
                taken[key] = self._paths.pop(key)
        return taken

    def _ordered(self) -> list[K]:
        if self._order is None:
            self._order = sorted(self._paths, key=lambda key: self.ranks.of(self._paths[key]), reverse=True)
        while self._order and self._order[-1] not in self._paths:
            self._order.pop()
        return self._order
