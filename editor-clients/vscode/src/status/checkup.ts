// All that `glm-lsp doctor` looks at, for the health page. Never mends anything.
import * as vscode from "vscode";
import type { Glm } from "../glm";
import { told } from "../server/tool";
import type { Checkup } from "./picture";

/** Checks everything; undefined where no server was found, which says all there is to say. */
export async function checkUp(glm: Glm, token: vscode.CancellationToken): Promise<Checkup | undefined> {
  await glm.start();
  if (glm.state.kind !== "ready") {
    return undefined;
  }
  const url = vscode.workspace.getConfiguration("glm.engine").get("url", "");
  const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  const args = ["doctor", ...(url ? ["--engine", url] : []), ...(root ? ["--root", root] : [])];
  return told<Checkup>(glm.state.path, args, token);
}
