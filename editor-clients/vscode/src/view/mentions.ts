// What can be named with `#` in the words, found while one types, and what it means for a turn.
// Never reads a file's text: the server does.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as vscode from "vscode";
import type { TurnParams } from "../protocol";
import { best, ranged } from "./match";
import type { Asked, Found, Mention } from "./messages";

/** Files that are listed at most. */
const FILES = 20_000;
/** Characters of uncommitted changes at most. */
const CHANGES = 20_000;
const PROBLEMS = 50;
const SHOWN = 12;

/** A list of files is kept so long while one types. */
const FRESH_MS = 10_000;

/** What the words and what they name say to the server. */
export type Meant = Pick<TurnParams, "instruction" | "mentions" | "range" | "textDocument">;

interface Listed {
  paths: string[];
  uris: Map<string, vscode.Uri>;
  at: number;
}

export class Mentions {
  #files: Listed | undefined;

  /** What fits what stands behind the `#`. */
  async find(query: string): Promise<Found[]> {
    const kind = /^(file|symbol):/.exec(query)?.[1];
    const rest = kind ? query.slice(kind.length + 1) : query;
    const [files, symbols] = await Promise.all([
      kind === "symbol" ? [] : this.#findFiles(rest),
      kind === "file" || rest.length < 2 ? [] : findSymbols(rest),
    ]);
    if (kind) {
      return [...files, ...symbols].slice(0, SHOWN);
    }
    return [...kinds(query), ...files.slice(0, symbols.length ? SHOWN - 4 : SHOWN), ...symbols].slice(0, SHOWN + 3);
  }

  /** Turns what was asked into what the server takes. */
  async meant(asked: Asked): Promise<Meant> {
    const meant: Meant = { instruction: asked.words, mentions: [] };
    const notes: string[] = [];
    for (const one of [...asked.mentions, ...(await this.#typed(asked))]) {
      if (one.kind === "problems") {
        notes.push(problems());
      } else if (one.kind === "git") {
        notes.push(await changes());
      } else if (one.uri && one.range && meant.textDocument === undefined) {
        meant.textDocument = { uri: one.uri };
        meant.range = one.range;
      } else if (one.uri && !meant.mentions?.includes(one.uri)) {
        meant.mentions?.push(one.uri);
        if (one.range) {
          const path = vscode.workspace.asRelativePath(vscode.Uri.parse(one.uri));
          const { start, end } = one.range;
          notes.push(`The person points at ${path}, lines ${start.line + 1} to ${end.line + 1}.`);
        }
      }
    }
    // Notes come behind the words in forms that the server knows as not theirs.
    meant.instruction = [asked.words, ...notes.filter(Boolean)].join("\n\n");
    return meant;
  }

  /** What stands in the words without having been picked. */
  async #typed(asked: Asked): Promise<Mention[]> {
    const found: Mention[] = [];
    for (const [token, name = ""] of asked.words.matchAll(/#([\w./-]*\w)/g)) {
      if (asked.mentions.some((one) => one.token === token || one.token.startsWith(`${token}:`))) {
        continue;
      }
      if (name === "problems" || name === "git") {
        found.push({ token, kind: name });
      } else if (name === "selection") {
        found.push(...[selection()].filter((one) => one !== undefined));
      } else if (/[./]/.test(name)) {
        const uri = await existing(name);
        found.push(...(uri ? [{ token, kind: "file" as const, uri: uri.toString() }] : []));
      }
    }
    return found;
  }

  async #findFiles(query: string): Promise<Found[]> {
    const found = await this.#listed();
    const open = vscode.window.tabGroups.all
      .flatMap((group) => group.tabs)
      .map((tab) => (tab.input instanceof vscode.TabInputText ? vscode.workspace.asRelativePath(tab.input.uri) : ""))
      .filter((path) => found.uris.has(path));
    const paths = query === "" ? [...new Set(open)] : best(query, found.paths, SHOWN, new Set(open));
    return paths.map((path) => ({
      label: path.slice(path.lastIndexOf("/") + 1),
      detail: path.slice(0, Math.max(0, path.lastIndexOf("/"))),
      mention: { token: `#${path}`, kind: "file", uri: found.uris.get(path)?.toString() ?? "" },
    }));
  }

  async #listed(): Promise<Listed> {
    if (this.#files === undefined || Date.now() - this.#files.at > FRESH_MS) {
      const found = await vscode.workspace.findFiles("**/*", undefined, FILES);
      const uris = new Map(found.map((uri) => [vscode.workspace.asRelativePath(uri), uri]));
      this.#files = { paths: [...uris.keys()], uris, at: Date.now() };
    }
    return this.#files;
  }
}

