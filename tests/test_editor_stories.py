"""Stories of a person at an editor: a fake editor, a real server process, and a script in the model's place.

Every message of every story is checked in both directions, and a story that leaves something unread fails.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lsp.editor import FakeEditor, Refused, listening
from lsp.profiles import PROFILES
from stories import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CART = "def total(items):\n    return sum(i.price for i in items)\n\n\ndef count(items):\n    return len(items)\n"
DOCUMENTED = CART.replace("items):\n    return sum", 'items):\n    """Adds up."""\n    return sum')
HEAD = "def total(items):\n"


def edits(path: str, old: str, new: str) -> dict[str, Any]:
    return {"name": "edit_file", "arguments": {"file_path": path, "old_string": old, "new_string": new}}


def writes(path: str, content: str) -> dict[str, Any]:
    return {"name": "write_file", "arguments": {"file_path": path, "content": content}}


DOCUMENT: dict[str, Any] = {"thinking": "Short.", "calls": [edits("cart.py", HEAD, HEAD + '    """Adds up."""\n')]}
DONE: dict[str, Any] = {"text": "Done."}
SLOW: dict[str, Any] = {"delay": 0.02, "chop": 1}
WORDS: dict[str, Any] = {"text": "word " * 400}


@pytest.fixture(autouse=True, scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with listening(tmp_path_factory.mktemp("home")) as port:
        FakeEditor.shared = port
        yield
        FakeEditor.shared = None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py=CART, shop_py="import cart\n")


# --- meeting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
async def test_every_editor_is_greeted_and_offered_what_it_can_take(profile: str, root: Path) -> None:
    async with FakeEditor(root, [], profile=profile, own=True) as editor:
        assert editor.server["experimental"]["glm"]["protocol"] == 1
        assert editor.encoding == (editor.capabilities.get("general", {}).get("positionEncodings", ["utf-16"])[0])
        await editor.open("cart.py")
        await editor.select(1, 4)
        offered = await editor.actions()
        assert any("ocument" in title for title in offered), list(offered)


async def test_an_action_that_the_person_chose_is_applied_without_a_question(root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], own=True) as editor:
        await editor.open("cart.py")
        await editor.select(1, 4)
        assert (await editor.choose("ocument"))["accepted"]
        await editor.quiet()
        assert await editor.text("cart.py") == DOCUMENTED
        assert len(editor.labels()) == 1
        assert editor.on_disk("cart.py") == CART, "saving is the person's"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_the_text_is_right_in_every_encoding_with_wide_characters_and_windows_lines(
    encoding: str, tmp_path: Path
) -> None:
    text = "a = '𝒳𝒴'  # 🐍\r\nb = '𝒵' + a\r\nc = 3"
    root = project(tmp_path / "work", cart_py=text)
    call = edits("cart.py", "b = '𝒵' + a", "b = a + '𝒵𝒵'")
    async with FakeEditor(root, [{"calls": [call]}, DONE], encoding=encoding) as editor:
        await editor.open("cart.py")
        await editor.select(0, 0, 1, 11)
        await editor.type("cart.py", 0, 6, "𝒲", remove=1)
        await editor.run("glm.refactor", {"instruction": "x", "uri": editor.uri("cart.py"), "range": editor.selection})
        await editor.quiet()
        assert await editor.text("cart.py") == "a = '𝒳𝒲'  # 🐍\r\nb = a + '𝒵𝒵'\r\nc = 3"
        assert len(editor.labels()) == 1


# --- several files -----------------------------------------------------------------------------------------------

BOTH: list[dict[str, Any]] = [
    {
        "calls": [
            edits("cart.py", HEAD, "def sum_up(items):\n"),
            edits("shop.py", "import cart\n", "import cart as c\n"),
        ]
    },
    DONE,
]


async def test_several_files_are_asked_about_and_discarding_leaves_everything(root: Path) -> None:
    async with FakeEditor(root, BOTH) as editor:
        await editor.open("cart.py")
        editor.will_choose("Discard")
        where = {"uri": editor.uri("cart.py"), "mentions": [editor.uri("shop.py")]}
        await editor.run("glm.refactor", {"instruction": "x", **where})
        await editor.quiet()

        (question,) = editor.read("window/showMessageRequest")
        assert "2 files" in question["message"]
        assert [one["title"] for one in question["actions"]] == ["Apply", "Show diff", "Discard"]
        assert await editor.text("cart.py") == CART
        assert await editor.text("shop.py") == "import cart\n"


async def test_the_diff_is_shown_before_they_are_applied(root: Path) -> None:
    async with FakeEditor(root, BOTH) as editor:
        editor.will_choose("Show diff", "Apply")
        where = {"uri": editor.uri("cart.py"), "mentions": [editor.uri("shop.py")]}
        await editor.run("glm.refactor", {"instruction": "x", **where})
        await editor.quiet()
        assert len(editor.read("window/showMessageRequest")) == 2
        (shown,) = editor.read("window/showDocument")
        content = await editor.ask("workspace/textDocumentContent", {"uri": shown["uri"]})
        assert "+def sum_up(items):" in content["text"]
        assert (await editor.text("cart.py")).startswith("def sum_up")
        assert await editor.text("shop.py") == "import cart as c\n"
        assert len(editor.labels()) == 1


@pytest.mark.parametrize("profile", ["vscode", "kate"])
async def test_a_file_is_created_by_the_editor_or_for_one_that_cannot(profile: str, root: Path) -> None:
    async with FakeEditor(root, [{"calls": [writes("new/tax.py", "RATE = 2\n")]}, DONE], profile=profile) as editor:
        editor.will_choose("Apply")
        await editor.run("glm.refactor", {"instruction": "x"})
        await editor.quiet()
        assert len(editor.read("window/showMessageRequest")) == 1
        assert await editor.text("new/tax.py") == "RATE = 2\n"
        by_editor = editor.labels()
        assert len(by_editor) == (profile == "vscode")
        if not by_editor:
            undone = await editor.ask("glm/undo", {})
            assert undone["restored"] == [editor.uri("new/tax.py")]
            assert not (root / "new/tax.py").exists()


async def test_an_edit_that_the_editor_refuses_stays_on_the_desk(root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], glm=True) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        await editor.quiet()
        (proposed,) = editor.told("proposal")
        editor.will("workspace/applyEdit", False)
        with pytest.raises(Refused) as refused:
            await editor.run("glm.acceptProposal", {"proposalId": proposed["proposalId"]})
        assert refused.value.data["hint"]
        await editor.run("glm.acceptProposal", {"proposalId": proposed["proposalId"]})
        assert await editor.text("cart.py") == DOCUMENTED
        assert len(editor.labels()) == 2


# --- stopping ----------------------------------------------------------------------------------------------------


async def test_the_cancel_button_of_the_bar_ends_the_turn(root: Path) -> None:
    async with FakeEditor(root, [WORDS], script=SLOW) as editor:
        await editor.open("cart.py")
        await editor.choose("Explain")
        token = await editor.until(lambda: next((t for t, said in editor.bars().items() if len(said) > 1), None))
        editor.tell("window/workDoneProgress/cancel", {"token": token})
        await editor.quiet()
        assert editor.bars()[token][-1] == {"kind": "end", "message": "Cancelled"}
        assert len(editor.read("window/showDocument")) == 1, "the explanation, as far as it came"


async def test_cancelling_the_request_ends_its_turn(root: Path) -> None:
    async with FakeEditor(root, [WORDS], script=SLOW, glm=True) as editor:
        number = editor.begin("glm/turn", {"instruction": "Talk."})
        await editor.until(lambda: editor.told("text"))
        editor.cancel(number)
        with pytest.raises(Refused) as refused:
            await editor.answer(number)
        assert refused.value.code == -32800
        await editor.quiet()
        assert editor.told("end")[0]["stopReason"] == "cancelled"


async def test_glm_turn_cancel_ends_it_with_what_was_said(root: Path) -> None:
    async with FakeEditor(root, [WORDS], script=SLOW, glm=True) as editor:
        number = editor.begin("glm/turn", {"instruction": "Talk.", "workDoneToken": "mine"})
        await editor.until(lambda: editor.told("text"))
        editor.tell("glm/turn/cancel", {"turnId": editor.events[0]["turnId"]})
        result = await editor.answer(number)
        assert result["stopReason"] == "cancelled"
        assert result["text"].startswith("w")
        assert editor.bars()["mine"][-1]["kind"] == "end"


# --- typing meanwhile --------------------------------------------------------------------------------------------


async def test_what_is_typed_above_the_place_moves_the_edit(root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, {"text": "done " * 20}], script=SLOW) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        await editor.until(lambda: any(len(said) > 1 for said in editor.bars().values()))
        await editor.type("cart.py", 0, 0, "import os\n\n\n")
        await editor.quiet()
        assert await editor.text("cart.py") == "import os\n\n\n" + DOCUMENTED
        assert len(editor.labels()) == 1


async def test_what_is_typed_inside_the_place_stops_the_edit_and_is_said(root: Path) -> None:
    replaced = {"calls": [edits("cart.py", "    return sum(i.price for i in items)", "    return 0")]}
    async with FakeEditor(root, [replaced, {"text": "done " * 20}], script=SLOW) as editor:
        await editor.open("cart.py")
        await editor.choose("Simplify")
        await editor.until(lambda: any(len(said) > 1 for said in editor.bars().values()))
        await editor.type("cart.py", 1, 15, "j.cost", remove=7)
        typed = await editor.text("cart.py")
        await editor.quiet()
        assert await editor.text("cart.py") == typed
        (said,) = editor.messages()
        assert "no place" in said


async def test_unsaved_text_is_what_the_model_sees_and_never_reaches_the_disk(root: Path) -> None:
    reply = {**DOCUMENT, "when": "unsaved_name", "calls": [edits("cart.py", "unsaved_name", "better_name")]}
    async with FakeEditor(root, [reply, DONE]) as editor:
        await editor.open("cart.py")
        await editor.type("cart.py", 0, 4, "unsaved_name", remove=5)
        await editor.choose("Document")
        await editor.quiet()
        assert (await editor.text("cart.py")).startswith("def better_name(")
        assert editor.on_disk("cart.py") == CART
        assert len(editor.labels()) == 1


# --- more than one -----------------------------------------------------------------------------------------------


async def test_two_turns_at_once_in_two_documents(root: Path) -> None:
    replies = [
        {"when": "(items)", "calls": [edits("cart.py", HEAD, "def added(items):\n")]},
        {"when": "import cart", "calls": [edits("shop.py", "import cart\n", "import cart  # ok\n")]},
        DONE,
        DONE,
    ]
    async with FakeEditor(root, replies, script={"delay": 0.01, "chop": 4}) as editor:
        await editor.open("cart.py")
        await editor.open("shop.py")
        first = await editor.run("glm.refactor", {"instruction": "x", "uri": editor.uri("cart.py")})
        second = await editor.run("glm.refactor", {"instruction": "y", "uri": editor.uri("shop.py")})
        assert first["turnId"] != second["turnId"]
        await editor.quiet()
        assert (await editor.text("cart.py")).startswith("def added(items)")
        assert await editor.text("shop.py") == "import cart  # ok\n"
        assert len(editor.labels()) == 2


async def test_two_editors_on_one_workspace(root: Path) -> None:
    replies = [{"text": "From here."}, {"text": "And on."}]
    async with (
        FakeEditor(root, replies, glm=True, own=True) as one,
        FakeEditor(root, replies, glm=True, home=one.home, own=True) as other,
    ):
        said = await one.ask("glm/turn", {"instruction": "Begin."})
        told = await other.ask("glm/conversation/get", {"conversationId": said["conversationId"]})
        assert told["messages"][-1]["text"] == "From here."
        more = await other.ask("glm/turn", {"instruction": "More.", "conversationId": said["conversationId"]})
        assert more["conversationId"] == said["conversationId"]
        told = await one.ask("glm/conversation/get", {"conversationId": said["conversationId"]})
        assert [m["text"] for m in told["messages"] if m["role"] == "assistant"] == ["From here.", "From here."]


async def test_a_conversation_goes_on_after_the_server_was_killed_in_it(root: Path) -> None:
    async with FakeEditor(root, [{"text": "The first."}, WORDS], script=SLOW, glm=True, own=True) as editor:
        said = await editor.ask("glm/turn", {"instruction": "Begin."})
        editor.begin("glm/turn", {"instruction": "More.", "conversationId": said["conversationId"]})
        await editor.until(lambda: len([e for e in editor.events if e["event"]["type"] == "start"]) == 2)
        await editor.kill()
        editor.leave = _nothing  # type: ignore[method-assign]  # it is dead
        editor.validator.complaints.clear()
        editor.check = lambda: None  # type: ignore[method-assign]  # a dead server owes answers
    async with FakeEditor(root, [{"when": "The first.", "text": "Going on."}], glm=True, own=True) as editor:
        again = await editor.ask("glm/turn", {"instruction": "Again.", "conversationId": said["conversationId"]})
        assert again["text"] == "Going on."


async def _nothing() -> None:
    await asyncio.sleep(0)


async def test_an_engine_that_is_down_is_said_so_and_comes_back(root: Path) -> None:
    async with FakeEditor(root, f"scripted:{root.parent / 'home' / 'script.json'}", own=True) as editor:
        await editor.open("cart.py")
        status = await editor.quiet()
        assert status["health"] == "error"
        offered = await editor.actions()
        assert all(action["disabled"]["reason"] for action in offered.values())
        await editor.run("glm.refactor", {"instruction": "x", "uri": editor.uri("cart.py")})
        await editor.quiet()
        (said,) = editor.messages()
        assert "script" in said
        editor.rewrite(DOCUMENT, DONE)
        await editor.run("glm.document", {"uri": editor.uri("cart.py")})
        await editor.quiet()
        assert await editor.text("cart.py") == DOCUMENTED
        assert len(editor.labels()) == 1
        assert not any("disabled" in action for action in (await editor.actions()).values())


# --- asking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["vscode", "helix"])
async def test_an_answer_is_written_to_a_transcript_that_is_opened(profile: str, root: Path) -> None:
    replies = [{"thinking": "Hm.", "text": "It adds up."}]
    async with FakeEditor(root, replies, profile=profile) as editor:
        await editor.open("cart.py")
        began = await editor.run("glm.ask", {"prompt": "What does it do?", "uri": editor.uri("cart.py")})
        assert began["accepted"]
        await editor.quiet()
        (shown,) = editor.read("window/showDocument")
        if profile == "vscode":
            text = (await editor.ask("workspace/textDocumentContent", {"uri": shown["uri"]}))["text"]
        else:
            text = editor._read_uri(shown["uri"]) or ""
        assert "What does it do?" in text
        assert "It adds up." in text


async def test_the_answer_comes_with_the_command_for_who_waits(root: Path) -> None:
    async with FakeEditor(root, [{"text": "Yes."}], profile="minimal") as editor:
        answer = await editor.run("glm.ask", {"prompt": "Sure?", "wait": True})
        assert answer["text"] == "Yes."
        assert answer["stopReason"] == "done"


FINDING: dict[str, Any] = {
    "name": "report_finding",
    "arguments": {
        "file_path": "cart.py",
        "first_line": 2,
        "last_line": 2,
        "severity": "warning",
        "message": "Ignores the quantity.",
    },
}


async def test_a_review_is_published_and_each_finding_can_be_fixed(root: Path) -> None:
    fix = edits("cart.py", "i.price for", "i.price * i.qty for")
    replies = [{"calls": [FINDING]}, DONE, {"when": "Ignores the quantity", "calls": [fix]}, DONE]
    async with FakeEditor(root, replies) as editor:
        await editor.open("cart.py")
        await editor.choose("Review cart.py")
        await editor.quiet()
        (found,) = editor.diagnostics[editor.uri("cart.py")]
        assert found["message"] == "Ignores the quantity."
        assert found["range"]["start"] == {"line": 1, "character": 0}
        await editor.select(1, 6)
        offered = await editor.actions("quickfix")
        assert offered
        await editor.choose("ix")
        await editor.quiet()
        assert "i.price * i.qty for" in await editor.text("cart.py")
        assert len(editor.labels()) == 1
        assert len(editor.read("window/showDocument")) == 1, "the review's summary"


# --- deciding ----------------------------------------------------------------------------------------------------

TWO = {
    "calls": [
        edits("cart.py", HEAD, HEAD + '    """Adds up."""\n'),
        edits("cart.py", "    return len(items)", "    return len(list(items))"),
    ]
}


async def test_lenses_accept_one_piece_and_reject_the_other(root: Path) -> None:
    async with FakeEditor(root, [TWO, DONE], glm=True) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        await editor.quiet()
        assert await editor.text("cart.py") == CART, "who shows proposals decides first"
        lenses = await editor.lenses("cart.py")
        assert [lens["command"]["title"] for lens in lenses] == ["GLM: Accept", "GLM: Reject"] * 2
        await editor.run(lenses[0]["command"]["command"], *lenses[0]["command"]["arguments"])
        assert await editor.text("cart.py") == DOCUMENTED
        left = await editor.lenses("cart.py")
        assert len(left) == 2
        assert left[0]["range"]["start"]["line"] == 6
        await editor.run(left[1]["command"]["command"], *left[1]["command"]["arguments"])
        assert await editor.lenses("cart.py") == []
        assert await editor.text("cart.py") == DOCUMENTED
        assert len(editor.labels()) == 1


async def test_a_proposal_is_told_and_resolved_by_pieces(root: Path) -> None:
    async with FakeEditor(root, [TWO, DONE], glm=True) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        await editor.quiet()
        (event,) = editor.told("proposal")
        name = {"proposalId": event["proposalId"]}
        await editor.type("cart.py", 0, 0, "# top\n")
        told = await editor.ask("glm/proposal/get", name)
        first, second = (hunk["hunkId"] for hunk in told["files"][0]["hunks"])
        assert told["state"] == "pending"
        assert "+    return len(list(items))" in told["unifiedDiff"]
        done = await editor.ask(
            "glm/proposal/resolve",
            {**name, "decisions": [{"hunkId": first, "accept": False}, {"hunkId": second, "accept": True}]},
        )
        assert done == {"applied": True, "state": "partial", "stale": []}
        assert await editor.text("cart.py") == "# top\n" + CART.replace("len(items)", "len(list(items))")
        states = [h["state"] for h in (await editor.ask("glm/proposal/get", name))["files"][0]["hunks"]]
        assert states == ["rejected", "applied"]
        assert len(editor.labels()) == 1


async def test_a_proposal_is_given_back_as_an_edit(root: Path) -> None:
    async with FakeEditor(root, [DOCUMENT, DONE], glm=True) as editor:
        await editor.open("cart.py")
        await editor.choose("Document")
        await editor.quiet()
        (event,) = editor.told("proposal")
        params = {"proposalId": event["proposalId"], "accept": True, "apply": False}
        given = await editor.ask("glm/proposal/resolve", params)
        assert not given["applied"]
        assert editor._apply(given["edit"])["applied"]
        assert await editor.text("cart.py") == DOCUMENTED


# --- permission --------------------------------------------------------------------------------------------------

COMMAND = {"calls": [{"name": "run_command", "arguments": {"command": "echo seen > made.txt"}}]}


@pytest.mark.parametrize("glm", [None, True], ids=["by a message", "by glm/permission"])
async def test_what_the_model_wants_to_run_is_asked_first(glm: bool | None, root: Path) -> None:
    async with FakeEditor(root, [COMMAND, DONE, COMMAND, DONE], glm=glm) as editor:
        method = "glm/permission" if glm else "window/showMessageRequest"
        editor.will(method, "no" if glm else "No", "once" if glm else "Once")
        for expected in (False, True):
            await editor.run("glm.refactor", {"instruction": "x", "wait": True})
            (asked,) = editor.read(method)
            assert "echo seen > made.txt" in (asked["detail"] if glm else asked["message"])
            assert (root / "made.txt").exists() == expected


QUESTION = {"calls": [{"name": "ask_user", "arguments": {"question": "Which?", "options": ["this", "that"]}}]}


@pytest.mark.parametrize("glm", [None, True], ids=["by a message", "by glm/question"])
async def test_what_the_model_wants_to_know_is_asked(glm: bool | None, root: Path) -> None:
    replies = [QUESTION, {"when": "that", "text": "That, then."}]
    async with FakeEditor(root, replies, glm=glm) as editor:
        method = "glm/question" if glm else "window/showMessageRequest"
        editor.will(method, "that")
        answer = await editor.run("glm.ask", {"prompt": "Go.", "wait": True})
        assert answer["text"] == "That, then."
        assert len(editor.read(method)) == 1


# --- live --------------------------------------------------------------------------------------------------------


async def test_a_turn_is_told_as_it_goes(root: Path) -> None:
    replies = [{**TWO, "thinking": "Let me see. " * 5}, {"text": "It is done. " * 10}]
    async with FakeEditor(root, replies, script={"chop": 3}, glm=True) as editor:
        await editor.open("cart.py")
        params = {
            "instruction": "Better, please.",
            "action": "refactor",
            "textDocument": {"uri": editor.uri("cart.py"), "version": 1},
            "workDoneToken": "bar",
        }
        result = await editor.ask("glm/turn", params)
        assert result["text"] == "It is done. " * 10
        kinds = [params["event"]["type"] for params in editor.events]
        for kind in (
            "start",
            "thinking",
            "thinkingEnd",
            "text",
            "toolCall",
            "toolResult",
            "hunk",
            "proposal",
            "usage",
            "end",
        ):
            assert kind in kinds, kind
        assert result["proposalId"] == editor.told("proposal")[0]["proposalId"] == editor.told("end")[0]["proposalId"]
        assert editor.bars()["bar"][0]["kind"] == "begin"
        assert [status["quiescent"] for status in editor.statuses][-1]


async def test_only_the_events_that_were_asked_for_are_told(root: Path) -> None:
    async with FakeEditor(root, [TWO, DONE], glm={"protocol": 1, "events": ["text", "end"]}) as editor:
        editor.will_choose("Discard")
        about = {"action": "refactor", "textDocument": {"uri": editor.uri("cart.py")}}
        await editor.ask("glm/turn", {"instruction": "x", **about})
        assert {params["event"]["type"] for params in editor.events} == {"text", "end"}
        assert len(editor.read("window/showMessageRequest")) == 1


async def test_without_opting_in_a_turn_is_answered_and_nothing_else_is_said(root: Path) -> None:
    async with FakeEditor(root, [{"text": "Yes."}]) as editor:
        assert (await editor.ask("glm/turn", {"instruction": "x"}))["text"] == "Yes."
        assert not editor.events
        assert not editor.statuses


async def test_conversations_are_listed_read_forked_named_and_deleted(root: Path) -> None:
    async with FakeEditor(root, [{"text": "One."}, {"text": "Two."}], glm=True) as editor:
        said = await editor.ask("glm/turn", {"instruction": "First."})
        word = {"conversationId": said["conversationId"]}
        await editor.ask("glm/turn", {"instruction": "Second.", **word})
        (entry,) = (await editor.ask("glm/conversation/list", {}))["conversations"]
        assert (entry["id"], entry["first"], entry["turns"]) == (said["conversationId"], "First.", 2)
        forked = await editor.ask("glm/conversation/fork", {**word, "at": 1})
        told = await editor.ask("glm/conversation/get", forked)
        assert [m["text"] for m in told["messages"] if m["role"] == "assistant"] == ["One."]
        assert [m["words"] for m in told["messages"] if m["role"] == "user"] == ["First."]
        whole = (await editor.ask("glm/conversation/get", word))["messages"]
        assert [m.get("turn", 0) for m in whole if m["role"] == "assistant"] == [0, 1]
        await editor.ask("glm/conversation/rename", {**forked, "name": "short"})
        assert (await editor.ask("glm/conversation/get", {"conversationId": "short"}))["name"] == "short"
        fresh = await editor.ask("glm/conversation/new", {"name": "fresh"})
        await editor.ask("glm/conversation/delete", word)
        left = {one["id"] for one in (await editor.ask("glm/conversation/list", {}))["conversations"]}
        assert left == {forked["conversationId"], fresh["conversationId"]}
        with pytest.raises(Refused):
            await editor.ask("glm/conversation/get", word)


async def test_the_status_says_who_writes_and_where(root: Path) -> None:
    async with FakeEditor(root, [], glm=True) as editor:
        status = await editor.ask("glm/status", {})
        assert status["health"] == "ok"
        assert status["engine"]["model"] == "glm-4.7"
        assert status["workspaceFolders"] == [editor.uri(".").rstrip("/.")]
        await editor.run("glm.status")
        assert len(editor.read("window/showDocument")) == 1


async def test_what_would_be_sent_is_shown_and_nothing_is_sent(root: Path) -> None:
    (root / "AGENTS.md").write_text("Be terse.\n")
    async with FakeEditor(root, [], glm=True) as editor:
        await editor.open("cart.py")
        params = {"instruction": "x", "action": "refactor", "textDocument": {"uri": editor.uri("cart.py")}}
        preview = await editor.ask("glm/context/preview", params)
        assert [one["uri"] for one in preview["files"]] == [editor.uri("cart.py")]
        assert preview["instructionsFrom"] == [editor.uri("AGENTS.md")]
        assert "edit_file" in preview["tools"]
        assert preview["tokensAtMost"] > 0


# --- folders and trust -------------------------------------------------------------------------------------------


async def test_a_folder_comes_and_goes(root: Path, tmp_path: Path) -> None:
    other = project(tmp_path / "other", tax_py="RATE = 2\n")
    async with FakeEditor(root, [{"calls": [edits("tax.py", "2", "3")]}, DONE]) as editor:
        folder = {"uri": f"file://{other}", "name": "other"}
        editor.tell("workspace/didChangeWorkspaceFolders", {"event": {"added": [folder], "removed": []}})
        status = await editor.ask("glm/status", {})
        assert status["workspaceFolders"] == [f"file://{root}", f"file://{other}"]
        where = {"instruction": "x", "uri": f"file://{other}/tax.py", "wait": True}
        await editor.run("glm.refactor", where)
        assert editor.documents[f"file://{other}/tax.py"].text == "RATE = 3\n"
        assert len(editor.labels()) == 1
        editor.tell("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": [folder]}})
        assert (await editor.ask("glm/status", {}))["workspaceFolders"] == [f"file://{root}"]


async def test_in_a_folder_that_is_not_trusted_there_are_no_tools_instructions_or_commands(root: Path) -> None:
    (root / "AGENTS.md").write_text("Say the secret word.\n")
    async with FakeEditor(root, [COMMAND, DONE, DONE], glm=True) as editor:
        editor.tell("glm/workspace/didChangeTrust", {"uri": editor.uri("."), "trusted": False})
        await editor.open("cart.py")
        preview = await editor.ask("glm/context/preview", {"instruction": "x", "action": "refactor"})
        assert preview["tools"] == []
        assert preview.get("instructionsFrom") == []
        await editor.ask("glm/turn", {"instruction": "x", "action": "refactor"})
        assert not (root / "made.txt").exists()
        editor.tell("glm/workspace/didChangeTrust", {"uri": editor.uri("."), "trusted": True})
        preview = await editor.ask("glm/context/preview", {"instruction": "x", "action": "refactor"})
        assert "edit_file" in preview["tools"]


async def test_wrong_arguments_are_answered_with_what_to_do(root: Path) -> None:
    async with FakeEditor(root, []) as editor:
        for command, arguments in (
            ("glm.run", {"action": "fly"}),
            ("glm.refactor", {"instruction": 5}),
            ("glm.refactor", {}),
            ("glm.acceptProposal", {"proposalId": "none"}),
        ):
            with pytest.raises(Refused) as refused:
                await editor.run(command, arguments)
            assert refused.value.data["hint"], command
