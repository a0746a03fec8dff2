"""The pipes to an MCP server that is a program of ours: one JSON message a line, within bounds, and no process left.

Never shows the person what the program writes on its standard error: its end is kept, and its beginning goes to a log.

The library's own transport reads a line of any length, at a cost that grows with its square, and lets a call whose
answer is broken wait for its time limit; so lines are read here, and such a call is answered with what went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import (
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
    Outgoing = MemoryObjectSendStream[SessionMessage]

MESSAGE_BYTES = 8_000_000
"""Of one message from a server; what the model gets to read of it is far less."""

LOG_BYTES = 1_000_000

KEPT_BYTES = 4_000
"""Of the end of its standard error, in case it has to be told why it did not work."""

CHUNK = 65_536

GRACE = 1.0
"""Seconds in which a server may end by itself, once its input is closed and again once it was told to."""


class Pipes:
    """A transport for the library: enter it to start the program, leave it to end it and all that it started."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path | None = None
    ) -> None:
        """Takes the program with its arguments, where it runs, its whole environment, and where its log goes."""
        self._arguments = tuple(arguments)
        self._folder = folder
        self._variables = dict(variables)
        self._log = log
        self._transport: asyncio.SubprocessTransport | None = None
        self._errors = bytearray()
        self._waiting: dict[RequestId, None] = {}
        self._noise = 0
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._streams: tuple[Any, ...] = ()

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._transport is not None and self._transport.get_returncode() is None

    def told(self) -> str:
        """What there is to say about it: how it ended, its last words, and what it wrote in the wrong place."""
        code = self._transport.get_returncode() if self._transport is not None else None
        parts = []
        if code is not None:
            parts.append(f"It ended with exit status {code}." if code >= 0 else f"It was ended by signal {-code}.")
        last = self._errors.decode(errors="replace").strip().rpartition("\n")[2]
        last = "".join(c for c in last if c.isprintable()).strip()
        if last:
            parts.append(f'The last it said: "{last[:300]}".')
        if self._noise:
            parts.append(f"{self._noise} lines of its standard output were no messages.")
        return " ".join(parts)

    def kill(self) -> None:
        """Ends the program and all that it started at once; safe to call from any thread, and again."""
        transport = self._transport
        if transport is not None and transport.get_returncode() is None:
            _signal(transport, signal.SIGKILL)

    async def __aenter__(self) -> tuple[Incoming, Outgoing]:
        """Starts the program; raises OSError where that cannot be done."""
        loop = asyncio.get_running_loop()
        self._transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop, self._left_behind),
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._folder,
            env=self._variables,
            start_new_session=True,
        )
        process = asyncio.subprocess.Process(self._transport, protocol, loop)
        to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        self._streams = (to_session, incoming, outgoing, from_session)
        self._tasks = [
            asyncio.create_task(self._read(process, to_session)),
            asyncio.create_task(self._write(process, from_session, to_session)),
            asyncio.create_task(self._listen(process)),
        ]
        return incoming, outgoing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the program end, makes it end where it does not, and closes everything."""
        transport = self._transport
        assert transport is not None  # noqa: S101 - for the type checker: it was entered
        try:
            pipe = transport.get_pipe_transport(0)
            if pipe is not None:
                pipe.close()
            if not await self._gone():
                _signal(transport, signal.SIGTERM)
                if not await self._gone():
                    _signal(transport, signal.SIGKILL)
                    await self._gone()
        finally:
            self.kill()
            for task in self._tasks:
                task.cancel()
            for stream in self._streams:
                stream.close()
            transport.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _gone(self) -> bool:
        # Not process.wait(): that waits for the pipes too, which a grandchild may hold.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), GRACE)
        return not self.running

    def _left_behind(self) -> None:
        """Called as soon as the program has ended, while no other group can have its number."""
        if self._transport is not None:
            _signal(self._transport, signal.SIGKILL)
        self._ended.set()

    # --- the three pipes -----------------------------------------------------------------------------------------

    async def _read(
        self, process: asyncio.subprocess.Process, session: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        line = bytearray()
        spilled = False
        with session, contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := await process.stdout.read(CHUNK):
                for number, piece in enumerate(chunk.split(b"\n")):
                    if number:  # a line has ended in front of this piece
                        if not spilled:
                            await self._take(bytes(line), session)
                        line.clear()
                        spilled = False
                    if not spilled:
                        line += piece
                    if len(line) > MESSAGE_BYTES:
                        line.clear()
                        spilled = True
                        await self._fail(f"The answer is larger than {MESSAGE_BYTES // 1_000_000} MB.", session)
            await self._gone()  # so that whoever learns that the connection is over can be told how

    async def _take(self, line: bytes, session: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        if not line.strip():
            return
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._noise += 1
            if b'"jsonrpc"' in line:  # meant as a message, unlike what a program prints for people
                await self._fail("The answer is not a message of the protocol.", session)
            return
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._waiting.pop(message.id, None)
        await session.send(SessionMessage(message))

    async def _fail(self, words: str, session: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Answers whatever waits; nobody can say which request the broken line was for."""
        waiting, self._waiting = list(self._waiting), {}
        for request in waiting:
            error = JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=PARSE_ERROR, message=words))
            await session.send(SessionMessage(error))

    async def _write(
        self,
        process: asyncio.subprocess.Process,
        messages: MemoryObjectReceiveStream[SessionMessage],
        session: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        assert process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        async with messages:
            async for message in messages:
                if isinstance(message.message, JSONRPCRequest):
                    self._waiting[message.message.id] = None
                try:
                    process.stdin.write(
                        message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    )
                    await process.stdin.drain()
                except (OSError, RuntimeError):  # it reads no more: the session learns that the connection is over
                    session.close()
                    return

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - for the type checker: it is a pipe
        with contextlib.ExitStack() as stack:
            log = None
            if self._log is not None:
                with contextlib.suppress(OSError):
                    opened = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                    log = stack.enter_context(os.fdopen(opened, "wb", buffering=0))
            left = LOG_BYTES
            while chunk := await process.stderr.read(CHUNK):
                self._errors = (self._errors + chunk)[-KEPT_BYTES:]
                if log is not None and left > 0:
                    with contextlib.suppress(OSError):
                        log.write(chunk[:left])
                    left -= len(chunk)


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells when the program has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Any) -> None:
        super().__init__(limit=CHUNK, loop=loop)
        self._ended = ended

    def process_exited(self) -> None:
        """Called by the event loop."""
        self._ended()
        super().process_exited()


def _signal(transport: asyncio.SubprocessTransport, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(transport.get_pid(), number)
