"""The tool `list_files`: paths in the workspace, by pattern.

Never lists what git ignores.
"""

from __future__ import annotations

from typing import Any

import pathspec

from glm_lsp.terms import ToolSpec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext, parameter, schema

PATHS_AT_ONCE = 500


def _title(arguments: dict[str, Any]) -> str:
    return f"Listed {arguments.get('pattern') or 'all files'}"


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    created = [change.path for change in context.draft.changes() if change.before is None]
    paths = sorted({*context.listing.paths, *created})
    pattern = arguments.get("pattern")
    if pattern:
        spec = pathspec.GitIgnoreSpec.from_lines([pattern])
        paths = [path for path in paths if spec.match_file(path)]
    if not paths:
        return Outcome("none", f"No file of the workspace matches {pattern!r}." if pattern else "There are no files.")
    rest = len(paths) - PATHS_AT_ONCE
    more = f"\n[{rest} more: narrow the pattern]" if rest > 0 else ""
    return Outcome(f"{len(paths)} files", "\n".join(paths[:PATHS_AT_ONCE]) + more)


TOOL = Tool(
    spec=ToolSpec(
        "list_files",
        "Lists the workspace's files, sorted by path. Ignored files are left out.",
        schema((), pattern=parameter("string", "A pattern as in .gitignore, such as `src/**/*.py`. Default: all.")),
    ),
    title=_title,
    run=_run,
)
