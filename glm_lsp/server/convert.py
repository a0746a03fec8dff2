"""Between the protocol's nouns and ours: addresses, positions, selections, problems, and changes as workspace edits.

Never decides anything: what a client cannot do it says, and the caller chooses what to do about it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

from lsprotocol import types

from glm_lsp.edits.hunks import changed
from glm_lsp.edits.text import Text, blank, decode
from glm_lsp.errors import NotText
from glm_lsp.terms import Problem, Selection, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from glm_lsp.terms import FileChange, Finding

Encoding = Literal["utf-8", "utf-16", "utf-32"]

SOURCE = "glm-lsp"
"""The source of our diagnostics."""


class Place(Protocol):
    """A position, in whichever class it came."""

    @property
    def line(self) -> int:
        """Counts from 0."""

    @property
    def character(self) -> int:
        """Counts code units from 0."""


class Extent(Protocol):
    """A range, in whichever class it came."""

    @property
    def start(self) -> Place:
        """Where it begins."""

    @property
    def end(self) -> Place:
        """Where it ends, itself not included."""


# --- addresses ---------------------------------------------------------------------------------------------------


def uri_to_path(uri: str) -> Path | None:
    """The file of this machine that an address names; None for anything else, such as `untitled:` or a notebook's cell.

    A `#` or `?` that was not escaped is taken as part of the name, since an editor's documents have no fragments.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "file":
        return None
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in {"", "localhost"}:
            return None
        rest = slash + rest
    path = unquote_to_bytes(rest.encode("utf-8", "surrogateescape"))
    return Path(os.fsdecode(path)) if path.startswith(b"/") and b"\0" not in path else None


def path_to_uri(path: Path) -> str:
    """The address of a file, whose path is absolute."""
    return "file://" + quote_from_bytes(os.fsencode(path), safe=b"/-._~")


# --- positions ---------------------------------------------------------------------------------------------------


def offset_at(text: Text | str, position: Place, encoding: Encoding) -> int:
    """How many characters of a text stand before a position.

    A position behind the end of its line is that end, and one behind the last line the end of the text.
    One inside a character is before it.
    """
    text = _text(text)
    if position.line >= text.line_count:
        return len(text.content)
    number = position.line + 1
    return text.offset_of(number) + column_at(text.line(number), position.character, encoding)


def position_at(text: Text | str, offset: int, encoding: Encoding) -> types.Position:
    """The position before the character at `offset`; between the two characters of one terminator, the line's end."""
    text = _text(text)
    offset = min(max(offset, 0), len(text.content))
    number = text.line_of(offset)
    if number > text.line_count:
        return types.Position(text.line_count, 0)
    column = offset - text.offset_of(number)
    return types.Position(number - 1, character_at(text.line(number), column, encoding))


def column_at(line: str, character: int, encoding: Encoding) -> int:
    """How many characters of a line stand before so many code units."""
    if character <= 0:
        return 0
    if encoding == "utf-32" or line.isascii():
        return min(character, len(line))
    data = line.encode(_CODECS[encoding], "surrogatepass")
    cut = character if encoding == "utf-8" else 2 * character
    if cut >= len(data):
        return len(line)
    if encoding == "utf-8":
        while data[cut] & 0xC0 == 0x80:  # not the first byte of a character
            cut -= 1
    elif 0xDC <= data[cut + 1] <= 0xDF and 0xD8 <= data[cut - 1] <= 0xDB:  # between the halves of one
        cut -= 2
    return len(data[:cut].decode(_CODECS[encoding], "surrogatepass"))


def character_at(line: str, column: int, encoding: Encoding) -> int:
    """How many code units stand before so many characters of a line."""
    before = line[: max(column, 0)]
    if encoding == "utf-32" or before.isascii():
        return len(before)
    return len(before.encode(_CODECS[encoding], "surrogatepass")) // _WIDTHS[encoding]


def selection(path: str, text: Text | str, extent: Extent, encoding: Encoding) -> Selection:
    """What a person selected; a selection that ends before the first character of a line does not have that line."""
    text = _text(text)
    ends = (offset_at(text, extent.start, encoding), offset_at(text, extent.end, encoding))
    start, end = min(ends), max(ends)
    most = max(text.line_count, 1)
    first, last = min(text.line_of(start), most), min(text.line_of(end), most)
    if last > first and end == text.offset_of(last):
        last -= 1
    return Selection(path, first, last, text.content[start:end])


def problem(path: str, text: Text | str, diagnostic: types.Diagnostic, encoding: Encoding) -> Problem:
    """What an editor told of a file; what has no severity is an error."""
    start = diagnostic.range.start
    text = _text(text)
    line = text.line(start.line + 1) if start.line < text.line_count else ""
    return Problem(
        path,
        start.line + 1,
        column_at(line, start.character, encoding) + 1,
        _SEVERITIES.get(diagnostic.severity or types.DiagnosticSeverity.Error, "error"),
        diagnostic.source or "",
        "" if diagnostic.code is None else str(diagnostic.code),
        diagnostic.message,
    )


