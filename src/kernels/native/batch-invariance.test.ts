import { describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { AttentionOptions, KvCache, KvDtype, MoeRouting, Ops, RopeTable } from "../ops.ts";
import { createNativeOps } from "./native-ops.ts";
import {
  makeBatch,
  type RowSampling,
  randomFloats,
  runOnRows,
  samplingBatch,
  samplingOutput,
  type TestSequence,
} from "./test-batches.ts";

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

const shape = { numHeads: 6, numKvHeads: 2, headDim: 32 } as const;
const cols = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
const numPositions = 600;
const options: AttentionOptions = { ...shape, scale: 0.2 };

interface Setup {
  readonly ops: Ops;
  readonly cache: KvCache;
  readonly rope: RopeTable;
}

function setUp(ops: Ops, dtype: KvDtype): Setup {
  const angles = randomFloats((numPositions * shape.headDim) / 2, 8, 3);
  const rope = ops.loadRope(angles.map(Math.cos), angles.map(Math.sin), shape.headDim);
  const { numKvHeads, headDim } = shape;
  return {
    ops,
    rope,
    cache: ops.createKvCache({ numLayers: 1, numBlocks: 80, blockSize: 32, numKvHeads, headDim, dtype }),
  };
}

/** Rows of q, k, v of a sequence's tokens: the same for the same seed and position. */
const sequenceRows = (seed: number): Float32Array => randomFloats(numPositions * cols, seed, 2);

/** One step over parts of sequences; returns the attention rows of all tokens in order. */
function attend(
  setup: Setup,
  parts: readonly (TestSequence & { readonly rows: Float32Array })[],
  extra: Partial<AttentionOptions> = {},
): Float32Array {
  const { ops, cache, rope } = setup;
  const rows = new Float32Array(parts.reduce((sum, part) => sum + part.count, 0) * cols);
  let at = 0;
  for (const part of parts) {
    rows.set(part.rows.subarray(part.start * cols, (part.start + part.count) * cols), at);
    at += part.count * cols;
  }
  const body = (qkv: Parameters<Ops["pagedAttention"]>[0]) => {
    ops.ropeAndCache(qkv, rope, cache, 0, shape);
    return ops.pagedAttention(qkv, cache, 0, { ...options, ...extra }, "f32");
  };
  return runOnRows(ops, rows, cols, body, makeBatch(parts, 32));
}

const blocks = (first: number): number[] => Array.from({ length: 19 }, (_, i) => first + i);

describe.skipIf(addon === undefined).each(isas)("rows are independent on %s", (isa) => {
  test.each(["f32", "f16", "bf16", "int8"] as const)(
    "attention over a %s cache does not depend on chunks, strangers or threads",
    (dtype) => {
      const mine = sequenceRows(1);
      const strangers = [sequenceRows(2), sequenceRows(3)];
      for (const extra of [{}, { slidingWindow: 100 }, { softCap: 3 }]) {
        const whole = withOps(isa, 1, (ops) =>
          attend(
            setUp(ops, dtype),
            [{ start: 0, count: numPositions, blocks: blocks(0), rows: mine }],
            extra,
          ),
        );
        for (const [chunk, numThreads] of [
          [1, 2],
          [7, 1],
          [64, 2],
          [257, 2],
        ] as const) {
          const pieces = withOps(isa, numThreads, (ops) => {
            const setup = setUp(ops, dtype);
            const result = new Float32Array(whole.length);
            const width = whole.length / numPositions;
            // Single tokens only near a partition's edge and the end: the rest is prefilled in one piece.
            let start = 0;
            while (start < numPositions) {
              const wanted = chunk === 1 ? singleSteps(start) : chunk;
              const count = Math.min(wanted, numPositions - start);
              const other = Math.min(count, 50);
              const parts = [
                { start: Math.min(start, 500), count: other, blocks: blocks(20), rows: strangers[0]! },
                { start, count, blocks: blocks(40), rows: mine },
                { start: 0, count: 3, blocks: blocks(60), rows: strangers[1]! },
              ];
              const out = attend(setup, parts, extra);
              result.set(out.subarray(other * width, (other + count) * width), start * width);
              start += count;
            }
            return result;
          });
          expect(bitsOf(pieces), `chunks of ${chunk}, ${numThreads} threads`).toEqual(bitsOf(whole));
        }
      }
    },
  );

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

  test("attention to whole sequences does not depend on strangers or threads", () => {
    const rows = sequenceRows(1);
    const mine = { start: 0, count: 300, blocks: blocks(0), rows };
    const alone = withOps(isa, 1, (ops) => attend(setUp(ops, "f32"), [mine], { isCausal: false }));
    const stranger = { start: 0, count: 70, blocks: blocks(20), rows: sequenceRows(2) };
    const together = withOps(isa, 2, (ops) =>
      attend(setUp(ops, "f32"), [stranger, mine], { isCausal: false }),
    );
    expect(bitsOf(together.slice(70 * (alone.length / 300)))).toEqual(bitsOf(alone));
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
          const own = ops.gatherRows(x, routing.rows, routing.starts[expert + 1]! - first, first);
          ops.addExpertRows(x, own, routing, expert);
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

/** Tokens to take at once so that decoding passes the edges of partitions (256) and the end. */
function singleSteps(start: number): number {
  for (const [from, to] of [
    [250, 262],
    [508, 516],
    [595, numPositions],
  ] as const) {
    if (start < from) return from - start;
    if (start < to) return 1;
  }
  return 1;
}

test.skipIf(isas.length < 2)("float kernels give the same bits on every instruction set", () => {
  const rows = sequenceRows(1);
  const results = isas.map((isa) =>
    withOps(isa, 2, (ops) =>
      attend(setUp(ops, "f16"), [{ start: 0, count: 300, blocks: blocks(0), rows }], { softCap: 3 }),
    ),
  );
  expect(bitsOf(results[1]!)).toEqual(bitsOf(results[0]!));
});
