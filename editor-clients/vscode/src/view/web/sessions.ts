// The list of conversations, of whatever editor they were begun in. Never keeps one: the server does.
import type { ConversationEntry } from "../../protocol";
import { h, iconButton } from "./element";
import type { Page } from "./page";

export class Sessions {
  readonly element: HTMLElement;
  readonly #list = h("ul", { class: "sessions-list" });
  readonly #page: Page;
  readonly #most: number;
  #known = "";

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

  #row(one: ConversationEntry, first: boolean, current: boolean): HTMLElement {
    const { t, send } = this.#page;
    const name = one.name || one.first || t("Without a name");
    const turns = one.turns === 1 ? t("1 turn") : t("{0} turns", one.turns);
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
        h("span", { class: "session-when" }, `${since(one.updated, this.#page)} · ${turns}`),
      ),
      h(
        "span",
        { class: "session-tools" },
        iconButton("edit", t("Rename (F2)"), () => send({ type: "rename", conversationId: one.id, name: one.name })),
        iconButton("trash", t("Delete (Del)"), () => send({ type: "delete", conversationId: one.id, name })),
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
