"""What is typed is brought up to date piece by piece, and comes to the same as looking at all of it."""

from __future__ import annotations

import random

import pytest
from test_facts import CASES

from glm_lsp.index import live_parse
from glm_lsp.index.live_parse import LiveParses
from glm_lsp.languages import Facts, facts, parse

SOUND = {
    path: text for path, (text, *_) in CASES.items() if (found := parse(path, text)) is not None and not found.faults()
}

MARKS = [
    "x",
    " ",
    "\n",
    "(",
    ")",
    "{",
    "}",
    '"',
    "'",
    "# c\n",
    "// d\n",
    "foo(bar)\n",
    ";",
    "é",
    "\n\n",
    "@d\n",
    "/* a */",
    "😀",
]


def same(path: str, text: str, got: Facts | None) -> bool:
    wanted = facts(path, text)
    if got is None or wanted is None:
        return got is wanted
    return (set(got.definitions), got.uses, got.imports) == (set(wanted.definitions), wanted.uses, wanted.imports)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often all of a text is looked at."""
    counted = [0]
    original = live_parse._Live._look_at_all

    def count(self, **options) -> None:
        counted[0] += 1
        original(self, **options)

    monkeypatch.setattr(live_parse._Live, "_look_at_all", count)
    return counted


@pytest.mark.parametrize("path", sorted(CASES))
def test_sound_texts_come_to_the_same_after_each_key(path: str) -> None:
    """A person types whole lines between others, and takes them out again, key by key; broken texts are in between."""
    generator = random.Random(path)
    text = _long(path)
    live = LiveParses()
    live.facts(path, text)
    compared = 0
    for _ in range(6):
        at = text.find("\n", generator.randrange(len(text) - 1)) + 1
        typed = text[text.rfind("\n", 0, max(0, at - 1)) + 1 : at] or "\n"  # the line above once more
        steps = [text[:at] + typed[:number] + text[at:] for number in range(1, len(typed) + 1)]
        for step in [*steps, *reversed(steps[:-1]), text]:
            got = live.facts(path, step)
            if not _is_sound(path, step):
                continue
            if not same(path, step, got):
                got = live.facts(path, step)  # broken texts may leave something behind until somebody rests
            assert same(path, step, got), step
            compared += 1
    assert compared


@pytest.mark.parametrize("path", sorted(SOUND))
def test_changes_from_one_sound_text_to_another_need_no_rest(path: str) -> None:
    generator = random.Random(path)
    text = _long(path)
    live = LiveParses()
    live.facts(path, text)
    compared = 0
    for _ in range(40):
        at = text.find("\n", generator.randrange(len(text) - 1)) + 1
        names = [name for name in facts(path, text).uses if name.isidentifier()]  # type: ignore[union-attr]
        name = generator.choice(sorted(names)) if names else "\n\n"
        options = [text[:at] + "\n" + text[at:], text.replace(name, name + "s", 1), text.replace("\n\n", "\n", 1)]
        other = generator.choice([*options, text + SOUND[path]])
        if not _is_sound(path, other):
            continue
        assert same(path, other, live.facts(path, other)), other
        text = other
        compared += 1
    assert compared


@pytest.mark.parametrize("path", sorted(CASES))
def test_whatever_is_typed_a_rest_makes_it_right(path: str) -> None:
    generator = random.Random(path)
    text = f"{CASES[path][0]}\n" * 2
    live = LiveParses()
    live.facts(path, text)
    for _ in range(40):
        at, gone = generator.randrange(len(text) + 1), generator.choice([0, 0, 1, 5, 40])
        text = text[:at] + generator.choice(MARKS) + text[at + gone :]
        live.facts(path, text)
    once = live.facts(path, text)
    if once is None:
        return
    # Of a broken text, the tree depends on how it came about; so what is found is compared with all of that tree.
    known = live._known[path]
    assert known.tree is not None
    fresh = live_parse.facts_from(
        known.language,
        known.data,
        live_parse.captures(known.language, known.tree.root_node),
        is_ascii=len(known.data) == len(text),
    )
    assert (once.definitions, once.uses, once.imports) == (fresh.definitions, fresh.uses, fresh.imports)


def test_a_key_in_a_long_text_does_not_have_all_of_it_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = counting(monkeypatch)
    text = "".join(f"def f{number}(x):\n    return g(x)\n\n\n" for number in range(500))
    text += "".join(f"class C{number}:\n    def m(self):\n        return 1\n\n" for number in range(300))
    live = LiveParses()
    live.facts("a.py", text)
    assert counted == [1]
    at = text.index("def f250") + len("def f250(x):\n")
    for number, key in enumerate("    y = h(x, 'é')\n"):
        text = text[: at + number] + key + text[at + number :]
        found = live.facts("a.py", text)
    assert same("a.py", text, found)
    assert counted == [1]


def test_a_method_of_a_long_class_is_looked_at_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = counting(monkeypatch)
    asked: list[int] = []
    original = live_parse.captures

    def captures(language, node, **options):
        asked.append(node.end_byte - node.start_byte)
        return original(language, node, **options)

    text = "class Long:\n" + "".join(f"    def m{n}(self):\n        return self.g\n\n" for n in range(2_000))
    live = LiveParses()
    live.facts("a.py", text)
    monkeypatch.setattr(live_parse, "captures", captures)
    other = text.replace("def m1000(self):", "def other(self, x):")
    found = live.facts("a.py", other)
    assert same("a.py", other, found)
    assert counted == [1]
    assert sum(asked) < 500


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_are_those_of_editors(end: str) -> None:
    live = LiveParses()
    text = end.join(["import os", "", "def one():", "    return os", "", "def two():", "    return one()", ""])
    assert same("a.py", text, live.facts("a.py", text))
    for other in (text.replace("one", "uno"), text + f"two(){end}", text.replace(end + end, end, 1), f"{end}{text}"):
        assert same("a.py", other, live.facts("a.py", other))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["", "x = 1\n", ""], id="from nothing to nothing"),
        pytest.param(["é = 'ü'\n", "é = 'ä'\n", "😀"], id="characters that share bytes"),
        pytest.param(["a\n" * 50, "a\n" * 49, "a\n" * 51], id="the same again and again"),
        pytest.param(["import os\n", "import osx\n", "x = 1\n", "import re\nimport os\n"], id="imports"),
        pytest.param(["x = '''\n" * 3, "x = '''\n" * 4, "x = '''\n" * 3], id="strings that turn inside out"),
        pytest.param(["def f():\n  pass\n", "def f():\n  pass", "def f():\n  pas\ud800s"], id="no end, half a pair"),
    ],
)
def test_edges(steps: list[str]) -> None:
    live = LiveParses()
    for text in steps:
        live.facts("a.py", text)
        assert same("a.py", text, live.facts("a.py", text))


def test_languages_without_a_grammar_and_texts_that_take_too_long_have_no_facts() -> None:
    live = LiveParses()
    assert live.facts("a.txt", "x") is None
    text = "def f(x):\n    return x\n" * 5_000
    assert live.facts("a.py", text, seconds=0.0) is None
    assert same("a.py", text, live.facts("a.py", text, seconds=20.0))
    assert live.facts("a.py", "(" * 60_000, seconds=20.0) is None


def test_only_so_many_trees_are_kept() -> None:
    live = LiveParses()
    for number in range(live_parse.MOST_TEXTS + 5):
        live.facts(f"{number}.py", "x = 1\n")
    live.forget("24.py")
    assert len(live._known) == live_parse.MOST_TEXTS - 1
    assert "0.py" not in live._known


def _long(path: str) -> str:
    """The case several times, where the language lets it be."""
    text = f"{CASES[path][0]}\n" * 3
    return text if _is_sound(path, text) else CASES[path][0]


def _is_sound(path: str, text: str) -> bool:
    found = parse(path, text)
    return found is not None and not found.faults()
