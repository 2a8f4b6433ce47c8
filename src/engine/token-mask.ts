import type { MillraceError } from "../base/errors.ts";

/**
 * Which tokens may come next in one sequence: the seam for structured output. The sampler calls `accept` for every
 * token of the output in order, and around draft tokens `accept` and `rollback`.
 */
export interface TokenMask {
  /** Writes the mask of the next token, ceil(vocabSize / 32) words from word `at` on; bit set = allowed. */
  fill(into: Uint32Array, at: number): void;
  /** Moves on by a token, which `fill` had allowed. */
  accept(tokenId: number): void;
  /** Takes back the last `count` accepted tokens. */
  rollback(count: number): void;
  /** Why `fill` allowed nothing, where that was no wish of the request. */
  readonly fault: MillraceError | null;
  /** The sequence has ended. */
  close(): void;
}

/** Words of a mask over `vocabSize` tokens. */
export function maskWords(vocabSize: number): number {
  return Math.ceil(vocabSize / 32);
}

/** Whether the mask that begins at word `at` allows a token. */
export function isAllowed(masks: Uint32Array, at: number, tokenId: number): boolean {
  return ((masks[at + (tokenId >>> 5)]! >>> (tokenId & 31)) & 1) === 1;
}

/** The same tokens at every place; their ids are below 32 · `numWords`. */
export function createFixedMask(tokenIds: readonly number[], numWords: number): TokenMask {
  const words = new Uint32Array(numWords);
  for (const id of tokenIds) words[id >>> 5]! |= 1 << (id & 31);
  return {
    fill: (into, at) => into.set(words, at),
    accept: () => {},
    rollback: () => {},
    fault: null,
    close: () => {},
  };
}
