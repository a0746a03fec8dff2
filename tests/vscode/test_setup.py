"""Set-up in a real VS Code: from nothing to an engine that was tried, and what is said where that cannot be."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from vscode.editor import until
from vscode.engines import engine_at, free_port

if TYPE_CHECKING:
    from vscode.editor import VSCode, Window

FAKE = '#!/bin/sh\n[ "$1" = --version ] && {{ echo glm-lsp, version {version}; exit; }}\ntouch {mark}\n'


def without_server(vscode: VSCode, *programs: str) -> None:
    """No glm-lsp is to be found, and on the PATH are these programs only."""
    vscode.settings.pop("glm.server.path")
    folder = vscode.tmp / "bin"
    folder.mkdir()
    for name in programs:
        found = Path(sys.base_prefix, "bin", name) if name == "python3" else shutil.which(name)
        # A link would not do: Python looks for its library where it is called from.
        (folder / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n')
        (folder / name).chmod(0o755)
    vscode.environment["PATH"] = str(folder)


def choose(window: Window, port: int, *, seconds: float = 30) -> None:
    """Gives an address where the engine is asked for."""
    box = window.page.locator(".quick-input-widget")
    box.filter(has_text="Which engine?").wait_for(timeout=seconds * 1000)
    window.pick("Another address")
    box.filter(has_text="Address of the engine").wait_for()
    window.answer(f"http://127.0.0.1:{port}")


@pytest.mark.timeout(500)
@pytest.mark.copies("gated")
def test_from_nothing_to_an_engine_that_was_tried(vscode: VSCode) -> None:
    without_server(vscode, "python3", "git", "sh")
    vscode.environment["PIP_CACHE_DIR"] = str(Path.home() / ".cache" / "pip")
    vscode.has("a.py", "a = 1\n")
    port = free_port()
    with engine_at(port, " ".join(map(str, range(1, 61)))):
        window = vscode.open()
        until("the status bar", lambda: window.standing() == "GLM · not set up")
        window.notice("The server glm-lsp is not installed.", button="Set Up…")
        window.pick("Install it")
        window.notice("Installing the GLM server", seconds=60)
        # pip fetches some sixty packages.
        choose(window, port, seconds=400)
        window.notice("GLM-4.7 works", seconds=60)
    program = vscode.servers()[0].cmdline()[1]
    assert program.startswith(str(vscode.data)), "the extension's own, not one of this machine"
    # The address is this machine's, and stays when the window is opened again.
    assert window.host("return vscode.workspace.getConfiguration('glm').inspect('engine.url').globalValue").endswith(
        str(port)
    )
    with engine_at(port):
        window.reload()
        until("the status bar", lambda: window.standing() == "GLM-4.7 · ready", seconds=60)


@pytest.mark.copies("gated")
def test_without_a_package_index_it_says_so_and_leaves_nothing_behind(vscode: VSCode) -> None:
    without_server(vscode, "python3", "sh")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        vscode.environment.pop(name, None)
    vscode.environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    window = vscode.open()
    until("the status bar", lambda: window.standing() == "GLM · not set up")
    window.run("GLM: Install Server")
    window.notice("The package index cannot be reached. Connect to a network, or install glm-lsp by hand", seconds=120)
    assert not list(vscode.data.glob("**/globalStorage/glm-lsp.glm-lsp/server"))
    assert window.standing() == "GLM · not set up"


def test_another_engine_is_chosen_and_tried(vscode: VSCode) -> None:
    vscode.has("a.py", "a = 1\n")
    port = free_port()
    with engine_at(port, "1 2 3"):
        window = vscode.open()
        until("the status bar", lambda: "engine" in window.standing())
        window.run("GLM: Choose Engine…")
        choose(window, port)
        window.notice("GLM-4.7 works", seconds=60)
        until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
    window.run("GLM: Test Engine")
    window.notice(str(port), button="Choose Engine…", seconds=60)
    window.page.locator(".quick-input-widget", has_text="Which engine?").wait_for()


def test_without_python_it_says_what_to_do(vscode: VSCode) -> None:
    without_server(vscode, "sh")
    window = vscode.open()
    until("the status bar", lambda: window.standing() == "GLM · not set up")
    window.run("GLM: Install Server")
    window.notice("There is no Python on this machine. Install Python 3.11 or later, or set glm.server.path")
    window.run("GLM: Show Health")
    page = window.frame("#page h1")
    expect(page.get_by_role("button", name="Install Server")).to_be_visible()


def test_a_python_that_is_too_old_is_named(vscode: VSCode) -> None:
    without_server(vscode, "sh")
    old = vscode.tmp / "bin" / "python3"
    old.write_text("#!/bin/sh\necho 3.9\nexit 1\n")
    old.chmod(0o755)
    window = vscode.open()
    window.run("GLM: Install Server")
    window.notice("Python 3.11 or later is needed; here is python3 3.9.")


def in_workspace(vscode: VSCode, version: str = "9.9.9") -> tuple[Path, Path]:
    """A program in the workspace's own Python environment, and the file that says that it was started."""
    mark = vscode.tmp / "was-run"
    path = vscode.has(".venv/bin/glm-lsp", FAKE.format(mark=mark, version=version))
    path.chmod(0o755)
    return path, mark


