// The status bar item and the health page.
import * as vscode from "vscode";
import { type Feature, Problem } from "../glm";
import { checkUp } from "./checkup";
import { HealthPage } from "./page";
import { engineState, picture, type Tone } from "./picture";
import { Watch } from "./watch";

const COLOURS: Record<Tone, vscode.ThemeColor | undefined> = {
  plain: undefined,
  warning: new vscode.ThemeColor("statusBarItem.warningBackground"),
  error: new vscode.ThemeColor("statusBarItem.errorBackground"),
};

export const status: Feature = (glm, context) => {
  const watch = new Watch(glm);
  const page = new HealthPage(context, watch);
  const item = vscode.window.createStatusBarItem("glm-lsp.status", vscode.StatusBarAlignment.Right, 100);
  item.name = "GLM";
  let ready: boolean | undefined;
  const draw = () => {
    const answers = engineState(watch.known) === "ready";
    if (ready !== answers) {
      ready = answers;
      void vscode.commands.executeCommand("setContext", "glm-lsp.engineReady", ready);
    }
    const { text, lines, tone } = picture(watch.known, vscode.l10n.t, vscode.env.language);
    item.text = `$(sparkle) ${text}`;
    item.tooltip = [text, ...lines].join("\n");
    item.accessibilityInformation = { label: [text, ...lines].join(". "), role: "button" };
    item.backgroundColor = COLOURS[tone];
    item.command = glm.state.kind === "missing" ? "glm-lsp.setUp" : "glm-lsp.showHealth";
  };
  const doctor = async () => {
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: vscode.l10n.t("GLM: Checking everything"),
      cancellable: true,
    };
    page.show();
    try {
      watch.checked(await vscode.window.withProgress(options, (_, token) => checkUp(glm, token)));
    } catch (error) {
      if (!Problem.isCancelled(error)) {
        void vscode.window.showErrorMessage(Problem.of(error).sentence);
      }
    }
  };
  draw();
  item.show();
  return vscode.Disposable.from(
    watch,
    page,
    item,
    watch.onChange(draw),
    vscode.commands.registerCommand("glm-lsp.showHealth", () => page.show()),
    vscode.commands.registerCommand("glm-lsp.doctor", doctor),
  );
};
