"""The facts of a text that is being typed, brought up to date by what changed and not by all of it.

Never reads a file, and never runs in the server itself: the parser holds everybody up while it works.

tree-sitter parses a changed text again at the cost of the change, but the queries look at all of it, which is twice
what a whole parse costs. So they are asked only about the lines that changed, up to whole statements, and about what
these lie in; everything else is kept and moved along. Where that would be most of the text, or where the result does
not add up, all of it is looked at again. A keystroke in 10,000 lines of Python costs 6 to 10 ms so, and 130 ms without.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from glm_lsp.languages.facts import Facts, captures, facts_from, imports_from
from glm_lsp.languages.matches import is_hopeless
from glm_lsp.languages.parsed import syntax_tree, utf8
from glm_lsp.languages.table import language_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import tree_sitter

    from glm_lsp.languages.facts import Definition
    from glm_lsp.languages.table import Language

MOST_TEXTS = 20
"""Texts whose trees are kept; a tree takes some ten times its text."""

SMALL = 16_384
"""Bytes up to which the statement behind the change is looked at whole."""

SECONDS = 1.0
"""What bringing one text up to date may take unless more is given."""

_BLOCK = 4096
_ROWS = re.compile(rb"\n")
_BESIDE = re.compile("comment|attribute|decorator|annotation")


@dataclass(slots=True)
class LiveParses:
    """The trees of the texts that were typed in last."""

    _known: dict[str, _Live] = field(default_factory=dict)

    def facts(self, path: str, text: str, *, seconds: float = SECONDS) -> Facts | None:
        """The facts of a text, at the cost of what changed since the last time; else as `languages.facts`.

        Broken texts may leave behind a line that is out of date; asked about the same text again, all of it is looked
        at. The dictionary in the facts is ours and changes with the next text of the same path.
        """
        live = self._known.pop(path, None)  # it comes last again
        language = language_of(path)
        if language is None:
            return None
        data = utf8(text)
        if live is None or live.language is not language:
            live = _Live(language)
        if not live.update(data, is_ascii=len(data) == len(text), until=time.monotonic() + seconds):
            return None
        self._known[path] = live
        while len(self._known) > MOST_TEXTS:
            del self._known[next(iter(self._known))]
        return Facts(tuple(live.definitions), live.uses, live.imports)

    def forget(self, path: str) -> None:
        """Lets go of what is kept for a path."""
        self._known.pop(path, None)


class _Piece(NamedTuple):
    """A place in the text."""

    start_byte: int
    end_byte: int


class _Change(NamedTuple):
    """The bytes that differ: where they begin, where they end in the old text and in the new one."""

    start: int
    old_end: int
    new_end: int


class _Window(NamedTuple):
    """Whole statements around a change: what they lie in, outermost first, themselves, what follows, their rows."""

    around: Sequence[tree_sitter.Node]
    nodes: Sequence[tree_sitter.Node]
    behind: tree_sitter.Node | None
    first: int
    last: int


@dataclass(slots=True)
class _Live:
    """One text with its tree; `by_row` has the names that each row uses, `starts` its first byte."""

    language: Language
    data: bytes = b""
    tree: tree_sitter.Tree | None = None
    definitions: list[Definition] = field(default_factory=list)
    uses: dict[str, tuple[int, ...]] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    import_places: list[_Piece] = field(default_factory=list)
    by_row: list[list[str]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    whole_only: bool = False
    odd: bool = False

    def update(self, data: bytes, *, is_ascii: bool, until: float) -> bool:
        """Makes it the text `data`; False where that takes too long or nothing sensible can be said."""
        if self.tree is not None and data == self.data:
            self._look_at_all(is_ascii=is_ascii)
            return True
        change = base = None
        if self.tree is not None:
            change = _change(self.data, data)
            base = self.tree.copy()
            starts = _moved(self.starts, data, change)
            points = (_point(self.starts, change.start), _point(self.starts, change.old_end))
            base.edit(*change, *points, _point(starts, change.new_end))
            self.starts = starts
        tree = syntax_tree(self.language, data, base, seconds=max(0.0, until - time.monotonic()))
        if tree is None or is_hopeless(tree):
            return False
        self.data, self.tree = data, tree
        if change is None or base is None:
            self.starts = [0, *(end.end() for end in _ROWS.finditer(data))]
        # tree-sitter counts line feeds alone: a row is a line only where no other sign ends one.
        odd, self.odd = self.odd, b"\r" in data and data.count(b"\r") != data.count(b"\r\n")
        partly = not (self.whole_only or self.odd or odd) and change is not None and base is not None
        changed = base.changed_ranges(tree) if partly and base is not None else []
        if change is None or not partly or not self._look_at(change, changed, is_ascii=is_ascii):
            self._look_at_all(is_ascii=is_ascii)
        return True

    def _look_at_all(self, *, is_ascii: bool) -> None:
        assert self.tree is not None  # noqa: S101 - for the type checker
        captured = captures(self.language, self.tree.root_node)
        found = facts_from(self.language, self.data, captured, is_ascii=is_ascii)
        self.definitions, self.uses, self.imports = list(found.definitions), found.uses, found.imports
        self.whole_only = "prose" in captured
        self.import_places = sorted(_Piece(*node.byte_range) for node in captured.get("import", ()))
        self.by_row = [[] for _ in self.starts]
        for name, lines in self.uses.items():
            for line in lines:
                if line <= len(self.by_row):  # else lines end at other signs, and rows do not matter
                    self.by_row[line - 1].append(name)

    def _look_at(self, change: _Change, changed: Iterable[tree_sitter.Range], *, is_ascii: bool) -> bool:
        """Looks at the statements that a change touches; False where all has to be looked at."""
        assert self.tree is not None  # noqa: S101 - for the type checker
        ranges = list(changed)
        low = min([change.start, *(one.start_byte for one in ranges)])
        high = max([change.new_end, *(one.end_byte for one in ranges)])
        window = _window(self.language, self.data, self.starts, self.tree.root_node, low, high)
        shift = len(self.starts) - len(self.by_row)
        if window.last - window.first > len(self.starts) // 2:
            return False
        captured = _captured(self.language, window)
        found = facts_from(self.language, self.data, captured, is_ascii=is_ascii, starts=self.starts)
        if not self._define(found.definitions, window, shift):
            return False
        self._use(found.uses, window, shift)
        self._import(captured.get("import", ()), window, change)
        return True

    def _define(self, found: Sequence[Definition], window: _Window, shift: int) -> bool:
        """Puts the definitions of the window in the place of those that were there; False where one got lost."""
        first, last = window.first + 1, window.last + 1
        stop = _last_row(window.behind) + 1 if window.behind is not None else last
        fresh = {(d.line, d.column): d for d in found if d.first_line <= stop and d.last_line >= first}
        kept: list[Definition] = []
        for one in self.definitions:
            touches = one.first_line <= last - shift and one.last_line >= first
            moved = one
            if shift and one.last_line > last - shift:
                moved = one._replace(
                    first_line=one.first_line + (shift if one.first_line > last - shift else 0),
                    last_line=one.last_line + shift,
                    line=one.line + (shift if one.line > last - shift else 0),
                )
            if (moved.line, moved.column) in fresh:
                continue
            if not touches:
                kept.append(moved)
            elif not first <= one.line <= last - shift:
                return False  # it reached into the window, and what became of it is not known
        self.definitions = sorted([*kept, *fresh.values()], key=lambda d: (d.first_line, d.line, d.column))
        return True

    def _use(self, found: Mapping[str, tuple[int, ...]], window: _Window, shift: int) -> None:
        first, last = window.first, window.last
        before = {name for names in self.by_row[first : last - shift + 1] for name in names}
        fresh: list[list[str]] = [[] for _ in range(first, last + 1)]
        for name, lines in found.items():
            for line in lines:
                if first < line <= last + 1:
                    fresh[line - 1 - first].append(name)
        self.by_row[first : last - shift + 1] = fresh
        uses, behind = self.uses, last + 1 - shift
        for name in before:
            uses[name] = tuple([line for line in uses[name] if line <= first or line > behind])
        if shift:
            for name, lines in uses.items():
                if lines and lines[-1] > behind:
                    uses[name] = tuple([line + shift if line > behind else line for line in lines])
        for name in {name for names in fresh for name in names}:
            here = [line for line in found[name] if first < line <= last + 1]
            uses[name] = tuple(sorted([*uses.get(name, ()), *here]))
        for name in before:
            if not uses[name]:
                del uses[name]

    def _import(self, found: Sequence[tree_sitter.Node], window: _Window, change: _Change) -> None:
        start, stop = self.starts[window.first], self._row_end(window.last)
        moved = change.new_end - change.old_end
        kept = [one for one in self.import_places if one.end_byte <= start]
        kept += [
            _Piece(one.start_byte + moved, one.end_byte + moved)
            for one in self.import_places
            if one.start_byte + moved >= stop and one.start_byte >= change.old_end
        ]
        fresh = {_Piece(*node.byte_range) for node in found if start <= node.start_byte < stop}
        is_other = bool(fresh) or len(kept) != len(self.import_places)
        self.import_places = sorted({*kept, *fresh})
        if is_other:
            self.imports = imports_from(self.data, {"import": self.import_places})

    def _row_end(self, row: int) -> int:
        return self.starts[row + 1] if row + 1 < len(self.starts) else len(self.data)


# --- what a change touches -------------------------------------------------------------------------------------------


def _window(
    language: Language, data: bytes, starts: Sequence[int], root: tree_sitter.Node, low: int, high: int
) -> _Window:
    """The statements on the rows from `low` to `high`, and so many more that nothing else is on their rows."""
    chain = _chain(root, low, high)
    first, last = bisect_right(starts, low) - 1, bisect_right(starts, high) - 1
    while True:
        parent = chain[-1]
        nodes, first, last = _on_rows(parent, first, last)
        behind = _with_neighbours(language, nodes)
        if nodes:
            first, last = min(first, nodes[0].start_point[0]), max(last, _last_row(nodes[-1]))
            nodes, first, last = _on_rows(parent, first, last)
        if len(chain) == 1 or (nodes and _alone(data, starts, parent, nodes, first, last)):
            break
        chain.pop()
    if behind is not None and behind.start_byte < nodes[-1].end_byte:
        behind = None
    return _Window(chain, nodes, behind, first, last)


def _with_neighbours(language: Language, nodes: list[tree_sitter.Node]) -> tree_sitter.Node | None:
    """Adds what belongs to the nodes, or what they belong to; gives the one behind them where that is a large one."""
    behind = nodes[-1].next_sibling if nodes else None
    while behind is not None and (behind.is_extra or not behind.is_named or _is_beside(language, behind)):
        nodes.append(behind)
        behind = behind.next_sibling
    if behind is not None and behind.end_byte - behind.start_byte <= SMALL:
        nodes.append(behind)
        behind = None
    before = nodes[0].prev_sibling if nodes else None
    while before is not None and _is_beside(language, before):
        nodes.insert(0, before)
        before = before.prev_sibling
    return behind


def _chain(root: tree_sitter.Node, low: int, high: int) -> list[tree_sitter.Node]:
    """The nodes that hold all the bytes, the outermost first."""
    chain = [root]
    while True:
        children = chain[-1].children  # the binding's own search by bytes crashes where there is none
        at = bisect_left(children, high + 1, key=attrgetter("end_byte"))
        if at == len(children) or children[at].start_byte >= low or not children[at].child_count:
            return chain
        chain.append(children[at])


def _on_rows(parent: tree_sitter.Node, first: int, last: int) -> tuple[list[tree_sitter.Node], int, int]:
    """The children of a node that touch rows, and the rows that these take then."""
    children = parent.children
    while True:
        stop = bisect_right(children, last, key=lambda child: child.start_point[0])
        nodes = children[bisect_left(children, first, 0, stop, key=_last_row) : stop]
        low = min([first, *(node.start_point[0] for node in nodes)])
        high = max([last, *(_last_row(node) for node in nodes)])
        if (low, high) == (first, last):
            return nodes, first, last
        first, last = low, high


def _alone(
    data: bytes,
    starts: Sequence[int],
    parent: tree_sitter.Node,
    nodes: Sequence[tree_sitter.Node],
    first: int,
    last: int,
) -> bool:
    """Whether nothing but these children is on the rows."""
    if parent.start_point[0] > first or _last_row(parent) < last:
        return False
    stop = starts[last + 1] if last + 1 < len(starts) else len(data)
    starts_there = parent.start_point[0] < first or not data[starts[first] : nodes[0].start_byte].strip()
    return starts_there and (_last_row(parent) > last or not data[nodes[-1].end_byte : stop].strip())


def _is_beside(language: Language, node: tree_sitter.Node) -> bool:
    """Whether a node belongs to the definition behind it, or documents it."""
    return node.type in language.leading or _BESIDE.search(node.type) is not None


def _captured(language: Language, window: _Window) -> dict[str, list[tree_sitter.Node]]:
    """What the query finds in the window, with the definitions that it lies in and the one behind it."""
    found: dict[str, dict[int, tree_sitter.Node]] = {}
    for node in window.nodes:
        _add(found, captures(language, node))
    if window.behind is not None:
        _add(found, captures(language, window.behind, depth=1), leave_out="reference")
    low = window.nodes[0].start_byte if window.nodes else 0
    high = max([node.end_byte for node in (*window.nodes, *filter(None, [window.behind]))], default=0)
    for node in window.around:
        before = node.prev_sibling if language.leading else None
        while before is not None and _is_beside(language, before):
            _add(found, captures(language, before), leave_out="reference")
            before = before.prev_sibling
        for match in _matches(language, node):
            spans = [one for key, nodes in match.items() if _is_definition(key) for one in nodes]
            spans = spans or [one for nodes in match.values() for one in nodes]
            if any(one.start_byte <= high and one.end_byte >= low for one in spans):
                _add(found, match)
    return {key: sorted(nodes.values(), key=lambda one: one.start_byte) for key, nodes in found.items()}


def _matches(language: Language, node: tree_sitter.Node) -> Iterator[Mapping[str, Sequence[tree_sitter.Node]]]:
    """What the query finds that begins at this very node."""
    import tree_sitter  # noqa: PLC0415 - this module is only imported by who parses, and typed without

    query = language.load_whole()[1]
    if query is not None:
        cursor = tree_sitter.QueryCursor(query)
        cursor.set_max_start_depth(0)
        for _, match in cursor.matches(node):
            yield match


def _add(
    found: dict[str, dict[int, tree_sitter.Node]],
    captured: Mapping[str, Sequence[tree_sitter.Node]],
    leave_out: str = "",
) -> None:
    for key, nodes in captured.items():
        if key != leave_out:
            found.setdefault(key, {}).update((node.id, node) for node in nodes)


def _is_definition(capture: str) -> bool:
    return capture == "scope" or capture.startswith("definition.")


# --- bytes and rows --------------------------------------------------------------------------------------------------


def _change(old: bytes, new: bytes) -> _Change:
    start = _common(old, new)
    most = min(len(old), len(new)) - start
    tail = _common(old[len(old) - most :][::-1], new[len(new) - most :][::-1])
    # Both ends between characters: a tree's ends are, too.
    while start and start < len(new) and 0x80 <= new[start] < 0xC0:
        start -= 1
    while tail and 0x80 <= new[len(new) - tail] < 0xC0:
        tail -= 1
    return _Change(start, len(old) - tail, len(new) - tail)


def _common(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning are the same."""
    most = min(len(one), len(other))
    at = 0
    while at < most and one[at : at + _BLOCK] == other[at : at + _BLOCK]:
        at += _BLOCK
    at = min(at, most)
    while at < most and one[at] == other[at]:
        at += 1
    return at


def _moved(starts: Sequence[int], data: bytes, change: _Change) -> list[int]:
    """Where the rows begin after a change."""
    by = change.new_end - change.old_end
    before, behind = bisect_right(starts, change.start), bisect_right(starts, change.old_end)
    inside = [change.start + at.end() for at in _ROWS.finditer(data[change.start : change.new_end])]
    return [*starts[:before], *inside, *[at + by for at in starts[behind:]]]


def _point(starts: Sequence[int], at: int) -> tuple[int, int]:
    row = bisect_right(starts, at) - 1
    return row, at - starts[row]


def _last_row(node: tree_sitter.Node) -> int:
    """The row of a node's last character; some nodes have the line's end in them."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row
