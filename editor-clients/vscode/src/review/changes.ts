// What a proposal does to texts, as plain functions. Never touches the editor.
import type { Position, ProposalFile, ProposalHunk, ProposalResult, Range } from "../protocol";

/** How a proposal is put before the person. */
export type Form =
  /** In the text itself, for one small change. */
  | "inline"
  /** One file, in the diff editor. */
  | "diff"
  /** Several files, side by side in one page. */
  | "multi"
  /** In the editor's own preview of refactorings. */
  | "preview"
  /** Only in the list of proposals. */
  | "list";

/** What a person wants: `auto` chooses by what is proposed. */
export type Wish = "auto" | "inline" | "diff" | "list";

/** Lines that a change may have to be shown in the text itself. */
export const SMALL_LINES = 12;

/** Actions whose result is one change spread over many files, of which a person wants to leave out some. */
const SPREAD = new Set(["rename", "move_to_file", "inline"]);

export function formOf(proposal: ProposalResult, action: string, wish: Wish): Form {
  const files = proposal.files.filter((file) => file.hunks.some(isOpen));
  const [file] = files;
  if (wish === "list" || !file) {
    return "list";
  }
  if (files.length > 1) {
    return SPREAD.has(action) && wish === "auto" ? "preview" : "multi";
  }
  const [hunk] = file.hunks;
  const small =
    file.kind === "edit" &&
    file.hunks.length === 1 &&
    hunk?.state === "pending" &&
    Math.max(lines(hunk.oldText).length, lines(hunk.newText).length) <= SMALL_LINES;
  return (wish === "inline" || (wish === "auto" && small)) && file.kind === "edit" ? "inline" : "diff";
}

/** Whether a person can still decide on it. */
export function isOpen(hunk: ProposalHunk): boolean {
  return hunk.state === "pending" || hunk.state === "stale";
}

/** Whether anything of a proposal waits for a decision. */
export function waits(proposal: ProposalResult): boolean {
  return proposal.files.some((file) => file.hunks.some(isOpen));
}

/** The lines of a text, without their ends; none for an empty text. */
export function lines(text: string): string[] {
  const found = text.split(/\r\n|\r|\n/);
  return found.at(-1) === "" ? found.slice(0, -1) : found;
}

/** Lines that come and lines that go. */
export function size(file: ProposalFile): { added: number; removed: number } {
  let added = 0;
  let removed = 0;
  for (const hunk of file.hunks) {
    added += lines(hunk.newText).length;
    removed += lines(hunk.oldText).length;
  }
  return { added, removed };
}

/** A file's text with all that waits put in; a text of CRLF lines keeps them. */
export function proposed(text: string, file: ProposalFile): string {
  if (file.kind !== "edit") {
    return file.hunks.map((hunk) => hunk.newText).join("");
  }
  const starts = starting(text);
  let result = text;
  const pending = file.hunks.filter((hunk) => hunk.state === "pending");
  for (const hunk of pending.sort((a, b) => compare(b.range.start, a.range.start))) {
    const from = offset(text, starts, hunk.range.start);
    const to = offset(text, starts, hunk.range.end);
    result = result.slice(0, from) + spelled(hunk.newText, text) + result.slice(to);
  }
  return result;
}

/** A text with the line ends of another. */
export function spelled(text: string, like: string): string {
  const crlf = /\r\n/.test(like);
  return crlf ? text.replace(/\r?\n/g, "\r\n") : text;
}

/** The hunk at a line: the one that covers it, else the first one behind it, else the last one. */
export function hunkAt<H extends { range: Range }>(hunks: readonly H[], line: number): H | undefined {
  return hunks.find((hunk) => line <= Math.max(hunk.range.start.line, last(hunk.range))) ?? hunks.at(-1);
}

/** The last line that a range covers. */
export function last(range: Range): number {
  return range.end.character === 0 && range.end.line > range.start.line ? range.end.line - 1 : range.end.line;
}

/** What an edit does to a range of whole lines that stands in the same text; undefined where it destroys it. */
export function moved(
  range: { first: number; count: number },
  edit: { start: number; end: number; lines: number },
): { first: number; count: number } | undefined {
  const grown = edit.lines - (edit.end - edit.start);
  const end = range.first + range.count;
  if (edit.end < range.first || (edit.end === range.first && edit.start < range.first)) {
    return { first: range.first + grown, count: range.count };
  }
  if (edit.start >= end) {
    return range;
  }
  const count = range.count + grown;
  return edit.start >= range.first && count >= 0 ? { first: range.first, count } : undefined;
}

/** A hunk as lines of a patch, for a hover. */
export function patch(hunk: Pick<ProposalHunk, "oldText" | "newText">): string {
  return [...lines(hunk.oldText).map((line) => `-${line}`), ...lines(hunk.newText).map((line) => `+${line}`)].join(
    "\n",
  );
}

function starting(text: string): number[] {
  const starts = [0];
  for (const found of text.matchAll(/\r\n|\r|\n/g)) {
    starts.push(found.index + found[0].length);
  }
  return starts;
}

function offset(text: string, starts: number[], at: Position): number {
  const start = starts[at.line];
  return start === undefined ? text.length : Math.min(start + at.character, text.length);
}

function compare(a: Position, b: Position): number {
  return a.line - b.line || a.character - b.character;
}
