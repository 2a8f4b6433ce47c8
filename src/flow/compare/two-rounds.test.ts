// What two or three rounds can know: simulated tests without any difference, of which 95 in 100 are to say so.
import { expect, test } from "vitest";
import { madeUpLevel, roundAt } from "../../../tests/made-up-comparison.ts";
import { generatorFor, normal } from "../../bench/random.ts";
import type { LoadLevel } from "../../records/load-level.ts";
import { compareLevels } from "./compare-levels.ts";

interface World {
  readonly numRounds: number;
  readonly numVariants: number;
  /** Slices of each level. */
  readonly numSlices: readonly number[];
  /** Standard deviation of what all levels of a start have in common, of each level beside that, and of each slice. */
  readonly shared: number;
  readonly own: number;
  readonly slice: number;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The levels of a variant: each begins with a burst, and nothing but noise differs from others. */
function noisyLevels(world: World, random: () => number): LoadLevel[] {
  const starts = Array.from({ length: world.numRounds }, () => world.shared * normal(random));
  return world.numSlices.map((numSlices, index) => {
    const slices = starts.map((start) => {
      const ofLevel = start + world.own * normal(random);
      return Array.from({ length: numSlices }, (_, place) => {
        const rate = Math.exp((place === 0 ? -1 : 0) + ofLevel + world.slice * normal(random));
        return { numRequests: 1, outputTokensPerSecond: rate, ttftMs: null, tpotMs: null, e2eMs: null };
      });
    });
    const rates = slices.map((round) => 1 / mean(round.map((slice) => 1 / slice.outputTokensPerSecond)));
    return madeUpLevel({
      asked: index + 1,
      slices,
      rounds: rates.map(roundAt),
      outputTokensPerSecond: Math.exp(mean(rates.map(Math.log))),
    });
  });
}

const standard = { numRounds: 2, numVariants: 3, numSlices: [16, 12, 6, 2] };
const quick = { numRounds: 3, numVariants: 2, numSlices: [9, 9, 9] };
const single = { numRounds: 2, numVariants: 2, numSlices: [9] };

test.for<World>([
  { ...standard, shared: 0, own: 0, slice: 0.03 },
  { ...standard, shared: 0.05, own: 0, slice: 0.03 },
  { ...standard, shared: 0.1, own: 0, slice: 0.03 },
  { ...standard, shared: 0, own: 0.04, slice: 0.03 },
  { ...standard, shared: 0.03, own: 0.03, slice: 0.03 },
  { ...quick, shared: 0.05, own: 0, slice: 0.03 },
  { ...quick, shared: 0, own: 0.04, slice: 0.03 },
  { ...single, shared: 0.05, own: 0, slice: 0.03 },
])(
  "$numRounds rounds of $numVariants variants hold the true ratio in 95 of 100 comparisons: starts $shared, levels $own",
  async (world, { annotate }) => {
    const random = generatorFor(3, Math.round(1000 * (world.shared + 10 * world.own)));
    const numHits = world.numSlices.map(() => 0);
    const numRuns = 1000;
    for (let run = 0; run < numRuns; run += 1) {
      const all = Array.from({ length: world.numVariants }, () => noisyLevels(world, random));
      const rows = compareLevels(all[0]!, all[1]!, all).filter(
        ({ metric }) => metric === "outputTokensPerSecond",
      );
      for (const [index, row] of rows.entries())
        if (row.ratioLow! <= 1 && row.ratioHigh! >= 1) numHits[index]! += 1;
    }
    await annotate(`held in ${numHits.join(", ")} of ${numRuns}`);
    // Three standard errors of a share of 95 % of 1,000 are 2.1 %.
    expect(Math.min(...numHits) / numRuns).toBeGreaterThan(0.929);
    expect(Math.max(...numHits) / numRuns).toBeLessThan(1);
  },
);
