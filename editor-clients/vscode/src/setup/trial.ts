// Tries the engine: what it can do, and how fast it is, by one short reply. Keeps nothing of what was said.
import { randomUUID } from "node:crypto";
import { homedir } from "node:os";
import * as vscode from "vscode";
import type { Glm } from "../glm";
import { speed, type Trial } from "./outcome";

const TOKENS = 96;

export async function tryOut(glm: Glm, token: vscode.CancellationToken): Promise<Trial> {
  // A window without a folder has an engine all the same.
  const workspaceFolder = vscode.workspace.workspaceFolders?.length ? undefined : vscode.Uri.file(homedir()).toString();
  const model = await glm.request("glm/model/info", { workspaceFolder }, token);
  const stream = randomUUID();
  const text = "Write the numbers from 1 to 60, separated by spaces, and nothing else.";
  const began = performance.now();
  let first = 0;
  const listening = glm.onDelta((delta) => {
    if (delta.stream === stream && delta.part.type !== "place") {
      first ||= performance.now();
    }
  });
  try {
    const { usage } = await glm.request(
      "glm/model/complete",
      {
        stream,
        messages: [{ role: "user", parts: [{ type: "text", text }] }],
        thinking: "off",
        maxTokens: TOKENS,
        workspaceFolder,
      },
      token,
    );
    const ended = performance.now();
    return { model, ...speed(began, first || ended, ended, usage.outputTokens) };
  } finally {
    listening.dispose();
  }
}
