// What the model would read first, were the words in the field sent now. Never asks for it.
import type { Fault, PreviewResult } from "../../protocol";
import { button, h, iconButton } from "./element";
import type { Page } from "./page";

export class Preview {
  readonly element: HTMLElement;
  readonly #body = h("div", { class: "preview-body", tabindex: "0" });
  readonly #page: Page;
  readonly #closed: () => void;

  constructor(page: Page, closed: () => void) {
    this.#page = page;
    this.#closed = closed;
    const { t } = page;
    this.element = h(
      "section",
      {
        class: "preview",
        hidden: true,
        onkeydown: (event: KeyboardEvent) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            this.close();
          }
        },
      },
      h(
        "div",
        { class: "preview-head" },
        h("h2", {}, t("What Would Be Read")),
        iconButton("close", t("Close"), () => this.close()),
      ),
      this.#body,
    );
    this.element.setAttribute("aria-label", t("What Would Be Read"));
  }

  show(told: { preview?: PreviewResult; fault?: Fault } | undefined): void {
    const { t, words, path, send } = this.#page;
    this.element.hidden = false;
    if (told === undefined) {
      this.#body.replaceChildren(t("Looking…"));
      return;
    }
    if (!told.preview) {
      this.#body.replaceChildren([told.fault?.message, told.fault?.hint].filter(Boolean).join(" "));
      return;
    }
    const { files, tokensAtMost, tools, instructionsFrom } = told.preview;
    const place = (uri: string, line: number, label: string) =>
      button(label, () => send({ type: "openFile", uri, line }), "link");
    this.#body.replaceChildren(
      h("p", {}, t("At most {0} tokens in all", words.count(tokensAtMost))),
      h(
        "ul",
        {},
        ...files.map((one) =>
          h(
            "li",
            {},
            place(one.uri, one.firstLine, `${path(one.uri)} ${one.firstLine + 1}–${one.lastLine + 1}`),
            h("span", { class: "dim" }, ` ${one.reason}`),
          ),
        ),
        ...(files.length === 0 ? [h("li", {}, t("No code, unless the model asks for it."))] : []),
      ),
      h("p", {}, t("Tools: {0}", tools.length ? tools.join(", ") : t("none"))),
      ...(instructionsFrom.length
        ? [h("p", {}, t("Instructions from {0}", instructionsFrom.map(path).join(", ")))]
        : []),
    );
    this.#body.focus();
  }

  close(): void {
    if (!this.element.hidden) {
      this.element.hidden = true;
      this.#closed();
    }
  }
}
