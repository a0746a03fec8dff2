"""Which names are used on which lines, packed and unpacked, however many names there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from glm_lsp.index import uses
from glm_lsp.languages.facts import found_in
from glm_lsp.languages.words import LONGEST, Names

NAMES = some.text("abcé_", min_size=1, max_size=6)
LINES = some.lists(some.integers(1, 40), min_size=1, max_size=8).map(sorted)


@given(some.dictionaries(NAMES, LINES, max_size=12))
def test_what_is_packed_comes_back(known: dict[str, list[int]]) -> None:
    packed = uses.packed(Names.of({name.encode(): lines for name, lines in known.items()}))
    unpacked = uses.unpacked(packed)
    assert unpacked == {name: tuple(sorted(set(lines))) for name, lines in known.items()}
    for name, lines in unpacked.items():
        assert tuple(uses.lines_of(packed, name)) == lines
    assert not uses.lines_of(packed, "zzz")


@pytest.mark.parametrize("number", [253, 254, 255, 256, 70_000])
def test_any_number_of_names(number: int) -> None:
    text = "".join(f"use(name_{at})\n" for at in range(number - 1))
    found = found_in("a.py", text)
    assert found is not None
    assert len(found.uses.words) == number
    packed = uses.packed(found.uses)
    for at in (0, number // 2, number - 2):
        assert tuple(uses.lines_of(packed, f"name_{at}")) == (at + 1,)
    assert uses.unpacked(packed)["use"] == tuple(range(1, number))
    assert Names.of(found.uses.lines()).lines() == found.uses.lines()


def test_a_name_several_times_on_a_line_counts_once_and_data_in_disguise_not_at_all() -> None:
    found = found_in("a.py", f"f(x, x)\n\nf(x)\n{'y' * (LONGEST + 1)}()\n")
    assert found is not None
    assert found.uses.lines() == {b"f": [1, 3], b"x": [1, 1, 3]}
    assert uses.unpacked(uses.packed(found.uses)) == {"f": (1, 3), "x": (1, 3)}


def test_words_with_signs_are_taken_apart() -> None:
    found = found_in("a.py", "naïve = größe \u2192 x\u2192y\n")
    assert found is not None
    assert set(found.uses.lines()) == {"größe".encode(), b"x", b"y"}
