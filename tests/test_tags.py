"""Tool calls and thinking out of GLM's raw text, cut anywhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glm_lsp.engine.tags import TagParser, as_json, from_tags
from glm_lsp.terms import Delta, ToolSpec, Usage

EDIT = ToolSpec(
    "edit_file",
    "Edits.",
    {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "start_line": {"type": "integer"},
            "all": {"type": "boolean"},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "note": {"type": ["string", "null"]},
            "depth": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    },
)
LIST = ToolSpec("list_files", "Lists.", {"type": "object", "properties": {}})
TOOLS = (EDIT, LIST)


def spell(name: str, arguments: dict[str, str], gap: str = "") -> str:
    pairs = "".join(f"<arg_key>{k}</arg_key>{gap}<arg_value>{v}</arg_value>{gap}" for k, v in arguments.items())
    return f"<tool_call>{name}{gap}{pairs}</tool_call>"


def parse(pieces: list[str], *, thinking: bool | None = None, finish: Any = "stop") -> dict[str, Any]:
    """What comes out, joined: thinking, text, calls as (name, arguments' text), finish."""
    parser = TagParser(TOOLS, thinking=thinking, call_ids="c")
    deltas = [delta for piece in pieces for delta in parser.feed(Delta(text=piece))]
    deltas += parser.feed(Delta(finish=finish))
    calls: dict[int, list[str]] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        known = calls.setdefault(piece.index, ["", "", ""])
        known[0] += piece.id
        known[1] += piece.name
        known[2] += piece.arguments
    return {
        "thinking": "".join(delta.thinking for delta in deltas),
        "text": "".join(delta.text for delta in deltas),
        "calls": [tuple(call) for call in calls.values()],
        "finish": deltas[-1].finish,
    }


def arguments(raw: str) -> Any:
    (call,) = parse([raw])["calls"]
    return json.loads(call[2])


def test_a_call_is_read_with_the_types_of_its_schema() -> None:
    raw = spell(
        "edit_file",
        {"file_path": "007", "start_line": "3", "all": "true", "lines": "[1, 2]", "note": "null", "depth": "null"},
    )
    assert arguments(raw) == {
        "file_path": "007",
        "start_line": 3,
        "all": True,
        "lines": [1, 2],
        "note": None,
        "depth": None,
    }


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ("3", {"integer"}, "3"),
        ("3.0", {"integer"}, "3.0"),
        ("3.5", {"integer"}, '"3.5"'),
        (" 3\n", {"number"}, "3"),
        ("True", {"boolean"}, "true"),
        ("true", {"integer"}, '"true"'),
        ("123abc", {"integer"}, '"123abc"'),
        ("{", {"object"}, '"{"'),
        ('{"a": 1}', {"object"}, '{"a": 1}'),
        ("None", {"integer", "null"}, "null"),
        ("7", {"string", "null"}, '"7"'),
        ("1e999", {"integer"}, '"1e999"'),
        ("", {"array"}, '""'),
    ],
)
def test_a_value_is_spelled_as_json_of_a_type_it_fits(text: str, kinds: set[str], expected: str) -> None:
    assert as_json(text, frozenset(kinds)) == expected


VALUES = [
    "def f():\n    return 'é' if a < b else \"\\n\"\n",
    "a </arg_value> b",
    "</arg_value></arg_value>",
    "<tool_call>list_files</tool_call>",
    "<think>x</think>",
    "<arg_key>k</arg_key>",
    "</tool_call>",
    "</arg_value",
    "\n\n  leading and trailing \n",
    "",
    "日本\U0001f600\t\x00",
]


@pytest.mark.parametrize("value", VALUES)
def test_a_string_survives_exactly_even_with_tags_inside(value: str) -> None:
    assert arguments(spell("edit_file", {"file_path": value, "note": "n"})) == {"file_path": value, "note": "n"}


TAGS = ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<think>", "</think>"]
PARTS = st.lists(
    st.sampled_from([*TAGS, "<", "</", "edit_file", "list_files", "k", "file_path", "\n", " ", "text", '"', "\\", "3"])
    | st.text(max_size=3),
    max_size=14,
).map("".join)


@given(PARTS, st.sampled_from([None, True, False]), st.data())
@example("<tool_call>list_files</tool_call>", None, None)
def test_the_result_does_not_depend_on_the_cuts(raw: str, thinking: bool | None, data: st.DataObject | None) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8))) if data else []
    pieces = [raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    whole = parse([raw], thinking=thinking)
    assert parse(pieces, thinking=thinking) == whole
    assert parse(list(raw), thinking=thinking) == whole


# What follows a tag is all there is to tell it by; a value that holds both cannot be told.
AMBIGUOUS = re.compile(r"</arg_value>\s*(<arg_key>|</tool_call>)")


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["file_path", "new", "old"]), st.text(max_size=30) | PARTS, max_size=3),
        max_size=3,
    ),
    st.sampled_from(["", "\n", " \n "]),
    st.text(st.characters(exclude_characters="<"), max_size=20),
    st.data(),
)
def test_what_is_spelled_is_read_back_wherever_it_can_be_told(
    calls: list[dict[str, str]], gap: str, text: str, data: st.DataObject
) -> None:
    told = [{key: value for key, value in each.items() if not AMBIGUOUS.search(value)} for each in calls]
    raw = text + gap.join(spell("edit_file", each, gap) for each in told)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    said = parse(pieces)
    assert [(name, json.loads(args)) for _, name, args in said["calls"]] == [("edit_file", each) for each in told]
    assert said["text"] == text
    assert said["finish"] == ("tool_calls" if told else "stop")


