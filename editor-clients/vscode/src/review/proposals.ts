// The proposals that lie before the person, as they stand against the texts now, and what is decided on them.
// Never shows anything: that is for the diff, the list and the marks in the text.
import * as vscode from "vscode";
import { type Glm, Problem } from "../glm";
import type { End, ProposalFile, ProposalHunk, ProposalResult, ResolveResult, Start, TurnEvent } from "../protocol";
import { isOpen, waits } from "./changes";
import type { Checkpoints } from "./checkpoints";

/** One proposal, with what was asked for. */
export interface Pending {
  readonly id: string;
  readonly told: ProposalResult;
  readonly action: string;
  readonly instruction: string;
  readonly conversationId: string;
  /** What the model said at the end of the turn, as far as it has. */
  readonly said: string;
}

/** Milliseconds without typing after which places are asked for again. */
const SETTLE_MS = 150;

/** How many proposals are kept that are decided, to be looked at again. */
const KEPT = 20;

export class Proposals implements vscode.Disposable {
  private readonly all = new Map<string, Pending>();
  private readonly turns = new Map<string, { start: Start; said: string }>();
  private readonly changes = new vscode.EventEmitter<void>();
  private readonly arrivals = new vscode.EventEmitter<Pending>();
  private readonly listeners: vscode.Disposable[];
  private timer: NodeJS.Timeout | undefined;

  /** Something is not as it was: a proposal came, was decided on, or its place moved. */
  readonly onChange = this.changes.event;
  /** A turn has made one. */
  readonly onArrival = this.arrivals.event;

