// What a call waits for: a permission or an answer, with its buttons. Never answers by itself.
import type { Translate } from "../../words";
import type { Permit } from "../messages";
import { button, h, icon, say } from "./element";
import type { Wait } from "./model";
import type { Page } from "./page";

export class Ask {
  readonly element = h("div", { class: "ask", role: "group" });
  readonly #page: Page;
  readonly #callId: string;
  #wait: Wait | undefined;

  constructor(page: Page, callId: string) {
    this.#page = page;
    this.#callId = callId;
  }

  update(wait: Wait): void {
    if (wait === this.#wait) {
      return;
    }
    const had = this.element.contains(document.activeElement);
    this.#wait = wait;
    this.element.classList.toggle("open", wait.open);
    this.element.replaceChildren(...(wait.open ? this.#asking(wait) : this.#told(wait)));
    this.element.setAttribute("aria-label", wait.kind === "permission" ? this.#page.t("Permission") : wait.text);
    if (had && !wait.open) {
      this.element.tabIndex = -1;
      this.element.focus(); // the buttons are gone, and the focus shall not fall out of the page
    }
  }

  #asking(wait: Wait): HTMLElement[] {
    const { t } = this.#page;
    if (wait.kind === "permission") {
      const labels = answers(t);
      const where = wait.confined
        ? t("It runs without network and writes nowhere but in the workspace.")
        : t("It runs with all your rights.");
      return [
        h("div", { class: "ask-title" }, icon("shield"), t("GLM wants to run")),
        h("pre", { class: "ask-detail", tabindex: "0" }, wait.text),
        h(
          "div",
          { class: wait.confined ? "ask-where" : "ask-where free" },
          icon(wait.confined ? "info" : "warning"),
          h("span", {}, where),
        ),
        h(
          "div",
          { class: "buttons" },
          ...(wait.options as Permit[]).map((option) =>
            button(labels[option] ?? option, () => this.#permit(option), option === "once" ? "primary" : "secondary"),
          ),
        ),
      ];
    }
    const input = h("input", { type: "text", class: "input", "aria-label": wait.text, placeholder: t("Your answer") });
    const answer = (text: string | undefined) =>
      this.#page.send({ type: "answer", callId: this.#callId, answer: text });
    const form = h(
      "form",
      {
        class: "ask-form",
        onsubmit: (event: Event) => {
          event.preventDefault();
          if (input.value.trim()) {
            answer(input.value.trim());
          }
        },
      },
      input,
      h("button", { type: "submit", class: "button primary" }, t("Answer")),
    );
    return [
      h("div", { class: "ask-title" }, icon("question"), t("GLM asks")),
      h("div", { class: "ask-question" }, wait.text),
      h("div", { class: "buttons" }, ...wait.options.map((option) => button(option, () => answer(option)))),
      form,
      h(
        "div",
        { class: "buttons" },
        button(t("Do Not Answer"), () => answer(undefined), "link"),
      ),
    ];
  }

  #permit(answer: Permit): void {
    this.#page.send({ type: "permit", callId: this.#callId, answer });
  }

  #told(wait: Wait): HTMLElement[] {
    const { t } = this.#page;
    const line = h("div", { class: "ask-told" });
    if (wait.answer === undefined) {
      say(line, wait.kind === "permission" ? t("Asked whether it may run.") : wait.text);
    } else {
      const said = wait.kind === "permission" ? (answers(t)[wait.answer as Permit] ?? wait.answer) : wait.answer;
      say(line, wait.kind === "permission" ? t("You said: {0}", said) : `${wait.text} — ${said}`);
    }
    return [line];
  }
}

function answers(t: Translate): Record<Permit, string> {
  return {
    once: t("Once"),
    always: t("Always this"),
    tool: t("Always this tool"),
    no: t("No"),
    never: t("Never this"),
  };
}
