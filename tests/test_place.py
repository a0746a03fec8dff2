"""Edits that are right or are not made: the ladder, the bytes, the refusals."""

from __future__ import annotations

import codecs

import pytest

from glm_lsp.edits.place import AlreadyApplied, Placed, place, splice, write_whole
from glm_lsp.edits.text import Text, decode
from glm_lsp.errors import (
    AnchorAmbiguous,
    AnchorNotFound,
    BadArguments,
    EditRefused,
    NothingChanged,
    PlaceholderText,
)


def applied(content: str, old: str, new: str, start_line: int | None = None) -> tuple[str, str]:
    """The content after the edit and the rung that placed it."""
    text = Text(content)
    placed = place(text, "a.py", old, new, start_line=start_line)
    assert isinstance(placed, Placed), placed
    return splice(text, placed.edit), placed.rung


def refused(kind: type[EditRefused], content: str, old: str, new: str, start_line: int | None = None) -> EditRefused:
    with pytest.raises(kind) as refusal:
        place(Text(content), "a.py", old, new, start_line=start_line)
    assert refusal.value.hint
    return refusal.value


def p(name: str, *values: object) -> object:
    return pytest.param(*values, id=name)


@pytest.mark.parametrize(
    ("content", "old", "new", "expected", "rung"),
    [
        # whole lines and parts of lines
        p("a whole line", "a\nb\nc\n", "b\n", "x\n", "a\nx\nc\n", "exact"),
        p("a part of a line", "x = foo(1)  # why\n", "foo(1)", "bar(2)", "x = bar(2)  # why\n", "exact"),
        p("a part becomes two lines", "f(a, b)\n", "a, ", "a,\n  ", "f(a,\n  b)\n", "exact"),
        p("from the middle of a line to the next", "a = 1\nb = 2\n", "1\nb = ", "3\nc = ", "a = 3\nc = 2\n", "exact"),
        p("a whole line before a part", "import os.path\nimport os\n", "import os", "import re", "import os.path\nimport re\n", "exact"),
        p("a longer line begins with it", "if a:\n    x\nif a and b:\n", "if a:", "if c:", "if c:\n    x\nif a and b:\n", "exact"),
        p("indented old outranks deeper lines", "  x = 1\n    x = 1\n", "  x = 1", "  x = 2", "  x = 2\n    x = 1\n", "exact"),
        # 1, 2: carriage returns
        p("crlf file, lf old", "a\r\nb\r\nc\r\n", "a\nb\n", "x\ny\nz\n", "x\r\ny\r\nz\r\nc\r\n", "line-endings"),
        p("crlf file, one line", "a\r\nb\r\n", "a", "x\ny", "x\r\ny\r\nb\r\n", "exact"),
        p("crlf file, from the middle of a line", "a = 1\r\nb = 2\r\n", "1\nb", "3\nc", "a = 3\r\nc = 2\r\n", "line-endings"),
        p("lf file, crlf old and new", "a\nb\nc\n", "a\r\nb\r\n", "x\r\nb\r\n", "x\nb\nc\n", "line-endings"),
        p("crlf is never torn", "a\r\nb\r\n", "\nb", "\nx", "a\r\nx\r\n", "line-endings"),
        # 4: mixed endings, lone returns, characters that only str.splitlines splits at
        p("mixed endings", "a\r\nb\nc\rd\n", "b\nc\n", "b\nx\n", "a\r\nb\nx\rd\n", "line-endings"),
        p("inserted line after crlf in a mixed file", "a\r\nb\nc\n", "a\n", "a\nnew\n", "a\r\nnew\r\nb\nc\n", "line-endings"),
        p("lone returns", "a\rb\rc\r", "b\nc", "x\ny\nz", "a\rx\ry\rz\r", "line-endings"),
        p("other separators are characters", "a\u2028b\x0cc\x85d\ne\n", "e", "f", "a\u2028b\x0cc\x85d\nf\n", "exact"),
        p("other separators in the old text", "a\u2028b\nc\n", "a\u2028b\n", "a\u2028x\n", "a\u2028x\nc\n", "exact"),
        p("trailing blanks stay on unchanged lines", "a  \nb\t\nc\n", "a\nb\nc\n", "a\nb\nd\n", "a  \nb\t\nd\n", "line-endings"),
        p("trailing blanks of a replaced line go", "a\nb  \nc\n", "b", "x\ny", "a\nx\ny\nc\n", "exact"),
        p("trailing blanks behind a part stay", "a = b  \nc\n", "b", "x", "a = x  \nc\n", "exact"),
        p("a line with trailing blanks removed", "a\nb  \nc\n", "b", "", "a\nc\n", "exact"),
        # 8, 25: echoed line numbers
        p("numbers with a bar", "a\nb\nc\n", "2|b\n3|c", "2|x\n3|c", "a\nx\nc\n", "line-numbers"),
        p("numbers with a tab", "\ta\n\tb\n", "     1\t\ta\n     2\t\tb\n", "\ta\n\tx\n", "\ta\n\tx\n", "line-numbers"),
        p("numbers with an arrow", "a\n  b\n", "  1→a\n  2→  b", "  1→a\n  2→  c", "a\n  c\n", "line-numbers"),
        p("numbers with a colon", "a\n\nb\n", "1: a\n2:\n3: b", "a\n\nc", "a\n\nc\n", "line-numbers"),
        p("numbers pick the place", "a\n" * 30, "20|a", "20|b", "a\n" * 19 + "b\n" + "a\n" * 10, "line-numbers"),
        p("numbers that are the content", "1|a\n2|b\n", "1|a\n2|b", "1|a\n2|c", "1|a\n2|c\n", "exact"),
        p("numbers and other indentation", "    a\n    b\n", "1|a\n2|b", "1|a\n2|c", "    a\n    c\n", "indentation"),
        # 9, 10: indentation
        p("all lines lack indentation", "    if a:\n        b\n", "if a:\n    b\n", "if c:\n    d\n    e\n", "    if c:\n        d\n        e\n", "indentation"),
        p("only the first line lacks it", "    if a:\n        b\n", "if a:\n        b\n", "if c:\n        d\n", "    if c:\n        d\n", "exact"),
        p("the first line lacks it, in a crlf file", "    if a:\r\n        b \r\n", "if a:\n        b\n", "if c:\n        d\n", "    if c:\r\n        d\r\n", "indentation"),
        p("too much indentation", "a\n  b\n", "    a\n      b\n", "    a\n      c\n", "a\n  c\n", "indentation"),
        p("spaces for tabs", "\tif a:\n\t\tb\n", "    if a:\n        b\n", "    if a:\n        c\n        d\n", "\tif a:\n\t\tc\n\t\td\n", "indentation"),
        p("tabs for spaces", "  if a:\n    b\n", "\tif a:\n\t\tb\n", "\tif a:\n\t\tc\n", "  if a:\n    c\n", "indentation"),
        p("blank lines do not count", "    a\n\n    b\n", "a\n\nb\n", "a\n\nc\n", "    a\n\n    c\n", "indentation"),
        p("one bare line to one", "def f():\n    return 1\n", "return 1", "return 2", "def f():\n    return 2\n", "exact"),
        p("one bare line to several", "def f():\n    x()\n", "x()", "x()\n    y()", "def f():\n    x()\n    y()\n", "exact"),
        p("one less indented line to several", "    x = 1\n", "  x = 1\n", "  x = 1\n  y = 2\n", "    x = 1\n    y = 2\n", "exact"),
        # 11: blank lines and final newlines
        p("no final newline in new", "a\nb\nc\n", "a\nb\n", "x", "x\nc\n", "exact"),
        p("no final newline in old", "a\nb\nc\n", "a\nb", "x\n", "x\nc\n", "exact"),
        p("one more blank line", "a\nb\n", "a\n", "a\n\n", "a\n\nb\n", "exact"),
        p("one blank line less", "a\n\n\nb\n", "a\n\n\nb", "a\n\nb", "a\n\nb\n", "exact"),
        p("no final newline in the file", "a\nb", "b\n", "x\n", "a\nx", "line-endings"),
        p("added below a line without newline", "a\nb", "b", "b\nc\n", "a\nb\nc", "exact"),
        p("removed at the end without newline", "a\nb", "b", "", "a", "exact"),
        p("removed at the end", "a\nb\n", "b", "", "a\n", "exact"),
        p("everything removed", "a\nb", "a\nb", "", "", "exact"),
        p("a final newline added", "a\nb", "b", "b\n", "a\nb\n", "exact"),
        p("a final newline added, crlf", "a\r\nb", "a\nb", "a\nb\n", "a\r\nb\r\n", "line-endings"),
        p("a final newline removed", "a\nb\n", "b\n", "b", "a\nb", "exact"),
        # 13, 14: nothing is interpreted
        p("replacement templates", "a\n", "a", r"$& $1 $$ \1 \g<0> \n", "$& $1 $$ \\1 \\g<0> \\n\n", "exact"),
        p("entities", "a = '&lt;'\n", "a = '&lt;'", "a = '&amp;' < b > \"c\"", "a = '&amp;' < b > \"c\"\n", "exact"),
        # 15: typographic characters
        p("curly quotes stay", "p(“hi”, x)\nq\n", 'p("hi", x)\nq', 'p("hi", x)\nr', "p(“hi”, x)\nr\n", "punctuation"),
        p("curly quotes stay in a changed line", "p(“hi”, x)\n", 'p("hi", x)', 'p("hi", y)', "p(“hi”, y)\n", "punctuation"),
        p("no-break space and minus", "a\u00a0=\u2212b\nc\n", "a =-b\nc", "a =-b\nd", "a\u00a0=\u2212b\nd\n", "punctuation"),
        p("dots and dashes", "wait… – ok\nx\n", "wait... - ok\nx", "wait... - ok\ny", "wait… – ok\ny\n", "punctuation"),
        p("decomposed accents", "cafe\u0301\nx\n", "café\nx", "café\ny", "cafe\u0301\ny\n", "punctuation"),
        p("straight in the file", 'p("hi")\nx\n', "p(“hi”)\nx", "p(“hi”)\ny", 'p("hi")\ny\n', "punctuation"),
        # 22, 23: markers are text
        p("conflict markers", "<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n", "<<<<<<< a\nx\n=======\ny\n>>>>>>> b", "y", "y\n", "exact"),
        p("rst headings", "A\n=====\n\nB\n=====\n", "A\n=====", "AA\n======", "AA\n======\n\nB\n=====\n", "exact"),
        p("protocol tags", "s = '</arg_value>'\n", "s = '</arg_value>'", "s = '</tool_call>'", "s = '</tool_call>'\n", "exact"),
    ],
)  # fmt: skip
def test_an_edit_is_placed_and_changes_nothing_else(content: str, old: str, new: str, expected: str, rung: str):
    assert applied(content, old, new) == (expected, rung)


