"""The tools that find things give the same with an index and without, whatever has happened to the files meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from glm_lsp import tools
from glm_lsp.edits.draft import Draft
from glm_lsp.edits.paths import Jail
from glm_lsp.edits.place import Placed, place
from glm_lsp.errors import GlmError
from glm_lsp.index.walk import walk
from glm_lsp.settings import EditSettings
from glm_lsp.tools import ToolContext
from glm_lsp.tools import tool as tools_of
from glm_lsp.tools.search import whole_words
from glm_lsp.tools.tool import worth_a_look
from tests.indexes import built, commit, opened, repository
from tests.stories import project

if TYPE_CHECKING:
    from pathlib import Path


NAMES = ("total", "apply_discount", "Cart", "sub_total", "totals", "größe", "$price", "valid?", "HTTPServer", "x")
WORDS = ("total", "Cart.total", "tota", "cart", "discount", "apply", "HTTP", "größe", "x", "nowhere", "_total", "Car")
PATTERNS = (
    r"\btotal\b",
    r"def total\(",
    r"total",
    r"class Cart:",
    r"^from .* import apply_discount$",
    r"apply_discount\(.*rate",
    r"(total|Cart)\b",
    r"no such words here",
    r"\bgröße\b",
    r"\bHTTPServer\b.+",
    r"\s+total\s*=",
)


def a_file(random: random.Random, path: str) -> str:
    name, other, third = random.sample(["total", "apply_discount", "sub_total", "totals", "HTTPServer", "rate"], 3)
    if path.endswith(".js"):
        return f"// {third}\nfunction {name}($price) {{ return {other}($price) }}\nclass Cart {{ total() {{}} }}\n"
    if path.endswith(".md"):
        return f"# The {name}\n\nIt is about `{other}` and total. größe\n"
    return (
        f"from shop import {other}\n\n\ndef {name}(rate):\n    # {third}, größe\n    total = {other}(rate)\n    return total\n\n\n"
        f"class Cart:\n    def {third}(self):\n        return '{name} of Cart'\n"
    )


def everything_asked(context: ToolContext) -> list[Any]:
    calls = [
        *(("find_symbol", {"name": word}) for word in WORDS),
        *(("find_references", {"name": name}) for name in NAMES),
        *(("search", {"pattern": pattern}) for pattern in PATTERNS),
        ("search", {"pattern": r"\btotal\b", "files": "*.py"}),
        ("find_references", {"name": "Cart", "files": "a/"}),
    ]
    found = []
    for name, arguments in calls:
        tool = tools.find(name)
        assert tool is not None
        outcome = tool.run(context, arguments)
        found.append((name, arguments, outcome.words, outcome.text))
    return found


def meanwhile(random: random.Random, root: Path, draft: Draft, shown: dict[str, str]) -> None:
    """Somebody else edits, an editor types, the draft changes, files come with an old date, others go."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*") if ".git" not in path.parts)
    for path in random.sample(paths, 6):
        what = random.randrange(6)
        if what == 0:
            (root / path).write_text(a_file(random, path))
        elif what == 1:
            shown[path] = a_file(random, path)
        elif what == 2:
            with contextlib.suppress(GlmError):  # done before, binary, or the line that names the encoding
                text = draft.read(path)
                placed = place(text, path, text.lines()[0], "total = apply_discount = HTTPServer")
                assert isinstance(placed, Placed)
                draft.put(path, placed.edit)
        elif what == 3:
            (root / path).unlink()
        elif what == 4:
            other = root / "elsewhere.tmp"
            other.write_text(a_file(random, path))
            os.utime(other, (1, 1))
            other.replace(root / path)
        else:
            draft.write(f"made_{len(draft.paths())}.py", "def total(Cart):\n    return apply_discount(größe)\n")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ripgrep", [True, False], ids=["with what is installed", "without ripgrep"])
