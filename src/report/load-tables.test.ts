import { expect, test } from "vitest";
import { madeUpVariant } from "../../tests/made-up-comparison.ts";
import type { ComparisonRecord } from "../records/comparison.ts";
import { parseSlo } from "../records/slo.ts";
import { loadTables } from "./load-tables.ts";

/** Two runs at 4 in flight, of these times per token. */
function recordOf(base: number, other: number): ComparisonRecord {
  const cells = [base, other].map((tpotMs) => ({
    ttftMs: 10,
    tpotMs,
    e2eMs: null,
    outputTokensPerSecond: tpotMs,
    isInterpolated: false,
  }));
  return {
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
}

function rowsOf(base: number, other: number): (readonly string[])[] {
  return loadTables(recordOf(base, other)).flatMap(({ rows }) => rows);
}

test("a change stands beside its figure, and none where the base has 0", () => {
  expect(rowsOf(2, 3)).toContainEqual(["4", "TPOT p50, ms", "2.00", "3.00 (+50 %)"]);
  expect(rowsOf(0, 3)).toContainEqual(["4", "TPOT p50, ms", "0.00", "3.00 (–)"]);
  expect(rowsOf(0, 0)).toContainEqual(["4", "output tokens/s", "0.00", "0.00 (–)"]);
});

test("where the least load could not be judged, says that nothing is shown, and not that it is broken", () => {
  const { load, ...record } = recordOf(2, 3);
  const none = { inFlight: null, brokenAt: 4, highestKept: null };
  const concurrency = [false, true].map((isLeastBroken) => ({
    kvCapacity: null,
    withinSlo: { ...none, isLeastBroken },
    lastLevel: null,
  }));
  const slo = parseSlo("ttft_p95<=80ms");
  expect(loadTables({ ...record, load: { ...load, slo, concurrency } })[0]!.rows).toEqual([
    ["within ttft_p95<=80ms", "not shown: broken at 4, not judged below", "none: broken from the start"],
  ]);
});
