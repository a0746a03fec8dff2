// What the view shows, and how it comes of what happens: a pure function of a view and a happening.
// Never touches the page, the clock or the editor.
import type {
  ConversationResult,
  End,
  Fault,
  HunkShown,
  Message,
  PermissionParams,
  ProposedFile,
  QuestionParams,
  TurnEvent,
  Usage,
} from "../../protocol";
import type { Permit, ProposalNow } from "../messages";

export interface Thought {
  kind: "thought";
  id: string;
  text: string;
  live: boolean;
  /** When it began, in seconds of the turn; the clock of one that is live counts from there. */
  from: number;
  seconds?: number;
  tokens?: number;
}

export interface Answer {
  kind: "answer";
  id: string;
  text: string;
  live: boolean;
}

/** An edit as the model writes it. */
export interface Hunk {
  uri: string;
  line: number;
  removed: readonly string[];
  added: readonly string[];
  state: "closed" | "open";
  ok?: boolean;
  reason: string;
}

/** What a call waits for: a person's word. */
export interface Wait {
  kind: "permission" | "question";
  text: string;
  confined: boolean;
  options: readonly string[];
  /** Whether the answer is wanted here and now; else it is asked elsewhere, or was. */
  open: boolean;
  answer?: string;
}

export interface Call {
  kind: "call";
  id: string;
  callId: string;
  title: string;
  tool: string;
  arguments: Readonly<Record<string, unknown>>;
  result?: { ok: boolean; outcome: string; text: string; seconds: number };
  hunks: readonly Hunk[];
  wait?: Wait;
  live: boolean;
}

export interface Finding {
  kind: "finding";
  id: string;
  uri: string;
  line: number;
  severity: "error" | "hint" | "information" | "warning";
  message: string;
  suggestion: string;
}

export interface Note {
  kind: "note";
  id: string;
  about:
    | { type: "compacted"; before: number; after: number; summary: string }
    | { type: "context"; files: readonly { uri: string; reason: string; tokens: number }[]; tokens: number }
    | { type: "told"; words: string }
    | { type: "warning"; message: string };
}

export interface Card {
  kind: "proposal";
  id: string;
  proposalId: string;
  summary: string;
  files: readonly ProposedFile[];
  objections: readonly { uri: string; message: string; line?: number }[];
  unchecked: readonly string[];
  state: ProposalNow["state"];
  pending?: Readonly<Record<string, number>>;
  stale: number;
}

export type Block = Answer | Call | Card | Finding | Note | Thought;

export interface Turn {
  /** Names it in the page, from before the server has named it. */
  key: string;
  turnId: string;
  /** Which turn of the conversation it is, from 0, as the server counts; absent where the server has not kept it. */
  at?: number;
  action: string;
  words: string;
  files: readonly string[];
  blocks: readonly Block[];
  state: "asked" | "ended" | "running";
  /** The place in the engine's line; 0 where it is not waiting. */
  place: number;
  /** Of the latest request. */
  latest?: Usage;
  end?: Pick<End, "seconds" | "stopReason" | "usage"> & { error?: Fault };
}

export interface View {
  conversationId: string;
  name: string;
  turns: readonly Turn[];
  /** How many turns the server has kept. */
  kept: number;
}

export type Happening =
  | { type: "asked"; key: string; words: string; files?: readonly string[] }
  | { type: "began"; key: string; conversationId: string }
  | { type: "event"; event: TurnEvent }
  | { type: "failed"; key: string; turnId?: string; fault: Fault }
  | { type: "permission"; ask: PermissionParams }
  | { type: "question"; ask: QuestionParams }
  | { type: "settled"; callId: string; answer?: Permit | string }
  | { type: "told"; turnId: string; words: string }
  | { type: "kept"; turns: number; name: string }
  | { type: "proposal"; now: ProposalNow };

export const EMPTY: View = { conversationId: "", name: "", turns: [], kept: 0 };

/** Whether a turn of it is under way. */
export function working(view: View): Turn | undefined {
  const last = view.turns[view.turns.length - 1];
  return last && last.state !== "ended" ? last : undefined;
}

