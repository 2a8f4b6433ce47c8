import { z } from "zod";
import { MillraceError } from "./base/errors.ts";
import { shown } from "./base/shown.ts";
import type { RequestScheduling } from "./protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "./protocol/sampling-params.ts";
import type { TokenGrammar } from "./protocol/token-mask-channel.ts";
import type { ChatMessage } from "./tokenizer/tokenizer.ts";

/** How tokens are drawn and how the request stands beside others; sampling left out is `defaultSampling`. */
export interface TokenOptions extends Partial<SamplingParams> {
  /** Ends the request: its loop then throws the signal's reason. */
  readonly signal?: AbortSignal;
  readonly scheduling?: RequestScheduling;
  /** Whether to tell the request's life when it ends. */
  readonly explain?: boolean;
  /** Names the request in `recentSteps` and `recentRequests`; unique among open requests. Default: a random one. */
  readonly requestId?: string;
  /** Name of a loaded adapter; default: none. */
  readonly adapter?: string;
}

export interface TextOptions extends TokenOptions {
  /** The answer ends before the first of these texts. */
  readonly stop?: readonly string[];
  readonly includeStopInOutput?: boolean;
  /** Default true. */
  readonly skipSpecialTokens?: boolean;
  /** What the answer has to follow: from `Engine.grammar`. */
  readonly grammar?: TokenGrammar;
}

export interface ScoreOptions {
  /** The first token to score; at least 1, the default: the first has nothing before it. */
  readonly start?: number;
  /** Most likely tokens to name at each place; default 0. */
  readonly topK?: number;
  /** Ends the work, and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly scheduling?: RequestScheduling;
  /** Name of a loaded adapter; default: none. */
  readonly adapter?: string;
}

/** A prompt: text, which the tokenizer encodes, or token ids as they are. */
export type Prompt = string | readonly number[] | Int32Array;

// Types and names only: the engine knows the ranges. Each text completes "it takes …".

const number = z.number("a number");
const boolean = z.boolean("true or false");
const isNumbers = (value: unknown): boolean =>
  Array.isArray(value) && value.every((item) => typeof item === "number");
const ids = z.custom<readonly number[]>(isNumbers, "a list of token ids");
const isBiases = (value: unknown): boolean =>
  value instanceof Map &&
  [...value].every(([id, bias]) => typeof id === "number" && typeof bias === "number");
const isGrammar = (value: unknown): boolean =>
  typeof value === "object" && value !== null && typeof (value as { open?: unknown }).open === "function";
const text = z.string("a text");
const signal = z.custom<AbortSignal>((value) => value instanceof AbortSignal, "an AbortSignal");
const stopText = "a list of texts that are not empty";

const sampling = {
  maxTokens: number,
  minTokens: number,
  temperature: number,
  topP: number,
  topK: number,
  minP: number,
  seed: z.bigint("a bigint such as 7n, or null").nullable(),
  stopTokenIds: ids,
  ignoreEos: boolean,
  logprobs: z.number("a number or null").nullable(),
  logitBias: z.custom<ReadonlyMap<number, number> | null>(
    (value) => value === null || isBiases(value),
    "a Map from token ids to numbers, such as new Map([[5, -2]]), or null",
  ),
  repetitionPenalty: number,
  frequencyPenalty: number,
  presencePenalty: number,
  allowedTokenIds: z.custom<readonly number[] | null>(
    (value) => value === null || isNumbers(value),
    "a list of token ids or null",
  ),
  badWords: z.custom<readonly (readonly number[])[]>(
    (value) => Array.isArray(value) && value.every(isNumbers),
    "a list of lists of token ids; encodeBadWords makes them from texts",
  ),
} satisfies Record<keyof SamplingParams, z.ZodType>;

const scheduling = {
  priority: number,
  tenant: text,
  arrivalMs: number,
  deadlineMs: number,
  cacheSalt: text,
} satisfies Record<keyof Required<RequestScheduling>, z.ZodType>;

