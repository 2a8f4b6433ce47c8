import { expect, test } from "vitest";
import { madeUpLevel, madeUpVariant } from "../../../tests/made-up-comparison.ts";
import type { AccuracyRow, Pair, SpeedRow, Variant } from "../../records/comparison.ts";
import type { LoadComparison } from "../../records/load-comparison.ts";
import { recommend } from "./recommend.ts";

const aim = { minRecovery: 0.99, budgets: new Map() };
const base = madeUpVariant("base", { weights: "bfloat16", sizeBytes: 1000 });

/** A variant of this share of the base's size, with its recovery and half its interval, and its speed. */
function made(
  name: string,
  facts: {
    size: number;
    recovery?: readonly [share: number, half: number];
    ratio?: number;
    interval?: readonly [low: number, high: number];
    verdict?: SpeedRow["verdict"];
    level?: string;
  },
): { readonly variant: Variant; readonly pair: Pair } {
  const { size, recovery, ratio = 1.93, verdict = "faster", level = "25 in flight" } = facts;
  const row = {
    task: "quiz",
    parent: null,
    metric: "acc",
    base: 0.5,
    baseStderr: 0.05,
    recovery: recovery?.[0],
    recoveryLow: recovery === undefined ? null : recovery[0] - recovery[1],
    recoveryHigh: recovery === undefined ? null : recovery[0] + recovery[1],
    numFlips: null,
    pValue: null,
  } as unknown as AccuracyRow;
  const [ratioLow, ratioHigh] = facts.interval ?? [null, null];
  const figures = { ratio, ratioLow, ratioHigh, verdict };
  const speed = { level, metric: "outputTokensPerSecond", ...figures } as SpeedRow;
  const pair = {
    variant: name,
    accuracy: recovery === undefined ? [] : [row],
    unpaired: [],
    changed: [],
    speed: [speed],
    verdict: [],
  };
  return { variant: madeUpVariant(name, { weights: name, sizeBytes: 1000 * size }), pair };
}

const noBounds = { slo: [], concurrency: [] } as unknown as LoadComparison;

function advice(...others: readonly ReturnType<typeof made>[]) {
  const variants = [base, ...others.map(({ variant }) => variant)];
  return recommend({ variants, pairs: others.map(({ pair }) => pair), load: noBounds }, aim);
}

test("recommends nothing that fails requests, and says what failed", () => {
  const good = made("w8a8", { size: 0.51, recovery: [0.998, 0.004] });
  const { variant, pair } = made("w4a8", { size: 0.3, recovery: [0.998, 0.004], ratio: 3 });
  const levels = [madeUpLevel({ asked: 25, numRequests: 1038, numErrors: 524 })];
  const failing = { variant: { ...variant, levels }, pair };
  expect(advice(good, failing)).toMatchObject({
    variant: "w8a8",
    text: expect.stringMatching(
      / w4a8 failed 524 of 1038 requests at 25 in flight: look at its log/,
    ) as string,
  });
  expect(advice(failing)).toMatchObject({
    variant: null,
    text: expect.stringContaining("w4a8 did not answer its requests. w4a8 failed") as string,
  });
});

test("names the fastest that keeps the quality, with speed, size and recovery", () => {
  const w8a8 = made("w8a8", { size: 0.51, recovery: [0.998, 0.004], interval: [1.85, 2.01] });
  const w4 = made("w4a8", { size: 0.3, recovery: [0.9, 0.02], ratio: 2.5 });
  expect(advice(w8a8, w4)).toEqual({
    variant: "w8a8",
    text: "w8a8: 1.9× (1.85 to 2.01) the throughput at 25 in flight, 51 % of the size on disk, recovery 99.8 % ± 0.4; use it. w4a8: 2.5× the throughput at 25 in flight, 30 % of the size on disk, recovery 90.0 % ± 2.0; too much lost.",
  });
});

test("ranks all at one load: the greatest that tells any of them from the base", () => {
  const early = made("early", { size: 0.5, recovery: [1, 0.002], ratio: 3, level: "4 in flight" });
  const late = made("late", { size: 0.6, recovery: [1, 0.002], ratio: 1.5 });
  const unclear = {
    ...late.pair.speed[0]!,
    ratio: 1.1,
    verdict: "no difference that this run can show" as const,
  };
  early.pair.speed.push(unclear);
  late.pair.speed.unshift({ ...unclear, level: "4 in flight" });
  const { variant, text } = advice(early, late);
  expect(variant).toBe("late");
  expect(text).toContain("early: 1.1× the throughput at 25 in flight");
});

