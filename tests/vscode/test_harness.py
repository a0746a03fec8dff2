"""The harness itself: two copies of VS Code, one of which is as strict as a person's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vscode import install
from vscode.editor import until

if TYPE_CHECKING:
    from vscode.editor import VSCode

GATED = """
    const calls = {
        timeline: () => vscode.workspace.registerTimelineProvider("file", {}),
        findFiles2: () => vscode.workspace.findFiles2(["*.py"], {}),
        terminalDataWriteEvent: () => vscode.window.onDidWriteTerminalData(() => {}),
    };
    const thrown = {};
    for (const [name, call] of Object.entries(calls)) {
        try { call(); thrown[name] = ""; } catch (error) { thrown[name] = error.message; }
    }
    return thrown;
"""


def test_proposed_apis_throw_on_the_gated_copy_and_on_no_other(bare: VSCode) -> None:
    window = bare.open()
    thrown = window.host(GATED)
    assert len(thrown) == 3
    for name, message in thrown.items():
        assert (f"CANNOT use API proposal: {name}" in message) == (bare.copy == "gated"), message


def test_a_file_is_opened_typed_into_and_saved(bare: VSCode) -> None:
    bare.has("a.txt", "one\ntwo\n")
    window = bare.open()
    window.edit("a.txt", 2, 4)
    window.type("!")
    window.holds("one\ntwo!\n", "a.txt")
    assert bare.read("a.txt") == "one\ntwo\n"
    window.keys("Control+s")
    until("the file is saved", lambda: bare.read("a.txt") == "one\ntwo!\n")


@pytest.mark.parametrize("text", ["", "function a(b,c){return!0}", "CANNOT use API proposal"])
def test_a_bundle_without_the_known_gate_is_no_gated_copy(text: str) -> None:
    with pytest.raises(install.NoGate, match="found 0 times"):
        install.put_gate_back(text, "workbench.js")
