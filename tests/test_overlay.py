"""A turn sees what the editor shows, saved or not; the disk is only the rest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from glm_lsp.conversations import Conversation
from glm_lsp.edits.apply import apply
from glm_lsp.edits.draft import Draft
from glm_lsp.edits.journal import Journal
from glm_lsp.edits.paths import Jail
from glm_lsp.edits.place import Placed, place
from glm_lsp.engine.scripted import ScriptedEngine, said
from glm_lsp.errors import Conflict, Missing, NotRead, NotText, OutsideWorkspace, Protected
from glm_lsp.settings import EditSettings, Settings, ToolSettings
from glm_lsp.terms import Ask, Proposed, ToolReturned
from glm_lsp.tools import ToolContext, search
from glm_lsp.workspace import Workspace
from tests.stories import edit, project

if TYPE_CHECKING:
    from pathlib import Path

DISK = "def total(items):\n    return sum(items)\n"
SHOWN = "import math\n\n\ndef total(items):\n    return sum(items)\n"


class Editor(dict[str, str]):
    """What is open, by path; an overlay as the server gives one."""

    def __init__(self, **shown: str) -> None:
        super().__init__({name.replace("__", "/").replace("_", "."): text for name, text in shown.items()})
        self.asked: list[str] = []

    def overlay(self, path: str) -> str | None:
        self.asked.append(path)
        return self.get(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py=DISK, notes_txt="one\ntwo\n")


def opened(root: Path, editor: Editor, **limits: int) -> Draft:
    return Draft(Jail(root), EditSettings(**limits), editor.overlay)


def replace(draft: Draft, path: str, old: str, new: str) -> None:
    placed = place(draft.text(path), path, old, new)
    assert isinstance(placed, Placed)
    draft.put(path, placed.edit)


def test_what_the_editor_shows_is_read_and_the_change_is_from_there(root: Path):
    draft = opened(root, Editor(cart_py=SHOWN))
    assert draft.read("./cart.py").content == SHOWN
    replace(draft, "cart.py", "sum(items)", "math.fsum(items)")
    (change,) = draft.changes()
    assert (change.before, change.after) == (SHOWN.encode(), SHOWN.replace("sum", "math.fsum").encode())
    (hunk,) = draft.hunks()
    assert hunk.old_line == 5
    assert (root / "cart.py").read_text() == DISK
    assert draft.objections() == ()


def test_looking_sees_it_too(root: Path):
    editor = Editor(cart_py=SHOWN)
    draft = opened(root, editor)
    plain = Draft(Jail(root), EditSettings())
    assert draft.peek("cart.py").content == SHOWN
    assert draft.live("cart.py") == SHOWN
    assert draft.size("cart.py") == len(SHOWN)
    assert draft.digest("cart.py") != plain.digest("cart.py")
    assert draft.digest("notes.txt") == plain.digest("notes.txt")
    assert draft.live("notes.txt") == "one\ntwo\n"
    assert draft.live("none.txt") is None
    assert not draft.was_read("cart.py")
    editor["cart.py"] = DISK
    assert draft.digest("cart.py") == plain.digest("cart.py")


def test_typing_makes_stale_what_was_read_and_saving_does_not(root: Path):
    editor = Editor(cart_py=SHOWN)
    draft = opened(root, editor)
    draft.read("cart.py")
    draft.read("notes.txt")
    assert draft.stale() == ()
    (root / "cart.py").write_text(SHOWN)
    assert draft.stale() == ()
    editor["cart.py"] += "x = 1\n"
    assert draft.stale() == ("cart.py",)
    del editor["cart.py"]
    assert draft.stale() == ()


def test_going_on_after_applying_starts_from_what_is_shown_then(root: Path):
    editor = Editor(cart_py=SHOWN, notes_txt="one\ntwo\n")
    draft = opened(root, editor)
    for path in ("cart.py", "notes.txt"):
        draft.read(path)
    replace(draft, "cart.py", "sum(items)", "math.fsum(items)")
    replace(draft, "notes.txt", "two", "three")
    editor["cart.py"] = SHOWN.replace("sum", "math.fsum")  # taken over by the editor, and not saved
    editor["notes.txt"] = "one\nthree\nfour\n"  # and here the person typed on

    assert draft.rebase() == ("notes.txt",)

    assert draft.changes() == ()
    assert draft.text("notes.txt").content == "one\nthree\nfour\n"
    replace(draft, "cart.py", "import math\n", "")
    (change,) = draft.changes()
    assert change.before == SHOWN.replace("sum", "math.fsum").encode()


def test_a_buffer_that_was_never_saved_is_a_file(root: Path):
    draft = opened(root, Editor(new__fresh_py="x = 1\n"))
    with pytest.raises(NotRead):
        draft.write("new/fresh.py", "x = 2\n")
    with pytest.raises(NotRead):
        draft.text("new/fresh.py")
    assert draft.size("new/fresh.py") == 6
    assert draft.read("new/fresh.py").content == "x = 1\n"
    assert draft.read("./new/../new/fresh.py").content == "x = 1\n"
    draft.write("new/fresh.py", "x = 2\n")
    (change,) = draft.changes()
    assert (change.path, change.before, change.after) == ("new/fresh.py", b"x = 1\n", b"x = 2\n")
    assert draft.stale() == ()
    draft.reset()
    assert draft.text("new/fresh.py").content == "x = 1\n"
    assert not (root / "new").exists()


def test_a_buffer_whose_file_was_deleted_is_a_file(root: Path):
    draft = opened(root, Editor(cart_py=SHOWN))
    draft.read("cart.py")
    (root / "cart.py").unlink()
    assert draft.stale() == ()
    assert draft.live("cart.py") == SHOWN


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param(".env", Protected, id="a secret"),
        pytest.param("fresh.pem", Protected, id="a new secret"),
        pytest.param(".git/config", Protected, id="git's own"),
        pytest.param("../beside.py", OutsideWorkspace, id="outside"),
        pytest.param("link.py", OutsideWorkspace, id="a link that leads out"),
        pytest.param("none.py", Missing, id="neither open nor there"),
        pytest.param("nul.txt", NotText, id="NUL characters"),
        pytest.param("binary", NotText, id="binary on disk"),
    ],
)
def test_the_jail_comes_before_the_editor(root: Path, tmp_path: Path, path: str, error: type):
    (root / ".env").write_text("KEY=1\n")
    (root / "binary").write_bytes(b"\x00\xff")
    (tmp_path / "beside.py").write_text("x = 1\n")
    (root / "link.py").symlink_to(tmp_path / "beside.py")
    editor = Editor(nul_txt="a\0b", binary="text\n")
    editor |= {".env": "KEY=2\n", ".git/config": "x", "fresh.pem": "x", "../beside.py": "y = 1\n", "link.py": "y = 1\n"}
    draft = opened(root, editor)
    for attempt in (draft.read, draft.peek):
        with pytest.raises(error):
            attempt(path)
    assert draft.digest(path) is None
    assert not draft.was_read(path)
    assert draft.changes() == ()
    assert not {".env", ".git/config", "../beside.py", "fresh.pem"} & set(editor.asked)


def test_an_ignored_file_stays_ignored_when_it_is_open(root: Path):
    (root / "built.js").write_text("x\n")
    draft = Draft(Jail(root, ignored=lambda path: path == "built.js"), EditSettings(), lambda _: "y\n")
    with pytest.raises(Protected):
        draft.read("built.js")


def test_the_limit_is_for_what_is_shown(root: Path):
    draft = opened(root, Editor(notes_txt="x" * 21), max_file_bytes=20)
    with pytest.raises(NotText, match="21 bytes in the editor"):
        draft.read("notes.txt")


@pytest.mark.parametrize(
    ("disk", "shown", "content", "data"),
    [
        pytest.param(b"a\r\nb\r\n", "a\nB\n", "a\r\nB\r\n", b"a\r\nB\r\n", id="an editor that tells newlines only"),
        pytest.param(b"a\r\nb\r\n", "a\r\nB\n", "a\r\nB\n", b"a\r\nB\n", id="mixed in the editor"),
        pytest.param(b"a\r\nb\n", "a\nB\n", "a\nB\n", b"a\nB\n", id="mixed on disk"),
        pytest.param(b"a\nb\n", "a\r\nB\r\n", "a\r\nB\r\n", b"a\r\nB\r\n", id="changed to CRLF in the editor"),
        pytest.param(b"a\rb\r", "a\nB\n", "a\rB\r", b"a\rB\r", id="lone returns"),
        pytest.param(b"\xef\xbb\xbfa\n", "B\n", "B\n", b"\xef\xbb\xbfB\n", id="a byte order mark"),
        pytest.param(b"\xef\xbb\xbfa\n", "\ufeffB\n", "B\n", b"\xef\xbb\xbfB\n", id="told as a character"),
        pytest.param(b"a\n", "\ufeffB\n", "B\n", b"\xef\xbb\xbfB\n", id="added in the editor"),
        pytest.param("a\r\n".encode("utf-16"), "é\n", "é\r\n", b"\xff\xfe\xe9\x00\r\x00\n\x00", id="utf-16"),
        pytest.param(b"", "a\r\n", "a\r\n", b"a\r\n", id="an empty file"),
        pytest.param(b"a\r\n", "", "", b"", id="emptied in the editor"),
    ],
)
def test_encoding_mark_and_endings_are_those_of_the_disk(
    root: Path, disk: bytes, shown: str, content: str, data: bytes
):
    (root / "f.txt").write_bytes(disk)
    draft = opened(root, Editor(f_txt=shown))
    text = draft.read("f.txt")
    assert (text.content, text.encode()) == (content, data)
    draft.write("f.txt", content + "more\n") if content else draft.write("f.txt", "more\n")
    (change,) = draft.changes()
    assert change.before == data


def test_a_declared_encoding_is_kept_and_one_that_the_text_breaks_is_refused(root: Path):
    (root / "l.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    editor = Editor(l_py="# coding: latin-1\nx = 'éé'\n")
    draft = opened(root, editor)
    assert draft.read("l.py").encode() == b"# coding: latin-1\nx = '\xe9\xe9'\n"
    for shown in ("# coding: latin-1\nx = '日'\n", "# coding: utf-8\nx = 'é'\n"):
        editor["l.py"] = shown
        with pytest.raises(NotText):
            draft.live("l.py")
        assert draft.stale() == ("l.py",)


def test_a_clean_buffer_is_written_on_disk_whatever_endings_the_editor_tells(root: Path, tmp_path: Path):
    (root / "f.txt").write_bytes(b"a\r\nb\r\n")
    draft = opened(root, Editor(f_txt="a\nb\n"))
    draft.read("f.txt")
    replace(draft, "f.txt", "b", "B")
    journal = Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})
    apply(root, draft.changes(), journal=journal, jail=draft.jail, label="x")
    assert (root / "f.txt").read_bytes() == b"a\r\nB\r\n"


def test_unsaved_text_never_reaches_the_disk_by_the_way_of_saved_files(root: Path, tmp_path: Path):
    draft = opened(root, Editor(cart_py=SHOWN, fresh_py="x = 1\n"))
    journal = Journal.open(root, environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})
    for path, old, new in (("cart.py", "sum(items)", "max(items)"), ("fresh.py", "1", "2")):
        draft.read(path)
        replace(draft, path, old, new)
        with pytest.raises(Conflict):
            apply(root, draft.changes(), journal=journal, jail=draft.jail, label="x")
    assert {file.name: file.read_text() for file in root.iterdir()} == {"cart.py": DISK, "notes.txt": "one\ntwo\n"}


@pytest.mark.parametrize("pattern", ["import (?=math)", "import math"])
def test_a_search_finds_what_was_typed_and_not_what_was_removed(root: Path, pattern: str):
    workspace = Workspace.open(root, Settings())
    editor = Editor(cart_py=SHOWN, notes_txt="one\n")
    context = ToolContext(workspace.draft(editor.overlay), workspace.listing, ToolSettings(), stop=threading.Event())
    assert search.TOOL.run(context, {"pattern": pattern}).text == "cart.py:1|import math"
    assert "Nothing matches" in search.TOOL.run(context, {"pattern": "two"}).text
    assert "Nothing matches" in search.TOOL.run(context, {"pattern": "tw(?=o)"}).text


async def test_a_turn_reads_and_edits_what_is_shown(root: Path):
    editor = Editor(cart_py=SHOWN)
    workspace = Workspace.open(root, Settings())
    engine = ScriptedEngine(
        [
            said(calls=[("read_file", {"file_path": "cart.py"})]),
            said(calls=[edit("cart.py", "    return sum(items)", "    return math.fsum(items)")]),
            said("Done."),
        ]
    )
    draft = workspace.draft(editor.overlay)
    turn = workspace.turn(Ask("refactor", "Use fsum."), engine, draft=draft, conversation=Conversation())
    happened = [event.what async for event in turn.run()]
    assert "1|import math" in next(what.result for what in happened if isinstance(what, ToolReturned))
    (proposed,) = [what for what in happened if isinstance(what, Proposed)]
    assert proposed.proposal.objections == ()
    assert proposed.proposal.changes[0].before == SHOWN.encode()
    assert (root / "cart.py").read_text() == DISK