@pytest.mark.parametrize(
    ("content", "old", "line", "expected"),
    [
        p("the hint is on it", "x\nimport a\nimport a\ny\n", "import a", 3, "x\nimport a\nNEW\ny\n"),
        p("the hint is near one", "a\n" + "b\n" * 20 + "a\n", "a", 3, "NEW\n" + "b\n" * 20 + "a\n"),
        p("the hint is just near enough", "\n" * 10 + "a\n" + "\n" * 30 + "a\n", "a", 1, "\n" * 10 + "NEW\n" + "\n" * 30 + "a\n"),
        p("the hint is of no use for the only place", "a\n" + "b\n" * 50, "a", 51, "NEW\n" + "b\n" * 50),
        p("the hint picks a bare or an indented line", "x\nif a:\n    x\n", "x", 1, "NEW\nif a:\n    x\n"),
    ],
)  # fmt: skip
def test_a_hint_decides_between_several_places_when_it_is_clear(content: str, old: str, line: int, expected: str):
    assert applied(content, old, "NEW", line)[0] == expected


@pytest.mark.parametrize(
    ("content", "old", "line", "says"),
    [
        p("no hint", "a\nb\na\n", "a", None, "2 places in a.py: lines 1, 3."),
        p("the hint is in the middle", "a\nb\na\n", "a", 2, "lines 1, 3"),
        p("the hint is nearly in the middle", "a\nb\nb\na\n", "a", 2, "lines 1, 4"),
        p("the hint is far away", "a\nb\na\n" + "b\n" * 30, "a", 20, "lines 1, 3"),
        p("twice in one line", "f(a, a)\n", "a", 1, "lines 1, 1"),
        p("17: blanks decide nothing", "alpha   beta \nalpha   beta\t\n", "alpha   beta  ", None, "lines 1, 2"),
        p("two indentations", "if a:\n    x = 1\nelse:\n        x = 1\n", "x = 1", None, "lines 2, 4"),
        p("bare and indented", "import os\ndef f():\n    import os\n", "import os", None, "lines 1, 3"),
        p("overlapping", "a\na\na\n", "a\na\n", None, "lines 1, 2"),
        p("very many", "a\n" * 30_000, "a", 5, "at least 10001 places"),
        p("blank lines", "a\n\nb\n\n", "\n", None, "lines 2, 4"),
    ],
)  # fmt: skip
def test_several_places_are_refused_with_their_lines(content: str, old: str, line: int | None, says: str):
    refusal = refused(AnchorAmbiguous, content, old, "NEW", line)
    assert says in refusal.message
    assert "start_line" in refusal.hint
    assert len(refusal.message) < 3000


