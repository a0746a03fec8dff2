"""The validator itself: a conversation without fault passes, and each rule fails on one that breaks it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from lsp.validator import Validator
from lsprotocol import types

URI = "file:///w/a.py"
TEXT = "a = '𝒳'\nb = 2\n"
GLM = {"protocol": 1, "events": True, "permission": True}
CAPABILITIES: dict[str, Any] = {
    "workspace": {
        "applyEdit": True,
        "configuration": True,
        "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"]},
        "didChangeWatchedFiles": {"dynamicRegistration": True},
    },
    "textDocument": {"codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["refactor"]}}}},
    "window": {"workDoneProgress": True},
    "experimental": {"glm": GLM},
}
SERVER = {
    "positionEncoding": "utf-16",
    "executeCommandProvider": {"commands": ["glm.run"]},
    "experimental": {"glm": {"protocol": 1, "methods": ["glm/turn", "glm/proposal/get"], "events": [], "actions": []}},
}

Step = tuple[str, dict[str, Any]]


def asks(number: Any, method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method} | ({} if params is None else {"params": params})


def tells(method: str, params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def answers(number: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": result}


def to_server(message: dict[str, Any]) -> Step:
    return ("sent", message)


def to_client(message: dict[str, Any]) -> Step:
    return ("received", message)


def span(*places: int) -> dict[str, Any]:
    a, b, c, d = places
    return {"start": {"line": a, "character": b}, "end": {"line": c, "character": d}}


def begun(capabilities: dict[str, Any] = CAPABILITIES, server: dict[str, Any] = SERVER) -> list[Step]:
    params = {"processId": None, "rootUri": None, "capabilities": capabilities}
    document = {"uri": URI, "languageId": "python", "version": 1, "text": TEXT}
    return [
        to_server(asks(1, "initialize", params)),
        to_client(answers(1, {"capabilities": server})),
        to_server(tells("initialized", {})),
        to_server(tells("textDocument/didOpen", {"textDocument": document})),
    ]


def bar(kind: str, token: str = "t", **more: Any) -> Step:
    return to_client(tells("$/progress", {"token": token, "value": {"kind": kind, **more}}))


def begin(token: str = "t") -> Step:
    return bar("begin", token, title="x")


AGREED = [
    to_client(asks("s1", "window/workDoneProgress/create", {"token": "t"})),
    to_server(answers("s1", None)),
]


def event(seq: int, what: dict[str, Any], **more: Any) -> Step:
    params = {"v": 1, "turnId": "T", "conversationId": "C", "seq": seq, "t": 0.1 * seq, "event": what, **more}
    return to_client(tells("glm/turn/event", params))


START = {"type": "start", "action": "chat", "instruction": "x", "model": "m", "thinking": False, "files": []}
USAGE = {"inputTokens": 1, "outputTokens": 1}
END = {"type": "end", "stopReason": "done", "usage": USAGE, "seconds": 1.0}
RESULT = {"turnId": "T", "conversationId": "C", "stopReason": "done", "text": "ab", "usage": USAGE}
TURN = [
    to_server(asks(7, "glm/turn", {"instruction": "x"})),
    event(1, START),
    event(2, {"type": "text", "text": "a"}),
    event(3, {"type": "text", "text": "b"}),
    event(4, END),
    to_client(answers(7, RESULT)),
]


def hunk(state: str, **more: Any) -> dict[str, Any]:
    return {"type": "hunk", "callId": "c", "state": state, "uri": URI, "range": span(0, 0, 1, 0), **more}


def edit(*edits: dict[str, Any], version: int | None = 1, uri: str = URI, **more: Any) -> Step:
    changes = [{"textDocument": {"uri": uri, "version": version}, "edits": list(edits)}]
    return to_client(asks("e", "workspace/applyEdit", {"edit": {"documentChanges": changes, **more}}))


def replaced(*places: int) -> dict[str, Any]:
    return {"range": span(*places), "newText": "x"}


APPLIED = to_server(answers("e", {"applied": True}))


def offered(*listed: Any) -> list[Step]:
    params = {"textDocument": {"uri": URI}, "range": span(0, 0, 0, 0), "context": {"diagnostics": []}}
    return [to_server(asks(5, "textDocument/codeAction", params)), to_client(answers(5, list(listed)))]


COMMAND = {"title": "y", "command": "glm.run"}


def complaints(steps: list[Step]) -> list[str]:
    validator = Validator()
    for way, message in [*steps, to_server(asks(99, "shutdown")), to_client(answers(99, None))]:
        getattr(validator, way)(copy.deepcopy(message))
    validator.finish()
    return validator.complaints


GOOD: dict[str, list[Step]] = {
    "nothing more": [],
    "a bar": [*AGREED, begin(), bar("report", message="x"), bar("end")],
    "a bar of the client's": [
        to_server(asks(3, "workspace/executeCommand", {"command": "glm.run", "workDoneToken": 9})),
        to_client(tells("$/progress", {"token": 9, "value": {"kind": "begin", "title": "x"}})),
        to_client(tells("$/progress", {"token": 9, "value": {"kind": "end"}})),
        to_client(answers(3, None)),
    ],
    "a turn": TURN,
    "a hunk": [event(1, START), event(2, hunk("opened")), event(3, hunk("closed", ok=True)), event(4, END)],
    "an edit": [edit(replaced(0, 5, 0, 7), replaced(1, 0, 1, 1)), APPLIED],
    "an edit of an older version": [
        to_server(
            tells(
                "textDocument/didChange",
                {
                    "textDocument": {"uri": URI, "version": 2},
                    "contentChanges": [{"range": span(0, 0, 1, 5), "text": ""}],
                },
            )
        ),
        edit(replaced(1, 0, 1, 5)),
        APPLIED,
    ],
    "a file that is created and filled": [
        to_client(
            asks(
                "e",
                "workspace/applyEdit",
                {
                    "edit": {
                        "documentChanges": [
                            {"kind": "create", "uri": "file:///w/n.py"},
                            {
                                "textDocument": {"uri": "file:///w/n.py", "version": None},
                                "edits": [replaced(0, 0, 0, 0)],
                            },
                        ]
                    }
                },
            )
        ),
        APPLIED,
    ],
    "an action": offered({"title": "x", "kind": "refactor", "command": COMMAND}),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_passes(name: str) -> None:
    assert complaints([*begun(), *GOOD[name]]) == []


def poorer(without: str, **server: Any) -> list[Step]:
    """A beginning where the client does not declare one thing."""
    capabilities: dict[str, Any] = copy.deepcopy(CAPABILITIES)
    *path, last = without.split(".")
    held = capabilities
    for name in path:
        held = held[name]
    del held[last]
    return begun(capabilities, {**SERVER, **server})


OTHER = {"uri": "file:///w/n.py", "kind": "create"}
CREATE = to_client(asks("e", "workspace/applyEdit", {"edit": {"documentChanges": [OTHER]}}))
BAD: dict[str, tuple[list[Step], str]] = {
    # shapes
    "an unknown key": ([*begun(), to_client(tells("window/logMessage", {"type": 3, "message": "", "x": 1}))], "'x'"),
    "a missing key": ([*begun(), to_client(tells("window/logMessage", {"type": 3}))], "lacks 'message'"),
    "a wrong type": ([*begun(), to_client(tells("window/logMessage", {"type": "3", "message": ""}))], "no MessageType"),
    "an unknown key deep inside": (
        [*begun(), edit({"range": {**span(0, 0, 0, 0), "x": 1}, "newText": ""}), APPLIED],
        "no key 'x'",
    ),
    "a null that belongs to nothing": ([*begun(), *offered({"title": "x", "kind": None, "data": 1})], "None"),
    "a negative line": (
        [
            *begun(),
            to_client(
                tells(
                    "textDocument/publishDiagnostics",
                    {"uri": URI, "diagnostics": [{"range": span(-1, 0, 0, 0), "message": ""}]},
                )
            ),
        ],
        "line",
    ),
    "an unknown key of ours": ([*begun(), event(1, {**START, "x": 1})], "Start has no key 'x'"),
    "a missing key of ours": ([*begun(), event(1, {"type": "text"})], "lacks 'text'"),
    "an unknown event": ([*begun(), event(1, {"type": "noise"})], "$.event"),
    "an unknown method": ([*begun(), to_client(tells("glm/noise", {}))], "no 'glm/noise'"),
    "a further member": ([*begun(), to_client({**tells("telemetry/event", 1), "x": 1})], "['x']"),
    "no message": ([*begun(), to_client({"method": "x"})], "no message"),
    "a message the wrong way": (
        [*begun(), to_client(tells("textDocument/didSave", {"textDocument": {"uri": URI}}))],
        "not sent",
    ),
    "a request without id": (
        [*begun(), to_client(tells("workspace/applyEdit", {"edit": {"changes": {}}}))],
        "notification",
    ),
    # requests
    "no answer": ([*begun(), offered()[0]], "never answered"),
    "two answers": ([*begun(), *offered(), to_client(answers(5, []))], "answered again"),
    "an answer to nothing": ([*begun(), to_client(answers(77, None))], "never asked"),
    "an id of another type": ([*begun(), offered()[0], to_client(answers("5", []))], "never asked"),
    "result and error": (
        [*begun(), offered()[0], to_client({**answers(5, []), "error": {"code": 1, "message": ""}})],
        "either",
    ),
    "an error without code": (
        [*begun(), offered()[0], to_client({"jsonrpc": "2.0", "id": 5, "error": {"message": ""}})],
        "lacks 'code'",
    ),
    "an id used twice": ([*begun(), *offered(), *offered()], "used again"),
    # order
    "early message": ([to_client(tells("$/logTrace", {"message": ""})), *begun()], "before the answer to initialize"),
    "early request": ([offered()[0], *begun(), to_client(answers(5, []))], "before initialize was answered"),
    "after shutdown": (
        [*begun(), to_server(asks(2, "shutdown")), to_client(answers(2, None)), *offered()],
        "after shutdown",
    ),
    # progress
    "progress without create": ([*begun(), begin(), bar("end")], "no progress"),
    "progress before it is agreed": ([*begun(), AGREED[0], begin(), AGREED[1]], "not agreed"),
    "report before begin": ([*begun(), *AGREED, bar("report"), bar("end")], "begins once, and first"),
    "two begins": ([*begun(), *AGREED, begin(), begin(), bar("end")], "begins once, and first"),
    "two ends": ([*begun(), *AGREED, begin(), bar("end"), bar("end")], "has ended"),
    "no end": ([*begun(), *AGREED, begin()], "never ends"),
    "unknown key in a report": ([*begun(), *AGREED, begin(), bar("report", title="x"), bar("end")], "no key 'title'"),
    "undeclared progress": ([*poorer("window.workDoneProgress"), *AGREED], "did not declare"),
    # edits
    "overlapping edits": ([*begun(), edit(replaced(0, 0, 0, 3), replaced(0, 2, 0, 4)), APPLIED], "overlap"),
    "a version that never was": ([*begun(), edit(version=2), APPLIED], "never had the version 2"),
    "no version of an open document": ([*begun(), edit(version=None), APPLIED], "no version"),
    "behind the end of the line": ([*begun(), edit(replaced(1, 0, 1, 6)), APPLIED], "behind the end"),
    "behind the end of the document": ([*begun(), edit(replaced(3, 0, 3, 0)), APPLIED], "of 3 lines"),
    "inside a character": ([*begun(), edit(replaced(0, 6, 0, 7)), APPLIED], "inside a character"),
    "backwards": ([*begun(), edit(replaced(1, 0, 0, 0)), APPLIED], "before it begins"),
    "no such document": (
        [*begun(), edit(replaced(0, 0, 0, 0), uri="file:///w/z.py", version=None), APPLIED],
        "no such document",
    ),
    "an empty edit": (
        [*begun(), to_client(asks("e", "workspace/applyEdit", {"edit": {}})), APPLIED],
        "changes nothing",
    ),
    "undeclared edit": ([*poorer("workspace.applyEdit"), edit(), APPLIED], "did not declare"),
    "undeclared versions": ([*poorer("workspace.workspaceEdit"), edit(), APPLIED], "`documentChanges`"),
    "undeclared creation": ([*poorer("workspace.workspaceEdit.resourceOperations"), CREATE, APPLIED], "would create"),
    "undeclared annotations": (
        [*begun(), edit(changeAnnotations={"a": {"label": "x"}}), APPLIED],
        "annotations",
    ),
    "an annotation that is not there": (
        [*begun(), edit({**replaced(0, 0, 0, 0), "annotationId": "a"}), APPLIED],
        "'a' is not there",
    ),
    "undeclared metadata": (
        [
            *begun(),
            to_client(
                asks(
                    "e",
                    "workspace/applyEdit",
                    {"edit": {"changes": {URI: [replaced(0, 0, 0, 0)]}}, "metadata": {"isRefactoring": True}},
                )
            ),
            APPLIED,
        ],
        "metadata",
    ),
    # what else must be declared
    "undeclared showDocument": (
        [
            *begun(),
            to_client(asks("e", "window/showDocument", {"uri": URI})),
            to_server(answers("e", {"success": True})),
        ],
        "did not declare window.showDocument",
    ),
    "undeclared configuration": (
        [
            *poorer("workspace.configuration"),
            to_client(asks("e", "workspace/configuration", {"items": []})),
            to_server(answers("e", [])),
        ],
        "did not declare workspace.configuration",
    ),
    "undeclared lens refresh": (
        [*begun(), to_client(asks("e", "workspace/codeLens/refresh")), to_server(answers("e", None))],
        "refreshSupport",
    ),
    "undeclared registration": (
        [
            *begun(),
            to_client(
                asks(
                    "e",
                    "client/registerCapability",
                    {"registrations": [{"id": "1", "method": "workspace/didChangeConfiguration"}]},
                )
            ),
            to_server(answers("e", None)),
        ],
        "did not declare that it can be",
    ),
    "undeclared literals": (
        [*poorer("textDocument.codeAction"), *offered({"title": "x", "command": COMMAND})],
        "commands only",
    ),
    "undeclared disabled": ([*begun(), *offered({"title": "x", "disabled": {"reason": "y"}})], "disabledSupport"),
    "undeclared tags": ([*begun(), *offered({"title": "x", "command": COMMAND, "tags": [1]})], "tagSupport"),
    "an unknown command": ([*begun(), *offered({"title": "x", "command": {"title": "", "command": "z"}})], "'z'"),
    "an action that does nothing": ([*begun(), *offered({"title": "x"})], "does nothing"),
    "undeclared virtual documents": (
        [
            *begun(),
            to_client(asks("e", "workspace/textDocumentContent/refresh", {"uri": "glm-diff:/x"})),
            to_server(answers("e", None)),
        ],
        "textDocumentContent",
    ),
    "diagnostics behind the end": (
        [
            *begun(),
            to_client(
                tells(
                    "textDocument/publishDiagnostics",
                    {"uri": URI, "diagnostics": [{"range": span(9, 0, 9, 0), "message": ""}]},
                )
            ),
        ],
        "line 9",
    ),
    "an encoding nobody knows": (begun(server={**SERVER, "positionEncoding": "utf-8"})[:3], "does not know utf-8"),
    # turns
    "events without opt-in": ([*poorer("experimental"), event(1, START), event(2, END)], "did not declare"),
    "a gap": ([*begun(), event(1, START), event(3, END)], "comes after 1"),
    "from 0": ([*begun(), event(0, START), event(1, END)], "comes after 0"),
    "two starts": ([*begun(), event(1, START), event(2, START), event(3, END)], "and once"),
    "no start": ([*begun(), event(1, END)], "first event"),
    "two ends of a turn": ([*begun(), event(1, START), event(2, END), event(3, END)], "after the end"),
    "no end of a turn": ([*begun(), event(1, START)], "never ends"),
    "the end after the response": ([*begun(), *TURN[:-2], TURN[-1], TURN[-2]], "before its end was told"),
    "a lost piece of text": ([*begun(), *TURN[:3], event(3, END), TURN[-1]], "not the text of the result"),
    "a result without events": ([*begun(), TURN[0], TURN[-1]], "none of its events"),
    "time goes back": ([*begun(), event(1, START), event(2, END, t=0.0)], "backwards"),
    "a result of no call": (
        [
            *begun(),
            event(1, START),
            event(2, {"type": "toolResult", "callId": "z", "ok": True, "outcome": "", "result": "", "seconds": 0.1}),
            event(3, END),
        ],
        "was not told",
    ),
    "a hunk that is never closed": (
        [*begun(), event(1, START), event(2, hunk("opened")), event(3, END)],
        "never closed",
    ),
    "a hunk that was not opened": ([*begun(), event(1, START), event(2, hunk("grew")), event(3, END)], "that is not"),
    "a permission nobody offered": (
        [
            *begun(),
            to_client(
                asks(
                    "p",
                    "glm/permission",
                    {
                        "turnId": "T",
                        "callId": "c",
                        "tool": "x",
                        "title": "",
                        "detail": "",
                        "confined": True,
                        "options": ["no"],
                    },
                )
            ),
            to_server(answers("p", {"answer": "always"})),
        ],
        "not offered",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_complained_of(name: str) -> None:
    steps, word = BAD[name]
    found = complaints(steps)
    assert any(word in complaint for complaint in found), found


@pytest.mark.parametrize("name", [n for n in BAD if n not in {"two answers", "early request"}])
def test_one_fault_is_not_called_many(name: str) -> None:
    assert 1 <= len(complaints(BAD[name][0])) <= 4


def test_every_message_of_the_protocol_has_a_shape_that_can_be_checked() -> None:
    validator = Validator()
    for method in types.METHOD_TO_TYPES:
        standing = validator._kind_of(method)
        assert standing is not None
        if standing[1]:
            validator._result_of(method)
