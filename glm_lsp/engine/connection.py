"""The line to one server: where it is, how it is reached, and what a broken or refused request means.

Never follows a redirect, never logs, and never lets the key into an error.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from glm_lsp import __version__
from glm_lsp.engine import keys, pool, proxies, refusals
from glm_lsp.engine.http1 import NotHttp, ProxyRefused
from glm_lsp.engine.keys import Key
from glm_lsp.engine.pool import NoConnection, Place
from glm_lsp.engine.reply import Again, Reply, silence
from glm_lsp.errors import DiedMidStream, EngineError, MalformedReply, Overloaded, Refused, SettingsError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glm_lsp.engine.http1 import Response
    from glm_lsp.engine.proxies import Proxy
    from glm_lsp.settings import EngineSettings

_T = TypeVar("_T")

_LONGEST_ERROR = 64 * 1024  # bytes of a refusal that are read
_LONGEST_DOCUMENT = 16 * 1024 * 1024  # bytes of an answer that is not streamed: the tokens of a long text


_ALWAYS = {"User-Agent": f"glm-lsp/{__version__}", "Accept-Encoding": "identity"}  # a compressed stream comes in lumps

FAILURES = (OSError, NotHttp, ProxyRefused)
"""What may come of a request that did not get its reply."""


class ToolsRefused(Exception):
    """The server does not take the tools that came with the request."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(error.message)
        self.error = error


