"""A finished run as a report for programs: JSON, a patch, SARIF, JUnit.

Never runs anything and never prints: a Result goes in, text comes out.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from glm_lsp import __version__
from glm_lsp.cli import words
from glm_lsp.cli.ndjson import change_as_dict, sound
from glm_lsp.edits.hunks import counts, unified
from glm_lsp.edits.text import Text, decode
from glm_lsp.errors import NotText

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.cli.verify import Verification
    from glm_lsp.terms import Ended, FileChange, Finding, Hunk, Proposal


@dataclass(frozen=True, slots=True)
class Refusal:
    """An edit that the model tried and that could not be placed; `line` counts from 1, 0 where none is known."""

    path: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What one turn came to; `text` is the model's answer, `warnings` are sentences."""

    turn: str
    paths: tuple[str, ...]
    action: str
    instruction: str
    ended: Ended
    proposal: Proposal | None = None
    warnings: tuple[str, ...] = ()
    text: str = ""
    refusals: tuple[Refusal, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What a headless run came to.

    Attributes:
        turns: in the order in which they ended.
        verify: the last verification, where one was asked for.
        applied: whether changes are in the files now.
        runs: ids of the journal's entries that undo them, oldest first.
        refused: why a proposal was not applied or not reverted, in sentences.
        cancelled: whether the person stopped the run.
    """

    turns: tuple[TurnResult, ...]
    verify: Verification | None = None
    applied: bool = False
    runs: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    cancelled: bool = False


def changes(result: Result) -> tuple[FileChange, ...]:
    """All changes, one for each file: what several turns did to a file is joined, and what cancelled out is left out."""
    joined: dict[str, FileChange] = {}
    for turn in result.turns:
        for change in turn.proposal.changes if turn.proposal else ():
            first = joined.pop(change.path, change)
            joined[change.path] = type(change)(change.path, first.before, change.after, change.mode or first.mode)
    return tuple(change for change in joined.values() if change.before != change.after)


def size(result: Result) -> str:
    """`4 files · +31 −19`."""
    changed = changes(result)
    return words.size(len(changed), *counts(changed))


def patch(result: Result) -> str:
    """All changes as one patch for `git apply`; to be written with `errors="surrogateescape"`."""
    return "".join(map(unified, changes(result)))


def as_json(result: Result) -> str:
    """The whole result as one JSON object."""
    everything = {
        "version": 1,
        "applied": result.applied,
        "cancelled": result.cancelled,
        "runs": result.runs,
        "refused": result.refused,
        "verify": asdict(result.verify) if result.verify is not None else None,
        "turns": [
            {
                "turn": turn.turn,
                "action": turn.action,
                "instruction": turn.instruction,
                "paths": turn.paths,
                "ended": asdict(turn.ended),
                "text": turn.text,
                "warnings": turn.warnings,
                "refusals": [asdict(refusal) for refusal in turn.refusals],
                "objections": [asdict(objection) for objection in turn.proposal.objections] if turn.proposal else [],
                "findings": [asdict(finding) for finding in turn.findings],
                "unchecked": turn.proposal.unchecked if turn.proposal else [],
                "changes": [change_as_dict(change) for change in turn.proposal.changes] if turn.proposal else [],
            }
            for turn in result.turns
        ],
    }
    return _dump(everything)


def sarif(result: Result) -> str:
    """SARIF 2.1.0: a result with a fix for each hunk, and one for each refused edit and objection.

    Regions count lines from 1 and columns in Unicode code points; a fix replaces whole lines, terminators included.
    Source: the OASIS standard "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
    """
    rules: dict[str, str] = {}
    results: list[dict[str, Any]] = []
    for turn in result.turns:
        for rule, about, found in _findings(turn):
            rules.setdefault(rule, about)
            results.append({"ruleId": rule, "ruleIndex": list(rules).index(rule), **found})
    run = {
        "tool": {
            "driver": {
                "name": "glm-lsp",
                "version": __version__,
                "rules": [{"id": rule, "shortDescription": {"text": about}} for rule, about in rules.items()],
            }
        },
        "columnKind": "unicodeCodePoints",
        "newlineSequences": ["\r\n", "\n", "\r"],
        "invocations": [_invocation(result)],
        "results": results,
    }
    return _dump({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def junit(result: Result) -> str:
    """JUnit XML: a test case for each turn, and one for the verification.

    A turn that ran into a limit, or whose proposal has objections, is a failure; one that the engine failed, an error.
    """
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", name="glm-lsp")
    for turn in result.turns:
        name = ", ".join(turn.paths) or turn.instruction or turn.turn
        case = _case(suite, name, turn.action, turn.ended.seconds)
        ended, objections = turn.ended, turn.proposal.objections if turn.proposal else ()
        what = f"{ended.error}\n{ended.hint}".strip()
        if ended.reason == "error":
            _outcome(case, "error", ended.code or "error", what)
        elif ended.reason == "limit":
            _outcome(case, "failure", ended.code or "limit", what)
        elif ended.reason == "cancelled":
            _outcome(case, "skipped", "", "cancelled")
        elif objections:
            lines = "\n".join(f"{o.path}:{o.line}: {o.kind}: {o.message}" for o in objections)
            _outcome(case, "failure", "objections", lines)
        if said := "\n\n".join(filter(None, (turn.text.strip(), *turn.warnings))):
            ET.SubElement(case, "system-out").text = _for_xml(said)
    for number, reason in enumerate(result.refused, 1):
        _outcome(_case(suite, f"apply {number}", "apply", 0), "error", "refused", reason)
    if result.verify is not None:
        case = _case(suite, result.verify.command, "verify", result.verify.seconds)
        if not result.verify.ok:
            _outcome(case, "failure", "verify-failed", f"The verification failed.\n{result.verify.output}")
    for element in (suites, suite):
        element.set("tests", str(len(suite)))
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            element.set(name, str(sum(case.find(tag) is not None for case in suite)))
        element.set("time", f"{sum(float(case.attrib['time']) for case in suite):.3f}")
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_FINGERPRINT = "glmLspHunk/v1"

# --- SARIF -----------------------------------------------------------------------------------------------------------


def _findings(turn: TurnResult) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields rule, what the rule is about, and the rest of the result."""
    proposal = turn.proposal
    files = {change.path: change for change in proposal.changes} if proposal else {}
    said = " ".join((turn.instruction or turn.text).split()) or turn.action
    for hunk in proposal.hunks if proposal else ():
        yield turn.action, f"A change that the action {turn.action} proposes.", _hunk(hunk, files.get(hunk.path), said)
    for objection in proposal.objections if proposal else ():
        about = f"A proposed file did not pass the check {objection.kind}."
        yield (
            f"objection/{objection.kind}",
            about,
            _remark(objection.path, objection.line, objection.message or objection.kind),
        )
    for finding in turn.findings:
        advice = f" {finding.suggestion}" if finding.suggestion else ""
        region = {"startLine": finding.first_line, "endLine": finding.last_line}
        yield (
            "finding",
            "What a review found.",
            {
                "level": {"error": "error", "warning": "warning"}.get(finding.severity, "note"),
                "message": {"text": finding.message + advice},
                "locations": [_location(finding.path, region)],
            },
        )
    for refusal in turn.refusals:
        about = "An edit that the model tried could not be placed."
        yield "refused-edit", about, _remark(refusal.path, refusal.line, refusal.reason)


def _hunk(hunk: Hunk, change: FileChange | None, said: str) -> dict[str, Any]:
    digest = hashlib.sha256("\0".join((hunk.path, *hunk.removed, "", *hunk.added)).encode("utf-8", "replace"))
    found: dict[str, Any] = {
        "level": "note",
        "message": {"text": said},
        "locations": [
            _location(
                hunk.path,
                {"startLine": hunk.old_line, "endLine": hunk.old_line + max(len(hunk.removed) - 1, 0)},
            )
        ],
        "partialFingerprints": {_FINGERPRINT: digest.hexdigest()},
    }
    try:
        before = decode((change.before if change else None) or b"", hunk.path)
        after = decode((change.after if change else None) or b"", hunk.path)
    except NotText:
        return found  # no fix can be spelled for bytes that are no text
    replacement = {
        "deletedRegion": _whole_lines(before, hunk.old_line, len(hunk.removed)),
        "insertedContent": {"text": _lines(after, hunk.new_line, len(hunk.added))},
    }
    found["fixes"] = [
        {
            "description": {"text": said},
            "artifactChanges": [{"artifactLocation": _artifact(hunk.path), "replacements": [replacement]}],
        }
    ]
    return found


def _whole_lines(text: Text, first: int, number: int) -> dict[str, int]:
    """The region of `number` lines with their terminators: it ends where the next line begins, or at the text's end."""
    last = first + number - 1
    if number and last == text.line_count and not text.terminator(last):
        return {"startLine": first, "startColumn": 1, "endLine": last, "endColumn": len(text.line(last)) + 1}
    return {"startLine": first, "startColumn": 1, "endLine": first + number, "endColumn": 1}


def _lines(text: Text, first: int, number: int) -> str:
    return text.content[text.offset_of(first) : text.offset_of(first + number)]


def _remark(path: str, line: int, message: str) -> dict[str, Any]:
    region = {"startLine": line} if line else None
    return {"level": "warning", "message": {"text": message}, "locations": [_location(path, region)]}


def _location(path: str, region: dict[str, int] | None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _artifact(path)}
    if region:
        place["region"] = region
    return {"physicalLocation": place}


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(path.encode("utf-8", "surrogateescape")), "uriBaseId": "%SRCROOT%"}


