// The one connection of a window: finds the server, speaks with it, and starts it again when it crashes.
import * as vscode from "vscode";
import type { ExecuteCommandParams, LanguageClient, Middleware } from "vscode-languageclient/node";
import { type Answer, type Glm, Problem, type State } from "../glm";
import type {
  GlmClientCapabilities,
  GlmServerCapabilities,
  ModelDelta,
  Notifications,
  PermissionParams,
  PermissionResult,
  QuestionParams,
  QuestionResult,
  Requests,
  Status,
  TurnEvent,
} from "../protocol";
import { askPermission, askQuestion } from "./ask";
import { find } from "./find";
import { installed } from "./install";
import { chosen, serverSettings } from "./settings";

/** How often a server that ended by itself is started again, and after how long. */
const DELAYS_MS = [500, 1_000, 2_000, 4_000, 8_000];
/** A server that ran for so long had no trouble with its start. */
const SETTLED_MS = 60_000;

const OPT_IN: GlmClientCapabilities = { protocol: 1, events: true, permission: true, question: true, coalesceMs: 40 };

/** What of the editor the server works on: what is or could be a file, and no page of ours. */
const DOCUMENTS = [{ scheme: "file" }, { scheme: "untitled" }, { scheme: "vscode-notebook-cell" }];

export class Connection implements Glm, vscode.Disposable {
  readonly log = vscode.window.createOutputChannel("GLM", { log: true });
  readonly middleware: Middleware = {};
  private readonly states = new vscode.EventEmitter<State>();
  private readonly statuses = new vscode.EventEmitter<Status>();
  private readonly events = new vscode.EventEmitter<TurnEvent>();
  private readonly decisions = new vscode.EventEmitter<string>();
  private readonly deltas = new vscode.EventEmitter<ModelDelta>();
  readonly onState = this.states.event;
  readonly onStatus = this.statuses.event;
  readonly onEvent = this.events.event;
  readonly onDecision = this.decisions.event;
  readonly onDelta = this.deltas.event;

  private client: LanguageClient | undefined;
  private starting: Promise<void> | undefined;
  private crashes = 0;
  private timer: NodeJS.Timeout | undefined;
  private disposed = false;
  private told: State = { kind: "stopped", problem: "" };
  private latest: Status | undefined;
  private readonly permission: Array<Answer<PermissionParams, PermissionResult>> = [askPermission];
  private readonly question: Array<Answer<QuestionParams, QuestionResult>> = [askQuestion];
  /** The last event of each turn that runs, to end it where the server cannot. */
  private readonly running = new Map<string, TurnEvent>();
  private readonly listeners: vscode.Disposable[];

