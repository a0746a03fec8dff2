"""Which engines already run on this host: our own first, then whatever answers on the usual ports of loopback.

Never asks another host, never sends a key, and never takes what it found: it only names it, unless the person's
setting `engine.discover` says otherwise. Anybody on a shared host can listen on a port, and an engine reads all code.
"""

from __future__ import annotations

import dataclasses
import http.client
import os
import pwd
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from glm_lsp.engine import profiles
from glm_lsp.engine.cards import Listing
from glm_lsp.engine.dialects import GENERIC, VLLM, recognised
from glm_lsp.errors import GlmError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glm_lsp.settings import EngineSettings

_T = TypeVar("_T")

PORTS = (8000, 30000, 8080, 11434)
"""The ports that vLLM, SGLang, llama.cpp and Ollama take by themselves."""

PATIENCE = 0.5
"""Seconds for all of it: what runs on this host answers in a few milliseconds."""

_LONGEST = 1024 * 1024  # bytes of an answer that are read
_LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp (proc(5))


@dataclass(frozen=True, slots=True)
class Found:
    """An engine that answers.

    Attributes:
        url: its address, as it goes into the settings.
        kind: the id of its dialect.
        name: what people call that kind of server.
        models: the names of what it serves.
        own: whether it is this host's own engine, started by `glm-lsp engine start`.
        wants_key: whether it refuses to tell without a key.
        user: who listens there; empty where that is not known.
        ours: whether that is the person or the system's administrator; None where it is not known.
    """

    url: str
    kind: str
    name: str
    models: tuple[str, ...] = ()
    own: bool = False
    wants_key: bool = False
    user: str = ""
    ours: bool | None = None

    @property
    def setting(self) -> str:
        """The one line to put into the settings."""
        return f'url = "{self.url}"'


def find(ports: Sequence[int] = PORTS, *, patience: float = PATIENCE) -> tuple[Found, ...]:
    """Looks for engines, at all ports at once.

    Args:
        ports: where to look on 127.0.0.1.
        patience: seconds after which who has not answered is left out.

    Returns:
        This host's own engine if it runs, then the others in the order of the ports.
    """
    found: dict[int, Found] = {}

    def look(port: int) -> None:
        answer = _look(port, patience)
        if answer is not None:
            found[port] = answer

    # Daemons: one that hangs does not hold up the end of the program.
    threads = [threading.Thread(target=look, args=(port,), daemon=True) for port in ports]
    for thread in threads:
        thread.start()
    own = _own()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    there = dict(found)
    return (*own, *(there[port] for port in ports if port in there))


def instead(settings: EngineSettings, *, ports: Sequence[int] = PORTS) -> EngineSettings:
    """Settings for an engine that listens on this host, where the person allows that and it is clear which.

    No key goes to it.

    Args:
        settings: with no address.
        ports: where to look.

    Raises:
        Unreachable: it is not allowed, there is none, or none that is surely meant; the hint names what there is.
    """
    others = [one for one in find(ports) if not one.own]
    usable = [one for one in others if not one.wants_key and one.ours is not False]
    meant = [one for one in usable if _serves(one, settings.model)]
    if settings.discover and len(meant) == 1:
        return dataclasses.replace(settings, url=meant[0].url, api_key_env="", api_key_command=[], api_key_keyring="")
    what = "No engine is set, and none runs on this host."
    if not others:
        raise Unreachable(what, hint="Start one with `glm-lsp engine start`, or name one with --engine URL.")
    first = others[0]
    there = f"{first.name} listens at {first.url}"
    if len(others) > 1:
        there = f"on this host listen {', '.join(f'{one.name} at {one.url}' for one in others)}"
    what = f"No engine is set; {there}."
    raise Unreachable(what, hint=f"To use it, set engine.url or say --engine {first.url}; see `glm-lsp engine find`.")


def _serves(one: Found, model: str) -> bool:
    """Says whether it has the wanted model, or where none is named, one of a family that we know."""
    if model:
        return model.casefold() in (name.casefold() for name in one.models)
    return any(profiles.profile_for(name).id != profiles.GENERIC.id for name in one.models)


def _own() -> tuple[Found, ...]:
    from glm_lsp.engine.local import process  # noqa: PLC0415 - psutil takes longer to import than the look itself

    try:
        running = process.status()
    except GlmError:
        return ()
    if running.state != "running":
        return ()
    return (Found(running.url, VLLM.id, VLLM.name, (running.model,), own=True, user=_name_of(os.getuid()), ours=True),)


def _look(port: int, patience: float) -> Found | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", "/v1/models", headers={"Accept": "application/json"})
        response = connection.getresponse()
        status, content = response.status, response.read(_LONGEST)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    listing = _decoded(content, Listing) if status == 200 else None
    wants_key = status in (401, 403) and _decoded(content, dict[str, object]) is not None
    if listing is None and not wants_key:
        return None
    cards = listing.data if listing else []
    owner = next((card.owned_by for card in cards if card.owned_by), "") or ""
    kind = recognised(owner=owner, port=port) or GENERIC
    user = listener(port)
    return Found(
        f"http://127.0.0.1:{port}",
        kind.id,
        kind.name,
        tuple(card.id for card in cards),
        wants_key=wants_key,
        user="" if user is None else _name_of(user),
        ours=None if user is None else user in (0, os.getuid()),
    )


def _decoded(content: bytes, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


# --- who listens -------------------------------------------------------------------------------------------------


def listener(port: int, *, tables: Iterable[Path] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))) -> int | None:
    """Tells the user id of who listens on a port of this host, where the system says so, which is Linux.

    Args:
        port: of TCP.
        tables: the system's lists of sockets.

    Returns:
        The user id; None where nothing or more than one user listens, or the system does not say.
    """
    users = set()
    for table in tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and fields[3] == _LISTENS and fields[1].endswith(f":{port:04X}"):
                users.add(int(fields[7]))
    return users.pop() if len(users) == 1 else None


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
