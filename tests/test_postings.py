"""Inverted lists: the same answers from memory, from the disk, after merges and after drops; damage is told."""

from __future__ import annotations

import math
import random
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glm_lsp.errors import StateError
from glm_lsp.index import segments, words
from glm_lsp.index.postings import K1, LIST, LOOSE, TIER, B, Postings

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    1: "total cart total price",
    2: "cart",
    3: "price price price of nothing_else",
    7: "total_price and more words in a longer document that says total once",
    40_000: "unrelated",
}


VOCABULARY = [f"w{at}" for at in range(90)] + ["total", "cart_total", "readFile"]


def filled(folder: Path | None, texts: dict[int, str]) -> Postings:
    postings = Postings.open(folder)
    add(postings, texts)
    return postings


def add(postings: Postings, texts: dict[int, str]) -> None:
    postings.add(list(texts), [words.counts(text.encode()) for text in texts.values()])


def scores(postings: Postings, question: str, alive: np.ndarray | None = None) -> dict[int, float]:
    docs, found = postings.bm25(words.query(question), alive)
    return dict(zip(docs.tolist(), (round(float(score), 4) for score in found), strict=True))


def with_words(postings: Postings, *names: str) -> list[int]:
    return postings.files_with([words.whole(name) for name in names]).tolist()


@pytest.fixture(params=["memory", "disk", "opened again", "a segment each"])
def postings(request: pytest.FixtureRequest, tmp_path: Path) -> Postings:
    if request.param == "memory":
        return filled(None, TEXTS)
    if request.param == "a segment each":
        found = Postings.open(tmp_path / "p")
        for doc, text in TEXTS.items():
            add(found, {doc: text})
            found.flush()
        return found
    found = filled(tmp_path / "p", TEXTS)
    found.flush()
    return found if request.param == "disk" else Postings.open(tmp_path / "p")


def test_files_are_found_by_all_their_words(postings: Postings) -> None:
    assert with_words(postings, "total") == [1, 7]
    assert with_words(postings, "total", "cart") == [1]
    assert with_words(postings, "price") == [1, 3, 7]  # by a part of total_price too
    assert with_words(postings, "total_price") == [7]
    assert with_words(postings, "nowhere") == []
    assert with_words(postings, "total", "nowhere") == []


def test_words_that_are_not_listed_rule_nothing_out(postings: Postings) -> None:
    assert with_words(postings, "return", "cart") == [1, 2]
    assert with_words(postings, "return") == with_words(postings) == list(TEXTS)


def test_documents_are_known(postings: Postings) -> None:
    assert postings.documents().tolist() == list(TEXTS)
    assert postings.holds(7)
    assert not any(map(postings.holds, (0, 4, -1, 2**40)))
    assert postings.frequency(words.whole("price")) == 3


def test_scores_are_those_of_bm25(postings: Postings) -> None:
    texts = {doc: text.split() for doc, text in TEXTS.items()}
    average = sum(map(len, texts.values())) / len(texts)
    idf = math.log(1 + (len(texts) - 2 + 0.5) / (2 + 0.5))
    expected = {
        doc: round(idf * times * (K1 + 1) / (times + K1 * (1 - B + B * len(texts[doc]) / average)), 4)
        for doc, times in ((1, 1), (2, 1))
    }
    assert scores(postings, "cart") == expected
    assert scores(postings, "nowhere") == {}
    assert list(scores(postings, "cart unrelated nowhere")) != []


def test_documents_that_are_not_alive_are_not_found(postings: Postings) -> None:
    alive = np.zeros(5, np.bool_)
    alive[[2, 3]] = True
    assert list(scores(postings, "total cart price", alive)) == [2, 3]


def test_documents_that_come_and_go_count_in_a_table_that_was_asked_with_before(postings: Postings) -> None:
    alive = np.ones(200, np.bool_)
    before = scores(postings, "cart", alive)
    add(postings, {150: "cart cart"})
    assert list(scores(postings, "cart", alive)) == [*before, 150]
    postings.drop({150})
    assert scores(postings, "cart", alive) == before