const around = { signal, adapter: text, scheduling: z.strictObject(scheduling, "an object").partial() };

const tokenOptions = z
  .strictObject({ ...sampling, ...around, explain: boolean, requestId: text }, "an object")
  .partial();

const textOptions = tokenOptions
  .extend({
    stop: z.array(z.string(stopText).min(1, stopText), stopText),
    includeStopInOutput: boolean,
    skipSpecialTokens: boolean,
    grammar: z.custom<TokenGrammar>(isGrammar, "a grammar that Engine.grammar has compiled"),
  })
  .partial();

const scoreOptions = z.strictObject({ ...around, start: number, topK: number }, "an object").partial();

/** Errors: `invalid_request` naming the option, its value and what is allowed, also for a name that is not known. */
export function checkTokenOptions(options: TokenOptions): void {
  check(tokenOptions, options);
}

/** As `checkTokenOptions`, for requests whose answer is text. */
export function checkTextOptions(options: TextOptions): void {
  check(textOptions, options);
}

/** As `checkTokenOptions`, for scores. */
export function checkScoreOptions(options: ScoreOptions): void {
  check(scoreOptions, options);
}

/** Errors: `invalid_request` for a prompt that is neither text nor token ids. */
export function checkPrompt(prompt: Prompt): void {
  if (typeof prompt !== "string") checkIds(prompt, "a text, a list of token ids or an Int32Array of them");
}

/** Errors: `invalid_request` for what are no token ids. */
export function checkPromptIds(prompt: Exclude<Prompt, string>): void {
  checkIds(prompt, "a list of token ids or an Int32Array of them");
}

function checkIds(prompt: unknown, allowed: string): void {
  if (prompt instanceof Int32Array) return;
  if (!Array.isArray(prompt)) throw wrong("prompt", prompt, allowed);
  const at = prompt.findIndex((id) => !Number.isInteger(id) || id < 0);
  if (at !== -1) throw wrong(`prompt[${at}]`, prompt[at], "a token id, which is a whole number from 0");
}

const messages = z.array(
  z.looseObject({ role: text }, "an object with role and content"),
  "a list of messages",
);

/** Errors: `invalid_request` for what is no conversation. */
export function checkMessages(conversation: readonly ChatMessage[]): void {
  check(messages, conversation, "messages");
}

/** @param base where the checked value stands; empty for the options themselves */
function check(schema: z.ZodObject | z.ZodArray, value: unknown, base = ""): void {
  const issue = schema.safeParse(value).error?.issues[0];
  if (issue === undefined) return;
  const path = issue.path.reduce<string>(
    (before, key) =>
      typeof key === "number" ? `${before}[${key}]` : `${before}${before === "" ? "" : "."}${String(key)}`,
    base,
  );
  if (issue.code === "unrecognized_keys") {
    const known = Object.keys(issue.path[0] === "scheduling" ? scheduling : (schema as z.ZodObject).shape);
    const name = path === "" ? issue.keys[0]! : `${path}.${issue.keys[0]}`;
    throw new MillraceError(
      "invalid_request",
      `There is no option ${name}. ${path === "" ? "A request" : path} takes ${known.join(", ")}.`,
      { param: name },
    );
  }
  const seen = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)[key], value);
  throw wrong(path === "" ? "options" : path, seen, issue.message);
}

/** @param allowed completes "it takes …" */
function wrong(param: string, value: unknown, allowed: string): MillraceError {
  return new MillraceError(
    "invalid_request",
    `${param} is ${shown(value)}; it takes ${allowed}. Change it${param.startsWith("prompt") ? "" : " or leave it out"}.`,
    { param },
  );
}

/** Options by their names on the wire, in which the engine speaks of them: `max_tokens` → `maxTokens`. */
export const optionByField: ReadonlyMap<string, string> = new Map([
  ...Object.keys({ ...defaultSampling, requestId: "" }).map((name) => [onWire(name), name] as const),
  ...Object.keys(scheduling).map((name) => [onWire(name), `scheduling.${name}`] as const),
]);

function onWire(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
