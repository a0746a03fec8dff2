// GLM as a model among VS Code's own: its agent keeps the conversation, the server gives each reply and puts back what
// was thought before. Never runs a tool: VS Code does.
import * as vscode from "vscode";
import { type Feature, type Glm, Problem } from "../glm";
import type { ModelDelta, ModelInfo } from "../protocol";
import { flat, messages, tools } from "./parts";

export const VENDOR = "glm";

/** What was known of the model when VS Code was last used, so that the list of models is never empty. */
const LAST = "lanes.model";

/** What GLM-4.7 has, for the first start, when nothing was asked yet. */
const FIRST: ModelInfo = {
  id: "glm-4.7",
  family: "glm-4.7",
  maxInputTokens: 186_368,
  maxOutputTokens: 16_384,
  tools: true,
  thinking: true,
  thinkingSwitch: true,
  exactness: "none",
};

/** VS Code's own list of models, the page that it is in, the chat that it comes with, and how long that may take. */
const MODELS = "workbench.action.chat.manage";
const CLOSE = "workbench.action.closeModalEditor";
const BUNDLED = "GitHub.copilot-chat";
const STARTS_MS = 60_000;

/** VS Code counts a prompt in hundreds of small pieces, one after the other: only long ones are worth a question. */
const COUNTED_FROM = 4_000;
/** How many texts travel in one request for their tokens, and how many answers are kept. */
const COUNTED_AT_ONCE = 256;
const COUNTS_KEPT = 1_000;

/** Fields that the stable API does not name and VS Code reads all the same; an older one passes them over. */
interface Information extends vscode.LanguageModelChatInformation {
  readonly configurationSchema?: object;
  readonly warningText?: string;
  readonly isUserSelectable?: boolean;
  readonly isBYOK?: boolean;
}

type Options = vscode.ProvideLanguageModelChatResponseOptions & {
  readonly modelConfiguration?: { readonly thinking?: unknown };
};

type ThinkingPart = new (value: string) => vscode.LanguageModelTextPart;

/** Native thinking, where this VS Code has the class: it is not in the stable declarations. */
const Thinking = (vscode as unknown as { LanguageModelThinkingPart?: ThinkingPart }).LanguageModelThinkingPart;
const isThinking = (part: unknown): boolean => Thinking !== undefined && part instanceof Thinking;

export const model: Feature = (glm, context) => {
  if (vscode.lm?.registerLanguageModelChatProvider === undefined) {
    return { dispose() {} }; // a VS Code that has no such models
  }
  const provider = new Provider(glm, context.globalState);
  return vscode.Disposable.from(
    provider,
    vscode.lm.registerLanguageModelChatProvider(VENDOR, provider),
    vscode.commands.registerCommand("glm-lsp.model.use", () => use(provider)),
  );
};

class Provider implements vscode.LanguageModelChatProvider<Information>, vscode.Disposable {
  readonly #glm: Glm;
  readonly #kept: vscode.Memento;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #listeners: vscode.Disposable[];
  readonly #replies = new Map<string, (part: ModelDelta["part"]) => void>();
  readonly #counts = new Map<string, number>();
  readonly #waiting = new Map<string, Array<(tokens: number) => void>>();
  #number = 0;
  /** Characters to a token, as the engine counted last; code has more than three. */
  #rate = 3;
  #info: ModelInfo;
  #asked: Promise<void> | undefined;
  #known = false;
  #problem = "";

  readonly onDidChangeLanguageModelChatInformation = this.#changed.event;

  constructor(glm: Glm, kept: vscode.Memento) {
    this.#glm = glm;
    this.#kept = kept;
    this.#info = { ...FIRST, ...kept.get<ModelInfo>(LAST) };
    let health = "";
    this.#listeners = [
      this.#changed,
      glm.onDelta(({ stream, part }) => this.#replies.get(stream)?.(part)),
      glm.onStatus((status) => {
        if (status.health !== health) {
          health = status.health;
          void this.look();
        }
      }),
    ];
  }