test("says that greater loads than the one that tells showed no difference", () => {
  const told = made("w8a8", { size: 0.5, recovery: [1, 0.001], ratio: 1.4, level: "4 in flight" });
  const unclear = made("", { size: 1, ratio: 0.98, interval: [0.67, 1.45] }).pair.speed[0]!;
  told.pair.speed.push({ ...unclear, verdict: "no difference that this run can show" });
  expect(advice(told).text).toMatch(
    /1\.4× the throughput at 4 in flight.*; use it\. At the greatest load that counts, 25 in flight, it is 0\.98× \(0\.67 to 1\.45\): no difference that this run can show\.$/,
  );
});

test("recommends nothing where the base is somebody else's server", () => {
  const { variant, pair } = made("w8a8", { size: 0.5, recovery: [1, 0.001] });
  const address = madeUpVariant("http://other:80", { weights: null });
  const evidence = { variants: [address, variant], pairs: [pair], load: noBounds };
  expect(recommend(evidence, aim)).toEqual({
    variant: null,
    text: expect.stringMatching(/^Nothing is recommended: http:\/\/other:80, .* --engine first/) as string,
  });
});

test("takes the limits of a budget for its quality where no tasks were asked", () => {
  const { variant, pair } = made("budget-q4_0", { size: 0.5 });
  const evidence = { variants: [base, variant], pairs: [pair], load: noBounds };
  const textOf = (text: string, isBounded: boolean) =>
    recommend(evidence, { ...aim, budgets: new Map([[variant.name, { text, isBounded }]]) }).text;
  expect(textOf("KL 0.0486 on wiki.txt, within kl<=0.05", true)).toMatch(
    /50 % of the size on disk, KL 0\.0486 on wiki\.txt, within kl<=0\.05; use it\.$/,
  );
  expect(textOf("KL 0.9 on wiki.txt, size 80 MB, within size<=95MB", false)).toMatch(
    /, KL 0\.9 on wiki\.txt, .*; use it once its quality on tasks is measured\.$/,
  );
});

test("says where quality is inside the noise, not measured, or lost in a task", () => {
  expect(advice(made("a", { size: 0.5, recovery: [0.994, 0.03] })).text).toMatch(
    /recovery 99\.4 % ± 3\.0; use it; what it costs in quality is inside the noise of so few documents\.$/,
  );
  expect(advice(made("a", { size: 0.5 })).text).toMatch(
    /quality not measured; use it once its quality is measured\.$/,
  );
  expect(advice(made("a", { size: 0.5, recovery: [0.995, 0.002] })).text).toMatch(
    /recovery 99\.5 % ± 0\.2; use it\.$/,
  );
  const { variant, pair } = made("a", { size: 0.5, recovery: [1.004, 0.002] });
  const lost = {
    ...pair.accuracy[0]!,
    task: "sums",
    recovery: 0.98,
    recoveryLow: 0.979,
    recoveryHigh: 0.981,
  };
  expect(advice({ variant, pair: { ...pair, accuracy: [...pair.accuracy, lost] } }).text).toMatch(
    /recovery 99\.2 % ± 0\.1; use it, if you can bear the loss in sums\.$/,
  );
});

test("among those that seem to keep too little, names the one that keeps most, not the fastest", () => {
  const w8 = made("w8a8", { size: 0.6, recovery: [0.96, 0.12], ratio: 2 });
  const w4 = made("w4a8", { size: 0.4, recovery: [0.84, 0.18], ratio: 2.6 });
  expect(advice(w8, w4)).toMatchObject({ variant: "w8a8" });
});

test("says of every other why it is not the one", () => {
  const best = made("w8a8", { size: 0.5, recovery: [1, 0.001], ratio: 2 });
  const others = [
    made("slow", { size: 0.4, recovery: [1, 0.001], ratio: 0.5, verdict: "slower" }),
    made("vague", { size: 0.4, recovery: [0.97, 0.1], ratio: 3 }),
    made("small", { size: 0.3, recovery: [1, 0.001], ratio: 1.5 }),
    made("large", { size: 0.9, recovery: [1, 0.001], ratio: 1.5 }),
  ];
  const { text } = advice(best, ...others);
  expect(text).toMatch(/ slow: [^;]*; slower\./);
  expect(text).toMatch(/ vague: [^;]*; it seems to lose too much, which so few documents cannot prove\./);
  expect(text).toMatch(/ small: [^;]*; the one to take where memory counts more than speed\./);
  expect(text).toMatch(/ large: [^;]*; it shows no gain over w8a8\.$/);
});

test("of several that this run cannot tell apart takes the smallest, one that keeps the quality first", () => {
  const w8 = made("w8a8", { size: 0.6, recovery: [1, 0.002], ratio: 1.82, interval: [1.42, 2.32] });
  const q4 = made("q4", { size: 0.4, recovery: [1, 0.002], ratio: 1.76, interval: [1.38, 2.26] });
  expect(advice(w8, q4)).toMatchObject({ variant: "q4" });
  const vague = made("q4", { size: 0.4, recovery: [1, 0.2], ratio: 1.76, interval: [1.38, 2.26] });
  expect(advice(w8, vague)).toMatchObject({ variant: "w8a8" });
  const slow = made("q4", { size: 0.4, recovery: [1, 0.002], ratio: 1.2, interval: [1.1, 1.3] });
  expect(advice(w8, slow)).toMatchObject({ variant: "w8a8" });
});

