// Review: from a proposal of the model's to edits that a person took over. Never applies what nobody chose.
import * as vscode from "vscode";
import { type Feature, Problem } from "../glm";
import type { ProposalFile, ProposalHunk } from "../protocol";
import { askForWords, withoutServerLenses } from "./actions";
import { formOf, hunkAt, isOpen, type Wish } from "./changes";
import { BEFORE, Checkpoints } from "./checkpoints";
import { Diffs, PROPOSED } from "./diff";
import { Lenses } from "./lenses";
import { Marks, type Tried } from "./marks";
import { preview } from "./preview";
import { type Pending, Proposals, titleOf } from "./proposals";
import { type Node, Tree } from "./tree";

/** What a command is about: a proposal, a file or a hunk of it; nothing for what is under the cursor. */
export interface Subject {
  proposalId?: string;
  hunkId?: string;
  /** Addresses of the files that are meant; all without them. */
  files?: string[];
}

export const reviews: Feature = (glm, context) => {
  const checkpoints = new Checkpoints(glm, context.storageUri);
  const proposals = new Proposals(glm, checkpoints);
  const diffs = new Diffs(proposals);
  const marks = new Marks(glm, proposals);
  const tree = new Tree(proposals);
  const lenses = new Lenses(proposals, marks);
  askForWords(glm);
  withoutServerLenses(glm);

  const open = async (proposal: Pending, wish?: Wish) => {
    const wanted = wish ?? vscode.workspace.getConfiguration("glm.review").get<Wish>("show", "auto");
    const [file] = proposal.told.files.filter((one) => one.hunks.length > 0);
    const form =
      proposal.told.objections.length > 0 && wanted !== "list"
        ? "multi"
        : formOf(proposal.told, proposal.action, wanted);
    if (form === "inline" && file) {
      await tryOut(proposal, file);
    } else if (form === "diff" && file) {
      await diffs.show(proposal, file);
    } else if (form === "multi") {
      await diffs.showAll(proposal);
      await tree.reveal(proposal);
    } else if (form === "preview") {
      await throughPreview(proposal);
    } else {
      await tree.reveal(proposal);
    }
  };

  /** Makes a change for a look, marked in the text: kept or put back with a key. */
  const tryOut = async (proposal: Pending, file: ProposalFile) => {
    const uri = vscode.Uri.parse(file.uri);
    const hunks = file.hunks.filter((hunk) => hunk.state === "pending");
    const done = await proposals.accept(proposal, waiting(hunks));
    if (!done?.applied) {
      return;
    }
    let shift = 0;
    for (const hunk of hunks.filter((one) => !done.stale.includes(one.hunkId))) {
      const { start, end } = hunk.range;
      const at = { start: { ...start, line: start.line + shift }, end: { ...end, line: end.line + shift } };
      marks.mark(proposal, uri, { ...hunk, range: at });
      shift += hunk.newText.split("\n").length - hunk.oldText.split("\n").length;
    }
    await bringIntoView(uri, hunks[0]?.range.start.line ?? 0);
  };

  const throughPreview = async (proposal: Pending) => {
    const edit = await proposals.edit(proposal);
    if (edit) {
      const taken = await checkpoints.around(proposal, () => preview(edit, titleOf(proposal)));
      const decision = taken ? "accepted" : "rejected";
      glm.notify("glm/feedback", { decision, proposalId: proposal.id });
    }
  };

  /** What a command is about: what it was given, else what is under the cursor, else the latest proposal. */
  const subject = (given?: Subject | Node): Found | undefined => {
    if (given && "kind" in given) {
      return {
        proposal: given.proposal,
        ...("file" in given && { file: given.file }),
        ...("hunk" in given && { hunk: given.hunk }),
      };
    }
    if (given?.proposalId) {
      const proposal = proposals.find(given.proposalId);
      const file = proposal?.told.files.find((one) => one.hunks.some((hunk) => hunk.hunkId === given.hunkId));
      return proposal && { proposal, file, hunk: file?.hunks.find((one) => one.hunkId === given.hunkId) };
    }
    return underCursor() ?? latest();
  };

  const latest = (): Found | undefined => {
    const proposal = proposals.find();
    return proposal && { proposal };
  };

  const underCursor = (): Found | undefined => {
    const editor = vscode.window.activeTextEditor;
    if (!editor) {
      return undefined;
    }
    const { document, selection } = editor;
    if (document.uri.scheme === PROPOSED) {
      const found = diffs.fileOf(document.uri);
      const waiting = found?.file.hunks.filter((hunk) => hunk.state === "pending") ?? [];
      // Lines of the proposed side, counted back to those of the file.
      let shift = 0;
      const placed = waiting.map((hunk) => {
        const { start, end } = hunk.range;
        const height = hunk.newText.split("\n").length - 1;
        const range = {
          start: { ...start, line: start.line + shift },
          end: { ...end, line: start.line + shift + height },
        };
        shift += height - (end.line - start.line);
        return { hunk, range };
      });
      return found && { ...found, hunk: hunkAt(placed, selection.active.line)?.hunk };
    }
    const [here] = proposals.at(document.uri);
    return here && { proposal: here.proposal, file: here.file, hunk: hunkAt(here.hunks, selection.active.line) };
  };

  const triedHere = (id?: string): Tried | undefined => {
    if (id) {
      return marks.find(id);
    }
    const editor = vscode.window.activeTextEditor;
    const line = editor?.selection.active.line ?? 0;
    const tried = editor ? marks.at(editor.document.uri) : [];
    return tried.find(({ place }) => line >= place.first && line <= place.first + place.count) ?? tried[0];
  };

  /** The next or the last place to decide on in this document, from the cursor. */
  const step = async (by: 1 | -1) => {
    const editor = vscode.window.activeTextEditor;
    if (!editor) {
      return;
    }
    const { uri } = editor.document;
    const starts = [
      ...proposals.at(uri).flatMap(({ hunks }) => hunks.map((hunk) => hunk.range.start.line)),
      ...marks.at(uri).map(({ place }) => place.first),
    ].sort((a, b) => a - b);
    const line = editor.selection.active.line;
    const next = by > 0 ? starts.find((one) => one > line) : starts.findLast((one) => one < line);
    const wrapped = next ?? (by > 0 ? starts[0] : starts.at(-1));
    if (wrapped !== undefined) {
      await goTo(uri, wrapped);
    }
  };

  const commands: Record<string, (given?: Subject & Node) => unknown> = {
    open: async (given) => {
      const found = subject(given);
      if (!found) {
        throw new Problem(vscode.l10n.t("There is nothing to review."));
      }
      await open(found.proposal, given?.proposalId ? "diff" : undefined);
    },
    showFile: async (given) => {
      const found = subject(given);
      if (found?.file) {
        await diffs.show(found.proposal, found.file, found.hunk?.range.start.line);
      }
    },
    accept: async (given) => {
      const tried = triedHere(given?.hunkId);
      if (tried) {
        return marks.keep(tried);
      }
      const found = subject(given);
      await (found && proposals.accept(found.proposal, meant(found)));
    },
    reject: async (given) => {
      const tried = triedHere(given?.hunkId);
      if (tried) {
        glm.notify("glm/feedback", { decision: "rejected", proposalId: tried.proposal.id, hunks: [tried.id] });
        return marks.putBack(tried);
      }
      const found = subject(given);
      await (found && proposals.reject(found.proposal, meant(found)));
    },
    acceptAll: async (given) => {
      const found = subject(given);
      await (found && proposals.accept(found.proposal));
    },
    acceptFiles: async (given) => {
      const found = subject(given);
      const files = found?.proposal.told.files.filter((file) => !given?.files || given.files.includes(file.uri)) ?? [];
      await (found && proposals.accept(found.proposal, waiting(files.flatMap((file) => file.hunks))));
    },
    acceptChecked: async (given) => {
      const found = subject(given);
      await (found && proposals.accept(found.proposal, tree.checked(found.proposal)));
    },
    rejectAll: async (given) => {
      const found = subject(given);
      await (found && proposals.reject(found.proposal));
    },
    rebase: async (given) => {
      const found = subject(given);
      await (found?.file && found.hunk && proposals.rebase(found.proposal, found.file, found.hunk));
    },
    why: async (given) => {
      const proposal = triedHere(given?.hunkId)?.proposal ?? subject(given)?.proposal;
      if (proposal) {
        const detail = proposal.said.trim() || proposal.told.summary;
        await vscode.window.showInformationMessage(titleOf(proposal), { modal: true, detail });
      }
    },
    compare: async (given) => {
      const tried = triedHere(given?.hunkId);
      if (tried) {
        await checkpoints.compare(tried.uri);
      }
    },
    next: () => step(1),
    previous: () => step(-1),
    undo: () => checkpoints.undo(),
  };

  const contexts = () => {
    const uri = vscode.window.activeTextEditor?.document.uri;
    const here = uri !== undefined && (proposals.at(uri).length > 0 || marks.at(uri).length > 0);
    const page = uri?.scheme === PROPOSED;
    void vscode.commands.executeCommand("setContext", "glm-lsp.reviewing", proposals.open.length > 0 || marks.any);
    void vscode.commands.executeCommand("setContext", "glm-lsp.reviewHere", here || page);
  };

  return vscode.Disposable.from(
    proposals,
    diffs,
    marks,
    tree,
    lenses,
    vscode.workspace.registerTextDocumentContentProvider(BEFORE, checkpoints),
    // In a chat the card says what is proposed, and the person opens it when they have read what is said of it.
    proposals.onArrival((proposal) => void (proposal.conversationId !== "" || guarded(() => open(proposal)))),
    proposals.onChange(contexts),
    marks.onChange(contexts),
    vscode.window.onDidChangeActiveTextEditor(contexts),
    ...Object.entries(commands).map(([name, run]) =>
      vscode.commands.registerCommand(`glm-lsp.review.${name}`, (given?: Subject & Node) => guarded(() => run(given))),
    ),
  );
};

