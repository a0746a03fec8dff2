// The turns of a conversation below each other, scrolled only while the person is at the end.
// Never moves what is being read, and draws only turns that changed.
import { h, icon, say } from "./element";
import type { View } from "./model";
import type { Page } from "./page";
import { type TurnActs, TurnView } from "./turn";

/** Pixels from the end at which the person still counts as being there. */
const NEAR = 32;

export class Thread {
  readonly element: HTMLElement;
  readonly #scroller = h("div", { class: "scroller", tabindex: "-1" });
  readonly #turns = h("div", { class: "turns", role: "log", "aria-live": "off" });
  readonly #toEnd: HTMLButtonElement;
  readonly #label = h("span");
  readonly #views = new Map<string, TurnView>();
  readonly #page: Page;
  readonly #acts: TurnActs;
  #view: View | undefined;
  #following = true;

  constructor(page: Page, acts: TurnActs) {
    this.#page = page;
    this.#acts = acts;
    this.#turns.setAttribute("aria-label", page.t("Conversation"));
    this.#toEnd = h(
      "button",
      { type: "button", class: "to-end", hidden: true, onclick: () => this.toEnd() },
      icon("arrow-down"),
      this.#label,
    );
    this.#scroller.append(this.#turns);
    this.element = h("div", { class: "thread" }, this.#scroller, this.#toEnd);
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#turns.addEventListener("keydown", (event) => this.#move(event));
    this.#turns.addEventListener("focusin", (event) => this.#rove(event.target as HTMLElement));
    // Parts that come onto the screen turn out higher or lower than they were taken for.
    const sizes = new ResizeObserver(() => this.#follow());
    sizes.observe(this.#scroller);
    sizes.observe(this.#turns);
  }

  /** Shows something else than turns, or turns again. */
  set hidden(hidden: boolean) {
    this.element.hidden = hidden;
  }

  update(view: View): void {
    const before = this.#view;
    if (view === before) {
      return;
    }
    this.#view = view;
    if (before?.turns.some((turn, n) => turn.key !== view.turns[n]?.key)) {
      this.#views.clear();
      this.#turns.replaceChildren();
      this.#following = true;
    }
    for (const turn of view.turns) {
      let one = this.#views.get(turn.key);
      if (one === undefined) {
        one = new TurnView(this.#page, this.#acts);
        this.#views.set(turn.key, one);
        this.#turns.append(one.element);
      }
      one.update(turn, this.#following);
    }
    this.#follow();
    if (!this.#turns.querySelector('[tabindex="0"]')) {
      this.#rove(stops(this.#turns).at(-1));
    }
  }

  tick(now: number): void {
    const last = this.#view?.turns.at(-1);
    if (last && last.state !== "ended") {
      this.#views.get(last.key)?.tick(now);
    }
  }

  toEnd(): void {
    this.#following = true;
    this.#follow();
  }

  /** Moves the focus into the turns, to where it was last. */
  focus(): void {
    (this.#turns.querySelector<HTMLElement>('[tabindex="0"]') ?? this.#scroller).focus();
  }

  #scrolled(): void {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#offer();
  }

  #follow(): void {
    if (this.#following) {
      this.#scroller.scrollTop = this.#scroller.scrollHeight;
    }
    this.#offer();
  }

  #offer(): void {
    this.#toEnd.hidden = this.#following;
    if (!this.#following) {
      const asks = this.#turns.querySelector(".ask.open") !== null;
      say(this.#label, asks ? this.#page.t("GLM asks · to the end") : this.#page.t("To the end"));
    }
  }

  /** Up and down from one thing that can be pressed to the next; the Tab key enters and leaves all of them at once. */
  #move(event: KeyboardEvent): void {
    const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey || (typing && Math.abs(step) > 1)) {
      return;
    }
    const all = stops(this.#turns);
    const here = all.indexOf(event.target as HTMLElement);
    if (here < 0) {
      return;
    }
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, here + step))]?.focus();
  }

  #rove(target: HTMLElement | null | undefined): void {
    if (!target?.matches(STOPS)) {
      return;
    }
    for (const one of this.#turns.querySelectorAll<HTMLElement>('[tabindex="0"]')) {
      one.tabIndex = -1;
    }
    target.tabIndex = 0;
  }
}

const STOPS = "button, summary, a[href], input, pre[tabindex]";

/** Everything in the turns that can have the focus and is to be seen. */
function stops(turns: HTMLElement): HTMLElement[] {
  return [...turns.querySelectorAll<HTMLElement>(STOPS)].filter((one) => one.checkVisibility());
}
