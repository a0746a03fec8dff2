// The card of a proposal: its files with check boxes, and what can be done with them. Never edits anything.
import { button, h, icon } from "./element";
import type { Card as Proposal } from "./model";
import type { Page } from "./page";

export class Card {
  readonly element = h("div", { class: "card", role: "group" });
  readonly #page: Page;
  /** Addresses of the files that are not to be taken. */
  readonly #left = new Set<string>();
  #block: Proposal | undefined;

  constructor(page: Page) {
    this.#page = page;
  }

  update(block: Proposal): void {
    if (block === this.#block) {
      return;
    }
    this.#block = block;
    const focused = document.activeElement?.getAttribute("data-act");
    const had = this.element.contains(document.activeElement);
    this.#draw(block);
    if (had) {
      const again = focused ? this.element.querySelector<HTMLElement>(`[data-act="${focused}"]`) : null;
      (again ?? this.element.querySelector<HTMLElement>("button") ?? this.element).focus();
    }
  }

  #draw(block: Proposal): void {
    const { t, words, path, send } = this.#page;
    const size = words.size(block.files);
    const left = Object.values(block.pending ?? { any: 1 }).some((hunks) => hunks > 0) || block.stale > 0;
    const open = (block.state === "pending" || block.state === "partial") && left;
    this.element.setAttribute("aria-label", t("Proposal: {0}", size));
    this.element.classList.toggle("decided", !open);
    const act = (label: string, name: string, does: () => void, look?: string) => {
      const made = button(label, does, look);
      made.dataset.act = name;
      return made;
    };
    const review = () => send({ type: "review", proposalId: block.proposalId });
    const resolve = (accept: boolean) => {
      const files = block.files.map((file) => file.uri).filter((uri) => !this.#left.has(uri));
      const all = files.length === block.files.length || !accept;
      send({ type: "resolve", proposalId: block.proposalId, accept, ...(all ? {} : { files }) });
    };
    const buttons = open
      ? [
          act(t("Review"), "review", review),
          act(t("Accept"), "accept", () => resolve(true), "primary"),
          act(t("Reject"), "reject", () => resolve(false)),
        ]
      : block.state === "applied" || block.state === "partial"
        ? [act(t("Undo"), "undo", () => send({ type: "undo" }))]
        : [];
    this.element.replaceChildren(
      h(
        "div",
        { class: "card-head" },
        icon("diff-multiple"),
        h("span", { class: "card-size" }, `${this.#state(block)}${size}`),
        h("span", { class: "buttons" }, ...buttons),
      ),
      ...(block.summary ? [h("div", { class: "card-summary" }, block.summary)] : []),
      h("ul", { class: "files" }, ...block.files.map((file) => this.#file(block, file, open))),
      ...block.objections.map((one) =>
        h(
          "div",
          { class: "note warning" },
          icon("warning"),
          h("span", {}, `${path(one.uri)}${one.line === undefined ? "" : `:${one.line + 1}`}: ${one.message}`),
        ),
      ),
      ...(block.unchecked.length > 0
        ? [
            h(
              "div",
              { class: "note" },
              icon("info"),
              h("span", {}, t("The syntax could not be checked: {0}", block.unchecked.map(path).join(", "))),
            ),
          ]
        : []),
      ...(block.stale > 0 ? [this.#stale(block, review)] : []),
    );
  }

  #state(block: Proposal): string {
    const { t } = this.#page;
    const words = {
      applied: t("Applied"),
      partial: t("Partly applied"),
      rejected: t("Rejected"),
      stale: t("Moved: the code here changed since"),
      gone: t("Not there any more"),
      pending: "",
    }[block.state];
    return words ? `${words} · ` : "";
  }

  #stale(block: Proposal, review: () => void): HTMLElement {
    const { t } = this.#page;
    return h(
      "div",
      { class: "note warning" },
      icon("warning"),
      h("span", {}, t("Moved: the code here changed since"), " ", h("span", {}, `(${block.stale})`)),
      button(t("Review"), review, "link"),
    );
  }

  #file(block: Proposal, file: Proposal["files"][number], open: boolean): HTMLElement {
    const { t, path, send } = this.#page;
    const pending = block.pending === undefined || (block.pending[file.uri] ?? 0) > 0;
    const name = h(
      "button",
      {
        type: "button",
        class: "link file-name",
        "data-act": `open ${file.uri}`,
        onclick: () =>
          open ? send({ type: "review", proposalId: block.proposalId }) : send({ type: "openFile", uri: file.uri }),
      },
      path(file.uri),
    );
    const kind = { create: t("new"), delete: t("deleted"), edit: "" }[file.kind] ?? "";
    const box = h("input", {
      type: "checkbox",
      "aria-label": t("Take {0}", path(file.uri)),
      "data-act": `take ${file.uri}`,
      checked: !this.#left.has(file.uri),
      onchange: (event: Event) => {
        if ((event.target as HTMLInputElement).checked) {
          this.#left.delete(file.uri);
        } else {
          this.#left.add(file.uri);
        }
      },
    });
    const done = open && !pending;
    return h(
      "li",
      { class: "file" },
      open && pending ? box : icon(done || block.state === "applied" ? "check" : "circle-slash"),
      name,
      h("span", { class: "file-kind" }, kind),
      h("span", { class: "plus" }, `+${file.added}`),
      h("span", { class: "minus" }, `−${file.removed}`),
    );
  }
}
