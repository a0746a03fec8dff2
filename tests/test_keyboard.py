"""What a chat offers to complete."""

from __future__ import annotations

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from glm_lsp.cli.keyboard import SHOWN, Completions

PATHS = ("docs/cart.md", "src/cart.py", "src/shop/cart_view.py", "src/tax.py", "with space.py")


def completed(text: str, paths: tuple[str, ...] = PATHS) -> list[str]:
    completions = Completions(
        {"undo": "", "think": ""}, lambda name: ("on", "off") if name == "think" else (), lambda: paths
    )
    return [found.text for found in completions.get_completions(Document(text), CompleteEvent())]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("/", ["undo", "think"]),
        ("/un", ["undo"]),
        ("/think o", ["on", "off"]),
        ("/undo ", []),
        ("/nothing ", []),
        ("see @cart", ["src/cart.py", "docs/cart.md", "src/shop/cart_view.py"]),
        ("see @CART", ["src/cart.py", "docs/cart.md", "src/shop/cart_view.py"]),
        ("see @shop/", ["src/shop/cart_view.py"]),
        ("see @sctv", ["src/shop/cart_view.py"]),
        ("@with", ['"with space.py"']),
        ("@zzz", []),
        ("me@cart", []),
        ("see @cart.py and", []),
        ("plain words", []),
    ],
)
def test_what_is_offered_behind(text: str, offered: list[str]) -> None:
    assert completed(text) == offered


def test_a_large_workspace_offers_no_more_than_one_can_read() -> None:
    paths = tuple(f"src/part{n}/cart{n}.py" for n in range(50_000))
    assert len(completed("@", paths)) == len(completed("@cart", paths)) == len(completed("@s/crtpy", paths)) == SHOWN
    assert completed("@cart49999", paths) == ["src/part49999/cart49999.py"]
