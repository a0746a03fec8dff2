// Which paths fit what was typed, the best first. Never looks at a disk or the editor.
import type { Range } from "../protocol";

/** Up to so many paths that hold the letters of the query in their order; `near` are preferred. */
export function best(query: string, paths: readonly string[], most: number, near: ReadonlySet<string>): string[] {
  const wanted = query.toLowerCase();
  return paths
    .map((path) => ({ path, score: score(wanted, path) + (near.has(path) ? 20 : 0) }))
    .filter((one) => one.score > 0)
    .sort((a, b) => b.score - a.score || a.path.length - b.path.length || (a.path < b.path ? -1 : 1))
    .slice(0, most)
    .map((one) => one.path);
}

/** 0 where it does not fit; more for the name than for a folder, for a beginning than for a middle. */
function score(wanted: string, path: string): number {
  const whole = path.toLowerCase();
  const name = whole.slice(whole.lastIndexOf("/") + 1);
  if (name.startsWith(wanted)) {
    return 100;
  }
  const at = whole.indexOf(wanted);
  if (at >= 0) {
    return name.includes(wanted) ? 80 : 60;
  }
  let from = 0;
  for (const letter of wanted) {
    from = whole.indexOf(letter, from) + 1;
    if (from === 0) {
      return 0;
    }
  }
  return 30;
}

/** A range of the editor's as it travels. */
export function ranged(range: Range): Range {
  const { start, end } = range;
  return {
    start: { line: start.line, character: start.character },
    end: { line: end.line, character: end.character },
  };
}