def test_several_places_are_shown_so_that_the_next_try_can_tell_them_apart():
    refusal = refused(AnchorAmbiguous, "def f():\n    return 1\n\ndef g():\n    return 1\n", "    return 1\n", "x")
    assert "1|def f():\n2|    return 1" in refusal.message
    assert "4|def g():\n5|    return 1" in refusal.message


def test_a_laxer_rung_is_never_asked_when_a_stricter_one_found_several_places():
    content = "x = 'a'\nx = 'a'\nx = ‘a’\n"
    refusal = refused(AnchorAmbiguous, content, "x = 'a'\n", "y\n")
    assert "lines 1, 2." in refusal.message


@pytest.mark.parametrize(
    ("content", "old"),
    [
        p("16: first and last line of a long block", "{\na\nb\nc\n}\n", "{\n}"),
        p("16: lines left out", "def f():\n    a\n    b\n    return c\n", "def f():\n    return c\n"),
        p("another case", "Return X\n", "return x"),
        p("nearly the same", "def calculate(a, b):\n    return a+b\n", "def calculate(a, c):\n    return a+b\n"),
        p("17: inner blanks differ", "alpha   beta\n", "alpha\tbeta"),
        p("uneven indentation", "if a:\n    b\n      c\n", "if a:\n  b\n    c\n"),
        p("a blank line too many", "a\nb\n", "a\n\nb"),
        p("ellipsis for code", "def f():\n    a\n    b\n    c\n", "def f():\n    ...\n    c\n"),
        p("line numbers that skip", "aa\nbb\ncc\n", "1|aa\n3|bb"),
        p("line numbers on some lines", "aa\nbb\ncc\n", "1|aa\nbb"),
        p("an empty file", "", "a"),
        p("only blanks", "a\nb\n", "\n\n"),
        p("html entities are not decoded", "if a < b:\n", "if a &lt; b:"),
        p("escapes are not decoded", "a\nb\n", "a\\nb"),
    ],
)
def test_old_text_that_is_not_there_is_refused(content: str, old: str):
    refusal = refused(AnchorNotFound, content, old, "NEW")
    assert "a.py" in refusal.message
    refused(AnchorNotFound, content, old, "NEW", 2)


