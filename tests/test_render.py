"""The terminal's face: the same words in every mode, harmless whatever a model writes."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING

import pyte
import pytest

from glm_lsp.cli import words
from glm_lsp.cli.render import Terminal
from glm_lsp.edits.hunks import hunks
from glm_lsp.terms import (
    Compacted,
    Ended,
    Event,
    FileChange,
    HunkClosed,
    HunkGrew,
    HunkOpened,
    Objection,
    PermissionAsked,
    Proposal,
    Proposed,
    QuestionAsked,
    Started,
    TextAdded,
    ThinkingAdded,
    ThinkingEnded,
    ToolCalled,
    ToolReturned,
    Usage,
    Used,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from glm_lsp.terms import Happening

BEFORE = b"def total(items):\n    total = sum(i.price * i.qty for i in items)\n    return total\n"
AFTER = BEFORE.replace(b"sum(i.price * i.qty for i in items)", b"sum((i.price * i.qty for i in items), Decimal(0))")
CHANGE = FileChange("src/cart.py", BEFORE, AFTER)


def proposal(*changes: FileChange, **more: object) -> Proposal:
    every = [
        hunk
        for c in changes
        for hunk in hunks(c.path, (c.before or b"").decode("latin-1"), (c.after or b"").decode("latin-1"))
    ]
    return Proposal("p1", "use Decimal", changes, tuple(every), **more)  # type: ignore[arg-type]


BEGIN = Started("refactor", "", "GLM-4.7", thinking=True)

DONE = Ended("done", Usage(31880, 3204, 31300, 612), 41.2)

RUN: tuple[Happening, ...] = (
    Started("refactor", "use Decimal for money", "GLM-4.7", thinking=True),
    ThinkingAdded("Let me look.\nthe tax helper "),
    ThinkingAdded("rounds twice"),
    ThinkingEnded(9.2, 612),
    ToolCalled("1", "read_file", "Read src/cart.py 1–120"),
    ToolReturned("1", ok=True, outcome="", result="…", seconds=0.1),
    ToolCalled("2", "search", 'Searched "price"'),
    ToolReturned("2", ok=True, outcome="14 places in 4 files", result="…", seconds=0.1),
    HunkOpened("3", "src/cart.py", 12),
    HunkGrew("3", removed=("    total = sum(i.price * i.qty for i in items)",)),
    HunkGrew("3", added=("    total = sum((i.price * i.qty for i in items), Decimal(0))",)),
    HunkOpened("4", "src/cart.py", 40),
    HunkGrew("4", removed=("    tax = 1",), added=("    tax = 2",)),
    Used(Usage(31880, 3204), 40.0, 0.2),
    ToolCalled("3", "edit_file", "Edited src/cart.py"),
    HunkClosed("3", ok=True),
    ToolReturned("3", ok=True, outcome="placed", result="…", seconds=0.1),
    ToolCalled("4", "edit_file", "Edited src/cart.py"),
    HunkClosed("4", ok=False, reason="refused: The old text is in 2 places"),
    ToolReturned("4", ok=False, outcome="refused: The old text is in 2 places", result="…", seconds=0.1),
    TextAdded("\n\nThe helper rounds "),
    TextAdded("once now.\r"),
    TextAdded("\nIt was `[red]twice[/red]`."),
    Warned("sent-back", "src/tax.py: a bracket is\n missing"),
    Proposed(proposal(CHANGE, objections=(Objection("src/cart.py", 3, "syntax", "unexpected `)`"),))),
    DONE,
)

SEEN = """\
▸ Thought for 9 s · 612 tokens
  Read src/cart.py 1–120
  Searched "price" · 14 places in 4 files
  src/cart.py
  @@ 12 @@
  -    total = sum(i.price * i.qty for i in items)
  +    total = sum((i.price * i.qty for i in items), Decimal(0))
  @@ 40 @@
  -    tax = 1
  +    tax = 2
  Refused: src/cart.py 40: The old text is in 2 places
The helper rounds once now.
It was `[red]twice[/red]`.
Warning: src/tax.py: a bracket is missing
1 file · +1 −1
  src/cart.py 3: unexpected `)`
