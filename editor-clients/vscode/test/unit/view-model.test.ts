import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyEvent, ConversationResult } from "../../src/protocol";
import {
  after,
  type Block,
  EMPTY,
  type Happening,
  merged,
  restored,
  type View,
  working,
} from "../../src/view/web/model";

const USAGE = { inputTokens: 900, outputTokens: 40, cachedTokens: 800 };
const START: AnyEvent = {
  type: "start",
  action: "chat",
  instruction: "Hello?",
  model: "glm-4.7",
  thinking: true,
  files: [],
};
const END: AnyEvent = { type: "end", stopReason: "done", usage: USAGE, seconds: 2 };

/** A view after somebody asked and these events came. */
function played(...events: AnyEvent[]): View {
  return heard(after({ ...EMPTY, conversationId: "c" }, { type: "asked", key: "k", words: "Hello?" }), ...events);
}

function heard(view: View, ...events: AnyEvent[]): View {
  return events.reduce<View>(
    (now, event, n) =>
      after(now, { type: "event", event: { v: 1, turnId: "t", conversationId: "c", seq: n + 1, t: n / 10, event } }),
    view,
  );
}

function blocks<K extends Block["kind"]>(view: View, kind: K): Array<Extract<Block, { kind: K }>> {
  return view.turns.flatMap((turn) => turn.blocks).filter((one) => one.kind === kind) as never;
}

test("a turn is there from the moment it is asked, and takes the server's name when it begins", () => {
  const asked = after(EMPTY, { type: "asked", key: "k", words: "Hello?" });
  assert.equal(working(asked)?.state, "asked");
  const began = heard(after(asked, { type: "began", key: "k", conversationId: "c" }), START);
  assert.equal(began.turns.length, 1);
  assert.deepEqual([began.conversationId, working(began)?.turnId, working(began)?.state], ["c", "t", "running"]);
});

test("thinking and text grow in place, and what comes between begins anew", () => {
  const view = played(
    START,
    { type: "thinking", text: "Let me " },
    { type: "thinking", text: "see." },
    { type: "thinkingEnd", seconds: 1.5, tokens: 12 },
    { type: "text", text: "It is " },
    { type: "text", text: "here." },
    { type: "toolCall", callId: "1", tool: "search", title: "Searched", arguments: {} },
    { type: "text", text: "More." },
    END,
  );
  assert.deepEqual(
    blocks(view, "thought").map(({ text, live, seconds, tokens }) => ({ text, live, seconds, tokens })),
    [{ text: "Let me see.", live: false, seconds: 1.5, tokens: 12 }],
  );
  assert.deepEqual(
    blocks(view, "answer").map((one) => [one.text, one.live]),
    [
      ["It is here.", false],
      ["More.", false],
    ],
  );
  assert.equal(view.turns[0]?.end?.stopReason, "done");
  assert.equal(working(view), undefined);
});

test("only what changed is a new object", () => {
  const before = played(START, { type: "text", text: "a" }, { type: "warning", code: "w", message: "Mind this." });
  const later = heard(before, { type: "text", text: "b" }, { type: "text", text: "c" });
  assert.equal(later.turns[0]?.blocks[0], before.turns[0]?.blocks[0]);
  assert.equal(later.turns[0]?.blocks[1], before.turns[0]?.blocks[1]);
  assert.equal(before.turns[0]?.blocks.length, 2, "what was before is as it was");
});

test("types of events that nobody knows change nothing", () => {
  const before = played(START, { type: "text", text: "a" });
  const told = { type: "holograph", of: "a later server" } as unknown as AnyEvent;
  assert.equal(heard(before, told).turns[0], before.turns[0]);
});

test("events of other turns and of turns that ended change nothing", () => {
  const view = played(START, END);
  assert.equal(heard(view, { type: "text", text: "late" }), view);
  const other: Happening = {
    type: "event",
    event: { v: 1, turnId: "x", conversationId: "c", seq: 1, t: 0, event: { type: "text", text: "a" } },
  };
  assert.equal(after(view, other), view);
});

test("an edit grows before it is called, and is one call", () => {
  const at = { start: { line: 4, character: 0 }, end: { line: 4, character: 0 } };
  const view = played(
    START,
    { type: "hunk", callId: "1", state: "opened", uri: "file:///a.py", range: at },
    { type: "hunk", callId: "1", state: "grew", uri: "file:///a.py", range: at, removed: ["a"], added: ["b"] },
    { type: "hunk", callId: "1", state: "grew", uri: "file:///a.py", range: at, added: ["c"] },
    { type: "hunk", callId: "1", state: "closed", uri: "file:///a.py", range: at, ok: true },
    { type: "toolCall", callId: "1", tool: "edit_file", title: "Edit a.py", arguments: { file_path: "a.py" } },
    { type: "toolResult", callId: "1", ok: true, outcome: "1 change", result: "made", seconds: 0.1 },
    { type: "hunk", callId: "1", state: "opened", uri: "file:///a.py", range: at },
  );
  const [call, ...more] = blocks(view, "call");
  assert.equal(more.length, 0);
  assert.equal(call?.title, "Edit a.py");
  assert.deepEqual(
    call?.hunks.map((one) => [one.removed, one.added, one.state]),
    [
      [["a"], ["b", "c"], "closed"],
      [[], [], "open"],
    ],
  );
});

