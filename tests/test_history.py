"""What git remembers of real repositories: renames, folders inside them, trailers, and where there is nothing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from glm_lsp.index import words
from glm_lsp.index.history import WIDE, History, Past

if TYPE_CHECKING:
    from pathlib import Path


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def commit(root: Path, message: str, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "begin the cart", cart_py="cart\n" * 9, shop__till_py="till\n")
    commit(tmp_path, "price of the cart\n\nBody says discount.\n\nSigned-off-by: A <a@example.org>", cart_py="cart 2\n")
    commit(tmp_path, "count the till and the tax", shop__till_py="till 2\n", shop__tax_py="tax\n")
    return tmp_path


def test_commits_come_newest_first_with_message_and_paths(root: Path) -> None:
    history = History.read(root)
    assert [one.message for one in history.commits] == [
        "count the till and the tax",
        "price of the cart\n\nBody says discount.",
        "begin the cart",
    ]
    assert [set(one.paths) for one in history.commits] == [
        {"shop/till.py", "shop/tax.py"},
        {"cart.py"},
        {"cart.py", "shop/till.py"},
    ]
    assert list(history.touching("cart.py")) == [1, 2]
    assert list(history.touching("nowhere.py")) == []
    assert all(one.when > 10**9 for one in history.commits)


def test_no_more_commits_are_read_than_asked_for(root: Path) -> None:
    assert len(History.read(root, 2).commits) == 2


def test_files_that_changed_together_are_known(root: Path) -> None:
    together = History.read(root).together(["shop/till.py"])
    assert set(together) == {"shop/tax.py", "cart.py"}
    assert together["shop/tax.py"] > together["cart.py"]  # more lately
    assert History.read(root).together(["nowhere.py"]) == {}


def test_files_are_found_by_the_messages_of_their_commits(root: Path) -> None:
    history = History.read(root)
    assert set(history.fitting(words.query("discount"))) == {"cart.py"}
    assert set(history.fitting(words.query("the tax"))) == {"shop/till.py", "shop/tax.py"}
    assert history.fitting(words.query("nonsense")) == {}


def test_what_changed_lately_and_often_is_recent(root: Path) -> None:
    recency = History.read(root).recency
    assert recency["shop/till.py"] == 1.0
    assert 0 < recency["shop/tax.py"] < recency["cart.py"] <= 1.0


def test_a_renamed_file_keeps_its_past(root: Path) -> None:
    before = History.read(root)
    git(root, "mv", "shop/till.py", "shop/desk.py")
    commit(root, "call it a desk")
    commit(root, "another till", shop__till_py="quite another text\n")
    for history in (History.read(root), before.renewed(root)):
        assert [list(history.touching(path)) for path in ("shop/desk.py", "shop/till.py")] == [[1, 2, 4], [0]]


def test_a_commit_of_very_many_files_says_nothing_of_any(root: Path) -> None:
    commit(root, "reformat everything", **{f"f{n}_py": str(n) for n in range(WIDE)}, shop__tax_py="tax 2\n")
    history = History.read(root)
    assert "f1.py" not in history.together(["shop/tax.py"])
    assert history.fitting(words.query("reformat")) == {}
    assert "f1.py" not in history.recency


def test_a_folder_inside_a_repository_has_its_own_part_of_the_past(root: Path) -> None:
    history = History.read(root / "shop")
    assert set(history.commits[0].paths) == {"till.py", "tax.py"}
    assert list(history.touching("till.py"))


def test_merges_are_left_out_and_what_they_bring_is_not(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(root, "on the side", side_py="1\n")
    git(root, "checkout", "-q", "main")
    git(root, "merge", "-q", "--no-ff", "-m", "the merge", "side")
    messages = [one.message for one in History.read(root).commits]
    assert "on the side" in messages
    assert "the merge" not in messages


@pytest.mark.parametrize("name", ["größe x.py", "a\nb.py", 'quoted".py', "tab\t.py"])
def test_a_file_with_an_odd_name_is_itself(root: Path, name: str) -> None:
    (root / name).write_text("x")
    commit(root, "odd")
    assert History.read(root).commits[0].paths == (name,)


def test_a_message_with_odd_characters_does_no_harm(root: Path) -> None:
    commit(root, "odd \x1e sign\n\nand a \x01 one\n<!-- nobody reads this -->", cart_py="3\n")
    history = History.read(root)
    assert [one.message for one in history.commits][-1] == "begin the cart"
    assert "nobody" not in str([one.message for one in history.commits])


def test_the_past_is_read_on_from_where_it_ended(root: Path) -> None:
    before = History.read(root)
    assert before.renewed(root) is before
    commit(root, "one more", cart_py="4\n")
    after = before.renewed(root)
    assert after.commits == History.read(root).commits
    assert after.renewed(root, 2) is after
    git(root, "reset", "-q", "--hard", "HEAD~2")
    assert after.renewed(root).commits == History.read(root).commits == before.commits[1:]


def test_what_a_merge_brings_has_its_place_by_time(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(root, "long ago, on the side", side_py="1\n")
    git(root, "checkout", "-q", "main")
    for number in range(3):
        commit(root, f"main {number}", cart_py=f"{number}\n" * 20)
    # Git goes by the committer's clock, which is set back for the side.
    git(root, "checkout", "-q", "side")
    amend = ("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--amend", "--no-edit")
    then = {**os.environ, "GIT_COMMITTER_DATE": "2001-01-01T00:00:00"}
    subprocess.run(["git", "-C", str(root), *amend], check=True, capture_output=True, env=then)
    git(root, "checkout", "-q", "main")
    before = History.read(root)
    git(root, "merge", "-q", "--no-ff", "-m", "the merge", "side")
    after = before.renewed(root)
    assert after.commits == History.read(root).commits
    assert after.commits[0].message == "main 2"
    assert "long ago, on the side" in [one.message for one in after.commits]


def test_where_there_is_no_repository_or_no_commit_there_is_no_past(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    for root in (tmp_path, empty, tmp_path / "missing"):
        history = History.read(root)
        assert history.commits == ()
        assert history.renewed(root).commits == ()
        assert history.together(["a.py"]) == history.fitting(words.query("cart")) == dict(history.recency) == {}


def test_git_is_given_so_much_time_and_no_more(root: Path) -> None:
    assert History.read(root, seconds=0.0).commits == ()


class TestReadingBesideAQuestion:
    def test_nobody_waits_for_git_longer_than_they_like_and_it_is_known_later(self, root: Path) -> None:
        past = Past(root)
        assert past.now(0).commits in {(), History.read(root).commits}, "all or nothing"
        assert past.now(60).commits == History.read(root).commits
        assert past.now(0) is past.now(0), "nothing is read again"

    def test_new_commits_are_looked_for_when_that_is_asked(self, root: Path) -> None:
        past = Past(root)
        before = past.now(60)
        commit(root, "more", cart_py="cart 3\n")
        assert past.now(60) is before
        past.renew()
        assert past.now(60).commits[0].message == "more"
        assert past.now(60).commits[1:] == before.commits

    def test_without_a_repository_there_is_none(self, tmp_path: Path) -> None:
        assert Past(tmp_path).now(60).commits == ()
