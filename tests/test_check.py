"""What the check says about edits that break a file, and that it keeps quiet about those that do not."""

from __future__ import annotations

import pytest

from glm_lsp.edits.check import MOST, Step, check
from glm_lsp.languages import parse
from glm_lsp.terms import Objection, Span

PYTHON = '''\
class Cart:
    """A cart."""

    def total(self):
        """Adds up."""
        return sum(self.items)

    def clear(self):
        """Empties it."""
        self.items = []


def main():
    """Runs."""
    Cart().clear()
'''
JAVASCRIPT = "function a() {\n  return 1\n}\n\nfunction b() {\n  return 2\n}\n"
GO = "package m\n\nfunc a() {\n\treturn\n}\n\nfunc b() {\n\treturn\n}\n"


def after(path: str, text: str, *edits: tuple[str, str], may_go: str | None = None) -> tuple[Objection, ...]:
    """Replaces each old text, which stands in the text once, and checks the result."""
    before = tree = parse(path, text)
    steps = []
    for old, new in edits:
        assert text.count(old) == 1
        span = Span(text.index(old), text.index(old) + len(old))
        steps.append(Step(span, new, may_go))
        text = text[: span.start] + new + text[span.end :]
        tree = tree.edited(span, new) if tree else None
    return check(path, before, tree, steps)


def kinds(objections: tuple[Objection, ...]) -> list[str]:
    return [f"{o.kind} {o.line}" for o in objections]


@pytest.mark.parametrize(
    ("path", "text", "old", "new"),
    [
        pytest.param("a.py", PYTHON, "return sum(self.items)", "return 0", id="a changed line"),
        pytest.param("a.py", PYTHON, "def total(self):", "def sum_up(self):", id="a renamed method"),
        pytest.param("a.py", PYTHON, "class Cart:", "class Basket:", id="a renamed class keeps its methods"),
        pytest.param(
            "a.py",
            PYTHON,
            '    def clear(self):\n        """Empties it."""\n        self.items = []\n',
            "",
            id="a method removed by its own lines",
        ),
        pytest.param("a.py", PYTHON, "\n\ndef main", "\n\ndef new():\n    pass\n\n\ndef main", id="a new function"),
        pytest.param("a.js", JAVASCRIPT, "function b() {\n  return 2\n}\n", "const b = () => 2\n", id="another form"),
        pytest.param("a.py", "def f():\n    (\n", "f()", "g()", id="a file that was broken before"),
        pytest.param("a.py", "def f():\n  x\n y\nz = 1\n", "z = 1", "z = 2", id="indentation broken before"),
        pytest.param("a.py", "x = 1\n", "x = 1", "type X = int", id="syntax newer than our own Python"),
        pytest.param("a.py", "x = 1\n", "x = 1", "x = '\\d'", id="an invalid escape"),
        pytest.param("notes.txt", "a\n", "a", "(((", id="a language we do not know"),
        pytest.param("Makefile", "a:\n\tb\n", "\tb", "    b", id="a Makefile"),
    ],
)
def test_edits_that_break_nothing_meet_no_objection(path: str, text: str, old: str, new: str) -> None:
    assert after(path, text, (old, new)) == ()


@pytest.mark.parametrize(
    ("path", "text", "old", "new", "expected"),
    [
        pytest.param("a.py", PYTHON, "(self.items)", "(self.items", ["syntax 6"], id="an open bracket"),
        pytest.param("a.js", JAVASCRIPT, "return 2\n}", "return 2\n}\n}", ["syntax 8"], id="a doubled closer"),
        pytest.param("a.go", GO, "\treturn\n}\n\nfunc b", "\treturn\n}}\n\nfunc b", ["syntax 3"], id="double brackets"),
        pytest.param(
            "a.py",
            PYTHON,
            "        return sum(self.items)\n",
            "return sum(self.items)\n",
            ["syntax 8"],
            id="unindented",
        ),
        pytest.param(
            "a.py", PYTHON, '    """Runs."""\n    Cart().clear()\n', "", ["syntax 13"], id="a function without a body"
        ),
        pytest.param("a.py", PYTHON, '    """Runs."""\n', '  """Runs."""\n', ["syntax 15"], id="stray indentation"),
        pytest.param("a.json", '{"a": 1}\n', "1", "1,,", ["syntax 1"], id="JSON"),
        pytest.param(
            "a.py",
            PYTHON,
            '"""Adds up."""',
            '"""Adds up.',
            ["syntax 9", "lost-symbol 8"],
            id="docstring closer dropped, visibly",
        ),
        pytest.param("a.py", PYTHON, "        self.items", "\tself.items", ["indentation 10"], id="a tab"),
        pytest.param("a.go", GO, "\treturn\n}\n\nfunc b", "    return\n}\n\nfunc b", ["indentation 4"], id="spaces"),
    ],
)
def test_edits_that_break_something_are_found_out(
    path: str, text: str, old: str, new: str, expected: list[str]
) -> None:
    found = kinds(after(path, text, (old, new)))
    assert [item for item in expected if item not in found] == []