def test_results_are_the_same_with_an_index_and_without(
    tmp_path: Path, seed: int, ripgrep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    root = repository(tmp_path / "work")
    for number in range(40):
        path = root / dice.choice(["", "a/", "a/b/"]) / f"f{number}{dice.choice(['.py', '.py', '.js', '.md'])}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(a_file(dice, path.name))
    (root / "utf16.py").write_bytes("\ufeffdef total(Cart): pass\n".encode("utf-16-le"))
    (root / "latin.py").write_bytes("# coding: latin-1\ngröße = total\n".encode("latin-1"))
    (root / "app.min.js").write_text("function total(Cart){return apply_discount(Cart)};" * 400)
    (root / "package-lock.json").write_text('{"total": 1}\n')
    commit(root)
    shown: dict[str, str] = {}
    draft = Draft(Jail(root), EditSettings(), shown.get)
    # Steps of a file system's clock that a test need not wait for; what is changed later is newer all the same.
    monkeypatch.setattr(tools_of, "CLOCK_SECONDS", 0.05)
    time.sleep(0.1)
    with built(root, tmp_path / "state") as index:
        assert len(worth_a_look(ToolContext(draft, walk(root), index=index), None, ["nowhere"]) or ()) < 6
        for _ in range(3):
            without = ToolContext(draft, walk(root))
            if not ripgrep:
                with monkeypatch.context() as patched:
                    patched.setenv("PATH", os.devnull)
                    assert everything_asked(replace(without, index=index)) == everything_asked(without)
            else:
                assert everything_asked(replace(without, index=index)) == everything_asked(without)
            meanwhile(dice, root, draft, shown)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    more = {f"other_{n}_py": f"def f_{n}():\n    return {n}\n" for n in range(50)}
    return project(tmp_path / "work", cart_py="def apply_discount():\n    pass\n", use_py="apply_discount()\n", **more)


def test_the_index_narrows_the_files_down(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools_of, "CLOCK_SECONDS", 0.05)
    time.sleep(0.1)
    with built(root, tmp_path / "state") as index:
        context = ToolContext(Draft(Jail(root), EditSettings()), walk(root), index=index)
        assert set(worth_a_look(context, None, ["apply_discount"]) or ()) == {"cart.py", "use.py"}
        assert worth_a_look(context, None, ["größe"]) is None
        assert worth_a_look(context, None, []) is None
        assert worth_a_look(replace(context, index=None), None, ["apply_discount"]) is None


def test_an_index_that_has_not_looked_yet_narrows_nothing(root: Path, tmp_path: Path) -> None:
    with opened(root, tmp_path / "state") as index:
        context = ToolContext(Draft(Jail(root), EditSettings()), walk(root), index=index)
        assert worth_a_look(context, None, ["apply_discount"]) is None
        found = tools.find("find_symbol")
        assert found is not None
        assert "cart.py:1 function apply_discount" in found.run(context, {"name": "apply_discount"}).text


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("total", []),
        (r"\btotal\b", ["total"]),
        (r"def total\(", ["total"]),
        (r"^def total$", ["def", "total"]),
        (r" class Cart:", ["class", "Cart"]),
        (r"\btotal\s*=", []),
        (r"\btotal\s+=", ["total"]),
        (r"\btotals?\b", []),
        (r"\btotal+\b", []),
        (r"\b.total\b", []),
        (r"\bto{2}tal\b", []),
        (r"\ba\b|\bb\b", []),
        (r"(\btotal\b)", []),
        (r"[a]\btotal\b", []),
        (r"\btotal\x41", []),
        (r"\btotal\.price\b", ["total", "price"]),
        (r"\btotal-*price\b", []),
        (r"\btotal\w", []),
        (r"\btotal\Wprice\b", ["total", "price"]),
        (r"(?i)\btotal\b", []),
        ("", []),
    ],
)
def test_words_that_a_pattern_cannot_do_without(pattern: str, words: list[str]) -> None:
    assert whole_words(pattern) == words
