// What the health page says, from what is known; worded here, so that the page only lays it out. Never draws.
import { reused, type Translate, words } from "../words";
import { type Checkup, contextShare, engineState, type Known, modelName, picture, type Tone } from "./picture";
import type { Seen } from "./turns";

/** A command of the extension's that a button runs. */
export interface Button {
  command: string;
  label: string;
}

export interface Row {
  label: string;
  value: string;
  /** From 0 to 1, where a bar says more than the number. */
  share?: number;
}

export interface Chart {
  title: string;
  /** What the latest value is, in words. */
  latest: string;
  /** In seconds before now, and the value. */
  points: Array<{ ago: number; value: number; label: string }>;
  empty: string;
  columns: [string, string];
  table: string;
  /** What stands at the two ends of the axis. */
  ends: [string, string];
}

export interface Health {
  title: string;
  summary: string;
  tone: Tone;
  problems: Array<{ text: string; tone: Tone; buttons: Button[] }>;
  buttons: Button[];
  sections: Array<{ title: string; rows: Row[] }>;
  charts: Chart[];
  turns: Table;
  /** What was found when everything was last checked; the first cell of a row is its state. */
  checkup?: Table;
}

export interface Table {
  title: string;
  columns: string[];
  rows: string[][];
  /** What is said in place of no rows. */
  empty: string;
}

export function health(known: Known, t: Translate, now: number, language?: string): Health {
  const shown = picture(known, t, language);
  return {
    title: t("GLM: Health"),
    summary: shown.text,
    tone: shown.tone,
    problems: problems(known, t),
    buttons: [
      { command: "glm-lsp.setUp", label: t("Set Up…") },
      { command: "glm-lsp.doctor", label: t("Check Everything") },
      { command: "glm-lsp.restart", label: t("Restart Server") },
      { command: "glm-lsp.showLog", label: t("Show Log") },
      { command: "glm-lsp.openSettings", label: t("Settings") },
    ],
    sections: sections(known, t, language),
    charts: charts(known, t, now, language),
    turns: turns(known, t, now, language),
    checkup: known.checkup && checked(known.checkup, t),
  };
}

function checked({ checks }: Checkup, t: Translate): Table {
  const states = { ok: t("ok"), note: t("note"), wrong: t("wrong") };
  return {
    title: t("All checks"),
    columns: [t("State"), t("Checked"), t("Found"), t("To do")],
    rows: Object.entries(checks).map(([name, check]) => [states[check.state], name, check.says, check.do]),
    empty: "",
  };
}

function problems(known: Known, t: Translate): Health["problems"] {
  const { state, status, engine } = known;
  const found: Health["problems"] = [];
  const log = { command: "glm-lsp.showLog", label: t("Show Log") };
  const restart = { command: "glm-lsp.restart", label: t("Restart Server") };
  if (state.kind === "missing") {
    const install = { command: "glm-lsp.install", label: t("Install Server") };
    found.push({ text: state.problem, tone: "error", buttons: [install] });
  } else if (state.kind === "stopped" || state.kind === "restarting") {
    const text = state.problem || t("The server does not run.");
    found.push({ text, tone: state.problem ? "error" : "plain", buttons: [restart, log] });
  } else if (state.kind === "ready" && engineState(known) === "down") {
    const why = status?.message || engine?.message || t("The engine does not answer.");
    const buttons = [
      { command: "glm-lsp.chooseEngine", label: t("Choose Engine…") },
      ...(status?.engine.url ? [] : [{ command: "glm-lsp.startEngine", label: t("Start Engine") }]),
    ];
    found.push({ text: why, tone: "error", buttons });
  }
  if (status?.engine.banner) {
    const choose = { command: "glm-lsp.chooseEngine", label: t("Choose Engine…") };
    found.push({ text: status.engine.banner, tone: "warning", buttons: [choose] });
  }
  for (const index of status?.indexes ?? []) {
    found.push(...(index.notes ?? []).map((text) => ({ text, tone: "warning" as const, buttons: [] })));
  }
  if (!known.trusted) {
    const manage = { command: "workbench.trust.manage", label: t("Manage Trust") };
    const text = t("Restricted: this workspace is not trusted, so there are no tools and commands.");
    found.push({ text, tone: "warning", buttons: [manage] });
  }
  return found;
}

