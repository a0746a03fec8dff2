"""Someone at a real VS Code: a server of one of the two copies, its windows in Chromium, and what one does in them.

Never knows a part of the extension by more than what a person sees, and what any extension can ask VS Code.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
from playwright.sync_api import Error, expect, sync_playwright

from vscode import install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ElementHandle, Frame, Locator, Page

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
EXTENSION = "glm-lsp.glm-lsp"
_CHROMIUM = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--font-render-hinting=none"),
    # A window that is not in front is drawn all the same: two windows side by side are two persons.
    *("--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"),
    "--disable-background-timer-throttling",
)
COPIES = {"open": install.OPEN, "gated": install.GATED}
QUIET: dict[str, Any] = {
    "telemetry.telemetryLevel": "off",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.welcomePage.walkthroughs.openOnInstall": False,
    "workbench.enableExperiments": False,
    "extensions.autoUpdate": False,
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "update.mode": "none",
    "window.commandCenter": True,
    "workbench.reduceMotion": "on",
    "editor.minimap.enabled": False,
    "files.autoSave": "off",
    "git.openRepositoryInParentFolders": "never",
    "security.workspace.trust.enabled": False,
    "chat.commandCenter.enabled": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
}
"""Settings of a VS Code that does nothing of its own accord while a test looks at it."""


def until(what: str, look: Callable[[], T], *, seconds: float = 30) -> T:
    """Looks until there is something to see, and says what was not there."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"Not within {seconds:.0f} s: {what}. Last seen: {seen!r}")
        time.sleep(0.05)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; `GLM_LSP_HEADED=1` shows it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=install.chromium(), headless=not os.environ.get("GLM_LSP_HEADED"), args=[*_CHROMIUM]
        )
        yield browser
        browser.close()


def packed(folder: Path) -> Path:
    """The extension as it is published; quicker than `make vsix`, which also looks at types and runs the unit tests.

    Raises:
        RuntimeError: it cannot be made.
    """
    ours, made = install.ROOT / "editor-clients" / "vscode", folder / "glm-lsp.vsix"
    python, npm = sys.executable, str(Path(sys.executable).with_name("npm"))
    if not list(ours.glob("wheels/*.whl")):
        _run([python, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(ours / "wheels"), "."])
    _run([npm, "--prefix", str(ours), "run", "package", "--", "--out", str(made)])
    return made


def _run(command: list[str]) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=install.ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        raise RuntimeError(f"`{' '.join(command)}` failed; `make vsix` says more:\n{said}")


