"""The tool `find_symbol`: where functions, methods, classes and the like are defined.

Never guesses: names come from the syntax trees of the files, as the draft has them.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from glm_lsp.errors import BadArguments
from glm_lsp.languages import find_symbol, language_of, parse
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import (
    LINE_WIDTH,
    Outcome,
    Tool,
    ToolContext,
    bounded,
    parameter,
    paths_of,
    schema,
    stopped,
    texts,
    uncertain,
)

if TYPE_CHECKING:
    from glm_lsp.languages import Parsed, Symbol

SYMBOLS_AT_ONCE = 60
SECONDS = 10.0
MANY = 2_000
"""Definitions with a part of a name, above which the index narrows nothing down."""


def _title(arguments: dict[str, Any]) -> str:
    return f"Looked for {arguments.get('name', '')}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    wanted = re.sub(r"::|#|->", ".", arguments["name"].strip()).removesuffix("()").strip(".")
    if not wanted:
        raise BadArguments("The name is empty.", hint="Give a name or a part of one.")
    word = wanted.rpartition(".")[2].casefold()
    deadline = time.monotonic() + SECONDS
    exact: list[str] = []
    part: list[str] = []
    cut_short = False
    glob = arguments.get("files")
    for path, text in texts(context, glob, only=_promising(context, glob, word)):
        if time.monotonic() > deadline or context.stop.is_set():
            cut_short = True
            break
        if language_of(path) is None or word not in text.content.casefold():
            continue
        parsed = parse(path, text.content)
        symbols = parsed.symbols() if parsed is not None else ()
        named = set(find_symbol(symbols, wanted))
        for symbol in symbols:
            if symbol in named or (word in symbol.name.casefold() and wanted.casefold() in symbol.qualified.casefold()):
                assert parsed is not None  # noqa: S101 - for the type checker: it has symbols
                (exact if symbol in named else part).append(_line(path, parsed, symbol))
    note = stopped(SECONDS, "name files") if cut_short else ""
    found = exact + part
    if not found:
        return Outcome("nothing", f"Nothing that is defined here is called {arguments['name']!r}.{note}")
    words = f"{len(exact)} of that name" if exact else f"{len(part)} with it in their name"
    shown = bounded(found, SYMBOLS_AT_ONCE, "more: give more of the name, or name files")
    return Outcome(words, "\n".join(shown) + note)


def _promising(context: ToolContext, glob: str | None, word: str) -> frozenset[str] | None:
    """The files that may define a name with `word` in it; None where all are to be looked at."""
    index = context.index
    if index is None or not index.looked or not word.isascii() or not index.wait(1, 0) or not index.status.writer:
        return None
    found = index.symbols(word, how="substring", limit=MANY)
    if len(found) >= MANY:
        return None
    listed = paths_of(context, glob)
    unparsed = {path for path, _ in index.status.failed} | {
        path for path in listed if not index.kind_of(path).is_parsed
    }
    return frozenset(one.path for one in found).union(unparsed, uncertain(context, listed))


def _line(path: str, parsed: Parsed, symbol: Symbol) -> str:
    number = parsed.line_of(symbol.name_span.start)
    return f"{path}:{number} {symbol.kind} {symbol.qualified} | {parsed.line(number).strip()[:LINE_WIDTH]}"


TOOL = Tool(
    spec=ToolSpec(
        "find_symbol",
        "Finds definitions by name, or by a part of it: first those of exactly this name, then others. Each comes as "
        "`path:line kind qualified-name | its line`.",
        schema(
            ("name",),
            name=parameter("string", "The name, with its class where that helps: `total`, `Cart.total`."),
            files=parameter("string", "Only files matching this pattern, as in .gitignore. Default: all."),
        ),
    ),
    title=_title,
    run=_run,
    at_once=True,
)