def diagnostic(finding: Finding, text: Text | str, encoding: Encoding, *, source: str = SOURCE) -> types.Diagnostic:
    """What a review found, on the lines that it is about."""
    text = _text(text)
    first = min(max(finding.first_line, 1), max(text.line_count, 1))
    last = min(max(finding.last_line, first), max(text.line_count, 1))
    ending = text.line(last) if text.line_count else ""
    return types.Diagnostic(
        types.Range(
            types.Position(first - 1, 0), types.Position(last - 1, character_at(ending, len(ending), encoding))
        ),
        finding_text(finding),
        severity=next(there for there, ours in _SEVERITIES.items() if ours == finding.severity),
        source=source,
    )


def finding_text(finding: Finding) -> str:
    """What a diagnostic says of a finding."""
    return f"{finding.message}\n{finding.suggestion}" if finding.suggestion else finding.message


# --- changes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EditAbilities:
    """What a client can do with a workspace edit.

    Attributes:
        versions: takes edits of a document with the version they are for.
        creates: creates files.
        renames: renames files.
        deletes: deletes files.
        confirms: shows changes for confirmation where it is asked to.
        refactors: takes word that an edit is a refactoring.
        normalizes: writes the line endings of a document all alike, whatever an edit says.
    """

    versions: bool = False
    creates: bool = False
    renames: bool = False
    deletes: bool = False
    confirms: bool = False
    refactors: bool = False
    normalizes: bool = False

    @classmethod
    def of(cls, capabilities: types.ClientCapabilities) -> EditAbilities:
        """As the client declares them; one with resource operations takes versions too, whether it says so or not."""
        edits = capabilities.workspace.workspace_edit if capabilities.workspace else None
        if edits is None:
            return cls()
        operations = set(edits.resource_operations or ())
        return cls(
            versions=bool(edits.document_changes or operations),
            creates=types.ResourceOperationKind.Create in operations,
            renames=types.ResourceOperationKind.Rename in operations,
            deletes=types.ResourceOperationKind.Delete in operations,
            confirms=edits.change_annotation_support is not None,
            refactors=bool(edits.metadata_support),
            normalizes=bool(edits.normalizes_line_endings),
        )


def beyond(change: FileChange, client: EditAbilities, *, opened: bool = False) -> str:
    """Why a client cannot make this change, to the byte, by a workspace edit; empty where it can.

    Args:
        change: what is to become of one file.
        client: what it can do.
        opened: whether the file is open in it, so that `change.before` is the buffer, whose bytes it will write.
    """
    if change.before is None and not client.creates:
        return "it cannot create files"
    if change.after is None:
        return "" if client.deletes else "it cannot delete files"
    if change.mode is not None:
        return "it cannot set permissions"
    try:
        old, new = _both(change)
    except NotText:
        return "it edits text only"
    if (old.bom, old.encoding) != (new.bom, new.encoding) or (old.encoding != "utf-8" and not opened):
        return "it cannot choose an encoding"
    endings = ({*old.terminators()} - {""} or {"\n"}) | ({*new.terminators()} - {""})
    if client.normalizes and not opened and len(endings) > 1:
        return "it would change line endings"
    return ""


def text_edits(before: Text | str, after: Text | str, encoding: Encoding) -> list[types.TextEdit]:
    """What makes one text of another: a replacement of whole lines for each run of changed lines, in order."""
    old, new = _text(before), _text(after)
    ours = [line + end for line, end in zip(old.lines(), old.terminators(), strict=True)]
    theirs = [line + end for line, end in zip(new.lines(), new.terminators(), strict=True)]
    return [
        types.TextEdit(
            types.Range(
                position_at(old, old.offset_of(i1 + 1), encoding), position_at(old, old.offset_of(i2 + 1), encoding)
            ),
            "".join(theirs[j1:j2]),
        )
        for i1, i2, j1, j2 in changed(ours, theirs)
    ]