def extensions(folder: Path, vsix: Path | None) -> Path:
    """A folder of extensions: ours as it is published, and the door."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "door", folder / "tests.door-1.0.0")
    if vsix is not None:
        with zipfile.ZipFile(vsix) as archive:
            names = [name for name in archive.namelist() if name.startswith("extension/")]
            archive.extractall(folder / "unpacked", names)
        (folder / "unpacked" / "extension").rename(folder / f"{EXTENSION}-0.0.0")
        (folder / "unpacked").rmdir()
    return folder


class VSCode:
    """A VS Code on one machine of one person, with nothing in it from before.

    Everything that it keeps is under `tmp`; processes end with `close`.

    Attributes:
        copy: `open` or `gated`.
        root: the workspace, a folder that is there.
        environment: what its processes see; change it before the first window.
        settings: the person's settings; change them before the first window, or call `save_settings` after.
    """

    def __init__(self, copy: str, tmp: Path, browser: Browser, extensions: Path) -> None:
        self.copy = copy
        self.tmp = tmp
        self.root = tmp / "work"
        self.root.mkdir(parents=True, exist_ok=True)
        self.data = tmp / "data"
        self.doors = Path(f"/tmp/glm-doors-{os.getpid()}-{next(_numbers)}")  # a socket's path has room for 107 bytes
        self.doors.mkdir(mode=0o700)
        self.settings = dict(QUIET)
        self.windows: list[Window] = []
        home = tmp / "home"
        home.mkdir(exist_ok=True)
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("GLM_LSP_", "VSCODE_", "ELECTRON_", "NO_COLOR", "FORCE_COLOR"))
            },
            "HOME": str(home),
            "GLM_LSP_STATE_DIR": str(tmp / "state"),
            "XDG_CONFIG_HOME": str(tmp / "config"),
            "XDG_CACHE_HOME": str(tmp / "cache"),
            "XDG_DATA_HOME": str(tmp / "share"),
            "TEST_DOORS": str(self.doors),
        }
        self._browser = browser
        self._extensions = extensions
        self._server: subprocess.Popen[bytes] | None = None
        self._context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
        self._context.set_default_timeout(20_000)
        self._context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.url = ""

    def start(self) -> None:
        """Starts the server; the first window does so too."""
        if self._server is not None:
            return
        self.save_settings()
        self._log = (self.tmp / "vscode.log").open("wb")
        self._server = subprocess.Popen(
            [
                *(str(install.node()), str(COPIES[self.copy] / "lib" / "vscode" / "out" / "server-main.js")),
                *("--host", "127.0.0.1", "--port", "0", "--without-connection-token"),
                *("--accept-server-license-terms", "--disable-telemetry", "--enable-smoke-test-driver"),
                # A page that is closed may have no time left to say so; its extension host then waits for it this long.
                *("--reconnection-grace-time", "10"),
                "--force-disable-user-env",  # what a login shell of this machine sets is no part of a test
                *("--server-data-dir", str(self.data), "--extensions-dir", str(self._extensions)),
            ],
            cwd=self.tmp,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.url = until("VS Code's server says where it listens", self._address)

    def _address(self) -> str:
        assert self._server is not None
        text = (self.tmp / "vscode.log").read_text(errors="replace")
        assert self._server.poll() is None, text
        found = re.search(r"Extension host agent listening on (\d+)", text)
        return f"http://127.0.0.1:{found[1]}" if found else ""

    def save_settings(self) -> None:
        """Writes the person's settings: those of the extension also as this machine's, where some of them belong."""
        ours = {key: value for key, value in self.settings.items() if key.startswith("glm.")}
        for name, values in (("User", self.settings), ("Machine", ours)):
            file = self.data / "data" / name / "settings.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values, indent=2))

    def engine(self, *replies: dict[str, Any], **more: Any) -> None:
        """Has the server use a scripted engine (`glm_lsp/engine/scripted.py`); before the first window."""
        script = self.tmp / "script.json"
        script.write_text(json.dumps({"replies": replies, **more}))
        self.use(f"scripted:{script}")

    def use(self, url: str) -> None:
        """Has the server use this engine; before the first window."""
        self.environment["GLM_LSP_ENGINE_URL"] = url

    def has(self, name: str, text: str) -> Path:
        """Puts a file into the workspace."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name: str) -> str:
        """What is on the disk."""
        return (self.root / name).read_bytes().decode()

    def open(self, folder: Path | None = None, **query: str) -> Window:
        """Opens a window on the workspace or on another folder, and waits until its extension host is there."""
        self.start()
        before = set(self.doors.iterdir())
        place = {"workspace" if folder and folder.suffix == ".code-workspace" else "folder": str(folder or self.root)}
        page = self._context.new_page()
        window = Window(self, page)
        self.windows.append(window)
        page.goto(f"{self.url}/?{urllib.parse.urlencode({**place, **query})}", wait_until="commit")
        page.wait_for_selector(".monaco-workbench .part.statusbar", timeout=60_000)
        window.door = until(
            "the window's extension host", lambda: next(iter(set(self.doors.iterdir()) - before), None), seconds=60
        )
        return window

    def speak(self, language: str) -> None:
        """Has windows that are opened from now on say that they speak another language, such as `zh-cn`.

        VS Code's own words stay English, since its language packs are not here; extensions get what they have.
        """
        fixed = f"{{ get: () => {json.dumps(language)}, set: () => {{}} }}"
        self._context.add_init_script(f"Object.defineProperty(globalThis, '_VSCODE_NLS_LANGUAGE', {fixed})")

    def processes(self, words: str = "") -> list[psutil.Process]:
        """The processes below VS Code's server whose command lines hold these words."""
        if self._server is None:
            return []
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._server.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if words in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def servers(self) -> list[psutil.Process]:
        """The language servers that its windows run."""
        return [process for process in self.processes("glm-lsp") if "--stdio" in process.cmdline()]

    def logs(self) -> str:
        """What our extension and server wrote into VS Code's output."""
        folder = self.data / "data" / "logs"
        files = sorted(file for file in folder.rglob("*.log") if "glm" in f"{file}".lower())
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')}" for file in files)

    def keep(self, folder: Path) -> None:
        """Keeps for a person what explains a failure: a picture of every window, and all logs."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, window in enumerate(self.windows, 1):
            with contextlib.suppress(Error):
                window.page.screenshot(path=folder / f"window-{number}.png", timeout=5000)
            (folder / f"window-{number}.console.txt").write_text("\n".join(window.console))
        with contextlib.suppress(OSError):
            shutil.copytree(self.data / "data" / "logs", folder / "logs")
            shutil.copy(self.tmp / "vscode.log", folder)

    def close(self) -> None:
        """Closes its windows and ends its processes."""
        for window in self.windows:
            window.close()
        self._context.close()
        if self._server is not None:
            # Language servers end as they do when an editor goes; VS Code itself has nothing to finish.
            ours = self.servers()
            theirs = [psutil.Process(self._server.pid), *(each for each in self.processes() if each not in ours)]
            _end(ours, psutil.Process.terminate)
            _end(theirs, psutil.Process.kill)
            _end(ours, psutil.Process.kill)
            self._server.wait(10)
            self._log.close()
        shutil.rmtree(self.doors, ignore_errors=True)


def _end(processes: list[psutil.Process], how: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            how(process)
    psutil.wait_procs(processes, timeout=5)


_numbers = itertools.count(1)


class Window:
    """A window of VS Code.

    Attributes:
        page: its page, for whatever is not here.
        door: the socket into its extension host.
        console: what its page wrote into the browser's console.
    """

    door: Path

    def __init__(self, vscode: VSCode, page: Page) -> None:
        self.vscode = vscode
        self.page = page
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"page error: {error}"))

    # --- in the extension host

    def host(self, source: str, *, seconds: float = 30, **args: Any) -> Any:
        """Runs JavaScript in the extension host, as the body of an async function.

        It sees `vscode`, `args`, `require` and `kept`, an object that is there for later calls. What it returns
        comes back through JSON; what it throws is raised here.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(self.door))
            connection.sendall(json.dumps({"source": source, "args": args}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def command(self, name: str, *arguments: Any) -> Any:
        """Runs a command by its name and waits for its end."""
        return self.host(
            "const r = await vscode.commands.executeCommand(args.name, ...args.rest);"
            "try { JSON.stringify(r); return r; } catch { return null; }",
            name=name,
            rest=arguments,
        )

    def active(self, extension: str = EXTENSION) -> None:
        """Waits until an extension is active."""
        until(
            f"{extension} is active",
            lambda: self.host("return vscode.extensions.getExtension(args.id)?.isActive", id=extension),
            seconds=60,
        )

    def text(self, name: str = "") -> str:
        """What the editor holds of a file, saved or not; of the active one without a name."""
        path = str(self.vscode.root / name) if name else ""
        return self.host(
            "const all = vscode.workspace.textDocuments;"
            "const doc = args.path ? all.find(d => d.uri.scheme === 'file' && d.uri.fsPath === args.path)"
            " : vscode.window.activeTextEditor?.document;"
            "if (!doc) throw new Error('not open: ' + args.path + ' among ' + all.map(d => d.uri)); return doc.getText()",
            path=path,
        )

    def holds(self, text: str, name: str = "") -> None:
        """Waits until the editor holds just this: what is typed reaches the extension host a moment later."""
        with contextlib.suppress(AssertionError):
            until("the text", lambda: self.text(name) == text, seconds=15)
        assert self.text(name) == text

    def problems(self, name: str = "") -> list[dict[str, Any]]:
        """The diagnostics of a file, or of all."""
        return self.host(
            "const plain = (uri, found) => found.map(d => ({path: uri.fsPath, line: d.range.start.line + 1,"
            " message: d.message, source: d.source, severity: d.severity,"
            " code: typeof d.code === 'object' ? d.code?.value : d.code}));"
            "return vscode.languages.getDiagnostics().flatMap(([uri, found]) =>"
            " !args.path || uri.fsPath === args.path ? plain(uri, found) : [])",
            path=str(self.vscode.root / name) if name else "",
        )

    def standing(self) -> str:
        """What the status bar says of the extension."""
        item = self.page.locator(f"[id='{EXTENSION}.glm-lsp.status']")
        return item.inner_text().strip() if item.count() else ""

    # --- with the keyboard and the mouse

    def keys(self, *keys: str) -> None:
        """Presses keys, each as Playwright spells it: `Control+Shift+P`."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Types where the focus is."""
        self.page.keyboard.type(text)

    def run(self, title: str) -> None:
        """Runs a command by its title from the command palette, as a person does."""
        self.keys("F1")
        box = self.page.locator(".quick-input-widget input[type=text]")
        box.wait_for()
        box.fill(f">{title}")
        row = self.page.locator(".quick-input-list .monaco-list-row").filter(has_text=title).first
        row.wait_for()
        row.click()

    def pick(self, text: str) -> None:
        """Picks a row of the list that VS Code shows at its top."""
        row = self.page.locator(".quick-input-list .monaco-list-row").filter(has_text=text).first
        row.wait_for()
        row.click()

    def answer(self, text: str) -> None:
        """Types into the box that VS Code shows at its top, and Enter."""
        box = self.page.locator(".quick-input-widget input[type=text]")
        box.wait_for()
        box.fill(text)
        self.keys("Enter")

    def edit(self, name: str, line: int = 1, column: int = 1, *, to: tuple[int, int] | None = None) -> None:
        """Opens a file with the cursor, or a selection, at a place counted from 1, and puts the focus there."""
        self.host(
            "const doc = await vscode.workspace.openTextDocument(args.path);"
            "const [a, b, c, d] = args.at;"
            "const selection = new vscode.Selection(a - 1, b - 1, c - 1, d - 1);"
            "await vscode.window.showTextDocument(doc, {preview: false, selection})",
            path=str(self.vscode.root / name),
            at=[line, column, *(to or (line, column))],
        )
        self.page.locator(".editor-group-container.active .monaco-editor.focused").first.wait_for()

    def actions(self) -> list[str]:
        """Opens the menu of code actions at the cursor; its rows, or none with no menu open."""
        self.keys("Control+.")
        rows = self.page.locator(".action-widget .monaco-list-row.action")
        nothing = self.page.locator(".monaco-editor-overlaymessage")
        with contextlib.suppress(Error):  # it may be gone again before it was seen
            rows.first.or_(nothing.first).first.wait_for(timeout=3000)
        found = [text.strip() for text in rows.all_inner_texts()]
        if not found:
            self.keys("Escape")
        return found

    def act(self, title: str) -> None:
        """Picks a code action at the cursor by its title, as soon as it is offered."""
        until(f"the code action {title!r}", lambda: self._offers(title))
        self.page.locator(".action-widget .monaco-list-row.action").filter(has_text=title).first.click()

    def _offers(self, title: str) -> bool:
        found = self.actions()
        if any(title in each for each in found):
            return True
        if found:
            self.keys("Escape")
        time.sleep(0.3)
        return False

    def see(self, text: str | re.Pattern[str], *, within: str = "body", seconds: float = 30) -> Locator:
        """Waits until a text is to be seen in the window, outside web views."""
        found = self.page.locator(within).get_by_text(text).first
        expect(found).to_be_visible(timeout=seconds * 1000)
        return found

    def notice(self, text: str, *, button: str = "", seconds: float = 30) -> None:
        """Waits for a notification, also one that has gone into the list behind the bell, and presses one of its buttons."""
        toast = self.page.locator(".notification-toast, .notifications-center .notification-list-item")
        found = toast.filter(has_text=text)

        def shown() -> bool:
            if not found.count() and self.page.locator(".statusbar-item[id='status.notifications']").count():
                self.host("vscode.commands.executeCommand('notifications.showList')")
            return found.count() > 0

        until(f"a notification {text!r}", shown, seconds=seconds)
        if button:
            found.first.locator(".monaco-button").filter(has_text=button).first.click()

    def dialog(self, text: str, *, button: str = "") -> None:
        """Waits for a dialog box, and presses one of its buttons."""
        box = self.page.locator(".monaco-dialog-box").filter(has_text=text).first
        expect(box).to_be_visible(timeout=30_000)
        if button:
            box.locator(".monaco-button").filter(has_text=button).first.click()

    def frame(self, selector: str, *, seconds: float = 30) -> Frame:
        """The frame of a web view in which there is such an element."""
        return until(f"a web view with {selector}", lambda: self._frame(selector), seconds=seconds)

    def _frame(self, selector: str) -> Frame | None:
        for frame in self.page.frames:
            if frame is self.page.main_frame:
                continue
            with contextlib.suppress(Error):
                if frame.locator(selector).count():
                    return frame
        return None

    def frames(self) -> Iterator[Frame]:
        """The web views' frames."""
        for frame in self.page.frames:
            if frame.name.startswith("active-frame") or frame.name == "pending-frame":
                yield frame

    def barriers(self, frame: Frame) -> list[str]:
        """What axe-core finds in a web view that keeps someone out, in words."""
        element: ElementHandle = frame.frame_element()
        del element
        # Through the debugger's protocol, for the view's own policy forbids scripts that are not its own.
        frame.evaluate(install.axe().read_text() + ";0")
        found = frame.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['impact']}: {each['id']}: {each['help']}: {node['html'][:200]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def picture(self, path: Path, *, of: str = "") -> None:
        """Takes a picture of the window, or of a part of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if of:
            self.page.locator(of).first.screenshot(path=path)
        else:
            self.page.screenshot(path=path)

    def reload(self) -> None:
        """Reloads the window, as a person does."""
        before = set(self.vscode.doors.iterdir())
        self.page.reload(wait_until="commit")
        self.page.wait_for_selector(".monaco-workbench .part.statusbar", timeout=60_000)
        self.door = until(
            "the new extension host", lambda: next(iter(set(self.vscode.doors.iterdir()) - before), None), seconds=60
        )

    def close(self) -> None:
        """Closes the window, without a question about what was not saved."""
        with contextlib.suppress(Error):
            self.page.close()
