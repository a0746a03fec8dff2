// `@glm` in VS Code's own chat: its turns are the server's own, in one conversation for each chat, so that what was
// thought is kept and the other views show it too. Never keeps what was said.
import * as vscode from "vscode";
import { type Feature, type Glm, Problem } from "../glm";
import type { AnyEvent, PermissionResult, Proposed, TurnEvent, TurnResult } from "../protocol";
import { number, words } from "../words";
import { type Here, meant, type Named, next, VERBS } from "./asked";

type Permit = PermissionResult["answer"];

/** What VS Code keeps of an answer and hands back with the next question. */
interface Kept {
  conversationId?: string;
  action?: string;
  proposalId?: string;
}

/** Native thinking, which only some VS Codes let extensions have: asked once, and never again where it is refused. */
interface Thinks {
  thinkingProgress?(delta: { text: string; id?: string; metadata?: object }): void;
}

const PROBLEMS = 30;

export const participant: Feature = (glm, context) => {
  if (vscode.chat?.createChatParticipant === undefined) {
    return { dispose() {} }; // a VS Code without a chat
  }
  const asks = new Asks(glm);
  const made = vscode.chat.createChatParticipant("glm-lsp.glm", async (request, chat, stream, token) => {
    const turn = new Told(glm, stream, asks);
    return turn.run(request, chat, token);
  });
  made.iconPath = vscode.Uri.joinPath(context.extensionUri, "images", "icon.png");
  made.followupProvider = { provideFollowups: ({ metadata }) => followups(metadata as Kept | undefined) };
  return vscode.Disposable.from(made, asks);
};

/** One answer, while it is told. */
class Told {
  readonly #glm: Glm;
  readonly #stream: vscode.ChatResponseStream;
  readonly #asks: Asks;
  readonly #say = words(vscode.l10n.t, vscode.env.language);
  #conversation = "";
  #turn = "";
  #action = "chat";
  #thought = false;
  #native = true;
  #waits = false;

  constructor(glm: Glm, stream: vscode.ChatResponseStream, asks: Asks) {
    this.#glm = glm;
    this.#stream = stream;
    this.#asks = asks;
  }

  async run(
    request: vscode.ChatRequest,
    chat: vscode.ChatContext,
    token: vscode.CancellationToken,
  ): Promise<vscode.ChatResult> {
    const events = this.#glm.onEvent((event) => this.#heard(event));
    try {
      const here = active();
      const asked = meant(request.prompt, request.command, await named(request.references), here);
      this.#action = asked.action ?? "chat";
      const verb = request.command ? VERBS[request.command] : undefined;
      if (verb && verb.place !== "none" && !asked.textDocument) {
        throw new Problem(vscode.l10n.t("No file is open."), vscode.l10n.t("Open the one that it is about."));
      }
      const about = asked.textDocument?.uri ?? here?.uri;
      const workspaceFolder = this.#glm.folderOf(about ? vscode.Uri.parse(about) : undefined);
      this.#conversation = await this.#continued(chat, workspaceFolder);
      const params = { ...asked, conversationId: this.#conversation, workspaceFolder };
      const done = await this.#glm.request("glm/turn", params, token);
      return this.#ended(done);
    } catch (error) {
      return this.#failed(error);
    } finally {
      events.dispose();
      this.#asks.over(this.#turn);
    }
  }

  /** The conversation of this chat, or a new one; what other participants said is not ours to read. */
  async #continued(chat: vscode.ChatContext, workspaceFolder: string | undefined): Promise<string> {
    const before = chat.history.flatMap((one) => {
      const kept = "result" in one ? (one.result.metadata as Kept | undefined)?.conversationId : undefined;
      return kept ? [kept] : [];
    });
    for (const conversationId of before.reverse()) {
      const found = await this.#glm.request("glm/conversation/get", { conversationId }).catch(() => undefined);
      if (found) {
        return found.conversationId;
      }
    }
    return (await this.#glm.request("glm/conversation/new", { workspaceFolder })).conversationId;
  }

  // --- while it runs -------------------------------------------------------------------------------------------

  #heard({ conversationId, turnId, event }: TurnEvent): void {
    if (this.#turn === "" && event.type === "start" && conversationId === this.#conversation && conversationId !== "") {
      this.#turn = turnId;
      this.#asks.begin(turnId, this.#stream);
    }
    if (turnId === this.#turn && this.#turn !== "") {
      this.#tell(event);
    }
  }

