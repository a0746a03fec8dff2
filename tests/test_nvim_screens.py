"""The screens of the plug-in are as they are kept, and the README's pictures are of them.

Never updates what is kept: `make screens-nvim` does, and a person looks at the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from neovim import scenes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", [*scenes.SCENES, "health"])
def test_a_screen_is_as_it_was(name: str, tmp_path: Path) -> None:
    told = scenes.shown(name, tmp_path)
    kept = (scenes.SCREENS / f"{name}.txt").read_text(encoding="utf-8")
    assert scenes.masked(told["screen"]) == kept, "if it should be so: make screens-nvim"
    scene = scenes.SCENES.get(name)
    if scene and scene.picture:
        drawn = scenes.picture(told["cells"], f"Neovim: {name}")
        there = (scenes.PICTURES / f"nvim-{name}.svg").read_text(encoding="utf-8")
        assert scenes.words_of(drawn) == scenes.words_of(there)
        assert "url(http" not in there


def test_a_review_shows_what_comes_what_goes_and_where_one_is() -> None:
    rows = (scenes.SCREENS / "review.txt").read_text(encoding="utf-8").splitlines()
    assert "use Decimal for money · hunk 3 of 3 · ga accept  gr reject  ]h next  K why" in rows[0]
    gone = next(n for n, row in enumerate(rows) if "return sum(i.price for i in items)" in row)
    assert "# An empty cart costs nothing." in rows[gone + 1]


def test_a_chat_shows_a_fold_for_a_thought_and_a_line_for_a_tool_call() -> None:
    text = (scenes.SCREENS / "chat.txt").read_text(encoding="utf-8")
    assert "▸ Thought for N s" in text
    assert "The average divides" not in text
    assert "Read cart.py" in text
    assert "*Done in N s" in text