def _invocation(result: Result) -> dict[str, Any]:
    told: list[tuple[str, str, str]] = []
    for turn in result.turns:
        told += [("warning", "warning", warning) for warning in turn.warnings]
        if turn.ended.reason not in {"done", "nothing"}:
            level = "error" if turn.ended.reason == "error" else "warning"
            told.append((level, turn.ended.code or turn.ended.reason, f"{turn.ended.error} {turn.ended.hint}".strip()))
    told += [("error", "refused", reason) for reason in result.refused]
    if result.verify is not None and not result.verify.ok:
        told.append(("error", "verify-failed", f"{result.verify.command}: failed\n{result.verify.output}".strip()))
    return {
        "executionSuccessful": not result.cancelled and not any(level == "error" for level, _, _ in told),
        "toolExecutionNotifications": [
            {"level": level, "descriptor": {"id": code}, "message": {"text": text or code}}
            for level, code, text in told
        ],
    }


# --- JUnit -----------------------------------------------------------------------------------------------------------

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _case(suite: ET.Element, name: str, kind: str, seconds: float) -> ET.Element:
    flat = words.one_line(name)
    return ET.SubElement(
        suite, "testcase", name=_for_xml(flat), classname=_for_xml(f"glm-lsp.{kind}"), time=f"{seconds:.3f}"
    )


def _outcome(case: ET.Element, tag: str, kind: str, text: str) -> None:
    first = text.strip().split("\n", 1)[0]
    element = ET.SubElement(case, tag, message=_for_xml(first or kind))
    if kind:
        element.set("type", _for_xml(kind))
    if text != first:
        element.text = _for_xml(text)


def _for_xml(text: str) -> str:
    """The text without the characters that XML 1.0 cannot hold, however they are escaped."""
    return _NOT_XML.sub("\ufffd", text)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(sound(value), ensure_ascii=False, indent=2) + "\n"
