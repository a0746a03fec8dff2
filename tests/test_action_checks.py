"""What rename, extract, inline and move ask of their results: faults are found, and correct results are left alone."""

from __future__ import annotations

import pytest

from glm_lsp.actions import extract_function, inline, move_to_file, rename
from glm_lsp.terms import Ask, FileChange, Objection, Selection

Files = dict[str, str]


def changes(before: Files, after: Files) -> tuple[FileChange, ...]:
    paths = sorted(before.keys() | after.keys())
    both = [(path, before.get(path), after.get(path)) for path in paths]
    return tuple(
        FileChange(path, old.encode() if old is not None else None, new.encode() if new is not None else None)
        for path, old, new in both
        if old != new
    )


def pointing(action: str, path: str, first: int, last: int = 0, *, text: str = "", words: str = "") -> Ask:
    return Ask(action, words, (path,), selections=(Selection(path, first, last or first, text),))


def places(found: tuple[Objection, ...]) -> list[tuple[str, int]]:
    return [(one.path, one.line) for one in found]


# --- rename ------------------------------------------------------------------------------------------------------

PY = {
    "cart.py": 'def total(items):\n    """The total."""\n    return sum(items)\n\n\ndef show(items):\n    return f"total: {total(items)}"\n',
    "app.py": "from cart import total\n\n\ndef main(items):\n    print(total(items))\n    return dict(total=3)\n",
}
TS = {
    "cart.ts": "export function total(items: number[]): number {\n  return items.length;\n}\n\nconst twice = (xs: number[]) => 2 * total(xs);\n",
    "app.ts": 'import { total } from "./cart";\n\nexport function main(xs: number[]) {\n  const sum = total(xs);\n  return { total: sum };\n}\n',
}


def replaced(files: Files, *pairs: tuple[str, str], only: str = "") -> Files:
    after = dict(files)
    for path in [only] if only else files:
        for old, new in pairs:
            after[path] = after[path].replace(old, new)
    return after


RENAMED_PY = replaced(PY, ("def total", "def grand"), ("total(", "grand("), ("import total", "import grand"))
RENAMED_TS = replaced(TS, ("function total", "function grand"), ("total(", "grand("), ("{ total }", "{ grand }"))

METHOD_PY = {
    "cart.py": "class Cart:\n    def total(self):\n        return 1\n\n    def show(self):\n        total = self.total()\n        return total\n\n\n"
    "class Other:\n    def total(self):\n        return self.total() + d.total()\n"
}
METHOD_TS = {
    "cart.ts": "class Cart {\n  total(): number {\n    return 1;\n  }\n\n  show() {\n    const total = this.total();\n    return total;\n  }\n}\n"
}
LOCAL_PY = {"a.py": "def f(price):\n    tax = price * 2\n    return g(price=price, tax=tax, total=x.price)\n"}
LOCAL_TS = {
    "a.ts": "function f(xs: number[]) {\n  let sum = 0;\n  for (const x of xs) {\n    sum += x;\n  }\n  return { sum: sum, all: xs.sum };\n}\n"
}