def workspace_edit(
    changes: Iterable[FileChange],
    client: EditAbilities,
    encoding: Encoding,
    *,
    uri_of: Callable[[str], str],
    versions: Mapping[str, int | None] | None = None,
    confirm: str = "",
) -> types.WorkspaceEdit:
    """Changes as a client can make them; none of them may be beyond it.

    A file that goes and one that comes with the same content, and no other like it, are one that was renamed; so are
    the last two of their kind where most lines are the same, and then what differs is edited behind the renaming.

    Args:
        changes: at most one for each file.
        client: what it can do.
        encoding: of positions.
        uri_of: the address of a path, as the client spells it.
        versions: of the documents that are open, by path; `before` of those is what is in the buffer.
        confirm: what the person is asked to confirm, in a few words; empty asks nothing, and so does a client that
            cannot.
    """
    versions = versions or {}
    annotation = _ANNOTATION if confirm and client.confirms and client.versions else None
    files = [change for change in changes if change.before != change.after]
    moved = _renames(files) if client.renames else {}
    edits: list[types.TextDocumentEdit] = []
    plain: dict[str, list[types.TextEdit]] = {}
    created: list[types.CreateFile | types.TextDocumentEdit] = []
    gone: list[types.RenameFile | types.DeleteFile | types.TextDocumentEdit] = []
    for change in files:
        uri = uri_of(change.path)
        if change.path in moved:
            there = next(one for one in files if one.path == moved[change.path])
            gone.append(types.RenameFile(uri, uri_of(there.path), annotation_id=annotation))
            if there.after != change.before:
                renamed = types.OptionalVersionedTextDocumentIdentifier(uri=uri_of(there.path))
                made = text_edits(*_both(replace(there, before=change.before)), encoding)
                gone.append(types.TextDocumentEdit(renamed, [_annotated(edit, annotation) for edit in made]))
        elif change.path in moved.values():
            continue
        elif change.after is None:
            gone.append(types.DeleteFile(uri, annotation_id=annotation))
        else:
            if change.before is None:
                created.append(types.CreateFile(uri, annotation_id=annotation))
            made = text_edits(*_both(change), encoding)
            document = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=versions.get(change.path))
            together = types.TextDocumentEdit(document, [_annotated(edit, annotation) for edit in made])
            if change.before is None and made:
                created.append(together)
            elif made:
                plain[uri] = made
                edits.append(together)
    if not client.versions:
        return types.WorkspaceEdit(changes=plain)
    # Nothing goes before all that is new is there, unless a file has to make room for a folder of its name.
    taken = {change.path for change in files if change.after is None}
    under = {str(parent) for change in files if change.after is not None for parent in Path(change.path).parents}
    order = [*edits, *gone, *created] if taken & under else [*edits, *created, *gone]
    named = {_ANNOTATION: types.ChangeAnnotation(confirm, needs_confirmation=True)} if annotation else None
    return types.WorkspaceEdit(document_changes=order, change_annotations=named)


def apply_params(
    edit: types.WorkspaceEdit, label: str, client: EditAbilities, *, refactoring: bool = False
) -> types.ApplyWorkspaceEditParams:
    """What `workspace/applyEdit` is sent; that it is a refactoring is said to clients that take it."""
    known = types.WorkspaceEditMetadata(is_refactoring=True) if refactoring and client.refactors else None
    return types.ApplyWorkspaceEditParams(edit, label, known)


_CODECS: dict[Encoding, str] = {"utf-8": "utf-8", "utf-16": "utf-16-le"}
_WIDTHS: dict[Encoding, int] = {"utf-8": 1, "utf-16": 2}
_ANNOTATION = "glm"
_SEVERITIES: dict[types.DiagnosticSeverity, Severity] = {
    types.DiagnosticSeverity.Error: "error",
    types.DiagnosticSeverity.Warning: "warning",
    types.DiagnosticSeverity.Information: "information",
    types.DiagnosticSeverity.Hint: "hint",
}


def _text(text: Text | str) -> Text:
    return Text(text) if isinstance(text, str) else text


def _both(change: FileChange) -> tuple[Text, Text]:
    after = decode(change.after or b"", change.path)
    return (blank(change.path) if change.before is None else decode(change.before, change.path)), after


def _renames(files: list[FileChange]) -> dict[str, str]:
    """Old to new paths of files that went elsewhere, as they were or hardly changed."""
    went: dict[bytes, list[str]] = {}
    came: dict[bytes, list[str]] = {}
    for change in files:
        if change.after is None and change.before:
            went.setdefault(change.before, []).append(change.path)
        elif change.before is None and change.after and change.mode is None:
            came.setdefault(change.after, []).append(change.path)
    found = {
        old[0]: came[content][0] for content, old in went.items() if len(old) == 1 and len(came.get(content, ())) == 1
    }
    left = [(path, content) for content, paths in went.items() for path in paths if path not in found]
    fresh = [(path, content) for content, paths in came.items() for path in paths if path not in found.values()]
    if len(left) == len(fresh) == 1 and _alike(left[0][1], fresh[0][1]):
        found[left[0][0]] = fresh[0][0]
    return found


def _alike(before: bytes, after: bytes) -> bool:
    """Whether two contents are texts of one encoding that have most of their lines in common."""
    try:
        old, new = decode(before, ""), decode(after, "")
    except NotText:
        return False
    if (old.bom, old.encoding) != (new.bom, new.encoding):
        return False
    same = old.line_count - sum(i2 - i1 for i1, i2, _, _ in changed(old.lines(), new.lines()))
    return 2 * same > max(old.line_count, new.line_count)


def _annotated(edit: types.TextEdit, annotation: str | None) -> types.TextEdit | types.AnnotatedTextEdit:
    return edit if annotation is None else types.AnnotatedTextEdit(annotation, edit.range, edit.new_text)
