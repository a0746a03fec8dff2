// Which engine is used: those that run on this host, one elsewhere, or one that is still to be planned and started.
import * as vscode from "vscode";
import { Problem } from "../glm";
import { told } from "../server/tool";
import { modelName } from "../status/picture";
import { planned, wrongAddress } from "./plan";
import type { FoundEngine, FoundEngines, Plan } from "./shapes";

type Choice =
  | { kind: "own" }
  | { kind: "start" }
  | { kind: "url"; url: string; wantsKey: boolean }
  | { kind: "other" }
  | { kind: "plan" };

/** Lets the person choose; true where an engine is set now, false where they went another way or away. */
export async function chooseEngine(path: string, start: () => void): Promise<boolean> {
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { choice?: Choice }>();
  pick.title = vscode.l10n.t("GLM: Which engine?");
  pick.placeholder = vscode.l10n.t("An engine serves the model: vLLM, SGLang, llama.cpp or anything like them");
  pick.ignoreFocusOut = true;
  pick.busy = true;
  pick.items = fixed(false);
  const chosen = new Promise<Choice | undefined>((resolve) => {
    pick.onDidAccept(() => resolve(pick.selectedItems[0]?.choice));
    pick.onDidHide(() => resolve(undefined));
  });
  pick.show();
  void told<FoundEngines>(path, ["engine", "find"])
    .then(({ found }) => {
      pick.items = [...found.map(item), ...fixed(found.some(({ own }) => own))];
    })
    .catch((error) => {
      pick.placeholder = Problem.of(error).sentence;
    })
    .finally(() => {
      pick.busy = false;
    });
  const choice = await chosen;
  pick.dispose();
  switch (choice?.kind) {
    case "own":
      return use("");
    case "url":
      if (choice.wantsKey) {
        void tellOfKey();
      }
      return use(choice.url);
    case "other":
      return other();
    case "start":
      await use("");
      start();
      return false;
    case "plan":
      await planEngine(path);
      return false;
    default:
      return false;
  }
}

function item(found: FoundEngine): vscode.QuickPickItem & { choice: Choice } {
  const whose = found.own
    ? vscode.l10n.t("your own")
    : found.user
      ? found.ours
        ? vscode.l10n.t("run by {0}", found.user)
        : vscode.l10n.t("run by {0}, another user, who reads what you send", found.user)
      : "";
  const serves = found.wants_key ? vscode.l10n.t("asks for a key") : found.models.map(modelName).join(", ");
  return {
    label: `$(server) ${found.name}`,
    description: found.url,
    detail: [serves, whose].filter(Boolean).join(" · "),
    choice: found.own ? { kind: "own" } : { kind: "url", url: found.url, wantsKey: found.wants_key },
  };
}

function fixed(running: boolean): Array<vscode.QuickPickItem & { choice?: Choice }> {
  const own = {
    label: `$(play) ${vscode.l10n.t("Start this host's own engine")}`,
    detail: vscode.l10n.t("GLM-4.7 where there are GPUs for it; else a small model to try things out"),
    choice: { kind: "start" } as Choice,
  };
  return [
    { label: "", kind: vscode.QuickPickItemKind.Separator },
    {
      label: `$(globe) ${vscode.l10n.t("Another address…")}`,
      detail: vscode.l10n.t("An engine on another machine: http://host:port, or unix:/path"),
      choice: { kind: "other" },
    },
    ...(running ? [] : [own]),
    {
      label: `$(checklist) ${vscode.l10n.t("Plan one for my GPUs…")}`,
      detail: vscode.l10n.t("Says which command serves GLM-4.7 on them, and why"),
      choice: { kind: "plan" },
    },
  ];
}

async function other(): Promise<boolean> {
  const url = await vscode.window.showInputBox({
    title: vscode.l10n.t("GLM: Address of the engine"),
    placeHolder: "http://gpu-server:8000",
    value: vscode.workspace.getConfiguration("glm").get("engine.url", ""),
    ignoreFocusOut: true,
    validateInput: (text) => {
      const wrong = wrongAddress(text.trim());
      return wrong === "scheme"
        ? vscode.l10n.t("It begins with http://, https:// or unix:/")
        : wrong && vscode.l10n.t("It has the form http://host:port");
    },
  });
  return url !== undefined && use(url.trim());
}

async function use(url: string): Promise<boolean> {
  await vscode.workspace
    .getConfiguration("glm")
    .update("engine.url", url || undefined, vscode.ConfigurationTarget.Global);
  return true;
}

async function tellOfKey(): Promise<void> {
  const open = vscode.l10n.t("Open Settings");
  const said = await vscode.window.showInformationMessage(
    vscode.l10n.t("This engine asks for a key. It comes from a command, the keyring or a variable of the environment."),
    open,
  );
  if (said === open) {
    await vscode.commands.executeCommand("workbench.action.openSettings", "glm.engine.api_key");
  }
}

/** Shows which command would serve the model on GPUs that the person names. */
export async function planEngine(path: string): Promise<void> {
  const gpus = await vscode.window.showInputBox({
    title: vscode.l10n.t("GLM: Plan an engine"),
    prompt: vscode.l10n.t("Which GPUs? Such as 4xH200, 8xH100-80, or 2x8xH100 for two hosts; empty for this host's"),
    ignoreFocusOut: true,
  });
  if (gpus === undefined) {
    return;
  }
  const args = gpus.trim() ? ["--gpus", gpus.trim()] : [];
  const plan = await told<Plan>(path, ["engine", "plan", ...args]);
  const content = plan.fits ? planned(plan, vscode.l10n.t, vscode.env.language) : `# ${plan.message}\n\n${plan.hint}\n`;
  const document = await vscode.workspace.openTextDocument({ language: "markdown", content });
  await vscode.window.showTextDocument(document);
}
