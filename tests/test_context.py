"""What is chosen for a question: the pieces that say most, within the budget, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glm_lsp import prompt
from glm_lsp.index import pieces
from glm_lsp.index.context import Choice, Piece, choose, numbered
from glm_lsp.languages import facts
from glm_lsp.terms import Problem, Selection
from tests.indexes import built, opened
from tests.stories import project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.index.index import Index

PRICING = '''"""What things cost."""

import decimal


class Price:
    """An amount of money."""

    def __init__(self, amount):
        self.amount = amount

    def rounded(self):
        return round(self.amount, 2)


def apply_discount(price, rate):
    """Takes a part off."""
    return Price(price.amount * (1 - rate))


def with_tax(price, tax):
    return Price(price.amount * (1 + tax))
'''

CART = """from shop.pricing import apply_discount


class Cart:
    def __init__(self):
        self.items = []

    def add(self, item):
        self.items.append(item)

    def total(self, rate):
        return [apply_discount(item, rate) for item in self.items]
"""

CHECKOUT = '''from shop.cart import Cart


def pay(cart, rate):
    """Asks for money."""
    amounts = cart.total(rate)
    return sum(amounts)


def receipt(cart):
    return ["You bought"] + [str(one) for one in cart.items]
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    filler = "".join(f"def job_{n}(worker):\n    return worker.run({n})\n\n\n" for n in range(60))
    return project(
        tmp_path / "work",
        shop__pricing_py=PRICING,
        shop__cart_py=CART,
        shop__checkout_py=CHECKOUT,
        shop__jobs_py=filler,
        README_md="# The shop\n\nHow to sell things.\n",
        notes_txt="\n".join(f"line {n} of the notes about vouchers" if n == 90 else f"line {n}" for n in range(200)),
    )


@pytest.fixture
def index(root: Path, tmp_path: Path) -> Iterator[Index]:
    with built(root, tmp_path / "state") as made:
        yield made


def ask(index: Index, question: str, budget: int = 2000, **more: Any) -> Choice:
    return choose(index, question, budget=budget, count=prompt.count, **more)


def at(choice: Choice, path: str, line: int) -> Piece | None:
    """The piece, signatures apart, that shows a line."""
    return next(
        (
            piece
            for piece in choice.pieces
            if piece.path == path and not piece.numbers and piece.first_line <= line <= piece.last_line
        ),
        None,
    )


class TestWhatIsChosen:
    def test_the_definition_that_a_question_names_comes_whole_with_the_reason(self, index: Index) -> None:
        found = at(ask(index, "apply_discount rounds too late", 150), "shop/pricing.py", 16)
        assert found is not None
        assert "return Price(price.amount * (1 - rate))" in found.text
        assert found.reason.startswith("defines apply_discount")

    def test_words_that_are_no_names_find_what_speaks_of_them(self, index: Index) -> None:
        found = at(ask(index, "where do we write what somebody bought?", 150), "shop/checkout.py", 11)
        assert found is not None
        assert "bought" in found.reason

    def test_a_file_without_definitions_gives_the_lines_around_the_words(self, index: Index) -> None:
        found = at(ask(index, "vouchers", 900), "notes.txt", 91)
        assert found is not None
        assert found.kind == "chunk"
        assert found.last_line - found.first_line < pieces.CHUNK

    def test_signatures_are_those_lines_of_the_file(self, index: Index, root: Path) -> None:
        choice = ask(index, "job_7 of the worker", 700)
        (signatures,) = [piece for piece in choice.pieces if piece.path == "shop/jobs.py" and piece.numbers]
        lines = (root / "shop/jobs.py").read_text().splitlines()
        for number, line in zip(signatures.numbers, signatures.text.split("\n"), strict=True):
            assert line.strip() in lines[number - 1]
        assert not any(at(choice, "shop/jobs.py", number) for number in signatures.numbers), "not what is shown whole"
        assert numbered(signatures).startswith(f"{signatures.numbers[0]}|")

    def test_a_small_file_is_shown_whole_where_there_is_room(self, index: Index) -> None:
        choice = ask(index, "Cart add item", 2000)
        assert [(p.kind, p.first_line, p.last_line) for p in choice.pieces if p.path == "shop/cart.py"] == [
            ("file", 1, 12)
        ]

    def test_a_question_of_unknown_words_gets_nothing(self, index: Index) -> None:
        assert ask(index, "zebra crossing").pieces == ()
        assert ask(index, "").pieces == ()
        assert ask(index, "do it please").pieces == ()

    def test_files_to_leave_out_are_left_out(self, index: Index) -> None:
        choice = ask(index, "apply_discount", leave_out={"shop/pricing.py"})
        assert choice.pieces
        assert "shop/pricing.py" not in {piece.path for piece in choice.pieces}
        assert "shop/pricing.py" in {one.path for one in choice.considered}

    def test_a_test_counts_less_unless_it_is_asked_for(self, root: Path, tmp_path: Path) -> None:
        project(root, tests__test_checkout_py=CHECKOUT.replace("def pay", "def test_pay"))
        with built(root, tmp_path / "other") as index:
            first = {p.path: p.score for p in ask(index, "receipt of what you bought", 4000).pieces}
            assert first["shop/checkout.py"] > first["tests/test_checkout.py"]
            best = max(ask(index, "the test of pay, test_pay", 4000).pieces, key=lambda piece: piece.score)
            assert best.path == "tests/test_checkout.py"


class TestWhatIsPointedAt:
    def test_a_problem_brings_its_line_and_the_symbols_it_speaks_of(self, index: Index) -> None:
        problem = Problem("shop/checkout.py", 6, 20, "error", "pyright", "", 'Argument missing for "with_tax"')
        choice = ask(index, "mend it", problems=[problem])
        here, there = at(choice, "shop/checkout.py", 6), at(choice, "shop/pricing.py", 21)
        assert here is not None
        assert here.reason == "a problem is reported here"
        assert there is not None
        assert "defines with_tax" in there.reason

    def test_a_selection_brings_what_it_calls_and_who_calls_it(self, index: Index) -> None:
        choice = ask(index, "", selections=[Selection("shop/cart.py", 11, 12)])
        called, calling = at(choice, "shop/pricing.py", 16), at(choice, "shop/checkout.py", 6)
        assert called is not None
        assert "defines apply_discount" in called.reason
        assert calling is not None
        assert "calls total" in calling.reason

    def test_a_caret_in_a_function_stands_for_the_function(self, index: Index) -> None:
        choice = ask(index, "", selections=[Selection("shop/pricing.py", 18, 18)])
        calling = at(choice, "shop/cart.py", 12)
        assert calling is not None
        assert "calls apply_discount" in calling.reason

    def test_what_is_typed_and_not_saved_counts(self, index: Index) -> None:
        text = CART + "\n\ndef gift_wrap(cart):\n    return cart.items\n"
        index.overlay("shop/cart.py", text, facts("shop/cart.py", text))
        found = at(ask(index, "gift_wrap", open_paths=["shop/cart.py"]), "shop/cart.py", 15)
        assert found is not None
        assert "def gift_wrap(cart):" in found.text

    @pytest.mark.parametrize(
        "selection",
        [Selection("gone.py", 1, 2), Selection("shop/cart.py", 500, 900), Selection("notes.txt", 1, 1)],
        ids=["no file", "beyond the end", "no code"],
    )
    def test_pointing_at_nothing_is_no_trouble(self, index: Index, selection: Selection) -> None:
        problem = Problem(selection.path, selection.first_line, 1, "error", "", "", "undefined: apply_discount")
        assert ask(index, "the cart", selections=[selection], problems=[problem]).tokens <= 2000


class TestBudgetAndOrder:
    @pytest.mark.parametrize("budget", [0, 1, 30, 80, 150, 400, 1000, 5000, 100_000])
    @pytest.mark.parametrize(
        "question", ["apply_discount to the cart total", "worker run job", "vouchers in the notes"]
    )
    def test_it_is_kept_to_the_last_token(self, index: Index, budget: int, question: str) -> None:
        choice = ask(index, question, budget)
        real = sum(prompt.count(numbered(piece)) for piece in choice.pieces)
        assert real <= sum(piece.tokens for piece in choice.pieces) == choice.tokens <= budget

    def test_more_room_brings_more(self, index: Index) -> None:
        assert (
            ask(index, "apply_discount to the cart total", 2000).tokens > ask(index, "apply_discount", 100).tokens > 0
        )

    def test_pieces_stand_by_path_and_line_and_share_none(self, index: Index, root: Path) -> None:
        choice = ask(index, "cart total price rate worker items", 3000)
        assert [(p.path, p.first_line) for p in choice.pieces] == sorted((p.path, p.first_line) for p in choice.pieces)
        shown: set[tuple[str, int]] = set()
        for piece in choice.pieces:
            if piece.numbers:
                continue
            lines = {(piece.path, line) for line in range(piece.first_line, piece.last_line + 1)}
            assert not shown & lines
            shown |= lines
            text = (root / piece.path).read_text().split("\n")
            assert piece.text == "\n".join(text[piece.first_line - 1 : piece.last_line])

    def test_the_same_question_gives_the_same_bytes_in_another_process_s_index(
        self, index: Index, root: Path, tmp_path: Path
    ) -> None:
        first = ask(index, "cart total with discount")
        with opened(root, tmp_path / "another") as other:
            for path in reversed(index.listing.paths):  # learnt in another order
                other.refresh([path])
            other.build()
            second = ask(other, "cart total with discount")
        assert second.pieces == first.pieces == ask(index, "cart total with discount").pieces

    def test_a_file_that_went_since_is_passed_over(self, index: Index, root: Path) -> None:
        (root / "shop/pricing.py").unlink()
        assert "shop/pricing.py" not in {piece.path for piece in ask(index, "apply_discount").pieces}


OWN = sorted((Path(__file__).parent.parent / "glm_lsp").rglob("*.py"))


class TestCutting:
    @pytest.mark.parametrize("path", OWN[::7], ids=lambda path: path.name)
    def test_pieces_share_no_line_and_leave_out_only_what_says_nothing(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        lines = pieces.lines_of(text)
        known = facts(str(path), text)
        assert known is not None
        parts = pieces.cut(path.name, lines, known.definitions)
        shown = [line for part in parts for line in range(part.first_line, part.last_line + 1)]
        assert shown == sorted(set(shown))
        for number in set(range(1, len(lines) + 1)) - set(shown):
            inside = [d for d in known.definitions if d.first_line == number == d.last_line]
            assert not inside, f"line {number} defines {inside}"
        assert max(part.last_line - part.first_line for part in parts) < pieces.LONGEST
        named = {name for part in parts for name in part.names}
        assert {one.name for one in known.definitions if one.last_line > one.first_line + pieces.SHORT} <= named

    def test_a_small_class_is_one_piece_and_a_large_one_its_methods(self) -> None:
        def parts(methods: int) -> list[tuple[str, int, int]]:
            body = "".join(
                f"    def m{n}(self):\n        a = {n}\n        b = a\n        return b\n\n" for n in range(methods)
            )
            text = f"class Big:\n    kept = 1\n\n{body}"
            known = facts("a.py", text)
            assert known is not None
            cut = pieces.cut("a.py", pieces.lines_of(text), known.definitions)
            return [(part.title, part.first_line, part.last_line) for part in cut]

        assert parts(3) == [("Big", 1, 17)]
        assert parts(20)[:3] == [("Big", 1, 2), ("Big.m0", 4, 7), ("Big.m1", 9, 12)]

    def test_a_long_function_is_cut_and_only_its_beginning_has_its_name(self) -> None:
        text = "def long():\n" + "".join(f"    step_{n} = {n}\n" for n in range(300))
        known = facts("a.py", text)
        assert known is not None
        parts = pieces.cut("a.py", pieces.lines_of(text), known.definitions)
        assert ["long" in part.names for part in parts] == [True, False, False]
        assert {part.title for part in parts} == {"long"}

    @pytest.mark.parametrize("text", ["", "\n\n\n", "}\n{\n", "\r\n\r\n"])
    def test_nothing_to_say_is_no_piece(self, text: str) -> None:
        assert pieces.cut("a.py", pieces.lines_of(text), ()) == []

    def test_no_more_of_a_text_is_looked_at_than_has_numbers(self) -> None:
        text = "line\r\n" * pieces.LARGEST
        assert pieces.beginning(text, pieces.lines_of(text)) == text.removesuffix("\n")
        assert pieces.beginning(text + "more\n", pieces.lines_of(text)) == text.removesuffix("\n")
        assert pieces.beginning("a\r\nb\n", ["a", "b"]) == "a\r\nb\n"

    def test_lines_end_as_everywhere(self) -> None:
        assert pieces.lines_of("a\r\nb\n") == ["a", "b"]
        assert pieces.lines_of("a\nb") == ["a", "b"]
