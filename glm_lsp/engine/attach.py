"""Attaching to a server: which model it serves, how it spells things, how much it reads, and what it was seen to do.

Never sends a word of a person's: it asks for the list of models, the version, and one token.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from glm_lsp.engine import abilities, cards, dialects, profiles
from glm_lsp.engine.abilities import Abilities
from glm_lsp.engine.cards import Card, Listing, Loaded, Props
from glm_lsp.errors import DiedMidStream, EngineError, MalformedReply, WrongModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from glm_lsp.engine.connection import Connection
    from glm_lsp.engine.dialects import Dialect
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.settings import EngineSettings
    from glm_lsp.terms import Delta

Exactness = Literal["tokens", "messages", "none"]
"""How earlier thinking comes back: as the tokens that were sampled, as text in its message, or not at all."""


@dataclass(slots=True)
class Server:
    """What is known of a server; before it was asked, what its model's name lets one believe.

    Attributes:
        model: the name it serves the model under.
        profile: what is known of the model.
        dialect: how the server spells things.
        version: what it says its version is; empty where it does not.
        seen: what it was seen to do.
        cards: its list of models.
        remembered: where what was seen is kept; None for nowhere.
    """

    model: str
    profile: Profile
    dialect: Dialect = dialects.GENERIC
    version: str = ""
    seen: Abilities = field(default_factory=Abilities)
    cards: list[Card] = field(default_factory=list)
    remembered: Path | None = None

    @property
    def exactness(self) -> Exactness:
        """How earlier thinking comes back, as far as was seen."""
        if self.dialect.token_ids and self.profile.suffix and self.seen.exact:
            return "tokens"
        kept = self.profile.preserves_thinking and self.dialect.keeps != "never"
        return "messages" if kept else "none"

    def forget(self) -> None:
        """Drops what was remembered of its abilities, which has turned out to be wrong."""
        if self.remembered is not None:
            self.remembered.unlink(missing_ok=True)

    def works_without_tokens(self) -> None:
        """Takes note that it does not read tokens, and remembers it where its other abilities are remembered."""
        self.seen = msgspec.structs.replace(self.seen, exact=False)
        if self.remembered is not None and self.remembered.exists():
            abilities.remember(self.remembered, self.seen)


async def attach(
    server: Server,
    line: Connection,
    settings: EngineSettings,
    ask: Callable[[bytes], Awaitable[Sequence[Delta]]],
    *,
    cache: Path | None,
    anew: bool,
) -> None:
    """Finds out what there is to know of a server, and notes it as it goes.

    Args:
        server: where it is noted.
        line: leads to it; is told which model is meant.
        settings: what the person said of it.
        ask: sends a request for one token and returns the whole reply.
        cache: folder that remembers what a server was seen to do; None to remember nothing.
        anew: whether to find that out again, whatever is remembered.

    Raises:
        EngineError: nothing there, the wrong model, or not allowed.
    """
    await _find(server, line, settings)
    believed = server.profile
    if not (believed.tools or believed.thinking or believed.id == profiles.GENERIC.id):
        return
    if cache is not None:
        server.remembered = abilities.place(cache, line.where, server.model, server.version, server.dialect.id)
    # A server that only tells its room once the model is loaded is asked for a token, which loads it.
    known = None if anew or server.dialect.window else abilities.recall(server.remembered)
    if known is None:
        extra = settings.extra_body
        known, sure = await abilities.probe(ask, server.dialect, believed, server.model, extra=extra)
        if sure:
            abilities.remember(server.remembered, known)
    server.seen = known
    await _look_at_room(line, server)
    server.profile = profiles.refined(
        server.profile,
        tools=known.tools if known.tools or believed.tool_wire == "none" else believed.tools,
        thinking=None if known.thinking == "unseen" else True,
    )


async def _find(server: Server, line: Connection, settings: EngineSettings) -> None:
    """Settles model, dialect and context length from what the server says of itself."""
    wanted = settings.model
    given = dialects.DIALECTS.get(settings.dialect) or dialects.recognised(host=line.host, port=line.port)
    server.cards = []
    try:
        server.cards = (await line.get("/models", Listing)).data
    except (MalformedReply, DiedMidStream) as error:
        # Some servers have no list, and that of transformers may fail; where the model is named, none is needed.
        if not wanted or (isinstance(error, DiedMidStream) and (given is None or given.lists_all)):
            raise
    line.served = tuple(card.id for card in server.cards)
    card = cards.choose(server.cards, wanted)
    listed = given is None or given.lists_all
    if card is None and ((server.cards and listed) or not wanted):
        what = f"no model {wanted}" if wanted else "no model at all"
        served = f"; it serves {', '.join(line.served)}" if server.cards else ""
        raise WrongModel(f"The engine at {line.where} has {what}{served}.", hint="Set engine.model to one it serves.")
    owner = (card.owned_by if card else None) or ""
    server.version = ""
    if given in (None, dialects.VLLM) and owner in ("", *dialects.VLLM.owners):
        with contextlib.suppress(EngineError):  # only vLLM has one
            server.version = (await line.get("/../version", _Version)).version
    if given is None:
        given = dialects.recognised(owner=owner) if owner else None
        given = given or (dialects.VLLM if server.version else dialects.GENERIC)
    longest = card.longest_reply if card else None
    server.dialect = dataclasses.replace(given, longest_reply=longest) if longest else given
    server.model = line.model = card.id if card else wanted
    server.profile = profiles.profile_for(server.model)
    _limit_context(server, card.context if card else None)


async def _look_at_room(line: Connection, server: Server) -> None:
    """Asks for the context that was made room for, of a server that does not tell it in its list of models."""
    window = server.dialect.window
    kind: type[Props | Loaded] = Props if window == "/props" else Loaded
    if window and not any(card.context for card in server.cards if card.id == server.model):
        with contextlib.suppress(EngineError):
            _limit_context(server, (await line.get(f"/..{window}", kind)).context(server.model))


def _limit_context(server: Server, context: int | None) -> None:
    """Takes over how much the server reads at most, in all."""
    at_most = server.dialect.context_length
    context = min(context or server.profile.context_length, at_most) if at_most else context
    server.profile = profiles.refined(server.profile, context_length=context)


class _Version(msgspec.Struct):
    version: str
