// What every part of the page may use: words, the way to the extension, announcements. Never draws anything.
import type { Translate, Words } from "../../words";
import type { FromPage } from "../messages";

export interface Page {
  readonly t: Translate;
  readonly words: Words;
  send(message: FromPage): void;
  /** Says it to who listens to the screen; what happens often is left out. */
  announce(text: string): void;
  /** How a person calls a file: its path from the workspace's folder. */
  path(uri: string): string;
  /** Has the model put code where it belongs. */
  apply(turnKey: string, code: string, language: string): void;
}

/** Fills `{0}`, `{1}` … of a sentence in the person's language. */
export function translator(strings: Record<string, string>): Translate {
  return (message, ...values) =>
    (strings[message] ?? message).replace(/\{(\d+)\}/g, (whole, n: string) => String(values[Number(n)] ?? whole));
}

/** The path of a file from the folder that holds it; whole where none does. */
export function pathOf(uri: string, folders: readonly string[]): string {
  const folder = folders.find((one) => uri.startsWith(`${one.replace(/\/$/, "")}/`));
  const rest = folder === undefined ? uri.replace(/^file:\/\//, "") : uri.slice(folder.replace(/\/$/, "").length + 1);
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest;
  }
}
