import assert from "node:assert/strict";
import { test } from "node:test";
import { words } from "../../src/words";
import { t } from "./translate";

const say = words(t, "en");

test("durations have as many digits as they deserve", () => {
  assert.deepEqual([0.04, 3, 3.14, 9.96, 41.4, 119, 121, 600].map(say.duration), [
    "0 s",
    "3 s",
    "3.1 s",
    "10 s",
    "41 s",
    "119 s",
    "2 min",
    "10 min",
  ]);
});

test("a thought says how long, and how much where it is known", () => {
  assert.equal(say.thought({ seconds: 12, tokens: 1840 }), "Thought for 12 s · 1,840 tokens");
  assert.equal(say.thought({ seconds: 0.5 }), "Thought for 0.5 s");
});

test("an end says what it cost", () => {
  const usage = { inputTokens: 28412, outputTokens: 1912, cachedTokens: 28300 };
  assert.equal(
    say.ended({ stopReason: "done", seconds: 18, usage }),
    "Done in 18 s · 1,912 tokens · 28,412 read, 99 % reused",
  );
  const silent = { inputTokens: 28412, outputTokens: 1912 };
  assert.equal(
    say.ended({ stopReason: "cancelled", seconds: 2, usage: silent }),
    "Stopped after 2 s · 1,912 tokens · 28,412 read",
  );
});

test("a failure says why and what to do", () => {
  const error = { code: "unreachable", message: "No engine answers.", hint: "Start one." };
  const usage = { inputTokens: 0, outputTokens: 0 };
  assert.equal(say.ended({ stopReason: "error", seconds: 1, usage, error }), "No engine answers. Start one.");
});

test("a proposal's size", () => {
  assert.equal(say.size([{ added: 24, removed: 11 }]), "1 file · +24 −11");
  assert.equal(
    say.size([
      { added: 24, removed: 11 },
      { added: 1000, removed: 0 },
    ]),
    "2 files · +1,024 −11",
  );
});
