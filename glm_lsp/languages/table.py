"""The table of languages: a row each, in the order they are tried.

Never imports a grammar before a file of its language is parsed: all of them together take half a second.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
from dataclasses import dataclass
from pathlib import PurePosixPath

import tree_sitter


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    Attributes:
        name: what a person calls it.
        suffixes: endings of file names, with the dot, lower case.
        grammar: module and function that give the tree-sitter grammar, as `module:function`.
        comment: the sign that starts a line comment; empty where there is none.
        query: file name of the symbol query, in `queries/`; empty for a language without symbols.
        filenames: whole file names that have no telling suffix.
        leading: node types that belong to the definition right behind them, such as Rust's attributes.
    """

    name: str
    suffixes: tuple[str, ...]
    grammar: str
    comment: str
    query: str
    filenames: tuple[str, ...] = ()
    leading: tuple[str, ...] = ()

    def load(self) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
        """The grammar and the compiled query, loaded once a process; the query is None where there is none."""
        return _load(self.grammar, self.query)


LANGUAGES: tuple[Language, ...] = (
    Language("Python", (".py", ".pyi", ".pyw"), "tree_sitter_python:language", "#", "python.scm"),
    Language("JavaScript", (".js", ".mjs", ".cjs", ".jsx"), "tree_sitter_javascript:language", "//", "javascript.scm"),
    Language(
        "TypeScript", (".ts", ".mts", ".cts"), "tree_sitter_typescript:language_typescript", "//", "typescript.scm"
    ),
    Language("TSX", (".tsx",), "tree_sitter_typescript:language_tsx", "//", "typescript.scm"),
    Language("Go", (".go",), "tree_sitter_go:language", "//", "go.scm"),
    Language("Rust", (".rs",), "tree_sitter_rust:language", "//", "rust.scm", leading=("attribute_item",)),
    Language("Java", (".java",), "tree_sitter_java:language", "//", "java.scm"),
    Language("C", (".c",), "tree_sitter_c:language", "//", "c.scm"),
    # A header may be either; C++ reads nearly all of C, while C stumbles over every class.
    Language(
        "C++",
        (".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".h", ".ipp", ".cu", ".cuh"),
        "tree_sitter_cpp:language",
        "//",
        "cpp.scm",
    ),
    Language("C#", (".cs", ".csx"), "tree_sitter_c_sharp:language", "//", "csharp.scm"),
    Language(
        "Ruby",
        (".rb", ".rake", ".gemspec", ".ru"),
        "tree_sitter_ruby:language",
        "#",
        "ruby.scm",
        ("Gemfile", "Rakefile", "Podfile", "Vagrantfile"),
    ),
    Language("PHP", (".php", ".phtml"), "tree_sitter_php:language_php", "//", "php.scm"),
    Language(
        "Bash",
        (".sh", ".bash"),
        "tree_sitter_bash:language",
        "#",
        "bash.scm",
        (".bashrc", ".bash_profile", ".profile", "PKGBUILD"),
    ),
    Language("Lua", (".lua",), "tree_sitter_lua:language", "--", "lua.scm"),
    Language(
        "JSON",
        (".json", ".jsonc", ".webmanifest", ".geojson"),
        "tree_sitter_json:language",
        "",
        "json.scm",
        ("composer.lock", "Pipfile.lock", ".babelrc", ".eslintrc"),
    ),
    Language("YAML", (".yaml", ".yml"), "tree_sitter_yaml:language", "#", "yaml.scm", (".clang-format", ".clang-tidy")),
    Language(
        "TOML",
        (".toml",),
        "tree_sitter_toml:language",
        "#",
        "toml.scm",
        ("Cargo.lock", "poetry.lock", "uv.lock", "Pipfile"),
    ),
    Language("HTML", (".html", ".htm", ".xhtml"), "tree_sitter_html:language", "", ""),
    Language("CSS", (".css",), "tree_sitter_css:language", "", "css.scm"),
)


def language_of(path: str) -> Language | None:
    """The language of a file, by its name alone; None for one we have no grammar for."""
    name = PurePosixPath(path).name
    return _BY_FILENAME.get(name) or _BY_SUFFIX.get(PurePosixPath(name).suffix.lower())


_BY_SUFFIX = {suffix: language for language in LANGUAGES for suffix in language.suffixes}
_BY_FILENAME = {name: language for language in LANGUAGES for name in language.filenames}


@functools.cache
def _load(grammar: str, query: str) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
    module, _, function = grammar.partition(":")
    language = tree_sitter.Language(getattr(importlib.import_module(module), function)())
    if not query:
        return language, None
    source = (importlib.resources.files("glm_lsp.languages") / "queries" / query).read_text(encoding="utf-8")
    return language, tree_sitter.Query(language, source)
