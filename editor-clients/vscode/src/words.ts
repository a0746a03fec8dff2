// The sentences that a person reads while the model works, the same in every face. Never keeps anything.
import type { End, ThinkingEnded, Usage } from "./protocol";

/** Translates a sentence whose `{0}`, `{1}` … stand for the arguments: `vscode.l10n.t`, or the page's own. */
export type Translate = (message: string, ...values: Array<string | number>) => string;

/** `1,912`, in the person's own language. */
export function number(value: number, language?: string): string {
  return Math.round(value).toLocaleString(language);
}

/** How much of what was read the engine had in its cache; undefined where it does not say. */
export function reused(usage: Usage): number | undefined {
  if (usage.cachedTokens === undefined || usage.inputTokens === 0) {
    return undefined;
  }
  return Math.floor((100 * usage.cachedTokens) / usage.inputTokens);
}

/** The sentences, by a translation. */
export function words(t: Translate, language?: string) {
  const count = (value: number) => number(value, language);

  const duration = (seconds: number): string => {
    if (seconds < 9.95) {
      return t("{0} s", seconds.toFixed(1).replace(/\.0$/, ""));
    }
    return seconds < 120 ? t("{0} s", Math.round(seconds)) : t("{0} min", Math.round(seconds / 60));
  };

  const usage = (of: Usage): string => {
    const share = reused(of);
    const read =
      share === undefined
        ? t("{0} read", count(of.inputTokens))
        : t("{0} read, {1} % reused", count(of.inputTokens), share);
    return `${t("{0} tokens", count(of.outputTokens))} · ${read}`;
  };

  return {
    count,
    duration,
    usage,

    /** `Thinking… 12 s` */
    thinking: (seconds: number): string => t("Thinking… {0}", duration(seconds)),

    /** `Thought for 12 s · 840 tokens` */
    thought: (event: Pick<ThinkingEnded, "seconds" | "tokens">): string =>
      event.tokens === undefined
        ? t("Thought for {0}", duration(event.seconds))
        : t("Thought for {0} · {1} tokens", duration(event.seconds), count(event.tokens)),

    /** `3 files · +24 −11` */
    size: (files: ReadonlyArray<{ added: number; removed: number }>): string => {
      const added = files.reduce((sum, file) => sum + file.added, 0);
      const removed = files.reduce((sum, file) => sum + file.removed, 0);
      const how = files.length === 1 ? t("1 file") : t("{0} files", files.length);
      return `${how} · +${count(added)} −${count(removed)}`;
    },

    /** `Done in 18 s · 1,912 tokens · 28,412 read, 99 % reused`, or why it did not end well. */
    ended: (event: Pick<End, "stopReason" | "seconds" | "usage" | "error">): string => {
      if (event.error) {
        return [event.error.message, event.error.hint].filter(Boolean).join(" ");
      }
      const after = duration(event.seconds);
      const first = {
        done: t("Done in {0}", after),
        cancelled: t("Stopped after {0}", after),
        limit: t("Ended at a limit after {0}", after),
        nothing: t("Nothing to do, after {0}", after),
        error: t("Failed after {0}", after),
      }[event.stopReason];
      return `${first} · ${usage(event.usage)}`;
    },

    /** The place in line: 1 is who is next. */
    queued: (place: number): string => {
      if (place === 1) {
        return t("next in line");
      }
      const last = place % 100 > 10 && place % 100 < 14 ? 0 : place % 10;
      return [
        t("{0}th in line", place),
        t("{0}st in line", place),
        t("{0}nd in line", place),
        t("{0}rd in line", place),
      ][last < 4 ? last : 0] as string;
    },
  };
}

export type Words = ReturnType<typeof words>;
