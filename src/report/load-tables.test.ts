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

test("a ratio at equal load has its column where the runs have a load in common, and else none", () => {
  const { load, ...record } = recordOf(2, 3);
  const at = { inFlight: 1, tpotMs: 2 };
  const grown = {
    first: at,
    last: { inFlight: 4, tpotMs: 3 },
    ratio: 1.5,
    slopeMs: 1 / 3,
    ratioAtEqualLoad: 1.5,
    levels: [{ ...at, ratio: 1 }],
  };
  const growth = (equalLoad: number | null) =>
    loadTables({ ...record, load: { ...load, equalLoad, degradation: [grown] } }).find(({ title }) =>
      title.startsWith("How TPOT grows"),
    )!;
  const equal = growth(4);
  expect(equal.header.at(-1)).toBe("ratio at 4");
  expect(equal.rows[0]!.at(-1)).toBe("1.50");
  expect(equal.captions[0]).toContain("The ratio at 4 in flight is taken where all runs are alike.");
  const alone = growth(null);
  expect(alone.header).toEqual(equal.header.slice(0, -1));
  expect(alone.rows).toEqual([equal.rows[0]!.slice(0, -1)]);
  expect(alone.captions[0]).not.toContain("alike");
});