@pytest.mark.parametrize("dropped", [(), (3,), (7, 40_000)], ids=str)
def test_how_rare_a_word_is_goes_by_the_living_alone(postings: Postings, dropped: tuple[int, ...]) -> None:
    # A file that is saved again and again leaves its former texts behind: they must not make its words common.
    add(postings, dict.fromkeys(range(100, 130), "cart total_price price and very much more text"))
    postings.drop(dropped)
    living = {doc: text for doc, text in TEXTS.items() if doc not in dropped}
    alive = np.zeros(50_000, np.bool_)
    alive[list(living)] = True
    once = filled(None, living)
    terms = [words.whole(word) for word in ("cart", "price", "total_price", "unrelated", "nowhere")]
    assert postings.rarity(terms, alive) == once.rarity(terms)
    found, number = postings.frequencies(np.array(terms, np.uint32), alive)
    assert (found.tolist(), number) == ([once.frequency(term) for term in terms], len(living))
    for question in ("cart", "price of a total_price", "unrelated nowhere"):
        assert scores(postings, question, alive) == scores(once, question)


def test_dropped_documents_are_gone_at_once_and_for_good(postings: Postings, tmp_path: Path) -> None:
    postings.drop([1, 99])
    for found in (postings, None):
        if found is None:
            postings.flush()
            found = Postings.open(tmp_path / "p") if (tmp_path / "p").exists() else postings  # noqa: PLW2901 - the same, written
        assert with_words(found, "total") == [7]
        assert 1 not in scores(found, "total cart")
        assert not found.holds(1)
        assert 1 not in found.documents()
    add(postings, {1: "another text now"})
    assert with_words(postings, "another") == [1]
    assert with_words(postings, "cart") == [2]


def test_dropping_everything_leaves_nothing(postings: Postings) -> None:
    postings.drop(list(TEXTS))
    postings.flush()
    assert len(postings.documents()) == 0
    assert scores(postings, "total") == {}


def test_an_empty_index_answers() -> None:
    postings = Postings.open(None)
    postings.flush()
    postings.drop([1])
    assert with_words(postings, "total") == []
    assert postings.documents().tolist() == []
    assert scores(postings, "total") == {}
    add(postings, {3: ""})
    assert postings.holds(3)
    assert scores(postings, "total") == {}


