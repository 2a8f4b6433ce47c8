import { defaultSampling, type SamplingParams } from "../../src/protocol/sampling-params.ts";
import { createRandom } from "./covering-array.ts";

/** A prompt and how to draw from it; the same for the same vocabulary, whatever the weights. */
export interface LawRequest {
  readonly promptTokenIds: readonly number[];
  readonly sampling: SamplingParams;
  /** Requests of one group begin alike and are sent one after the other. */
  readonly group: number;
}

/** Longest prompt and output together; a multiple of the block size. */
export const lawContext = 288;
/** Attention merges partitions of 256 tokens: one request grows across that border. */
const longPromptTokens = 225;
const growingTokens = 56;
/** Not a multiple of the block size, so that hits end inside a block. */
const sharedTokens = 37;

/** Ids that no special token has. */
const firstId = 10;

const idsFrom = (random: () => number, count: number, vocabSize: number): number[] =>
  Array.from({ length: count }, () => firstId + Math.floor(random() * (vocabSize - firstId)));

/** Ways to draw: each kind of parameter alone, and mixed. */
function samplings(vocabSize: number): Partial<SamplingParams>[] {
  const [a, b, c] = [11, vocabSize >> 1, vocabSize - 3];
  const few = [a, b, c, 40, 41, 42];
  return [
    { temperature: 0 },
    { temperature: 1, logprobs: 20 },
    { temperature: 0.7, topP: 0.9 },
    { temperature: 1.3, topK: 40 },
    { temperature: 1, minP: 0.05, logprobs: 0 },
    { temperature: 0.8, topK: 64, topP: 0.95, minP: 0.01 },
    { temperature: 0, repetitionPenalty: 1.3, logprobs: 5 },
    { temperature: 1, frequencyPenalty: 0.8, presencePenalty: 0.4 },
    { temperature: 0.9, repetitionPenalty: 0.8, presencePenalty: -1, topP: 0.8 },
    { temperature: 1, logitBias: new Map(few.map((id, index) => [id, 4 + index])) },
    { temperature: 0, logitBias: new Map(few.map((id) => [id, 50])), badWords: [[a], [b, b], [c, 40]] },
    { temperature: 1, allowedTokenIds: few, logprobs: 3 },
    { temperature: 1, allowedTokenIds: few, badWords: [[40], [41, 42]], frequencyPenalty: 0.5 },
    { temperature: 1, ignoreEos: false, minTokens: 6, logprobs: 1 },
    { temperature: 0, ignoreEos: false, stopTokenIds: few, minTokens: 3, allowedTokenIds: [...few, 90, 91] },
    { temperature: 2, topP: 0.99, logprobs: 2 },
    { temperature: 0.5, topK: 1 },
    { temperature: 0, minTokens: 5, ignoreEos: false },
  ];
}

/**
 * 24 requests. The first is long; the next four grow from short prompts, so that a small block pool must preempt
 * some, and draw from one token, so that guesses are right whatever the weights and they keep pace; eight begin alike;
 * eleven have nothing in common.
 */
export function lawRequests(vocabSize: number, maxTokens: number): LawRequest[] {
  const random = createRandom(vocabSize);
  const shared = idsFrom(random, sharedTokens, vocabSize);
  const long = {
    promptTokenIds: idsFrom(random, longPromptTokens, vocabSize),
    sampling: { temperature: 1, topP: 0.95, logprobs: 5, maxTokens: growingTokens },
    group: 0,
  };
  const growing = [
    { temperature: 0, allowedTokenIds: [20] },
    { temperature: 1, allowedTokenIds: [21], logprobs: 2 },
    { temperature: 0, allowedTokenIds: [22], logprobs: 0 },
    { temperature: 1, topP: 0.9, allowedTokenIds: [23], logprobs: 4 },
  ].map((sampling, index) => ({
    promptTokenIds: idsFrom(random, 2 + 3 * index, vocabSize),
    sampling: { ...sampling, maxTokens: growingTokens },
    group: 0,
  }));
  const kinds = samplings(vocabSize);
  const others = Array.from({ length: 19 }, (_, index) => {
    const isSharing = index % 5 < 2;
    const own = idsFrom(random, isSharing ? 1 + index : 3 + index * 4, vocabSize);
    return {
      promptTokenIds: isSharing ? [...shared, ...own] : own,
      sampling: { maxTokens, ...kinds[index % kinds.length]! },
      group: isSharing ? 1 : 2 + index,
    };
  });
  return [long, ...growing, ...others].map(({ promptTokenIds, sampling, group }, index) => ({
    promptTokenIds,
    group,
    sampling: {
      ...defaultSampling,
      ignoreEos: true,
      logprobs: 1,
      seed: BigInt(1000 + index),
      ...sampling,
    },
  }));
}

/** What runs beside: another prompt, another way to draw, and after how many tokens its client leaves. */
export interface Stranger {
  readonly promptTokenIds: readonly number[];
  readonly sampling: SamplingParams;
  /** Tokens after which it is given up; more than `maxTokens` for never. */
  readonly patience: number;
}

/** Every other stranger is impatient, the first one at once. */
export function drawStranger(random: () => number, vocabSize: number, index: number): Stranger {
  const kinds = samplings(vocabSize);
  const maxTokens = 6 + Math.floor(random() * 10);
  return {
    promptTokenIds: idsFrom(random, 1 + Math.floor(random() * 24), vocabSize),
    sampling: {
      ...defaultSampling,
      ignoreEos: true,
      seed: BigInt(Math.floor(random() * 2 ** 32)),
      ...kinds[Math.floor(random() * kinds.length)]!,
      maxTokens,
    },
    patience: index % 2 === 0 ? Math.floor(random() * 5) * Math.min(1, index) : maxTokens + 1,
  };
}
