"""What a server was seen to be able to do: found out with a request for one token, and remembered for a day.

Never takes a refusal for good: what a server lacks is asked again at each start, as its operator may add it any minute.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from glm_lsp.engine import dialects, profiles
from glm_lsp.engine.connection import ToolsRefused
from glm_lsp.errors import CannotDo, Overloaded, Stalled
from glm_lsp.terms import Message, Prompt, Sampling, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from glm_lsp.engine.dialects import Dialect
    from glm_lsp.engine.profiles import Profile
    from glm_lsp.terms import Delta

PROBE_TIMEOUT = 20.0
"""Seconds for the probe: a busy engine must not hold up the start."""

_REMEMBER = 24 * 3600.0  # seconds that abilities once seen are believed


class Abilities(msgspec.Struct, frozen=True):
    """What a server was seen to do.

    Attributes:
        tools: takes tools and parses the calls itself.
        thinking: `parsed` has a field of its own, `raw` is left in the text, `unseen` did not show.
        exact: works with tokens; believed until it was seen not to.
        at: when it was seen, in seconds since the epoch.
    """

    tools: bool = False
    thinking: Literal["parsed", "raw", "unseen"] = "unseen"
    exact: bool = True
    at: float = 0.0


async def probe(
    ask: Callable[[bytes], Awaitable[Sequence[Delta]]],
    dialect: Dialect,
    profile: Profile,
    model: str,
    *,
    extra: Mapping[str, Any],
) -> tuple[Abilities, bool]:
    """Asks for one token, with a tool on offer and, where that is refused, without.

    Args:
        ask: sends a body and returns the whole reply.
        dialect: how the server spells things.
        profile: what is believed of the model.
        model: the name it is served under.
        extra: fields from the settings.

    Returns:
        What was seen, and whether that is worth remembering.

    Raises:
        EngineError: the engine cannot be used at all.
    """
    tools = (ToolSpec("noop", "Does nothing.", {"type": "object", "properties": {}}),)
    sampling = Sampling(0.0, None, 1)
    believed = profiles.refined(profile, thinking=True)
    for offered in (tools, ()):
        prompt = Prompt((Message("user", "Hello"),), offered, thinking=True, sampling=sampling)
        fields = dialects.body(dialect, believed, model, prompt, extra=extra)
        fields[dialect.max_tokens_field] = 1
        try:
            said = await ask(msgspec.json.encode(fields))
        except ToolsRefused:
            continue
        except (TimeoutError, Stalled, Overloaded, CannotDo):
            # It is there and busy, or dislikes the probe: beliefs stand, and the next start asks again.
            return Abilities(tools=profile.tools), False
        thought = any(delta.thinking for delta in said)
        raw = any(delta.text for delta in said) and not thought and profile.thinking
        return Abilities(bool(offered), "parsed" if thought else "raw" if raw else "unseen"), bool(offered)
    return Abilities(tools=False), False


def place(cache: Path, *identity: str) -> Path:
    """Where the abilities of a server are remembered.

    Args:
        cache: the folder for what may be forgotten at any time.
        identity: address, model, version and dialect; another one is another server.
    """
    name = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:24]
    return cache / "abilities" / f"{name}.json"


def recall(path: Path | None) -> Abilities | None:
    """What was remembered there, unless it is too old or not readable."""
    if path is None:
        return None
    try:
        seen = msgspec.json.decode(path.read_bytes(), type=Abilities)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return seen if 0 <= time.time() - seen.at < _REMEMBER else None


def remember(path: Path | None, seen: Abilities) -> None:
    """Keeps it there; a disk that does not take it costs a probe at the next start, no more."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(msgspec.structs.replace(seen, at=time.time())))
        fresh.replace(path)
    except OSError:
        pass