/** The view after what happened; the same object where nothing of it is to be seen. */
export function after(view: View, what: Happening): View {
  switch (what.type) {
    case "asked":
      return { ...view, turns: [...view.turns, fresh(what.key, what.words, view.kept, what.files)] };
    case "began":
      return { ...view, conversationId: what.conversationId };
    case "event":
      return heard(view, what.event);
    case "failed":
      return changed(
        view,
        (turn) => failing(turn, what),
        (turn) => (turn.state === "ended" ? turn : closed({ ...turn, end: { ...NOTHING, error: what.fault } })),
      );
    case "permission":
    case "question":
      return changed(
        view,
        (turn) => turn.turnId === what.ask.turnId,
        (turn) => asking(turn, what),
      );
    case "settled":
      return changed(
        view,
        (turn) => turn.blocks.some((one) => one.kind === "call" && one.callId === what.callId),
        (turn) => call(turn, what.callId, (one) => settled(one, what.answer)),
      );
    case "told":
      return changed(
        view,
        (turn) => turn.turnId === what.turnId,
        (turn) => added(turn, { kind: "note", about: { type: "told", words: what.words } }),
      );
    case "kept":
      return view.kept === what.turns && view.name === what.name
        ? view
        : { ...view, kept: what.turns, name: what.name };
    case "proposal":
      return changed(
        view,
        (turn) => turn.blocks.some((one) => one.kind === "proposal" && one.proposalId === what.now.proposalId),
        (turn) => ({ ...turn, blocks: turn.blocks.map((one) => decided(one, what.now)) }),
      );
  }
}

const NOTHING = { stopReason: "error" as const, usage: { inputTokens: 0, outputTokens: 0 }, seconds: 0 };

function failing(turn: Turn, what: { key: string; turnId?: string }): boolean {
  return turn.key === what.key || (what.turnId !== undefined && what.turnId !== "" && turn.turnId === what.turnId);
}

function fresh(key: string, words: string, at: number, files: readonly string[] = []): Turn {
  return { key, turnId: "", at, action: "chat", words, files, blocks: [], state: "asked", place: 0 };
}

/** The view with the latest turn that fits changed; a search from the end, for it is nearly always the last. */
function changed(view: View, fits: (turn: Turn) => boolean, change: (turn: Turn) => Turn): View {
  for (let n = view.turns.length - 1; n >= 0; n--) {
    const turn = view.turns[n];
    if (turn && fits(turn)) {
      const now = change(turn);
      return now === turn ? view : { ...view, turns: view.turns.with(n, now) };
    }
  }
  return view;
}

// --- events ------------------------------------------------------------------------------------------------------

function heard(view: View, told: TurnEvent): View {
  const what = told.event;
  if (what.type === "start") {
    const began = (turn: Turn): Turn => ({
      ...turn,
      turnId: told.turnId,
      action: what.action,
      words: turn.words || what.instruction,
      files: what.files,
      state: "running",
    });
    if (view.turns.some((turn) => turn.turnId === told.turnId)) {
      return view;
    }
    const alone = told.conversationId === "";
    const waiting = !alone && view.turns.some((turn) => turn.state === "asked" && turn.turnId === "");
    const with_it = waiting ? view : { ...view, turns: [...view.turns, begun(told, what.instruction, view)] };
    const key = alone ? told.turnId : undefined;
    return changed(
      with_it,
      (turn) => turn.state === "asked" && turn.turnId === "" && (key === undefined || turn.key === key),
      began,
    );
  }
  return changed(
    view,
    (turn) => turn.turnId === told.turnId,
    (turn) => (turn.state === "ended" ? turn : next(turn, told)),
  );
}

/** A turn that was begun elsewhere; without a conversation the server keeps none of it. */
function begun(told: TurnEvent, words: string, view: View): Turn {
  const turn = fresh(told.turnId, words, view.kept);
  return told.conversationId === "" ? { ...turn, at: undefined } : turn;
}

