// Where VS Code begins: one connection, handed to each feature in turn.
import * as vscode from "vscode";
import type { Feature } from "./glm";
import { model } from "./lanes/model";
import { participant } from "./lanes/participant";
import { reviews } from "./review";
import { Connection } from "./server/client";
import { server } from "./server/commands";
import { setup } from "./setup";
import { status } from "./status";
import { verbs } from "./verbs";
import { chat } from "./view";

/** In the order in which they begin. A feature is one line here. */
const FEATURES: Feature[] = [model, server, status, setup, verbs, reviews, chat, participant];

let connection: Connection | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const glm = new Connection(context);
  connection = glm;
  context.subscriptions.push(glm, ...FEATURES.map((feature) => feature(glm, context)));
  startWhenWanted(glm, context);
}

/** Starts the server as soon as there is something that it could work on; anything that asks it does so too. */
function startWhenWanted(glm: Connection, context: vscode.ExtensionContext): void {
  const wanted = () =>
    vscode.workspace.workspaceFolders?.length ||
    vscode.workspace.textDocuments.some(({ uri }) => uri.scheme === "file");
  if (wanted()) {
    void glm.start();
    return;
  }
  const look = () => {
    if (wanted()) {
      waiting.dispose();
      void glm.start();
    }
  };
  const waiting = vscode.Disposable.from(
    vscode.workspace.onDidOpenTextDocument(look),
    vscode.workspace.onDidChangeWorkspaceFolders(look),
  );
  context.subscriptions.push(waiting);
}

/** The server is told to end, and waited for; all else ends with the context's subscriptions. */
export async function deactivate(): Promise<void> {
  await connection?.end();
}
