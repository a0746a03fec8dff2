"""Three texts: a proposal comes onto what a person typed meanwhile in its one place, or not at all."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glm_lsp.edits.hunks import hunks
from glm_lsp.edits.merge import rebase, spelled_as
from glm_lsp.edits.text import Text

BASE = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"


def fates(base: str, proposed: str, live: str) -> list[str]:
    return [place.fate for place in rebase(base, proposed, live).places]


@pytest.mark.parametrize(
    ("live", "text", "line"),
    [
        pytest.param(BASE, BASE.replace("four", "FOUR"), 4, id="nothing typed"),
        pytest.param("zero\n" + BASE, "zero\n" + BASE.replace("four", "FOUR"), 5, id="typed above"),
        pytest.param(BASE + "eight\n", BASE.replace("four", "FOUR") + "eight\n", 4, id="typed below"),
        pytest.param(
            BASE.replace("one\n", ""), BASE.replace("one\n", "").replace("four", "FOUR"), 3, id="removed above"
        ),
        pytest.param(
            BASE.replace("two", "2").replace("six", "6"),
            BASE.replace("two", "2").replace("six", "6").replace("four", "FOUR"),
            4,
            id="changed around",
        ),
        pytest.param(BASE[:-1], BASE[:-1].replace("four", "FOUR"), 4, id="the final newline removed"),
        pytest.param(BASE + "four\n", BASE.replace("four", "FOUR") + "four\n", 4, id="the same words elsewhere"),
        pytest.param("four\n" + BASE, "four\n" + BASE.replace("four", "FOUR"), 5, id="the same words above"),
    ],
)
def test_a_hunk_follows_what_was_typed_around_it(live: str, text: str, line: int):
    merged = rebase(BASE, BASE.replace("four", "FOUR"), live)
    (place,) = merged.places
    assert merged.text == text
    assert (place.fate, place.line) == ("fits", line)
    assert place.span is not None
    assert live[: place.span.start] + place.new + live[place.span.end :] == text


@pytest.mark.parametrize(
    "live",
    [
        pytest.param(BASE.replace("four", "vier"), id="the line itself"),
        pytest.param(BASE.replace("four\n", ""), id="the line removed"),
        pytest.param(BASE.replace("four\n", "x\nfour\n"), id="a line just above"),
        pytest.param(BASE.replace("four\n", "four\nx\n"), id="a line just below"),
        pytest.param(BASE.replace("three", "drei"), id="the line above changed"),
        pytest.param(BASE.replace("five", "fünf"), id="the line below changed"),
        pytest.param("", id="everything removed"),
        pytest.param("quite\nanother\ntext\n", id="everything rewritten"),
        pytest.param(BASE.replace("four\n", "four\nfive\nsix\nfour\n"), id="a copy pasted below"),
        pytest.param(BASE.replace("\n", "\r\n"), id="all line endings"),
        pytest.param("one\ntwo\nthree\nfive\nsix\nfour\nseven\n", id="moved down"),
    ],
)
def test_a_hunk_whose_surroundings_were_touched_is_stale_and_the_text_is_left(live: str):
    merged = rebase(BASE, BASE.replace("four", "FOUR"), live)
    assert merged.text == live
    assert not merged.clean
    assert [(place.fate, place.span) for place in merged.places] == [("stale", None)]
    assert 1 <= merged.places[0].line <= live.count("\n") + 1


def test_what_the_person_typed_themselves_is_done():
    live = "zero\n" + BASE.replace("four", "FOUR")
    merged = rebase(BASE, BASE.replace("four", "FOUR").replace("seven", "SEVEN"), live)
    assert [(place.fate, place.line) for place in merged.places] == [("done", 5), ("fits", 8)]
    assert merged.text == live.replace("seven", "SEVEN")


def test_only_chosen_hunks_are_put_into_the_text():
    proposed = BASE.replace("two", "TWO").replace("four", "FOUR").replace("six", "SIX")
    merged = rebase(BASE, proposed, "zero\n" + BASE, chosen={1})
    assert merged.text == "zero\n" + BASE.replace("four", "FOUR")
    assert [place.fate for place in merged.places] == ["fits"] * 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_hunks_that_stand_close_are_taken_over_one_by_one_in_any_order(order: tuple[int, ...]):
    """The neighbour that was taken over before is no edit of the person's, though it stands one line away."""
    base = "one\n\ntwo\n\nthree\n\nfour\n"
    proposed = "one\n\nhalf\n\ntwo\n\nTHREE\n\nmore\n\nfour\nfive\n"
    assert len(hunks("p", base, proposed)) == 3
    live, taken = base, set[int]()
    for number in order:
        merged = rebase(base, proposed, live, chosen={number}, taken=taken)
        assert merged.places[number].fate == "fits", number
        assert [merged.places[n].fate for n in taken] == ["done"] * len(taken)
        live = merged.text
        taken.add(number)
    assert live == proposed