@pytest.mark.parametrize(
    ("content", "old", "shows"),
    [
        p("a paraphrase", "def f():\n    total = a + b\n    return total\n", "def f():\n    result = a + b\n    return total\n", "1|def f():\n2|    total = a + b\n3|    return total"),
        p("one similar line", "import os\nvalue = compute_total(x, y)\n", "value = compute_totals(x, y)", "2|value = compute_total(x, y)"),
        p("skipped line", "a = 1\nb = 2\nc = 3\n", "a = 1\nc = 3", "1|a = 1\n2|b = 2\n3|c = 3"),
    ],
)  # fmt: skip
def test_the_refusal_shows_the_nearest_live_lines_with_numbers_outside(content: str, old: str, shows: str):
    assert shows in refused(AnchorNotFound, content, old, "NEW").message


def test_copying_the_shown_lines_makes_the_next_try_right():
    content = "def f():\n    total = a + b\n    return total\n"
    refusal = refused(AnchorNotFound, content, "    result = a + b", "    return a + b")
    shown = next(line for line in refusal.message.split("\n") if "total = a + b" in line)
    assert applied(content, shown.split("|", 1)[1], "    total = a - b") == (content.replace("+", "-"), "exact")


def test_nothing_like_it_still_shows_the_lines_at_the_hint():
    content = "".join(f"line {n}\n" for n in range(1, 100))
    assert "50|line 50\n" in refused(AnchorNotFound, content, "@@@@@@@@@@@@", "x", 50).message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        p("the new line is indented, the old is not", "x = 1", "    x = 2"),
        p("a bare line to several bare lines", "x = 1", "x = 1\ny = 2"),
        p("new text goes below the old indentation", "      x = 1\n        y = 2\n", "x = 1\n"),
    ],
)
def test_indentation_with_two_readings_is_refused(old: str, new: str):
    refusal = refused(AnchorNotFound, "if a:\n    x = 1\n      y = 2\n", old, new)
    assert "2|    x = 1" in refusal.message


