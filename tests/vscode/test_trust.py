"""A workspace that is not trusted, on the real engine: nothing of it is told to the model, which has no tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_refactor import CART

from vscode.editor import until

if TYPE_CHECKING:
    from engine.server import ForcedEngine

    from vscode.editor import VSCode, Window


def trust(window: Window) -> None:
    window.run("Workspaces: Manage Workspace Trust")
    window.page.locator(".workspace-trust-editor .monaco-button").filter(has_text="Trust").first.click()
    until("trust", lambda: window.host("return vscode.workspace.isTrusted"))


@pytest.mark.engine
def test_a_project_that_is_not_trusted_tells_the_model_nothing_until_it_is(
    vscode: VSCode, glm_engine: ForcedEngine
) -> None:
    vscode.use(glm_engine.url)
    vscode.settings |= {"security.workspace.trust.enabled": True, "security.workspace.trust.startupPrompt": "never"}
    vscode.has("AGENTS.md", "Always say please.\n")
    vscode.has("cart.py", CART)
    glm_engine.say("It sums.", "It sums, please.")
    window = vscode.open()
    window.active()
    window.edit("cart.py", 1, 5)
    window.act("GLM: Explain")
    until("the request", lambda: glm_engine.requests)
    assert "Always say please" not in str(glm_engine.requests[0])
    assert not glm_engine.requests[0].get("tools")
    trust(window)
    window.edit("cart.py", 1, 5)
    window.command("glm.newConversation", {})
    window.act("GLM: Explain")
    until("another request", lambda: len(glm_engine.requests) > 1)
    assert "Always say please" in str(glm_engine.requests[1])
    assert glm_engine.requests[1]["tools"]
