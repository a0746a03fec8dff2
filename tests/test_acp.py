"""`glm-lsp acp`, driven by the protocol's own client: thoughts, calls, diffs, permissions, sessions that come back.

Never talks to the agent's inside: it is the program, over its pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import acp
import pytest
from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    McpServerStdio,
    ReadTextFileResponse,
    RequestPermissionResponse,
)
from engine.server import tool_call
from test_refactor import BETTER, CART, NEW, OLD, WORKS, Person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engine.server import ForcedEngine

GLM = str(Path(sys.executable).with_name("glm-lsp"))
LONG = ({"thinking": "Counting and counting. " * 10_000, "text": "Never said."},)


class Panel:
    """Someone at an agent panel.

    `answers` are what they choose, in order, `typed` the text of buffers, `meanwhile` what
    they type there while they are asked.
    """

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.asked: list[tuple[Any, list[Any]]] = []
        self.answers: list[str] = []
        self.typed: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self.meanwhile: dict[str, str] = {}
        self.news = asyncio.Event()

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        assert session_id
        self.updates.append(update)
        self.news.set()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **_: Any
    ) -> RequestPermissionResponse:
        assert session_id
        self.asked.append((tool_call, options))
        self.typed |= self.meanwhile
        if not self.answers:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        name = self.answers.pop(0)
        wanted = next(option for option in options if option.name == name)
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=wanted.option_id))

    async def read_text_file(self, session_id: str, path: str, **_: Any) -> ReadTextFileResponse:
        assert session_id
        return ReadTextFileResponse(content=self.typed.get(path) or Path(path).read_text())

    async def write_text_file(self, session_id: str, path: str, content: str, **_: Any) -> None:
        assert session_id
        self.written[path] = content

    def on_connect(self, conn: Any) -> None:
        """Nothing to do."""

    def said(self, kind: str) -> str:
        """All text of one kind: `agent_thought_chunk`, `agent_message_chunk`, `user_message_chunk`."""
        return "".join(one.content.text for one in self.of(kind))

    def of(self, kind: str) -> list[Any]:
        return [one for one in self.updates if one.session_update == kind]

    async def until(self, so: Any) -> None:
        async with asyncio.timeout(30):
            while not so():
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def panel_at(person: Person, engine: str, *, files: bool = False) -> AsyncIterator[tuple[Any, Panel]]:
    """A panel with the agent that it started."""
    panel = Panel()
    command = ["acp", "--engine", engine]
    async with acp.spawn_agent_process(panel, GLM, *command, env=person.environment, cwd=person.root) as (agent, _):
        can = ClientCapabilities(fs=FileSystemCapabilities(read_text_file=files, write_text_file=files))
        told = await agent.initialize(protocol_version=acp.PROTOCOL_VERSION, client_capabilities=can)
        assert told.agent_info.name == "glm-lsp"
        assert told.agent_capabilities.load_session
        assert not told.auth_methods, "no login"
        yield agent, panel


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def words(text: str) -> list[Any]:
    return [acp.text_block(text)]


def about(person: Person, text: str) -> list[Any]:
    """Words that mention cart.py, as a panel's picker does."""
    return [acp.text_block(text), acp.resource_link_block("cart.py", (person.root / "cart.py").as_uri())]


async def test_thoughts_calls_and_a_diff_that_is_agreed_to(person: Person) -> None:
    async with panel_at(person, person.script(*WORKS)) as (agent, panel):
        panel.answers = ["Apply"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=about(person, "count quantities in "))

        assert done.stop_reason == "end_turn"
        assert panel.said("agent_thought_chunk") == "Quantities."
        assert "The total counts quantities." in panel.said("agent_message_chunk")
        edit = next(one for one in panel.of("tool_call") if one.kind == "edit")
        assert (edit.locations[0].path, edit.locations[0].line) == (str(person.root / "cart.py"), 2)
        ended = [one.status for one in panel.of("tool_call_update") if one.tool_call_id == edit.tool_call_id]
        assert ended[-1] == "completed"
        ((asked, options),) = panel.asked
        assert [option.kind for option in options] == ["allow_once", "allow_always", "reject_once"]
        (diff,) = next(one for one in panel.of("tool_call") if one.tool_call_id == asked.tool_call_id).content
        assert (diff.path, diff.old_text, diff.new_text) == (str(person.root / "cart.py"), CART, BETTER)
        assert person.read() == BETTER
        assert panel.of("usage_update")

        await agent.prompt(session_id=session.session_id, prompt=words("/undo"))
        assert person.read() == CART


