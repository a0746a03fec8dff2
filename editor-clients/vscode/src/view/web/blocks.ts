// The blocks of a turn as elements: thinking, answers, calls, notes and findings.
// Never asks and never decides: that is in `asks.ts` and `card.ts`.

import { Ask } from "./asks";
import { Card } from "./card";
import { button, h, icon, say } from "./element";
import { Markdown } from "./markdown";
import type { Answer, Block, Call, Finding, Hunk, Note, Thought } from "./model";
import type { Page } from "./page";

/** A block on the page. */
export interface BlockView {
  readonly element: HTMLElement;
  update(block: Block, following: boolean): void;
  /** A second went by. */
  tick?(now: number): void;
}

export function viewOf(block: Block, page: Page, turnKey: string): BlockView {
  switch (block.kind) {
    case "thought":
      return new ThoughtView(page);
    case "answer":
      return new AnswerView(page, turnKey);
    case "call":
      return new CallView(page);
    case "proposal":
      return new Card(page);
    case "finding":
      return new FindingView(page, block);
    case "note":
      return new NoteView(page, block);
  }
}

/** Opens and closes as a person wishes, and by itself only while they have not touched it. */
class Fold {
  readonly element = h("details");
  readonly summary = h("summary");
  #touched = false;

  constructor(look: string) {
    this.element.className = look;
    this.element.append(this.summary);
    this.summary.addEventListener("click", () => {
      this.#touched = true;
    });
  }

  set(open: boolean): void {
    if (!this.#touched && this.element.open !== open) {
      this.element.open = open;
    }
  }
}

class ThoughtView implements BlockView {
  readonly #fold = new Fold("thought");
  readonly #title = h("span", { class: "thought-title" });
  readonly #line = h("span", { class: "thought-line", "aria-hidden": "true" });
  readonly #text = document.createTextNode("");
  readonly #began = performance.now();
  readonly #page: Page;
  #live = true;

