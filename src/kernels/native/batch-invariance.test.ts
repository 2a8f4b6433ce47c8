import { describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { MoeRouting, Ops } from "../ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { type RowSampling, randomFloats, runOnRows, samplingBatch, samplingOutput } from "./test-batches.ts";

const { addon } = loadAddon();
const isas = addon?.listIsas() ?? [];

/** Bits, so that signed zeros and NaN count too. */
const bitsOf = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);

function withOps<T>(isa: string, numThreads: number, body: (ops: Ops) => T): T {
  const ops = createNativeOps(addon!, { isa, numThreads });
  try {
    return body(ops);
  } finally {
    ops.close();
  }
}

describe.skipIf(addon === undefined).each(isas)("rows are independent on %s", (isa) => {
  test("norm rows do not depend on the number of rows or threads", () => {
    const width = 576;
    const rows = randomFloats(65 * width, 4, 3);
    const norm = (ops: Ops, some: Float32Array): Float32Array =>
      runOnRows(ops, some, width, (x) => ops.rmsNorm(x, ops.loadVector(randomFloats(width, 9)), 1e-6, "f32"));
    const many = withOps(isa, 2, (ops) => norm(ops, rows));
    for (const row of [0, 7, 8, 64]) {
      const one = withOps(isa, 1, (ops) => norm(ops, rows.slice(row * width, (row + 1) * width)));
      expect(bitsOf(one), `row ${row}`).toEqual(bitsOf(many.slice(row * width, (row + 1) * width)));
    }
  });

  test("routing and expert sums of a token do not depend on the number of tokens or threads", () => {
    const numExperts = 9;
    const rows = randomFloats(65 * numExperts, 6, 3);
    const mix = (ops: Ops, some: Float32Array): Float32Array =>
      runOnRows(ops, some, numExperts, (x) => {
        const places = (some.length / numExperts) * 2;
        const routing: MoeRouting = {
          topK: 2,
          normalize: false,
          starts: new Int32Array(numExperts + 1),
          rows: new Int32Array(places),
          weights: new Float32Array(places),
        };
        ops.moeRoute(x, routing);
        for (let expert = 0; expert < numExperts; expert += 1) {
          const first = routing.starts[expert]!;
          const count = routing.starts[expert + 1]! - first;
          const own = ops.gatherRows(x, routing.rows, count, first);
          ops.addRows(x, own, routing, count, first);
        }
        return x;
      });
    const many = withOps(isa, 2, (ops) => mix(ops, rows));
    for (const row of [0, 8, 64]) {
      const range = [row * numExperts, (row + 1) * numExperts] as const;
      const one = withOps(isa, 1, (ops) => mix(ops, rows.slice(...range)));
      expect(bitsOf(one), `row ${row}`).toEqual(bitsOf(many.slice(...range)));
    }
  });

  test("a sampled row does not depend on its neighbours or on threads", () => {
    const vocab = 20011;
    const params: RowSampling[] = Array.from({ length: 9 }, (_, i) => ({
      temperature: i % 3,
      topP: 0.9,
      topK: i % 2 === 0 ? 0 : 30,
      seed: i,
      numLogprobs: 5,
    }));
    const logits = randomFloats(params.length * vocab, 5, 7);
    const run = (numThreads: number, from: number, to: number) =>
      withOps(isa, numThreads, (ops) => {
        const out = samplingOutput(to - from, 5);
        runOnRows(ops, logits.slice(from * vocab, to * vocab), vocab, (x) => {
          ops.sample(x, samplingBatch(params.slice(from, to)), out);
          return x;
        });
        return out;
      });
    const all = run(2, 0, params.length);
    for (let row = 0; row < params.length; row += 1) {
      const alone = run(1, row, row + 1);
      expect(alone.tokenIds[0]).toBe(all.tokenIds[row]);
      expect(bitsOf(alone.logprobs)).toEqual(bitsOf(all.logprobs.slice(row, row + 1)));
      expect(bitsOf(alone.topLogprobs)).toEqual(bitsOf(all.topLogprobs.slice(row * 5, row * 5 + 5)));
    }
  });
});
