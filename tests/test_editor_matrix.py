"""One story in every kind of editor, on one server that all of them connect to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lsp.editor import FakeEditor, listening
from stories import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = "a = '𝒳𝒴'  # 🐍\r\n\r\n\r\nb = 2\r\n"
REPLIES: list[dict[str, Any]] = [
    {
        "thinking": "Two files, then.",
        "calls": [
            {
                "name": "edit_file",
                "arguments": {"file_path": "a.py", "old_string": "b = 2", "new_string": "b = '𝒵' + a"},
            },
            {"name": "write_file", "arguments": {"file_path": "new.py", "content": "c = '🐍'\n"}},
        ],
    },
    {"text": "Done."},
]
AFTER = "a = '𝒳𝒴'  # 🐍\r\n\r\n\r\nb = '𝒵' + a\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with listening(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.mark.parametrize("events", [True, False], ids=["events", "no events"])
@pytest.mark.parametrize("operations", [True, False], ids=["creates", "does not create"])
@pytest.mark.parametrize("annotations", [True, False], ids=["annotations", "no annotations"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_two_files_are_changed_as_the_editor_can(
    encoding: str, annotations: bool, operations: bool, events: bool, port: int, tmp_path: Path
) -> None:
    root = project(tmp_path / "work", a_py=TEXT)
    abilities: dict[str, Any] = {
        "workspace.workspaceEdit.resourceOperations": ["create", "rename", "delete"] if operations else None,
        "workspace.workspaceEdit.changeAnnotationSupport": {} if annotations else None,
    }
    editor = FakeEditor(root, REPLIES, encoding=encoding, glm=events or None, capabilities=abilities, port=port)
    async with editor:
        await editor.open("a.py")
        await editor.type("a.py", 0, 5, "𝒲", remove=1)
        if not events:
            editor.will_choose("Apply")
        began = await editor.run("glm.refactor", {"instruction": "x", "uri": editor.uri("a.py")})
        await editor.quiet()
        if events:
            assert {one["turnId"] for one in editor.events} == {began["turnId"]}
            (proposed,) = editor.told("proposal")
            told = await editor.ask("glm/proposal/get", {"proposalId": proposed["proposalId"]})
            assert [file["kind"] for file in told["files"]] == ["edit", "create"]
            await editor.run("glm.acceptProposal", {"proposalId": proposed["proposalId"]})
        else:
            assert not editor.events
            assert len(editor.read("window/showMessageRequest")) == 1
        assert await editor.text("a.py") == AFTER.replace("𝒳", "𝒲")
        assert await editor.text("new.py") == "c = '🐍'\n"
        assert (f"file://{root}/new.py" in editor.documents) == operations
        assert len(editor.labels()) == 1


async def test_the_menu_is_there_while_eight_turns_stream(port: int, tmp_path: Path) -> None:
    root = project(tmp_path / "work", a_py=TEXT)
    words = [{"text": "word " * 1000}] * 8
    editor = FakeEditor(root, words, script={"delay": 0.005, "chop": 2}, glm=True, port=port)
    async with editor:
        await editor.open("a.py")
        turns = [editor.begin("glm/turn", {"instruction": f"Talk {n}."}) for n in range(8)]
        await editor.until(lambda: len({one["turnId"] for one in editor.events if one["event"]["type"] == "text"}) == 8)
        for _ in range(20):
            assert await editor.actions()
        assert not editor.told("end"), "the menu waits for no turn"
        for name in {one["turnId"] for one in editor.events}:
            editor.tell("glm/turn/cancel", {"turnId": name})
        ended = await asyncio.gather(*map(editor.answer, turns))
        assert {one["stopReason"] for one in ended} == {"cancelled"}
