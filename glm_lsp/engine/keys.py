"""Where the engine's key comes from: a command, the system's keyring, or the environment, in this order.

Never shows a key, never logs what a command printed, and never makes one up where there is none.

The settings that say so can only be the person's own: a workspace's file may set none of them.
"""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glm_lsp.settings import EngineSettings

PATIENCE = 60.0
"""Seconds that a command may take: it may have to ask the person for a fingerprint or a password."""

_LONGEST = 16 * 1024  # characters; the longest tokens in use have a few thousand


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it came from; both empty where there is none."""

    value: str = field(default="", repr=False)
    source: str = ""


def source(settings: EngineSettings) -> str:
    """Names where the key is taken from, without looking: `the command pass`, `the keyring (glm/me)`, `GLM_LSP_API_KEY`.

    Of a command only the program is named: its arguments may hold what must not be shown.
    """
    if settings.api_key_command:
        return f"the command {Path(settings.api_key_command[0]).name}"
    if settings.api_key_keyring:
        return f"the keyring ({settings.api_key_keyring})"
    # Some put the key itself there by mistake, and it must not be shown for that.
    return settings.api_key_env if settings.api_key_env.isidentifier() else "the variable of engine.api_key_env"


def waits(settings: EngineSettings) -> bool:
    """Says whether it may take a while to get the key, so that it should not be done on an event loop."""
    return bool(settings.api_key_command or settings.api_key_keyring)


def find(settings: EngineSettings, environment: Mapping[str, str], *, patience: float = PATIENCE) -> Key:
    """Gets the key; a command is run once in the life of this process, until `forget`.

    Args:
        settings: where it comes from. What is set first of command, keyring and variable counts, and nothing else.
        environment: where the variable is looked up.
        patience: seconds that a command may take.

    Raises:
        SettingsError: the command or the keyring does not give one, or it cannot be one.
    """
    where = source(settings)
    if settings.api_key_command:
        found = _from_command(tuple(settings.api_key_command), where, patience)
    elif settings.api_key_keyring:
        found = _from_keyring(settings.api_key_keyring, where)
    else:
        found = environment.get(settings.api_key_env, "").strip()
    if not (found.isascii() and found.isprintable()):
        raise SettingsError(f"What {where} holds has characters that no key has.", hint="Set it again.")
    return Key(found, where) if found else Key()


def forget(settings: EngineSettings) -> None:
    """Lets the command run again the next time: the key it gave was refused, and may have been for a short time only."""
    with _lock:
        _printed.pop(tuple(settings.api_key_command), None)


_printed: dict[tuple[str, ...], str] = {}
_lock = threading.Lock()  # two engines that start at once make the person unlock the store once


def _from_command(command: tuple[str, ...], where: str, patience: float) -> str:
    """The first line that the command prints: password stores put the secret there, and notes below it."""
    with _lock:
        if command not in _printed:
            _printed[command] = _run(command, where, patience)
        return _printed[command]


def _run(command: tuple[str, ...], where: str, patience: float) -> str:
    mend = "See what engine.api_key_command does in a terminal."
    try:
        # In the home folder, since programs such as npx run what they find where they are.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path.home(),
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SettingsError(f"The key is not here: {where} took longer than {patience:g} s.", hint=mend) from None
    except (OSError, ValueError) as error:
        why = (error.strerror or "it cannot be run").lower() if isinstance(error, OSError) else "it is no command"
        raise SettingsError(f"The key is not here: {where} cannot be run: {why}.", hint=mend) from None
    if done.returncode:
        raise SettingsError(f"The key is not here: {where} failed (exit status {done.returncode}).", hint=mend)
    line = done.stdout[:_LONGEST].decode(errors="replace").strip().partition("\n")[0].strip()
    if not line:
        raise SettingsError(f"The key is not here: {where} printed nothing.", hint=mend)
    return line


def _from_keyring(entry: str, where: str) -> str:
    service, _, user = entry.rpartition("/")
    if not (service and user):
        raise SettingsError(
            f"engine.api_key_keyring is {entry!r}.", hint='Write "service/user", as in `keyring set service user`.'
        )
    try:
        import keyring  # noqa: PLC0415 - an extra that only some have, and slow to import
        from keyring.errors import KeyringError  # noqa: PLC0415 - as above
    except ImportError:
        raise SettingsError(
            f"The key is not here: {where} needs the package keyring.", hint="pip install 'glm-lsp[keyring]'"
        ) from None
    try:
        found = keyring.get_password(service, user)
    except KeyringError as error:
        why = f"{type(error).__name__}: {error}".rstrip(".").partition("\n")[0]
        raise SettingsError(
            f"The key is not here: {where} does not open ({why}).",
            hint="Unlock it, or use engine.api_key_command or a variable instead.",
        ) from None
    if not found or not found.strip():
        raise SettingsError(
            f"The key is not here: {where} has no such entry.", hint=f"`keyring set {service} {user}` makes one."
        )
    return found.strip()