def test_the_objection_shows_the_line_that_is_broken() -> None:
    (objection,) = after("a.js", JAVASCRIPT, ("return 1\n", "return ) 1\n"))
    assert (objection.path, objection.line, objection.kind) == ("a.js", 2, "syntax")
    assert "return ) 1" in objection.message


SWALLOWING = '''\
def first():
    """One."""
    return 1


def second():
    return 2


def third():
    """Three."""
    return 3
'''


def test_a_function_that_an_open_docstring_swallows_is_lost_although_the_file_parses() -> None:
    broken = SWALLOWING.replace('"""One."""', '"""One.').replace('    """Three."""\n', '    """\n')
    tree = parse("a.py", broken)
    assert tree is not None
    assert tree.faults() == ()

    found = after("a.py", SWALLOWING, ('"""One."""', '"""One.'), ('    """Three."""\n', '    """\n'))

    assert kinds(found) == ["lost-symbol 6", "lost-symbol 10"]
    assert "second" in found[0].message


def test_a_swallowed_function_is_lost_although_the_edit_repeats_its_first_line() -> None:
    old = SWALLOWING[: SWALLOWING.index("def third")]
    found = after("a.py", SWALLOWING, (old, old.replace('"""One."""', '"""One.') + '"""\n'))
    assert kinds(found) == ["lost-symbol 0"]
    assert "second" in found[0].message


def test_a_later_edit_may_bring_a_lost_function_back() -> None:
    first = ('"""One."""', '"""One.')
    assert after("a.py", SWALLOWING, first)
    assert after("a.py", SWALLOWING, first, ('"""One.\n', '"""One."""\n')) == ()


def test_a_rewritten_file_has_to_keep_its_definitions() -> None:
    rewritten = PYTHON[: PYTHON.index("    def clear")] + "# the rest\n"
    lost = after("a.py", PYTHON, (PYTHON, rewritten), may_go="")
    assert [o.message.split(" is ")[0] for o in lost] == ["method Cart.clear", "function main"]
    assert after("a.py", PYTHON, (PYTHON, PYTHON.replace("sum(", "max(")), may_go="") == ()


def test_a_class_replaced_by_name_may_be_renamed_and_has_to_keep_its_methods() -> None:
    old = PYTHON[: PYTHON.index("\n\ndef main")]
    kept = old.replace("class Cart", "class Basket")
    assert after("a.py", PYTHON, (old, kept), may_go="Cart") == ()
    dropped = kept[: kept.index("    def clear")]
    assert kinds(after("a.py", PYTHON, (old, dropped), may_go="Cart")) == ["lost-symbol 0"]


def test_tabs_in_strings_are_content() -> None:
    assert after("a.py", PYTHON, ('"""Runs."""', '"""Runs.\n\n\tas a table\n    """')) == ()


def test_a_file_that_mixes_already_may_go_on() -> None:
    mixed = "int f() {\n\treturn 1;\n}\nint g() {\n    return 2;\n}\n"
    assert after("a.c", mixed, ("return 2;", "return 2;\n\treturn 3;")) == ()


@pytest.mark.parametrize(
    ("path", "text", "new"),
    [
        ("a.sql", "CREATE TABLE a (id int);\nPLACE\n", "SELECT TOP (5) [id] FROM [dbo].[a] WITH (NOLOCK)\nGO"),
        ("a.sql", "CREATE TABLE a (id int);\nPLACE\n", "CREATE TABLE b (id int) ENGINE=Foo($$);"),
        ("a.kt", "PLACE\n", "interface I { fun f() }"),
        ("a.md", "- a\n  - b\n\nPLACE\n", "```go\nfunc a() {\n\treturn\n}\n```"),
        ("a.md", "PLACE\n# One\n", "```\n# not closed"),
    ],
    ids=["T-SQL", "MySQL", "an interface on one line", "tabs of another language", "an open fence"],
)
def test_a_language_that_its_grammar_does_not_know_well_is_not_judged(path: str, text: str, new: str) -> None:
    assert after(path, text, ("PLACE", new)) == ()


def test_a_new_file_has_to_be_sound() -> None:
    assert check("a.py", None, parse("a.py", "def f():\n    return 1\n"), []) == ()
    assert kinds(check("a.py", None, parse("a.py", "def f(:\n"), [])) == ["syntax 1"]
    assert kinds(check("a.py", None, parse("a.py", "if x:\n\ty\nif z:\n  y\n"), [])) == ["indentation 2"]


def test_a_hopeless_file_gets_a_short_list() -> None:
    found = check("a.js", None, parse("a.js", "let = ) 1\n" * 200), [])
    assert len(found) == MOST


def test_a_file_of_fifty_thousand_lines_is_checked() -> None:
    text = "def f(x):\n    return x + 1\n\n" * 16_667
    tree = parse("a.py", text)
    assert tree is not None
    middle = len(text) // 2 // 28 * 28  # between two functions
    sound = tree.edited(Span(middle, middle), "\n")
    broken = tree.edited(Span(middle, middle), "def f(:\n")

    assert check("a.py", tree, sound, [Step(Span(middle, middle), "\n")]) == ()
    assert "syntax" in {o.kind for o in check("a.py", tree, broken, [Step(Span(middle, middle), "def f(:\n")])}
