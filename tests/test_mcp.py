"""MCP servers, real ones: programs and an address, sound and broken, and what becomes of their tools."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from stories import project, said
from test_refactor import Person

from glm_lsp import settings as options
from glm_lsp.conversations import Conversation
from glm_lsp.engine.scripted import ScriptedEngine
from glm_lsp.errors import BadArguments, SettingsError
from glm_lsp.settings import McpServer, McpSettings, Settings
from glm_lsp.terms import Ask, PermissionAsked, ToolCalled, ToolReturned
from glm_lsp.tools.mcp import McpServers
from glm_lsp.tools.mcp.schema import SCHEMA_LENGTH, server_name, tool_names, tool_spec
from glm_lsp.tools.permissions import Permissions
from glm_lsp.tools.tool import RESULT_LIMIT, Outcome, Tool, ToolContext
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).with_name("mcp_server.py")


def program(*arguments: str, **more: Any) -> McpServer:
    return McpServer(command=sys.executable, args=(str(SERVER), *arguments), **more)


def servers(root: Path, /, **named: McpServer) -> McpServers:
    return McpServers(
        McpSettings(servers=named), root, environment={**os.environ, "GLM_LSP_STATE_DIR": str(root / "s")}
    )


def tool(of: McpServers, name: str) -> Tool:
    return next(one for one in of.tools if one.spec.name == name)


def context(root: Path, stop: threading.Event | None = None) -> ToolContext:
    workspace = Workspace.open(root, Settings())
    return ToolContext(workspace.draft(), workspace.listing, stop=stop or threading.Event())


def call(of: McpServers, name: str, /, **arguments: Any) -> Outcome:
    folder = Path(__file__).parent
    return tool(of, name).run(context(folder), arguments)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # an orphan waits for whoever adopted it
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpServers]:
    """The sound server, started once."""
    with servers(tmp_path_factory.mktemp("shop"), shop=program("stdio", allow=("look",))) as started:
        yield started


class TestTools:
    def test_they_are_named_after_their_server_in_a_fixed_order(self, shop: McpServers) -> None:
        names = [one.spec.name for one in shop.tools]
        assert shop.notes == ()
        assert names == sorted(names)
        assert {"shop__add", "shop__search_files"} <= set(names)

    def test_every_argument_has_a_type_and_control_strings_are_harmless(self, shop: McpServers) -> None:
        assert tool(shop, "shop__add").spec.parameters == {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": False,
        }
        search = tool(shop, "shop__search_files").spec
        assert search.parameters["properties"] == {"query": {"type": "string"}}
        assert "<|user|>" not in search.description

    def test_a_call_brings_the_text(self, shop: McpServers) -> None:
        outcome = call(shop, "shop__add", a=1)
        assert (outcome.text, outcome.words, outcome.ok) == ("1 + 2 = 3", "1 line", True)

    def test_what_is_not_text_is_told_in_one_line(self, shop: McpServers) -> None:
        assert call(shop, "shop__mixed").text.splitlines() == [
            "first",
            "[image, image/png, 3 bytes; not shown]",
            "file:///a.txt:",
            "inside",
        ]

    def test_a_tool_that_fails_is_no_success(self, shop: McpServers) -> None:
        outcome = call(shop, "shop__fail", why="no paper")
        assert not outcome.ok
        assert "Error executing tool" in outcome.text

    def test_a_long_answer_is_bounded(self, shop: McpServers) -> None:
        outcome = call(shop, "shop__much", megabytes=1)
        assert outcome.ok
        assert len(outcome.text) < RESULT_LIMIT + 100
        assert outcome.text.endswith("[960,000 more characters are left out: ask for less at once]")

    def test_a_hundred_megabytes_are_refused_and_the_next_call_works(self, shop: McpServers) -> None:
        outcome = call(shop, "shop__much", megabytes=100)
        assert not outcome.ok
        assert "larger than 8 MB" in outcome.text
        assert call(shop, "shop__add", a=1).ok

    def test_a_cancelled_turn_does_not_wait_for_the_server(self, shop: McpServers, tmp_path: Path) -> None:
        stop = threading.Event()
        stop.set()
        outcome = tool(shop, "shop__nap").run(context(tmp_path, stop), {})
        assert (outcome.ok, outcome.words) == (False, "cancelled")
        assert call(shop, "shop__add", a=2).text == "2 + 2 = 4"


class TestPermission:
    def test_the_whole_call_is_what_is_permitted(self, shop: McpServers) -> None:
        permission = tool(shop, "shop__add").permission
        assert permission is not None
        assert permission({"b": 3, "a": 1}) == 'shop__add {"a": 1, "b": 3}'

    def test_what_nobody_can_see_is_spelled_out(self, shop: McpServers) -> None:
        permission = tool(shop, "shop__fail").permission
        assert permission is not None
        assert permission({"why": "é\u202eab\n"}) == 'shop__fail {"why": "é\\u202eab\\n"}'

    def test_what_nobody_can_read_is_refused(self, shop: McpServers) -> None:
        permission = tool(shop, "shop__fail").permission
        assert permission is not None
        with pytest.raises(BadArguments, match="20,011 characters"):
            permission({"why": "x" * 20_000})

    def test_a_tool_that_says_it_only_reads_is_asked_about_all_the_same(self, tmp_path: Path) -> None:
        with servers(tmp_path, shop=program("stdio")) as started:
            look = tool(started, "shop__look")
            assert look.permission is not None
            assert look.permission({}) == "shop__look {}"
            assert not look.reads

    def test_only_the_persons_settings_let_it_run_unasked(self, shop: McpServers) -> None:
        look = tool(shop, "shop__look")
        assert look.permission is not None
        assert look.permission({}) is None
        assert not look.reads, "and it still runs in its turn"

    @pytest.mark.parametrize(
        ("answers", "ran"),
        [(["no", "no"], [False, False]), (["once", "no"], [True, False]), (["tool"], [True, True])],
        ids=["no", "once", "for good, whatever the arguments"],
    )
    async def test_a_turn_asks_and_obeys(
        self, shop: McpServers, tmp_path: Path, answers: list[Any], ran: list[bool]
    ) -> None:
        asked: list[PermissionAsked] = []

        async def person(question: PermissionAsked) -> Any:
            asked.append(question)
            return answers.pop(0)

        root = project(tmp_path / "work", cart_py="x = 1\n")
        workspace = Workspace.open(root, Settings())
        calls = [said(calls=[("shop__add", {"a": 1})]), said(calls=[("shop__add", {"a": 5})]), said("Done.")]
        turn = workspace.turn(
            Ask("refactor", "Add."),
            ScriptedEngine(calls),
            conversation=Conversation(),
            draft=workspace.draft(),
            permit=Permissions(ask=person),
            further=shop.tools,
        )
        happened = [event.what async for event in turn.run()]
        results = [what for what in happened if isinstance(what, ToolReturned)]
        assert [result.ok for result in results] == ran
        assert (results[0].result == "1 + 2 = 3") is ran[0]
        assert asked[0].detail == 'shop__add {"a": 1}'
        assert not asked[0].confined
        assert not answers, "asked as often as there were answers"
        assert next(what.title for what in happened if isinstance(what, ToolCalled)) == "Called add of shop"


class TestSurroundings:
    def test_a_server_gets_no_more_of_our_environment_than_it_is_given(self, tmp_path: Path) -> None:
        environment = {
            **os.environ,
            "GLM_LSP_STATE_DIR": str(tmp_path / "s"),
            "GLM_LSP_API_KEY": "secret-1",
            "SOME_TOKEN": "secret-2",
            "OTHER": "secret-3",
        }
        named = {"shop": program("stdio", env={"GIVEN": "a ${OTHER} in ${workspace}"}, cwd=".")}
        with McpServers(McpSettings(servers=named), tmp_path, environment=environment) as started:
            seen = json.loads(call(started, "shop__environment").text)
        assert seen["variables"]["GIVEN"] == f"a secret-3 in {tmp_path}"
        assert "secret-1" not in str(seen)
        assert "secret-2" not in str(seen)
        assert "OTHER" not in seen["variables"]
        assert Path(seen["folder"]).samefile(tmp_path)

    def test_it_does_not_run_where_a_stranger_may_have_put_things(self, shop: McpServers) -> None:
        seen = json.loads(call(shop, "shop__environment").text)
        assert Path(seen["folder"]).samefile(Path.home())

    def test_its_standard_error_goes_to_a_private_log_and_not_to_the_terminal(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with servers(tmp_path, shop=program("stdio")) as started:
            outcome = call(started, "shop__die")
            again = call(started, "shop__add", a=1)
        log = tmp_path / "s" / "mcp" / "shop.log"
        assert "out of paper" in log.read_text()
        assert log.stat().st_mode & 0o077 == 0
        assert capfd.readouterr() == ("", "")
        assert not outcome.ok
        assert "exit status 7" in outcome.text
        assert '"out of paper"' in outcome.text
        assert not again.ok
        assert "gone for the rest of this run" in again.text

    def test_no_program_is_left_and_closing_twice_is_fine(self, tmp_path: Path) -> None:
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        started = servers(tmp_path, shop=program("stdio"), two=program("raw", "stubborn"))
        started.start()
        running = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert len(running) == 3, "the second one has a child"
        started.close()
        started.close()
        assert not [pid for pid in running if alive(pid)]
        assert "is not" in call(started, "shop__add", a=1).text

    def test_a_program_that_forgets_to_close_leaves_nothing_either(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from glm_lsp.settings import *; "
            "from glm_lsp.tools.mcp import McpServers\n"
            f"s = McpServer(command=sys.executable, args=({str(SERVER)!r}, 'raw', 'stubborn'))\n"
            f"m = McpServers(McpSettings(servers=dict(s=s)), Path({str(tmp_path)!r})); m.start()\n"
            "import psutil; print(*(c.pid for c in psutil.Process().children(recursive=True)))"
        )
        environment = {**os.environ, "GLM_LSP_STATE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        pids = [int(pid) for pid in done.stdout.split()]
        assert len(pids) == 2
        assert not [pid for pid in pids if alive(pid)]


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ("malformed", "The answer is not a message of the protocol."),
            ("endless-line", "The answer is larger than 8 MB."),
            ("wrong-shape", "gave an answer that cannot be used"),
            ("hangs", "did not answer within 0.5 s"),
        ],
    )
    def test_a_broken_answer_is_a_refusal_that_says_what_is_wrong(self, tmp_path: Path, fault: str, said: str) -> None:
        limit = 0.5 if fault == "hangs" else 60.0
        with servers(tmp_path, raw=program("raw", fault, call_seconds=limit)) as started:
            outcome = call(started, "raw__go")
            assert not outcome.ok
            assert said in outcome.text
            assert outcome.words.startswith("failed: ")

    @pytest.mark.parametrize("fault", ["chatty", "strict"])
    def test_harmless_peculiarities_do_no_harm(self, tmp_path: Path, fault: str) -> None:
        with servers(tmp_path, raw=program("raw", fault)) as started:
            assert started.notes == ()
            assert call(started, "raw__go").text == "gone"

    @pytest.mark.parametrize(
        ("server", "said"),
        [
            (McpServer(command="no-such-program-here"), ("`no-such-program-here` cannot be run", "Install it")),
            (program("raw", "quits"), ("exit status 3", '"Traceback: no module named shop"', "mcp.servers.bad")),
            (program("raw", "silent", connect_seconds=0.5), ("within 0.5 s", "connect_seconds")),
            (program("stdio", cwd="nowhere"), ("there is no folder",)),
            (program("stdio", env={"A": "${NOT_SET_ANYWHERE}"}), ("NOT_SET_ANYWHERE", "is not set")),
            (McpServer(url="http://127.0.0.1:9/mcp?key=secret"), ("nothing answers at http://127.0.0.1:9/mcp.",)),
        ],
        ids=["missing", "quits", "silent", "no folder", "no variable", "nothing there"],
    )
    def test_a_server_that_does_not_start_is_a_note_and_the_others_work(
        self, tmp_path: Path, server: McpServer, said: tuple[str, ...]
    ) -> None:
        with servers(tmp_path, bad=server, good=program("raw", "fine")) as started:
            assert call(started, "good__go").ok
            (note,) = started.notes
            assert note.startswith("MCP server bad could not be started: ")
            for words in said:
                assert words in note
            assert "secret" not in note

    def test_hostile_names_and_schemas_are_made_harmless_or_left_out(self, tmp_path: Path) -> None:
        with servers(tmp_path, raw=program("raw", "hostile")) as started:
            for one in started.tools:
                assert len(one.spec.name) <= 64
                assert one.spec.name.replace("_", "").replace("-", "").isalnum()
                assert one.spec.name.isascii()
                seen = json.dumps([one.spec.description, one.spec.parameters], ensure_ascii=False)
                assert "<|" not in seen
                assert "\u202e" not in seen + one.title({})
                assert len(seen) < SCHEMA_LENGTH
            odd = tool(started, "raw__odd").spec.parameters["properties"]
            assert odd == {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}}
            itself = tool(started, "raw__self").spec.parameters
            assert itself["properties"]["a"]["type"] == "object"
            assert itself["required"] == ["a"]
            assert len(started.tools) == 4
            assert [note.partition(":")[2].split()[0] for note in started.notes] == ["bomb", "key"]

    def test_too_many_tools_are_cut_and_the_person_can_choose(self, tmp_path: Path) -> None:
        many = program("raw", "many")
        chosen = McpServer(command=many.command, args=many.args, tools=("t000[12]", "t0499"))
        with servers(tmp_path, many=many, some=chosen) as started:
            names = [one.spec.name for one in started.tools]
            assert sum(name.startswith("many__") for name in names) == 64
            assert names[64:] == ["some__t0001", "some__t0002", "some__t0499"]
            assert "more than 64 tools" in started.notes[0]

    def test_servers_whose_names_are_alike_are_told_apart(self, tmp_path: Path) -> None:
        fine = program("raw", "fine")
        with servers(tmp_path, **{"a b": fine, "a__b": fine, "off": McpServer(command="x", enabled=False)}) as started:
            assert [one.spec.name for one in started.tools] == ["a_b__go"]
            assert started.notes == ("MCP server a__b is left out: its name is too much like a b. Rename one.",)

    def test_without_servers_nothing_is_imported_or_started(self, tmp_path: Path) -> None:
        code = (
            "import sys, threading; from pathlib import Path; from glm_lsp.settings import McpSettings\n"
            "from glm_lsp.tools.mcp import McpServers\n"
            f"with McpServers(McpSettings(), Path({str(tmp_path)!r})) as m: assert m.tools == () == m.notes\n"
            "print([n for n in ('mcp', 'mcp_types', 'httpx2', 'pydantic') if n in sys.modules], threading.active_count())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[] 1"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("http") / "log"
    with log.open("w") as errors:
        running = subprocess.Popen([sys.executable, SERVER, "http", str(port)], stderr=errors, stdout=errors)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert running.poll() is None, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        running.kill()
        running.wait()


class TestAddress:
    def test_a_server_at_an_address_works_as_a_program_does(self, tmp_path: Path, address: str) -> None:
        with servers(tmp_path, web=McpServer(url=address, headers={"X-Key": "${HOME}"})) as started:
            assert started.notes == ()
            assert call(started, "web__add", a=40).text == "40 + 2 = 42"
            assert "larger than 8 MB" in call(started, "web__much", megabytes=20).text
            assert call(started, "web__add", a=1).ok

    def test_a_wrong_path_is_a_note_with_the_status(self, tmp_path: Path, address: str) -> None:
        with servers(tmp_path, web=McpServer(url=address + "/nowhere")) as started:
            assert "(HTTP 404)" in started.notes[0]

    def test_a_server_that_goes_away_is_a_refusal(self, tmp_path: Path) -> None:
        async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{{{")
            await writer.drain()
            writer.close()

        async def play() -> tuple[str, ...]:
            async with await asyncio.start_server(garbage, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                started = servers(tmp_path, web=McpServer(url=f"http://127.0.0.1:{port}/mcp", connect_seconds=20))
                await asyncio.to_thread(started.start)
                await asyncio.to_thread(started.close)
                return started.notes

        (note,) = asyncio.run(play())
        assert note.startswith("MCP server web could not be started: http://127.0.0.1:")


class TestNames:
    def test_names_that_meet_are_told_apart_in_the_same_way_whatever_the_order(self) -> None:
        names = ["b.c", "b_c", "b/c", "x" * 80, "x" * 81, ""]
        given = tool_names("a", names)
        assert given["b_c"] == "a__b_c"
        assert len(set(given.values())) == len(names)
        assert tool_names("a", reversed(names)) == given

    @pytest.mark.parametrize(("name", "short"), [("a__b", "a_b"), ("_x_", "x"), ("é", "server"), ("a" * 99, "a" * 24)])
    def test_a_servers_name_ends_where_two_underscores_begin(self, name: str, short: str) -> None:
        assert server_name(name) == short

    @pytest.mark.parametrize(
        ("given", "made"),
        [
            ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string"}),
            ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": ["string", "integer"]}),
            ({"type": ["null", "boolean"]}, {"type": "boolean"}),
            ({"enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
            ({"const": "a"}, {"type": "string", "enum": ["a"]}),
            ({"$ref": "#/$defs/point"}, {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}),
            ({"type": "array", "items": {"$ref": "#/nowhere"}}, {"type": "array", "items": {"type": "object"}}),
            ({"type": "array", "items": True}, {"type": "array", "items": {"type": "string"}}),
            ({"type": "integer", "minimum": 1, "maximum": "x"}, {"type": "integer", "minimum": 1}),
        ],
    )
    def test_every_kind_of_schema_comes_down_to_types(self, given: Any, made: Any) -> None:
        point = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
        spec = tool_spec("n", "", {"type": "object", "properties": {"a": given}, "$defs": {"point": point}})
        assert spec.parameters["properties"]["a"] == made


class TestSettings:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        (tmp_path / "glm-lsp").mkdir()
        return tmp_path

    def load(self, home: Path, text: str) -> McpSettings:
        (home / "glm-lsp" / "settings.toml").write_text(text)
        return options.load(home, environment={}).mcp

    def test_a_server_is_a_table(self, home: Path) -> None:
        loaded = self.load(home, '[mcp.servers.a]\ncommand = "x"\nargs = ["-y"]\nenv = {A = "b"}\nallow = ["s_*"]\n')
        assert loaded.servers == {"a": McpServer(command="x", args=("-y",), env={"A": "b"}, allow=("s_*",))}

    @pytest.mark.parametrize(
        ("lines", "named"),
        [
            ('comand = "x"', "mcp.servers.a: there is no option comand.Did you mean command?"),
            ("", "needs either `command` or `url`"),
            ('command = "x"\nurl = "http://x"', "needs either `command` or `url`"),
            ('url = "ftp://x"', "`url` begins with"),
            ('url = "http://x"\nargs = ["a"]', "`args` does not go with `url`"),
            ('command = "x"\nheaders = {a = "b"}', "`headers` does not go with `command`"),
            ('command = "x"\nargs = [1]', "mcp.servers.a.args: expected `str`"),
            ('command = "x"\nenv = {KEY = ["hunter2"]}', "mcp.servers.a.env: expected `str`"),
            ('command = "x"\ncall_seconds = 0', "more than 0"),
        ],
    )
    def test_what_does_not_fit_is_named_and_passwords_are_not_shown(self, home: Path, lines: str, named: str) -> None:
        with pytest.raises(SettingsError) as caught:
            self.load(home, f"[mcp.servers.a]\n{lines}\n")
        assert named in caught.value.message + caught.value.hint
        assert "hunter2" not in caught.value.message

    def test_a_workspace_cannot_name_a_server(self, home: Path) -> None:
        (home / ".glm-lsp.toml").write_text('[mcp.servers.evil]\ncommand = "evil"\n')
        with pytest.raises(SettingsError, match="may not be set by a workspace"):
            options.load(home, environment={})

    def test_the_variable_takes_json(self, home: Path) -> None:
        given = {"GLM_LSP_MCP_SERVERS": '{"a": {"url": "https://x/mcp"}}'}
        assert options.load(environment=given).mcp.servers == {"a": McpServer(url="https://x/mcp")}
        assert replace(Settings(), mcp=McpSettings()) == Settings()


def test_a_headless_run_calls_the_allowed_ones_only(tmp_path: Path) -> None:
    person = Person(tmp_path)
    folder = person.tmp / "config" / "glm-lsp"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text(
        f"[mcp.servers.shop]\ncommand = {json.dumps(sys.executable)}\n"
        f'args = [{json.dumps(str(SERVER))}, "stdio"]\nallow = ["add"]\n'
    )
    engine = person.script(
        {"calls": [{"name": "shop__add", "arguments": {"a": 40}}, {"name": "shop__look", "arguments": {}}]},
        {"text": "It is 42."},
    )
    done = person.run("add", "cart.py", "--output", "ndjson", engine=engine)
    assert done.returncode == 0, done.stderr
    results = [e for e in map(json.loads, done.stdout.splitlines()) if e["event"] == "tool-returned"]
    assert [(e["ok"], e["result"].split(".")[0]) for e in results] == [
        (True, "40 + 2 = 42"),
        (False, "shop__look is not permitted in this run"),
    ]
