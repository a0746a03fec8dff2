"""The shadow copy: what was read, what was edited, what is wrong with it, and what becomes of it on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glm_lsp.edits.apply import apply
from glm_lsp.edits.draft import Draft
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.edits.place import Placed, place
from glm_lsp.errors import (
    BadArguments,
    Conflict,
    Missing,
    NothingChanged,
    NotRead,
    NotText,
    OutsideWorkspace,
    PlaceholderText,
    Protected,
    UnknownSymbol,
)
from glm_lsp.settings import EditSettings
from glm_lsp.terms import Edit, Span

if TYPE_CHECKING:
    from pathlib import Path

CART = '''\
import os


class Cart:
    """A cart."""

    @property
    def total(self):
        """Adds up."""
        return sum(self.items)

    def clear(self):
        self.items = []


def main():
    Cart().clear()
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    (root / "cart.py").write_text(CART)
    (root / "crlf.js").write_bytes(b"class A {\r\n  f() {\r\n    return 1\r\n  }\r\n}\r\n")
    (root / "notes.txt").write_text("one\ntwo\n")
    (root / "binary").write_bytes(b"\x00\x01")
    (root / "latin.txt").write_bytes(b"caf\xe9\n")
    (root / "alias.py").symlink_to("cart.py")
    return root


@pytest.fixture
def draft(root: Path) -> Draft:
    return Draft(Jail(root), EditSettings())


def replace(draft: Draft, path: str, old: str, new: str) -> list[str]:
    """Places and puts one replacement; returns the kinds of what is wrong now."""
    placed = place(draft.text(path), path, old, new)
    assert isinstance(placed, Placed)
    return [objection.kind for objection in draft.put(path, placed.edit)]


def test_an_edit_shows_in_the_draft_and_not_on_the_disk(draft: Draft, root: Path) -> None:
    draft.read("cart.py")
    assert replace(draft, "cart.py", "sum(", "max(") == []

    assert "max(" in draft.text("cart.py").content
    assert (root / "cart.py").read_text() == CART
    (change,) = draft.changes()
    assert (change.path, change.before) == ("cart.py", CART.encode())
    assert change.after == CART.replace("sum(", "max(").encode()
    (hunk,) = draft.hunks()
    assert (hunk.removed, hunk.added) == (
        ("        return sum(self.items)",),
        ("        return max(self.items)",),
    )
    assert draft.objections() == ()
    assert draft.unchecked() == ()


def test_all_names_of_a_file_mean_one_file(draft: Draft) -> None:
    draft.read("./alias.py")
    replace(draft, "cart.py", "sum(", "max(")
    assert "max(" in draft.read("alias.py").content
    assert [change.path for change in draft.changes()] == ["cart.py"]


def test_only_what_was_read_can_be_edited(draft: Draft) -> None:
    assert not draft.was_read("cart.py")
    assert draft.known_text("cart.py") is None
    draft.peek("cart.py")
    for attempt in (
        lambda: draft.text("cart.py"),
        lambda: draft.put("cart.py", Edit("cart.py", Span(0, 0), "x")),
        lambda: draft.write("cart.py", "x"),
        lambda: draft.replace_symbol("cart.py", "main", "def main(): ..."),
    ):
        with pytest.raises(NotRead, match=r"cart\.py"):
            attempt()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("none.py", Missing),
        ("binary", NotText),
        ("latin.txt", NotText),
        ("../x", OutsideWorkspace),
        (".git/config", Protected),
        ("", OutsideWorkspace),
    ],
)
def test_files_that_cannot_be_read_are_refused_and_known_as_unread(draft: Draft, path: str, error: type) -> None:
    for attempt in (draft.read, draft.peek, draft.text):
        with pytest.raises((error, NotRead)):
            attempt(path)
    assert not draft.was_read(path)
    assert draft.changes() == ()


def test_a_file_over_the_limit_is_not_read(root: Path) -> None:
    draft = Draft(Jail(root), EditSettings(max_file_bytes=10))
    with pytest.raises(NotText, match="10"):
        draft.read("cart.py")
    assert draft.size("cart.py") == len(CART)
    assert draft.read("notes.txt").content == "one\ntwo\n"


def test_a_protected_file_is_read_and_not_edited(root: Path) -> None:
    draft = Draft(Jail(root, protected=("cart.py",)), EditSettings())
    draft.read("cart.py")
    with pytest.raises(Protected):
        replace(draft, "cart.py", "sum(", "max(")
    assert draft.changes() == ()


def test_edits_add_up_and_the_whole_is_judged(draft: Draft) -> None:
    draft.read("cart.py")
    assert replace(draft, "cart.py", "return sum(self.items)", "return sum(self.items")[0] == "syntax"
    assert draft.objections()[0].kind == "syntax"
    assert replace(draft, "cart.py", "sum(self.items", "sum(self.items, 0)") == []
    assert draft.objections() == ()
    assert len(draft.changes()) == 1


def test_an_edit_that_is_taken_back_is_no_change(draft: Draft) -> None:
    draft.read("cart.py")
    replace(draft, "cart.py", "sum(", "max(")
    replace(draft, "cart.py", "max(", "sum(")
    assert draft.changes() == ()
    assert draft.hunks() == ()
    assert draft.objections() == ()


def test_a_hundred_edits_to_one_file_are_a_hundred_edits(draft: Draft, root: Path) -> None:
    text = "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(100))
    (root / "many.py").write_text(text)
    draft.read("many.py")
    for number in range(100):
        replace(draft, "many.py", f"def f{number}():\n", f"def g{number}():\n")
    (change,) = draft.changes()
    assert change.after == text.replace("def f", "def g").encode()
    assert draft.objections() == ()


def test_a_lost_function_is_an_objection_until_it_is_back(draft: Draft) -> None:
    draft.read("cart.py")
    draft.write("cart.py", CART.replace("def main():\n    Cart().clear()\n", "x = 1\n"))
    (objection,) = draft.objections()
    assert (objection.kind, objection.path) == ("lost-symbol", "cart.py")
    assert "main" in objection.message
    replace(draft, "cart.py", "x = 1\n", "def main():\n    pass\n")
    assert draft.objections() == ()


def test_files_without_a_grammar_are_named_as_unchecked(draft: Draft) -> None:
    draft.read("notes.txt")
    assert draft.unchecked() == ()
    replace(draft, "notes.txt", "two", "((")
    assert draft.unchecked() == ("notes.txt",)
    assert draft.objections() == ()


def test_a_new_file_is_made_in_the_draft_and_checked(draft: Draft, root: Path) -> None:
    draft.write("pkg/new.py", "def f(:\n")
    assert [objection.kind for objection in draft.objections()] == ["syntax"]
    assert draft.was_read("./pkg/new.py")
    draft.write("pkg/new.py", "def f():\n    return 1\n")
    assert draft.objections() == ()
    (change,) = draft.changes()
    assert (change.path, change.before, change.after) == ("pkg/new.py", None, b"def f():\n    return 1\n")
    assert not (root / "pkg").exists()


def test_a_new_file_may_be_empty(draft: Draft) -> None:
    draft.write("pkg/__init__.py", "")
    (change,) = draft.changes()
    assert (change.before, change.after) == (None, b"")


def test_a_new_file_may_not_be_where_nothing_is_written(draft: Draft) -> None:
    for path in (".git/hooks/pre-commit", ".vscode/tasks.json", "../x.py", "binary/x.py/../../.env"):
        with pytest.raises((Protected, OutsideWorkspace)):
            draft.write(path, "x")
    with pytest.raises(NotText):
        draft.write("nul.txt", "a\0b")
    assert draft.changes() == ()


def test_what_the_encoding_cannot_hold_is_refused(draft: Draft, root: Path) -> None:
    (root / "l.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    draft.read("l.py")
    with pytest.raises(NotText, match=r"latin|iso"):
        draft.put(
            "l.py", Edit("l.py", Span(len(draft.text("l.py").content), len(draft.text("l.py").content)), "# 🎉\n")
        )
    assert draft.changes() == ()


def test_going_back_to_a_mark_forgets_what_came_after_it(draft: Draft) -> None:
    draft.read("cart.py")
    replace(draft, "cart.py", "sum(", "max(")
    mark = draft.mark()
    changes = draft.changes()
    replace(draft, "cart.py", "max(self.items)", "(")
    draft.write("new.py", "x = 1\n")
    draft.read("notes.txt")

    draft.back_to(mark)

    assert draft.changes() == changes
    assert draft.objections() == ()
    assert not draft.was_read("notes.txt")
    assert not draft.was_read("new.py")


def test_reset_forgets_edits_and_keeps_what_was_read(draft: Draft) -> None:
    draft.read("cart.py")
    replace(draft, "cart.py", "sum(", "max(")
    draft.write("new.py", "x = 1\n")
    draft.reset()
    assert draft.changes() == ()
    assert draft.was_read("cart.py")
    assert draft.text("cart.py").content == CART
    assert not draft.was_read("new.py")


# --- symbols --------------------------------------------------------------------------------------------------------

METHOD = "@property\ndef total(self):\n    return max(self.items)\n"
REPLACED = CART.replace(
    '    def total(self):\n        """Adds up."""\n        return sum(self.items)\n',
    "    def total(self):\n        return max(self.items)\n",
)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(METHOD, id="as if it stood alone"),
        pytest.param("".join(f"    {line}\n" for line in METHOD.splitlines()), id="as it stands in the file"),
        pytest.param(f"\n{METHOD}\n\n", id="blank lines around it"),
        pytest.param(METHOD.replace("\n", "\r\n"), id="other line endings"),
        pytest.param(
            "@property\n    def total(self):\n        return max(self.items)", id="the first line without indentation"
        ),
    ],
)
def test_a_method_is_replaced_with_its_decorators_at_its_own_indentation(draft: Draft, source: str) -> None:
    draft.read("cart.py")
    draft.replace_symbol("cart.py", "Cart.total", source)
    assert draft.text("cart.py").content == REPLACED
    assert draft.objections() == ()


def test_line_endings_of_the_file_are_kept(draft: Draft) -> None:
    draft.read("crlf.js")
    draft.replace_symbol("crlf.js", "f", "f() {\n  const x = 2\n\n  return x\n}")
    (change,) = draft.changes()
    expected = b"class A {\r\n  f() {\r\n    const x = 2\r\n\r\n    return x\r\n  }\r\n}\r\n"
    assert change.after == expected


def test_a_symbol_that_shares_its_lines_leaves_the_rest_of_them(draft: Draft, root: Path) -> None:
    (root / "a.js").write_text("const a = () => 1, b = () => 2 // both\nclass C { f() {} g() {} }\n")
    (root / "a.cpp").write_text("struct P { int x; };\n")
    draft.read("a.js")
    draft.read("a.cpp")
    draft.replace_symbol("a.js", "b", "b = () => 3")
    draft.replace_symbol("a.js", "C.f", "f() { return 1 }")
    draft.replace_symbol("a.cpp", "P", "struct P { int y; };")
    assert draft.text("a.js").content == "const a = () => 1, b = () => 3 // both\nclass C { f() { return 1 } g() {} }\n"
    assert draft.text("a.cpp").content == "struct P { int y; };\n"


def test_a_symbol_may_be_renamed_and_a_class_has_to_keep_its_methods(draft: Draft) -> None:
    draft.read("cart.py")
    draft.replace_symbol("cart.py", "main", "def run():\n    pass")
    assert draft.objections() == ()
    draft.replace_symbol("cart.py", "Cart", "class Basket:\n    def clear(self): ...")
    (objection,) = draft.objections()
    assert "Cart.total" in objection.message


def test_an_unknown_symbol_is_answered_with_the_nearest_names_first(draft: Draft, root: Path) -> None:
    (root / "many.py").write_text("".join(f"def function_{n}(): ...\n" for n in range(500)) + "def total(): ...\n")
    draft.read("many.py")
    with pytest.raises(UnknownSymbol) as caught:
        draft.replace_symbol("many.py", "totl", "def total(): ...")
    assert "There are: total, " in caught.value.message
    assert len(caught.value.message) < 1_000


@pytest.mark.parametrize(
    ("path", "symbol", "source", "error"),
    [
        ("crlf.js", "A.g", "g() {}", UnknownSymbol),
        ("notes.txt", "one", "x", UnknownSymbol),
        ("twice.py", "f", "def f(): ...", UnknownSymbol),
        ("cart.py", "main", " \n", BadArguments),
        ("cart.py", "main", "def main():\n    Cart().clear()\n", NothingChanged),
        ("cart.py", "Cart", "class Cart:\n    # ... rest of the code ...\n", PlaceholderText),
    ],
)
def test_replacements_that_cannot_be_are_refused(
    draft: Draft, root: Path, path: str, symbol: str, source: str, error: type
) -> None:
    (root / "twice.py").write_text("class A:\n    def f(self): ...\nclass B:\n    def f(self): ...\n")
    draft.read(path)
    with pytest.raises(error):
        draft.replace_symbol(path, symbol, source)
    assert draft.changes() == ()


def test_the_line_of_a_symbol_is_known_while_the_edit_is_still_written(draft: Draft) -> None:
    assert draft.symbol_line("cart.py", "Cart.total") is None
    draft.read("cart.py")
    assert draft.symbol_line("cart.py", "Cart.total") == 7
    assert draft.symbol_line("cart.py", "nothing") is None
    draft.put("cart.py", Edit("cart.py", Span(0, 0), "# one more line\n"))
    assert draft.symbol_line("cart.py", "Cart.total") == 8


# --- the disk moves on ----------------------------------------------------------------------------------------------


def applied(draft: Draft, tmp_path: Path) -> None:
    journal = Journal.open(draft.jail.root, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})
    apply(draft.jail.root, draft.changes(), journal=journal, jail=draft.jail, label="test")


def test_a_file_that_a_formatter_changed_since_it_was_read_is_a_conflict(
    draft: Draft, root: Path, tmp_path: Path
) -> None:
    draft.read("cart.py")
    replace(draft, "cart.py", "sum(", "max(")
    (root / "cart.py").write_text(CART.replace('"""', "'''"))

    assert draft.stale() == ("cart.py",)
    with pytest.raises(Conflict):
        applied(draft, tmp_path)
    assert "sum(" in (root / "cart.py").read_text()


