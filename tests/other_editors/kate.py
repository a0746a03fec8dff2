"""Kate itself, with the settings of its page, on a screen that nobody sees: one code action and its undo.

Run by `make test-editors` where kate, xvfb and xdotool are installed; never a part of the default run.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from test_refactor import BETTER, CART, WORKS, Person  # noqa: E402 - the folder above is no package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = (HERE.parent.parent / "docs" / "editors" / "kate.md").read_text()
(SETTINGS,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROGRAMS = Path(sys.executable).parent
SIMPLIFY = 6
"""Where it stands in the menu of a line."""


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path, **more: int) -> Iterator[None]:
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def screen(folder: Path) -> Iterator[str]:
    """A screen; its name."""
    reads, writes = os.pipe()
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", "1200x900x24"]
    with subprocess.Popen(command, cwd=folder, pass_fds=(writes,), stderr=subprocess.DEVNULL) as process:
        os.close(writes)
        try:
            yield f":{os.read(reads, 20).decode().strip()}"
        finally:
            os.close(reads)
            process.terminate()


def until(what: str, so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.2)


def test_a_code_action_and_its_undo(tmp_path: Path) -> None:
    person = Person(tmp_path)
    configuration = tmp_path / ".config"
    (configuration / "kate" / "lspclient").mkdir(parents=True)
    (configuration / "kate" / "lspclient" / "settings.json").write_text(SETTINGS)
    # Kate asks once whether it may start the server; here the answer is given before.
    allowed = f"[lspclient]\nAllowedServerCommandLines={PROGRAMS}/glm-lsp --stdio\n"
    (configuration / "katerc").write_text(allowed)
    with screen(tmp_path) as display:
        environment = {
            **person.environment,
            "GLM_LSP_ENGINE_URL": person.script(*WORKS * 20),
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(configuration),
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        }

        def press(*keys: str) -> None:
            subprocess.run(["xdotool", "key", "--delay", "150", *keys], env=environment, check=True)

        def window() -> str:
            command = ["xdotool", "search", "--name", "^cart.py"]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()

        def simplified() -> bool:
            """Opens the menu of line 2, takes the entry, and saves: the menu is empty until the server is there."""
            press("Escape", "Escape", "ctrl+Home", "Down", "End", "alt+l", "c")
            time.sleep(2)
            press(*["Down"] * (SIMPLIFY - 1), "Return", "Escape", "Escape", "Escape")
            time.sleep(2)
            press("ctrl+s")
            time.sleep(1)
            return person.read() != CART

        with running(["kate", "cart.py"], environment, person.root):
            until("there is a window", lambda: window() != "")
            subprocess.run(["xdotool", "windowfocus", window().split()[0]], env=environment, check=True)
            until("the line is changed", simplified)
            assert person.read() == BETTER
            press("ctrl+z", "ctrl+s")
            until("it is as it was", lambda: person.read() == CART, 10)


if __name__ == "__main__":
    pytest.main([__file__])
