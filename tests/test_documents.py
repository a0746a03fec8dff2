"""Open documents: changes as an editor sends them, against cutting the whole text and splitting it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsp import places
from lsp.editor import FakeEditor
from lsprotocol import types
from pygls.workspace import Workspace
from stories import project

from glm_lsp.server.documents import Document, Documents, text_of

if TYPE_CHECKING:
    from pathlib import Path

URI = "file:///a.py"
PIECES = st.text(st.sampled_from("ab \n\n\r\r\té\u20ac\U0001f600\u2028\x0b\x0c\x85"), max_size=12)
ENCODINGS = ["utf-8", "utf-16", "utf-32"]


def opened(text: str, encoding: str = "utf-16") -> Document:
    """A document as a client opens it."""
    workspace = Documents.instead_of(Workspace(None, position_encoding=types.PositionEncodingKind(encoding)))
    workspace.put_text_document(types.TextDocumentItem(URI, "python", 1, text))
    document = workspace.text_documents[URI]
    assert isinstance(document, Document)
    return document


def change(start: tuple[int, int], end: tuple[int, int], text: str) -> types.TextDocumentContentChangePartial:
    return types.TextDocumentContentChangePartial(types.Range(types.Position(*start), types.Position(*end)), text)


def whole(text: str) -> list[str]:
    """The lines with their endings."""
    starts = [start for start, _ in places.lines(text)]
    cut = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return cut[:-1] if not cut[-1] else cut


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_changes_come_out_as_if_the_whole_text_were_cut(data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(ENCODINGS))
    text = data.draw(PIECES)
    document = opened(text, encoding)
    for new in data.draw(st.lists(PIECES, max_size=5)):
        outside = [at for at in range(len(text) + 1) if text[at - 1 : at + 1] != "\r\n"]
        start, end = sorted((data.draw(st.sampled_from(outside)), data.draw(st.sampled_from(outside))))
        first, last = (places.position(text, at, encoding) for at in (start, end))
        document.apply_change(change((first["line"], first["character"]), (last["line"], last["character"]), new))
        text = text[:start] + new + text[end:]
        if data.draw(st.booleans()):
            assert document.source == text
    assert document.source == text
    assert list(document.lines) == whole(text)
    assert text_of(document).content == text


@pytest.mark.parametrize(
    ("before", "start", "end", "new", "after"),
    [
        pytest.param("one\ntwo", (0, 99), (0, 99), "!", "one!\ntwo", id="behind the end of a line"),
        pytest.param("one\ntwo", (1, 99), (1, 99), "!", "one\ntwo!", id="behind the end of the last line"),
        pytest.param("one\ntwo", (9, 0), (9, 0), "!", "one\ntwo!", id="behind the last line, which has no ending"),
        pytest.param("one\n", (1, 0), (1, 0), "two", "one\ntwo", id="behind the last ending"),
        pytest.param("one\n", (7, 3), (7, 3), "two", "one\ntwo", id="far behind the last ending"),
        pytest.param("", (0, 0), (0, 0), "one", "one", id="nothing yet"),
        pytest.param("one\ntwo\n", (0, 0), (2, 0), "", "", id="all of it"),
        pytest.param("one two", (0, 7), (0, 3), "", "one", id="an end before the start"),
        pytest.param("one\x0ctwo\u2028\nthree\n", (1, 0), (1, 5), "four", "one\x0ctwo\u2028\nfour\n", id="no endings"),
        pytest.param("one\r\ntwo\r\n", (0, 9), (1, 0), " ", "one two\r\n", id="an ending of two characters goes"),
        pytest.param("😀a", (0, 1), (0, 2), "", "a", id="from inside a character"),
    ],
)
def test_a_place_that_is_not_in_the_text_is_the_nearest_one_before_it(
    before: str, start: tuple[int, int], end: tuple[int, int], new: str, after: str
) -> None:
    document = opened(before)
    document.apply_change(change(start, end, new))
    assert document.source == after
    assert list(document.lines) == whole(after)


def test_a_whole_text_takes_the_place_of_what_was_there() -> None:
    document = opened("one\ntwo\n")
    document.apply_change(change((0, 0), (0, 3), "1"))
    document.apply_change(types.TextDocumentContentChangeWholeDocument("three"))
    assert document.source == "three"
    document.apply_change(change((0, 5), (0, 5), "!"))
    assert document.source == "three!"


def test_lines_are_told_once_until_the_document_changes() -> None:
    document = opened("one\ntwo\n")
    assert text_of(document) is text_of(document)
    before = text_of(document)
    document.apply_change(change((1, 0), (1, 0), "and "))
    assert text_of(document).lines() == ["one", "and two"]
    assert before.lines() == ["one", "two"]
    assert text_of(document) is text_of(document)


def test_folders_and_the_encoding_are_those_of_the_client() -> None:
    folder = types.WorkspaceFolder("file:///work", "work")
    kept = Documents.instead_of(
        Workspace("file:///work", workspace_folders=[folder], position_encoding=types.PositionEncodingKind.Utf8)
    )
    assert (kept.root_uri, kept.root_path) == ("file:///work", "/work")
    assert kept.folders == {"file:///work": folder}
    assert kept.position_encoding is types.PositionEncodingKind.Utf8


async def test_characters_that_only_look_like_line_endings_move_nothing(tmp_path: Path) -> None:
    text = "a = '\u2028\x85'  # \x0c\nb = 2\nc = 3\n"
    root = project(tmp_path / "work", cart_py=text)
    call = {
        "name": "edit_file",
        "arguments": {"file_path": "cart.py", "old_string": "b = 22\n", "new_string": "b = a\n"},
    }
    replies: list[dict[str, Any]] = [{"calls": [call]}, {"text": "Done."}]
    async with FakeEditor(root, replies) as editor:
        await editor.open("cart.py")
        await editor.type("cart.py", 1, 5, "2")
        await editor.run("glm.refactor", {"instruction": "x", "uri": editor.uri("cart.py")})
        await editor.quiet()
        assert len(editor.labels()) == 1
        assert await editor.text("cart.py") == "a = '\u2028\x85'  # \x0c\nb = a\nc = 3\n"
