// Markdown that is shown while it is written: what is complete is drawn once, only the block at the end anew.
// Never lets anything into the page that is not plain text, a known element or a link.
import DOMPurify from "dompurify";
import MarkdownIt from "markdown-it";
import { Code } from "./code";
import { h } from "./element";
import type { Page } from "./page";

const parser = new MarkdownIt({ html: false, linkify: true, breaks: false }).disable("image");

/** Code is drawn by `Code`; its place is kept by an element that names the token. */
parser.renderer.rules.fence = (_tokens, n) => `<div class="fence" data-token="${n}"></div>`;
parser.renderer.rules.code_block = parser.renderer.rules.fence;
for (const cell of ["th_open", "td_open"]) {
  parser.renderer.rules[cell] = (tokens, n) => {
    const align = /text-align:(\w+)/.exec(String(tokens[n]?.attrGet("style") ?? ""))?.[1];
    return `<${tokens[n]?.tag}${align ? ` class="align-${align}"` : ""}>`;
  };
}

const ALLOWED = {
  ALLOWED_TAGS: [
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "s",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
  ],
  ALLOWED_ATTR: ["class", "data-token", "href", "start", "title"],
  RETURN_DOM_FRAGMENT: true as const,
};

/** Blocks in a part of the page that the browser may leave out while it is not on the screen. */
const PART = 16;

interface Fence {
  code: Code;
  close: RegExp;
  /** The line that is not complete yet. */
  rest: string;
}

/** An answer of the model as it is written. */
export class Markdown {
  readonly element = h("div", { class: "markdown" });
  readonly #page: Page;
  readonly #turnKey: string;
  #read = 0;
  /** What is not yet complete, and the elements that show it. */
  #tail = "";
  #shown: ChildNode[] = [];
  #part = h("div", { class: "part" });
  #blocks = 0;
  /** Code at the end that is not closed yet. */
  #fence: Fence | undefined;

  constructor(page: Page, turnKey: string) {
    this.#page = page;
    this.#turnKey = turnKey;
    this.element.append(this.#part);
  }

  /** Shows all of a text of which it has shown the beginning. */
  update(text: string, done: boolean): void {
    const more = text.slice(this.#read).replaceAll("\r", "");
    this.#read = text.length;
    if (more !== "" || done) {
      this.#add(more, done);
    }
  }

  #add(more: string, done: boolean): void {
    let text = more;
    while (this.#fence) {
      const left = this.#grow(this.#fence, text, done);
      if (left === undefined) {
        return;
      }
      text = left;
    }
    this.#tail += text;
    this.#unshow();
    const tokens = parser.parse(this.#tail, {});
    const starts = tokens.flatMap((token, n) => (token.level === 0 && token.map && token.nesting >= 0 ? [n] : []));
    const last = done ? tokens.length : (starts.at(-1) ?? 0);
    if (last > 0) {
      this.#keep(this.#draw(tokens.slice(0, last)), done ? starts.length : starts.length - 1);
    }
    if (done) {
      this.#tail = "";
      return;
    }
    const from = lineAt(this.#tail, tokens[last]?.map?.[0] ?? 0);
    this.#tail = this.#tail.slice(from);
    const opening = /^ {0,3}(`{3,}|~{3,})([^`\n]*)\n/.exec(this.#tail);
    if (opening?.[1] && tokens[last]?.type === "fence") {
      const code = new Code(this.#page, opening[2]?.trim() ?? "", this.#turnKey);
      this.#keep(code.element, 1);
      this.#fence = { code, close: new RegExp(`^ {0,3}${opening[1][0]}{${opening[1].length},}\\s*$`), rest: "" };
      const rest = this.#tail.slice(opening[0].length);
      this.#tail = "";
      this.#add(rest, false);
      return;
    }
    const fragment = this.#draw(tokens.slice(last));
    this.#shown = [...fragment.childNodes];
    this.#part.append(fragment);
  }

  /** Adds whole lines to open code; what comes behind its end, or nothing while it is open. */
  #grow(fence: Fence, more: string, done: boolean): string | undefined {
    fence.rest += more;
    const lines = fence.rest.split("\n");
    const partial = lines.pop() ?? "";
    const end = lines.findIndex((line) => fence.close.test(line));
    const whole = end < 0 ? lines : lines.slice(0, end);
    if (whole.length > 0) {
      fence.code.append(whole.map((line) => `${line}\n`).join(""));
    }
    if (end >= 0) {
      this.#fence = undefined;
      fence.code.finish();
      return [...lines.slice(end + 1), partial].join("\n");
    }
    fence.rest = partial;
    if (!done) {
      return undefined;
    }
    if (partial !== "" && !fence.close.test(partial)) {
      fence.code.append(partial);
    }
    this.#fence = undefined;
    fence.code.finish();
    return "";
  }

  #draw(tokens: ReturnType<typeof parser.parse>): DocumentFragment {
    const fragment = DOMPurify.sanitize(parser.renderer.render(tokens, parser.options, {}), ALLOWED);
    for (const place of fragment.querySelectorAll(".fence")) {
      const token = tokens[Number(place.getAttribute("data-token"))];
      const code = new Code(this.#page, token?.info.trim() ?? "", this.#turnKey);
      code.append(token?.content ?? "");
      code.finish();
      place.replaceWith(code.element);
    }
    return fragment;
  }

  #keep(made: Node, blocks: number): void {
    this.#part.append(made);
    this.#blocks += blocks;
    if (this.#blocks >= PART) {
      this.#blocks = 0;
      this.#part = h("div", { class: "part" });
      this.element.append(this.#part);
    }
  }

  #unshow(): void {
    for (const one of this.#shown) {
      one.remove();
    }
    this.#shown = [];
  }
}

/** Where a line begins. */
function lineAt(text: string, line: number): number {
  let at = 0;
  for (let n = 0; n < line && at >= 0; n++) {
    at = text.indexOf("\n", at) + 1;
  }
  return at;
}
