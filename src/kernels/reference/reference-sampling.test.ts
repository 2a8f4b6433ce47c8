import { describe, expect, test } from "vitest";
import type { SamplingBatch, SamplingOutput } from "../sampling.ts";
import { sampleRows, scoreRows } from "./reference-sampling.ts";

function batchOf(numRows: number, rest: Partial<SamplingBatch> = {}): SamplingBatch {
  return {
    numRows,
    temperature: new Float32Array(numRows).fill(1),
    topK: new Int32Array(numRows),
    topP: new Float32Array(numRows).fill(1),
    minP: new Float32Array(numRows),
    seeds: Uint32Array.from({ length: numRows * 2 }, () => 42),
    counters: Uint32Array.from({ length: numRows * 2 }, (_, i) => (i % 2 === 0 ? i / 2 : 0)),
    biasStarts: new Int32Array(numRows + 1),
    biasIds: new Int32Array(0),
    biasValues: new Float32Array(0),
    penalties: Float32Array.from({ length: numRows * 3 }, (_, i) => (i % 3 === 0 ? 1 : 0)),
    historyRanges: new Int32Array(numRows * 3),
    historyIds: new Int32Array(0),
    historyCounts: new Int32Array(0),
    maskRows: new Int32Array(numRows).fill(-1),
    allowed: new Uint32Array(0),
    numLogprobs: new Int32Array(numRows),
    ...rest,
  };
}

function outputFor(numRows: number, maxLogprobs = 0): SamplingOutput {
  return {
    tokenIds: new Int32Array(numRows),
    logprobs: new Float32Array(numRows),
    ranks: new Int32Array(numRows),
    maxLogprobs,
    topIds: new Int32Array(numRows * maxLogprobs),
    topLogprobs: new Float32Array(numRows * maxLogprobs),
  };
}

/** `numRows` copies of one row. */
function repeat(row: readonly number[], numRows: number): Float32Array {
  return Float32Array.from({ length: row.length * numRows }, (_, i) => row[i % row.length]!);
}

const logits = [1, 3, 2, 3, -1];
const probability = (id: number): number =>
  Math.exp(logits[id]!) / logits.reduce((sum, logit) => sum + Math.exp(logit), 0);

/** How often each token is drawn in 4,000 draws with these parameters. */
function frequencies(rest: Partial<SamplingBatch>): number[] {
  const numRows = 4000;
  const out = outputFor(numRows);
  const fill = (value: number | undefined, fallback: number): Float32Array =>
    new Float32Array(numRows).fill(value ?? fallback);
  const batch = batchOf(numRows, {
    ...rest,
    temperature: fill(rest.temperature?.[0], 1),
    topP: fill(rest.topP?.[0], 1),
    minP: fill(rest.minP?.[0], 0),
    topK: new Int32Array(numRows).fill(rest.topK?.[0] ?? 0),
  });
  sampleRows(repeat(logits, numRows), logits.length, batch, out);
  const counts = logits.map(() => 0);
  for (const id of out.tokenIds) counts[id]! += 1 / numRows;
  return counts;
}