RIGHT_RENAMES = {
    "a function in two Python files": (PY, RENAMED_PY, ("cart.py", 1, "total"), "grand"),
    "a function in two TypeScript files": (TS, RENAMED_TS, ("cart.ts", 1, "total"), "grand"),
    "pointed at where it is used": (TS, RENAMED_TS, ("app.ts", 4, "total"), "grand"),
    "words with both names and no place": (PY, RENAMED_PY, None, "rename total to grand"),
    "a method beside a local of its name": (
        METHOD_PY,
        replaced(
            METHOD_PY,
            ("def total(self):\n        return 1", "def grand(self):\n        return 1"),
            ("= self.total()", "= self.grand()"),
        ),
        ("cart.py", 2, "total"),
        "grand",
    ),
    "a TypeScript method beside a local of its name": (
        METHOD_TS,
        replaced(METHOD_TS, ("  total()", "  grand()"), ("this.total()", "this.grand()")),
        ("cart.ts", 2, "total"),
        "grand",
    ),
    "a parameter whose name stays a keyword elsewhere": (
        LOCAL_PY,
        {"a.py": "def f(cost):\n    tax = cost * 2\n    return g(price=cost, tax=tax, total=x.price)\n"},
        ("a.py", 1, "price"),
        "cost",
    ),
    "a local whose name stays a key": (
        LOCAL_TS,
        {
            "a.ts": LOCAL_TS["a.ts"]
            .replace("let sum", "let all")
            .replace("sum +=", "all +=")
            .replace("sum: sum", "sum: all")
        },
        ("a.ts", 2, "sum"),
        "all",
    ),
    "a local, with a function inside that has its own": (
        {"a.py": "def f(xs):\n    n = len(xs)\n    return sorted(xs, key=lambda n: n), n\n"},
        {"a.py": "def f(xs):\n    size = len(xs)\n    return sorted(xs, key=lambda n: n), size\n"},
        ("a.py", 2, "n"),
        "size",
    ),
    "another function has a parameter of that name": (
        {"a.py": "def total(xs):\n    return xs\n\n\ndef g(total):\n    return total + 1\n"},
        {"a.py": "def grand(xs):\n    return xs\n\n\ndef g(total):\n    return total + 1\n"},
        ("a.py", 1, "total"),
        "grand",
    ),
    "another function has an arrow's parameter of that name": (
        {"a.ts": "function total(x: number) {\n  return x;\n}\nconst f = (total: number) => total + 1;\n"},
        {"a.ts": "function grand(x: number) {\n  return x;\n}\nconst f = (total: number) => total + 1;\n"},
        ("a.ts", 1, "total"),
        "grand",
    ),
    "another function has a destructured local of that name": (
        {
            "a.ts": "function total(x: number) {\n  return x;\n}\nfunction g(o: any) {\n  const { total } = o;\n  return total;\n}\n"
        },
        {
            "a.ts": "function grand(x: number) {\n  return x;\n}\nfunction g(o: any) {\n  const { total } = o;\n  return total;\n}\n"
        },
        ("a.ts", 1, "total"),
        "grand",
    ),
    "a long list of parameters elsewhere": (
        {"a.py": "def total(xs):\n    return xs\n\n\ndef g(\n    a,\n    total,\n):\n    return total\n"},
        {"a.py": "def grand(xs):\n    return xs\n\n\ndef g(\n    a,\n    total,\n):\n    return total\n"},
        ("a.py", 1, "total"),
        "grand",
    ),
    "another file has something else of that name": (
        {**PY, "other.py": "from stats import total\n\nprint(total(1), old)\n"},
        {**RENAMED_PY, "other.py": "from stats import total\n\nprint(total(1), new)\n"},
        ("cart.py", 1, "total"),
        "grand",
    ),
    "a class, with a variable in small letters": (
        {"a.ts": "export class Cart {\n  add() {}\n}\nconst cart = new Cart();\nlet c: Cart = cart;\n"},
        {"a.ts": "export class Basket {\n  add() {}\n}\nconst cart = new Basket();\nlet c: Basket = cart;\n"},
        ("a.ts", 1, "Cart"),
        "Basket",
    ),
    "an alias that is wanted": (
        PY,
        replaced(RENAMED_PY, ("def show", "total = grand\n\n\ndef show")) | {"app.py": PY["app.py"] + "# changed\n"},
        ("cart.py", 1, "total"),
        "grand, and keep total as an alias",
    ),
    "a file in no language": ({"a.txt": "total\n"}, {"a.txt": "total, grand\n"}, ("a.txt", 1, "total"), "grand"),
    "a binary file": ({"a.py": "total\n"}, {"a.py": "\0total"}, ("a.py", 1, "total"), "grand"),
}


@pytest.mark.parametrize("case", RIGHT_RENAMES.values(), ids=RIGHT_RENAMES.keys())
def test_a_correct_rename_is_left_alone(case: tuple[Files, Files, tuple[str, int, str] | None, str]) -> None:
    before, after, place, words = case
    ask = pointing("rename", place[0], place[1], text=place[2], words=words) if place else Ask("rename", words)
    assert rename.check(ask, changes(before, after)) == ()


