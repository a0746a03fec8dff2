"""What the model may do between two thoughts: one file a tool, listed in the order the model sees them.

Never offers a tool that is not in this list, and never changes the list within a conversation.
"""

from __future__ import annotations

from glm_lsp.tools import edit_file, list_files, read_file, replace_symbol, search, write_file
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, refusal

TOOLS: tuple[Tool, ...] = (
    read_file.TOOL,
    list_files.TOOL,
    search.TOOL,
    edit_file.TOOL,
    replace_symbol.TOOL,
    write_file.TOOL,
)

NAMES: tuple[str, ...] = tuple(tool.spec.name for tool in TOOLS)

__all__ = ["NAMES", "TOOLS", "Outcome", "Tool", "ToolContext", "find", "refusal"]


def find(name: str) -> Tool | None:
    """The tool of that name."""
    return next((tool for tool in TOOLS if tool.spec.name == name), None)
