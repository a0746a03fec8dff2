"""The agent that a panel starts: its sessions, and what it says it can do.

Never writes to standard output but messages of the protocol, and never asks for a login: there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from acp import PROTOCOL_VERSION, RequestError, run_agent
from acp.helpers import update_available_commands
from acp.schema import (
    AgentCapabilities,
    AuthenticateResponse,
    AvailableCommand,
    AvailableCommandInput,
    CloseSessionResponse,
    ForkSessionResponse,
    HttpMcpServer,
    Implementation,
    InitializeResponse,
    ListSessionsResponse,
    LoadSessionResponse,
    McpCapabilities,
    McpServerStdio,
    NewSessionResponse,
    PromptCapabilities,
    ResumeSessionResponse,
    SessionCapabilities,
    SessionCloseCapabilities,
    SessionConfigOptionSelect,
    SessionConfigSelectOption,
    SessionForkCapabilities,
    SessionInfo,
    SessionInfoUpdate,
    SessionListCapabilities,
    SessionMode,
    SessionModeState,
    SessionResumeCapabilities,
    SetSessionConfigOptionResponse,
    SetSessionModeResponse,
    UnstructuredCommandInput,
)

from glm_lsp import __version__, settings
from glm_lsp.acp.session import COMMANDS, Mode, Session
from glm_lsp.acp.updates import note, replay
from glm_lsp.conversations import Conversations
from glm_lsp.engine import open_engine
from glm_lsp.errors import GlmError
from glm_lsp.index.walk import find_root
from glm_lsp.terms import Thinking
from glm_lsp.turn.recall import asked
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence

    from acp.interfaces import Client
    from acp.schema import ClientCapabilities, PromptResponse

    from glm_lsp.conversations import Conversation
    from glm_lsp.engine.engine import Engine
    from glm_lsp.tools import Tool

_MODES = SessionModeState(
    current_mode_id="ask",
    available_modes=[
        SessionMode(id="ask", name="Ask", description="Changes wait until you have seen them."),
        SessionMode(id="apply", name="Apply", description="Changes are applied at once; /undo takes them back."),
    ],
)
_PAGE = 50  # sessions in one list


async def serve(overrides: Mapping[str, Any]) -> None:
    """Serves one panel over standard input and output, until it closes them.

    Args:
        overrides: settings by their dotted names, which come before all others.
    """
    agent = GlmAgent(overrides)
    try:
        await run_agent(agent, use_unstable_protocol=True)
    finally:
        await agent.close()


class GlmAgent:
    """The protocol's requests, answered; a class because the protocol's library wants one."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self._overrides = dict(overrides)
        self._sessions: dict[str, Session] = {}
        self._workspaces: dict[Path, Workspace] = {}
        self._engines: dict[str, Engine] = {}
        self._opened = contextlib.ExitStack()
        self._opening = asyncio.Lock()
        self._reads = self._writes = False
        self._client: Client

    def on_connect(self, conn: Client) -> None:
        """Takes note of who is there."""
        self._client = conn

    async def close(self) -> None:
        """Ends all turns and lets go of what is open."""
        for session in self._sessions.values():
            session.cancel()
        await asyncio.to_thread(self._opened.close)
        for engine in self._engines.values():
            with contextlib.suppress(Exception):
                await engine.close()

    # --- the protocol --------------------------------------------------------------------------------------------

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: ClientCapabilities | None = None,
        client_info: Implementation | None = None,
        **_: Any,
    ) -> InitializeResponse:
        """Says what this agent can do, and takes note of what the panel can."""
        del client_info
        files = client_capabilities.fs if client_capabilities is not None else None
        self._reads = bool(files is not None and files.read_text_file)
        self._writes = bool(files is not None and files.write_text_file)
        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION),
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(embedded_context=True),
                mcp_capabilities=McpCapabilities(http=True),
                session_capabilities=SessionCapabilities(
                    list=SessionListCapabilities(),
                    fork=SessionForkCapabilities(),
                    resume=SessionResumeCapabilities(),
                    close=SessionCloseCapabilities(),
                ),
            ),
            agent_info=Implementation(name="glm-lsp", title="GLM", version=__version__),
            auth_methods=[],
        )

    async def authenticate(self, method_id: str, **_: Any) -> AuthenticateResponse:
        """There is no login, so whoever asks for one has it."""
        del method_id
        return AuthenticateResponse()

    async def new_session(
        self,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[Any] | None = None,
        **_: Any,
    ) -> NewSessionResponse:
        """Begins a conversation in a folder."""
        del additional_directories
        async with _told():
            workspace, shelf = await self._open(cwd)
            conversation = await asyncio.to_thread(shelf.create)
            session = await self._began(workspace, shelf, conversation, mcp_servers)
        return NewSessionResponse(session_id=conversation.id, modes=_MODES, config_options=_options(session))

    async def load_session(
        self,
        cwd: str,
        session_id: str,
        mcp_servers: Sequence[Any] | None = None,
        additional_directories: list[str] | None = None,
        **_: Any,
    ) -> LoadSessionResponse:
        """Goes on with a conversation, and tells the panel what was said in it."""
        del additional_directories
        async with _told():
            session = await self._resumed(cwd, session_id, mcp_servers)
        for update in replay(session.conversation.messages):
            await session.tell(update)
        return LoadSessionResponse(modes=_modes(session), config_options=_options(session))

    async def resume_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[Any] | None = None,
        **_: Any,
    ) -> ResumeSessionResponse:
        """Goes on with a conversation that the panel still shows."""
        del additional_directories
        async with _told():
            session = await self._resumed(cwd, session_id, mcp_servers)
        return ResumeSessionResponse(modes=_modes(session), config_options=_options(session))

    async def fork_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[Any] | None = None,
        **_: Any,
    ) -> ForkSessionResponse:
        """Begins a conversation that has the same past."""
        del additional_directories
        async with _told():
            workspace, shelf = await self._open(cwd)
            conversation = await asyncio.to_thread(shelf.fork, session_id)
            session = await self._began(workspace, shelf, conversation, mcp_servers)
        return ForkSessionResponse(session_id=conversation.id, modes=_MODES, config_options=_options(session))

    async def list_sessions(self, cwd: str | None = None, cursor: str | None = None, **_: Any) -> ListSessionsResponse:
        """The conversations of a folder's workspace, those of the command line and of other editors too."""
        async with _told():
            kept = await asyncio.to_thread(_kept, cwd or ".")
        start = int(cursor) if cursor and cursor.isdigit() else 0
        more = str(start + _PAGE) if start + _PAGE < len(kept) else None
        return ListSessionsResponse(sessions=kept[start : start + _PAGE], next_cursor=more)

    async def close_session(self, session_id: str, **_: Any) -> CloseSessionResponse:
        """Lets go of a session; its conversation is kept."""
        self._session(session_id).cancel()
        del self._sessions[session_id]
        return CloseSessionResponse()

    async def set_session_mode(self, session_id: str, mode_id: str, **_: Any) -> SetSessionModeResponse:
        """Chooses what becomes of changes."""
        if mode_id not in get_args(Mode):
            raise RequestError.invalid_params({"mode": mode_id})
        self._session(session_id).mode = "apply" if mode_id == "apply" else "ask"
        return SetSessionModeResponse()

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> SetSessionConfigOptionResponse:
        """Chooses whether the model thinks."""
        session = self._session(session_id)
        chosen = next((word for word in get_args(Thinking) if word == value), None)
        if config_id != "thinking" or chosen is None:
            raise RequestError.invalid_params({"option": config_id, "value": value})
        session.thinking = chosen
        return SetSessionConfigOptionResponse(config_options=_options(session))

    async def prompt(self, session_id: str, prompt: Sequence[Any], **_: Any) -> PromptResponse:
        """One turn."""
        session = self._session(session_id)
        async with _told():
            engine = await self._engine(session.workspace)
            for words in engine.take_notes():
                await session.tell(note(words))
            answered = await session.prompt(prompt, engine)
        if not session.conversation.name and (said := asked(session.conversation.messages)):
            title = " ".join(said[0].split())[:80]
            await self._client.session_update(
                session_id, SessionInfoUpdate(session_update="session_info_update", title=title)
            )
        return answered

    async def cancel(self, session_id: str, **_: Any) -> None:
        """Stops the turn of a session."""
        if session_id in self._sessions:
            self._sessions[session_id].cancel()

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """There are no methods of ours."""
        del params
        raise RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Passes over what we do not know."""

    # --- the parts -----------------------------------------------------------------------------------------------

    def _session(self, session_id: str) -> Session:
        try:
            return self._sessions[session_id]
        except KeyError:
            raise RequestError.resource_not_found(session_id) from None

    async def _open(self, cwd: str) -> tuple[Workspace, Conversations]:
        folder = Path(cwd)
        async with self._opening:
            root = await asyncio.to_thread(find_root, folder)
            if root not in self._workspaces:
                loaded = settings.load(root, overrides=self._overrides)
                opened = await asyncio.to_thread(Workspace.open, folder, loaded)
                self._workspaces[root] = await asyncio.to_thread(self._opened.enter_context, opened.indexed())
            return self._workspaces[root], await asyncio.to_thread(Conversations.at, root)

    async def _resumed(self, cwd: str, session_id: str, mcp_servers: Sequence[Any] | None) -> Session:
        workspace, shelf = await self._open(cwd)
        conversation = await asyncio.to_thread(shelf.open, session_id)
        return await self._began(workspace, shelf, conversation, mcp_servers)

    async def _began(
        self, workspace: Workspace, shelf: Conversations, conversation: Conversation, servers: Sequence[Any] | None
    ) -> Session:
        further, notes = await asyncio.to_thread(self._tools, workspace, servers or ())
        session = Session(
            workspace, shelf, conversation, self._client, reads=self._reads, writes=self._writes, further=further
        )
        self._sessions[conversation.id] = session
        commands = update_available_commands(
            AvailableCommand(
                name=name,
                description=about,
                input=AvailableCommandInput(root=UnstructuredCommandInput(hint=hint)) if hint else None,
            )
            for name, (about, hint) in COMMANDS.items()
        )

        async def greet() -> None:  # after the answer: before it, the panel does not know the session
            await self._client.session_update(conversation.id, commands)
            for words in (*shelf.notes, *notes):
                await session.tell(note(words))

        _later(greet())
        return session

    def _tools(self, workspace: Workspace, servers: Sequence[Any]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
        """The tools of the person's MCP servers, and of those that the panel names."""
        named = {one.name: found for one in servers if (found := _server(one)) is not None}
        using = replace(workspace.settings.mcp, servers={**workspace.settings.mcp.servers, **named})
        if not using.servers:
            return (), ()
        from glm_lsp.tools.mcp import McpServers  # noqa: PLC0415 - heavy, and most people have none

        started = self._opened.enter_context(McpServers(using, workspace.root))
        return started.tools, started.notes

    async def _engine(self, workspace: Workspace) -> Engine:
        key = repr(workspace.settings.engine)
        if key not in self._engines:
            self._engines[key] = await asyncio.to_thread(open_engine, workspace.settings.engine, on_wait=lambda _: None)
        await self._engines[key].connect()
        return self._engines[key]


