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
from glm_lsp.tools.tool import LINE_WIDTH, Outcome, Tool, ToolContext, parameter, schema, texts

if TYPE_CHECKING:
    from glm_lsp.languages import Parsed, Symbol

SYMBOLS_AT_ONCE = 60
SECONDS = 10.0


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
    for path, text in texts(context, arguments.get("files")):
        if time.monotonic() > deadline or context.stop.is_set():
            cut_short = True
            break
        if language_of(path) is None or word not in text.content.casefold():
            continue
        parsed = parse(path, text.content)
        symbols = parsed.symbols() if parsed is not None else ()
        named = set(find_symbol(symbols, wanted))
        for symbol in symbols:
            if symbol in named or wanted.casefold() in symbol.qualified.casefold():
                assert parsed is not None  # noqa: S101 - for the type checker: it has symbols
                (exact if symbol in named else part).append(_line(path, parsed, symbol))
    note = f"\n[stopped after {SECONDS:.0f} seconds: name files]" if cut_short else ""
    found = exact + part
    if not found:
        return Outcome("nothing", f"Nothing that is defined here is called {arguments['name']!r}.{note}")
    if len(found) > SYMBOLS_AT_ONCE:
        note = f"\n[{len(found) - SYMBOLS_AT_ONCE} more: give more of the name, or name files]{note}"
    words = f"{len(exact)} of that name" if exact else f"{len(part)} with it in their name"
    return Outcome(words, "\n".join(found[:SYMBOLS_AT_ONCE]) + note)


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
