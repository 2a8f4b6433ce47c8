import { afterAll, describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { AttentionDtype, AttentionOptions, KvDtype } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { makeBatch, randomFloats, relativeError, runOnRows, type TestSequence } from "./test-batches.ts";
import { attentionVariants } from "./tested-isas.ts";

const { addon } = loadAddon();

/**
 * Largest differences from the reference backend, as a share of the largest magnitude of a result. The rotation rounds
 * differently by one f32 unit, and so a cached value may fall on the other side of a half; with bf16 products also a
 * query or a weight of softmax.
 */
const maxErrors = { f32: 2e-6, softCap: 4e-6, f16: 2e-5, bf16: 2e-4, bf16Products: 1e-3 } as const;

interface AttentionCase {
  readonly name: string;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly rotaryDim?: number;
  readonly blockSize?: number;
  readonly dtype?: KvDtype;
  readonly slidingWindow?: number;
  readonly softCap?: number;
}

function limitOf({ dtype, softCap }: AttentionCase, attentionDtype: AttentionDtype): number {
  if (attentionDtype === "bf16") return maxErrors.bf16Products;
  if (dtype === "f16") return maxErrors.f16;
  if (dtype === "bf16") return maxErrors.bf16;
  return softCap === undefined ? maxErrors.f32 : maxErrors.softCap;
}

const cases: readonly AttentionCase[] = [
  { name: "grouped heads", numHeads: 9, numKvHeads: 3, headDim: 64 },
  { name: "f16 cache", numHeads: 14, numKvHeads: 2, headDim: 64, dtype: "f16" },
  {
    name: "bf16 cache, partial rotation",
    numHeads: 4,
    numKvHeads: 4,
    headDim: 80,
    rotaryDim: 32,
    dtype: "bf16",
  },
  { name: "narrow heads, small blocks", numHeads: 4, numKvHeads: 2, headDim: 8, blockSize: 4 },
  { name: "odd blocks", numHeads: 2, numKvHeads: 1, headDim: 24, blockSize: 48, dtype: "f16" },
  { name: "sliding window", numHeads: 6, numKvHeads: 2, headDim: 32, slidingWindow: 70 },
  { name: "soft cap", numHeads: 2, numKvHeads: 2, headDim: 128, softCap: 5 },
  { name: "many heads of one KV head", numHeads: 40, numKvHeads: 1, headDim: 16 },
  { name: "int8 cache", numHeads: 14, numKvHeads: 2, headDim: 64, dtype: "int8" },
  {
    name: "int8 cache, odd blocks, sliding window",
    numHeads: 4,
    numKvHeads: 2,
    headDim: 24,
    blockSize: 40,
    dtype: "int8",
    slidingWindow: 70,
  },
  {
    name: "int8 cache, wide heads",
    numHeads: 3,
    numKvHeads: 3,
    headDim: 80,
    dtype: "int8",
  },
];

describe.skipIf(addon === undefined).each(attentionVariants)(
  "attention with $attentionDtype products on $isa against the reference backend",
  ({ isa, attentionDtype }) => {
    const native = createNativeOps(addon!, { isa, numThreads: 2, attentionDtype });
    const reference = createReferenceOps({ numThreads: 1, attentionDtype });
    const exact = createReferenceOps({ numThreads: 1 });
    afterAll(() => {
      for (const ops of [native, reference, exact]) ops.close();
    });

    test.each(cases)("$name", (shape) => {
      const blockSize = shape.blockSize ?? 32;
      const rotaryDim = shape.rotaryDim ?? shape.headDim;
      const cols = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
      const blocksFor = (first: number, tokens: number): number[] =>
        Array.from({ length: Math.ceil(tokens / blockSize) }, (_, i) => first + ((i * 7) % 97));
      // A prefill beside another, then a mixed step: a decode over two partitions, a chunk, and a newcomer.
      const long = blocksFor(100, 320);
      const steps: TestSequence[][] = [
        [
          { start: 0, count: 299, blocks: long },
          { start: 0, count: 40, blocks: blocksFor(0, 90) },
        ],
        [
          { start: 299, count: 1, blocks: long },
          { start: 40, count: 37, blocks: blocksFor(0, 90) },
          { start: 0, count: 5, blocks: blocksFor(200, 5) },
        ],
      ];
      const angles = randomFloats((330 * rotaryDim) / 2, 8, 3);
      const results = [reference, native, exact].map((ops) => {
        const cache = ops.createKvCache({
          numLayers: 2,
          numBlocks: 300,
          blockSize,
          numKvHeads: shape.numKvHeads,
          headDim: shape.headDim,
          dtype: shape.dtype ?? "f32",
        });
        const rope = ops.loadRope(angles.map(Math.cos), angles.map(Math.sin), rotaryDim);
        const options: AttentionOptions = { ...shape, scale: 1 / Math.sqrt(shape.headDim) };
        return steps.map((sequences, index) => {
          const batch = makeBatch(sequences, blockSize);
          const rows = randomFloats(batch.numTokens * cols, index + 1, 2);
          return runOnRows(
            ops,
            rows,
            cols,
            (qkv) => {
              ops.ropeAndCache(qkv, rope, cache, 1, shape);
              return ops.pagedAttention(qkv, cache, 1, options, "f32");
            },
            batch,
          );
        });
      });
      const limit = limitOf(shape, attentionDtype);
      for (const step of [0, 1]) {
        expect(relativeError(results[1]![step]!, results[0]![step]!)).toBeLessThanOrEqual(limit);
        // bf16 has eight significant bits: what it costs is seen, and bounded.
        const cost = relativeError(results[2]![step]!, results[1]![step]!);
        if (attentionDtype === "bf16") expect(cost).toBeGreaterThan(1e-3);
        expect(cost).toBeLessThan(2 ** -5);
      }
    });
  },
);
