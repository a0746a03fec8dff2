"""The tool `run_command`: a shell command in the workspace, once a person has permitted it.

Never sees the draft: it runs on the files as they are on disk, and its result names the edits that are not there yet.
"""

from __future__ import annotations

import os
from typing import Any

from glm_lsp.errors import BadArguments
from glm_lsp.terms import ToolSpec
from glm_lsp.tools import processes
from glm_lsp.tools.confine import confined, walled
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, parameter, schema

END = 4_000
"""Bytes of the output that are kept from its beginning, and as many from its end: the cause, and what it came to."""

MOST_CHARACTERS = 4_000
"""Of one command: a person has to read it before they can permit it."""

FILES_NAMED = 20

_LIMITED = 'ulimit -c 0; [ "$1" -le 0 ] || ulimit -v "$1" || exit 125; exec /bin/sh -c "$2"'
"""A shell that limits the address space (in KiB) of the one that runs the command; no code of ours runs in between."""


def permission(arguments: dict[str, Any]) -> str:
    """What a person has to permit: the command, whole.

    Raises:
        BadArguments: it is empty, too long to be read, or has characters that hide what it does.
    """
    command: str = arguments["command"].strip()
    if not command:
        raise BadArguments("The command is empty.")
    if len(command) > MOST_CHARACTERS:
        raise BadArguments(
            f"The command has {len(command):,} characters; {MOST_CHARACTERS:,} is the most that a person can check.",
            hint="Write a script with write_file, or use several shorter commands.",
        )
    hidden = next((c for c in command if not c.isprintable() and c not in "\n\t"), None)
    if hidden is not None:
        raise BadArguments(f"The command contains U+{ord(hidden):04X}, which nobody can see.")
    return command


def _title(arguments: dict[str, Any]) -> str:
    first, _, rest = arguments.get("command", "").strip().partition("\n")
    return f"$ {first}{' …' if rest else ''}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    settings, root = context.settings, context.draft.jail.root
    command = ["/bin/sh", "-c", _LIMITED, "sh", str(settings.command_megabytes * 1024), permission(arguments)]
    if confined(root):
        command = walled(command, root, readable=settings.readable_folders)
    try:
        ended = processes.run(
            command,
            root,
            processes.environment(os.environ),
            seconds=settings.command_seconds,
            first=END,
            last=END,
            stop=context.stop,
        )
    except OSError as error:
        return Outcome("refused: it cannot be started", f"The command cannot be started: {error}.", ok=False)
    words = {
        "": f"exit {ended.code}" if ended.code >= 0 else f"killed by signal {-ended.code}",
        "time": f"stopped after {settings.command_seconds:g} s",
        "output": "stopped",
        "cancelled": "cancelled",
    }[ended.stopped]
    text = f"[{words}]\n{ended.output.rstrip() or '[no output]'}{_about_the_draft(context)}"
    return Outcome(words, text, ok=ended.code == 0)


def _about_the_draft(context: ToolContext) -> str:
    """What the model has to know: which edits the command did not see, and which files it changed under the draft."""
    draft = context.draft
    pending = [change.path for change in draft.changes()]
    notes = ""
    if pending:
        notes = f"\n[Your edits of these files are not on disk yet, so the command did not see them: {_some(pending)}]"
    changed = list(draft.stale())
    if changed and pending:
        notes += f"\n[Changed on disk since they were read, which stands in the way of your edits: {_some(changed)}]"
    elif changed:
        draft.rebase()
        notes += f"\n[Changed on disk; read them again before you edit them: {_some(changed)}]"
    return notes


def _some(paths: list[str]) -> str:
    more = len(paths) - FILES_NAMED
    return ", ".join(paths[:FILES_NAMED]) + (f" and {more} more" if more > 0 else "")


TOOL = Tool(
    spec=ToolSpec(
        "run_command",
        "Runs a shell command in the workspace's root and gives its exit status and output. A person has to permit it. "
        "It sees the files as they are on disk: edits of this turn are not there yet. It may have no network and no "
        "home folder.",
        schema(("command",), command=parameter("string", "The command, for /bin/sh.")),
    ),
    title=_title,
    run=_run,
    permission=permission,
    confined=confined,
)
