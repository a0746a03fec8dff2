// Asks by a message of the editor's, where no feature of ours shows the question better.
import * as vscode from "vscode";
import type { PermissionParams, PermissionResult, QuestionParams, QuestionResult } from "../protocol";

/** The answers to a permission, in words. */
export function permissionLabels(): Record<PermissionResult["answer"], string> {
  return {
    once: vscode.l10n.t("Once"),
    always: vscode.l10n.t("Always this"),
    tool: vscode.l10n.t("Always this tool"),
    no: vscode.l10n.t("No"),
    never: vscode.l10n.t("Never this"),
  };
}

export async function askPermission(
  params: PermissionParams,
  token: vscode.CancellationToken,
): Promise<PermissionResult | undefined> {
  const labels = permissionLabels();
  const where = params.confined
    ? vscode.l10n.t("It runs without network and writes nowhere but in the workspace.")
    : vscode.l10n.t("It runs with all your rights.");
  const items = params.options.map((answer) => ({ title: labels[answer], answer }));
  const message = `${params.title}\n${params.detail}\n${where}`;
  const asked = vscode.window.showWarningMessage(message, ...items);
  const said = await Promise.race([asked, cancelled(token)]);
  return { answer: said?.answer ?? "no" };
}

export async function askQuestion(
  params: QuestionParams,
  token: vscode.CancellationToken,
): Promise<QuestionResult | undefined> {
  const other = vscode.l10n.t("Something else…");
  const options = { title: params.question, ignoreFocusOut: true };
  let answer = params.options.length
    ? await vscode.window.showQuickPick([...params.options, other], options, token)
    : other;
  if (answer === other) {
    answer = await vscode.window.showInputBox(options, token);
  }
  return { answer };
}

function cancelled(token: vscode.CancellationToken): Promise<undefined> {
  return new Promise((resolve) => {
    token.onCancellationRequested(() => resolve(undefined));
  });
}
