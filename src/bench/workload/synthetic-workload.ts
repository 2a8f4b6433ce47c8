import { generatorFor } from "../random.ts";
import { countText } from "../stage-text.ts";
import { drawLength, type LengthRange, lengthText } from "./length-range.ts";
import type { RequestLengths } from "./trace-lengths.ts";
import type { Turn, Workload } from "./workload.ts";

/** What prompts are drawn from: all ids below a number, given ids, or words as text. */
export type PromptSource =
  | { readonly vocabSize: number }
  | { readonly tokenIds: readonly number[] }
  | { readonly wordsPerToken: number };

export interface SyntheticSpec {
  readonly kind: "synthetic";
  readonly seed: number;
  readonly prompts: PromptSource;
  readonly input: LengthRange;
  readonly output: LengthRange;
  /** Lengths of each request in order, begun again at the end, in place of the ranges; null for none. */
  readonly lengths: readonly RequestLengths[] | null;
  /** Requests of a conversation; more than one, or `chat`, makes messages of words. */
  readonly turns: number;
  readonly chat: boolean;
  /** Tokens that prompts begin with, one of `count` beginnings each; null where every prompt is unlike the others. */
  readonly sharedPrefix: { readonly tokens: number; readonly count: number } | null;
  /** Makes beginnings unlike those of an earlier run with the same seed; null to repeat them. */
  readonly salt: number | null;
}

/** The lowest ids are usually special tokens. */
const firstPlainId = 200;
/** Tokens at a prompt's start that the salt decides. */
const numSalted = 4;
/** Where lengths, shared beginnings and salted beginnings are drawn, apart from prompts. */
const lengthStream = 0x51ed;
const prefixStream = 0x2f1b;

const words =
  "time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city name team minute idea body".split(
    " ",
  );

/** All words that text prompts are made of, as one text. */
export const wordText: string = words.join(" ");

/** Every request has its own beginning, so that no prefix cache can help, unless beginnings are shared on purpose. */
export function createSyntheticWorkload(spec: SyntheticSpec): Workload {
  const { seed, prompts, input, output, lengths, turns, sharedPrefix, salt } = spec;
  const isChat = spec.chat || turns > 1;
  const isText = "wordsPerToken" in prompts;
  const pool: readonly (number | string)[] = isText ? words : idsOf(prompts);
  const perToken = isText ? prompts.wordsPerToken : 1;
  /** A stretch of words or ids that is `numTokens` long. */
  const stretch = (random: () => number, numTokens: number): (number | string)[] =>
    drawMany(random, pool, Math.max(1, Math.round(numTokens * perToken)));
  const prefixes = Array.from({ length: sharedPrefix?.count ?? 0 }, (_, which) =>
    stretch(generatorFor(seed ^ prefixStream, which), sharedPrefix!.tokens),
  );
  const lengthsOf = (index: number): RequestLengths => {
    if (lengths !== null) return lengths[index % lengths.length]!;
    const random = generatorFor(seed ^ lengthStream, index);
    return { input: drawLength(input, random), output: drawLength(output, random) };
  };
  const conversation = (index: number): Turn[] => {
    const random = generatorFor(seed, index);
    return Array.from({ length: turns }, (_, turn) => {
      const asked = lengthsOf(index * turns + turn);
      const isFirst = turn === 0;
      const prefix = isFirst && prefixes.length > 0 ? prefixes[Math.floor(random() * prefixes.length)]! : [];
      const own = stretch(random, asked.input);
      if (isFirst && salt !== null) {
        const salted = drawMany(generatorFor(seed ^ salt, index), pool, Math.min(numSalted, own.length));
        own.splice(0, salted.length, ...salted);
      }
      const content = [...prefix, ...own];
      if (isChat)
        return { prompt: [{ role: "user", content: content.join(" ") }], outputTokens: asked.output };
      const prompt = isText ? content.join(" ") : (content as number[]);
      return { prompt, outputTokens: asked.output };
    });
  };
  const meanOf = (pick: "input" | "output"): number =>
    lengths === null
      ? spec[pick].mean
      : Math.round(lengths.reduce((sum, each) => sum + each[pick], 0) / lengths.length);
  const inputTokens = meanOf("input") + (sharedPrefix?.tokens ?? 0);
  return {
    spec,
    description: describe(spec),
    promptForm: isChat ? "chat" : isText ? "text" : "token-ids",
    inputTokens,
    outputTokens: meanOf("output"),
    numWords: isText ? Math.round(inputTokens * perToken) : null,
    // A later turn repeats the turns before it.
    sharesPrefixes: sharedPrefix !== null || turns > 1,
    conversation,
  };
}

function describe({ input, output, lengths, turns, sharedPrefix }: SyntheticSpec): string {
  const sizes =
    lengths === null
      ? `prompts of ${lengthText(input)} tokens, answers of ${lengthText(output)}`
      : `the lengths of ${countText(lengths.length, "request")} of a trace`;
  const prefix =
    sharedPrefix === null
      ? ""
      : `, behind one of ${sharedPrefix.count} beginnings of ${sharedPrefix.tokens} tokens`;
  return `${sizes}${prefix}${turns > 1 ? `, ${turns} turns each, which the server counts with all turns before them` : ""}`;
}

/** Words of a text prompt for each token, from how many tokens the server counted in `numWords` words. */
export function calibrateWords(numWords: number, countedTokens: number): number {
  return numWords / countedTokens;
}

function idsOf(prompts: Exclude<PromptSource, { wordsPerToken: number }>): readonly number[] {
  if ("tokenIds" in prompts) return prompts.tokenIds;
  const low = Math.min(firstPlainId, Math.floor(prompts.vocabSize / 4));
  return Array.from({ length: prompts.vocabSize - low }, (_, offset) => low + offset);
}

function drawMany<T>(random: () => number, values: readonly T[], count: number): T[] {
  return Array.from({ length: count }, () => values[Math.floor(random() * values.length)]!);
}
