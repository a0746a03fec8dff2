"""A hunk shown while it is being written: its place as soon as it is certain, its lines as they complete.

Never decides anything about the edit itself: what is shown here is a preview, and the placed edit is the truth.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from glm_lsp.edits.place import locate
from glm_lsp.errors import EditRefused
from glm_lsp.terms import HunkGrew, HunkOpened

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.edits.parse import ArgumentPiece
    from glm_lsp.edits.text import Text

    Shown = HunkOpened | HunkGrew


class GrowingHunk:
    """The preview of one call of `edit_file`, `write_file` or `replace_symbol`; of any other tool it shows nothing.

    The events are the same however the arguments were cut, and in whichever order they come: what cannot be shown yet
    is held back until it can.
    Where the old text has no one place, nothing is shown.
    """

    def __init__(
        self,
        call: str,
        tool: str,
        read: Callable[[str], Text | None],
        symbol_line: Callable[[str, str], int | None] | None = None,
    ) -> None:
        """For the tool call of that id.

        `read` gives a file's text as the edit will see it, or None; `symbol_line` the line of a symbol in a file.
        """
        self._call = call
        self._tool = tool
        self._read = read
        self._symbol_line = symbol_line
        self._words = {"file_path": "", "symbol": "", "start_line": ""}
        self._known: set[str] = set()
        self._hint: int | None = None
        self._text: Text | None = None
        self._lines: list[str] | None = None
        self._old = _Lines()
        self._old_text: list[str] = []
        self._candidates: list[int] | None = None
        self._matched = 0
        self._new = _Lines()
        self._opened = 0
        self._ready = False  # whether new lines may be shown
        self._given_up = tool not in _NEW
        self._shown = 0

    def feed(self, piece: ArgumentPiece) -> list[Shown]:
        """Takes the next piece of the arguments and returns what can be shown now, in order."""
        if self._given_up:
            return []
        if piece.key in self._words:
            self._words[piece.key] += piece.text
        elif piece.key == "old_string" and self._tool == "edit_file":
            self._old_text.append(piece.text)
            self._old.add(piece.text, done=piece.done)
        elif piece.key == _NEW[self._tool]:
            self._new.add(piece.text, done=piece.done)
        if piece.done:
            self._known.add(piece.key)
            if piece.key == "start_line":
                self._hint = _number(self._words["start_line"] if piece.value is None else piece.value)
        shown: list[Shown] = []
        if not self._ready:
            self._advance(shown)
        if self._ready:
            lines = self._new.complete[self._shown :]
            shown += [HunkGrew(self._call, added=(line,)) for line in lines]
            self._shown += len(lines)
        return shown

    def _advance(self, shown: list[Shown]) -> None:
        """Looks for the place, as far as the arguments allow by now."""
        if "file_path" not in self._known:
            return
        path = self._words["file_path"]
        if self._tool == "edit_file":
            self._follow_old(path, shown)
            return
        if self._tool == "write_file":
            line: int | None = 1
        elif "symbol" not in self._known:
            return
        else:
            line = self._symbol_line(path, self._words["symbol"]) if self._symbol_line else None
        if line is None:
            self._given_up = True
            return
        shown.append(HunkOpened(self._call, path, line))
        self._ready = True

    def _follow_old(self, path: str, shown: list[Shown]) -> None:
        if self._lines is None:
            self._text = self._read(path)
            if self._text is None:
                self._given_up = True
                return
            self._lines = [line.rstrip(_BLANKS) for line in self._text.lines()]
        while self._matched < len(self._old.complete) and not self._opened:
            self._match(self._old.complete[self._matched].rstrip(_BLANKS), self._lines)
            if self._candidates is not None and len(self._candidates) == 1 and self._sure():
                self._open(path, self._candidates[0] + 1, shown)
        if "old_string" in self._known:
            self._finish_old(path, shown)

    def _match(self, line: str, lines: list[str]) -> None:
        """Keeps the places where the next old line stands; the first may begin within a line, as an edit's may."""
        if self._candidates is None:
            self._candidates = [index for index, own in enumerate(lines) if own.endswith(line)]
        else:
            self._candidates = [
                start
                for start in self._candidates
                if start + self._matched < len(lines) and lines[start + self._matched] == line
            ]
        self._matched += 1

    def _sure(self) -> bool:
        """Whether a line with words has matched, and not the last one, which may be a part of a line."""
        return self._matched <= self._old.terminated and any(
            line.strip() for line in self._old.complete[: self._matched]
        )

    def _open(self, path: str, line: int, shown: list[Shown]) -> None:
        self._opened = line
        shown.append(HunkOpened(self._call, path, line))

    def _finish_old(self, path: str, shown: list[Shown]) -> None:
        """The old text is complete: the same search as for the edit says where it is."""
        old = "".join(self._old_text)
        text = self._text
        assert text is not None  # noqa: S101 - for the type checker: the caller has read it
        if not old:
            line, count = (0, 0) if text.content else (1, 0)
        else:
            try:
                found = locate(text, path, old, start_line=self._hint)
                line, count = found.line, found.count
            except EditRefused:
                line, count = 0, 0
        if not line or (self._opened and line != self._opened):
            self._given_up = True
            return
        if not self._opened:
            self._open(path, line, shown)
        if count:
            shown.append(HunkGrew(self._call, removed=tuple(text.lines()[line - 1 : line - 1 + count])))
        self._ready = True


_NEW = {"edit_file": "new_string", "write_file": "content", "replace_symbol": "new_source"}
_BLANKS = " \t\f\v"
_TERMINATOR = re.compile("\r\n|\n|\r")


class _Lines:
    r"""Lines that complete while their text comes; a final `\r` waits, since a `\n` may follow it."""

    def __init__(self) -> None:
        self.complete: list[str] = []
        self.terminated = 0  # how many of them a terminator ends
        self._rest: list[str] = []
        self._carriage = False

    def add(self, text: str, *, done: bool) -> None:
        if self._carriage:
            text, self._carriage = f"\r{text}", False
        if text.endswith("\r") and not done:
            text, self._carriage = text[:-1], True
        *lines, rest = _TERMINATOR.split(text)
        for line in lines:
            self.complete.append("".join([*self._rest, line]))
            self._rest.clear()
        self._rest.append(rest)
        self.terminated += len(lines)
        if done and (last := "".join(self._rest)):
            self.complete.append(last)


def _number(given: object) -> int | None:
    try:
        return int(given) if isinstance(given, str | int) else None
    except ValueError:
        return None
