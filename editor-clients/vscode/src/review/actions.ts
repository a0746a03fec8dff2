// Code actions that need words of the person: asks for them before the server is asked. Never runs anything itself.
import * as vscode from "vscode";
import type { Glm } from "../glm";

/** What a code action of the server's hands to its command. */
interface Chosen {
  action?: string;
  instruction?: string;
  needsInstruction?: boolean;
}

/** Asks for the words of an action that needs some; undefined where the person would not say any. */
async function instruction(action: string, title: string): Promise<string | undefined> {
  const prompts: Record<string, string> = {
    rename: vscode.l10n.t("The new name"),
    move_to_file: vscode.l10n.t("The file to move it to"),
    convert: vscode.l10n.t("The form to convert it into, such as “to async”"),
    refactor: vscode.l10n.t("What should change?"),
    chat: vscode.l10n.t("What do you want to know?"),
  };
  const said = await vscode.window.showInputBox({
    title: `GLM: ${title}`,
    prompt: prompts[action] ?? vscode.l10n.t("What should be done?"),
    ignoreFocusOut: true,
  });
  return said?.trim() || undefined;
}

/** Hooks into the commands of the server's code actions. */
export function askForWords(glm: Glm): void {
  const next = glm.middleware.executeCommand;
  glm.middleware.executeCommand = async (command, args, run) => {
    const [chosen, ...rest] = args as [(Chosen & { title?: string }) | undefined, ...unknown[]];
    if (command === "glm.run" && chosen?.needsInstruction && !chosen.instruction) {
      const said = await instruction(chosen.action ?? "", chosen.title ?? "");
      if (said === undefined) {
        return undefined;
      }
      args = [{ ...chosen, instruction: said }, ...rest];
    }
    return next ? next(command, args, run) : run(command, args);
  };
}

/** Keeps the server's own lenses away: ours say more, and remember how the texts were before. */
export function withoutServerLenses(glm: Glm): void {
  glm.middleware.provideCodeLenses = () => [];
}
