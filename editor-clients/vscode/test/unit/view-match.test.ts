import assert from "node:assert/strict";
import { test } from "node:test";
import { best } from "../../src/view/match";
import { pathOf, translator } from "../../src/view/web/page";

const PATHS = ["src/cart.py", "src/cart/money.py", "tests/test_cart.py", "docs/carton.md", "setup.cfg"];

test("a name's beginning goes before its middle, a folder and mere letters", () => {
  assert.deepEqual(best("cart", PATHS, 9, new Set()), [
    "src/cart.py",
    "docs/carton.md",
    "tests/test_cart.py",
    "src/cart/money.py",
  ]);
  assert.deepEqual(best("scmn", PATHS, 9, new Set()), ["src/cart/money.py"]);
  assert.deepEqual(best("nothing", PATHS, 9, new Set()), []);
});

test("what is open is preferred, and no more are told than wanted", () => {
  assert.deepEqual(best("cart", PATHS, 1, new Set(["docs/carton.md"])), ["docs/carton.md"]);
});

test("paths are told from the folder that holds them", () => {
  assert.equal(pathOf("file:///shop/src/caf%C3%A9.py", ["file:///shop"]), "src/café.py");
  assert.equal(pathOf("file:///shopping/a.py", ["file:///shop"]), "/shopping/a.py");
});

test("sentences are in the person's language where there is one, and filled", () => {
  const t = translator({ "Read first: {0}": "先读:{0}" });
  assert.equal(t("Read first: {0}", "a.py"), "先读:a.py");
  assert.equal(t("{0} of {1}", 1, 2), "1 of 2");
});
