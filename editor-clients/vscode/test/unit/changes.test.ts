import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ProposalFile, ProposalHunk, ProposalResult } from "../../src/protocol";
import { formOf, hunkAt, lines, moved, patch, proposed, size, waits } from "../../src/review/changes";

function hunk(first: number, count: number, oldText: string, newText: string, state = "pending"): ProposalHunk {
  return {
    hunkId: `p:${first}`,
    range: { start: { line: first, character: 0 }, end: { line: first + count, character: 0 } },
    oldText,
    newText,
    state: state as ProposalHunk["state"],
  };
}

function file(hunks: ProposalHunk[], kind: ProposalFile["kind"] = "edit", uri = "file:///w/a.py"): ProposalFile {
  return { uri, kind, hunks };
}

function proposal(...files: ProposalFile[]): ProposalResult {
  return { proposalId: "p", turnId: "t", summary: "", state: "pending", files, unifiedDiff: "", objections: [] };
}

const SMALL = hunk(1, 1, "b\n", "B\n");

describe("how a proposal is shown", () => {
  it("is in the text for one small change, and the wish of the person comes first", () => {
    assert.equal(formOf(proposal(file([SMALL])), "fix", "auto"), "inline");
    assert.equal(formOf(proposal(file([SMALL])), "fix", "diff"), "diff");
    assert.equal(formOf(proposal(file([SMALL])), "fix", "list"), "list");
  });
  it("is the diff editor for more than that, and for files that come or go", () => {
    const big = hunk(1, 1, "b\n", "B\n".repeat(13));
    assert.equal(formOf(proposal(file([big])), "fix", "auto"), "diff");
    assert.equal(formOf(proposal(file([big])), "fix", "inline"), "inline");
    assert.equal(formOf(proposal(file([SMALL, hunk(5, 1, "f\n", "F\n")])), "fix", "auto"), "diff");
    assert.equal(formOf(proposal(file([hunk(0, 0, "", "x\n")], "create")), "fix", "inline"), "diff");
    assert.equal(formOf(proposal(file([hunk(1, 1, "b\n", "B\n", "stale")])), "fix", "auto"), "diff");
  });
  it("is one page for several files, or the editor's preview where one change is spread over them", () => {
    const several = proposal(file([SMALL]), file([SMALL], "edit", "file:///w/b.py"));
    assert.equal(formOf(several, "refactor", "auto"), "multi");
    assert.equal(formOf(several, "rename", "auto"), "preview");
    assert.equal(formOf(several, "rename", "diff"), "multi");
  });
  it("is nothing but the list where nothing waits", () => {
    const done = proposal(file([hunk(1, 1, "b\n", "B\n", "applied")]));
    assert.equal(formOf(done, "fix", "auto"), "list");
    assert.equal(waits(done), false);
  });
});

describe("what it does to a text", () => {
  it("puts in all that waits and nothing else", () => {
    const changed = file([SMALL, hunk(3, 1, "d\n", ""), hunk(4, 0, "", "new\n"), hunk(0, 1, "a\n", "A\n", "rejected")]);
    assert.equal(proposed("a\nb\nc\nd\ne\n", changed), "a\nB\nc\nnew\ne\n");
  });
  it("keeps the line ends of the file and its last line without one", () => {
    assert.equal(proposed("a\r\nb\r\nc", file([SMALL, hunk(2, 1, "c", "C\nd")])), "a\r\nB\r\nC\r\nd");
  });
  it("is the whole of a new file and nothing of a deleted one", () => {
    assert.equal(proposed("", file([hunk(0, 0, "", "x\ny\n")], "create")), "x\ny\n");
    assert.equal(proposed("x\n", file([hunk(0, 1, "x\n", "")], "delete")), "");
  });
  it("counts lines", () => {
    assert.deepEqual(lines(""), []);
    assert.deepEqual(lines("a\r\nb"), ["a", "b"]);
    assert.deepEqual(size(file([SMALL, hunk(3, 0, "", "x\ny\n")])), { added: 3, removed: 1 });
    assert.equal(patch(SMALL), "-b\n+B");
  });
});

describe("which hunk is meant", () => {
  const hunks = [hunk(2, 2, "", ""), hunk(8, 0, "", ""), hunk(12, 1, "", "")];
  for (const [line, first] of [
    [0, 2],
    [3, 2],
    [4, 8],
    [8, 8],
    [9, 12],
    [40, 12],
  ] as const) {
    it(`at line ${line} it is the one at ${first}`, () => {
      assert.equal(hunkAt(hunks, line)?.range.start.line, first);
    });
  }
  it("is none where there is none", () => {
    assert.equal(hunkAt([], 3), undefined);
  });
});

describe("where lines are after an edit", () => {
  const range = { first: 10, count: 3 };
  for (const [what, edit, wanted] of [
    ["above", { start: 2, end: 2, lines: 4 }, { first: 14, count: 3 }],
    ["above, lines gone", { start: 2, end: 5, lines: 0 }, { first: 7, count: 3 }],
    ["below", { start: 13, end: 14, lines: 0 }, { first: 10, count: 3 }],
    ["within a line", { start: 11, end: 11, lines: 0 }, { first: 10, count: 3 }],
    ["a line more within", { start: 11, end: 11, lines: 1 }, { first: 10, count: 4 }],
    ["lines gone within", { start: 10, end: 12, lines: 0 }, { first: 10, count: 1 }],
    ["over its beginning", { start: 8, end: 11, lines: 0 }, undefined],
    ["more than all of it gone", { start: 10, end: 20, lines: 0 }, undefined],
  ] as const) {
    it(what, () => assert.deepEqual(moved(range, edit), wanted));
  }
});
