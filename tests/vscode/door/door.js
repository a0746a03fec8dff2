// A door into the extension host: runs what a test sends, with the extension API at hand, and answers in JSON.
// Line by line: {"source": "return 1 + args.n", "args": {"n": 1}} in; {"value": 2} or {"error": "…"} out.
const net = require("node:net");
const path = require("node:path");
const vscode = require("vscode");

const Async = Object.getPrototypeOf(async () => {}).constructor;
// What a test keeps from one call to the next.
const kept = {};

exports.activate = (context) => {
  const folder = process.env.TEST_DOORS;
  if (!folder) return;
  const server = net.createServer((connection) => {
    let text = "";
    connection.setEncoding("utf8");
    connection.on("error", () => {});
    connection.on("data", async (part) => {
      text += part;
      while (text.includes("\n")) {
        const end = text.indexOf("\n");
        const { source, args } = JSON.parse(text.slice(0, end));
        text = text.slice(end + 1);
        let answer;
        try {
          const value = await new Async("vscode", "args", "kept", "require", source)(vscode, args, kept, require);
          answer = JSON.stringify({ value: value === undefined ? null : value });
        } catch (error) {
          answer = JSON.stringify({ error: `${error && error.stack ? error.stack : error}` });
        }
        connection.write(`${answer}\n`);
      }
    });
  });
  // The name says which window it is of: the extension host's process, and what its page was opened with.
  server.listen(path.join(folder, `${process.pid}.sock`));
  context.subscriptions.push({ dispose: () => server.close() });
};
