import { normalQuantile as z } from "../../base/quantiles.ts";
import type { DivergenceFigures } from "../../records/divergence.ts";
import { quantile } from "../statistics.ts";
import type { TokenDivergences } from "./token-divergences.ts";

/** With fewer windows than this their spread says little, and tokens are taken as independent. */
const minWindows = 10;

/**
 * What two models' difference comes to. Standard errors are of means over tokens; tokens of one window depend on each other,
 * so with ten windows or more the windows are the unit that varies.
 */
export function summarizeDivergences(found: TokenDivergences): DivergenceFigures {
  const { kl, lossA, lossB, windowSizes } = found;
  const sizes = windowSizes.length >= minWindows ? windowSizes : kl.map(() => 1);
  const sorted = kl.toSorted();
  const differences = lossB.map((loss, i) => loss - lossA[i]!);
  const meanDifference = meanOf(differences);
  const errorOfDifference = errorOf(differences, sizes);
  const bound = (side: number): number | null =>
    errorOfDifference === null ? null : Math.exp(meanDifference + side * z * errorOfDifference);
  return {
    numTokens: kl.length,
    errorsOver: windowSizes.length >= minWindows ? "windows" : "tokens",
    kl: {
      mean: meanOf(kl),
      standardError: errorOf(kl, sizes),
      p50: quantile(sorted, 0.5),
      p95: quantile(sorted, 0.95),
      p99: quantile(sorted, 0.99),
      max: sorted.at(-1)!,
    },
    topAgreement: {
      mean: meanOf(found.isSameTop),
      standardError: errorOf(found.isSameTop, sizes),
    },
    perplexity: {
      a: Math.exp(meanOf(lossA)),
      b: Math.exp(meanOf(lossB)),
      ratio: Math.exp(meanDifference),
      ratioLow: bound(-1),
      ratioHigh: bound(1),
    },
  };
}

function meanOf(values: Float64Array | Uint8Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/**
 * Standard error of the mean of values that come in groups of these sizes (the cluster-robust one); with groups of one value
 * it is the usual sample deviation / √n. Null for one group.
 */
function errorOf(values: Float64Array | Uint8Array, sizes: ArrayLike<number>): number | null {
  const numGroups = sizes.length;
  if (numGroups < 2) return null;
  const mean = meanOf(values);
  let squares = 0;
  let at = 0;
  for (let group = 0; group < numGroups; group += 1) {
    let deviation = 0;
    for (const end = at + sizes[group]!; at < end; at += 1) deviation += values[at]! - mean;
    squares += deviation ** 2;
  }
  return Math.sqrt((squares * numGroups) / (numGroups - 1)) / values.length;
}
