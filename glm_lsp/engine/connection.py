"""The line to one server: where it is, how it is reached, and what a broken or refused request means.

Never follows a redirect, never logs, and never lets the key into an error.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from glm_lsp.engine import keys, refusals
from glm_lsp.engine.keys import Key
from glm_lsp.engine.reply import Again, Reply, silence
from glm_lsp.errors import DiedMidStream, EngineError, MalformedReply, Overloaded, SettingsError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

    from glm_lsp.settings import EngineSettings

_T = TypeVar("_T")

_LONGEST_ERROR = 64 * 1024  # bytes of a refusal that are read
_LONGEST_DOCUMENT = 16 * 1024 * 1024  # bytes of an answer that is not streamed: the tokens of a long text


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
        self._root, self._socket, self.where = _address(settings.url)
        self.host = "" if self._socket else urlsplit(self._root).hostname or ""
        self.port = 0 if self._socket else urlsplit(self._root).port or 0
        self._environment = environment
        self._key = Key() if keys.waits(settings) else keys.find(settings, environment)
        self._has_looked = not keys.waits(settings)
        self._looking = asyncio.Lock()
        self._trust = _trust(settings.ca_file) if settings.ca_file else True
        self.model = settings.model
        self.served: tuple[str, ...] = ()
        self._session: aiohttp.ClientSession | None = None

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
        except aiohttp.ClientError as error:
            raise self._broken(error) from error
        except TimeoutError as error:
            raise silence(self.where, limit, spoke=False) from error
        except OSError as error:
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
        failure = self._failure(response.status, payload, retry_after=_seconds(response.headers.get("Retry-After", "")))
        if refusals.refuses_tools(response.status, payload):
            raise ToolsRefused(failure.error if isinstance(failure, Again) else failure)
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
        except aiohttp.ClientError as error:
            failure = self._broken(error)
            raise (failure.error if isinstance(failure, Again) else failure) from error
        except TimeoutError as error:
            raise silence(self.where, 2 * self._settings.connect_timeout, spoke=False) from error
        if response.status != 200:
            failure = self._failure(
                response.status, payload, retry_after=_seconds(response.headers.get("Retry-After", ""))
            )
            raise failure.error if isinstance(failure, Again) else failure
        try:
            return msgspec.json.decode(payload, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            failure = self._unexpected(response.content_type, payload)
            raise (failure.error if isinstance(failure, Again) else failure) from error

    async def close(self) -> None:
        """Closes what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _drain(self, response: aiohttp.ClientResponse, longest: int = _LONGEST_ERROR) -> bytes:
        """Reads a short body to its end or to where it is long enough to be understood."""
        payload = b""
        try:
            async with response, asyncio.timeout(2 * self._settings.connect_timeout):
                while len(payload) < longest and (chunk := await response.content.readany()):
                    payload += chunk
        except (aiohttp.ClientError, OSError):  # half an explanation, or none, is still an answer
            pass
        return payload

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Sends one request; once more at once where a kept connection turns out to be closed.

        Any server may close a connection that rests, and llama.cpp closes it after every streamed reply without saying
        so (seen with build 11434). A request that nobody has begun to answer is safe to send again.
        """
        kept: dict[str, bool] = {}
        url = f"{self._root}{path}"
        try:
            return await self._open().request(
                method, url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=kept
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not kept:
                raise
        return await self._open().request(method, url, data=body, headers=headers, allow_redirects=False)

    async def _proof(self) -> dict[str, str]:
        """The header with the key, which a command or the keyring is asked for once; nothing where there is none."""
        async with self._looking:
            if not self._has_looked:
                self._key = await asyncio.to_thread(keys.find, self._settings, self._environment)
                self._has_looked = True
        return {"Authorization": f"Bearer {self._key.value}"} if self._key.value else {}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(self._socket, limit=0)
                if self._socket
                else aiohttp.TCPConnector(limit=0, ssl=self._trust)
            )
            wait = self._settings.connect_timeout
            headers = {"Accept-Encoding": "identity"}  # a compressed stream comes in lumps
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=wait, sock_connect=wait),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_noting_reuse()],
            )
        return self._session

    # --- what went wrong -----------------------------------------------------------------------------------------

    def _failure(self, status: int, payload: bytes, *, retry_after: float | None = None) -> EngineError | Again:
        """Turns a refusal into an error, wrapped in `Again` where another try may help."""
        if status in (401, 403) and keys.waits(self._settings):
            keys.forget(self._settings)
            self._has_looked = False
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
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Unreachable(
                f"The certificate of {self.where} is not trusted: {_certificate(error)}.",
                hint="Set engine.ca_file to the certificate of your own authority, if it is one that you trust.",
            )
        if isinstance(error, aiohttp.ClientSSLError):
            return Unreachable(
                f"There is no secure connection to {self.where}: what answers does not speak TLS as expected.",
                hint="See whether engine.url should begin with http://.",
            )
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError):
            if isinstance(error, aiohttp.ServerTimeoutError):
                why = f"no connection within {self._settings.connect_timeout:g} s"
            else:
                why = _reason(error)
            return Unreachable(
                f"Nothing answers at {self.where}: {why}.",
                hint="See whether the engine runs there: `glm-lsp engine status`, or correct engine.url.",
                retryable=True,
            )
        if isinstance(error, aiohttp.ServerConnectionError | OSError):
            what = f"The engine at {self.where} closed the connection before it answered."
            return Again(DiedMidStream(what, hint="Its own log says why.", retryable=True), times=99)
        return MalformedReply(
            f"What is at {self.where} does not speak HTTP as expected ({type(error).__name__}).",
            hint="See whether engine.url is the address of an OpenAI-compatible server.",
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


def _noting_reuse() -> aiohttp.TraceConfig:
    """Notes in a request's own dictionary that its connection had been used before."""

    async def reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx["kept"] = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(reused)
    return config


# --- addresses ---------------------------------------------------------------------------------------------------


def _address(url: str) -> tuple[str, str, str]:
    """Splits the setting into the API's root, a socket's path (empty for TCP), and the address as it may be shown."""
    if url.startswith("unix:"):
        path = "/" + url.removeprefix("unix:").lstrip("/")
        return "http://localhost/v1", path, f"unix:{path}"
    mistake = SettingsError(
        f"engine.url is not an address: {url.rpartition('@')[2]!r}.", hint="Write http://host:port or unix:/path."
    )
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise mistake from None
    if not good:
        raise mistake
    if "@" in parts.netloc:
        raise SettingsError(
            "engine.url holds a user or a password.",
            hint="Put the key into the variable that engine.api_key_env names, or set engine.api_key_command.",
        )
    where = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    last = parts.path.rstrip("/").rpartition("/")[2]
    versioned = last[:1] == "v" and last[1:].isdigit()
    return where if versioned else f"{where}/v1", "", where


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


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    found = error.certificate_error
    words = getattr(found, "verify_message", "") or type(found).__name__
    return str(words).rstrip(".")


def _reason(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno  # its own text repeats the address, and more than once where there are several
    return os.strerror(number).lower() if number and number > 0 else str(error.os_error)


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
