// What somebody asks `@glm` in VS Code's own chat, as the server takes it. Never asks anything.
import type { Range, TurnParams } from "../protocol";

/** A slash command: the server's action, and what the turn is about where nobody says. */
export interface Verb {
  action: string;
  /** What of the active editor: its selection, else the whole file; nothing. */
  place: "selection" | "file" | "none";
  /** Asked for by the slash alone where no words come with it. */
  instruction?: string;
}

export const VERBS: Record<string, Verb> = {
  explain: { action: "explain", place: "selection" },
  fix: { action: "fix", place: "selection", instruction: "Fix what is wrong here." },
  refactor: { action: "refactor", place: "selection", instruction: "Make this code simpler and clearer." },
  simplify: { action: "simplify", place: "selection" },
  document: { action: "document", place: "selection" },
  tests: { action: "generate_tests", place: "selection" },
  types: { action: "add_types", place: "selection" },
  review: { action: "review_file", place: "file" },
  changes: { action: "review_diff", place: "none" },
};

/** Something that the person named with `#`, or that VS Code added: a file, a place in one, or words. */
export type Named = { uri: string; range?: Range } | { words: string };

/** Where the person is. */
export interface Here {
  uri: string;
  /** What is selected; absent for nothing. */
  range?: Range;
  /** Where the cursor is. */
  cursor: Range;
  /** What is known to be wrong there, a line each. */
  problems: readonly string[];
}

type Meant = Pick<TurnParams, "action" | "instruction" | "mentions" | "range" | "textDocument">;

/** The first place in a file that is named is what the turn is about; all else is mentioned. */
export function meant(prompt: string, command: string | undefined, named: readonly Named[], here?: Here): Meant {
  const verb = command ? VERBS[command] : undefined;
  const words = [prompt.trim() || verb?.instruction || ""];
  const told: Meant = { action: verb?.action ?? "chat", instruction: "", mentions: [] };
  const files = named.flatMap((one) => ("uri" in one ? [one] : []));
  const place = files.find((one) => one.range) ?? (verb && verb.place !== "none" ? files[0] : undefined);
  const about = place ?? (verb && verb.place !== "none" && here ? active(verb, here) : undefined);
  if (about) {
    told.textDocument = { uri: about.uri };
    if (about.range && verb?.place !== "file") {
      told.range = about.range;
    }
  }
  told.mentions = [...new Set(files.map((one) => one.uri))].filter((uri) => uri !== about?.uri);
  if (command === "fix" && here && about?.uri === here.uri && here.problems.length > 0) {
    words.push(["The editor reports:", ...here.problems].join("\n"));
  }
  words.push(...named.flatMap((one) => ("words" in one && one.words.trim() ? [one.words.trim()] : [])));
  told.instruction = words.filter(Boolean).join("\n\n");
  return told;
}

function active(verb: Verb, here: Here): { uri: string; range?: Range } {
  return verb.place === "file" ? { uri: here.uri } : { uri: here.uri, range: here.range ?? here.cursor };
}

/** What can be asked next: after an answer in words, after a proposal. */
export function next(action: string, proposed: boolean): string[] {
  if (proposed) {
    return ["tests", "document"];
  }
  return action === "explain" ? ["simplify", "document"] : action.startsWith("review") ? ["fix"] : [];
}
