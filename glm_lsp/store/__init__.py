"""One sqlite file of conversations for each workspace.

Never rewrites a message, never deletes a file, and lets no SQL out.

A file that is damaged or of another program is set aside under another name, and a fresh one takes its place; one that
was written by a newer release is left as it is.
"""

from __future__ import annotations

from glm_lsp.store.export import as_json, markdown
from glm_lsp.store.rows import Compaction, Entry, Holder, Loaded, Request, Said, Store, held, tools_json, went_on
from glm_lsp.store.thoughts import Thoughts

__all__ = [
    "Compaction",
    "Entry",
    "Holder",
    "Loaded",
    "Request",
    "Said",
    "Store",
    "Thoughts",
    "as_json",
    "held",
    "markdown",
    "tools_json",
    "went_on",
]
