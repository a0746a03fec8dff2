"""The server object, and serving it: over stdio, TCP or a web socket, to one client or to many.

Never puts anything but frames on stdout, and never listens where other machines reach it unless told so.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import select
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from pygls.protocol import default_converter

from glm_lsp import errors
from glm_lsp.server import connection, frames, progress
from glm_lsp.server.protocol import GlmProtocol, Host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from cattrs import Converter
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

log = logging.getLogger(__name__)

LOCAL: Final = ("127.0.0.1", "::1", "localhost")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - stdout is no stream of frames here


class GlmServer(Host):
    """What one client talks to; handlers are registered on it as on any server of pygls.

    A handler may be `async def` (cancellable), plain (runs at once, on the loop) or marked `@server.thread()`.

    Args:
        name: as the client shows it.
        version: as the client shows it.
        messages: our own methods: the class of the params and of the result, each a `msgspec.Struct`; None is plain data.
        record: called with `in` or `out`, the monotonic time and the body of each message, in the thread that has it.
        coalesce_ms: how long a delta in the outbox waits for others.
        max_workers: how many handlers marked as threads run at once.
        limit_bytes: the largest message that is read.
        waiting_bytes: how much may wait for a client that does not read, before it is given up.
        options: what `LanguageServer` takes besides, such as `notebook_document_sync`.
    """

    def __init__(
        self,
        name: str,
        version: str,
        *,
        messages: Mapping[str, tuple[type[Any] | None, type[Any] | None]] | None = None,
        record: Callable[[str, float, bytes], None] | None = None,
        coalesce_ms: float = 40,
        max_workers: int = 4,
        limit_bytes: int = frames.MOST_BYTES,
        waiting_bytes: int = 64 * 1024 * 1024,
        **options: Any,
    ) -> None:
        self.messages = dict(messages or {})
        self.record = record
        self.limit_bytes = limit_bytes
        self.outbox_options = {"coalesce_ms": coalesce_ms, "limit_bytes": waiting_bytes}
        self._workers = connection.Workers(max_workers)
        super().__init__(
            name,
            version,
            protocol_cls=GlmProtocol,
            converter_factory=_converter,
            max_workers=max_workers,
            **options,
        )

    @property
    def thread_pool(self) -> connection.Workers:
        """Where handlers marked as threads run."""
        return self._workers

    def show_progress(self, title: str, **how: Any) -> AbstractAsyncContextManager[progress.Progress]:
        """A bar in the editor while the body runs; see `progress.progress` for what it takes."""
        return progress.progress(self.protocol, title, **how)

    def report_server_error(self, error: Exception, source: object) -> None:  # noqa: ARG002 - pygls' signature
        """Where pygls reports failures that have no request: the log, and nothing of them to the client."""
        log.error("outside any request", exc_info=error)


def serve_stdio(
    server: GlmServer,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    watch: float | None = connection.WATCH_SECONDS,
) -> int:
    """Serves one client until it says `exit`, closes the stream or dies, and gives the code to exit with.

    Whatever else prints while it runs, prints to stderr.
    The process should end with that code at once; threads of others keep it no longer than a few seconds.

    Args:
        server: the server object.
        stdin: a file descriptor to read from instead of the process's own.
        stdout: a file descriptor to write to instead of the process's own.
        watch: how often to look for the death of the editor, in seconds; None never looks.
    """
    if stdin is not None and stdout is not None:
        return _run(_converse(server, _Descriptors(stdin, stdout), watch))
    with _own_stdio() as end:
        return _run(_converse(server, end, watch))


def serve_tcp(
    make: Callable[[], GlmServer],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    anywhere: bool = False,
    announce: Callable[[str], None] = _say,
) -> int:
    """Serves any number of clients, each with a server object of its own, until interrupted.

    Args:
        make: makes the server object for a client.
        host: where to listen; an address that other machines reach needs `anywhere`.
        port: 0 lets the system choose.
        anywhere: whether other machines may connect; nothing protects what they then can do.
        announce: told the address once it can be connected to.

    Raises:
        UsageError: the address is not ours to listen on.
    """
    listener = _listen(host, port, anywhere=anywhere)

    async def accept() -> int:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        announce(f"glm-lsp listens on tcp://{_spelled(listener)}")
        clients: set[asyncio.Task[int]] = set()
        while True:
            client, _address = await loop.sock_accept(listener)
            client.setblocking(True)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(_converse(make(), _Socket(client), None))
            clients.add(task)
            task.add_done_callback(clients.discard)

    with listener:
        return _run(accept())


def serve_websocket(
    make: Callable[[], GlmServer],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token: str,
    origins: Sequence[str] = (),
    anywhere: bool = False,
    announce: Callable[[str], None] = _say,
) -> int:
    """Serves any number of clients over web sockets, one JSON message to a frame, until interrupted.

    A client shows the token as `?token=` or as the subprotocol `glm-lsp.TOKEN`; a page in a browser, which is told by
    its Origin, must also come from one of `origins`. Anyone else gets 403.

    Args:
        make: makes the server object for a client.
        host: as in `serve_tcp`.
        port: as in `serve_tcp`.
        token: what a client must know.
        origins: such as `http://localhost:8080`.
        anywhere: as in `serve_tcp`.
        announce: told the address, without the token.

    Raises:
        UsageError: the address is not ours to listen on, or there is no token.
    """
    import hmac  # noqa: PLC0415 - as below

    from websockets.asyncio.server import serve  # noqa: PLC0415 - half of what there is to import, and rarely wanted

    if not token:
        raise errors.UsageError("A web socket needs a token.", hint="Any page that a browser has open could connect.")
    listener = _listen(host, port, anywhere=anywhere)
    protocol = f"glm-lsp.{token}"

    def screen(client: ServerConnection, request: Request) -> Response | None:
        shown = parse_qs(urlsplit(request.path).query).get("token", [])
        offered = [
            name.strip() for line in request.headers.get_all("Sec-WebSocket-Protocol") for name in line.split(",")
        ]
        shown += [name.removeprefix("glm-lsp.") for name in offered if name.startswith("glm-lsp.")]
        known = any(hmac.compare_digest(one.encode("utf-8", "replace"), token.encode()) for one in shown)
        welcome = all(origin in origins for origin in request.headers.get_all("Origin"))
        return None if known and welcome else client.respond(403, "Forbidden\n")

    async def accept() -> int:
        async with serve(
            lambda client: _converse_in_frames(make(), client),
            sock=listener,
            process_request=screen,
            select_subprotocol=lambda _client, offered: next((name for name in offered if name == protocol), None),
            compression=None,
            max_size=frames.MOST_BYTES,
        ):
            announce(f"glm-lsp listens on ws://{_spelled(listener)}")
            forever: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            return await forever

    return _run(accept())


def log_path() -> Path:
    """Where the log is, unless said otherwise."""
    from pathlib import Path  # noqa: PLC0415 - loaded long before

    folder = os.environ.get("GLM_LSP_STATE_DIR")
    if not folder:
        import platformdirs  # noqa: PLC0415 - only where the folder is not named

        folder = platformdirs.user_state_dir("glm-lsp")
    return Path(folder) / "server.log"


def log_to_file(path: Path, level: int = logging.INFO) -> logging.Handler:
    """Sends our own log and that of libraries to a file that only its owner reads, in turns of 2 MB and three files.

    Nothing that a message holds is ever in it.
    """
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415 - sockets and pickles come with it

    class Private(RotatingFileHandler):
        def _open(self) -> Any:
            stream = super()._open()
            os.fchmod(stream.fileno(), 0o600)
            return stream

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = Private(path, maxBytes=2_000_000, backupCount=2, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(level)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(min(level, root.level))
    return handler


# --- one client --------------------------------------------------------------------------------------------------


async def _converse(server: GlmServer, end: connection.End, watch: float | None) -> int:
    """Serves one client over frames with headers."""
    client = connection.Connection(
        server, lambda bodies: end.write(b"".join(frames.frame(body) for body in bodies)), watch=watch
    )
    connection.read_from(end, client, server.limit_bytes)
    for name in (signal.SIGTERM, signal.SIGHUP) if isinstance(end, _Stdio) else ():
        with suppress(RuntimeError, ValueError):  # only the main thread may
            asyncio.get_running_loop().add_signal_handler(name, client.stop, 1)
    try:
        code = await client.run()
    finally:
        end.close()
    if isinstance(end, _Stdio):
        last = threading.Timer(_LAST_RESORT_SECONDS, os._exit, (code,))
        last.daemon = True
        last.start()
    return code


async def _converse_in_frames(server: GlmServer, end: ServerConnection) -> None:
    """Serves one client whose transport has messages of its own."""
    loop = asyncio.get_running_loop()

    def write(bodies: list[bytes]) -> None:
        for body in bodies:
            asyncio.run_coroutine_threadsafe(end.send(body.decode()), loop).result()

    def gone(bodies: list[bytes]) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - loaded long before

        try:
            write(bodies)
        except ConnectionClosed as closed:
            raise OSError(str(closed)) from None

    client = connection.Connection(server, gone, watch=None)

    async def read() -> None:
        async for message in end:
            client.take(message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message)
            while client.full:  # noqa: ASYNC110 - rare, and room is made on this very loop
                await asyncio.sleep(0.01)

    reading = asyncio.ensure_future(read())
    reading.add_done_callback(lambda done: (done.cancelled() or done.exception(), client.take(None)))
    await client.run()
    reading.cancel()
    await end.close()


class _Descriptors:
    """A pair of file descriptors; not through Python's buffers, whose locks a thread at exit would hold."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._in = stdin
        self._out = stdout

    def read(self, most: int) -> bytes:
        while True:
            try:
                return os.read(self._in, most)
            except BlockingIOError:  # some editors hand over pipes that do not block
                select.select([self._in], [], [])

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._out, rest) :]
            except BlockingIOError:
                select.select([], [self._out], [])

    def close(self) -> None:
        pass