async def test_what_is_discarded_is_not_written(person: Person) -> None:
    async with panel_at(person, person.script(*WORKS)) as (agent, panel):
        panel.answers = ["Discard"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=about(person, "count quantities in "))
        assert len(panel.asked) == 1
        assert person.read() == CART


async def test_in_the_applying_mode_nobody_is_asked(person: Person) -> None:
    async with panel_at(person, person.script(*WORKS)) as (agent, panel):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        assert [mode.id for mode in session.modes.available_modes] == ["ask", "apply"]
        await agent.set_session_mode(session_id=session.session_id, mode_id="apply")
        await agent.prompt(session_id=session.session_id, prompt=about(person, "/refactor count quantities in "))
        assert panel.asked == []
        assert person.read() == BETTER


async def test_unsaved_text_is_what_the_model_reads_and_the_buffer_gets_the_change(person: Person) -> None:
    typed = "# prices are in cents\n" + CART
    async with panel_at(person, person.script(*WORKS), files=True) as (agent, panel):
        panel.typed[str(person.root / "cart.py")] = typed
        panel.answers = ["Apply"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=about(person, "count quantities in "))
        assert panel.written == {str(person.root / "cart.py"): "# prices are in cents\n" + BETTER}
        assert person.read() == CART, "saving is the person's"


async def test_text_typed_while_the_person_decides_is_not_overwritten(person: Person) -> None:
    async with panel_at(person, person.script(*WORKS), files=True) as (agent, panel):
        panel.answers = ["Apply"]
        panel.meanwhile[str(person.root / "cart.py")] = "something else\n"
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=about(person, "count quantities in "))
        assert panel.written == {}
        assert person.read() == CART
        assert "unsaved changes" in panel.said("agent_message_chunk")


async def test_a_command_waits_for_permission(person: Person) -> None:
    run = {"name": "run_command", "arguments": {"command": "echo hello"}}
    async with panel_at(person, person.script({"calls": [run]}, {"text": "It said it."})) as (agent, panel):
        panel.answers = ["Allow once"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=words("say hello"))
        ((asked, options),) = panel.asked
        assert "echo hello" in asked.content[0].content.text
        assert [option.name for option in options] == ["Allow once", "Always allow this", "No", "Never allow this"]
        results = [one.content[0].content.text for one in panel.of("tool_call_update") if one.content]
        assert any("hello" in text for text in results)


async def test_a_refused_command_does_not_run(person: Person) -> None:
    run = {"name": "run_command", "arguments": {"command": "touch made"}}
    async with panel_at(person, person.script({"calls": [run]}, {"text": "Well."})) as (agent, panel):
        panel.answers = ["No"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=words("make it"))
        assert not (person.root / "made").exists()
        assert "failed" in [one.status for one in panel.of("tool_call_update")]


async def test_a_question_of_the_models_has_its_options(person: Person) -> None:
    ask = {"name": "ask_user", "arguments": {"question": "Which tax?", "options": ["7 %", "19 %"]}}
    async with panel_at(person, person.script({"calls": [ask]}, {"text": "So be it."})) as (agent, panel):
        panel.answers = ["19 %"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=words("add the tax"))
        ((asked, _),) = panel.asked
        assert asked.title == "Which tax?"
        results = [one.content[0].content.text for one in panel.of("tool_call_update") if one.content]
        assert any("19 %" in text for text in results)


async def test_a_turn_is_stopped(person: Person) -> None:
    async with panel_at(person, person.script(*LONG, delay=0.02, chop=4)) as (agent, panel):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        turn = asyncio.create_task(agent.prompt(session_id=session.session_id, prompt=words("count")))
        await panel.until(lambda: panel.of("agent_thought_chunk"))
        await agent.cancel(session_id=session.session_id)
        assert (await asyncio.wait_for(turn, 30)).stop_reason == "cancelled"


async def test_a_second_prompt_in_a_busy_session_is_refused(person: Person) -> None:
    async with panel_at(person, person.script(*LONG, delay=0.02, chop=4)) as (agent, panel):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        turn = asyncio.create_task(agent.prompt(session_id=session.session_id, prompt=words("count")))
        await panel.until(lambda: panel.of("agent_thought_chunk"))
        with pytest.raises(acp.RequestError, match="works on something already"):
            await agent.prompt(session_id=session.session_id, prompt=words("and this"))
        await agent.cancel(session_id=session.session_id)
        assert (await turn).stop_reason == "cancelled"


