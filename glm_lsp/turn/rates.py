"""How many tokens code of each language has, learnt from the engine's own tokenizer, at most one request a turn.

Never stands between a question and its answer: it asks while the model writes already, and keeps nothing but sums.

What was chosen for a question is counted by bytes, rather too many tokens than too few, which leaves room unused. Where
an engine can count, a sample of what it was shown corrects that for this workspace and language from the next turn on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from glm_lsp import prompt
from glm_lsp.engine.engine import CountsTokens
from glm_lsp.languages import language_of
from glm_lsp.terms import TextAdded, ThinkingAdded, ToolCalled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Excerpt, Happening

LEAST, MOST = 2_000, 24_000
"""Characters of a sample: less says too little, more is not needed."""

LASTING = 200_000
"""Reckoned tokens after which what was learnt before counts half."""

MARGIN = 1.03
"""What is reckoned more than was seen: files of one language differ."""

BOUNDS = (0.5, 1.5)
"""Between these a correction is believed."""

ENOUGH = 100_000
"""Reckoned tokens of a language after which it is not sampled any more."""

PATIENCE = 0.5
"""Seconds that the end of a turn waits for an answer that is under way."""


@dataclass(slots=True)
class Rates:
    """What is known for one workspace and model; create it by `open`, or with nothing known, to learn nothing."""

    place: Path | None = None
    _sums: dict[str, tuple[float, float]] = field(default_factory=dict)  # language: tokens as reckoned, as counted

    @classmethod
    def open(cls, root: Path, model: str) -> Self:
        """Reads what earlier turns learnt; nothing, where there is nothing or it cannot be read."""
        state = os.environ.get("GLM_LSP_STATE_DIR")
        if not state:
            import platformdirs  # noqa: PLC0415 - not needed where a folder is given

            state = platformdirs.user_state_dir("glm-lsp")
        name = hashlib.sha256(os.fsencode(root) + b"\0" + model.encode()).hexdigest()[:16]
        place = Path(state) / "tokens" / f"{name}.json"
        sums: dict[str, tuple[float, float]] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError):
            sums = msgspec.json.decode(place.read_bytes(), type=dict[str, tuple[float, float]])
        return cls(place, {language: both for language, both in sums.items() if min(both) > 0})

    def scale(self, path: str) -> float:
        """What `prompt.count` is to be multiplied by for a file."""
        reckoned, counted = self._sums.get(_language(path), (0.0, 0.0))
        return min(max(MARGIN * counted / reckoned, BOUNDS[0]), BOUNDS[1]) if reckoned else 1.0

    def sample(self, shown: Sequence[Excerpt]) -> tuple[str, str] | None:
        """The language of which least is known, and text of it that was shown; None where nothing is to be learnt."""
        texts: dict[str, list[str]] = {}
        for one in shown:
            texts.setdefault(_language(one.path), []).append(prompt.numbered(one))
        found = {language: "\n".join(some)[:MOST] for language, some in texts.items()}
        worth = [
            (self._sums.get(language, (0.0, 0.0))[0], -len(text), language)
            for language, text in found.items()
            if len(text) >= LEAST and self._sums.get(language, (0.0, 0.0))[0] < ENOUGH
        ]
        return (min(worth)[2], found[min(worth)[2]]) if worth else None

    def learn(self, language: str, text: str, tokens: int) -> None:
        """Takes in how many tokens a sample has, and keeps it for the next turn."""
        reckoned, counted = self._sums.get(language, (0.0, 0.0))
        if reckoned > LASTING:
            reckoned, counted = reckoned / 2, counted / 2
        self._sums[language] = (reckoned + prompt.count(text), counted + tokens)
        if self.place is not None:
            fresh = self.place.with_name(f"{self.place.name}.{os.getpid()}.new")
            with contextlib.suppress(OSError):  # a full disk costs the next turn some room in its prompt
                self.place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                fresh.write_bytes(msgspec.json.encode(self._sums))
                fresh.replace(self.place)


@dataclass(slots=True)
class Learning:
    """Asks the engine once in a turn, beside what else goes on."""

    engine: Engine
    _task: asyncio.Task[None] | None = None

    def heard(self, what: Happening, shown: Sequence[Excerpt], rates: Rates) -> None:
        """Begins where the model has begun to speak, the prompt being read by then."""
        if self._task is None and isinstance(what, ThinkingAdded | TextAdded | ToolCalled) and rates.place is not None:
            self._task = asyncio.create_task(self._ask(tuple(shown), rates))

    async def end(self) -> None:
        """Waits a moment for the answer, and gives it up then."""
        if self._task is None:
            return
        try:
            await asyncio.wait({self._task}, timeout=PATIENCE)
        finally:
            self._task.cancel()

    async def _ask(self, shown: Sequence[Excerpt], rates: Rates) -> None:
        sample = rates.sample(shown)
        if sample is None or not isinstance(self.engine, CountsTokens):
            return
        tokens = await self.engine.count(sample[1])
        if tokens:
            rates.learn(*sample, tokens)


def _language(path: str) -> str:
    language = language_of(path)
    return language.name if language is not None else Path(path).suffix.lower()
