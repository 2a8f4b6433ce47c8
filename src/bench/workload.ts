import { generatorFor } from "./random.ts";

/** The prompts of a load test. Every request gets its own start, so that no prefix cache can help. */
export interface Workload {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly promptForm: "token-ids" | "text";
  /** Words of a text prompt; null for token ids. */
  readonly numWords: number | null;
  readonly seed: number;
  /** The prompt of request `index`: token ids, or about `inputTokens` tokens of text. */
  prompt(index: number): readonly number[] | string;
}

interface WorkloadOptions {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly seed: number;
  readonly prompts: PromptSource;
}

/** What prompts are drawn from: all ids below a number, given ids, or words as text. */
export type PromptSource =
  | { readonly vocabSize: number }
  | { readonly tokenIds: readonly number[] }
  | { readonly numWords: number };

/** The lowest ids are usually special tokens. */
const firstPlainId = 200;

const words =
  "time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city name team minute idea body".split(
    " ",
  );

/** All words that text prompts are made of, as one text. */
export const wordText: string = words.join(" ");

export function createWorkload(options: WorkloadOptions): Workload {
  const { inputTokens, outputTokens, seed, prompts } = options;
  const numWords = "numWords" in prompts ? prompts.numWords : null;
  const shape = { inputTokens, outputTokens, seed, numWords };
  if ("numWords" in prompts) {
    const prompt = (index: number): string =>
      drawMany(generatorFor(seed, index), words, prompts.numWords).join(" ");
    return { ...shape, promptForm: "text", prompt };
  }
  const ids = "tokenIds" in prompts ? prompts.tokenIds : plainIds(prompts.vocabSize);
  const prompt = (index: number): number[] => drawMany(generatorFor(seed, index), ids, inputTokens);
  return { ...shape, promptForm: "token-ids", prompt };
}

/**
 * Words that should give `inputTokens` tokens, from how many tokens the server counted in a prompt of `numWords`.
 * Any BOS token of the server's is part of its count, as it is part of its work.
 */
export function calibrateWords(numWords: number, countedTokens: number, inputTokens: number): number {
  return Math.max(1, Math.round((numWords * inputTokens) / countedTokens));
}

function plainIds(vocabSize: number): number[] {
  const low = Math.min(firstPlainId, Math.floor(vocabSize / 4));
  return Array.from({ length: vocabSize - low }, (_, offset) => low + offset);
}

function drawMany<T>(random: () => number, values: readonly T[], count: number): T[] {
  return Array.from({ length: count }, () => values[Math.floor(random() * values.length)]!);
}