/** What is selected in the editor, as a mention; undefined where nothing is. */
export function selection(editor = vscode.window.activeTextEditor): Mention | undefined {
  if (!editor || editor.selection.isEmpty || editor.document.uri.scheme !== "file") {
    return undefined;
  }
  const { start, end } = editor.selection;
  const last = end.character === 0 && end.line > start.line ? end.line - 1 : end.line;
  const path = vscode.workspace.asRelativePath(editor.document.uri);
  return {
    token: `#${path}:${start.line + 1}${last === start.line ? "" : `-${last + 1}`}`,
    kind: "selection",
    uri: editor.document.uri.toString(),
    range: ranged(editor.selection),
  };
}

/** The kinds that begin with what was typed, with what they stand for now. */
function kinds(query: string): Found[] {
  const chosen = selection();
  const diagnostics = vscode.languages.getDiagnostics().flatMap(([, all]) => all).length;
  const { t } = vscode.l10n;
  const all: Found[] = [
    ...(chosen ? [{ label: t("selection"), detail: chosen.token.slice(1), mention: chosen }] : []),
    { label: t("symbol…"), detail: t("a class, function or method"), mention: { token: "#symbol:", kind: "symbol" } },
    {
      label: t("problems"),
      detail: diagnostics === 1 ? t("1 problem") : t("{0} problems", diagnostics),
      mention: { token: "#problems", kind: "problems" },
    },
    { label: t("changes"), detail: t("what is not committed"), mention: { token: "#git", kind: "git" } },
  ];
  const begins = (one: Found) => [one.label, one.mention.kind].some((name) => name.startsWith(query.toLowerCase()));
  return all.filter(begins);
}

async function findSymbols(query: string): Promise<Found[]> {
  const found = await vscode.commands.executeCommand<vscode.SymbolInformation[] | undefined>(
    "vscode.executeWorkspaceSymbolProvider",
    query,
  );
  const seen = new Set<string>();
  return (found ?? [])
    .map((one) => {
      const path = vscode.workspace.asRelativePath(one.location.uri);
      const name = one.name.replace(/\(.*$/, "");
      return {
        label: one.containerName ? `${one.containerName}.${name}` : name,
        detail: `${path}:${one.location.range.start.line + 1}`,
        mention: {
          token: `#${name.replace(/\s+/g, "_")}`,
          kind: "symbol" as const,
          uri: one.location.uri.toString(),
          range: ranged(one.location.range),
        },
      };
    })
    .filter((one) => !seen.has(one.detail) && seen.add(one.detail))
    .slice(0, SHOWN);
}

async function existing(path: string): Promise<vscode.Uri | undefined> {
  for (const folder of vscode.workspace.workspaceFolders ?? []) {
    const uri = vscode.Uri.joinPath(folder.uri, path);
    const stat = await Promise.resolve(vscode.workspace.fs.stat(uri)).catch(() => undefined);
    if (stat?.type === vscode.FileType.File) {
      return uri;
    }
  }
  return undefined;
}

function problems(): string {
  const here = vscode.window.activeTextEditor?.document.uri.toString();
  const severities = ["error", "warning", "information", "hint"];
  const listed = vscode.languages
    .getDiagnostics()
    .sort(([a], [b]) => Number(b.toString() === here) - Number(a.toString() === here))
    .flatMap(([uri, all]) =>
      all.map((one) => {
        const path = vscode.workspace.asRelativePath(uri);
        return `- ${path}, line ${one.range.start.line + 1}: ${severities[one.severity]}: ${one.message}`;
      }),
    )
    .slice(0, PROBLEMS);
  return listed.length ? `The editor reports:\n${listed.join("\n")}` : "The editor reports:\n- no problems";
}

/** What is not committed; nothing in a folder that is not trusted, where git may run what the folder says. */
async function changes(): Promise<string> {
  const folder = vscode.workspace.workspaceFolders?.[0];
  if (!folder || !vscode.workspace.isTrusted) {
    return "";
  }
  try {
    const options = { cwd: folder.uri.fsPath, maxBuffer: 64 * 1024 * 1024, timeout: 5_000 };
    const { stdout } = await promisify(execFile)("git", ["diff", "HEAD"], options);
    return `The uncommitted changes:\n${stdout.slice(0, CHANGES) || "none"}`;
  } catch {
    return "";
  }
}
