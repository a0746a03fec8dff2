"""Where the engine's key comes from, with real commands and the real keyring package; and that it never shows."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked
from test_refactor import NEW, OLD, Person
from wire_server import WireServer, refusal, spoken

from glm_lsp.engine import keys
from glm_lsp.engine.client import HttpEngine
from glm_lsp.errors import Refused, SettingsError
from glm_lsp.settings import EngineSettings, load
from glm_lsp.terms import Message, Prompt, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sk-very-secret-0123456789"
HELLO = Prompt((Message("user", "Hello"),), (), thinking=False, sampling=Sampling(0.0, None, 16))
ENVIRONMENT = {"MY_KEY": "from-the-environment"}


def printing(text: str, *, then: str = "") -> list[str]:
    """A real command that prints a text."""
    return [sys.executable, "-c", f"print({text!r}); {then}"]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    keys._printed.clear()
    yield
    keys._printed.clear()


class Store(KeyringBackend):
    """A keyring of the keyring package's own kind, in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, entries: dict[tuple[str, str], str], *, locked: bool = False) -> None:
        super().__init__()
        self.entries = entries
        self.locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("the collection is locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password


@pytest.fixture
def store() -> Iterator[Store]:
    before = keyring.get_keyring()
    made = Store({("glm", "me"): "from-the-keyring"})
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


# --- which one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "value", "source"),
    [
        ({"api_key_command": printing("from-the-command"), "api_key_keyring": "glm/me"}, "from-the-command", "command"),
        ({"api_key_keyring": "glm/me"}, "from-the-keyring", "keyring (glm/me)"),
        ({}, "from-the-environment", "MY_KEY"),
        ({"api_key_env": "NOT_SET"}, "", ""),
    ],
    ids=["command first", "then the keyring", "then the variable", "none"],
)
def test_the_first_that_is_set_counts(store: Store, settings: dict[str, Any], value: str, source: str) -> None:
    found = keys.find(EngineSettings(**{"api_key_env": "MY_KEY"} | settings), ENVIRONMENT)
    assert found.value == value
    assert source in found.source
    assert not value or value not in f"{found!r}{found.source}"


def test_only_the_program_of_a_command_is_named() -> None:
    settings = EngineSettings(api_key_command=["/usr/bin/curl", "-H", f"Authorization: {SECRET}"])
    assert keys.source(settings) == "the command curl"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (SECRET, SECRET),
        (f"{SECRET}\nurl: example.org\nuser: me", SECRET),
        (f"\n  {SECRET}  \r\n", SECRET),
    ],
    ids=["a line", "notes below it, as pass keeps them", "white space"],
)
def test_the_first_line_of_what_a_command_prints_is_the_key(text: str, value: str) -> None:
    assert keys.find(EngineSettings(api_key_command=printing(text)), {}).value == value


def test_a_command_runs_once_until_its_key_was_refused(tmp_path: Path) -> None:
    count = tmp_path / "count"
    settings = EngineSettings(api_key_command=printing("k", then=f"open({str(count)!r}, 'a').write('x')"))
    for _ in range(3):
        keys.find(settings, {})
    assert count.read_text() == "x"
    keys.forget(settings)
    keys.find(settings, {})
    assert count.read_text() == "xx"


