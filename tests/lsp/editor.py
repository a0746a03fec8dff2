"""A fake editor with a real server: it opens, types, chooses and answers as a person at an editor does.

Never forgives: what arrives and is not read, is not answered, or is not as the protocol has it, fails the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import subprocess
import sys
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote, unquote

from lsp import places
from lsp.profiles import OPTED_IN, PROFILES
from lsp.validator import Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GLM = str(Path(sys.executable).with_name("glm-lsp"))
TOKEN = "sesame"
ENOUGH = 20.0
"""Seconds after which something has gone wrong."""

MUST_BE_READ = {
    "window/showMessage",
    "window/showMessageRequest",
    "window/showDocument",
    "workspace/applyEdit",
    "glm/permission",
    "glm/question",
}
"""What a person sees; a story that does not say that they see it is wrong."""

SEEN_IN_PASSING = {
    "window/logMessage",
    "$/logTrace",
    "$/progress",
    "window/workDoneProgress/create",
    "workspace/configuration",
    "client/registerCapability",
    "workspace/codeLens/refresh",
    "workspace/diagnostic/refresh",
    "workspace/textDocumentContent/refresh",
    "textDocument/publishDiagnostics",
    "glm/turn/event",
    "glm/status/didChange",
}


class Refused(Exception):
    """The server answers with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


@dataclass
class Document:
    """An open document."""

    uri: str
    version: int
    text: str


