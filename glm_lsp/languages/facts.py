"""What the index keeps of one file: what it defines, which names it uses where, and what it imports.

Never reads a file, and never looks at another one: which definition a used name means is for whoever knows all files.

One parse and one pass of one query; all the rest works on bytes, and only names become characters.
That costs about twice what parsing alone does: a query's walk over the tree is a quarter of a parse even where it finds
nothing, and a sixth each goes to what it captures, the definitions, and the words by line. Headers full of macros cost
four times their parsing, since their definitions are many and their trees flat.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import tree_sitter

from glm_lsp.languages.matches import is_hopeless, kind_within, parts_of
from glm_lsp.languages.parsed import SECONDS, syntax_tree, utf8
from glm_lsp.languages.table import Language, language_of
from glm_lsp.languages.words import LONGEST, Names, names_by_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SIGNATURE = 200
"""Characters of a signature that are kept."""

DOC = 160
"""Characters of a documentation line that are kept."""

Row = tuple[str, str, str, int, int, int, int, str, str]
"""The fields of a definition, in their order."""


class Definition(NamedTuple):
    """One definition: a row with names for its fields, since there may be very many.

    Attributes:
        name: its own name, as it is written.
        qualified: with the names of what contains it, by dots: `Cart.total`.
        kind: as of `Symbol`.
        first_line: the line that it begins on, from 1, with what belongs to it: decorators, attributes, `export`.
        last_line: the line of its last character.
        line: the line of its name.
        column: where its name begins on that line, in characters from 0.
        signature: its head on one line without decorators and body, at most `SIGNATURE` characters.
        doc: the first line of its docstring or of the comment right above it, at most `DOC` characters; else empty.
    """

    name: str
    qualified: str
    kind: str
    first_line: int
    last_line: int
    line: int
    column: int
    signature: str
    doc: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What one file says.

    Attributes:
        definitions: in the order of the text, outer before inner.
        uses: the lines on which each name is used, from 1, ascending, each once. Names in strings and comments do not
            count, and neither does a definition's own name where it is defined.
        imports: what is imported, as written but without quotes, in the order of the text, each once.
    """

    definitions: tuple[Definition, ...]
    uses: dict[str, tuple[int, ...]]
    imports: tuple[str, ...]


def facts(path: str, text: str, *, seconds: float = SECONDS) -> Facts | None:
    """Reads the facts out of a text.

    None where we have no grammar for the path, where it takes longer than `seconds`, or where the text is so broken
    that nothing sensible can be said.
    """
    found = found_in(path, text, seconds=seconds)
    if found is None:
        return None
    return Facts(tuple(map(Definition._make, found.definitions)), _named(found.uses.lines()), found.imports)


class Found(NamedTuple):
    """The same as `Facts`, as it is found, for whoever only hands it on: making it presentable takes a while.

    `definitions` are the fields of each in their order; of `uses`, too long names may be some.
    """

    definitions: list[Row]
    uses: Names
    imports: tuple[str, ...]


def found_in(path: str, text: str, *, seconds: float = SECONDS, unwatched: int = 0) -> Found | None:
    """Finds what `facts` tells; a text of up to `unwatched` bytes may take longer, which spares looking at the clock."""
    language = language_of(path)
    if language is None:
        return None
    data = utf8(text)
    tree = syntax_tree(language, data, seconds=seconds, unwatched=unwatched)
    if tree is None or is_hopeless(tree):
        return None
    page = _Page(data, len(data) == len(text), _line_starts(data))
    by_word = language.load_by_word()[1]
    own: list[tuple[int, int]] = []
    if by_word is None or _has_odd_ends(data):  # the grammars take `\r` alone for a space, and see no lines there
        captured = captures(language, tree.root_node)
        definitions = list(_definitions(language, page, captured, own))
        uses = Names.of(_uses(page, captured.get("reference", ()), own))
        return Found(definitions, uses, imports_from(data, captured))
    captured = tree_sitter.QueryCursor(by_word).captures(tree.root_node)
    definitions = list(_definitions(language, page, captured, own))
    return Found(definitions, names_by_word(language, data, captured, own), imports_from(data, captured))


def captures(
    language: Language, node: tree_sitter.Node, *, depth: int | None = None
) -> Mapping[str, Sequence[tree_sitter.Node]]:
    """What the language's query finds in a node; given a depth, only what begins at most so far below it."""
    # There is no time limit: the binding crashes when captures() is given a callback.
    query = language.load_whole()[1]
    if query is None:
        return {}
    cursor = tree_sitter.QueryCursor(query)
    if depth is not None:
        cursor.set_max_start_depth(depth)
    return cursor.captures(node)


