"""What the index says of small workspaces, saved, typed and switched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from indexes import built, commit, git, opened, repository
from stories import project

from glm_lsp.index.kinds import Kind, kind_of
from glm_lsp.index.names import score
from glm_lsp.index.pending import NEAR, Pending, Ranks
from glm_lsp.languages.facts import facts
from glm_lsp.store.index_rows import initials

if TYPE_CHECKING:
    from pathlib import Path

CART = '''"""Carts."""

import shop.money


class Cart:
    """What a customer wants."""

    def total(self, tax):
        """Adds it all up."""
        return add_up(self.items) + tax
'''
MONEY = """def add_up(items):
    return sum(items)


def total_of(carts):
    return [cart.total(0) for cart in carts]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "w", shop__cart_py=CART, shop__money_py=MONEY, README_md="# Shop\n\nSee add_up.\n")


def found(index, name: str, how: str = "exact") -> list[tuple[str, str]]:
    return [(one.path, one.definition.qualified) for one in index.symbols(name, how=how)]


def test_definitions_are_found_by_their_names(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        assert found(index, "total") == [("shop/cart.py", "Cart.total")]
        assert found(index, "tot") == []
        assert found(index, "tot", "prefix") == [("shop/cart.py", "Cart.total"), ("shop/money.py", "total_of")]
        assert found(index, "d_u", "substring") == [("shop/money.py", "add_up")]
        assert found(index, "ADD", "substring") == [("shop/money.py", "add_up")]
        assert found(index, "al", "substring") == [("shop/cart.py", "Cart.total"), ("shop/money.py", "total_of")]
        assert found(index, "au", "fuzzy")[0] == ("shop/money.py", "add_up")
        assert found(index, "totla", "fuzzy")[0] == ("shop/cart.py", "Cart.total")
        assert found(index, "%", "substring") == []
        assert found(index, '"', "substring") == found(index, "", "fuzzy") == []
        assert found(index, '"; DROP', "substring") == []
        (total,) = index.symbols("total")
        assert total.score == 1.0
        assert total.definition.line == 9
        assert total.definition.doc == "Adds it all up."
        assert index.defined("total") == ["shop/cart.py"]


def test_a_file_says_what_it_defines_uses_and_imports(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        assert [one.qualified for one in index.outline("shop/cart.py")] == ["Cart", "Cart.total"]
        assert index.imports("shop/cart.py") == ("shop.money",)
        assert index.uses_of("shop/cart.py")["add_up"] == (11,)
        assert index.outline("nowhere.py") == ()
        assert index.imports("nowhere.py") == ()
        assert index.content_of("nowhere.py") == 0
        assert index.text("nowhere.py") is None
        assert index.text("shop/cart.py") == CART


def test_uses_are_found_in_parsed_files_and_in_others(root: Path, tmp_path: Path) -> None:
    (root / "notes.txt").write_text("call add_up\nnot add_upper\n")
    with built(root, tmp_path / "state") as index:
        assert ("shop/cart.py", 11) in index.references("add_up")
        assert ("notes.txt", 1) in index.references("add_up")
        assert ("notes.txt", 2) not in index.references("add_up")
        assert len(index.references("add_up", limit=1)) == 1
        assert index.references("nothing_of_the_kind") == []


def test_words_narrow_down_the_files_to_search(root: Path, tmp_path: Path) -> None:
    with opened(root, tmp_path / "state") as index:
        assert index.files_with(["add_up"]) is None, "nothing is known yet"
        index.build()
        assert set(index.files_with(["add_up", "tax"])) == {"shop/cart.py"}
        assert set(index.files_with(["add_up"])) == {"shop/cart.py", "shop/money.py", "README.md"}
        index.overlay("shop/money.py", "nothing = 1\n")
        index.overlay("README.md", "add_up and tax\n")
        assert set(index.files_with(["add_up", "tax"])) == {"shop/cart.py", "README.md"}


def test_a_saved_file_is_seen_after_another_look(root: Path, tmp_path: Path) -> None:
    with opened(root, tmp_path / "state") as index:
        index.start()
        assert index.wait(1, 60)
        before = index.version
        (root / "shop" / "new.py").write_text("def fresh():\n    pass\n")
        (root / "shop" / "cart.py").unlink()
        index.refresh(["shop/new.py", "shop/cart.py"])
        assert index.wait(1, 60)
        assert index.version > before
        assert found(index, "fresh") == [("shop/new.py", "fresh")]
        assert found(index, "total") == []
        assert index.listing.paths == ("README.md", "shop/money.py", "shop/new.py")


def test_what_is_typed_counts_and_never_reaches_the_disk(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    secret = "zqx_unsaved_zqx"
    text = f"def {secret}():\n    return total_of([])\n"
    with built(root, state) as index:
        index.start()
        index.overlay("shop/cart.py", text)
        assert index.text("shop/cart.py") == text
        assert found(index, "total") == [("shop/cart.py", "Cart.total")], "its facts are not known yet"
        index.overlay("shop/cart.py", text, facts("shop/cart.py", text))
        assert found(index, secret) == [("shop/cart.py", secret)]
        assert found(index, "total") == []
        assert index.references("total_of") == [("shop/cart.py", 2)]
        assert [one.name for one in index.outline("shop/cart.py")] == [secret]
        index.overlay("never/saved.py", "only_here = 1\n", facts("never/saved.py", "only_here = 1\n"))
        assert index.references(secret) == []
        index.refresh()
        assert index.wait(1, 60)
        assert found(index, secret) == [("shop/cart.py", secret)]
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"add_up" in kept
    assert secret.encode() not in kept
    assert b"only_here" not in kept
    with opened(root, state) as index:
        assert found(index, secret) == []
        assert found(index, "total") == [("shop/cart.py", "Cart.total")]


def test_a_closed_buffer_is_the_saved_file_again(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        index.overlay("shop/cart.py", "x = 1\n", facts("shop/cart.py", "x = 1\n"))
        index.overlay("shop/cart.py", None)
        assert found(index, "total") == [("shop/cart.py", "Cart.total")]
        assert index.text("shop/cart.py") == CART


def test_a_new_start_answers_from_what_was_kept_before_anything_is_looked_at(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state"):
        pass
    (root / "shop" / "cart.py").write_text("gone = 1\n")
    with opened(root, tmp_path / "state") as index:
        assert found(index, "total") == [("shop/cart.py", "Cart.total")]
        assert index.listing.paths == ("README.md", "shop/cart.py", "shop/money.py")
        index.build()
        assert found(index, "total") == []


def test_nothing_is_read_again_where_nothing_has_changed(root: Path, tmp_path: Path) -> None:
    for path in root.rglob("*.*"):
        os.utime(path, ns=(1, 1))
    state = tmp_path / "state"
    repository(root)
    commit(root)
    with built(root, state) as index:
        contents = dict(index._current.contents)
    told: list[tuple[str, int, int]] = []
    with opened(root, state) as index:
        index.build(progress=lambda *what: told.append(what))
        assert index._current.contents == contents
    assert {stage for stage, _, _ in told} == {"files"}


def test_a_branch_that_is_switched_back_to_is_known(root: Path, tmp_path: Path) -> None:
    repository(root)
    commit(root)
    with built(root, tmp_path / "state") as index:
        git(root, "checkout", "-qb", "side")
        (root / "shop" / "cart.py").write_text("def other():\n    pass\n")
        commit(root)
        index.build()
        assert found(index, "total") == []
        git(root, "checkout", "-q", "main")
        told: list[str] = []
        index.build(progress=lambda stage, *_: told.append(stage))
        assert found(index, "total") == [("shop/cart.py", "Cart.total")]
        assert set(told) == {"files"}, "no file was read"
        git(root, "checkout", "-q", "side")
        index.build()
        assert found(index, "other") == [("shop/cart.py", "other")]


def test_the_same_text_in_another_language_is_another_content(tmp_path: Path) -> None:
    root = project(tmp_path / "w", **dict.fromkeys(("a_py", "b_lua", "c_txt", "d_py"), "def total(): pass\n"))
    with built(root, tmp_path / "state") as index:
        a, b, c, d = (index.content_of(path) for path in ("a.py", "b.lua", "c.txt", "d.py"))
        assert a == d
        assert len({a, b, c}) == 3
        assert {path for path, _ in found(index, "total")} >= {"a.py", "d.py"}


def test_files_are_left_out_by_settings(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state", exclude=["shop/m*", "*.md"]) as index:
        assert index.paths == ["shop/cart.py"]
        assert found(index, "add_up") == []
        assert "shop/money.py" in index.listing.paths, "it is there all the same"
    with built(root, tmp_path / "state") as index:
        assert found(index, "add_up") == [("shop/money.py", "add_up")]


def test_the_files_are_listed_anew_only_when_one_holds_something_else(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        before = index.paths
        index.overlay("shop/cart.py", "typed = 1\n")
        assert index.paths is before
        (root / "shop" / "cart.py").write_text("saved = 1\n")
        index.build()
        assert index.paths is not before
        assert index.paths == before


KINDS = {
    "a.py": (b"def a(): pass\n", Kind.SOURCE),
    "empty.py": (b"", Kind.SOURCE),
    "latin.py": (b"# caf\xe9\n", Kind.SOURCE),
    "data.bin": (b"abc\0def", Kind.BINARY),
    "late.txt": (b"a" * 9000 + b"\0", Kind.SOURCE),
    "picture.png": (b"no zero in it", Kind.BINARY),
    "jquery.min.js": (b"var a;\n", Kind.MINIFIED),
    "packed.js": (b"var a=1;" * 1000, Kind.MINIFIED),
    "prose.md": (b"a long line of prose " * 400, Kind.SOURCE),
    "one_long_line.py": (b"x = 1\n" * 500 + b"y = '" + b"z" * 2000 + b"'\n", Kind.SOURCE),
    "package-lock.json": (b"{}", Kind.LOCK),
    "sub/Cargo.lock": (b"", Kind.LOCK),
    "api_pb2.py": (b"x = 1\n", Kind.GENERATED),
    "api.pb.go": (b"package x\n", Kind.GENERATED),
    "deep.go": (b"// Code generated by deepcopy-gen. DO NOT EDIT.\npackage x\n", Kind.GENERATED),
    "front.ts": (b"/* @generated */\nexport {}\n", Kind.GENERATED),
    "talks.py": (b'"""Says which files are generated."""\n', Kind.SOURCE),
}


@pytest.mark.parametrize(("path", "data", "kind"), [(p, *rest) for p, rest in KINDS.items()], ids=KINDS)
def test_what_sort_of_file_it_is(path: str, data: bytes, kind: Kind) -> None:
    assert kind_of(path, data) is kind


def test_only_files_that_people_write_are_worth_showing(tmp_path: Path) -> None:
    root = tmp_path / "w"
    for path, (data, _) in KINDS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "big.py").write_text("def huge_one(): pass\n" * 30_000)
    with built(root, tmp_path / "state") as index:
        assert set(index.paths) == {path for path, (_, kind) in KINDS.items() if kind is Kind.SOURCE} | {"big.py"}
        assert index.text("data.bin") is None
        assert "big.py" in index.files_with(["huge_one"])
        assert "packed.js" in index.files_with(["var"]) or "packed.js" in index.files_with(["a"])
        assert found(index, "huge_one") == []
        (failed,) = index.status.failed
        assert failed[0] == "big.py"
        assert "only its words" in failed[1]


def test_the_status_says_how_far_it_is(root: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with opened(root, tmp_path / "state") as index:
        assert index.status.files == 0
        index.build(progress=lambda *what: told.append(what))
        status = index.status
        assert (status.state, status.files, status.tier0, status.tier1, status.pending) == ("ready", 3, 3, 3, 0)
        assert status.symbols >= 4
        assert status.bytes > 0
        assert not status.in_memory
        assert status.writer
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["files", "words", "symbols"]
    assert all(done <= total for _, done, total in told)


def test_open_files_come_first_then_their_neighbours_then_the_latest_then_the_rest() -> None:
    ranks = Ranks()
    pending: Pending[str] = Pending(ranks)
    pending.add({path: path for path in ("a/1", "a/2", "b/1", "b/2", "c/1", "c/2", "d/1")})
    ranks.changed(["d/1", "c/2"])
    assert list(pending.take(1)) == ["d/1"]
    ranks.opened(["b/2"])
    pending.reorder()
    assert list(pending.take(4)) == ["b/2", "b/1", "c/2", "a/1"]
    pending.drop(["a/2"])
    pending.add({"b/3": "b/3", "c/1": "c/1"})
    assert pending.first() == NEAR
    assert list(pending.take(10)) == ["b/3", "c/1"]
    assert pending.first() is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (("total", "total"), ("total", "totals")),
        (("total", "totals"), ("total", "subtotal")),
        (("total", "sub_total"), ("total", "subtotal")),
        (("gq", "get_queryset"), ("gq", "gadget_equal")),
        (("recieve", "receive"), ("recieve", "deceive")),
        (("readf", "read_file"), ("readf", "render_definition")),
    ],
)
def test_a_nearer_name_scores_higher(better: tuple[str, str], worse: tuple[str, str]) -> None:
    assert score(*better, "fuzzy") > score(*worse, "fuzzy")


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("read_file", "rf"),
        ("__init__", "i"),
        ("READ_FILE", "rf"),
        ("ReadFile", "rf"),
        ("readHTTPFile", "rh"),
        ("V2_PLAN_B3C", "vpbc"),
        ("größe_neu", "gn"),
        ("~Cart", "c"),
    ],
)
def test_initials_are_those_of_a_names_parts(name: str, letters: str) -> None:
    assert initials(name) == letters
