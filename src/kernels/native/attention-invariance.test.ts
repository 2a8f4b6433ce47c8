import { describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { AttentionOptions, KvCache, KvDtype, Ops, RopeTable } from "../ops.ts";
import { createNativeOps, type NativeOpsOptions } from "./native-ops.ts";
import { makeBatch, randomFloats, runOnRows, type TestSequence } from "./test-batches.ts";
import { attentionVariants } from "./tested-isas.ts";

const { addon } = loadAddon();
const kvDtypes: readonly KvDtype[] = ["f32", "f16", "bf16", "int8"];
/** Products in bf16 take every cache through the same pairs; only int8 has scales beside them. */
const cachesOfBf16: readonly KvDtype[] = ["f16", "int8"];
const offeredIsas = addon?.listIsas() ?? [];

function withOps<T>(options: NativeOpsOptions, body: (ops: Ops) => T): T {
  const ops = createNativeOps(addon!, options);
  try {
    return body(ops);
  } finally {
    ops.close();
  }
}

/** Bits, so that signed zeros and NaN count too. */
const bitsOf = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);

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

describe.skipIf(addon === undefined).each(attentionVariants)(
  "attention with $attentionDtype products on $isa",
  ({ isa, attentionDtype }) => {
    const withThreads = <T>(numThreads: number, body: (ops: Ops) => T): T =>
      withOps({ isa, numThreads, attentionDtype }, body);

    test.each(attentionDtype === "f32" ? kvDtypes : cachesOfBf16)(
      "over a %s cache does not depend on chunks, strangers or threads",
      (dtype) => {
        const mine = sequenceRows(1);
        const strangers = [sequenceRows(2), sequenceRows(3)];
        for (const extra of [{}, { slidingWindow: 100 }, { softCap: 3 }]) {
          const whole = withThreads(1, (ops) =>
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
            const pieces = withThreads(numThreads, (ops) => {
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

    test("to whole sequences does not depend on strangers or threads", () => {
      const rows = sequenceRows(1);
      const mine = { start: 0, count: 300, blocks: blocks(0), rows };
      const alone = withThreads(1, (ops) => attend(setUp(ops, "f32"), [mine], { isCausal: false }));
      const stranger = { start: 0, count: 70, blocks: blocks(20), rows: sequenceRows(2) };
      const together = withThreads(2, (ops) =>
        attend(setUp(ops, "f32"), [stranger, mine], { isCausal: false }),
      );
      expect(bitsOf(together.slice(70 * (alone.length / 300)))).toEqual(bitsOf(alone));
    });
  },
);

test.skipIf(offeredIsas.length < 2)(
  "attention with f32 products gives the same bits on every instruction set",
  () => {
    const rows = sequenceRows(1);
    const results = offeredIsas.map((isa) =>
      withOps({ isa, numThreads: 2 }, (ops) =>
        attend(setUp(ops, "f16"), [{ start: 0, count: 300, blocks: blocks(0), rows }], { softCap: 3 }),
      ),
    );
    for (const result of results) expect(bitsOf(result)).toEqual(bitsOf(results[0]!));
  },
);
