"""Set-up in a real VS Code: from nothing to a server and an engine that was tried, and what stands in the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vscode.editor import until

if TYPE_CHECKING:
    from vscode.editor import VSCode

PIP = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL")


def nowhere(vscode: VSCode) -> None:
    """A machine on which there is no glm-lsp."""
    del vscode.settings["glm.server.path"]
    folders = os.environ["PATH"].split(os.pathsep)
    vscode.environment["PATH"] = os.pathsep.join(each for each in folders if not Path(each, "glm-lsp").exists())


@pytest.mark.timeout(500)
@pytest.mark.copies("gated")
def test_from_nothing_to_a_server_of_its_own_and_an_engine_that_was_tried(vscode: VSCode) -> None:
    nowhere(vscode)
    vscode.environment["PIP_CACHE_DIR"] = str(Path.home() / ".cache" / "pip")
    vscode.engine({"text": "One two three.", "usage": {"read": 20, "written": 4}}, repeat=True)
    window = vscode.open()
    window.notice("The server glm-lsp is not installed.", button="Set Up…")
    assert "not set up" in window.standing()
    window.pick("Install it")
    window.notice("GLM-4.7 works", seconds=400)
    (server,) = vscode.servers()
    assert str(vscode.data) in server.cmdline()[1], "from the extension's own folder"
    until("the status", lambda: window.standing() == "GLM-4.7 · ready")
    # … and the next window needs nothing.
    window.close()
    again = vscode.open()
    again.active()
    until("the status of the next window", lambda: again.standing() == "GLM-4.7 · ready")


@pytest.mark.copies("gated")
def test_without_a_package_index_it_says_so_and_leaves_nothing_behind(vscode: VSCode) -> None:
    nowhere(vscode)
    for name in PIP:
        vscode.environment.pop(name, None)
    vscode.environment |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    }
    window = vscode.open()
    window.active()
    window.run("GLM: Install Server")
    window.notice("The package index cannot be reached. Connect to a network, or install glm-lsp by hand", seconds=120)
    assert not list(vscode.data.glob("**/globalStorage/glm-lsp.glm-lsp/server"))
    assert "not set up" in window.standing()


@pytest.mark.copies("gated")
def test_without_python_it_says_which_is_needed(vscode: VSCode) -> None:
    nowhere(vscode)
    programs = vscode.tmp / "programs"
    programs.mkdir()
    for name in ("sh", "git", "env", "uname", "cat"):
        found = next(p for d in os.environ["PATH"].split(os.pathsep) if (p := Path(d, name)).exists())
        (programs / name).symlink_to(found)
    vscode.environment["PATH"] = str(programs)
    window = vscode.open()
    window.active()
    window.run("GLM: Install Server")
    window.notice("There is no Python on this machine. Install Python 3.11 or later, or set glm.server.path")
