// Where the page begins: it says that it is ready, and is told the person's words before anything is drawn.
import type { FromPage, ToPage } from "../messages";
import { App, type Kept } from "./app";
import { translator } from "./page";
import "./view.css";

const editor = acquireVsCodeApi<Kept>();
const post = (message: FromPage) => editor.postMessage(message);
let app: App | undefined;

window.addEventListener("message", (event: MessageEvent<ToPage>) => {
  const message = event.data;
  if (app) {
    app.heard(message);
  } else if (message.type === "strings") {
    document.documentElement.lang = message.locale;
    const kept = editor.getState();
    app = new App(translator(message.strings), message.locale, post, (now) => editor.setState(now), kept);
  }
});
post({ type: "ready", conversationId: editor.getState()?.conversationId ?? "" });