def test_a_command_runs_in_the_home_folder_without_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = [sys.executable, "-c", "import os; print(os.getcwd())"]
    assert keys.find(EngineSettings(api_key_command=where), {}).value == str(Path.home().resolve())
    literal = [sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME;`id`"]
    assert keys.find(EngineSettings(api_key_command=literal), {}).value == "$HOME;`id`"


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nonexistent/program"], "no such file"),
        ([str(Path(__file__))], "permission denied"),
        ([""], "cannot be run"),
        (["pro\0gram"], "no command"),
        ([sys.executable, "-c", f"print({SECRET!r}); raise SystemExit(3)"], "exit status 3"),
        ([sys.executable, "-c", f"import sys; sys.exit({SECRET!r})"], "exit status 1"),
        ([sys.executable, "-c", "print()"], "printed nothing"),
        ([sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes([0xff, 0xfe]))"], "characters"),
        ([sys.executable, "-c", "print('sk' + chr(7))"], "characters"),
    ],
    ids=["missing", "not executable", "empty", "zero byte", "failed", "to stderr", "nothing", "bytes", "control"],
)
def test_a_command_that_gives_no_key_is_a_clear_error(command: list[str], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        keys.find(EngineSettings(api_key_command=command), ENVIRONMENT)
    assert words in caught.value.message
    assert caught.value.hint
    assert SECRET not in f"{caught.value!r}{caught.value.hint}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_a_command_that_takes_too_long_is_ended() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(SettingsError, match=r"longer than 0\.3 s"):
        keys.find(EngineSettings(api_key_command=command), {}, patience=0.3)


def test_a_command_that_failed_is_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    command = [sys.executable, "-c", f"print(open({str(flag)!r}).read())"]
    with pytest.raises(SettingsError):
        keys.find(EngineSettings(api_key_command=command), {})
    flag.write_text("now")
    assert keys.find(EngineSettings(api_key_command=command), {}).value == "now"


@pytest.mark.parametrize(
    ("entry", "words"),
    [("glm", "is 'glm'"), ("/me", "is '/me'"), ("glm/", "is 'glm/'"), ("glm/you", "no such entry")],
)
def test_an_entry_that_is_not_there_is_a_clear_error(store: Store, entry: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        keys.find(EngineSettings(api_key_keyring=entry, api_key_env="MY_KEY"), ENVIRONMENT)
    assert "keyring set" in caught.value.hint


def test_a_service_may_have_slashes_in_its_name(store: Store) -> None:
    store.set_password("https://example.org/glm", "me", "deep")
    assert keys.find(EngineSettings(api_key_keyring="https://example.org/glm/me"), {}).value == "deep"


def test_a_locked_keyring_is_a_clear_error(store: Store) -> None:
    store.locked = True
    with pytest.raises(SettingsError, match="KeyringLocked") as caught:
        keys.find(EngineSettings(api_key_keyring="glm/me"), {})
    assert "Unlock" in caught.value.hint


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    """In a process of its own, in which the package cannot be imported."""
    (tmp_path / "keyring.py").write_text("raise ImportError('not here')")
    code = (
        "from glm_lsp.engine import keys; from glm_lsp.settings import EngineSettings\n"
        "try: keys.find(EngineSettings(api_key_keyring='a/b'), {})\n"
        "except Exception as error: print(type(error).__name__, error.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"},
    )
    assert done.stdout.split() == ["SettingsError", "pip", "install", "'glm-lsp[keyring]'"]


@pytest.mark.parametrize(
    "line",
    ['api_key_command = ["x"]', 'api_key_keyring = "a/b"', 'api_key_env = "PATH"', 'ca_file = "x"', "discover = true"],
)
def test_a_workspace_may_set_none_of_it(tmp_path: Path, line: str) -> None:
    (tmp_path / ".glm-lsp.toml").write_text(f"[engine]\n{line}\n")
    with pytest.raises(SettingsError, match="may not be set by a workspace"):
        load(tmp_path, environment={})


# --- on the wire -------------------------------------------------------------------------------------------------


async def said(engine: HttpEngine) -> str:
    return "".join([delta.text async for delta in engine.stream(HELLO)])


async def test_the_key_of_a_command_is_sent_with_every_request_and_asked_for_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    server = WireServer(spoken({"content": "Hi."}))
    command = printing(SECRET, then=f"open({str(count)!r}, 'a').write('x')")
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url, api_key_command=command), environment={})
        assert await asyncio.gather(said(engine), said(engine)) == ["Hi.", "Hi."]
        await engine.close()
    assert count.read_text() == "x"
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {SECRET}"] * 2


async def test_a_refused_key_makes_the_command_run_again_for_the_next_request(tmp_path: Path) -> None:
    count = tmp_path / "count"
    body = f"p = {str(count)!r}; open(p, 'a').write('x'); print('key-' + str(len(open(p).read())))"
    server = WireServer(spoken({"content": "Hi."}), refusal(401, {"error": "expired"}), spoken({"content": "Hi."}))
    async with server.running():
        settings = EngineSettings(url=server.url, api_key_command=[sys.executable, "-c", body])
        engine = HttpEngine(settings, environment={})
        await said(engine)
        with pytest.raises(Refused, match="expired") as caught:
            await said(engine)
        await said(engine)
        await engine.close()
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer key-1", "Bearer key-1", "Bearer key-2"]
    assert "the command" in caught.value.hint


async def test_a_key_in_place_of_a_variables_name_is_not_shown() -> None:
    server = WireServer(refusal(401, {"error": "no key"}))
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url, api_key_env=SECRET), environment={})
        with pytest.raises(Refused) as caught:
            await said(engine)
        await engine.close()
    assert SECRET not in f"{caught.value.message}{caught.value.hint}"
    assert "engine.api_key_env" in caught.value.hint


async def test_nothing_is_sent_where_the_command_fails() -> None:
    server = WireServer(spoken({"content": "Hi."}))
    async with server.running():
        settings = EngineSettings(url=server.url, api_key_command=["/nonexistent"])
        engine = HttpEngine(settings, environment={"GLM_LSP_API_KEY": "other"})
        with pytest.raises(SettingsError, match="cannot be run"):
            await engine.connect()
        await engine.close()
    assert server.paths == []


async def test_what_a_command_prints_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = WireServer(refusal(401, {"error": f"bad key {SECRET}"}))
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url, api_key_command=printing(SECRET)), environment={})
        with pytest.raises(Refused) as caught:
            await said(engine)
        await engine.close()
    assert SECRET not in f"{caplog.text}{caught.value.message}{caught.value.hint}"
    assert "***" in caught.value.message


async def test_after_turns_that_were_kept_the_key_is_in_no_file(tmp_path: Path) -> None:
    person = Person(tmp_path)
    call = {
        "name": "edit_file",
        "arguments": json.dumps({"file_path": "cart.py", "old_string": OLD, "new_string": NEW}),
    }
    edits = {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": call}]}
    server = WireServer(
        spoken({"reasoning": "Hm."}, edits, finish="tool_calls"),
        spoken({"content": "Done."}),
        refusal(401, {"error": f"The key {SECRET} has run out."}),
    )
    codes = []
    async with server.running():
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(
                *person.command("count quantities", "cart.py", "--apply", "--session", "kept", engine=server.url),
                cwd=person.root,
                env={**person.environment, "GLM_LSP_API_KEY": SECRET, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 60)
            codes.append(process.returncode)
            assert SECRET not in out.decode()
    assert codes[0] == 0
    assert codes[1] != 0
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"SQLite format 3" in path.read_bytes()[:16] for path in files), "the conversation was kept"
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
