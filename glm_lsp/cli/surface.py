"""What the terminal's face draws on: lines that stay, half lines, and rows that change in place.

Never knows what a line means, and never writes an escape code where colour is off.
"""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from glm_lsp.cli.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import RenderableType


class Surface:
    """A stream to draw on, in one of three ways: live, coloured, plain.

    Text given to it is harmless already: no control character but newline and tab.

    Args:
        stream: where to write.
        color: whether to colour; None to find out from the stream and the environment.
        live: whether rows may change in place, which needs colour; None to find out.
        record: whether to keep a copy that `save_svg` can draw.
        width: columns; None to ask the terminal.
        frames: how often a second the live rows are drawn anew; 0 for only when asked or when a line is printed.
        rows: gives the live rows; called from the drawing thread too.
        environ: the environment's variables.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        color: bool | None,
        live: bool | None,
        record: bool,
        width: int | None,
        frames: float,
        rows: Callable[[], RenderableType],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        fit = _can_draw(stream, environ)
        self.color = fit if color is None else color
        self.live = self.color and (fit if live is None else live)
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._frames = frames
        self._rows = rows
        self._out = _console(stream, width, live=self.live) if self.color else None
        wide = width or (self._out.width if self._out is not None else 100)
        self._record = _console(io.StringIO(), wide, record=True) if record else None
        self._half = ""
        self._region: Live | None = None

    @property
    def width(self) -> int:
        """Columns of the terminal now; it may be resized at any time."""
        return max(self._out.width if self._out is not None else 80, 20)

    def line(self, line: Text) -> None:
        """Prints a line that stays, whole: a long one is left to the terminal to wrap, so that it can be copied."""
        if self._record is not None:
            self._record.print(line)
        if self._out is not None:
            self._out.print(line, soft_wrap=True)
        else:
            self._write(line.plain + "\n")

    def half(self, text: str) -> None:
        """Writes text that may end in the middle of a line; not where rows change in place."""
        if self._record is not None:
            self._half += text
        self._write(text)

    def end_half(self) -> None:
        """The half lines have come to a line's end."""
        if self._record is not None and self._half:
            self._record.print(Text(self._half.removesuffix("\n")))
        self._half = ""

    def open_rows(self) -> None:
        """Begins to show the live rows, below everything that is printed from now on."""
        if self._out is None or not self.live or self._region is not None:
            return
        self._region = Live(
            _Rows(self._rows),
            console=self._out,
            transient=True,
            auto_refresh=self._frames > 0,
            refresh_per_second=self._frames or 1,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._region.start()

    def close_rows(self) -> None:
        """Takes the live rows away and gives the cursor back."""
        if self._region is not None:
            self._region.stop()
            self._region = None

    def refresh(self) -> None:
        """Draws the live rows anew."""
        if self._region is not None:
            self._region.refresh()

    def flush(self) -> None:
        """Leaves nothing in a buffer."""
        self._stream.flush()

    def save_svg(self, path: Path, title: str) -> None:
        """Draws everything printed so far as a picture.

        The picture refers to no font on the network, so that it shows wherever pictures are sandboxed.
        Raises ValueError where nothing was recorded.
        """
        if self._record is None:
            raise ValueError("a picture needs record=True from the start")
        svg = self._record.export_svg(title=title, clear=False)
        path.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")

    def _write(self, text: str) -> None:
        self._stream.write(text.encode(self._encoding, "replace").decode(self._encoding))
        self._stream.flush()


def rows_of(text: str, width: int) -> tuple[list[str], str]:
    """Cuts text into full rows, between words where it can, and the rest that does not fill a row yet."""
    *lines, rest = text.split("\n")
    rows: list[str] = []
    for line in lines:
        full, end = _full_rows(line, width)
        rows += [*full, end]
    full, rest = _full_rows(rest, width)
    return [*rows, *full], rest


def tail(thought: str, width: int) -> Text:
    """The last line of thinking, its end where it is too long: that is where words arrive."""
    line = clean(next((line for line in reversed(thought.splitlines()) if line.strip()), "").strip().expandtabs())
    if cell_len(line) <= width:
        return Text(line)
    line = line[-width:]
    while line and cell_len(line) >= width:
        line = line[1:]
    return Text(f"…{line}"[: max(width, 0)])


def cropped(line: str, width: int, style: str = "") -> Text:
    """The line on one row."""
    row = Text(line, style)
    row.truncate(width, overflow="ellipsis")
    return row


def bar(label: str, done: float, total: float) -> RenderableType:
    """A bar and its label; one that only moves where `total` is unknown."""
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total or None, done, width=24, pulse=not total, style="dim", complete_style="green")
    row.add_row(bar, Text(label, no_wrap=True, overflow="ellipsis"))
    return row


class _Rows:
    """The live rows as they are when they are drawn, not as they were at the last frame."""

    def __init__(self, rows: Callable[[], RenderableType]) -> None:
        self._rows = rows

    def __rich__(self) -> RenderableType:
        return self._rows()


def _full_rows(line: str, width: int) -> tuple[list[str], str]:
    rows: list[str] = []
    start = 0
    # A character takes at most two columns, so only the next `width` characters can matter.
    while cell_len(line[start : start + width]) >= width:
        row = line[start : start + width - 1]
        while cell_len(row) >= width:
            row = row[:-1]
        space = line.rfind(" ", start + len(row) // 2, start + len(row) + 1)
        end = space if space > start else start + len(row)
        rows.append(line[start:end])
        start = end + (end == space)
    return rows, line[start:]


def _can_draw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    if not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM", "") in {"dumb", "unknown"}:
        return False
    try:
        "▸…·−×␛".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _console(stream: TextIO, width: int | None, *, live: bool = False, record: bool = False) -> Console:
    return Console(
        file=stream,
        width=width,
        force_terminal=True,
        force_interactive=live,
        color_system="standard",
        no_color=False,
        legacy_windows=False,
        record=record,
        markup=False,
        emoji=False,
        highlight=False,
    )
