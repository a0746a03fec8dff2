"""Fixtures for tests of the VS Code extension in a real VS Code, looked at in a real Chromium.

Never runs with `make test`: `make test-vscode` installs VS Code (`install.py`) and runs this folder.

    def test_a_hunk_is_accepted(vscode: VSCode) -> None:
        vscode.engine({"calls": [edit("cart.py")]}, {"text": "Done."})   a scripted engine, or vscode.use(glm_engine.url)
        vscode.has("cart.py", CART)                            a file of the workspace
        window = vscode.open()                                 a window on it, with the extension in it
        window.active()                                        … which has been activated
        window.edit("cart.py", 2)                              the cursor is there, with the focus
        window.act("GLM: Refactor")                            picks a code action from the light bulb's menu
        window.see("Accept")                                   waits for a text outside web views
        view = window.frame("#input")                          a web view, by something that is in it
        view.locator("#input").fill("…")                       … in which Playwright does what it can do
        window.holds(BETTER, "cart.py")                        waits until the editor holds this, saved or not
        assert window.host("return vscode.version")            anything else: JavaScript in the extension host
        assert not window.barriers(view)                       what axe-core says about the view

- `vscode` is a VS Code with nothing in it from before. The test runs twice: on the copy as code-server ships it
  (`open`: proposed APIs work for all) and on the copy with the gate put back (`gated`: as on a person's machine).
  `GLM_LSP_VSCODE_COPIES=gated` runs it once. `@pytest.mark.copies("gated")` says that a test is about one copy.
- The language server is this checkout's, unless the test takes `glm.server.path` out of `vscode.settings`.
- `bare` is the same without our extension: for the harness's own tests, and for measuring what VS Code itself takes.
- A test that fails leaves pictures of its windows and all logs in `.cache/vscode/failures/NAME`.
- `GLM_LSP_TEST_VSIX=FILE` tests that package; without it one is made as `make vsix` does. `GLM_LSP_HEADED=1` shows the browser.
- Tests are plain functions, not `async`: Playwright's own loop runs in the main thread.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vscode import install
from vscode.editor import COPIES, VSCode, chromium, extensions, packed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Browser

FAILURES = install.CACHE / "failures"
_report = pytest.StashKey[dict[str, pytest.CollectReport]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "copy" not in metafunc.fixturenames:
        return
    copies = os.environ.get("GLM_LSP_VSCODE_COPIES", "open,gated").split(",")
    mark = metafunc.definition.get_closest_marker("copies")
    wanted = [copy for copy in (mark.args if mark else COPIES) if copy in copies]
    metafunc.parametrize("copy", wanted or [pytest.param("", marks=pytest.mark.skip("not on this copy"))])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash.setdefault(_report, {})[report.when] = report
    return report


@pytest.fixture(scope="session")
def _context() -> int:
    """VS Code's own agent begins with 24,000 tokens, and has all of it summed up where there is little room."""
    return 65536


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if missing := install.missing():
        pytest.fail(f"Not installed: {', '.join(missing)}. `make test-vscode` does it.", pytrace=False)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def vsix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our extension as it is published."""
    if given := os.environ.get("GLM_LSP_TEST_VSIX"):
        return Path(given).resolve()
    return packed(tmp_path_factory.mktemp("vsix"))


@pytest.fixture(scope="session")
def _ours(vsix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extensions(tmp_path_factory.mktemp("extensions") / "x", vsix)


@pytest.fixture(scope="session")
def _none(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extensions(tmp_path_factory.mktemp("bare") / "x", None)


@pytest.fixture
def vscode(
    copy: str, browser: Browser, _ours: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[VSCode]:
    one = VSCode(copy, tmp_path, browser, _ours)
    one.settings["glm.server.path"] = str(Path(sys.executable).with_name("glm-lsp"))
    yield from _lent(one, request)


@pytest.fixture
def bare(copy: str, browser: Browser, _none: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[VSCode]:
    yield from _lent(VSCode(copy, tmp_path, browser, _none), request)


def _lent(one: VSCode, request: pytest.FixtureRequest) -> Iterator[VSCode]:
    try:
        yield one
        reports = request.node.stash.get(_report, {})
        if "call" not in reports or reports["call"].failed:
            one.keep(FAILURES / re.sub(r"[^\w-]+", "-", request.node.name))
    finally:
        one.close()
