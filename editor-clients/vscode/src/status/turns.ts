// What was seen of turns: those that run, the last ones that ended, and how fast the engine was. Never asks anybody.
import type { Fault, TurnEvent, Usage } from "../protocol";

/** A turn, as far as it is known. */
export interface Seen {
  turnId: string;
  conversationId: string;
  action: string;
  instruction: string;
  /** In milliseconds since the epoch. */
  began: number;
  /** Its place in the engine's line; 0 while it is served. */
  place: number;
  /** Undefined while it runs. */
  ended?: { stopReason: string; seconds: number; usage: Usage; error?: Fault };
}

/** How one request to the engine went. */
export interface Sample {
  /** In milliseconds since the epoch. */
  at: number;
  tokensPerSecond: number;
  firstTokenMs: number;
}

const HOUR_MS = 3_600_000;
const KEPT_TURNS = 20;
const KEPT_SAMPLES = 2_000;

export class Turns {
  readonly running = new Map<string, Seen>();
  /** The latest first. */
  readonly recent: Seen[] = [];
  private readonly kept: Sample[] = [];
  /** Tokens that the last request read and wrote: what its conversation takes of the context. */
  contextTokens = 0;
  /** What the last turn cost. */
  usage: Usage | undefined;

  /** Takes an event in; says whether what the status bar shows may have changed. */
  take({ turnId, conversationId, event }: TurnEvent, now: number): boolean {
    const turn = this.running.get(turnId);
    switch (event.type) {
      case "start": {
        const { action, instruction } = event;
        this.running.set(turnId, { turnId, conversationId, action, instruction, began: now, place: 0 });
        return true;
      }
      case "queued":
        if (turn) {
          turn.place = event.place;
        }
        return true;
      case "usage":
        this.contextTokens = event.inputTokens + event.outputTokens;
        this.kept.push({ at: now, tokensPerSecond: event.tokensPerSecond, firstTokenMs: event.ttftMs });
        this.kept.splice(0, this.kept.length - KEPT_SAMPLES);
        return true;
      case "end":
        this.running.delete(turnId);
        this.usage = event.usage.inputTokens ? event.usage : this.usage;
        if (turn) {
          const { stopReason, seconds, usage, error } = event;
          this.recent.unshift({ ...turn, place: 0, ended: { stopReason, seconds, usage, error } });
          this.recent.splice(KEPT_TURNS);
        }
        return true;
      default:
        return false;
    }
  }

  /** The requests of the last hour, the oldest first. */
  samples(now: number): Sample[] {
    return this.kept.filter(({ at }) => at > now - HOUR_MS);
  }

  /** The best place in line among the turns that wait; 0 where none does. */
  get place(): number {
    const places = [...this.running.values()].map(({ place }) => place).filter((place) => place > 0);
    return places.length === this.running.size && places.length ? Math.min(...places) : 0;
  }
}
