"""Connections to one server, straight or through a proxy: opened as needed, kept, and used again.

Never follows a redirect, and sends a request again only where a kept connection was closed before the reply began.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_lsp.engine.http1 import Broken, Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glm_lsp.engine.http1 import Response
    from glm_lsp.engine.proxies import Proxy

_SECOND_ADDRESS = 0.25  # seconds until a host's next address is tried beside the first (RFC 8305)


class NoConnection(OSError):
    """There is no connection; the text says why in a few words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens: at a host's port, with TLS or without, or at a Unix socket."""

    host: str = "localhost"
    port: int = 80
    tls: bool = False
    socket: str = ""

    @property
    def authority(self) -> str:
        """What the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.socket or self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Client:
    """Connections to one server, opened as needed and used again.

    Args:
        place: where it is.
        proxy: what stands between; None for nothing.
        trust: whom to believe certificates of; None for the system's authorities.
        patience: seconds to wait for a connection.

    Attributes:
        place: as given.
        proxy: as given.
    """

    def __init__(
        self, place: Place, *, proxy: Proxy | None = None, trust: ssl.SSLContext | None = None, patience: float = 10.0
    ) -> None:
        self.place = place
        self.proxy = proxy
        self._trust = trust
        self._patience = patience
        self._kept: list[Connection] = []
        # A proxy that does not see through TLS is told the whole address.
        self._prefix = f"http://{place.authority}" if proxy is not None and not place.tls else ""

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Sends one request and returns its reply, of which only the head was read.

        Once more at once, where a kept connection turns out to be closed before a byte of the reply: any server may
        close one that rests, and llama.cpp closes it after every streamed reply without saying so (build 11434).

        Args:
            method: in capitals.
            path: with query, as it goes over the wire.
            headers: further ones; Host and the length are set here.
            body: empty for none.

        Raises:
            NoConnection: there is none to be had.
            ssl.SSLError: nor a secure one.
            ProxyRefused: the proxy does not lead there.
            Broken: it ended before the head of the reply was here.
            NotHttp: what came is no reply.
        """
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self.place.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self._prefix and self.proxy is not None and self.proxy.authorization:
            lines.append(f"Proxy-Authorization: {self.proxy.authorization}")
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        if any(not line.isprintable() for line in lines):
            raise ValueError("A header of the request has characters that no header has.")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        while self._kept:
            kept = self._kept.pop()
            if not kept.is_fresh():
                kept.end()
                continue
            try:
                return await kept.exchange(head, body)
            except Broken:
                if kept.has_heard:
                    raise
                break
        return await (await self._connect()).exchange(head, body)

    async def close(self) -> None:
        """Closes the connections that rest, and waits until they are."""
        kept, self._kept = self._kept, []
        for connection in kept:
            connection.end()
        if kept:
            await asyncio.sleep(0)

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._patience):
                return await self._opened()
        except ssl.SSLError:
            raise
        except TimeoutError as error:
            raise NoConnection(f"no connection within {self._patience:g} s") from error
        except OSError as error:
            raise NoConnection(_reason(error)) from error

    async def _opened(self) -> Connection:
        loop, place, proxy = asyncio.get_running_loop(), self.place, self.proxy
        make = functools.partial(Connection, self._kept.append)
        if place.socket:
            return (await loop.create_unix_connection(make, place.socket))[1]
        tls = self._secure() if place.tls else None
        if proxy is None:
            delay = _SECOND_ADDRESS
            return (await loop.create_connection(make, place.host, place.port, ssl=tls, happy_eyeballs_delay=delay))[1]
        outer = system_trust() if proxy.tls else None
        connection = (await loop.create_connection(make, proxy.host, proxy.port, ssl=outer))[1]
        if tls is not None:
            try:
                await connection.tunnel(f"{place.host}:{place.port}", proxy.authorization)
                await connection.secure(tls, place.host)
            except BaseException:
                connection.abort()
                raise
        return connection

    def _secure(self) -> ssl.SSLContext:
        return self._trust or system_trust()


@functools.cache
def system_trust() -> ssl.SSLContext:
    """The system's authorities, read once: there are a hundred of them and more."""
    return ssl.create_default_context()


def _reason(error: OSError) -> str:
    """Says in a few words why there is no connection; the system's own texts repeat the address, once for each tried."""
    numbers = {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    number = numbers.pop() if len(numbers) == 1 else error.errno
    if number and number > 0:
        return os.strerror(number).lower()
    return (error.strerror or str(error)).lower().rstrip(".")
