// The page as a whole: takes what the extension tells, keeps a view of each conversation, draws once a frame.
// Never asks the server anything: the extension does, and the server has the truth.
import type { AnyEvent, ConversationEntry, TurnEvent } from "../../protocol";
import { type Translate, words } from "../../words";
import type { Asked, Draft, FromPage, Kept, Standing, Surroundings, ToPage } from "../messages";
import { Composer } from "./composer";
import { button, h, icon, say } from "./element";
import { after, EMPTY, type Happening, merged, restored, type Turn, type View, working } from "./model";
import { type Page, pathOf } from "./page";
import { Preview } from "./preview";
import { Sessions } from "./sessions";
import { Thread } from "./thread";

const NO_DRAFT: Draft = { words: "", mentions: [], thinking: "auto", waiting: [] };

/** How long what is typed waits to be kept. */
const KEEP_MS = 250;

/** Conversations of which a view is kept, so that one may look at another while a turn runs. */
const MOST = 8;

export class App implements Page {
  readonly words;
  readonly #post: (message: FromPage) => void;
  readonly #views = new Map<string, View>();
  readonly #status = h("div", { class: "said", role: "status", "aria-live": "polite" });
  readonly #alert = h("div", { class: "said", role: "alert" });
  readonly #name = h("h1", { class: "said" });
  readonly #trust = h("div", { class: "banner", hidden: true });
  readonly #trouble = h("div", { class: "banner error", hidden: true });
  readonly #standing = h("div", { class: "banner", hidden: true });
  readonly #welcome: HTMLElement;
  readonly #recent: Sessions;
  readonly #sessions: Sessions;
  readonly #all: HTMLElement;
  readonly #thread: Thread;
  readonly #preview: Preview;
  readonly #composer: Composer;
  #view: View = EMPTY;
  #around: Surroundings = { trusted: true, folders: [] };
  #entries: ConversationEntry[] = [];
  #browsing = false;
  #dirty = false;
  #announced = "";
  #saving: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly t: Translate,
    language: string,
    post: (message: FromPage) => void,
    kept: Kept | undefined,
  ) {
    this.words = words(t, language);
    this.#post = post;
    this.send = this.send.bind(this);
    this.path = this.path.bind(this);
    this.#thread = new Thread(this, {
      edit: (turn) => this.#edit(turn),
      fork: (turn) => this.#fork(turn),
      again: (turn) => this.#again(turn),
    });
    this.#composer = new Composer(this, {
      ask: (asked) => this.#ask(asked),
      resend: (at, asked) => this.#resend(at, asked),
      tell: (said) => this.#tell(said),
      stop: () => this.#stop(),
      leave: () => post({ type: "leave" }),
      preview: (asked) => {
        this.#preview.show(undefined);
        post({ type: "preview", conversationId: this.#view.conversationId, asked });
      },
      changed: () => this.#save(),
    });
    this.#preview = new Preview(this, () => this.#composer.focus());
    this.#recent = new Sessions(this, t("Conversations"), 6);
    this.#sessions = new Sessions(this, t("Conversations"));
    this.#all = h(
      "div",
      { class: "all", hidden: true },
      h(
        "div",
        { class: "all-head" },
        button(t("Back"), () => this.browse(false), "link"),
      ),
      this.#sessions.element,
    );
    this.#welcome = h(
      "div",
      { class: "welcome" },
      h(
        "p",
        { class: "welcome-line" },
        t("Ask about the code, or for a change of it. What it would edit, you review first."),
      ),
      h("p", { class: "welcome-line dim" }, t("# names files, symbols, the selection, problems and changes.")),
      this.#recent.element,
    );
    document.body.append(
      h(
        "main",
        {},
        this.#name,
        this.#standing,
        this.#trust,
        this.#welcome,
        this.#all,
        this.#thread.element,
        this.#preview.element,
        this.#trouble,
        this.#composer.element,
      ),
      this.#status,
      this.#alert,
    );
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("click", (event) => this.#click(event));
    setInterval(() => this.#thread.tick(performance.now()), 1000);
    document.addEventListener("visibilitychange", () => this.#keep());
    this.#composer.draft = kept?.draft ?? NO_DRAFT;
    this.#draw();
  }

  // --- for the parts of the page -----------------------------------------------------------------------------

  send(message: FromPage): void {
    if (message.type === "open") {
      this.browse(false);
    }
    this.#post(message);
  }

  path(uri: string): string {
    return pathOf(uri, this.#around.folders);
  }

  announce(text: string): void {
    say(this.#status, this.#status.textContent === text ? `${text}\u00a0` : text);
  }

  apply(turnKey: string, text: string, language: string): void {
    if (working(this.#view)) {
      this.announce(this.t("It still works; stop it first, or wait."));
      return;
    }
    this.send({ type: "apply", conversationId: this.#view.conversationId, key: turnKey, text, language });
  }

  // --- what the extension tells ------------------------------------------------------------------------------

  heard(message: ToPage): void {
    switch (message.type) {
      case "event":
        this.#elsewhere(message.event);
        this.#happened(message.event.conversationId, message);
        break;
      case "began":
        this.#began(message.key, message.conversationId);
        break;
      case "failed":
        this.#happened(message.conversationId, message);
        break;
      case "told":
        this.#told(message);
        break;
      case "permission":
      case "question":
        for (const id of this.#views.keys()) {
          this.#happened(id, message);
        }
        this.#ring(message.type === "permission" ? message.ask.title : message.ask.question);
        break;
      case "settled":
      case "proposal":
        for (const id of this.#views.keys()) {
          this.#happened(id, message);
        }
        break;
      case "conversation":
        this.#opened(message);
        break;
      case "gone":
        this.#views.delete(message.conversationId);
        if (this.#view.conversationId === message.conversationId) {
          this.#fresh();
        }
        break;
      case "sessions":
        this.#listed(message.sessions);
        break;
      case "found":
        this.#composer.picker.show(message.number, message.found);
        break;
      case "preview":
        this.#preview.show(message);
        break;
      case "surroundings":
        this.#around = message.surroundings;
        this.#composer.surroundings(message.surroundings);
        this.#drawTrust();
        break;
      case "standing":
        this.#stands(message.standing);
        break;
      case "trouble":
        this.#fail(message.fault.message, message.fault.hint ?? "");
        break;
      case "new":
        this.#fresh();
        this.#composer.focus();
        break;
      case "showSessions":
        this.browse(!this.#browsing);
        break;
      case "mention":
        this.#composer.mention(message.mention);
        break;
      case "write":
        this.#written(message);
        break;
      case "stopAll":
        this.#stop();
        break;
      case "focus":
        this.#composer.focus();
        break;
      case "strings":
        break; // what the page began with
    }
  }

  /** Shows all conversations, or the one that is open again. */
  browse(all: boolean): void {
    this.#browsing = all;
    if (all) {
      this.send({ type: "list" });
    }
    this.#dirty = true;
    this.#draw();
    if (all) {
      this.#sessions.focus();
    } else {
      this.#composer.focus();
    }
  }

  /** An answer that is in no conversation, such as to “Explain” in the light bulb, gets a page of its own. */
  #elsewhere(told: TurnEvent): void {
    if (told.conversationId !== "" || told.event.type !== "start") {
      return;
    }
    const view = this.#views.get("") ?? EMPTY;
    this.#views.set("", view);
    if (view !== this.#view && !working(this.#view)) {
      this.#show(view);
      this.#browsing = false;
      this.send({ type: "showing", conversationId: "", name: "" });
    }
  }

  #happened(conversationId: string, what: Happening & ToPage): void {
    const view = this.#views.get(conversationId);
    if (view === undefined) {
      return; // of a conversation that nobody looks at
    }
    const now = after(view, what);
    if (now === view) {
      return;
    }
    this.#views.set(conversationId, now);
    if (view === this.#view) {
      this.#show(now);
      if (what.type === "event") {
        this.#say(what.event.event);
      }
    }
    if (what.type === "event" && what.event.event.type === "end") {
      this.#ended(conversationId, what.event.event.stopReason);
    }
  }

  #began(key: string, conversationId: string): void {
    for (const [id, view] of this.#views) {
      if (view.turns.some((turn) => turn.key === key) && id !== conversationId) {
        const now = after(view, { type: "began", key, conversationId });
        this.#views.delete(id);
        this.#views.set(conversationId, now);
        if (view === this.#view) {
          this.#show(now);
        }
      }
    }
    this.#save();
  }

  #told(message: Extract<ToPage, { type: "told" }>): void {
    if (message.accepted) {
      for (const id of this.#views.keys()) {
        this.#happened(id, message);
      }
      return;
    }
    this.#composer.queue(this.#composer.asked(message.words)); // the turn had ended: it is a question of its own
    if (!working(this.#view)) {
      this.#ended(this.#view.conversationId, "done");
    }
  }

  #opened(message: Extract<ToPage, { type: "conversation" }>): void {
    const told = message.conversation;
    const now = merged(this.#views.get(told.conversationId), restored(told));
    this.#views.delete(told.conversationId);
    this.#views.set(told.conversationId, now);
    for (const id of this.#views.keys()) {
      if (this.#views.size > MOST && id !== told.conversationId && !working(this.#views.get(id) ?? EMPTY)) {
        this.#views.delete(id);
      }
    }
    if (message.show || this.#view.conversationId === told.conversationId) {
      if (message.show) {
        this.#browsing = false;
      }
      this.#show(now);
      this.#save();
      for (const turn of now.turns) {
        for (const block of turn.blocks) {
          if (block.kind === "proposal") {
            this.send({ type: "proposal", proposalId: block.proposalId });
          }
        }
      }
    }
  }

  #listed(entries: ConversationEntry[]): void {
    this.#entries = entries;
    for (const entry of entries) {
      const view = this.#views.get(entry.id);
      if (view && !working(view)) {
        const now = after(view, { type: "kept", turns: entry.turns, name: entry.name });
        this.#views.set(entry.id, now);
        if (view === this.#view) {
          this.#show(now);
        }
      }
    }
    this.#dirty = true;
    this.#later();
  }

  #written(message: Extract<ToPage, { type: "write" }>): void {
    if (message.send && !working(this.#view)) {
      this.#ask({ ...this.#composer.asked(message.words), mentions: message.mentions });
    } else {
      this.#composer.write(message.words);
      message.mentions.forEach((one) => {
        this.#composer.mention(one);
      });
    }
  }

  // --- what the person wants ---------------------------------------------------------------------------------

  #ask(asked: Asked): void {
    const view = after(this.#view, { type: "asked", key: asked.key, words: asked.words });
    this.#views.set(view.conversationId, view);
    this.#show(view);
    this.#browsing = false;
    this.#preview.element.hidden = true;
    this.#trouble.hidden = true;
    this.#thread.toEnd();
    this.send({ type: "ask", conversationId: view.conversationId, asked });
  }

  #resend(at: number, asked: Asked): void {
    const { conversationId, turns } = this.#view;
    const shared = turns.filter((turn) => turn.at !== undefined && turn.at < at);
    this.#show(after({ ...EMPTY, turns: shared, kept: at }, { type: "asked", key: asked.key, words: asked.words }));
    this.#views.set("", this.#view);
    this.send({ type: "editAndAsk", conversationId, at, asked });
  }

  #edit(turn: Turn): void {
    if (working(this.#view)) {
      this.announce(this.t("It still works; stop it first, or wait."));
    } else if (turn.at === undefined) {
      this.#composer.write(turn.words); // there is no conversation to fork
    } else {
      this.#composer.edit(turn.at, turn.words);
    }
  }

  #fork(turn: Turn): void {
    if (turn.at !== undefined) {
      this.send({ type: "fork", conversationId: this.#view.conversationId, at: turn.at + 1 });
    }
  }

  #again(turn: Turn): void {
    if (!working(this.#view)) {
      this.#ask(this.#composer.asked(turn.words));
    }
  }

  #tell(said: string): void {
    const turn = working(this.#view);
    if (turn?.turnId) {
      this.send({ type: "tell", turnId: turn.turnId, words: said });
    } else {
      this.#composer.queue(this.#composer.asked(said));
    }
  }

  #stop(): void {
    const turn = working(this.#view);
    if (turn) {
      this.send({ type: "stop", key: turn.key, turnId: turn.turnId });
      this.announce(this.t("Stopping"));
    }
  }

  #ended(conversationId: string, why: string): void {
    this.send({ type: "list" });
    if (this.#view.conversationId !== conversationId || why === "cancelled" || why === "error") {
      return; // what waits stays until the person wants it sent
    }
    const next = this.#composer.next();
    if (next) {
      this.#ask(next);
    }
  }

  #fresh(): void {
    this.#views.delete("");
    this.#show(EMPTY);
    this.#browsing = false;
    this.#save();
    this.send({ type: "showing", conversationId: "", name: "" });
  }

  // --- drawing -----------------------------------------------------------------------------------------------

  #show(view: View): void {
    const other = view.conversationId !== this.#view.conversationId;
    this.#view = view;
    if (other) {
      this.send({ type: "showing", conversationId: view.conversationId, name: view.name });
    }
    this.#later();
  }

  #later(): void {
    if (!this.#dirty) {
      this.#dirty = true;
      requestAnimationFrame(() => this.#draw());
    } else {
      requestAnimationFrame(() => this.#dirty && this.#draw());
    }
  }

  #draw(): void {
    this.#dirty = false;
    const view = this.#view;
    const empty = view.turns.length === 0;
    this.#welcome.hidden = !empty || this.#browsing;
    this.#all.hidden = !this.#browsing;
    this.#thread.hidden = empty || this.#browsing;
    say(this.#name, view.name || view.turns[0]?.words || "GLM");
    if (!this.#welcome.hidden) {
      this.#recent.update(this.#entries, view.conversationId);
    }
    if (this.#browsing) {
      this.#sessions.update(this.#entries, view.conversationId);
    }
    this.#thread.update(view);
    this.#composer.working(working(view) !== undefined);
    this.#drawMeter(view);
  }

  #drawMeter(view: View): void {
    const turn = view.turns.findLast((one) => one.latest !== undefined);
    const used = turn?.latest;
    if (!used?.inputTokens) {
      this.#composer.meter("", undefined);
      return;
    }
    const share =
      used.cachedTokens === undefined || used.inputTokens === 0
        ? undefined
        : Math.floor((100 * used.cachedTokens) / used.inputTokens);
    const read = this.words.count(used.inputTokens);
    this.#composer.meter(
      share === undefined ? this.t("{0} read", read) : this.t("{0} read, {1} % reused", read, share),
      share,
    );
  }

  #drawTrust(): void {
    this.#trust.hidden = this.#around.trusted;
    if (!this.#around.trusted) {
      this.#trust.replaceChildren(
        icon("shield"),
        h("span", {}, this.t("This folder is not trusted: no tools, no commands, none of the project’s instructions.")),
        button(this.t("Manage Trust"), () => this.send({ type: "command", command: "workbench.trust.manage" }), "link"),
      );
    }
  }

  #stands(standing: Standing): void {
    this.#standing.hidden = standing.health === "ok";
    this.#standing.className = standing.health === "error" ? "banner error" : "banner";
    const remedy = standing.remedy;
    this.#standing.replaceChildren(
      icon(standing.health === "error" ? "error" : "info"),
      h("span", {}, standing.line),
      remedy ? button(remedy.label, () => this.send({ type: "command", command: remedy.command }), "link") : "",
    );
  }

  #fail(message: string, hint: string): void {
    this.#trouble.hidden = false;
    this.#trouble.replaceChildren(
      icon("error"),
      h("span", {}, message, hint ? ` ${hint}` : undefined),
      button(
        this.t("Close"),
        () => {
          this.#trouble.hidden = true;
        },
        "link",
      ),
    );
    say(this.#alert, [message, hint].filter(Boolean).join(" "));
  }

  /** Says changes of state, never the words themselves: those are read in the conversation. */
  #say(what: AnyEvent): void {
    const last = this.#view.turns.at(-1);
    const text =
      what.type === "thinking"
        ? this.t("Thinking")
        : what.type === "text"
          ? this.t("Answering")
          : what.type === "toolCall"
            ? what.title
            : what.type === "proposal"
              ? this.t("Proposal: {0}", this.words.size(what.files))
              : what.type === "end" && last?.end
                ? this.words.ended(last.end)
                : "";
    if (text && text !== this.#announced) {
      this.#announced = text;
      this.announce(text);
    }
  }

  #ring(title: string): void {
    say(this.#alert, this.t("GLM asks: {0}", title));
  }

  #save(): void {
    this.#saving ??= setTimeout(() => this.#keep(), KEEP_MS);
  }

  #keep(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    this.#post({ type: "keep", kept: { conversationId: this.#view.conversationId, draft: this.#composer.draft } });
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Escape" && !event.defaultPrevented) {
      if (this.#browsing) {
        this.browse(false);
      } else if (this.#thread.element.contains(event.target as Node)) {
        this.#composer.focus();
      }
    }
  }

  /** Links of the model: to the web and to files, both through the extension. */
  #click(event: MouseEvent): void {
    const link = (event.target as HTMLElement).closest("a");
    if (link) {
      event.preventDefault();
      this.send({ type: "openLink", href: link.getAttribute("href") ?? "" });
    }
  }
}
