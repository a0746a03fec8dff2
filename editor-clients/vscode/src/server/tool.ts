// Runs glm-lsp on the command line, for what it tells as JSON. Never in a workspace's folder, unless asked about it.
import { execFile } from "node:child_process";
import { homedir } from "node:os";
import type * as vscode from "vscode";
import { Problem } from "../glm";

/** The one JSON object that a command prints, whatever its exit code. Fails with a Problem. */
export function told<T>(path: string, args: readonly string[], token?: vscode.CancellationToken): Promise<T> {
  return new Promise((resolve, reject) => {
    const options = { cwd: homedir(), maxBuffer: 16 * 2 ** 20, timeout: 120_000 };
    const child = execFile(path, [...args, "--json"], options, (error, stdout, stderr) => {
      cancelled?.dispose();
      try {
        resolve(JSON.parse(stdout) as T);
      } catch {
        const last = stderr.trim().split("\n").at(-1);
        reject(new Problem(last || error?.message || `glm-lsp ${args.join(" ")}`));
      }
    });
    const cancelled = token?.onCancellationRequested(() => child.kill());
  });
}
