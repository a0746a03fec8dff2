// What VS Code's agent says, as the server takes it. Never knows a class of VS Code's: parts are told by their fields.
import type { CallPart, ModelMessage, ModelTool, ResultPart, TextPart } from "../protocol";

/** A message as VS Code hands it to a provider; 1 is the user, 2 the assistant, 3 the system. */
export interface Said {
  role: number;
  content: readonly unknown[];
}

export interface Tool {
  name: string;
  description: string;
  inputSchema?: object;
}

type Part = ModelMessage["parts"][number];

/** The whole conversation. */
export function messages(said: readonly Said[], isThinking: (part: unknown) => boolean): ModelMessage[] {
  return said
    .map((one) => ({ role: role(one.role), parts: one.content.flatMap((part) => converted(part, isThinking)) }))
    .filter((one) => one.parts.length > 0);
}

export function tools(offered: readonly Tool[] | undefined): ModelTool[] {
  return (offered ?? []).map(({ name, description, inputSchema }) => ({
    name,
    description,
    inputSchema: inputSchema as Record<string, unknown> | undefined,
  }));
}

/** A message as one text, for counting its tokens. */
export function flat(said: Said, isThinking: (part: unknown) => boolean): string {
  const words = (part: Part): string => {
    switch (part.type) {
      case "call":
        return `${part.name}${JSON.stringify(part.arguments)}`;
      case "image":
        return "";
      default:
        return part.text;
    }
  };
  return said.content
    .flatMap((part) => converted(part, isThinking))
    .map(words)
    .join("\n");
}

function role(number: number): ModelMessage["role"] {
  return number === 3 ? "system" : number === 2 ? "assistant" : "user";
}

function converted(part: unknown, isThinking: (part: unknown) => boolean): Part[] {
  if (typeof part !== "object" || part === null) {
    return typeof part === "string" && part !== "" ? [{ type: "text", text: part }] : [];
  }
  const found = part as Record<string, unknown>;
  if (isThinking(part)) {
    const text = Array.isArray(found.value) ? found.value.join("") : String(found.value ?? "");
    return text === "" ? [] : [{ type: "thinking", text }];
  }
  if (typeof found.callId === "string" && typeof found.name === "string") {
    const call: CallPart = { type: "call", callId: found.callId, name: found.name, arguments: object(found.input) };
    return [call];
  }
  if (typeof found.callId === "string" && Array.isArray(found.content)) {
    const inner = found.content.flatMap((one) => converted(one, isThinking));
    const text = inner.flatMap((one) => (one.type === "text" ? [one.text] : [])).join("\n");
    const result: ResultPart = { type: "result", callId: found.callId, text };
    return [result, ...inner.filter((one) => one.type === "image")];
  }
  if (typeof found.mimeType === "string") {
    return data(found.mimeType, found.data);
  }
  if (typeof found.value === "string") {
    return found.value === "" ? [] : [{ type: "text", text: found.value }];
  }
  return found.value === undefined ? [] : [{ type: "text", text: plain(found.value) }];
}

/** Data are text or a picture to us; what else there is, such as marks for another vendor's cache, says nothing. */
function data(mimeType: string, bytes: unknown): Array<TextPart | Part> {
  if (mimeType.startsWith("image/")) {
    return [{ type: "image", mimeType }];
  }
  if (/^text\/|[/+]json$/.test(mimeType) && bytes instanceof Uint8Array) {
    return [{ type: "text", text: new TextDecoder().decode(bytes) }];
  }
  return [];
}

/** The words in a tree of prompt-tsx, as tools of VS Code's give it: its text nodes, in order; else its JSON. */
function plain(value: unknown): string {
  const node = (value as { node?: unknown }).node;
  if (typeof node !== "object" || node === null) {
    return JSON.stringify(value) ?? "";
  }
  const words: string[] = [];
  const walk = (one: { text?: unknown; lineBreakBefore?: unknown; children?: unknown }) => {
    if (typeof one.text === "string") {
      words.push(one.lineBreakBefore && words.length > 0 ? `\n${one.text}` : one.text);
    }
    for (const child of Array.isArray(one.children) ? one.children : []) {
      walk(child);
    }
  };
  walk(node);
  return words.join("");
}

function object(input: unknown): Record<string, unknown> {
  return typeof input === "object" && input !== null && !Array.isArray(input) ? (input as Record<string, unknown>) : {};
}
