// Between the page and the server: what the page wants becomes requests, what happens is told to it.
// Never keeps a conversation: the server has it, and the page shows it.
import * as vscode from "vscode";
import { type Glm, Problem } from "../glm";
import type { ConversationEntry, Fault } from "../protocol";
import { explain } from "../server/client";
import { Asking } from "./asking";
import { html } from "./html";
import { Mentions, selection } from "./mentions";
import type { Asked, FromPage, Kept, Mention, Standing, Surroundings, ToPage } from "./messages";
import { openFile, openLink } from "./open";

/** How often a view that is looked at asks whether conversations changed elsewhere. */
const LOOK_MS = 4_000;

/** The name of what is kept of the page for this workspace. */
const KEPT = "chat";

/** Actions that answer in words, and so are shown here also where they were begun elsewhere. */
const ANSWERS = new Set(["explain", "review_diff", "review_file"]);

export class Chat implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #glm: Glm;
  readonly #extension: vscode.Uri;
  readonly #memory: vscode.Memento;
  readonly #mentions = new Mentions();
  readonly #asking: Asking;
  readonly #listeners: vscode.Disposable[];
  /** Turns that the view began and that run, by the page's own names. */
  readonly #running = new Map<string, vscode.CancellationTokenSource>();
  /** Turns whose events the page is told. */
  readonly #turns = new Set<string>();
  #view: vscode.WebviewView | undefined;
  #ready = false;
  /** The conversation to show when the page is there, where somebody asked for one. */
  #wanted: string | undefined;
  /** What is to be said to the page when it is there. */
  #early: ToPage[] = [];
  #shown = "";
  #entries: ConversationEntry[] = [];
  #timer: NodeJS.Timeout | undefined;
  #moved: NodeJS.Timeout | undefined;

  constructor(glm: Glm, context: vscode.ExtensionContext) {
    this.#glm = glm;
    this.#extension = context.extensionUri;
    this.#memory = context.workspaceState;
    this.#asking = new Asking(
      glm,
      (message) => this.#post(message),
      (turnId) => this.#turns.has(turnId),
    );
    this.#listeners = [
      this.#asking,
      this.#asking.onChange(() => this.#drawBadge()),
      glm.onEvent((event) => {
        const what = event.event;
        if (event.conversationId !== "" || (what.type === "start" && ANSWERS.has(what.action))) {
          this.#turns.add(event.turnId);
        }
        if (this.#turns.has(event.turnId)) {
          // An answer that is in no conversation is nowhere else: it waits for a page that is only being opened.
          event.conversationId === "" ? this.tell({ type: "event", event }) : this.#post({ type: "event", event });
        }
        if (what.type === "end") {
          this.#turns.delete(event.turnId);
        }
      }),
      glm.onState(() => this.#stand()),
      glm.onStatus(() => this.#stand()),
      glm.onDecision((proposalId) => void this.#tellProposal(proposalId)),
      vscode.window.onDidChangeTextEditorSelection(() => this.#look()),
      vscode.window.onDidChangeActiveTextEditor(() => this.#look()),
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.#surround()),
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.#surround()),
    ];
  }

  dispose(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#moved);
    vscode.Disposable.from(...this.#listeners).dispose();
  }

  // --- for commands and other features -----------------------------------------------------------------------

  /** Shows the view, and in it a conversation where one is named. */
  async open(conversationId?: string): Promise<void> {
    this.#wanted = this.#ready ? undefined : conversationId;
    await vscode.commands.executeCommand("glm-lsp.chat.focus");
    if (conversationId && this.#wanted === undefined) {
      await this.#guarded(() => this.#openConversation(conversationId));
    }
    this.tell({ type: "focus" });
  }

  /** Says something to the page, which may have to come first. */
  tell(message: ToPage): void {
    if (this.#ready) {
      this.#post(message);
    } else {
      this.#early.push(message);
    }
  }

  get shown(): string {
    return this.#shown;
  }

  async compact(): Promise<void> {
    if (this.#shown === "") {
      return;
    }
    await vscode.window.withProgress({ location: { viewId: "glm-lsp.chat" } }, () =>
      this.#guarded(async () => {
        const { t } = vscode.l10n;
        const done = await this.#glm.request("glm/conversation/compact", { conversationId: this.#shown });
        const message = t("Made shorter for the model: {0} → {1} tokens", done.before, done.after);
        void vscode.window.showInformationMessage(message);
      }),
    );
  }

  // --- the view ----------------------------------------------------------------------------------------------

  resolveWebviewView(view: vscode.WebviewView): void {
    this.#view = view;
    this.#ready = false;
    view.webview.options = {
      enableScripts: true,
      localResourceRoots: [vscode.Uri.joinPath(this.#extension, "dist")],
    };
    view.webview.onDidReceiveMessage((message: FromPage) => void this.#guarded(() => this.#heard(message)));
    view.onDidChangeVisibility(() => this.#watch());
    view.onDidDispose(() => {
      this.#view = undefined;
      this.#ready = false;
      this.#watch();
    });
    view.webview.html = html(view.webview, this.#extension);
    this.#watch();
  }

  /** Looks for changes from elsewhere only while somebody can see them. */
  #watch(): void {
    clearInterval(this.#timer);
    if (this.#view?.visible) {
      this.#timer = setInterval(() => {
        if (vscode.window.state.focused && this.#glm.state.kind === "ready") {
          void this.#lookAgain();
        }
      }, LOOK_MS);
    }
  }

  #post(message: ToPage): void {
    if (this.#ready) {
      void this.#view?.webview.postMessage(message);
    }
  }

  #drawBadge(): void {
    if (this.#view) {
      const value = this.#asking.count;
      this.#view.badge = value > 0 ? { value, tooltip: vscode.l10n.t("GLM asks") } : undefined;
    }
  }

  // --- what the page wants -----------------------------------------------------------------------------------

  async #heard(message: FromPage): Promise<void> {
    switch (message.type) {
      case "ready":
        return this.#begin();
      case "keep":
        return this.#memory.update(KEPT, message.kept);
      case "ask":
        return this.#ask(message.conversationId, message.asked);
      case "editAndAsk":
        return this.#editAndAsk(message);
      case "tell": {
        const { turnId, words } = message;
        const { accepted } = await this.#glm.request("glm/turn/tell", { turnId, text: words });
        return this.#post({ type: "told", turnId, words, accepted });
      }
      case "stop":
        if (message.turnId) {
          return this.#glm.notify("glm/turn/cancel", { turnId: message.turnId });
        }
        return this.#running.get(message.key)?.cancel();
      case "permit":
        return this.#asking.permit(message.callId, message.answer);
      case "answer":
        return this.#asking.answer(message.callId, message.answer);
      case "find":
        return this.#post({ type: "found", number: message.number, found: await this.#mentions.find(message.query) });
      case "preview":
        return this.#preview(message);
      case "list":
        return this.#lookAgain();
      case "open":
        return this.#openConversation(message.conversationId);
      case "showing":
        this.#shown = message.conversationId;
        if (this.#view) {
          this.#view.description = message.name || undefined;
        }
        return;
      case "rename":
        return this.#rename(message.conversationId, message.name);
      case "delete":
        return this.#delete(message.conversationId, message.name);
      case "fork": {
        const { conversationId, at } = message;
        const fork = await this.#glm.request("glm/conversation/fork", { conversationId, at });
        return this.#openConversation(fork.conversationId);
      }
      case "copy":
        return vscode.env.clipboard.writeText(message.text);
      case "insert":
        return insert(message.text);
      case "apply":
        return this.#apply(message.text, message.language);
      case "openFile":
        return openFile(vscode.Uri.parse(message.uri), message.line);
      case "openLink":
        return openLink(message.href);
      case "review":
        await vscode.commands.executeCommand("glm-lsp.review.open", { proposalId: message.proposalId });
        return;
      case "resolve": {
        const { proposalId, accept, files } = message;
        await vscode.commands.executeCommand(`glm-lsp.review.${accept ? "acceptFiles" : "rejectAll"}`, {
          proposalId,
          files,
        });
        return this.#tellProposal(proposalId);
      }
      case "proposal":
        return this.#tellProposal(message.proposalId);
      case "undo":
        await vscode.commands.executeCommand("glm-lsp.review.undo");
        return;
      case "command":
        if (OFFERED.has(message.command)) {
          await vscode.commands.executeCommand(message.command);
        }
        return;
      case "leave":
        await vscode.commands.executeCommand("workbench.action.focusActiveEditorGroup");
    }
  }

  async #begin(): Promise<void> {
    this.#ready = true;
    const kept = this.#memory.get<Kept>(KEPT);
    const conversationId = this.#wanted ?? kept?.conversationId;
    this.#wanted = undefined;
    const strings = (vscode.l10n.bundle ?? {}) as Record<string, string>;
    this.#post({ type: "strings", strings, locale: vscode.env.language, kept });
    this.#surround();
    this.#stand();
    for (const message of this.#early.splice(0)) {
      this.#post(message);
    }
    if (conversationId) {
      await this.#openConversation(conversationId).catch((error: unknown) => {
        // One that was deleted meanwhile is no trouble, a server that does not answer is told by its state.
        this.#glm.log.warn(`the conversation ${conversationId} cannot be shown: ${error}`);
        this.#post({ type: "gone", conversationId });
      });
    }
    await this.#lookAgain();
  }

  async #ask(conversationId: string, asked: Asked): Promise<void> {
    const stop = new vscode.CancellationTokenSource();
    this.#running.set(asked.key, stop);
    let id = conversationId;
    try {
      const meant = await this.#mentions.meant(asked);
      const workspaceFolder = this.#folder(id, meant.textDocument?.uri);
      if (id === "") {
        id = (await this.#glm.request("glm/conversation/new", { workspaceFolder }, stop.token)).conversationId;
        this.#post({ type: "began", key: asked.key, conversationId: id });
      }
      const params = { ...meant, action: "chat", conversationId: id, workspaceFolder, thinking: asked.thinking };
      await this.#glm.request("glm/turn", params, stop.token);
    } catch (error) {
      this.#post({ type: "failed", key: asked.key, conversationId: id, fault: fault(error) });
    } finally {
      this.#running.delete(asked.key);
      stop.dispose();
    }
  }

  async #editAndAsk({ conversationId, at, asked }: Extract<FromPage, { type: "editAndAsk" }>): Promise<void> {
    let id = "";
    try {
      if (at > 0) {
        id = (await this.#glm.request("glm/conversation/fork", { conversationId, at })).conversationId;
        this.#know(id, conversationId);
        this.#post({ type: "began", key: asked.key, conversationId: id });
      }
    } catch (error) {
      return this.#post({ type: "failed", key: asked.key, conversationId: "", fault: fault(error) });
    }
    return this.#ask(id, asked);
  }

  async #preview({ conversationId, asked }: Extract<FromPage, { type: "preview" }>): Promise<void> {
    try {
      const meant = await this.#mentions.meant(asked);
      const params = {
        ...meant,
        action: "chat",
        conversationId: conversationId || undefined,
        workspaceFolder: this.#folder(conversationId, meant.textDocument?.uri),
        thinking: asked.thinking,
      };
      this.#post({ type: "preview", preview: await this.#glm.request("glm/context/preview", params) });
    } catch (error) {
      this.#post({ type: "preview", fault: fault(error) });
    }
  }

  /** Has the model put code where it belongs in the file that is looked at. */
  async #apply(text: string, language: string): Promise<void> {
    const document = vscode.window.activeTextEditor?.document;
    if (!document) {
      throw new Problem(vscode.l10n.t("No file is open."), vscode.l10n.t("Open the one that the code is for."));
    }
    const token = `#${vscode.workspace.asRelativePath(document.uri)}`;
    const mention: Mention = { token, kind: "file", uri: document.uri.toString() };
    const fence = "`".repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([run]) => run.length + 1)));
    const code = `${fence}${language}\n${text.replace(/\n$/, "")}\n${fence}`;
    const words = `${vscode.l10n.t("Put this where it belongs in {0}:", token)}\n\n${code}`;
    this.#post({ type: "write", words, mentions: [mention], send: true });
  }

  // --- conversations -----------------------------------------------------------------------------------------

  /** What nobody asked for may fail in silence: a server that does not answer is told by its state. */
  async #lookAgain(): Promise<void> {
    await this.#list().catch((error: unknown) => this.#glm.log.debug(`conversations were not listed: ${error}`));
  }

  async #list(): Promise<void> {
    const before = this.#entries.find((one) => one.id === this.#shown);
    const { conversations } = await this.#glm.request("glm/conversation/list", {});
    this.#entries = conversations;
    this.#post({ type: "sessions", sessions: conversations });
    const now = conversations.find((one) => one.id === this.#shown);
    if (before && !now) {
      this.#post({ type: "gone", conversationId: before.id });
    } else if (before && now && before.updated !== now.updated && this.#running.size === 0) {
      // Somebody went on with it elsewhere, or it is our own turn that ended: the page knows.
      const conversation = await this.#glm.request("glm/conversation/get", { conversationId: now.id });
      this.#post({ type: "conversation", conversation, show: false });
    }
  }

  async #openConversation(conversationId: string): Promise<void> {
    const conversation = await this.#glm.request("glm/conversation/get", { conversationId });
    this.#shown = conversation.conversationId;
    this.#post({ type: "conversation", conversation, show: true });
  }

  async #rename(conversationId: string, name: string): Promise<void> {
    const options = { prompt: vscode.l10n.t("What to call the conversation"), value: name };
    const wanted = await vscode.window.showInputBox(options);
    if (wanted !== undefined) {
      await this.#glm.request("glm/conversation/rename", { conversationId, name: wanted });
      await this.#list();
    }
  }

  async #delete(conversationId: string, name: string): Promise<void> {
    const { t } = vscode.l10n;
    const yes = t("Delete");
    const options = { modal: true, detail: t("It is gone for every editor and the command line.") };
    if ((await vscode.window.showWarningMessage(t("Delete “{0}”?", name), options, yes)) === yes) {
      await this.#glm.request("glm/conversation/delete", { conversationId });
      this.#post({ type: "gone", conversationId });
      await this.#list();
    }
  }

  #folder(conversationId: string, uri?: string): string | undefined {
    const known = this.#entries.find((one) => one.id === conversationId)?.workspaceFolder;
    const about = uri ? vscode.Uri.parse(uri) : vscode.window.activeTextEditor?.document.uri;
    return known ?? this.#glm.folderOf(about) ?? vscode.workspace.workspaceFolders?.[0]?.uri.toString();
  }

  /** A fork is where its source is. */
  #know(id: string, source: string): void {
    const entry = this.#entries.find((one) => one.id === source);
    if (entry) {
      this.#entries = [...this.#entries, { ...entry, id }];
    }
  }

  // --- what the page is told ---------------------------------------------------------------------------------

  async #tellProposal(proposalId: string): Promise<void> {
    try {
      const told = await this.#glm.request("glm/proposal/get", { proposalId });
      const pending: Record<string, number> = {};
      let stale = 0;
      for (const file of told.files) {
        pending[file.uri] = file.hunks.filter((hunk) => hunk.state === "pending").length;
        stale += file.hunks.filter((hunk) => hunk.state === "stale").length;
      }
      this.#post({ type: "proposal", now: { proposalId, state: told.state, pending, stale } });
    } catch {
      this.#post({ type: "proposal", now: { proposalId, state: "gone", pending: {}, stale: 0 } });
    }
  }

  /** The selection changes with every key: it is told when it rests. */
  #look(): void {
    clearTimeout(this.#moved);
    if (this.#view?.visible && vscode.window.activeTextEditor) {
      this.#moved = setTimeout(() => this.#surround(), 150);
    }
  }

  #surround(): void {
    const surroundings: Surroundings = {
      trusted: vscode.workspace.isTrusted,
      folders: (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.toString()),
      selection: selection(),
    };
    this.#post({ type: "surroundings", surroundings });
  }

  #stand(): void {
    this.#post({ type: "standing", standing: standing(this.#glm) });
  }

  async #guarded(run: () => unknown): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!Problem.isCancelled(error)) {
        this.#glm.log.warn(`the view: ${error}`);
        this.#post({ type: "trouble", fault: fault(error) });
      }
    }
  }
}

