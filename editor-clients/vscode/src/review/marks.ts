// What is proposed, marked in the text itself: what a person took over for a look, what waits, what the model writes now.
// Never changes a text but where the person rejects what they had taken over.
import * as vscode from "vscode";
import type { Glm } from "../glm";
import type { HunkShown, ProposalHunk, TurnEvent } from "../protocol";
import { last, lines, moved, patch, spelled } from "./changes";
import { type Pending, type Proposals, titleOf } from "./proposals";

/** A change that is in the text already, and can be kept or put back. */
export interface Tried {
  readonly id: string;
  readonly uri: vscode.Uri;
  readonly proposal: Pending;
  readonly hunk: ProposalHunk;
  /** Where its lines are now. */
  place: { first: number; count: number };
}

interface Growing {
  uri: string;
  range: HunkShown["range"];
  added: string[];
  removed: number;
}

const color = (id: string) => new vscode.ThemeColor(id);

export class Marks implements vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onChange = this.changes.event;
  private readonly tried: Tried[] = [];
  private readonly growing = new Map<string, Growing>();
  private readonly listeners: vscode.Disposable[];
  private timer: NodeJS.Timeout | undefined;

  private readonly added = vscode.window.createTextEditorDecorationType({
    isWholeLine: true,
    backgroundColor: color("diffEditor.insertedLineBackground"),
    overviewRulerColor: color("editorOverviewRuler.addedForeground"),
    overviewRulerLane: vscode.OverviewRulerLane.Left,
    rangeBehavior: vscode.DecorationRangeBehavior.ClosedClosed,
  });
  private readonly removed = vscode.window.createTextEditorDecorationType({
    isWholeLine: true,
    backgroundColor: color("diffEditor.removedLineBackground"),
    overviewRulerColor: color("editorOverviewRuler.deletedForeground"),
    overviewRulerLane: vscode.OverviewRulerLane.Left,
  });
  private readonly note = vscode.window.createTextEditorDecorationType({
    after: { color: color("editorCodeLens.foreground"), fontStyle: "italic", margin: "0 0 0 2em" },
  });

  constructor(
    glm: Glm,
    private readonly proposals: Proposals,
  ) {
    this.listeners = [
      glm.onEvent((event) => this.heard(event)),
      proposals.onChange(() => this.draw()),
      vscode.window.onDidChangeVisibleTextEditors(() => this.draw()),
      vscode.workspace.onDidChangeTextDocument((change) => this.typed(change)),
    ];
  }

  dispose(): void {
    clearTimeout(this.timer);
    vscode.Disposable.from(...this.listeners, this.changes, this.added, this.removed, this.note).dispose();
  }

  /** What was taken over for a look in a document. */
  at(uri: vscode.Uri): Tried[] {
    return this.tried.filter((one) => one.uri.toString() === uri.toString());
  }

  get any(): boolean {
    return this.tried.length > 0;
  }

  find(id: string): Tried | undefined {
    return this.tried.find((one) => one.id === id);
  }

  /** Marks a change that was just made at the place of its hunk. */
  mark(proposal: Pending, uri: vscode.Uri, hunk: ProposalHunk): void {
    const count = lines(hunk.newText).length;
    this.tried.push({ id: hunk.hunkId, uri, proposal, hunk, place: { first: hunk.range.start.line, count } });
    this.draw();
  }

  /** Lets a change be. */
  keep(tried: Tried): void {
    this.tried.splice(this.tried.indexOf(tried), 1);
    this.draw();
  }

  /** Puts back what was there before. */
  async putBack(tried: Tried): Promise<void> {
    const document = await vscode.workspace.openTextDocument(tried.uri);
    const { first, count } = tried.place;
    const place = document.validateRange(new vscode.Range(first, 0, first + count, 0));
    const edit = new vscode.WorkspaceEdit();
    edit.replace(tried.uri, place, spelled(tried.hunk.oldText, document.getText()));
    this.keep(tried);
    await vscode.workspace.applyEdit(edit);
  }

  private typed({ document, contentChanges, reason }: vscode.TextDocumentChangeEvent): void {
    const here = this.at(document.uri);
    if (here.length === 0) {
      return;
    }
    const undone = reason === vscode.TextDocumentChangeReason.Undo;
    for (const { range, text } of contentChanges) {
      for (const tried of here) {
        const edit = { start: range.start.line, end: range.end.line, lines: text.split("\n").length - 1 };
        const place = moved(tried.place, edit);
        const now = place && document.getText(new vscode.Range(place.first, 0, place.first + place.count, 0));
        if (!place || (undone && lines(now ?? "").join("\n") !== lines(tried.hunk.newText).join("\n"))) {
          this.tried.splice(this.tried.indexOf(tried), 1); // the person's own hand has decided
        } else {
          tried.place = place;
        }
      }
    }
    this.draw();
  }

  private heard({ turnId, event }: TurnEvent): void {
    if (event.type === "hunk") {
      const key = `${turnId} ${event.callId}`;
      if (event.state === "closed") {
        this.growing.delete(key);
      } else {
        const known = this.growing.get(key) ?? { uri: event.uri, range: event.range, added: [], removed: 0 };
        known.range = event.range;
        known.added.push(...(event.added ?? []));
        known.removed += event.removed?.length ?? 0;
        this.growing.set(key, known);
      }
      this.soon();
    } else if (event.type === "end") {
      for (const key of this.growing.keys()) {
        if (key.startsWith(`${turnId} `)) {
          this.growing.delete(key);
          this.soon();
        }
      }
    }
  }

  /** Draws within a tenth of a second: the model writes faster than anybody reads. */
  private soon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.draw();
    }, 100);
  }

  private draw(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      if (editor.document.uri.scheme === "file" || editor.document.uri.scheme === "untitled") {
        this.drawIn(editor);
      }
    }
    this.changes.fire();
  }

  private drawIn(editor: vscode.TextEditor): void {
    const { uri } = editor.document;
    const added: vscode.DecorationOptions[] = [];
    const removed: vscode.DecorationOptions[] = [];
    const notes: vscode.DecorationOptions[] = [];
    for (const { place, proposal, hunk } of this.at(uri)) {
      const range = whole(place.first, place.count);
      const gone = lines(hunk.oldText);
      if (place.count > 0) {
        added.push({ range, hoverMessage: hover(proposal, hunk) });
      }
      // One line that was replaced or went is told beside what came; more of them by the hover.
      const contentText = gone.length === 1 ? `− ${gone[0]?.trim()}` : gone.length > 1 ? `− ${gone.length}` : "";
      if (contentText) {
        notes.push({ range: endOf(editor, place.first), renderOptions: { after: { contentText } } });
      }
    }
    for (const { proposal, hunks } of this.proposals.at(uri)) {
      for (const hunk of hunks) {
        const count = last(hunk.range) - hunk.range.start.line + 1;
        const empty = hunk.range.start.line === hunk.range.end.line && hunk.oldText === "";
        if (hunk.state === "pending" && !empty) {
          removed.push({ range: whole(hunk.range.start.line, count), hoverMessage: hover(proposal, hunk) });
        }
      }
    }
    for (const { uri: where, range, added: coming, removed: going } of this.growing.values()) {
      if (vscode.Uri.parse(where).toString() === uri.toString()) {
        const count = last(range) - range.start.line + 1;
        const latest = coming.at(-1)?.trim() ?? "";
        const contentText = `+${coming.length} −${going}  ${latest}`;
        if (going > 0) {
          removed.push({ range: whole(range.start.line, count) });
        }
        notes.push({ range: endOf(editor, range.start.line), renderOptions: { after: { contentText } } });
      }
    }
    editor.setDecorations(this.added, added);
    editor.setDecorations(this.removed, removed);
    editor.setDecorations(this.note, notes);
  }
}

function whole(first: number, count: number): vscode.Range {
  return new vscode.Range(first, 0, first + Math.max(count - 1, 0), Number.MAX_SAFE_INTEGER);
}

function endOf(editor: vscode.TextEditor, line: number): vscode.Range {
  const at = editor.document.lineAt(Math.min(line, editor.document.lineCount - 1)).range.end;
  return new vscode.Range(at, at);
}

/** What a hunk is about and does, as a person reads it above the text. */
export function hover(proposal: Pending, hunk: ProposalHunk): vscode.MarkdownString {
  const text = new vscode.MarkdownString();
  text.appendText(titleOf(proposal));
  text.appendCodeblock(patch(hunk), "diff");
  return text;
}
