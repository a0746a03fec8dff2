"""Findings that a person dismissed: told no more, however often the file is reviewed, and others still are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lsp.editor import FakeEditor, listening
from stories import project
from test_editor_stories import CART, DONE, FINDING

from glm_lsp.server.dismissals import Dismissals
from glm_lsp.terms import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = "def total(items):\n    return sum(i.price for i in items)\n"
FOUND = Finding("cart.py", 2, 2, "warning", "Ignores the quantity of an item.")


@pytest.fixture(autouse=True, scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with listening(tmp_path_factory.mktemp("home")) as port:
        FakeEditor.shared = port
        yield
        FakeEditor.shared = None


def kept(tmp_path: Path) -> Dismissals:
    return Dismissals.at(tmp_path / "work", environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})


def test_it_is_remembered_by_its_lines_and_words_wherever_they_are(tmp_path: Path) -> None:
    kept(tmp_path).add(FOUND, TEXT)
    again = kept(tmp_path)
    assert again.covers(FOUND, TEXT)
    lower = replace(FOUND, first_line=4, last_line=4)
    assert again.covers(lower, "import os\n\n" + TEXT.replace("    return", "\treturn"))
    assert again.covers(replace(FOUND, message="It ignores the quantity of an item!"), TEXT)
    assert not again.covers(replace(FOUND, message="Returns a float where money is meant."), TEXT)
    assert not again.covers(replace(FOUND, path="shop.py"), TEXT)
    assert not again.covers(FOUND, TEXT.replace("i.price", "i.price * 2")), "other code may be wrong for another reason"


def test_nothing_of_the_code_or_the_words_is_kept_and_damage_does_no_harm(tmp_path: Path) -> None:
    kept(tmp_path).add(FOUND, TEXT)
    (file,) = (tmp_path / "state" / "dismissed").iterdir()
    said = file.read_text()
    assert "quantity" not in said
    assert "price" not in said
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("half a li\n" + said + '{"path": 3}\n')
    assert kept(tmp_path).covers(FOUND, TEXT)


def test_where_it_cannot_be_written_it_holds_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands where the folder should be")
    dismissals = kept(tmp_path)
    with pytest.raises(OSError, match="state"):
        dismissals.add(FOUND, TEXT)
    assert dismissals.covers(FOUND, TEXT)


async def test_a_dismissed_finding_stays_away_from_later_reviews(tmp_path: Path) -> None:
    root = project(tmp_path / "work", cart_py=CART)
    other: dict[str, Any] = FINDING | {"arguments": FINDING["arguments"] | {"message": "Has no docstring."}}
    async with FakeEditor(root, [{"calls": [FINDING, other]}, DONE, {"calls": [FINDING, other]}, DONE]) as editor:
        uri = editor.uri("cart.py")
        await editor.open("cart.py")
        await editor.choose("Review cart.py")
        await editor.quiet()
        assert [one["message"] for one in editor.diagnostics[uri]] == ["Ignores the quantity.", "Has no docstring."]
        await editor.select(1, 6)
        offered = await editor.actions("quickfix")
        dismiss = [action for action in offered.values() if action["title"] == "GLM: Dismiss this finding"]
        assert dismiss
        told = editor.diagnostics[uri][0]
        await editor.run("glm.dismissFinding", {"uri": uri, "diagnostics": [told]})
        await editor.until(lambda: len(editor.diagnostics[uri]) == 1)
        await editor.choose("Review cart.py")
        await editor.quiet()
        assert [one["message"] for one in editor.diagnostics[uri]] == ["Has no docstring."]
        assert len(editor.read("window/showDocument")) == 2, "the summaries of two reviews"
