"""Words as terms: what of a file is listed, and what of a question counts."""

from __future__ import annotations

import random
from zlib import crc32

import numpy as np
import pytest

from glm_lsp.index import words


def term(word: str) -> int:
    return crc32(word.encode())


def listed(text: str | bytes) -> dict[int, int]:
    terms, times, _ = words.counts(text.encode() if isinstance(text, str) else text)
    return dict(zip(np.frombuffer(terms, "<u4").tolist(), times, strict=True))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("total", []),
        ("Total", []),
        ("user_name", ["user", "name"]),
        ("userName", ["user", "name"]),
        ("UserName", ["user", "name"]),
        ("parseHTTPUrl", ["parse", "http", "url"]),
        ("__init__", ["init"]),
        ("MAX_SIZE", ["max", "size"]),
        ("sha256_digest", ["sha256", "sha", "digest"]),
        ("größe", []),
        ("größe_neu", ["größe", "neu"]),
        ("数据库", ["数据", "据库"]),
        ("naïveTest", []),
    ],
)
def test_a_word_gives_itself_in_lower_case_and_its_parts(word: str, parts: list[str]) -> None:
    found = listed(word)
    assert set(found) >= {term(word.lower()), *map(term, parts)}
    assert words.whole(word) == term(word.lower())
    if word.isascii():
        assert set(found) == {term(word.lower()), *map(term, parts)}


def test_words_are_counted_and_the_length_is_their_number() -> None:
    assert listed("total = total + cart_total") == {term("total"): 3, term("cart_total"): 1, term("cart"): 1}
    assert words.counts(b"total = total + cart_total")[2] == 3


def test_terms_come_in_ascending_order_with_a_count_each() -> None:
    terms, times, length = words.counts(b" ".join(b"word%d" % n for n in range(500)))
    numbers = np.frombuffer(terms, "<u4")
    assert (np.diff(numbers.astype(np.int64)) > 0).all()
    assert len(times) == len(numbers)
    assert length == 500


def test_a_count_beyond_a_byte_stays_at_its_greatest() -> None:
    assert listed("total " * 1000) == {term("total"): 255}


@pytest.mark.parametrize("data", [b"", b" \n\t", b"1 22 0x1f", b"x y _ ()", b"the return if"], ids=repr)
def test_what_is_no_telling_word_is_not_listed(data: bytes) -> None:
    assert words.counts(data)[:2] == (b"", b"")


@pytest.mark.parametrize("word", ["x", "_", "404", "return", "a.b", "x-y", "", "  "])
def test_the_term_of_what_is_not_listed_rules_nothing_out(word: str) -> None:
    assert words.whole(word) == words.ANYWHERE


def test_a_file_that_is_not_utf_8_is_read_as_latin_1() -> None:
    assert words.whole("größe") in listed("größe = 1".encode("latin-1"))
    assert listed(bytes(range(256)))  # and nothing is too odd


def test_signs_beyond_ascii_end_a_word() -> None:
    assert {words.whole("left"), words.whole("right"), words.whole("quoted")} <= set(listed("left→right “quoted”"))


def test_no_file_that_holds_an_identifier_lacks_its_term() -> None:
    chance = random.Random(5)
    letters = "abzAZ09_ßéπЖ数가"
    for _ in range(3000):
        name = "".join(chance.choice(letters) for _ in range(chance.randint(1, 80)))
        if name.isidentifier():
            wanted = words.whole(name)
            assert wanted == words.ANYWHERE or wanted in listed(f"f({name})\n"), name


def test_the_same_words_are_found_after_the_memory_of_words_was_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b" ".join(b"word_%dX" % n for n in range(50))
    before = words.counts(text)
    monkeypatch.setattr(words._Terms, "MOST", 7)
    assert words.counts(text) == before
    assert words.counts(text[::-1] + b" " + text) is not None


def test_words_are_the_same_however_many_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{n} camelCase{n % 5} snake_{n % 3}_case2".encode() for n in range(60)]
    before = [words.counts(text) for text in texts]
    monkeypatch.setattr(words._Terms, "MOST", 10)  # the memory of words is soon full, and full again
    assert [words.counts(text) for text in [*texts, *texts]] == [*before, *before]


def test_a_question_weighs_the_whole_name_above_its_parts_and_leaves_little_words_out() -> None:
    weights = words.query("Please fix the cart_total of the cart")
    assert set(weights) == {term("cart_total"), term("cart"), term("total")}
    assert weights[term("cart_total")] > weights[term("total")]
    assert weights[term("cart")] > weights[term("total")]


def test_a_word_said_often_counts_more_but_not_as_often() -> None:
    once, often = words.query("total")[term("total")], words.query("total " * 8)[term("total")]
    assert once < often < 8 * once


def test_an_empty_question_has_no_terms() -> None:
    assert words.query("") == {}
    assert words.query("what is it?") == {}
    assert words.identifiers("what is it?") == []


def test_the_names_in_a_question_come_as_written_in_order_and_once() -> None:
    assert words.identifiers("In Cart.total(), fix getAll and `is_it`: total → größe2") == [
        "Cart",
        "total",
        "getAll",
        "is_it",
        "größe2",
    ]


@pytest.mark.parametrize("word", ["read_http_file2", "READ_HTTP_FILE2", "readHTTPFile2", "Read_httpFile2"])
def test_a_word_gives_the_same_parts_however_it_is_written(word: str) -> None:
    assert set(listed(word)) == {term(word.lower()), *map(term, ("read", "http", "file", "file2"))}


def test_of_a_very_large_file_whole_words_are_listed_and_no_parts() -> None:
    found = listed("REG_SHIFT_value été_haut " * 50_000)
    assert set(found) == {term("reg_shift_value"), term("été_haut"), term("été"), term("haut")}
    assert words.whole("Reg_Shift_Value") in found