@pytest.mark.parametrize(
    ("base", "proposed", "live", "text"),
    [
        pytest.param("a\r\nb\r\nc\r\nd\r\n", "a\r\nb\r\nc\r\nD\r\n", "A\r\nb\r\nc\r\nd\r\n", "A\r\nb\r\nc\r\nD\r\n", id="crlf"),
        pytest.param("a\nb\nc\nd", "a\nb\nc\nD", "A\nb\nc\nd", "A\nb\nc\nD", id="no final newline"),
        pytest.param("a\nb\nc\nd", "a\nb\nc\nd\n", "A\nb\nc\nd", "A\nb\nc\nd\n", id="a final newline comes"),
        pytest.param("a\nb\nc\nd", "a\nb\nc\nd\ne", "A\nb\nc\nd", "A\nb\nc\nd\ne", id="typed on at the end"),
        pytest.param("", "a\n", "", "a\n", id="an empty file"),
        pytest.param("a\n", "", "a\n", "", id="a file made empty"),
        pytest.param("", "", "a\n", "a\n", id="nothing proposed for an empty file"),
        pytest.param("\ufeffa\nb\nc\n", "\ufeffa\nb\nC\n", "\ufeffA\nb\nc\n", "\ufeffA\nb\nC\n", id="a mark in front"),
        pytest.param("a\rb\rc\rd\r", "a\rb\rc\rD\r", "A\rb\rc\rd\r", "A\rb\rc\rD\r", id="lone returns"),
        pytest.param("a\u2028b\nc\nd\n", "a\u2028B\nc\nd\n", "a\u2028b\nc\nD\n", "a\u2028B\nc\nD\n", id="a line separator is none"),
    ],
)  # fmt: skip
def test_every_kind_of_line_is_kept(base: str, proposed: str, live: str, text: str):
    merged = rebase(base, proposed, live)
    assert merged.clean
    assert merged.text == text


def test_a_text_that_was_saved_with_other_endings_is_met_in_them():
    base, proposed = "a\nb\nc\nd\n", "a\nb\nc\nD\n"
    live = "A\r\nb\r\nc\r\nd\r\n"
    assert spelled_as(live, base, proposed) == (base.replace("\n", "\r\n"), proposed.replace("\n", "\r\n"))
    assert rebase(*spelled_as(live, base, proposed), live).text == "A\r\nb\r\nc\r\nD\r\n"


@pytest.mark.parametrize(
    ("live", "base", "proposed"),
    [
        ("a\nb\r\n", "a\nb\n", "a\nc\n"),
        ("a\r\n", "a\nb\r\n", "a\nc\n"),
        ("a\r\nb\r\n", "a\nb\n", "a\r\nb\r\n"),
        ("", "a\n", "b\n"),
        ("a\n", "", "b\r\n"),
        ("a\n", "a\n", "b\n"),
    ],
)
def test_texts_with_endings_of_several_kinds_stay_as_they_are(live: str, base: str, proposed: str):
    assert spelled_as(live, base, proposed) == (base, proposed)


# --- any three texts ------------------------------------------------------------------------------------------------

LINES = ["a", "b", "c", "", "    return x", "}", *(f"line {number}" for number in range(8))]


@st.composite
def edited(draw: st.DrawFn, lines: list[str], words: str) -> list[str]:
    """The lines after a few edits, with words of one's own or those that are there."""
    out = list(lines)
    for number in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(out)))
        end = min(len(out), at + draw(st.integers(0, 3)))
        line = st.one_of(st.sampled_from(LINES), st.just(f"{words} {number}"))
        out[at:end] = draw(st.lists(line, max_size=3))
    return out