test("a permission waits with its options until it is answered, or the turn ends", () => {
  const asked: AnyEvent = {
    type: "permission",
    callId: "1",
    tool: "run_command",
    title: "Run ls",
    detail: "ls",
    confined: true,
  };
  let view = played(
    START,
    { type: "toolCall", callId: "1", tool: "run_command", title: "Run ls", arguments: {} },
    asked,
  );
  assert.equal(blocks(view, "call")[0]?.wait?.open, false, "the request that says the options is still to come");
  const ask = { turnId: "t", callId: "1", tool: "run_command", title: "Run ls", detail: "ls", confined: true };
  view = after(view, { type: "permission", ask: { ...ask, options: ["once", "no"] } });
  assert.deepEqual(blocks(view, "call")[0]?.wait?.options, ["once", "no"]);
  const answered = after(view, { type: "settled", callId: "1", answer: "once" });
  assert.deepEqual(
    [blocks(answered, "call")[0]?.wait?.open, blocks(answered, "call")[0]?.wait?.answer],
    [false, "once"],
  );
  assert.equal(blocks(heard(view, END), "call")[0]?.wait?.open, false);
});

test("a server that dies in the middle leaves an ended turn that says why, with all that was said", () => {
  const fault = { code: "server-gone", message: "The server ended.", hint: "Ask again." };
  const middle = played(START, { type: "text", text: "Half a sen" });
  const view = after(middle, { type: "failed", key: "k", fault });
  assert.equal(working(view), undefined);
  assert.equal(view.turns[0]?.end?.error?.message, "The server ended.");
  assert.equal(blocks(view, "answer")[0]?.text, "Half a sen");
  const twice = heard(view, { type: "end", stopReason: "error", usage: USAGE, seconds: 1, error: fault });
  assert.equal(twice, view, "it ends once");
});

test("a proposal's card tells how far it was decided", () => {
  const files = [{ uri: "file:///a.py", kind: "edit" as const, added: 2, removed: 1 }];
  const told: AnyEvent = {
    type: "proposal",
    proposalId: "p",
    summary: "Mended.",
    files,
    objections: [],
    unchecked: [],
  };
  const view = played(START, told, END);
  assert.equal(blocks(view, "proposal")[0]?.state, "pending");
  const now = { proposalId: "p", state: "applied" as const, pending: {}, stale: 0 };
  assert.equal(blocks(after(view, { type: "proposal", now }), "proposal")[0]?.state, "applied");
  assert.equal(after(view, { type: "proposal", now: { ...now, proposalId: "q" } }), view);
});

test("the place in line is told until the wait is over", () => {
  assert.equal(played(START, { type: "queued", place: 2 }).turns[0]?.place, 2);
  assert.equal(played(START, { type: "queued", place: 2 }, { type: "queued", place: 0 }).turns[0]?.place, 0);
});

const KEPT: ConversationResult = {
  conversationId: "c",
  name: "Money",
  messages: [
    { role: "system", text: "Rules." },
    { role: "user", text: "Guidance.\n\nUse Decimal.", words: "Use Decimal." },
    {
      role: "assistant",
      text: "I look.",
      thinking: "Floats?",
      toolCalls: [{ id: "1", name: "read_file", arguments: '{"file_path": "a.py"}', title: "Read a.py" }],
    },
    { role: "tool", text: "1|x", callId: "1" },
    { role: "user", text: "Your edits leave these problems:", words: "" },
    { role: "assistant", text: "Mended." },
    { role: "user", text: "Thanks", words: "Thanks", turn: 1 },
    { role: "assistant", text: "", toolCalls: [{ id: "2", name: "x", arguments: "{half", title: "" }], turn: 1 },
  ],
};

test("what the server kept is shown as it was: the person's own words, turn by turn", () => {
  const view = restored(KEPT);
  assert.deepEqual(
    view.turns.map((turn) => [turn.words, turn.at, turn.state]),
    [
      ["Use Decimal.", 0, "ended"],
      ["Thanks", 1, "ended"],
    ],
  );
  assert.deepEqual(
    view.turns[0]?.blocks.map((one) => one.kind),
    ["thought", "answer", "call", "answer"],
  );
  const [read, half] = blocks(view, "call");
  assert.deepEqual([read?.title, read?.arguments, read?.result?.text], ["Read a.py", { file_path: "a.py" }, "1|x"]);
  assert.deepEqual(half?.arguments, { arguments: "{half" });
  assert.equal(view.kept, 2);
});

test("what was followed here stays as it was seen when others go on with the conversation", () => {
  const live = played(START, { type: "text", text: "I look. Mended." }, END);
  const both = merged(live, restored(KEPT));
  assert.deepEqual(
    both.turns.map((turn) => turn.key),
    ["k", "c.1"],
  );
  assert.equal(both.turns[0], live.turns[0]);
  const running = played(START);
  assert.equal(merged(running, restored(KEPT)), running, "nothing is taken away under a turn that runs");
});

test("a question that failed before the server kept it is not lost", () => {
  const fault = { code: "server-missing", message: "No server.", hint: "" };
  const failed = after(played(), { type: "failed", key: "k", fault });
  assert.deepEqual(merged(failed, { ...EMPTY, conversationId: "c" }).turns, failed.turns);
});

test("turns are numbered by what the server has kept", () => {
  const failed = after(played(), { type: "failed", key: "k", fault: { code: "x", message: "No." } });
  const next = after(after(failed, { type: "kept", turns: 0, name: "" }), { type: "asked", key: "l", words: "Again" });
  assert.equal(next.turns[1]?.at, 0);
  const told = after(heard(next, START, END), { type: "kept", turns: 1, name: "Money" });
  assert.deepEqual([told.kept, told.name], [1, "Money"]);
});
