"""Installs real VS Code for the tests, twice: as code-server ships it, and with its gate on proposed APIs put back.

Never installs twice what is there: each step leaves a mark, and a run that was cut short goes on where it stopped.

`python tests/vscode/install.py` does it, and exits with 77 where something is not to be had on this machine; the
folder is `.cache/vscode` of the checkout. It takes some four minutes, most of which go into compiling VS Code's native
modules, and needs npm, Debian's packages and a C++ compiler.

code-server lets every extension use proposed APIs. On a person's machine they throw unless the extension is one of
Microsoft's. The copy called `gated` behaves as a person's VS Code does; what works only on the other one does not work.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "vscode"
VERSION = "4.139.1"  # code-server's; VS Code itself is 1.139.1
NODE = "24"
"""The major version that this code-server runs on."""
AXE = "4"

OPEN = CACHE / "open" / "node_modules" / "code-server"
GATED = CACHE / "gated" / "node_modules" / "code-server"
GATED_FILES = (
    "out/vs/code/browser/workbench/workbench.js",
    "out/vs/workbench/api/node/extensionHostProcess.js",
    "out/vs/workbench/api/worker/extensionHostWorkerMain.js",
    "out/server-main.js",
)
"""Where proposed APIs are checked: for what a manifest asks, and for what is called."""

MISSING = "CANNOT use API proposal"
_GATE = re.compile(
    # function Oe(i,e){return!0} function uc(i,e){if(!Oe(i,e))throw new Error(`…CANNOT use API proposal: …
    r"function (?P<open>[\w$]+)\((?P<extension>[\w$]+),(?P<proposal>[\w$]+)\)\{return!0\}"
    r"(?=function [\w$]+\((?P<a>[\w$]+),(?P<b>[\w$]+)\)\{if\(!(?P=open)\((?P=a),(?P=b)\)\)throw new Error\([^)]{0,120}"
    + MISSING
    + r")"
)


class CannotInstall(Exception):
    """Something is not to be had here; the message says what, and what to do."""


class NoGate(CannotInstall):
    """The gate on proposed APIs is not where it is known to be: a fault of ours, wherever it happens."""


NOT_HERE = 77
"""The exit status where something is not to be had on this machine, so that CI can tell it from a fault of ours."""


def node() -> Path:
    """The Node.js that runs VS Code."""
    return CACHE / "node" / "node_modules" / _node_package() / "bin" / "node"


def chromium() -> Path | None:
    """The browser that VS Code is looked at with."""
    found = os.environ.get("GLM_LSP_TEST_CHROMIUM") or shutil.which("chromium")
    return Path(found) if found else None


def axe() -> Path:
    """What looks for barriers in a page."""
    return CACHE / "axe" / "node_modules" / "axe-core" / "axe.min.js"


def missing() -> list[str]:
    """What is not installed yet, in words."""
    return [step.what for step in _steps() if not step.done()]


def install() -> None:
    """Installs what is missing.

    Raises:
        CannotInstall: something is not to be had here.
    """
    for step in _steps():
        if step.done():
            continue
        began = time.monotonic()
        print(f"{step.what} …", flush=True)
        step.run()
        step.mark()
        print(f"  {time.monotonic() - began:.0f} s", flush=True)


class _Step:
    """Something to install, and the mark that it was."""

    def __init__(self, name: str, what: str, key: str, run: Callable[[], None], *, there: Callable[[], bool]) -> None:
        self.what = what
        self.run = run
        self._there = there
        self._mark = CACHE / f".{name}"
        self._key = key

    def done(self) -> bool:
        return self._there() and self._mark.exists() and self._mark.read_text() == self._key

    def mark(self) -> None:
        if not self._there():
            raise CannotInstall(f"{self.what}: that ended without a fault and without a result.")
        self._mark.write_text(self._key)


def _steps() -> Sequence[_Step]:
    key = f"{VERSION} {node().parent.parent.name}"
    return (
        _Step("debian", "Chromium and what VS Code's modules are compiled with", "1", _debian, there=_has_debian),
        _Step("node", f"Node.js {NODE}", NODE, _node, there=lambda: node().exists()),
        _Step("package", f"code-server {VERSION}", key, _code_server, there=OPEN.exists),
        _Step("modules", "VS Code's modules", key, lambda: _modules("lib/vscode"), there=OPEN.exists),
        _Step(
            "extensions",
            "The modules of its own extensions",
            key,
            lambda: _modules("lib/vscode/extensions"),
            there=OPEN.exists,
        ),
        _Step("gate", "The copy with the gate on proposed APIs", f"{key} 2", _gate, there=GATED.exists),
        _Step("axe", f"axe-core {AXE}", AXE, _axe, there=lambda: axe().exists()),
    )


def _has_debian() -> bool:
    return bool(chromium() and shutil.which("c++") and shutil.which("make") and _has_kerberos())


def _has_kerberos() -> bool:
    return any(Path(where, "gssapi/gssapi.h").exists() for where in ("/usr/include", "/usr/local/include"))


def _debian() -> None:
    packages = ["chromium", "libkrb5-dev", "build-essential", "fonts-dejavu-core"]
    by_hand = f"Install by hand: apt-get install {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise CannotInstall(f"This machine has no apt-get. {by_hand} (or what these are called here).")
    if os.geteuid() != 0:
        raise CannotInstall(f"Only root can install Debian's packages. {by_hand}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-q"], environment, hint=by_hand)
    _run(["apt-get", "install", "-qy", "--no-install-recommends", *packages], environment, hint=by_hand)


def _node_package() -> str:
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"node-{sys.platform}-{machine}"


def _node() -> None:
    _npm("node", f"{_node_package()}@{NODE}")


def _axe() -> None:
    _npm("axe", f"axe-core@{AXE}")


def _code_server() -> None:
    _npm("open", f"code-server@{VERSION}")


def _modules(folder: str) -> None:
    environment = {
        **os.environ,
        "PATH": f"{node().parent}{os.pathsep}{_npm_program().parent}{os.pathsep}{os.environ['PATH']}",
        "npm_config_nodedir": str(node().parent.parent),
    }
    script = (_npm_program().parent / "npm").resolve()
    _run(
        [str(script), "install", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"],
        environment,
        folder=OPEN / folder,
        hint="npm compiles native modules: is the registry reached, and is there a C++ compiler?",
    )


def _gate() -> None:
    place = CACHE / "gated"
    shutil.rmtree(place, ignore_errors=True)
    # Hard links: the two copies differ in two files of some 600 MB.
    shutil.copytree(CACHE / "open", place, symlinks=True, copy_function=os.link)
    for name in GATED_FILES:
        file = GATED / "lib" / "vscode" / name
        text = file.read_text()
        file.unlink()  # or the writing below would reach the other copy through the link
        file.write_text(put_gate_back(text, name))


def put_gate_back(text: str, name: str) -> str:
    """The bundle with its check on proposed APIs.

    Raises:
        NoGate: the check is not where it was in the versions that are known.
    """
    changed, count = _GATE.subn(
        lambda found: (
            f"function {found['open']}({found['extension']},{found['proposal']})"
            f"{{return!!({found['extension']}.enabledApiProposals&&"
            f"{found['extension']}.enabledApiProposals.includes({found['proposal']}))}}"
        ),
        text,
    )
    if count != 1:
        around = text.find(MISSING)
        raise NoGate(
            f"The gate on proposed APIs was found {count} times in {name} of code-server {VERSION}, not once.\n"
            f"Look there: …{text[max(0, around - 300) : around + 60]}…"
        )
    return changed


def _npm_program() -> Path:
    beside = Path(sys.executable).parent / "npm"
    if beside.exists():
        return beside
    found = shutil.which("npm")
    if found is None:
        raise CannotInstall("npm is not there: `make setup` installs it with the development's packages.")
    return Path(found)


def _npm(folder: str, package: str) -> None:
    place = CACHE / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "package.json").write_text(json.dumps({"private": True}))
    _run(
        [
            *(str(_npm_program()), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
            *("--prefix", str(place), package),
        ],
        dict(os.environ),
        folder=place,
        hint="Is npm's registry reached from here?",
    )


def _run(command: Sequence[str], environment: dict[str, str], *, hint: str, folder: Path = ROOT) -> None:
    log = CACHE / "install.log"
    CACHE.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        output.write(f"\n$ {' '.join(command)}   (in {folder})\n")
        output.flush()
        done = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise CannotInstall(f"`{' '.join(command)}` failed ({done.returncode}).\n{tail}\n{hint}\nThe whole log: {log}")


if __name__ == "__main__":
    try:
        install()
    except CannotInstall as error:
        print(f"VS Code cannot be installed for the tests: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, NoGate) else NOT_HERE)
