import type { z } from "zod";
import type { ChatCompleter } from "../../protocol/completer.ts";

/** A model that answers questions about texts. The same prompt may get another answer each time. */
export interface Judge {
  ask(prompt: string, signal: AbortSignal | undefined): Promise<string>;
}

/** Tries for an answer of the wanted form before a row counts as undecided. */
const maxTries = 3;

export interface JudgeSettings {
  readonly maxTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly seed: number;
}

/** A judge behind a chat endpoint. */
export function chatJudge(completer: ChatCompleter, { maxTokens, temperature, seed }: JudgeSettings): Judge {
  const settings = { stop: [], stopTokenIds: [], maxTokens, temperature, topP: 1, seed };
  return {
    ask: async (prompt, signal) => {
      const { text } = await completer.complete([{ role: "user", content: prompt }], settings, signal);
      return text;
    },
  };
}

export interface JudgeQuestion<S extends z.ZodType> {
  /** What is to be done with the input, in one paragraph. */
  readonly task: string;
  /** An answer of the wanted form, shown as it is. */
  readonly example: z.input<S>;
  readonly schema: S;
  readonly input: Readonly<Record<string, unknown>>;
}

/**
 * Asks for JSON of a form. What does not have it is asked again, with what was wrong; null after three tries: the row is
 * undecided, never a zero.
 */
export async function askForJson<S extends z.ZodType>(
  judge: Judge,
  { task, example, schema, input }: JudgeQuestion<S>,
  signal: AbortSignal | undefined,
): Promise<z.output<S> | null> {
  const question = [
    task,
    `Answer with one JSON object of this form and nothing else: ${JSON.stringify(example)}`,
    `Input: ${JSON.stringify(input, null, 2)}`,
  ].join("\n\n");
  let prompt = question;
  for (let attempt = 1; attempt <= maxTries; attempt += 1) {
    const answer = await judge.ask(prompt, signal);
    const parsed = schema.safeParse(firstObject(answer));
    if (parsed.success) return parsed.data;
    const fault = parsed.error.issues
      .map(({ path, message }) => `${path.join(".") || "answer"}: ${message}`)
      .join("; ");
    prompt = `${question}\n\nAn earlier answer did not have the form (${fault}):\n${answer}`;
  }
  return null;
}

/** The first whole JSON object inside a text, which may stand in a fence or among words; undefined where there is none. */
function firstObject(text: string): unknown {
  for (let start = text.indexOf("{"); start !== -1; start = text.indexOf("{", start + 1)) {
    const end = closingBrace(text, start);
    if (end === -1) continue;
    try {
      return JSON.parse(text.slice(start, end + 1));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return undefined;
}

function closingBrace(text: string, start: number): number {
  let depth = 0;
  let isInText = false;
  for (let at = start; at < text.length; at += 1) {
    const char = text[at]!;
    if (isInText) {
      if (char === "\\") at += 1;
      else if (char === '"') isInText = false;
    } else if (char === '"') isInText = true;
    else if (char === "{") depth += 1;
    else if (char === "}") {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}
