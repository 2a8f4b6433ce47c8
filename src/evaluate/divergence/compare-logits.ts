import { type Progress, silentProgress } from "../../base/progress.ts";
import type { LogitSource } from "../../protocol/logit-source.ts";
import { addDivergence, type TokenDivergences } from "./token-divergence.ts";

export interface LogitComparison {
  readonly a: LogitSource;
  /** Of the same vocabulary. */
  readonly b: LogitSource;
  /** Sequences of token ids; all but the first token of each are predicted. At least two tokens each. */
  readonly windows: readonly Int32Array[];
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/**
 * Runs two models over the same tokens side by side and compares their whole distributions at every position, a slab of
 * rows at a time. Between slabs other work of the process goes on. Throws what the models throw, and the signal's reason.
 */
export async function compareLogits(comparison: LogitComparison): Promise<TokenDivergences> {
  const { a, b, windows, progress = silentProgress, signal } = comparison;
  const { vocabSize } = a;
  const maxRows = Math.min(a.maxRows, b.maxRows);
  const rowsA = new Float32Array(maxRows * vocabSize);
  const rowsB = new Float32Array(maxRows * vocabSize);
  const numTokens = windows.reduce((sum, window) => sum + window.length - 1, 0);
  const found = emptyDivergences(numTokens, windows);
  progress.start("compare", numTokens);
  let done = 0;
  for (const window of windows) {
    const numPredicted = window.length - 1;
    for (let first = 0; first < numPredicted; first += maxRows) {
      signal?.throwIfAborted();
      const count = Math.min(maxRows, numPredicted - first);
      a.read(window, first, count, rowsA);
      b.read(window, first, count, rowsB);
      for (let row = 0; row < count; row += 1) {
        const at = row * vocabSize;
        const end = at + vocabSize;
        addDivergence(found, done + row, {
          a: rowsA.subarray(at, end),
          b: rowsB.subarray(at, end),
          target: window[first + row + 1]!,
        });
      }
      done += count;
      progress.update(done);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  progress.finish(`compared ${numTokens} tokens`);
  return found;
}

function emptyDivergences(numTokens: number, windows: readonly Int32Array[]): TokenDivergences {
  return {
    kl: new Float64Array(numTokens),
    isSameTop: new Uint8Array(numTokens),
    lossA: new Float64Array(numTokens),
    lossB: new Float64Array(numTokens),
    windowSizes: windows.map((window) => window.length - 1),
  };
}