@st.composite
def threes(draw: st.DrawFn) -> tuple[str, str, str]:
    base = draw(st.lists(st.one_of(st.sampled_from(LINES), st.uuids().map(str)), max_size=14))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    whole = []
    for lines in (base, draw(edited(base, "proposed")), draw(edited(base, "typed"))):
        text = "".join(line + ending for line in lines)
        whole.append(text if draw(st.integers(0, 5)) else text.removesuffix(ending))
    return whole[0], whole[1], whole[2]


@settings(max_examples=300, deadline=None)
@given(threes())
def test_where_nothing_was_typed_the_proposal_comes_out_and_where_nothing_was_proposed_what_was_typed(
    texts: tuple[str, str, str],
):
    base, proposed, live = texts
    merged = rebase(base, proposed, base)
    assert merged.text == proposed
    assert [place.line for place in merged.places] == [hunk.old_line for hunk in hunks("p", base, proposed)]
    assert {place.fate for place in merged.places} <= {"fits"}
    assert rebase(base, base, live).text == live
    assert rebase(base, proposed, live, chosen=()).text == live
    assert rebase(base, proposed, proposed).text == proposed


@settings(max_examples=300, deadline=None)
@given(threes())
def test_it_does_not_matter_who_came_first(texts: tuple[str, str, str]):
    base, proposed, live = texts
    here, there = rebase(base, proposed, live), rebase(base, live, proposed)
    assert here.clean == there.clean
    if here.clean:
        assert here.text == there.text


@settings(max_examples=300, deadline=None)
@given(threes())
def test_every_hunk_is_put_where_its_place_says_and_nothing_else_is_touched(texts: tuple[str, str, str]):
    base, proposed, live = texts
    merged = rebase(base, proposed, live)
    made = live
    for place in reversed(merged.places):
        if place.span is not None:
            made = made[: place.span.start] + place.new + made[place.span.end :]
    assert made == merged.text
    assert len(merged.places) == len(hunks("p", base, proposed))


MIXED = st.lists(
    st.tuples(st.sampled_from(["", "a", "b", "é", "x y"]), st.sampled_from(["\n", "\r\n", "\r"])), max_size=10
)


@settings(max_examples=300, deadline=None)
@given(MIXED, MIXED, MIXED, st.sampled_from([("u1\n", "u2\r"), ("u1\r", "u2\r\n")]), st.booleans())
def test_two_line_endings_never_become_one(above, below, more, anchors: tuple[str, str], late: bool):
    """A line that ends with a lone return, put above an empty line, would swallow that one's newline."""
    first, last = anchors
    top, end, new = ("".join(line + ending for line, ending in part) for part in (above, below, more))
    base = f"{top}{first}{last}{end}"
    proposed, live = (f"{new}{first}{last}{end}", f"{top}{first}{last}{new}")
    if late:
        proposed, live = live, proposed
    merged = rebase(base, proposed, live)
    wanted = hunks("p", base, proposed)
    put = [hunk for hunk, place in zip(wanted, merged.places, strict=True) if place.fate == "fits"]
    grown = sum(len(hunk.added) - len(hunk.removed) for hunk in put)
    assert Text(merged.text).line_count == Text(live).line_count + grown


@st.composite
def apart(draw: st.DrawFn) -> tuple[str, str, str, str, list[bool]]:
    """Edits of two hands in a file whose lines all differ, at least one line apart, and what both make of it."""
    out: list[list[str]] = [[], [], [], []]
    owners: list[bool] = []
    for number in range(draw(st.integers(0, 8))):
        proposes = draw(st.booleans())
        old = [f"old {number}.{n}" for n in range(draw(st.integers(0, 3)))]
        new = [f"new {number}.{n}" for n in range(draw(st.integers(0 if old else 1, 3)))]
        kept = [f"kept {number}.{n}" for n in range(draw(st.integers(1, 3)))]
        owners.append(proposes)
        for text, changed in zip(out, (False, proposes, not proposes, True), strict=True):
            text += [*(new if changed else old), *kept]
    base, proposed, live, both = ("".join(f"{line}\n" for line in lines) for lines in out)
    return base, proposed, live, both, owners


