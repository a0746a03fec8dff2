// The status bar item and the health page.
import * as vscode from "vscode";
import type { Feature } from "../glm";
import { HealthPage } from "./page";
import { picture, type Tone } from "./picture";
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
  const draw = () => {
    const { text, lines, tone } = picture(watch.known, vscode.l10n.t, vscode.env.language);
    item.text = `$(sparkle) ${text}`;
    item.tooltip = [text, ...lines].join("\n");
    item.accessibilityInformation = { label: [text, ...lines].join(". "), role: "button" };
    item.backgroundColor = COLOURS[tone];
    item.command = glm.state.kind === "missing" ? "glm-lsp.setUp" : "glm-lsp.showHealth";
  };
  draw();
  item.show();
  return vscode.Disposable.from(
    watch,
    page,
    item,
    watch.onChange(draw),
    vscode.commands.registerCommand("glm-lsp.showHealth", () => page.show()),
  );
};
