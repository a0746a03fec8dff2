import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EngineStatusResult, StatusResult, TurnEvent } from "../../src/protocol";
import { health } from "../../src/status/health";
import { engineState, type Known, modelName, picture } from "../../src/status/picture";
import { Turns } from "../../src/status/turns";
import { t } from "./translate";

const NOW = 1_800_000_000_000;

function event(turnId: string, seq: number, what: TurnEvent["event"]): TurnEvent {
  return { v: 1, turnId, conversationId: "c", seq, t: seq, event: what };
}

const start = (turnId: string) =>
  event(turnId, 1, {
    type: "start",
    action: "fix",
    instruction: "mend it",
    model: "glm-4.7",
    thinking: true,
    files: [],
  });
const usage = (turnId: string, inputTokens: number, outputTokens: number) =>
  event(turnId, 2, { type: "usage", inputTokens, outputTokens, ttftMs: 400, tokensPerSecond: 143.2 });
const end = (turnId: string, cachedTokens?: number) =>
  event(turnId, 3, {
    type: "end",
    stopReason: "done",
    seconds: 18,
    usage: { inputTokens: 1000, outputTokens: 10, cachedTokens },
  });

const STATUS: StatusResult = {
  health: "ok",
  quiescent: true,
  message: "",
  engine: { model: "zai-org/GLM-4.7-FP8", state: "ready", contextTokens: 202_752 },
  exactness: "tokens",
  workspaceFolders: ["file:///w"],
  versions: { "glm-lsp": "0.1.0" },
};

function known(over: Partial<Known> = {}): Known {
  const state = { kind: "ready", version: "0.1.0", path: "/bin/glm-lsp" } as const;
  return { state, status: STATUS, turns: new Turns(), trusted: true, ...over };
}

const bar = (over: Partial<Known> = {}) => picture(known(over), t, "en");

describe("the status bar", () => {
  it("says the model, its state and how full the context is", () => {
    const turns = new Turns();
    assert.equal(bar({ turns }).text, "GLM-4.7 · ready");
    turns.take(start("a"), NOW);
    assert.equal(bar({ turns }).text, "GLM-4.7 · working");
    turns.take(usage("a", 44_000, 605), NOW);
    turns.take(end("a", 990), NOW);
    assert.equal(bar({ turns }).text, "GLM-4.7 · ready · 22 %");
    assert.deepEqual(bar({ turns }).lines, [
      "22 % of the context: 44,605 of 202,752 tokens",
      "99 % of what the last turn read was reused",
    ]);
  });

  it("says the place in line only while all that runs waits", () => {
    const turns = new Turns();
    turns.take(start("a"), NOW);
    turns.take(event("a", 2, { type: "queued", place: 2 }), NOW);
    assert.equal(bar({ turns }).text, "GLM-4.7 · busy · 2nd in line");
    turns.take(event("a", 3, { type: "queued", place: 1 }), NOW);
    assert.equal(bar({ turns }).text, "GLM-4.7 · busy · next in line");
    turns.take(start("b"), NOW);
    assert.equal(bar({ turns }).text, "GLM-4.7 · working");
  });

  it("says what is wrong with the server, and how bad that is", () => {
    const cases = [
      [{ kind: "missing", problem: "Nothing there." }, "GLM · not set up", "warning"],
      [{ kind: "starting" }, "GLM · starting", "plain"],
      [{ kind: "restarting", attempt: 2, of: 5, problem: "It ended." }, "GLM · restarting (2 of 5)", "warning"],
      [{ kind: "stopped", problem: "It ended." }, "GLM · stopped", "error"],
      [{ kind: "stopped", problem: "" }, "GLM · off", "plain"],
    ] as const;
    for (const [state, text, tone] of cases) {
      assert.deepEqual([bar({ state }).text, bar({ state }).tone], [text, tone]);
    }
  });

  it("believes the latest look at the engine, and not an old word of the server's", () => {
    const down: EngineStatusResult = { state: "down", message: "Nobody listens." };
    assert.equal(bar({ engine: down }).text, "GLM-4.7 · engine down");
    assert.equal(bar({ engine: down }).tone, "error");
    assert.deepEqual(bar({ engine: down }).lines, ["Nobody listens."]);
    const gone: StatusResult = { ...STATUS, message: "Refused.", engine: { model: "", state: "down" } };
    assert.equal(engineState({ status: gone, engine: { state: "ready" } }), "ready");
    assert.equal(engineState({ status: gone }), "down");
    assert.equal(engineState({ status: STATUS, engine: { state: "unknown" } }), "ready");
    assert.equal(bar({ engine: { state: "ready", asleep: true } }).text, "GLM-4.7 · engine asleep");
  });

  it("says that a stand-in is none of the real thing", () => {
    const banner = "SmolLM2-135M: a stand-in to try things out, not GLM-4.7";
    const status = { ...STATUS, engine: { ...STATUS.engine, model: "SmolLM2-135M", banner } };
    assert.deepEqual([bar({ status }).text, bar({ status }).tone], ["SmolLM2-135M · ready", "warning"]);
    assert.deepEqual(bar({ status }).lines, [banner]);
  });

  it("says that a workspace is not trusted", () => {
    assert.match(bar({ trusted: false }).lines.join(), /not trusted/);
  });
});

