// The list of proposals: files and hunks with check boxes, what is stale, what remains to be said. Never decides.
import * as vscode from "vscode";
import type { Objection, ProposalFile, ProposalHunk } from "../protocol";
import { words } from "../words";
import { isOpen, lines, size } from "./changes";
import { hover } from "./marks";
import { type Pending, type Proposals, titleOf } from "./proposals";

export type Node =
  | { kind: "proposal"; proposal: Pending }
  | { kind: "file"; proposal: Pending; file: ProposalFile }
  | { kind: "hunk"; proposal: Pending; file: ProposalFile; hunk: ProposalHunk }
  | { kind: "objection"; proposal: Pending; objection: Objection };

export class Tree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changes.event;
  /** Ids of hunks whose box a person has emptied. */
  private readonly left = new Set<string>();
  private readonly view: vscode.TreeView<Node>;
  private readonly listeners: vscode.Disposable[];

  constructor(private readonly proposals: Proposals) {
    this.view = vscode.window.createTreeView("glm-lsp.proposals", {
      treeDataProvider: this,
      manageCheckboxStateManually: true,
      showCollapseAll: true,
    });
    this.listeners = [
      this.view,
      this.view.onDidChangeCheckboxState(({ items }) => {
        for (const [node, state] of items) {
          this.check(node, state === vscode.TreeItemCheckboxState.Checked);
        }
        this.changes.fire(undefined);
      }),
      proposals.onChange(() => this.refresh()),
    ];
  }

  dispose(): void {
    vscode.Disposable.from(...this.listeners, this.changes).dispose();
  }

  /** The hunks of a proposal whose box is full. */
  checked(proposal: Pending): string[] {
    return proposal.told.files
      .flatMap((file) => file.hunks)
      .filter((hunk) => hunk.state === "pending" && !this.left.has(hunk.hunkId))
      .map((hunk) => hunk.hunkId);
  }

  async reveal(proposal: Pending): Promise<void> {
    await this.view.reveal({ kind: "proposal", proposal }, { expand: 2, focus: false, select: true });
  }

  getParent(node: Node): Node | undefined {
    switch (node.kind) {
      case "proposal":
        return undefined;
      case "hunk":
        return { kind: "file", proposal: node.proposal, file: node.file };
      default:
        return { kind: "proposal", proposal: node.proposal };
    }
  }

  getChildren(node?: Node): Node[] {
    if (!node) {
      return this.proposals.open.map((proposal) => ({ kind: "proposal", proposal }));
    }
    const { proposal } = node;
    switch (node.kind) {
      case "proposal":
        return [
          ...proposal.told.objections.map((objection): Node => ({ kind: "objection", proposal, objection })),
          ...openFiles(proposal).map((file): Node => ({ kind: "file", proposal, file })),
        ];
      case "file":
        return node.file.hunks.filter(isOpen).map((hunk) => ({ kind: "hunk", proposal, file: node.file, hunk }));
      default:
        return [];
    }
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const { Collapsed, Expanded, None } = vscode.TreeItemCollapsibleState;
    switch (node.kind) {
      case "proposal": {
        const item = new vscode.TreeItem(titleOf(node.proposal), Expanded);
        item.id = node.proposal.id;
        item.description = words(vscode.l10n.t, vscode.env.language).size(openFiles(node.proposal).map(size));
        item.tooltip = node.proposal.said || node.proposal.told.summary;
        item.iconPath = new vscode.ThemeIcon("git-pull-request-draft");
        item.contextValue = "proposal";
        return item;
      }
      case "file": {
        const uri = vscode.Uri.parse(node.file.uri);
        const item = new vscode.TreeItem(uri, openFiles(node.proposal).length > 5 ? Collapsed : Expanded);
        item.id = `${node.proposal.id} ${node.file.uri}`;
        const { added, removed } = size(node.file);
        const what = { create: vscode.l10n.t("new"), delete: vscode.l10n.t("deleted"), edit: "" }[node.file.kind];
        item.description = [what, `+${added} −${removed}`].filter(Boolean).join(" ");
        item.tooltip = vscode.workspace.asRelativePath(uri);
        item.iconPath = vscode.ThemeIcon.File;
        item.contextValue = "file";
        item.checkboxState = this.box(node.file.hunks.filter((hunk) => hunk.state === "pending"));
        item.command = { command: "glm-lsp.review.showFile", title: "", arguments: [node] };
        return item;
      }
      case "hunk": {
        const { hunk } = node;
        const stale = hunk.state === "stale";
        const [first] = [...lines(hunk.newText), ...lines(hunk.oldText)];
        const item = new vscode.TreeItem(first?.trim() || vscode.l10n.t("(an empty line)"), None);
        item.id = hunk.hunkId;
        item.description = stale
          ? vscode.l10n.t("Moved: the code here changed since")
          : vscode.l10n.t("line {0}", hunk.range.start.line + 1);
        item.tooltip = hover(node.proposal, hunk);
        item.iconPath = new vscode.ThemeIcon(stale ? "warning" : "diff-modified");
        item.contextValue = stale ? "hunk.stale" : "hunk";
        item.checkboxState = stale ? undefined : this.box([hunk]);
        item.command = { command: "glm-lsp.review.showFile", title: "", arguments: [node] };
        return item;
      }
      case "objection": {
        const { objection } = node;
        const item = new vscode.TreeItem(objection.message, None);
        const line = objection.line === undefined ? "" : `:${objection.line + 1}`;
        item.description = `${vscode.workspace.asRelativePath(vscode.Uri.parse(objection.uri))}${line}`;
        item.iconPath = new vscode.ThemeIcon("error", new vscode.ThemeColor("list.errorForeground"));
        return item;
      }
    }
  }

  private check(node: Node, full: boolean): void {
    const hunks = node.kind === "hunk" ? [node.hunk] : node.kind === "file" ? node.file.hunks : [];
    for (const { hunkId } of hunks) {
      if (full) {
        this.left.delete(hunkId);
      } else {
        this.left.add(hunkId);
      }
    }
  }

  private box(hunks: ProposalHunk[]): vscode.TreeItemCheckboxState | undefined {
    const { Checked, Unchecked } = vscode.TreeItemCheckboxState;
    return hunks.length === 0 ? undefined : hunks.some((hunk) => !this.left.has(hunk.hunkId)) ? Checked : Unchecked;
  }

  private refresh(): void {
    const { open } = this.proposals;
    const hunks = open.reduce((sum, one) => sum + this.checked(one).length, 0);
    const value = hunks;
    this.view.badge = value ? { value, tooltip: vscode.l10n.t("{0} changes to review", value) } : undefined;
    this.changes.fire(undefined);
  }
}

function openFiles(proposal: Pending): ProposalFile[] {
  return proposal.told.files.filter((file) => file.hunks.some(isOpen));
}