Done in 41 s · 3,204 tokens · 31,880 read, 98 % reused
"""

SGR = re.compile(r"\x1b\[[0-9;]*m")
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|2K|1A|\?25[hl])")
"""The only escape sequences that we ever send: colours, erase a row, one row up, hide and show the cursor."""


class Tty(io.StringIO):
    """A stream that says it is a terminal, and a screen that shows what a person would see."""

    def __init__(self, columns: int = 80, lines: int = 60) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, lines)
        self.screen.set_mode(pyte.modes.LNM)  # what a terminal driver does with newlines on output
        self._stream = pyte.Stream(self.screen)

    @property
    def encoding(self) -> str:
        return "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text)
        return super().write(text)

    @property
    def seen(self) -> list[str]:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")


@pytest.fixture(autouse=True)
def _a_terminal_that_can_move_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def events(*happenings: Happening, turn: str = "t1") -> Iterable[Event]:
    for seq, what in enumerate(happenings, 1):
        yield Event(turn, seq, seq / 10, what)


def plain(*happenings: Happening) -> str:
    stream = io.StringIO()
    with Terminal(stream) as terminal:
        for event in events(*happenings):
            terminal.show(event)
    return stream.getvalue()


def live(tty: Tty, clock: Callable[[], float] = lambda: 0.0, frames: float = 0) -> Terminal:
    return Terminal(tty, width=tty.screen.columns, frames=frames, clock=clock)


# --- the same words in every mode ------------------------------------------------------------------------------------


def test_a_run_reads_the_same_when_nobody_watches() -> None:
    assert plain(*RUN) == SEEN


def test_no_color_on_a_terminal_gives_the_same_words_and_no_escape_code() -> None:
    tty = Tty()
    with Terminal(tty, environ={"NO_COLOR": "1", "TERM": "xterm"}) as terminal:
        for event in events(*RUN):
            terminal.show(event)

    assert tty.getvalue() == SEEN


def test_an_empty_no_color_counts_as_not_set() -> None:
    tty = Tty()
    with Terminal(tty, width=80, environ={"NO_COLOR": "", "TERM": "xterm"}) as terminal:
        for event in events(*RUN):
            terminal.show(event)

    assert "\x1b" in tty.getvalue()


def test_a_dumb_terminal_gets_no_escape_code() -> None:
    tty = Tty()
    with Terminal(tty, environ={"TERM": "dumb"}) as terminal:
        for event in events(*RUN):
            terminal.show(event)

    assert tty.getvalue() == SEEN


def test_colours_without_live_rows_change_no_word_and_never_move_the_cursor() -> None:
    stream = io.StringIO()
    with Terminal(stream, color=True, live=False, width=80) as terminal:
        for event in events(*RUN):
            terminal.show(event)

    assert SGR.sub("", stream.getvalue()) == SEEN
    assert stream.getvalue() != SEEN


def test_a_live_terminal_shows_the_same_words_in_the_end() -> None:
    tty = Tty()
    with live(tty) as terminal:
        for event in events(*RUN):
            terminal.show(event)
            terminal.refresh()

    assert tty.seen == SEEN.rstrip("\n").split("\n")
    assert not tty.screen.cursor.hidden
    assert OURS.sub("", tty.getvalue()).count("\x1b") == 0


def test_a_stream_that_lacks_our_characters_still_gets_every_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with Terminal(stream) as terminal:
        for event in events(*RUN):
            terminal.show(event)

    assert b"? Thought for 9 s ? 612 tokens\n" in raw.getvalue()
    assert raw.getvalue().count(b"\n") == SEEN.count("\n")


# --- while it runs ---------------------------------------------------------------------------------------------------


def test_thinking_is_one_row_with_its_time_and_its_last_line() -> None:
    tty, now = Tty(), [100.0]
    terminal = live(tty, clock=lambda: now[0])
    for event in events(*RUN[:3]):
        terminal.show(event)
    now[0] = 112.4
    terminal.refresh()

    assert tty.seen == ["▸ Thinking… 12 s   the tax helper rounds twice"]
    assert tty.screen.cursor.hidden

    for event in events(*RUN[3:5]):
        terminal.show(event)
    terminal.refresh()

    assert tty.seen == ["▸ Thought for 9 s · 612 tokens", "  Read src/cart.py 1–120 …"]
    terminal.close()
    assert not tty.screen.cursor.hidden


def test_the_time_of_thinking_goes_on_while_no_event_comes() -> None:
    tty, now = Tty(), [0.0]
    terminal = live(tty, clock=lambda: now[0], frames=50)
    for event in events(Started("chat", "", "m", thinking=True), ThinkingAdded("hm")):
        terminal.show(event)
    now[0] = 77.0
    deadline = time.monotonic() + 20
    while "Thinking… 1 min 17 s" not in tty.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    terminal.close()

    assert "Thinking… 1 min 17 s" in tty.getvalue()


def test_long_thinking_shows_the_end_of_its_last_line_on_one_row() -> None:
    tty = Tty(columns=40)
    with live(tty) as terminal:
        for event in events(BEGIN, ThinkingAdded("start " + "word " * 300 + "the end")):
            terminal.show(event)
        terminal.refresh()
        terminal.refresh()

        assert len(tty.seen) == 1
        assert tty.seen[0].startswith("▸ Thinking… 0.0 s   …")
        assert tty.seen[0].endswith("the end")


@pytest.mark.parametrize(
    "text", ["漢字の長い考え" * 30, "👩‍💻 emoji " * 30, "e\u0301" * 200], ids=["wide", "emoji", "combining"]
)
def test_live_rows_of_wide_characters_leave_nothing_behind(text: str) -> None:
    tty = Tty(columns=40)
    with live(tty) as terminal:
        for event in events(Started("chat", "", "m", thinking=True), ThinkingAdded(text)):
            terminal.show(event)
        terminal.refresh()
        terminal.refresh()
        for event in events(ThinkingEnded(1.0), Ended("nothing", Usage(), 1.0)):
            terminal.show(event)

    assert tty.seen == ["▸ Thought for 1 s", "Nothing to change · 1 s · 0 tokens"]


def test_text_is_seen_before_its_line_is_complete() -> None:
    tty = Tty()
    with live(tty) as terminal:
        for event in events(Started("chat", "", "m", thinking=False), TextAdded("The helper "), TextAdded("rounds")):
            terminal.show(event)
        terminal.refresh()

        assert tty.seen == ["The helper rounds"]


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_long_text_is_cut_between_words_however_it_arrives(step: int) -> None:
    tty = Tty(columns=30)
    text = "one two three four five six seven eight nine ten " * 4
    pieces = [text[i : i + step] for i in range(0, len(text), step)]
    with live(tty) as terminal:
        for event in events(BEGIN, *map(TextAdded, pieces), DONE):
            terminal.show(event)
            terminal.refresh()

    shown = tty.seen[: tty.seen.index(next(line for line in tty.seen if line.startswith("Done")))]
    assert " ".join(shown).split() == text.split()
    assert len(shown) > 5


def test_a_running_tool_that_never_returns_is_told_in_the_end() -> None:
    ended = Ended("cancelled", Usage(10, 3), 2.0)

    assert plain(ToolCalled("1", "search", "Searched x"), ended) == (
        "  Searched x\nStopped: cancelled after 2 s · 3 tokens · 10 read\n"
    )


# --- hunks -----------------------------------------------------------------------------------------------------------


def test_a_file_is_named_once_until_something_else_was_said() -> None:
    def hunk(call: str, path: str, line: int) -> tuple[Happening, ...]:
        return HunkOpened(call, path, line), HunkGrew(call, added=("x",)), HunkClosed(call, ok=True)

    said = plain(
        *hunk("1", "a.py", 1), *hunk("2", "a.py", 9), *hunk("3", "b.py", 1), TextAdded("and"), *hunk("4", "b.py", 5)
    )

    assert said.split("\n") == [
        *("  a.py", "  @@ 1 @@", "  +x", "  @@ 9 @@", "  +x"),
        *("  b.py", "  @@ 1 @@", "  +x", "and", "  b.py", "  @@ 5 @@", "  +x", ""),
    ]


def test_a_file_is_named_again_after_a_line_that_is_no_hunk() -> None:
    def hunk(call: str) -> tuple[Happening, ...]:
        return HunkOpened(call, "a.py", 1), HunkGrew(call, added=("x",)), HunkClosed(call, ok=True)

    assert plain(*hunk("1"), ThinkingEnded(3.0), *hunk("2")) == (
        "  a.py\n  @@ 1 @@\n  +x\n▸ Thought for 3 s\n  a.py\n  @@ 1 @@\n  +x\n"
    )


@pytest.mark.parametrize(
    ("pieces", "said"),
    [(("a\r", "\nb"), "a\nb\n"), (("a\r", "b"), "a␍b\n"), (("a\r\n", "\r\nb"), "a\n\nb\n"), (("\r", "\n", "a"), "a\n")],
    ids=["cut in the middle", "alone", "whole", "at the beginning"],
)
def test_windows_line_ends_in_an_answer_are_line_ends_however_they_are_cut(pieces: tuple[str, ...], said: str) -> None:
    assert plain(*map(TextAdded, pieces)) == said


def test_an_edit_that_was_refused_before_it_grew_is_one_line() -> None:
    said = plain(
        ToolCalled("1", "edit_file", "Edited a.py"),
        HunkClosed("1", ok=False, reason="refused: The old text is nowhere in a.py"),
        ToolReturned("1", ok=False, outcome="refused: The old text is nowhere in a.py", result="", seconds=0.0),
    )

    assert said == "  Edited a.py · refused: The old text is nowhere in a.py\n"


def test_long_lines_of_a_diff_are_never_cropped() -> None:
    line = "x" * 500
    tty = Tty(columns=40)
    with live(tty) as terminal:
        for event in events(
            Started("a", "", "m", thinking=False), HunkOpened("1", "a.py", 1), HunkGrew("1", added=(line,))
        ):
            terminal.show(event)
        terminal.diff([FileChange("a.txt", None, line.encode())])

    assert SGR.sub("", tty.getvalue()).count(line) == 2


def colours_of(tty: Tty, text: str) -> list[str]:
    row = next(y for y, line in enumerate(tty.screen.display) if text in line)
    column = tty.screen.display[row].index(text)
    return [tty.screen.buffer[row][x].fg for x in range(column, column + len(text))]


def test_code_has_syntax_colours_over_coloured_signs() -> None:
    tty = Tty()
    with live(tty) as terminal:
        for event in events(
            HunkOpened("1", "a.py", 1), HunkGrew("1", removed=("pass",), added=("return None  # why",))
        ):
            terminal.show(event)

    assert colours_of(tty, "-pass") == ["red"] + ["magenta"] * 4
    assert colours_of(tty, "+return") == ["green"] + ["magenta"] * 6


def test_a_docstring_keeps_its_colour_on_lines_that_come_later() -> None:
    tty = Tty()
    with live(tty) as terminal:
        for event in events(
            HunkOpened("1", "a.py", 1), HunkGrew("1", added=('"""First.',)), HunkGrew("1", added=("for in", '"""'))
        ):
            terminal.show(event)

    assert colours_of(tty, "for in") == ["brown"] * 6  # what the emulator calls ANSI yellow


def test_the_whole_diff_reads_like_that_of_git() -> None:
    stream = io.StringIO()
    with Terminal(stream) as terminal:
        terminal.diff([CHANGE, FileChange("new.bin", None, b"\0\1"), FileChange("gone.txt", b"x", None)])

    assert stream.getvalue() == (
        "diff --git a/src/cart.py b/src/cart.py\n--- a/src/cart.py\n+++ b/src/cart.py\n@@ -1,3 +1,3 @@\n"
        " def total(items):\n"
        "-    total = sum(i.price * i.qty for i in items)\n"
        "+    total = sum((i.price * i.qty for i in items), Decimal(0))\n"
        "     return total\n"
        "new.bin: binary content\n"
        "diff --git a/gone.txt b/gone.txt\ndeleted file mode 100644\n--- a/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n"
        "-x\n\\ No newline at end of file\n"
    )


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (b"a\r\nb\r\n", b"a\r\nc\r\n", " a\n-b\n+c\n"),
        (b"a\n", b"a\r\n", "-a\n+a␍\n"),
    ],
    ids=["windows throughout", "only the line end changed"],
)
def test_line_ends_are_shown_where_they_are_news(before: bytes, after: bytes, shown: str) -> None:
    stream = io.StringIO()
    with Terminal(stream) as terminal:
        terminal.diff([FileChange("a.txt", before, after)])

    assert stream.getvalue().split(" @@\n")[1] == shown


# --- hostile text ----------------------------------------------------------------------------------------------------

HOSTILE = {
    "clear the screen": "\x1b[2J\x1b[H",
    "window title": "\x1b]0;pwned\x07",
    "C1 control sequence": "\x9b2J\x9d0;pwned\x9c",
    "carriage return": "good\rEVIL",
    "backspace": "abc\b\b\bdef",
    "bidi override": "\u202egnp.exe\u2066",
    "line separator": "a\u2028b\u0085c",
    "markup": "[red]hello[/red] [bold",
    "lone surrogate": "\udc9b2J\ud800",
    "NUL and DEL": "\x00\x7f",
    "invisible tags": "\U000e0041\U000e007f",
    "emoji code": ":smile:",
}

FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


def path_of(evil: str) -> str:
    """The text as the name of a file that a system can have."""
    return evil.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") + ".py"


def everywhere(evil: str) -> tuple[Happening, ...]:
    """Events with the text in every field that a model or a file can fill."""
    change = FileChange(path_of(evil), None, evil.encode("utf-8", "surrogatepass"))
    return (
        Started(evil, evil, evil, thinking=True, paths=(evil,)),
        ThinkingAdded(evil),
        ThinkingEnded(1.0, 2),
        ToolCalled("1", evil, evil, {evil: evil}),
        ToolReturned("1", ok=True, outcome=evil, result=evil, seconds=1.0),
        HunkOpened("2", evil, 3),
        HunkGrew("2", removed=(evil,), added=(evil, evil)),
        HunkClosed("2", ok=False, reason=evil),
        TextAdded(evil),
        TextAdded(f"{evil}\n{evil}"),
        Warned("w", evil),
        QuestionAsked("4", f"{evil}\n{evil}", (evil, evil)),
        Compacted(9, 3, 1, evil, Usage(1, 1)),
        Proposed(Proposal("p", evil, (change,), (), (Objection(evil, 1, evil, evil),), (evil,))),
        Ended("error", Usage(), 1.0, "code", evil, evil),
    )


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_never_reaches_a_plain_stream(evil: str) -> None:
    stream = io.StringIO()
    with Terminal(stream) as terminal:
        for event in events(*everywhere(evil)):
            terminal.show(event)
        terminal.engine_line(evil, evil, where=evil, note=evil)
        terminal.progress(evil, 1, 2)
        terminal.note(evil)
        terminal.lines(words.permission(PermissionAsked("5", evil, evil, evil, confined=False), 80))
        terminal.diff([FileChange(path_of(evil), evil.encode("utf-8", "surrogatepass"), b"x\n")])

    assert not FORBIDDEN.search(stream.getvalue())
    stream.getvalue().encode()


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_never_steers_a_live_terminal(evil: str) -> None:
    tty = Tty()
    with live(tty) as terminal:
        terminal.note("first line")
        for event in events(*everywhere(evil)):
            terminal.show(event)
            terminal.refresh()
        terminal.engine_line(evil, evil, where=evil, note=evil)
        terminal.progress(evil, 1, 2)
        terminal.refresh()
        terminal.diff([FileChange(path_of(evil), evil.encode("utf-8", "surrogatepass"), b"x\n")])

    assert tty.seen[0] == "first line"
    assert tty.screen.title == ""
    sent = OURS.sub("", tty.getvalue()).replace("\r", "")  # carriage returns are ours: nothing else may send one
    assert not FORBIDDEN.search(sent)


def test_markup_is_shown_as_it_is_written() -> None:
    tty = Tty()
    with live(tty) as terminal:
        for event in events(TextAdded("[red]a[/red] [link=x]b :smile:\n"), Warned("w", "[bold]c[/bold]")):
            terminal.show(event)

    assert tty.seen == ["[red]a[/red] [link=x]b :smile:", "Warning: [bold]c[/bold]"]


def test_a_megabyte_on_one_line_is_shown_and_keeps_the_live_rows_small() -> None:
    line = "x" * 1_000_000
    tty = Tty(lines=10)
    with live(tty) as terminal:
        for event in events(BEGIN, ThinkingAdded(line)):
            terminal.show(event)
        terminal.refresh()
        assert len(tty.seen) == 1
        tty.screen.reset()
        tty.write = lambda text: io.StringIO.write(tty, text)  # type: ignore[method-assign]  # the emulator takes minutes
        for event in events(
            ThinkingEnded(1.0), HunkOpened("1", "a.py", 1), HunkGrew("1", added=(line,)), TextAdded(line)
        ):
            terminal.show(event)

    assert OURS.sub("", tty.getvalue()).count(line) == 1
    assert re.split("[\r\n]+", OURS.sub("", tty.getvalue())).count("x" * 79) == 1_000_000 // 79


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "lines"),
    [
        (Ended("done", Usage(31880, 3204, 31300), 41.2), "Done in 41 s · 3,204 tokens · 31,880 read, 98 % reused"),
        (Ended("done", Usage(500, 1), 0.31), "Done in 0.3 s · 1 token · 500 read"),
        (Ended("done", Usage(1000, 7, 999), 61.0), "Done in 1 min 1 s · 7 tokens · 1,000 read, 99 % reused"),
        (Ended("done", Usage(), 3.0), "Done in 3 s · 0 tokens"),
        (Ended("nothing", Usage(900, 12, 0), 3.0), "Nothing to change · 3 s · 12 tokens · 900 read, 0 % reused"),
        (Ended("cancelled", Usage(), 4.0), "Stopped: cancelled after 4 s · 0 tokens"),
        (
            Ended("limit", Usage(), 9.0, "limit-reached", "Stopped after 60 requests.", "turn.max_steps sets this limit."),
            "Stopped: after 60 requests.\nturn.max_steps sets this limit.",
        ),
        (
            Ended("error", Usage(), 9.0, "unreachable", "Nothing answers at unix:/run/glm.sock.", "Run: glm-lsp engine start"),
            "Error: Nothing answers at unix:/run/glm.sock.\nRun: glm-lsp engine start",
        ),
        (Ended("error", Usage(), 9.0, "died-mid-stream"), "Error: died-mid-stream"),
    ],
    ids=["cached", "one token", "never rounds up", "nothing read", "nothing", "cancelled", "limit", "error", "bare error"],
)  # fmt: skip
def test_the_end_says_what_it_cost_or_what_went_wrong(ended: Ended, lines: str) -> None:
    assert plain(Started("refactor", "", "m", thinking=False), ended) == f"{lines}\n"


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            Compacted(182_310, 41_200, 14, "They like blue.", Usage(182_310, 3_120)),
            "Compacted: 182,310 → 41,200 tokens · 14 file bodies, summary of older turns · cost 3,120 tokens · 182,310 read",
        ),
        (Compacted(9_000, 4_000, 1, "", Usage()), "Compacted: 9,000 → 4,000 tokens · 1 file body"),
    ],
    ids=["summarised", "files alone"],
)
def test_a_compaction_is_one_line_with_its_cost(what: Compacted, line: str) -> None:
    assert plain(BEGIN, what, DONE).splitlines()[0] == line


def test_a_question_is_numbered_for_its_answers() -> None:
    said = plain(BEGIN, QuestionAsked("1", "Which one?\nIt matters.", ("red", "light\nblue")), DONE)
    assert said.splitlines()[:4] == ["? Which one?", "  It matters.", "  1  red", "  2  light blue"]


@pytest.mark.parametrize(
    ("tool", "confined", "says"),
    [
        ("run_command", True, "confined: no network, no home folder"),
        ("run_command", False, "not confined: no bubblewrap here; it can reach the network and your files"),
        ("db__query", False, "not confined: its server"),
    ],
)
def test_a_permission_shows_all_that_will_run_letter_by_letter(tool: str, confined: bool, says: str) -> None:
    detail = "echo a\u200bb\tc\u00a0d\n" + "x" * 200 + "\n\nend"
    first, *marked, last = [row for row, _ in words.permission(PermissionAsked("1", tool, "t", detail, confined), 80)]
    assert first == (
        "The model asks to run a command:" if tool == "run_command" else "The model asks to use db__query:"
    )
    assert all(row.startswith("  │ ") and len(row) <= 80 for row in marked)
    assert marked[0] == "  │ echo a<U+200B>b␉c<U+00A0>d"
    assert "".join(row.removeprefix("  │ ") for row in marked[1:-2]) == "x" * 200
    assert marked[-2:] == ["  │ ", "  │ end"]
    assert last.strip().startswith(says)


def test_rows_in_place_leave_while_a_person_types_and_come_back() -> None:
    tty = Tty()
    with live(tty) as terminal:
        for event in events(BEGIN, ThinkingAdded("Hm.")):
            terminal.show(event)
        terminal.refresh()
        assert "Thinking…" in "\n".join(tty.seen)
        with terminal.typing():
            assert "Thinking…" not in "\n".join(tty.seen)
        terminal.refresh()
        assert "Thinking…" in "\n".join(tty.seen)


def test_thinking_that_was_cut_off_is_folded_with_the_time_it_took() -> None:
    stream, now = io.StringIO(), [0.0]
    with Terminal(stream, clock=lambda: now[0]) as terminal:
        terminal.show(Event("t", 1, 0, ThinkingAdded("hm")))
        now[0] = 7.0
        terminal.show(Event("t", 2, 0, Ended("cancelled", Usage(), 7.0)))

    assert stream.getvalue() == "▸ Thought for 7 s\nStopped: cancelled after 7 s · 0 tokens\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (0.04, "0.0 s"), (0.949, "0.9 s"), (0.96, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
     (95, "1 min 35 s"), (3599.7, "1 h 0 min"), (7500, "2 h 5 min"), (-1, "0.0 s")],
)  # fmt: skip
def test_durations_are_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_closing_in_the_middle_ends_the_line_that_was_begun() -> None:
    assert plain(TextAdded("half a")) == "half a\n"
    assert plain(TextAdded("a line\n")) == "a line\n"


# --- around turns ----------------------------------------------------------------------------------------------------


def test_the_engine_is_introduced_with_its_place_and_a_warning_where_it_is_a_stand_in() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.engine_line("GLM-4.7", where="4 × H200")
    terminal.engine_line("SmolLM2-135M", note="SmolLM2-135M: a stand-in to try things out, not GLM-4.7")

    assert stream.getvalue() == (
        "GLM-4.7 on 4 × H200 · ready\nSmolLM2-135M · ready\nSmolLM2-135M: a stand-in to try things out, not GLM-4.7\n"
    )


def test_progress_is_a_bar_with_a_share_that_leaves_nothing_behind() -> None:
    tty = Tty()
    terminal = live(tty)
    terminal.progress("GLM-4.7 · loading weights", 43, 100)
    terminal.refresh()

    assert tty.seen[0].endswith("GLM-4.7 · loading weights 43 %")
    assert tty.seen[0].startswith("━━━")

    terminal.engine_line("GLM-4.7")
    terminal.close()

    assert tty.seen == ["GLM-4.7 · ready"]


def test_progress_without_a_terminal_says_each_step_once() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    for done in range(100):
        terminal.progress("loading weights", done, 100)
    terminal.progress("warming up")
    terminal.progress("")

    assert stream.getvalue() == "loading weights\nwarming up\n"


# --- many turns at a time --------------------------------------------------------------------------------------------


def batch_of(terminal: Terminal) -> None:
    other = FileChange("b.py", b"x = 1\n", b"x = 2\ny = 3\n")
    first = list(events(Started("document", "", "m", thinking=False, paths=("src/cart.py",)), ThinkingAdded("…"), HunkOpened("1", "src/cart.py", 1), HunkGrew("1", added=("x",)), Proposed(proposal(CHANGE)), DONE, turn="t1"))  # fmt: skip
    second = list(events(Started("document", "", "m", thinking=False, paths=("b.py",)), TextAdded("hm"), Warned("w", "careful"), Proposed(proposal(other)), DONE, turn="t2"))  # fmt: skip
    for event in (first[0], second[0], *first[1:4], *second[1:], *first[4:]):
        terminal.show(event)
        terminal.refresh()
    for event in events(Started("document", "", "m", thinking=False, paths=("c.py",)), Ended("error", Usage(), 1.0, "stalled", "No word for 120 s.", "Try again."), turn="t3"):  # fmt: skip
        terminal.show(event)


BATCH = """\
1 of 3 · b.py · +2 −1 · 41 s
  Warning: careful
