import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Here, meant, next, VERBS } from "../../src/lanes/asked";
import { flat, messages, tools } from "../../src/lanes/parts";

class Thought {
  constructor(readonly value: string | string[]) {}
}
const isThinking = (part: unknown) => part instanceof Thought;
const text = (value: string) => ({ value });
const bytes = (value: string) => new TextEncoder().encode(value);

describe("what VS Code's agent says", () => {
  it("keeps roles, calls with their ids, results and thinking apart", () => {
    const said = [
      { role: 3, content: [text("Be good.")] },
      { role: 1, content: [text("Look "), text("here.")] },
      {
        role: 2,
        content: [new Thought(["a", "b"]), text("Reading."), { callId: "call_1", name: "read", input: { path: "a" } }],
      },
      { role: 1, content: [{ callId: "call_1", content: [text("one"), text("two")] }, text("And?")] },
    ];
    assert.deepEqual(messages(said, isThinking), [
      { role: "system", parts: [{ type: "text", text: "Be good." }] },
      {
        role: "user",
        parts: [
          { type: "text", text: "Look " },
          { type: "text", text: "here." },
        ],
      },
      {
        role: "assistant",
        parts: [
          { type: "thinking", text: "ab" },
          { type: "text", text: "Reading." },
          { type: "call", callId: "call_1", name: "read", arguments: { path: "a" } },
        ],
      },
      {
        role: "user",
        parts: [
          { type: "result", callId: "call_1", text: "one\ntwo" },
          { type: "text", text: "And?" },
        ],
      },
    ]);
  });

  it("reads text out of data, says that there is a picture, and passes over what is another vendor's", () => {
    const content = [
      { mimeType: "text/plain", data: bytes("plain") },
      { mimeType: "application/vnd.x+json", data: bytes("{}") },
      { mimeType: "image/png", data: bytes("x") },
      { mimeType: "cache_control", data: bytes("ephemeral") },
      { callId: "c", content: [{ mimeType: "image/jpeg", data: bytes("x") }, text("seen")] },
    ];
    assert.deepEqual(messages([{ role: 1, content }], isThinking)[0]?.parts, [
      { type: "text", text: "plain" },
      { type: "text", text: "{}" },
      { type: "image", mimeType: "image/png" },
      { type: "result", callId: "c", text: "seen" },
      { type: "image", mimeType: "image/jpeg" },
    ]);
  });

  it("finds the words in a tree of prompt-tsx", () => {
    const node = { children: [{ text: "one" }, { children: [{ text: "two", lineBreakBefore: true }] }] };
    const content = [{ callId: "c", content: [{ value: { node } }] }];
    assert.deepEqual(messages([{ role: 1, content }], isThinking)[0]?.parts, [
      { type: "result", callId: "c", text: "one\ntwo" },
    ]);
  });

  it("leaves out what says nothing", () => {
    const empty = { role: 2, content: [text(""), new Thought(""), { mimeType: "stateful_marker", data: bytes("x") }] };
    assert.deepEqual(messages([empty], isThinking), []);
  });

  it("hands tools on with their schemas", () => {
    assert.deepEqual(tools(undefined), []);
    assert.deepEqual(tools([{ name: "a", description: "b", inputSchema: { type: "object" } }]), [
      { name: "a", description: "b", inputSchema: { type: "object" } },
    ]);
  });

  it("counts a message as all that is in it", () => {
    const content = [text("Reading."), { callId: "c", name: "read", input: { path: "a" } }];
    assert.equal(flat({ role: 2, content }, isThinking), 'Reading.\nread{"path":"a"}');
  });
});

describe("what is asked of @glm", () => {
  const range = { start: { line: 1, character: 0 }, end: { line: 3, character: 2 } };
  const cursor = { start: { line: 9, character: 4 }, end: { line: 9, character: 4 } };
  const here: Here = { uri: "file:///a.py", range, cursor, problems: ["- line 2: undefined name"] };

  it("is a question about what is named", () => {
    assert.deepEqual(meant(" Why? ", undefined, [{ uri: "file:///b.py" }, { uri: "file:///c.py", range }], here), {
      action: "chat",
      instruction: "Why?",
      mentions: ["file:///b.py"],
      textDocument: { uri: "file:///c.py" },
      range,
    });
  });

  it("says nothing of the active file where nobody asks for it", () => {
    assert.deepEqual(meant("Why?", undefined, [], here), { action: "chat", instruction: "Why?", mentions: [] });
  });

  it("is about the selection with a slash command, or what stands at the cursor", () => {
    assert.deepEqual(meant("", "explain", [], here).range, range);
    assert.deepEqual(meant("", "explain", [], { ...here, range: undefined }).range, cursor);
    assert.equal(meant("", "review", [], here).range, undefined);
    assert.equal(meant("", "changes", [], here).textDocument, undefined);
    assert.equal(meant("", "explain", [{ uri: "file:///b.py" }], here).textDocument?.uri, "file:///b.py");
  });

  it("has words where the action wants some, and the problems that are to be fixed", () => {
    assert.equal(meant("", "refactor", [], here).instruction, VERBS.refactor?.instruction);
    assert.match(meant("", "fix", [], here).instruction, /undefined name/);
    assert.doesNotMatch(meant("", "fix", [{ uri: "file:///b.py" }], here).instruction, /undefined name/);
    assert.equal(meant("Why?", undefined, [{ words: "diff" }]).instruction, "Why?\n\ndiff");
  });

  it("goes on with what fits", () => {
    for (const command of [...next("chat", true), ...next("explain", false), ...next("review_file", false)]) {
      assert.ok(VERBS[command], command);
    }
    assert.deepEqual(next("chat", false), []);
  });
});