  constructor(private readonly context: vscode.ExtensionContext) {
    this.listeners = [
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.tellTrust()),
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.tellTrust()),
      vscode.window.onDidChangeActiveTextEditor((editor) => this.tellFocus(editor)),
      vscode.workspace.onDidChangeConfiguration((change) => {
        if (change.affectsConfiguration("glm.server")) {
          void this.restart();
        }
      }),
    ];
  }

  get state(): State {
    return this.told;
  }

  get status(): Status | undefined {
    return this.latest;
  }

  get capabilities(): GlmServerCapabilities | undefined {
    return this.told.kind === "ready" ? this.client?.initializeResult?.capabilities.experimental?.glm : undefined;
  }

  async request<M extends keyof Requests>(
    method: M,
    params: Requests[M]["params"],
    token?: vscode.CancellationToken,
  ): Promise<Requests[M]["result"]> {
    const result = await this.send<Requests[M]["result"]>(method, params, token);
    if (method === "glm/proposal/resolve") {
      this.decisions.fire((params as Requests["glm/proposal/resolve"]["params"]).proposalId);
    }
    return result;
  }

  async command(name: string, argument: object): Promise<unknown> {
    const params: ExecuteCommandParams = { command: name, arguments: [argument] };
    return this.send("workspace/executeCommand", params);
  }

  notify<M extends keyof Notifications>(method: M, params: Notifications[M]): void {
    if (this.told.kind === "ready") {
      this.tellServer(method, params);
    }
  }

  answersPermission(answer: Answer<PermissionParams, PermissionResult>): vscode.Disposable {
    return taken(this.permission, answer);
  }

  answersQuestion(answer: Answer<QuestionParams, QuestionResult>): vscode.Disposable {
    return taken(this.question, answer);
  }

  folderOf(uri: vscode.Uri | undefined): string | undefined {
    return uri && vscode.workspace.getWorkspaceFolder(uri)?.uri.toString();
  }

  /** Starts the server where it does not run; the state tells what came of it. */
  async start(): Promise<void> {
    if (this.told.kind === "ready" || this.disposed) {
      return;
    }
    clearTimeout(this.timer);
    this.starting ??= this.launch().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  async restart(): Promise<void> {
    await this.starting;
    this.crashes = 0;
    await this.stop();
    await this.start();
  }

  /** Ends the server for good. */
  async end(): Promise<void> {
    this.disposed = true;
    await this.stop();
  }

  dispose(): void {
    void this.end();
    for (const one of [
      ...this.listeners,
      this.states,
      this.statuses,
      this.events,
      this.decisions,
      this.deltas,
      this.log,
    ]) {
      one.dispose();
    }
  }

  private async send<R>(method: string, params: object, token?: vscode.CancellationToken): Promise<R> {
    await this.start();
    if (this.told.kind !== "ready" || !this.client) {
      throw new Problem(explain(this.told), "", "server-missing");
    }
    try {
      // A token that is not there would count as a second parameter.
      return await (token
        ? this.client.sendRequest<R>(method, params, token)
        : this.client.sendRequest<R>(method, params));
    } catch (error) {
      throw Problem.isCancelled(error) ? error : Problem.of(error);
    }
  }

  private async launch(): Promise<void> {
    this.tell({ kind: "starting" });
    const settings = vscode.workspace.getConfiguration("glm.server");
    const trusted = vscode.workspace.isTrusted;
    const found = await find({
      configured: settings.get("path", ""),
      own: await installed(this.context),
      path: process.env.PATH ?? "",
      folders: trusted ? (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath) : [],
    });
    if ("problem" in found) {
      this.tell({
        kind: "missing",
        problem: found.tooOld
          ? vscode.l10n.t("The server {0} at {1} is too old.", found.tooOld.version, found.tooOld.path)
          : found.problem || vscode.l10n.t("The server glm-lsp is not installed."),
      });
      return;
    }
    this.log.info(`starting ${found.path}, version ${found.version}`);
    const client = await this.make(found.path, settings.get<string[]>("arguments", []));
    if (this.disposed) {
      return;
    }
    this.client = client;
    const began = Date.now();
    try {
      await client.start();
    } catch (error) {
      this.log.error(`the server did not start: ${error}`);
      this.gone(client, began, Problem.of(error).message);
      return;
    }
    client.onDidChangeState(({ newState }) => {
      if (newState === 1 /* State.Stopped */) {
        this.gone(client, began, vscode.l10n.t("The server ended unexpectedly."));
      }
    });
    this.tellTrust();
    this.tellFocus(vscode.window.activeTextEditor);
    this.tell({ kind: "ready", version: found.version, path: found.path });
  }

  private async make(command: string, args: string[]): Promise<LanguageClient> {
    // Loaded here and not at activation, which it would double.
    const { CloseAction, ErrorAction, LanguageClient, RevealOutputChannelOn } = await import(
      "vscode-languageclient/node"
    );
    const names = serverSettings(this.context.extension.packageJSON.contributes.configuration);
    const client = new LanguageClient(
      "glm-lsp",
      "GLM",
      // Without a transport it is standard input and output, and nothing is added to the arguments.
      { command, args: ["--stdio", ...args] },
      {
        documentSelector: DOCUMENTS,
        outputChannel: this.log,
        revealOutputChannelOn: RevealOutputChannelOn.Never,
        initializationFailedHandler: () => false,
        errorHandler: {
          error: () => ({ action: ErrorAction.Continue, handled: true }),
          closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
        },
        middleware: {
          ...this.middleware,
          workspace: {
            ...this.middleware.workspace,
            configuration: ({ items }) =>
              items.map(({ section, scopeUri }) => {
                const scope = scopeUri ? client.protocol2CodeConverter.asUri(scopeUri) : null;
                const settings = vscode.workspace.getConfiguration("glm", scope);
                return section === "glm" ? chosen(names, (name) => settings.inspect(name)) : null;
              }),
          },
        },
      },
    );
    client.registerFeature({
      fillClientCapabilities: (capabilities) => {
        capabilities.experimental = { ...(capabilities.experimental as object), glm: OPT_IN };
      },
      initialize: () => {},
      getState: () => ({ kind: "static" }),
      clear: () => {},
    });
    client.onNotification("glm/turn/event", (event: TurnEvent) => {
      if (event.event.type === "end") {
        this.running.delete(event.turnId);
      } else {
        this.running.set(event.turnId, event);
      }
      this.events.fire(event);
    });
    client.onNotification("glm/model/delta", (delta: ModelDelta) => this.deltas.fire(delta));
    client.onNotification("glm/status/didChange", (status: Status) => {
      this.latest = status;
      this.statuses.fire(status);
    });
    client.onRequest("glm/permission", (params: PermissionParams, token) => first(this.permission, params, token));
    client.onRequest("glm/question", (params: QuestionParams, token) => first(this.question, params, token));
    return client;
  }

  /** The server ended by itself: what ran is told to have ended, and it is started again, later each time. */
  private gone(client: LanguageClient, began: number, problem: string): void {
    if (client !== this.client || this.disposed) {
      return;
    }
    this.client = undefined;
    this.latest = undefined;
    void client.dispose().catch(() => {});
    this.endTurns(problem);
    this.crashes = Date.now() - began > SETTLED_MS ? 1 : this.crashes + 1;
    const delay = DELAYS_MS[this.crashes - 1];
    if (delay === undefined) {
      this.tell({ kind: "stopped", problem });
      return;
    }
    this.tell({ kind: "restarting", attempt: this.crashes, of: DELAYS_MS.length, problem });
    this.timer = setTimeout(() => void this.start(), delay);
  }

  private async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.latest = undefined;
    clearTimeout(this.timer);
    this.endTurns(vscode.l10n.t("The server was stopped."));
    this.tell({ kind: "stopped", problem: "" });
    await client
      ?.dispose(2_000)
      .catch((error: unknown) => this.log.warn(`the server did not stop by itself: ${error}`));
  }

  private endTurns(message: string): void {
    for (const [turnId, last] of this.running) {
      this.running.delete(turnId);
      const usage = { inputTokens: 0, outputTokens: 0 };
      const error = { code: "server-gone", message, hint: vscode.l10n.t("Ask again: what was said is kept.") };
      this.events.fire({
        ...last,
        seq: last.seq + 1,
        event: { type: "end", stopReason: "error", usage, seconds: last.t, error },
      });
    }
  }

  private tellTrust(): void {
    for (const folder of vscode.workspace.workspaceFolders ?? []) {
      this.tellServer("glm/workspace/didChangeTrust", {
        uri: folder.uri.toString(),
        trusted: vscode.workspace.isTrusted,
      });
    }
  }

  private tellFocus(editor: vscode.TextEditor | undefined): void {
    const uri = editor?.document.uri;
    if (!uri || DOCUMENTS.some(({ scheme }) => scheme === uri.scheme)) {
      this.tellServer("glm/didFocus", uri ? { textDocument: { uri: uri.toString() } } : {});
    }
  }

  private tellServer<M extends keyof Notifications>(method: M, params: Notifications[M]): void {
    // One that dies meanwhile need not know.
    this.client?.sendNotification(method, params).catch((error) => this.log.debug(`${method}: ${error}`));
  }

  private tell(state: State): void {
    if (!this.disposed) {
      this.told = state;
      this.states.fire(state);
    }
  }
}

/** A state in words, where it is a reason why nothing can be asked. */
export function explain(state: State): string {
  switch (state.kind) {
    case "missing":
      return state.problem;
    case "restarting":
      return vscode.l10n.t("The server is being started again ({0} of {1}).", state.attempt, state.of);
    case "stopped":
      return state.problem || vscode.l10n.t("The server does not run.");
    default:
      return vscode.l10n.t("The server is starting.");
  }
}

function taken<T>(list: T[], one: T): vscode.Disposable {
  list.unshift(one);
  return { dispose: () => list.splice(list.indexOf(one), 1) };
}

async function first<P, R>(
  answers: Array<Answer<P, R>>,
  params: P,
  token: vscode.CancellationToken,
): Promise<R | null> {
  for (const answer of answers) {
    const said = await answer(params, token);
    if (said !== undefined) {
      return said;
    }
  }
  return null;
}
