"""The cells of open notebooks, each as a file of the workspace of its own.

Never reads or writes a notebook's file: a cell is what the editor shows, and only the editor changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from glm_lsp.server import convert

if TYPE_CHECKING:
    from pathlib import Path

    from lsprotocol import types
    from pygls.workspace import Workspace

_SUFFIXES: Final = {
    "bash": "sh",
    "csharp": "cs",
    "javascript": "js",
    "julia": "jl",
    "markdown": "md",
    "python": "py",
    "rust": "rs",
    "shellscript": "sh",
    "typescript": "ts",
}


@dataclass(slots=True)
class Cells:
    """Names for cells: the third one of `work.ipynb` is `work.ipynb#3.py`, and stays so while the notebook is open.

    A cell that comes later gets the next number, wherever it is put.
    """

    _numbers: dict[str, dict[str, int]] = field(default_factory=dict)

    def path(self, workspace: Workspace, uri: str) -> Path | None:
        """The file that a cell counts as; None for what is no cell, or one of a notebook that is no file."""
        notebook = workspace.get_notebook_document(cell_uri=uri)
        document = workspace.text_documents.get(unquote(uri))
        where = convert.uri_to_path(notebook.uri) if notebook is not None else None
        if notebook is None or document is None or where is None:
            return None
        number = self._number(notebook, document.uri)
        language = document.language_id or "txt"
        return where.with_name(f"{where.name}#{number}.{_SUFFIXES.get(language, language)}")

    def _number(self, notebook: types.NotebookDocument, uri: str) -> int:
        known = self._numbers.setdefault(notebook.uri, {})
        for one in (*(cell.document for cell in notebook.cells), uri):
            known.setdefault(one, len(known) + 1)
        return known[uri]