function next(turn: Turn, told: TurnEvent): Turn {
  const what = told.event;
  switch (what.type) {
    case "thinking":
      return grown(turn, "thought", what.text, told.t);
    case "text":
      return grown(turn, "answer", what.text, told.t);
    case "thinkingEnd":
      return latest(turn, "thought", (one) => ({ ...one, live: false, seconds: what.seconds, tokens: what.tokens }));
    case "queued":
      return { ...turn, place: what.place };
    case "toolCall":
      return call(quiet(turn), what.callId, (one) => ({
        ...one,
        title: what.title,
        tool: what.tool,
        arguments: what.arguments,
      }));
    case "toolResult":
      return call(turn, what.callId, (one) => ({
        ...settled(one),
        live: false,
        result: { ok: what.ok, outcome: what.outcome, text: what.result, seconds: what.seconds },
      }));
    case "permission":
      return call(quiet(turn), what.callId, (one) => ({
        ...one,
        title: one.title || what.title,
        tool: what.tool,
        wait: { kind: "permission", text: what.detail, confined: what.confined, options: [], open: false },
      }));
    case "question":
      return call(quiet(turn), what.callId, (one) => ({
        ...one,
        wait: { kind: "question", text: what.question, confined: true, options: what.options, open: false },
      }));
    case "hunk":
      return call(quiet(turn), what.callId, (one) => ({ ...one, hunks: hunks(one.hunks, what) }));
    case "finding":
      return added(quiet(turn), {
        kind: "finding",
        uri: what.uri,
        line: what.range.start.line,
        severity: what.severity,
        message: what.message,
        suggestion: what.suggestion ?? "",
      });
    case "context":
      return what.files.length === 0
        ? turn
        : added(turn, { kind: "note", about: { type: "context", files: what.files, tokens: what.tokens } });
    case "compacted":
      return added(quiet(turn), {
        kind: "note",
        about: { type: "compacted", before: what.before, after: what.after, summary: what.summary },
      });
    case "warning":
      return added(quiet(turn), { kind: "note", about: { type: "warning", message: what.message } });
    case "proposal":
      return added(quiet(turn), {
        kind: "proposal",
        proposalId: what.proposalId,
        summary: said(turn, what.summary) ? "" : what.summary,
        files: what.files,
        objections: what.objections,
        unchecked: what.unchecked,
        state: "pending",
        stale: 0,
      });
    case "usage":
      return { ...turn, latest: what };
    case "end":
      return closed({
        ...turn,
        end: { stopReason: what.stopReason, usage: what.usage, seconds: what.seconds, error: what.error },
      });
    default:
      return turn; // a type of a later server
  }
}

/** Whether the answer says this already, however its lines are broken. */
function said(turn: Turn, words: string): boolean {
  const text = turn.blocks.map((one) => (one.kind === "answer" ? one.text : "")).join("\n");
  return text.split(/\s+/).join(" ").includes(words.trim().split(/\s+/).join(" "));
}

type Fresh<T> = T extends Block ? Omit<T, "id"> : never;

function added(turn: Turn, block: Fresh<Block>): Turn {
  return { ...turn, blocks: [...turn.blocks, { ...block, id: `${turn.key}.${turn.blocks.length}` } as Block] };
}

/** The turn with nothing being written: what follows begins a new block. */
function quiet(turn: Turn): Turn {
  const last = turn.blocks[turn.blocks.length - 1];
  return last && (last.kind === "answer" || last.kind === "thought") && last.live
    ? { ...turn, blocks: turn.blocks.with(-1, { ...last, live: false }) }
    : turn;
}

/** The turn at its end: nothing grows, waits or runs any more. */
function closed(turn: Turn): Turn {
  return {
    ...turn,
    state: "ended",
    place: 0,
    blocks: turn.blocks.map((one) => {
      if (one.kind === "call" && (one.live || one.wait?.open)) {
        return { ...settled(one), live: false };
      }
      return (one.kind === "answer" || one.kind === "thought") && one.live ? { ...one, live: false } : one;
    }),
  };
}

function grown(turn: Turn, kind: "answer" | "thought", text: string, t: number): Turn {
  const last = turn.blocks[turn.blocks.length - 1];
  if (last?.kind === kind && last.live) {
    return { ...turn, blocks: turn.blocks.with(-1, { ...last, text: last.text + text }) };
  }
  return kind === "thought"
    ? added(quiet(turn), { kind, text, live: true, from: t })
    : added(quiet(turn), { kind, text, live: true });
}

function latest<K extends Block["kind"]>(
  turn: Turn,
  kind: K,
  change: (block: Extract<Block, { kind: K }>) => Block,
): Turn {
  const n = turn.blocks.findLastIndex((one) => one.kind === kind);
  const block = turn.blocks[n];
  return block ? { ...turn, blocks: turn.blocks.with(n, change(block as Extract<Block, { kind: K }>)) } : turn;
}

/** The turn with a call changed, which begins here where it was not yet known: an edit grows before it is called. */
function call(turn: Turn, callId: string, change: (one: Call) => Call): Turn {
  const n = turn.blocks.findLastIndex((one) => one.kind === "call" && one.callId === callId);
  const known = turn.blocks[n];
  if (known?.kind === "call") {
    return { ...turn, blocks: turn.blocks.with(n, change(known)) };
  }
  const begun: Fresh<Call> = { kind: "call", callId, title: "", tool: "", arguments: {}, hunks: [], live: true };
  return added(turn, change({ ...begun, id: "" }));
}

