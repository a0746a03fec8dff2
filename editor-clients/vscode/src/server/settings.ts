// What the person set, as the server takes it. Never sends a default: it would hide the person's settings.toml.

/** What `WorkspaceConfiguration.inspect` tells of one setting. */
export interface Inspected {
  globalValue?: unknown;
  workspaceValue?: unknown;
  workspaceFolderValue?: unknown;
}

/** One section of the manifest's `contributes.configuration`. */
export interface Section {
  id: string;
  properties: object;
}

/** The server's settings among those of the manifest, such as `engine.url`; the section `extension` is ours. */
export function serverSettings(sections: readonly Section[]): string[] {
  const theirs = sections.filter(({ id }) => id !== "extension");
  return theirs.flatMap(({ properties }) => Object.keys(properties)).map((name) => name.replace(/^glm\./, ""));
}

/** The values that somebody set, the nearest one first, with the part before the dot as a table. */
export function chosen(
  names: readonly string[],
  inspect: (name: string) => Inspected | undefined,
): Record<string, Record<string, unknown>> {
  const found: Record<string, Record<string, unknown>> = {};
  for (const name of names) {
    const told = inspect(name);
    const value = told?.workspaceFolderValue ?? told?.workspaceValue ?? told?.globalValue;
    if (value === undefined) {
      continue;
    }
    const [section = "", option = ""] = name.split(".", 2);
    found[section] ??= {};
    found[section][option] = value;
  }
  return found;
}
