// The contract between the extension and the page of the GLM view: every message, in both directions.
// Never holds logic: both sides import it, and neither the editor's nor the browser's interfaces are known here.
import type {
  ConversationEntry,
  ConversationResult,
  Fault,
  PermissionParams,
  PermissionResult,
  PreviewResult,
  QuestionParams,
  Range,
  ResolveResult,
  TurnEvent,
} from "../protocol";

export type Thinking = "auto" | "off" | "on";
export type Permit = PermissionResult["answer"];

/** `gone` where the server does not know it any more. */
export type ProposalState = ResolveResult["state"] | "gone";

/** What a person names with `#`. */
export type MentionKind = "file" | "git" | "problems" | "selection" | "symbol";

/** Something named in the words, as it stands there. */
export interface Mention {
  /** As it stands in the words, `#src/cart.py`. */
  token: string;
  kind: MentionKind;
  uri?: string;
  range?: Range;
}

/** One line of the picker. */
export interface Found {
  label: string;
  detail: string;
  mention: Mention;
}

/** What a person asks. */
export interface Asked {
  /** Made by the page; names the turn until the server does. */
  key: string;
  words: string;
  mentions: Mention[];
  thinking: Thinking;
}

/** What is written and not yet under way. */
export interface Draft {
  words: string;
  mentions: Mention[];
  thinking: Thinking;
  /** What is to be asked when the turn has ended. */
  waiting: Asked[];
}

/** What is kept of the page while it is away, and when the window is loaded again. */
export interface Kept {
  conversationId: string;
  draft: Draft;
}

/** How far a proposal has come: what is left to decide, by file. */
export interface ProposalNow {
  proposalId: string;
  state: ProposalState;
  /** Addresses of files with hunks that are still pending, and how many hunks each has. */
  pending: Record<string, number>;
  /** How many hunks the code has moved away from. */
  stale: number;
}

/** What the page needs to know of the editor. */
export interface Surroundings {
  trusted: boolean;
  /** Addresses of the workspace's folders; paths are shown from there. */
  folders: string[];
  /** What is selected in the editor that was used last, as a mention; absent where nothing is. */
  selection?: Mention;
}

/** The engine and the server in one line. */
export interface Standing {
  health: "error" | "ok" | "warning";
  /** One line for a person, such as `GLM-4.7 · ready`. */
  line: string;
  /** What can be done about it: the label of a button, and the command that it runs. */
  remedy?: { label: string; command: string };
}

/** From the page. */
export type FromPage =
  | { type: "ready" }
  | { type: "keep"; kept: Kept }
  | { type: "ask"; conversationId: string; asked: Asked }
  | { type: "editAndAsk"; conversationId: string; at: number; asked: Asked }
  | { type: "tell"; turnId: string; words: string }
  | { type: "stop"; key: string; turnId: string }
  | { type: "permit"; callId: string; answer: Permit }
  | { type: "answer"; callId: string; answer: string | undefined }
  | { type: "find"; query: string; number: number }
  | { type: "preview"; conversationId: string; asked: Asked }
  | { type: "list" }
  | { type: "open"; conversationId: string }
  | { type: "showing"; conversationId: string; name: string }
  | { type: "rename"; conversationId: string; name: string }
  | { type: "delete"; conversationId: string; name: string }
  | { type: "fork"; conversationId: string; at?: number }
  | { type: "compact"; conversationId: string }
  | { type: "copy"; text: string }
  | { type: "insert"; text: string }
  | { type: "apply"; conversationId: string; key: string; text: string; language: string }
  | { type: "openFile"; uri: string; line?: number }
  | { type: "openLink"; href: string }
  | { type: "review"; proposalId: string }
  | { type: "resolve"; proposalId: string; accept: boolean; files?: string[] }
  | { type: "proposal"; proposalId: string }
  | { type: "undo" }
  | { type: "command"; command: string }
  | { type: "leave" };

/** To the page. */
export type ToPage =
  | { type: "strings"; strings: Record<string, string>; locale: string; kept?: Kept }
  | { type: "surroundings"; surroundings: Surroundings }
  | { type: "standing"; standing: Standing }
  | { type: "began"; key: string; conversationId: string }
  | { type: "event"; event: TurnEvent }
  | { type: "failed"; key: string; conversationId: string; turnId?: string; fault: Fault }
  | { type: "told"; turnId: string; words: string; accepted: boolean }
  | { type: "permission"; ask: PermissionParams }
  | { type: "question"; ask: QuestionParams }
  | { type: "settled"; callId: string; answer?: string }
  | { type: "found"; number: number; found: Found[] }
  | { type: "preview"; preview?: PreviewResult; fault?: Fault }
  | { type: "sessions"; sessions: ConversationEntry[] }
  | { type: "conversation"; conversation: ConversationResult; show: boolean }
  | { type: "gone"; conversationId: string }
  | { type: "proposal"; now: ProposalNow }
  | { type: "trouble"; fault: Fault }
  | { type: "new" }
  | { type: "showSessions" }
  | { type: "mention"; mention: Mention }
  | { type: "write"; words: string; mentions: Mention[]; send: boolean }
  | { type: "stopAll" }
  | { type: "focus" };