  dispose(): void {
    vscode.Disposable.from(...this.#listeners).dispose();
  }

  /** Asks what the model is, and tells VS Code where that is news. */
  look(): Promise<void> {
    this.#asked ??= this.#look().finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  async #look(): Promise<void> {
    const before = JSON.stringify([this.#info, this.#problem]);
    try {
      this.#info = await this.#glm.request("glm/model/info", {});
      this.#problem = "";
      this.#known = true;
      await this.#kept.update(LAST, this.#info);
    } catch (error) {
      this.#problem = Problem.of(error).sentence;
    }
    if (JSON.stringify([this.#info, this.#problem]) !== before) {
      this.#changed.fire();
    }
  }

  /** At once, from what was known last: the engine is asked behind it. */
  provideLanguageModelChatInformation(): Information[] {
    if (this.#glm.state.kind === "ready" && !this.#known) {
      void this.look();
    }
    return [information(this.#info, this.#problem)];
  }

  async provideLanguageModelChatResponse(
    _model: Information,
    said: readonly vscode.LanguageModelChatRequestMessage[],
    options: Options,
    progress: vscode.Progress<vscode.LanguageModelResponsePart>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    this.#number += 1;
    const stream = `${this.#number}`;
    let silent = true;
    this.#replies.set(stream, (part) => {
      const told = response(part);
      if (told) {
        silent = silent && part.type === "thinking";
        progress.report(told);
      }
    });
    try {
      const done = await this.#glm.request(
        "glm/model/complete",
        {
          stream,
          messages: messages(said, isThinking),
          tools: tools(options.tools),
          toolMode: options.toolMode === vscode.LanguageModelChatToolMode.Required ? "required" : "auto",
          thinking: thinking(options),
          ...sampling(options.modelOptions),
        },
        token,
      );
      this.#tell(done.restored ?? 0, done.continued ?? 0, done.notes ?? []);
      if (done.finishReason === "length" && silent) {
        throw new Error(
          vscode.l10n.t(
            "The model ran out of {0} new tokens while it thought. Turn its thinking off, or ask for less.",
            this.#info.maxOutputTokens,
          ),
        );
      }
    } catch (error) {
      if (Problem.isCancelled(error) || token.isCancellationRequested) {
        throw new vscode.CancellationError();
      }
      throw error instanceof Problem || !(error instanceof Error) ? new Error(Problem.of(error).sentence) : error;
    } finally {
      this.#replies.delete(stream);
    }
  }

  #tell(restored: number, continued: number, notes: readonly string[]): void {
    if (restored > 0 || continued > 0) {
      this.#glm.log.info(`VS Code's agent: thinking put back into ${restored} messages, ${continued} read as tokens`);
    }
    for (const note of notes) {
      this.#glm.log.warn(note);
    }
  }

  /** Short texts by the rate of the long ones, rather too many; those of one moment travel together, and are kept. */
  async provideTokenCount(_model: Information, text: string | vscode.LanguageModelChatRequestMessage): Promise<number> {
    const words = typeof text === "string" ? text : flat(text, isThinking);
    const known = this.#counts.get(words);
    if (known !== undefined || words.length < COUNTED_FROM) {
      return known ?? Math.ceil(words.length / this.#rate);
    }
    return new Promise((resolve) => {
      const others = this.#waiting.get(words);
      if (others) {
        others.push(resolve);
        return;
      }
      this.#waiting.set(words, [resolve]);
      if (this.#waiting.size === 1) {
        setTimeout(() => void this.#count(), 2);
      }
    });
  }

  async #count(): Promise<void> {
    const asked = [...this.#waiting];
    this.#waiting.clear();
    for (let at = 0; at < asked.length; at += COUNTED_AT_ONCE) {
      const some = asked.slice(at, at + COUNTED_AT_ONCE);
      const texts = some.map(([text]) => text);
      const counted = await this.#glm.request("glm/model/countTokens", { texts }).catch(() => undefined);
      some.forEach(([text, waiting], number) => {
        const tokens = counted?.tokens[number] ?? Math.ceil(text.length / this.#rate);
        if (counted?.exact) {
          this.#counts.set(text, tokens);
          this.#rate = Math.min(4, Math.max(2, (0.9 * text.length) / tokens));
        }
        for (const resolve of waiting) {
          resolve(tokens);
        }
      });
    }
    for (const text of [...this.#counts.keys()].slice(0, Math.max(0, this.#counts.size - COUNTS_KEPT))) {
      this.#counts.delete(text);
    }
  }
}

function information(info: ModelInfo, problem: string): Information {
  const { t } = vscode.l10n;
  const exact = info.exactness === "tokens" ? t("Earlier thinking is kept, to the token.") : "";
  const schema = {
    type: "object",
    properties: {
      thinking: {
        type: "string",
        title: t("Thinking"),
        description: t("Whether GLM thinks before it speaks"),
        enum: ["on", "off"],
        enumItemLabels: [t("Thinking on"), t("Thinking off")],
        default: "on",
        group: "navigation", // shown beside the model's name
      },
    },
  };
  return {
    id: info.id,
    name: info.family.startsWith("glm-") ? info.family.replace("glm", "GLM") : info.id,
    family: info.family,
    version: info.id,
    detail: t("your own engine"),
    tooltip: [info.banner, problem, exact].filter(Boolean).join(" ") || t("GLM on your own engine"),
    maxInputTokens: info.maxInputTokens,
    maxOutputTokens: info.maxOutputTokens,
    capabilities: { toolCalling: info.tools, imageInput: false },
    isUserSelectable: true,
    isBYOK: true,
    ...(problem ? { warningText: problem } : {}),
    ...(info.thinkingSwitch ? { configurationSchema: schema } : {}),
  };
}

function thinking(options: Options): "on" | "off" | "auto" {
  const chosen = options.modelConfiguration?.thinking;
  return chosen === "on" || chosen === "off" ? chosen : "auto";
}

/** What an agent wants of the sampling, under the names that agents use. */
function sampling(options: { readonly [name: string]: unknown } | undefined) {
  const { temperature, max_tokens: most = options?.maxTokens } = options ?? {};
  return {
    ...(typeof temperature === "number" && temperature >= 0 && temperature <= 2 ? { temperature } : {}),
    ...(typeof most === "number" && most >= 1 ? { maxTokens: Math.floor(most) } : {}),
  };
}

/** A piece of a reply as VS Code takes it; thinking is left out where it has no place for that. */
function response(part: ModelDelta["part"]): vscode.LanguageModelResponsePart | undefined {
  switch (part.type) {
    case "text":
      return new vscode.LanguageModelTextPart(part.text);
    case "thinking":
      return Thinking && new Thinking(part.text);
    case "call":
      return new vscode.LanguageModelToolCallPart(part.callId, part.name, part.arguments);
    case "place":
      return undefined;
  }
}

// --- setting it up -------------------------------------------------------------------------------------------------

/** Lets VS Code's own chat use GLM: its list of models turns the chat on, and nobody has to sign in. */
async function use(provider: Provider): Promise<void> {
  const { t } = vscode.l10n;
  await provider.look();
  const [found] = await vscode.lm.selectChatModels({ vendor: VENDOR });
  if (!found) {
    void vscode.window.showErrorMessage(
      t("VS Code does not list GLM among its models. Update VS Code to 1.122 or later."),
    );
    return;
  }
  if ((await vscode.commands.getCommands(true)).includes(MODELS)) {
    await vscode.commands.executeCommand(MODELS); // it enables the bundled chat, which is off until somebody wants it
    const location = vscode.ProgressLocation.Notification;
    const title = t("Turning on VS Code's chat");
    if (!(await vscode.window.withProgress({ location, title }, bundledChat))) {
      void vscode.window.showWarningMessage(
        t("VS Code's chat has not started. If it is disabled among the extensions, enable it, and run this again."),
      );
      return;
    }
    await vscode.commands.executeCommand(CLOSE).then(undefined, () => undefined); // an older VS Code has it as a tab
    await vscode.commands.executeCommand("workbench.action.chat.open");
  }
  await offerSmallWork(`${VENDOR}/${found.id}`);
  await offerQuiet();
}

/** Waits until the bundled chat works: before that, a question would be answered with a request to sign in. */
async function bundledChat(): Promise<boolean> {
  for (const end = Date.now() + STARTS_MS; Date.now() < end; ) {
    const found = vscode.extensions.getExtension(BUNDLED);
    if (found) {
      await found.activate();
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return vscode.extensions.getExtension(BUNDLED) !== undefined;
}

/** Titles and commit messages are written by other models unless somebody says which. */
async function offerSmallWork(name: string): Promise<void> {
  const { t } = vscode.l10n;
  const chat = vscode.workspace.getConfiguration("chat");
  const settings = ["utilityModel", "utilitySmallModel"].filter(
    (setting) => chat.inspect(setting) !== undefined && chat.inspect(setting)?.globalValue === undefined,
  );
  if (settings.length === 0) {
    return;
  }
  const yes = t("Use GLM for Them Too");
  const message = t("VS Code also asks models for titles of chats and for commit messages.");
  if ((await vscode.window.showInformationMessage(message, yes, t("Leave It"))) === yes) {
    for (const setting of settings) {
      await chat.update(setting, name, vscode.ConfigurationTarget.Global);
    }
  }
}

/** The bundled chat tells Microsoft what it is used for, unless telemetry is off; GLM itself tells nobody. */
async function offerQuiet(): Promise<void> {
  const { t } = vscode.l10n;
  if (!vscode.env.isTelemetryEnabled) {
    return;
  }
  const yes = t("Turn Telemetry Off");
  const message = t(
    "GLM sends nothing to anybody. VS Code's own chat is another program: it reports its use to Microsoft, unless telemetry is off.",
  );
  if ((await vscode.window.showInformationMessage(message, yes, t("Leave It"))) === yes) {
    await vscode.workspace
      .getConfiguration("telemetry")
      .update("telemetryLevel", "off", vscode.ConfigurationTarget.Global);
  }
}
