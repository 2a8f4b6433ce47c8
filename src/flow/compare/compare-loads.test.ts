import { expect, test } from "vitest";
import { madeUpLevel } from "../../../tests/made-up-comparison.ts";
import type { LoadLevel } from "../../records/load-level.ts";
import { parseSlo } from "../../records/slo.ts";
import { compareLoads } from "./compare-loads.ts";

/** A level of so many in flight, whose requests take so long per token after the first. */
function level(inFlight: number, tpotMs: number): LoadLevel {
  const latency = { count: 40, mean: tpotMs, p50: tpotMs, p90: tpotMs, p95: null, p99: null, weak: [] };
  return madeUpLevel({ kind: "closed", asked: inFlight, inFlight, tpotMs: latency });
}

const degradationOf = (...levels: LoadLevel[]) =>
  compareLoads([{ levels, kvCache: null }], []).degradation[0];

test("a time per token is followed from the lowest level to the highest", () => {
  expect(degradationOf(level(1, 10), level(5, 12), level(9, 30))).toMatchObject({
    ratio: 3,
    slopeMs: 2.5,
    levels: [{ ratio: 1 }, { ratio: 1.2 }, { ratio: 3 }],
  });
});

test("answers that came whole in one read are nothing to take multiples of", () => {
  expect(degradationOf(level(1, 0), level(5, 10), level(9, 30))).toMatchObject({
    first: { inFlight: 5 },
    ratio: 3,
  });
  expect(degradationOf(level(1, 0), level(5, 10))).toBeNull();
});

test("a load whose requests fail keeps no bound, however quick the others are", () => {
  const levels = [level(1, 10), { ...level(5, 12), numRequests: 100, numErrors: 40 }, level(9, 14)];
  const slo = parseSlo("tpot_p90<=1s");
  const { concurrency, violations } = compareLoads([{ levels, kvCache: null }], slo);
  expect(concurrency[0]!.withinSlo).toEqual({
    inFlight: 1,
    isLeastBroken: false,
    brokenAt: 5,
    highestKept: 9,
  });
  const broken = {
    level: "5 in flight",
    bound: "errors<=1%",
    valueMs: null,
    errorShare: 0.4,
    isPassing: true,
  };
  expect(violations).toMatchObject([[broken]]);
  expect(compareLoads([{ levels, kvCache: null }], []).violations).toEqual([[]]);
});

test("answers that were cut off may have broken a bound that the others keep, and mend none that they break", () => {
  const cut = { ...level(5, 12), numRequests: 43, numCensored: 3 };
  const compared = (each: LoadLevel, slo: string) =>
    compareLoads([{ levels: [each], kvCache: null }], parseSlo(slo));
  const within = (each: LoadLevel, slo: string) => compared(each, slo).concurrency[0]!.withinSlo;
  const kept = { inFlight: 5, isLeastBroken: false, brokenAt: null, highestKept: 5 };
  expect(within({ ...cut, numCensored: 0 }, "tpot_p90<=15ms")).toEqual(kept);
  // 3 of 43 are more than the percentile 95 leaves out of all, and the 99 is not known.
  expect(within(cut, "tpot_p90<=15ms")).toBeNull();
  const known = (p99: number): LoadLevel => ({ ...cut, tpotMs: { ...cut.tpotMs!, p99 } });
  expect(within(known(14), "tpot_p90<=15ms")).toEqual(kept);
  expect(within(known(16), "tpot_p90<=15ms")).toBeNull();
  expect(within(cut, "tpot_p90<=11ms")).toMatchObject({ inFlight: null, brokenAt: 5 });
  expect(compared(cut, "tpot_p90<=11ms").violations).toMatchObject([[{ valueMs: 12 }]]);
});

test("a least load that cannot be judged is not said to break a bound that the next one breaks", () => {
  const weak = level(1, 10);
  const unjudged: LoadLevel = { ...weak, tpotMs: { ...weak.tpotMs!, weak: ["p90"] } };
  const within = (...levels: LoadLevel[]) =>
    compareLoads([{ levels, kvCache: null }], parseSlo("tpot_p90<=11ms")).concurrency[0]!.withinSlo;
  const none = { inFlight: null, highestKept: null };
  expect(within(unjudged, level(4, 12))).toEqual({ ...none, isLeastBroken: false, brokenAt: 4 });
  expect(within(level(1, 12), unjudged, level(4, 12))).toEqual({
    ...none,
    isLeastBroken: true,
    brokenAt: 1,
  });
});
