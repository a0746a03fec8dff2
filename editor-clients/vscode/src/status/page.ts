// The health page's host side: opens the panel, sends it what is known, and runs what its buttons say.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";
import { type Health, health } from "./health";
import type { Watch } from "./watch";

export class HealthPage implements vscode.Disposable {
  private panel: vscode.WebviewPanel | undefined;
  private sent: Health | undefined;
  private readonly listener: vscode.Disposable;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly watch: Watch,
  ) {
    this.listener = watch.onChange(() => this.send());
  }

  show(): void {
    if (this.panel) {
      // Revealing takes the focus from the button that was pressed.
      if (!this.panel.visible) {
        this.panel.reveal();
      }
      return;
    }
    const dist = vscode.Uri.joinPath(this.context.extensionUri, "dist");
    const panel = vscode.window.createWebviewPanel(
      "glm-lsp.health",
      vscode.l10n.t("GLM: Health"),
      vscode.ViewColumn.Active,
      {
        enableScripts: true,
        localResourceRoots: [dist],
      },
    );
    panel.webview.html = html(panel.webview, dist);
    panel.webview.onDidReceiveMessage((message: { command?: string }) => {
      if (message.command === "ready") {
        this.send();
      } else if (message.command && this.offered().has(message.command)) {
        void vscode.commands.executeCommand(message.command);
      }
    });
    panel.onDidChangeViewState(() => this.watch.watch(panel.visible));
    panel.onDidDispose(() => {
      this.panel = undefined;
      this.watch.watch(false);
    });
    this.panel = panel;
    this.watch.watch(true);
  }

  dispose(): void {
    this.listener.dispose();
    this.panel?.dispose();
  }

  private send(): void {
    if (this.panel?.visible) {
      this.sent = health(this.watch.known, vscode.l10n.t, Date.now(), vscode.env.language);
      void this.panel.webview.postMessage(this.sent);
    }
  }

  /** The commands that the page shows a button for: it can run no others. */
  private offered(): Set<string> {
    const buttons = [...(this.sent?.buttons ?? []), ...(this.sent?.problems.flatMap((one) => one.buttons) ?? [])];
    return new Set(buttons.map(({ command }) => command));
  }
}

function html(webview: vscode.Webview, dist: vscode.Uri): string {
  const nonce = randomBytes(16).toString("base64");
  const at = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(dist, name));
  const policy = `default-src 'none'; style-src ${webview.cspSource}; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="${vscode.env.language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="${at("health.css")}">
<title>${vscode.l10n.t("GLM: Health")}</title>
</head>
<body><main id="page"></main><script nonce="${nonce}" src="${at("health.js")}"></script></body>
</html>`;
}
