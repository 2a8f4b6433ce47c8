import { afterAll, describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import type { AttentionOptions, MoeRouting, Ops, QkNorm, Tensor } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { f32Weight, makeBatch, randomFloats, relativeError, runOnRows } from "./test-batches.ts";

// What some model families need and others do not, against the reference backend.

const { addon } = loadAddon();
const isas = addon?.listIsas() ?? [];
const widths = [10, 64, 576, 1003];

/** Largest differences from the reference backend, as a share of the largest magnitude of a result. */
const maxErrors = { f32: 2e-6, tanh: 4e-6, attention: 2e-6 } as const;

describe.skipIf(addon === undefined).each(isas)(
  "operations of single families on %s against the reference backend",
  (isa) => {
    const native = createNativeOps(addon!, { isa, numThreads: 2 });
    const reference = createReferenceOps({ numThreads: 1 });
    afterAll(() => {
      native.close();
      reference.close();
    });

    function compare(rows: Float32Array, cols: number, body: (ops: Ops, x: Tensor) => Tensor): number {
      const expected = runOnRows(reference, rows, cols, (x) => body(reference, x));
      const actual = runOnRows(native, rows, cols, (x) => body(native, x));
      return relativeError(actual, expected);
    }

    test.each(widths)("layer norms of width %i agree", (cols) => {
      for (const count of [0, 1, 17]) {
        // Far from zero, so that the mean matters.
        const rows = randomFloats(count * cols, count + 1, 3).map((x) => x + 5);
        const error = compare(rows, cols, (ops, x) => {
          const weight = ops.loadVector(randomFloats(cols, 5));
          const bias = ops.loadVector(randomFloats(cols, 6));
          ops.layerNorm(x, { weight, bias, eps: 1e-12 });
          return x;
        });
        expect(error, `${count} rows`).toBeLessThanOrEqual(maxErrors.f32);
      }
    });

    test.each(widths)("scaling, soft caps and GELU of width %i agree, in place", (cols) => {
      const rows = randomFloats(9 * cols, 4, 8);
      const change = (name: string, body: (ops: Ops, x: Tensor) => void, limit: number): void => {
        const error = compare(rows, cols, (ops, x) => {
          body(ops, x);
          return x;
        });
        expect(error, name).toBeLessThanOrEqual(limit);
      };
      change("scale", (ops, x) => ops.scale(x, 0.22), 0);
      change("soft cap", (ops, x) => ops.softCap(x, 3), maxErrors.tanh);
      change("gelu", (ops, x) => ops.gelu(x), maxErrors.f32);
      change("scaled sum", (ops, x) => ops.addInto(x, x, 0.22), maxErrors.f32);
    });

    test("an embedding takes other ids than the step's", () => {
      const error = compare(randomFloats(6 * 32, 3), 32, (ops) => {
        const table = ops.packLinear([f32Weight(randomFloats(320, 1), 10, 32)], {
          name: "positions",
          inputForm: "f32",
        });
        return ops.embed(table, Int32Array.of(9, 0, 3, 3, 1, 2));
      });
      expect(error).toBe(0);
    });

    test.each([
      [1, true],
      [3, true],
      [3, false],
      [8, false],
    ])(
      "tokens go to the same %i of eight experts with the same weights (normalised: %s)",
      (topK, normalize) => {
        const numExperts = 8;
        const rows = randomFloats(37 * numExperts, 2, 4);
        rows.fill(1, 0, numExperts); // All equal: the lowest ids win.
        const [expected, actual] = [reference, native].map((ops) => {
          const routing = routingFor(37, numExperts, topK, normalize);
          const sums = runOnRows(ops, rows, numExperts, (x) => {
            ops.moeRoute(x, routing);
            for (let expert = 0; expert < numExperts; expert += 1) {
              const first = routing.starts[expert]!;
              const count = routing.starts[expert + 1]! - first;
              const own = ops.gatherRows(x, routing.rows, count, first);
              ops.addRows(x, own, routing, count, first);
            }
            return x;
          });
          return { routing, sums };
        });
        expect(actual!.routing.starts).toEqual(expected!.routing.starts);
        expect(actual!.routing.rows).toEqual(expected!.routing.rows);
        expect(relativeError(actual!.routing.weights, expected!.routing.weights)).toBeLessThan(maxErrors.f32);
        expect(relativeError(actual!.sums, expected!.sums)).toBeLessThan(maxErrors.f32);
        expect([...expected!.routing.rows.subarray(0, expected!.routing.starts[1]!)]).toContain(0);
      },
    );

    test.each([
      { name: "norms over heads", norm: "head", rotates: true, isCausal: true },
      { name: "norms over all heads", norm: "row", rotates: true, isCausal: true },
      { name: "norms without rotation", norm: "head", rotates: false, isCausal: true },
      { name: "no rotation", norm: "none", rotates: false, isCausal: true },
      { name: "whole sequences", norm: "none", rotates: false, isCausal: false },
    ])("attention agrees: $name", ({ norm, rotates, isCausal }) => {
      const shape = { numHeads: 6, numKvHeads: 2, headDim: 20 };
      const cols = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
      const blocks = (first: number): number[] => Array.from({ length: 10 }, (_, i) => first + i);
      const batch = makeBatch(
        [
          { start: 0, count: 300, blocks: blocks(10) },
          { start: 0, count: 37, blocks: blocks(0) },
        ],
        32,
      );
      const rows = randomFloats(batch.numTokens * cols, 3, 2);
      const angles = randomFloats((300 * shape.headDim) / 2, 8, 3);
      const results = [reference, native].map((ops) => {
        const { numKvHeads, headDim } = shape;
        const cache = ops.createKvCache({
          numLayers: 1,
          numBlocks: 20,
          blockSize: 32,
          numKvHeads,
          headDim,
          dtype: "f32",
        });
        const rope = rotates ? ops.loadRope(angles.map(Math.cos), angles.map(Math.sin), headDim) : null;
        const qkNorm = norm === "none" ? undefined : qkNormOf(ops, norm === "head" ? 1 : null, shape);
        const options: AttentionOptions = { ...shape, scale: 0.2, isCausal };
        return runOnRows(
          ops,
          rows,
          cols,
          (qkv) => {
            ops.ropeAndCache(qkv, rope, cache, 0, { ...shape, qkNorm });
            return ops.pagedAttention(qkv, cache, 0, options, "f32");
          },
          batch,
        );
      });
      expect(relativeError(results[1]!, results[0]!)).toBeLessThanOrEqual(maxErrors.attention);
      expect(results[0]!.every(Number.isFinite)).toBe(true);
    });
  },
);

function routingFor(numTokens: number, numExperts: number, topK: number, normalize: boolean): MoeRouting {
  return {
    topK,
    normalize,
    starts: new Int32Array(numExperts + 1),
    rows: new Int32Array(numTokens * topK),
    weights: new Float32Array(numTokens * topK),
  };
}

/** @param heads heads under one weight, or null for all */
function qkNormOf(
  ops: Ops,
  heads: number | null,
  { numHeads, numKvHeads, headDim }: { numHeads: number; numKvHeads: number; headDim: number },
): QkNorm {
  const vector = (count: number, seed: number) => ops.loadVector(randomFloats(count * headDim, seed));
  return { q: vector(heads ?? numHeads, 1), k: vector(heads ?? numKvHeads, 2), eps: 1e-5 };
}
