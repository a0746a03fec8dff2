// Installs the server into an environment of its own. Never touches another Python than that, and never runs unasked.
import { execFile, spawn } from "node:child_process";
import { access, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as vscode from "vscode";
import { Problem } from "../glm";
import { older } from "./find";
import { type Failure, failure, short } from "./pip";

const PYTHONS = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];
const MARK = ".installed";

/** The program that this extension installed; empty where it did not. */
export async function installed(context: vscode.ExtensionContext): Promise<string> {
  const home = homeOf(context);
  try {
    await access(join(home, MARK));
    return join(home, "bin", "glm-lsp");
  } catch {
    return "";
  }
}

/** Installs or replaces it. Fails with a Problem. */
export async function install(
  context: vscode.ExtensionContext,
  report: (line: string) => void,
  token: vscode.CancellationToken,
): Promise<string> {
  const python = await findPython();
  const home = homeOf(context);
  const before = `${home}.before`;
  await mkdir(context.globalStorageUri.fsPath, { recursive: true });
  await rm(before, { recursive: true, force: true });
  // The one that is there comes back where this does not work out; an environment has its own path in its files.
  await rename(home, before).catch(() => {});
  try {
    report(vscode.l10n.t("Making a Python environment"));
    await run(python, ["-m", "venv", home], () => {}, token);
    const pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"];
    await run(join(home, "bin", "python"), [...pip, await source(context)], (line) => report(short(line)), token);
    await writeFile(join(home, MARK), `${new Date().toISOString()}\n`);
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    await rename(before, home).catch(() => {});
    throw error;
  }
  await rm(before, { recursive: true, force: true });
  return join(home, "bin", "glm-lsp");
}

function homeOf(context: vscode.ExtensionContext): string {
  return join(context.globalStorageUri.fsPath, "server");
}

function problemOf({ offline, last }: Failure): Problem {
  return offline
    ? new Problem(
        vscode.l10n.t("The package index cannot be reached."),
        vscode.l10n.t("Connect to a network, or install glm-lsp by hand and set glm.server.path."),
        "offline",
      )
    : new Problem(last, vscode.l10n.t("The log has all of it."), "pip");
}

/** What pip installs: the wheel that came with the extension, else the package of that name. */
async function source(context: vscode.ExtensionContext): Promise<string> {
  return (await wheel(context)) ?? "glm-lsp";
}

async function wheel(context: vscode.ExtensionContext): Promise<string | undefined> {
  const folder = join(context.extensionPath, "wheels");
  const names = await readdir(folder).catch(() => [] as string[]);
  const found = names.find((name) => name.endsWith(".whl"));
  return found && join(folder, found);
}

/** The version of the server that came with the extension, where it is newer than the installed one that runs. */
export async function newer(
  context: vscode.ExtensionContext,
  path: string,
  version: string,
): Promise<string | undefined> {
  const bundled = /glm_lsp-([^-]+)-/.exec((await wheel(context)) ?? "")?.[1];
  return bundled && path === (await installed(context)) && older(version, bundled) ? bundled : undefined;
}

/** A Python that is new enough and can make environments. */
async function findPython(): Promise<string> {
  let tooOld = "";
  let bare = "";
  const script = "import sys; print('.'.join(map(str, sys.version_info[:2]))); import venv, ensurepip";
  for (const python of PYTHONS) {
    const { out, ok } = await new Promise<{ out: string; ok: boolean }>((resolve) => {
      execFile(python, ["-c", script], { timeout: 20_000 }, (error, out) => resolve({ out: out.trim(), ok: !error }));
    });
    const [major = 0, minor = 0] = out.split(".").map(Number);
    if (major < 3 || (major === 3 && minor < 11)) {
      tooOld ||= out && `${python} ${out}`;
    } else if (ok) {
      return python;
    } else {
      bare ||= python;
    }
  }
  if (bare) {
    throw new Problem(
      vscode.l10n.t("{0} cannot make environments: its module venv is not complete.", bare),
      vscode.l10n.t("On Debian and Ubuntu: apt install python3-venv."),
      "no-venv",
    );
  }
  const hint = vscode.l10n.t("Install Python 3.11 or later, or set glm.server.path to a glm-lsp that you have.");
  throw tooOld
    ? new Problem(vscode.l10n.t("Python 3.11 or later is needed; here is {0}.", tooOld), hint, "python-too-old")
    : new Problem(vscode.l10n.t("There is no Python on this machine."), hint, "no-python");
}

function run(
  command: string,
  args: string[],
  onLine: (line: string) => void,
  token: vscode.CancellationToken,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const stop = token.onCancellationRequested(() => child.kill());
    let output = "";
    const take = (chunk: Buffer) => {
      const text = chunk.toString();
      output += text;
      for (const line of text.split("\n")) {
        onLine(line);
      }
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", (error) => reject(Problem.of(error)));
    child.on("close", (code) => {
      stop.dispose();
      if (token.isCancellationRequested) {
        reject(new vscode.CancellationError());
      } else if (code === 0) {
        resolve();
      } else {
        reject(problemOf(failure(output)));
      }
    });
  });
}