/** The commands that the page may name. */
const OFFERED = new Set(["glm-lsp.install", "glm-lsp.restart", "glm-lsp.showHealth", "workbench.trust.manage"]);

function standing(glm: Glm): Standing {
  const { t } = vscode.l10n;
  const { state, status } = glm;
  const health = { label: t("Show Health"), command: "glm-lsp.showHealth" };
  if (state.kind === "missing") {
    return { health: "error", line: state.problem, remedy: { label: t("Install Server"), command: "glm-lsp.install" } };
  }
  if (state.kind === "restarting") {
    return { health: "warning", line: `${state.problem} ${explain(state)}` };
  }
  if (state.kind === "stopped" && state.problem) {
    return { health: "error", line: state.problem, remedy: { label: t("Restart"), command: "glm-lsp.restart" } };
  }
  if (status && status.health !== "ok" && status.message) {
    return { health: status.health, line: status.message, remedy: health };
  }
  return { health: "ok", line: "" };
}

function fault(error: unknown): Fault {
  if (Problem.isCancelled(error)) {
    return { code: "cancelled", message: vscode.l10n.t("Stopped"), hint: "" };
  }
  const { code, message, hint } = Problem.of(error);
  return { code: code || "failed", message, hint };
}

async function insert(text: string): Promise<void> {
  const editor = vscode.window.activeTextEditor ?? vscode.window.visibleTextEditors[0];
  if (!editor) {
    throw new Problem(vscode.l10n.t("No file is open."), vscode.l10n.t("Open the one that the code is for."));
  }
  await editor.edit((edit) => edit.replace(editor.selection, text));
  await vscode.window.showTextDocument(editor.document, editor.viewColumn);
}
