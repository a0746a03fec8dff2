"""One MCP server: its session on the event loop, what it offers, and the calls of its tools from other threads.

Never trusts a server's word that a tool only reads, and never raises for what the server does.

The library is imported when there is a server, since that takes most of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import functools
import json
import re
import time
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from glm_lsp import __version__
from glm_lsp.errors import BadArguments, SettingsError
from glm_lsp.tools.mcp.answers import first_line, leaf, outcome
from glm_lsp.tools.mcp.schema import readable, server_name, tool_names, tool_spec
from glm_lsp.tools.tool import Outcome, Tool, ToolContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as Listed

    from glm_lsp.settings import McpServer
    from glm_lsp.tools.mcp.process import Pipes

MOST_TOOLS = 64
"""Of one server; each of them is read by the model with every conversation."""

MOST_PAGES = 20

MOST_CHARACTERS = 10_000
"""Of one call's arguments: a person has to read them before they can permit it."""

TICK = 0.05

WORDS = 400
"""Characters of what a server says about its failure."""

_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""The variables that every program gets; no other one of ours, since there may be keys among them."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Server:
    """One server: its session, and what it offers."""

    def __init__(self, name: str, settings: McpServer, root: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.settings = settings
        self.settled = asyncio.Event()
        self._root = root
        self._environment = environment
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._pipes: Pipes | None = None
        self._status = 0
        self._connected = False
        self._listed: list[Listed] = []
        self._more = False
        self._failure = "it did not answer in time"
        self._hint = ""

    # --- on the event loop ---------------------------------------------------------------------------------------

    async def serve(self, closing: asyncio.Event) -> None:
        """Connects, keeps the session until `closing`, and ends it; never raises for what the server does."""
        self._loop = asyncio.get_running_loop()
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(self.settings.connect_seconds):
                    self._client = client = await self._connect(stack)
                    await self._list(client)
                self._failure = ""
                self._connected = True
                self.settled.set()
                await closing.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, the person's work goes on
            # Seldom seen once the server has settled: then it is the way in which a connection broke.
            self._failure, self._hint = self._why(leaf(error))
        finally:
            self._client = None
            self.settled.set()

    async def _connect(self, stack: contextlib.AsyncExitStack) -> Client:
        from mcp import Client, MCPError  # noqa: PLC0415 - heavy, and needed only where there are servers
        from mcp_types import CONNECTION_CLOSED, Implementation  # noqa: PLC0415 - as above

        info = Implementation(name="glm-lsp", version=__version__)
        try:
            return await stack.enter_async_context(
                Client(await self._transport(stack), client_info=info, cache=None, mode="auto")
            )
        except Exception as error:
            # Some servers end when the first thing they hear is the question for the newer protocol.
            cause = leaf(error)
            if self.settings.url or not isinstance(cause, MCPError) or cause.code != CONNECTION_CLOSED:
                raise
        return await stack.enter_async_context(
            Client(await self._transport(stack), client_info=info, cache=None, mode="legacy")
        )

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
        given = self.settings
        if given.url:
            from glm_lsp.tools.mcp.http import connection  # noqa: PLC0415 - heavy, and needed only here

            headers = {name: self._expanded(value) for name, value in given.headers.items()}
            return await connection(stack, self._expanded(given.url), headers, given.call_seconds, self._note_status)
        self._pipes = self._program()
        return self._pipes

    async def _list(self, client: Client) -> None:
        if client.server_capabilities.tools is None:
            return
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            self._listed += page.tools
            cursor = page.next_cursor
            if not cursor:
                return
        self._more = True

    async def _ask(self, client: Client, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult  # noqa: PLC0415 - heavy

        # Not client.call_tool: that refuses answers which do not fit the schema that the server declared for them, and
        # the model reads the text either way.
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        return await client.session.send_request(request, CallToolResult)

    def _program(self) -> Pipes:
        from glm_lsp.tools.mcp.process import Pipes  # noqa: PLC0415 - heavy, and needed only here

        given = self.settings
        folder = self._root / Path(given.cwd).expanduser() if given.cwd else Path.home()
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {folder}")
        command = str(Path(given.command).expanduser()) if given.command.startswith("~") else given.command
        variables = {name: self._environment[name] for name in _INHERITED if name in self._environment}
        variables |= {name: self._expanded(value) for name, value in given.env.items()}
        arguments = [command, *map(self._expanded, given.args)]
        return Pipes(arguments, folder, variables, _log(self.name, self._environment))

    def _note_status(self, status: int) -> None:
        self._status = status

    def _expanded(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name == "workspace":
                return str(self._root)
            if name not in self._environment:
                raise SettingsError(f"the variable {name}, which its settings name, is not set")
            return self._environment[name]

        return _VARIABLE.sub(value, text)

    def _why(self, error: BaseException) -> tuple[str, str]:
        """What to say about a server that could not be connected, and what to do about it."""
        table = f"[mcp.servers.{self.name}] in your settings"
        told = f" {self._pipes.told()}".rstrip() if self._pipes is not None else ""
        where = self.settings.url.partition("?")[0] if self.settings.url else f"`{self.settings.command}`"
        if isinstance(error, TimeoutError):
            limit = f"connect_seconds under {table} sets this limit."
            return f"it did not answer within {self.settings.connect_seconds:g} s.{told}", limit
        if isinstance(error, SettingsError):
            return f"{error.message}.", f"Mend {table}."
        if self.settings.url and not self._status:
            return f"nothing answers at {where}.", f"Start it, or mend {table}."
        if isinstance(error, OSError):
            return f"{where} cannot be run: {error.strerror or error}.", f"Install it, or mend {table}."
        status = f" (HTTP {self._status})" if self._status >= 400 else ""
        words = readable(first_line(error), WORDS).rstrip(".")
        return f"{where} said: {words or type(error).__name__}{status}.{told}", f"Try it by itself, or mend {table}."

    # --- from other threads --------------------------------------------------------------------------------------

    def offer(self, prefix: str) -> tuple[list[Tool], list[str]]:
        """The tools for the model, and what the person should know."""
        if self._failure:
            return [], [f"MCP server {self.name} could not be started: {self._failure} {self._hint}".rstrip()]
        notes = []
        listed = {
            tool.name: tool
            for tool in sorted(self._listed, key=lambda tool: tool.name, reverse=True)
            if any(fnmatch.fnmatchcase(tool.name, pattern) for pattern in self.settings.tools)
        }
        chosen = sorted(listed)[:MOST_TOOLS]
        if len(listed) > MOST_TOOLS or self._more:
            notes.append(
                f"MCP server {self.name} offers more than {MOST_TOOLS} tools; the first {MOST_TOOLS} are used. "
                f"Name those you want in `tools` under [mcp.servers.{self.name}]."
            )
        tools = []
        for raw, name in tool_names(prefix, chosen).items():
            try:
                spec = tool_spec(name, listed[raw].description or listed[raw].title or "", listed[raw].input_schema)
            except ValueError as error:
                notes.append(f"MCP server {self.name}: {readable(raw, 80)} is left out, since its schema {error}.")
                continue
            title = f"Called {readable(raw, 80)} of {self.name}"
            tools.append(
                Tool(
                    spec=spec,
                    title=lambda _arguments, title=title: title,  # type: ignore[misc]
                    run=functools.partial(self._run, raw),
                    permission=functools.partial(self._permission, raw, name),
                )
            )
        if not tools:
            notes.append(f"MCP server {self.name} offers no tools that could be used.")
        return tools, notes

    @property
    def lost(self) -> bool:
        """Whether it was connected and is not any more."""
        ended = self._pipes is not None and not self._pipes.running
        return self._connected and (self._client is None or ended)

    def kill(self) -> None:
        """Ends what is left of its program."""
        if self._pipes is not None:
            self._pipes.kill()

    def _permission(self, raw: str, name: str, arguments: dict[str, Any]) -> str | None:
        if any(fnmatch.fnmatchcase(raw, pattern) for pattern in self.settings.allow):
            return None
        told = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
        # What nobody can see is spelled out, as JSON allows.
        told = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in told)
        if len(told) > MOST_CHARACTERS:
            raise BadArguments(
                f"The arguments have {len(told):,} characters; {MOST_CHARACTERS:,} is the most that a person can check.",
                hint="Call it with less at once.",
            )
        return f"{name} {told}"

    def _run(self, raw: str, context: ToolContext, arguments: dict[str, Any]) -> Outcome:
        client, loop = self._client, self._loop
        gone = "Its tools are gone for the rest of this run."
        if self._pipes is not None and not self._pipes.running:
            return self._failed("is not there any more", f"{self._pipes.told()} {gone}")
        if client is None or loop is None or loop.is_closed():
            return self._failed("is not connected any more", gone)
        asking = self._ask(client, raw, arguments)
        try:
            future = asyncio.run_coroutine_threadsafe(asking, loop)
        except RuntimeError:
            asking.close()
            return self._failed("is not connected any more", gone)
        limit = self.settings.call_seconds
        deadline = time.monotonic() + limit
        while not futures.wait([future], timeout=TICK).done:
            if context.stop.is_set():
                future.cancel()
                return Outcome("cancelled", "The call was cancelled.", ok=False)
            if time.monotonic() > deadline:
                future.cancel()
                told = f" {self._pipes.told()}".rstrip() if self._pipes is not None else ""
                return self._failed(f"did not answer within {limit:g} s", f"It was told to stop.{told}")
        if future.cancelled():
            return self._failed("was closed", "The call may or may not have been carried out.")
        error = future.exception()
        return outcome(future.result()) if error is None else self._told(leaf(error))

    def _told(self, error: BaseException) -> Outcome:
        from mcp import MCPError  # noqa: PLC0415 - heavy; it is there by now
        from mcp_types import CONNECTION_CLOSED, PARSE_ERROR  # noqa: PLC0415 - as above

        words = readable(first_line(error), WORDS)
        if isinstance(error, MCPError) and error.code == CONNECTION_CLOSED:
            told = self._pipes.told() if self._pipes is not None else words
            return self._failed(
                "broke the connection", f"{told} The call may or may not have been carried out.".strip()
            )
        if isinstance(error, MCPError) and error.code != PARSE_ERROR:
            return self._failed("refused the call", readable(error.message, WORDS * 5))
        return self._failed("gave an answer that cannot be used", words)

    def _failed(self, what: str, more: str) -> Outcome:
        return Outcome(f"failed: it {what}", f"The MCP server {self.name} {what}. {more}".strip(), ok=False)


def _log(name: str, environment: Mapping[str, str]) -> Path | None:
    """Where a server's standard error goes; None where the folder cannot be made."""
    folder = Path(environment.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp")) / "mcp"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    return folder / f"{server_name(name)}.log"
