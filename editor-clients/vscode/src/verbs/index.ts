// What can be asked about the file or the selection, by name: the palette, the editor's menu, keys.
// Never asks the model by itself: the server's own command does, as for the light bulb.
import * as vscode from "vscode";
import { type Feature, type Glm, Problem } from "../glm";

/** Commands of ours and the server's actions that they begin; see docs/actions.md. */
const VERBS: Record<string, { action: string; needsInstruction?: boolean; place: "selection" | "file" | "none" }> = {
  refactor: { action: "refactor", needsInstruction: true, place: "selection" },
  explain: { action: "explain", place: "selection" },
  document: { action: "document", place: "selection" },
  generateTests: { action: "generate_tests", place: "selection" },
  simplify: { action: "simplify", place: "selection" },
  fixAll: { action: "fix_all", place: "file" },
  reviewFile: { action: "review_file", place: "file" },
  reviewChanges: { action: "review_diff", place: "none" },
};

/** Actions that answer in words: the GLM view shows these. */
const ANSWERS = new Set(["explain", "review_file", "review_diff"]);

export const verbs: Feature = (glm) => {
  showAnswers(glm);
  const run = async (name: string) => {
    const { place, ...verb } = VERBS[name] as (typeof VERBS)[string];
    const editor = vscode.window.activeTextEditor;
    try {
      if (!editor && place !== "none") {
        throw new Problem(vscode.l10n.t("No file is open."), vscode.l10n.t("Open the one that it is about."));
      }
      await glm.start();
      const { document, selection } = editor ?? {};
      const about = document && {
        uri: document.uri.toString(),
        version: document.version,
        // Nothing selected is the place of the cursor: the action takes what stands there, such as a function.
        range: place === "selection" ? selection : undefined,
        diagnostics: name === "fixAll" ? reported(document) : undefined,
      };
      // By VS Code's own way, where what else hooks into the command (asking for words) is passed.
      await vscode.commands.executeCommand("glm.run", { ...about, ...verb, title: titles()[name] });
    } catch (error) {
      if (!Problem.isCancelled(error)) {
        void vscode.window.showErrorMessage(`GLM: ${Problem.of(error).sentence}`);
      }
    }
  };
  return vscode.Disposable.from(
    ...Object.keys(VERBS).map((name) => vscode.commands.registerCommand(`glm-lsp.${name}`, () => run(name))),
  );
};

/** Opens the view before anything is asked that is answered there, from wherever; the focus stays in the text. */
function showAnswers(glm: Glm): void {
  const next = glm.middleware.executeCommand;
  glm.middleware.executeCommand = async (command, args, run) => {
    const action = (args[0] as { action?: string } | undefined)?.action;
    if (command === "glm.run" && action && ANSWERS.has(action)) {
      await vscode.commands.executeCommand("glm-lsp.chat.focus", { preserveFocus: true });
    }
    return next ? next(command, args, run) : run(command, args);
  };
}

/** What progress bar and question are called. */
function titles(): Record<string, string> {
  return {
    refactor: vscode.l10n.t("Refactor"),
    explain: vscode.l10n.t("Explain"),
    document: vscode.l10n.t("Document"),
    generateTests: vscode.l10n.t("Write tests"),
    simplify: vscode.l10n.t("Simplify"),
    fixAll: vscode.l10n.t("Fix all problems"),
    reviewFile: vscode.l10n.t("Review file"),
    reviewChanges: vscode.l10n.t("Review changes"),
  };
}

/** What is reported in a file, as the language server protocol has it. */
function reported({ uri }: vscode.TextDocument): object[] {
  return vscode.languages.getDiagnostics(uri).map(({ range, message, severity, source, code }) => ({
    range,
    message,
    severity: severity + 1,
    source,
    code: typeof code === "object" ? code.value : code,
  }));
}
