// The lines above a change with what can be done about it. Never decides.
import * as vscode from "vscode";
import type { Marks } from "./marks";
import type { Proposals } from "./proposals";

export class Lenses implements vscode.CodeLensProvider, vscode.Disposable {
  readonly onDidChangeCodeLenses: vscode.Event<void>;
  private readonly listeners: vscode.Disposable[];

  constructor(
    private readonly proposals: Proposals,
    private readonly marks: Marks,
  ) {
    const changes = new vscode.EventEmitter<void>();
    this.onDidChangeCodeLenses = changes.event;
    this.listeners = [
      changes,
      marks.onChange(() => changes.fire()), // drawn anew whenever a proposal changes, too
      vscode.languages.registerCodeLensProvider([{ scheme: "file" }, { scheme: "untitled" }], this),
    ];
  }

  dispose(): void {
    vscode.Disposable.from(...this.listeners).dispose();
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const lenses: vscode.CodeLens[] = [];
    const put = (line: number, command: string, title: string, given: object) => {
      const at = new vscode.Range(Math.min(line, Math.max(document.lineCount - 1, 0)), 0, line, 0);
      lenses.push(new vscode.CodeLens(at, { command: `glm-lsp.review.${command}`, title, arguments: [given] }));
    };
    for (const { id, place, proposal } of this.marks.at(document.uri)) {
      const given = { proposalId: proposal.id, hunkId: id };
      put(place.first, "accept", vscode.l10n.t("Accept"), given);
      put(place.first, "reject", vscode.l10n.t("Reject"), given);
      put(place.first, "compare", vscode.l10n.t("Compare"), given);
      put(place.first, "why", vscode.l10n.t("Why"), given);
    }
    for (const { proposal, hunks } of this.proposals.at(document.uri)) {
      for (const hunk of hunks) {
        const given = { proposalId: proposal.id, hunkId: hunk.hunkId };
        const { line } = hunk.range.start;
        if (hunk.state === "stale") {
          put(line, "showFile", vscode.l10n.t("Moved: the code here changed since"), given);
          put(line, "rebase", vscode.l10n.t("Rebase"), given);
          put(line, "reject", vscode.l10n.t("Drop"), given);
        } else {
          put(line, "accept", vscode.l10n.t("Accept"), given);
          put(line, "reject", vscode.l10n.t("Reject"), given);
          put(line, "showFile", vscode.l10n.t("Show"), given);
        }
      }
    }
    return lenses;
  }
}
