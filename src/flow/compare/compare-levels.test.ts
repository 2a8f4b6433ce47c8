import { expect, test } from "vitest";
import { madeUpLevel, roundAt } from "../../../tests/made-up-comparison.ts";
import type { LoadLevel } from "../../records/load-level.ts";
import { compareLevels } from "./compare-levels.ts";
import { spreadOf } from "./level-spread.ts";

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
  const two = level(quick, { rounds: [150, 153].map(roundAt) });
  const pair = level(steady, { rounds: [100, 99].map(roundAt) });
  expect(compareLevels([pair], [two])[0]!).toMatchObject({ numPairedRounds: null, verdict: "faster" });
});

test("two rounds that contradict each other show no difference, however steady each is", () => {
  const rounds = (...ttftMs: readonly number[]) =>
    ttftMs.map((ms) => ({ ...roundAt(1000 / ms), ttftMs: ms }));
  const [throughput, ttft, tpot] = compareLevels(
    [level(steady, { rounds: rounds(4, 12) })],
    [level(quick, { rounds: rounds(5, 3) })],
  );
  expect(throughput!.ratioLow!).toBeLessThanOrEqual(4 / 5);
  expect(throughput!.ratioHigh!).toBeGreaterThanOrEqual(4);
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
  expect(spreadOf(before!).outputTokensPerSecond!).toBeLessThan(0.05);
  // The slices of one round say nothing of what is noise and what is the burst.
  const ofOne = [before!, after!].map((each) => ({ ...each, slices: each.slices.slice(0, 1) }));
  expect(compareLevels([ofOne[0]!], [ofOne[1]!])[0]!.verdict).toBe("no difference that this run can show");
});

test("at a rate the arrivals make the throughput, and its slices say nothing", () => {
  const rounds = [100, 100.1].map(roundAt);
  const [base, other] = [
    level(steady, { kind: "open", asked: 5, rounds }),
    level(quick, { kind: "open", asked: 5, rounds }),
  ];
  const [throughput, ttft] = compareLevels(
    [base!],
    [{ ...other!, outputTokensPerSecond: base!.outputTokensPerSecond }],
  );
  expect(throughput).toMatchObject({
    numSlices: [0, 0],
    verdict: "no difference that this run can show",
  });
  expect(throughput!.ratioHigh!).toBeLessThan(1.01);
  expect(spreadOf(base!)).toMatchObject({
    outputTokensPerSecond: null,
    ttftMs: expect.any(Number) as number,
  });
  expect(ttft).toMatchObject({ numSlices: [6, 6], verdict: "faster" });
});

test("claims nothing where more than one request of a hundred failed", () => {
  const failing = level(quick, { numRequests: 100, numErrors: 2 });
  expect(verdicts(level(steady), failing)["tpotMs"]).toBe("does not count: requests failed");
  expect(verdicts(failing, level(steady))["tpotMs"]).toBe("does not count: requests failed");
  const few = level(quick, { numRequests: 100, numErrors: 1 });
  expect(verdicts(level(steady), few)["tpotMs"]).toBe("faster");
});

test("a load of which every request failed is told with its fault, beside a base that answered", () => {
  const none = { outputTokensPerSecond: 0, ttftMs: null, tpotMs: null, e2eMs: null, slices: [] };
  const failed = madeUpLevel({
    ...none,
    numRequests: 11,
    numErrors: 11,
    rounds: [roundAt(0), roundAt(0)],
  });
  const answered = level(steady, { rounds: [100, 99].map(roundAt) });
  const noisy = [[answered], [level(quick, { rounds: [150, 140].map(roundAt) })]];
  expect(compareLevels([answered], [failed], noisy)).toEqual([
    expect.objectContaining({
      metric: "outputTokensPerSecond",
      compressed: 0,
      ratio: 0,
      ratioLow: null,
      ratioHigh: null,
      verdict: "does not count: requests failed",
    }),
  ]);
  // Nothing is a multiple of what the base did not answer.
  expect(compareLevels([failed], [answered])).toEqual([]);
});

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
  expect(verdicts(level(steady), level([10]))["outputTokensPerSecond"]).toBe("nothing to tell the noise by");
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