def test_whatever_is_added_flushed_and_dropped_the_answers_are_those_of_a_plain_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PART", 4000)  # so that merges go by ranges of terms
    chance = random.Random(11)
    names = [f"{chance.choice('abcdef')}{n}_{chance.choice('ghi')}x" for n in range(60)]
    postings, plain, following = Postings.open(tmp_path / "p"), {}, 0
    for step in range(40):
        fresh = {}
        for _ in range(chance.choice([0, 1, 5, 150])):
            following += chance.choice([1, 1, 1, 300])
            fresh[following] = " ".join(chance.choices(names, k=chance.randint(0, 40)))
        add(postings, fresh)
        plain |= fresh
        if chance.random() < 0.3 and plain:
            gone = set(chance.sample(sorted(plain), chance.randint(1, len(plain)) // 2))
            postings.drop(gone)
            plain = {doc: text for doc, text in plain.items() if doc not in gone}
        if chance.random() < 0.4:
            postings.flush()
        if chance.random() < 0.2:
            postings.flush()
            postings.close()
            postings = Postings.open(tmp_path / "p")
        assert postings.documents().tolist() == sorted(plain), step
        two = chance.sample(names, 2)
        assert with_words(postings, *two) == sorted(d for d, text in plain.items() if set(two) <= set(text.split()))
        once = filled(None, dict(sorted(plain.items())))
        postings.flush()  # so that dropped documents do not count as documents any more
        assert scores(postings, " ".join(two)) == pytest.approx(scores(once, " ".join(two)), abs=1e-3)


def test_many_flushes_leave_few_files(tmp_path: Path) -> None:
    postings = Postings.open(tmp_path)
    for doc in range(200):
        add(postings, {doc: f"word{doc}x shared"})
        postings.flush()
    assert len(list(tmp_path.glob("*.words"))) <= 5 * TIER
    assert not list(tmp_path.glob("*.new"))
    assert len(with_words(Postings.open(tmp_path), "shared")) == 200


def test_many_additions_without_a_flush_are_few_segments() -> None:
    postings = Postings.open(None)
    for doc in range(20 * LOOSE):
        add(postings, {doc: f"word{doc}x shared"})
    assert len(postings._state.all()) <= LOOSE + 5 * TIER
    assert len(with_words(postings, "shared")) == 20 * LOOSE


def test_a_batch_is_what_its_documents_are_one_by_one() -> None:
    dice = random.Random(5)
    docs = dice.sample(range(1, 10_000), 3 * LOOSE)
    packed = [words.counts(" ".join(dice.choices(VOCABULARY, k=dice.randint(0, 40))).encode()) for _ in docs]
    whole = segments.Segment.of_all(docs, packed)
    singly = segments.merged([segments.Segment.of(doc, *one) for doc, one in zip(docs, packed, strict=True)])
    for name in ("terms", "starts", "docs", "counts", "ids", "lengths"):
        one, other = getattr(whole, name), getattr(singly, name)
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist(), name
    assert whole.words == singly.words
    nothing = segments.Segment.of_all([3, 4], [(b"", b"", 0)] * 2)
    assert nothing.living().tolist() == [3, 4]
    assert nothing.places(7)[0].tolist() == []


def test_a_large_batch_answers_as_small_ones_do() -> None:
    texts = {doc: f"w{doc % 7} cart{doc % 3} total" for doc in range(1, 5 * LOOSE)}
    at_once, singly = Postings.open(None), Postings.open(None)
    add(singly, {400_000: "cart1 w2"})
    add(at_once, {400_000: "cart1 w2"})
    add(at_once, texts)
    for doc, text in texts.items():
        add(singly, {doc: text})
    assert with_words(at_once, "w2", "cart1") == with_words(singly, "w2", "cart1")
    assert scores(at_once, "w2 cart1") == scores(singly, "w2 cart1")


def test_documents_that_are_not_held_are_told_apart(tmp_path: Path) -> None:
    postings = filled(tmp_path / "p", TEXTS)
    postings.flush()
    add(postings, {9: "cart"})
    postings.drop([2])
    assert postings.fresh([9, 1, 2, 5, 40_000, 41_000]) == [2, 5, 41_000]
    assert postings.fresh([]) == []
    assert Postings.open(None).fresh([4]) == [4]


def test_no_segment_grows_past_what_its_places_can_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("segments", "postings"):
        monkeypatch.setattr(f"glm_lsp.index.{module}.FULL", 100)
    postings = Postings.open(tmp_path)
    for at in range(0, 1000, 50):
        add(postings, {doc: f"word{doc}x shared" for doc in range(at, at + 50)})
        postings.flush()
    assert all(len(segment.ids) <= 100 for segment in postings._state.all())
    assert len(with_words(postings, "shared")) == 1000


def test_what_was_not_flushed_is_not_there_after_opening_again(tmp_path: Path) -> None:
    postings = filled(tmp_path, TEXTS)
    postings.flush()
    add(postings, {50: "later"})
    assert not Postings.open(tmp_path).holds(50)
    postings.flush()
    assert Postings.open(tmp_path).holds(50)


def test_a_reader_goes_on_while_another_process_merges_its_files_away(tmp_path: Path) -> None:
    writer = filled(tmp_path, TEXTS)
    writer.flush()
    reader = Postings.open(tmp_path)
    writer.drop([1])
    writer.flush()
    assert with_words(reader, "total") == [1, 7]
    assert with_words(Postings.open(tmp_path), "total") == [7]


def test_readers_see_whole_states_while_a_thread_writes(tmp_path: Path) -> None:
    postings = Postings.open(tmp_path)
    done = threading.Event()

    def writes() -> None:
        for doc in range(0, 900, 3):
            add(postings, {doc: "shared one", doc + 1: "shared two", doc + 2: "shared three"})
            if doc % 30 == 0:
                postings.flush()
        done.set()

    thread = threading.Thread(target=writes)
    thread.start()
    seen = 0
    while not done.is_set():
        number = len(with_words(postings, "shared"))
        assert number % 3 == 0
        assert number >= seen
        seen = number
    thread.join()
    assert len(with_words(postings, "shared")) == 900


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: spoil(next(folder.glob("*.words")), 0), id="another program's file"),
        pytest.param(lambda folder: spoil(next(folder.glob("*.words")), 20), id="a bit of the header"),
        pytest.param(lambda folder: next(folder.glob("*.words")).write_bytes(b""), id="an empty file"),
        pytest.param(lambda folder: next(folder.glob("*.words")).write_bytes(b"GLM"), id="a stump"),
        pytest.param(
            lambda folder: (path := next(folder.glob("*.words"))).write_bytes(path.read_bytes()[:-1]), id="cut short"
        ),
        pytest.param(lambda folder: next(folder.glob("*.words")).unlink(), id="a file gone"),
        pytest.param(lambda folder: spoil(next(folder.glob("*.words")), 64), id="lists that begin elsewhere"),
        pytest.param(lambda folder: spoil(folder / LIST, 20), id="a bit of the list"),
        pytest.param(lambda folder: (folder / LIST).write_bytes(b"\xff\n"), id="a list of nothing"),
        pytest.param(lambda folder: (folder / LIST).write_bytes(b""), id="an empty list"),
    ],
)
def test_damage_is_told_and_not_taken_for_an_answer(damage, tmp_path: Path) -> None:
    postings = filled(tmp_path, TEXTS)
    postings.flush()
    postings.close()
    damage(tmp_path)
    with pytest.raises(StateError) as caught:
        Postings.open(tmp_path)
    assert caught.value.hint


