// Bundles the extension for Node and its pages for the web view into dist/.
import { existsSync } from "node:fs";
import { build, context } from "esbuild";

const watch = process.argv.includes("--watch");
const shared = {
  bundle: true,
  minify: process.argv.includes("--minify"),
  sourcemap: process.argv.includes("--minify") ? false : "linked",
  outdir: "dist",
  logLevel: "info",
};

/** The pages: each becomes NAME.js, and NAME.css where it imports style sheets. */
const pages = { view: "src/view/web/main.ts", health: "src/status/web/main.ts" };

const bundles = [
  {
    ...shared,
    entryPoints: { extension: "src/extension.ts" },
    platform: "node",
    format: "cjs",
    target: "node20",
    external: ["vscode"],
  },
  {
    ...shared,
    entryPoints: Object.fromEntries(Object.entries(pages).filter(([, file]) => existsSync(file))),
    platform: "browser",
    format: "iife",
    target: "chrome120",
    loader: { ".ttf": "file" },
    assetNames: "[name]",
  },
];

for (const options of bundles) {
  if (watch) {
    await (await context(options)).watch();
  } else {
    await build(options);
  }
}
