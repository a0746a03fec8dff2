"""One connection in HTTP/1.1, from the client's side: requests one after another, and their replies as they arrive.

Never follows a redirect, and never looks at what is said over it.

It is our own because what there is takes longer to import than a running engine takes to attach to; the parsing is
llhttp's, by `httptools`.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Self, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

_LONGEST_HEAD = 64 * 1024  # bytes of names and values; more is no server that we want to talk to
_MUCH = 256 * 1024  # bytes of a reply that wait for us; then the server has to wait
_RESTS = 15.0  # seconds that a kept connection is trusted to be still there


class Broken(ConnectionError):
    """The connection ended before the reply did."""


class NotHttp(Exception):
    """What came is not a reply in HTTP/1.1."""


class ProxyRefused(Exception):
    """The proxy does not lead to the server.

    Attributes:
        status: what it answered.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Response:
    """A reply as it comes in; close it, or read it to its end, and the connection is free again.

    Attributes:
        status: of HTTP.
        headers: by their names in small letters; of two with one name the last.
    """

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connection: Connection | None = connection
        self._pieces: list[bytes] = []
        self._held = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._unpack: Callable[[bytes], bytes] | None = None

    @property
    def content_type(self) -> str:
        """Without its parameters; plain bytes where the server does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() or "application/octet-stream"

    async def read(self) -> bytes:
        """Waits for more of the body and returns all there is; empty at its end.

        Raises:
            Broken, NotHttp: it is over before its end.
            Exception: what `fail` was given.
        """
        while not self._pieces and self._connection is not None and self._error is None:
            await self._wait()
        if self._pieces:
            whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._held = 0
            if self._connection is not None:
                self._connection.go_on()
            return whole
        if self._error is not None:
            raise self._error
        return b""

    async def whole(self) -> bytes:
        """Reads the body to its end.

        Raises:
            Exception: as `read`.
        """
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def fail(self, error: Exception) -> None:
        """Ends it with an error, which whoever reads gets to see, and hangs up."""
        self._error = error
        self.close()

    def close(self) -> None:
        """Hangs up at once, where the reply is not over."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the connection's side -----------------------------------------------------------------------------------

    async def _head(self) -> None:
        """Waits until status and headers are here."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    def _begins(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers
        if headers.get("content-encoding", "").lower() in ("gzip", "deflate"):  # which nobody asked for
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
        self._wake()

    def _add(self, piece: bytes) -> bool:
        """Takes a piece of the body, and says whether that is enough for now."""
        if self._unpack is not None:
            try:
                piece = self._unpack(piece)
            except zlib.error as error:
                self.fail(NotHttp(str(error)))
        self._pieces.append(piece)
        self._held += len(piece)
        self._wake()
        return self._held > _MUCH

    def _ends(self) -> None:
        self._connection = None
        self._wake()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection, which carries one request after another; `rest` is told when it is free again."""

    def __init__(self, rest: Callable[[Connection], None]) -> None:
        self.has_heard = False
        self._rest = rest
        self._transport: asyncio.Transport | None = None
        self._reply: Response | None = None
        self._parser: HttpResponseParser | None = None
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._tunnels = False
        self._paused = False
        self._since = 0.0

    async def exchange(self, head: bytes, body: bytes = b"") -> Response:
        """Sends a request and waits for the head of its reply."""
        reply = self._reply = Response(self)
        self._parser = HttpResponseParser(self)
        self._headers, self._head_size, self.has_heard = {}, 0, False
        try:
            if self._transport is None or self._transport.is_closing():
                raise Broken("It is closed.")
            self._transport.writelines((head, body))
            await reply._head()  # noqa: SLF001 - the two are one
        except BaseException:
            reply.close()
            raise
        return reply

    async def tunnel(self, authority: str, authorization: str) -> None:
        """Asks a proxy to lead there."""
        self._tunnels = True
        proof = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        reply = await self.exchange(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{proof}\r\n".encode())
        self._reply, self._tunnels = None, False
        if reply.status // 100 != 2:
            raise ProxyRefused(reply.status)

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speaks TLS from here on."""
        if self._transport is None:
            raise Broken("The proxy hung up.")
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(self._transport, self, context, server_hostname=host)
        if secured is None:
            raise Broken("The server hung up.")
        self._transport = secured

    def is_fresh(self) -> bool:
        """Whether a request may be risked on it."""
        open_still = self._transport is not None and not self._transport.is_closing()
        return open_still and asyncio.get_running_loop().time() - self._since < _RESTS

    def go_on(self) -> None:
        """Reads again, where it had stopped to let us catch up."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def end(self) -> None:
        """Closes it in order."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes it at once."""
        self._reply = None
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio tells --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is the first thing to happen."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        reply = self._reply
        if reply is None or self._parser is None:
            self.abort()  # nobody asked
            return
        self.has_heard = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self._reply is reply:
                reply.fail(NotHttp(str(error)))
            else:
                self.abort()  # the reply was whole, and what follows it is none

    def connection_lost(self, exc: Exception | None) -> None:
        """Is the last thing to happen."""
        self._transport = None
        reply, self._reply = self._reply, None
        if reply is None:
            return
        measured = "content-length" in self._headers or "transfer-encoding" in self._headers
        if reply.status and exc is None and not measured:  # such a body ends where the connection does
            reply._ends()  # noqa: SLF001 - as above
        else:
            broken = Broken("The connection ended.")
            broken.__cause__ = exc
            reply.fail(broken)

    # --- what the parser tells -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second reply where one was asked for is a server that is out of step."""
        if self._reply is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps one header."""
        self._head_size += len(name) + len(value)
        if self._head_size > _LONGEST_HEAD and self._reply is not None:
            self._reply.fail(NotHttp("The head of the reply has no end."))
        else:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole; one that only tells to wait (1xx) is passed over."""
        status = self._parser.get_status_code() if self._parser is not None else 0
        if status >= 200 and self._reply is not None:
            self._reply._begins(status, self._headers)  # noqa: SLF001 - as above

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._reply is not None and self._reply._add(body) and self._transport is not None and not self._paused:  # noqa: SLF001
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The reply is whole: what is free again may rest."""
        reply = self._reply
        if reply is None or self._parser is None or self._tunnels:
            return
        if not reply.status:
            self._headers = {}
            return
        self._reply = None
        reply._ends()  # noqa: SLF001 - as above
        if self._parser.should_keep_alive() and self._transport is not None and not self._transport.is_closing():
            self.go_on()
            self._since = asyncio.get_running_loop().time()
            self._rest(self)
        else:
            self.end()
