"""What a server's answer, or its failure, is to the model: text, bounded.

Never passes on what is not text: it says in one line what there was.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from glm_lsp.tools.mcp.schema import readable
from glm_lsp.tools.tool import RESULT_LIMIT, Outcome

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock


def outcome(result: CallToolResult) -> Outcome:
    """The answer as the model reads it: texts as they are, anything else in one line, all of it bounded."""
    parts = [_part(part) for part in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False, sort_keys=True)]
    text = "\n".join(parts).encode("utf-8", "replace").decode()
    size = len(text)
    if size > RESULT_LIMIT:
        note = f"\n[{size - RESULT_LIMIT:,} more characters are left out: ask for less at once]"
        text = text[:RESULT_LIMIT] + note
    if result.is_error:
        said = next((line.strip() for line in text.splitlines() if line.strip()), "")
        return Outcome(f"failed: {readable(said, 80)}" if said else "failed", text or "The call failed.", ok=False)
    lines = len(text.splitlines())
    return Outcome(f"{lines} line{'s' * (lines != 1)}" if text else "nothing", text or "[no output]")


def _part(part: ContentBlock) -> str:
    match part.type:
        case "text":
            return part.text
        case "image" | "audio":
            return f"[{part.type}, {readable(part.mime_type, 80)}, {len(part.data) * 3 // 4:,} bytes; not shown]"
        case "resource_link":
            return f"[a link to {readable(part.name, 200)}: {readable(part.uri, 500)}]"
    if hasattr(part.resource, "text"):
        return f"{readable(part.resource.uri, 500)}:\n{part.resource.text}"
    kind = readable(part.resource.mime_type or "of unknown kind", 80)
    return f"[a file, {readable(part.resource.uri, 500)}, {kind}; not shown]"


def leaf(error: BaseException) -> BaseException:
    """The first plain error of a group: the library's task groups wrap what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def first_line(error: BaseException) -> str:
    """The first line of what it says."""
    return str(error).strip().partition("\n")[0]