def facts_from(
    language: Language,
    data: bytes,
    captured: Mapping[str, Sequence[tree_sitter.Node]],
    *,
    is_ascii: bool,
    starts: Sequence[int] | None = None,
) -> Facts:
    """The facts that these captures tell, each node once for each capture; `starts` are the lines' bytes, if known."""
    page = _Page(data, is_ascii, starts if starts is not None else _line_starts(data))
    own: list[tuple[int, int]] = []
    definitions = tuple(map(Definition._make, _definitions(language, page, captured, own)))
    return Facts(definitions, _named(_uses(page, captured.get("reference", ()), own)), imports_from(data, captured))


class Spanned(Protocol):
    """What has a place in the text, such as a node."""

    @property
    def start_byte(self) -> int:
        """Its first byte."""
        ...

    @property
    def end_byte(self) -> int:
        """The byte behind it."""
        ...


class _Page(NamedTuple):
    """The bytes of a text, whether each is one character, and the bytes at which its lines begin."""

    data: bytes
    is_ascii: bool
    starts: Sequence[int]


class _Found(NamedTuple):
    """One definition, in bytes: all of it, where its signature begins, its own node, and its name."""

    start: int
    end: int
    head: int
    node: tree_sitter.Node
    name_start: int
    name_end: int
    owner: str
    kind: str


def _line_starts(data: bytes) -> Sequence[int]:
    r"""Bytes at which lines begin; a line ends at `\n`, `\r\n` or `\r`, as in editors."""
    starts = list(accumulate(map(len, data.splitlines(keepends=True)), initial=0))
    if not data.endswith((b"\n", b"\r")) and data:
        starts.pop()
    return starts


def _has_odd_ends(data: bytes) -> bool:
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


# --- definitions -----------------------------------------------------------------------------------------------------


def _definitions(
    language: Language, page: _Page, captured: Mapping[str, Sequence[tree_sitter.Node]], own: list[tuple[int, int]]
) -> Iterator[Row]:
    """The definitions in the order of the text; puts into `own` where their names begin."""
    data, is_ascii, starts = page
    outer: list[tuple[int, str, str]] = []  # where it ends, its qualified name, its kind
    last: tree_sitter.Node | None = None
    for found in _with_attributes(data, _found(data, captured), captured.get("leading", ())):
        start, end, head, node, name_start, name_end, owner, kind = found
        while outer and (outer[-1][0] <= start or node is last):  # one declaration may define several names
            outer.pop()
            last = None
        last = node
        written = data[name_start:name_end].decode("utf-8", "replace")
        parts = parts_of(written, kind)
        name = parts[-1]
        if owner:
            parts.insert(0, owner)
        if outer:
            parts.insert(0, outer[-1][1])
            kind = kind_within(kind, outer[-1][2])
        qualified = ".".join(parts) if len(parts) > 1 else name
        outer.append((end, qualified, kind))
        if kind == "scope":
            continue
        at = name_start
        if name is not written and data[name_end - len(name.encode()) : name_end] == name.encode():
            at = name_end - len(name.encode())
        own.append((at, name_end))
        # A macro has no body, and a file of them very many of these.
        body = 0 if kind == "constant" and data.startswith(b"#define", head) else _body(node)
        first = bisect_right(starts, start)
        line = first if first == len(starts) or at < starts[first] else bisect_right(starts, at, first)
        last_byte = end - 1 if end > start else start
        column = at - starts[line - 1]
        yield (
            name[:LONGEST],
            qualified[: 2 * LONGEST],
            kind,
            first,
            line if line == len(starts) or last_byte < starts[line] else bisect_right(starts, last_byte, line),
            line,
            column if is_ascii else len(data[starts[line - 1] : at].decode("utf-8", "replace")),
            _signature(language, data[head : min(body if body > head else end, head + 4 * SIGNATURE)], body > head),
            _doc(language, page, first - 1, body),
        )


