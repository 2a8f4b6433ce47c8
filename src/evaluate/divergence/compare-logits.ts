import { type Progress, silentProgress } from "../../base/progress.ts";
import type { ComparableLogits, LogitSource } from "../../protocol/logit-source.ts";
import { emptyDivergences, entriesOf, type TokenDivergences } from "./token-divergences.ts";

export interface LogitComparison {
  readonly a: LogitSource;
  /** Models of the same vocabulary, each of which is compared with A. */
  readonly others: readonly ComparableLogits[];
  /** Sequences of token ids; all but the first token of each are predicted. At least two tokens each. */
  readonly windows: readonly Int32Array[];
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/**
 * Runs models over the same tokens side by side and compares the whole distributions of each with A's at every position, a
 * slab of rows at a time. One result for each of `others`, in their order. Between slabs other work of the process goes
 * on. Throws what the models throw, and the signal's reason.
 */
export async function compareLogits(comparison: LogitComparison): Promise<readonly TokenDivergences[]> {
  const { a, others, windows, progress = silentProgress, signal } = comparison;
  const maxRows = Math.min(a.maxRows, ...others.map((other) => other.maxRows));
  const rowsA = new Float32Array(maxRows * a.vocabSize);
  const numTokens = windows.reduce((sum, window) => sum + window.length - 1, 0);
  const found = others.map(() => emptyDivergences(windows));
  progress.start("compare", numTokens);
  let done = 0;
  for (const window of windows) {
    const numPredicted = window.length - 1;
    for (let first = 0; first < numPredicted; first += maxRows) {
      signal?.throwIfAborted();
      const count = Math.min(maxRows, numPredicted - first);
      a.read(window, first, count, rowsA);
      for (const [i, other] of others.entries())
        other.diverge(window, first, rowsA, entriesOf(found[i]!, done, count));
      done += count;
      progress.update(done);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  progress.finish(`compared ${numTokens} tokens`);
  return found;
}
