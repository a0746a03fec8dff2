// An engine's address, and a plan for one, as text. Never asks anybody.
import type { Translate } from "../words";
import type { Plan } from "./shapes";

/** Whether a text is an address of an engine; else what is wrong with it. */
export function wrongAddress(text: string): "scheme" | "form" | undefined {
  if (text.startsWith("unix:/")) {
    return undefined;
  }
  if (!/^https?:\/\//.test(text)) {
    return "scheme";
  }
  return URL.canParse(text) && new URL(text).hostname ? undefined : "form";
}

/** A plan as a page of Markdown. */
export function planned(plan: Extract<Plan, { fits: true }>, t: Translate, language?: string): string {
  const number = (value: number) => value.toLocaleString(language);
  const gigabytes = (value: number) => `${(value / 1e9).toFixed(1)} GB`;
  return [
    `# ${plan.model.label} · ${plan.hardware}`,
    "",
    ...plan.commands.flatMap(({ host, shell }) => [
      ...(plan.commands.length > 1 ? [t("Host {0}:", host + 1), ""] : []),
      "```sh",
      shell,
      "```",
      "",
    ]),
    t(
      "On each GPU {0} of weights and {1} of KV cache; {2} tokens in all, {3} in one conversation.",
      gigabytes(plan.memory.weights),
      gigabytes(plan.memory.cache),
      number(plan.memory.tokens),
      number(plan.max_len),
    ),
    "",
    `| ${t("flag")} | ${t("why")} |`,
    "|---|---|",
    ...plan.flags.map(({ words, reason }) => `| \`${words.join(" ")}\` | ${reason} |`),
    "",
    ...plan.notes.map((note) => `- ${note}`),
    t("When it runs, choose it with the command “GLM: Choose Engine…”."),
    "",
  ].join("\n");
}
