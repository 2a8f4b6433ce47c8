import { MillraceError } from "../../base/errors.ts";
import type { ChatMessage } from "../request-body.ts";
import { countText } from "../stage-text.ts";
import type { Turn, Workload } from "./workload.ts";

/** A conversation of a file: what its user says, turn by turn. The answers are the server's own. */
export interface FileItem {
  readonly system: string | null;
  readonly turns: readonly string[];
  /** Whether the file has it as messages with roles. */
  readonly isMessages: boolean;
  readonly outputTokens: number | null;
}

export interface FileSpec {
  readonly kind: "file";
  readonly name: string;
  readonly seed: number;
  readonly items: readonly FileItem[];
  /** Sends single prompts as messages too. */
  readonly chat: boolean;
  /** For items that do not say; null lets the model end. */
  readonly outputTokens: number | null;
}

/** Columns of a prompt, the first that is there. */
const promptColumns = ["prompt", "question", "instruction", "input", "text", "content"] as const;
const lengthColumns = ["output_tokens", "output_tokens_count", "max_tokens"] as const;

/** Requests take the conversations of a file in order, and begin anew at its end. */
export function createFileWorkload(spec: FileSpec): Workload {
  const { items, chat, outputTokens, name } = spec;
  const isChat = chat || items.some(({ turns, system }) => turns.length > 1 || system !== null);
  const conversation = (index: number): Turn[] => {
    const item = items[index % items.length]!;
    const length = item.outputTokens ?? outputTokens;
    return item.turns.map((content, turn) => {
      if (!isChat) return { prompt: content, outputTokens: length };
      const system: ChatMessage[] =
        turn === 0 && item.system !== null ? [{ role: "system", content: item.system }] : [];
      return { prompt: [...system, { role: "user", content }], outputTokens: length };
    });
  };
  const bare =
    !isChat && items.some(({ isMessages }) => isMessages)
      ? "; what users say is sent as bare text, without roles and answers: add --chat to send messages"
      : "";
  const asked = items.map((item) => item.outputTokens ?? outputTokens ?? 0);
  return {
    spec,
    description: `${countText(items.length, "conversation")} of ${name}${bare}`,
    promptForm: isChat ? "chat" : "text",
    inputTokens: 0,
    outputTokens: Math.round(asked.reduce((sum, each) => sum + each, 0) / asked.length),
    numWords: null,
    sharesPrefixes: true,
    conversation,
  };
}

/**
 * Reads prompts from JSON lines or a JSON list. An entry has `messages` (OpenAI), `conversations` (ShareGPT), `turns`
 * (MT-Bench) or a text under one of the usual names, and may say `output_tokens`.
 *
 * Errors: `invalid_data_file` with the entry.
 *
 * @param name what messages call the file
 */
export function parsePromptFile(text: string, name: string): FileItem[] {
  const items = entriesOf(text, name).map((entry, index) => itemOf(entry, `${name}, entry ${index + 1}`));
  if (items.length > 0) return items;
  throw new MillraceError("invalid_data_file", `${name} holds no prompt. Give a file with at least one.`);
}

function entriesOf(text: string, name: string): unknown[] {
  if (text.trimStart().startsWith("[")) {
    const list = parseJson(text, name);
    if (Array.isArray(list)) return list;
  }
  return text
    .split("\n")
    .flatMap((line, index) => (line.trim() === "" ? [] : [parseJson(line, `${name}, line ${index + 1}`)]));
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MillraceError(
      "invalid_data_file",
      `${place} is not JSON. Prompts are JSON lines or one JSON list. Convert the file.`,
      { cause },
    );
  }
}

function itemOf(entry: unknown, place: string): FileItem {
  const fields = (typeof entry === "object" && entry !== null ? entry : {}) as Readonly<
    Record<string, unknown>
  >;
  const outputTokens = outputTokensOf(fields, place);
  const said = conversationOf(fields, place);
  if (said !== null && said.turns.length > 0) return { ...said, outputTokens };
  throw new MillraceError(
    "invalid_data_file",
    `${place} has no prompt: ${JSON.stringify(entry)?.slice(0, 100)}. It takes messages, conversations, turns or one of ${promptColumns.join(", ")}.`,
  );
}

/** Null where the entry does not say. */
function outputTokensOf(fields: Readonly<Record<string, unknown>>, place: string): number | null {
  const column = lengthColumns.find((name) => fields[name] !== undefined && fields[name] !== null);
  if (column === undefined) return null;
  const length = fields[column];
  if (typeof length === "number" && Number.isInteger(length) && length >= 1) return length;
  throw new MillraceError(
    "invalid_data_file",
    `${place} says ${column} is ${JSON.stringify(length)}; it takes a whole number of at least 1. Correct it, or leave it out.`,
  );
}

function conversationOf(
  fields: Readonly<Record<string, unknown>>,
  place: string,
): Omit<FileItem, "outputTokens"> | null {
  const { messages, conversations, turns } = fields;
  const plain = { system: null, isMessages: false };
  if (Array.isArray(turns)) return { ...plain, turns: turns.filter((turn) => typeof turn === "string") };
  if (Array.isArray(messages)) return fromMessages(messages, { who: "role", what: "content" }, place);
  if (Array.isArray(conversations)) return fromMessages(conversations, { who: "from", what: "value" }, place);
  const prompt = promptColumns.map((column) => fields[column]).find((value) => typeof value === "string");
  return typeof prompt === "string" ? { ...plain, turns: [prompt] } : null;
}

function fromMessages(
  messages: readonly unknown[],
  { who, what }: { readonly who: string; readonly what: string },
  place: string,
): Omit<FileItem, "outputTokens"> {
  const said = messages as readonly Readonly<Record<string, unknown>>[];
  const textsOf = (roles: readonly string[]): string[] =>
    said
      .filter((message) => roles.includes(String(message[who])))
      .flatMap((message) => textOf(message[what], place) ?? []);
  return { system: textsOf(["system"])[0] ?? null, turns: textsOf(["user", "human"]), isMessages: true };
}

/** The text of a message, also of one in parts; null where it has none. Errors: parts that are no text. */
function textOf(content: unknown, place: string): string | null {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return null;
  const parts = content as readonly Readonly<Record<string, unknown>>[];
  const others = parts.filter(({ type, text }) => type !== "text" || typeof text !== "string");
  if (others.length === 0) return parts.map(({ text }) => text as string).join("");
  const kinds = [...new Set(others.map(({ type }) => String(type)))].join(", ");
  throw new MillraceError(
    "invalid_data_file",
    `${place} has a message with parts of type ${kinds}; a load test sends parts of type text only. Leave them or the entry out.`,
  );
}
