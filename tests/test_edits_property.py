"""From random files and random edits to exact bytes, over the wire, however it is cut."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glm_lsp.edits.grow import GrowingHunk
from glm_lsp.edits.parse import ArgumentPiece, ArgumentStream
from glm_lsp.edits.place import Placed, place, splice
from glm_lsp.edits.text import Text, decode
from glm_lsp.engine.tags import TagParser
from glm_lsp.terms import Delta, HunkGrew, HunkOpened
from glm_lsp.tools import edit_file

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "src/a.py"
HOSTILE = [
    "</arg_value>",
    "</tool_call>",
    "=======",
    "<<<<<<< SEARCH",
    "$1 $& $$",
    r"\1 \g<0> \n \u00e9",
    "&lt;b&gt; &amp;",
    '{"a": "b"}',
    "  12|x",
    "```",
    "",
    "    ",
    "\tindented",
    "trailing  ",
]
NARROW = st.text(st.sampled_from("abé \t'\"\\{}<>/&;=\xa0\x85"), max_size=8)
WIDE = st.text(st.sampled_from("ab \té‘’“”–…日😀\u2028\x0b\x0c\x85\xa0'\"-."), max_size=8)


@dataclass(frozen=True)
class Case:
    """A file, the lines to replace in it, and the bytes that must come of it."""

    before: bytes
    after: bytes
    first: int
    run: list[str]
    old: str
    new: str
    new_lines: list[str]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    encoding, mark = draw(
        st.sampled_from(
            [
                ("utf-8", b""),
                ("utf-8", codecs.BOM_UTF8),
                ("utf-16-le", codecs.BOM_UTF16_LE),
                ("utf-16-be", codecs.BOM_UTF16_BE),
                ("latin-1", b""),
            ]
        )
    )
    line = st.one_of(NARROW if encoding == "latin-1" else WIDE, st.sampled_from(HOSTILE))
    head = ["# coding: latin-1"] if encoding == "latin-1" else []
    above = head + draw(st.lists(line, max_size=5))
    run = draw(st.lists(line, min_size=1, max_size=4))
    marked = draw(st.integers(0, len(run) - 1))
    run[marked] = f"{run[marked]}anchor()"
    below = draw(st.lists(line, max_size=5))
    new_lines = [new for new in draw(st.lists(line, max_size=5)) if new.rstrip() not in {old.rstrip() for old in run}]

    lines = above + run + below
    kinds = draw(st.sampled_from([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"], ["\n", "\r\n"]]))
    ends = [draw(st.sampled_from(kinds)) for _ in lines]
    for index, (upper, lower) in enumerate(pairwise([*lines, "x"])):
        if index + 1 < len(ends) and ends[index] == "\r" and not lower and upper is not None:
            ends[index + 1] = ends[index + 1].replace("\n", "") or "\r"  # or the two would be one terminator
    if draw(st.booleans()) and lines[-1]:
        ends[-1] = ""

    def whole(rows: list[str], tails: list[str]) -> bytes:
        return mark + "".join(map("".join, zip(rows, tails, strict=True))).encode(encoding)

    first, last = len(above), len(above) + len(run)
    dominant = Text("".join(map("".join, zip(lines, ends, strict=True)))).newline
    near = ends[first - 1] if first else next((end for end in ends[first:last] if end), dominant)
    tails: list[str] = []
    for index in range(len(new_lines)):
        near = ends[first:last][min(index, len(run) - 1)] or near
        tails.append(near)
    rest = [*ends[:first], *tails, *ends[last:]]
    if rest and not ends[-1]:
        rest[-1] = ""
    return Case(
        whole(lines, ends),
        whole([*above, *new_lines, *below], rest),
        first,
        run,
        _joined(run, draw(st.booleans())),
        _joined(new_lines, draw(st.booleans())),
        new_lines,
    )


def _joined(lines: list[str], final: bool) -> str:
    text = "\n".join(lines)
    return f"{text}\n" if lines and (final or not lines[-1]) else text


def as_json(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def as_ascii_json(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments)


def as_tags(arguments: dict[str, Any]) -> str:
    pairs = (f"<arg_key>{key}</arg_key><arg_value>{value}</arg_value>" for key, value in arguments.items())
    return f"<tool_call>edit_file{''.join(pairs)}</tool_call>"


def out_of_tags(fragments: list[str]) -> list[str]:
    """What the engine's client makes of GLM's own form, where no server has parsed it."""
    parser = TagParser([edit_file.TOOL.spec])
    deltas = [delta for fragment in fragments for delta in parser.feed(Delta(text=fragment))]
    deltas += parser.feed(Delta(finish="stop"))
    assert deltas[-1].finish == "tool_calls"
    assert "".join(delta.text for delta in deltas) == ""
    return [call.arguments for delta in deltas for call in delta.tool_calls]


RENDERINGS: list[Callable[[dict[str, Any]], str]] = [as_json, as_ascii_json, as_tags]


def cut(text: str, points: list[int]) -> list[str]:
    """The text in fragments, cut at these points (taken modulo its length)."""
    ends = sorted({0, len(text), *(point % (len(text) + 1) for point in points)})
    return [text[a:b] for a, b in pairwise(ends)]


def parsed(fragments: list[str]) -> tuple[list[ArgumentPiece], dict[str, Any]]:
    if fragments and fragments[0].startswith("<"):
        fragments = out_of_tags(fragments)
    stream = ArgumentStream()
    pieces = [piece for fragment in fragments for piece in stream.push(fragment)]
    return pieces, stream.finish()


def grown(text: Text, pieces: list[ArgumentPiece], tool: str = "edit_file") -> list[HunkOpened | HunkGrew]:
    hunk = GrowingHunk("call", tool, lambda path: text if path == PATH else None)
    return [event for piece in pieces for event in hunk.feed(piece)]


CUTS = st.lists(st.integers(0, 10_000), max_size=30)
ORDERS = st.permutations(["file_path", "start_line", "old_string", "new_string"])


@settings(max_examples=400, deadline=None)
@given(cases(), st.sampled_from(RENDERINGS), ORDERS, CUTS, CUTS)
def test_a_random_edit_over_the_wire_gives_exactly_the_expected_bytes(
    case: Case, render: Callable[[dict[str, Any]], str], order: list[str], one: list[int], other: list[int]
):
    text = decode(case.before, PATH)
    assert text.encode() == case.before
    values = {"file_path": PATH, "start_line": case.first + 1, "old_string": case.old, "new_string": case.new}
    wire = render({key: values[key] for key in order})
    # Text that spells the very end of a call cannot be told from one in GLM's own form; JSON can carry it.
    assume(render is not as_tags or not re.search(r"</arg_value>\s*</tool_call>", case.old + "\0" + case.new))

    pieces, arguments = parsed(cut(wire, one))
    assert arguments == values
    placed = place(text, PATH, arguments["old_string"], arguments["new_string"], start_line=arguments["start_line"])
    assert isinstance(placed, Placed)
    assert placed.line == case.first + 1
    assert text.encode(splice(text, placed.edit)) == case.after

    events = grown(text, pieces)
    assert events == grown(text, parsed(cut(wire, other))[0])
    assert events == grown(text, parsed(list(wire))[0])
    assert [event for event in events if isinstance(event, HunkOpened)] == [HunkOpened("call", PATH, placed.line)]
    grew = [event for event in events if isinstance(event, HunkGrew)]
    assert [line for event in grew for line in event.removed] == case.run
    assert [line for event in grew for line in event.added] == case.new_lines


@settings(max_examples=100, deadline=None)
@given(cases(), CUTS)
def test_trailing_blanks_and_endings_of_the_old_text_do_not_matter(case: Case, points: list[int]):
    text = decode(case.before, PATH)
    old = "\r\n".join(line.rstrip(" \t") for line in case.run) + "\r\n"
    arguments = parsed(cut(as_json({"old": old}), points))[1]
    placed = place(text, PATH, arguments["old"], case.new)
    assert isinstance(placed, Placed)
    assert text.encode(splice(text, placed.edit)) == case.after
