// The page's frame: its policy, its files, its words. Never holds anything of a conversation.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";

/** The HTML of a view whose script and styles are `dist/view.js` and `dist/view.css`. */
export function html(webview: vscode.Webview, extension: vscode.Uri): string {
  const nonce = randomBytes(16).toString("base64url");
  const at = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(extension, "dist", name));
  const policy = [
    "default-src 'none'",
    `style-src ${webview.cspSource}`,
    `font-src ${webview.cspSource}`,
    `script-src 'nonce-${nonce}'`,
  ].join("; ");
  return `<!DOCTYPE html>
<html lang="${vscode.env.language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${at("view.css")}">
<title>GLM</title>
</head>
<body><script nonce="${nonce}" src="${at("view.js")}"></script></body>
</html>`;
}
