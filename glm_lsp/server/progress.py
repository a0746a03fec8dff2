"""A bar in the editor for work that takes a while, where the editor has one.

Never makes the work wait for the editor: until it has agreed to a bar, what there is to show is kept.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from lsprotocol import types

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from glm_lsp.server.protocol import GlmProtocol


class Progress:
    """One bar; made by `GlmServer.show_progress`.

    Attributes:
        shown: whether the client has been told that work began.
        closing: what the bar says when it ends; may be set at any time.
    """

    def __init__(self, protocol: GlmProtocol, token: types.ProgressToken | None, begin: dict[str, Any]) -> None:
        self._protocol = protocol
        self._token = token
        self._begin = begin
        self._ended = False
        self.shown = False
        self.closing: str | None = None

    def report(self, message: str | None = None, percentage: int | None = None) -> None:
        """Says how far the work is; where the client is slow to read, only the newest report is sent."""
        news = {"message": message, "percentage": percentage}
        news = {name: value for name, value in news.items() if value is not None}
        if not self.shown:
            self._begin |= {name: value for name, value in news.items() if name != "percentage" or name in self._begin}
        elif not self._ended and self._token is not None:
            report = _Report(self._protocol, self._token, {"kind": "report", **news})
            self._protocol.outbox.stream(("progress", self._token), report)

    def _show(self) -> None:
        """Begins the bar; where the work is over by now, ends it too, so that the client can forget the token."""
        self.shown = True
        self._tell(self._begin)
        if self._ended:
            self._tell_end()

    def _end(self) -> None:
        if self.shown:
            self._tell_end()
        self._ended = True

    def _tell_end(self) -> None:
        self._tell({"kind": "end"} | ({"message": self.closing} if self.closing else {}))

    def _tell(self, value: dict[str, Any]) -> None:
        self._protocol.notify(types.PROGRESS, {"token": self._token, "value": value}, key=("progress", self._token))


@asynccontextmanager
async def progress(
    protocol: GlmProtocol,
    title: str,
    *,
    token: types.ProgressToken | None = None,
    cancellable: bool = False,
    message: str | None = None,
    percentage: int | None = None,
    on_cancel: Callable[[], object] | None = None,
) -> AsyncIterator[Progress]:
    """Shows a bar while the body runs; its token is forgotten afterwards.

    Args:
        protocol: the connection.
        title: what the bar is called.
        token: the one that the client sent with a request; None asks the client for a bar of our own.
        cancellable: whether the client may offer to cancel; `on_cancel` is what that does.
        message: what the bar says first.
        percentage: where the bar begins; None where it will never have one.
        on_cancel: called at most once, when the person cancels.
    """
    begin: dict[str, Any] = {"kind": "begin", "title": title, "cancellable": cancellable}
    begin |= {} if message is None else {"message": message}
    begin |= {} if percentage is None else {"percentage": percentage}
    ours = token is None
    if ours and protocol.offers_progress():
        token = protocol.new_id("progress")
    bar = Progress(protocol, token, begin)
    if token is not None and on_cancel is not None:
        protocol.on_progress_cancel[token] = on_cancel
    if token is not None and not ours:
        bar._show()  # noqa: SLF001 - the bar's own module
    elif token is not None:

        def agreed(answer: Future[Any]) -> None:
            if not answer.cancelled() and answer.exception() is None:
                bar._show()  # noqa: SLF001 - the bar's own module

        asked = protocol.send_request(
            types.WINDOW_WORK_DONE_PROGRESS_CREATE, types.WorkDoneProgressCreateParams(token=token)
        )
        asked.add_done_callback(agreed)
    try:
        yield bar
    finally:
        bar._end()  # noqa: SLF001 - the bar's own module
        if token is not None:
            protocol.on_progress_cancel.pop(token, None)


@dataclass(frozen=True, slots=True)
class _Report:
    """A report on its way; a newer one takes the place of one that was not written yet."""

    protocol: GlmProtocol
    token: types.ProgressToken
    value: dict[str, Any]

    @property
    def size(self) -> int:
        return 256

    def merged(self, other: Self) -> Self:
        return replace(other, value=self.value | other.value)

    def encode(self) -> bytes:
        return self.protocol.encoded(
            {"jsonrpc": "2.0", "method": types.PROGRESS, "params": {"token": self.token, "value": self.value}}
        )
