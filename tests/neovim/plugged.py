"""Someone at a Neovim with the plug-in.

Never has anything else in the configuration: the plug-in needs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from test_real_neovim import Neovim
from test_refactor import Person, edit

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLUGIN = ROOT / "editor-clients" / "nvim"

MONEY = """from dataclasses import dataclass


@dataclass
class Item:
    price: float
    qty: int


def total(items):
    return sum(i.price for i in items)


def average(items):
    return total(items) / len(items)
"""
"""A file in which there is something to do in three places."""

DECIMALS: Sequence[tuple[str, str]] = (
    ("from dataclasses import dataclass\n", "from dataclasses import dataclass\nfrom decimal import Decimal\n"),
    ("    price: float\n", "    price: Decimal\n"),
    (
        "    return sum(i.price for i in items)\n",
        "    # An empty cart costs nothing.\n    return sum((i.price * i.qty for i in items), Decimal(0))\n",
    ),
)


def decimals(path: str = "cart.py") -> list[dict[str, Any]]:
    """The calls that change it in these three places."""
    return [edit(path, old=old, new=new) for old, new in DECIMALS]


def changed(*which: int) -> str:
    """The file with some of the three changes, counted from 1."""
    text = MONEY
    for number in which:
        text = text.replace(*DECIMALS[number - 1])
    return text


class Plugged(Neovim):
    """A Neovim whose configuration has the plug-in and nothing else."""

    def play(self, story: str, **more: Any) -> dict[str, Any]:
        """Runs a story of Lua; what it told."""
        return self.live(story, config=HERE / "plugin.lua", **more)

    def has(self, name: str, text: str) -> None:
        """Puts a file into the workspace, committed."""
        (self.person.root / name).write_text(text)
        self.person.git("add", ".")
        self.person.git("commit", "-q", "-m", name)

    def beside(self, tmp_path: Path) -> Plugged:
        """Another one on the same workspace, of the same person."""
        other = Person.__new__(Person)
        other.__dict__.update(self.person.__dict__, tmp=tmp_path)
        return Plugged(other)


def plugged(tmp_path: Path) -> Plugged:
    """Someone who opens cart.py."""
    one = Plugged(Person(tmp_path))
    one.person.environment["GLM_PLUGIN"] = str(PLUGIN)
    return one
