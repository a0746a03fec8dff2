// What the model waits for: permissions and questions of turns that the view shows, answered in the page.
// Never answers for a person; what the page cannot ask, the editor's messages do.
import * as vscode from "vscode";
import type { Glm } from "../glm";
import type { Permit, ToPage } from "./messages";

interface Open {
  settle(answer: string | undefined): void;
}

export class Asking implements vscode.Disposable {
  readonly #open = new Map<string, Open>();
  readonly #post: (message: ToPage) => void;
  readonly #changes = new vscode.EventEmitter<void>();
  readonly #listeners: vscode.Disposable[];
  /** How many wait. */
  readonly onChange = this.#changes.event;

  constructor(glm: Glm, post: (message: ToPage) => void, shows: (turnId: string) => boolean) {
    this.#post = post;
    this.#listeners = [
      glm.answersPermission(async (ask, token) => {
        if (!shows(ask.turnId)) {
          return undefined;
        }
        post({ type: "permission", ask });
        const said = await this.#wait(ask.callId, token);
        return { answer: (said as Permit | undefined) ?? "no" };
      }),
      glm.answersQuestion(async (ask, token) => {
        if (!shows(ask.turnId)) {
          return undefined;
        }
        post({ type: "question", ask });
        return { answer: await this.#wait(ask.callId, token) };
      }),
    ];
  }

  get count(): number {
    return this.#open.size;
  }

  permit(callId: string, answer: Permit): void {
    this.#open.get(callId)?.settle(answer);
  }

  answer(callId: string, answer: string | undefined): void {
    this.#open.get(callId)?.settle(answer);
  }

  dispose(): void {
    vscode.Disposable.from(...this.#listeners, this.#changes).dispose();
    for (const one of [...this.#open.values()]) {
      one.settle(undefined);
    }
  }

  #wait(callId: string, token: vscode.CancellationToken): Promise<string | undefined> {
    return new Promise((resolve) => {
      const settle = (answer: string | undefined) => {
        this.#open.delete(callId);
        this.#changes.fire();
        this.#post({ type: "settled", callId, answer });
        resolve(answer);
      };
      this.#open.set(callId, { settle });
      this.#changes.fire();
      token.onCancellationRequested(() => settle(undefined));
    });
  }
}