  constructor(page: Page) {
    this.#page = page;
    this.#fold.summary.append(icon("chevron-right"), this.#title, this.#line);
    this.#fold.element.append(h("div", { class: "thought-text" }, this.#text));
    this.tick(this.#began);
  }

  get element(): HTMLElement {
    return this.#fold.element;
  }

  update(block: Thought): void {
    const { words, t } = this.#page;
    this.#text.appendData(block.text.slice(this.#text.length));
    this.#live = block.live;
    this.element.classList.toggle("live", block.live);
    if (block.live) {
      say(this.#line, lastLine(block.text));
      return;
    }
    say(this.#line, "");
    say(
      this.#title,
      block.seconds === undefined ? t("Thought") : words.thought({ seconds: block.seconds, tokens: block.tokens }),
    );
  }

  tick(now: number): void {
    if (this.#live) {
      say(this.#title, this.#page.words.thinking(Math.max(0, Math.round((now - this.#began) / 1000))));
    }
  }
}

/** The last line that says something, without a look at all that came before. */
function lastLine(text: string): string {
  const lines = text.slice(-400).split("\n");
  return (
    lines
      .findLast((line) => line.trim() !== "")
      ?.trim()
      .slice(-160) ?? ""
  );
}

class AnswerView implements BlockView {
  readonly #markdown: Markdown;

  constructor(page: Page, turnKey: string) {
    this.#markdown = new Markdown(page, turnKey);
    this.#markdown.element.classList.add("answer");
  }

  get element(): HTMLElement {
    return this.#markdown.element;
  }

  update(block: Answer): void {
    this.#markdown.update(block.text, !block.live);
  }
}

class CallView implements BlockView {
  readonly element = h("div", { class: "call" });
  readonly #page: Page;
  readonly #fold = new Fold("call-fold");
  readonly #state = h("span", { class: "call-state" });
  readonly #title = h("span", { class: "call-title" });
  readonly #outcome = h("span", { class: "call-outcome" });
  readonly #body = h("div", { class: "call-body" });
  readonly #hunks = h("div", { class: "hunks" });
  readonly #hunkViews: HunkView[] = [];
  #ask: Ask | undefined;
  #block: Call | undefined;
  #drawn: Call | undefined;

  constructor(page: Page) {
    this.#page = page;
    this.#fold.summary.append(this.#state, h("span", { class: "call-line" }, this.#title, this.#outcome));
    this.#fold.element.append(this.#body);
    this.#fold.element.addEventListener("toggle", () => this.#draw());
    this.element.append(this.#fold.element, this.#hunks);
  }

  update(block: Call, following: boolean): void {
    const { t, words, path } = this.#page;
    this.#block = block;
    const first = block.hunks[0];
    say(this.#title, block.title || (first ? t("Edit {0}", path(first.uri)) : t("Writes a call…")));
    const failed = block.result !== undefined && !block.result.ok;
    this.element.classList.toggle("failed", failed);
    this.element.classList.toggle("live", block.live);
    const sign = failed ? "error" : block.live ? "loading" : "check";
    if (this.#state.dataset.sign !== sign) {
      this.#state.dataset.sign = sign;
      this.#state.replaceChildren(icon(sign));
    }
    const outcome = [block.result?.outcome ?? ""];
    if (block.result && block.result.seconds >= 0.5) {
      outcome.push(words.duration(block.result.seconds));
    }
    say(
      this.#outcome,
      outcome
        .filter(Boolean)
        .map((one) => ` · ${one}`)
        .join(""),
    );
    block.hunks.forEach((hunk, n) => {
      const view = this.#hunkViews[n] ?? new HunkView(this.#page);
      if (this.#hunkViews[n] === undefined) {
        this.#hunkViews.push(view);
        this.#hunks.append(view.element);
      }
      view.update(hunk, block.live || !following);
    });
    if (block.wait) {
      if (this.#ask === undefined) {
        this.#ask = new Ask(this.#page, block.callId);
        this.element.append(this.#ask.element);
      }
      this.#ask.update(block.wait);
    }
    this.#draw();
  }

  /** What is behind the line is drawn when it is opened. */
  #draw(): void {
    const block = this.#block;
    if (!block || !this.#fold.element.open || this.#drawn === block) {
      return;
    }
    this.#drawn = block;
    const { t } = this.#page;
    const given = Object.entries(block.arguments).map(([name, value]) =>
      h("div", { class: "argument" }, h("span", { class: "argument-name" }, name), h("pre", {}, shown(value))),
    );
    this.#body.replaceChildren(
      ...given,
      h(
        "div",
        { class: "argument" },
        h("span", { class: "argument-name" }, t("Result")),
        h("pre", {}, block.result ? shown(block.result.text) : t("It still runs.")),
      ),
    );
  }
}

/** Longer results are cut: the model read all of it, a person looks at the beginning. */
const LONGEST = 40_000;

function shown(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text;
}

class HunkView {
  readonly #fold = new Fold("hunk");
  readonly #removed = h("div", { class: "removed" });
  readonly #added = h("div", { class: "added" });
  readonly #page: Page;
  #counts = [0, 0];

  constructor(page: Page) {
    this.#page = page;
    this.#fold.element.append(h("div", { class: "hunk-lines" }, this.#removed, this.#added));
  }

  get element(): HTMLElement {
    return this.#fold.element;
  }

  update(hunk: Hunk, open: boolean): void {
    const { t, path } = this.#page;
    const refused = hunk.state === "closed" && hunk.ok === false ? ` · ${hunk.reason || t("refused")}` : "";
    const size = `+${hunk.added.length} −${hunk.removed.length}`;
    say(this.#fold.summary, `${path(hunk.uri)} ${hunk.line + 1} · ${size}${refused}`);
    this.element.classList.toggle("failed", refused !== "");
    grow(this.#removed, hunk.removed, this.#counts[0] ?? 0, "−");
    grow(this.#added, hunk.added, this.#counts[1] ?? 0, "+");
    this.#counts = [hunk.removed.length, hunk.added.length];
    this.#fold.set(open);
  }
}

function grow(element: HTMLElement, lines: readonly string[], from: number, sign: string): void {
  for (let n = from; n < lines.length; n++) {
    element.append(`${sign} ${lines[n]}\n`);
  }
}

const SEVERITIES = { error: "error", warning: "warning", information: "info", hint: "lightbulb" } as const;

class FindingView implements BlockView {
  readonly element: HTMLElement;

  constructor(page: Page, block: Finding) {
    const place = h(
      "button",
      {
        type: "button",
        class: "link",
        onclick: () => page.send({ type: "openFile", uri: block.uri, line: block.line }),
      },
      `${page.path(block.uri)}:${block.line + 1}`,
    );
    const suggestion = block.suggestion ? h("div", { class: "finding-suggestion" }, block.suggestion) : undefined;
    this.element = h(
      "div",
      { class: `finding ${block.severity}` },
      icon(SEVERITIES[block.severity] ?? "info"),
      h("div", {}, place, " ", block.message, suggestion),
    );
  }

  update(): void {}
}

/** Files whose names are shown before one asks for more. */
const NAMED = 3;

class NoteView implements BlockView {
  readonly element: HTMLElement;

  constructor(page: Page, block: Note) {
    const { t, words } = page;
    const about = block.about;
    if (about.type === "warning") {
      this.element = h("div", { class: "note warning" }, icon("warning"), h("span", {}, about.message));
    } else if (about.type === "told") {
      this.element = h("div", { class: "note told" }, icon("reply"), h("span", {}, t("You added: {0}", about.words)));
    } else if (about.type === "compacted") {
      const line = t(
        "Made shorter for the model: {0} → {1} tokens",
        words.count(about.before),
        words.count(about.after),
      );
      const fold = new Fold("note-fold");
      fold.summary.append(icon("fold"), line);
      fold.element.append(h("div", { class: "note-body" }, about.summary || t("Only the text of files was left out.")));
      this.element = fold.element;
    } else {
      const names = about.files.slice(0, NAMED).map((one) => page.path(one.uri));
      const more = about.files.length - names.length;
      const fold = new Fold("note-fold");
      fold.summary.append(
        icon("references"),
        t("Read first: {0}", names.join(", ") + (more > 0 ? ` +${more}` : "")),
        ` · ${t("{0} tokens", words.count(about.tokens))}`,
      );
      const files = about.files.map((one) =>
        h(
          "div",
          {},
          button(page.path(one.uri), () => page.send({ type: "openFile", uri: one.uri }), "link"),
          ` ${one.reason} · ${words.count(one.tokens)}`,
        ),
      );
      fold.element.append(h("div", { class: "note-body" }, ...files));
      this.element = fold.element;
    }
  }

  update(): void {}
}
