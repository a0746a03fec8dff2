// What pip writes, read. Never runs it.

export interface Failure {
  /** Whether it could not reach an index of packages. */
  offline: boolean;
  /** The line that says why, without its sign. */
  last: string;
}

const OFFLINE =
  /NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|name resolution|Name or service not known|Could not connect|No route to host|nodename nor servname/i;

/** Why it failed, from all that it wrote. */
export function failure(output: string): Failure {
  const lines = output.trim().split("\n");
  const last = lines.filter((line) => /^error/i.test(line.trim())).at(-1) ?? lines.at(-1) ?? "";
  return { offline: OFFLINE.test(output), last: last.trim().replace(/^error:\s*/i, "") };
}

/** `Collecting numpy>=2.1 (from glm-lsp)` as `Collecting numpy`; empty for what nobody wants to read. */
export function short(line: string): string {
  return /^([A-Z][a-z]+ [\w.-]*\w)/.exec(line.trim())?.[1] ?? "";
}
