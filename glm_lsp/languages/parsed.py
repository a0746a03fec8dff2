"""A text and its syntax tree: where it is broken, what it defines, and what an edit makes of it.

Never reads a file, and never says what should be done about a fault.

Offsets are characters of the text everywhere outside this module; tree-sitter counts bytes of UTF-8.
Parsing costs about 0.25 s a megabyte and 2 ms again after an edit.
Some grammars need quadratic time for hopeless input (tens of thousands of elements that are never closed), so a text
that takes longer than `SECONDS` counts as one that we have no grammar for.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import tree_sitter

from glm_lsp.languages.matches import Match, in_order, kind_within, matches, parts_of
from glm_lsp.languages.table import Language, language_of
from glm_lsp.terms import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS = 5.0
"""How long one parse may take."""

MOST_FAULTS = 1_000
"""Faults of one text that are told; a text with more is no better for a longer list."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A place where the text breaks the language's syntax; `line` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """One definition.

    Attributes:
        name: its own name, as it is written.
        qualified: with the names of what contains it, by dots: `Class.method`.
        kind: `class`, `function`, `method`, `interface`, `enum`, `type`, `module`, `property`, `key`, `table`, `rule`,
            `heading`; of SQL also `view`, `index`, `trigger`.
        span: all of it, with decorators, attributes, `export` and `template`, so that whoever replaces it replaces
            them too; comments above it and the line's indentation are not part of it.
        name_span: where its name stands.
        body: what stands between its braces or below its head, where the grammar tells it apart; else None.
        first_line: line of the span's start, from 1.
        last_line: line of the span's last character.
    """

    name: str
    qualified: str
    kind: str
    span: Span
    name_span: Span
    body: Span | None
    first_line: int
    last_line: int


class Parsed:
    """A text of a known language, parsed; immutable.

    Attributes:
        language: its row in the table.
        text: the characters that were parsed.
    """

    def __init__(
        self,
        language: Language,
        text: str,
        data: bytes,
        tree: tree_sitter.Tree,
        found: tuple[Match, ...] | None = None,
    ) -> None:
        """Takes a tree that was made from `data`, the text's UTF-8; callers use `parse`."""
        self.language = language
        self.text = text
        self._data = data
        self._tree = tree
        if found is not None:
            self.__dict__["_found"] = found

    def faults(self) -> tuple[Fault, ...]:
        """The syntax errors, in the order of the text; immediate where there is none."""
        return self._faults

    def symbols(self) -> tuple[Symbol, ...]:
        """The definitions, in the order of the text, outer before inner."""
        return self._symbols

    def name_starts(self) -> frozenset[int]:
        """Where the names of all definitions begin; much quicker after an edit than `symbols`."""
        starts = (found.name_start for found in self._found if found.kind != "scope")
        return frozenset(starts if self._is_ascii else map(self._char, starts))

    def in_literal(self, offset: int) -> bool:
        """Whether the character at `offset` belongs to a string or a comment, where whitespace is content."""
        at = min(self._byte(offset), len(self._data))
        node = self._tree.root_node.descendant_for_byte_range(at, at)
        while node is not None:
            if _LITERAL.search(node.type):
                return True
            node = node.parent
        return False

    def outermost(self, span: Span) -> Span:
        """The whole lines of all outermost statements that touch `span`, and of those right beside it."""
        start, end = self._byte(span.start), self._byte(span.end)
        statements = self._tree.root_node.children
        first = bisect_left(statements, start, key=lambda node: node.end_byte)
        last = bisect_right(statements, end, key=lambda node: node.start_byte)
        touched = statements[max(0, first - 1) : last + 1]
        if touched:
            start, end = min(start, touched[0].start_byte), max(end, touched[-1].end_byte)
        start = max(self._data.rfind(b"\n", 0, start), self._data.rfind(b"\r", 0, start)) + 1
        stop = self._data.find(b"\n", end)
        return self._span(start, stop + 1 if stop >= 0 else len(self._data))

    def line_of(self, offset: int) -> int:
        """The line of the character at `offset`, from 1."""
        return self._line(self._byte(offset))

    def line_start(self, offset: int) -> int:
        """Where the line of the character at `offset` begins."""
        return self._char(self._line_starts[self.line_of(offset) - 1])

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its terminator; empty for one that is not there."""
        if not 1 <= number <= len(self._line_starts):
            return ""
        stop = self._line_starts[number] if number < len(self._line_starts) else len(self._data)
        return self._data[self._line_starts[number - 1] : stop].decode("utf-8", "replace").rstrip("\r\n")

    def edited(self, span: Span, new: str) -> Parsed | None:
        """The text with `span` replaced by `new`, parsed again where that is needed; None as for `parse`."""
        text = self.text[: span.start] + new + self.text[span.end :]
        start = self._byte(span.start)
        old = utf8(self.text[span.start : span.end])
        added = utf8(new)
        old_end, new_end = start + len(old), start + len(added)
        data = self._data[:start] + added + self._data[old_end:]
        base = self._tree.copy()
        place = _point(self._data, start)
        base.edit(start, old_end, new_end, place, _after(place, old), _after(place, added))
        tree = syntax_tree(self.language, data, base)
        if tree is None:
            return None
        found = self._found_after(base, tree, start, old_end, new_end) if "_found" in self.__dict__ else None
        return Parsed(self.language, text, data, tree, found)

    # --- what is computed when first asked for -------------------------------------------------------------------

    @cached_property
    def _faults(self) -> tuple[Fault, ...]:
        faults: list[Fault] = []
        pending = [self._tree.root_node]
        while pending and len(faults) < MOST_FAULTS:
            node = pending.pop()
            if node.is_missing:
                faults.append(Fault(self._line(node.start_byte), f"`{node.type}` is missing"))
                continue
            inner = [child for child in node.children if child.has_error or child.is_missing]
            if node.is_error or (node.has_error and not inner):
                # With an error and no node that shows it, a token without a name of its own is missing in there, such
                # as the end of a line.
                what = "is not understood" if node.is_error else "lacks something"
                faults.append(self._fault(node.start_byte, node.end_byte, what))
            pending.extend(reversed(inner))
        return tuple(faults)

    def _fault(self, start: int, end: int, what: str) -> Fault:
        first, last = self._line(start), self._line(max(start, end - 1))
        if first != last:
            return Fault(first, f"what begins here, up to line {last}, {what}")
        words = self._data[start : min(end, start + 160)].decode("utf-8", "ignore").strip()[:40]
        return Fault(first, f"`{words}` {what}")

    @cached_property
    def _found(self) -> tuple[Match, ...]:
        return in_order(matches(self.language, self._tree, None))

    def _found_after(
        self, base: tree_sitter.Tree, tree: tree_sitter.Tree, start: int, old_end: int, new_end: int
    ) -> tuple[Match, ...] | None:
        """The definitions of the edited text: those away from the change moved along, those that it touches anew.

        The ranges that tree-sitter calls changed hold every character that has other nodes around it than before.
        So a definition whose ends and name lie outside of them is still there; a query finds the others, if all of
        what it has to see lies in the range it is given.
        """
        if self.language.leading or not self.language.judged or tree.root_node.has_error:
            # What stands before a definition counts as part of it, or a section of Markdown may end elsewhere now
            # without any other change to it (and no check is waiting), or a broken text was mended in another way than
            # before: look at all of them again.
            return None
        changed = base.changed_ranges(tree)
        low = min([start, *(r.start_byte for r in changed)]) - 1
        high = max([new_end, *(r.end_byte for r in changed)]) + 1
        shift = new_end - old_end
        old_high = max(high - shift, old_end + 1)
        kept: list[Match] = []
        from_byte, to_byte = low, high
        for found in self._found:
            if found.end < low:
                kept.append(found)
            elif found.start > old_high:
                kept.append(found.moved(shift))
            elif found.surrounds(low, old_high):
                kept.append(found.grown(shift, old_high))
            else:
                from_byte, to_byte = min(from_byte, found.start), max(to_byte, found.end + shift)
        return in_order([*matches(self.language, tree, (max(0, from_byte), to_byte)), *kept])

    @cached_property
    def _symbols(self) -> tuple[Symbol, ...]:
        symbols: list[Symbol] = []
        outer: list[tuple[int, str, str]] = []  # where it ends, its qualified name, its kind
        for found in self._found:
            while outer and outer[-1][0] <= found.start:
                outer.pop()
            written = self._data[found.name_start : found.name_end].decode("utf-8", "replace")
            parts = parts_of(written, found.kind)
            if found.owner_end:
                parts.insert(0, self._data[found.owner_start : found.owner_end].decode("utf-8", "replace"))
            qualified = ".".join([outer[-1][1], *parts] if outer else parts)
            kind = kind_within(found.kind, outer[-1][2] if outer else "")
            outer.append((found.end, qualified, kind))
            if kind == "scope":
                continue
            symbols.append(
                Symbol(
                    name=parts[-1],
                    qualified=qualified,
                    kind=kind,
                    span=self._span(found.start, found.end),
                    name_span=self._span(found.name_start, found.name_end),
                    body=self._span(found.body_start, found.body_end) if found.body_end else None,
                    first_line=self._line(found.start),
                    last_line=self._line(max(found.start, found.end - 1)),
                )
            )
        return tuple(symbols)

    # --- bytes, characters and lines -----------------------------------------------------------------------------

    @cached_property
    def _is_ascii(self) -> bool:
        return len(self._data) == len(self.text)

    @cached_property
    def _before_block(self) -> Sequence[int]:
        """How many characters begin before each block of the bytes."""
        blocks = range(0, len(self._data), _BLOCK)
        return [0, *accumulate(_characters(self._data[at : at + _BLOCK]) for at in blocks)]

    def _char(self, byte: int) -> int:
        if self._is_ascii:
            return byte
        block = byte // _BLOCK
        return self._before_block[block] + _characters(self._data[block * _BLOCK : byte])

    def _byte(self, char: int) -> int:
        return char if self._is_ascii else len(utf8(self.text[:char]))

    def _span(self, start: int, end: int) -> Span:
        return Span(start, end) if self._is_ascii else Span(self._char(start), self._char(end))

    @cached_property
    def _line_starts(self) -> Sequence[int]:
        r"""Bytes at which lines begin; a line ends at `\n`, `\r\n` or `\r`, as in editors."""
        if b"\r" not in self._data:
            return [0, *accumulate(len(line) + 1 for line in self._data.split(b"\n"))]
        return [0, *(m.end() for m in re.finditer(rb"\r\n|\r|\n", self._data))]

    def _line(self, byte: int) -> int:
        return bisect_right(self._line_starts, byte)


def parse(of: str | Language, text: str) -> Parsed | None:
    """Parses a text; None where its language is unknown or where parsing takes longer than `SECONDS`.

    Args:
        of: the file's path, or its language.
        text: its characters; terminators as they are.
    """
    language = language_of(of) if isinstance(of, str) else of
    if language is None:
        return None
    data = utf8(text)
    tree = syntax_tree(language, data)
    return None if tree is None else Parsed(language, text, data, tree)


def find_symbol(symbols: Iterable[Symbol], wanted: str) -> tuple[Symbol, ...]:
    """The definitions that `wanted` means: those so qualified, else those whose qualified name ends in it.

    Several where the name alone does not tell them apart; `::`, `#` and `->` are read as dots.
    """
    wanted = re.sub(r"::|#|->", ".", wanted.strip()).removesuffix("()")
    known = tuple(symbols)
    exact = tuple(s for s in known if s.qualified == wanted)
    return exact or tuple(s for s in known if s.qualified.endswith(f".{wanted}"))


_BLOCK = 4096
_CHUNK = 65_536  # bytes handed to the parser at once
_SMALL = 32_768  # bytes from which on a parse has a time limit
_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character
_LITERAL = re.compile("string|comment|heredoc|template|text|scalar|regex|^section$")  # a section is prose, in Markdown


def syntax_tree(
    language: Language,
    data: bytes,
    base: tree_sitter.Tree | None = None,
    *,
    seconds: float | None = None,
    unwatched: int = _SMALL,
) -> tree_sitter.Tree | None:
    """The tree of a text's UTF-8; None where it takes longer than `seconds`, which is `SECONDS` unless given.

    Up to `unwatched` bytes there is no such limit.
    """
    parser = tree_sitter.Parser(language.load()[0])
    deadline = time.monotonic() + (SECONDS if seconds is None else seconds)

    def read(at: int, _point: tree_sitter.Point) -> bytes:
        return data[at : at + _CHUNK]

    def late(_at: int, _has_error: bool) -> bool:
        return time.monotonic() > deadline

    if base is None and len(data) <= max(unwatched, _SMALL):
        return parser.parse(data)  # asking for the time now and then is a fifteenth of the cost
    try:
        if base is None:
            return parser.parse(read, progress_callback=late)
        return parser.parse(read, base, progress_callback=late)
    except ValueError:  # how the binding says that the deadline ended it
        return None


def utf8(text: str) -> bytes:
    """The bytes of a text; half a surrogate pair becomes one question mark: one character, one byte."""
    return text.encode("utf-8", "replace")


def _characters(data: bytes) -> int:
    return len(data.translate(None, _CONTINUATION))


def _point(data: bytes, at: int) -> tree_sitter.Point:
    line_start = data.rfind(b"\n", 0, at) + 1
    return tree_sitter.Point(data.count(b"\n", 0, line_start), at - line_start)


def _after(place: tree_sitter.Point, data: bytes) -> tree_sitter.Point:
    rows = data.count(b"\n")
    return tree_sitter.Point(place.row + rows, len(data) - data.rfind(b"\n") - 1 if rows else place.column + len(data))
