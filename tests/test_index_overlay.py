"""Open buffers in the index: what is typed counts, soon and whole, and stays in memory."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from indexes import built, commit, repository

from glm_lsp.index.overlay import Overlay

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = repository(tmp_path / "work")
    (root / "cart.py").write_text("def total():\n    return 1\n")
    commit(root)
    return root


def soon(so, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < until
        time.sleep(0.01)


def names(index, path: str = "cart.py") -> list[str]:
    return [definition.name for definition in index.outline(path)]


def test_what_is_typed_is_found_and_what_it_replaced_is_not(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("cart.py", lambda: "def total():\n    return 1\n\n\ndef typed():\n    return total()\n")
        soon(lambda: names(index) == ["total", "typed"])
        assert [found.path for found in index.symbols("typed")] == ["cart.py"]
        assert ("cart.py", 6) in index.references("total")
        overlay.closed("cart.py")
        assert names(index) == ["total"]
        assert index.symbols("typed") == []
        overlay.close()


def test_the_newest_text_wins_however_fast_somebody_types(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        for number in range(200):
            overlay.changed("cart.py", lambda number=number: f"def name{number}():\n    pass\n")
            time.sleep(0.002)
        soon(lambda: names(index) == ["name199"])
        time.sleep(0.3)
        assert names(index) == ["name199"]
        overlay.close()


def test_a_buffer_whose_closing_was_missed_is_let_go(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("cart.py", lambda: "def typed():\n    pass\n")
        overlay.changed("new.py", lambda: "def fresh():\n    pass\n")
        soon(lambda: names(index) == ["typed"] and names(index, "new.py") == ["fresh"])
        overlay.keep({"new.py"})
        assert names(index) == ["total"]
        assert names(index, "new.py") == ["fresh"]
        overlay.close()


def test_nothing_that_is_typed_reaches_the_disk(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("cart.py", lambda: "def very_secret_name():\n    pass\n")
        soon(lambda: names(index) == ["very_secret_name"])
        overlay.close()
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"very_secret" in data for data in kept)


def test_a_parser_that_is_killed_is_replaced(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("cart.py", lambda: "def one():\n    pass\n")
        soon(lambda: names(index) == ["one"])
        assert overlay._workers is not None
        for pid in overlay._workers.pids:
            os.kill(pid, signal.SIGKILL)
        overlay.changed("cart.py", lambda: "def two():\n    pass\n")
        # What was under way with the dead one is lost; the next key brings it.
        time.sleep(0.3)
        overlay.changed("cart.py", lambda: "def three():\n    pass\n")
        soon(lambda: names(index) == ["three"])
        overlay.close()


def test_a_buffer_past_all_measure_is_searched_by_its_words_alone(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 100)
        overlay.changed("cart.py", lambda: "def huge():\n    pass\n" * 50)
        soon(lambda: "huge" in (index.text("cart.py") or ""))
        assert names(index) == ["total"]
        assert index.files_with(["huge"]) == ["cart.py"]
        overlay.close()


def test_a_text_that_ends_its_parser_again_and_again_is_left_plain_until_it_is_opened_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glm_lsp.index.overlay.PARSE_SECONDS", 0.001)  # so that nothing can be parsed in time
    monkeypatch.setattr("glm_lsp.index.overlay.REST_SECONDS", 0.05)
    text = "def total():\n    return 1\n" * 5_000
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("cart.py", lambda: text)
        soon(lambda: overlay._failed.get("cart.py", (0,))[0] >= 2)
        assert "cart.py" in overlay.plain
        assert index.text("cart.py") == text
        started = overlay._workers
        overlay.changed("cart.py", lambda: text + "x = 1\n")
        soon(lambda: index.text("cart.py") == text + "x = 1\n")
        assert overlay._failed["cart.py"][0] == 2
        assert overlay._workers is started
        monkeypatch.undo()
        overlay.closed("cart.py")
        assert overlay.plain == {}
        overlay.changed("cart.py", lambda: "def one():\n    pass\n")
        soon(lambda: names(index) == ["one"])
        overlay.close()


def test_after_a_rest_all_of_a_text_is_looked_at(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glm_lsp.index.overlay.REST_SECONDS", 0.05)
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        told: list[str] = []
        submit = overlay._take
        monkeypatch.setattr(Overlay, "_take", lambda self, path, typed: (told.append(path), submit(path, typed)))
        overlay.changed("cart.py", lambda: "def one():\n    pass\n")
        soon(lambda: len(told) == 2)
        time.sleep(0.3)
        assert told == ["cart.py", "cart.py"]
        assert names(index) == ["one"]
        overlay.close()


def test_many_keys_in_a_long_text_come_to_what_all_of_it_says(root: Path, tmp_path: Path) -> None:
    text = "".join(f"def f{number}(x):\n    return g(x)\n\n\n" for number in range(2_000))
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("cart.py", lambda: text)
        soon(lambda: len(names(index)) == 2_000)
        for number, key in enumerate("def typed():\n    return f7(1)\n"):
            text = text[:number] + key + text[number:]
            overlay.changed("cart.py", lambda text=text: text)
            time.sleep(0.005)
        soon(lambda: names(index)[:2] == ["typed", "f0"])
        assert ("cart.py", 2) in index.references("f7")
        assert index.symbols("f1999")[0].definition.line == 1_999 * 4 + 3
        overlay.close()


def test_a_new_file_that_was_never_saved_is_there_while_it_is_open(root: Path, tmp_path: Path) -> None:
    with built(root, tmp_path / "state") as index:
        overlay = Overlay(index, 400_000)
        overlay.changed("new.py", lambda: "def fresh():\n    pass\n")
        soon(lambda: names(index, "new.py") == ["fresh"])
        assert [found.path for found in index.symbols("fresh")] == ["new.py"]
        overlay.closed("new.py")
        assert index.symbols("fresh") == []
        overlay.close()