@settings(max_examples=200, deadline=None)
@given(apart())
def test_edits_that_stand_apart_all_survive(case: tuple[str, str, str, str, list[bool]]):
    base, proposed, live, both, owners = case
    merged = rebase(base, proposed, live)
    assert merged.text == both
    assert [place.fate for place in merged.places] == ["fits"] * sum(owners)


@settings(max_examples=200, deadline=None)
@given(apart(), st.randoms(use_true_random=False))
def test_hunks_taken_over_in_any_order_make_the_whole(case: tuple[str, str, str, str, list[bool]], random):
    base, proposed, live, both, owners = case
    order = list(range(sum(owners)))
    random.shuffle(order)
    taken: set[int] = set()
    for number in order:
        merged = rebase(base, proposed, live, chosen={number}, taken=taken)
        assert merged.clean
        live = merged.text
        taken.add(number)
    assert live == both


def merged_by_git(base: str, proposed: str, live: str) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("live", "base", "proposed")]
        for path, text in zip(paths, (live, base, proposed), strict=True):
            path.write_bytes(text.encode())
        done = subprocess.run(["git", "merge-file", "-p", "-q", *paths], capture_output=True, check=False)
        assert done.returncode < 128, done.stderr
        return done.stdout.decode() if done.returncode == 0 else None


def lines(words: str) -> str:
    return "".join(f"{word}\n" for word in words.split())


@settings(max_examples=120, deadline=None)
@given(threes())
@example((lines("u0 u1 b c"), lines("u0 u1 c u2 b c b c b"), lines("u0 u1 b b u3 c")))
@example((lines("u0 d a c c b b a u1 a b c"), lines("u2 d d a d a c c b b a u1 a b b c"), lines("u0 d a a d c b b a u1 a b c")))  # fmt: skip
@example((lines("a u0 a c a b u1 c"), lines("u3 c a a u0 a u1 b u2"), lines("a u0 b c u4 a c a b u1 c")))
def test_nothing_is_merged_that_git_would_not_merge_or_would_merge_otherwise(texts: tuple[str, str, str]):
    merged = rebase(*texts)
    if merged.clean and merged.text != texts[2]:  # else there is nothing to merge
        assert merged.text == merged_by_git(*texts)


@pytest.mark.parametrize(
    ("base", "proposed", "live"),
    [
        pytest.param("b u1 c u2", "u2 a b", "b", id="which of two lines was kept"),
        pytest.param("u1 u2 b u3 c c b a", "u1 u2 b c u3 c a", "c b c u3 c c b a", id="nothing to hold on to"),
        pytest.param("u0 d a c c b u1", "u2 d a c c b u1", "u0 d a a d c b u1", id="an edit that may be one line up"),
    ],
)
def test_what_can_be_read_in_several_ways_is_stale(base: str, proposed: str, live: str):
    merged = rebase(lines(base), lines(proposed), lines(live))
    assert "stale" in [place.fate for place in merged.places]


def test_git_agrees_on_edits_that_stand_apart():
    base = "".join(f"{n}\n" for n in range(40))
    proposed = base.replace("\n5\n", "\nfive\n").replace("\n20\n", "\n")
    live = base.replace("\n12\n", "\n12\ntwelve and a half\n").replace("\n30\n", "\nthirty\n")
    assert rebase(base, proposed, live).text == merged_by_git(base, proposed, live)


def test_a_long_file_with_many_edits_keeps_all_of_them():
    base = "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(5_000))
    proposed = "".join(f"def {'g' if n % 50 == 0 else 'f'}{n}():\n    return {n}\n\n\n" for n in range(5_000))
    live = "".join(f"def f{n}():\n    return {n}{' # 25' if n % 50 == 25 else ''}\n\n\n" for n in range(5_000))
    merged = rebase(base, proposed, live)
    assert [place.fate for place in merged.places] == ["fits"] * 100
    assert (merged.text.count("def g"), merged.text.count("# 25")) == (100, 100)


def test_a_table_of_equal_lines_has_no_certain_places_and_what_stands_apart_from_it_does():
    base = "head\nnote\n" + "0,\n" * 50 + "note 2\ntail\n"
    live = base.replace("0,\n", "0,\n0,\n", 1)
    proposed = "top\nnote\n" + "0,\n" * 20 + "1,\n" + "0,\n" * 29 + "note 2\nend\n"
    assert fates(base, proposed, live) == ["fits", "stale", "fits"]
