"""Who writes: turns a Prompt into Deltas, whichever server or script does the work.

Never decides what to ask nor what to do with the answer.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.engine.engine import Engine
    from glm_lsp.engine.local.process import Status
    from glm_lsp.settings import EngineSettings


def open_engine(
    settings: EngineSettings,
    *,
    cache: Path | None = None,
    anew: bool = False,
    on_wait: Callable[[Status | None], object] | None = None,
) -> Engine:
    """Makes the engine that the settings name; nothing is sent before its `connect`.

    Args:
        settings: `url` is `http(s)://...`, `unix:/path/to/socket`, or `scripted:/path/to/script.json`; empty means the
            `replicas` or, where there are none, the engine that runs on this host, or with `discover` another one that
            listens here.
        cache: folder that remembers what a server was seen to be able to do; the person's own cache by default.
        anew: whether to find that out again, whatever is remembered.
        on_wait: told how this host's own engine is while it is waited for, and None when that is over; without it
            nobody waits for one that is not ready.

    Raises:
        Unreachable: no address is set, no engine of ours runs on this host, and no other that may be used.
        SettingsError: the address is not one.
        UsageError: the script cannot be read.
    """
    if settings.replicas and not settings.url:
        import platformdirs  # noqa: PLC0415 - only for HTTP, which takes a while to import

        from glm_lsp.engine.replicas import Replicas  # noqa: PLC0415 - as above

        return Replicas(settings, cache=cache or Path(platformdirs.user_cache_dir("glm-lsp")), anew=anew)
    if not settings.url:
        import platformdirs  # noqa: PLC0415 - as above

        from glm_lsp.engine.local import process  # noqa: PLC0415 - only needed where no address is set

        if settings.start not in {"auto", "never"}:
            raise SettingsError(f"engine.start is {settings.start!r}.", hint="It is `auto` or `never`.")
        if on_wait is not None and (settings.start == "auto" or process.is_up() or process.why_not()):
            from glm_lsp.engine import own  # noqa: PLC0415 - as HTTP

            cache = cache or Path(platformdirs.user_cache_dir("glm-lsp"))
            return own.OwnEngine(settings, on_wait=on_wait, cache=cache, anew=anew)
        url = process.address()
        if url is None:
            from glm_lsp.engine import discovery  # noqa: PLC0415 - as above

            settings = discovery.instead(settings)
        else:
            settings = dataclasses.replace(settings, url=url)
    if settings.url.startswith("scripted:"):
        from glm_lsp.engine.scripted import ScriptedEngine  # noqa: PLC0415 - only demos and tests pay for it

        return ScriptedEngine.load(Path(settings.url.removeprefix("scripted:")))
    import platformdirs  # noqa: PLC0415 - as above

    from glm_lsp.engine.client import HttpEngine  # noqa: PLC0415 - as above

    return HttpEngine(settings, cache=cache or Path(platformdirs.user_cache_dir("glm-lsp")), anew=anew)
