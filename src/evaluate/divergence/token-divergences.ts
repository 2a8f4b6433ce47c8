import type { RowDivergences } from "../../base/row-divergences.ts";

/** How two models differ at each predicted token, in the order of the text. */
export interface TokenDivergences extends RowDivergences {
  /** Tokens of each window; the windows lie one after the other. */
  readonly windowSizes: readonly number[];
}

/** Room for the tokens of some windows, [1 + predicted tokens] each. */
export function emptyDivergences(windows: readonly Int32Array[]): TokenDivergences {
  const windowSizes = windows.map((window) => window.length - 1);
  const numTokens = windowSizes.reduce((sum, size) => sum + size, 0);
  return {
    kl: new Float64Array(numTokens),
    isSameTop: new Uint8Array(numTokens),
    lossA: new Float64Array(numTokens),
    lossB: new Float64Array(numTokens),
    windowSizes,
  };
}

/** Entries [first, first + count), in the same memory. */
export function entriesOf(found: RowDivergences, first: number, count: number): RowDivergences {
  const end = first + count;
  return {
    kl: found.kl.subarray(first, end),
    isSameTop: found.isSameTop.subarray(first, end),
    lossA: found.lossA.subarray(first, end),
    lossB: found.lossB.subarray(first, end),
  };
}