interface Found {
  proposal: Pending;
  file?: ProposalFile;
  hunk?: ProposalHunk;
}

/** The ids of the hunks that a command is about: of one, of a file, or undefined for all of the proposal. */
function meant({ file, hunk }: Found): string[] | undefined {
  return hunk ? [hunk.hunkId] : file?.hunks.filter(isOpen).map((one) => one.hunkId);
}

function waiting(hunks: ProposalHunk[]): string[] {
  return hunks.filter((hunk) => hunk.state === "pending").map((hunk) => hunk.hunkId);
}

/** Goes to a line, where the person asked to. */
async function goTo(uri: vscode.Uri, line: number): Promise<void> {
  const shown = vscode.window.visibleTextEditors.find((one) => one.document.uri.toString() === uri.toString());
  const selection = new vscode.Range(line, 0, line, 0);
  await vscode.window.showTextDocument(uri, { selection, viewColumn: shown?.viewColumn, preview: false });
}

/** Shows a line without moving the cursor: the person may be typing. */
async function bringIntoView(uri: vscode.Uri, line: number): Promise<void> {
  const shown = vscode.window.visibleTextEditors.find((one) => one.document.uri.toString() === uri.toString());
  const editor = shown ?? (await vscode.window.showTextDocument(uri, { preserveFocus: true, preview: false }));
  const place = new vscode.Range(line, 0, line, 0);
  editor.revealRange(place, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
}

/** Runs a command, and says what went wrong. */
async function guarded(run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!Problem.isCancelled(error)) {
      void vscode.window.showErrorMessage(Problem.of(error).sentence);
    }
  }
}
