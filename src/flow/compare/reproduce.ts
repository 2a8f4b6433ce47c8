import type { ComparisonRecord, SpeedRow, Variant } from "../../records/comparison.ts";
import { compareLevels } from "./compare-levels.ts";

/** What a second run of the same flow has in common with the first, for one variant. */
export interface Reproduction {
  readonly variant: string;
  /** Whether the same bytes came out; null where a run has none. */
  readonly weights: boolean | null;
  readonly answers: boolean | null;
  /** Throughputs, the second against the first. */
  readonly throughput: readonly SpeedRow[];
}

/** Sets two runs of one flow beside each other, for every variant that both have. */
export function reproductionOf(first: ComparisonRecord, second: ComparisonRecord): Reproduction[] {
  return second.variants.flatMap((after) => {
    const before = first.variants.find(({ name }) => name === after.name);
    return before === undefined ? [] : [reproduced(before, after)];
  });
}

function reproduced(before: Variant, after: Variant): Reproduction {
  const same = (a: string | null, b: string | null): boolean | null =>
    a === null || b === null ? null : a === b;
  return {
    variant: after.name,
    weights: same(before.hashes.weights, after.hashes.weights),
    answers: same(before.hashes.answers, after.hashes.answers),
    throughput: compareLevels(before.levels, after.levels).filter(
      ({ metric }) => metric === "outputTokensPerSecond",
    ),
  };
}