def test_after_applying_the_draft_goes_on_from_there(draft: Draft, root: Path, tmp_path: Path) -> None:
    draft.read("cart.py")
    draft.read("notes.txt")
    replace(draft, "cart.py", "sum(", "max(")
    draft.write("new.py", "x = 1\n")
    applied(draft, tmp_path)

    assert draft.rebase() == ()

    assert draft.changes() == ()
    replace(draft, "cart.py", "max(", "min(")
    replace(draft, "new.py", "1", "2")
    assert [change.before for change in draft.changes()] == [CART.replace("sum(", "max(").encode(), b"x = 1\n"]
    assert draft.objections() == ()
    applied(draft, tmp_path)
    assert (root / "cart.py").read_text() == CART.replace("sum(", "min(")


def test_what_a_formatter_or_a_test_run_changed_after_applying_is_read_again_and_named(
    draft: Draft, root: Path, tmp_path: Path
) -> None:
    for path in ("cart.py", "notes.txt", "crlf.js"):
        draft.read(path)
    replace(draft, "cart.py", "sum(", "max(")
    applied(draft, tmp_path)
    (root / "cart.py").write_text(CART.replace("sum(", "max( "))
    (root / "notes.txt").unlink()
    (root / "crlf.js").write_bytes(b"\x00")

    assert draft.rebase() == ("cart.py", "crlf.js", "notes.txt")

    assert "max( " in draft.text("cart.py").content
    assert not draft.was_read("notes.txt")
    assert draft.stale() == ()
    assert draft.changes() == ()


def test_a_turn_that_is_dropped_leaves_the_disk_alone(draft: Draft, root: Path) -> None:
    draft.read("cart.py")
    draft.write("cart.py", "def half(")
    draft.write("new/file.py", "x")
    del draft
    assert (root / "cart.py").read_text() == CART
    assert not (root / "new").exists()


def test_a_line_of_a_megabyte_is_edited(draft: Draft, root: Path) -> None:
    (root / "min.js").write_text("function a(b){return b+1};" * 40_000)
    draft.read("min.js")
    middle = 26 * 20_000
    draft.put("min.js", Edit("min.js", Span(middle, middle), "x();"))
    assert draft.objections() == ()
    (change,) = draft.changes()
    assert change.after is not None
    assert len(change.after) == 26 * 40_000 + 4
