// Keeps what is known of server and engine current: by what it is told, and by a look now and then.
import * as vscode from "vscode";
import type { Glm } from "../glm";
import type { EngineStatusResult, StatusResult } from "../protocol";
import type { Checkup, Known } from "./picture";
import { Turns } from "./turns";

/** Between two looks while nobody watches closely. */
const NOW_AND_THEN_MS = 20_000;
/** … and while the health page is open. */
const CLOSELY_MS = 2_000;

export class Watch implements vscode.Disposable {
  private readonly turns = new Turns();
  private readonly changes = new vscode.EventEmitter<Known>();
  readonly onChange = this.changes.event;
  private status: StatusResult | undefined;
  private engine: EngineStatusResult | undefined;
  private checkup: Checkup | undefined;
  private timer: NodeJS.Timeout | undefined;
  private looking = false;
  private closely = false;
  private readonly listeners: vscode.Disposable[];

  constructor(private readonly glm: Glm) {
    this.listeners = [
      glm.onState((state) => {
        if (state.kind !== "ready") {
          this.status = this.engine = undefined;
        }
        this.tell();
        this.soon(0);
      }),
      glm.onStatus(() => this.soon(0)),
      glm.onEvent((event) => {
        if (this.turns.take(event, Date.now())) {
          this.tell();
        }
        if (event.event.type === "end") {
          this.soon(event.event.error ? 0 : 1_000);
        }
      }),
      vscode.window.onDidChangeWindowState(({ focused }) => focused && this.soon(0)),
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.tell()),
    ];
    this.soon(0);
  }

  get known(): Known {
    const { status, engine, turns, checkup } = this;
    return { state: this.glm.state, status, engine, turns, trusted: vscode.workspace.isTrusted, checkup };
  }

  /** Takes note of what a check of everything found. */
  checked(checkup: Checkup | undefined): void {
    this.checkup = checkup;
    this.tell();
  }

  /** Whether a person looks at the figures. */
  watch(closely: boolean): void {
    this.closely = closely;
    this.soon(0);
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const one of [...this.listeners, this.changes]) {
      one.dispose();
    }
  }

  private tell(): void {
    this.changes.fire(this.known);
  }

  private soon(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), ms);
  }

  private async look(): Promise<void> {
    // A window that nobody looks at asks nothing; a server that does not run is not started for a look.
    if (this.glm.state.kind !== "ready" || (!vscode.window.state.focused && !this.closely)) {
      return;
    }
    if (!this.looking) {
      this.looking = true;
      try {
        this.status = await this.glm.request("glm/status", {});
        if (this.status.workspaceFolders.length) {
          this.engine = await this.glm.request("glm/engineStatus", {});
        }
        this.tell();
      } catch (error) {
        this.glm.log.debug(`no status: ${error}`);
      } finally {
        this.looking = false;
      }
    }
    this.soon(this.closely ? CLOSELY_MS : NOW_AND_THEN_MS);
  }
}
