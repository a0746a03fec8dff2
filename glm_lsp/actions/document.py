"""The action `document`: what has no documentation gets a sentence in the language's own form.

Never rewrites documentation that is there.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from glm_lsp import languages
from glm_lsp.actions.action import Action, Question
from glm_lsp.edits.text import Text
from glm_lsp.terms import Edit, Message, Span

if TYPE_CHECKING:
    from glm_lsp.actions.place import Place
    from glm_lsp.languages import Symbol

# How a language writes a sentence above a definition; Python's goes below its head.
_ABOVE = {
    "JavaScript": "/** {} */",
    "TypeScript": "/** {} */",
    "TSX": "/** {} */",
    "Java": "/** {} */",
    "PHP": "/** {} */",
    "C": "/** {} */",
    "C++": "/** {} */",
    "C#": "/// <summary>{}</summary>",
    "Rust": "/// {}",
    "Go": "// {}",
    "Ruby": "# {}",
    "Bash": "# {}",
    "Lua": "--- {}",
}
_DOCUMENTED_KINDS = {"function", "method"}
_MOST_SOURCE = 2_500
"""Characters of one definition that a small model is shown: about 800 tokens."""

_LONGEST = 110
"""Characters of a sentence that still fits a line."""

_REQUEST = "Write a one-line docstring for this function."
_EXAMPLES = (
    ("def greet(name):\n    return f'Hello, {name}!'", "Returns a greeting for the given name."),
    (
        "def largest(numbers):\n    best, *rest = numbers\n    for n in rest:\n        best = max(n, best)\n    return best",
        "Finds the largest number in a list.",
    ),
    (
        "def save(self, path):\n    with open(path, 'w') as file:\n        json.dump(self.settings, file)",
        "Writes the settings to a file as JSON.",
    ),
    ("def is_adult(age):\n    return age >= 18", "Checks whether a person is at least 18 years old."),
)
# A model of a hundred million parameters copies a form it has seen; asked without examples it wanders.
_SHOWN = tuple(
    message
    for source, answer in _EXAMPLES
    for message in (
        Message("user", f"{_REQUEST}\n\n```python\n{source}\n```"),
        Message("assistant", answer),
    )
)


def questions(path: str, text: Text) -> tuple[Question, ...]:
    """One question for each function of `path` that has no documentation, in the order of the file."""
    parsed = languages.parse(path, text.content)
    if parsed is None:
        return ()
    asked = []
    for symbol in parsed.symbols():
        place = _place(parsed.language.name, text, symbol) if symbol.kind in _DOCUMENTED_KINDS else None
        if place is None:
            continue
        offset, form = place
        source = text.content[symbol.span.start : symbol.span.end][:_MOST_SOURCE]
        asked.append(
            Question(
                title=f"Described {symbol.qualified}",
                line=text.line_of(offset),
                messages=(
                    *_SHOWN,
                    Message("user", f"{_REQUEST}\n\n```{parsed.language.name.lower()}\n{source}\n```"),
                ),
                answer=partial(_answer, path, offset, form, symbol.name),
            )
        )
    return tuple(asked)


def sentence(reply: str, name: str) -> str | None:
    """The first sentence of a small model's reply as documentation says it, or None where it is of no use.

    "This Python function calculates the total." becomes "Calculates the total."
    """
    first = re.split(r"(?<=[.!?])\s|\n", reply.strip(), maxsplit=1)[0].strip()
    first = re.sub(
        rf"^(?:sure[,!:]?\s*)?(?:this|the)\s+(?:given\s+|provided\s+|following\s+)?(?:[A-Za-z+#]+\s+)?"
        rf"(?:function|method|code|snippet)?\s*(?:named\s+|called\s+)?[`'\"]?(?:{re.escape(name)})?[`'\"]?(?:\(\))?"
        r"(?:\s+(?:function|method))?,?\s+(?=[a-z]+s\b)",
        "",
        first,
        flags=re.IGNORECASE,
    )
    whole = first.endswith(".")  # else it was cut off, or is no statement
    first = first.removesuffix(".").strip()
    usable = (
        whole
        and len(first.split()) >= 3
        and len(first) <= _LONGEST
        and re.match(r"(?!(?:is|this|has|was)\b)[A-Za-z]+s\b", first, re.IGNORECASE)  # "Calculates", what it does
        and not re.search(r"```|\"\"\"|\*/|</|[\\\x00-\x1f]|https?:", first)
    )
    return f"{first[0].upper()}{first[1:]}." if usable else None


def _answer(path: str, offset: int, form: str, name: str, reply: str) -> Edit | None:
    found = sentence(reply, name)
    return None if found is None else Edit(path, Span(offset, offset), form.replace("{}", found))


def _place(language: str, text: Text, symbol: Symbol) -> tuple[int, str] | None:
    """Where the sentence goes, and its form with indentation and terminator; None where there is one already."""
    content = text.content
    if language == "Python":
        if symbol.body is None:
            return None
        start, indent = _line_start(content, symbol.body.start)
        if indent is None or re.match(r"[rRuUbBfF]{0,2}[\"']", content[symbol.body.start : symbol.body.end]):
            return None  # the body stands on the line of its head, or begins with a string already
        return start, f'{indent}"""{{}}"""{text.newline}'
    form = _ABOVE.get(language)
    start, indent = _line_start(content, symbol.span.start)
    if form is None or indent is None:
        return None
    above = content[:start].rstrip(" \t\r\n").rpartition("\n")[2].strip()
    gap = content[len(content[:start].rstrip(" \t\r\n")) : start].count("\n")
    if above.endswith("*/") or (gap <= 1 and above.startswith(("//", "#", "--", "*"))):
        return None
    return start, f"{indent}{form}{text.newline}"


def _line_start(content: str, offset: int) -> tuple[int, str | None]:
    """Where the line of `offset` starts, and its indentation; None in its place where something else stands there."""
    start = max(content.rfind("\n", 0, offset), content.rfind("\r", 0, offset)) + 1
    before = content[start:offset]
    return start, before if not before.strip() else None


def _applies(place: Place) -> str | None:
    """The title; None for a definition that has its documentation already."""
    symbol = place.symbol
    if not place.is_code or place.is_selected or symbol is None or place.row is None:
        return f"Document {place.target}" if place.is_code else None
    if place.row.name != "Python" and place.row.name not in _ABOVE:
        return f"Document {place.target}"
    text = place.text if isinstance(place.text, Text) else Text(place.text)
    return f"Document {place.target}" if _place(place.row.name, text, symbol) is not None else None


ACTION = Action(
    id="document",
    title="Document",
    kind="refactor.rewrite.document",
    thinking=False,
    preset="coding",
    guidance="Write documentation where functions, methods and classes have none, in the form this language and this "
    "project use. Say what a caller must know, briefly. Change nothing but documentation.",
    questions=questions,
    applies=_applies,
)