function hunks(known: readonly Hunk[], what: HunkShown): readonly Hunk[] {
  const open = known[known.length - 1];
  if (what.state === "opened" || open === undefined || open.state === "closed") {
    const begun: Hunk = {
      uri: what.uri,
      line: what.range.start.line,
      removed: what.removed ?? [],
      added: what.added ?? [],
      state: what.state === "closed" ? "closed" : "open",
      ok: what.ok,
      reason: what.reason ?? "",
    };
    return [...known, begun];
  }
  const now: Hunk = {
    ...open,
    line: what.range.start.line,
    removed: what.removed?.length ? [...open.removed, ...what.removed] : open.removed,
    added: what.added?.length ? [...open.added, ...what.added] : open.added,
    state: what.state === "closed" ? "closed" : "open",
    ok: what.ok ?? open.ok,
    reason: what.reason ?? open.reason,
  };
  return known.with(-1, now);
}

function settled(one: Call, answer?: string): Call {
  return one.wait ? { ...one, wait: { ...one.wait, open: false, answer: answer ?? one.wait.answer } } : one;
}

function asking(turn: Turn, what: Extract<Happening, { type: "permission" | "question" }>): Turn {
  return call(quiet(turn), what.ask.callId, (one) => ({
    ...one,
    title: one.title || (what.type === "permission" ? what.ask.title : ""),
    tool: what.type === "permission" ? what.ask.tool : one.tool,
    wait: {
      kind: what.type,
      text: what.type === "permission" ? what.ask.detail : what.ask.question,
      confined: what.type === "permission" ? what.ask.confined : true,
      options: what.ask.options,
      open: true,
    },
  }));
}

function decided(block: Block, now: ProposalNow): Block {
  return block.kind === "proposal" && block.proposalId === now.proposalId
    ? { ...block, state: now.state, pending: now.pending, stale: now.stale }
    : block;
}

// --- what was kept -----------------------------------------------------------------------------------------------

/** The view of a conversation as the server has it. */
export function restored(told: ConversationResult): View {
  const turns: Turn[] = [];
  for (const message of told.messages) {
    const at = message.turn ?? 0;
    let turn = turns[turns.length - 1];
    if (turn === undefined || turn.at !== at) {
      turn = { ...fresh(`${told.conversationId}.${at}`, "", at), state: "ended" };
      turns.push(turn);
    }
    turns[turns.length - 1] = recalled(turn, message);
  }
  const kept = turns.length;
  return { conversationId: told.conversationId, name: told.name, turns, kept };
}

/** What the server has, with the turns that were followed here as they were seen: that is more than is kept. */
export function merged(seen: View | undefined, told: View): View {
  if (seen === undefined || working(seen)) {
    return seen ?? told;
  }
  const turns = told.turns.map((turn) => seen.turns.find((one) => one.turnId !== "" && one.at === turn.at) ?? turn);
  const last = seen.turns.at(-1);
  // One that failed before the server kept any of it stays to be seen, and so do its words.
  const lost = last && last.turnId === "" && last.end && !turns.includes(last) ? [last] : [];
  // Nor does the server keep answers that are part of no conversation.
  const alone = seen.turns.filter((one) => one.turnId !== "" && one.at === undefined);
  return { ...told, turns: [...alone, ...turns, ...lost] };
}

function recalled(turn: Turn, message: Message): Turn {
  if (message.role === "user") {
    return turn.words === "" && message.words ? { ...turn, words: message.words } : turn;
  }
  if (message.role === "tool") {
    const known = turn.blocks.some((one) => one.kind === "call" && one.callId === message.callId);
    const result = { ok: true, outcome: "", text: message.text, seconds: 0 };
    return known ? call(turn, message.callId ?? "", (one) => ({ ...one, live: false, result })) : turn;
  }
  if (message.role !== "assistant") {
    return turn;
  }
  let now = turn;
  if (message.thinking) {
    now = added(now, { kind: "thought", text: message.thinking, live: false, from: 0 });
  }
  if (message.text) {
    now = added(now, { kind: "answer", text: message.text, live: false });
  }
  for (const one of message.toolCalls ?? []) {
    now = call(now, one.id, (begun) => ({
      ...begun,
      live: false,
      tool: one.name,
      title: one.title || one.name,
      arguments: parsed(one.arguments),
    }));
  }
  return now;
}

function parsed(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : { value };
  } catch {
    return { arguments: json };
  }
}
