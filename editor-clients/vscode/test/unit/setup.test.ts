import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { candidates, find, older } from "../../src/server/find";
import { failure, short } from "../../src/server/pip";
import { chosen, serverSettings } from "../../src/server/settings";
import { outcome, speed } from "../../src/setup/outcome";
import { planned, wrongAddress } from "../../src/setup/plan";
import { t } from "./translate";

const NOWHERE = { configured: "", own: "", path: "", folders: [] };

/** A program that says which version it is. */
function program(folder: string, says: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "glm-lsp");
  writeFileSync(path, `#!/bin/sh\n${says}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe("where the server is looked for", () => {
  const home = mkdtempSync(join(tmpdir(), "glm-find-"));
  const own = program(join(home, "own"), "echo glm-lsp, version 0.2.0");
  const onPath = program(join(home, "bin"), "echo glm-lsp, version 0.3.1");
  const ancient = program(join(home, "ancient"), "echo glm-lsp, version 0.0.9");
  const broken = program(join(home, "broken"), "echo 'ModuleNotFoundError: msgspec' >&2; exit 1");

  it("is first what the person set, and then nothing else", () => {
    const places = { configured: "/x/glm-lsp", own, path: "/bin", folders: ["/w"] };
    assert.deepEqual(candidates(places, false), ["/x/glm-lsp"]);
  });

  it("is the extension's own, the PATH, then the workspace's environments", () => {
    assert.deepEqual(candidates({ ...NOWHERE, own, path: "/a:/b", folders: ["/w"] }, false), [
      own,
      "/a/glm-lsp",
      "/b/glm-lsp",
      "/w/.venv/bin/glm-lsp",
      "/w/venv/bin/glm-lsp",
    ]);
  });

  it("passes by what is not there, does not run, or is too old", async () => {
    const path = ["/nowhere", join(home, "broken"), join(home, "ancient"), join(home, "bin")].join(":");
    assert.deepEqual(await find({ ...NOWHERE, path }), { path: onPath, version: "0.3.1" });
  });

  it("says why there is none", async () => {
    assert.deepEqual(await find(NOWHERE), { problem: "", tooOld: undefined });
    const old = await find({ ...NOWHERE, path: join(home, "ancient") });
    assert.deepEqual(old, { problem: "", tooOld: { path: ancient, version: "0.0.9" } });
    const failed = await find({ ...NOWHERE, configured: broken });
    assert.ok("problem" in failed && failed.problem.includes("ModuleNotFoundError: msgspec"));
  });

  it("compares versions by their numbers", () => {
    assert.ok(older("0.9.0", "0.10.0"));
    assert.ok(older("0.1.0", "1"));
    assert.ok(!older("0.1.0", "0.1.0"));
    assert.ok(!older("0.1.0.dev1", "0.1.0"));
  });
});

describe("the server's settings", () => {
  it("are those of the manifest that are not the extension's", () => {
    const sections = [
      { id: "extension", properties: { "glm.server.path": {} } },
      { id: "engine", properties: { "glm.engine.url": {}, "glm.engine.retries": {} } },
    ];
    assert.deepEqual(serverSettings(sections), ["engine.url", "engine.retries"]);
  });

  it("are sent only where somebody set them, the nearest value first", () => {
    const values: Record<string, object> = {
      "engine.url": { globalValue: "http://a", defaultValue: "" },
      "turn.max_steps": { globalValue: 1, workspaceValue: 2, workspaceFolderValue: 3, defaultValue: 60 },
      "turn.repairs": { defaultValue: 3 },
      "index.enabled": { globalValue: true, workspaceValue: false, defaultValue: true },
    };
    assert.deepEqual(
      chosen(Object.keys(values), (name) => values[name]),
      { engine: { url: "http://a" }, turn: { max_steps: 3 }, index: { enabled: false } },
    );
  });
});

describe("pip's words", () => {
  it("are shortened while it works", () => {
    assert.equal(short("Collecting numpy>=2.1 (from glm-lsp==0.1.0)"), "Collecting numpy");
    assert.equal(short("  Downloading numpy-2.1.0-cp311.whl (16 MB)"), "Downloading numpy-2.1.0-cp311.whl");
    assert.equal(short("  ---- 16.1/16.1 MB"), "");
  });

  it("say why it failed", () => {
    const said = "Looking in indexes\nERROR: No matching distribution found for glm-lsp\n";
    assert.deepEqual(failure(said), { offline: false, last: "No matching distribution found for glm-lsp" });
  });

  it("are known where it cannot reach an index: these are pip's own", () => {
    const args = ["-m", "pip", "--isolated", "download", "--no-cache-dir", "--retries", "1", "--timeout", "1"];
    const index = ["--index-url", "http://127.0.0.1:9/simple", "--dest", tmpdir(), "glm-lsp"];
    let output = "";
    try {
      execFileSync("python3", [...args, ...index], { stdio: "pipe", env: { PATH: process.env.PATH } });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: Buffer; stderr: Buffer };
      output = `${stdout}${stderr}`;
    }
    assert.ok(failure(output).offline, output);
  });
});

describe("the engine", () => {
  it("has an address of a known form", () => {
    assert.equal(wrongAddress("http://gpu:8000"), undefined);
    assert.equal(wrongAddress("https://gpu.example/v1"), undefined);
    assert.equal(wrongAddress("unix:/run/vllm.sock"), undefined);
    assert.equal(wrongAddress("gpu:8000"), "scheme");
    assert.equal(wrongAddress("http://"), "form");
  });

  it("is as fast as its tokens after the first came", () => {
    assert.deepEqual(speed(0, 400, 1400, 101), { firstTokenSeconds: 0.4, tokensPerSecond: 100 });
    assert.deepEqual(speed(0, 400, 400, 1), { firstTokenSeconds: 0.4, tokensPerSecond: 0 });
  });

  it("is said to work, and how well", () => {
    const model = {
      id: "glm-4.7-fp8",
      family: "glm-4.7",
      maxInputTokens: 1,
      maxOutputTokens: 1,
      tools: true,
      thinking: true,
      thinkingSwitch: true,
      exactness: "tokens",
    } as const;
    assert.equal(
      outcome({ model, firstTokenSeconds: 0.42, tokensPerSecond: 143.21 }, t, "en"),
      "GLM-4.7 works: 143.2 tokens/s, first token after 0.4 s · tools · thinking kept token by token",
    );
    assert.equal(
      outcome(
        {
          model: { ...model, tools: false, exactness: "none", banner: "A stand-in." },
          firstTokenSeconds: 0,
          tokensPerSecond: 0,
        },
        t,
      ),
      "GLM-4.7 works · no tools: it can answer, not edit · A stand-in.",
    );
  });

  it("is planned with a command and a reason for each flag", () => {
    const text = planned(
      {
        fits: true,
        hardware: "4xH200",
        model: { source: "zai-org/GLM-4.7-FP8", label: "GLM-4.7" },
        engines: 1,
        max_len: 202_752,
        memory: { tokens: 422_382, weights: 90.4e9, cache: 40.2e9, allowed: 138e9 },
        flags: [{ words: ["--tensor-parallel-size", "4"], reason: "Split over 4 GPUs." }],
        commands: [{ host: 0, shell: "vllm serve zai-org/GLM-4.7-FP8 --tensor-parallel-size 4" }],
        conversations: [],
        notes: ["A note."],
      },
      t,
      "en",
    );
    assert.match(text, /^# GLM-4\.7 · 4xH200\n\n```sh\nvllm serve zai-org/);
    assert.match(text, /90\.4 GB of weights and 40\.2 GB of KV cache; 422,382 tokens in all, 202,752 in one/);
    assert.match(text, /\| `--tensor-parallel-size 4` \| Split over 4 GPUs\. \|/);
    assert.match(text, /- A note\./);
  });
});
