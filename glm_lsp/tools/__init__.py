"""What the model may do between two thoughts: one file a tool, listed in the order the model sees them.

Never offers a tool that is not in this list, and never changes the list within a conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glm_lsp.tools import (
    ask_user,
    diagnostics,
    edit_file,
    find_references,
    find_symbol,
    finish,
    git,
    list_files,
    read_file,
    replace_symbol,
    report_finding,
    run_command,
    search,
    write_file,
)
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, refusal

if TYPE_CHECKING:
    from collections.abc import Container

TOOLS: tuple[Tool, ...] = (
    read_file.TOOL,
    list_files.TOOL,
    search.TOOL,
    find_symbol.TOOL,
    find_references.TOOL,
    diagnostics.TOOL,
    edit_file.TOOL,
    replace_symbol.TOOL,
    write_file.TOOL,
    git.TOOL,
    run_command.TOOL,
    ask_user.TOOL,
    finish.TOOL,
)

BESIDE: tuple[Tool, ...] = (report_finding.TOOL,)
"""Tools that only conversations of certain actions are offered."""

__all__ = ["BESIDE", "TOOLS", "Outcome", "Tool", "ToolContext", "beside", "find", "offered", "refusal"]


def offered(*, repository: bool, commands: bool, person: bool) -> tuple[Tool, ...]:
    """The tools of a new conversation; at most a dozen.

    Args:
        repository: whether the workspace is git's; without it there is no `git`.
        commands: whether there is anybody, a person or a setting, who could permit a command.
        person: whether somebody is there to answer a question; where nobody is, the model reports by `finish` instead.
    """
    missing = {(finish if person else ask_user).TOOL.spec.name}
    if not repository:
        missing.add(git.TOOL.spec.name)
    return tuple(t for t in TOOLS if t.spec.name not in missing and (commands or t.permission is None))


def beside(names: Container[str]) -> tuple[Tool, ...]:
    """Those of these names that belong to certain actions."""
    return tuple(tool for tool in BESIDE if tool.spec.name in names)


def find(name: str) -> Tool | None:
    """The tool of that name."""
    return next((tool for tool in TOOLS if tool.spec.name == name), None)
