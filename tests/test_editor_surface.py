"""Stories of what only some editors can do: wait for an edit, ask for diagnostics, confirm changes, show notebooks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lsp.editor import GLM, FakeEditor, Refused, environment, listening
from lsp.validator import Validator
from stories import project
from test_editor_stories import BOTH, CART, DOCUMENT, DOCUMENTED, DONE, FINDING, SLOW, WORDS, edits, writes
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

VS_CODE: dict[str, Any] = {"profile": "vscode", "client": "Visual Studio Code"}
NEOVIM: dict[str, Any] = {"profile": "neovim", "client": "Neovim"}
WAITING = pytest.mark.parametrize("who", [VS_CODE, NEOVIM], ids=["vscode", "neovim"])


@pytest.fixture(autouse=True, scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with listening(tmp_path_factory.mktemp("home")) as port:
        FakeEditor.shared = port
        yield
        FakeEditor.shared = None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py=CART, shop_py="import cart\n")


# --- waiting for an edit -----------------------------------------------------------------------------------------


@WAITING
async def test_an_editor_that_waits_gets_the_edit_with_the_action_it_chose(who: dict[str, Any], root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], **who) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        assert await editor.text("cart.py") == DOCUMENTED
        (action,) = editor.resolved
        assert action["edit"]
        assert "command" not in action
        await editor.quiet()
        assert not editor.labels(), "it is made once"
        (bar,) = editor.bars().values()
        assert bar[-1]["kind"] == "end"


@WAITING
async def test_what_changes_nothing_is_a_command_for_them_too(who: dict[str, Any], root: Path) -> None:
    async with FakeEditor(root, [{"text": "It adds."}], **who) as editor:
        await editor.open("cart.py")
        assert (await editor.choose("Explain"))["accepted"]
        await editor.quiet()
        assert len(editor.read("window/showDocument")) == 1
        assert not editor.resolved


@pytest.mark.parametrize(
    ("more", "waits"),
    [
        ({"profile": "helix", "client": "helix"}, False),
        ({"profile": "emacs", "client": "Emacs"}, False),
        ({"profile": "kate", "client": "Kate"}, False),
        ({"profile": "helix", "client": "helix", "settings": {"editor": {"waits": ["helix"]}}}, True),
        ({"profile": "kate", "client": "Kate", "settings": {"editor": {"waits": ["Kate"]}}}, False),
        ({**VS_CODE, "settings": {"editor": {"wait_seconds": 0}}}, False),
        ({**VS_CODE, "glm": True}, False),
    ],
    ids=["helix", "emacs", "kate", "helix, named", "kate cannot", "turned off", "shows proposals"],
)
async def test_everybody_else_goes_on_at_once(more: dict[str, Any], waits: bool, root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], **more) as editor:
        await editor.open("cart.py")
        offered = await editor.actions()
        assert {"data" in action for action in offered.values() if "Document" in action["title"]} == {waits}
        assert {"command" in action for action in offered.values() if "Document" in action["title"]} == {not waits}


async def test_past_its_time_the_turn_goes_on_and_the_editor_is_given_the_edit_then(root: Path) -> None:
    settings = {"editor": {"wait_seconds": 0.05}}
    replies = [DOCUMENT, {"text": "done " * 20}]
    async with FakeEditor(root, replies, script=SLOW, settings=settings, **VS_CODE) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        assert "edit" not in editor.resolved[0]
        assert await editor.text("cart.py") == CART
        await editor.quiet()
        assert await editor.text("cart.py") == DOCUMENTED
        assert len(editor.labels()) == 1


async def test_what_is_typed_while_an_editor_waits_is_kept(root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, {"text": "done " * 20}], script=SLOW, **VS_CODE) as editor:
        await editor.open("cart.py")
        choosing = asyncio.create_task(editor.choose("Document"))
        await editor.until(lambda: any(len(said) > 1 for said in editor.bars().values()))
        await editor.type("cart.py", 0, 0, "import os\n\n\n")
        await choosing
        assert await editor.text("cart.py") == "import os\n\n\n" + DOCUMENTED


async def test_an_editor_that_stops_waiting_ends_the_turn(root: Path) -> None:
    async with FakeEditor(root, [WORDS], script=SLOW, **VS_CODE) as editor:
        await editor.open("cart.py")
        action = (await editor.actions())["GLM: Simplify total"]
        number = editor.begin("codeAction/resolve", action)
        await editor.until(lambda: any(len(said) > 1 for said in editor.bars().values()))
        editor.cancel(number)
        with pytest.raises(Refused) as refused:
            await editor.answer(number)
        assert refused.value.code == -32800
        await editor.quiet()
        assert await editor.text("cart.py") == CART


async def test_an_action_that_was_offered_for_another_text_is_refused(root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], **VS_CODE) as editor:
        await editor.open("cart.py")
        action = next(one for title, one in (await editor.actions()).items() if "Document" in title)
        await editor.type("cart.py", 0, 0, "# new\n")
        with pytest.raises(Refused) as refused:
            await editor.resolve(action)
        assert refused.value.code == -32801


async def test_a_turn_that_fails_resolves_to_nothing_and_is_said(root: Path) -> None:
    async with FakeEditor(root, [{"error": "out of memory"}], **VS_CODE) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        assert "edit" not in editor.resolved[0]
        await editor.quiet()
        assert len(editor.messages()) == 1
        assert await editor.text("cart.py") == CART


# --- confirming --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yes", [True, False], ids=["confirmed", "discarded"])
async def test_several_files_are_confirmed_in_the_editor_that_can(yes: bool, root: Path) -> None:
    async with FakeEditor(root, BOTH, **VS_CODE) as editor:
        await editor.open("cart.py")
        editor.will("workspace/applyEdit", yes)
        where = {"uri": editor.uri("cart.py"), "mentions": [editor.uri("shop.py")]}
        await editor.run("glm.refactor", {"instruction": "x", **where})
        await editor.quiet()

        (applied,) = editor.read("workspace/applyEdit")
        (annotation,) = applied["edit"]["changeAnnotations"].values()
        assert annotation["needsConfirmation"]
        assert (await editor.text("cart.py")).startswith("def sum_up") == yes
        assert (await editor.text("shop.py") == "import cart as c\n") == yes
        assert await editor.lenses("cart.py") == []


@pytest.mark.parametrize(
    ("call", "there"),
    [(writes("tax.py", "RATE = 2\n"), {"tax.py": "RATE = 2\n"}), (edits("cart.py", CART, "x = 1\n"), {})],
    ids=["a new file", "one file of a free request"],
)
async def test_what_was_not_chosen_from_a_menu_is_confirmed_too(
    call: dict[str, Any], there: dict[str, Any], root: Path
) -> None:
    async with FakeEditor(root, [{"calls": [call]}, DONE], **VS_CODE) as editor:
        editor.will("workspace/applyEdit", True)
        await editor.ask("glm/turn", {"instruction": "x", "action": "refactor", "mentions": [editor.uri("cart.py")]})
        (applied,) = editor.read("workspace/applyEdit")
        assert applied["edit"]["changeAnnotations"]
        for path, text in there.items():
            assert await editor.text(path) == text


@pytest.mark.parametrize(
    "who",
    [
        NEOVIM,
        {**NEOVIM, "capabilities": {"workspace.workspaceEdit.changeAnnotationSupport": {}}},
        {**VS_CODE, "capabilities": {"workspace.workspaceEdit.changeAnnotationSupport": None}},
    ],
    ids=["neovim", "neovim, were it to declare it", "vscode, were it not to"],
)
async def test_all_others_are_asked_by_a_message(who: dict[str, Any], root: Path) -> None:
    async with FakeEditor(root, BOTH, **who) as editor:
        editor.will_choose("Apply")
        where = {"uri": editor.uri("cart.py"), "mentions": [editor.uri("shop.py")]}
        await editor.run("glm.refactor", {"instruction": "x", **where})
        await editor.quiet()
        assert len(editor.read("window/showMessageRequest")) == 1
        (applied,) = editor.read("workspace/applyEdit")
        assert "changeAnnotations" not in applied["edit"]


# --- asking for diagnostics --------------------------------------------------------------------------------------

PULLS: dict[str, Any] = {"textDocument.diagnostic": {"dynamicRegistration": True, "relatedDocumentSupport": False}}
RELATES: dict[str, Any] = {
    "textDocument.diagnostic": {"relatedDocumentSupport": True},
    "workspace.diagnostics": {"refreshSupport": True},
}
IN_SHOP = {**FINDING, "arguments": {**FINDING["arguments"], "file_path": "shop.py", "first_line": 1, "last_line": 1}}
REVIEWED: list[dict[str, Any]] = [{"calls": [FINDING, IN_SHOP]}, DONE]


async def test_findings_wait_for_an_editor_that_asks_and_are_never_sent_to_it(root: Path) -> None:
    async with FakeEditor(root, [*REVIEWED, {"calls": [IN_SHOP]}, DONE], capabilities=PULLS, **VS_CODE) as editor:
        await editor.open("cart.py")
        whole = editor.begin("workspace/diagnostic", {"previousResultIds": [], "identifier": "glm"})
        await editor.run("glm.review", {"uri": editor.uri("cart.py"), "wait": True})
        first = await editor.answer(whole)
        assert {one["uri"] for one in first["items"]} == {editor.uri("cart.py"), editor.uri("shop.py")}

        known = [{"uri": one["uri"], "value": one["resultId"]} for one in first["items"]]
        whole = editor.begin("workspace/diagnostic", {"previousResultIds": known, "identifier": "glm"})
        await editor.run("glm.review", {"uri": editor.uri("shop.py"), "wait": True})
        (second,) = (await editor.answer(whole))["items"]
        assert second["uri"] == editor.uri("shop.py"), "it was held until there was something new"

        about = {"textDocument": {"uri": editor.uri("cart.py")}, "identifier": "glm"}
        told = await editor.ask("textDocument/diagnostic", about)
        assert [one["message"] for one in told["items"]] == ["Ignores the quantity."]
        again = await editor.ask("textDocument/diagnostic", {**about, "previousResultId": told["resultId"]})
        assert again == {"kind": "unchanged", "resultId": told["resultId"]}
        methods = [message.get("method") for message in editor.heard]
        assert methods.count("workspace/diagnostic/refresh") == 3
        assert "textDocument/publishDiagnostics" not in methods


async def test_an_editor_that_takes_them_is_told_of_other_files_with_the_one_it_asked_about(root: Path) -> None:
    async with FakeEditor(root, REVIEWED, profile="neovim", capabilities=RELATES) as editor:
        await editor.open("cart.py")
        await editor.run("glm.review", {"uri": editor.uri("cart.py"), "wait": True})
        told = await editor.ask("textDocument/diagnostic", {"textDocument": {"uri": editor.uri("cart.py")}})
        assert [len(one["items"]) for one in (told, told["relatedDocuments"][editor.uri("shop.py")])] == [1, 1]


@pytest.mark.parametrize(
    "capabilities",
    [
        {"textDocument.diagnostic": {"dynamicRegistration": False}},
        {"textDocument.diagnostic": {}, "workspace.diagnostics": {"refreshSupport": True}},
    ],
    ids=["without a refresh", "for open documents only"],
)
async def test_an_editor_that_would_miss_some_is_sent_them(capabilities: dict[str, Any], root: Path) -> None:
    async with FakeEditor(root, REVIEWED, capabilities=capabilities, **NEOVIM) as editor:
        assert "diagnosticProvider" not in editor.server
        await editor.run("glm.review", {"uri": editor.uri("cart.py"), "wait": True})
        assert set(editor.diagnostics) == {editor.uri("cart.py"), editor.uri("shop.py")}


# --- notebooks ---------------------------------------------------------------------------------------------------

NOTEBOOKS: dict[str, Any] = {"notebookDocument": {"synchronization": {"dynamicRegistration": False}}}
CELLS = (("markdown", "# Prices 𝒳\n"), ("python", CART), ("python", "total([])"))


@pytest.mark.parametrize("who", [{"profile": "vscode"}, VS_CODE], ids=["goes on", "waits"])
async def test_an_action_in_a_cell_changes_that_cell(who: dict[str, Any], root: Path) -> None:
    (root / "sub dir").mkdir()
    (root / "sub dir/work.ipynb").write_text("{}")
    reply = {
        "when": "better_name",
        "calls": [edits("sub dir/work.ipynb#2.py", "def better_name(items):\n", "def best_name(items):\n")],
    }
    async with FakeEditor(root, [reply, DONE], capabilities=NOTEBOOKS, **who) as editor:
        cells = editor.open_notebook("sub dir/work.ipynb", *CELLS)
        await editor.select(0, 4, path=cells[1])
        assert await editor.actions()
        first = editor.add_cell("sub dir/work.ipynb", 0, "python", "import os\n")  # the second one keeps its name
        await editor.type(cells[1], 0, 4, "better_name", remove=5)
        await editor.choose("Document")
        await editor.quiet()
        assert editor.documents[cells[1]].text == CART.replace("total", "best_name", 1)
        assert [editor.documents[one].text for one in (first, cells[0], cells[2])] == [
            "import os\n",
            "# Prices 𝒳\n",
            "total([])",
        ]
        assert editor.on_disk("sub dir/work.ipynb") == "{}"
        assert len(editor.labels()) == (who is not VS_CODE)


async def test_lenses_stand_in_the_cell_that_they_are_about(root: Path) -> None:
    call = edits("work.ipynb#2.py", "def total(items):\n", 'def total(items):\n    """Adds up."""\n')
    async with FakeEditor(root, [{"calls": [call]}, DONE], capabilities=NOTEBOOKS, glm=True) as editor:
        cells = editor.open_notebook("work.ipynb", *CELLS)
        await editor.run("glm.document", {"uri": cells[1], "wait": True})
        lenses = await editor.lenses(cells[1])
        assert [lens["command"]["title"] for lens in lenses] == ["GLM: Accept", "GLM: Reject"]
        assert await editor.lenses(cells[2]) == []
        told = await editor.ask("glm/proposal/get", {"proposalId": editor.told("proposal")[0]["proposalId"]})
        assert [file["uri"] for file in told["files"]] == [cells[1]]
        await editor.run(lenses[0]["command"]["command"], *lenses[0]["command"]["arguments"])
        assert '"""Adds up."""' in editor.documents[cells[1]].text
        assert len(editor.labels()) == 1


async def test_what_a_review_finds_in_a_cell_stands_there(root: Path) -> None:
    found = {**FINDING, "arguments": {**FINDING["arguments"], "file_path": "work.ipynb#2.py"}}
    async with FakeEditor(root, [{"calls": [found]}, DONE], capabilities=NOTEBOOKS, profile="vscode") as editor:
        cells = editor.open_notebook("work.ipynb", *CELLS)
        await editor.run("glm.review", {"uri": cells[1], "wait": True})
        assert [one["message"] for one in editor.diagnostics[cells[1]]] == ["Ignores the quantity."]


# --- names that have to be escaped -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b.py", "größe.py", "50%.py"])
async def test_a_file_keeps_the_address_that_the_editor_gave_it(name: str, root: Path) -> None:
    (root / name).write_text(CART)
    call = edits(name, "def total(items):\n", 'def total(items):\n    """Adds up."""\n')
    async with FakeEditor(root, [{"calls": [call]}, DONE], profile="vscode") as editor:
        await editor.open(name)
        await editor.choose("Document")
        await editor.quiet()
        assert await editor.text(name) == DOCUMENTED
        assert len(editor.labels()) == 1


# --- renaming files ----------------------------------------------------------------------------------------------

RENAMES: dict[str, Any] = {"editor": {"rename_imports": True}}


@pytest.mark.parametrize("dynamic", [True, False], ids=["told later", "told at once"])
async def test_a_renamed_file_is_renamed_in_the_imports_of_what_is_open_and_what_is_not(
    dynamic: bool, root: Path
) -> None:
    (root / "other.py").write_text("from cart import total\n")
    can = {"workspace.fileOperations": {"dynamicRegistration": dynamic, "willRename": True}}
    async with FakeEditor(root, [], settings=RENAMES, capabilities=can, profile="vscode") as editor:
        await editor.open("shop.py")
        await editor.type("shop.py", 0, 0, "# 𝒳 unsaved\n")
        await editor.quiet()
        if dynamic:
            await editor.until(lambda: "workspace/willRenameFiles" in str(editor.heard))
        later = [m for m in editor.heard if m.get("method") == "client/registerCapability"]
        methods = {one["method"] for message in later for one in message["params"]["registrations"]}
        assert ("workspace/willRenameFiles" in methods) == dynamic
        assert bool(editor.server["workspace"].get("fileOperations")) == (not dynamic)
        files = [{"oldUri": editor.uri("cart.py"), "newUri": editor.uri("basket.py")}]
        edit = await editor.ask("workspace/willRenameFiles", {"files": files})
        assert editor._apply(edit)["applied"]
        assert await editor.text("shop.py") == "# 𝒳 unsaved\nimport basket as cart\n"
        assert await editor.text("other.py") == "from basket import total\n"


async def test_unless_the_person_wants_it_nobody_asks_before_a_rename(root: Path) -> None:
    async with FakeEditor(root, [], profile="vscode") as editor:
        await editor.quiet()
        assert not editor.server["workspace"].get("fileOperations")
        files = [{"oldUri": editor.uri("cart.py"), "newUri": editor.uri("basket.py")}]
        assert await editor.ask("workspace/willRenameFiles", {"files": files}) is None
        said = str([message for message in editor.heard if message.get("method") == "client/registerCapability"])
        assert "willRenameFiles" not in said


# --- clients with plug-ins, in an editor like Neovim -------------------------------------------------------------

OPTED = [True, {"protocol": 1, "events": ["text", "end"]}, {"protocol": 1, "events": False, "permission": True}]


@pytest.mark.parametrize("glm", OPTED, ids=["everything", "text only", "permission only"])
@pytest.mark.parametrize("who", [NEOVIM, VS_CODE, {"profile": "minimal"}], ids=["neovim", "vscode", "minimal"])
async def test_a_plug_in_is_told_what_it_asked_for_in_every_editor(
    who: dict[str, Any], glm: dict[str, Any] | bool, root: Path
) -> None:
    shows = glm is True
    async with FakeEditor(root, [DOCUMENT, DONE], glm=glm, **who) as editor:
        await editor.open("cart.py")
        action = next(one for title, one in (await editor.actions()).items() if "Document" in title)
        assert ("data" in action) == (who["profile"] != "minimal" and not shows), "who shows proposals does not wait"
        await editor.choose("Document")
        await editor.quiet()
        if shows:
            assert await editor.text("cart.py") == CART
            (event,) = editor.told("proposal")
            await editor.ask("glm/proposal/resolve", {"proposalId": event["proposalId"], "accept": True})
            told = await editor.ask("glm/proposal/get", {"proposalId": event["proposalId"]})
            assert [hunk["state"] for hunk in told["files"][0]["hunks"]] == ["applied"]
        assert await editor.text("cart.py") == DOCUMENTED
        assert len(editor.labels()) == (shows or who["profile"] == "minimal")
        wanted = {"everything": {"start", "hunk", "proposal"}, "text": {"text", "end"}, "nothing": set()}
        told_of = {params["event"]["type"] for params in editor.events}
        assert (
            wanted["everything" if shows else "text" if isinstance(glm, dict) and glm["events"] else "nothing"]
            <= told_of
        )


# --- smaller things ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["glm.undo", "glm/undo"])
async def test_with_nothing_to_undo_the_person_is_told_where_to_look(how: str, root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], profile="vscode") as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        await editor.quiet()
        with pytest.raises(Refused) as refused:
            await (editor.run(how) if "." in how else editor.ask(how, {}))
        assert "its own undo" in refused.value.data["hint"]
        assert len(editor.labels()) == 1


async def test_feedback_is_kept_for_the_person_alone(root: Path) -> None:
    async with FakeEditor(root, [], glm=True, own=True) as editor:
        editor.tell("glm/feedback", {"turnId": "t", "decision": "accepted", "hunks": ["t:1"]})
        editor.tell("glm/feedback", {"turnId": "t", "decision": "dismissed", "latencyMs": 3})
        await editor.quiet()
        kept = editor.home / "state/feedback.jsonl"
        rows = [json.loads(line) for line in kept.read_text().splitlines()]
        assert [row["decision"] for row in rows] == ["accepted", "dismissed"]
        assert rows[0]["hunks"] == ["t:1"]
        assert kept.stat().st_mode & 0o077 == 0


async def test_a_server_of_tools_that_died_is_there_again_in_the_next_turn(root: Path) -> None:
    shop = {"command": sys.executable, "args": [str(Path(__file__).parent / "mcp_server.py"), "stdio"], "allow": ["*"]}
    calls: list[dict[str, Any]] = [
        {"name": "shop__die", "arguments": {}},
        {"name": "shop__add", "arguments": {"a": 40}},
    ]
    replies: list[dict[str, Any]] = [{"calls": [calls[0]]}, DONE, {"calls": [calls[1]]}, DONE]
    async with FakeEditor(root, replies, settings={"mcp": {"servers": {"shop": shop}}}, glm=True) as editor:
        await editor.ask("glm/turn", {"instruction": "x"})
        await editor.ask("glm/turn", {"instruction": "y"})
        results = editor.told("toolResult")
        assert [one["ok"] for one in results] == [False, True]
        assert "40 + 2 = 42" in results[1]["result"]


# --- who may connect ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [None, {}, {"token": "guess"}, {"token": 5}, "sesame"])
async def test_over_tcp_a_client_without_the_token_gets_nowhere(options: Any, root: Path) -> None:
    editor = FakeEditor(root, [])
    reader, writer = await asyncio.open_connection("127.0.0.1", FakeEditor.shared)

    async def ask(number: int, method: str, params: Any) -> dict[str, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        header = await reader.readuntil(b"\r\n\r\n")
        return dict(json.loads(await reader.readexactly(int(header.split(b":")[1]))))

    params = {"processId": None, "rootUri": editor.uri("."), "capabilities": {}, "initializationOptions": options}
    refused = await ask(1, "initialize", params)
    assert refused["error"]["code"] == -32803
    assert "token" in refused["error"]["message"]
    assert (await ask(2, "glm/conversation/list", {}))["error"]["code"] == -32002
    writer.close()
    await writer.wait_closed()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    command = [GLM, "serve", "--ws", "--token", "sesame", "--origin", "http://localhost:8080"]
    with subprocess.Popen(
        command, env=environment(tmp_path / "home"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip().removeprefix("glm-lsp listens on ")
        finally:
            server.kill()


def test_a_page_with_the_token_is_offered_actions(address: str, root: Path) -> None:
    uri, validator = f"file://{root}/cart.py", Validator()
    document = {"uri": uri, "languageId": "python", "version": 1, "text": CART}
    place = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 4}}
    literals = {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["refactor"]}}}
    can = {"workspace": {"applyEdit": True}, "textDocument": {"codeAction": literals}}
    with connect(f"{address}/?token=sesame", origin=Origin("http://localhost:8080")) as end:

        def say(method: str, params: Any, number: int | None = None) -> Any:
            message = {"jsonrpc": "2.0", "method": method, "params": params}
            message |= {} if number is None else {"id": number}
            validator.sent(message)
            end.send(json.dumps(message))
            while number is not None:
                answer = json.loads(end.recv(20))
                validator.received(answer)
                if answer.get("id") == number:
                    return answer["result"]
            return None

        say("initialize", {"processId": None, "rootUri": f"file://{root}", "capabilities": can}, 1)
        say("initialized", {})
        say("textDocument/didOpen", {"textDocument": document})
        params = {"textDocument": {"uri": uri}, "range": place, "context": {"diagnostics": []}}
        assert any("total" in one["title"] for one in say("textDocument/codeAction", params, 2))
    assert not validator.complaints


@pytest.mark.parametrize(
    ("query", "origin"),
    [("", None), ("?token=guess", None), ("?token=sesame", "https://evil.example")],
    ids=["no token", "another token", "another page"],
)
def test_everybody_else_is_turned_away(query: str, origin: Any, address: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{address}/{query}", origin=origin)
    assert refused.value.response.status_code == 403
