import { expect, test } from "vitest";
import { madeUpLevel, roundAt } from "../../../tests/made-up-comparison.ts";
import { generatorFor, normal } from "../../bench/random.ts";
import type { LoadLevel } from "../../records/load-level.ts";
import { compareLevels } from "./compare-levels.ts";

const slicesAt = (gaps: readonly number[]) =>
  gaps.map((gap) => ({
    numRequests: 1,
    outputTokensPerSecond: 1000 / gap,
    ttftMs: gap,
    tpotMs: gap,
    e2eMs: 8 * gap,
  }));

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
    rounds: [roundAt(1000 / mean)],
    outputTokensPerSecond: 1000 / mean,
    ttftMs: latency(1),
    tpotMs: latency(1),
    e2eMs: latency(8),
    slices: [slicesAt(gaps)],
    ...change,
  });
}

const quotients = [1.52, 1.49, 1.51, 1.48];
const drift = [100, 130, 90, 120];

test("four rounds by turns give the throughput's interval, from their pairs and not from their drift", () => {
  const before = level(steady, { rounds: drift.map(roundAt) });
  const after = level(quick, { rounds: drift.map((rate, round) => roundAt(rate * quotients[round]!)) });
  const [throughput, ttft] = compareLevels([before], [after]);
  expect(throughput).toMatchObject({ numPairedRounds: 4, verdict: "faster" });
  // Student's t of four logarithms: mean ln 1.4999, standard error 0.00609, 3.182 of them.
  expect(throughput!.ratioLow!).toBeLessThanOrEqual(1.4712);
  expect(throughput!.ratioHigh!).toBeGreaterThanOrEqual(1.5292);
  expect(throughput!.ratioHigh!).toBeLessThan(1.7);
  expect(ttft).toMatchObject({ metric: "ttftMs", numPairedRounds: null });
  const mixed = level(quick, { rounds: [150, 100, 140, 80].map(roundAt) });
  expect(compareLevels([before], [mixed])[0]!.verdict).toBe("no difference that this run can show");
  const two = level(quick, { rounds: [150, 195].map(roundAt) });
  const pair = level(steady, { rounds: [100, 130].map(roundAt) });
  expect(compareLevels([pair], [two])[0]!).toMatchObject({ numPairedRounds: null, verdict: "faster" });
});

test("two rounds that contradict each other show no difference, however steady each is", () => {
  const rounds = (...ttftMs: readonly number[]) =>
    ttftMs.map((ms) => ({ ...roundAt(1000 / ms), ttftMs: ms }));
  const [throughput, ttft, tpot] = compareLevels(
    [level(steady, { rounds: rounds(4, 12) })],
    [level(quick, { rounds: rounds(5, 3) })],
  );
  expect(throughput).toMatchObject({ ratioLow: 4 / 5, ratioHigh: 4 });
  expect(throughput!.verdict).toBe("no difference that this run can show");
  expect(ttft!.verdict).toBe("no difference that this run can show");
  // Of the rounds nothing is known here.
  expect(tpot!.verdict).toBe("faster");
});

test("sets the slices at the same place of each round beside each other: a burst at the start is no noise", () => {
  const [before, after] = [
    [
      [30, 10, 12],
      [30.3, 10.1],
    ],
    [
      [20, 6.7, 8],
      [19.8, 6.6, 8.1],
    ],
  ].map((rounds) => level(rounds.flat(), { slices: rounds.map(slicesAt) }));
  const [throughput] = compareLevels([before!], [after!]);
  expect(throughput).toMatchObject({ numSlices: [5, 6], verdict: "faster" });
  expect(throughput!.baseSpread!).toBeLessThan(0.05);
  // The slices of one round say nothing of what is noise and what is the burst.
  const ofOne = [before!, after!].map((each) => ({ ...each, slices: each.slices.slice(0, 1) }));
  expect(compareLevels([ofOne[0]!], [ofOne[1]!])[0]!.verdict).toBe("no difference that this run can show");
});

test("pools over the levels what two rounds say of the starts of a server", () => {
  const levelsOf = (gaps: readonly number[], pairs: readonly (readonly number[])[]) =>
    pairs.map((rates, index) => level(gaps, { asked: index + 1, rounds: rates.map(roundAt) }));
  const base = levelsOf(steady, [
    [100, 100],
    [100, 130],
    [100, 100],
  ]);
  const rows = (pairs: readonly (readonly number[])[]) =>
    compareLevels(base, levelsOf(quick, pairs)).filter(({ metric }) => metric === "outputTokensPerSecond");
  const [first, , third] = rows([
    [150, 150 * 1.06],
    [150, 195],
    [150, 150],
  ]);
  // One of three pairs differs, by 6 %: variance ln² 1.06 / 2 / 3, 3 degrees of freedom, means of two rounds.
  const half = 3.1824 * Math.sqrt(Math.log(1.06) ** 2 / 12);
  expect(Math.log(third!.ratioHigh! / third!.ratio)).toBeCloseTo(half, 4);
  // The second round alone says 1.59.
  expect(first!.ratioHigh!).toBeCloseTo(1.59, 9);
  // The level of one pair that differs by much makes all unsure.
  const unsure = rows([
    [150, 150],
    [150, 195],
    [150, 400],
  ]);
  expect(unsure.map(({ verdict }) => verdict)).toEqual(
    Array.from({ length: 3 }, () => "no difference that this run can show"),
  );
});

/** Two rounds of a level without any difference to others, of a burst and what follows it. */
function noisyLevel(asked: number, numSlices: number, ofStarts: number, random: () => number): LoadLevel {
  const slices = [0, 1].map(() => {
    const start = ofStarts * normal(random);
    const gaps = Array.from({ length: numSlices }, (_, place) =>
      Math.exp((place === 0 ? 1 : 0) + start + 0.03 * normal(random)),
    );
    return slicesAt(gaps);
  });
  const rates = slices.map((round) => 1000 / mean(round.map(({ tpotMs }) => tpotMs)));
  return level([1], {
    asked,
    slices,
    rounds: rates.map(roundAt),
    outputTokensPerSecond: Math.exp(mean(rates.map(Math.log))),
  });
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

test.each([0, 0.01, 0.04])(
  "two rounds hold the true ratio in 95 of 100 comparisons where starts differ by %d",
  (ofStarts) => {
    const random = generatorFor(3, 100 * ofStarts);
    const numSlices = [16, 12, 6, 2];
    const numHits = numSlices.map(() => 0);
    const numRuns = 1000;
    for (let run = 0; run < numRuns; run += 1) {
      const [base, other] = [0, 1].map(() =>
        numSlices.map((count, index) => noisyLevel(index + 1, count, ofStarts, random)),
      );
      const rows = compareLevels(base!, other!).filter(({ metric }) => metric === "outputTokensPerSecond");
      for (const [index, row] of rows.entries())
        if (row.ratioLow! <= 1 && row.ratioHigh! >= 1) numHits[index]! += 1;
    }
    // Two standard errors of a share of 95 % of 1,000 are 1.4 %.
    expect(Math.min(...numHits) / numRuns).toBeGreaterThan(0.936);
    expect(Math.max(...numHits) / numRuns).toBeLessThan(1);
  },
);

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