  #tell(event: AnyEvent): void {
    const { t } = vscode.l10n;
    switch (event.type) {
      case "queued":
        this.#stream.progress(
          event.place > 0 ? t("The engine is busy: number {0} in line", event.place) : t("Working"),
        );
        return;
      case "context":
        for (const file of event.files) {
          this.#stream.reference(vscode.Uri.parse(file.uri));
        }
        return;
      case "thinking":
        this.#think(event.text);
        return;
      case "thinkingEnd":
        this.#waits = false;
        if (!this.#native) {
          this.#stream.progress(this.#say.thought(event));
        }
        return;
      case "text":
        this.#stream.markdown(event.text);
        return;
      case "toolCall":
        this.#stream.progress(event.title);
        return;
      case "finding":
        this.#stream.markdown("\n- ");
        this.#stream.anchor(place(event.uri, event.range.start.line), at(event.uri, event.range.start.line));
        this.#stream.markdown(` ${event.message}${event.suggestion ? `\n  ${event.suggestion}` : ""}\n`);
        return;
      case "warning":
        this.#stream.progress(event.message);
        return;
      case "proposal":
        this.#propose(event);
        return;
    }
  }

  #think(text: string): void {
    this.#thought = true;
    if (this.#native) {
      try {
        const stream = this.#stream as Thinks;
        if (stream.thinkingProgress === undefined) {
          throw new Error("none");
        }
        stream.thinkingProgress({ text, id: this.#turn });
        return;
      } catch {
        this.#native = false; // an API that this VS Code keeps from extensions
      }
    }
    if (!this.#waits) {
      this.#waits = true;
      this.#stream.progress(vscode.l10n.t("Thinking"));
    }
  }

  #propose(event: Proposed): void {
    const { t } = vscode.l10n;
    const { proposalId, files } = event;
    this.#stream.markdown(`\n\n**${this.#say.size(files)}**\n`);
    for (const file of files) {
      this.#stream.markdown("\n- ");
      this.#stream.anchor(vscode.Uri.parse(file.uri));
      const language = vscode.env.language;
      this.#stream.markdown(` +${number(file.added, language)} −${number(file.removed, language)}\n`);
    }
    for (const objection of event.objections ?? []) {
      this.#stream.markdown(`\n- ⚠ ${objection.message}\n`);
    }
    const argument = [{ proposalId }];
    this.#stream.button({ title: t("Review"), command: "glm-lsp.review.open", arguments: argument });
    this.#stream.button({ title: t("Accept"), command: "glm-lsp.review.acceptFiles", arguments: argument });
    this.#stream.button({ title: t("Reject"), command: "glm-lsp.review.rejectAll", arguments: argument });
  }

  // --- how it ended --------------------------------------------------------------------------------------------

  #ended(done: TurnResult): vscode.ChatResult {
    const kept: Kept = {
      conversationId: done.conversationId,
      action: this.#action,
      proposalId: done.proposalId,
    };
    if (this.#thought && !this.#native) {
      this.#stream.button({
        title: vscode.l10n.t("Show Thinking"),
        command: "glm-lsp.chat.open",
        arguments: [{ conversationId: done.conversationId }],
      });
    }
    if (done.error && done.stopReason !== "cancelled") {
      return { metadata: kept, ...this.#failed(new Problem(done.error.message, done.error.hint, done.error.code)) };
    }
    if (done.text.trim() === "" && !done.proposalId && done.stopReason === "nothing") {
      this.#stream.markdown(vscode.l10n.t("Nothing to change."));
    }
    return { metadata: kept };
  }

  #failed(error: unknown): vscode.ChatResult {
    const metadata: Kept = { conversationId: this.#conversation || undefined, action: this.#action };
    if (Problem.isCancelled(error)) {
      return { metadata };
    }
    const problem = Problem.of(error);
    if (ENGINE.has(problem.code) || this.#glm.state.kind !== "ready") {
      this.#stream.button({ title: vscode.l10n.t("Set Up GLM"), command: "glm-lsp.setUp" });
    }
    return { metadata, errorDetails: { message: problem.sentence } };
  }
}

/** Failures that the set-up can do something about. */
const ENGINE = new Set(["unreachable", "unauthorised", "wrong-model", "settings"]);

// --- permissions and questions -------------------------------------------------------------------------------------

/** Asks in the chat itself, with buttons; a turn that it does not show is somebody else's to ask for. */
class Asks implements vscode.Disposable {
  readonly #streams = new Map<string, vscode.ChatResponseStream>();
  readonly #open = new Map<string, (answer: string | undefined) => void>();
  readonly #listeners: vscode.Disposable[];

