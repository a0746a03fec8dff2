"""Server-sent events out of raw bytes, however the network cuts them.

Never looks inside an event: what the data mean is the client's business.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class EventParser:
    """Collects bytes and gives out the data of every event that is complete.

    Follows the event-stream format of the HTML standard: lines end with LF, CRLF or CR; a blank line ends an event;
    several `data` lines are joined by LF; lines that begin with a colon are comments; other fields are ignored.
    Bytes are only handed on in whole events, so that a character cut in two is whole again.
    """

    __slots__ = ("_after_cr", "_rest", "_started")

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._started = False

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their event."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Takes the next bytes and returns the data of each event they complete, in order."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._unify(chunk)
        blocks = (self._rest + chunk).split(b"\n\n")
        self._rest = blocks.pop()
        if not self._started and (blocks or len(self._rest) >= len(_BOM)):
            self._started = True
            if blocks:
                blocks[0] = blocks[0].removeprefix(_BOM)
            else:
                self._rest = self._rest.removeprefix(_BOM)
        found = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                found.append(block[6:])
            elif (data := _data_of(block)) is not None:
                found.append(data)
        return found

    def end(self) -> bytes | None:
        """Returns the data of a last event that lacks its blank line; it may be cut short."""
        rest, self._rest = self._rest, b""
        return _data_of(rest)

    def _unify(self, chunk: bytes) -> bytes:
        """Makes every line end an LF; one that is cut between CR and LF counts once."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(block: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