describe("sampling", () => {
  test("takes the lowest of equal ids when greedy, with its logprob and rank", () => {
    const out = outputFor(1, 3);
    const numLogprobs = Int32Array.of(3);
    sampleRows(repeat(logits, 1), 5, batchOf(1, { temperature: Float32Array.of(0), numLogprobs }), out);
    expect(out.tokenIds[0]).toBe(1);
    expect(out.ranks[0]).toBe(1);
    expect(out.logprobs[0]).toBeCloseTo(Math.log(probability(1)), 6);
    expect([...out.topIds]).toEqual([1, 3, 2]);
    expect(out.topLogprobs[2]).toBeCloseTo(Math.log(probability(2)), 6);
  });

  test("draws in proportion to the probabilities", () => {
    // Five standard deviations of 4,000 draws.
    for (const [id, frequency] of frequencies({}).entries()) {
      const p = probability(id);
      expect(Math.abs(frequency - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / 4000));
    }
  });

  test("keeps the first k with ties to the lowest id, and gives them all the weight", () => {
    const [zero, one, two, three, four] = frequencies({ topK: Int32Array.of(1) });
    expect([zero, one, two, three, four]).toEqual([0, expect.closeTo(1, 9), 0, 0, 0]);
    const pair = frequencies({ topK: Int32Array.of(2) });
    expect(pair[1]! + pair[3]!).toBeCloseTo(1, 9);
    expect(pair[1]!).toBeGreaterThan(0.45);
    expect(pair[3]!).toBeGreaterThan(0.45);
  });

  test("keeps the shortest prefix that reaches top-p, at least one token", () => {
    expect(frequencies({ topP: Float32Array.of(1e-6) })[1]).toBeCloseTo(1, 9);
    const kept = frequencies({ topP: Float32Array.of(probability(1) + 0.01) });
    expect(kept.map((x) => x > 0)).toEqual([false, true, false, true, false]);
  });

  test("drops what is less likely than min-p times the best", () => {
    const kept = frequencies({ minP: Float32Array.of(0.2) });
    expect(kept.map((x) => x > 0)).toEqual([false, true, true, true, false]);
  });

  test("goes by bias and mask but reports logprobs of the raw logits", () => {
    const out = outputFor(1);
    const batch = batchOf(1, {
      temperature: Float32Array.of(0),
      biasStarts: Int32Array.of(0, 2),
      biasIds: Int32Array.of(1, 0),
      biasValues: Float32Array.of(-Infinity, 10),
      maskRows: Int32Array.of(0),
      allowed: Uint32Array.of(0b11110),
    });
    sampleRows(repeat(logits, 1), 5, batch, out);
    expect(out.tokenIds[0]).toBe(3);
    expect(out.ranks[0]).toBe(2);
    expect(out.logprobs[0]).toBeCloseTo(Math.log(probability(3)), 6);
  });

  test("says −1 when no token is left", () => {
    for (const temperature of [0, 1]) {
      const out = outputFor(1);
      const batch = batchOf(1, {
        temperature: Float32Array.of(temperature),
        maskRows: Int32Array.of(0),
        allowed: Uint32Array.of(0),
      });
      sampleRows(repeat(logits, 1), 5, batch, out);
      expect(out.tokenIds[0]).toBe(-1);
      expect(out.logprobs[0]).toBeNaN();
    }
  });

  test("penalises as the formula says, drafts in place of the history, after the biases", () => {
    // Every id in turn gets the whole weight of a one-token choice by its penalised logit alone.
    const history: [id: number, count: number][] = [
      [0, 0],
      [1, 2],
      [2, 1],
      [4, 3],
    ];
    const drafts: [id: number, count: number][] = [
      [2, 2],
      [3, 1],
      [2, 3],
    ];
    const [repetition, frequency, presence] = [1.5, 0.25, 0.5];
    const bias = [0.5, 0, -1, 0, -2];
    const counts = new Map([...history, ...drafts]);
    const f = Math.fround;
    const expected = logits.map((logit, id) => {
      const x = logit + bias[id]!;
      const count = counts.get(id);
      if (count === undefined) return x;
      const repeated = f(x > 0 ? x / repetition : x * repetition);
      return repeated - frequency * count - (count > 0 ? presence : 0);
    });
    const entries = [...history, ...drafts];
    const batch = batchOf(1, {
      temperature: Float32Array.of(0),
      biasStarts: Int32Array.of(0, 5),
      biasIds: Int32Array.of(0, 1, 2, 3, 4),
      biasValues: Float32Array.from(bias),
      penalties: Float32Array.of(repetition, frequency, presence),
      historyRanges: Int32Array.of(0, 4, 7),
      historyIds: Int32Array.from(entries, ([id]) => id),
      historyCounts: Int32Array.from(entries, ([, count]) => count),
    });
    const order = [...expected.keys()].sort((a, b) => expected[b]! - expected[a]!);
    const remaining = new Set(expected.keys());
    for (const id of order) {
      const out = outputFor(1);
      const allowed = Uint32Array.of([...remaining].reduce((bits, each) => bits | (1 << each), 0));
      sampleRows(repeat(logits, 1), 5, { ...batch, maskRows: Int32Array.of(0), allowed }, out);
      expect(out.tokenIds[0]).toBe(id);
      remaining.delete(id);
    }
    // How far apart two of them are shows in how often each is drawn.
    const numRows = 4000;
    const pair = Uint32Array.of((1 << order[0]!) | (1 << order[2]!));
    const out = outputFor(numRows);
    const starts = Int32Array.from({ length: numRows + 1 }, (_, i) => i * 5);
    const tiled = <T extends Float32Array | Int32Array>(array: T, times: number): T =>
      (array.constructor as unknown as { from(values: Iterable<number>): T }).from(
        Array.from({ length: times }, () => [...array]).flat(),
      );
    sampleRows(
      repeat(logits, numRows),
      5,
      batchOf(numRows, {
        ...batch,
        numRows,
        temperature: new Float32Array(numRows).fill(1),
        topP: new Float32Array(numRows).fill(1),
        topK: new Int32Array(numRows),
        minP: new Float32Array(numRows),
        seeds: new Uint32Array(numRows * 2).fill(3),
        counters: Uint32Array.from({ length: numRows * 2 }, (_, i) => (i % 2 === 0 ? i / 2 : 0)),
        numLogprobs: new Int32Array(numRows),
        biasStarts: starts,
        biasIds: tiled(batch.biasIds, numRows),
        biasValues: tiled(batch.biasValues, numRows),
        penalties: tiled(batch.penalties, numRows),
        historyRanges: tiled(batch.historyRanges, numRows),
        maskRows: new Int32Array(numRows),
        allowed: pair,
      }),
      out,
    );
    const share = out.tokenIds.filter((id) => id === order[0]).length / numRows;
    const p = 1 / (1 + Math.exp(expected[order[2]!]! - expected[order[0]!]!));
    expect(Math.abs(share - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / numRows));
  });

  test("keeps finite logits finite, and bans banned, under any penalty", () => {
    for (const repetition of [1e-38, 3e38]) {
      const out = outputFor(1);
      const batch = batchOf(1, {
        temperature: Float32Array.of(1),
        biasStarts: Int32Array.of(0, 1),
        biasIds: Int32Array.of(1),
        biasValues: Float32Array.of(-Infinity),
        penalties: Float32Array.of(repetition, 0, 0),
        historyRanges: Int32Array.of(0, 5, 5),
        historyIds: Int32Array.of(0, 1, 2, 3, 4),
        historyCounts: Int32Array.of(1, 1, 1, 1, 1),
      });
      sampleRows(repeat([5, 9, -5, 7, 6], 1), 5, batch, out);
      expect([0, 3, 4]).toContain(out.tokenIds[0]);
    }
  });

  test("tells constraints that leave no token from logits that have none", () => {
    const batch = batchOf(2, { maskRows: Int32Array.of(0, 0), allowed: Uint32Array.of(0) });
    const out = outputFor(2);
    sampleRows(Float32Array.of(1, 2, NaN, -Infinity), 2, batch, out);
    expect([...out.ranks]).toEqual([-1, 0]);
  });

  test("draws the same token for a seed and counter in any row of any batch", () => {
    const alone = outputFor(1);
    const counters = Uint32Array.of(17, 2);
    sampleRows(repeat(logits, 1), 5, batchOf(1, { counters }), alone);
    const together = outputFor(40);
    const many = batchOf(40);
    many.counters.set(counters, 33 * 2);
    sampleRows(repeat(logits, 40), 5, many, together);
    expect(together.tokenIds[33]).toBe(alone.tokenIds[0]);
  });
});

test("scores targets with their logprob, the best id and the top ids", () => {
  const out = {
    logprobs: new Float32Array(3),
    argmax: new Int32Array(3),
    topK: 2,
    topIds: new Int32Array(6),
    topLogprobs: new Float32Array(6),
  };
  scoreRows(repeat(logits, 2), 5, Int32Array.of(4, 2), 1, out);
  expect(out.logprobs[1]).toBeCloseTo(Math.log(probability(4)), 6);
  expect(out.logprobs[2]).toBeCloseTo(Math.log(probability(2)), 6);
  expect([...out.argmax]).toEqual([0, 1, 1]);
  expect([...out.topIds]).toEqual([0, 0, 1, 3, 1, 3]);
});
