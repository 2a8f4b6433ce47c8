import { expect, test } from "vitest";
import { madeUpVariant } from "../../tests/made-up-comparison.ts";
import type { AccuracyRow, SpeedRow, Variant } from "../records/comparison.ts";
import { pairVerdict, qualityVerdict } from "./verdict.ts";

function taskOf(task: string, recoveryLow: number, recoveryHigh: number): AccuracyRow {
  const figures = { base: 0.8, compressed: 0.79, recovery: 0.99, recoveryLow, recoveryHigh };
  return {
    task,
    parent: null,
    metric: "acc",
    numFlips: null,
    pValue: null,
    ...figures,
  } as unknown as AccuracyRow;
}

test("of a mixture, says in how many tasks a difference is small and in how many it is not known", () => {
  const rows = [taskOf("near", 0.992, 0.999), taskOf("wide", 0.9, 1.1), taskOf("wider", 0.8, 1.2)];
  expect(qualityVerdict(rows, [])).toMatch(
    /^Quality: no difference above 1 % in 1 of 3 tasks; undetermined in 2, where any cost is inside the noise of these documents: near .*, equivalent; wide .*, undetermined; wider .*, undetermined\.$/,
  );
});

test("the sentence of speed has the greatest load that tells the two apart", () => {
  const speed = [1, 2, 4, 8, 16].map((count) => ({
    level: `${count} in flight`,
    metric: "outputTokensPerSecond",
    base: 10,
    compressed: 15,
    ratioLow: null,
    ratioHigh: null,
    verdict: count === 2 || count === 4 ? "faster" : "no difference that this run can show",
  })) as SpeedRow[];
  const [, sentence] = pairVerdict(madeUpVariant("base"), madeUpVariant("w8a8"), {
    accuracy: [],
    unpaired: [],
    speed,
  });
  expect(sentence!.match(/with \d+ in flight/g)).toEqual(
    [1, 4, 16].map((count) => `with ${count} in flight`),
  );
});

test("a variant that failed in a later round keeps what the rounds before it said, and tells the failure", () => {
  const speed = [
    {
      level: "4 in flight",
      metric: "outputTokensPerSecond",
      base: 10,
      compressed: 15,
      ratioLow: null,
      ratioHigh: null,
      verdict: "faster",
    },
  ] as SpeedRow[];
  const failure = { kind: "ended by itself", message: "w8a8 ended by itself." };
  const serving = { numRounds: 1 } as Variant["serving"];
  const told = (rows: SpeedRow[]): string | undefined =>
    pairVerdict(madeUpVariant("base"), madeUpVariant("w8a8", { failure, serving }), {
      accuracy: [],
      unpaired: [],
      speed: rows,
    }).at(-1);
  expect(told(speed)).toMatch(
    /^Speed: 15\.0 instead of 10\.0 .*, faster\. This is from the round before it failed\. w8a8 ended by itself\.$/,
  );
  expect(told([])).toBe("Speed: not measured. w8a8 ended by itself.");
});

test("a load that one of both answered nothing of is not said to be one that it was not given", () => {
  const said = (speed: SpeedRow[]): string | undefined =>
    pairVerdict(madeUpVariant("base"), madeUpVariant("w8a8"), { accuracy: [], unpaired: [], speed }).at(-1);
  expect(said([])).toBe("Speed: no load that both were given and answered.");
  const failed = {
    level: "4 in flight",
    metric: "outputTokensPerSecond",
    base: 821,
    compressed: 0,
    ratioLow: null,
    ratioHigh: null,
    verdict: "does not count: requests failed",
  } as SpeedRow;
  expect(said([failed])).toBe(
    "Speed: 0.0 instead of 821 output tokens/s with 4 in flight (0.00 ×), does not count: requests failed.",
  );
});