class Connection:
    """Connections to one address, opened as needed and used again.

    Args:
        settings: the address, the time-outs and where the key comes from.
        environment: where it is looked up if it comes from a variable.

    Attributes:
        where: the address as it may be shown.
        host: its name of the host, empty for a socket.
        port: its port, 0 for a socket.
        model: the name that requests ask for, for error texts.
        served: the names the server offers, for error texts.

    Raises:
        SettingsError: the address is not one, the key cannot be one, or the file of certificates cannot be read.
    """

    def __init__(self, settings: EngineSettings, *, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._client, self._root, self.where = reach(
            settings.url, ca_file=settings.ca_file, patience=settings.connect_timeout, environment=environment
        )
        place, self._proxy = self._client.place, self._client.proxy
        self.host = "" if place.socket else place.host
        self.port = 0 if place.socket else place.port
        self._environment = environment
        self._key = Key() if keys.waits(settings) else keys.find(settings, environment)
        self._has_looked = not keys.waits(settings)
        self._looking = asyncio.Lock()
        self.model = settings.model
        self.served: tuple[str, ...] = ()

    async def post(self, body: bytes) -> Reply:
        """Sends one chat completion and returns its reply, of which nothing has been read.

        Raises:
            EngineError: the server cannot be reached or does not take the request.
            SettingsError: there is no key where one should be.
            Again: the same, with some hope.
            ToolsRefused: it is the tools that the server does not take.
        """
        limit = self._settings.first_token_timeout
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"} | await self._proof()
        try:
            async with asyncio.timeout(limit):
                response = await self._send("POST", "/chat/completions", body, headers)
        except TimeoutError as error:
            raise silence(self.where, limit, spoke=False) from error
        except FAILURES as error:
            raise self._broken(error) from error
        if response.status == 200 and response.content_type == "text/event-stream":
            return Reply(
                response,
                where=self.where,
                first_word=limit,
                stall=self._settings.stall_timeout,
                failure=self._failure,
                redact=self._redacted,
            )
        payload = await self._drain(response)
        if response.status == 200:
            raise self._unexpected(response.content_type, payload)
        failure = self._failure(response.status, payload, retry_after=_seconds(response.headers.get("retry-after", "")))
        if refusals.refuses_tools(response.status, payload):
            raise ToolsRefused(plain(failure))
        raise failure

    async def get(self, path: str, kind: type[_T], *, body: bytes | None = None) -> _T:
        """Asks for a JSON document below the API's root; with a body, posts that.

        Raises:
            EngineError: it is not to be had.
            SettingsError: there is no key where one should be.
        """
        headers = await self._proof() | ({} if body is None else {"Content-Type": "application/json"})
        try:
            async with asyncio.timeout(2 * self._settings.connect_timeout):
                response = await self._send("GET" if body is None else "POST", path, body, headers)
                payload = await self._drain(response, _LONGEST_DOCUMENT)
        except TimeoutError as error:
            raise silence(self.where, 2 * self._settings.connect_timeout, spoke=False) from error
        except FAILURES as error:
            raise plain(self._broken(error)) from error
        if response.status != 200:
            asked = _seconds(response.headers.get("retry-after", ""))
            raise plain(self._failure(response.status, payload, retry_after=asked))
        try:
            return msgspec.json.decode(payload, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise plain(self._unexpected(response.content_type, payload)) from error

    async def close(self) -> None:
        """Closes what is open."""
        await self._client.close()

    async def _drain(self, response: Response, longest: int = _LONGEST_ERROR) -> bytes:
        """Reads a short body to its end or to where it is long enough to be understood."""
        payload = b""
        try:
            async with response, asyncio.timeout(2 * self._settings.connect_timeout):
                while len(payload) < longest and (chunk := await response.read()):
                    payload += chunk
        except FAILURES:  # half an explanation, or none, is still an answer
            pass
        return payload

    async def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Response:
        """Sends one request to a path below the API's root, or with `/..` beside it."""
        target = quote(posixpath.normpath(self._root + path), safe="/%:@!$&'()*+,;=~")
        return await self._client.request(method, target, _ALWAYS | headers, body or b"")

    async def _proof(self) -> dict[str, str]:
        """The header with the key, which a command or the keyring is asked for once; nothing where there is none."""
        async with self._looking:
            if not self._has_looked:
                self._key = await asyncio.to_thread(keys.find, self._settings, self._environment)
                self._has_looked = True
        return {"Authorization": f"Bearer {self._key.value}"} if self._key.value else {}

    # --- what went wrong -----------------------------------------------------------------------------------------

    def _failure(self, status: int, payload: bytes, *, retry_after: float | None = None) -> EngineError | Again:
        """Turns a refusal into an error, wrapped in `Again` where another try may help."""
        if status in (401, 403) and keys.waits(self._settings):
            keys.forget(self._settings)
            self._has_looked = False
        if status == 407 and self._proxy is not None:
            return _wants_a_password(self._proxy)
        error = refusals.explain(
            status,
            self._redacted(payload),
            where=self.where,
            model=self.model,
            served=self.served,
            key=self._key.source,
            no_key=f"Put the engine's key into {keys.source(self._settings)}, or set engine.api_key_command.",
            retry_after=retry_after,
        )
        if not error.retryable:
            return error
        return Again(error, times=99 if isinstance(error, Overloaded) else 1)

    def _broken(self, error: Exception) -> EngineError | Again:
        """Turns a connection that failed before the reply into an error."""
        if isinstance(error, ssl.SSLCertVerificationError):
            why = (error.verify_message or type(error).__name__).rstrip(".")
            return Unreachable(f"The certificate of {self.where} is not trusted: {why}.", hint=_mend(error.verify_code))
        if isinstance(error, ssl.SSLError):
            return Unreachable(
                f"There is no secure connection to {self.where}: what answers does not speak TLS as expected.",
                hint="See whether engine.url should begin with http://.",
            )
        if self._proxy is not None and isinstance(error, NoConnection | ProxyRefused):
            return self._not_through(self._proxy, error)
        if isinstance(error, NoConnection):
            return Unreachable(
                f"Nothing answers at {self.where}: {error}.",
                hint="See whether the engine runs there: `glm-lsp engine status`, or correct engine.url.",
                retryable=True,
            )
        if isinstance(error, OSError):
            what = f"The engine at {self.where} closed the connection before it answered."
            return Again(DiedMidStream(what, hint="Its own log says why.", retryable=True), times=99)
        return MalformedReply(
            f"What is at {self.where} does not speak HTTP as expected ({error}).",
            hint="See whether engine.url is the address of an OpenAI-compatible server.",
        )

    def _not_through(self, proxy: Proxy, error: NoConnection | ProxyRefused) -> EngineError:
        """Says that it is the proxy, and not the engine."""
        except_it = f"no_proxy={self.host} leads past it."
        if isinstance(error, NoConnection):
            return Unreachable(
                f"No way to {self.where}: {proxy.name}: {error}.",
                hint=f"Correct {proxy.variable}; {except_it}",
                retryable=True,
            )
        if error.status == 407:
            return _wants_a_password(proxy)
        return Unreachable(
            f"No way to {self.where}: {proxy.name} does not lead there ({error.status}).", hint=except_it.capitalize()
        )

    def _unexpected(self, content_type: str, payload: bytes) -> EngineError | Again:
        words, status = refusals.spoken(payload)
        if words:
            return self._failure(status or 500, payload)
        first = " ".join(self._redacted(payload[:2000]).decode(errors="replace").split())[:80]
        what = f"answers with {content_type} that begins {first!r}" if first else "answers with nothing"
        return MalformedReply(
            f"What is at {self.where} {what}.",
            hint="See whether engine.url is the address of an OpenAI-compatible server.",
        )

    def _redacted(self, payload: bytes) -> bytes:
        """Removes the key from a server's words: some repeat it to whoever reads the log."""
        return payload.replace(self._key.value.encode(), b"***") if self._key.value else payload


def plain(failure: EngineError | Again) -> EngineError:
    """The error, whatever hope there is."""
    return failure.error if isinstance(failure, Again) else failure


def _wants_a_password(proxy: Proxy) -> Refused:
    return Refused(
        f"{proxy.name.capitalize()} wants a user and a password (407).",
        hint=f"Put them into {proxy.variable}: http://user:password@{proxy.host}:{proxy.port}.",
    )


# --- addresses ---------------------------------------------------------------------------------------------------


def reach(url: str, *, ca_file: str, patience: float, environment: Mapping[str, str]) -> tuple[pool.Client, str, str]:
    """Makes ready to reach a server; nothing is sent yet.

    Args:
        url: as in the settings.
        ca_file: further authorities; empty for none.
        patience: seconds to wait for a connection.
        environment: where proxies are named.

    Returns:
        Connections to it, the path of its API's root, and its address as it may be shown.

    Raises:
        SettingsError: one of them is not what it should be.
    """
    place, root, where = _address(url)
    proxy = None
    if not place.socket:
        proxy = proxies.proxy_for(place.host, place.port, tls=place.tls, environment=environment)
    trust = _trust(ca_file) if ca_file else None
    return pool.Client(place, proxy=proxy, trust=trust, patience=patience), root, where


def _address(url: str) -> tuple[Place, str, str]:
    """Splits the setting into the place, the path of the API's root, and the address as it may be shown."""
    if url.startswith("unix:"):
        path = "/" + url.removeprefix("unix:").lstrip("/")
        return Place(socket=path), "/v1", f"unix:{path}"
    mistake = SettingsError(
        f"engine.url is not an address: {url.rpartition('@')[2]!r}.", hint="Write http://host:port or unix:/path."
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise mistake from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not parts.netloc.isprintable():
        raise mistake
    if "@" in parts.netloc:
        raise SettingsError(
            "engine.url holds a user or a password.",
            hint="Put the key into the variable that engine.api_key_env names, or set engine.api_key_command.",
        )
    tls = parts.scheme == "https"
    path = parts.path.rstrip("/")
    last = path.rpartition("/")[2]
    root = path if last[:1] == "v" and last[1:].isdigit() else f"{path}/v1"
    return (
        Place(_ascii(host, mistake), port or (443 if tls else 80), tls),
        root,
        f"{parts.scheme}://{parts.netloc}{path}",
    )


def _ascii(host: str, mistake: SettingsError) -> str:
    """A host's name as it goes over the wire."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise mistake from None


def _mend(code: int) -> str:
    """What to do about a certificate that OpenSSL does not trust, by its number for the reason."""
    match code:
        case 9 | 10:
            return "The server's operator has to renew it; see also whether this host's clock is right."
        case 62 | 64:
            return "Set engine.url to a name that the certificate is for."
        case _:
            return "Set engine.ca_file to the certificate of your own authority, if it is one that you trust."


def _trust(path: str) -> ssl.SSLContext:
    """The system's authorities and those in a file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(Path(path).expanduser())
    except OSError as error:  # and ssl.SSLError, which is one
        why = None if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(
            f"engine.ca_file, {path}, cannot be used: {(why or 'it holds no certificate').lower()}.",
            hint="It is a file with one or more certificates in PEM form.",
        ) from None
    return context


def _seconds(header: str) -> float | None:
    """Reads a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3); None where it is neither."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds < 1e6 else None
