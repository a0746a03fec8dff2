// The list of what can be named, below a `#` while it is typed. Never searches: the extension does.
import type { Found, Mention } from "../messages";
import { h, icon, say } from "./element";
import type { Page } from "./page";

const ICONS = { file: "file", symbol: "symbol-method", selection: "selection", problems: "warning", git: "git-commit" };

/** A `#` and what stands behind it, up to the caret. */
const NAMING = /(?:^|\s)#([^\s#]*)$/;

export class Picker {
  readonly element: HTMLElement;
  readonly #list = h("div", { class: "picker-list", role: "listbox", id: "picker" });
  readonly #page: Page;
  readonly #field: HTMLTextAreaElement;
  readonly #chosen: (mention: Mention) => void;
  #number = 0;
  #found: Found[] = [];
  #active = 0;
  /** Where the `#` stands for which the person pressed Escape. */
  #dismissed = -1;

  constructor(page: Page, field: HTMLTextAreaElement, chosen: (mention: Mention) => void) {
    this.#page = page;
    this.#field = field;
    this.#chosen = chosen;
    this.#list.setAttribute("aria-label", page.t("Context"));
    this.element = h("div", { class: "picker", hidden: true }, this.#list);
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-haspopup", "listbox");
    field.setAttribute("aria-controls", "picker");
    field.addEventListener("blur", () => this.close());
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  /** Looks whether something is being named at the caret. */
  look(): void {
    const before = this.#field.value.slice(0, this.#field.selectionStart);
    const naming = NAMING.exec(before);
    const at = naming ? before.lastIndexOf("#") : -1;
    if (naming === null || this.#field.selectionStart !== this.#field.selectionEnd || at === this.#dismissed) {
      this.close();
      this.#dismissed = at < 0 ? -1 : this.#dismissed;
      return;
    }
    this.#dismissed = -1;
    this.#number += 1;
    this.#page.send({ type: "find", query: naming[1] ?? "", number: this.#number });
  }

  show(number: number, found: Found[]): void {
    if (number !== this.#number) {
      return; // the person typed on
    }
    this.#found = found;
    this.#active = 0;
    if (found.length === 0) {
      this.close();
      return;
    }
    this.#list.replaceChildren(
      ...found.map((one, n) =>
        h(
          "div",
          {
            class: "picker-item",
            role: "option",
            id: `picker-${n}`,
            onmousedown: (event: Event) => {
              event.preventDefault(); // the field keeps the focus
              this.#choose(n);
            },
          },
          icon(ICONS[one.mention.kind] ?? "file"),
          h("span", { class: "picker-label" }, one.label),
          h("span", { class: "picker-detail" }, one.detail),
        ),
      ),
    );
    const opened = this.element.hidden;
    this.element.hidden = false;
    this.#mark();
    if (opened) {
      this.#page.announce(this.#page.t("{0} suggestions", found.length));
    }
  }

  close(): void {
    this.#number += 1;
    if (!this.element.hidden) {
      this.element.hidden = true;
      this.#field.removeAttribute("aria-activedescendant");
    }
  }

  /** Takes a key where the list is open; whether it did. */
  key(event: KeyboardEvent): boolean {
    if (!this.open) {
      return false;
    }
    const last = this.#found.length - 1;
    switch (event.key) {
      case "ArrowDown":
        this.#active = this.#active === last ? 0 : this.#active + 1;
        break;
      case "ArrowUp":
        this.#active = this.#active === 0 ? last : this.#active - 1;
        break;
      case "Enter":
      case "Tab":
        this.#choose(this.#active);
        break;
      case "Escape":
        this.#dismissed = this.#field.value.slice(0, this.#field.selectionStart).lastIndexOf("#");
        this.close();
        break;
      default:
        return false;
    }
    event.preventDefault();
    event.stopPropagation();
    if (this.open) {
      this.#mark();
    }
    return true;
  }

  #mark(): void {
    [...this.#list.children].forEach((one, n) => {
      one.setAttribute("aria-selected", String(n === this.#active));
    });
    this.#field.setAttribute("aria-activedescendant", `picker-${this.#active}`);
    this.#list.children[this.#active]?.scrollIntoView({ block: "nearest" });
  }

  #choose(n: number): void {
    const one = this.#found[n];
    const caret = this.#field.selectionStart;
    const at = this.#field.value.slice(0, caret).lastIndexOf("#");
    this.close();
    if (!one || at < 0) {
      return;
    }
    this.#field.setRangeText(`${one.mention.token} `, at, caret, "end");
    if (one.mention.token.endsWith(":")) {
      // a kind that is to be gone on with, such as `#symbol:`
      this.#field.setRangeText("", this.#field.selectionStart - 1, this.#field.selectionStart, "end");
      this.look();
      return;
    }
    this.#chosen(one.mention);
    say(this.#list, "");
  }
}
