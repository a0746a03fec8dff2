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
        docstrings: whether a definition's documentation is the string that its body begins with.
        judged: whether the grammar knows the language so well that an edit may be called wrong by it. Not so where it
            reports errors in sound text (dialects of SQL, 1 % of Kotlin's and 5 % of Swift's files), or where lines of
            other languages stand in the text (Markdown).
    """

    name: str
    suffixes: tuple[str, ...]
    grammar: str
    comment: str
    query: str
    filenames: tuple[str, ...] = ()
    leading: tuple[str, ...] = ()
    docstrings: bool = False
    judged: bool = True

    def load(self) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
        """The grammar and the symbol query, loaded once a process; the query is None where there is none."""
        return _load(self.grammar, self.query, whole=False)

    def load_whole(self) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
        """The grammar and the query of symbols, uses and imports together; else as `load`."""
        return _load(self.grammar, self.query, whole=True)


LANGUAGES: tuple[Language, ...] = (
    Language("Python", (".py", ".pyi", ".pyw"), "tree_sitter_python:language", "#", "python.scm", docstrings=True),
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
    Language("Kotlin", (".kt", ".kts"), "tree_sitter_kotlin:language", "//", "kotlin.scm", judged=False),
    Language("Scala", (".scala", ".sc", ".sbt"), "tree_sitter_scala:language", "//", "scala.scm"),
    Language("Swift", (".swift",), "tree_sitter_swift:language", "//", "swift.scm", judged=False),
    Language("SQL", (".sql",), "tree_sitter_sql:language", "--", "sql.scm", judged=False),
    Language("Markdown", (".md", ".markdown"), "tree_sitter_markdown:language", "", "markdown.scm", judged=False),
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
def _load(grammar: str, query: str, *, whole: bool) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
    language = _grammar(grammar)
    if not query:
        return language, None
    source = (importlib.resources.files("glm_lsp.languages") / "queries" / query).read_text(encoding="utf-8")
    if not whole:
        # Edits ask for symbols after every change, and each pattern more is a cost to them.
        source = source.partition(_USES)[0]
    return language, tree_sitter.Query(language, source)


@functools.cache
def _grammar(place: str) -> tree_sitter.Language:
    module, _, function = place.partition(":")
    return tree_sitter.Language(getattr(importlib.import_module(module), function)())


_USES = "; ---- uses and imports"
"""How the line begins that parts a query file: symbols above it, what only the index asks for below."""
