// What `glm-lsp … --json` prints, as far as the set-up reads it.

/** `glm-lsp engine find --json` */
export interface FoundEngines {
  found: FoundEngine[];
  /** The person's settings.toml. */
  file: string;
}

export interface FoundEngine {
  url: string;
  name: string;
  models: string[];
  own: boolean;
  wants_key: boolean;
  user: string;
  ours: boolean | null;
}

/** `glm-lsp engine plan --json` */
export type Plan =
  | { fits: false; message: string; hint: string }
  | {
      fits: true;
      hardware: string;
      model: { source: string; label: string };
      engines: number;
      max_len: number;
      memory: { tokens: number; weights: number; cache: number; allowed: number };
      flags: Array<{ words: string[]; reason: string }>;
      commands: Array<{ host: number; shell: string }>;
      conversations: Array<[number, number]>;
      notes: string[];
    };
