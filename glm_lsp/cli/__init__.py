"""The command line: a client of the workspace, as an editor is.

Never decides anything about code; each command lives in a file of its own and is imported when it is called.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from glm_lsp import __version__
from glm_lsp.errors import GlmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "refactor": ("glm_lsp.cli.refactor:refactor", "Change code by an instruction; shows a diff, applies it on demand."),
    "chat": ("glm_lsp.cli.chat:chat", "Talk with the model about the workspace; conversations are kept."),
    "sessions": ("glm_lsp.cli.sessions:sessions", "List, show, export and tidy up conversations."),
    "index": (
        "glm_lsp.cli.index:index",
        "See what is known of the workspace, and what of it the model would be shown.",
    ),
    "serve": ("glm_lsp.cli.serve:serve", "Serve editors: the language server; `glm-lsp --stdio` for short."),
    "acp": ("glm_lsp.cli.acp:acp", "Serve an agent panel, such as Zed's: the Agent Client Protocol."),
    "undo": ("glm_lsp.cli.undo:undo", "Take an applied run back."),
    "engine": ("glm_lsp.cli.engine:engine", "Plan, install, start, stop and watch this host's engine."),
    "doctor": ("glm_lsp.cli.doctor:doctor", "Check everything, and say what to do about what is wrong."),
    "check": ("glm_lsp.cli.check:check", "Say what the server makes of a file, without an editor and an engine."),
    "bug-report": (
        "glm_lsp.cli.bug_report:bug_report",
        "Write a zip file for a report of a fault, without anything of yours.",
    ),
}
"""Name, where the command is, and its line in the help: known without importing it."""

EXIT_CANCELLED = 130
EXIT_USAGE = UsageError.exit_code


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="glm-lsp %(version)s")
def commands() -> None:
    """GLM-4.7 at work on your code, on your own hardware."""


def spelled(arguments: Sequence[str]) -> list[str]:
    """The arguments with their command: `--stdio` alone, as editors start a language server, means `serve`."""
    return ["serve", *arguments] if arguments[:1] == ["--stdio"] else list(arguments)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; every error is said in one or two lines."""
    given = spelled(sys.argv[1:] if arguments is None else arguments)
    try:
        result = commands.main(given, prog_name="glm-lsp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.exceptions.Abort:
        return EXIT_CANCELLED
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except GlmError as error:
        sys.stderr.write(f"glm-lsp: {error.message}\n{error.hint}{chr(10) if error.hint else ''}")
        return error.exit_code
    except BrokenPipeError:
        # Whoever read us has gone (`| head`); the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0
