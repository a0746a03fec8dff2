"""What the model itself would look for, asked in one short request before a turn begins.

Never raises and never leaves a trace in the conversation: its request stands alone, and what comes of it is at most
another choice of code. Without a useful answer in time the choice stays as it was, and a note says so.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glm_lsp import prompt
from glm_lsp.errors import GlmError
from glm_lsp.index.pointed import Hints
from glm_lsp.terms import Usage, Used
from glm_lsp.turn.listening import Listening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.engine.engine import Engine
    from glm_lsp.index.context import Candidate

CANDIDATES = 40
"""Definitions that the model is asked about."""

TOKENS = 300
"""New tokens of its reply at most."""

SECONDS = 8.0
"""How long it may take."""

WORDS, PATHS = 12, 8
"""Words and files of its reply that count."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """What came of asking.

    Attributes:
        hints: what to look for; None where the answer was of no use.
        used: what it cost; None where the engine said nothing.
        note: why it was in vain.
    """

    hints: Hints | None = None
    used: Used | None = None
    note: str = ""


async def suggest(
    engine: Engine, question: str, candidates: Sequence[Candidate], *, seconds: float = SECONDS
) -> Suggested:
    """Asks the model what to look for, given the definitions that were found so far."""
    listed = [f"{one.path}: {one.signature}" for one in candidates]
    message = prompt.what_to_look_for(question, listed)
    request = prompt.question((message,), engine.profile, "agent")
    sampling = request.sampling
    request = replace(request, sampling=replace(sampling, max_new_tokens=min(TOKENS, sampling.max_new_tokens)))
    reply = Listening(None)
    used: list[Used] = []
    note = ""
    try:
        async with asyncio.timeout(seconds), aclosing(reply.listen(engine, request)) as heard:
            used += [what async for what in heard if isinstance(what, Used)]
    except TimeoutError:
        note = f"the model did not say in {seconds:g} s what to look for"
    except GlmError as error:
        note = f"the model could not be asked what to look for: {error.message}"
    cost = used[0] if used else Used(Usage(written=reply.written), seconds, seconds) if reply.written else None
    hints = None if note else read(reply.text, candidates)
    if hints is None and not note:
        note = "what the model would look for was of no use"
    return Suggested(hints, cost, note)


def read(text: str, candidates: Sequence[Candidate]) -> Hints | None:
    """The hints in a reply; None where there are none in it."""
    said = {found[1].lower(): found[2] for found in _LINE.finditer(text)}
    words = tuple(dict.fromkeys(_WORD.findall(said.get("words", ""))))[:WORDS]
    paths = tuple(dict.fromkeys(_PATH.findall(said.get("files", ""))))[:PATHS]
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\b\d{1,3}\b", said.get("read", "")))
    chosen = [candidates[number - 1] for number in numbers if 0 < number <= len(candidates)]
    if not (words or paths or chosen):
        return None
    return Hints(words, paths, tuple((one.path, one.first_line) for one in chosen))


_LINE = re.compile(r"^[\s*`-]*(words|files|read)[*`]*\s*:[*`]*[ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)
_WORD = re.compile(r"(?<![\w./])[^\W\d]\w{1,47}(?![\w/])")
_PATH = re.compile(r"[\w@+-][\w./@+-]{0,119}\.\w{1,12}\b")