class _Stdio(_Descriptors):
    """The process's own."""


class _Socket:
    def __init__(self, client: socket.socket) -> None:
        self._socket = client

    def read(self, most: int) -> bytes:
        return self._socket.recv(most)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def _own_stdio() -> Iterator[_Stdio]:
    """Keeps the stream to the client for us; stdin is empty and stdout is stderr for everyone else, C code included."""
    sys.stdout.flush()
    mine = _Stdio(os.dup(0), os.dup(1))
    printed = sys.stdout
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout = sys.stderr
    try:
        yield mine
    finally:
        sys.stdout = printed  # the descriptors stay as they are: nothing after the last frame belongs to the client


@functools.cache
def _converter() -> Converter:
    """One for all clients, since it takes long to make and holds nothing of theirs."""
    return cast("Converter", default_converter())  # type: ignore[no-untyped-call]  # pygls' own


def _run(serving: Awaitable[int]) -> int:
    """Runs a loop whose end waits for no thread."""

    async def main() -> int:
        asyncio.get_running_loop().set_default_executor(connection.Workers(_MOST_THREADS))
        return await serving

    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        return 130


def _listen(host: str, port: int, *, anywhere: bool) -> socket.socket:
    if host not in LOCAL and not anywhere:
        raise errors.UsageError(
            f"{host} can be reached from other machines.", hint="Listen on 127.0.0.1, or say that anyone may connect."
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise errors.UsageError(
            f"Nothing can listen on {host}:{port}: {error.strerror}.",
            hint="Choose another port; 0 lets the system choose.",
        ) from error


def _spelled(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_LAST_RESORT_SECONDS = 3.0
_MOST_THREADS = 16
