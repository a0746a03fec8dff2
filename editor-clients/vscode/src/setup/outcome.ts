// What a trial of the engine came to. Never asks anybody.
import type { ModelInfo } from "../protocol";
import { modelName } from "../status/picture";
import { type Translate, words } from "../words";

export interface Trial {
  model: ModelInfo;
  firstTokenSeconds: number;
  tokensPerSecond: number;
}

/** From the times in milliseconds; the first token came with the first piece, the others after it. */
export function speed(began: number, first: number, ended: number, tokens: number): Omit<Trial, "model"> {
  const rest = (ended - first) / 1000;
  return {
    firstTokenSeconds: (first - began) / 1000,
    tokensPerSecond: tokens > 1 && rest > 0 ? (tokens - 1) / rest : 0,
  };
}

/** `GLM-4.7 works: 143 tokens/s, first token after 0.4 s · tools · thinking kept token by token` */
export function outcome({ model, firstTokenSeconds, tokensPerSecond }: Trial, t: Translate, language?: string): string {
  const say = words(t, language);
  const kept = { tokens: t("thinking kept token by token"), messages: t("thinking kept as text"), none: "" };
  return [
    tokensPerSecond
      ? t(
          "{0} works: {1} tokens/s, first token after {2}",
          modelName(model.id),
          tokensPerSecond.toFixed(1),
          say.duration(firstTokenSeconds),
        )
      : t("{0} works", modelName(model.id)),
    model.tools ? t("tools") : t("no tools: it can answer, not edit"),
    kept[model.exactness],
    model.banner ?? "",
  ]
    .filter(Boolean)
    .join(" · ");
}
