"""Arguments of a tool call: read while they stream, then checked against the schema."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_lsp.edits.parse import ArgumentPiece, ArgumentStream, validate
from glm_lsp.errors import BadArguments
from glm_lsp.terms import ToolSpec


def read(fragments: list[str]) -> tuple[list[tuple[str, str, bool, Any]], dict[str, Any] | str]:
    """The pieces joined by key, and the object, or what is wrong with it."""
    stream = ArgumentStream()
    joined: dict[str, tuple[str, bool, Any]] = {}
    for fragment in fragments:
        for piece in stream.push(fragment):
            text, done, _ = joined.get(piece.key, ("", False, None))
            assert not done, "a piece behind the end"
            joined[piece.key] = (text + piece.text, piece.done, piece.value)
    try:
        whole: dict[str, Any] | str = stream.finish()
    except BadArguments as refusal:
        whole = refusal.message
    return [(key, *rest) for key, rest in joined.items()], whole


def every_cut(text: str) -> list[list[str]]:
    return [[text[:i], text[i:]] for i in range(len(text) + 1)] + [list(text)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"file_path": "a.py", "old_string": "a\\n\\tb", "start_line": 12}', id="an edit"),
        pytest.param('{"a":"\\u00e9\\ud83d\\ude00\\"\\\\\\/"}', id="escapes and a surrogate pair"),
        pytest.param(' { "a" : -1.5e3 , "b" : [ "x]" , {"}": "\\"\\\\"} ] , "c":null,"d":true } ', id="other values"),
        pytest.param('{"a": "line\nline\ttab"}', id="literal newlines"),
        pytest.param('{"a": "&lt;</arg_value>$1\\\\1"}', id="nothing is decoded twice"),
        pytest.param("{}", id="no arguments"),
        pytest.param('{"a": "", "b": {}}', id="empty values"),
        pytest.param('{"a": "😀\u2028"}', id="characters as they are"),
    ],
)
def test_every_cut_gives_the_same_pieces_and_object(text: str):
    expected = json.loads(text, strict=False)
    for fragments in every_cut(text):
        pieces, whole = read(fragments)
        assert whole == expected, fragments
        assert pieces == [
            (key, value, True, None) if isinstance(value, str) else (key, "", True, value)
            for key, value in expected.items()
        ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('{"a": "b', 'they end within "a"', id="cut off in a string"),
        pytest.param('{"a": "b\\', 'they end within "a"', id="cut off in an escape"),
        pytest.param('{"a": "\\ud83d', "they end", id="cut off in a pair"),
        pytest.param('{"a": 1', "they end", id="cut off in a number"),
        pytest.param('{"a": "b"', "they end", id="cut off before the end"),
        pytest.param('{"a": "b", ', "they end", id="cut off after a comma"),
        pytest.param('["a"]', "no JSON object", id="a list"),
        pytest.param("null", "no JSON object", id="null"),
        pytest.param('"{}"', "no JSON object", id="an object within a string"),
        pytest.param('{"a": "b", "a": "c"}', '"a" twice', id="a name twice"),
        pytest.param('{"a": "\\d+"}', "no JSON escape", id="an escape that is none"),
        pytest.param('{"a": "\\u12x4"}', "no JSON escape", id="a broken code"),
        pytest.param('{"a": "\\ud83dx"}', "half of a character", id="a high surrogate alone"),
        pytest.param('{"a": "\\ud83d\\n"}', "half of a character", id="a high surrogate before an escape"),
        pytest.param('{"a": "\\ud83d\\u0041"}', "half of a character", id="a high surrogate before a letter"),
        pytest.param('{"a": "\\ude00"}', "half of a character", id="a low surrogate alone"),
        pytest.param('{"a": tru}', "is no JSON", id="a broken word"),
        pytest.param('{"a": NaN}', "is no JSON", id="not a number"),
        pytest.param('{"a": [1,]}', "is no JSON", id="a broken list"),
        pytest.param('{"a": "b"} {', "behind the end", id="more behind it"),
        pytest.param('{"a" "b"}', "where a colon should be", id="no colon"),
        pytest.param('{"a": "b" "c"}', "where a comma", id="no comma"),
        pytest.param('{"a": , "b": 1}', "where a value should be", id="no value"),
        pytest.param("{a: 1}", "the name of an argument", id="a bare name"),
        pytest.param('{"a": 1,}', "the name of an argument", id="a trailing comma"),
    ],
)
def test_text_that_is_no_object_is_refused_alike_for_every_cut(text: str, says: str):
    expected = read([text])
    assert isinstance(expected[1], str)
    assert says in expected[1]
    for fragments in every_cut(text):
        assert read(fragments) == expected, fragments


def test_an_empty_stream_is_a_call_without_arguments():
    assert ArgumentStream().finish() == {}
    assert read([" ", "\n"]) == ([], {})


def test_text_is_told_as_soon_as_it_is_there():
    stream = ArgumentStream()
    assert stream.push('{"a": "he') == [ArgumentPiece("a", "he")]
    assert stream.push("llo\\") == [ArgumentPiece("a", "llo")]
    assert stream.push("n") == [ArgumentPiece("a", "\n")]
    assert stream.push('"') == [ArgumentPiece("a", "", done=True)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), JSON, max_size=4),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_any_object_is_read_as_json_reads_it(value: dict[str, Any], ascii_only: bool, cuts: list[int]):
    text = json.dumps(value, ensure_ascii=ascii_only)
    points = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert read([text[a:b] for a, b in pairwise(points)])[1] == value


EDIT = ToolSpec(
    "edit_file",
    "Replaces lines.",
    {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "start_line": {"type": "integer", "minimum": 1},
            "old_string": {"type": "string"},
            "new_string": {"type": "string"},
            "mode": {"type": "string", "enum": ["fast", "safe"]},
            "dry": {"type": "boolean"},
            "globs": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["file_path", "old_string", "new_string"],
    },
)
GOOD = {"file_path": "a.py", "old_string": "a", "new_string": ""}


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        pytest.param({}, {}, id="only what is required"),
        pytest.param({"start_line": "12"}, {"start_line": 12}, id="a number as a string"),
        pytest.param({"start_line": 12.0}, {"start_line": 12}, id="a whole float"),
        pytest.param({"start_line": " 12 "}, {"start_line": 12}, id="a number with blanks"),
        pytest.param({"start_line": None}, {}, id="null for an optional argument"),
        pytest.param({"dry": "True"}, {"dry": True}, id="a boolean as a string"),
        pytest.param({"dry": False}, {"dry": False}, id="a boolean"),
        pytest.param({"mode": "safe"}, {"mode": "safe"}, id="a choice"),
        pytest.param({"globs": ["*.py"]}, {"globs": ["*.py"]}, id="a list"),
    ],
)
def test_arguments_that_fit_or_nearly_do_are_taken(given: dict[str, Any], valid: dict[str, Any]):
    assert validate({**GOOD, **given}, EDIT) == {**GOOD, **valid}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({}, "file_path, old_string and new_string, which are missing", id="nothing given"),
        pytest.param({**GOOD, "old_string": None}, "old_string, which is missing", id="null for a required argument"),
        pytest.param({**GOOD, "start_line": "twelve"}, '"start_line" of edit_file is an integer, not "twelve"', id="a word"),
        pytest.param({**GOOD, "start_line": 1.5}, "is an integer, not 1.5", id="half a line"),
        pytest.param({**GOOD, "start_line": True}, "is an integer, not true", id="a boolean for a number"),
        pytest.param({**GOOD, "start_line": 0}, "at least 1", id="too small"),
        pytest.param({**GOOD, "old_string": 5}, '"old_string" of edit_file is a string, not 5', id="a number for text"),
        pytest.param({**GOOD, "old_string": ["a"]}, "is a string", id="a list for text"),
        pytest.param({**GOOD, "mode": "slow"}, 'is one of "fast", "safe", not "slow"', id="no such choice"),
        pytest.param({**GOOD, "dry": 1}, "is true or false", id="a number for a boolean"),
        pytest.param({**GOOD, "globs": "*.py"}, "is a list of strings", id="text for a list"),
        pytest.param({**GOOD, "globs": [1]}, "is a list of strings", id="numbers in a list"),
        pytest.param({**GOOD, "replace_all": True}, 'no argument "replace_all"', id="an argument of another tool"),
        pytest.param({"path": "a", "old_string": "", "new_string": ""}, 'mean "file_path"?', id="a name of another tool"),
        pytest.param({"file_path": "a", "old_text": "", "new_string": ""}, 'mean "old_string"?', id="another such name"),
        pytest.param({"file_path": "a", "old_strng": "", "new_string": ""}, 'mean "old_string"?', id="a slip"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused_by_name(arguments: dict[str, Any], says: str):
    with pytest.raises(BadArguments) as refusal:
        validate(arguments, EDIT)
    assert says in refusal.value.message
    assert refusal.value.hint
