"""What the types of the protocol cannot say: what a client declared, how an edit hangs together, how a turn is told.

Never looks at a message's types: `shapes` did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lsp import places

from glm_lsp.server import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def declared(capabilities: dict[str, Any], path: str) -> Any:
    """What a client says at a dotted path of its capabilities; None where it says nothing."""
    found: Any = capabilities
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


NEEDS = {
    "window/workDoneProgress/create": "window.workDoneProgress",
    "window/showDocument": "window.showDocument.support",
    "workspace/applyEdit": "workspace.applyEdit",
    "workspace/configuration": "workspace.configuration",
    "workspace/workspaceFolders": "workspace.workspaceFolders",
    "workspace/codeLens/refresh": "workspace.codeLens.refreshSupport",
    "workspace/diagnostic/refresh": "workspace.diagnostics.refreshSupport",
    "workspace/inlayHint/refresh": "workspace.inlayHint.refreshSupport",
    "workspace/semanticTokens/refresh": "workspace.semanticTokens.refreshSupport",
    "workspace/textDocumentContent/refresh": "workspace.textDocumentContent",
    "glm/permission": "experimental.glm.permission",
    "glm/question": "experimental.glm.question",
    "glm/turn/event": "experimental.glm.events",
    "glm/status/didChange": "experimental.glm",
}
"""What a client must have declared before the server may send it a message."""

REGISTERS = {
    "workspace/didChangeConfiguration": "workspace.didChangeConfiguration",
    "workspace/didChangeWatchedFiles": "workspace.didChangeWatchedFiles",
    "workspace/executeCommand": "workspace.executeCommand",
    "workspace/willRenameFiles": "workspace.fileOperations",
    "workspace/textDocumentContent": "workspace.textDocumentContent",
    "textDocument/codeAction": "textDocument.codeAction",
    "textDocument/codeLens": "textDocument.codeLens",
    "textDocument/diagnostic": "textDocument.diagnostic",
}
"""Where a client says that a method can be registered later."""


def registration(capabilities: dict[str, Any], params: dict[str, Any], known: set[str]) -> Iterator[str]:
    """What is wrong with `client/registerCapability`."""
    for one in params.get("registrations", ()):
        where = REGISTERS.get(one["method"])
        if where is None or not declared(capabilities, f"{where}.dynamicRegistration"):
            yield f"{one['method']} is registered, and the client did not declare that it can be"
        if one["id"] in known:
            yield f"the registration {one['id']!r} is there already"
        known.add(one["id"])


def diagnostics(capabilities: dict[str, Any], params: dict[str, Any]) -> Iterator[str]:
    """What is wrong with published diagnostics, for this client."""
    can = declared(capabilities, "textDocument.publishDiagnostics") or {}
    if "version" in params and not can.get("versionSupport"):
        yield "diagnostics carry a version, and the client did not declare versionSupport"
    for one in params["diagnostics"]:
        if "relatedInformation" in one and not can.get("relatedInformation"):
            yield "diagnostics carry relatedInformation, which the client did not declare"
        if "codeDescription" in one and not can.get("codeDescriptionSupport"):
            yield "diagnostics carry codeDescription, which the client did not declare"
        if "data" in one and not can.get("dataSupport"):
            yield "diagnostics carry data, which the client did not declare"
        known = (can.get("tagSupport") or {}).get("valueSet", ())
        if any(tag not in known for tag in one.get("tags", ())):
            yield "diagnostics carry tags, which the client did not declare"


def actions(
    capabilities: dict[str, Any], offered: list[dict[str, Any]], only: list[str] | None, commands: set[str]
) -> Iterator[str]:
    """What is wrong with a list of code actions, for this client."""
    can = declared(capabilities, "textDocument.codeAction") or {}
    for one in offered:
        bare = isinstance(one.get("command"), str)
        title, command = one["title"], one if bare else one.get("command")
        if not bare and not can.get("codeActionLiteralSupport"):
            yield f"{title!r} is a CodeAction, and the client takes commands only"
        if command is not None and command["command"] not in commands:
            yield f"{title!r} runs {command['command']!r}, which is not among the server's commands"
        for key, needed in (
            ("disabled", "disabledSupport"),
            ("isPreferred", "isPreferredSupport"),
            ("data", "dataSupport"),
            ("tags", "tagSupport"),
        ):
            if not bare and key in one and not can.get(needed):
                yield f"{title!r} has {key!r}, and the client did not declare {needed}"
        known = (can.get("tagSupport") or {}).get("valueSet", ())
        if not bare and can.get("tagSupport") and any(tag not in known for tag in one.get("tags", ())):
            yield f"{title!r} has a tag that the client does not know"
        if not bare and not any(k in one for k in ("edit", "command", "disabled", "data")):
            yield f"{title!r} does nothing"
        kind = "" if bare else one.get("kind", "")
        if only and not any(kind == asked or kind.startswith(asked + ".") or asked == "" for asked in only):
            yield f"{title!r} is {kind!r}, and only {only} were asked for"


def workspace_edit(
    capabilities: dict[str, Any],
    edit: dict[str, Any],
    encoding: str,
    text_at: Callable[[str, int | None], str | None],
    open_at: Callable[[str], int | None],
) -> Iterator[str]:
    """What is wrong with a workspace edit, for this client and these documents.

    Args:
        capabilities: the client's.
        edit: the edit.
        encoding: of positions.
        text_at: the text of a document as it was at a version, or as it is without one; None where there is none.
        open_at: the version of an open document.
    """
    can = declared(capabilities, "workspace.workspaceEdit") or {}
    operations = can.get("resourceOperations") or []
    annotations = edit.get("changeAnnotations") or {}
    made: set[str] = set()
    moved: dict[str, str] = {}
    if "changes" in edit and "documentChanges" in edit:
        yield "an edit has both `changes` and `documentChanges`"
    if not edit.get("changes") and not edit.get("documentChanges"):
        yield "an edit changes nothing"
    if "documentChanges" in edit and not (can.get("documentChanges") or operations):
        yield "an edit has `documentChanges`, which the client did not declare"
    if annotations and not can.get("changeAnnotationSupport"):
        yield "an edit has annotations, which the client did not declare"
    for uri, edits in (edit.get("changes") or {}).items():
        yield from _text_edits(text_at(uri, None), uri, edits, encoding)
    for change in edit.get("documentChanges") or ():
        notes = [change.get("annotationId"), *(one.get("annotationId") for one in change.get("edits", ()))]
        for note in notes:
            if note is not None and note not in annotations:
                yield f"the annotation {note!r} is not there"
        if "kind" in change:
            if change["kind"] not in operations:
                yield f"an edit would {change['kind']} a file, which the client did not declare"
            uri = change.get("newUri") or change["uri"]
            if change["kind"] == "rename":
                moved[uri] = change["oldUri"]
            (made.discard if change["kind"] == "delete" else made.add)(uri)
            continue
        uri, version = change["textDocument"]["uri"], change["textDocument"]["version"]
        if any("snippet" in one for one in change["edits"]) and not can.get("snippetEditSupport"):
            yield "an edit has snippets, which the client did not declare"
        if version is None and open_at(uri) is not None:
            yield f"{uri} is open, and the edit of it has no version"
        if version is not None and (open_at(uri) is None or version > (open_at(uri) or 0)):
            yield f"{uri} never had the version {version}"
        before = text_at(moved[uri], None) if uri in moved else "" if uri in made else text_at(uri, version)
        yield from _text_edits(before, uri, change["edits"], encoding)


def _text_edits(text: str | None, uri: str, edits: list[dict[str, Any]], encoding: str) -> Iterator[str]:
    if text is None:
        yield f"{uri} is edited, and there is no such document"
        return
    try:
        places.edited(text, [{"newText": "", **one} for one in edits], encoding)
    except ValueError as error:
        yield f"{uri}: {error}"


@dataclass
class TurnRules:
    """The rules of `glm/turn/event`, for the turns of one client."""

    asked: Any
    turns: dict[str, _Turn] = field(default_factory=dict)

    def wants(self, kind: str) -> bool:
        """Whether the client asked for events of this type."""
        return self.asked is True or (isinstance(self.asked, list) and kind in self.asked)

    def event(self, params: dict[str, Any]) -> Iterator[str]:
        """What is wrong with one event."""
        event, name = params["event"], params["turnId"]
        kind = event["type"]
        turn = self.turns.setdefault(name, _Turn(params["conversationId"]))
        if params["v"] != wire.VERSION:
            yield f"an event is of version {params['v']}"
        if not self.wants(kind):
            yield f"the client did not ask for events of type {kind!r}"
        if params["seq"] != turn.seq + 1:
            yield f"turn {name}: event {params['seq']} comes after {turn.seq}"
        if turn.ended:
            yield f"turn {name}: {kind!r} comes after the end"
        if self.wants("start") and (kind == "start") != (turn.seq == 0):
            yield f"turn {name}: `start` is the first event, and once"
        if params["t"] < turn.t:
            yield f"turn {name}: time goes backwards"
        if params["conversationId"] != turn.conversation:
            yield f"turn {name} changes its conversation"
        if (
            kind in ("toolResult", "permission", "question")
            and self.wants("toolCall")
            and event["callId"] not in turn.calls
        ):
            yield f"turn {name}: {kind!r} of a call that was not told"
        if kind == "toolCall":
            turn.calls.add(event["callId"])
        elif kind == "text":
            turn.text += event["text"]
        elif kind == "hunk":
            yield from turn.hunk(name, event)
        elif kind == "end":
            turn.ended = True
            if turn.hunks:
                yield f"turn {name}: a hunk is never closed"
        turn.seq, turn.t = params["seq"], params["t"]

    def result(self, result: dict[str, Any]) -> Iterator[str]:
        """What is wrong with the result of `glm/turn`, after its events."""
        turn = self.turns.get(result["turnId"])
        if not self.asked:
            return
        if turn is None:
            yield f"turn {result['turnId']} was answered, and none of its events came"
            return
        if self.wants("end") and not turn.ended:
            yield f"turn {result['turnId']} was answered before its end was told"
        if self.wants("text") and turn.text != result["text"]:
            yield f"turn {result['turnId']}: the texts of the events are not the text of the result"
        if turn.conversation != result["conversationId"]:
            yield f"turn {result['turnId']}: the result names another conversation than the events"

    def end(self) -> Iterator[str]:
        """What is missing when the connection ends as it should."""
        for name, turn in self.turns.items():
            if self.wants("end") and not turn.ended:
                yield f"turn {name} never ends"


@dataclass
class _Turn:
    conversation: str
    seq: int = 0
    t: float = 0.0
    ended: bool = False
    text: str = ""
    calls: set[str] = field(default_factory=set)
    hunks: set[str] = field(default_factory=set)

    def hunk(self, name: str, event: dict[str, Any]) -> Iterator[str]:
        call = event["callId"]
        if (event["state"] == "opened") == (call in self.hunks):
            yield f"turn {name}: a hunk is {event['state']} that {'is open' if call in self.hunks else 'is not'}"
        if (event["state"] == "closed") != ("ok" in event):
            yield f"turn {name}: a hunk says how it went when it closes, and only then"
        (self.hunks.discard if event["state"] == "closed" else self.hunks.add)(call)