test("says up to what load the bounds are kept", () => {
  const { variant, pair } = made("w8a8", { size: 0.5, recovery: [1, 0.001], ratio: 2 });
  const judged = (withinSlo: object | null): string => {
    const concurrency = [{ withinSlo: null }, { withinSlo }];
    const load = { slo: [{ text: "ttft_p90<=500ms" }], concurrency } as unknown as LoadComparison;
    return recommend({ variants: [base, variant], pairs: [pair], load }, aim).text;
  };
  const figures = { isLeastBroken: false, brokenAt: 16, highestKept: null };
  expect(judged({ ...figures, inFlight: 4 })).toMatch(
    /use it\. It keeps ttft_p90<=500ms up to 4 in flight\.$/,
  );
  const none = { ...figures, inFlight: null };
  expect(judged({ ...none, isLeastBroken: true })).toMatch(/But it breaks ttft_p90<=500ms at the least load/);
  expect(judged(none)).toMatch(/But it breaks ttft_p90<=500ms at 16 in flight; below that .* not be judged/);
  expect(judged(null)).toMatch(/could not be judged: too few requests ended\.$/);
});

test("prefers the smallest where none is faster, and the base where nothing is gained", () => {
  const none = "no difference that this run can show" as const;
  const small = made("small", { size: 0.5, recovery: [1, 0.001], ratio: 1, verdict: none });
  const smaller = made("smaller", { size: 0.3, recovery: [1, 0.001], ratio: 1, verdict: none });
  expect(advice(small, smaller)).toMatchObject({
    variant: "smaller",
    text: expect.stringContaining("use it where memory counts; it is not shown to be faster") as string,
  });
  const slower = made("w2", { size: 0.2, recovery: [0.5, 0.1], ratio: 0.5, verdict: "slower" });
  expect(advice(slower)).toMatchObject({
    variant: "base",
    text: expect.stringMatching(
      /^base: stay with it, no other keeps 99 % of the quality\. w2: 0\.5× /,
    ) as string,
  });
});

test("does not say to stay with a base that could not be served, or that fails requests", () => {
  const { variant, pair } = made("q2_k", { size: 0.2, recovery: [0.5, 0.1] });
  const choose = (first: Partial<Variant>) =>
    recommend(
      { variants: [{ ...base, ...first }, variant], pairs: [{ ...pair, speed: [] }], load: noBounds },
      aim,
    );
  const failure = { kind: "cannot read the model", message: "x" };
  expect(choose({ failure })).toEqual({
    variant: null,
    text: expect.stringMatching(
      /^Nothing is recommended: base could not be measured, and no other keeps 99 % of the quality\. q2_k: 20 % /,
    ) as string,
  });
  const serving = { numRounds: 1 } as Variant["serving"];
  expect(choose({ failure, serving }).text).toContain("base failed in a later round, and no other");
  const levels = [madeUpLevel({ numRequests: 100, numErrors: 60 })];
  expect(choose({ levels })).toMatchObject({
    variant: null,
    text: expect.stringContaining("base did not answer its requests, and no other") as string,
  });
});

test("chooses nothing where nothing could be measured", () => {
  const { variant, pair } = made("a", { size: 1 });
  const failed = { variant: { ...variant, failure: { kind: "slow to start", message: "x" } }, pair };
  expect(advice(failed)).toEqual({
    variant: null,
    text: "Nothing to choose from beside base: a could not be measured.",
  });
});

test("does not say of what has figures that it could not be measured", () => {
  const { variant, pair } = made("a", { size: 1 });
  const serving = { numRounds: 1 } as Variant["serving"];
  const died = { ...variant, serving, failure: { kind: "ended by itself", message: "x" } };
  expect(advice({ variant: died, pair }).text).toBe(
    "Nothing to choose from beside base: a failed in a later round.",
  );
  const address = madeUpVariant("http://other:80", { weights: null });
  expect(advice({ variant: address, pair: { ...pair, variant: address.name } }).text).toBe(
    "Nothing to choose from beside base: http://other:80 is a server that somebody else started, with a model of its own.",
  );
});

test("of one that is only smaller and has no quality yet, says what is to be done first", () => {
  const verdict = "no difference that this run can show";
  expect(advice(made("small", { size: 0.5, ratio: 1, verdict })).text).toMatch(
    /; it is not shown to be faster; where memory counts, measure its quality, then use it\.$/,
  );
});
