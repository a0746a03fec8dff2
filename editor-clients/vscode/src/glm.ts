// The connection to glm-lsp as every feature sees it. Never draws anything.
import type * as vscode from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import type {
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
} from "./protocol";

/** How the server is, as a program. */
export type State =
  /** None was found that can be used. */
  | { kind: "missing"; problem: string }
  | { kind: "starting" }
  | { kind: "ready"; version: string; path: string }
  /** It ended by itself, and is started again. */
  | { kind: "restarting"; attempt: number; of: number; problem: string }
  /** Nobody asked for it yet, or it ended too often. */
  | { kind: "stopped"; problem: string };

/** Answers a question of the server's; undefined leaves it to the next one who can. */
export type Answer<P, R> = (params: P, token: vscode.CancellationToken) => Promise<R | undefined>;

/** One server for the whole window, with all its folders. */
export interface Glm {
  readonly log: vscode.LogOutputChannel;
  readonly state: State;
  /** What the server last said of itself. */
  readonly status: Status | undefined;
  /** What it can do; undefined while it does not run. */
  readonly capabilities: GlmServerCapabilities | undefined;

  readonly onState: vscode.Event<State>;
  readonly onStatus: vscode.Event<Status>;
  /** What happens in turns, whoever began them. A turn that the server took down with it ends with the error `server-gone`. */
  readonly onEvent: vscode.Event<TurnEvent>;
  /** Pieces of the replies to `glm/model/complete`. */
  readonly onDelta: vscode.Event<ModelDelta>;

  /** A proposal, by its id, was decided on, by whichever feature. */
  readonly onDecision: vscode.Event<string>;

  /** Asks the server, which is started where it does not run. Fails with a `Problem`. */
  request<M extends keyof Requests>(
    method: M,
    params: Requests[M]["params"],
    token?: vscode.CancellationToken,
  ): Promise<Requests[M]["result"]>;
  /** Tells the server something; nothing happens where it does not run. */
  notify<M extends keyof Notifications>(method: M, params: Notifications[M]): void;
  /** Runs one of the server's own commands (`glm.run` and others, see docs/editors/README.md). */
  command(name: string, argument: object): Promise<unknown>;

  /** Takes `glm/permission`; the last one to come is asked first, and a message asks where nobody answers. */
  answersPermission(answer: Answer<PermissionParams, PermissionResult>): vscode.Disposable;
  /** Takes `glm/question`, likewise. */
  answersQuestion(answer: Answer<QuestionParams, QuestionResult>): vscode.Disposable;
  /** Hooks into the standard methods. A feature sets its own while the extension is activated, before the server runs. */
  readonly middleware: Middleware;

  /** The address of the workspace folder that holds a document; undefined for the server's own choice. */
  folderOf(uri: vscode.Uri | undefined): string | undefined;

  start(): Promise<void>;
  restart(): Promise<void>;
}

/** A failure in words for a person: what happened, and one thing to do. */
export class Problem extends Error {
  constructor(
    message: string,
    readonly hint = "",
    /** A short name that does not change, such as `unreachable`. */
    readonly code = "",
  ) {
    super(message);
    this.name = "Problem";
  }

  /** Both, in one line. */
  get sentence(): string {
    return [this.message, this.hint].filter(Boolean).join(" ");
  }

  /** Whatever was thrown, as a Problem. */
  static of(error: unknown): Problem {
    if (error instanceof Problem) {
      return error;
    }
    const data = (error as { data?: unknown } | undefined)?.data;
    const { code = "", hint = "" } = (typeof data === "object" && data !== null ? data : {}) as Record<string, string>;
    return new Problem(error instanceof Error ? error.message : String(error), hint, code);
  }

  /** Whether it only says that somebody cancelled. */
  static isCancelled(error: unknown): boolean {
    const code = (error as { code?: unknown } | undefined)?.code;
    return code === -32800 || (error instanceof Error && error.name === "Canceled");
  }
}

/** A part of the extension: begins at activation, and ends with what it returns. */
export type Feature = (glm: Glm, context: vscode.ExtensionContext) => vscode.Disposable;
