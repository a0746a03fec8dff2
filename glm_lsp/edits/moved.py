"""What becomes of the import statements that name a file, when the file gets another name.

Never changes a statement whose meaning is not certain, and never touches names in strings or comments.

Python: modules by the path from the workspace's root or its `src/`, absolute and relative imports.
JavaScript and TypeScript: relative specifiers, with or without an ending.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from glm_lsp.languages import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PYTHON: Final = (".py", ".pyi")
SCRIPTS: Final = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")

_COMPILED: Final = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
"""What a specifier with the ending of a compiled file may mean."""

_FROM = re.compile(r"from[ \t]*([.\w][.\w \t]*?)[ \t]+import\b")
_SPECIFIER = re.compile(
    r"""(?<![.\w$])(?:from|import|require)\b\s*\(?\s*(?P<quote>['"])(?P<path>\.{1,2}/[^'"\\\n]*)(?P=quote)"""
)


def updated(path: str, text: str, moved: Mapping[str, str], known: Collection[str]) -> str:
    """The text of a file with the imports that a move makes necessary.

    Args:
        path: the file, by its path before the move.
        text: what it holds.
        moved: old to new paths of the files that move.
        known: the workspace's files before the move.
    """
    suffix = PurePosixPath(path).suffix
    found = _python(path, text, moved, known) if suffix in PYTHON else _scripts(path, text, moved, known)
    for start, end, new in sorted(set(found), reverse=True):
        text = text[:start] + new + text[end:]
    return text


# --- Python ------------------------------------------------------------------------------------------------------


def _python(path: str, text: str, moved: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[int, int, str]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    source = _Source(text)
    names = _renamed_modules(moved, known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                new = names.get(alias.name)
                if new is None:
                    continue
                start, end = source.span(alias)
                if alias.asname or "." not in alias.name:
                    yield start, end, f"{new} as {alias.asname or alias.name}"
                elif (uses := _uses(tree, alias.name)) is not None:
                    yield start, end, new
                    yield from ((*source.span(use), new) for use in uses)
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node, source, path, moved, names)


def _from(
    node: ast.ImportFrom, source: _Source, path: str, moved: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[tuple[int, int, str]]:
    start, end = source.span(node)
    head = _FROM.match(source.text, start, end)
    if head is None:
        return
    here, there = _folder(path), _folder(moved.get(path, path))
    if not node.level:
        if (node.module or "") in names:
            yield head.start(1), head.end(1), names[node.module or ""]
            return
        for alias in node.names:
            new = names.get(f"{node.module}.{alias.name}")
            if new is None:
                continue
            package, _, last = new.rpartition(".")
            if package == node.module or (package and len(node.names) == 1):
                yield (*source.span(alias), f"{last} as {alias.asname or alias.name}")
            if package != node.module and package and len(node.names) == 1:
                yield head.start(1), head.end(1), package
        return
    if node.level - 1 > len(here):
        return
    base = (*here[: len(here) - node.level + 1], *((node.module or "").split(".") if node.module else ()))
    target = _moved_module(base, moved)
    if target is not None or here != there:
        dots = _relative(there, target or base)
        if dots and (dots != f"{'.' * node.level}{node.module or ''}"):
            yield head.start(1), head.end(1), dots
    if target is None:
        for alias in node.names:
            new_module = _moved_module((*base, alias.name), moved)
            if new_module is not None and new_module[:-1] == base:
                yield (*source.span(alias), f"{new_module[-1]} as {alias.asname or alias.name}")


def _folder(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parent.parts


def _moved_module(module: tuple[str, ...], moved: Mapping[str, str]) -> tuple[str, ...] | None:
    """Where a module went, as the parts of its path without the ending; None where it stays."""
    for suffix in PYTHON:
        new = moved.get(f"{'/'.join(module)}{suffix}") if module else None
        if new is not None and _is_module(new):
            return PurePosixPath(new).with_suffix("").parts
    return None


def _relative(folder: tuple[str, ...], module: tuple[str, ...]) -> str:
    """A module as one in `folder` names it; empty where the two have no package in common."""
    common = 0
    while common < min(len(folder), len(module)) and folder[common] == module[common]:
        common += 1
    if not common and folder:
        return ""
    return "." * (len(folder) - common + 1) + ".".join(module[common:])


def _is_module(path: str) -> bool:
    pure = PurePosixPath(path)
    parts = pure.with_suffix("").parts
    return pure.suffix in PYTHON and all(part.isidentifier() for part in parts) and parts[-1] != "__init__"


def _renamed_modules(moved: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Old to new names of modules, those left out that another file could mean."""
    found: dict[str, str] = {}
    for old, new in moved.items():
        for prefix in ("", "src/"):
            if not (old.startswith(prefix) and new.startswith(prefix)):
                continue
            before, after = old.removeprefix(prefix), new.removeprefix(prefix)
            if not (_is_module(before) and _is_module(after)):
                continue
            stem = before.rpartition(".")[0]
            others = {f"{root}{stem}{end}" for root in ("", "src/") for end in (".py", ".pyi", "/__init__.py")}
            if not (others - {old}) & set(known):
                found[stem.replace("/", ".")] = after.rpartition(".")[0].replace("/", ".")
    return found


def _uses(tree: ast.AST, module: str) -> list[ast.Attribute] | None:
    """Where a module is used by its whole dotted name; None where its first name may mean something else too."""
    top = module.partition(".")[0]
    found: list[ast.Attribute] = []
    held: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            held.add(id(node.value))
            if _dotted(node) == module:
                found.append(node)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any((one.asname or one.name) == top for one in node.names):
            return None
        bound = [getattr(node, "name", None), getattr(node, "arg", None), getattr(node, "asname", None)]
        if top in bound and not (isinstance(node, ast.alias) and node.asname is None):
            return None
        if (
            isinstance(node, ast.Name)
            and node.id == top
            and (id(node) not in held or not isinstance(node.ctx, ast.Load))
        ):
            return None
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


class _Source:
    """A text and the places of nodes in it, whose columns count bytes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", text))]

    def span(self, node: ast.AST) -> tuple[int, int]:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        last, end = getattr(node, "end_lineno", line), getattr(node, "end_col_offset", column)
        return self._at(line, column), self._at(last, end)

    def _at(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        following = self._starts[line] if line < len(self._starts) else len(self.text)
        return start + len(self.text[start:following].encode("utf-8", "replace")[:column].decode("utf-8", "replace"))


# --- JavaScript and TypeScript -----------------------------------------------------------------------------------


def _scripts(path: str, text: str, moved: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[int, int, str]]:
    folder, target_folder = posixpath.dirname(path), posixpath.dirname(moved.get(path, path))
    tree = None
    for found in _SPECIFIER.finditer(text):
        meant = _meant(folder, found["path"], known)
        if meant is None or (meant not in moved and folder == target_folder):
            continue
        tree = tree or parse(path, text)
        if tree is None:
            return
        if tree.in_literal(found.start()) or not tree.in_literal(found.start("path")):
            continue
        new = _specifier(target_folder, found["path"], meant, moved.get(meant, meant))
        if new and new != found["path"]:
            yield found.start("path"), found.end("path"), new


def _meant(folder: str, specifier: str, known: Collection[str]) -> str | None:
    """The file that a specifier means; None where there is none in the workspace."""
    base = posixpath.normpath(posixpath.join(folder, specifier))
    stem, suffix = posixpath.splitext(base)
    candidates = [base, *(stem + end for end in _COMPILED.get(suffix, ()))]
    candidates += [base + end for end in SCRIPTS] + [f"{base}/index{end}" for end in SCRIPTS]
    return next((one for one in candidates if one in known), None)


def _specifier(folder: str, old: str, meant: str, new: str) -> str:
    """How a file in `folder` names the file `new`, in the way in which it named it before; empty where it cannot."""
    suffix = posixpath.splitext(new)[1]
    if suffix not in SCRIPTS:
        return ""
    written = posixpath.splitext(old)[1]
    stem = posixpath.splitext(new)[0]
    if old.endswith(posixpath.splitext(meant)[1]):
        shown = new
    elif written in _COMPILED:  # a compiled file's ending
        shown = stem + next((js for js, ts in _COMPILED.items() if suffix in ts), suffix)
    else:
        shown = stem.removesuffix("/index") if posixpath.basename(stem) == "index" else stem
    relative = posixpath.relpath(shown, folder or ".")
    return relative if relative.startswith("../") else f"./{relative}"