@pytest.mark.parametrize(
    "new",
    [
        "# ... rest of the code",
        "    # ... (rest of the function remains unchanged)",
        "# rest of the code here",
        "// existing code",
        "// ... existing code ...",
        "  // ...existing code...",
        "/* ... unchanged ... */",
        "...existing code...",
        "<!-- rest -->",
        "<!-- ... rest of the file ... -->",
        "{/* ... existing content ... */}",
        "-- ... remaining functions ...",
        "// … rest of implementation",
        "# (unchanged)",
        "# ... other methods stay the same ...",
        "[... rest of the code ...]",
        "# ... same as before",
        "; ... existing code",
        "# code omitted for brevity",
    ],
)
def test_text_that_stands_for_code_left_out_is_refused(new: str):
    assert new.strip() in refused(PlaceholderText, "a\nb\n", "a\n", f"x\n{new}\n").message
    with pytest.raises(PlaceholderText):
        write_whole(Text("a\nb\n"), "a.py", f"x\n{new}\ny\n")


@pytest.mark.parametrize(
    "new",
    [
        "# Copy the rest of the arguments to the child.",
        "def f(self): ...",
        "...",
        "x = [...]  # the existing code stays valid",
        "# Same as above, for tuples.",
        "// Remaining time in seconds",
        "print('... existing code ...')",
        "# ...",
        "The rest of the code is described below.",
        "# The existing code path is taken when nothing changed on disk.",
    ],
)
def test_ordinary_text_about_code_is_not_taken_for_a_placeholder(new: str):
    assert applied("a\nb\n", "a\n", f"a\n{new}\n")[0] == f"a\n{new}\nb\n"


def test_a_bare_elision_is_refused_only_where_lines_would_be_lost():
    refused(PlaceholderText, "a\nb\nc\nd\n", "a\nb\nc\nd\n", "a\n# ...\n")
    assert applied("a\n", "a\n", "a\n# ...\nb\n")[0] == "a\n# ...\nb\n"


def test_a_placeholder_that_the_file_has_already_is_kept():
    content = "# ... existing code ...\na\n"
    assert applied(content, content, "# ... existing code ...\nb\n")[0] == "# ... existing code ...\nb\n"


@pytest.mark.parametrize(
    ("content", "old", "new"),
    [
        p("a changed function", "def f():\n    return 1\n", "def f():\n    return 1\n", "def g(first, second):\n    return 2\n"),
        p("an inserted line", "import os\nx\n", "import os\n", "import os\nimport re\n"),
        p("a line inserted before", "x\nimport os\n", "import os\n", "import re\nimport os\n"),
        p("an inserted line in crlf", "import os\r\nx\r\n", "import os\n", "import os\nimport re\n"),
        p("a longer name within a line", "x = foo(1)\n", "foo(1)", "foo(1).bar()"),
        p("a longer number", "x = 1\n", "x = 1", "x = 10"),
        p("only indentation", "  x = 1\n", "  x = 1", "    x = 1"),
        p("wrapped and indented", "    x = call(1)\ny\n", "    x = call(1)\n", "    if ready:\n        x = call(1)\n"),
        p("last line without newline", "a\nb", "b", "b\nccc\n"),
    ],
)  # fmt: skip
def test_the_same_edit_again_is_already_applied(content: str, old: str, new: str):
    text = Text(content)
    once = place(text, "a.py", old, new)
    assert isinstance(once, Placed)
    after = splice(text, once.edit)
    assert after != content
    again = place(Text(after), "a.py", old, new)
    assert isinstance(again, AlreadyApplied)
    assert again.line >= 1


@pytest.mark.parametrize(
    ("content", "old", "new", "line"),
    [
        p("the new text is a run of the old", "import os\n", "import os\nimport sys\n", "import os\n", None),
        p("the new text is too little", "}\n", "x", "}", None),
        p("the new text is there twice", "return compute(a)\nreturn compute(a)\n", "return f(a)", "return compute(a)", None),
        p("the new text is far from the hint", "return compute(a)\n" + "x\n" * 50, "return f(a)", "return compute(a)", 45),
    ],
)  # fmt: skip
def test_new_text_that_proves_nothing_is_not_taken_for_an_applied_edit(content: str, old: str, new: str, line: int):
    refused(AnchorNotFound, content, old, new, line)


