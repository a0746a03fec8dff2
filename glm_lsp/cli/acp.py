"""`glm-lsp acp`: the agent that the panels of Zed, the JetBrains IDEs, Emacs and others start.

Never prints to standard output: that is the protocol's.
"""

from __future__ import annotations

import click


@click.command()
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--model", default="", metavar="NAME", help="The model, where the engine serves several.")
def acp(engine_url: str, model: str) -> int:
    """Serve an agent panel: the Agent Client Protocol over standard input and output."""
    import asyncio
    import os
    import stat
    import sys

    from glm_lsp.acp.agent import serve
    from glm_lsp.errors import UsageError

    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        raise UsageError(
            "Nobody speaks the Agent Client Protocol on standard input.",
            hint="An editor's agent panel starts this command; `glm-lsp chat` is for a terminal.",
        )

    chosen = {"engine.url": engine_url, "engine.model": model}
    asyncio.run(serve({name: value for name, value in chosen.items() if value}))
    return 0
