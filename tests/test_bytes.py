"""Files of every kind, through a whole turn to the disk: what was not edited has the bytes it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stories import edit, play, project, said

from glm_lsp.settings import Settings
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

MANY = "".join(f"value_{n} = {n}\n" for n in range(50_000))

EDITED = {
    "crlf": (b"a = 1\r\nb = 2\r\n", "b = 2", "b = 3", b"a = 1\r\nb = 3\r\n"),
    "cr": (b"a = 1\rb = 2\r", "b = 2", "b = 3", b"a = 1\rb = 3\r"),
    "mixed": (b"a = 1\r\nb = 2\nc = 3\r", "b = 2", "b = 3\nbb = 4", b"a = 1\r\nb = 3\nbb = 4\nc = 3\r"),
    "bom": (b"\xef\xbb\xbfa = 1\nb = 2\n", "a = 1", "a = 2", b"\xef\xbb\xbfa = 2\nb = 2\n"),
    "utf-16": (
        "\ufeffa = 1\nb = 2\n".encode("utf-16-le"),
        "b = 2",
        "b = 3",
        "\ufeffa = 1\nb = 3\n".encode("utf-16-le"),
    ),
    "latin-1 declared": (
        b"# coding: latin-1\ns = '\xe9'\nb = 2\n",
        "b = 2",
        "b = 'ü'",
        b"# coding: latin-1\ns = '\xe9'\nb = '\xfc'\n",
    ),
    "tabs": (b"if a:\n\tb = 2\n", "\tb = 2", "\tb = 3", b"if a:\n\tb = 3\n"),
    "no final newline": (b"a = 1\nb = 2", "b = 2", "b = 3\n", b"a = 1\nb = 3"),
    "empty": (b"", "", "a = 1\n", b"a = 1\n"),
    "one line of a megabyte": (
        b"x = '" + b"y" * 1_000_000 + b"'\nb = 2\n",
        "b = 2",
        "b = 3",
        b"x = '" + b"y" * 1_000_000 + b"'\nb = 3\n",
    ),
    "50,000 lines": (
        MANY.encode(),
        "value_31234 = 31234",
        "value_31234 = 0",
        MANY.replace("= 31234\n", "= 0\n").encode(),
    ),
    "form feeds and separators": (
        "a = '\u2028\x0c\x85'\nb = 2\n".encode(),
        "b = 2",
        "b = 3",
        "a = '\u2028\x0c\x85'\nb = 3\n".encode(),
    ),
}


@pytest.mark.parametrize(("before", "old", "new", "after"), EDITED.values(), ids=EDITED)
async def test_an_edit_changes_its_lines_and_no_other_byte(
    tmp_path: Path, before: bytes, old: str, new: str, after: bytes
) -> None:
    root = project(tmp_path / "w", a_py=before)
    (root / "a.py").chmod(0o755)
    reading = said(calls=[("read_file", {"file_path": "a.py", "end_line": 5})])
    story = await play(root, reading, said(calls=[edit("a.py", old, new)]), said("Done."), chop=7)
    assert [r.ok for r in story.results()] == [True, True], story.results()
    assert story.proposal is not None
    assert story.proposal.objections == ()
    Workspace.open(root, Settings()).accept(story.proposal, label="test")
    assert (root / "a.py").read_bytes() == after
    assert (root / "a.py").stat().st_mode & 0o777 == 0o755


REFUSED = {
    "binary": (b"\x7fELF\0\0\1", "not-text"),
    "latin-1 undeclared": (b"s = '\xe9'\nb = 2\n", "not-text"),
    "broken utf-8": (b"s = '\xc3'\nb = 2\n", "not-text"),
}


@pytest.mark.parametrize(("content", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_kept_exactly_is_refused_in_words(tmp_path: Path, content: bytes, code: str) -> None:
    root = project(tmp_path / "w", a_py=content)
    story = await play(root, paths=("a.py",))
    assert story.ended.code == code
    assert story.ended.hint
    assert (root / "a.py").read_bytes() == content


PATHS = [
    "../outside.py",
    "/etc/passwd",
    "out/outside.py",
    ".git/config",
    ".env",
    "link.py",
    "dangling.py",
    "a\0b",
    "",
    "nowhere.py",
    ".",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tool", ["read_file", "edit_file", "write_file"])
async def test_the_model_cannot_leave_the_workspace(tmp_path: Path, tool: str, path: str) -> None:
    root = project(tmp_path / "w", a_py="x = 1\n", _env="KEY=1\n")
    (tmp_path / "outside.py").write_text("secret = 1\n")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("[core]\n")
    (root / ".env").write_text("KEY=1\n")
    (root / "out").symlink_to(tmp_path)
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "dangling.py").symlink_to(tmp_path / "not-there")
    arguments = {
        "read_file": {"file_path": path},
        "edit_file": {"file_path": path, "old_string": "secret = 1", "new_string": "secret = 2"},
        "write_file": {"file_path": path, "content": "gotcha\n"},
    }[tool]
    story = await play(root, said(calls=[(tool, arguments)]), said("Oh."))
    result = story.results()[0]
    if (tool, path) == ("write_file", "nowhere.py"):
        assert result.ok  # a new file inside is fine
        return
    assert not result.ok
    assert "secret = 1" not in result.result
    assert "KEY=1" not in result.result
    assert story.proposal is None
