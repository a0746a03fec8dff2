"""A person decides on a proposal while they type: what they accept stands where it belongs, or stays out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glm_lsp.conversations import Conversation
from glm_lsp.edits.draft import Draft
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.edits.review import Review, Reviews, write
from glm_lsp.engine.scripted import ScriptedEngine, said
from glm_lsp.errors import Conflict, NotText, UsageError
from glm_lsp.settings import EditSettings, Settings
from glm_lsp.terms import Ask, FileChange, Hunk, Proposal, Proposed, ToolReturned
from glm_lsp.workspace import Workspace
from tests.stories import edit, project

if TYPE_CHECKING:
    from pathlib import Path

    from glm_lsp.edits.review import Resolution

CART = """\
import os


class Cart:
    def total(self):
        return sum(self.items)

    def clear(self):
        self.items = []

    def count(self):
        return len(self.items)


def main():
    Cart().clear()
"""
BETTER = (
    CART.replace("return sum(self.items)", "return round(sum(self.items), 2)")
    .replace("self.items = []", "self.items.clear()")
    .replace("    Cart().clear()", "    cart = Cart()\n    cart.clear()")
)


def proposal(*changes: FileChange, name: str = "p") -> Proposal:
    given = changes or (FileChange("cart.py", CART.encode(), BETTER.encode()),)
    return Proposal(name, "Better.", given, hunks=())


class Desk:
    """An editor with files open, and a person who decides."""

    def __init__(self, *changes: FileChange, **files: str) -> None:
        self.files: dict[str, str] = {name.replace("_", "."): text for name, text in files.items()} or {"cart.py": CART}
        self.review = Review(proposal(*changes))

    def live(self, path: str) -> str | None:
        return self.files.get(path)

    def take(self, *ids: str) -> Resolution:
        """Accepts, and has the editor make the edits, from the last to the first."""
        self.review.accept(ids or None)
        resolution = self.review.resolve(self.live)
        made = dict(self.files)
        for _, one in reversed(resolution.edits):
            text = made[one.path]
            made[one.path] = text[: one.span.start] + one.new + text[one.span.end :]
        for change in resolution.changes:
            before = self.files.get(change.path)
            assert change.before == (None if before is None else before.encode())
            if change.after is None:
                del made[change.path]
            elif change.before is None:
                made[change.path] = change.after.decode()
            assert change.after is None or made[change.path] == change.after.decode(), "edits and changes are the same"
        self.files = made
        self.review.settled(resolution)
        return resolution

    @property
    def states(self) -> list[str]:
        return [piece.state for piece in self.review.pieces]

    @property
    def text(self) -> str:
        return self.files["cart.py"]


def test_pieces_have_names_that_stay_and_tell_what_they_change():
    desk = Desk()
    assert [piece.id for piece in desk.review.pieces] == ["p:1", "p:2", "p:3"]
    assert [piece.hunk.old_line for piece in desk.review.pieces] == [6, 9, 16]
    assert desk.states == ["proposed"] * 3
    desk.take("p:2")
    assert [piece.id for piece in desk.review.pieces] == ["p:1", "p:2", "p:3"]
    assert desk.states == ["proposed", "applied", "proposed"]


def test_all_of_it_on_the_text_it_was_made_from_is_the_proposal():
    desk = Desk()
    resolution = desk.take()
    assert desk.text == BETTER
    assert resolution.changes == (FileChange("cart.py", CART.encode(), BETTER.encode()),)
    assert (resolution.applied, resolution.stale, resolution.left) == (("p:1", "p:2", "p:3"), (), ())
    assert resolution.objections == ()
    assert not desk.review.open


@pytest.mark.parametrize("order", ["123", "321", "213", "231"])
def test_pieces_are_taken_over_in_rounds_while_the_person_types_on(order: str):
    desk = Desk()
    typed = [
        ("import os\n", "import os\nimport sys\n"),
        ("def count(self):", "def size(self):"),
        ("def main", "def run"),
    ]
    for number, (old, new) in zip(order, typed, strict=True):
        desk.take(f"p:{number}")
        desk.files["cart.py"] = desk.text.replace(old, new)
    expected = BETTER
    for old, new in typed:
        expected = expected.replace(old, new)
    assert desk.text == expected
    assert desk.states == ["applied"] * 3


def test_typing_inside_a_piece_makes_it_stale_and_leaves_the_others():
    desk = Desk()
    desk.files["cart.py"] = typed = CART.replace("sum(self.items)", "sum(self.items) + 1")
    resolution = desk.take()
    assert (resolution.applied, resolution.stale) == (("p:2", "p:3"), ("p:1",))
    assert desk.text == BETTER.replace("round(sum(self.items), 2)", "sum(self.items) + 1")
    assert desk.states == ["stale", "applied", "applied"]
    assert desk.review.open
    desk.files["cart.py"] = desk.text.replace(" + 1", "")  # thought better of it
    assert desk.take("p:1").applied == ("p:1",)
    assert desk.text == BETTER
    assert typed != CART


def test_what_the_person_did_themselves_is_there_already():
    desk = Desk(cart_py=CART.replace("self.items = []", "self.items.clear()"))
    resolution = desk.take()
    assert (resolution.applied, resolution.there) == (("p:1", "p:3"), ("p:2",))
    assert desk.text == BETTER
    assert desk.states == ["applied"] * 3


def test_accepting_twice_does_nothing_the_second_time():
    desk = Desk()
    desk.take("p:1")
    text = desk.text
    desk.review.accept(["p:1"])
    assert desk.states[0] == "applied"
    resolution = desk.take("p:1")
    assert (resolution.changes, resolution.edits, resolution.applied, resolution.there) == ((), (), (), ())
    assert resolution.left == ("p:2", "p:3")
    assert desk.text == text


def test_what_the_editor_refuses_is_still_accepted_and_comes_again():
    desk = Desk()
    desk.review.accept(["p:1"])
    first = desk.review.resolve(desk.live)
    desk.files["cart.py"] = "# new\n" + CART  # a key was faster than the edit
    second = desk.review.resolve(desk.live)
    assert (first.applied, second.applied) == (("p:1",), ("p:1",))
    assert second.changes[0].before == desk.text.encode()
    assert second.edits[0][1].span.start == first.edits[0][1].span.start + len("# new\n")


def test_accepting_after_rejecting_and_rejecting_after_applying():
    desk = Desk()
    desk.review.reject()
    assert desk.states == ["rejected"] * 3
    assert not desk.review.open
    assert desk.review.resolve(desk.live).changes == ()
    desk.take("p:2")
    assert desk.states == ["rejected", "applied", "rejected"]
    desk.review.reject()
    assert desk.states == ["rejected", "applied", "rejected"]
    desk.take()
    assert desk.states == ["rejected", "applied", "rejected"], "accepting the rest does not mean what was rejected"


def test_after_an_undo_a_piece_can_be_decided_on_again():
    desk = Desk()
    desk.take()
    desk.files["cart.py"] = CART
    desk.review.reopen(["p:1", "p:3"])
    assert [place.id for place in desk.review.pending(desk.live)] == ["p:1", "p:3"]
    desk.take("p:1")
    assert "round(" in desk.text
    assert "Cart().clear()" in desk.text
    desk.review.reopen()
    assert desk.states == ["proposed"] * 3


@pytest.mark.parametrize("decide", ["accept", "reject", "reopen"])
def test_a_name_that_is_not_there_is_said(decide: str):
    review = Review(proposal())
    with pytest.raises(UsageError, match="p:9"):
        getattr(review, decide)(["p:1", "p:9"])
    assert {piece.state for piece in review.pieces} == {"proposed"}


# --- whole files ----------------------------------------------------------------------------------------------------

NEW = FileChange("new.py", None, b"x = 1\n")
GONE = FileChange("old.py", b"y = 1\n", None)


def test_a_new_file_and_a_deleted_one_are_one_piece_each():
    desk = Desk(NEW, GONE, old_py="y = 1\n")
    assert [(piece.id, piece.whole) for piece in desk.review.pieces] == [("p:1", True), ("p:2", True)]
    assert desk.review.pieces[0].hunk == Hunk("new.py", 1, 1, (), ("x = 1",))
    resolution = desk.take()
    assert resolution.changes == (NEW, GONE)
    assert resolution.edits == ()
    assert desk.files == {"new.py": "x = 1\n"}


@pytest.mark.parametrize(
    ("change", "files", "expected"),
    [
        pytest.param(NEW, {}, "applied", id="new"),
        pytest.param(NEW, {"new_py": "x = 1\n"}, "there", id="new, and there already"),
        pytest.param(NEW, {"new_py": "x = 2\n"}, "stale", id="new, and another one is there"),
        pytest.param(NEW, {"new_py": ""}, "stale", id="new, and an empty one is there"),
        pytest.param(FileChange("__init__.py", None, b""), {}, "applied", id="new and empty"),
        pytest.param(GONE, {"old_py": "y = 1\n"}, "applied", id="deleted"),
        pytest.param(GONE, {"old_py": "y = 2\n"}, "stale", id="deleted, and typed in since"),
        pytest.param(GONE, {"other_py": ""}, "there", id="deleted, and gone already"),
        pytest.param(FileChange("a.bin", b"\0", b"\1\0"), {"a_bin": "x"}, "stale", id="nothing that is text"),
    ],
)
def test_whole_files_come_and_go_only_where_nobody_else_did(change: FileChange, files: dict[str, str], expected: str):
    desk = Desk(change, **(files or {"other_py": "z\n"}))
    before = dict(desk.files)
    resolution = desk.take()
    assert getattr(resolution, expected) == ("p:1",)
    assert (resolution.changes == (change,)) == (expected == "applied")
    assert expected == "applied" or desk.files == before


@pytest.mark.parametrize("files", [{"other_py": ""}, {"basket_py": CART}], ids=["deleted", "renamed"])
def test_nothing_fits_into_a_file_that_has_gone(files: dict[str, str]):
    desk = Desk(**files)
    before = dict(desk.files)
    assert {place.stale for place in desk.review.pending(desk.live)} == {True}
    resolution = desk.take()
    assert resolution.stale == ("p:1", "p:2", "p:3")
    assert resolution.changes == ()
    assert desk.files == before


def test_nothing_fits_into_a_file_that_cannot_be_read_any_more():
    def live(path: str) -> str:
        raise NotText(f"{path} is binary.")

    review = Review(proposal(FileChange("cart.py", CART.encode(), BETTER.encode()), NEW, GONE))
    review.accept()
    resolution = review.resolve(live)
    assert resolution.stale == ("p:1", "p:2", "p:3", "p:4", "p:5")
    assert resolution.changes == ()


# --- what a part of it breaks, and how it is written -----------------------------------------------------------------


def test_a_part_that_needs_the_rest_is_made_and_objected_to():
    desk = Desk(FileChange("cart.py", b"a = 1\n\n2\n", b"a = (1,\n\n2)\n"), cart_py="a = 1\n\n2\n")
    resolution = desk.take("p:1")
    assert [objection.kind for objection in resolution.objections] == ["syntax"]
    assert desk.text == "a = (1,\n\n2\n"
    assert desk.take("p:2").objections == ()


def test_a_definition_that_a_piece_removes_in_plain_sight_is_no_objection_and_one_that_it_hides_is():
    after = CART.replace("    def clear(self):\n        self.items = []\n\n", "")
    assert Desk(FileChange("cart.py", CART.encode(), after.encode())).take().objections == ()
    after = CART.replace("import os\n", 'import os\n"""\n').replace("return len(", '"""\n        return len(')
    resolution = Desk(FileChange("cart.py", CART.encode(), after.encode())).take("p:1")
    assert resolution.objections
    assert {objection.kind for objection in resolution.objections} <= {"syntax", "lost-symbol"}


def test_a_definition_is_found_again_below_a_piece_that_grew():
    after = "# long\n" * 40 + CART.replace("    def clear(self):\n        self.items = []\n\n", "")
    desk = Desk(FileChange("cart.py", CART.encode(), after.encode()))
    assert len(desk.review.pieces) == 2
    assert desk.take().objections == ()


def test_a_broken_new_file_is_objected_to():
    resolution = Desk(FileChange("new.py", None, b"def f(:\n"), other_py="").take()
    assert [objection.kind for objection in resolution.objections] == ["syntax"]


@pytest.mark.parametrize(
    ("before", "after", "live", "result"),
    [
        pytest.param(b"a\r\nb\r\nc\r\n", b"a\r\nb\r\nC\r\n", "A\r\nb\r\nc\r\n", b"A\r\nb\r\nC\r\n", id="CRLF"),
        pytest.param(b"a\nb\nc\n", b"a\nb\nC\n", "A\r\nb\r\nc\r\n", b"A\r\nb\r\nC\r\n", id="saved with CRLF since"),
        pytest.param(b"a\r\nb\r\nc\r\n", b"a\r\nb\r\nC\r\n", "A\nb\nc\n", b"A\nb\nC\n", id="saved with LF since"),
        pytest.param(b"\xef\xbb\xbfa\nb\nc", b"\xef\xbb\xbfa\nb\nC", "A\nb\nc", b"\xef\xbb\xbfA\nb\nC", id="a mark"),
        pytest.param(
            "a\nb\nc\n".encode("utf-16"), "a\nb\né\n".encode("utf-16"), "A\nb\nc\n", "A\nb\né\n".encode("utf-16"),
            id="utf-16",
        ),
        pytest.param(b"", b"a\n", "", b"a\n", id="an empty file"),
    ],
)  # fmt: skip
def test_bytes_are_those_of_the_file(before: bytes, after: bytes, live: str, result: bytes):
    review = Review(proposal(FileChange("f.txt", before, after)))
    review.accept()
    (change,) = review.resolve(lambda _: live).changes
    assert change.after == result


def test_what_the_encoding_cannot_hold_is_left_out_and_said():
    before, after = (f"# coding: latin-1\n# b\n# c\nx = '{x}'\n".encode("latin-1") for x in "aé")
    review = Review(proposal(FileChange("l.py", before, after)))
    review.accept()
    resolution = review.resolve(lambda _: "# coding: latin-1\n# 日\n# c\nx = 'a'\n")
    assert (resolution.changes, resolution.stale) == ((), ("p:1",))
    assert [objection.kind for objection in resolution.objections] == ["encoding"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py=CART)


def test_a_part_is_written_to_the_disk_and_taken_back_in_one_step(root: Path, tmp_path: Path):
    journal, jail = Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")}), Jail(root)
    draft = Draft(jail, EditSettings())
    review = Review(proposal(FileChange("cart.py", CART.encode(), BETTER.encode()), NEW))
    review.accept(["p:2", "p:4"])
    (root / "cart.py").write_text("# saved meanwhile\n" + CART)
    resolution = review.resolve(draft.live)

    with pytest.raises(Conflict, match=r"cart\.py has unsaved changes in an editor"):
        write(resolution, root, journal=journal, jail=jail, label="x", unsaved={"cart.py"})
    assert journal.runs() == ()
    run = write(resolution, root, journal=journal, jail=jail, label="x", unsaved={"other.py"})

    expected = "# saved meanwhile\n" + CART.replace("self.items = []", "self.items.clear()")
    assert (root / "cart.py").read_text() == expected
    assert (root / "new.py").read_text() == "x = 1\n"
    assert [run.id for run in journal.runs()] == [run]
    journal.undo(run)
    assert (root / "cart.py").read_text() == "# saved meanwhile\n" + CART
    assert not (root / "new.py").exists()


def test_a_save_between_deciding_and_writing_is_a_conflict(root: Path, tmp_path: Path):
    journal, jail = Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")}), Jail(root)
    review = Review(proposal())
    review.accept()
    resolution = review.resolve(Draft(jail, EditSettings()).live)
    (root / "cart.py").write_text("# saved just now\n" + CART)
    with pytest.raises(Conflict):
        write(resolution, root, journal=journal, jail=jail, label="x")
    assert (root / "cart.py").read_text() == "# saved just now\n" + CART


# --- several proposals, code lenses, and the model ------------------------------------------------------------------


def test_two_proposals_for_one_file_are_taken_over_one_after_the_other():
    reviews = Reviews()
    desk = Desk()
    first = reviews.add(proposal(FileChange("cart.py", CART.encode(), BETTER.encode()), name="a"))
    other = CART.replace("len(self.items)", "len(list(self.items))").replace("sum(", "min(")
    second = reviews.add(proposal(FileChange("cart.py", CART.encode(), other.encode()), name="b"))
    assert [place.id for place in reviews.pending(desk.live)] == ["a:1", "a:2", "a:3", "b:1", "b:2"]
    desk.review = first
    desk.take()
    desk.review = second
    resolution = desk.take()
    assert (resolution.applied, resolution.stale) == (("b:2",), ("b:1",))
    assert desk.text == BETTER.replace("len(self.items)", "len(list(self.items))")
    assert [(place.id, place.stale) for place in reviews.pending(desk.live)] == [("b:1", True)]


def test_pending_pieces_move_with_the_text_and_go_once_they_are_decided():
    desk = Desk(FileChange("cart.py", CART.encode(), BETTER.encode()), NEW)
    assert [(p.path, p.line, p.id) for p in desk.review.pending(desk.live)] == [
        ("cart.py", 6, "p:1"),
        ("cart.py", 9, "p:2"),
        ("cart.py", 16, "p:3"),
        ("new.py", 1, "p:4"),
    ]
    desk.files["cart.py"] = "# one\n# two\n" + CART
    desk.review.reject(["p:2"])
    desk.take("p:3")
    assert [(p.line, p.id) for p in desk.review.pending(desk.live, "cart.py")] == [(8, "p:1")]
    assert [p.id for p in desk.review.pending(desk.live)] == ["p:1", "p:4"]
    desk.files["cart.py"] = desk.text.replace("return sum(self.items)", "return 0")
    assert [(p.line, p.stale) for p in desk.review.pending(desk.live, "cart.py")] == [(8, True)]
    desk.files["cart.py"] = desk.text.replace("return 0", "return round(sum(self.items), 2)")
    assert desk.review.pending(desk.live, "cart.py") == ()


def test_the_latest_proposals_are_kept_and_found_by_their_pieces():
    reviews = Reviews(most=2)
    for name in ("a", "b", "c"):
        reviews.add(proposal(name=name))
    assert [review.id for review in reviews] == ["b", "c"]
    assert reviews.get("c").id == reviews.get("c:2").id == "c"
    for gone in ("a", "a:1", "", "x"):
        with pytest.raises(UsageError):
            reviews.get(gone)
    reviews.get("b").accept()
    assert {piece.state for piece in reviews.add(proposal(name="b")).pieces} == {"proposed"}
    assert [review.id for review in reviews] == ["c", "b"]
    reviews.drop("c")
    reviews.drop("c")
    assert [review.id for review in reviews] == ["b"]
    assert Reviews().pending(lambda _: None) == ()


def test_the_model_is_told_what_was_not_taken_over():
    desk = Desk(FileChange("cart.py", CART.encode(), BETTER.encode()), NEW)
    assert desk.review.note() == ""
    desk.files["cart.py"] = CART.replace("Cart().clear()", "Cart().count()")
    desk.review.accept(["p:3"])
    desk.take("p:1")
    desk.review.reject(["p:4"])
    assert desk.review.note() == (
        "The person took over 1 of 4 changes; not taken over: new.py (the new file); "
        "without a place, since these lines changed in the meantime: cart.py line 16 (cart = Cart()); "
        "not decided yet: cart.py line 9 (self.items.clear())."
    )
    desk.review.reject()
    assert desk.review.note().startswith("The person took over 1 of 4 changes; not taken over: cart.py line 9 (")


def test_the_note_is_short_where_there_is_little_or_much_to_say():
    desk = Desk()
    desk.take()
    assert desk.review.note() == "The person took over all 3 changes."
    after = b"".join(b"x%d\n%d\n" % (n, n) for n in range(30))
    review = Review(proposal(FileChange("f.txt", b"".join(b"%d\n" % n for n in range(30)), after)))
    review.reject()
    assert review.note().startswith("The person took over none of 30 changes; not taken over: f.txt line 1 (x0), ")
    assert review.note().endswith(" and 10 more.")
    single = Desk(NEW, other_py="")
    single.take()
    assert single.review.note() == "The person took over your change."


# --- a whole story --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "applied", "expected"),
    [
        pytest.param("# above\n" + CART, 3, "# above\n" + BETTER, id="above"),
        pytest.param(CART.replace("len(self.items)", "0"), 3, BETTER.replace("len(self.items)", "0"), id="between"),
        pytest.param(
            CART + "\n\nmain()\n",
            2,
            BETTER.replace("    cart = Cart()\n    cart.clear()", "    Cart().clear()") + "\n\nmain()\n",
            id="right below the last piece",
        ),
        pytest.param(
            CART.replace("self.items = []", "self.items = [] # all"),
            2,
            BETTER.replace("self.items.clear()", "self.items = [] # all"),
            id="inside",
        ),
        pytest.param(BETTER, 0, BETTER, id="the same"),
    ],
)
async def test_the_person_types_while_the_turn_runs(root: Path, typed: str, applied: int, expected: str):
    shown = {"cart.py": CART}
    workspace = Workspace.open(root, Settings())
    draft = workspace.draft(shown.get)
    engine = ScriptedEngine(
        [
            said(calls=[("read_file", {"file_path": "cart.py"})]),
            said(
                calls=[
                    edit("cart.py", "return sum(self.items)", "return round(sum(self.items), 2)"),
                    edit("cart.py", "self.items = []", "self.items.clear()"),
                    edit("cart.py", "    Cart().clear()", "    cart = Cart()\n    cart.clear()"),
                ]
            ),
            said("Done."),
        ]
    )
    turn = workspace.turn(Ask("refactor", "Better."), engine, draft=draft, conversation=Conversation())
    reviews = Reviews()
    async for event in turn.run():
        if isinstance(event.what, ToolReturned):
            shown["cart.py"] = typed
        if isinstance(event.what, Proposed):
            reviews.add(event.what.proposal)
    (review,) = reviews
    assert [piece.hunk for piece in review.pieces] == list(review.proposal.hunks)
    review.accept()
    resolution = review.resolve(draft.live)
    assert len(resolution.applied) == applied
    made = resolution.changes[0].after if resolution.changes else shown["cart.py"].encode()
    assert made == expected.encode()
    assert resolution.objections == ()
    assert (root / "cart.py").read_text() == CART