class FakeEditor:
    """One editor on one folder, with a server of its own.

    Args:
        root: the folder.
        engine: replies of a script, or the address of an engine.
        script: further fields of the script.
        profile: which editor it is like.
        encoding: the only one it offers; None for those of its profile.
        glm: what it opts in to; True for everything.
        settings: what it answers to `workspace/configuration`, as nested objects.
        home: where the server keeps its own; a folder beside the root without it.
        capabilities: dotted names of capabilities and what to declare instead; None takes one away.
        environment: further variables of the server's.
        port: where a server listens already.
        client: what it calls itself; without it the name of the profile, which is that of no editor there is.
        own: whether it starts a server of its own, over pipes, though there is one that listens in `shared`.

    Attributes:
        shared: where a server listens that editors may share, since it keeps each one's session apart.
    """

    shared: ClassVar[int | None] = None

    def __init__(
        self,
        root: Path,
        engine: list[dict[str, Any]] | str = "",
        *,
        script: dict[str, Any] | None = None,
        profile: str = "vscode",
        encoding: str | None = None,
        glm: dict[str, Any] | bool | None = None,
        settings: dict[str, Any] | None = None,
        home: Path | None = None,
        capabilities: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        port: int | None = None,
        own: bool = False,
        client: str = "",
    ) -> None:
        self.root = root
        self._port = None if own else port or self.shared
        self.home = home or root.parent / "home"
        self.home.mkdir(exist_ok=True, parents=True)
        self.folders = [root]
        self.settings = settings or {}
        self.script = self.home / "script.json"
        if isinstance(engine, list):
            self.rewrite(*engine, **(script or {}))
            engine = f"scripted:{self.script}"
        self._engine = engine
        if self._port is not None and engine:
            self.settings = {**self.settings, "engine": {"url": engine}}
        self._environment = environment or {}
        self.capabilities = copy.deepcopy(PROFILES[profile])
        if encoding is not None:
            self.capabilities.setdefault("general", {})["positionEncodings"] = [encoding]
        if glm:
            self.capabilities["experimental"] = {"glm": dict(OPTED_IN) if glm is True else glm}
        for name, value in (capabilities or {}).items():
            *path, last = name.split(".")
            held = self.capabilities
            for step in path:
                held = held.setdefault(step, {})
            held[last] = value
            if value is None:
                del held[last]
        self.profile = profile
        self.client = client or profile
        self.validator = Validator(read=self._read_uri)
        self.server: dict[str, Any] = {}
        self.documents: dict[str, Document] = {}
        self.notebooks: dict[str, int] = {}
        self.resolved: list[dict[str, Any]] = []
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        self.progress: dict[int | str, list[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.unread: list[tuple[str, dict[str, Any]]] = []
        self.heard: list[dict[str, Any]] = []
        self.stderr = b""
        self._prepared: dict[str, deque[Any]] = defaultdict(deque)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = iter(range(1, 10**9))
        self._news = asyncio.Condition()
        self._selected = ("", (0, 0, 0, 0))
        self._offered: list[dict[str, Any]] = []

    def rewrite(self, *replies: dict[str, Any], **more: Any) -> None:
        """Gives the model another script, which an engine that is opened from now on reads."""
        self.script.write_text(json.dumps({"replies": replies, **more}))

    # --- coming and going ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._port is not None:
            self.process = None
            self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
            self._tasks = [asyncio.create_task(self._listen())]
        else:
            self.process = await asyncio.create_subprocess_exec(
                GLM,
                "--stdio",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.root,
                env=environment(self.home, self._engine) | self._environment,
                limit=2**24,
            )
            assert self.process.stdin
            assert self.process.stdout
            self._in, self._out = self.process.stdout, self.process.stdin
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._collect())]
        params = {
            "processId": os.getpid(),
            "clientInfo": {"name": self.client},
            "rootUri": self.uri("."),
            "capabilities": self.capabilities,
            "workspaceFolders": [{"uri": _uri(folder), "name": folder.name} for folder in self.folders],
            "initializationOptions": self.settings | ({"token": TOKEN} if self._port is not None else {}),
        }
        self.server = (await self.ask("initialize", params))["capabilities"]
        self.tell("initialized", {})
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await self.leave()
        finally:
            await self.kill()
        if kind is None:
            self.check()

    async def leave(self) -> None:
        """Ends as an editor does."""
        await self.ask("shutdown")
        self.tell("exit")
        if self.process is not None:
            assert await asyncio.wait_for(self.process.wait(), ENOUGH) == 0, self.stderr.decode()

    async def kill(self) -> None:
        """Ends as a computer does."""
        if self.process is not None:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()
        self._out.close()
        await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Fails for everything that was not as it should be."""
        self.validator.finish()
        left = [(method, params) for method, params in self.unread if method not in SEEN_IN_PASSING]
        assert not self.validator.complaints, self.validator.complaints
        assert not left, f"not read: {left}"
        unsaid = {name: list(held) for name, held in self._prepared.items() if held}
        assert not unsaid, f"never asked: {unsaid}"
        assert b"Traceback" not in self.stderr, self.stderr.decode()

    # --- documents -----------------------------------------------------------------------------------------------

    def uri(self, path: str) -> str:
        """The address of a file of the workspace, or of a cell, which is its own."""
        return path if path.startswith("vscode-notebook-cell:") else _uri(self.root / path)

    async def open(self, path: str, text: str | None = None) -> None:
        """Opens a file, which has another text in the editor if one is given."""
        content = _read(self.root / path) if text is None else text
        self._open(self.uri(path), content or "")
        await self.select(0, 0, path=path)

    def _open(self, uri: str, text: str) -> Document:
        document = self.documents[uri] = Document(uri, 1, text)
        language = {"py": "python", "js": "javascript", "md": "markdown"}.get(uri.rpartition(".")[2], "plaintext")
        self.tell(
            "textDocument/didOpen",
            {"textDocument": {"uri": uri, "languageId": language, "version": 1, "text": text}},
        )
        return document

    def open_notebook(self, path: str, *cells: tuple[str, str]) -> list[str]:
        """Opens a notebook with cells of a language and a text each; their addresses."""
        where = self.uri(path)
        self.notebooks[where] = 1
        found = [self._cell(where, f"W{number}sZmlsZQ%3D%3D", *cell) for number, cell in enumerate(cells)]
        notebook = {
            "uri": where,
            "notebookType": "jupyter-notebook",
            "version": 1,
            "cells": [{"kind": 2, "document": one["uri"]} for one in found],
        }
        self.tell("notebookDocument/didOpen", {"notebookDocument": notebook, "cellTextDocuments": found})
        return [one["uri"] for one in found]

    def add_cell(self, path: str, at: int, language: str, text: str) -> str:
        """Puts a new cell before the one at a number from 0; its address."""
        where = self.uri(path)
        cell = self._cell(where, f"X{at}sZmlsZQ%3D%3D", language, text)
        array = {"start": at, "deleteCount": 0, "cells": [{"kind": 2, "document": cell["uri"]}]}
        self._change_notebook(where, {"structure": {"array": array, "didOpen": [cell]}})
        return str(cell["uri"])

    def _cell(self, notebook: str, fragment: str, language: str, text: str) -> dict[str, Any]:
        uri = f"vscode-notebook-cell:{notebook.removeprefix('file://')}#{fragment}"
        self.documents[uri] = Document(uri, 1, text)
        return {"uri": uri, "languageId": language, "version": 1, "text": text}

    def _change_notebook(self, uri: str, cells: dict[str, Any]) -> None:
        self.notebooks[uri] += 1
        identity = {"uri": uri, "version": self.notebooks[uri]}
        self.tell("notebookDocument/didChange", {"notebookDocument": identity, "change": {"cells": cells}})

    async def close(self, path: str) -> None:
        """Closes a document without saving it."""
        self.tell("textDocument/didClose", {"textDocument": {"uri": self.uri(path)}})
        del self.documents[self.uri(path)]

    async def type(self, path: str, line: int, character: int, text: str, *, remove: int = 0) -> None:
        """Types at a place, after it removed some characters there; places count characters, not units."""
        document = self.documents[self.uri(path)]
        start = places.lines(document.text)[line][0] + character
        there = {
            "start": places.position(document.text, start, self.encoding),
            "end": places.position(document.text, start + remove, self.encoding),
        }
        self._edit(document, [{"range": there, "newText": text}])

    def _edit(self, document: Document, edits: list[dict[str, Any]]) -> None:
        document.text, ordered = places.edited(document.text, edits, self.encoding)
        document.version += 1
        changes = [{"range": edit["range"], "text": edit["newText"]} for edit in ordered]
        if ordered:
            identity = {"uri": document.uri, "version": document.version}
            if document.uri.startswith("vscode-notebook-cell:"):
                notebook = "file://" + document.uri.partition(":")[2].partition("#")[0]
                self._change_notebook(notebook, {"textContent": [{"document": identity, "changes": changes}]})
            else:
                self.tell("textDocument/didChange", {"textDocument": identity, "contentChanges": changes})

    async def text(self, path: str) -> str:
        """What the person sees in a file: its document, or the disk."""
        found = self._read_uri(self.uri(path))
        assert found is not None, f"there is no {path}"
        return found

    def on_disk(self, path: str) -> str:
        """What a file holds on the disk."""
        return (self.root / path).read_bytes().decode()

    @property
    def encoding(self) -> str:
        """Of positions, as the server chose."""
        return str(self.server.get("positionEncoding", "utf-16"))

    def _read_uri(self, uri: str) -> str | None:
        document = self.documents.get(uri)
        return document.text if document is not None else _read(_path(uri))

    # --- what a person does --------------------------------------------------------------------------------------

    async def select(
        self, line: int, character: int, end_line: int | None = None, end: int | None = None, *, path: str = ""
    ) -> None:
        """Puts the cursor somewhere, or selects from there to another place; places count characters."""
        where = self.uri(path) if path else self._selected[0]
        last = line if end_line is None else end_line
        self._selected = (where, (line, character, last, character if end is None else end))

    @property
    def selection(self) -> dict[str, Any]:
        """What is selected, as a range."""
        uri, (line, character, last, end) = self._selected
        text = self.documents[uri].text
        known = places.lines(text)
        ends = (known[line][0] + character, known[last][0] + end)
        return {name: places.position(text, at, self.encoding) for name, at in zip(("start", "end"), ends, strict=True)}

    async def actions(self, *only: str, diagnostics: list[dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
        """What the light bulb offers at the selection, by title."""
        uri = self._selected[0]
        context: dict[str, Any] = {"diagnostics": self.diagnostics.get(uri, []) if diagnostics is None else diagnostics}
        if only:
            context["only"] = list(only)
        params = {"textDocument": {"uri": uri}, "range": self.selection, "context": context}
        self._offered = await self.ask("textDocument/codeAction", params) or []
        return {action["title"]: action for action in self._offered}

    async def choose(self, words: str, **context: Any) -> dict[str, Any]:
        """Takes the first action that has these words in its title; what its command answers."""
        offered = await self.actions(**context)
        title = next((title for title in offered if words in title), None)
        assert title is not None, f"no {words!r} among {list(offered)}"
        action = offered[title]
        assert "disabled" not in action, action["disabled"]
        if "edit" not in action and "command" not in action:
            assert self.server["codeActionProvider"].get("resolveProvider"), "nothing to do, and nothing to ask for"
            return await self.resolve(action)
        command = action["command"]
        return dict(await self.run(command["command"], *command.get("arguments", ())))

    async def resolve(self, action: dict[str, Any]) -> dict[str, Any]:
        """Waits for the edit of an action, and makes it if there is one; the action as it was resolved."""
        action = dict(await self.ask("codeAction/resolve", action))
        self.resolved.append(action)
        if "edit" in action and await self._allows(action["edit"]):
            applied = self._apply(action["edit"])
            assert applied["applied"], applied
        return action

    async def _allows(self, edit: dict[str, Any]) -> bool:
        """Whether the person confirms an edit, where it asks for that."""
        annotations = (edit.get("changeAnnotations") or {}).values()
        if not any(one.get("needsConfirmation") for one in annotations):
            return True
        assert self._prepared["confirmation"], f"nobody says whether to confirm {annotations}"
        return bool(self._prepared["confirmation"].popleft())

    async def lenses(self, path: str) -> list[dict[str, Any]]:
        """The code lenses of a document."""
        return list(await self.ask("textDocument/codeLens", {"textDocument": {"uri": self.uri(path)}}) or ())

    async def run(self, command: str, *arguments: Any) -> Any:
        """Runs a command; its answer."""
        return await self.ask("workspace/executeCommand", {"command": command, "arguments": list(arguments)})

    def will(self, method: str, *answers: Any) -> None:
        """Prepares answers: a title for `window/showMessageRequest`, yes or no for `workspace/applyEdit`.

        An answer that is a function is called when the question comes, and answered when it gives something.
        """
        self._prepared[method].extend(answers)

    def will_choose(self, *titles: str | None) -> None:
        """Prepares what the person chooses when they are asked."""
        self.will("window/showMessageRequest", *titles)

    def read(self, method: str) -> list[dict[str, Any]]:
        """What arrived of one kind and was not read yet."""
        found = [params for name, params in self.unread if name == method]
        self.unread = [one for one in self.unread if one[0] != method]
        return found

    def messages(self) -> list[str]:
        """The sentences that were shown and not read yet."""
        return [params["message"] for params in self.read("window/showMessage")]

    def labels(self) -> list[str]:
        """The names of the edits that were applied or refused and not read yet."""
        return [params.get("label", "") for params in self.read("workspace/applyEdit")]

    async def quiet(self) -> dict[str, Any]:
        """Waits until no turn runs."""
        end = asyncio.get_running_loop().time() + ENOUGH
        while not (status := await self.ask("glm/status", {}))["quiescent"]:
            assert asyncio.get_running_loop().time() < end, f"still busy: {status}"
            await asyncio.sleep(0.01)
        return dict(status)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until something is so; looks after every message."""

        async def wait() -> Any:
            async with self._news:
                while not (found := condition()):
                    await self._news.wait()
                return found

        try:
            return await asyncio.wait_for(wait(), ENOUGH)
        except TimeoutError:
            last = [str(message)[:300] for message in self.heard[-5:]]
            raise AssertionError(f"it did not happen; last: {last}") from None

    def bars(self) -> dict[int | str, list[dict[str, Any]]]:
        """Progress bars, and all that they said."""
        return self.progress

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type, of all turns."""
        return [params["event"] for params in self.events if params["event"]["type"] == kind]

    # --- the wire ------------------------------------------------------------------------------------------------

    def tell(self, method: str, params: Any = None) -> None:
        """Sends a notification."""
        self._write({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params}))

    def begin(self, method: str, params: Any = None) -> int:
        """Sends a request, and gives its number."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"jsonrpc": "2.0", "id": number, "method": method}
        self._write(message | ({} if params is None else {"params": params}))
        return number

    async def answer(self, number: int) -> Any:
        """The result of a request; raises Refused for an error."""
        message = await asyncio.wait_for(asyncio.shield(self._waiting[number]), ENOUGH)
        if "error" in message:
            raise Refused(str(number), message["error"])
        return message["result"]

    async def ask(self, method: str, params: Any = None) -> Any:
        """Sends a request and waits for its result."""
        return await self.answer(self.begin(method, params))

    def cancel(self, number: int) -> None:
        """Takes a request back."""
        self.tell("$/cancelRequest", {"id": number})

    def _write(self, message: dict[str, Any]) -> None:
        self.validator.sent(message)
        body = json.dumps(message).encode()
        self._out.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def _listen(self) -> None:
        while header := await self._in.readline():
            name, _, length = header.partition(b": ")
            assert name == b"Content-Length", header
            assert await self._in.readline() == b"\r\n"
            message = json.loads(await self._in.readexactly(int(length)))
            self.validator.received(message)
            self.heard.append(message)
            if "method" not in message:
                waiting = self._waiting.get(message.get("id"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            elif "id" in message:
                self._answer_to(message)
            else:
                self._take(message["method"], message["params"])
            async with self._news:
                self._news.notify_all()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AssertionError(f"the server ended: {self.stderr.decode()}"))
                waiting.exception()

    async def _collect(self) -> None:
        assert self.process
        assert self.process.stderr
        while chunk := await self.process.stderr.read(65536):
            self.stderr += chunk

    def _take(self, method: str, params: dict[str, Any]) -> None:
        if method == "$/progress":
            self.progress.setdefault(params["token"], []).append(params["value"])
        elif method == "textDocument/publishDiagnostics":
            self.diagnostics[params["uri"]] = params["diagnostics"]
        elif method == "glm/turn/event":
            self.events.append(params)
        elif method == "glm/status/didChange":
            self.statuses.append(params)
        self._unread(method, params)

    def _unread(self, method: str, params: dict[str, Any]) -> None:
        if method not in SEEN_IN_PASSING:
            self.unread.append((method, params))

    # --- answers -------------------------------------------------------------------------------------------------

    def _answer_to(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params") or {}
        self._unread(method, params)
        held = self._prepared[method]
        prepared = held.popleft() if held else _UNPREPARED
        if isinstance(prepared, asyncio.Future):
            prepared.add_done_callback(lambda done: self._respond(message, done.result()))
        else:
            self._respond(message, prepared)

    def _respond(self, message: dict[str, Any], prepared: Any) -> None:
        method, params = message["method"], message.get("params") or {}
        result: Any = None
        if method == "workspace/applyEdit":
            yes = prepared is _UNPREPARED or bool(prepared)
            if any(one.get("needsConfirmation") for one in (params["edit"].get("changeAnnotations") or {}).values()):
                assert prepared is not _UNPREPARED, "nobody says whether to confirm this"
            result = self._apply(params["edit"]) if yes else {"applied": False}
        elif method == "window/showMessageRequest":
            result = {"title": prepared} if isinstance(prepared, str) else None
        elif method == "window/showDocument":
            result = {"success": prepared is _UNPREPARED or bool(prepared)}
        elif method == "workspace/configuration":
            result = [self.settings or None for _ in params["items"]]
        elif method == "glm/permission":
            result = {"answer": "no" if prepared is _UNPREPARED else prepared}
        elif method == "glm/question":
            result = {} if prepared is _UNPREPARED else {"answer": prepared}
        elif method not in SEEN_IN_PASSING:
            error = {"code": -32601, "message": f"no {method}"}
            self._write({"jsonrpc": "2.0", "id": message["id"], "error": error})
            return
        self._write({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _apply(self, edit: dict[str, Any]) -> dict[str, Any]:
        """Applies all of an edit or nothing: first it is tried on copies."""
        steps = edit.get("documentChanges")
        if steps is None:
            changes = (edit.get("changes") or {}).items()
            steps = [{"textDocument": {"uri": uri, "version": None}, "edits": edits} for uri, edits in changes]
        shadow: dict[str, str | None] = {}

        def now(uri: str) -> str | None:
            return shadow[uri] if uri in shadow else self._read_uri(uri)

        for number, step in enumerate(steps):
            why = self._try(step, now, shadow)
            if why:
                return {"applied": False, "failureReason": why, "failedChange": number}
        for step in steps:
            self._make(step)
        return {"applied": True}

    def _try(self, step: dict[str, Any], now: Callable[[str], str | None], shadow: dict[str, str | None]) -> str:
        kind = step.get("kind")
        options = step.get("options") or {}
        if kind == "create":
            if now(step["uri"]) is not None and not (options.get("overwrite") or options.get("ignoreIfExists")):
                return f"{step['uri']} is there already"
            shadow[step["uri"]] = ""
        elif kind == "rename":
            if now(step["newUri"]) is not None:
                return f"{step['newUri']} is there already"
            shadow[step["newUri"]], shadow[step["oldUri"]] = now(step["oldUri"]), None
        elif kind == "delete":
            if now(step["uri"]) is None:
                return f"{step['uri']} is not there"
            shadow[step["uri"]] = None
        else:
            uri, version = step["textDocument"]["uri"], step["textDocument"]["version"]
            text = now(uri)
            document = self.documents.get(uri)
            if text is None:
                return f"{uri} is not there"
            if version is not None and (document is None or document.version != version):
                return f"{uri} is not at version {version}"
            try:
                shadow[uri], _ = places.edited(text, step["edits"], self.encoding)
            except ValueError as error:
                return str(error)
        return ""

    def _make(self, step: dict[str, Any]) -> None:
        kind = step.get("kind")
        if kind == "create":
            path = _path(step["uri"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        elif kind in ("rename", "delete"):
            uri = step.get("oldUri") or step["uri"]
            shown = self.documents[uri].text if uri in self.documents else None
            if uri in self.documents:
                self.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
                del self.documents[uri]
            if kind == "delete":
                _path(uri).unlink()
            else:
                _path(step["newUri"]).parent.mkdir(parents=True, exist_ok=True)
                _path(uri).rename(_path(step["newUri"]))
                if shown is not None:
                    self._open(step["newUri"], shown)
        else:
            uri = step["textDocument"]["uri"]
            document = self.documents.get(uri) or self._open(uri, _read(_path(uri)) or "")
            self._edit(document, step["edits"])


_UNPREPARED = object()


@contextlib.contextmanager
def listening(home: Path) -> Iterator[int]:
    """A server that any number of editors connect to; its port."""
    with subprocess.Popen(
        [GLM, "serve", "--tcp", "--token", TOKEN],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        try:
            yield int(server.stdout.readline().strip().rpartition(":")[2])
        finally:
            server.kill()


def environment(home: Path, engine: str = "") -> dict[str, str]:
    """The variables of a server that keeps its own in `home`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GLM_LSP_", "NO_COLOR", "FORCE_COLOR"))}
    ours = {
        "GLM_LSP_STATE_DIR": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_STATE_HOME": str(home / "state"),
    }
    return clean | ours | ({"GLM_LSP_ENGINE_URL": engine} if engine else {})


def _uri(path: Path) -> str:
    return "file://" + quote(str(path.resolve() if str(path).endswith(".") else path), safe="/")


def _path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except OSError:
        return None
