// One turn as elements: what was asked, its blocks, and its end. Never keeps what was said: the model does.
import { type BlockView, viewOf } from "./blocks";
import { button, h, icon, iconButton, say } from "./element";
import type { Turn } from "./model";
import type { Page } from "./page";

/** What a person can do with a turn. */
export interface TurnActs {
  edit(turn: Turn): void;
  fork(turn: Turn): void;
  again(turn: Turn): void;
}

export class TurnView {
  readonly element = h("section", { class: "turn" });
  readonly #page: Page;
  readonly #blocks: BlockView[] = [];
  readonly #acts: TurnActs;
  readonly #asked = h("div", { class: "asked" });
  readonly #words = h("div", { class: "asked-words", role: "heading", "aria-level": "2" });
  readonly #body = h("div", { class: "blocks" });
  readonly #foot = h("div", { class: "foot" });
  #turn: Turn | undefined;

  constructor(page: Page, acts: TurnActs) {
    this.#page = page;
    this.#acts = acts;
    const { t } = page;
    const of = (does: (turn: Turn) => void) => () => this.#turn && does(this.#turn);
    const tools = h(
      "div",
      { class: "asked-tools" },
      iconButton("edit", t("Edit and Resend"), of(acts.edit)),
      iconButton("repo-forked", t("Fork from Here"), of(acts.fork)),
      iconButton(
        "copy",
        t("Copy"),
        of((turn) => page.send({ type: "copy", text: turn.words })),
      ),
    );
    this.#asked.append(this.#words, tools);
    this.element.append(this.#asked, this.#body, this.#foot);
  }

  update(turn: Turn, following: boolean): void {
    const before = this.#turn;
    if (turn === before) {
      return;
    }
    this.#turn = turn;
    this.element.classList.toggle("live", turn.state !== "ended");
    if (turn.words !== before?.words || turn.action !== before.action || turn.files !== before.files) {
      this.#say(turn);
    }
    turn.blocks.forEach((block, n) => {
      if (before?.blocks[n] === block) {
        return;
      }
      let view = this.#blocks[n];
      if (view === undefined) {
        view = viewOf(block, this.#page, turn.key);
        this.#blocks.push(view);
        this.#body.append(view.element);
      }
      view.update(block, following);
    });
    if (turn.state !== before?.state || turn.place !== before.place || turn.end !== before.end || this.#idle(turn)) {
      this.#end(turn);
    }
  }

  tick(now: number): void {
    for (const view of this.#blocks) {
      view.tick?.(now);
    }
  }

  #say(turn: Turn): void {
    const { path } = this.#page;
    const action = turn.action === "chat" ? "" : turn.action.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());
    const about = turn.files.map(path).join(", ");
    const words = turn.words.trim() || [action, about].filter(Boolean).join(" · ");
    this.#words.replaceChildren(...mentions(words));
    this.element.setAttribute("aria-label", this.#page.t("You: {0}", words.slice(0, 80)));
  }

  /** Whether nothing grows although the turn runs: then the foot says that it works. */
  #idle(turn: Turn): boolean {
    const last = turn.blocks[turn.blocks.length - 1];
    const live = last !== undefined && "live" in last && last.live;
    const idle = turn.state !== "ended" && !live;
    return idle !== (this.#foot.dataset.idle === "true");
  }

  #end(turn: Turn): void {
    const { t, words } = this.#page;
    const last = turn.blocks[turn.blocks.length - 1];
    const live = last !== undefined && "live" in last && last.live;
    const idle = turn.state !== "ended" && !live;
    this.#foot.dataset.idle = String(idle);
    this.#foot.className = turn.end?.error ? "foot error" : "foot";
    if (turn.place > 0) {
      this.#foot.replaceChildren(icon("loading"), t("Busy · {0}", words.queued(turn.place)));
    } else if (idle) {
      this.#foot.replaceChildren(icon("loading"), turn.state === "asked" ? t("Sending…") : t("Working…"));
    } else if (turn.end?.error) {
      const { message, hint } = turn.end.error;
      this.#foot.replaceChildren(
        icon("error"),
        h("span", {}, message, hint ? h("span", { class: "hint" }, ` ${hint}`) : undefined),
        button(t("Try Again"), () => this.#acts.again(turn)),
      );
    } else if (turn.end) {
      this.#foot.replaceChildren(words.ended(turn.end));
    } else {
      this.#foot.replaceChildren();
    }
    if (turn.end && !turn.end.error) {
      say(this.#foot, words.ended(turn.end));
    }
  }
}

/** The words with what is named by `#` set apart. */
function mentions(words: string): Node[] {
  return words
    .split(/(#[\w./:-]*\w)/)
    .filter(Boolean)
    .map((part) => (/^#[\w./]/.test(part) ? h("span", { class: "mention" }, part) : document.createTextNode(part)));
}
