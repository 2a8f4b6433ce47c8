import fc from "fast-check";
import { expect, test } from "vitest";
import { createServedFake } from "../../tests/served-fake.ts";
import type { EngineStats } from "../protocol/engine-client.ts";
import { speculationAdvice, speculationLine } from "./speculation-log.ts";

/** Figures after guesses of which so many were right at each position. */
async function statsAfter(drafted: number[], accepted: number[]): Promise<EngineStats> {
  const sum = (counts: number[]): number => counts.reduce((total, count) => total + count, 0);
  return {
    ...(await createServedFake().client.stats()),
    numDrafts: drafted[0] ?? 0,
    numDraftTokens: sum(drafted),
    numAcceptedTokens: sum(accepted),
    numDraftTokensPerPos: [...drafted, 0],
    numAcceptedTokensPerPos: [...accepted, 0],
  };
}

test("writes vLLM's line about the guesses since the last one", async () => {
  const none = await statsAfter([], []);
  const first = await statsAfter([100, 50], [90, 10]);
  const second = await statsAfter([200, 100], [170, 50]);
  expect(speculationLine(none, none, 10)).toBeNull();
  expect(speculationLine(second, second, 10)).toBeNull();
  expect(speculationLine(first, second, 10)).toBe(
    "SpecDecoding metrics: Mean acceptance length: 2.20, Accepted throughput: 12.00 tokens/s, Drafted throughput: " +
      "15.00 tokens/s, Accepted: 120 tokens, Drafted: 150 tokens, Per-position acceptance rate: 0.800, 0.800, " +
      "Avg Draft acceptance rate: 80.0%",
  );
});

test("advises by the share of right guesses: below 40, 60 and 80 %", async () => {
  const none = await statsAfter([], []);
  const adviceFor = async (drafted: number[], accepted: number[]): Promise<string | null> =>
    speculationAdvice(none, await statsAfter(drafted, accepted));
  expect(await adviceFor([100, 100], [50, 29])).toMatch(/^39% .* below 40% .*leave out --spec-method/);
  expect(await adviceFor([100, 100], [55, 25])).toMatch(/^40% .* below 60% .*--spec-tokens 1,/);
  expect(await adviceFor([100, 100, 100], [70, 60, 40])).toMatch(/^56% .* below 60% .*--spec-tokens 2,/);
  expect(await adviceFor([100, 100], [48, 45])).toMatch(/^46% .*--spec-tokens 1,/);
  expect(await adviceFor([100, 100, 100], [90, 80, 30])).toMatch(/^66% .* below 80% .*--spec-tokens 2 /);
  expect(await adviceFor([100, 100], [85, 74])).toMatch(/^79% .* below 80% .*--spec-model/);
  expect(await adviceFor([100, 100], [85, 75])).toBeNull();
});

test("says nothing of few guesses, and looks at those since the last line only", async () => {
  const none = await statsAfter([], []);
  expect(speculationAdvice(none, await statsAfter([99], [0]))).toBeNull();
  const bad = await statsAfter([1000], [0]);
  expect(speculationAdvice(bad, await statsAfter([1200], [200]))).toBeNull();
  expect(speculationAdvice(bad, await statsAfter([1200], [20]))).toContain("10%");
});

test("advice has one sentence of what was seen and one of what to do, whatever the counts", async () => {
  const none = await statsAfter([], []);
  const counts = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0, max: 1, noNaN: true })),
    {
      minLength: 1,
      maxLength: 16,
    },
  );
  await fc.assert(
    fc.asyncProperty(counts, async (some) => {
      const drafted = some.map(([made]) => made);
      const after = await statsAfter(
        drafted,
        some.map(([made, share]) => Math.floor(made * share)),
      );
      const share = after.numAcceptedTokens / after.numDraftTokens;
      const advice = speculationAdvice(none, after);
      if (share >= 0.8 || after.numDraftTokens < 100) expect(advice).toBeNull();
      else expect(advice).toMatch(/^\d+% of the guessed tokens were right: below (40|60|80)% .*--spec-/);
    }),
  );
});
