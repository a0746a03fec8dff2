// Finds a glm-lsp that can be used. Never installs one, and never runs a program of a workspace that is not trusted.
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";

/** The oldest server that this extension can use. */
export const MINIMUM = "0.1.0";

export interface Found {
  path: string;
  version: string;
}

/** Where to look. */
export interface Places {
  /** What the person set; nothing else is looked at then. */
  configured: string;
  /** The one that this extension installed. */
  own: string;
  /** The environment's PATH. */
  path: string;
  /** Folders that may hold a Python environment; empty where the workspace is not trusted. */
  folders: readonly string[];
}

/** The programs to try, the first one first. */
export function candidates(places: Places, windows = process.platform === "win32"): string[] {
  if (places.configured) {
    return [places.configured];
  }
  const name = windows ? "glm-lsp.exe" : "glm-lsp";
  const onPath = places.path.split(delimiter).filter(Boolean);
  const bin = windows ? "Scripts" : "bin";
  const environments = places.folders.flatMap((folder) => [join(folder, ".venv", bin), join(folder, "venv", bin)]);
  return [places.own, ...[...onPath, ...environments].map((folder) => join(folder, name))].filter(Boolean);
}

/** The first candidate that runs and is new enough; else why there is none. */
export async function find(places: Places): Promise<Found | { problem: string; tooOld?: Found }> {
  let tooOld: Found | undefined;
  let broken = "";
  for (const path of candidates(places)) {
    try {
      await access(path, constants.X_OK);
    } catch {
      continue;
    }
    try {
      const version = await versionOf(path);
      if (!older(version, MINIMUM)) {
        return { path, version };
      }
      tooOld ??= { path, version };
    } catch (error) {
      broken ||= `${path}: ${error instanceof Error ? error.message : error}`;
    }
  }
  return { problem: broken, tooOld };
}

/** What `glm-lsp --version` says. */
export async function versionOf(path: string): Promise<string> {
  const out = await new Promise<string>((resolve, reject) => {
    execFile(path, ["--version"], { timeout: 20_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(stderr.trim().split("\n").at(-1) || error.message)) : resolve(stdout),
    );
  });
  const version = /\d+\.\d+\.\d+\S*/.exec(out)?.[0];
  if (!version) {
    throw new Error(`no version in ${JSON.stringify(out.slice(0, 80))}`);
  }
  return version;
}

/** Whether one version comes before another, by their three numbers. */
export function older(one: string, other: string): boolean {
  const numbers = (version: string) => version.split(/[.+-]/).slice(0, 3).map(Number);
  const [a, b] = [numbers(one), numbers(other)];
  for (let i = 0; i < 3; i++) {
    const [x = 0, y = 0] = [a[i], b[i]];
    if (x !== y) {
      return x < y;
    }
  }
  return false;
}
