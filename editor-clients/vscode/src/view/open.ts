// Opens what the page links to: files of the workspace, and addresses in the browser. Never opens anything else.
import * as vscode from "vscode";

export async function openFile(uri: vscode.Uri, line?: number): Promise<void> {
  const at = line === undefined ? undefined : new vscode.Range(line, 0, line, 0);
  await vscode.window.showTextDocument(uri, { selection: at, preview: true });
}

/** Follows a link that the model wrote, such as `https://…`, `src/cart.py`, `src/cart.py#L10` or `src/cart.py:10`. */
export async function openLink(href: string): Promise<void> {
  if (/^https?:\/\//i.test(href)) {
    await vscode.env.openExternal(vscode.Uri.parse(href));
    return;
  }
  const [, path = "", line] = /^(.*?)(?:[#:]L?(\d+)(?:-L?\d+)?)?$/.exec(href.replace(/^file:\/\//, "")) ?? [];
  for (const folder of vscode.workspace.workspaceFolders ?? []) {
    const name = decodeURIComponent(path);
    const inside = name.startsWith(`${folder.uri.path}/`) ? name.slice(folder.uri.path.length + 1) : name;
    const uri = vscode.Uri.joinPath(folder.uri, inside);
    const exists = await Promise.resolve(vscode.workspace.fs.stat(uri)).then(
      () => true,
      () => false,
    );
    if (exists && uri.path.startsWith(`${folder.uri.path}/`)) {
      return openFile(uri, line === undefined ? undefined : Number(line) - 1);
    }
  }
}
