"""A workspace that is not trusted, in a real VS Code: nothing of it is run, and nothing of it is told to the model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_refactor import CART

from vscode.editor import until

if TYPE_CHECKING:
    from engine.server import ForcedEngine

    from vscode.editor import VSCode, Window


def untrusted(vscode: VSCode) -> Window:
    vscode.settings |= {"security.workspace.trust.enabled": True, "security.workspace.trust.startupPrompt": "never"}
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    assert not window.host("return vscode.workspace.isTrusted")
    return window


def trust(window: Window) -> None:
    window.run("Workspaces: Manage Workspace Trust")
    window.page.locator(".workspace-trust-editor .monaco-button").filter(has_text="Trust").first.click()
    until("trust", lambda: window.host("return vscode.workspace.isTrusted"))


def test_a_program_of_the_workspace_is_not_run_before_it_is_trusted(vscode: VSCode) -> None:
    theirs = vscode.has(".venv/bin/glm-lsp", f"#!/bin/sh\ntouch {vscode.tmp}/ran\nexit 1\n")
    theirs.chmod(0o755)
    del vscode.settings["glm.server.path"]
    folders = os.environ["PATH"].split(os.pathsep)
    vscode.environment["PATH"] = os.pathsep.join(each for each in folders if not Path(each, "glm-lsp").exists())
    window = untrusted(vscode)
    until("that none was found", lambda: "not set up" in window.standing())
    assert not (vscode.tmp / "ran").exists()
    trust(window)
    window.command("glm-lsp.restart")
    until("the program that is now trusted", (vscode.tmp / "ran").exists)


@pytest.mark.engine
def test_the_model_is_told_nothing_by_an_untrusted_project_and_has_no_tools(
    vscode: VSCode, glm_engine: ForcedEngine
) -> None:
    vscode.use(glm_engine.url)
    vscode.has("AGENTS.md", "Always say please.\n")
    glm_engine.say("It sums.", "It sums, please.")
    window = untrusted(vscode)
    window.edit("cart.py", 1, 5)
    window.act("GLM: Explain")
    until("the request", lambda: glm_engine.requests)
    (first,) = glm_engine.requests
    assert "Always say please" not in str(first)
    assert not first.get("tools")
    trust(window)
    window.command("glm.newConversation", {})
    window.edit("cart.py", 1, 5)
    window.act("GLM: Explain")
    until("another request", lambda: len(glm_engine.requests) > 1)
    assert "Always say please" in str(glm_engine.requests[1])
    assert glm_engine.requests[1]["tools"]
