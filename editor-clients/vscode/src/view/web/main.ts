// Where the page begins: it says that it is ready, and is told the person's words before anything is drawn.
import type { FromPage, ToPage } from "../messages";
import { App } from "./app";
import { translator } from "./page";
import "./view.css";

const editor = acquireVsCodeApi();
const post = (message: FromPage) => editor.postMessage(message);
let app: App | undefined;

window.addEventListener("message", (event: MessageEvent<ToPage>) => {
  const message = event.data;
  if (app) {
    app.heard(message);
  } else if (message.type === "strings") {
    document.documentElement.lang = message.locale;
    app = new App(translator(message.strings), message.locale, post, message.kept);
  }
});
post({ type: "ready" });
