"""The names that a saved text uses are told by its words; they are those that the nodes of its tree tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from glm_lsp.languages.facts import captures, facts, facts_from
from glm_lsp.languages.parsed import syntax_tree, utf8
from glm_lsp.languages.table import LANGUAGES, language_of
from tests.test_facts import CASES

HARD = {
    "strings.py": (
        "x = f'a {b:{width}.2f} {c!r} {\"d\" + e}' f'{g}'\n"
        's = """one\ntwo {three}\n""" + r"\\d" + b"bytes"; t = u\'u\'\n'
        "# a comment\nprint(None, True, match, type) ; match = re.match(case)\n"
        "match x:\n    case _: pass\n    case Point(y=0): pass\n"
        "async def go(): await _(async_name, 0x1F, 1e5, 10_000)\n"
        "from __future__ import annotations\n"
        "type Alias = list[int]\n"
    ),
    "words.py": "größe = naïve + größe\nlambda self, *args, **kwargs: args[0] if self else not kwargs\nclass go: go = go\n",
    "ends.py": "import a\r\nx = '''b\r\nc'''\r\nd(e)\r\n",
    "odd.py": "import a\rdef b():\r    return a\r",
    "page.js": (
        "#!/usr/bin/env node\nconst $ = this.$el ?? a.default, {b: {c}, ...rest} = o\n"
        "x.catch(e => e.delete()).finally(() => undefined)\n"
        "let s = `a ${b + `c ${d}`} e` + 'f' + /g\\/h/u.test(i)\n"
        "outer: for (const of of get) { continue outer }\n"
        "class A extends B { #p = 1; static get get() { return super.set(this.#p, null, true) } }\n"
        "const j = <Tag attr={value} other='text'>words {inner} &amp; more</Tag>\n// comment\n"
    ),
    "code.c": (
        "#include <linux/a.h>\n#include B_H\n# define NAME(x, y) body(x)\n#define VALUE 0x1f\n#ifdef CONFIG_A\n"
        "#elif defined(CONFIG_B) && VALUE > 1\n#endif\n#pragma once\n"
        "static inline unsigned long f(size_t n, struct s *p, int (*g)(void))\n{\n"
        '\tif (!p || p->field == NULL) goto out;\n\tchar c = \'c\', *s = "str" L"wide"; /* comment\n more */\n'
        '\treturn offsetof(struct s, member) + sizeof(t) + true;\nout:\n\tasm volatile("nop" : : "r"(operand));\n'
        "\treturn 10UL + .5f;\n}\n"
    ),
    "code.hpp": (
        "#pragma once\nnamespace a::b { template <typename T> class C final : public D<T> {\n public:\n"
        "  explicit C(int x) : x_(x) {}\n  virtual ~C() = default;\n  auto get() const noexcept -> decltype(x_) override;\n"
        "  bool operator==(const C &o) const { return this->x_ == o.x_ and not o.y; }\n  int x_ = 10_km; };\n}\n"
        'using namespace std; const char *r = R"(raw text)";\n'
    ),
    "plain_c.h": "struct s { int class; struct device *new; int private; };\nint f(struct s *this, int template);\n",
}


@pytest.mark.parametrize("path", [*(path for path in CASES), *HARD])
def test_words_tell_the_same_names_as_nodes(path: str) -> None:
    text = HARD.get(path) or CASES[path][0]
    language = language_of(path)
    assert language is not None
    data = utf8(text)
    tree = syntax_tree(language, data)
    assert tree is not None
    by_node = facts_from(language, data, captures(language, tree.root_node), is_ascii=len(data) == len(text))
    by_word = facts(path, text)
    assert by_word is not None
    assert by_word.uses == by_node.uses
    assert by_word == by_node


def test_this_repository_uses_the_same_names_either_way() -> None:
    language = language_of("a.py")
    assert language is not None
    for path in sorted((Path(__file__).parent.parent / "glm_lsp" / "index").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = syntax_tree(language, utf8(text))
        assert tree is not None
        by_node = facts_from(language, utf8(text), captures(language, tree.root_node), is_ascii=text.isascii())
        assert facts(str(path), text) == by_node, path.name


def test_signs_that_no_name_has_are_no_names_in_broken_text() -> None:
    found = facts("a.py", "a → b «c» = d 😀\n")
    assert found is not None
    assert set(found.uses) <= {"a", "b", "c", "d"}


def test_the_languages_that_most_files_are_in_are_told_by_words() -> None:
    told = {row.name for row in LANGUAGES if row.load_by_word()[1] is not None}
    assert told >= {"Python", "JavaScript", "C", "C++"}


def test_a_word_that_is_a_keyword_everywhere_is_no_name_and_one_that_is_so_in_places_may_be() -> None:
    (python,) = (row for row in LANGUAGES if row.name == "Python")
    never = python.load_by_word()[2]
    assert {b"def", b"return", b"lambda"} <= never
    assert not {b"match", b"type", b"print", b"expression", b"end"} & never
