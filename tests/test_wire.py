"""The live protocol: its classes, what is generated from them, and the numbers of events on their way to a client."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import tree_sitter
import tree_sitter_lua
import tree_sitter_typescript
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect as shapes

from glm_lsp import terms
from glm_lsp.server import wire
from glm_lsp.server.outbox import Outbox
from glm_lsp.server.turn_events import Spelling, TurnEvents

ROOT = Path(__file__).parent.parent
_found = importlib.util.spec_from_file_location("generate", ROOT / "editor-clients" / "generate.py")
assert _found is not None
assert _found.loader is not None
generate = importlib.util.module_from_spec(_found)
_found.loader.exec_module(generate)

TYPES = generate._types()
SCHEMA = json.loads(generate.protocol_schema())


def values(shape: shapes.Type) -> st.SearchStrategy[Any]:
    """Anything of a type."""
    match shape:
        case shapes.StructType(cls=cls):
            return structs(cls)
        case shapes.UnionType(types=some):
            return st.one_of(*map(values, some))
        case shapes.VarTupleType(item_type=item):
            return st.lists(values(item), max_size=2).map(tuple)
        case shapes.LiteralType(values=some):
            return st.sampled_from(some)
        case shapes.DictType(value_type=value):
            return st.dictionaries(st.text(max_size=3), values(value), max_size=2)
    simple: dict[type, st.SearchStrategy[Any]] = {
        shapes.StrType: st.text(max_size=5),
        shapes.IntType: st.integers(0, 2**31 - 1),
        shapes.FloatType: st.floats(allow_nan=False, allow_infinity=False, width=32),
        shapes.BoolType: st.booleans(),
        shapes.NoneType: st.none(),
        shapes.AnyType: st.none() | st.booleans() | st.text(max_size=3),
    }
    return simple[type(shape)]


def structs(cls: type) -> st.SearchStrategy[Any]:
    fields = shapes.type_info(cls).fields  # type: ignore[union-attr]
    return st.builds(cls, **{field.name: values(field.type) for field in fields})


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_sent_is_what_arrives(kind: type, data: st.DataObject) -> None:
    value = data.draw(structs(kind))
    sent = msgspec.json.encode(value)
    assert msgspec.convert(json.loads(sent), kind) == value
    schema = {"$ref": f"#/$defs/{kind.__name__}", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(sent))


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_fields_of_a_newer_client_are_ignored(kind: type, data: st.DataObject) -> None:
    free = {"arguments", "edit", "versions", "inputSchema"}  # objects whose fields are all somebody's own

    def newer(plain: Any) -> Any:
        if isinstance(plain, dict):
            return {name: value if name in free else newer(value) for name, value in plain.items()} | {"zzNewer": [1]}
        return [newer(value) for value in plain] if isinstance(plain, list) else plain

    value = data.draw(structs(kind))
    plain = newer(msgspec.to_builtins(value))
    assert msgspec.convert(plain, kind) == value


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_names_on_the_wire_are_in_camel_case(kind: type) -> None:
    for field in shapes.type_info(kind).fields:  # type: ignore[union-attr]
        assert re.fullmatch("[a-z]+([A-Z][a-z]+)*", field.encode_name), field.encode_name


def test_a_position_counts_from_0() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"line": -1, "character": 0}, wire.Position)


@pytest.mark.parametrize(
    ("experimental", "opted"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ({"glm": True}, None),
        ({"glm": {"protocol": 0, "events": True}}, None),
        ({"glm": {"events": "text"}}, None),
        ({"glm": {}}, wire.GlmClientCapabilities()),
        ({"glm": {"protocol": 2, "events": True, "later": {}}}, wire.GlmClientCapabilities(protocol=2, events=True)),
        (
            {"glm": {"protocol": 1, "events": ["text", "later"], "permission": True, "coalesceMs": 5}},
            wire.GlmClientCapabilities(events=("text", "later"), permission=True, coalesce_ms=5),
        ),
    ],
    ids=str,
)
def test_only_who_opts_in_in_the_right_form_is_told_anything(experimental: object, opted: object) -> None:
    assert wire.opted_in(experimental) == opted


def test_the_server_says_what_it_has() -> None:
    said = wire.server_capabilities(("chat",))
    assert said["protocol"] == 1
    assert set(said["methods"]) == set(wire.MESSAGES)
    assert set(said["events"]) == set(wire.EVENTS)
    assert list(said["actions"]) == ["chat"]


# --- what is generated -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", generate.GENERATED, ids=str)
def test_generated_files_are_current(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == generate.GENERATED[path](), "run `make generate`"


def test_the_page_names_every_message_event_and_field() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    for method, message in wire.MESSAGES.items():
        _, _, section = page.partition(f"\n### `{method}`\n")
        assert message.doc in section.partition("\n### ")[0], method
    for tag, kind in wire.EVENTS.items():
        section = page.partition(f"\n### Event `{tag}`\n")[2].partition("\n### ")[0]
        for field in shapes.type_info(kind).fields:  # type: ignore[union-attr]
            assert f"| `{field.encode_name}` |" in section, f"{tag}.{field.name}"


def test_every_link_of_the_page_leads_to_one_place() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    headings = [
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in re.findall("^#+ .*", page, re.MULTILINE)
    ]
    assert len(headings) == len(set(headings))
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(headings)
    for target in re.findall(r"\]\((\.\.[^)]+)\)", page):
        assert (ROOT / "docs" / target).is_file()


def test_the_example_of_the_page_is_of_the_protocol() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    example = page.partition("## An example")[2].partition("```\n")[2].partition("```")[0]
    texts = [re.sub(r"^[→←] (glm/turn/event )?", "", text) for text in re.split(r"\n(?=[→←])", example.strip())]
    whole = [json.loads(text) for text in texts if "…" not in text]
    first, began, *_, answered = whole
    assert msgspec.convert(first["params"], wire.TurnParams).action == "refactor"
    assert isinstance(msgspec.convert(began, wire.TurnEvent).event, wire.Start)
    assert msgspec.convert(answered["result"], wire.TurnResult).stop_reason == "done"
    inner = [json.loads(text.partition('"event": ')[2][:-1]) for text in texts if "{…" in text and ", …" not in text]
    assert [type(msgspec.convert(event, wire.AnyEvent)) for event in inner] == [
        wire.ThinkingAdded, wire.ThinkingEnded, wire.HunkShown, wire.HunkShown, wire.End,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("editor-clients/vscode/src/protocol.ts", tree_sitter_typescript.language_typescript()),
        ("editor-clients/nvim/lua/glm_lsp/protocol.lua", tree_sitter_lua.language()),
    ],
    ids=["typescript", "lua"],
)
def test_generated_code_has_no_syntax_errors(path: str, language: object) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(language))
    assert not parser.parse((ROOT / path).read_bytes()).root_node.has_error


def test_generated_code_names_every_method() -> None:
    for path in ("editor-clients/vscode/src/protocol.ts", "editor-clients/nvim/lua/glm_lsp/protocol.lua"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert [method for method in wire.MESSAGES if f'"{method}"' not in text] == []


# --- events on their way -----------------------------------------------------------------------------------------

SOME_USAGE = terms.Usage(10, 5, 4, 3)
HAPPENINGS: dict[str, terms.Happening] = {
    "start": terms.Started("chat", "Hello", "glm", True, ("a.py",)),
    "queued": terms.Queued(3),
    "context": terms.ContextChosen((terms.ChosenFile("a.py", "words: a", 12, True),), 12, ("b",), "Odd."),
    "thinking": terms.ThinkingAdded("Hm"),
    "thinkingEnd": terms.ThinkingEnded(1.23456, 7),
    "text": terms.TextAdded("Hi"),
    "toolCall": terms.ToolCalled("c", "read_file", "Read a.py", {"path": "a.py"}),
    "toolResult": terms.ToolReturned("c", True, "2 lines", "1|a", 0.1),
    "permission": terms.PermissionAsked("c", "run_command", "Run ls", "ls", True),
    "question": terms.QuestionAsked("c", "Which?", ("a", "b")),
    "hunk": terms.HunkOpened("c", "a.py", 5),
    "finding": terms.Found("c", terms.Finding("a.py", 2, 3, "warning", "Odd", "Even it")),
    "compacted": terms.Compacted(100, 50, 2, "We spoke", SOME_USAGE),
    "proposal": terms.Proposed(
        terms.Proposal(
            "p1",
            "Less",
            (terms.FileChange("a.py", b"a\nb\n", b"a\n"), terms.FileChange("b.py", None, b"x\n")),
            (),
            (terms.Objection("a.py", 1, "syntax", "Bad"), terms.Objection("a.py", 0, "lost-symbol", "Gone")),
            ("a.py",),
        )
    ),
    "usage": terms.Used(SOME_USAGE, 3.0, 1.0),
    "warning": terms.Warned("odd", "Something is odd."),
    "end": terms.Ended("error", SOME_USAGE, 2.0, "stalled", "It stalled.", "Try again."),
}
SAID: dict[str, dict[str, Any]] = {
    "start": {"action": "chat", "instruction": "Hello", "model": "glm", "thinking": True, "files": ["file:///w/a.py"]},
    "queued": {"place": 3},
    "context": {
        "files": [{"uri": "file:///w/a.py", "reason": "words: a", "tokens": 12, "whole": True}],
        "tokens": 12,
        "words": ["b"],
        "note": "Odd.",
    },
    "thinking": {"text": "Hm"},
    "thinkingEnd": {"seconds": 1.235, "tokens": 7},
    "text": {"text": "Hi"},
    "toolCall": {"callId": "c", "tool": "read_file", "title": "Read a.py", "arguments": {"path": "a.py"}},
    "toolResult": {"callId": "c", "ok": True, "outcome": "2 lines", "result": "1|a", "seconds": 0.1},
    "permission": {"callId": "c", "tool": "run_command", "title": "Run ls", "detail": "ls", "confined": True},
    "question": {"callId": "c", "question": "Which?", "options": ["a", "b"]},
    "hunk": {
        "callId": "c",
        "state": "opened",
        "uri": "file:///w/a.py",
        "range": {"start": {"line": 4, "character": 0}, "end": {"line": 4, "character": 0}},
    },
    "finding": {
        "callId": "c",
        "uri": "file:///w/a.py",
        "range": {"start": {"line": 1, "character": 0}, "end": {"line": 3, "character": 0}},
        "severity": "warning",
        "message": "Odd",
        "suggestion": "Even it",
    },
    "compacted": {
        "before": 100,
        "after": 50,
        "files": 2,
        "summary": "We spoke",
        "usage": {"inputTokens": 10, "outputTokens": 5, "cachedTokens": 4, "thinkingTokens": 3},
    },
    "proposal": {
        "proposalId": "p1",
        "summary": "Less",
        "files": [
            {"uri": "file:///w/a.py", "kind": "edit", "added": 0, "removed": 1},
            {"uri": "file:///w/b.py", "kind": "create", "added": 1, "removed": 0},
        ],
        "objections": [
            {"uri": "file:///w/a.py", "kind": "syntax", "message": "Bad", "line": 0},
            {"uri": "file:///w/a.py", "kind": "lost-symbol", "message": "Gone"},
        ],
        "unchecked": ["file:///w/a.py"],
    },
    "usage": {
        "inputTokens": 10,
        "outputTokens": 5,
        "cachedTokens": 4,
        "thinkingTokens": 3,
        "ttftMs": 1000.0,
        "tokensPerSecond": 2.0,
    },
    "warning": {"code": "odd", "message": "Something is odd."},
    "end": {
        "stopReason": "error",
        "usage": {"inputTokens": 10, "outputTokens": 5, "cachedTokens": 4, "thinkingTokens": 3},
        "seconds": 2.0,
        "error": {"code": "stalled", "message": "It stalled.", "hint": "Try again."},
    },
}


def uri_of(path: str) -> str:
    return f"file:///w/{path}"


@pytest.mark.parametrize("tag", wire.EVENTS)
def test_every_type_of_event_says_all_of_it(tag: str) -> None:
    said = Spelling(uri_of).spell(HAPPENINGS[tag])
    assert json.loads(msgspec.json.encode(said)) == {"type": tag, **SAID[tag]}


def test_the_end_names_the_proposal_even_to_who_did_not_want_to_be_told_of_it() -> None:
    heard = told([HAPPENINGS["proposal"], terms.Ended("done", SOME_USAGE, 1.0)], ("end",))
    assert [(event.seq, event.event.proposal_id) for event in heard if isinstance(event.event, wire.End)] == [(1, "p1")]
    assert len(heard) == 1


def test_a_hunk_that_never_opened_is_not_told_of() -> None:
    assert told([terms.HunkGrew("c", ("a",), ()), terms.HunkClosed("c", ok=False, reason="no")], True) == []


def test_the_place_of_a_hunk_grows_with_the_lines_that_go() -> None:
    heard = told(
        [
            terms.HunkOpened("c", "a.py", 5),
            terms.HunkGrew("c", removed=("a", "b")),
            terms.HunkGrew("c", added=("x",)),
            terms.HunkClosed("c", ok=True),
        ],
        True,
        hold=True,
        wait=10_000,
    )
    shown = [event.event for event in heard if isinstance(event.event, wire.HunkShown)]
    assert [(one.state, one.range.start.line, one.range.end.line) for one in shown] == [
        ("opened", 4, 4),
        ("grew", 4, 6),
        ("closed", 4, 6),
    ]
    assert (shown[-1].ok, shown[0].ok) == (True, None)


def test_lines_of_two_hunks_are_never_merged() -> None:
    heard = told(
        [
            terms.HunkOpened("c", "a.py", 1),
            terms.HunkOpened("d", "b.py", 1),
            terms.HunkGrew("c", added=("1",)),
            terms.HunkGrew("d", added=("2",)),
            terms.HunkGrew("d", added=("3",)),
        ],
        True,
        hold=True,
        wait=10_000,
    )
    grown = [event.event for event in heard if isinstance(event.event, wire.HunkShown) and event.event.state == "grew"]
    assert [(one.call_id, one.uri, one.added) for one in grown] == [
        ("c", "file:///w/a.py", ("1",)),
        ("d", "file:///w/b.py", ("2", "3")),
    ]


def test_a_lone_surrogate_ends_nothing() -> None:
    heard = told([terms.TextAdded("a\ud83db"), terms.Warned("odd", "\udcff")], True)
    assert [event.event for event in heard] == [
        wire.TextAdded(text="a\ufffdb"),
        wire.Warned(code="odd", message="\ufffd"),
    ]


def told(
    happenings: list[terms.Happening], wanted: bool | tuple[str, ...], *, hold: bool = False, wait: float = 0
) -> list[wire.TurnEvent]:
    """What a client hears of a turn; with `hold` it reads nothing before all of it has happened."""
    bodies: list[bytes] = []
    reads = threading.Event()
    if not hold:
        reads.set()

    def write(some: list[bytes]) -> None:
        assert reads.wait(30)
        bodies.extend(some)

    outbox = Outbox(write, lambda _why: None, coalesce_ms=wait)
    asked = wire.GlmClientCapabilities(events=wanted)
    events = TurnEvents("t1", "c1", wanted=asked, uri_of=uri_of, outbox=outbox)
    for number, what in enumerate(happenings, 1):
        events.tell(terms.Event("t1", number, number / 10, what))
    reads.set()
    assert outbox.close(30)
    messages = [json.loads(body) for body in bodies]
    assert {message["method"] for message in messages} <= {"glm/turn/event"}
    heard = [msgspec.convert(message["params"], wire.TurnEvent) for message in messages]
    assert {(event.v, event.turn_id, event.conversation_id) for event in heard} <= {(1, "t1", "c1")}
    return heard


calls = st.sampled_from(["c", "d"])
lines = st.lists(st.text("ab", max_size=2), max_size=2).map(tuple)
anything = st.one_of(
    st.builds(terms.ThinkingAdded, st.text(min_size=1, max_size=4)),
    st.builds(terms.TextAdded, st.text(min_size=1, max_size=4)),
    st.builds(terms.HunkOpened, calls, st.just("a.py"), st.integers(1, 9)),
    st.builds(terms.HunkGrew, calls, lines, lines),
    st.builds(terms.HunkClosed, calls, st.booleans()),
    st.sampled_from([HAPPENINGS["warning"], HAPPENINGS["usage"]]),
)


@given(
    happenings=st.lists(anything, max_size=25),
    wanted=st.just(True) | st.lists(st.sampled_from([*wire.EVENTS, "later"]), unique=True).map(tuple),
    hold=st.booleans(),
    wait=st.sampled_from([0.0, 0.2, 10_000.0]),
)
def test_whatever_is_merged_numbers_have_no_gap_and_no_word_is_lost(
    happenings: list[terms.Happening], wanted: bool | tuple[str, ...], hold: bool, wait: float
) -> None:
    heard = told(happenings, wanted, hold=hold, wait=wait)
    spelling = Spelling(uri_of)
    spelled = [said for said in map(spelling.spell, happenings) if said is not None]
    due = [said for said in spelled if wanted is True or said.__struct_config__.tag in wanted]  # type: ignore[operator]
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
    assert [event.t for event in heard] == sorted(event.t for event in heard)
    assert merged([event.event for event in heard]) == merged(due)
    assert len(heard) <= len(due)
    if hold and wait > 1000 and wanted is True and all(isinstance(what, terms.TextAdded) for what in happenings):
        assert len(heard) == min(len(happenings), 1)


def merged(events: list[Any]) -> list[Any]:
    """Neighbours that go on with the same thing as one; what has nothing to merge with stays as it is."""
    out: list[Any] = []
    for event in events:
        before = out[-1] if out else None
        if isinstance(event, wire.TextAdded | wire.ThinkingAdded) and type(before) is type(event):
            out[-1] = type(event)(text=before.text + event.text)
        elif (
            isinstance(event, wire.HunkShown)
            and isinstance(before, wire.HunkShown)
            and (before.state, before.call_id) == (event.state, event.call_id) == ("grew", event.call_id)
        ):
            out[-1] = msgspec.structs.replace(
                event, removed=before.removed + event.removed, added=before.added + event.added
            )
        else:
            out.append(event)
    return out
