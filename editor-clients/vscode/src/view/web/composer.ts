// Where a person writes: the field, what is named in it, how to think, what waits to be sent, stop and send.
// Never sends anything to the server: it says what is wanted, and the draft stays until that is under way.
import type { Asked, Draft, Mention, Surroundings, Thinking } from "../messages";
import { button, h, icon, iconButton, say } from "./element";
import type { Page } from "./page";
import { Picker } from "./picker";

export interface ComposerActs {
  ask(asked: Asked): void;
  /** Sends what was edited, from where the conversation forks. */
  resend(at: number, asked: Asked): void;
  tell(words: string): void;
  stop(): void;
  leave(): void;
  preview(asked: Asked): void;
  changed(): void;
}

export class Composer {
  readonly element: HTMLElement;
  readonly picker: Picker;
  readonly #page: Page;
  readonly #acts: ComposerActs;
  readonly #field: HTMLTextAreaElement;
  readonly #thinking: HTMLSelectElement;
  readonly #send: HTMLButtonElement;
  readonly #stop: HTMLButtonElement;
  readonly #banner = h("div", { class: "banner", hidden: true });
  readonly #waiting = h("ul", { class: "waiting", hidden: true });
  readonly #selection = h("div", { class: "selection", hidden: true });
  readonly #meter = h("span", { class: "meter-text" });
  readonly #hint = h("span", { class: "hint-line" });
  #mentions: Mention[] = [];
  #queue: Asked[] = [];
  #editing: number | undefined;
  #saved = "";
  #working = false;
  #last = "";
  #offered: Mention | undefined;

