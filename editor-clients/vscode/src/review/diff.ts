// Proposals in the diff editor: the file as it is beside the file as it would be. Never changes a file.
import * as vscode from "vscode";
import type { ProposalFile } from "../protocol";
import { proposed } from "./changes";
import { textOf } from "./checkpoints";
import { type Pending, type Proposals, titleOf } from "./proposals";

/** Of documents that show a file with what is proposed put in; the query is the proposal's id. */
export const PROPOSED = "glm-proposed";

export class Diffs implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changes.event;
  private readonly listeners: vscode.Disposable[];
  /** The pages with several files that were shown, by their titles: VS Code does not tell what is in one. */
  private readonly pages = new Map<string, string>();

  constructor(private readonly proposals: Proposals) {
    this.listeners = [
      vscode.workspace.registerTextDocumentContentProvider(PROPOSED, this),
      proposals.onChange(() => this.refresh()),
    ];
  }

  dispose(): void {
    vscode.Disposable.from(...this.listeners, this.changes).dispose();
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const found = this.fileOf(uri);
    const live = found && (await textOf(vscode.Uri.parse(found.file.uri)));
    return found ? proposed(live ?? "", found.file) : "";
  }

  /** The proposal and the file that a page of ours shows. */
  fileOf(uri: vscode.Uri): { proposal: Pending; file: ProposalFile } | undefined {
    const proposal = uri.scheme === PROPOSED ? this.proposals.find(uri.query) : undefined;
    const file = proposal?.told.files.find((one) => vscode.Uri.parse(one.uri).path === uri.path);
    return proposal && file && { proposal, file };
  }

  /** Shows one file of a proposal, at a line. */
  async show(proposal: Pending, file: ProposalFile, line?: number): Promise<void> {
    const title = `${vscode.workspace.asRelativePath(vscode.Uri.parse(file.uri))} · ${titleOf(proposal)}`;
    const first = line ?? file.hunks.find((hunk) => hunk.state === "pending")?.range.start.line ?? 0;
    const selection = new vscode.Range(first, 0, first, 0);
    const [, original, modified] = sides(proposal, file);
    if (original && modified) {
      await vscode.commands.executeCommand("vscode.diff", original, modified, title, { selection, preview: true });
    } else {
      await vscode.commands.executeCommand("vscode.changes", title, [sides(proposal, file)]);
    }
  }

  /** Shows all files of a proposal in one page. */
  async showAll(proposal: Pending): Promise<void> {
    const resources = proposal.told.files.map((file) => sides(proposal, file));
    this.pages.set(titleOf(proposal), proposal.id);
    await vscode.commands.executeCommand("vscode.changes", titleOf(proposal), resources);
  }

  /** Closes the pages of proposals that are decided. */
  async close(): Promise<void> {
    const tabs = vscode.window.tabGroups.all
      .flatMap((group) => group.tabs)
      .filter((tab) => {
        if (tab.input instanceof vscode.TabInputTextDiff) {
          const page = tab.input.modified;
          return page.scheme === PROPOSED && !this.fileOf(page)?.file.hunks.some((hunk) => hunk.state === "pending");
        }
        // Its label is our title with the number of files behind it.
        const id = this.pages.get(tab.label.replace(/ \([^()]*\)$/, ""));
        return (
          id !== undefined &&
          !(tab.input instanceof vscode.TabInputText) &&
          !this.proposals.open.some((one) => one.id === id)
        );
      });
    if (tabs.length > 0) {
      await vscode.window.tabGroups.close(tabs, true);
    }
  }

  private refresh(): void {
    for (const { uri } of vscode.workspace.textDocuments) {
      if (uri.scheme === PROPOSED) {
        this.changes.fire(uri);
      }
    }
    void this.close();
  }
}

/** A file for the diff editor: its name, what it is, what it would be. The paths are the same, or it were a rename. */
function sides(proposal: Pending, file: ProposalFile): [vscode.Uri, vscode.Uri | undefined, vscode.Uri | undefined] {
  const uri = vscode.Uri.parse(file.uri);
  const page = uri.with({ scheme: PROPOSED, authority: "", query: proposal.id });
  return [uri, file.kind === "create" ? undefined : uri, file.kind === "delete" ? undefined : page];
}
