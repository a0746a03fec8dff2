// What the status bar says, from what is known. Never draws.
import type { State } from "../glm";
import type { EngineStatusResult, StatusResult } from "../protocol";
import { reused, type Translate, words } from "../words";
import type { Turns } from "./turns";

/** `glm-lsp doctor --json` */
export interface Checkup {
  healthy: boolean;
  checks: Record<string, Check>;
}

export interface Check {
  state: "ok" | "note" | "wrong";
  says: string;
  /** One thing to do about it; may be empty. */
  do: string;
}

/** All that is known at a moment. */
export interface Known {
  state: State;
  status?: StatusResult;
  engine?: EngineStatusResult;
  turns: Turns;
  trusted: boolean;
  /** What was found when everything was last checked. */
  checkup?: Checkup;
}

export type Tone = "plain" | "warning" | "error";

export interface Picture {
  /** For the status bar. */
  text: string;
  /** For the tooltip, a line each. */
  lines: string[];
  tone: Tone;
}

/** The model's name as people know it. */
export function modelName(model: string): string {
  const name = model.split("/").at(-1) ?? "";
  const family = /^glm-4\.7(-flash)?/i.exec(name);
  return family ? `GLM-4.7${family[1] ? "-Flash" : ""}` : name;
}

/** Whether the engine answers, by both ways in which it was asked. */
export function engineState({
  status,
  engine,
}: Pick<Known, "status" | "engine">): "ready" | "down" | "asleep" | "unknown" {
  if (engine?.state === "down" || (engine?.state !== "ready" && status?.engine.state === "down")) {
    return "down";
  }
  if (engine?.asleep) {
    return "asleep";
  }
  return engine?.state === "ready" || status?.engine.state === "ready" ? "ready" : "unknown";
}

/** The share of the model's context that the last request took, in percent. */
export function contextShare({ status, turns }: Pick<Known, "status" | "turns">): number | undefined {
  const whole = status?.engine.contextTokens;
  return whole && turns.contextTokens ? Math.min(100, Math.round((100 * turns.contextTokens) / whole)) : undefined;
}

export function picture(known: Known, t: Translate, language?: string): Picture {
  const say = words(t, language);
  const { state, status, turns } = known;
  const brief = (what: string, lines: string[], tone: Tone): Picture => ({ text: `GLM · ${what}`, lines, tone });
  switch (state.kind) {
    case "missing":
      return brief(t("not set up"), [state.problem, t("Click to set it up.")], "warning");
    case "starting":
      return brief(t("starting"), [], "plain");
    case "restarting":
      return brief(t("restarting ({0} of {1})", state.attempt, state.of), [state.problem], "warning");
    case "stopped":
      return state.problem ? brief(t("stopped"), [state.problem], "error") : brief(t("off"), [], "plain");
  }
  const name = modelName(status?.engine.model || known.engine?.model || "") || "GLM";
  const lines: string[] = status?.engine.banner ? [status.engine.banner] : [];
  const engine = engineState(known);
  if (engine === "down" || engine === "unknown" || engine === "asleep") {
    const what = { down: t("engine down"), unknown: t("looking for the engine"), asleep: t("engine asleep") }[engine];
    const why = status?.message || known.engine?.message || "";
    return {
      text: `${name} · ${what}`,
      lines: [...lines, why].filter(Boolean),
      tone: engine === "down" ? "error" : "plain",
    };
  }
  const parts = [name];
  if (turns.place > 0) {
    parts.push(t("busy"), say.queued(turns.place));
  } else {
    parts.push(turns.running.size ? t("working") : t("ready"));
  }
  const share = contextShare(known);
  if (share !== undefined) {
    parts.push(t("{0} %", share));
    const whole = status?.engine.contextTokens ?? 0;
    lines.push(t("{0} % of the context: {1} of {2} tokens", share, say.count(turns.contextTokens), say.count(whole)));
  }
  const cached = turns.usage && reused(turns.usage);
  if (cached !== undefined) {
    lines.push(t("{0} % of what the last turn read was reused", cached));
  }
  if (known.engine?.waiting) {
    lines.push(t("{0} requests in the engine's line", known.engine.waiting));
  }
  if (!known.trusted) {
    lines.push(t("Restricted: this workspace is not trusted, so there are no tools and commands."));
  }
  return { text: parts.join(" · "), lines, tone: status?.engine.banner ? "warning" : "plain" };
}
