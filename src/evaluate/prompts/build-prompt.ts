import type { ChatMessage } from "../../tokenizer/tokenizer.ts";
import { endsWithSpace, startsWithSpace } from "../python-text.ts";
import type { Prompt } from "../requests/model-request.ts";
import type { PromptParts, Question, Shot } from "../task.ts";

/** How the user wants prompts to be built. */
export interface PromptSettings {
  /** Prompts are chat messages. */
  readonly isChat: boolean;
  /** Each shot is a question of the user's and an answer of the assistant's; else all stand in one message. */
  readonly hasShotTurns: boolean;
  readonly systemInstruction: string | null;
}

export const plainPrompts: PromptSettings = { isChat: false, hasShotTurns: false, systemInstruction: null };

export const defaultDelimiters = { target: " ", fewshot: "\n\n" } as const;

/** A message, with what follows it where all are one text. */
interface Turn {
  readonly role: "user" | "assistant";
  readonly content: string;
  readonly end: string;
}

/** What a prompt reads of a question. */
export type Asked = Pick<Question, "text" | "genPrefix" | "description">;

/**
 * What stands before the answer, after lm-eval's `fewshot_context`: system part, shots, question, and what the answer
 * begins with. As messages: the system part is the system message, and the beginning of the answer the assistant's.
 */
export function buildPrompt(
  parts: PromptParts,
  shots: readonly Shot[],
  question: Asked,
  settings: PromptSettings,
): Prompt {
  const { target, fewshot } = delimitersOf(parts);
  const description = question.description ?? parts.description ?? "";
  const system = joinUnlessSpaced(settings.systemInstruction ?? "", description, fewshot);
  const shotDelimiters = delimitersOf({ ...parts, ...parts.shots });
  const turns = shots.flatMap((shot) =>
    shotTurns(shot, shot.genPrefix ?? parts.genPrefix ?? "", shotDelimiters),
  );
  const genPrefix = question.genPrefix ?? parts.genPrefix ?? "";
  const isSpaced = genPrefix === "" || isJoinSpaced(question.text, genPrefix);
  turns.push({ role: "user", content: question.text, end: isSpaced ? "" : target });
  if (!settings.isChat) return system + textOf(turns) + genPrefix;
  const messages: ChatMessage[] = system === "" ? [] : [{ role: "system", content: system }];
  if (settings.hasShotTurns) messages.push(...turns.map(({ role, content }) => ({ role, content })));
  else messages.push({ role: "user", content: textOf(turns.slice(0, -1)) + question.text });
  if (genPrefix !== "") messages.push({ role: "assistant", content: genPrefix });
  return messages;
}

interface Delimiters {
  readonly target: string;
  readonly fewshot: string;
}

function delimitersOf({ targetDelimiter, fewshotDelimiter }: PromptParts): Delimiters {
  return {
    target: targetDelimiter ?? defaultDelimiters.target,
    fewshot: fewshotDelimiter ?? defaultDelimiters.fewshot,
  };
}

function shotTurns({ text, answer }: Shot, genPrefix: string, { target, fewshot }: Delimiters): Turn[] {
  const isSpaced = genPrefix !== "" && isJoinSpaced(text, genPrefix);
  if (answer === "") {
    // lm-eval has no turn for an answer without text, and nothing behind it.
    if (genPrefix === "") return [{ role: "user", content: text, end: "" }];
    const begun = { role: "assistant", content: genPrefix, end: "" } as const;
    return [{ role: "user", content: text, end: isSpaced ? "" : target }, begun];
  }
  return [
    { role: "user", content: text, end: isSpaced ? "" : target },
    { role: "assistant", content: joinUnlessSpaced(genPrefix, answer, " "), end: fewshot },
  ];
}

function textOf(turns: readonly Turn[]): string {
  return turns.map(({ content, end }) => content + end).join("");
}

/**
 * What goes between the prompt and a scored answer. An answer that is a chat turn of its own begins without a blank,
 * one that goes on from a prefix with its own.
 */
export function answerDelimiter(parts: PromptParts, settings: PromptSettings): string {
  const { target } = delimitersOf(parts);
  if (!settings.isChat) return target;
  const { genPrefix = "" } = parts;
  return genPrefix === "" || endsWithSpace(genPrefix) ? "" : target;
}

/** `delimiter` goes between two texts that do not have white space there already. */
function joinUnlessSpaced(first: string, second: string, delimiter: string): string {
  return isJoinSpaced(first, second) ? first + second : first + delimiter + second;
}

function isJoinSpaced(first: string, second: string): boolean {
  return first === "" || second === "" || endsWithSpace(first) || startsWithSpace(second);
}
