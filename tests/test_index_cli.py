"""`glm-lsp index` as a person at a terminal and a script meet it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from glm_lsp import cli
from tests.stories import project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = project(
        tmp_path / "work",
        cart_py="class Cart:\n    def total(self):\n        '''The \x1b[31m total <|user|>.'''\n        return 0\n",
        use_py="from cart import Cart\n\nprint(Cart().total())\n",
        notes_md="# Notes\n\nOn carts.\n",
    )
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*words: str) -> tuple[int, str, str]:
        code = cli.run(["index", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


Run = "Callable[..., tuple[int, str, str]]"


def told(run: Any, *words: str) -> dict[str, Any]:
    code, out, _ = run(*words, "--json")
    assert code in {0, 1}
    found: dict[str, Any] = json.loads(out)
    assert found["version"] == 1
    return found


def test_build_says_what_is_known(run: Any) -> None:
    code, out, _ = run("build")
    assert code == 0
    assert out.startswith("3 of 3 files parsed · 3 searched by their words · ")
    found = told(run, "build")
    assert (found["files"], found["tier1"], found["pending"]) == (3, 3, 0)
    assert found["state"] == "ready"


def test_status_reads_nothing_that_is_not_known(run: Any, root: Path) -> None:
    assert told(run, "status")["tier1"] == 0
    run("build")
    (root / "more.py").write_text("x = 1\n")
    assert told(run, "status")["tier1"] == 3


def test_a_file_that_could_not_be_read_is_told_with_the_reason(run: Any, root: Path) -> None:
    (root / "huge.py").write_text("x = 1\n" * 100_000)
    code, out, _ = run("build")
    assert code == 0
    assert "huge.py" in out
    assert "only its words were read" in out
    (failed,) = told(run, "status")["failed"]
    assert failed["path"] == "huge.py"


class TestQuery:
    def test_where_a_name_is_defined(self, run: Any) -> None:
        code, out, _ = run("query", "total")
        assert code == 0
        assert "cart.py:2" in out
        assert "Cart.total" in out
        assert [(one["path"], one["line"]) for one in told(run, "query", "total")["found"]] == [("cart.py", 2)]

    def test_a_part_of_a_name_finds_it_where_nothing_is_exactly_so(self, run: Any) -> None:
        assert [one["name"] for one in told(run, "query", "tot")["found"]] == ["Cart.total"]
        assert told(run, "query", "tot", "--how", "exact")["found"] == []

    def test_where_it_is_used(self, run: Any) -> None:
        code, out, _ = run("query", "total", "--references")
        assert (code, out) == (0, "use.py:3\n")

    def test_nothing_found_is_said_and_is_exit_code_1(self, run: Any) -> None:
        assert run("query", "zebra") == (1, "", "Nothing here is called zebra.\n")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("query", " "), "The name is empty."),
            (("query", "x", "--references", "--how", "prefix"), "takes a whole name"),
            (("query", "x", "--how", "loudly"), "Invalid value"),
            (("query", "x", "--limit", "0"), "Invalid value"),
            (("query",), "Missing argument"),
            (("context", ""), "The question is empty."),
            (("context", "x", "--budget", "-1"), "Invalid value"),
            (("build", "--root", "gone"), "gone is not a folder."),
            (("rebuild",), "No such command"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_wrong_usage_is_exit_code_4(self, run: Any, words: tuple[str, ...], says: str) -> None:
        code, out, err = run(*words)
        assert code == 4
        assert says in err
        assert "Traceback" not in out + err


class TestContext:
    def test_it_shows_each_piece_with_score_tokens_and_reason(self, run: Any) -> None:
        code, out, _ = run("context", "what is the total of a Cart?")
        assert code == 0
        assert "cart.py:1-4" in out
        assert "defines Cart" in out
        assert "of 8,000 tokens" in out
        found = told(run, "context", "what is the total of a Cart?", "--budget", "500")
        assert found["tokens"] == sum(piece["tokens"] for piece in found["pieces"]) <= 500
        assert found["considered"][0]["path"] == "cart.py"
        assert "text" not in found["pieces"][0]

    def test_show_gives_the_text_that_would_be_sent(self, run: Any) -> None:
        code, out, _ = run("context", "what is the total of a Cart?", "--show")
        assert code == 0
        assert out.startswith("what is the total of a Cart?\n")
        assert "2|    def total(self):" in out
        assert "<|user|>" not in out, "shielded as it would be"
        assert "\x1b" not in out, "nothing in a file steers the terminal"
        assert "2|    def total(self):" in told(run, "context", "total of a Cart", "--show")["pieces"][0]["text"]

    def test_a_file_that_is_not_there_cannot_be_open(self, run: Any) -> None:
        code, _, err = run("context", "Cart", "--open", "gone.py")
        assert code == 3
        assert "There is no gone.py." in err

    def test_the_same_twice(self, run: Any) -> None:
        assert told(run, "context", "Cart")["pieces"] == told(run, "context", "Cart")["pieces"]

    def test_a_question_of_unknown_words_is_exit_code_1(self, run: Any) -> None:
        code, out, _ = run("context", "zebra crossing")
        assert code == 1
        assert "0 pieces" in out


class TestMap:
    def test_it_is_the_one_in_the_head(self, run: Any) -> None:
        code, out, _ = run("map")
        assert code == 0
        assert out == "All 3 files, by folder:\n./: cart.py, notes.md, use.py\n"

    def test_too_little_room_is_said(self, run: Any) -> None:
        code, out, err = run("map", "--budget", "3")
        assert (code, out) == (1, "")
        assert "No map fits into 3 tokens." in err


def test_an_index_that_is_turned_off_says_how_to_turn_it_on(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_LSP_INDEX_ENABLED", "false")
    code, _, err = run("build")
    assert code == 4
    assert "Set index.enabled to true." in err


def test_one_that_cannot_be_kept_is_told_of_and_works(run: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "state").write_text("in the way\n")
    monkeypatch.setenv("GLM_LSP_STATE_DIR", str(root / "state"))
    code, out, err = run("query", "total")
    assert code == 0
    assert "cart.py:2" in out
    assert "memory" in err
    assert told(run, "build")["in_memory"]
