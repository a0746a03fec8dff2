"""The tool `find_references`: where a name is used.

Never follows types or imports: another thing of the same name is found too, and the model has to look.
"""

from __future__ import annotations

import re
import time
from typing import Any

from glm_lsp.errors import BadArguments
from glm_lsp.languages import parse
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import (
    LINE_WIDTH,
    Outcome,
    Tool,
    ToolContext,
    bounded,
    parameter,
    schema,
    stopped,
    texts,
    worth_a_look,
)

PLACES_AT_ONCE = 100
OTHERS_AT_ONCE = 20
SECONDS = 10.0


def _title(arguments: dict[str, Any]) -> str:
    return f"Looked for uses of {arguments.get('name', '')}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    name = re.split(r"::|\.|#|->", arguments["name"].strip().removesuffix("()"))[-1]
    if not re.fullmatch(r"[^\W\d]\w*[?!]?|[$@]+\w+", name):
        raise BadArguments(f"{arguments['name']!r} is not a name.", hint="Use search for anything else.")
    # A `$` belongs to the name in some languages, so it bounds none.
    word = re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")
    deadline = time.monotonic() + SECONDS
    uses: list[str] = []
    others: list[str] = []
    files: set[str] = set()
    cut_short = False
    glob = arguments.get("files")
    for path, text in texts(context, glob, only=worth_a_look(context, glob, [name.strip("$@?!")])):
        if time.monotonic() > deadline or context.stop.is_set():
            cut_short = True
            break
        offsets = [found.start() for found in word.finditer(text.content)] if name in text.content else []
        parsed = parse(path, text.content) if offsets else None
        in_code: dict[int, bool] = {}
        for offset in offsets:
            line = text.line_of(offset)
            if in_code.get(line) is not True:
                in_code[line] = parsed is not None and not parsed.in_literal(offset)
        for line, code in in_code.items():
            (uses if code else others).append(f"{path}:{line}|{text.line(line)[:LINE_WIDTH]}")
        if any(in_code.values()):
            files.add(path)
    note = stopped(SECONDS, "name files") if cut_short else ""
    if not uses and not others:
        return Outcome("nothing", f"The name {name} is nowhere.{note}")
    shown = bounded(uses, PLACES_AT_ONCE, "more: name files")
    if others:
        shown.append("In strings, comments, templates and plain text:")
        shown += bounded(others, OTHERS_AT_ONCE, "more: search shows them")
    where = f" in {len(files)} files" if len(files) > 1 else ""
    return Outcome(f"{len(uses)} place{'s' * (len(uses) != 1)}{where}", "\n".join(shown) + note)


TOOL = Tool(
    spec=ToolSpec(
        "find_references",
        "Finds the places where a name stands as a whole word: those in code first, then those in strings, comments "
        "and plain text. Each line comes as `path:number|text`. Other things of the same name are found too.",
        schema(
            ("name",),
            name=parameter("string", "The name: `total`. Of `Cart.total`, the last part counts."),
            files=parameter("string", "Only files matching this pattern, as in .gitignore. Default: all."),
        ),
    ),
    title=_title,
    run=_run,
    at_once=True,
)
