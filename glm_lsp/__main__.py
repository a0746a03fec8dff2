"""Runs the command line; `python -m glm_lsp` is `glm-lsp`.

Never imports a command before it is asked for: `--version` answers in the time Python takes to start, and an editor
that starts `--stdio` does not wait for the command line's own parts.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the `glm-lsp` script."""
    if sys.argv[1:] == ["--version"]:
        from glm_lsp import __version__  # noqa: PLC0415 - nothing else is needed for this answer

        print(f"glm-lsp {__version__}")  # noqa: T201 - this is the answer
        return
    if sys.argv[1:] == ["--stdio"]:
        import gc  # noqa: PLC0415 - for the server only

        gc.disable()  # the classes that are made from here on all stay; `stdio` enables it again
        from glm_lsp.server.app import stdio  # noqa: PLC0415 - as above

        sys.exit(stdio())
    from glm_lsp.cli import run  # noqa: PLC0415 - loads click only for real commands

    sys.exit(run())


if __name__ == "__main__":
    main()
