import { expect, test } from "vitest";
import { madeUpVariant } from "../../tests/made-up-comparison.ts";
import type { ComparisonRecord } from "../records/comparison.ts";
import { loadTables } from "./load-tables.ts";

/** Two runs at 4 in flight, of these times per token. */
function rowsOf(base: number, other: number): (readonly string[])[] {
  const cells = [base, other].map((tpotMs) => ({
    ttftMs: 10,
    tpotMs,
    e2eMs: null,
    outputTokensPerSecond: tpotMs,
    isInterpolated: false,
  }));
  const record = {
    variants: [madeUpVariant("a"), madeUpVariant("b")],
    load: {
      slo: [],
      equalConcurrency: { rows: [{ at: 4, cells }] },
      equalRate: { rows: [] },
      equalLoad: null,
      degradation: [null, null],
      concurrency: [0, 1].map(() => ({ kvCapacity: null, withinSlo: null, lastLevel: null })),
      violations: [[], []],
    },
  } as unknown as ComparisonRecord;
  return loadTables(record).flatMap(({ rows }) => rows);
}

test("a change stands beside its figure, and none where the base has 0", () => {
  expect(rowsOf(2, 3)).toContainEqual(["4", "TPOT p50, ms", "2.00", "3.00 (+50 %)"]);
  expect(rowsOf(0, 3)).toContainEqual(["4", "TPOT p50, ms", "0.00", "3.00 (–)"]);
  expect(rowsOf(0, 0)).toContainEqual(["4", "output tokens/s", "0.00", "0.00 (–)"]);
});