function sections(known: Known, t: Translate, language?: string): Health["sections"] {
  const say = words(t, language);
  const { state, status, engine } = known;
  const percent = (share: number) => t("{0} %", Math.round(100 * share));
  const bytes = (amount: number) => t("{0} GiB", (amount / 2 ** 30).toFixed(1));
  const row = <T>(label: string, value: T | undefined, form: (value: T) => string, share?: number): Row[] =>
    value === undefined || value === "" ? [] : [{ label, value: form(value), share }];

  const context = contextShare(known);
  const all: Health["sections"] = [
    {
      title: t("Engine"),
      rows: [
        ...row(t("Model"), status?.engine.model || engine?.model, modelName),
        ...row(t("Address"), engine?.url || status?.engine.url, String),
        ...row(t("Up for"), engine?.upSeconds, (value) => long(value, t)),
        ...row(t("Context"), status?.engine.contextTokens, (value) => t("{0} tokens", say.count(value))),
        ...row(t("Context of the last request"), context, (value) => t("{0} %", value), context && context / 100),
        ...row(
          t("Thinking is kept"),
          status?.engine.state === "ready" ? status.exactness : undefined,
          (value) => ({ tokens: t("token by token"), messages: t("as text"), none: t("no") })[value],
        ),
        ...row(t("Requests running"), engine?.running, say.count),
        ...row(t("Requests in line"), engine?.waiting, say.count),
        ...row(t("Writes"), engine?.writtenPerSecond, (value) => t("{0} tokens/s", value.toFixed(1))),
        ...row(t("Reads"), engine?.readPerSecond, (value) => t("{0} tokens/s", value.toFixed(1))),
        ...row(t("First token, half of the requests"), engine?.firstTokenMedian, say.duration),
        ...row(t("First token, 95 of 100 requests"), engine?.firstTokenTail, say.duration),
        ...row(t("KV cache in use"), engine?.kvUse, percent, engine?.kvUse),
        ...row(t("Prefix cache, reused"), engine?.reused, percent, engine?.reused),
        ...row(t("Drafted tokens taken (MTP)"), engine?.draftsAccepted, percent, engine?.draftsAccepted),
        ...row(t("Started again for want of memory"), engine?.preempted, say.count),
        ...row(t("Memory"), engine?.memoryBytes, bytes),
        ...(engine?.state === "unknown" ? row(t("Figures"), engine.message, String) : []),
      ],
    },
    {
      title: t("GPUs"),
      rows: (engine?.gpus ?? []).map((gpu, index) => ({
        label: `${index} · ${gpu.name}`,
        value: [
          t("{0} of {1}", bytes(gpu.usedBytes), bytes(gpu.totalBytes)),
          ...(gpu.busy === undefined ? [] : [t("{0} busy", percent(gpu.busy))]),
        ].join(" · "),
        share: gpu.usedBytes / gpu.totalBytes,
      })),
    },
    {
      title: t("Index"),
      rows: (status?.indexes ?? []).map((index) => ({
        label: decodeURIComponent(index.workspaceFolder.split("/").at(-1) ?? ""),
        value: t("files: {0} · definitions: {1} · {2}", say.count(index.files), say.count(index.symbols), index.state),
      })),
    },
    {
      title: t("Versions"),
      rows: [
        ...Object.entries(status?.versions ?? {}).map(([label, value]) => ({ label, value })),
        ...(state.kind === "ready" ? row(t("Program"), state.path, String) : []),
      ],
    },
  ];
  return all.filter(({ rows }) => rows.length);
}

function charts({ turns }: Known, t: Translate, now: number, language?: string): Chart[] {
  const say = words(t, language);
  const samples = turns.samples(now);
  const ends: [string, string] = [t("1 hour ago"), t("now")];
  const table = t("As a table");
  const chart = (
    title: string,
    column: string,
    values: Array<[number, number]>,
    form: (value: number) => string,
  ): Chart => ({
    title,
    latest: values.length
      ? t("{0}, at most {1}", form(last(values)), form(Math.max(...values.map(([, value]) => value))))
      : "",
    points: values.map(([at, value]) => ({ ago: (now - at) / 1000, value, label: form(value) })),
    empty: t("No requests in the last hour."),
    columns: [t("Ago"), column],
    table,
    ends,
  });
  return [
    chart(
      t("Tokens per second, last hour"),
      t("Tokens per second"),
      samples.filter(({ tokensPerSecond }) => tokensPerSecond > 0).map((one) => [one.at, one.tokensPerSecond]),
      (value) => t("{0} tokens/s", value < 100 ? value.toFixed(1) : say.count(value)),
    ),
    chart(
      t("Time to the first token, last hour"),
      t("Seconds"),
      samples.map((one) => [one.at, one.firstTokenMs / 1000]),
      say.duration,
    ),
  ];
}

function turns({ turns }: Known, t: Translate, now: number, language?: string): Table {
  const say = words(t, language);
  const outcome = (turn: Seen): string => {
    if (!turn.ended) {
      return turn.place ? say.queued(turn.place) : t("working");
    }
    const said = turn.ended.error;
    return said
      ? said.message
      : ({ done: t("done"), cancelled: t("stopped"), limit: t("at a limit"), nothing: t("nothing to do") }[
          turn.ended.stopReason
        ] ?? turn.ended.stopReason);
  };
  const rows = [...turns.running.values(), ...turns.recent].map((turn) => {
    const usage = turn.ended?.usage;
    const share = usage && reused(usage);
    return [
      [turn.action, turn.instruction].filter(Boolean).join(": ").slice(0, 80),
      outcome(turn),
      say.duration(turn.ended?.seconds ?? (now - turn.began) / 1000),
      usage ? say.count(usage.outputTokens) : "",
      usage ? say.count(usage.inputTokens) : "",
      share === undefined ? "" : t("{0} %", share),
    ];
  });
  const columns = [t("Turn"), t("Outcome"), t("Took"), t("Written"), t("Read"), t("Reused")];
  return { title: t("Recent turns"), columns, rows, empty: t("None since this window was opened.") };
}

function last(values: ReadonlyArray<readonly [number, number]>): number {
  return values.at(-1)?.[1] ?? 0;
}

function long(seconds: number, t: Translate): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) {
    return t("{0} min", minutes);
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? t("{0} h {1} min", hours, minutes % 60) : t("{0} days", Math.floor(hours / 24));
}
