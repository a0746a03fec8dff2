// Where VS Code begins: one connection, handed to each feature in turn.
import * as vscode from "vscode";
import type { Feature } from "./glm";
import { reviews } from "./review";
import { Connection } from "./server/client";
import { server } from "./server/commands";
import { setup } from "./setup";
import { status } from "./status";
import { chat } from "./view";

/** In the order in which they begin. A feature is one line here. */
const FEATURES: Feature[] = [server, status, setup, reviews, chat];

export function activate(context: vscode.ExtensionContext): void {
  const glm = new Connection(context);
  context.subscriptions.push(glm, ...FEATURES.map((feature) => feature(glm, context)));
  if (vscode.workspace.workspaceFolders?.length) {
    void glm.start();
  }
}

/** All of it ends with the context's subscriptions. */
export function deactivate(): void {}
