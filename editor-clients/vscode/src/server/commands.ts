// The commands about the server itself: install, restart, log.
import * as vscode from "vscode";
import { type Feature, Problem } from "../glm";
import { install, newer } from "./install";

export const server: Feature = (glm, context) => {
  const installing = async () => {
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: vscode.l10n.t("Installing the GLM server"),
      cancellable: true,
    };
    try {
      await vscode.window.withProgress(options, (progress, token) =>
        install(
          context,
          (message) => {
            if (message) {
              glm.log.info(message);
              progress.report({ message });
            }
          },
          token,
        ),
      );
    } catch (error) {
      if (!Problem.isCancelled(error)) {
        await tell(Problem.of(error));
      }
      return false;
    }
    await glm.restart();
    return glm.state.kind === "ready";
  };
  const tell = async (problem: Problem) => {
    const log = vscode.l10n.t("Show Log");
    glm.log.error(problem.sentence);
    if ((await vscode.window.showErrorMessage(problem.sentence, log)) === log) {
      glm.log.show();
    }
  };
  const offerNewer = async (path: string, version: string) => {
    const bundled = await newer(context, path, version);
    const update = vscode.l10n.t("Update");
    if (
      bundled &&
      (await vscode.window.showInformationMessage(
        vscode.l10n.t("GLM: The server {0} came with the extension; {1} is installed.", bundled, version),
        update,
      )) === update
    ) {
      await installing();
    }
  };
  return vscode.Disposable.from(
    glm.onState((state) => {
      if (state.kind === "ready") {
        void offerNewer(state.path, state.version);
      }
    }),
    vscode.commands.registerCommand("glm-lsp.install", installing),
    vscode.commands.registerCommand("glm-lsp.restart", () => glm.restart()),
    vscode.commands.registerCommand("glm-lsp.showLog", () => glm.log.show()),
  );
};
