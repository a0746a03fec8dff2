"""The map of a workspace: folders, main files and names, within its budget, and the same while the files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glm_lsp import prompt
from glm_lsp.index.overview import overview
from tests.indexes import built, opened
from tests.stories import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glm_lsp.index.index import Index


@pytest.fixture
def root(tmp_path: Path) -> Path:
    users = {
        f"app__user_{n}_py": f"from lib.money import make_price, _secret_price\n\n\ndef use_{n}():\n    total = make_price({n})\n    return total\n"
        for n in range(30)
    }
    root = project(
        tmp_path / "work",
        README_md="# It\n",
        pyproject_toml="[project]\n",
        lib__money_py="def make_price(n):\n    return n\n\n\ndef _secret_price():\n    return 0\n\n\ndef total():\n    return 0\n",
        tests__test_money_py="def helper_price():\n    return 1\n",
        **users,
        **{f"data__deep__more__f{n}_txt": "x\n" for n in range(300)},
    )
    (root / "app/__main__.py").write_text("import app.user_1\n")
    return root


@pytest.fixture
def index(root: Path, tmp_path: Path) -> Iterator[Index]:
    with built(root, tmp_path / "state") as made:
        yield made


def shown(index: Index, budget: int = 1000) -> str:
    return overview(index, budget=budget, count=prompt.count)


def test_many_files_are_folders_with_what_is_in_them(index: Index) -> None:
    text = shown(index, 600)
    assert "data/ 300\n" in text
    assert "app/ 31" in text
    assert "./ 335 (2 directly)" in text
    assert "user_7.py" not in text


def test_main_files_are_named(index: Index) -> None:
    main = shown(index, 600).partition("Main files:\n")[2].splitlines()
    assert main[:3] == ["README.md", "pyproject.toml", "app/__main__.py"]


def test_names_that_are_used_most_stand_by_their_file(index: Index) -> None:
    text = shown(index, 600)
    assert "lib/money.py: make_price" in text
    assert "_secret_price" not in text, "not public"
    assert "total" not in text, "a word that is a variable everywhere says nothing"
    assert "helper_price" not in text, "nobody uses it"


def test_few_files_are_named_all(tmp_path: Path) -> None:
    root = project(tmp_path / "work", a_py="x = 1\n", src__b_py="y = 1\n", src__c_py="z = 1\n")
    with built(root, tmp_path / "state") as index:
        assert shown(index) == "All 3 files, by folder:\n./: a.py\nsrc/: b.py, c.py"


@pytest.mark.parametrize("budget", [0, 1, 20, 60, 150, 400, 1000, 3000])
def test_it_keeps_its_budget(index: Index, budget: int) -> None:
    text = shown(index, budget)
    assert not text or prompt.count(text) <= budget
    assert bool(text) == (budget >= 60)


def test_edits_leave_it_as_it_is_and_a_new_file_does_not(index: Index, root: Path) -> None:
    before = shown(index)
    (root / "app/user_1.py").write_text("def make_more(): return make_more\n")
    index.build()
    assert shown(index) == before
    (root / "more.py").write_text("x = 1\n")
    index.build()
    assert shown(index) != before


def test_another_index_of_the_same_files_gives_the_same(index: Index, root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "other") as other:
        assert shown(other) == shown(index)


def test_before_all_is_parsed_there_are_no_names(root: Path, tmp_path: Path) -> None:
    with opened(root, tmp_path / "other") as other:
        text = shown(other, 600)
        assert "data/ 300\n" in text
        assert "Names" not in text
        other.build()
        assert "Names" in shown(other, 600)


def test_an_empty_workspace_has_a_map_too(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with built(tmp_path / "work", tmp_path / "state") as index:
        assert "0 files" in shown(index)