async def test_a_session_comes_back_with_its_thinking_in_another_panel_and_is_forked(person: Person) -> None:
    replies = [*WORKS, {"when": "and now?", "thinking": "Nothing more.", "text": "It is done."}]
    engine = person.script(*replies)
    async with panel_at(person, engine) as (agent, panel):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.set_session_mode(session_id=session.session_id, mode_id="apply")
        await agent.prompt(session_id=session.session_id, prompt=about(person, "count quantities in "))
        assert panel.of("session_info_update")[-1].title == "count quantities in @cart.py"

    async with panel_at(person, person.script(replies[-1])) as (agent, panel):
        (listed,) = (await agent.list_sessions(cwd=str(person.root))).sessions
        assert (listed.session_id, listed.title) == (session.session_id, "count quantities in @cart.py")
        await agent.load_session(cwd=str(person.root), session_id=session.session_id, mcp_servers=[])
        assert panel.said("user_message_chunk") == "count quantities in @cart.py"
        assert panel.said("agent_thought_chunk") == "Quantities."
        assert [one.kind for one in panel.of("tool_call")] == ["edit"]
        await agent.prompt(session_id=session.session_id, prompt=words("and now?"))
        assert "It is done." in panel.said("agent_message_chunk")
        fork = await agent.fork_session(session_id=session.session_id, cwd=str(person.root), mcp_servers=[])
        assert fork.session_id != session.session_id
        assert len((await agent.list_sessions(cwd=str(person.root))).sessions) == 2
        await agent.close_session(session_id=fork.session_id)
        with pytest.raises(acp.RequestError):
            await agent.prompt(session_id=fork.session_id, prompt=words("still there?"))


async def test_thinking_is_chosen_by_the_panels_own_picker(person: Person) -> None:
    async with panel_at(person, person.script({"text": "Yes."})) as (agent, panel):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        (option,) = session.config_options
        assert (option.id, option.current_value) == ("thinking", "auto")
        changed = await agent.set_config_option(config_id="thinking", session_id=session.session_id, value="off")
        assert changed.config_options[0].current_value == "off"
        await agent.prompt(session_id=session.session_id, prompt=words("ready?"))
        assert panel.said("agent_thought_chunk") == ""
        with pytest.raises(acp.RequestError):
            await agent.set_config_option(config_id="thinking", session_id=session.session_id, value="loud")


async def test_what_goes_wrong_is_said_in_our_words(person: Person) -> None:
    async with panel_at(person, "http://127.0.0.1:9") as (agent, _):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        with pytest.raises(acp.RequestError, match="Nothing answers at"):
            await agent.prompt(session_id=session.session_id, prompt=words("hello"))
        with pytest.raises(acp.RequestError, match="is not a folder"):
            await agent.new_session(cwd=str(person.root / "nowhere"), mcp_servers=[])
        with pytest.raises(acp.RequestError):
            await agent.load_session(cwd=str(person.root), session_id="none-such", mcp_servers=[])


async def test_the_panels_own_mcp_servers_are_offered_to_the_model(person: Person) -> None:
    server = McpServerStdio(
        name="notes", command=sys.executable, args=[str(Path(__file__).with_name("mcp_server.py")), "stdio"], env=[]
    )
    async with panel_at(person, person.script({"text": "Ready."})) as (agent, panel):
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[server])
        await agent.prompt(session_id=session.session_id, prompt=words("ready?"))
        assert "Ready." in panel.said("agent_message_chunk")
        assert "could not" not in panel.said("agent_message_chunk")


@pytest.mark.engine
async def test_the_same_on_the_real_engine(person: Person, glm_engine: ForcedEngine) -> None:
    glm_engine.say(
        "Quantities are missing.</think>" + tool_call("edit_file", file_path="cart.py", old_string=OLD, new_string=NEW),
        "That is all.</think>The total counts quantities.",
        "Nothing more.</think>It is done.",
    )
    async with panel_at(person, glm_engine.url) as (agent, panel):
        panel.answers = ["Apply"]
        session = await agent.new_session(cwd=str(person.root), mcp_servers=[])
        await agent.prompt(session_id=session.session_id, prompt=about(person, "count quantities in "))
        assert person.read() == BETTER
        done = await agent.prompt(session_id=session.session_id, prompt=words("and now?"))
        assert done.usage.output_tokens > 0
        assert done.usage.cached_read_tokens > 0, "the conversation so far came from the cache"
    assert panel.said("agent_thought_chunk") == "Quantities are missing.That is all.Nothing more."
    assert glm_engine.unsaid == ()
