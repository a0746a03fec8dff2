// The GLM view, as a part of the extension: its place in the side bar and its commands. Never knows what it shows.
import * as vscode from "vscode";
import type { Feature } from "../glm";
import { Chat } from "./chat";
import { selection } from "./mentions";

/** What another feature may ask the view for, by `glm-lsp.chat.ask`. */
export interface Wish {
  words: string;
  /** Whether it is asked at once, or only written into the field. */
  send?: boolean;
  conversationId?: string;
}

export const chat: Feature = (glm, context) => {
  const view = new Chat(glm, context);
  const commands: Record<string, (given?: never) => unknown> = {
    open: (given?: { conversationId?: string }) => view.open(given?.conversationId),
    new: async () => {
      await view.open();
      view.tell({ type: "new" });
    },
    sessions: async () => {
      await view.open();
      view.tell({ type: "showSessions" });
    },
    stop: () => view.tell({ type: "stopAll" }),
    compact: () => view.compact(),
    mention: async () => {
      const mention = selection();
      await view.open();
      if (mention) {
        view.tell({ type: "mention", mention });
      }
    },
    ask: async (wish?: Wish) => {
      await view.open(wish?.conversationId);
      if (wish) {
        view.tell({ type: "write", words: wish.words, mentions: [], send: wish.send ?? false });
      }
    },
  };
  return vscode.Disposable.from(
    view,
    vscode.window.registerWebviewViewProvider("glm-lsp.chat", view, {
      webviewOptions: { retainContextWhenHidden: true },
    }),
    ...Object.entries(commands).map(([name, run]) =>
      vscode.commands.registerCommand(`glm-lsp.chat.${name}`, run as (given?: unknown) => unknown),
    ),
  );
};
