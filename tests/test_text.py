"""Bytes to characters and back, exactly."""

from __future__ import annotations

import codecs

import pytest

from glm_lsp.edits.text import Text, blank, decode
from glm_lsp.errors import NotText


@pytest.mark.parametrize(
    ("data", "path", "encoding", "content"),
    [
        pytest.param(b"", "a.py", "utf-8", "", id="empty"),
        pytest.param("é\n".encode(), "a.txt", "utf-8", "é\n", id="utf-8"),
        pytest.param(codecs.BOM_UTF8 + "é\r\n".encode(), "a.cs", "utf-8", "é\r\n", id="utf-8 with a mark"),
        pytest.param(codecs.BOM_UTF16_LE + "é😀\n".encode("utf-16-le"), "a.txt", "utf-16-le", "é😀\n", id="utf-16 le"),
        pytest.param(codecs.BOM_UTF16_BE + "é\n".encode("utf-16-be"), "a.txt", "utf-16-be", "é\n", id="utf-16 be"),
        pytest.param(codecs.BOM_UTF32_LE + "é\n".encode("utf-32-le"), "a.txt", "utf-32-le", "é\n", id="utf-32 le"),
        pytest.param(codecs.BOM_UTF32_BE + "é\n".encode("utf-32-be"), "a.txt", "utf-32-be", "é\n", id="utf-32 be"),
        pytest.param(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "a.py", "iso8859-1", None, id="latin-1 cookie"),
        pytest.param(
            b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n# \x80\n", "a.py", "cp1252", None, id="vim"
        ),
        pytest.param(b"# coding: latin-1-unix\n# \xe9\n", "a.py", "iso8859-1", None, id="emacs suffix"),
        pytest.param("# coding: shift_jis\n# 日本\n".encode("shift_jis"), "a.py", "shift_jis", None, id="shift-jis"),
        pytest.param("# coding: euc-jp\r\n# 日本\r\n".encode("euc_jp"), "a.pyi", "euc_jp", None, id="euc-jp"),
        pytest.param("# coding: gbk\n# 中文\n".encode("gbk"), "a.py", "gbk", None, id="gbk"),
        pytest.param(b"x = 1\ny = 2\n# coding: latin-1\n", "a.py", "utf-8", None, id="a cookie on line 3 is none"),
        pytest.param(b"x = 1\n# coding: latin-1\n", "a.py", "utf-8", None, id="a cookie after code is none"),
    ],
)
def test_a_file_is_read_and_written_as_the_same_bytes(data: bytes, path: str, encoding: str, content: str | None):
    text = decode(data, path)
    assert text.encoding == encoding
    assert text.encode() == data
    if content is not None:
        assert text.content == content


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        pytest.param(b"caf\xe9\n", "a.txt", "byte 0xE9 at offset 3, line 1", id="latin-1 without a cookie"),
        pytest.param(b"x\ny\r\nz = '\xe9'\n", "a.py", "line 3", id="latin-1 in python without a cookie"),
        pytest.param(b"\x7fELF\0\0", "a.out", "NUL byte at offset 4", id="binary"),
        pytest.param("ab".encode("utf-16-le"), "a.txt", "binary", id="utf-16 without a mark"),
        pytest.param(codecs.BOM_UTF16_LE + b"a\0b", "a.txt", "utf-16-le", id="half a utf-16 unit"),
        pytest.param(codecs.BOM_UTF16_LE + b"a\0\0\0", "a.txt", "NUL", id="a NUL character"),
        pytest.param(b"ab\n" + "é".encode()[:1], "a.txt", "line 2", id="cut off utf-8 tail"),
        pytest.param(b"# coding: nonsense\n", "a.py", "'nonsense'", id="unknown cookie"),
        pytest.param(b"# coding: rot13\n", "a.py", "not known", id="a codec that is no encoding"),
        pytest.param(b"# coding: ascii\n# \xe9\n", "a.py", "says that it is ascii", id="a cookie that lies"),
        pytest.param(b"# coding: utf-16-le\n", "a.py", "would change", id="a cookie of an incompatible encoding"),
        pytest.param(b"# coding: utf-8-sig\n", "a.py", "would change", id="a mark declared and absent"),
    ],
)
def test_bytes_that_could_not_be_kept_are_refused(data: bytes, path: str, says: str):
    with pytest.raises(NotText) as refusal:
        decode(data, path)
    assert says in refusal.value.message
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("data", "content", "says"),
    [
        pytest.param(
            b"# coding: latin-1\n", "# coding: latin-1\n# \u2013\n", "U+2013) on line 2", id="no such character"
        ),
        pytest.param(b"x\n", "x\n\ud83d\n", "U+D83D on line 2", id="half a surrogate pair"),
        pytest.param(b"x\n", "a\0b\n", "NUL", id="nul"),
        pytest.param(b"# coding: latin-1\n#\xe9\n", "# coding: utf-8\n#é\n", "coding comment", id="another cookie"),
        pytest.param("#é\n".encode(), "# coding: latin-1\n#é\n", "coding comment", id="a cookie that would lie"),
    ],
)
def test_characters_that_the_encoding_cannot_hold_are_refused(data: bytes, content: str, says: str):
    with pytest.raises(NotText) as refusal:
        decode(data, "a.py").encode(content)
    assert says in refusal.value.message


def test_a_coding_comment_may_change_where_the_bytes_stay_the_same():
    text = decode(b"# coding: latin-1\nx\n", "a.py")
    assert text.encode("# coding: ascii\nx\n") == b"# coding: ascii\nx\n"


@pytest.mark.parametrize(
    ("content", "lines", "ends", "newline"),
    [
        ("", [], [], "\n"),
        ("\n", [""], ["\n"], "\n"),
        ("a", ["a"], [""], "\n"),
        ("a\nb", ["a", "b"], ["\n", ""], "\n"),
        ("a\r\nb\rc\n", ["a", "b", "c"], ["\r\n", "\r", "\n"], "\n"),
        ("a\r\nb\r\nc\n", ["a", "b", "c"], ["\r\n", "\r\n", "\n"], "\r\n"),
        ("a\r\r\n\n\r", ["a", "", "", ""], ["\r", "\r\n", "\n", "\r"], "\r"),
        ("a\u2028b\x0bc\x0cd\x85e\x1cf\n", ["a\u2028b\x0bc\x0cd\x85e\x1cf"], ["\n"], "\n"),
    ],
)
def test_lines_end_at_line_feeds_and_carriage_returns_only(
    content: str, lines: list[str], ends: list[str], newline: str
):
    text = Text(content)
    assert text.lines() == lines
    assert text.terminators() == ends
    assert [text.line(n) + text.terminator(n) for n in range(1, text.line_count + 1)] == [
        line + end for line, end in zip(lines, ends, strict=True)
    ]
    assert text.newline == newline
    assert "".join(line + end for line, end in zip(lines, ends, strict=True)) == content
    for number, start in enumerate(text.line_starts, 1):
        assert text.line_of(start) == number
        assert text.offset_of(number) == start


def test_the_end_of_a_text_is_on_a_new_line_only_after_a_terminator():
    assert Text("a\nb").line_of(3) == 2
    assert Text("a\nb\n").line_of(4) == 3
    assert Text("").line_of(0) == 1
    assert Text("a\r\nb").line_of(2) == 1


def test_a_blank_text_of_a_python_file_minds_its_coding_comment():
    assert blank("a.txt").encode("# coding: latin-1\n# é\n")
    with pytest.raises(NotText):
        blank("a.py").encode("# coding: latin-1\n# é\n")