  constructor(glm: Glm) {
    this.#listeners = [
      vscode.commands.registerCommand("glm-lsp.participant.answer", (callId: string, answer: string) =>
        this.#open.get(callId)?.(answer),
      ),
      glm.answersPermission(async (ask, token) => {
        const stream = this.#streams.get(ask.turnId);
        if (!stream) {
          return undefined;
        }
        const { t } = vscode.l10n;
        const where = ask.confined ? t("no network, writes only in this folder") : t("not confined: network and home");
        stream.markdown(`\n\n**${t("GLM wants to: {0}", ask.title)}** (${where})\n${fenced(ask.detail)}\n`);
        const names = permits();
        const answer = await this.#ask(
          stream,
          ask.callId,
          ask.options.map((one) => [names[one], one]),
          token,
        );
        return { answer: (answer as Permit | undefined) ?? "no" };
      }),
      glm.answersQuestion(async (ask, token) => {
        const stream = this.#streams.get(ask.turnId);
        if (!stream) {
          return undefined;
        }
        stream.markdown(`\n\n**${ask.question}**\n`);
        const options = ask.options ?? [];
        const answer =
          options.length > 0
            ? await this.#ask(
                stream,
                ask.callId,
                options.map((one) => [one, one]),
                token,
              )
            : await vscode.window.showInputBox({ prompt: ask.question, ignoreFocusOut: true }, token);
        return { answer };
      }),
    ];
  }

  begin(turnId: string, stream: vscode.ChatResponseStream): void {
    this.#streams.set(turnId, stream);
  }

  over(turnId: string): void {
    this.#streams.delete(turnId);
  }

  dispose(): void {
    vscode.Disposable.from(...this.#listeners).dispose();
    for (const settle of [...this.#open.values()]) {
      settle(undefined);
    }
  }

  #ask(
    stream: vscode.ChatResponseStream,
    callId: string,
    answers: ReadonlyArray<[title: string, answer: string]>,
    token: vscode.CancellationToken,
  ): Promise<string | undefined> {
    for (const [title, answer] of answers) {
      stream.button({ title, command: "glm-lsp.participant.answer", arguments: [callId, answer] });
    }
    return new Promise((resolve) => {
      const settle = (answer: string | undefined) => {
        this.#open.delete(callId);
        resolve(answer);
      };
      this.#open.set(callId, settle);
      token.onCancellationRequested(() => settle(undefined));
    });
  }
}

function permits(): Record<Permit, string> {
  const { t } = vscode.l10n;
  return {
    once: t("Once"),
    always: t("Always"),
    tool: t("This Tool Always"),
    no: t("No"),
    never: t("Never"),
  };
}

/** Text as it is, whatever marks of Markdown are in it. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

// --- what is around the question -----------------------------------------------------------------------------------

function active(): Here | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor || !["file", "untitled"].includes(editor.document.uri.scheme)) {
    return undefined;
  }
  const { document, selection } = editor;
  const known = vscode.languages.getDiagnostics(document.uri);
  const here = selection.isEmpty ? known : known.filter((one) => one.range.intersection(selection));
  return {
    uri: document.uri.toString(),
    range: selection.isEmpty ? undefined : plain(selection),
    cursor: plain(selection),
    problems: here.slice(0, PROBLEMS).map((one) => `- line ${one.range.start.line + 1}: ${one.message}`),
  };
}

async function named(references: readonly vscode.ChatPromptReference[]): Promise<Named[]> {
  return references.flatMap(({ value, id }): Named[] => {
    if (value instanceof vscode.Uri) {
      return [{ uri: value.toString() }];
    }
    if (value instanceof vscode.Location) {
      return [{ uri: value.uri.toString(), range: plain(value.range) }];
    }
    // Rules that VS Code adds by itself are for its own agent; the server reads the project's.
    return typeof value === "string" && !id.startsWith("vscode.") ? [{ words: value }] : [];
  });
}

function plain(range: vscode.Range) {
  const { start, end } = range;
  return {
    start: { line: start.line, character: start.character },
    end: { line: end.line, character: end.character },
  };
}

function place(uri: string, line: number): vscode.Location {
  return new vscode.Location(vscode.Uri.parse(uri), new vscode.Position(line, 0));
}

function at(uri: string, line: number): string {
  return `${vscode.workspace.asRelativePath(vscode.Uri.parse(uri))}:${line + 1}`;
}

function followups(kept: Kept | undefined): vscode.ChatFollowup[] {
  return next(kept?.action ?? "chat", Boolean(kept?.proposalId)).map((command) => ({
    prompt: "",
    command,
    label: `/${command}`,
  }));
}