def test_words_of_another_version_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, TEXTS).flush()
    monkeypatch.setattr(words, "VERSION", words.VERSION + 1)
    with pytest.raises(StateError, match="another version"):
        Postings.open(tmp_path)


def test_a_spoiled_list_is_told_when_it_is_read(tmp_path: Path) -> None:
    postings = filled(tmp_path, dict.fromkeys(range(30), "shared"))
    postings.flush()
    path = next(tmp_path.glob("*.words"))
    spoil(path, path.stat().st_size - 30 - 1)  # the high byte of the last place; the counts are behind
    with pytest.raises(StateError, match="damaged"):
        with_words(Postings.open(tmp_path), "shared")


def test_left_overs_of_a_killed_writer_are_no_harm_and_go_with_the_next_flush(tmp_path: Path) -> None:
    postings = filled(tmp_path, TEXTS)
    postings.flush()
    (tmp_path / "99999999.words").write_bytes(b"half")
    (tmp_path / "99999999.words.new").write_bytes(b"half")
    found = Postings.open(tmp_path)
    assert with_words(found, "total") == [1, 7]
    add(found, {9: "total"})
    found.flush()
    assert not list(tmp_path.glob("99999999*"))
    assert with_words(found, "total") == [1, 7, 9]


def test_where_nothing_can_be_written_the_answers_go_on_from_memory(tmp_path: Path) -> None:
    postings = filled(tmp_path / "p", TEXTS)
    (tmp_path / "p").write_text("in the way")
    with pytest.raises(StateError, match="could not be written") as caught:
        postings.flush()
    assert caught.value.hint
    assert with_words(postings, "total") == [1, 7]
