import { expect, test } from "vitest";
import { madeUpLevel } from "../../../tests/made-up-comparison.ts";
import type { LoadLevel } from "../../records/load-level.ts";
import { compareLevels } from "./compare-levels.ts";

/** A level of one user whose slices each take these milliseconds per token, 8 tokens a request. */
function level(gaps: readonly number[], change: Partial<LoadLevel> = {}): LoadLevel {
  const mean = gaps.reduce((a, b) => a + b, 0) / gaps.length;
  const latency = (factor: number) => ({
    count: gaps.length,
    mean: mean * factor,
    p50: mean * factor,
    p90: null,
    p95: null,
    p99: null,
    weak: [],
  });
  return madeUpLevel({
    asked: 1,
    outputTokensPerSecond: 1000 / mean,
    ttftMs: latency(1),
    tpotMs: latency(1),
    e2eMs: latency(8),
    slices: gaps.map((gap) => ({
      numRequests: 1,
      outputTokensPerSecond: 1000 / gap,
      ttftMs: gap,
      tpotMs: gap,
      e2eMs: 8 * gap,
    })),
    ...change,
  });
}

const verdicts = (base: LoadLevel, compressed: LoadLevel): Record<string, string> =>
  Object.fromEntries(compareLevels([base], [compressed]).map((row) => [row.metric, row.verdict]));

const steady = [10, 10.2, 9.9, 10.1, 10, 9.8];
const quick = steady.map((gap) => gap / 1.5);

test("names a difference that is larger than the noise, in every metric", () => {
  expect(verdicts(level(steady), level(quick))).toEqual({
    outputTokensPerSecond: "faster",
    ttftMs: "faster",
    tpotMs: "faster",
    e2eMs: "faster",
  });
  expect(verdicts(level(quick), level(steady))["outputTokensPerSecond"]).toBe("slower");
});

test("claims nothing where the noise is as large as the difference, or there are too few slices", () => {
  const found = verdicts(level(steady), level([6, 14, 9, 12, 5, 13]));
  expect(new Set(Object.values(found))).toEqual(new Set(["no difference that this run can show"]));
  expect(verdicts(level(steady), level([10]))["outputTokensPerSecond"]).toBe("too few requests to tell");
});

test("claims nothing where a client was late, and compares equal loads only", () => {
  const late = level(quick, { faults: ["requests left 20 ms late"] });
  expect(verdicts(level(steady), late)["tpotMs"]).toBe("does not count: the client was late");
  expect(compareLevels([level(steady)], [level(quick, { asked: 2 })])).toEqual([]);
  const unknownRate = { kind: "open", asked: null } as const;
  expect(compareLevels([level(steady, unknownRate)], [level(quick, unknownRate)])).toEqual([]);
});

test("the ratio is that of the levels' own figures and lies inside its interval", () => {
  const [row] = compareLevels([level(steady)], [level([8, 8.3, 7.9, 8.1])]);
  expect(row!.level).toBe("1 in flight");
  expect(row!.ratio).toBeCloseTo(row!.compressed / row!.base, 12);
  expect(row!.numSlices).toEqual([6, 4]);
  expect(row!.ratioLow!).toBeLessThan(row!.ratio);
  expect(row!.ratioHigh!).toBeGreaterThan(row!.ratio);
});
