import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { Ops } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import type { SamplingBatch, SamplingOutput, ScoreOutput } from "../sampling.ts";
import { createNativeOps } from "./native-ops.ts";
import {
  f32Weight,
  plainBatch,
  type RowSampling,
  randomFloats,
  runOnRows,
  samplingBatch,
  samplingOutput,
} from "./test-batches.ts";

const { addon } = loadAddon();
const isas = addon?.listIsas() ?? [];
/** f32 log-probabilities of magnitude up to 30. */
const maxLogprobError = 4e-6;

function sampleRows(ops: Ops, logits: Float32Array, vocab: number, batch: SamplingBatch): SamplingOutput {
  const out = samplingOutput(batch.numRows, 20);
  runOnRows(ops, logits, vocab, (x) => {
    ops.sample(x, batch, out);
    return x;
  });
  return out;
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce(
    (worst, value, i) => (Object.is(value, b[i]) ? worst : Math.max(worst, Math.abs(value - b[i]!))),
    0,
  );
}

describe.skipIf(addon === undefined).each(isas)("sampling on %s", (isa) => {
  const native = createNativeOps(addon!, { isa, numThreads: 2 });
  const reference = createReferenceOps({ numThreads: 1 });
  afterAll(() => {
    native.close();
    reference.close();
  });

  function compare(logits: Float32Array, vocab: number, batch: SamplingBatch): void {
    const actual = sampleRows(native, logits, vocab, batch);
    const expected = sampleRows(reference, logits, vocab, batch);
    expect(actual.tokenIds).toEqual(expected.tokenIds);
    expect(actual.ranks).toEqual(expected.ranks);
    expect(actual.topIds).toEqual(expected.topIds);
    expect(largestDifference(actual.logprobs, expected.logprobs)).toBeLessThanOrEqual(maxLogprobError);
    expect(largestDifference(actual.topLogprobs, expected.topLogprobs)).toBeLessThanOrEqual(maxLogprobError);
  }

  const rows: RowSampling[] = [
    { numLogprobs: 20 },
    { temperature: 1, seed: 1, numLogprobs: 3 },
    { temperature: 0.7, topP: 0.9, seed: 2 },
    { temperature: 1.5, topK: 40, seed: 3, numLogprobs: 1 },
    { temperature: 2, topK: 50, topP: 0.5, seed: 4 },
    { temperature: 1, minP: 0.05, seed: 5 },
    { temperature: 1, minP: 0.01, topK: 7, topP: 0.8, seed: 6 },
    { temperature: 100, seed: 7 },
    { temperature: 0.01, seed: 8 },
    { temperature: 1, topK: 1, seed: 9, bias: [[3, 100]] },
    {
      bias: [
        [0, -Infinity],
        [5, 40],
      ],
    },
    { temperature: 1, topK: 100000, seed: 10 },
    {
      repetition: 1.3,
      history: [
        [1, 0],
        [2, 0],
        [4, 3],
      ],
    },
    {
      temperature: 1,
      frequency: 0.7,
      presence: -1.5,
      history: [
        [0, 0],
        [5, 2],
        [6, 1],
      ],
      seed: 11,
      topP: 0.9,
    },
  ];

  test.each([7, 100, 4099, 49153])("draws what the reference draws from a vocabulary of %i", (vocab) => {
    const logits = randomFloats(rows.length * vocab, vocab, 8);
    compare(logits, vocab, samplingBatch(rows));
  });

  test("masked rows draw allowed tokens only, and a row without any says so", () => {
    const vocab = 75;
    const allowed = new Uint32Array(rows.length * 3);
    for (let row = 1; row < rows.length; row += 1) allowed.set([0x10204080, 0xf0, row], row * 3);
    const batch = samplingBatch(rows, allowed);
    const logits = randomFloats(rows.length * vocab, 4, 5);
    compare(logits, vocab, batch);
    expect(sampleRows(native, logits, vocab, batch).tokenIds[0]).toBe(-1);
  });

  test("masks apply to the rows that name them", () => {
    const vocab = 45;
    const logits = randomFloats(3 * vocab, 9, 5);
    const batch = samplingBatch([{}, {}, {}]);
    const masked = {
      ...batch,
      maskRows: Int32Array.of(1, -1, 0),
      allowed: Uint32Array.of(1 << 7, 0, 0, 1 << 12),
    };
    const free = sampleRows(native, logits, vocab, batch).tokenIds[1];
    expect([...sampleRows(native, logits, vocab, masked).tokenIds]).toEqual([44, free, 7]);
    compare(logits, vocab, masked);
  });

  test("ties break to the lowest id", () => {
    const logits = new Float32Array(3 * 40).fill(1.5);
    const batch = samplingBatch([
      { numLogprobs: 4 },
      { temperature: 1, topK: 3, seed: 1 },
      { temperature: 1, topP: 0.125 },
    ]);
    const out = sampleRows(native, logits, 40, batch);
    expect(out.tokenIds[0]).toBe(0);
    expect([...out.topIds.subarray(0, 4)]).toEqual([0, 1, 2, 3]);
    expect(out.tokenIds[1]).toBeLessThan(3);
    expect(out.tokenIds[2]).toBeLessThan(5);
    compare(logits, 40, batch);
  });

  test("any parameters draw what the reference draws", () => {
    const entry = fc.tuple(fc.nat(19), fc.nat(5));
    const row = fc.record({
      temperature: fc.constantFrom(0, 0.3, 1, 1.7),
      topK: fc.constantFrom(0, 1, 5, 50),
      topP: fc.constantFrom(0.05, 0.5, 0.95, 1),
      minP: fc.constantFrom(0, 0.02, 0.5),
      bias: fc.array(fc.tuple(fc.nat(19), fc.constantFrom(-Infinity, -3, 0.5, 20)), { maxLength: 4 }),
      repetition: fc.constantFrom(1, 1.2, 0.5, 3),
      frequency: fc.constantFrom(0, 0.4, -2),
      presence: fc.constantFrom(0, 1.1, -0.3),
      history: fc.uniqueArray(entry, { maxLength: 12, selector: ([id]) => id }),
      drafts: fc.array(entry, { maxLength: 4 }),
      seed: fc.nat(),
      outputIndex: fc.nat(1000),
      numLogprobs: fc.nat(20),
    });
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 20, max: 700 }),
        fc.nat(),
        (some, vocab, seed) => {
          compare(randomFloats(some.length * vocab, seed, 6), vocab, samplingBatch(some));
        },
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  test("the logits are as before once tokens are drawn", () => {
    const vocab = 200;
    const before = randomFloats(rows.length * vocab, 3, 8);
    const after = runOnRows(native, before, vocab, (x) => {
      native.sample(
        x,
        samplingBatch(rows, new Uint32Array(rows.length * 7).fill(0x55555555)),
        samplingOutput(rows.length, 20),
      );
      return x;
    });
    expect(after).toEqual(before);
  });

  test("refuses ids and ranges outside their arrays", () => {
    const plain = samplingBatch([{ history: [[1, 1]], bias: [[1, 1]] }]);
    const wrong: Partial<SamplingBatch>[] = [
      { biasIds: Int32Array.of(40) },
      { biasIds: Int32Array.of(-1) },
      { biasStarts: Int32Array.of(1, 0) },
      { biasStarts: Int32Array.of(-1, 1) },
      { historyIds: Int32Array.of(40) },
      { historyIds: Int32Array.of(-7) },
      { historyRanges: Int32Array.of(0, 2, 2) },
      { historyRanges: Int32Array.of(-1, 0, 1) },
      { historyRanges: Int32Array.of(0, 1, 0) },
      { maskRows: Int32Array.of(0) },
      { maskRows: Int32Array.of(-2) },
    ];
    for (const change of wrong) {
      const attempt = (): unknown => sampleRows(native, new Float32Array(40), 40, { ...plain, ...change });
      expect(attempt, JSON.stringify(change)).toThrow(/outside|before|below|no such mask/);
    }
  });

  test("scores of targets agree, also over several slabs", () => {
    const [vocab, cols, count] = [1003, 48, 130];
    const hidden = randomFloats(count * cols, 1, 2);
    const targets = Int32Array.from({ length: count }, (_, i) => (i * 37) % vocab);
    const score = (ops: Ops): ScoreOutput => {
      const head = ops.packLinear([f32Weight(randomFloats(vocab * cols, 2), vocab, cols)], {
        name: "head",
        inputForm: "f32",
      });
      const out: ScoreOutput = {
        logprobs: new Float32Array(count),
        argmax: new Int32Array(count),
        topK: 5,
        topIds: new Int32Array(count * 5),
        topLogprobs: new Float32Array(count * 5),
      };
      runOnRows(ops, hidden, cols, (x) => {
        ops.scoreTargets(x, head, targets, out);
        return x;
      });
      return out;
    };
    const [actual, expected] = [score(native), score(reference)];
    expect(actual.argmax).toEqual(expected.argmax);
    expect(actual.topIds).toEqual(expected.topIds);
    // Logits themselves differ by a sum of 48 products in another order.
    expect(largestDifference(actual.logprobs, expected.logprobs)).toBeLessThanOrEqual(2e-5);
    expect(largestDifference(actual.topLogprobs, expected.topLogprobs)).toBeLessThanOrEqual(2e-5);
  });

  test("an empty step does nothing", () => {
    native.beginStep(plainBatch([]));
    const table = native.packLinear([f32Weight(randomFloats(64, 1), 2, 32)], { name: "t", inputForm: "f32" });
    native.sample(native.embed(table), samplingBatch([]), samplingOutput(0, 0));
    native.endStep();
  });
});
