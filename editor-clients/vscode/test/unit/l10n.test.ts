import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

/** The sentences that the sources hand to a translation, as they stand there. */
function sentences(folder: string): Set<string> {
  const found = new Set<string>();
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".ts")) {
      const source = readFileSync(join(folder, file), "utf8");
      for (const [, literal = ""] of source.matchAll(/\bt\(\s*("(?:[^"\\\n]|\\.)*")/g)) {
        found.add(JSON.parse(literal));
      }
      const other = /\bl10n\.t\(\s*[^"\s)]/.exec(source);
      assert.equal(other, null, `${file}: a sentence to translate stands there as it is, in double quotes`);
    }
  }
  return found;
}

const placeholders = (text: string) => [...text.matchAll(/\{\d\}/g)].map(([one]) => one).sort();

describe("the Chinese translation", () => {
  const bundle: Record<string, string> = JSON.parse(readFileSync("l10n/bundle.l10n.zh-cn.json", "utf8"));
  const said = sentences("src");

  it("has every sentence, and no other", () => {
    const missing = [...said].filter((text) => !(text in bundle));
    const needless = Object.keys(bundle).filter((text) => !said.has(text));
    assert.deepEqual({ missing, needless }, { missing: [], needless: [] });
  });

  it("puts in every sentence what the English one does", () => {
    for (const [english, chinese] of Object.entries(bundle)) {
      assert.deepEqual(placeholders(chinese), placeholders(english), english);
    }
  });
});