def test_several_calls_have_numbers_and_ids_of_their_own() -> None:
    said = parse(["Two.", spell("list_files", {}), "\n", spell("edit_file", {"file_path": "a"}), "\n"])
    assert said["calls"] == [("c0", "list_files", "{}"), ("c1", "edit_file", '{"file_path": "a"}')]
    assert said["text"] == "Two."


def test_text_after_a_call_keeps_its_spaces_however_it_is_cut() -> None:
    raw = spell("list_files", {}) + "\n\nDone. All good.\n"
    for pieces in ([raw], list(raw)):
        assert parse(pieces)["text"] == "Done. All good.\n"


def test_ids_of_two_replies_differ() -> None:
    ids = set()
    for _ in range(2):
        deltas = TagParser(TOOLS).feed(Delta(text=spell("list_files", {}), finish="stop"))
        ids |= {piece.id for delta in deltas for piece in delta.tool_calls if piece.id}
    assert len(ids) == 2


def test_a_string_grows_while_it_streams_and_json_comes_whole() -> None:
    parser = TagParser(TOOLS)
    parser.feed(Delta(text="<tool_call>edit_file<arg_key>file_path</arg_key><arg_value>"))
    (grown,) = parser.feed(Delta(text="one\ntwo"))
    assert grown.tool_calls[0].arguments == "one\\ntwo"
    parser.feed(Delta(text="</arg_value><arg_key>lines</arg_key><arg_value>"))
    assert parser.feed(Delta(text="[1,")) == []
    (whole, *_) = parser.feed(Delta(text=" 2]</arg_value></tool_call>"))
    assert whole.tool_calls[0].arguments == "[1, 2]"


@pytest.mark.parametrize(
    "raw",
    [
        "<tool_call>",
        "<tool_call>edit_file",
        "<tool_call>edit_file<arg_key>file",
        "<tool_call>edit_file<arg_key>file_path</arg_key>",
        "<tool_call>edit_file<arg_key>file_path</arg_key><arg_value>x",
        "<tool_call>edit_file<arg_key>file_path</arg_key><arg_value>x</arg_value>",
        "<tool_call>edit_file<arg_key>file_path</arg_key>x<arg_value>y</arg_value></tool_call>",
        "<tool_call>edit_file<arg_key>file_path</arg_key><arg_value>x</arg_value><arg_key>k</arg_key></tool_call>",
        spell("list_files", {}) + "<tool_call>edit_file<arg_key>",
    ],
)
def test_a_call_that_is_not_whole_is_never_for_running(raw: str) -> None:
    assert parse([raw])["finish"] == "length"


def test_length_stays_length_even_with_whole_calls() -> None:
    assert parse([spell("list_files", {})], finish="length")["finish"] == "length"


@pytest.mark.parametrize(
    ("raw", "thinking", "expected"),
    [
        ("<think>a</think>b", None, ("", "<think>a</think>b")),
        ("<think>a</think>b", False, ("a", "b")),
        ("\n<think>a</think>\n\nb", True, ("a", "\n\nb")),
        ("a</think>b", True, ("a", "b")),
        ("</think>b", True, ("", "b")),
        ("</think>b", False, ("", "b")),
        ("a <think> b", False, ("", "a <think> b")),
        ("a </thin", True, ("a </thin", "")),
        ("never ends", True, ("never ends", "")),
        ("a<tool_call>b</think>c", True, ("a<tool_call>b", "c")),
        ("a<tool_call>unknown</tool_call></think>c", True, ("a<tool_call>unknown</tool_call>", "c")),
        ("x<tool_callx", False, ("", "x<tool_callx")),
        ("use <tool_call> then a name", False, ("", "use <tool_call> then a name")),
    ],
)
def test_thinking_is_told_from_text(raw: str, thinking: bool | None, expected: tuple[str, str]) -> None:
    for pieces in ([raw], list(raw)):
        said = parse(pieces, thinking=thinking)
        assert (said["thinking"], said["text"], said["calls"]) == (*expected, [])


def test_a_call_of_a_known_tool_ends_a_thought_that_was_not_ended() -> None:
    said = parse(["hm", spell("list_files", {})], thinking=True)
    assert (said["thinking"], said["calls"][0][1]) == ("hm", "list_files")


def test_an_unknown_tool_is_handed_on_for_the_turn_to_refuse() -> None:
    assert parse([spell("fly", {"to": "3"})])["calls"] == [("c0", "fly", '{"to": "3"}')]


async def test_what_the_server_parsed_itself_passes_through() -> None:
    async def given() -> Any:
        yield Delta(thinking="hm")
        yield Delta(text="a<")
        yield Delta(text="b", usage=Usage(1, 2))
        yield Delta(finish="stop")

    deltas = [delta async for delta in from_tags(given(), TOOLS)]
    assert deltas[0] == Delta(thinking="hm")
    assert "".join(delta.text for delta in deltas) == "a<b"
    assert [delta.usage for delta in deltas if delta.usage] == [Usage(1, 2)]
    assert deltas[-1].finish == "stop"
