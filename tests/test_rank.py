"""Which files a question is about: each sign by itself, the order, the reasons, and what is kept between questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_lsp.index import passages, signs, words
from glm_lsp.index.history import Commit, History
from glm_lsp.index.postings import Postings
from glm_lsp.index.rank import SAID, WEIGHTS, rank
from glm_lsp.index.shelf import Shelf as LatestOnly
from glm_lsp.languages.facts import facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from glm_lsp.languages.facts import Definition

SHOP = {
    "shop/cart.py": "from shop.price import discounted\n\n\ndef total(items):\n    return sum(discounted(i) for i in items)\n",
    "shop/price.py": "def discounted(item):\n    return item.price * 0.9\n",
    "shop/till.py": "from shop.cart import total\n\n\ndef charge(items):\n    return total(items)\n",
    "mail/letter.py": "def greeting(name):\n    return f'Dear {name}'\n",
    "mail/price.py": "def postage(weight):\n    return weight\n",
    "empty.py": "",
}


@dataclass(eq=False)
class Shelf:
    """A corpus of texts in memory."""

    texts: dict[str, str]
    history: History = field(default_factory=History)
    version: int = 0
    typed: dict[str, str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    postings: Postings = field(default_factory=lambda: Postings.open(None))
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.put({})

    def put(self, texts: dict[str, str]) -> None:
        self.texts = {path: text for path, text in {**self.texts, **texts}.items() if text is not None}
        for text in self.texts.values():
            if text not in self.numbers:
                self.numbers[text] = len(self.numbers) + 1
                self.postings.add([self.numbers[text]], [words.counts(text.encode())])
        self.version += 1

    @property
    def paths(self) -> Sequence[str]:
        return sorted(self.texts)

    def content_of(self, path: str) -> int:
        return self.numbers[self.texts[path]] if path in self.texts else 0

    def text(self, path: str) -> str | None:
        self.read.append(path)
        return self.typed.get(path, self.texts.get(path))

    def defined(self, name: str) -> Sequence[str]:
        return [path for path in self.paths if any(one.name == name for one in self.definitions_of(path))]

    def definitions_of(self, path: str) -> Sequence[Definition]:
        found = facts(path, self.typed.get(path, self.texts[path]))
        return found.definitions if found else ()

    def uses_of(self, path: str) -> Mapping[str, Sequence[int]]:
        found = facts(path, self.typed.get(path, self.texts[path]))
        return found.uses if found else {}


@pytest.fixture
def shop() -> Shelf:
    return Shelf(dict(SHOP))


def found(corpus: Shelf, question: str = "", **options: object) -> list[str]:
    return [one.path for one in rank(corpus, question, **options)]


def why(corpus: Shelf, path: str, question: str = "", **options: object) -> dict[str, float]:
    return dict(next(one.reasons for one in rank(corpus, question, **options) if one.path == path))


def commits(*changed: tuple[str, ...]) -> History:
    return History("head", [Commit(f"{n:040}", 1, message, paths) for n, (message, *paths) in enumerate(changed)])


@pytest.mark.parametrize(
    ("question", "first", "reason"),
    [
        ("where is the weight of an item", "mail/price.py", SAID["content"]),
        ("the letter", "mail/letter.py", SAID["path"]),
        ("what does discounted do?", "shop/price.py", "defines discounted"),
        ("total is wrong in shop/cart.py", "shop/cart.py", SAID["named"]),
        ('File "/home/somebody/project/shop/till.py", line 5', "shop/till.py", SAID["named"]),
        (r"look at shop\till.py", "shop/till.py", SAID["named"]),
    ],
)
def test_a_question_finds_its_file_and_says_why(shop: Shelf, question: str, first: str, reason: str) -> None:
    assert found(shop, question)[0] == first
    assert reason in why(shop, first, question)


def test_scores_fall_and_are_the_sum_of_signs(shop: Shelf) -> None:
    answer = rank(shop, "the price of items in the cart")
    scores = [one.score for one in answer]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    for one in answer:
        parts = [part for _, part in one.reasons]
        assert parts == sorted(parts, reverse=True)
        assert sum(parts) <= one.score + 0.01
        assert parts


def test_the_same_question_has_the_same_answer(shop: Shelf) -> None:
    assert rank(shop, "price items name") == rank(Shelf(dict(reversed(SHOP.items()))), "price items name")


def test_no_more_files_are_given_than_wanted(shop: Shelf) -> None:
    assert len(rank(shop, "price items", limit=2)) == 2
    assert rank(shop, "price items", limit=0) == []


@pytest.mark.parametrize(
    "question", ["", "what is it?", "zxqv nonsense_here", "???", "x" * 100_000, "\0\ud800"], ids=len
)
def test_a_question_of_nothing_finds_nothing(shop: Shelf, question: str) -> None:
    assert rank(shop, question) == []


def test_an_empty_workspace_has_no_files() -> None:
    assert rank(Shelf({}), "price", open_paths=["gone.py"], names=["total"]) == []


def test_a_pasted_log_is_answered_by_its_rarest_words(shop: Shelf) -> None:
    log = " ".join(f"word{n} name price" for n in range(3000)) + " greeting"
    assert found(shop, log)[0] == "mail/letter.py"


def test_without_a_question_the_files_of_the_latest_commits_come_first(shop: Shelf) -> None:
    shop.history = commits(("a", "mail/letter.py"), ("b", "shop/till.py"))
    assert found(shop) == ["mail/letter.py", "shop/till.py"]
    assert set(why(shop, "mail/letter.py")) == {SAID["recency"]}


def test_messages_of_past_commits_find_files_that_do_not_have_the_word(shop: Shelf) -> None:
    assert rank(shop, "rounding") == []
    shop.history = commits(("mend the rounding", "shop/till.py"), *[("other", "empty.py")] * 5)
    shop.version += 1
    assert found(shop, "rounding")[0] == "shop/till.py"
    assert SAID["commits"] in why(shop, "shop/till.py", "rounding")


def test_names_that_are_asked_for_are_found_where_they_are_defined(shop: Shelf) -> None:
    assert found(shop, "why is it wrong", names=["charge"])[0] == "shop/till.py"
    assert "defines charge" in why(shop, "shop/till.py", names=["charge"])
    assert rank(shop, "", names=["no_such_name"]) == []


def test_around_an_open_file_lie_what_it_uses_and_what_uses_it(shop: Shelf) -> None:
    answer = found(shop, open_paths=["shop/cart.py"])
    assert set(answer[:3]) == {"shop/cart.py", "shop/price.py", "shop/till.py"}
    assert SAID["used"] in why(shop, "shop/price.py", open_paths=["shop/cart.py"])
    assert SAID["uses"] in why(shop, "shop/till.py", open_paths=["shop/cart.py"])
    assert SAID["folder"] in why(shop, "shop/till.py", open_paths=["shop/cart.py"])
    assert SAID["open"] in why(shop, "shop/cart.py", open_paths=["shop/cart.py"])


def test_what_is_typed_in_an_open_file_ties_it_to_others_at_once(shop: Shelf) -> None:
    assert SAID["used"] in why(shop, "shop/price.py", open_paths=["shop/cart.py"])
    shop.typed["shop/cart.py"] = "def total(items):\n    return greeting(items)\n"
    shop.version += 1
    assert SAID["used"] in why(shop, "mail/letter.py", open_paths=["shop/cart.py"])
    assert SAID["used"] not in why(shop, "shop/price.py", open_paths=["shop/cart.py"])


def test_folders_are_near_through_others_that_have_no_files_of_their_own() -> None:
    places = ("a.txt", "x/y/b.txt", "x/y/z/c.txt", "x/w/d.txt", "x/w/v/e.txt", "x/y/z/u/f.txt", "x/y/z/u/t/g.txt")
    corpus = Shelf(dict.fromkeys(places, "x\n"))
    near = signs.read(corpus, "", open_paths=["x/y/b.txt"]).values["folder"]
    # 2 up from x/y is the workspace itself; d lies beside, e further; the open file itself does not count.
    assert dict(zip(corpus.paths, near.tolist(), strict=True)) == {
        **dict.fromkeys(places, 0.0), "a.txt": 0.25, "x/y/z/c.txt": 0.5, "x/w/d.txt": 0.25, "x/y/z/u/f.txt": 0.25,
    }  # fmt: skip


def test_files_that_were_changed_with_the_open_one_are_near(shop: Shelf) -> None:
    shop.history = commits(("x", "shop/cart.py", "mail/letter.py"), ("y", "shop/cart.py", "mail/letter.py"))
    assert SAID["together"] in why(shop, "mail/letter.py", open_paths=["shop/cart.py"])
    assert found(shop, open_paths=["shop/cart.py"]).index("mail/letter.py") < 4


def test_a_file_with_the_rare_words_of_the_open_one_is_near_it(shop: Shelf) -> None:
    shop.put(
        {"a.txt": "the zymurgy of cellars, and prices", "far/off/away/b.txt": "cellars of zymurgy", "c.txt": "prices"}
    )
    answer = why(shop, "far/off/away/b.txt", open_paths=["a.txt"])
    assert answer[SAID["alike"]] == WEIGHTS["alike"]
    assert SAID["alike"] not in why(shop, "a.txt", open_paths=["a.txt"])
    shop.typed["a.txt"] = "nothing of that kind"
    shop.version += 1
    assert "far/off/away/b.txt" not in found(shop, open_paths=["a.txt"])


def test_words_of_the_question_that_the_open_file_has_too_count_more(shop: Shelf) -> None:
    shop.put({"a.txt": "zymurgy", "b/b.txt": "zymurgy here", "c/c.txt": "cellars here"})
    assert SAID["shared"] in why(shop, "b/b.txt", "zymurgy cellars", open_paths=["a.txt"])
    assert SAID["shared"] not in why(shop, "c/c.txt", "zymurgy cellars", open_paths=["a.txt"])


def test_the_text_of_an_open_file_counts_as_it_is_typed(shop: Shelf) -> None:
    assert "shop/till.py" not in found(shop, "voucher")
    shop.typed["shop/till.py"] = "def voucher(items):\n    return None\n"
    reasons = why(shop, "shop/till.py", "voucher", open_paths=["shop/till.py"])
    assert SAID["passage"] in reasons
    assert "defines voucher" in reasons
    shop.typed["shop/till.py"] = "def other(items):\n    return None\n"
    shop.version += 1
    assert SAID["passage"] not in why(shop, "shop/till.py", "voucher", open_paths=["shop/till.py"])


def test_what_changed_is_seen_and_what_went_is_gone(shop: Shelf) -> None:
    assert found(shop, "voucher") == []
    shop.put({"shop/voucher.py": "def redeem(): ...\n", "empty.py": "voucher\n"})
    assert set(found(shop, "voucher")) == {"shop/voucher.py", "empty.py"}
    del shop.texts["shop/voucher.py"]
    shop.put({"empty.py": ""})
    assert found(shop, "voucher") == []


def test_files_of_the_same_content_are_all_found(shop: Shelf) -> None:
    shop.put({"copy/letter.py": SHOP["mail/letter.py"]})
    assert {"copy/letter.py", "mail/letter.py"} <= set(found(shop, "greeting"))


def test_a_file_that_cannot_be_read_any_more_is_still_ranked(shop: Shelf) -> None:
    shop.text = lambda path: None
    assert found(shop, "greeting")[0] == "mail/letter.py"


def test_only_the_closest_files_are_read_and_each_only_once() -> None:
    corpus = Shelf({f"m{n}.py": f"shared = {n}\n" + "special = 1\n" * (n % 100 == 0) for n in range(400)})
    rank(corpus, "shared special")
    assert 0 < len(corpus.read) <= signs.CLOSE
    assert "m100.py" in corpus.read
    before = len(corpus.read)
    corpus.version += 1  # somebody typed elsewhere
    rank(corpus, "shared special")
    assert len(corpus.read) == before


def test_every_sign_has_a_weight_and_words_for_it() -> None:
    assert set(WEIGHTS) == set(SAID) | {"defines", "asked"}


def test_passages_are_found_where_the_words_stand() -> None:
    lines = ["nothing here"] * 300
    lines[205] = "def total(cart):"
    blocks = passages.Blocks.of("\n".join(lines))
    term = words.whole("total")
    ((best,),) = passages.best([blocks], {term: 1.0})
    assert best.first_line <= 206 <= best.last_line
    assert best.last_line - best.first_line == 59
    assert passages.best([blocks, passages.Blocks.of("")], {words.whole("nowhere"): 1.0}) == [[], []]
    assert len(passages.best([blocks], {words.whole("nothing"): 1.0}, most=4)[0]) == 4


@pytest.mark.parametrize("line", ["", "one_name\n", "def total(cart): return 1\n", "é漢 \r\n"], ids=repr)
def test_a_large_text_is_gone_on_with_where_its_beginning_ended(line: str) -> None:
    text = line * (passages.LARGEST // max(1, len(line))) + "x" * 7 + "name_that_is_cut" * 9000 + "\nand more\n"
    begun, whole = passages.Blocks.of(text).lines, passages.Lines.of(text)
    found = begun.continued(text)
    assert begun.digest != found.digest == whole.digest
    for one, other in ((found.terms, whole.terms), (found.ends, whole.ends), (found.words, whole.words)):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("number", [1, 19, 20, 21, 41, 59, 60, 61, 100, 101])
def test_every_line_belongs_to_some_passage(number: int) -> None:
    for at in {0, number // 2, number - 1}:
        lines = ["pad"] * number
        lines[at] = "total"
        found = passages.best([passages.Blocks.of("\n".join(lines))], {words.whole("total"): 1.0}, most=99)[0]
        assert found
        assert all(one.first_line <= at + 1 <= one.last_line for one in found)


def test_the_shelf_keeps_the_latest_only() -> None:
    shelf: LatestOnly[str] = LatestOnly(2)
    asked = [shelf.put(name, name) for name in ("a", "b", "a", "c", "a", "b") if shelf.get(name) is None]
    assert asked == ["a", "b", "c", "b"]


@given(st.text(alphabet=st.sampled_from("aB1_. \t\r\n\x0bé漢\udc80-"), max_size=60))
def test_the_words_of_each_line_are_those_of_the_line_alone(text: str) -> None:
    data = text.encode(errors="replace")
    terms, ends, number = words.by_line(data)
    alone = [words.in_order(line) for line in data.split(b"\n")]
    assert terms == b"".join(packed for packed, _ in alone) == words.in_order(data)[0]
    assert [int(end) << 2 for end in ends] == list(accumulate(len(packed) for packed, _ in alone))
    assert number.tolist() == list(accumulate(length for _, length in alone))