diff --git a/b.py b/b.py
--- a/b.py
+++ b/b.py
@@ -1 +1,2 @@
-x = 1
+x = 2
+y = 3
2 of 3 · src/cart.py · +1 −1 · 41 s
diff --git a/src/cart.py b/src/cart.py
--- a/src/cart.py
+++ b/src/cart.py
@@ -1,3 +1,3 @@
 def total(items):
-    total = sum(i.price * i.qty for i in items)
+    total = sum((i.price * i.qty for i in items), Decimal(0))
     return total
3 of 3 · c.py · Error: No word for 120 s.
  Try again.
"""


def test_a_batch_prints_a_line_and_the_whole_diff_of_each_finished_file() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.batch(3)
    batch_of(terminal)

    assert stream.getvalue() == BATCH


def test_a_batch_on_a_live_terminal_has_one_bar_while_it_runs() -> None:
    tty = Tty()
    terminal = live(tty)
    terminal.batch(3, diffs=False)
    for event in events(Started("document", "", "m", thinking=False, paths=("a.py",)), DONE, turn="t1"):
        terminal.show(event)
    for event in events(Started("document", "", "m", thinking=False, paths=("b.py",)), ThinkingAdded("hm"), turn="t2"):
        terminal.show(event)
    terminal.refresh()

    assert tty.seen[0] == "1 of 3 · a.py · +0 −0 · 41 s"
    assert tty.seen[1].endswith("1 of 3 files · 1 running")
    assert len(tty.seen) == 2

    terminal.close()

    assert tty.seen == ["1 of 3 · a.py · +0 −0 · 41 s"]


def test_two_turns_at_a_time_never_mix_their_lines_even_unannounced() -> None:
    stream = io.StringIO()
    batch_of(Terminal(stream))

    assert stream.getvalue() == BATCH.replace(" of 3", "")


# --- a picture -------------------------------------------------------------------------------------------------------


def test_a_recorded_run_becomes_a_picture_that_needs_nothing_from_the_network(tmp_path: Path) -> None:
    tty = Tty()
    with Terminal(tty, width=80, frames=0, record=True) as terminal:
        for event in events(*RUN):
            terminal.show(event)
            terminal.refresh()
    terminal.save_svg(tmp_path / "run.svg", "glm-lsp refactor")
    svg = (tmp_path / "run.svg").read_text(encoding="utf-8")

    assert svg.count("Searched&#160;&quot;price&quot;") == 1
    assert "glm-lsp&#160;refactor" in svg
    assert "Thinking" not in svg
    assert "url(http" not in svg
    assert "font-face" not in svg


def test_a_picture_of_an_unwatched_run_has_whole_lines(tmp_path: Path) -> None:
    with Terminal(io.StringIO(), record=True) as terminal:
        for event in events(*map(TextAdded, ("The ", "helper ", "rounds\nonce")), DONE):
            terminal.show(event)
    terminal.save_svg(tmp_path / "run.svg", "t")

    assert "The&#160;helper&#160;rounds" in (tmp_path / "run.svg").read_text(encoding="utf-8")


def test_no_picture_without_a_recording(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="record"):
        Terminal(io.StringIO()).save_svg(tmp_path / "run.svg", "t")
