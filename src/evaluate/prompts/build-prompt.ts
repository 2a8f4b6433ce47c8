import type { ChatMessage } from "../../tokenizer/tokenizer.ts";
import { endsWithSpace, startsWithSpace } from "../python-text.ts";
import type { Prompt } from "../requests/model-request.ts";
import type { PromptParts, Shot } from "../task.ts";

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

/**
 * What stands before the answer, after lm-eval's `fewshot_context`: system part, shots, question.
 * As messages: the system part is the system message, and a `genPrefix` begins the assistant's answer.
 */
export function buildPrompt(
  parts: PromptParts,
  shots: readonly Shot[],
  question: string,
  settings: PromptSettings,
): Prompt {
  const system = joinUnlessSpaced(settings.systemInstruction ?? "", parts.description ?? "", "\n\n");
  if (!settings.isChat) return system + shotsText(parts, shots) + openQuestion(parts, question);
  const messages: ChatMessage[] = system === "" ? [] : [{ role: "system", content: system }];
  if (settings.hasShotTurns) {
    for (const shot of shots) {
      messages.push({ role: "user", content: shot.text });
      messages.push({
        role: "assistant",
        content: joinUnlessSpaced(parts.genPrefix ?? "", shot.answer, " "),
      });
    }
    messages.push({ role: "user", content: question });
  } else {
    messages.push({ role: "user", content: shotsText(parts, shots) + question });
  }
  if (parts.genPrefix !== undefined) messages.push({ role: "assistant", content: parts.genPrefix });
  return messages;
}

/**
 * What goes between the prompt and a scored answer. An answer that is a chat turn of its own begins without a blank,
 * one that goes on from a prefix with its own.
 */
export function answerDelimiter(parts: PromptParts, settings: PromptSettings): string {
  const delimiter = parts.targetDelimiter ?? defaultDelimiters.target;
  if (!settings.isChat) return delimiter;
  return parts.genPrefix === undefined || endsWithSpace(parts.genPrefix) ? "" : delimiter;
}

function shotsText(parts: PromptParts, shots: readonly Shot[]): string {
  const target = parts.targetDelimiter ?? defaultDelimiters.target;
  const end = parts.fewshotDelimiter ?? defaultDelimiters.fewshot;
  return shots.map((shot) => openQuestion(parts, shot.text) + target + shot.answer + end).join("");
}

function openQuestion(parts: PromptParts, question: string): string {
  return joinUnlessSpaced(question, parts.genPrefix ?? "", " ");
}

/** `delimiter` goes between two texts that do not have white space there already. */
function joinUnlessSpaced(first: string, second: string, delimiter: string): string {
  const isJoined = first === "" || second === "" || endsWithSpace(first) || startsWithSpace(second);
  return isJoined ? first + second : first + delimiter + second;
}
