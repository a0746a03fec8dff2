// Set-up: from nothing to an engine that was seen to work. Every step is a command of its own too.
import { homedir } from "node:os";
import * as vscode from "vscode";
import { type Feature, type Glm, Problem } from "../glm";
import { chooseEngine, planEngine } from "./engines";
import { outcome, type Trial } from "./outcome";
import { tryOut } from "./trial";

const ASKED = "setup.asked";

export const setup: Feature = (glm, context) => {
  const commands = new Commands(glm);
  const run = (name: string, command: () => Promise<unknown>) =>
    vscode.commands.registerCommand(`glm-lsp.${name}`, async () => {
      try {
        return await command();
      } catch (error) {
        if (!Problem.isCancelled(error)) {
          void vscode.window.showErrorMessage(Problem.of(error).sentence);
        }
        return undefined;
      }
    });
  return vscode.Disposable.from(
    run("setUp", () => commands.setUp()),
    run("chooseEngine", async () => (await commands.choose()) && commands.test()),
    run("startEngine", () => commands.startEngine()),
    run("planEngine", async () => planEngine(await commands.program())),
    run("testEngine", () => commands.test()),
    run("openSettings", async () =>
      vscode.commands.executeCommand("workbench.action.openSettings", "@ext:glm-lsp.glm-lsp"),
    ),
    glm.onState((state) => {
      void vscode.commands.executeCommand("setContext", "glm-lsp.serverReady", state.kind === "ready");
      if (state.kind === "missing") {
        void askOnce(context, state.problem);
      }
    }),
  );
};

/** Says once, ever, that something is to be set up; the status bar goes on saying it. */
async function askOnce(context: vscode.ExtensionContext, problem: string): Promise<void> {
  if (context.globalState.get(ASKED)) {
    return;
  }
  await context.globalState.update(ASKED, true);
  const go = vscode.l10n.t("Set Up…");
  if ((await vscode.window.showInformationMessage(`GLM: ${problem}`, go)) === go) {
    await vscode.commands.executeCommand("glm-lsp.setUp");
  }
}

class Commands {
  constructor(private readonly glm: Glm) {}

  /** The program of the server that runs; it is started where it does not. */
  async program(): Promise<string> {
    await this.glm.start();
    const { state } = this.glm;
    if (state.kind !== "ready") {
      throw new Problem(
        state.kind === "missing" ? state.problem : vscode.l10n.t("The server does not run."),
        vscode.l10n.t("The command “GLM: Install Server” installs it."),
      );
    }
    return state.path;
  }

  /** Server, engine, trial, one after the other; what is there already is passed by. */
  async setUp(): Promise<boolean> {
    await this.glm.start();
    if (this.glm.state.kind === "missing" && !(await this.getServer())) {
      return false;
    }
    const path = await this.program();
    const { engine } = await this.glm.request("glm/status", {});
    if (engine.state !== "ready" && !(await chooseEngine(path, () => void this.startEngine()))) {
      return false;
    }
    return (await this.test()) !== undefined;
  }

  async choose(): Promise<boolean> {
    return chooseEngine(await this.program(), () => void this.startEngine());
  }

  private async getServer(): Promise<boolean> {
    const install = vscode.l10n.t("Install it");
    const have = vscode.l10n.t("Use one that I have…");
    const choice = await vscode.window.showQuickPick(
      [
        {
          label: `$(cloud-download) ${install}`,
          detail: vscode.l10n.t("Into a Python environment of its own"),
          value: install,
        },
        { label: `$(folder-opened) ${have}`, detail: vscode.l10n.t("A program glm-lsp on this machine"), value: have },
      ],
      {
        title: vscode.l10n.t("GLM: The server glm-lsp"),
        placeHolder: vscode.l10n.t("How do you want it?"),
        ignoreFocusOut: true,
      },
    );
    if (choice?.value === install) {
      return (await vscode.commands.executeCommand<boolean>("glm-lsp.install")) === true;
    }
    if (choice?.value === have) {
      const [file] = (await vscode.window.showOpenDialog({ title: "glm-lsp", canSelectMany: false })) ?? [];
      if (file) {
        const settings = vscode.workspace.getConfiguration("glm");
        await settings.update("server.path", file.fsPath, vscode.ConfigurationTarget.Global);
        await this.glm.restart();
      }
    }
    return this.glm.state.kind === "ready";
  }

  /** Tries the engine and says what came of it. */
  async test(): Promise<Trial | undefined> {
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: vscode.l10n.t("GLM: Trying the engine"),
      cancellable: true,
    };
    try {
      const trial = await vscode.window.withProgress(options, (_, token) => tryOut(this.glm, token));
      const page = vscode.l10n.t("Show Health");
      void vscode.window
        .showInformationMessage(outcome(trial, vscode.l10n.t, vscode.env.language), page)
        .then((said) => {
          if (said === page) {
            void vscode.commands.executeCommand("glm-lsp.showHealth");
          }
        });
      return trial;
    } catch (error) {
      if (!Problem.isCancelled(error)) {
        const choose = vscode.l10n.t("Choose Engine…");
        void vscode.window.showErrorMessage(`GLM: ${Problem.of(error).sentence}`, choose).then((said) => {
          if (said === choose) {
            void vscode.commands.executeCommand("glm-lsp.chooseEngine");
          }
        });
      }
      return undefined;
    }
  }

  /** Starts this host's engine where its words can be read: a terminal. */
  async startEngine(): Promise<void> {
    const shellPath = await this.program();
    const terminal = vscode.window.createTerminal({
      name: vscode.l10n.t("GLM engine"),
      shellPath,
      shellArgs: ["engine", "start"],
      cwd: homedir(),
      iconPath: new vscode.ThemeIcon("server-process"),
    });
    terminal.show(true);
    const closed = vscode.window.onDidCloseTerminal((one) => {
      if (one === terminal) {
        closed.dispose();
        if (one.exitStatus?.code === 0) {
          void this.test();
        }
      }
    });
  }
}
