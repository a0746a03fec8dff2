"""The terminal's face: a turn's events as lines that a person reads while it runs.

Never decides anything about code, and never prints a character of a model or of a file that could steer the terminal.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Group
from rich.text import Text

from glm_lsp.cli import words
from glm_lsp.cli.colours import Colourist, diff_lines
from glm_lsp.cli.surface import Surface, bar, cropped, rows_of, tail
from glm_lsp.cli.words import clean, count, one_line
from glm_lsp.edits.hunks import counts
from glm_lsp.engine.turnstile import in_line
from glm_lsp.terms import (
    Compacted,
    ContextChosen,
    Ended,
    Found,
    HunkClosed,
    HunkGrew,
    HunkOpened,
    Proposed,
    QuestionAsked,
    Queued,
    Started,
    TextAdded,
    ThinkingAdded,
    ThinkingEnded,
    ToolCalled,
    ToolReturned,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType

    from glm_lsp.terms import Event, FileChange, Happening, Proposal

ENDING_STYLES = {"done": "green", "nothing": "", "limit": "yellow", "cancelled": "yellow", "error": "red"}

TAIL = 2_000
"""Characters of thinking that are kept for its last line."""


class Terminal:
    """Shows events on a stream, in one of three ways.

    Live: lines that stay scroll by above a few rows that change in place. Coloured: the same lines without those rows.
    Plain (not a terminal, a dumb one, NO_COLOR set, or one that lacks our characters): the same words, and not one
    escape code. Live needs colour, so NO_COLOR turns both off.

    Args:
        stream: where to write.
        color: whether to colour; None to find out from the stream and the environment.
        live: whether rows may change in place; None to find out.
        record: whether to keep a copy that `save_svg` can draw.
        width: columns; None to ask the terminal.
        frames: how often a second the live rows are drawn anew; 0 for only when a line is printed or on `refresh`.
        clock: seconds, for the time that thinking takes.
        environ: the environment's variables.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        color: bool | None = None,
        live: bool | None = None,
        record: bool = False,
        width: int | None = None,
        frames: float = 8,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._surface = Surface(
            stream,
            color=color,
            live=live,
            record=record,
            width=width,
            frames=frames,
            rows=self._rows,
            environ=environ,
        )
        self._clock = clock
        self._now = _Turn()
        self._turns: dict[str, _Turn] = {}
        self._batch: _Batch | None = None
        self._progress: tuple[str, float, float] = ("", 0.0, 0.0)
        self.streamed = False
        """Whether hunks were shown as they grew, so that the diff need not be printed at the end."""

    # --- what happens in turns -----------------------------------------------------------------------------------

    def show(self, event: Event) -> None:
        """Shows one event; events of several turns at a time turn on the compact way of `batch`."""
        what = event.what
        turn = self._turns.get(event.turn)
        if turn is None:
            if self._turns and self._batch is None:
                self.batch(0)
            turn = self._turns[event.turn] = _Turn(*(what.paths if isinstance(what, Started) else ()))
            if self._batch is None:
                self._now = turn
        if isinstance(what, Ended):
            del self._turns[event.turn]
        if self._batch is None:
            self._tell(turn, what)
        else:
            self._count(self._batch, turn, what)

    def batch(self, total: int, *, diffs: bool = True) -> None:
        """Many turns at a time: a bar with counts, a line for each finished turn, and its diff whole.

        Args:
            total: turns to come; 0 where nobody knows.
            diffs: whether to print the diff of a finished turn.
        """
        self._finish_text(self._now)
        self._batch = _Batch(total, diffs)
        self._surface.open_rows()

    # --- what happens around turns -------------------------------------------------------------------------------

    def engine_line(self, name: str, state: str = "ready", *, where: str = "", note: str = "") -> None:
        """`GLM-4.7 on 4 × H200 · ready`; `note` is one more line, such as that of a stand-in."""
        self.progress("")
        place = f" on {one_line(where)}" if where else ""
        self._surface.line(Text(f"{one_line(name)}{place} · {one_line(state)}"))
        if note:
            self._surface.line(Text(one_line(note), "yellow"))

    def progress(self, label: str, done: float = 0.0, total: float = 0.0) -> None:
        """Shows how far something is, `GLM-4.7 · loading weights 43 %`; an empty label takes it away.

        Where nothing can change in place, each new label is a line, once, and the numbers are left out.
        """
        changed = label != self._progress[0]
        self._progress = (label, done, total)
        if label:
            self._surface.open_rows()
            if changed and not self._surface.live:
                self._surface.line(Text(one_line(label)))
        elif not self._turns and self._batch is None:
            self._surface.close_rows()

    def note(self, line: str, style: str = "") -> None:
        """One line from the command itself, such as `Applied 4 files · +31 −19 · undo with: glm-lsp undo`."""
        self._finish_text(self._now)
        self._surface.line(Text(one_line(line, 1000), style))

    def lines(self, rows: Iterable[words.Row]) -> None:
        """Lines of the command's own, with their indentation; what is foreign in them is harmless already."""
        self._finish_text(self._now)
        for row, style in rows:
            self._surface.line(Text(row, style))

    @contextlib.contextmanager
    def typing(self) -> Iterator[None]:
        """Leaves the rows below to a person who types, and takes them again if a turn is under way."""
        self._finish_text(self._now)
        self._surface.close_rows()
        self._surface.flush()
        try:
            yield
        finally:
            if self._turns:
                self._surface.open_rows()

    @property
    def width(self) -> int:
        """Columns of the terminal now."""
        return self._surface.width

    def diff(self, changes: Iterable[FileChange]) -> None:
        """Prints the changes whole, as a unified diff with context."""
        self._finish_text(self._now)
        for change in changes:
            for line in diff_lines(change, color=self._surface.color):
                self._surface.line(line)

    # --- the surface ---------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draws the live rows anew."""
        self._surface.refresh()

    def save_svg(self, path: Path, title: str) -> None:
        """Draws everything printed so far as a picture; raises ValueError without `record`."""
        self._surface.save_svg(path, one_line(title))

    def close(self) -> None:
        """Ends a line that was begun, takes the live rows away and gives the cursor back; safe to call twice."""
        self._finish_text(self._now)
        self._progress = ("", 0.0, 0.0)
        self._surface.close_rows()
        self._surface.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- one turn, told as it happens ----------------------------------------------------------------------------

    def _tell(self, turn: _Turn, what: Happening) -> None:
        if isinstance(what, ThinkingAdded):
            turn.think(what.text, self._clock)
            return
        if isinstance(what, TextAdded):
            self._text(turn, what.text)
            return
        self._finish_text(turn)
        if isinstance(what, HunkGrew):
            self._hunk_grew(turn, what)
        elif isinstance(what, Started):
            self._surface.open_rows()
        elif isinstance(what, ContextChosen):
            self._other(turn, Text(words.chosen(what), "dim"))
        elif isinstance(what, ThinkingEnded):
            turn.thinking_since, turn.thought = None, ""
            self._other(turn, Text(f"▸ {words.thought(what.seconds, what.tokens)}", "dim"))
        elif isinstance(what, Queued):
            if what.place and not turn.place and not self._surface.live:
                self._other(turn, Text(in_line(what.place)))
            turn.place = what.place
        elif isinstance(what, ToolCalled):
            turn.running[what.call] = one_line(what.title)
        elif isinstance(what, ToolReturned):
            self._tool_returned(turn, what)
        elif isinstance(what, HunkOpened):
            turn.hunks[what.call] = _Grown(what.path, what.line, Colourist(what.path, color=self._surface.color))
        elif isinstance(what, HunkClosed):
            self._hunk_closed(turn, what)
        elif isinstance(what, Proposed):
            changes = what.proposal.changes
            self._other(turn, Text(words.size(len(changes), *counts(changes)), "bold"))
            self._remarks(what.proposal)
        elif isinstance(what, QuestionAsked):
            turn.path = turn.growing = ""
            self.lines(words.question(what))
        elif isinstance(what, Found):
            self._other(turn, Text(words.found(what.finding), "yellow" if what.finding.severity == "error" else ""))
        elif isinstance(what, Compacted):
            self._other(turn, Text(words.compacted(what)))
        elif isinstance(what, Warned):
            self._other(turn, Text(f"Warning: {one_line(what.message)}", "yellow"))
        elif isinstance(what, Ended):
            self._ended(turn, what)

    def _tool_returned(self, turn: _Turn, what: ToolReturned) -> None:
        title = turn.running.pop(what.call, "")
        grown = turn.hunks.get(what.call)
        if grown is not None and grown.told:
            return  # its lines, or the one that it was refused, have said it all
        outcome = one_line(what.outcome) or ("" if what.ok else "failed")
        line = Text(f"  {title or 'A tool'}")
        line.append(f" · {outcome}" if outcome else "", "dim" if what.ok else "yellow")
        self._other(turn, line)

    def _hunk_grew(self, turn: _Turn, what: HunkGrew) -> None:
        grown = turn.hunks.get(what.call)
        if grown is None:
            return
        if turn.path != grown.path:
            turn.path = grown.path
            self._surface.line(Text(f"  {one_line(grown.path)}", "bold"))
        if turn.growing != what.call:
            turn.growing = what.call
            self._surface.line(Text(f"  @@ {grown.line} @@", "cyan"))
        grown.told = self.streamed = True
        for sign, lines in (("-", what.removed), ("+", what.added)):
            for line in lines:
                self._surface.line(grown.colours.line(sign, line, indent="  "))

    def _hunk_closed(self, turn: _Turn, what: HunkClosed) -> None:
        grown = turn.hunks.get(what.call)
        if grown is None or what.ok or not grown.told:
            return
        # Other hunks may have been shown since: the line has to say which one is meant.
        reason = one_line(what.reason).removeprefix("refused: ") or "no reason was given"
        self._other(turn, Text(f"  Refused: {one_line(grown.path)} {grown.line}: {reason}", "yellow"))

    def _ended(self, turn: _Turn, ended: Ended) -> None:
        if turn.thinking_since is not None:
            # It was cut off while it thought: the time is ours, the tokens nobody has counted.
            self._other(turn, Text(f"▸ {words.thought(self._clock() - turn.thinking_since, None)}", "dim"))
        for title in turn.running.values():
            self._other(turn, Text(f"  {title}"))
        turn.thinking_since, turn.place = None, 0
        turn.running.clear()
        self._surface.close_rows()
        for number, line in enumerate(words.ending(ended)):
            self._other(turn, Text(line, "" if number else ENDING_STYLES[ended.reason]))

    def _other(self, turn: _Turn, line: Text) -> None:
        """Prints a line that is no hunk's: the next hunk names its file again."""
        turn.path = turn.growing = ""
        self._surface.line(line)

    def _remarks(self, proposal: Proposal) -> None:
        for objection in proposal.objections:
            place = one_line(objection.path) + (f" {objection.line}" if objection.line else "")
            self._surface.line(Text(f"  {place}: {one_line(objection.message)}", "yellow"))
        for path in proposal.unchecked:
            self._surface.line(Text(f"  {one_line(path)}: not checked, there is no grammar for it", "dim"))

    # --- what the model says -------------------------------------------------------------------------------------

    def _text(self, turn: _Turn, text: str) -> None:
        text = turn.held + text
        # A carriage return at the end may be half of a line's end.
        turn.held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n")
        if not turn.saying:
            text = text.lstrip("\n")  # models begin an answer with blank lines
            if not text:
                return
            turn.saying = True
            turn.path = turn.growing = ""
        text = clean(text)
        if self._surface.live:
            rows, turn.partial = rows_of(turn.partial + text.replace("\t", "    "), self._surface.width)
            if rows:
                self._surface.line(Text("\n".join(rows)))
        elif text:
            turn.partial = text[-1]
            self._surface.half(text)

    def _finish_text(self, turn: _Turn) -> None:
        """Ends what the model was saying with a line's end, if it was saying anything."""
        if not turn.saying:
            return
        rest, turn.partial, turn.held, turn.saying = turn.partial, "", "", False
        if not self._surface.live:
            self._surface.half("" if rest == "\n" else "\n")
            self._surface.end_half()
        elif rest:
            self._surface.line(Text(rest))

    # --- many turns at a time ------------------------------------------------------------------------------------

    def _count(self, batch: _Batch, turn: _Turn, what: Happening) -> None:
        if isinstance(what, Started):
            self._surface.open_rows()
        elif isinstance(what, Queued):
            turn.place = what.place
        elif isinstance(what, Proposed):
            turn.proposal = what.proposal
        elif isinstance(what, Warned):
            turn.warnings.append(what.message)
        elif isinstance(what, Ended):
            batch.finished += 1
            batch.failed += what.reason in {"error", "limit", "cancelled"}
            if not self._turns and batch.finished >= batch.total:
                self._surface.close_rows()
            self._finished(batch, turn, what)

    def _finished(self, batch: _Batch, turn: _Turn, ended: Ended) -> None:
        total = f" of {batch.total:,}" if batch.total >= batch.finished else ""
        name = one_line(", ".join(turn.paths)) or "everything"
        changes = turn.proposal.changes if turn.proposal else ()
        first, *more = words.ending(ended)
        if ended.reason in {"done", "nothing"}:
            first = f"{words.lines(*counts(changes))} · {words.duration(ended.seconds)}"
        self._surface.line(Text(f"{batch.finished:,}{total} · {name} · {first}", ENDING_STYLES[ended.reason]))
        for line in more:
            self._surface.line(Text(f"  {line}"))
        for warning in turn.warnings:
            self._surface.line(Text(f"  Warning: {one_line(warning)}", "yellow"))
        if turn.proposal:
            self._remarks(turn.proposal)
        if batch.diffs:
            self.diff(changes)

    # --- the rows that change in place ---------------------------------------------------------------------------

    def _rows(self) -> RenderableType:
        """What is going on right now; called from the drawing thread too, so it only reads."""
        width = self._surface.width - 1  # some terminals wrap when the last column is written
        rows: list[RenderableType] = []
        if self._batch is None:
            turn, now = self._now, self._clock()
            since = turn.thinking_since
            if since is not None:
                row = Text(f"▸ Thinking… {words.duration(now - since)}   ", "dim")
                row.append_text(tail(turn.thought, width - row.cell_len))
                rows.append(row)
            rows += [cropped(f"  {title} …", width, "dim") for title in tuple(turn.running.values())[-4:]]
            if turn.partial:
                rows.append(cropped(turn.partial, width))
            if turn.place:
                rows.append(cropped(f"  {in_line(turn.place)}", width, "dim"))
        else:
            batch, begun = self._batch, tuple(self._turns.values())
            total = max(batch.total, batch.finished + len(begun))
            queued = sum(turn.place > 0 for turn in begun)
            label = f"{batch.finished:,} of {count(total, 'file')} · {len(begun) - queued} running"
            label += f" · {queued} in line" if queued else ""
            rows.append(bar(label + (f" · {batch.failed} stopped" if batch.failed else ""), batch.finished, total))
        label, done, whole = self._progress
        if label:
            share = f" {100 * done / whole:.0f} %" if whole else ""
            rows.append(bar(one_line(label, max(width - 36, 20)) + share, done, whole))
        return Group(*rows)


@dataclass(slots=True)
class _Grown:
    """A hunk that grows: its place, its colours, and whether a line of it was shown."""

    path: str
    line: int
    colours: Colourist
    told: bool = False


class _Turn:
    """What has to be remembered of a turn between two of its events."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.place = 0  # in line; 0 for not in one
        self.thinking_since: float | None = None
        self.thought = ""
        self.saying = False
        self.partial = ""  # live: the words of a row that is not full; else the last character
        self.held = ""  # a carriage return that may belong to a newline to come
        self.running: dict[str, str] = {}
        self.hunks: dict[str, _Grown] = {}
        self.path = ""
        self.growing = ""
        self.proposal: Proposal | None = None
        self.warnings: list[str] = []

    def think(self, text: str, clock: Callable[[], float]) -> None:
        if self.thinking_since is None:
            self.thinking_since = clock()
        self.thought = (self.thought + text[-TAIL:])[-TAIL:]


@dataclass(slots=True)
class _Batch:
    total: int
    diffs: bool
    finished: int = 0
    failed: int = 0
