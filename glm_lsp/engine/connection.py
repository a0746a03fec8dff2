"""The line to one server: where it is, how it is reached, and what a broken or refused request means.

Never follows a redirect, never logs, and never lets the key into an error.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from glm_lsp.engine import dialects
from glm_lsp.engine.reply import Again, Reply, silence
from glm_lsp.errors import DiedMidStream, EngineError, MalformedReply, Overloaded, SettingsError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        settings: the address, the time-outs and the name of the key's variable.
        environment: where the key comes from.

    Attributes:
        where: the address as it may be shown.
        host: its name of the host, empty for a socket.
        model: the name that requests ask for, for error texts.
        served: the names the server offers, for error texts.

    Raises:
        SettingsError: the address is not one, or the key cannot be one.
    """

    def __init__(self, settings: EngineSettings, *, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._root, self._socket, self.where = _address(settings.url)
        self.host = "" if self._socket else urlsplit(self._root).hostname or ""
        self._key = environment.get(settings.api_key_env, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise SettingsError(f"{settings.api_key_env} holds characters that no key has.", hint="Set it again.")
        self.model = settings.model
        self.served: tuple[str, ...] = ()
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> Reply:
        """Sends one chat completion and returns its reply, of which nothing has been read.

        Raises:
            EngineError: the server cannot be reached or does not take the request.
            Again: the same, with some hope.
            ToolsRefused: it is the tools that the server does not take.
        """
        limit = self._settings.first_token_timeout
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        try:
            async with asyncio.timeout(limit):
                url = f"{self._root}/chat/completions"
                response = await self._open().post(url, data=body, headers=headers, allow_redirects=False)
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
        if dialects.refuses_tools(response.status, payload):
            raise ToolsRefused(failure.error if isinstance(failure, Again) else failure)
        raise failure

    async def get(self, path: str, kind: type[_T], *, body: bytes | None = None) -> _T:
        """Asks for a JSON document below the API's root; with a body, posts that.

        Raises:
            EngineError: it is not to be had.
        """
        try:
            async with asyncio.timeout(2 * self._settings.connect_timeout):
                url, method = f"{self._root}{path}", "GET" if body is None else "POST"
                headers = {} if body is None else {"Content-Type": "application/json"}
                response = await self._open().request(method, url, data=body, headers=headers, allow_redirects=False)
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

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(self._socket, limit=0) if self._socket else aiohttp.TCPConnector(limit=0)
            )
            wait = self._settings.connect_timeout
            headers = {"Accept-Encoding": "identity"}  # a compressed stream comes in lumps
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=wait, sock_connect=wait),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    # --- what went wrong -----------------------------------------------------------------------------------------

    def _failure(self, status: int, payload: bytes, *, retry_after: float | None = None) -> EngineError | Again:
        """Turns a refusal into an error, wrapped in `Again` where another try may help."""
        error = dialects.explain(
            status,
            self._redacted(payload),
            where=self.where,
            model=self.model,
            served=self.served,
            key_env=self._settings.api_key_env,
            has_key=bool(self._key),
            retry_after=retry_after,
        )
        if not error.retryable:
            return error
        return Again(error, times=99 if isinstance(error, Overloaded) else 1)

    def _broken(self, error: Exception) -> EngineError | Again:
        """Turns a connection that failed before the reply into an error."""
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
        words, status = dialects.spoken(payload)
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
        return payload.replace(self._key.encode(), b"***") if self._key else payload


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
            hint="Put the key into the variable that engine.api_key_env names.",
        )
    where = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    last = parts.path.rstrip("/").rpartition("/")[2]
    versioned = last[:1] == "v" and last[1:].isdigit()
    return where if versioned else f"{where}/v1", "", where


def _reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    number = error.os_error.errno  # its own text repeats the address, and more than once where there are several
    return os.strerror(number).lower() if number and number > 0 else str(error.os_error)


def _seconds(header: str) -> float | None:
    """Reads a Retry-After header; a date, which no engine is known to send, counts as none."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None
