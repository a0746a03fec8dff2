"""The action `extract_function`: the selected lines become a function that is called in their place.

Never takes a result in which the new function is not used where the code was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.actions import names
from glm_lsp.actions.action import Action
from glm_lsp.terms import Objection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.actions.place import Place
    from glm_lsp.languages import Parsed
    from glm_lsp.terms import Ask, FileChange


def check(ask: Ask, changes: Sequence[FileChange]) -> tuple[Objection, ...]:
    """Says where there is no new function, where it is not called in place of the code, or where the code stayed."""
    files = names.versions(changes)
    here, scope = names.around(files, ask)
    if here is None or here.before is None or here.after is None:
        return ()
    selection = ask.selections[0]
    made = [(file, symbol) for file in files for symbol in file.made if symbol.kind in {"function", "method"}]
    if not made:
        if len(files) < len(changes) or any(file.made for file in files):
            return ()  # in a file that we cannot read, or of a kind that we do not know
        message = "No new function was defined. Define one that holds the selected code, and call it in its place."
        return (Objection(here.path, selection.first_line, "extract", message),)
    again = [s for s in here.new_symbols if scope is not None and s.qualified == scope.qualified]
    within = again[0] if len(again) == 1 else None
    own = [symbol.span for file, symbol in made if file is here]
    span = within.span if within is not None else None
    line = within.first_line if within is not None else selection.first_line
    where = f"in {within.qualified}" if within is not None else f"in {here.path}"
    if not any(names.uses(here.after, symbol.name, span, own) for _, symbol in made):
        listed = ", ".join(dict.fromkeys(symbol.qualified for _, symbol in made))
        message = f"{listed} is not called {where}, where the selected code was. Call it in that code's place."
        return (Objection(here.path, line, "extract", message),)
    block = [
        stripped
        for number in range(selection.first_line, selection.last_line + 1)
        if (stripped := here.before.line(number).strip())
    ]
    if within is not None and scope is not None and len(block) > 1:
        before = _count(_lines_of(here.before, scope.first_line, scope.last_line, ()), block)
        inside = [(s.first_line, s.last_line) for file, s in made if file is here]
        if 0 < before <= _count(_lines_of(here.after, within.first_line, within.last_line, inside), block):
            message = f"The selected code still stands {where}. Put the call of the new function in its place."
            return (Objection(here.path, line, "extract", message),)
    return ()


def _lines_of(parsed: Parsed, first: int, last: int, without: Sequence[tuple[int, int]]) -> list[str]:
    numbers = (n for n in range(first, last + 1) if not any(start <= n <= end for start, end in without))
    return [stripped for n in numbers if (stripped := parsed.line(n).strip())]


def _count(lines: Sequence[str], block: Sequence[str]) -> int:
    return sum(lines[at : at + len(block)] == block for at in range(len(lines) - len(block) + 1))


def _applies(place: Place) -> str | None:
    if not place.is_code or not place.is_selected or not any(c.isalnum() for c in place.selected):
        return None
    return f"Extract function from {place.lines}"


ACTION = Action(
    id="extract_function",
    title="Extract function",
    kind="refactor.extract.function",
    thinking=True,
    preset="coding",
    guidance="Move the selected code into a new function and call it where the code was. Its parameters are what the code "
    "reads from around it, its results what is used afterwards; early returns, exceptions, awaits and what the code "
    "assigns must go on to work as before. Put it where the project puts such functions: beside the function the code "
    "came from, a method if it needs the object. Name it by what it does, as the person says or as the project would. "
    "Replace other places only where they are the same code.",
    applies=_applies,
    check=check,
    headless=False,
)