  constructor(page: Page, acts: ComposerActs) {
    this.#page = page;
    this.#acts = acts;
    const { t } = page;
    this.#field = h("textarea", {
      class: "field",
      rows: 1,
      placeholder: t("Ask GLM…"),
      "aria-label": t("Ask GLM"),
      "aria-describedby": "composer-hint",
      spellcheck: "false",
    });
    this.#hint.id = "composer-hint";
    this.picker = new Picker(page, this.#field, (mention) => this.#named(mention));
    this.#thinking = h(
      "select",
      { class: "select", "aria-label": t("Thinking"), title: t("Thinking"), onchange: () => acts.changed() },
      ...(["auto", "on", "off"] as const).map((how) =>
        h("option", { value: how }, { auto: t("thinking: auto"), on: t("thinking: on"), off: t("thinking: off") }[how]),
      ),
    );
    const name = iconButton("symbol-numeric", t("Add Context"), () => this.#name());
    const preview = iconButton("eye", t("What Would Be Read"), () => acts.preview(this.asked()));
    this.#stop = iconButton("debug-stop", t("Stop (Esc)"), () => acts.stop());
    this.#send = iconButton("send", t("Send (Enter)"), () => this.#submit(false));
    this.#stop.hidden = true;
    this.#field.addEventListener("input", () => this.#typed());
    this.#field.addEventListener("click", () => this.picker.look());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.element = h(
      "div",
      { class: "composer", role: "form" },
      this.#banner,
      this.#waiting,
      this.#selection,
      h(
        "div",
        { class: "box" },
        this.picker.element,
        this.#field,
        h(
          "div",
          { class: "box-foot" },
          name,
          this.#thinking,
          preview,
          h("span", { class: "space" }),
          this.#stop,
          this.#send,
        ),
      ),
      h("div", { class: "below" }, this.#hint, this.#meter),
    );
    this.element.setAttribute("aria-label", t("Ask GLM"));
  }

  get draft(): Draft {
    return {
      words: this.#editing === undefined ? this.#field.value : this.#saved,
      mentions: this.#mentions,
      thinking: this.#thinking.value as Thinking,
      waiting: this.#queue,
    };
  }

  set draft(draft: Draft) {
    this.#field.value = draft.words;
    this.#mentions = draft.mentions;
    this.#thinking.value = draft.thinking;
    this.#queue = draft.waiting;
    this.#drawQueue();
    this.#typed();
  }

  focus(): void {
    this.#field.focus();
  }

  /** What would be asked, as it stands. */
  asked(words = this.#field.value): Asked {
    return {
      key: crypto.randomUUID(),
      words: words.trim(),
      mentions: this.#mentions.filter((one) => words.includes(one.token)),
      thinking: this.#thinking.value as Thinking,
    };
  }

  /** Whether a turn runs, and what the latest request cost. */
  working(works: boolean): void {
    if (works === this.#working) {
      return;
    }
    this.#working = works;
    const { t } = this.#page;
    if (this.#stop === document.activeElement && !works) {
      this.focus();
    }
    this.#stop.hidden = !works;
    this.#field.placeholder = works ? t("Add something while GLM works…") : t("Ask GLM…");
    say(this.#hint, works ? t("Enter tells it now · Alt+Enter sends it after · Esc stops") : "");
  }

  /** How much the engine read last, and how much of it it had already. */
  meter(text: string, share: number | undefined): void {
    say(this.#meter, text);
    this.#meter.dataset.share = share === undefined ? "" : share >= 80 ? "high" : share >= 30 ? "middle" : "low";
  }

  /** Takes the next of what waits, when the turn has ended well. */
  next(): Asked | undefined {
    const first = this.#queue.shift();
    this.#drawQueue();
    return first;
  }

  queue(asked: Asked): void {
    this.#queue.push(asked);
    this.#drawQueue();
    this.#acts.changed();
  }

  /** Words for the field, behind what is there. */
  write(words: string): void {
    const before = this.#field.value.trimEnd();
    this.#field.value = before ? `${before}\n${words}` : words;
    this.#typed();
    this.focus();
  }

  mention(mention: Mention): void {
    const value = this.#field.value;
    if (!value.includes(mention.token)) {
      this.#field.value = `${value}${value === "" || /\s$/.test(value) ? "" : " "}${mention.token} `;
    }
    this.#named(mention);
    this.focus();
  }

  /** Begins to edit what was asked; sent, it forks the conversation there. */
  edit(at: number, words: string): void {
    if (this.#editing === undefined) {
      this.#saved = this.#field.value;
    }
    this.#editing = at;
    this.#field.value = words;
    const { t } = this.#page;
    this.#banner.hidden = false;
    this.#banner.replaceChildren(
      icon("edit"),
      h("span", {}, t("Edits what you asked; the conversation forks there.")),
      button(t("Cancel"), () => this.#endEdit(), "link"),
    );
    this.#typed();
    this.focus();
    this.#field.select();
  }

  surroundings(around: Surroundings): void {
    this.#offered = around.selection;
    this.#offer();
  }

  #offer(): void {
    const one = this.#offered;
    const offered = one !== undefined && !this.#field.value.includes(one.token);
    this.#selection.hidden = !offered;
    if (offered) {
      const label = this.#page.t("Add {0}", one.token);
      this.#selection.replaceChildren(
        h("button", { type: "button", class: "chip", onclick: () => this.mention(one) }, icon("add"), label),
      );
    }
  }

  #endEdit(): void {
    this.#editing = undefined;
    this.#field.value = this.#saved;
    this.#banner.hidden = true;
    this.#typed();
    this.focus();
  }

  #named(mention: Mention): void {
    this.#mentions = [...this.#mentions.filter((one) => one.token !== mention.token), mention];
    this.#typed();
  }

  #name(): void {
    this.focus();
    const at = this.#field.selectionStart;
    const before = this.#field.value.slice(0, at);
    this.#field.setRangeText(/(^|\s)$/.test(before) ? "#" : " #", at, this.#field.selectionEnd, "end");
    this.#typed();
  }

  #typed(): void {
    this.#send.disabled = this.#field.value.trim() === "";
    this.picker.look();
    this.#offer();
    this.#acts.changed();
  }

  #submit(after: boolean): void {
    const asked = this.asked();
    if (asked.words === "") {
      return;
    }
    this.#last = asked.words;
    if (this.#editing !== undefined) {
      const at = this.#editing;
      this.#endEdit();
      this.#acts.resend(at, asked);
      return;
    }
    this.#field.value = "";
    if (!this.#working) {
      this.#mentions = [];
      this.#acts.ask(asked);
    } else if (after) {
      this.queue(asked);
    } else {
      this.#acts.tell(asked.words);
    }
    this.#typed();
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing || this.picker.key(event)) {
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit(event.altKey);
    } else if (event.key === "ArrowUp" && this.#field.value === "" && this.#last) {
      event.preventDefault();
      this.#field.value = this.#last;
      this.#typed();
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (this.#editing !== undefined) {
        this.#endEdit();
      } else if (this.#working) {
        this.#acts.stop();
      } else {
        this.#acts.leave();
      }
    }
  }

  #drawQueue(): void {
    const { t } = this.#page;
    this.#waiting.hidden = this.#queue.length === 0;
    this.#waiting.setAttribute("aria-label", t("To be sent after"));
    this.#waiting.replaceChildren(
      ...this.#queue.map((one) =>
        h(
          "li",
          {},
          icon("history"),
          h("span", { class: "waiting-words" }, one.words),
          iconButton("send", t("Send (Enter)"), () => this.#unqueue(one, true)),
          iconButton("close", t("Take Back"), () => this.#unqueue(one, false)),
        ),
      ),
    );
  }

  #unqueue(one: Asked, send: boolean): void {
    this.#queue = this.#queue.filter((other) => other !== one);
    this.#drawQueue();
    if (!send) {
      this.write(one.words);
    } else if (this.#working) {
      this.#acts.tell(one.words);
    } else {
      this.#acts.ask(one);
    }
    this.#acts.changed();
  }
}
