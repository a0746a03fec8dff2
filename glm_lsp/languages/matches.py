"""The matches of a language's symbol query, as byte offsets, and how they follow an edit.

Never turns bytes into characters and never reads a name: that is for whoever holds the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import tree_sitter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glm_lsp.languages.table import Language

HOPELESS = 10_000
"""Parts of one error from which on a text counts as having no symbols: a query needs quadratic time for them, 8 s for
100,000 brackets that are never closed."""


def matches(language: Language, tree: tree_sitter.Tree, where: tuple[int, int] | None) -> list[Match]:
    """The definitions in a tree, in no order.

    Of several matches for one name the widest counts, so that decorators and `export` are part of it.
    Given a range, only what tree-sitter can see in it is found: a match whose parts lie outside may be missing.
    """
    query = language.load()[1]
    if query is None or is_hopeless(tree):
        return []
    cursor = tree_sitter.QueryCursor(query)
    if where is not None:
        cursor.set_byte_range(*where)
    found: dict[int, Match] = {}
    for _, captures in cursor.matches(tree.root_node):
        name = captures["name"][0]
        capture = next(key for key in captures if key not in {"name", "owner"})
        node = captures[capture][0]
        start, end = node.start_byte, node.end_byte
        body = node.child_by_field_name("body")
        body_start, body_end = (body.start_byte, body.end_byte) if body is not None else (0, 0)
        known = found.get(name.start_byte)
        if known is not None:
            start, end = min(start, known.start), max(end, known.end)
            if not body_end:
                body_start, body_end = known.body_start, known.body_end
        elif language.leading:
            before = node.prev_sibling
            while before is not None and before.type in language.leading:
                start, before = before.start_byte, before.prev_sibling
        found[name.start_byte] = Match(
            start,
            end,
            *name.byte_range,
            *(captures["owner"][0].byte_range if "owner" in captures else (0, 0)),
            body_start,
            body_end,
            capture.removeprefix("definition."),
        )
    return list(found.values())


def is_hopeless(tree: tree_sitter.Tree) -> bool:
    """Whether a query would take too long on it: see `HOPELESS`."""
    pending = [tree.root_node]
    while pending:
        node = pending.pop()
        if node.has_error:
            if node.is_error and node.child_count > HOPELESS:
                return True
            pending.extend(node.children)
    return False


def parts_of(written: str, kind: str) -> list[str]:
    """A name as it is written, taken apart: `Cart` and `size` of `Cart::size`; at least one part."""
    if written.isidentifier():
        return [written]
    if kind in _VERBATIM:
        return [" ".join(written.strip("\"'`").split())]
    return [p for p in _SEPARATOR.split(_TYPE_ARGUMENTS.sub("", written)) if p] or [written]


def kind_within(kind: str, outer: str) -> str:
    """The kind of a definition that stands directly in one of kind `outer`; `outer` is empty for none."""
    return "method" if kind == "function" and outer in _OWNERS else kind


def in_order(found: Iterable[Match]) -> tuple[Match, ...]:
    """Sorts by place, outer before inner; of several for one name the last one given counts."""
    return tuple(sorted({f.name_start: f for f in found}.values(), key=lambda f: (f.start, -f.end, f.name_start)))


class Match(NamedTuple):
    """One match of a symbol query, in bytes; a part that it lacks is 0 to 0."""

    start: int
    end: int
    name_start: int
    name_end: int
    owner_start: int
    owner_end: int
    body_start: int
    body_end: int
    kind: str

    def moved(self, by: int) -> Match:
        """The same match in a text that has `by` more bytes before it."""
        start, end, name_start, name_end, owner_start, owner_end, body_start, body_end, kind = self
        owner = (owner_start + by, owner_end + by) if owner_end else (0, 0)
        body = (body_start + by, body_end + by) if body_end else (0, 0)
        return Match(start + by, end + by, name_start + by, name_end + by, *owner, *body, kind)

    def surrounds(self, low: int, high: int) -> bool:
        """Whether it goes around `low` to `high`, and no part of it begins, ends or lies in there."""
        beside_name = self.name_end < low or self.name_start > high
        beside_owner = self.owner_end < low or self.owner_start > high
        beside_body = self.body_end < low or self.body_start > high or (self.body_start < low and self.body_end > high)
        return self.start < low and self.end > high and beside_name and beside_owner and beside_body

    def grown(self, by: int, high: int) -> Match:
        """The same match in a text that has `by` more bytes somewhere up to `high`."""

        def at(start: int, end: int) -> tuple[int, int]:
            return (start + by if start > high else start, end + by if end > high else end) if end else (0, 0)

        parts = at(*self[0:2]) + at(*self[2:4]) + at(*self[4:6]) + at(*self[6:8])
        return Match(*parts, self.kind)


_OWNERS = frozenset({"class", "interface", "enum", "scope"})
_VERBATIM = frozenset({"key", "table", "rule", "heading", "view", "index", "trigger"})
_SEPARATOR = re.compile(r"::|\.|:")
_TYPE_ARGUMENTS = re.compile(r"<[^<>]*>(?=::)")
