"""Addresses, positions and workspace edits, against slow and plain ways to say the same."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types
from pygls.protocol import default_converter

from glm_lsp.edits.text import Text
from glm_lsp.server import convert
from glm_lsp.server.convert import EditAbilities
from glm_lsp.terms import FileChange, Finding, Problem, Selection

ENCODINGS: list[convert.Encoding] = ["utf-8", "utf-16", "utf-32"]
texts = st.text(st.sampled_from("ab \n\r\té\u20ac\U0001f600\u2028\x0b\x85"), max_size=24)
encodings = st.sampled_from(ENCODINGS)


# --- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b.py", "/a/b.py"),
        ("file:/a/b.py", "/a/b.py"),
        ("FILE://localhost/a", "/a"),
        ("file:///a%20b/%C3%A9.py", "/a b/é.py"),
        ("file:///a b/é.py", "/a b/é.py"),
        ("file:///c%3A/x", "/c:/x"),
        ("file:///a%23b?c#d", "/a#b?c#d"),
        ("file:///a+b%2Bc", "/a+b+c"),
        ("file:///%F0%9F%98%80", "/\U0001f600"),
        ("file:///%ff", os.fsdecode(b"/\xff")),
        ("file:///100%", "/100%"),
        ("file://server/share/a", None),
        ("file:a.py", None),
        ("file:", None),
        ("file:///a%00b", None),
        ("untitled:Untitled-1", None),
        ("vscode-notebook-cell:/a/b.ipynb#W0", None),
        ("git:/a/b.py", None),
        ("https://example.org/a", None),
        ("/a/b.py", None),
        ("", None),
    ],
)
def test_an_address_names_a_file_or_nothing(uri: str, path: str | None) -> None:
    assert convert.uri_to_path(uri) == (None if path is None else Path(path))


@given(st.lists(st.binary(min_size=1, max_size=6).filter(lambda b: not {0, 47} & set(b)), min_size=1, max_size=3))
def test_every_path_has_an_address_that_leads_back(parts: list[bytes]) -> None:
    path = Path(os.fsdecode(b"/" + b"/".join(parts)))
    uri = convert.path_to_uri(path)
    assert convert.uri_to_path(uri) == path
    assert re.fullmatch(r"file:///[\w.~/%-]*", uri, re.ASCII)


# --- positions ---------------------------------------------------------------------------------------------------


def units(character: str, encoding: str) -> int:
    return {
        "utf-8": len(character.encode("utf-8")),
        "utf-16": len(character.encode("utf-16-le")) // 2,
        "utf-32": 1,
    }[encoding]


def places(content: str, encoding: str) -> dict[tuple[int, int], int]:
    """Every position that there is, with its offset: one character after the other."""
    found = {(0, 0): 0}
    line = column = offset = 0
    while offset < len(content):
        if content[offset] in "\r\n":
            offset += 2 if content[offset : offset + 2] == "\r\n" else 1
            line, column = line + 1, 0
        else:
            width = units(content[offset], encoding)
            for inside in range(1, width):
                found[line, column + inside] = offset
            column += width
            offset += 1
        found[line, column] = offset
    return found


@given(content=texts, encoding=encodings)
def test_every_position_of_a_text_has_its_offset(content: str, encoding: convert.Encoding) -> None:
    for (line, character), offset in places(content, encoding).items():
        assert convert.offset_at(content, types.Position(line, character), encoding) == offset


@given(content=texts, encoding=encodings)
def test_every_offset_has_its_position(content: str, encoding: convert.Encoding) -> None:
    text, there = Text(content), places(content, encoding)
    for offset in range(len(content) + 1):
        position = convert.position_at(text, offset, encoding)
        if content[offset - 1 : offset + 1] == "\r\n" and offset:
            offset -= 1  # noqa: PLW2901 - inside a terminator is the line's end
        assert there[position.line, position.character] == offset


@given(content=texts, encoding=encodings, more=st.integers(1, 9))
def test_positions_beyond_the_end_are_the_end(content: str, encoding: convert.Encoding, more: int) -> None:
    there = places(content, encoding)
    last = max(line for line, _ in there)
    for line in range(last + 1):
        end = max(character for at, character in there if at == line)
        assert convert.offset_at(content, types.Position(line, end + more), encoding) == there[line, end]
    assert convert.offset_at(content, types.Position(last + more, more), encoding) == len(content)
    assert convert.position_at(content, len(content) + more, encoding) == convert.position_at(
        content, len(content), encoding
    )


@pytest.mark.parametrize(
    ("encoding", "character", "column"),
    [("utf-8", 4, 1), ("utf-8", 3, 0), ("utf-16", 2, 1), ("utf-16", 1, 0), ("utf-32", 1, 1)],
)
def test_a_position_inside_a_character_is_before_it(encoding: convert.Encoding, character: int, column: int) -> None:
    assert convert.column_at("\U0001f600x", character, encoding) == column


def span(a: int, b: int, c: int, d: int) -> types.Range:
    return types.Range(types.Position(a, b), types.Position(c, d))


@pytest.mark.parametrize(
    ("extent", "selected"),
    [
        (span(1, 0, 1, 0), Selection("f", 2, 2, "")),
        (span(0, 0, 2, 0), Selection("f", 1, 2, "a\U0001f600b\ncd\n")),
        (span(0, 3, 1, 1), Selection("f", 1, 2, "b\nc")),
        (span(1, 1, 0, 3), Selection("f", 1, 2, "b\nc")),
        (span(2, 0, 99, 0), Selection("f", 3, 3, "e")),
        (span(50, 0, 99, 0), Selection("f", 3, 3, "")),
    ],
)
def test_a_selection_has_the_lines_that_it_touches(extent: types.Range, selected: Selection) -> None:
    assert convert.selection("f", "a\U0001f600b\ncd\ne", extent, "utf-16") == selected


def test_a_caret_in_an_empty_file_is_on_its_first_line() -> None:
    assert convert.selection("f", "", span(0, 0, 0, 0), "utf-8") == Selection("f", 1, 1, "")


def test_a_diagnostic_is_a_problem() -> None:
    told = types.Diagnostic(span(0, 3, 0, 4), "no", types.DiagnosticSeverity.Hint, code=7, source="pyright")
    assert convert.problem("f", "a\U0001f600b", told, "utf-16") == Problem("f", 1, 3, "hint", "pyright", "7", "no")
    bare = types.Diagnostic(span(9, 3, 9, 4), "no")
    assert convert.problem("f", "a", bare, "utf-16") == Problem("f", 10, 1, "error", "", "", "no")


def test_a_finding_is_a_diagnostic_on_its_lines() -> None:
    said = convert.diagnostic(Finding("f", 1, 2, "warning", "Odd", "Even it"), "a\n\U0001f600b\nc\n", "utf-16")
    assert (said.range, said.severity, said.message) == (
        span(0, 0, 1, 3),
        types.DiagnosticSeverity.Warning,
        "Odd\nEven it",
    )
    assert convert.diagnostic(Finding("f", 5, 9, "error", "Odd"), "", "utf-8").range == span(0, 0, 0, 0)


# --- workspace edits ---------------------------------------------------------------------------------------------


@dataclass
class Client:
    """An editor that believes only what it declared, and fails on anything else."""

    can: EditAbilities
    encoding: str
    files: dict[str, bytes]
    versions: dict[str, int] = field(default_factory=dict)
    confirmed: list[str] = field(default_factory=list)

    def apply(self, edit: types.WorkspaceEdit) -> None:
        known = edit.change_annotations or {}
        assert self.can.confirms or not known
        if not self.can.versions:
            assert edit.document_changes is None
            for uri, edits in (edit.changes or {}).items():
                self.change(uri, list(edits), known)
            return
        assert edit.changes is None
        for one in edit.document_changes or ():
            if isinstance(one, types.TextDocumentEdit):
                document = one.text_document
                assert document.version == self.versions.get(document.uri)
                self.change(document.uri, list(one.edits), known)
                continue
            self.confirm(one.annotation_id, known)
            if isinstance(one, types.CreateFile):
                assert self.can.creates
                assert one.uri not in self.files
                self.files[one.uri] = b""
            elif isinstance(one, types.DeleteFile):
                assert self.can.deletes
                del self.files[one.uri]
            else:
                assert self.can.renames
                assert one.new_uri not in self.files
                self.files[one.new_uri] = self.files.pop(one.old_uri)

    def confirm(self, annotation: str | None, known: Any) -> None:
        if annotation is not None:
            assert known[annotation].needs_confirmation
            self.confirmed.append(known[annotation].label)

    def change(self, uri: str, edits: list[Any], known: Any) -> None:
        bom = b"\xef\xbb\xbf" if self.files[uri].startswith(b"\xef\xbb\xbf") else b""
        content = self.files[uri][len(bom) :].decode()
        there = places(content, self.encoding)
        before = re.findall("\r\n|\n|\r", content)
        spans = []
        for edit in edits:
            self.confirm(edit.annotation_id if isinstance(edit, types.AnnotatedTextEdit) else None, known)
            ends = [there[at.line, at.character] for at in (edit.range.start, edit.range.end)]
            spans.append((*ends, edit.new_text))
        for (_, end, _), (start, _, _) in itertools.pairwise(sorted(spans)):
            assert end <= start
        for start, end, new in sorted(spans, reverse=True):
            content = content[:start] + new + content[end:]
        if self.can.normalizes:
            content = re.sub("\r\n|\n|\r", max(before, key=before.count) if before else "\n", content)
        self.files[uri] = bom + content.encode()


abilities = st.builds(EditAbilities, **{f.name: st.booleans() for f in fields(EditAbilities)}).filter(
    lambda can: can.versions or not (can.creates or can.renames or can.deletes)
)
contents = (
    st.tuples(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]), texts).map(lambda t: t[0] + t[1].encode())
    | st.binary(max_size=4)
    | st.lists(st.sampled_from(["a", "b", "\U0001f600", ""]), max_size=12).map(lambda some: "\n".join(some).encode())
)
names = st.sampled_from(["a.txt", "b.txt", "c.txt", "d.txt", "e/f.txt"])


@settings(max_examples=400)
@given(
    files=st.dictionaries(names, st.tuples(st.none() | contents, st.none() | contents), max_size=5),
    modes=st.dictionaries(names, st.just(0o755), max_size=1),
    opened=st.sets(names),
    can=abilities,
    encoding=encodings,
    confirm=st.sampled_from(["", "Really?"]),
)
def test_an_editor_that_applies_the_edit_has_exactly_the_proposed_bytes(
    files: dict[str, tuple[bytes | None, bytes | None]],
    modes: dict[str, int],
    opened: set[str],
    can: EditAbilities,
    encoding: convert.Encoding,
    confirm: str,
) -> None:
    changes = [FileChange(path, before, after, modes.get(path)) for path, (before, after) in files.items()]
    opened = {change.path for change in changes if change.path in opened and change.before is not None}
    doable = [c for c in changes if not convert.beyond(c, can, opened=c.path in opened)]
    started = {c.path: c.before for c in changes if c.before is not None}
    editor = Client(can, encoding, dict(started), dict.fromkeys(opened, 7))
    made = convert.workspace_edit(
        doable, can, encoding, uri_of=lambda path: path, versions=editor.versions, confirm=confirm
    )
    converter = default_converter()
    made = converter.structure(converter.unstructure(made), types.WorkspaceEdit)
    editor.apply(made)
    wanted = started | {c.path: c.after for c in doable}
    if can.normalizes:  # an open buffer's line endings are the editor's business

        def plain(data: bytes | None, path: str) -> bytes | None:
            return re.sub(b"\r\n|\r", b"\n", data) if data is not None and path in opened else data

        wanted = {path: plain(data, path) for path, data in wanted.items()}
        editor.files = {path: plain(data, path) or b"" for path, data in editor.files.items()}
    assert editor.files == {path: data for path, data in wanted.items() if data is not None}
    differ = any(c.before != c.after for c in doable)
    assert bool(editor.confirmed) == bool(differ and confirm and can.confirms and can.versions)


EVERYTHING = EditAbilities(versions=True, creates=True, renames=True, deletes=True, confirms=True, refactors=True)


@pytest.mark.parametrize(
    ("change", "can", "opened", "why"),
    [
        (FileChange("a", None, b""), EditAbilities(), False, "it cannot create files"),
        (FileChange("a", b"", None), EditAbilities(), False, "it cannot delete files"),
        (FileChange("a", b"\0", None), EVERYTHING, False, ""),
        (FileChange("a", None, b"#!", 0o755), EVERYTHING, False, "it cannot set permissions"),
        (FileChange("a", b"\0", b"a"), EVERYTHING, False, "it edits text only"),
        (FileChange("a", b"a", b"\xff"), EVERYTHING, False, "it edits text only"),
        (FileChange("a", b"a", b"\xef\xbb\xbfa"), EVERYTHING, False, "it cannot choose an encoding"),
        (FileChange("a", None, b"\xef\xbb\xbfa"), EVERYTHING, False, "it cannot choose an encoding"),
        (FileChange("a.py", b"# coding: latin-1\n\xe9", b"# coding: latin-1\n"), EVERYTHING, False, "it cannot choose an encoding"),
        (FileChange("a.py", b"# coding: latin-1\n\xe9", b"# coding: latin-1\n"), EVERYTHING, True, ""),
        (FileChange("a", b"a\r\n", b"b\r\n"), EditAbilities(normalizes=True), False, ""),
        (FileChange("a", b"a\r\nb\n", b"b\n"), EditAbilities(normalizes=True), False, "it would change line endings"),
        (FileChange("a", b"a\r\nb\n", b"b\n"), EditAbilities(normalizes=True), True, ""),
        (FileChange("a", b"a", b"b\r\nc"), EditAbilities(normalizes=True), False, "it would change line endings"),
        (FileChange("a", b"a", b"b"), EditAbilities(), False, ""),
    ],
)  # fmt: skip
def test_what_a_client_cannot_do_is_said(change: FileChange, can: EditAbilities, opened: bool, why: str) -> None:
    assert convert.beyond(change, can, opened=opened) == why


def test_edits_are_of_the_lines_that_changed() -> None:
    before = "".join(f"line {n}\n" for n in range(1000))
    after = before.replace("line 10\n", "line ten\n").replace("line 900\n", "")
    assert convert.text_edits(before, after, "utf-16") == [
        types.TextEdit(span(10, 0, 11, 0), "line ten\n"),
        types.TextEdit(span(900, 0, 901, 0), ""),
    ]


def test_a_file_that_goes_elsewhere_as_it_was_is_renamed() -> None:
    changes = [FileChange("a", b"x", None), FileChange("b", None, b"x"), FileChange("c", b"", None)]
    made = convert.workspace_edit(changes, EVERYTHING, "utf-8", uri_of=lambda path: path)
    assert made.document_changes == [types.RenameFile("a", "b"), types.DeleteFile("c")]


def test_a_file_that_goes_elsewhere_and_is_edited_is_renamed_and_then_edited() -> None:
    changes = [FileChange("a", b"1\n2\n3\n4\n", None), FileChange("b", None, b"1\n2\nthree\n4\n")]
    renamed, edited = (
        convert.workspace_edit(changes, EVERYTHING, "utf-8", uri_of=lambda path: path).document_changes or ()
    )
    assert renamed == types.RenameFile("a", "b")
    assert isinstance(edited, types.TextDocumentEdit)
    assert edited.text_document.uri == "b"
    (edit,) = edited.edits
    assert edit == types.TextEdit(types.Range(types.Position(2, 0), types.Position(3, 0)), "three\n")


@pytest.mark.parametrize(
    "changes",
    [
        [FileChange("a", b"1\n2\n", None), FileChange("b", None, b"one\ntwo\n")],
        [FileChange("a", b"1\n2\n3\n", None), FileChange("b", None, b"\xff\xfe1\x00\n\x00")],
        [FileChange("a", b"1\n2\n3\n", None), FileChange("b", None, b"1\n2\n"), FileChange("c", None, b"2\n3\n")],
    ],
    ids=["another text", "another encoding", "two to choose from"],
)
def test_files_that_have_little_in_common_are_not_renamed(changes: list[FileChange]) -> None:
    made = convert.workspace_edit(changes, EVERYTHING, "utf-8", uri_of=lambda path: path)
    assert not any(isinstance(one, types.RenameFile) for one in made.document_changes or ())


@pytest.mark.parametrize("other", [FileChange("d", None, b"x"), FileChange("d", b"x", None)], ids=["comes", "goes"])
def test_of_two_files_alike_none_is_taken_for_the_renamed_one(other: FileChange) -> None:
    changes = [FileChange("a", b"x", None), FileChange("b", None, b"x"), other]
    made = convert.workspace_edit(changes, EVERYTHING, "utf-8", uri_of=lambda path: path)
    assert not any(isinstance(one, types.RenameFile) for one in made.document_changes or ())


def test_a_file_makes_room_for_a_folder_of_its_name() -> None:
    changes = [FileChange("e/f", None, b"x"), FileChange("e", b"y", None)]
    made = convert.workspace_edit(changes, EVERYTHING, "utf-8", uri_of=lambda path: path)
    assert [type(one) for one in made.document_changes or ()] == [
        types.DeleteFile, types.CreateFile, types.TextDocumentEdit,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "abilities"),
    [
        ({}, EditAbilities()),
        ({"workspace": {}}, EditAbilities()),
        ({"workspace": {"workspaceEdit": {"documentChanges": True}}}, EditAbilities(versions=True)),
        (  # Neovim 0.11 says no more than this, and takes versions
            {"workspace": {"workspaceEdit": {"resourceOperations": ["rename", "create", "delete"]}}},
            EditAbilities(versions=True, creates=True, renames=True, deletes=True),
        ),
        (
            {
                "workspace": {
                    "workspaceEdit": {
                        "documentChanges": True,
                        "resourceOperations": ["create"],
                        "normalizesLineEndings": True,
                        "changeAnnotationSupport": {"groupsOnLabel": True},
                        "metadataSupport": True,
                    }
                }
            },
            EditAbilities(versions=True, creates=True, confirms=True, refactors=True, normalizes=True),
        ),
    ],
    ids=["nothing", "workspace", "versions", "neovim", "vscode"],
)
def test_abilities_are_as_declared(declared: dict[str, Any], abilities: EditAbilities) -> None:
    assert EditAbilities.of(default_converter().structure(declared, types.ClientCapabilities)) == abilities


@pytest.mark.parametrize("refactoring", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_that_it_is_a_refactoring_is_said_to_who_takes_it(refactoring: bool, known: bool) -> None:
    params = convert.apply_params(
        types.WorkspaceEdit(), "Less", EditAbilities(refactors=known), refactoring=refactoring
    )
    assert params.metadata == (types.WorkspaceEditMetadata(is_refactoring=True) if refactoring and known else None)
    assert params.label == "Less"
