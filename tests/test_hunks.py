"""Patches that `git apply` takes, and hunks that people read."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_lsp.edits.hunks import changed, counts, hunks, unified
from glm_lsp.terms import FileChange, Hunk

ALONE = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CEILING_DIRECTORIES": tempfile.gettempdir(),
}


def apply(change: FileChange, *options: str) -> bytes | None:
    """What `git apply` makes of the change's patch in a folder that has the file before."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, change.path)
        file.parent.mkdir(parents=True, exist_ok=True)
        before, after = (change.after, change.before) if "-R" in options else (change.before, change.after)
        if before is not None:
            file.write_bytes(before)
        patch = unified(change).encode("utf-8", "surrogateescape")
        command = ["git", "apply", "--whitespace=nowarn", *options, "-"]
        done = subprocess.run(command, cwd=folder, env=ALONE, input=patch, capture_output=True, check=False)
        assert done.returncode == 0, (done.stderr.decode(), patch)
        assert (after is None) == (not file.exists())
        return file.read_bytes() if file.exists() else None


LINE = st.sampled_from(
    [b"a\n", b"b\n", b"c\r\n", b"\n", b"d\re\n", b"\xff\xe9\n", "é\u2028\n".encode(), b"-- x\n", b" \n"]
)
BODY = st.builds(
    lambda lines, tail: b"".join(lines) + tail, st.lists(LINE, max_size=14), st.sampled_from([b"", b"", b"z"])
)


@settings(max_examples=40, deadline=None)
@given(BODY, BODY)
def test_git_applies_any_patch_of_text_both_ways(before: bytes, after: bytes):
    change = FileChange("a.txt", before, after)
    if before == after:
        assert unified(change) == ""
    else:
        assert apply(change) == after
        assert apply(change, "-R") == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(FileChange("new.txt", None, b"a\nb"), id="a new file"),
        pytest.param(FileChange("gone.txt", b"a\n", None), id="a deleted file"),
        pytest.param(FileChange("new.txt", None, b""), id="a new empty file"),
        pytest.param(FileChange("gone.txt", b"", None), id="a deleted empty file"),
        pytest.param(FileChange("a.txt", b"a\n", b""), id="emptied"),
        pytest.param(FileChange("a.txt", b"", b"a\n"), id="filled"),
        pytest.param(FileChange("a.txt", b"a\n", b"a"), id="a final newline less"),
        pytest.param(FileChange("a b/c d.txt", b"a\n", b"b\n"), id="blanks in the path"),
        pytest.param(FileChange('dé/"q"\\\t日.txt', b"a\n", b"b\n"), id="quotes and more in the path"),
        pytest.param(FileChange("new é.txt", None, b"b\n"), id="a new file with such a path"),
        pytest.param(FileChange("a.bin", b"\0\1\2" * 100, b"\0\1\3" * 90), id="binary"),
        pytest.param(FileChange("a.bin", None, bytes(range(256)) * 20), id="a new binary file"),
        pytest.param(FileChange("a.bin", b"\0", None), id="a deleted binary file"),
        pytest.param(FileChange("a.txt", "a\n".encode("utf-16"), "b\n".encode("utf-16")), id="utf-16"),
        pytest.param(FileChange("a.txt", b"a\r\nb\r\n", b"a\r\nc\r\n"), id="crlf"),
        pytest.param(FileChange("a.txt", b"a\r\n" * 9, b"a\n" * 9), id="crlf to lf"),
    ],
)
def test_git_applies_every_kind_of_change_both_ways(change: FileChange):
    assert apply(change) == change.after
    assert apply(change, "-R") == change.before


def test_a_new_program_is_executable():
    with tempfile.TemporaryDirectory() as folder:
        patch = unified(FileChange("run", None, b"#!/bin/sh\n", mode=0o755)).encode()
        subprocess.run(["git", "apply", "-"], cwd=folder, env=ALONE, input=patch, check=True)
        assert Path(folder, "run").stat().st_mode & 0o111


def test_a_patch_looks_as_git_writes_it():
    before = b"".join(b"%d\n" % n for n in range(1, 31))
    after = before.replace(b"\n5\n", b"\nfive\n").replace(b"\n13\n", b"\n").replace(b"\n20\n", b"\ntwenty\n") + b"end"
    assert unified(FileChange("a.txt", before, after)) == (
        "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n"
        "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        "@@ -10,14 +10,13 @@\n 10\n 11\n 12\n-13\n 14\n 15\n 16\n 17\n 18\n 19\n-20\n+twenty\n 21\n 22\n 23\n"
        "@@ -28,3 +27,4 @@\n 28\n 29\n 30\n+end\n\\ No newline at end of file\n"
    )


def test_hunks_tell_lines_numbers_and_context():
    before, after = "a\nb\nc\nd\ne\nf\n", "a\nb\nX\nd\ne\nf\nnew\n"
    assert hunks("p", before, after, context=2) == (
        Hunk("p", 3, 3, ("c",), ("X",), ("a", "b"), ("d", "e")),
        Hunk("p", 7, 7, (), ("new",), ("e", "f"), ()),
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param("", "a\n", (Hunk("p", 1, 1, (), ("a",)),), id="a new file"),
        pytest.param("a\n", "", (Hunk("p", 1, 1, ("a",), ()),), id="a deleted one"),
        pytest.param("a\r\n", "a\n", (Hunk("p", 1, 1, ("a",), ("a",)),), id="another terminator"),
        pytest.param("a", "a\n", (Hunk("p", 1, 1, ("a",), ("a",)),), id="a final newline"),
        pytest.param("a\rb\r", "a\rc\r", (Hunk("p", 2, 2, ("b",), ("c",), ("a",)),), id="lone returns"),
        pytest.param(
            "a\u2028b\n", "a\u2028c\n", (Hunk("p", 1, 1, ("a\u2028b",), ("a\u2028c",)),), id="a line separator"
        ),
        pytest.param("a\n", "a\n", (), id="nothing"),
    ],
)
def test_hunks_of_small_changes(before: str, after: str, expected: tuple[Hunk, ...]):
    assert hunks("p", before, after) == expected


def test_counts_are_those_of_the_patch():
    changes = [
        FileChange("a", b"a\nb\nc\n", b"a\nx\ny\nc\n"),
        FileChange("b", None, b"1\n2"),
        FileChange("c", b"1\n", None),
        FileChange("d", b"\0", b"\0\0"),
    ]
    assert counts(changes) == (4, 2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=400), st.lists(st.integers(0, 400), max_size=400))
def test_the_changed_runs_rebuild_the_new_side(old: list[int], new: list[int]):
    rebuilt: list[int] = []
    done_i = done_j = 0
    for i1, i2, j1, j2 in changed(old, new):
        assert i1 - done_i == j1 - done_j
        assert done_i == 0 or i1 > done_i
        assert i2 > i1 or j2 > j1
        rebuilt += old[done_i:i1] + new[j1:j2]
        done_i, done_j = i2, j2
    assert rebuilt + old[done_i:] == new


def test_many_scattered_changes_in_a_long_file_stay_separate():
    old = [f"line {n}" for n in range(50_000)]
    new = [f"changed {n}" if n % 50 == 0 else line for n, line in enumerate(old)]
    blocks = changed(old, new)
    assert len(blocks) == 1000
    assert all(i2 - i1 == j2 - j1 == 1 for i1, i2, j1, j2 in blocks)
