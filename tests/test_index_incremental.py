"""An index that is kept current through random edits, renames, deletions and branch switches equals one made anew."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from indexes import GIT, built, commit, everything, git, opened, repository

from glm_lsp.index.context import choose
from glm_lsp.index.rank import rank
from glm_lsp.languages.facts import Facts
from glm_lsp.languages.facts import facts as index_facts

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("total", "cart", "price", "tax", "order", "item")
SUFFIXES = (".py", ".js", ".go", ".txt", ".md")
STEPS = 40


def body(dice: random.Random, suffix: str) -> str:
    names = [f"{dice.choice(WORDS)}_{dice.choice(WORDS)}" for _ in range(dice.randint(0, 4))]
    called = dice.choice(WORDS) + "_" + dice.choice(WORDS)
    if suffix == ".py":
        return "import os\n" + "".join(f"def {name}():\n    return {called}()\n\n" for name in names)
    if suffix == ".js":
        return "".join(f"function {name}() {{ return {called}(); }}\n" for name in names)
    if suffix == ".go":
        return "package p\n" + "".join(f"func {name}() {{ {called}() }}\n" for name in names)
    return "".join(f"# {name} and {called}\n" for name in names)


class Person:
    """Somebody who works in the folder without a plan."""

    def __init__(self, root: Path, dice: random.Random) -> None:
        self.root = root
        self.dice = dice
        self.branches = ["main"]

    def files(self) -> list[Path]:
        return sorted(
            path for path in self.root.rglob("*") if path.is_file() and ".git" not in path.relative_to(self.root).parts
        )

    def a_path(self) -> Path:
        folder = self.root / self.dice.choice(["", "a", "b", "a/deep"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.dice.choice(WORDS)}{self.dice.choice(SUFFIXES)}"

    def acts(self) -> list[str]:
        """Does something; gives the paths that a watcher would tell of."""
        act = self.dice.choice(
            [self.write, self.write, self.write, self.copy, self.rename, self.remove, self.move_folder]
        )
        touched = act()
        return sorted({path.relative_to(self.root).as_posix() for path in touched})

    def write(self) -> list[Path]:
        path = self.a_path()
        path.write_text(body(self.dice, path.suffix))
        return [path]

    def copy(self) -> list[Path]:
        files, to = self.files(), self.a_path()
        if files:
            to.write_bytes(self.dice.choice(files).read_bytes())
        return [to]

    def rename(self) -> list[Path]:
        files, to = self.files(), self.a_path()
        if not files:
            return []
        path = self.dice.choice(files)
        path.replace(to)
        return [path, to]

    def remove(self) -> list[Path]:
        files = self.files()
        if not files:
            return []
        path = self.dice.choice(files)
        path.unlink()
        return [path]

    def move_folder(self) -> list[Path]:
        one, other = self.root / "a", self.root / "moved"
        if not one.exists():
            return []
        shutil.rmtree(other, ignore_errors=True)
        one.rename(other)
        return [one, other]

    def does_something_in_git(self) -> None:
        act = self.dice.choice(["commit", "branch", "switch", "stash", "reset"])
        if act == "commit":
            git(self.root, "add", "-A")
            git(self.root, "commit", "--allow-empty", "-qm", "step")
        elif act == "branch":
            name = f"branch-{len(self.branches)}"
            git(self.root, "checkout", "-qb", name)
            self.branches.append(name)
        elif act == "switch":
            git(self.root, "checkout", "-qf", self.dice.choice(self.branches))
        elif act == "reset":
            git(self.root, "reset", "-q", "--hard")
        else:
            subprocess.run(["git", "-C", str(self.root), *GIT, "stash", "-qu"], check=False, capture_output=True)


@pytest.mark.parametrize("kind", ["git", "plain"])
@pytest.mark.parametrize("seed", range(3))
def test_incremental_equals_full(kind: str, seed: int, tmp_path: Path) -> None:
    dice = random.Random(f"{kind}-{seed}")
    root = tmp_path / "w"
    root.mkdir()
    person = Person(root, dice)
    for _ in range(8):
        person.write()
    if kind == "git":
        repository(root)
        commit(root)
    names = {f"{one}_{other}" for one in WORDS for other in WORDS} | {"total", "tot", "art_"}
    index_state = tmp_path / "state"
    done = 0
    while done < STEPS:
        with opened(root, index_state, workers=1) as index:  # closed and opened anew in between
            index.start()
            for _ in range(dice.randint(3, 10)):
                done += 1
                if kind == "git" and dice.random() < 0.3:
                    person.does_something_in_git()
                    index.refresh()
                else:
                    index.refresh(person.acts())
                if dice.random() < 0.5:
                    assert index.wait(1, 60)
            assert index.wait(1, 60)
            with built(root, tmp_path / f"fresh-{done}", workers=1) as fresh:
                assert everything(index, names) == everything(fresh, names)
                assert index.listing == fresh.listing
                for question in ("where is the total of an order?", "cart_total", ""):
                    for paths in ((), tuple(index.paths[:2])):
                        ours, theirs = (rank(one, question, open_paths=paths) for one in (index, fresh))
                        assert ours == theirs
                        ours, theirs = (
                            choose(one, question, budget=2000, count=len, open_paths=paths) for one in (index, fresh)
                        )
                        assert ours.pieces == theirs.pieces


def test_a_name_that_files_define_often_counts_by_files_whatever_was_read_first(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    for at in range(30):
        (root / f"m{at:02}.py").write_text(f"# {at}\n" + "def _(): pass\n" * 60)
    (root / "rare.py").write_text("def rare(): pass\n" * 200)
    with built(root, tmp_path / "state") as index:
        (root / "m00.py").write_text("def _(): pass\n" * 61)  # now the last one that was read
        index.build()
        with built(root, tmp_path / "fresh") as fresh:
            for one in (index, fresh):
                assert one.defined("_") == [f"m{at:02}.py" for at in range(30)]
                assert one.defined("rare") == ["rare.py"]
                assert one.defined("none") == []
        index.overlay("rare.py", "", Facts((), {}, ()))
        assert index.defined("rare") == []
        index.overlay("new.py", "", index_facts("new.py", "def rare(): pass\n"))
        assert index.defined("rare") == ["new.py"]


def test_contents_that_nobody_holds_are_collected_in_the_end(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    with built(root, tmp_path / "state") as index:
        keeper = index._builder.keeper
        for number in range(30):
            (root / "a.py").write_text(f"def name_{number}(): pass\n")
            index.build()
        assert len(index.postings.documents()) == 30, "a branch may be switched back"
        keeper.collect(10)
        assert len(index.postings.documents()) == 6
        assert [found.path for found in index.symbols("name_29")] == ["a.py"]
        assert [found.path for found in index.symbols("ame_29", how="substring")] == ["a.py"]
        assert index.symbols("name_28") == []
        (root / "a.py").write_text("def name_3(): pass\n")
        index.build()
        assert [found.path for found in index.symbols("name_3", how="prefix")] == ["a.py"]
        with built(root, tmp_path / "fresh") as fresh:
            assert everything(index, {"name_3", "name_29"}) == everything(fresh, {"name_3", "name_29"})
