"""Symbols of a document and of the workspace from the index, for those who want them beside other servers' answers.

Never answers for a workspace whose settings do not ask for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from glm_lsp.server import convert

if TYPE_CHECKING:
    from glm_lsp.index.index import Index
    from glm_lsp.languages.facts import Definition
    from glm_lsp.server.session import Session

MOST: Final = 200
"""Symbols of a workspace in one answer."""

KINDS: Final = {
    "class": types.SymbolKind.Class,
    "constant": types.SymbolKind.Constant,
    "enum": types.SymbolKind.Enum,
    "function": types.SymbolKind.Function,
    "heading": types.SymbolKind.String,
    "interface": types.SymbolKind.Interface,
    "key": types.SymbolKind.Key,
    "method": types.SymbolKind.Method,
    "module": types.SymbolKind.Module,
    "property": types.SymbolKind.Property,
    "struct": types.SymbolKind.Struct,
    "table": types.SymbolKind.Struct,
    "type": types.SymbolKind.Class,
    "variable": types.SymbolKind.Variable,
}


async def of_document(session: Session, uri: str) -> list[types.DocumentSymbol]:
    """What a document defines, nested as it is; empty where nobody asked for it."""
    path = session.editor.path(uri)
    folder = session.known(path) if path is not None else None
    name = folder.relative(path) if folder is not None and path is not None else None
    if folder is None or name is None or not folder.workspace.settings.index.symbols:
        return []
    index = folder.workspace.index
    if index is None:
        return []
    lines = (await asyncio.to_thread(index.text, name) or "").split("\n")
    return _nested(await asyncio.to_thread(index.outline, name), lines, session)


async def of_workspace(session: Session, query: str) -> list[types.WorkspaceSymbol]:
    """What is called somehow so in all workspaces that want it, the best first."""
    found: list[types.WorkspaceSymbol] = []
    for folder in session.folders:
        index = folder.workspace.index
        if index is not None and folder.workspace.settings.index.symbols and query:
            found += await asyncio.to_thread(_look, index, query, session)
    return found[:MOST]


def _look(index: Index, query: str, session: Session) -> list[types.WorkspaceSymbol]:
    hits = index.symbols(query, how="exact", limit=MOST) or index.symbols(query, how="prefix", limit=MOST)
    hits = hits or index.symbols(query, how="fuzzy", limit=MOST)
    texts: dict[str, list[str]] = {}
    found = []
    for one in hits:
        if one.path not in texts:
            texts[one.path] = (index.text(one.path) or "").split("\n")
        container, _, _ = one.definition.qualified.rpartition(".")
        found.append(
            types.WorkspaceSymbol(
                location=types.Location(
                    session.editor.uri(index.root / one.path), _name(one.definition, texts[one.path], session)
                ),
                name=one.definition.name,
                kind=KINDS.get(one.definition.kind, types.SymbolKind.Variable),
                container_name=container or None,
            )
        )
    return found


def _name(definition: Definition, lines: list[str], session: Session) -> types.Range:
    """Where a definition's name stands."""
    line = lines[definition.line - 1] if definition.line <= len(lines) else ""
    encoding = session.editor.encoding
    first, last = definition.column, definition.column + len(definition.name)
    row = definition.line - 1
    return types.Range(
        types.Position(row, convert.character_at(line, first, encoding)),
        types.Position(row, convert.character_at(line, last, encoding)),
    )


def _nested(definitions: tuple[Definition, ...], lines: list[str], session: Session) -> list[types.DocumentSymbol]:
    encoding = session.editor.encoding
    top: list[types.DocumentSymbol] = []
    around: list[tuple[Definition, list[types.DocumentSymbol]]] = []
    for one in definitions:
        while around and around[-1][0].last_line < one.last_line:
            around.pop()
        last = lines[one.last_line - 1].rstrip("\r") if one.last_line <= len(lines) else ""
        inner: list[types.DocumentSymbol] = []
        symbol = types.DocumentSymbol(
            name=one.name,
            kind=KINDS.get(one.kind, types.SymbolKind.Variable),
            range=types.Range(
                types.Position(one.first_line - 1, 0),
                types.Position(one.last_line - 1, convert.character_at(last, len(last), encoding)),
            ),
            selection_range=_name(one, lines, session),
            detail=one.signature or None,
            children=inner,
        )
        (around[-1][1] if around else top).append(symbol)
        around.append((one, inner))
    return top