  constructor(
    private readonly glm: Glm,
    private readonly checkpoints: Checkpoints,
  ) {
    this.listeners = [
      glm.onEvent((event) => this.heard(event)),
      glm.onDecision((id) => this.all.has(id) && void this.refresh(id)),
      glm.onState((state) => {
        if (state.kind !== "ready" && this.all.size > 0) {
          this.all.clear(); // a server that comes back does not know them any more
          this.changes.fire();
        }
      }),
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length > 0 && this.at(document.uri).length > 0) {
          clearTimeout(this.timer);
          this.timer = setTimeout(() => void this.refresh(), SETTLE_MS);
        }
      }),
    ];
  }

  dispose(): void {
    clearTimeout(this.timer);
    vscode.Disposable.from(...this.listeners, this.changes, this.arrivals).dispose();
  }

  /** Those that wait for a decision, the latest first. */
  get open(): Pending[] {
    return [...this.all.values()].filter((one) => waits(one.told)).reverse();
  }

  /** The proposal of that id; the latest one that waits without an id. */
  find(id?: string): Pending | undefined {
    return id ? this.all.get(id) : this.open[0];
  }

  /** What waits in a document. */
  at(uri: vscode.Uri): Array<{ proposal: Pending; file: ProposalFile; hunks: ProposalHunk[] }> {
    const name = uri.toString();
    return this.open.flatMap((proposal) =>
      proposal.told.files
        .filter((file) => vscode.Uri.parse(file.uri).toString() === name)
        .map((file) => ({ proposal, file, hunks: file.hunks.filter(isOpen) }))
        .filter((found) => found.hunks.length > 0),
    );
  }

  /** Takes pieces over into the texts, all that wait without `hunks`; undefined where the person would not. */
  async accept(proposal: Pending, hunks?: readonly string[]): Promise<ResolveResult | undefined> {
    if (!(await this.agreed(proposal))) {
      return undefined;
    }
    const done = await this.checkpoints.around(proposal, () => this.resolve(proposal, true, hunks));
    if (done.stale.length > 0) {
      const message =
        done.stale.length === 1
          ? vscode.l10n.t("Moved: the code at one change is not as it was, and it was left out.")
          : vscode.l10n.t(
              "Moved: the code at {0} changes is not as it was, and they were left out.",
              done.stale.length,
            );
      void vscode.window.showWarningMessage(message);
    }
    this.glm.notify("glm/feedback", {
      decision: hunks ? "partial" : "accepted",
      proposalId: proposal.id,
      hunks: [...(hunks ?? [])],
    });
    return done;
  }

  /** Leaves pieces out, all that wait without `hunks`. */
  async reject(proposal: Pending, hunks?: readonly string[]): Promise<void> {
    await this.resolve(proposal, false, hunks);
    this.glm.notify("glm/feedback", {
      decision: hunks ? "partial" : "rejected",
      proposalId: proposal.id,
      hunks: [...(hunks ?? [])],
    });
  }

  /** What was accepted as an edit that we make ourselves; undefined where the person would not. */
  async edit(proposal: Pending): Promise<object | undefined> {
    if (!(await this.agreed(proposal))) {
      return undefined;
    }
    const decisions = openIn(proposal).map((hunk) => ({ hunkId: hunk.hunkId, accept: true }));
    const done = await this.glm.request("glm/proposal/resolve", { proposalId: proposal.id, decisions, apply: false });
    await this.refresh(proposal.id);
    return done.edit;
  }

  /** Asks the model to make a change again, on the code as it is now. */
  async rebase(proposal: Pending, file: ProposalFile, hunk: ProposalHunk): Promise<void> {
    await this.reject(proposal, [hunk.hunkId]);
    const instruction = [
      vscode.l10n.t(
        "The code changed before your change could be made. Make this change again, on the code as it is now:",
      ),
      "```diff",
      ...hunk.oldText.split("\n").map((line) => `-${line}`),
      ...hunk.newText.split("\n").map((line) => `+${line}`),
      "```",
    ].join("\n");
    await this.glm.request("glm/turn", {
      action: "refactor",
      instruction,
      textDocument: { uri: file.uri },
      ...(proposal.conversationId ? { conversationId: proposal.conversationId } : {}),
    });
  }

  /** Asks where everything stands now. */
  async refresh(only?: string): Promise<void> {
    const wanted = only ? [only] : this.open.map((one) => one.id);
    await Promise.all(wanted.map((id) => this.load(id)));
    this.changes.fire();
  }

  private async resolve(proposal: Pending, accept: boolean, hunks?: readonly string[]): Promise<ResolveResult> {
    const ids = hunks ?? openIn(proposal).map((hunk) => hunk.hunkId);
    const decisions = ids.map((hunkId) => ({ hunkId, accept }));
    try {
      return await this.glm.request("glm/proposal/resolve", { proposalId: proposal.id, decisions });
    } finally {
      await this.refresh(proposal.id);
    }
  }

  private async agreed(proposal: Pending): Promise<boolean> {
    const [first, ...more] = proposal.told.objections;
    if (!first) {
      return true;
    }
    const apply = vscode.l10n.t("Apply Anyway");
    const detail = [first, ...more]
      .map((one) => `${basename(one.uri)}:${(one.line ?? 0) + 1}: ${one.message}`)
      .join("\n");
    const message = vscode.l10n.t("Problems remain in what GLM proposes.");
    return (await vscode.window.showWarningMessage(message, { modal: true, detail }, apply)) === apply;
  }

  private heard({ turnId, conversationId, event }: TurnEvent): void {
    switch (event.type) {
      case "start":
        this.turns.set(turnId, { start: event, said: "" });
        break;
      case "text": {
        const turn = this.turns.get(turnId);
        if (turn) {
          turn.said += event.text;
        }
        break;
      }
      case "proposal":
        void this.arrive(event.proposalId, turnId, conversationId);
        break;
      case "end":
        this.ended(turnId, event);
        break;
    }
  }

  private async arrive(id: string, turnId: string, conversationId: string): Promise<void> {
    const turn = this.turns.get(turnId);
    const { action = "", instruction = "" } = turn?.start ?? {};
    const loaded = await this.load(id, { action, instruction, conversationId, said: turn?.said ?? "" });
    const decided = [...this.all.values()].filter((one) => !waits(one.told));
    for (const old of decided.slice(0, Math.max(0, decided.length - KEPT))) {
      this.all.delete(old.id);
    }
    if (loaded) {
      this.changes.fire();
      this.arrivals.fire(loaded);
    }
  }

  private ended(turnId: string, event: End): void {
    const turn = this.turns.get(turnId);
    this.turns.delete(turnId);
    const made = event.proposalId ? this.all.get(event.proposalId) : undefined;
    if (turn && made) {
      this.all.set(made.id, { ...made, said: turn.said });
    }
  }

  private async load(id: string, asked?: Omit<Pending, "id" | "told">): Promise<Pending | undefined> {
    try {
      const told = await this.glm.request("glm/proposal/get", { proposalId: id });
      const known = this.all.get(id);
      const rest = asked ?? known ?? { action: "", instruction: "", conversationId: "", said: "" };
      const pending = { ...rest, id, told };
      this.all.set(id, pending);
      return pending;
    } catch (error) {
      this.glm.log.warn(`proposal ${id}: ${Problem.of(error).message}`);
      this.all.delete(id);
      return undefined;
    }
  }
}

/** All that waits in a proposal. */
export function openIn(proposal: Pending): ProposalHunk[] {
  return proposal.told.files.flatMap((file) => file.hunks.filter(isOpen));
}

/** What a person reads for a proposal: their own words where there are some. */
export function titleOf(proposal: Pending): string {
  return (proposal.instruction || proposal.told.summary).replace(/\s+/g, " ").trim();
}

function basename(uri: string): string {
  return vscode.workspace.asRelativePath(vscode.Uri.parse(uri));
}
