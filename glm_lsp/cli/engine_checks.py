"""What `glm-lsp doctor` looks at on the way to the engine: GPUs and vLLM on this host, the socket, the proxy, the key.

Never starts an engine and never changes a permission: it says what to do.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp.cli.checks import Row, failed
from glm_lsp.errors import GlmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glm_lsp.settings import Settings


def way(settings: Settings) -> list[Row]:
    """What has to be there before anything can answer: vLLM where the engine is this host's own, and its socket."""
    from glm_lsp.engine.local import process

    url = settings.engine.url
    if not url and not settings.engine.replicas:
        rows = [gpus(), vllm(settings)]
        url = process.status().url
        return [*rows, socket(url)] if url.startswith("unix:") else rows
    if url.startswith("unix:"):
        return [socket(url)]
    urls = [each for each in ([url] if url else settings.engine.replicas) if each.startswith(("http:", "https:"))]
    return [*proxies(urls), key(settings)] if urls else []


def gpus() -> Row:
    """Which GPUs this host has for an engine of its own."""
    from glm_lsp.engine.local import hardware

    found = hardware.find()
    if not found.hosts:
        return Row("gpus", "ok", "none: an engine here would be the small try-out model on the processor")
    facts = {"gpus": [str(gpu) for gpu in found.hosts[0]]}
    return Row("gpus", "ok", f"{found.said} · `glm-lsp engine plan` says what to start on them", facts=facts)


def proxies(urls: Sequence[str]) -> list[Row]:
    """Which proxy stands before each engine, as the environment says; nothing where none does."""
    from urllib.parse import urlsplit

    from glm_lsp.engine.proxies import proxy_for

    rows: dict[str, Row] = {}
    for url in urls:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        try:
            found = proxy_for(parts.hostname or "", parts.port or (443 if tls else 80), tls=tls, environment=os.environ)
        except GlmError as error:
            return [failed("proxy", error)]
        if found is not None:
            says = f"{parts.hostname} is reached through {found.name}."
            do = "" if tls else "It can read what you send, and the key: https:// would keep both from it."
            rows[url] = Row("proxy", "ok" if tls else "note", says, do, {"variable": found.variable})
    return [*rows.values()]


def key(settings: Settings) -> Row:
    """Where the key comes from; a command is not run for it, and a keyring not opened: the request does that."""
    from glm_lsp.engine import keys

    source = keys.source(settings.engine)
    facts = {"source": source, "set": keys.waits(settings.engine) or settings.engine.api_key_env in os.environ}
    says = f"from {source}" if facts["set"] else f"none is sent: {source} is not set"
    return Row("key", "ok", says, facts=facts)


def vllm(settings: Settings) -> Row:
    """Which interpreter would start this host's engine, and which vLLM it has."""
    from glm_lsp.engine.local import install

    python = install.find_python(settings)
    build = install.probe(python) if python is not None else None
    if python is None or build is None:
        do = "Run `glm-lsp engine install`, or point engine.url at an engine that runs elsewhere."
        return Row("vllm", "note", "None is installed here, so this host cannot start an engine.", do)
    facts = {"python": str(python), "version": build.version, "build": build.distribution}
    return Row("vllm", "ok", f"{build.distribution} {build.version} · {python}", facts=facts)


def socket(url: str) -> Row:
    """Whether the socket is there, whose it is, and who can use it."""
    path = Path("/" + url.removeprefix("unix:").lstrip("/"))
    facts: dict[str, Any] = {"path": str(path)}

    def wrong(says: str, do: str) -> Row:
        return Row("socket", "wrong", says, do, facts)

    try:
        found = path.stat()
    except PermissionError:
        return wrong(f"{path} lies in a folder that you may not enter.", "Ask its owner, or start an engine of yours.")
    except OSError:
        return wrong(f"There is no socket at {path}.", "Start the engine, or correct engine.url.")
    if not stat.S_ISSOCK(found.st_mode):
        return wrong(f"{path} is no socket.", "Correct engine.url, or remove the file and start the engine.")
    facts |= {"owner": _name(found.st_uid), "mode": oct(stat.S_IMODE(found.st_mode))}
    if not os.access(path, os.R_OK | os.W_OK):
        return wrong(f"{path} belongs to {facts['owner']}, and you may not use it.", "Ask its owner for access.")
    if found.st_uid not in (0, os.getuid()):
        do = "Whoever owns it reads what you send: use it only if you know whose it is."
        return Row("socket", "note", f"{path} belongs to {facts['owner']}.", do, facts)
    if _open_to_all(path, found.st_mode):
        do = f"chmod 700 {path.parent}"
        return Row("socket", "note", f"Everyone on this host can use {path}: there is no key.", do, facts)
    return Row("socket", "ok", f"{path} · yours alone", facts=facts)


def _open_to_all(path: Path, mode: int) -> bool:
    """Whether users that are not the owner get as far as the socket: every folder on the way lets them in."""
    folders = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    return folders and bool(mode & stat.S_IWOTH)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
