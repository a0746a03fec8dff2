"""Hunks shown while they are written."""

from __future__ import annotations

import json

import pytest

from glm_lsp.edits.grow import GrowingHunk
from glm_lsp.edits.parse import ArgumentStream
from glm_lsp.edits.text import Text
from glm_lsp.terms import HunkGrew, HunkOpened

FILES = {
    "a.py": Text("def f():\n    one\n    return 1\n\ndef g():\n    two\n    return 1\n"),
    "crlf.py": Text("a\r\nb\r\nc\r\n"),
    "empty.py": Text(""),
}


def events(tool: str, arguments: dict[str, object], *, step: int = 1) -> list[tuple[int, list[object]]]:
    """What was shown, with how many characters had been read by then."""
    wire = json.dumps(arguments)
    stream = ArgumentStream()
    hunk = GrowingHunk("c", tool, FILES.get, lambda path, name: {"g": 5}.get(name) if path == "a.py" else None)
    return [
        (min(at + step, len(wire)), list(new))
        for at in range(0, len(wire), step)
        for piece in stream.push(wire[at : at + step])
        if (new := hunk.feed(piece))
    ]


def flat(tool: str, arguments: dict[str, object], step: int = 1) -> list[object]:
    return [event for _, some in events(tool, arguments, step=step) for event in some]


def opened(path: str, line: int) -> HunkOpened:
    return HunkOpened("c", path, line)


def removed(*lines: str) -> HunkGrew:
    return HunkGrew("c", removed=lines)


def added(line: str) -> HunkGrew:
    return HunkGrew("c", added=(line,))


EDIT = {"file_path": "a.py", "old_string": "    two\n    return 1\n", "new_string": "    three\n\n    return 2"}


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        pytest.param(
            "edit_file",
            EDIT,
            [
                opened("a.py", 6),
                removed("    two", "    return 1"),
                added("    three"),
                added(""),
                added("    return 2"),
            ],
            id="an edit",
        ),
        pytest.param(
            "edit_file",
            {key: EDIT[key] for key in ("new_string", "old_string", "file_path")},
            [
                opened("a.py", 6),
                removed("    two", "    return 1"),
                added("    three"),
                added(""),
                added("    return 2"),
            ],
            id="new before old before path",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "a.py", "old_string": "    return 1", "new_string": "x"},
            [],
            id="two places",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "a.py", "start_line": "7", "old_string": "    return 1", "new_string": "x"},
            [opened("a.py", 7), removed("    return 1"), added("x")],
            id="two places and a hint",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "a.py", "old_string": "    two\n    return 5", "new_string": "x"},
            [opened("a.py", 6)],
            id="it begins like a place and goes on otherwise",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "a.py", "old_string": "nowhere\nat all", "new_string": "x\ny"},
            [],
            id="no place",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "a.py", "old_string": "one\n", "new_string": "1\n"},
            [opened("a.py", 2), removed("    one"), added("1")],
            id="a part of a line",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "a.py", "old_string": "6|    two\n7|    return 1", "new_string": "x"},
            [opened("a.py", 6), removed("    two", "    return 1"), added("x")],
            id="a laxer rung",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "crlf.py", "old_string": "b\r\nc\r\n", "new_string": "x\r\ny\rz\r"},
            [opened("crlf.py", 2), removed("b", "c"), added("x"), added("y"), added("z")],
            id="carriage returns",
        ),
        pytest.param(
            "edit_file",
            {"file_path": "empty.py", "old_string": "", "new_string": "a\n"},
            [opened("empty.py", 1), added("a")],
            id="an empty file",
        ),
        pytest.param("edit_file", {"file_path": "no.py", "old_string": "a", "new_string": "b"}, [], id="no such file"),
        pytest.param(
            "write_file",
            {"content": "a\nb", "file_path": "new.py"},
            [opened("new.py", 1), added("a"), added("b")],
            id="a whole file, content first",
        ),
        pytest.param(
            "replace_symbol",
            {"file_path": "a.py", "symbol": "g", "new_source": "def g():\n    pass\n"},
            [opened("a.py", 5), added("def g():"), added("    pass")],
            id="a symbol",
        ),
        pytest.param(
            "replace_symbol", {"file_path": "a.py", "symbol": "h", "new_source": "x"}, [], id="no such symbol"
        ),
        pytest.param("read_file", {"file_path": "a.py"}, [], id="another tool"),
    ],
)
def test_what_is_shown_does_not_depend_on_the_cuts(
    tool: str, arguments: dict[str, object], expected: list[object], step: int
):
    assert flat(tool, arguments, step) == expected


def test_a_hunk_opens_while_its_old_text_is_still_coming():
    wire = json.dumps(EDIT)
    first = events("edit_file", EDIT)[0]
    assert first[1] == [opened("a.py", 6)]
    assert first[0] == wire.index("two\\n") + len("two\\n")


def test_each_new_line_is_shown_when_it_is_complete():
    wire = json.dumps(EDIT)
    at = {
        event.added: count for count, some in events("edit_file", EDIT) for event in some if isinstance(event, HunkGrew)
    }
    assert at["    three",] == wire.index("three\\n") + len("three\\n")


def test_a_place_that_may_begin_within_another_line_is_waited_for():
    text = Text("foo\nbaz\n    foo\nbar\n")
    hunk = GrowingHunk("c", "edit_file", lambda _: text)
    stream = ArgumentStream()
    shown = [e for piece in stream.push('{"file_path":"x","old_string":"foo\\nb') for e in hunk.feed(piece)]
    assert shown == []
    shown = [e for piece in stream.push('ar\\n"') for e in hunk.feed(piece)]
    assert shown == [opened("x", 3), removed("    foo", "bar")]


def test_a_last_line_that_may_be_a_part_of_others_is_not_enough():
    text = Text("xa\na b\n")
    hunk = GrowingHunk("c", "edit_file", lambda _: text)
    pieces = ArgumentStream().push('{"file_path": "x", "old_string": "a", "new_string": "b"}')
    assert [event for piece in pieces for event in hunk.feed(piece)] == []