def _found(data: bytes, captured: Mapping[str, Sequence[tree_sitter.Node]]) -> list[_Found]:
    """Puts each captured name to the definition that it belongs to.

    A name belongs to the innermost definition around it. What has no name of its own, such as `export` or what holds
    the decorators, belongs to the first definition in it: the widest counts.
    """
    spans: list[tuple[int, int, str, tree_sitter.Node]] = []
    for capture, nodes in captured.items():
        if capture == "scope" or capture.startswith("definition."):
            kind = capture.removeprefix("definition.")
            spans += [(node.start_byte, -node.end_byte, kind, node) for node in nodes]
    spans.sort(key=itemgetter(0, 1))
    names: list[list[tuple[int, int]]] = [[] for _ in spans]
    owners: dict[int, str] = {}
    around: list[int] = []
    at = 0
    for start, end, is_owner in _names(captured):
        while at < len(spans) and spans[at][0] <= start:
            while around and -spans[around[-1]][1] <= spans[at][0]:
                around.pop()
            around.append(at)
            at += 1
        while around and -spans[around[-1]][1] <= start:
            around.pop()
        if not around:
            continue
        if is_owner:
            owners[around[-1]] = data[start:end].decode("utf-8", "replace")
        else:
            names[around[-1]].append((start, end))
    found: list[_Found] = []
    wider: tuple[int, int, tree_sitter.Node] | None = None
    for at, (start, negative, kind, node) in enumerate(spans):
        end = -negative
        if wider is not None and wider[1] < end:
            wider = None  # it lies behind the definition that has no name
        if not names[at]:
            wider = wider or (start, end, node)
            continue
        first, last, whole = wider or (start, end, node)
        wider = None
        head = _head(whole) if data.startswith(_DECORATED, first) else first
        for name_start, name_end in names[at]:
            found.append(_Found(first, last, head, node, name_start, name_end, owners.get(at, ""), kind))
    return found


def _names(captured: Mapping[str, Sequence[tree_sitter.Node]]) -> Iterable[tuple[int, int, bool]]:
    """The names and the owners in the order of the text, each once, and whether it is an owner."""
    spans = {(node.start_byte, node.end_byte, False) for node in captured.get("name", ())}
    spans.update((node.start_byte, node.end_byte, True) for node in captured.get("owner", ()))
    return sorted(spans)


def _with_attributes(data: bytes, found: list[_Found], attributes: Sequence[tree_sitter.Node]) -> Iterable[_Found]:
    """The same, in order, with the attributes that stand in front of them as nodes of their own."""
    if not attributes:
        return found
    spans = sorted((node.end_byte, node.start_byte) for node in attributes)
    for at, one in enumerate(found):
        start = one.start
        before = bisect_right(spans, (start, start)) - 1
        while before >= 0 and not data[spans[before][0] : start].strip():
            start = spans[before][1]
            before -= 1
        if start != one.start:
            found[at] = one._replace(start=start)
    return found


def _head(node: tree_sitter.Node) -> int:
    """Where a definition begins when its decorators, annotations and attributes are left out."""
    for child in node.children:
        if _DECORATION.search(child.type):
            continue
        if child.type == "modifiers":
            inner = _head(child)
            if inner < child.end_byte:
                return inner
            continue
        return child.start_byte
    return node.end_byte


def _body(node: tree_sitter.Node) -> int:
    """Where the body of a definition begins; 0 where the grammar does not tell it apart."""
    body = node.child_by_field_name("body")
    if body is None:
        value = node.child_by_field_name("value")
        if value is not None:
            body = value.child_by_field_name("body")
        else:
            body = next((child for child in node.children if child.type.endswith("_body")), None)
    return body.start_byte if body is not None else 0


def _signature(language: Language, head: bytes, is_head: bool) -> str:
    """The head on one line; what is no head alone ends where a body or a line does, outside of brackets."""
    if not is_head:
        head = _head_of(head)
    sign, comment = _comment(language.comment)
    if sign and sign in head:
        head = comment.sub(b"", head)
    words = " ".join(head.decode("utf-8", "replace").split())
    if words.endswith("=>"):
        words = words[:-2].rstrip()
    elif words.endswith(_TRAILING):
        words = words[:-1].rstrip()
    return words[:SIGNATURE]


def _head_of(written: bytes) -> bytes:
    """What of a definition stands before its body or the end of a line, brackets aside."""
    line = written.partition(b"\n")[0]
    closed = line.count(b"(") <= line.count(b")") and line.count(b"[") <= line.count(b"]")
    if closed and _BRACE.search(line) is None:  # as nearly always, which is soon told
        return line
    depth = 0
    for mark in _MARKS.finditer(written):
        sign = mark.group()
        if depth <= 0 and sign in _ENDS:
            return written[: mark.start()]
        depth += 1 if sign in b"([{" else -1 if sign in b")]}" else 0
    return written


@functools.cache
def _comment(sign: str) -> tuple[bytes, re.Pattern[bytes]]:
    """The sign that begins a comment, and what finds such a comment at the end of a line."""
    return sign.encode(), re.compile(rb"(?:^|\s)" + re.escape(sign.encode()) + rb"(?:\s.*)?$", re.MULTILINE)


