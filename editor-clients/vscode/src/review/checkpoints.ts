// The texts as they were before changes were made, so that all of them can be taken back in one step.
// Never takes back a file that was changed since, and keeps its files where only this workspace's extension reads.
import * as vscode from "vscode";
import { type Glm, Problem } from "../glm";
import type { Pending } from "./proposals";

interface Kept {
  label: string;
  files: Array<{ uri: string; before: string | null; after: string | null }>;
}

/** How many changes can be taken back. */
const MOST = 20;

/** Of documents that show a file as it was. */
export const BEFORE = "glm-before";

export class Checkpoints implements vscode.TextDocumentContentProvider {
  private kept: Kept[] = [];
  private readonly read: Promise<void>;
  /** The change that is being made. */
  private latest: Promise<unknown> = Promise.resolve();

  /** Keeps them in a file of this folder, which outlives the window; in memory where there is none. */
  constructor(
    private readonly glm: Glm,
    private readonly folder: vscode.Uri | undefined,
  ) {
    this.read = this.load();
  }

  /** Runs what changes the files of a proposal, and remembers them as they were before. */
  around<T>(proposal: Pending, change: () => Promise<T>): Promise<T> {
    const done = this.noted(proposal, change);
    this.latest = done.catch(() => undefined);
    return done;
  }

  private async noted<T>(proposal: Pending, change: () => Promise<T>): Promise<T> {
    const uris = proposal.told.files.map((file) => vscode.Uri.parse(file.uri));
    const before = await Promise.all(uris.map(textOf));
    try {
      return await change();
    } finally {
      const after = await Promise.all(uris.map(textOf));
      const files = uris
        .map((uri, at) => ({ uri: uri.toString(), before: before[at] ?? null, after: after[at] ?? null }))
        .filter((file) => file.before !== file.after);
      if (files.length > 0) {
        await this.read;
        this.kept.push({ label: proposal.instruction || proposal.told.summary, files });
        this.kept.splice(0, this.kept.length - MOST);
        await this.save();
      }
    }
  }

  /** Takes the last changes back, in all files as one step; what the server wrote where there is nothing of ours. */
  async undo(): Promise<void> {
    await Promise.all([this.read, this.latest]);
    const last = this.kept.pop();
    if (!last) {
      return this.undoOnDisk();
    }
    await this.save();
    const edit = new vscode.WorkspaceEdit();
    const left: string[] = [];
    for (const file of last.files) {
      const uri = vscode.Uri.parse(file.uri);
      const now = await textOf(uri);
      if (now !== file.after) {
        left.push(vscode.workspace.asRelativePath(uri));
      } else if (file.before === null) {
        edit.deleteFile(uri, { ignoreIfNotExists: true });
      } else if (now === null) {
        edit.createFile(uri, { contents: Buffer.from(file.before) });
      } else {
        const document = await vscode.workspace.openTextDocument(uri);
        edit.replace(uri, document.validateRange(new vscode.Range(0, 0, document.lineCount, 0)), file.before);
      }
    }
    if (edit.size > 0 && !(await vscode.workspace.applyEdit(edit))) {
      throw new Problem(vscode.l10n.t("The editor did not take the changes back."));
    }
    const what = vscode.l10n.t("Taken back: {0}", last.label);
    if (left.length > 0) {
      const rest = vscode.l10n.t("Changed since, and left as they are: {0}", left.join(", "));
      void vscode.window.showWarningMessage(`${what}. ${rest}`);
    } else {
      void vscode.window.setStatusBarMessage(what, 5_000);
    }
  }

  /** Shows a file as it was before the last changes beside what it is now. */
  async compare(uri: vscode.Uri): Promise<void> {
    const title = vscode.l10n.t("{0}, before and now", vscode.workspace.asRelativePath(uri));
    await vscode.commands.executeCommand("vscode.diff", uri.with({ scheme: BEFORE, authority: "" }), uri, title);
  }

  async provideTextDocumentContent(page: vscode.Uri): Promise<string> {
    await this.read;
    const files = this.kept.toReversed().flatMap((one) => one.files);
    return files.find((file) => vscode.Uri.parse(file.uri).path === page.path)?.before ?? "";
  }

  private async load(): Promise<void> {
    try {
      if (this.folder) {
        const file = await vscode.workspace.fs.readFile(vscode.Uri.joinPath(this.folder, "checkpoints.json"));
        this.kept = JSON.parse(Buffer.from(file).toString());
      }
    } catch {
      this.kept = []; // none yet, or half written: then only the editor's own undo goes back
    }
  }

  private async save(): Promise<void> {
    try {
      if (this.folder) {
        await vscode.workspace.fs.createDirectory(this.folder);
        const file = vscode.Uri.joinPath(this.folder, "checkpoints.json");
        await vscode.workspace.fs.writeFile(file, Buffer.from(JSON.stringify(this.kept)));
      }
    } catch (error) {
      this.glm.log.warn(`checkpoints hold until the window closes: ${error}`);
    }
  }

  private async undoOnDisk(): Promise<void> {
    const undone = await this.glm.request("glm/undo", {});
    void vscode.window.showInformationMessage(vscode.l10n.t("Taken back: {0}", undone.label));
  }
}

/** What a file says, in the editor or on the disk; null where there is none. */
export async function textOf(uri: vscode.Uri): Promise<string | null> {
  try {
    return (await vscode.workspace.openTextDocument(uri)).getText();
  } catch {
    return null;
  }
}