def test_a_program_of_the_workspace_is_run_only_where_it_is_trusted(vscode: VSCode) -> None:
    without_server(vscode, "sh", "touch")
    _, mark = in_workspace(vscode)
    vscode.settings["security.workspace.trust.enabled"] = True
    vscode.settings["security.workspace.trust.startupPrompt"] = "never"
    window = vscode.open()
    until("the status bar", lambda: window.standing() == "GLM · not set up")
    assert not mark.exists()
    window.run("GLM: Restart Server")
    until("the status bar", lambda: window.standing() == "GLM · not set up")
    assert not mark.exists(), "it may come from a stranger"


def test_a_program_of_a_trusted_workspace_is_found(vscode: VSCode) -> None:
    without_server(vscode, "sh", "touch")
    _, mark = in_workspace(vscode)
    vscode.open()
    until("it was started", mark.exists)


def test_an_old_server_is_said_to_be_old(vscode: VSCode) -> None:
    without_server(vscode, "sh", "touch")
    path, mark = in_workspace(vscode, version="0.0.3")
    window = vscode.open()
    window.notice(f"The server 0.0.3 at {path} is too old.")
    assert not mark.exists()


def test_in_a_workspace_that_is_not_trusted_there_are_no_tools(vscode: VSCode) -> None:
    vscode.engine({"text": "It is a number."}, repeat=True)
    vscode.has("a.py", "a = 1\n")
    vscode.settings["security.workspace.trust.enabled"] = True
    vscode.settings["security.workspace.trust.startupPrompt"] = "never"
    window = vscode.open()
    until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
    item = window.page.locator("[id='glm-lsp.glm-lsp.glm-lsp.status']")
    assert "not trusted" in (item.get_attribute("aria-label") or "")
    window.run("GLM: Show Health")
    page = window.frame("#page h1")
    expect(page.locator(".problem", has_text="not trusted").get_by_role("button")).to_have_text("Manage Trust")


def test_settings_reach_the_server_only_where_they_are_set(vscode: VSCode) -> None:
    """The person's settings.toml is not hidden by the defaults that VS Code knows."""
    port = free_port()
    vscode.has("a.py", "a = 1\n")
    config = vscode.tmp / "config" / "glm-lsp"
    config.mkdir(parents=True)
    (config / "settings.toml").write_text(f'[engine]\nurl = "http://127.0.0.1:{port}"\n')
    with engine_at(port):
        window = vscode.open()
        until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
        vscode.settings["glm.engine.url"] = "http://127.0.0.1:9"
        vscode.save_settings()
        until("the status bar", lambda: "engine down" in window.standing(), seconds=60)


def test_a_workspace_cannot_say_which_server_and_engine_are_used(vscode: VSCode) -> None:
    """Its settings may come from a stranger, also in a workspace that is trusted."""
    good, bad = free_port(), free_port()
    vscode.use(f"http://127.0.0.1:{good}")
    path, mark = in_workspace(vscode)
    theirs = {
        "glm.server.path": str(path),
        "glm.engine.url": f"http://127.0.0.1:{bad}",
        "glm.engine.api_key_command": ["touch", str(mark)],
        "glm.turn.max_steps": 7,
    }
    vscode.has(".vscode/settings.json", json.dumps(theirs))
    vscode.has("a.py", "a = 1\n")
    with engine_at(good) as engine, engine_at(bad) as stranger:
        window = vscode.open()
        until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
        assert window.command("glm.ask", {"prompt": "What is it?", "wait": True})["text"] == "1 2 3"
        assert engine.requests
        assert not stranger.paths
    assert not mark.exists()


def test_two_folders_have_one_server(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."}, repeat=True)
    for name in ("one", "two"):
        vscode.has(f"{name}/a.py", "a = 1\n")
        vscode.has(f"{name}/.glm-lsp.toml", "")
    folders = {"folders": [{"path": "one"}, {"path": "two"}]}
    window = vscode.open(vscode.has("both.code-workspace", json.dumps(folders)))
    until("the status bar", lambda: window.standing() == "GLM-4.7 · ready")
    assert len(vscode.servers()) == 1
    for name in ("one", "two"):
        uri = f"file://{vscode.root}/{name}/a.py"
        assert window.command("glm.run", {"action": "explain", "uri": uri, "wait": True})["text"] == "Yes."
    window.run("GLM: Show Health")
    index = window.frame("#page h1").locator("section", has=window.frame("#page h1").locator("h2", has_text="Index"))
    expect(index.locator("dt")).to_have_text(["one", "two"], timeout=30_000)
