"""What a server says of the models that it serves: which there are, how much they read, and which one answers.

Never asks anything: it reads what others fetched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from glm_lsp.engine import profiles

if TYPE_CHECKING:
    from collections.abc import Sequence


class Card(msgspec.Struct, frozen=True):
    """One model in a server's list, with the names that various servers have for the same thing."""

    id: str
    owned_by: str | None = None
    root: str | None = None
    max_model_len: int | None = None
    context_length: int | None = None
    context_size: int | None = None
    max_output_tokens: int | None = None
    meta: _Meta | None = None
    top_provider: _Provider | None = None

    @property
    def context(self) -> int | None:
        """Tokens of prompt and reply together, where it says so: vLLM and SGLang, OpenRouter, Novita, llama.cpp."""
        known = self.max_model_len or self.context_length or self.context_size or (self.meta.n_ctx if self.meta else 0)
        provider = self.top_provider.context_length if self.top_provider else None
        return min(known, provider) if known and provider else known or provider

    @property
    def longest_reply(self) -> int | None:
        """New tokens that it writes at most, where it says so: Novita, OpenRouter."""
        return self.max_output_tokens or (self.top_provider.max_completion_tokens if self.top_provider else None)


class Listing(msgspec.Struct):
    """The list of models."""

    data: list[Card]


class Props(msgspec.Struct):
    """What llama.cpp tells at `/props`."""

    default_generation_settings: _Generation | None = None

    def context(self, _model: str) -> int | None:
        """Tokens that one conversation has."""
        return self.default_generation_settings.n_ctx if self.default_generation_settings else None


class Loaded(msgspec.Struct):
    """The models that Ollama has in memory, as it tells at `/api/ps`."""

    models: list[_InMemory] = []

    def context(self, model: str) -> int | None:
        """Tokens that it has made room for; None where the model is not loaded."""
        return next((one.context_length for one in self.models if model in (one.name, one.model)), None)


def choose(cards: Sequence[Card], wanted: str) -> Card | None:
    """Finds the wanted model, in whatever capitals, or the first one where none is named."""
    card = next((c for c in cards if not wanted or c.id == wanted), None)
    return card or next((c for c in cards if c.id.casefold() == wanted.casefold()), None)


def stands_for(asked: str, answered: str, cards: Sequence[Card] = ()) -> bool:
    """Says whether a reply that names one model may be the other's.

    Names differ harmlessly: by capitals, by who serves it (`z-ai/`), by a tag (`:latest`), a date or a quantisation,
    and a server may give one model several names.
    """
    if asked.casefold() == answered.casefold():
        return True
    roots = {card.root for card in cards if card.id in (asked, answered)}
    if len(roots) == 1 and None not in roots and {asked, answered} <= {card.id for card in cards}:
        return True
    theirs, ours = profiles.profile_for(answered), profiles.profile_for(asked)
    if theirs.id != ours.id:
        return False
    if theirs.id != profiles.GENERIC.id:
        return True
    short, long = sorted((_bare(asked), _bare(answered)), key=len)
    return not short or short in long


def _bare(name: str) -> str:
    return re.sub(r":.*", "", name.casefold().rstrip("/").rpartition("/")[2])


class _Meta(msgspec.Struct, frozen=True):
    n_ctx: int | None = None


class _Provider(msgspec.Struct, frozen=True):
    context_length: int | None = None
    max_completion_tokens: int | None = None


class _Generation(msgspec.Struct):
    n_ctx: int | None = None


class _InMemory(msgspec.Struct):
    name: str = ""
    model: str = ""
    context_length: int | None = None
