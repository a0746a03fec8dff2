"""The tools of MCP servers that the person's settings name, as further tools of a turn.

Never runs one unasked because the server calls it harmless, never gives a server more of our environment than any
program needs, and never lets a server's failure be more than a note or a refusal.
"""

from __future__ import annotations

from glm_lsp.tools.mcp.servers import McpServers

__all__ = ["McpServers"]