WRONG_RENAMES = {
    "the definition is forgotten": (
        PY, {**RENAMED_PY, "cart.py": PY["cart.py"] + "\n"}, ("cart.py", 1, "total"), [("cart.py", 1)],
    ),
    "a use in another file is forgotten": (
        PY, {**RENAMED_PY, "app.py": RENAMED_PY["app.py"].replace("grand(items)", "total(items)")}, ("cart.py", 1, "total"), [("app.py", 5)],
    ),
    "an import is forgotten": (
        PY, {**RENAMED_PY, "app.py": RENAMED_PY["app.py"].replace("import grand", "import total")}, ("app.py", 5, "total"), [("app.py", 1)],
    ),
    "a use in the same file is forgotten": (
        {"a.py": "def total(x):\n    return x\n\n\nprint(total(1))\n"},
        {"a.py": "def grand(x):\n    return x\n\n\nprint(total(1))\n"},
        ("a.py", 1, "total"),
        [("a.py", 5)],
    ),
    "a TypeScript definition is forgotten": (
        TS, {**RENAMED_TS, "cart.ts": TS["cart.ts"] + "\n"}, ("cart.ts", 1, "total"), [("cart.ts", 1)],
    ),
    "TypeScript uses are forgotten": (
        TS,
        {"cart.ts": RENAMED_TS["cart.ts"].replace("2 * grand", "2 * total"), "app.ts": RENAMED_TS["app.ts"].replace("= grand(", "= total(")},
        ("cart.ts", 1, "total"),
        [("app.ts", 4), ("cart.ts", 5)],
    ),
    "a TypeScript import is forgotten": (
        TS, {**RENAMED_TS, "app.ts": RENAMED_TS["app.ts"].replace("{ grand }", "{ total }")}, ("cart.ts", 1, "total"), [("app.ts", 1)],
    ),
    "a method goes on to ask itself": (
        METHOD_PY,
        replaced(METHOD_PY, ("def total(self):\n        return 1", "def grand(self):\n        return 1")),
        ("cart.py", 2, "total"),
        [("cart.py", 6)],
    ),
    "a TypeScript method goes on to ask itself": (
        METHOD_TS, replaced(METHOD_TS, ("  total()", "  grand()")), ("cart.ts", 2, "total"), [("cart.ts", 7)],
    ),
    "a parameter is forgotten once": (
        LOCAL_PY,
        {"a.py": "def f(cost):\n    tax = price * 2\n    return g(price=cost, tax=tax, total=x.price)\n"},
        ("a.py", 1, "price"),
        [("a.py", 2)],
    ),
    "a TypeScript local is forgotten once": (
        LOCAL_TS,
        {"a.ts": LOCAL_TS["a.ts"].replace("let sum", "let all").replace("sum: sum", "sum: all")},
        ("a.ts", 2, "sum"),
        [("a.ts", 4)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_RENAMES.values(), ids=WRONG_RENAMES.keys())
def test_a_rename_that_left_the_old_name_is_sent_back(
    case: tuple[Files, Files, tuple[str, int, str], list[tuple[str, int]]],
) -> None:
    before, after, (path, line, name), expected = case
    found = rename.check(pointing("rename", path, line, text=name, words="fresh"), changes(before, after))
    assert places(found) == expected
    assert all(one.kind == "rename" and name in one.message for one in found)


@pytest.mark.parametrize(
    ("words", "pointed", "expected"),
    [
        ("grand", "total", ("total", "grand")),
        ("to grand", "total", ("total", "grand")),
        ("rename it to `grand`.", "total", ("total", "grand")),
        ("total -> grand", "", ("total", "grand")),
        ("Rename Cart.total to grand_total", "", ("total", "grand_total")),
        ("total to grand", "total", ("total", "grand")),
        ("price to grand", "total", None),
        ("grand", "", None),
        ("grand total", "total", None),
        ("grand, and keep the old one", "total", None),
        ("", "total", None),
    ],
)
def test_the_two_names_of_a_rename(words: str, pointed: str, expected: tuple[str, str] | None) -> None:
    assert rename.names_of(pointing("rename", "a.py", 1, text=pointed, words=words)) == expected


# --- extract -----------------------------------------------------------------------------------------------------

LONG_PY = {
    "a.py": "class Cart:\n    def show(self, xs):\n        total = 0\n        for x in xs:\n            total += x\n        print(total)\n"
}
BODY_PY = "        total = 0\n        for x in xs:\n            total += x\n"
METHOD = "\n    def _sum(self, xs):\n" + BODY_PY + "        return total\n"
LONG_TS = {
    "a.ts": "export function show(xs: number[]) {\n  let total = 0;\n  for (const x of xs) total += x;\n  console.log(total);\n}\n"
}
BODY_TS = "  let total = 0;\n  for (const x of xs) total += x;\n"
FUNCTION = "\nfunction sum(xs: number[]) {\n" + BODY_TS + "  return total;\n}\n"
MODULE_PY = {"a.py": "import sys\n\nxs = [1]\ntotal = 0\nfor x in xs:\n    total += x\nprint(total)\n"}

RIGHT_EXTRACTS = {
    "a Python method": (LONG_PY, {"a.py": LONG_PY["a.py"].replace(BODY_PY, "        total = self._sum(xs)\n") + METHOD}, (3, 5)),
    "a Python function in another file": (
        LONG_PY,
        {
            "a.py": "from b import add\n\n\n" + LONG_PY["a.py"].replace(BODY_PY, "        total = add(xs)\n"),
            "b.py": "def add(xs):\n    return sum(xs)\n",
        },
        (3, 5),
    ),
    "a call inside an f-string": (
        LONG_PY,
        {"a.py": LONG_PY["a.py"].replace(BODY_PY + "        print(total)\n", '        print(f"{add(xs)}")\n') + "\n\ndef add(xs):\n    return sum(xs)\n"},
        (3, 6),
    ),
    "an inner function": (
        LONG_PY,
        {"a.py": LONG_PY["a.py"].replace(BODY_PY, "        def add():\n            total = 0\n            for x in xs:\n                total += x\n            return total\n\n        total = add()\n")},
        (3, 5),
    ),
    "code of a module": (
        MODULE_PY,
        {"a.py": "import sys\n\n\ndef add(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n\n\nxs = [1]\ntotal = add(xs)\nprint(total)\n"},
        (4, 6),
    ),
    "a TypeScript function": (LONG_TS, {"a.ts": LONG_TS["a.ts"].replace(BODY_TS, "  const total = sum(xs);\n") + FUNCTION}, (2, 3)),
    "a TypeScript arrow": (
        LONG_TS,
        {"a.ts": LONG_TS["a.ts"].replace(BODY_TS, "  const total = sum(xs);\n") + "\nconst sum = (xs: number[]) => xs.reduce((a, b) => a + b, 0);\n"},
        (2, 3),
    ),
    "a function passed on": (LONG_TS, {"a.ts": LONG_TS["a.ts"].replace(BODY_TS, "  const total = run(sum, xs);\n") + FUNCTION}, (2, 3)),
    "a language without a grammar": ({"a.kt": "fun f() {\n  a()\n  b()\n}\n"}, {"a.kt": "fun f() {\n  g()\n}\nfun g() {\n  a()\n  b()\n}\n"}, (2, 3)),
    "into a file that cannot be read": (
        LONG_PY, {"a.py": LONG_PY["a.py"].replace(BODY_PY, "        total = add(xs)\n"), "b.kt": "fun add() {}\n"}, (3, 5),
    ),
    "a file that was not touched": (LONG_PY | {"b.py": "x\n"}, LONG_PY | {"b.py": "y\n"}, (3, 5)),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT_EXTRACTS.values(), ids=RIGHT_EXTRACTS.keys())
def test_a_correct_extraction_is_left_alone(case: tuple[Files, Files, tuple[int, int]]) -> None:
    before, after, (first, last) = case
    assert extract_function.check(pointing("extract_function", min(before), first, last), changes(before, after)) == ()


WRONG_EXTRACTS = {
    "no function": (LONG_PY, {"a.py": LONG_PY["a.py"].replace("print(total)", "print(total, 1)")}, (3, 5), 3, "No new function"),
    "not called": (LONG_PY, {"a.py": LONG_PY["a.py"].replace(BODY_PY, "        total = sum(xs)\n") + METHOD}, (3, 5), 2, "not called in Cart.show"),
    "the code stays": (LONG_PY, {"a.py": LONG_PY["a.py"].replace("print(total)", "print(self._sum(xs))") + METHOD}, (3, 5), 2, "still stands"),
    "TypeScript, no function": (LONG_TS, {"a.ts": LONG_TS["a.ts"].replace("(total)", "(total, 1)")}, (2, 3), 2, "No new function"),
    "TypeScript, called only by itself": (
        LONG_TS,
        {"a.ts": LONG_TS["a.ts"].replace(BODY_TS, "  const total = add(xs);\n") + FUNCTION.replace("return total", "return sum(xs)")},
        (2, 3),
        1,
        "not called in show",
    ),
    "TypeScript, the code stays": (LONG_TS, {"a.ts": LONG_TS["a.ts"].replace("(total)", "(sum(xs))") + FUNCTION}, (2, 3), 1, "still stands"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_EXTRACTS.values(), ids=WRONG_EXTRACTS.keys())
def test_an_extraction_that_is_none_is_sent_back(case: tuple[Files, Files, tuple[int, int], int, str]) -> None:
    before, after, (first, last), line, words = case
    found = extract_function.check(pointing("extract_function", min(before), first, last), changes(before, after))
    assert places(found) == [(min(before), line)]
    assert words in found[0].message


# --- inline and move ---------------------------------------------------------------------------------------------

TWICE_PY = {"a.py": "def twice(x):\n    return 2 * x\n\n\nprint(twice(3))\n"}
TWICE_TS = {"a.ts": "function twice(x: number) {\n  return 2 * x;\n}\n\nconsole.log(twice(3));\n"}
VARIABLE = {"a.py": "def f(x):\n    double = 2 * x\n    return double + 1\n"}


@pytest.mark.parametrize(
    ("before", "after", "line", "name", "expected"),
    [
        (TWICE_PY, {"a.py": "print(2 * 3)\n"}, 1, "twice", []),
        (TWICE_PY, {"a.py": TWICE_PY["a.py"].replace("twice(3)", "2 * 3")}, 5, "twice", [1]),
        (TWICE_PY, {"a.py": "print(twice(3))\n"}, 1, "twice", [1]),
        (TWICE_TS, {"a.ts": "console.log(2 * 3);\n"}, 1, "twice", []),
        (TWICE_TS, {"a.ts": TWICE_TS["a.ts"].replace("twice(3)", "2 * 3")}, 1, "twice", [1]),
        (TWICE_TS, {"a.ts": "console.log(twice(3));\n"}, 1, "twice", [1]),
        (VARIABLE, {"a.py": "def f(x):\n    return 2 * x + 1\n"}, 2, "double", []),
        (VARIABLE, {"a.py": "def f(x):\n    return double + 1\n"}, 3, "double", [2]),
        (VARIABLE, {"a.py": "def f(x):\n    return double + 1\n"}, 3, "", []),
    ],
)
def test_what_is_inlined_has_to_be_gone(before: Files, after: Files, line: int, name: str, expected: list[int]) -> None:
    (path,) = before
    found = inline.check(pointing("inline", path, line, text=name), changes(before, after))
    assert [one.line for one in found] == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"a.py": "from b import twice\n\nprint(twice(3))\n", "b.py": "def twice(x):\n    return 2 * x\n"}, []),
        ({"a.py": TWICE_PY["a.py"] + "\n", "b.py": "def twice(x):\n    return 2 * x\n"}, [1]),
        ({"a.py": "print(twice(3))\n", "b.py": "x = 1\n"}, [0]),
        ({"a.py": "print(twice(3))\n", "b.kt": "fun twice(x) = 2 * x\n"}, []),
    ],
    ids=["moved", "copied", "lost", "moved into a language without a grammar"],
)
def test_what_is_moved_is_in_one_file(after: Files, expected: list[int]) -> None:
    found = move_to_file.check(
        pointing("move_to_file", "a.py", 1, text="twice", words="b.py"), changes(TWICE_PY, after)
    )
    assert [one.line for one in found] == expected
