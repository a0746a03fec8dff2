"""The one-shot way to document: where a sentence goes, in which form, and which sentences are of use."""

from __future__ import annotations

import pytest

from glm_lsp.actions.document import questions, sentence
from glm_lsp.edits.text import decode


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            "This Python function calculates the area of a rectangle. It takes two numbers.",
            "Calculates the area of a rectangle.",
        ),
        ("The function `total` returns the sum of all prices.", "Returns the sum of all prices."),
        ("The total function calculates the price.", "Calculates the price."),
        ("Calculates the price of all the", None),
        ("This function is a simple implementation of sorting.", None),
        ("Returns the largest value.\nIt is fast.", "Returns the largest value."),
        ("Yes.", None),
        ("```python\nx\n```", None),
        ("", None),
        ("I cannot do that, sorry.", None),
        ('Returns """ and more words.', None),
        ("Calculates " + "very " * 60 + "much.", None),
    ],
)
def test_the_useful_sentence_of_a_reply(reply: str, expected: str | None) -> None:
    assert sentence(reply, "total") == expected


CASES = [
    ("a.py", "def f(x):\n    return x\n", 'def f(x):\n    """Does it well."""\n    return x\n'),
    ("a.py", "def f(x):\r\n    return x\r\n", 'def f(x):\r\n    """Does it well."""\r\n    return x\r\n'),
    (
        "a.py",
        "class A:\n\tdef f(self):\n\t\treturn 1\n",
        'class A:\n\tdef f(self):\n\t\t"""Does it well."""\n\t\treturn 1\n',
    ),
    ("a.py", 'def f():\n    """Here."""\n', None),
    ("a.py", "def f(): return 1\n", None),
    (
        "a.js",
        "export function f(x) {\n  return x;\n}\n",
        "/** Does it well. */\nexport function f(x) {\n  return x;\n}\n",
    ),
    ("a.js", "/** Here. */\nfunction f(x) {\n  return x;\n}\n", None),
    (
        "a.go",
        "package a\n\nfunc f() int {\n\treturn 1\n}\n",
        "package a\n\n// Does it well.\nfunc f() int {\n\treturn 1\n}\n",
    ),
    ("a.rs", "/// Here.\nfn f() -> u8 {\n    1\n}\n", None),
    (
        "a.rs",
        "mod m {\n    fn f() -> u8 {\n        1\n    }\n}\n",
        "mod m {\n    /// Does it well.\n    fn f() -> u8 {\n        1\n    }\n}\n",
    ),
    ("a.txt", "def f(x):\n    return x\n", None),
]


@pytest.mark.parametrize(("path", "before", "after"), CASES)
def test_the_sentence_goes_where_the_language_wants_it(path: str, before: str, after: str | None) -> None:
    text = decode(before.encode(), path)
    asked = questions(path, text)
    if after is None:
        assert asked == ()
        return
    (question,) = asked
    edit = question.answer("This function does it well.")
    assert edit is not None
    assert before[: edit.span.start] + edit.new + before[edit.span.end :] == after
