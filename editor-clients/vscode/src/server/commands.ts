// The commands about the server itself: install, restart, log.
import * as vscode from "vscode";
import { type Feature, Problem } from "../glm";
import { install } from "./install";

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
  return vscode.Disposable.from(
    vscode.commands.registerCommand("glm-lsp.install", installing),
    vscode.commands.registerCommand("glm-lsp.restart", () => glm.restart()),
    vscode.commands.registerCommand("glm-lsp.showLog", () => glm.log.show()),
  );
};
