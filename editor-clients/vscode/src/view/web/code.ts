// A block of code: its language, its colours, and what can be done with it. Never parses Markdown.
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import kotlin from "highlight.js/lib/languages/kotlin";
import lua from "highlight.js/lib/languages/lua";
import php from "highlight.js/lib/languages/php";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import swift from "highlight.js/lib/languages/swift";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { h, iconButton } from "./element";
import type { Page } from "./page";

const LANGUAGES = {
  bash,
  c,
  cpp,
  csharp,
  css,
  diff,
  go,
  ini,
  java,
  javascript,
  json,
  kotlin,
  lua,
  php,
  python,
  ruby,
  rust,
  sql,
  swift,
  typescript,
  xml,
  yaml,
};
for (const [name, language] of Object.entries(LANGUAGES)) {
  hljs.registerLanguage(name, language);
}

/** Longer code stays plain: colouring it would hold up the page. */
const LONGEST = 60_000;

/** A block of code that may still grow. */
export class Code {
  readonly element: HTMLElement;
  readonly #code = h("code");
  readonly #language: string;
  #text: Text = document.createTextNode("");

  constructor(page: Page, language: string, turnKey: string) {
    const { t } = page;
    this.#language = /^[\w+#.-]*/.exec(language)?.[0] ?? "";
    this.#code.append(this.#text);
    const of = () => this.#code.textContent ?? "";
    const copy = iconButton("copy", t("Copy"), () => {
      page.send({ type: "copy", text: of() });
      page.announce(t("Copied"));
    });
    const insert = iconButton("insert", t("Insert at Cursor"), () => page.send({ type: "insert", text: of() }));
    const apply = iconButton("git-stash-apply", t("Apply with GLM"), () => page.apply(turnKey, of(), this.#language));
    this.element = h(
      "div",
      { class: "code", role: "group", "aria-label": this.#language ? t("Code: {0}", this.#language) : t("Code") },
      h(
        "div",
        { class: "code-head" },
        h("span", { class: "code-language" }, this.#language),
        h("span", { class: "code-tools" }, apply, insert, copy),
      ),
      h("pre", { tabindex: "-1" }, this.#code),
    );
  }

  /** Adds to the end, at the cost of what is added. */
  append(text: string): void {
    this.#text.appendData(text);
  }

  /** Colours it; nothing is added any more. */
  finish(): void {
    const text = this.#text.data;
    if (this.#language === "" || text.length > LONGEST || !hljs.getLanguage(this.#language)) {
      return;
    }
    const holder = document.createElement("template");
    holder.innerHTML = hljs.highlight(text, { language: this.#language, ignoreIllegals: true }).value;
    this.#code.replaceChildren(holder.content);
  }
}