def _kept(folder: str) -> list[SessionInfo]:
    """The conversations of a folder's workspace, the latest first."""
    root = find_root(Path(folder))
    return [
        SessionInfo(
            session_id=entry.id,
            cwd=str(root),
            title=entry.name or entry.first or "Nothing said yet",
            updated_at=entry.updated.isoformat(),
        )
        for entry in Conversations.at(root).list()
    ]


@contextlib.asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Has the panel show what went wrong in our words."""
    try:
        yield
    except GlmError as error:
        raise RequestError(-32603, f"{error.message} {error.hint}".strip(), {"code": error.code}) from error


_TASKS: set[asyncio.Task[None]] = set()


def _later(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _TASKS.add(task)  # the loop itself does not keep it
    task.add_done_callback(_TASKS.discard)


def _modes(session: Session) -> SessionModeState:
    return _MODES.model_copy(update={"current_mode_id": session.mode})


def _options(session: Session) -> list[Any]:
    words = {"auto": "As the task wants", "on": "Always", "off": "Never"}
    return [
        SessionConfigOptionSelect(
            id="thinking",
            name="Thinking",
            type="select",
            category="thought_level",
            current_value=session.thinking,
            options=[SessionConfigSelectOption(value=value, name=name) for value, name in words.items()],
        )
    ]


def _server(told: Any) -> settings.McpServer | None:
    """A server that the panel names, as one of our settings; None for a kind that is not spoken."""
    if isinstance(told, McpServerStdio):
        return settings.McpServer(
            command=told.command, args=tuple(told.args), env={one.name: one.value for one in told.env}
        )
    if isinstance(told, HttpMcpServer):
        return settings.McpServer(url=told.url, headers={one.name: one.value for one in told.headers})
    return None