describe("names of models", () => {
  it("are what people call them", () => {
    assert.deepEqual(["glm-4.7-fp8", "zai-org/GLM-4.7-Flash", "Qwen/Qwen3-8B", ""].map(modelName), [
      "GLM-4.7",
      "GLM-4.7-Flash",
      "Qwen3-8B",
      "",
    ]);
  });
});

describe("turns", () => {
  it("forget requests of more than an hour ago, and keep the latest turns", () => {
    const turns = new Turns();
    turns.take(start("old"), NOW - 4_000_000);
    turns.take(usage("old", 1, 1), NOW - 4_000_000);
    turns.take(usage("old", 1, 1), NOW - 1_000);
    assert.equal(turns.samples(NOW).length, 1);
    for (let i = 0; i < 50; i++) {
      turns.take(start(`${i}`), NOW);
      turns.take(end(`${i}`), NOW);
    }
    assert.deepEqual([turns.recent.length, turns.recent[0]?.turnId], [20, "49"]);
  });

  it("say nothing is new for what the status bar does not show", () => {
    assert.equal(new Turns().take(event("a", 1, { type: "text", text: "x" }), NOW), false);
  });
});

describe("the health page", () => {
  it("offers for each trouble what mends it", () => {
    const offered = (over: Partial<Known>) =>
      health(known(over), t, NOW, "en").problems.map(({ buttons }) => buttons.map(({ command }) => command));
    assert.deepEqual(offered({}), []);
    assert.deepEqual(offered({ state: { kind: "missing", problem: "No." } }), [["glm-lsp.install"]]);
    assert.deepEqual(offered({ engine: { state: "down" } }), [["glm-lsp.chooseEngine", "glm-lsp.startEngine"]]);
    const elsewhere = { ...STATUS, engine: { ...STATUS.engine, url: "http://gpu:8000" } };
    assert.deepEqual(offered({ status: elsewhere, engine: { state: "down" } }), [["glm-lsp.chooseEngine"]]);
    assert.deepEqual(offered({ trusted: false }), [["workbench.trust.manage"]]);
  });

  it("shows what is known and nothing else", () => {
    const engine: EngineStatusResult = {
      state: "ready",
      running: 2,
      waiting: 1,
      kvUse: 0.375,
      gpus: [{ name: "H200", usedBytes: 128 * 2 ** 30, totalBytes: 140 * 2 ** 30, busy: 0.97 }],
    };
    const { sections } = health(known({ engine }), t, NOW, "en");
    assert.deepEqual(
      sections.map(({ title }) => title),
      ["Engine", "GPUs", "Versions"],
    );
    const rows = Object.fromEntries(sections.flatMap((one) => one.rows.map(({ label, value }) => [label, value])));
    assert.equal(rows["KV cache in use"], "38 %");
    assert.equal(rows["0 · H200"], "128.0 GiB of 140.0 GiB · 97 % busy");
    assert.equal(rows["Thinking is kept"], "token by token");
    assert.ok(!("Prefix cache, reused" in rows));
  });

  it("draws the last hour", () => {
    const turns = new Turns();
    turns.take(start("a"), NOW - 60_000);
    turns.take(usage("a", 10, 10), NOW - 30_000);
    const [speed, first] = health(known({ turns }), t, NOW, "en").charts;
    assert.deepEqual(speed?.points, [{ ago: 30, value: 143.2, label: "143 tokens/s" }]);
    assert.equal(first?.latest, "0.4 s, at most 0.4 s");
  });

  it("tells of turns that run and of those that ended", () => {
    const turns = new Turns();
    turns.take(start("a"), NOW - 60_000);
    turns.take(end("a", 500), NOW);
    turns.take(start("b"), NOW - 5_000);
    assert.deepEqual(health(known({ turns }), t, NOW, "en").turns.rows, [
      ["fix: mend it", "working", "5 s", "", "", ""],
      ["fix: mend it", "done", "18 s", "10", "1,000", "50 %"],
    ]);
  });
});