# --- documentation ---------------------------------------------------------------------------------------------------


def _doc(language: Language, page: _Page, row: int, body: int) -> str:
    """What documents a definition that begins on a row, from 0."""
    data, starts = page.data, page.starts
    if language.docstrings and body:
        string = _DOCSTRING.match(data, body)
        if string is not None:
            return _first_line(data[string.end() : string.end() + 4 * DOC].split(string.group(1))[0])
    above = data[starts[row - 1] : starts[row]].strip() if row else b""
    if not above:
        return ""
    first = row
    sign = _comment(language.comment)[0]
    if sign and above.startswith(sign):
        while first and row - first < _HIGHEST and data[starts[first - 1] : starts[first]].lstrip().startswith(sign):
            first -= 1
        return _first_line(data[starts[first] : starts[row]])
    if above.endswith(b"*/"):
        low = starts[max(0, row - _HIGHEST)]
        opening = data.rfind(b"/*", low, starts[row])
        if opening >= 0 and not data[starts[bisect_right(starts, opening) - 1] : opening].strip():
            return _first_line(data[opening : starts[row]])
    return ""


def _first_line(written: bytes) -> str:
    """The first line that says something, without the signs and markup of comments."""
    for line in written.decode("utf-8", "replace").splitlines():
        words = _COMMENT_SIGNS.sub("", line).strip()
        if words and any(sign.isalnum() for sign in words) and not line.startswith("#!"):
            return words[:DOC]
    return ""


# --- uses and imports ------------------------------------------------------------------------------------------------


def _uses(page: _Page, nodes: Sequence[tree_sitter.Node], own: Sequence[tuple[int, int]]) -> dict[bytes, list[int]]:
    data, _, starts = page
    known: dict[bytes, list[int]] = defaultdict(list)
    if _has_odd_ends(data):  # tree-sitter counts line feeds alone
        for node in nodes:
            known[data[node.start_byte : node.end_byte]].append(bisect_right(starts, node.start_byte))
    else:
        for node in nodes:
            known[data[node.start_byte : node.end_byte]].append(node.start_point[0] + 1)
    for start, end in own:
        lines = known.get(data[start:end])
        line = bisect_right(starts, start)
        if lines is not None and line in lines:
            lines.remove(line)
    for lines in known.values():
        lines.sort()
    return known


def _named(known: Mapping[bytes, list[int]]) -> dict[str, tuple[int, ...]]:
    """The uses as they are kept, each line once."""
    return {
        word.decode("utf-8", "replace"): tuple(lines) if len(lines) == 1 else tuple(dict.fromkeys(lines))
        for word, lines in known.items()
        if lines and 0 < len(word) <= LONGEST
    }


def imports_from(data: bytes, captured: Mapping[str, Sequence[Spanned]]) -> tuple[str, ...]:
    """The imports that these captures tell."""
    places = [(node.start_byte, data[node.start_byte : node.end_byte]) for node in captured.get("import", ())]
    for node in captured.get("prose", ()):
        written = data[node.start_byte : node.end_byte]
        places.extend((node.start_byte + link.start(), link.group(1) or b"") for link in _LINK.finditer(written))
    places.sort()
    imports = (
        " ".join(written[: 4 * LONGEST].decode("utf-8", "replace").split()).removeprefix("import ").strip("\"'`<>; ")
        for _, written in places
    )
    # A link may lead to anywhere; only those to files of ours say how files hang together.
    return tuple(dict.fromkeys(name for name in imports if name and not _ELSEWHERE.match(name)))


_DECORATED = (b"@", b"[", b"#[")
_DECORATION = re.compile("decorator|annotation|attribute|^line_comment$|^comment$")
_BRACE = re.compile(rb"[{}\r]|=>")
_MARKS = re.compile(rb"[(){}\[\]\n\r]|=>")
_ENDS = frozenset({b"{", b"\n", b"\r", b"=>"})
_TRAILING = ("{", ":", "=", ";", ",", "\\")
_DOCSTRING = re.compile(rb"[rRuU]?(\"\"\"|'''|\"|')")
_HIGHEST = 200  # lines of a comment that are looked at
_COMMENT_SIGNS = re.compile(r"^\s*(?:/\*+!?|//+!?|#+|--+|\*+(?!/))?|\*+/\s*$|</?[A-Za-z][^<>]*>")
_LINK = re.compile(rb"`[^`]*`|\]\(\s*<?([^)\s>]+)")  # a link, or code, in which there is none
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*://|mailto:|#")
