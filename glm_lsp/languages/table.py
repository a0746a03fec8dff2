"""The table of languages: a row each, in the order they are tried.

Never imports a grammar before a file of its language is parsed: all of them together take half a second.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import re
from dataclasses import dataclass

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
        signs: what its names are made of besides letters, digits and underscores.
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
    signs: str = ""

    def load(self) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
        """The grammar and the symbol query, loaded once a process; the query is None where there is none."""
        return _load(self.grammar, self.query, _SYMBOLS)[:2]

    def load_whole(self) -> tuple[tree_sitter.Language, tree_sitter.Query | None]:
        """The grammar and the query of symbols, uses and imports together; else as `load`."""
        return _load(self.grammar, self.query, _NODES)[:2]

    def load_by_word(self) -> tuple[tree_sitter.Language, tree_sitter.Query | None, frozenset[bytes]]:
        """The grammar, the query of symbols, imports and of what is no name, and the words that never are one.

        The query is None where the language's names are not told by its words; else as `load`.
        """
        return _load(self.grammar, self.query, _WORDS)


LANGUAGES: tuple[Language, ...] = (
    Language("Python", (".py", ".pyi", ".pyw"), "tree_sitter_python:language", "#", "python.scm", docstrings=True),
    Language(
        "JavaScript",
        (".js", ".mjs", ".cjs", ".jsx"),
        "tree_sitter_javascript:language",
        "//",
        "javascript.scm",
        signs="$#",
    ),
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
    name = path.rstrip("/").rpartition("/")[2]
    dot = name.rfind(".")
    return _BY_FILENAME.get(name) or (_BY_SUFFIX.get(name[dot:].lower()) if dot > 0 else None)


_BY_SUFFIX = {suffix: language for language in LANGUAGES for suffix in language.suffixes}
_BY_FILENAME = {name: language for language in LANGUAGES for name in language.filenames}


@functools.cache
def _load(
    grammar: str, query: str, sections: frozenset[int]
) -> tuple[tree_sitter.Language, tree_sitter.Query | None, frozenset[bytes]]:
    language = _grammar(grammar)
    if not query:
        return language, None, frozenset()
    source = (importlib.resources.files("glm_lsp.languages") / "queries" / query).read_text(encoding="utf-8")
    # Edits ask for symbols after every change, and each pattern more is a cost to them.
    parts = _SECTION.split(source)
    if sections == _WORDS and len(parts) <= max(_WORDS):
        return language, None, frozenset()
    wanted = "\n".join(part for number, part in enumerate(parts) if number in sections)
    said = set(_WORD.findall(wanted)) if sections == _WORDS else set()
    kinds = (
        language.node_kind_for_id(number)
        for number in range(language.node_kind_count if sections == _WORDS else 0)
        if language.node_kind_is_visible(number) and not language.node_kind_is_named(number)
    )
    words = frozenset(kind.encode() for kind in kinds if kind and kind.isidentifier() and kind not in said)
    return language, tree_sitter.Query(language, wanted), words


@functools.cache
def _grammar(place: str) -> tree_sitter.Language:
    module, _, function = place.partition(":")
    return tree_sitter.Language(getattr(importlib.import_module(module), function)())


_SECTION = re.compile(r"^; ---- .*$", re.MULTILINE)
"""The lines that part a query file: symbols; imports and what else only the index asks for; names, each by its node;
and, where a whole text's names are told by its words, what of the text is none."""

_SYMBOLS, _NODES, _WORDS = frozenset({0}), frozenset({0, 1, 2}), frozenset({0, 1, 3})

_WORD = re.compile(r'"(\w+)"')
