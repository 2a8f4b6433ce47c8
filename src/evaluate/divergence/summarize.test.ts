import { expect, test } from "vitest";
import { summarizeDivergences } from "./summarize.ts";
import { addDivergence, type TokenDivergences, TokenPrediction } from "./token-divergence.ts";

function emptyFor(numTokens: number, windowSizes: readonly number[]): TokenDivergences {
  return {
    kl: new Float64Array(numTokens),
    isSameTop: new Uint8Array(numTokens),
    lossA: new Float64Array(numTokens),
    lossB: new Float64Array(numTokens),
    windowSizes,
  };
}

function predict(logits: Float32Array, target: number): TokenPrediction {
  const prediction = new TokenPrediction(logits.length);
  prediction.read(logits, target);
  return prediction;
}

test("gives the divergence of distributions that are known", () => {
  const found = emptyFor(1, [1]);
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = ½ ln 2 − ¼ ln 2. Any constant may be added to logits.
  const a = Float32Array.from([2, 1, 1], (p) => Math.log(p) + 40);
  const b = Float32Array.from([1, 2, 1], (q) => Math.log(q) - 7);
  addDivergence(found, 0, predict(a, 1), b);
  expect(found.kl[0]).toBeCloseTo(0.25 * Math.LN2, 5);
  expect(found.isSameTop[0]).toBe(0);
  expect(found.lossA[0]).toBeCloseTo(Math.log(4), 5);
  expect(found.lossB[0]).toBeCloseTo(Math.log(2), 5);
});

test("is infinite where B rules out what A does not, and finite the other way round", () => {
  const found = emptyFor(2, [2]);
  const all = Float32Array.of(0, 0);
  const one = Float32Array.of(0, -Infinity);
  addDivergence(found, 0, predict(all, 0), one);
  addDivergence(found, 1, predict(one, 0), all);
  expect(found.kl[0]).toBe(Infinity);
  expect(found.kl[1]).toBeCloseTo(Math.LN2, 12);
});

test("takes windows as the unit of the errors where there are ten", () => {
  const sizes = Array.from({ length: 10 }, () => 4);
  const found = emptyFor(40, sizes);
  // Equal inside each window: the tokens of a window say the same thing four times.
  for (let i = 0; i < 40; i += 1) found.kl[i] = Math.floor(i / 4);
  const { kl, errorsOver } = summarizeDivergences(found);
  expect(errorsOver).toBe("windows");
  const deviation = Math.sqrt([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].reduce((sum, x) => sum + (x - 4.5) ** 2, 0) / 9);
  expect(kl.standardError).toBeCloseTo(deviation / Math.sqrt(10), 12);
});
