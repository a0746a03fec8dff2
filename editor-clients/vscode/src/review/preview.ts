// An edit of the language server protocol in the editor's preview of refactorings, where a person leaves out parts.
// Never applies anything that was not confirmed there.
import * as vscode from "vscode";
import { Problem } from "../glm";
import type { Range } from "../protocol";

interface TextEdit {
  range: Range;
  newText: string;
}

/** As much of `WorkspaceEdit` as glm-lsp sends. */
interface Edit {
  changes?: Record<string, TextEdit[]>;
  documentChanges?: Array<
    | { kind?: undefined; textDocument: { uri: string }; edits: TextEdit[] }
    | { kind: "create" | "delete"; uri: string }
    | { kind: "rename"; oldUri: string; newUri: string }
  >;
}

/** Whether the person took over all of it or a part. */
export async function preview(edit: object, label: string): Promise<boolean> {
  const told = edit as Edit;
  const metadata: vscode.WorkspaceEditEntryMetadata = { label, needsConfirmation: true };
  const result = new vscode.WorkspaceEdit();
  for (const [uri, edits] of Object.entries(told.changes ?? {})) {
    put(result, uri, edits, metadata);
  }
  for (const change of told.documentChanges ?? []) {
    if (change.kind === undefined) {
      put(result, change.textDocument.uri, change.edits, metadata);
    } else if (change.kind === "create") {
      result.createFile(vscode.Uri.parse(change.uri), { ignoreIfExists: true }, metadata);
    } else if (change.kind === "delete") {
      result.deleteFile(vscode.Uri.parse(change.uri), { ignoreIfNotExists: true }, metadata);
    } else {
      throw new Problem(`An edit of the kind ${change.kind} is not known here.`);
    }
  }
  return vscode.workspace.applyEdit(result, { isRefactoring: true });
}

function put(into: vscode.WorkspaceEdit, uri: string, edits: TextEdit[], metadata: vscode.WorkspaceEditEntryMetadata) {
  for (const { range, newText } of edits) {
    const { start, end } = range;
    const place = new vscode.Range(start.line, start.character, end.line, end.character);
    into.replace(vscode.Uri.parse(uri), place, newText, metadata);
  }
}
