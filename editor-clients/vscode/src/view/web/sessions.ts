// The list of conversations, of whatever editor they were begun in. Never keeps one: the server does.
import type { ConversationEntry } from "../../protocol";
import { h, iconButton, say } from "./element";
import type { Page } from "./page";

export class Sessions {
  readonly element: HTMLElement;
  readonly #list = h("ul", { class: "sessions-list" });
  readonly #page: Page;
  readonly #most: number;
  #known = "";
  #order = "";
  #shown: readonly ConversationEntry[] = [];

  /** With `most`, only the latest of them. */
  constructor(page: Page, title: string, most = Number.POSITIVE_INFINITY) {
    this.#page = page;
    this.#most = most;
    this.element = h("section", { class: "sessions" }, h("h2", {}, title), this.#list);
    this.element.setAttribute("aria-label", title);
    this.#list.addEventListener("keydown", (event) => this.#key(event));
  }

  update(entries: readonly ConversationEntry[], current: string): void {
    const shown = entries.filter((one) => one.turns > 0).slice(0, this.#most);
    const known = JSON.stringify([shown, current]);
    if (known === this.#known) {
      return;
    }
    this.#known = known;
    this.#shown = shown;
    const order = shown.map((one) => one.id).join(" ");
    if (order === this.#order && shown.length > 0) {
      // A row that is put anew while the mouse is down on it would never hear of the click.
      for (const one of shown) {
        this.#refresh(one, one.id === current);
      }
      return;
    }
    this.#order = order;
    const focused = (document.activeElement as HTMLElement | null)?.dataset.id;
    const had = this.#list.contains(document.activeElement);
    this.#list.replaceChildren(...shown.map((one, n) => this.#row(one, n === 0, one.id === current)));
    if (shown.length === 0) {
      this.#list.append(h("li", { class: "none" }, this.#page.t("No conversations yet.")));
    }
    if (had) {
      const rows = [...this.#list.querySelectorAll<HTMLElement>(".session-open")];
      (rows.find((one) => one.dataset.id === focused) ?? rows[0])?.focus();
    }
  }

  focus(): void {
    this.#list.querySelector<HTMLElement>('.session-open[tabindex="0"]')?.focus();
  }

  #refresh(one: ConversationEntry, current: boolean): void {
    const row = [...this.#list.children].find((each) => (each as HTMLElement).dataset.id === one.id);
    const button = row?.querySelector<HTMLElement>(".session-open");
    if (!row || !button) {
      return;
    }
    row.className = current ? "session current" : "session";
    if (current) {
      button.setAttribute("aria-current", "true");
    } else {
      button.removeAttribute("aria-current");
    }
    button.dataset.name = this.#name(one);
    const [name, when] = button.children;
    if (name && when) {
      say(name, this.#name(one));
      say(when, this.#when(one));
    }
  }

  /** What is known of it now: its row may be older. */
  #latest(one: ConversationEntry): ConversationEntry {
    return this.#shown.find((each) => each.id === one.id) ?? one;
  }

  #name(one: ConversationEntry): string {
    return one.name || one.first || this.#page.t("Without a name");
  }

  #when(one: ConversationEntry): string {
    const { t } = this.#page;
    const turns = one.turns === 1 ? t("1 turn") : t("{0} turns", one.turns);
    return `${since(one.updated, this.#page)} · ${turns}`;
  }

  #row(one: ConversationEntry, first: boolean, current: boolean): HTMLElement {
    const { t, send } = this.#page;
    const name = this.#name(one);
    return h(
      "li",
      { class: current ? "session current" : "session", "data-id": one.id },
      h(
        "button",
        {
          type: "button",
          class: "session-open",
          "data-id": one.id,
          "data-name": name,
          tabindex: first ? 0 : -1,
          "aria-current": current ? "true" : undefined,
          onclick: () => send({ type: "open", conversationId: one.id }),
        },
        h("span", { class: "session-name" }, name),
        h("span", { class: "session-when" }, this.#when(one)),
      ),
      h(
        "span",
        { class: "session-tools" },
        iconButton("edit", t("Rename (F2)"), () => {
          send({ type: "rename", conversationId: one.id, name: this.#latest(one).name });
        }),
        iconButton("trash", t("Delete (Del)"), () => {
          send({ type: "delete", conversationId: one.id, name: this.#name(this.#latest(one)) });
        }),
      ),
    );
  }

  #key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const { id, name } = target.dataset;
    const rows = [...this.#list.querySelectorAll<HTMLElement>(".session-open")];
    const here = rows.indexOf(target);
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined && here >= 0) {
      event.preventDefault();
      const next = rows[Math.max(0, Math.min(rows.length - 1, here + step))];
      target.tabIndex = -1;
      if (next) {
        next.tabIndex = 0;
        next.focus();
      }
    } else if (event.key === "F2" && id) {
      this.#page.send({ type: "rename", conversationId: id, name: name ?? "" });
    } else if (event.key === "Delete" && id) {
      this.#page.send({ type: "delete", conversationId: id, name: name ?? "" });
    }
  }
}

/** `3 min ago`, in few words. */
function since(when: string, page: Page): string {
  const { t } = page;
  const minutes = Math.max(0, (Date.now() - Date.parse(when)) / 60_000);
  if (minutes < 1) {
    return t("now");
  }
  if (minutes < 60) {
    return t("{0} min ago", Math.floor(minutes));
  }
  if (minutes < 60 * 24) {
    return t("{0} h ago", Math.floor(minutes / 60));
  }
  return t("{0} d ago", Math.floor(minutes / 60 / 24));
}
