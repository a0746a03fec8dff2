"""Listens to a client and a server, and complains of every message that either of them should not have sent.

Never stops anything: complaints are collected, and whoever listens decides when to look at them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import attrs
from lsp import places, rules
from lsp.shapes import misfits
from lsprotocol import types

from glm_lsp.server import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Way = Literal["to server", "to client"]
Id = int | str

BEFORE_INITIALIZED = {"window/showMessage", "window/logMessage", "window/showMessageRequest", "telemetry/event"}
_BARS = {
    "begin": types.WorkDoneProgressBegin,
    "report": types.WorkDoneProgressReport,
    "end": types.WorkDoneProgressEnd,
}
_WAYS = {"clientToServer": ("to server",), "serverToClient": ("to client",), "both": ("to server", "to client")}


def on_disk(_uri: str) -> str | None:
    """What a validator knows of files that are not open, unless it is told more: nothing."""
    return None


@dataclass
class Validator:
    """Both directions of one connection.

    Args:
        read: the text of a file that is not open, by its address; None where there is none.

    Attributes:
        complaints: all that was wrong, oldest first.
    """

    read: Callable[[str], str | None] = on_disk
    complaints: list[str] = field(default_factory=list)
    capabilities: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    encoding: str = "utf-16"
    _state: str = "new"
    _open: dict[Way, dict[Id, _Asked]] = field(default_factory=lambda: {"to server": {}, "to client": {}})
    _used: dict[Way, set[Id]] = field(default_factory=lambda: {"to server": set(), "to client": set()})
    _texts: dict[str, dict[int, str]] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _bars: dict[Id, str] = field(default_factory=dict)
    _partials: set[Id] = field(default_factory=set)
    _registered: set[str] = field(default_factory=set)
    turns: rules.TurnRules = field(default_factory=lambda: rules.TurnRules(None))

    # --- what is heard -------------------------------------------------------------------------------------------

    def sent(self, message: Any) -> None:
        """The client says something."""
        self._heard(message, "to server")

    def received(self, message: Any) -> None:
        """The server says something."""
        self._heard(message, "to client")

    def finish(self) -> None:
        """Nobody says anything more: nothing may be left open."""
        for way, asked in self._open.items():
            for number, one in asked.items():
                self._complain(f"{one.method} ({number!r}, {way}) was never answered")
        for token, state in self._bars.items():
            if state == "begun":
                self._complain(f"the progress {token!r} never ends")
        for complaint in self.turns.end():
            self._complain(complaint)

    def _complain(self, what: str) -> None:
        self.complaints.append(what)

    def _heard(self, message: Any, way: Way) -> None:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._complain(f"{way}: this is no message: {str(message)[:200]}")
            return
        known = {"jsonrpc", "id", "method", "params"} if "method" in message else {"jsonrpc", "id", "result", "error"}
        if extra := set(message) - known:
            self._complain(f"{way}: a message has {sorted(extra)}")
        if "method" in message:
            self._message(message, way)
        else:
            self._response(message, way)

    def _message(self, message: dict[str, Any], way: Way) -> None:
        method, params, number = message["method"], message.get("params"), message.get("id")
        kind = "request" if "id" in message else "notification"
        standing = self._kind_of(method)
        if standing is None:
            self._complain(f"{way}: there is no {method!r}")
            return
        ways, is_request, hint = standing
        if way not in ways:
            self._complain(f"{method} is not sent {way}")
        if is_request != (kind == "request"):
            self._complain(f"{method} is sent as a {kind}")
        if "id" in message and (not isinstance(number, int | str) or isinstance(number, bool)):
            self._complain(f"{method}: the id is {number!r}")
            return
        wrong = self._misfits(params, hint, method) if hint is not None else []
        if hint is None and params not in (None, {}):
            wrong = [f"{method} takes no params"]
        self._in_order(method, way)
        if kind == "request":
            if number in self._open[way] or number in self._used[way]:
                self._complain(f"{way}: the id {number!r} is used again")
            self._open[way][number] = _Asked(method, params, dict(self._versions))
            self._used[way].add(number)
        if wrong:
            return  # what has not the shape cannot be looked at
        for complaint in (self._from_client if way == "to server" else self._from_server)(method, params or {}):
            self._complain(f"{method}: {complaint}")

    def _response(self, message: dict[str, Any], way: Way) -> None:
        asked_way: Way = "to server" if way == "to client" else "to client"
        number = message.get("id")
        asked = self._open[asked_way].get(number) if isinstance(number, int | str) else None
        if asked is None or type(number) is not type(next(n for n in self._open[asked_way] if n == number)):
            again = "again" if number in self._used[asked_way] else "and was never asked"
            self._complain(f"{way}: {number!r} is answered {again}")
            return
        del self._open[asked_way][number]
        if ("result" in message) == ("error" in message):
            self._complain(f"{asked.method}: a response has either a result or an error")
            return
        if "error" in message:
            self._misfits(message["error"], types.ResponseError, f"{asked.method} error")
            if asked.method == "initialize":
                self._state = "new"
            return
        result = message["result"]
        if self._misfits(result, self._result_of(asked.method), f"{asked.method} result"):
            return
        for complaint in self._answered(asked, result, way):
            self._complain(f"{asked.method} result: {complaint}")

    # --- shapes --------------------------------------------------------------------------------------------------

    def _kind_of(self, method: str) -> tuple[tuple[str, ...], bool, Any] | None:
        """Which ways a message goes, whether it is a request, and what its params are."""
        if (ours := wire.MESSAGES.get(method)) is not None:
            return (ours.direction,), ours.kind == "request", ours.params
        if method not in types.METHOD_TO_TYPES:
            return None
        message, response, params, _ = types.METHOD_TO_TYPES[method]
        if params is None and message is not None:
            hint = attrs.fields_dict(message).get("params")
            params = None if hint is None or hint.type is None else hint.type
            params = None if params is not None and type(None) in getattr(params, "__args__", ()) else params
        return _WAYS[types.message_direction(method)], response is not None, params

    def _result_of(self, method: str) -> Any:
        if (ours := wire.MESSAGES.get(method)) is not None:
            return ours.result
        response = types.METHOD_TO_TYPES[method][1]
        return attrs.fields_dict(attrs.resolve_types(response, vars(types)))["result"].type

    def _misfits(self, value: Any, hint: Any, what: str) -> list[str]:
        wrong = [text for _, text in misfits(value, hint)]
        for text in wrong:
            self._complain(f"{what}: {text}")
        return wrong

    # --- order ---------------------------------------------------------------------------------------------------

    def _in_order(self, method: str, way: Way) -> None:
        if way == "to client":
            if self._state in ("new", "initializing") and method not in BEFORE_INITIALIZED | {"$/progress"}:
                self._complain(f"{method} comes before the answer to initialize")
        elif method == "initialize":
            if self._state != "new":
                self._complain("initialize is sent again")
            self._state = "initializing"
        elif method == "exit":
            pass
        elif self._state in ("new", "initializing") and method != "$/cancelRequest":
            self._complain(f"{method} is sent before initialize was answered")
        elif method == "initialized":
            if self._state != "answered":
                self._complain("initialized is sent again")
            self._state = "ready"
        elif self._state == "answered":
            self._complain(f"{method} is sent before initialized")
        elif self._state == "shut":
            self._complain(f"{method} is sent after shutdown")
        elif method == "shutdown":
            self._state = "shut"

    # --- what the client says ------------------------------------------------------------------------------------

    def _from_client(self, method: str, params: dict[str, Any]) -> Iterator[str]:
        if (token := params.get("workDoneToken")) is not None:
            self._bars[token] = "free"
        if (token := params.get("partialResultToken")) is not None:
            self._partials.add(token)
        if method == "initialize":
            self.capabilities = params["capabilities"]
            asked = rules.declared(self.capabilities, "experimental.glm")
            self.turns.asked = asked.get("events", False) if isinstance(asked, dict) else None
        elif method == "textDocument/didOpen":
            document = params["textDocument"]
            if document["uri"] in self._versions:
                yield f"{document['uri']} is open already"
            self._keep(document["uri"], document["version"], document["text"])
        elif method == "textDocument/didChange":
            yield from self._changed(params)
        elif method == "textDocument/didClose":
            if self._versions.pop(params["textDocument"]["uri"], None) is None:
                yield f"{params['textDocument']['uri']} is not open"
        elif method.startswith("notebookDocument/"):
            yield from self._notebook(method, params)
        elif method == "window/workDoneProgress/cancel":
            if self._bars.get(params["token"]) not in ("begun", "free"):
                yield f"there is no progress {params['token']!r} to cancel"
        elif method == "workspace/executeCommand":
            if params["command"] not in self._commands():
                yield f"the server has no command {params['command']!r}"
        elif method.startswith("glm/"):
            known = rules.declared(self.server, "experimental.glm.methods") or ()
            if method not in known:
                yield "the server did not say that it has it"
        document = params.get("textDocument")
        if isinstance(document, dict) and isinstance(params.get("range"), dict):
            yield from self._place(document["uri"], params["range"])

    def _changed(self, params: dict[str, Any]) -> Iterator[str]:
        uri, version = params["textDocument"]["uri"], params["textDocument"]["version"]
        if uri not in self._versions:
            yield f"{uri} is not open"
            return
        if version <= self._versions[uri]:
            yield f"{uri}: the version {version} comes after {self._versions[uri]}"
        text = self._texts[uri][self._versions[uri]]
        for change in params["contentChanges"]:
            if "range" not in change:
                text = change["text"]
                continue
            try:
                start, end = places.extent(text, change["range"], self.encoding)
            except ValueError as error:
                yield f"{uri}: {error}"
                return
            text = text[:start] + change["text"] + text[end:]
        self._keep(uri, version, text)

    def _notebook(self, method: str, params: dict[str, Any]) -> Iterator[str]:
        cells = params.get("change", {}).get("cells", {})
        structure = cells.get("structure", {})
        for document in (*params.get("cellTextDocuments", ()), *structure.get("didOpen", ())):
            if method == "notebookDocument/didClose":
                self._versions.pop(document["uri"], None)
            else:
                self._keep(document["uri"], document["version"], document["text"])
        for document in structure.get("didClose", ()):
            self._versions.pop(document["uri"], None)
        for one in cells.get("textContent", ()):
            yield from self._changed({"textDocument": one["document"], "contentChanges": one["changes"]})

    def _keep(self, uri: str, version: int, text: str) -> None:
        self._versions[uri] = version
        self._texts.setdefault(uri, {})[version] = text

    def _commands(self) -> set[str]:
        return set(rules.declared(self.server, "executeCommandProvider.commands") or ())

    # --- what the server says ------------------------------------------------------------------------------------

    def _from_server(self, method: str, params: dict[str, Any]) -> Iterator[str]:
        needed = rules.NEEDS.get(method)
        if needed is not None and rules.declared(self.capabilities, needed) in (None, False):
            yield f"the client did not declare {needed}"
        if method == "window/workDoneProgress/create":
            if params["token"] in self._bars:
                yield f"the token {params['token']!r} was used before"
            self._bars[params["token"]] = "asked"
        elif method == "$/progress":
            yield from self._progress(params["token"], params["value"])
        elif method == "workspace/applyEdit":
            if "metadata" in params and not rules.declared(
                self.capabilities, "workspace.workspaceEdit.metadataSupport"
            ):
                yield "the edit has metadata, which the client did not declare"
            yield from self._edit(params["edit"])
        elif method == "textDocument/publishDiagnostics":
            yield from rules.diagnostics(self.capabilities, params)
            if "version" in params and params["version"] not in self._texts.get(params["uri"], ()):
                yield f"{params['uri']} never had the version {params['version']}"
            for one in params["diagnostics"]:
                yield from self._place(params["uri"], one["range"], ever="version" not in params)
        elif method == "client/registerCapability":
            yield from rules.registration(self.capabilities, params, self._registered)
        elif method == "client/unregisterCapability":
            for one in params["unregisterations"]:
                if one["id"] not in self._registered:
                    yield f"there is no registration {one['id']!r}"
                self._registered.discard(one["id"])
        elif method == "glm/turn/event":
            yield from self.turns.event(params)
            if (there := params["event"].get("range")) is not None and _backwards(there):
                yield f"the range {there} ends before it begins"
            if params["event"]["type"] == "finding":
                yield from self._place(params["event"]["uri"], params["event"]["range"], ever=True)

    def _progress(self, token: Id, value: Any) -> Iterator[str]:
        if token in self._partials:
            return
        state = self._bars.get(token)
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind not in _BARS:
            yield f"the progress {token!r} says {str(value)[:80]}"
            return
        yield from (text for _, text in misfits(value, _BARS[kind]))
        if state is None:
            yield f"there is no progress {token!r}"
        elif state == "asked":
            yield f"the progress {token!r} was not agreed to yet"
        elif state == "ended":
            yield f"the progress {token!r} has ended"
        elif state == "refused":
            yield f"the client did not want the progress {token!r}"
        elif (kind == "begin") != (state == "free"):
            yield f"the progress {token!r} begins once, and first"
        self._bars[token] = "ended" if kind == "end" else "begun"

    # --- answers -------------------------------------------------------------------------------------------------

    def _answered(self, asked: _Asked, result: Any, way: Way) -> Iterator[str]:
        method, params = asked.method, asked.params or {}
        if method == "initialize":
            self._state, self.server = "answered", result["capabilities"]
            offered = rules.declared(self.capabilities, "general.positionEncodings") or ["utf-16"]
            self.encoding = self.server.get("positionEncoding", "utf-16")
            if self.encoding not in offered and self.encoding != "utf-16":
                yield f"the client does not know {self.encoding}"
        elif method == "window/workDoneProgress/create":
            self._bars[params["token"]] = "free"
        elif method == "textDocument/codeAction":
            only = params["context"].get("only")
            yield from rules.actions(self.capabilities, result or [], only, self._commands())
            for one in result or ():
                if "edit" in one:
                    yield from self._edit(one["edit"], asked.versions)
                for problem in one.get("diagnostics", ()):
                    yield from self._place(params["textDocument"]["uri"], problem["range"], ever=True)
        elif method == "textDocument/codeLens":
            for lens in result or ():
                yield from self._place(params["textDocument"]["uri"], lens["range"], ever=True)
                if "command" in lens and lens["command"]["command"] not in self._commands():
                    yield f"{lens['command']['command']!r} is not among the server's commands"
        elif method == "textDocument/diagnostic":
            for one in result.get("items", ()):
                yield from self._place(params["textDocument"]["uri"], one["range"], ever=True)
        elif method in ("workspace/willRenameFiles", "codeAction/resolve"):
            edit = result if method.startswith("workspace") else result.get("edit")
            if edit:
                yield from self._edit(edit, asked.versions)
        elif method == "glm/turn":
            yield from self.turns.result(result)
        elif method == "glm/proposal/get":
            yield from self._proposal(result)
        elif method == "glm/proposal/resolve" and result.get("edit"):
            yield from (text for _, text in misfits(result["edit"], types.WorkspaceEdit))
            yield from self._edit(result["edit"])
        elif method == "glm/permission" and result["answer"] not in params["options"]:
            yield f"{result['answer']!r} was not offered"
        elif method == "workspace/configuration" and len(result) != len(params["items"]):
            yield "there is not one answer for each item"
        elif method == "window/showMessageRequest" and result is not None:
            offered = [action["title"] for action in params.get("actions", ())]
            yield from [f"{result['title']!r} was not offered"] if result["title"] not in offered else []
        if (token := params.get("workDoneToken")) is not None and way == "to client":
            if self._bars.get(token) == "begun":
                yield f"it was answered before its progress {token!r} ended"
            self._bars[token] = "ended"

    def _proposal(self, result: dict[str, Any]) -> Iterator[str]:
        for file in result["files"]:
            text = self._text(file["uri"], None)
            end = -1
            for hunk in file["hunks"]:
                if hunk["state"] != "pending" or text is None or file["kind"] != "edit":
                    continue
                try:
                    start, stop = places.extent(text, hunk["range"], self.encoding)
                except ValueError as error:
                    yield f"{file['uri']}: {error}"
                    continue
                if text[start:stop] != hunk["oldText"]:
                    yield f"hunk {hunk['hunkId']}: {hunk['oldText']!r} does not stand at its place"
                if start < end:
                    yield f"hunk {hunk['hunkId']} overlaps the one before it"
                end = stop

    # --- places --------------------------------------------------------------------------------------------------

    def _text(self, uri: str, version: int | None) -> str | None:
        """A document at a version, or as it is; a file that is not open as it is on the disk."""
        if version is not None:
            return self._texts.get(uri, {}).get(version)
        if uri in self._versions:
            return self._texts[uri][self._versions[uri]]
        return self.read(uri)

    def _edit(self, edit: dict[str, Any], versions: dict[str, int] | None = None) -> Iterator[str]:
        text = self._text if versions is None else lambda uri, version: self._text(uri, version or versions.get(uri))
        yield from rules.workspace_edit(self.capabilities, edit, self.encoding, text, self._versions.get)

    def _place(self, uri: str, there: dict[str, Any], *, ever: bool = False) -> Iterator[str]:
        """What is wrong with a range; with `ever` it may belong to any version that the document had."""
        now = self._text(uri, None)
        texts = [*([] if now is None else [now]), *(self._texts.get(uri, {}).values() if ever else ())]
        problems = []
        for text in texts:
            try:
                places.extent(text, there, self.encoding)
            except ValueError as error:
                problems.append(str(error))
            else:
                return
        if problems:
            yield f"{uri}: {problems[0]}"
        elif _backwards(there):
            yield f"{uri}: the range {there} ends before it begins"


@dataclass
class _Asked:
    method: str
    params: Any
    versions: dict[str, int]


def _backwards(there: dict[str, Any]) -> bool:
    start, end = there["start"], there["end"]
    return (start["line"], start["character"]) > (end["line"], end["character"])
