"""What an editor points at, and what can be told of it without reading more than a screenful: its name, its definition.

Never reads a file, and never parses one whole that is large: menus are asked for with every move of the caret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from glm_lsp import languages
from glm_lsp.edits.text import Text
from glm_lsp.terms import Selection, Span

if TYPE_CHECKING:
    from glm_lsp.languages import Language, Parsed, Symbol
    from glm_lsp.terms import Problem

WHOLE = 16_000
"""Characters up to which a file is parsed whole: about 3 ms."""

WINDOW = 300
"""Lines that are parsed of a longer file at most: those of the outermost block around the caret that is no longer."""

_DATA = frozenset({"Markdown", "JSON", "YAML", "TOML", "HTML", "CSS"})
_OTHER_CODE = re.compile(
    r"clj|cljs|dart|elm|erl|ex|exs|f90|fs|groovy|gradle|hs|jl|kt|kts|m|ml|mm|nim|pas|pl|pm|ps1|r|scala|sol|sql|svelte|"
    r"swift|vb|vue|zig"
)
"""Suffixes of programming languages that we have no grammar for."""

_KEYWORDS = frozenset(
    [
        "and",
        "as",
        "async",
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "def",
        "default",
        "delete",
        "do",
        "elif",
        "else",
        "end",
        "enum",
        "except",
        "export",
        "extends",
        "false",
        "finally",
        "fn",
        "for",
        "from",
        "func",
        "function",
        "if",
        "import",
        "in",
        "interface",
        "is",
        "let",
        "match",
        "new",
        "nil",
        "none",
        "not",
        "null",
        "or",
        "pass",
        "package",
        "private",
        "protected",
        "public",
        "return",
        "self",
        "static",
        "struct",
        "switch",
        "this",
        "throw",
        "true",
        "try",
        "type",
        "use",
        "var",
        "void",
        "while",
        "with",
        "yield",
        "None",
        "True",
        "False",
    ]
)
"""Words that are no names in most languages; a name that is one of them is only not offered by its own."""
_TEST = re.compile(r"(?:^|/)(?:tests?|specs?|__tests__)/|(?:^|/)test_[^/]*$|[_.-](?:test|spec)s?\.\w+$|Tests?\.\w+$")
IDENTIFIER = r"[$@]*[^\W\d]\w*[?!]?"
_CLOSES = re.compile(r"[)\]}{]|(?:end|else|elif|elsif|except|finally|rescue|ensure|catch|fi|done|then|do)\b")
_LEADS = re.compile(r"@|#\[|template\b|\[\w")


@dataclass(frozen=True)
class Place:
    """One place in one file, as an editor has it.

    Not slotted, because what is told of it is found when it is first wanted.

    Attributes:
        path: workspace-relative POSIX path.
        text: what the editor shows, saved or not.
        language: the language's name in our table; empty to tell it by the path.
        selection: the selected lines, or those of the caret; None for the file as a whole.
        offset: where the selection begins in `text`, in characters, where that is known more exactly than by its line.
        problems: what is known to be wrong at the place.
        in_file: all that is known to be wrong in the file.
        repository: whether the workspace is git's.
    """

    path: str
    text: Text | str
    language: str = ""
    selection: Selection | None = None
    offset: int | None = None
    problems: tuple[Problem, ...] = ()
    in_file: tuple[Problem, ...] = ()
    repository: bool = False

    @cached_property
    def row(self) -> Language | None:
        """The language's row; None for one we have no grammar for."""
        named = next((row for row in languages.LANGUAGES if row.name == self.language), None)
        return named or languages.language_of(self.path)

    @property
    def content(self) -> str:
        """The text's characters."""
        return self.text.content if isinstance(self.text, Text) else self.text

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.path).name

    @property
    def is_code(self) -> bool:
        """Whether it is a programming language, in which there are functions to work on."""
        if self.row is not None:
            return self.row.name not in _DATA
        return _OTHER_CODE.fullmatch(PurePosixPath(self.path).suffix[1:].lower()) is not None

    @property
    def is_test(self) -> bool:
        """Whether the file looks like one of tests."""
        return _TEST.search(self.path) is not None

    @property
    def is_selected(self) -> bool:
        """Whether something is selected, rather than a caret put somewhere."""
        return self.selection is not None and bool(
            self.selection.text.strip() or self.selection.last_line > self.selection.first_line
        )

    @property
    def lines(self) -> str:
        """The selected lines in words: `lines 3–9`."""
        if self.selection is None:
            return ""
        first, last = self.selection.first_line, self.selection.last_line
        return f"line {first}" if first == last else f"lines {first}–{last}"

    @property
    def target(self) -> str:
        """What a request here is about, in words: the selected lines, else the definition, else the file."""
        if self.is_selected:
            return self.lines
        return self.symbol.qualified if self.symbol is not None else self.name

    @cached_property
    def selected(self) -> str:
        """The selected text, or that of the selected lines."""
        if self.selection is None:
            return ""
        if self.selection.text:
            return self.selection.text
        return "\n".join(self._text.lines()[self.selection.first_line - 1 : self.selection.last_line])

    @cached_property
    def word(self) -> str:
        """The identifier that is selected, or that the caret stands at or in; empty where there is none.

        Where no column is known, that of the definition whose name stands on the line.
        """
        if self.selection is None:
            return ""
        if self.is_selected:
            return found[0] if (found := re.fullmatch(IDENTIFIER, self.selection.text.strip())) else ""
        if self.offset is not None:
            start = self._text.offset_of(self.selection.first_line)
            stop = start + len(self._line(self.selection.first_line))
            for found in re.finditer(IDENTIFIER, self.content[start:stop]):
                if start + found.start() <= self.offset <= start + found.end():
                    return found[0] if found[0] not in _KEYWORDS else ""
            return ""
        symbol = self.symbol
        if symbol is None or symbol.name not in self._line(self.selection.first_line):
            return ""
        return symbol.name if self._text.line_of(symbol.name_span.start) == self.selection.first_line else ""

    @cached_property
    def symbol(self) -> Symbol | None:
        """The innermost definition around the selection's first line; None where none is known.

        In a long file it is found by the block around it, and its qualified name may lack what lies further out.
        """
        window = self._window
        if window is None or self.selection is None:
            return None
        line = self.selection.first_line - window.first + 1
        inside = [
            symbol
            for symbol in window.parsed.symbols()
            if symbol.first_line <= line <= symbol.last_line and symbol.name_span.start >= window.put
        ]
        if not inside:
            return None
        innermost = max(inside, key=lambda symbol: symbol.span.start)
        by = self._text.offset_of(window.first) - window.put
        return replace(
            innermost,
            qualified=window.owner + innermost.qualified,
            span=_moved(innermost.span, by),
            name_span=_moved(innermost.name_span, by),
            body=_moved(innermost.body, by) if innermost.body else None,
            first_line=innermost.first_line + window.first - 1,
            last_line=innermost.last_line + window.first - 1,
        )

    # --- how little is parsed ------------------------------------------------------------------------------------

    @cached_property
    def _text(self) -> Text:
        return self.text if isinstance(self.text, Text) else Text(self.text)

    def _line(self, number: int) -> str:
        lines = self._text.lines()
        return lines[number - 1] if 1 <= number <= len(lines) else ""

    @cached_property
    def _window(self) -> _Window | None:
        """What is parsed; None where that is nothing."""
        if self.row is None or self.selection is None or self.row.name in _DATA:
            return None
        if len(self.content) <= WHOLE:
            parsed = languages.parse(self.row, self.content)
            return None if parsed is None else _Window(1, 0, "", parsed)
        block = self._block(self.selection.first_line - 1)
        if block is None:
            return None
        first, end, outside = block
        source = self.content[self._text.offset_of(first + 1) : self._text.offset_of(end + 1)]
        if len(source) > 2 * WHOLE:
            return None
        named = _OWNER.search(outside)
        put = _PHP if self.row.name == "PHP" else ""
        if outside and self.row.name in _BRACED:
            put += f"class {named[1] if named else '_'} {{ "  # many a method is one only inside a class
        parsed = languages.parse(self.row, put + source)
        owner = f"{named[1]}." if named and self.row.name not in _BRACED else ""
        return None if parsed is None else _Window(first + 1, len(put), owner, parsed)

    def _block(self, at: int) -> tuple[int, int, str] | None:
        """The outermost block around line `at` of at most `WINDOW` lines, told by indentation; lines count from 0 here.

        Its first line, the one behind its last, and the line that begins the block around it; empty where none does.
        """
        lines = self._text.lines()
        while 0 < at < len(lines) and not lines[at].strip():
            at -= 1
        if not 0 <= at < len(lines) or not lines[at].strip():
            return None
        heads = [at]
        depth = _indent(lines[at]) + bool(_CLOSES.match(lines[at].lstrip()))
        for number in range(at - 1, -1, -1):
            if depth == 0:
                break
            line = lines[number]
            if not line or line[:depth].isspace() or _CLOSES.match(line.lstrip()):
                continue  # blank, as deep as what we have, or the middle of a block
            heads.append(number)
            depth = _indent(line)
        for number, head in reversed(list(enumerate(heads))):
            end = self._end(head)
            if at < end <= head + WINDOW:
                first = head
                while first and _leads(lines[first - 1], lines[head]):
                    first -= 1
                return first, end, lines[heads[number + 1]] if number + 1 < len(heads) else ""
        return None

    def _end(self, head: int) -> int:
        """Behind the last line of the block that line `head` begins; not looked for further than `WINDOW` lines."""
        lines = self._text.lines()
        depth = _indent(lines[head])
        body = head + 1
        while body < len(lines) and _LEADS.match(lines[body - 1].lstrip()):
            body += 1  # behind decorators comes what they belong to
        for number in range(body, min(len(lines), head + WINDOW + 1)):
            line = lines[number]
            if line.strip() and _indent(line) <= depth and not _CLOSES.match(line.lstrip()):
                return number
        return min(len(lines), head + WINDOW + 1)


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of a file that is parsed: its first line, the characters put before it, and what owns all of it."""

    first: int
    put: int
    owner: str
    parsed: Parsed


_PHP = "<?php "
_BRACED = frozenset({"JavaScript", "TypeScript", "TSX", "Java", "C#", "PHP", "C++"})
_OWNER = re.compile(r"\b(?:class|interface|struct|enum|trait|impl|module|namespace)\s+(\w+)")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _leads(line: str, head: str) -> bool:
    """Whether a line is a decorator or attribute of what `head` begins."""
    return _LEADS.match(line.lstrip()) is not None and _indent(line) == _indent(head)


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by)
