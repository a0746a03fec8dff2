"""The tool `ask_user`: one question to the person, where only they can decide.

Never answers for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glm_lsp.errors import BadArguments
from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, parameter, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_OPTIONS = 6


def question(arguments: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What to ask, and the answers to choose from; raises BadArguments for a question without words."""
    words = str(arguments["question"]).strip()
    if not words:
        raise BadArguments("The question is empty.", hint="Ask it in a sentence.")
    options: Sequence[Any] = arguments.get("options") or ()
    return words, tuple(dict.fromkeys(str(option).strip() for option in options if str(option).strip()))[:MOST_OPTIONS]


def _nobody(_context: ToolContext, _arguments: dict[str, Any]) -> Outcome:
    words = "Nobody is here to answer. Choose what is safest and say in your answer what you chose and why."
    return Outcome("nobody to ask", words, ok=False)


def _title(arguments: dict[str, Any]) -> str:
    return f"Ask: {' '.join(str(arguments['question']).split())[:80]}"


TOOL = Tool(
    spec=ToolSpec(
        "ask_user",
        "Asks the person one question and waits for the answer. Only for what you cannot find out yourself and what "
        "changes the result: a choice between ways that differ for them, or an unclear wish.",
        schema(
            ("question",),
            question=parameter("string", "The question, in one or two sentences."),
            options=parameter(
                "array",
                "Up to six short answers to choose from; they may also answer freely.",
                items={"type": "string"},
            ),
        ),
    ),
    title=_title,
    run=_nobody,
    question=question,
)
