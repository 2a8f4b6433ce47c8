import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { Ops, SamplingBatch, SamplingOutput, ScoreOutput } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
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
    const row = fc.record({
      temperature: fc.constantFrom(0, 0.3, 1, 1.7),
      topK: fc.constantFrom(0, 1, 5, 50),
      topP: fc.constantFrom(0.05, 0.5, 0.95, 1),
      minP: fc.constantFrom(0, 0.02, 0.5),
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