@pytest.mark.parametrize(
    ("kind", "content", "old", "new"),
    [
        p("the same", NothingChanged, "a\n", "a", "a"),
        p("the same line but for a newline within the file", NothingChanged, "a\nb\n", "a", "a\n"),
        p("the same but for trailing blanks of the old", NothingChanged, "a\nb\n", "a  \n", "a  \n"),
        p("an empty old text", BadArguments, "a\n", "", "b"),
        p("line numbers in the new text", BadArguments, "a\nb\n", "a\nb", "1|a\n2|c"),
        p("line numbers in some new lines", BadArguments, "a\nb\n", "1|a\n2|b", "1|a\nc\n2|b"),
    ],
)
def test_edits_that_mean_nothing_are_refused(kind: type[EditRefused], content: str, old: str, new: str):
    refused(kind, content, old, new)


def test_an_empty_file_is_filled():
    assert applied("", "", "a\nb\n") == ("a\nb\n", "exact")


def test_the_span_covers_changed_lines_only():
    text = Text("a\nb\nc\nd\n")
    placed = place(text, "a.py", "a\nb\nc\nd\n", "a\nb\nx\nd\n")
    assert isinstance(placed, Placed)
    assert (placed.line, text.content[placed.edit.span.start : placed.edit.span.end], placed.edit.new) == (
        1,
        "c\n",
        "x\n",
    )


@pytest.mark.parametrize(
    "data",
    [
        p("5: utf-8 with a mark", codecs.BOM_UTF8 + "é = 1\r\nx\r\n".encode()),
        p("7: utf-16", codecs.BOM_UTF16_LE + "é = 1\r\nx\r\n".encode("utf-16-le")),
        p("6: a latin-1 cookie", b"# coding: latin-1\r\n\xe9 = 1\r\nx\r\n"),
    ],
)
def test_an_edit_keeps_encoding_and_mark(data: bytes):
    text = decode(data, "a.py")
    placed = place(text, "a.py", "x\n", "y\nz\n")
    assert isinstance(placed, Placed)
    x, y = ("x\r\n", "y\r\nz\r\n")
    assert text.encode(splice(text, placed.edit)) == data.replace(x.encode(text.encoding), y.encode(text.encoding))


@pytest.mark.parametrize(
    ("before", "content", "after"),
    [
        p("3: crlf stays", "a\r\nb\r\n", "a\nc\nd\n", "a\r\nc\r\nd\r\n"),
        p("mixed endings stay", "a\r\nb\nc\rd\n", "a\nb\nx\nd\n", "a\r\nb\nx\rd\n"),
        p("no final newline stays", "a\nb", "a\nc\n", "a\nc"),
        p("a final newline stays", "a\nb\n", "a\nc", "a\nc\n"),
        p("a final newline is all that is added", "a\nb", "a\nb\n", "a\nb\n"),
        p("emptied", "a\n", "", ""),
        p("filled", "", "a\n", "a\n"),
        p("a new file", None, "a\r\nb", "a\r\nb"),
    ],
)
def test_a_whole_file_is_written_in_its_own_way(before: str | None, content: str, after: str):
    text = None if before is None else Text(before)
    edit = write_whole(text, "a.py", content)
    assert splice(text or Text(""), edit) == after


def test_a_whole_file_that_is_the_same_is_no_change():
    with pytest.raises(NothingChanged):
        write_whole(Text("a\r\nb\r\n"), "a.py", "a\nb\n")
    with pytest.raises(NothingChanged):
        write_whole(Text(""), "a.py", "")


@pytest.mark.parametrize(
    ("content", "old"),
    [
        p("32: a line of a megabyte", "x = 1;" * 170_000 + "y = 2\n", "y = 2"),
        p("32: fifty thousand lines", "".join(f"line {n} = {n % 7}\n" for n in range(50_000)), "line 49000 = 0"),
    ],
)
def test_huge_files_are_edited(content: str, old: str):
    assert applied(content, old, "changed")[0] == content.replace(old, "changed")


@pytest.mark.parametrize(
    "content",
    [
        p("32: a line of a megabyte", "abc;" * 250_000),
        p("32: fifty thousand different lines", "".join(f"value_{n} = compute({n})\n" for n in range(50_000))),
        p("32: fifty thousand equal lines", "value = compute()\n" * 50_000),
    ],
)
def test_a_refusal_in_a_huge_file_stays_short(content: str):
    old = "".join(f"value_{n} = compute_({n})\n" for n in range(2000))
    assert len(refused(AnchorNotFound, content, old, "x").message) < 6000
