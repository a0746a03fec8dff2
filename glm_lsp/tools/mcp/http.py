"""The connection to an MCP server at an address, within bounds.

Never reads an answer without bound, and never follows a redirect to another host, where the headers would go too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from mcp.client.streamable_http import streamable_http_client

from glm_lsp.tools.mcp.process import MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AsyncExitStack

    from mcp.client import Transport

CONNECT_SECONDS = 15.0


async def connection(
    stack: AsyncExitStack,
    url: str,
    headers: Mapping[str, str],
    seconds: float,
    status: Callable[[int], None],
) -> Transport:
    """A transport for the library; `stack` closes what belongs to it.

    Args:
        stack: of the task that will enter the transport.
        url: the server's address.
        headers: sent with every request.
        seconds: how long an answer may be silent.
        status: is told the status of every answer.
    """

    async def bounded(response: httpx2.Response) -> None:
        status(response.status_code)
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):  # the library bounds the events of a stream, which never ends
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - for the type checker: it is async
            response.stream = _Bounded(response.stream)

    client = await stack.enter_async_context(
        httpx2.AsyncClient(
            headers=dict(headers),
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=seconds),
            event_hooks={"response": [bounded]},
        )
    )
    return streamable_http_client(url, http_client=client, max_sse_event_size=MESSAGE_BYTES)


class _Bounded(httpx2.AsyncByteStream):
    """A body that breaks off where it gets too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._stream:
            seen += len(chunk)
            if seen > MESSAGE_BYTES:
                raise httpx2.StreamError(f"The answer is larger than {MESSAGE_BYTES // 1_000_000} MB.")
            yield chunk

    async def aclose(self) -> None:
        """Closes the body it reads."""
        await self._stream.aclose()
